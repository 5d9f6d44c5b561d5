"""What light meets before a survey has measured it: intergalactic gas, our Galaxy's dust, a calibration."""

from dataclasses import replace

import astropy.units as u
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.core.constants import C_KMS, FWHM_OVER_SIGMA
from gencast.data.fields import why_not
from gencast.data.photometry import band_luminosity, load_sdss_photometry, observe_photometry
from gencast.synthesis.broad_lines import BROAD_LINES, broad_line_light, draw_broad_lines
from gencast.synthesis.calibration import check_calibration, draw_zero_points
from gencast.synthesis.dust import k_calzetti
from gencast.synthesis.epochs import simulate_epochs
from gencast.synthesis.foreground import check_foreground, redden
from gencast.synthesis.igm import check_igm, igm_transmission
from gencast.synthesis.nuclei import add_nuclei, check_nucleus
from gencast.synthesis.random_libraries import random_recipe
from gencast.synthesis.recipes import check_recipe, read_recipes
from gencast.synthesis.simulations import simulate
from gencast.synthesis.ssp import load_ssp

NUCLEUS = {"fraction": 0.4, "share": 0.2}
BROAD = NUCLEUS | {"broad_lines": 0.5}
ALL = {"nucleus": BROAD, "foreground": {"ebv": 0.05}, "calibration": {"warp": 0.03, "zero_point": 0.02}}


@pytest.fixture(scope="module")
def suite():
    return read_recipes("default")


@pytest.fixture(scope="module")
def deep():
    "Galaxies between z = 2 and 3.2, with light from 1000 Å on."
    plain = read_recipes("photometry")
    grid = plain.photometry | {"start": 1000}
    return replace(plain, photometry=grid, redshift_range=(2.0, 3.2), redshift=2.5)


def test_lines_have_the_equivalent_widths_of_the_mean_quasar():
    "By numerical integration over the continuum, on a grid finer than any line."
    wave = np.geomspace(1200, 8000, 40000)
    over = broad_line_light(wave, np.array([2500.0]))[0] / (wave / 5100) ** -1.56
    published = {"C IV": 23.78, "C III]": 21.19, "Mg II": 32.28, "Hδ": 5.05, "Hγ": 12.62, "Hβ": 46.21}
    for name, width in published.items():
        near = abs(np.log(wave / BROAD_LINES[name][0])) < 0.015
        assert_allclose(np.trapezoid(over[near], wave[near]), width, rtol=0.02)
    hbeta = over * (wave / 5100) ** -1.56
    flux = [
        np.trapezoid(hbeta[n], wave[n])
        for n in (abs(np.log(wave / BROAD_LINES[k][0])) < 0.02 for k in ("Hα", "Hβ"))
    ]
    assert_allclose(flux[0] / flux[1], 3.565, rtol=0.01)


def test_a_line_is_a_gaussian_as_wide_as_asked():
    wave = np.geomspace(6000, 7200, 9000)
    light = broad_line_light(wave, np.array([3000.0]), resolution=1500.0)[0]
    velocity = C_KMS * np.log(wave / BROAD_LINES["Hα"][0])
    sigma = np.hypot(3000, 1500) / FWHM_OVER_SIGMA
    profile = light * wave  # light per step of log wavelength
    assert_allclose(profile / profile.max(), np.exp(-0.5 * (velocity / sigma) ** 2), atol=1e-4)


def test_broad_lines_are_in_some_nuclei_and_change_nothing_else(suite):
    plain = suite.simulations[4]
    few, seen = (simulate(plain | {"nucleus": n}, suite, 1, 60) for n in (NUCLEUS, BROAD))
    lines = seen.properties["broad_line_strength"] > 0
    assert_array_equal(seen.properties["nucleus_share"], few.properties["nucleus_share"])
    assert 4 < lines.sum() < (few.properties["nucleus_share"] > 0).sum()
    assert_array_equal(seen.flux[~lines], few.flux[~lines])
    added = (seen.flux - few.flux)[lines]
    level = few.properties["nucleus_share"][lines] * few.flux[lines][:, abs(few.wave - 5100) < 50].mean(
        axis=1
    )
    width = added @ np.gradient(seen.wave) / level
    whole = broad_line_light(seen.wave, seen.properties["broad_line_fwhm"][lines], resolution=500.0)
    expected = whole @ np.gradient(seen.wave) * seen.properties["broad_line_strength"][lines]
    assert_allclose(width, expected, rtol=0.02)
    assert np.all(seen.properties["broad_line_fwhm"][~lines] == 0)


