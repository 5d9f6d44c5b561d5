"""Active nuclei: some galaxies get the light of a power law, the others stay as they are."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.synthesis.nuclei import add_nuclei, check_nucleus, draw_nuclei
from gencast.synthesis.recipes import check_recipe, read_recipes
from gencast.synthesis.simulations import simulate

NUCLEUS = {"fraction": 0.3, "share": 0.2}


@pytest.fixture(scope="module")
def suite():
    return read_recipes("default")


@pytest.mark.parametrize(
    "recipe, word",
    [
        ({}, "fraction"),
        ({"fraction": 0.1}, "share"),
        ({"fraction": 1.1, "share": 0.2}, "fraction"),
        ({"fraction": 0.1, "share": 1}, "share"),
        ({"fraction": 0.1, "share": "much"}, "share"),
        (NUCLEUS | {"scatter": -0.1}, "scatter"),
        (NUCLEUS | {"lines": True}, "lines"),
        ("quasar", "nucleus"),
    ],
)
def test_bad_nuclei_are_refused(recipe, word):
    with pytest.raises(InputError, match=word):
        check_nucleus(recipe, "here")


def test_the_light_added_is_a_power_law_of_the_share_wanted():
    wave = np.geomspace(3830, 7380, 950)
    flux = np.tile(1 + 0.3 * np.sin(wave / 50), (3, 1))
    share = np.array([0.0, 0.1, 0.5])
    light = add_nuclei(flux, wave, share, -2.0) - flux
    assert np.all(light[0] == 0)
    assert_allclose(light[1:], (light[1:, :1]) * (wave / wave[0]) ** -2.0)
    near = abs(wave - 5100) < 50
    assert_allclose(
        light[1:, near].mean(axis=1) / (light + flux)[1:, near].mean(axis=1), share[1:], rtol=0.01
    )


def test_a_recipe_adds_nuclei_to_some_galaxies_in_both_views(suite):
    plain = suite.simulations[4]
    bright = plain | {"nucleus": NUCLEUS}
    seen = [simulate(r, suite, 1, 40) for r in (plain, bright)]
    share = seen[1].properties["nucleus_share"]
    active = share > 0
    assert 3 < active.sum() < 25 and "nucleus_share" not in seen[0].properties
    assert_allclose(seen[1].flux[~active], seen[0].flux[~active])
    assert np.all(seen[1].flux[active] > seen[0].flux[active])
    assert_allclose(seen[1].properties["log_mstar"], seen[0].properties["log_mstar"])
    bands = simulate(bright, suite, 1, 40, view="photometry")
    assert_allclose(bands.properties["nucleus_share"], share)
    once_more = draw_nuclei(NUCLEUS, 40, np.random.default_rng(0))
    assert np.array_equal(once_more, draw_nuclei(NUCLEUS, 40, np.random.default_rng(0)))


def test_nuclei_in_a_suite(suite):
    recipe = suite.simulations[0] | {"nucleus": NUCLEUS}
    check_recipe(recipe, suite, "here")
    with pytest.raises(InputError, match="no effect"):
        check_recipe(recipe, replace(suite, redshift_range=(0.4, 2.0)), "here")
    with pytest.raises(InputError, match="5100"):
        check_recipe(recipe, replace(suite, spectra=suite.spectra | {"start": 5500}), "here")
