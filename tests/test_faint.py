"""Spectra and bands with negative pixels go through the whole chain where the flux scale is asinh; logarithms
stay what they were."""

from dataclasses import replace

import numpy as np
import pytest
import yaml
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.core.files import read_sealed
from gencast.core.sample import Sample, load_sample
from gencast.data.faint import asinh_brightness, asinh_noise, join_pixels, soften, soften_like
from gencast.data.observing import correlated_noise, observe_spectra
from gencast.data.photometry import load_sdss_photometry, observe_photometry
from gencast.data.references import colour_masses, load_spectra
from gencast.data.specfiles import write_spec
from gencast.data.suites import load_suite
from gencast.features.table import feature_table, line_mask
from gencast.pipeline.configure import load_settings, make_settings
from gencast.pipeline.job import run
from gencast.pipeline.observed import forecast, read_observed
from gencast.pipeline.settings import SurveySettings
from gencast.pipeline.surveys import check_idle
from gencast.report import load_results, survey_notes, tabulate_survey
from gencast.synthesis import list_suites
from gencast.synthesis.simulations import simulate

SNR = 2.0  # of the spec files, in a pixel of the grid


def write_faint(folder, n=8, snr=SNR, seed=3):
    "Spec files of simulated galaxies with noise, from 3,450 to 8,250 Angstrom as seen."
    suite, rng = load_suite("default"), np.random.default_rng(seed)
    made = simulate(suite.simulations[2], suite, 5, n)
    wave = np.geomspace(3700, 7600, 1100)
    folder.mkdir()
    for k, flux in enumerate(made.flux):
        flux = np.interp(wave, made.wave, flux)
        err = np.full(wave.size, np.median(flux) / snr)
        noisy = flux + err * rng.normal(size=wave.size)
        write_spec(folder / f"faint-{k}.fits", wave, noisy, 0.1 + 0.003 * k, err)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return write_faint(tmp_path_factory.mktemp("spectra") / "faint")


@pytest.fixture(scope="module")
def clean():
    suite = load_suite("default")
    return simulate(suite.simulations[0], suite, 1, 200)


@pytest.fixture(scope="module")
def survey(clean):
    "Fifty galaxies of another simulation at S/N 3."
    suite = load_suite("default")
    like = simulate(suite.simulations[1], suite, 2, 50)
    err = np.broadcast_to(np.median(like.flux, axis=1)[:, None] / 3, like.flux.shape)
    flux = like.flux + err * np.random.default_rng(0).normal(size=like.flux.shape)
    return Sample("survey", flux, like.wave, flux_err=err, meta={"fwhm_kms": 500.0})


def test_asinh_is_the_logarithm_of_light_and_linear_in_noise():
    flux = np.array([[1e8, 1e6, 3e7], [100.0, 1.0, 30.0]])
    assert_allclose(asinh_brightness(flux, np.full(3, 1e-4)), np.log10(flux), atol=1e-5)
    b, level = 0.3, 1e7
    faint = asinh_brightness(np.array([[-1e-3 * level, level, 1e-3 * level, level, level]]), np.full(5, b))[0]
    slope = (faint[2] - faint[0]) / 2e-3
    assert_allclose(slope, 1 / (2 * b * np.log(10)), rtol=1e-4)
    with pytest.raises(InputError, match="galaxy 1 is zero or negative"):
        asinh_brightness(np.array([[1.0, 1, 1], [-1, -1, 1]]), np.full(3, b))


def test_noise_of_the_features_is_the_scatter_that_noise_makes(survey):
    soft, rng = soften(survey), np.random.default_rng(1)
    one = soft.take([0])
    clean, err = np.repeat(one.flux, 300, axis=0), one.flux_err / 30
    for meta in (soft.meta, {k: v for k, v in soft.meta.items() if k != "joined"}):
        noisy = clean + err * correlated_noise(300, survey.wave, 500.0, rng)
        table = feature_table(replace(one, flux=noisy, flux_err=None, meta=meta))
        noise = asinh_noise(replace(one, flux_err=err, meta=meta), line_mask(survey.wave))
        assert noise.shape == (len(table.names),) == table.wave.shape
        assert_allclose(np.median(np.std(table.values, axis=0) / noise), 1, atol=0.05)