@pytest.mark.parametrize(
    "check, recipe, word",
    [
        (check_nucleus, NUCLEUS | {"fwhm": 4000}, "no effect"),
        (check_nucleus, NUCLEUS | {"broad_lines": 0, "strength": 2}, "no effect"),
        (check_nucleus, BROAD | {"fwhm": 100}, "fwhm"),
        (check_nucleus, BROAD | {"line_scatter": "wide"}, "line_scatter"),
        (check_nucleus, BROAD | {"broad_lines": 1.5}, "broad_lines"),
        (check_foreground, {}, "ebv"),
        (check_foreground, {"ebv": -0.1}, "ebv"),
        (check_foreground, {"ebv": 0.1, "error": 2}, "error"),
        (check_foreground, {"ebv": 0.1, "r_v": 3}, "r_v"),
        (check_calibration, {}, "nothing is changed"),
        (check_calibration, {"warp": 3}, "warp"),
        (check_calibration, {"zero_point": 0.02, "degree": 3}, "degree"),
        (check_calibration, {"warp": 0.02, "degree": 2.5}, "whole"),
        (check_calibration, "good", "calibration"),
        (check_igm, {}, "law"),
        (check_igm, {"law": "meiksin06"}, "inoue14"),
        (check_igm, {"law": "inoue14", "scatter": -1}, "scatter"),
    ],
)
def test_bad_recipes_are_refused(check, recipe, word):
    with pytest.raises(InputError, match=word):
        check(recipe, "here")


def test_what_has_no_effect_in_a_suite_is_refused(suite, deep):
    recipe, far = suite.simulations[0], deep.simulations[0]
    check_recipe(recipe | ALL, suite, "here")
    check_recipe(far | {"igm": {"law": "inoue14"}, "foreground": {"ebv": 0.02}}, deep, "here")
    with pytest.raises(InputError, match="igm has no effect"):
        check_recipe(recipe | {"igm": {"law": "inoue14"}}, suite, "here")
    with pytest.raises(InputError, match="igm has no effect"):
        red = replace(deep, photometry=deep.photometry | {"start": 1300})
        check_recipe(far | {"igm": {"law": "inoue14"}}, red, "here")
    with pytest.raises(InputError, match="warp"):
        check_recipe(far | {"calibration": {"warp": 0.03}}, deep, "here")
    with pytest.raises(InputError, match="simulate_epochs"):
        simulate(recipe | {"igm": {"law": "inoue14"}}, suite, 1, 5)
    with pytest.raises(InputError, match="together"):
        add_nuclei(np.ones((1, 900)), np.geomspace(4000, 7000, 900), np.zeros(1), fwhm=np.ones(1))


