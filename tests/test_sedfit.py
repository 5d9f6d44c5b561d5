"""The library fit: against a brute-force loop with scipy.optimize, blocks, masks, refusals."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar

from gencast.core.base import InputError
from gencast.core.sample import Sample
from gencast.sed.library import fit_library

WAVE = np.geomspace(3800, 8000, 40)


def toy(n, seed, noise=None):
    rng = np.random.default_rng(seed)
    mass, age, z = rng.uniform(9, 11, n), rng.uniform(-1, 1, n), rng.uniform(0.01, 0.3, n)
    flux = 10 ** (mass - 0.7 * age)[:, None] * (WAVE / 5500) ** (-1 + 1.5 * age)[:, None]
    err = None if noise is None else noise * flux
    flux = flux if noise is None else flux + err * rng.normal(size=flux.shape)
    return Sample(
        f"toy{seed}",
        flux,
        WAVE,
        flux_err=err,
        redshift=z,
        properties={"log_mstar": mass, "log_age": age, "log_sfr": mass - 10},
    )


LIBRARY, OBSERVED = toy(500, 1), toy(7, 2, noise=0.1)


def brute(sample, library, floor, share=1.0):
    rows = []
    for f, e in zip(sample.flux, sample.flux_err):
        good = np.isfinite(f) & np.isfinite(e) & (e > 0)
        var = e[good] ** 2 + (floor * f[good]) ** 2
        chi2, log_a = [], []
        for m in library.flux:
            fit = minimize_scalar(
                lambda a: ((f[good] - 10**a * m[good]) ** 2 / var).sum(), bracket=(-0.5, 0.5), tol=1e-10
            )
            chi2.append(fit.fun), log_a.append(fit.x)
        chi2, log_a = np.array(chi2), np.array(log_a)
        w = np.exp(-(chi2 - chi2.min()) / 2 / share)
        mass = library.properties["log_mstar"] + log_a
        age = library.properties["log_age"]

        def mean(v):
            return (w * v).sum() / w.sum()

        rows.append(
            (
                mean(mass),
                np.sqrt(mean((mass - mean(mass)) ** 2)),
                mean(age),
                chi2.min(),
                w.sum() ** 2 / (w**2).sum(),
                chi2.argmin(),
            )
        )
    return np.array(rows)


COLUMNS = ["log_mstar", "log_mstar_std", "log_age", "chi2", "n_effective", "best_model"]


@pytest.mark.parametrize("floor, share", [(0.0, 1.0), (0.05, 4.0)])
def test_agrees_with_brute_force(floor, share):
    flux, err = OBSERVED.flux.copy(), OBSERVED.flux_err.copy()
    flux[1, 5] = np.nan
    err[2, :3], err[3, 7] = 0, np.inf
    sample, library = replace(OBSERVED, flux=flux, flux_err=err), LIBRARY.take(np.arange(60))
    fit = fit_library(sample, library, floor, mask_lines=False, pixels_per_error=share)
    assert_allclose(fit[COLUMNS], brute(sample, library, floor, share), rtol=1e-5)
    assert fit.n_masked.tolist() == [0, 1, 3, 1, 0, 0, 0] and (fit.n_used + fit.n_masked == 40).all()


def test_blocks_do_not_matter():
    one = fit_library(OBSERVED, LIBRARY)
    for block in (1, 3, 64, 499):
        assert_allclose(fit_library(OBSERVED, LIBRARY, block=block), one, rtol=1e-8)


def test_known_masses_recovered_and_mass_is_linear():
    library, observed = toy(8000, 1), toy(150, 3, noise=0.05)
    fit = fit_library(observed, library, error_floor=0.0, mask_lines=False)
    pull = (fit.log_mstar - observed.properties["log_mstar"]) / fit.log_mstar_std
    assert abs(pull.mean()) < 0.25 and 0.8 < pull.std() < 1.2
    brighter = replace(observed, flux=100 * observed.flux, flux_err=100 * observed.flux_err)
    again = fit_library(brighter, library, error_floor=0.0, mask_lines=False)
    assert_allclose(again.log_mstar, fit.log_mstar + 2, atol=1e-6)
    assert_allclose(again.log_sfr, fit.log_sfr + 2, atol=1e-6)
    assert_allclose(
        again[["log_age", "chi2", "log_mstar_std"]],
        fit[["log_age", "chi2", "log_mstar_std"]],
        rtol=1e-5,
        atol=1e-6,
    )


def test_a_model_fits_itself():
    sample = replace(LIBRARY.take(np.arange(20)), flux_err=1e-3 * LIBRARY.flux[:20])
    fit = fit_library(sample, LIBRARY, error_floor=0.0, mask_lines=False)
    assert_array_equal(fit.best_model, np.arange(20))
    assert (fit.chi2 < 1e-3).all()


def test_emission_lines_carry_no_weight():
    flux = OBSERVED.flux.copy()
    line = np.abs(WAVE / 6564.6 - 1).argmin()
    wave = WAVE.copy()
    wave[line] = 6564.6
    flux[:, line] *= 50
    sample, library = replace(OBSERVED, flux=flux, wave=wave), replace(LIBRARY, wave=wave)
    assert (fit_library(sample, library).reduced_chi2 < 3).all()
    assert (fit_library(sample, library, mask_lines=False).reduced_chi2 > 3).all()


def test_photometry_is_compared_at_its_own_redshift():
    bands = tuple("ugriz")

    def cut(s):
        return Sample(
            s.name,
            s.flux[:, ::8],
            WAVE[::8],
            bands,
            None if s.flux_err is None else s.flux_err[:, ::8],
            s.redshift,
            (),
            s.properties,
        )

    sample, library = cut(OBSERVED), cut(LIBRARY)
    fit = fit_library(sample, library, redshift_window=0.05)
    expected = (abs(sample.redshift[:, None] - library.redshift) <= 0.05).sum(axis=1)
    assert_array_equal(fit.n_models, expected)
    far = replace(sample, redshift=sample.redshift + np.array([0, 5, 0, 0, 0, 0, 0]))
    fit = fit_library(far, library)
    assert (
        fit.n_models[1] == 0
        and fit.best_model[1] == -1
        and fit.loc[1, ["log_mstar", "chi2", "n_effective"]].isna().all()
    )
    assert fit.log_mstar.drop(1).notna().all()


def test_a_galaxy_without_good_pixels_has_no_answer():
    flux = OBSERVED.flux.copy()
    flux[4] = np.nan
    fit = fit_library(replace(OBSERVED, flux=flux), LIBRARY)
    assert np.isnan(fit.log_mstar[4]) and fit.n_used[4] == 0 and fit.n_models[4] == 0
    negative = fit_library(replace(OBSERVED, flux=-OBSERVED.flux), LIBRARY)
    assert negative.log_mstar.isna().all()  # no positive amplitude


@pytest.mark.parametrize(
    "sample, library, kw, words",
    [
        (replace(OBSERVED, flux_err=None), LIBRARY, {}, "no flux_err"),
        (OBSERVED, replace(LIBRARY, wave=WAVE * 1.01), {}, "not on one grid"),
        (OBSERVED, replace(LIBRARY, bands=tuple(map(str, range(40)))), {}, "not on one grid"),
        (OBSERVED, replace(LIBRARY, properties={}), {}, "no known property"),
        (
            OBSERVED,
            replace(LIBRARY, properties={"log_mstar": np.full(500, np.nan)}),
            {},
            "'log_mstar' is not finite",
        ),
        (
            OBSERVED,
            replace(LIBRARY, flux=np.where(np.arange(500)[:, None] == 321, np.inf, LIBRARY.flux)),
            {"block": 100},
            "model 321",
        ),
        (OBSERVED, LIBRARY, {"error_floor": -1}, "error_floor"),
    ],
)
def test_refusals(sample, library, kw, words):
    with pytest.raises(InputError, match=words):
        fit_library(sample, library, **kw)