def test_pixels_are_joined_until_a_feature_has_an_snr_of_twenty(survey):
    soft = soften(survey)
    assert soft.meta["joined"]["pixels"] == 16  # the most; (20 / 3)^2 = 44
    assert len(feature_table(soft).names) == -(-line_mask(survey.wave).sum() // 16)
    brighter = soften(replace(survey, flux_err=np.asarray(survey.flux_err) / 5))
    assert brighter.meta["joined"]["pixels"] == 2  # (20 / 15)^2 = 1.8
    brightest = soften(replace(survey, flux_err=np.asarray(survey.flux_err) / 10))
    assert "joined" not in brightest.meta
    values = join_pixels(np.arange(5.0)[None], np.array([1, 1, 2, 1, 1.0]), {"pixels": 3})
    assert_allclose(values, [[(0 + 1 + 2 / 4) / 2.25, 3.5]])


def test_simulations_lose_no_galaxy_to_noise_and_count_what_is_negative(clean, survey):
    bright = observe_spectra(clean, replace(survey, flux=np.abs(survey.flux) + survey.flux_err), 7)
    seen = observe_spectra(clean, soften(survey), 7)
    assert len(seen) == len(clean) > len(bright)
    dark = ~(seen.flux > 0)
    assert seen.meta["n_negative"] == dark.sum() > 100
    assert seen.meta["n_with_negative"] == dark.any(axis=1).sum() > 150
    assert np.isfinite(feature_table(seen).values).all()
    pull = (seen.flux - clean.flux) / seen.flux_err
    assert_allclose([pull.mean(), pull.std()], [0, 1], atol=0.02)
    assert_array_equal(observe_spectra(clean, soften(survey), 7).flux, seen.flux)


def test_pixels_that_were_not_measured_are_bridged_and_not_noise(clean, survey):
    gap = np.abs(survey.wave - 5500) < 8
    err = np.where(gap, np.inf, survey.flux_err)
    seen = observe_spectra(clean, soften(replace(survey, flux_err=err)), 7)
    assert np.isinf(seen.flux_err[:, gap]).all() and seen.meta["unmeasured_pixels"] == gap.sum() * len(clean)
    ends = seen.flux[:, np.flatnonzero(gap)[[0, -1]] + [-1, 1]]
    inside = seen.flux[:, gap]
    assert (inside >= ends.min(axis=1, keepdims=True) * 0.999 - 1).all()
    assert np.isfinite(feature_table(seen).values).all()


def test_bands_that_are_negative_are_kept():
    suite = load_suite("default")
    spectra = simulate(suite.simulations[0], suite, 1, 150, "photometry")
    sdss = load_sdss_photometry().take(slice(0, 400))
    err = np.hypot(sdss.flux_err, np.median(sdss.flux, axis=1)[:, None] / 2)
    flux = sdss.flux + err * np.random.default_rng(4).normal(size=err.shape)
    flux[:, 2] = np.abs(flux[:, 2]) + 1  # the band in which galaxies are matched
    deep = replace(sdss, flux=flux, flux_err=err).take(np.median(flux, axis=1) > 0)
    seen = observe_photometry(spectra, soften(deep), 3)
    lost = observe_photometry(spectra, sdss, 3)
    assert len(seen) > 0.9 * len(lost) and seen.meta["n_with_negative"] > 10
    table = feature_table(seen)
    assert np.isfinite(table.values).all() and table.names[-1] == "log(1+z)"
    kept = load_sdss_photometry(flux_scale="asinh")
    assert len(kept) > len(load_sdss_photometry()) and (kept.flux <= 0).any() and (kept.flux_err > 0).all()


def test_the_refusal_of_a_negative_pixel_names_the_option(files, survey):
    with pytest.raises(InputError, match="--flux-scale asinh"):
        load_spectra(files)
    with pytest.raises(InputError, match="--flux-scale asinh"):
        feature_table(survey)
    found = load_spectra(files, flux_scale="asinh")
    assert len(found) == 8 and (found.flux <= 0).any()


def test_a_scale_that_is_unknown_or_idle_is_refused(files, tmp_path):
    with pytest.raises(InputError, match="choose from log, asinh"):
        load_spectra(files, flux_scale="sinh")
    with pytest.raises(InputError, match="choose from log, asinh"):
        make_settings(flux_scale="sinh")
    wanted = SurveySettings(flux_scale="asinh", observed=False)
    with pytest.raises(InputError, match="--flux-scale has no effect"):
        check_idle(load_suite("default"), wanted, ("spectra",))


def test_logarithms_stay_to_the_bit(clean):
    table = feature_table(clean)
    keep = np.isin(clean.wave, table.wave)
    assert_array_equal(table.values, np.log10(clean.flux[:, keep]).astype(np.float32))
    soft = replace(clean, meta=clean.meta | {"softening": [0.1] * clean.wave.size})
    assert_array_equal(feature_table(soften_like(soft, None)).values, table.values)


@pytest.fixture(scope="module")
def folder(files, tmp_path_factory):
    "A small run on faint spectra."
    place = tmp_path_factory.mktemp("faint-run")
    suite = yaml.safe_load(list_suites()["default"].read_text())
    path = place / "five.yaml"
    path.write_text(yaml.safe_dump(suite | {"name": "five", "simulations": suite["simulations"][::4]}))
    how = {"n_trees": 10, "views": ("spectra",), "spectra": (str(files),), "flux_scale": "asinh"}
    run(path, True, place / "run", 1, False, progress=False, n_galaxies=130, **how)
    return place / "run"


@pytest.mark.slow
def test_a_run_and_a_forecast_of_faint_spectra(folder, files):
    results = load_results(folder)
    record = read_sealed(folder / "run.json")
    assert record["parameters"]["flux_scale"] == "asinh"
    made = load_sample(folder / "simulations" / "spectra" / results.simulations.name[0])
    assert len(made) == 130 and made.meta["n_with_negative"] > 40
    mine = results.forecasts[results.forecasts.kind != "simulation"]
    target = mine.target.iloc[0]
    facts = tabulate_survey(results, target)
    assert "asinh" in survey_notes(results, target) and "softening" not in facts.index
    assert int(facts.loc["galaxies with such", target]) == 8 == len(results.galaxies)
    assert mine.rmse.notna().all()
    settings = load_settings(folder)
    observed = read_observed(settings, [files])
    by_source, by_galaxy = forecast(folder, observed, jobs=1, progress=False)
    assert_allclose(by_galaxy.predicted, results.galaxies.predicted, atol=1e-4)
    assert_allclose(by_source.rmse, mine.rmse, rtol=1e-3)


def test_a_mass_from_colour_at_a_redshift_of_the_templates_table():
    masses = [colour_masses(np.array([[20.0, 50, 70]]), np.array([z]))[0] for z in (0.0999, 0.1, 0.1001)]
    assert np.isfinite(masses).all() and np.ptp(masses) < 0.02
