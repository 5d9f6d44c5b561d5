"""Velocity dispersions: drawn with mass, convolved after synthesis, found again by pPXF."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.constants import C_KMS, FWHM_OVER_SIGMA
from gencast.synthesis.kinematics import broaden, check_kinematics, draw_dispersions
from gencast.synthesis.recipes import check_recipe, read_recipes
from gencast.synthesis.simulations import simulate
from gencast.synthesis.ssp import load_ssp

WAVE = np.geomspace(3830, 7380, 950)
FINE = {"start": 4000, "stop": 7000, "pixels": 2432, "fwhm_kms": 300}


@pytest.fixture(scope="module")
def suite():
    return read_recipes("default")


def test_dispersions_follow_their_relation():
    log_mstar = np.random.default_rng(0).uniform(8, 12, 20000)
    drawn = draw_dispersions({"relation": "zahid16"}, log_mstar, np.random.default_rng(1))
    above = log_mstar > 10.5
    slope, level = np.polyfit(log_mstar[above] - 11, np.log10(drawn[above]), 1)
    assert abs(slope - 0.293) < 0.01 and abs(level - np.log10(195)) < 0.01
    moved = draw_dispersions({"relation": "zahid16", "offset": 0.1}, log_mstar, np.random.default_rng(1))
    assert_allclose(np.log10(moved / drawn), 0.1)
    assert np.all(draw_dispersions({"relation": "constant", "sigma": 250}, log_mstar, None) == 250)


@pytest.mark.parametrize(
    "recipe, word",
    [
        ({}, "relation"),
        ({"relation": "faber"}, "zahid16"),
        ({"relation": "zahid16", "sigma": 250}, "sigma"),
        ({"relation": "constant", "sigma": 250, "scatter": 0.1}, "scatter"),
        ({"relation": "constant"}, "sigma"),
        ({"relation": "constant", "sigma": -1}, "sigma"),
        ({"relation": "zahid16", "scatter": "wide"}, "scatter"),
        ({"relation": "zahid16", "width": 3}, "width"),
        ("zahid16", "zahid16"),
    ],
)
def test_bad_kinematics_are_refused(recipe, word):
    with pytest.raises(InputError, match=word):
        check_kinematics(recipe, "here")


def test_broadening_agrees_with_a_direct_convolution():
    step = np.diff(np.log(WAVE))[0]
    flux = np.exp(0.1 * np.random.default_rng(2).normal(size=(3, WAVE.size)))
    flux = broaden(flux, WAVE, np.full(3, 212.0))  # as wide as the grid resolves
    sigma = np.array([0.0, 150.0, 320.0])
    seen = broaden(flux, WAVE, sigma, block=2)
    assert_allclose(seen[0], flux[0], rtol=1e-6)
    fine = np.arange(-40, 41)
    for row in (1, 2):
        width = sigma[row] / C_KMS / step
        kernel = np.exp(-0.5 * (fine / width) ** 2)
        direct = np.convolve(flux[row], kernel / kernel.sum(), mode="same")
        assert_allclose(seen[row, 60:-60], direct[60:-60], rtol=4e-3)
        assert_allclose(seen[row].sum(), flux[row].sum(), rtol=1e-3)
    with pytest.raises(InputError, match="equal steps"):
        broaden(flux, np.linspace(3830, 7380, 950), sigma)


def test_stars_move_only_where_the_recipe_says_so(suite):
    still = suite.simulations[4]
    moving = still | {"kinematics": {"relation": "zahid16"}}
    plain, seen = (simulate(r, suite, 1, 30) for r in (still, moving))
    assert "velocity_dispersion" not in plain.properties
    sigma = seen.properties["velocity_dispersion"]
    assert_allclose(seen.flux, broaden(plain.flux, plain.wave, sigma), rtol=1e-5)
    for name, values in plain.properties.items():
        assert_allclose(seen.properties[name], values)
    bands = [simulate(r, suite, 1, 5, view="photometry").flux for r in (still, moving)]
    assert_allclose(*bands)
    giants = seen.properties["log_mstar"] > 10.5
    assert sigma[giants].mean() > 1.5 * sigma[~giants].mean()


def test_kinematics_in_a_suite(suite):
    recipe = suite.simulations[0] | {"kinematics": {"relation": "zahid16"}}
    check_recipe(recipe, suite, "here")
    with pytest.raises(InputError, match="kinematics"):
        check_recipe(suite.simulations[0] | {"kinematics": {"relation": "x"}}, suite, "here")
    with pytest.raises(InputError, match="no effect"):
        deep = replace(suite, redshift_range=(0.4, 2.0))
        check_recipe(recipe, deep, "here")


@pytest.mark.parametrize("sigma", (120.0, 250.0))
def test_ppxf_finds_the_dispersion(suite, sigma):
    "Within 5 %, with templates of the same resolution and without noise."
    from ppxf.ppxf import ppxf

    fine = replace(suite, spectra=FINE)
    recipe = suite.simulations[4] | {"kinematics": {"relation": "constant", "sigma": sigma}}
    galaxies = simulate(recipe, fine, 3, 3)
    grid = load_ssp(recipe["ssp"], galaxies.wave, FINE["fwhm_kms"])
    templates = grid.flux[:, ::6].reshape(-1, galaxies.wave.size).T
    velscale = C_KMS * np.diff(np.log(galaxies.wave))[0]
    inner = slice(60, -60)  # templates must reach 2,900 km/s beyond the galaxy
    for flux in galaxies.flux:
        fit = ppxf(
            templates / np.median(templates),
            (flux / np.median(flux))[inner].astype(float),
            np.full(flux.size, 0.01)[inner],
            velscale,
            [0.0, 180.0],
            degree=-1,
            mdegree=6,
            lam=galaxies.wave[inner],
            lam_temp=galaxies.wave,
            quiet=True,
        )
        assert abs(fit.sol[1] / sigma - 1) < 0.05, fit.sol
    assert FINE["fwhm_kms"] / FWHM_OVER_SIGMA < 2 * sigma