def test_transmission_agrees_with_bagpipes():
    "Which interpolates a table of Inoue et al. 2014 in redshift, with all lines of the series."
    pytest.importorskip("bagpipes")
    from bagpipes.models.igm_model import igm

    wave = np.arange(1001.0, 1300.0, 1.0)
    redshift = np.array([0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    ours, theirs = igm_transmission(wave, redshift), igm(wave)
    away = (abs(wave - 1215.67) > 2) & (abs(wave - 1025.72) > 3)
    for z, seen in zip(redshift, ours):
        assert_allclose(seen[away], theirs.trans(z)[away], atol=0.01)


def test_transmission_agrees_with_madau_and_with_quasars():
    wave = np.array([1100.0, 1150.0])
    by_hand = np.exp(-(3.6e-3 * (4 * wave / 1215.67) ** 3.46 + 0.0017 * (4 * wave / 1215.67) ** 1.68))
    assert_allclose(igm_transmission(wave, np.array([3.0]), "madau95")[0], by_hand, rtol=1e-3)
    for z in (2.4, 3.0, 3.6):  # of the clouds; Faucher-Giguère et al. 2008
        grid = np.array([1214.9, 1215.0])
        seen = igm_transmission(grid, np.array([z]))[0, 0]
        assert_allclose(-np.log(seen), 0.0018 * (1 + z) ** 3.92, rtol=0.16)


def test_gas_dims_the_bands_that_reach_below_lyman_alpha(deep):
    recipe = deep.simulations[5]
    redshift = np.linspace(2.0, 3.2, 50)
    clear, seen, again = (
        simulate_epochs(r, deep, redshift, 1, 240)
        for r in (recipe, recipe | {"igm": {"law": "inoue14"}}, recipe | {"igm": {"law": "inoue14"}})
    )
    assert_array_equal(seen.flux, again.flux)
    assert_array_equal(seen.redshift, clear.redshift)
    red = clear.wave > 1225
    assert_array_equal(seen.flux[:, red], clear.flux[:, red])
    expected = igm_transmission(clear.wave, clear.redshift)
    assert_allclose(seen.flux / clear.flux, expected, rtol=1e-4)
    bands = ("lsst2016-r", "lsst2016-i", "lsst2016-y")
    ratio = band_luminosity(seen.wave, seen.flux, seen.redshift, bands)
    ratio = ratio / band_luminosity(clear.wave, clear.flux, clear.redshift, bands)
    assert_allclose(ratio, 1, rtol=1e-6)  # beyond 1216 Å at all these redshifts
    near = clear.redshift < 2.8
    g = [
        band_luminosity(s.wave, s.flux[near], s.redshift[near], ("lsst2016-g",))[:, 0] for s in (seen, clear)
    ]
    loss = g[0] / g[1]
    far = clear.redshift[near] > 2.45  # where the band sees enough of the forest
    assert np.all(loss <= 1) and np.all(loss[clear.redshift[near] < 2.1] > 0.9999)
    assert np.all(loss[far] < 0.995) and np.corrcoef(loss[far], clear.redshift[near][far])[0, 1] < -0.9
    assert 0.85 < loss.min() < 0.97


def test_bands_below_lyman_alpha_are_used_only_with_gas():
    assert "1216" in why_not("lsst2016-u", (1.0, 2.0), (1000.0, 18000.0))
    assert why_not("lsst2016-u", (1.0, 2.0), (1000.0, 18000.0), igm=True) == ""
    assert "1000" in why_not("lsst2016-u", (1.0, 3.0), (1000.0, 18000.0), igm=True)


def test_light_below_the_usual_grid_joins_it():
    "PopStar from 944 Å on gives where it overlaps what it gives from 1131 Å on."
    usual = np.geomspace(1205, 18000, 700)
    more = int(np.log(1205 / 1000) / np.log(usual[1] / usual[0]))
    wide = np.concatenate([usual[0] * (usual[0] / usual[1]) ** np.arange(more, 0, -1), usual])
    far, near = (load_ssp("bc03_stelib", w, 1500, extend=True).flux for w in (wide, usual))
    assert_allclose(far[..., more:], near, rtol=1e-3)
    assert np.all(far[..., :more] > 0) and np.isfinite(far).all()
    with pytest.raises(InputError, match="944|951|PopStar"):
        load_ssp("bc03_stelib", np.geomspace(930, 18000, 300), 1500, extend=True)


def test_calzetti_below_1200_follows_leitherer():
    wave = np.linspace(1000, 1200, 21)
    x = 1e4 / wave
    assert_allclose(k_calzetti(wave), 5.472 + 0.671 * x - 9.218e-3 * x**2 + 2.62e-3 * x**3, rtol=0.1)


def test_reddening_agrees_with_dust_extinction():
    "Which the reader of spectra uses to take it off: what is put on comes off again."
    from dust_extinction.parameter_averages import CCM89

    wave, residual = np.geomspace(3830, 7380, 950), np.array([0.03, -0.01])
    seen = redden(np.ones((2, 950)), wave, 0.1, residual)
    for flux, ebv in zip(seen, residual):
        assert_allclose(flux, CCM89(Rv=3.1).extinguish(wave * 1.1 * u.AA, Ebv=ebv), rtol=1e-5)
    each = redden(np.ones((2, 950)), wave, np.array([0.1, 1.2]), residual)
    assert_allclose(each[0], seen[0])
    assert_allclose(each[1], CCM89(Rv=3.1).extinguish(wave * 2.2 * u.AA, Ebv=-0.01), rtol=1e-5)


def test_reddening_at_each_redshift(deep):
    recipe = deep.simulations[5]
    redshift = np.linspace(2.0, 3.2, 50)
    clear, seen = (
        simulate_epochs(r, deep, redshift, 1, 60) for r in (recipe, recipe | {"foreground": {"ebv": 0.1}})
    )
    left = seen.properties["foreground_ebv"]
    k = np.argmin(abs(np.multiply.outer(1 + seen.redshift, seen.wave) - 5495), axis=1)
    rows = np.arange(len(k))
    assert_allclose(-2.5 * np.log10(seen.flux[rows, k] / clear.flux[rows, k]), 3.1 * left, rtol=0.02)
    assert abs(left.std() - 0.016) < 0.006


def test_zero_points_move_the_bands_of_a_simulation(suite):
    sdss = load_sdss_photometry()
    plain = suite.simulations[4]
    wrong = plain | {"calibration": {"zero_point": 0.05}}
    seen = [
        observe_photometry(simulate(r, suite, 1, 40, view="photometry"), sdss, 7)
        for r in (plain, wrong, wrong)
    ]
    assert_array_equal(seen[1].flux, seen[2].flux)
    offsets = draw_zero_points({"zero_point": 0.05}, plain["name"], sdss.bands, 1)
    assert_allclose(seen[1].meta["zero_points_mag"], offsets, atol=1e-5)
    assert "zero_points_mag" not in seen[0].meta
    one = simulate(plain, suite, 1, 40, view="photometry")
    clean = band_luminosity(one.wave, one.flux, seen[1].redshift, sdss.bands)
    shift = np.median(-2.5 * np.log10(seen[1].flux / clean), axis=0)  # noise is a few per cent a galaxy
    assert_allclose(shift, offsets, atol=0.03)
    assert np.corrcoef(shift, offsets)[0, 1] > 0.8


def test_same_seed_same_bytes_and_other_draws_stay(suite):
    plain = suite.simulations[4]
    seen = [simulate(plain | ALL, suite, 1, 30) for _ in range(2)]
    assert_array_equal(seen[0].flux, seen[1].flux)
    assert not np.array_equal(seen[0].flux, simulate(plain | ALL, suite, 2, 30).flux)
    bare = simulate(plain, suite, 1, 30)
    for name, values in bare.properties.items():
        assert_array_equal(seen[0].properties[name], values)
    without = simulate(plain | {"nucleus": NUCLEUS}, suite, 1, 30)  # each option draws for itself
    assert_array_equal(without.properties["nucleus_share"], seen[0].properties["nucleus_share"])
    bands = simulate(plain | ALL, suite, 1, 30, view="photometry").properties
    for name in ("nucleus_share", "broad_line_fwhm", "foreground_ebv"):
        assert_array_equal(bands[name], seen[0].properties[name])
    assert "calibration_rms" not in bands


def test_no_suite_that_comes_with_gencast_uses_them():
    for name in ("default", "photometry", "paper"):
        for recipe in read_recipes(name).simulations:
            assert not {"nucleus", "igm", "foreground", "calibration"} & set(recipe)


def test_a_random_recipe_has_the_options_of_its_suite(suite):
    with_all = replace(suite, simulations=tuple(s | ALL for s in suite.simulations))
    recipe, _ = random_recipe(with_all, 1, 2)
    assert {k: recipe[k] for k in ALL} == ALL
    bare, _ = random_recipe(suite, 1, 2)
    assert all(bare[k] == v for k, v in recipe.items() if k not in ALL)


def test_draws_of_lines_do_not_depend_on_who_is_active():
    few, all_ = (draw_broad_lines({"broad_lines": b}, 50, np.random.default_rng(1)) for b in (0.2, 1.0))
    assert_array_equal(few[0], all_[0])
    assert_array_equal(few[1][few[1] > 0], all_[1][few[1] > 0])
