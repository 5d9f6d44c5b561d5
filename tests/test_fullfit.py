"""Full SED fits, the model library, and the comparison: resume, budget, cache and refusals with a made-up
fitter; BAGPIPES itself where it is installed."""

import os
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from method_galaxies import observe_at
from method_scores import load_methods, save_methods, score_methods
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.sample import Sample
from gencast.sed import bagpipes as fullfit
from gencast.sed.fitting import FITTED, fit_bagpipes, fit_sample, make_tasks, missing_fits
from gencast.sed.intervals import fit_models, narrow_priors, weighted_percentiles
from gencast.sed.library import fit_library, rebin
from gencast.sed.models import build_library, library_parameters
from gencast.sed.priors import (
    AGE_TODAY,
    PARAMETERS,
    Priors,
    derive_properties,
    draw_parameters,
    history_fractions,
    universe_age,
)
from gencast.synthesis.agebins import age_bins, mass_weighted_age

WAVE = np.geomspace(3830, 7380, 240)
RNG = np.random.default_rng(3)
LIGHT = 1e6 * (WAVE / 5500) ** RNG.normal(size=(4, 1))
SAMPLE = Sample("four", LIGHT, WAVE, (), 0.05 * LIGHT, np.full(4, 0.1), ("a", "b", "c", "d"))
CALLS = []


def made_up(task):
    "A fit that takes no time: draws from the priors."
    CALLS.append(task.name)
    return {
        "parameters": draw_parameters(task.priors, universe_age(task.redshift), 50, task.seed),
        "chi2": np.array(1.0),
        "log_z": np.array(-1.0),
        "n_likelihood": np.array(7),
        "complete": np.array(True),
    }


def fails_for_c(task):
    if task.name == "c":
        raise ZeroDivisionError("no such luck")
    return made_up(task)


def takes_a_while(task):
    time.sleep(0.6)
    return made_up(task)


def run(folder, fitter=made_up, sample=SAMPLE, **options):
    CALLS.clear()
    return fit_bagpipes(sample, folder, fitter=fitter, progress=False, **options)


def test_a_second_call_does_only_what_is_missing(tmp_path):
    first = run(tmp_path)
    assert CALLS == ["a", "b", "c", "d"] and (first.status == "done").all() and not missing_fits(first)
    again = run(tmp_path)
    assert CALLS == [] and again.drop(columns="status").equals(first.drop(columns="status"))
    (tmp_path / "galaxy-00001.npz").write_bytes(b"cut off")
    data = bytearray((tmp_path / "galaxy-00002.npz").read_bytes())
    data[200] ^= 1
    (tmp_path / "galaxy-00002.npz").write_bytes(bytes(data))
    run(tmp_path)
    assert CALLS == ["b", "c"]


@pytest.mark.parametrize(
    "change", [{"seed": 2}, {"priors": Priors(a_v=(0, 2))}, {"error_floor": 0.1}, {"bin": 3}]
)
def test_other_priors_settings_or_seeds_are_other_fits(tmp_path, change):
    run(tmp_path)
    run(tmp_path, **change)
    assert CALLS == ["a", "b", "c", "d"]


def test_other_data_is_another_fit(tmp_path):
    run(tmp_path)
    flux = SAMPLE.flux.copy()
    flux[2, 100] *= 1.1
    run(tmp_path, sample=replace(SAMPLE, flux=flux))
    assert CALLS == ["c"]


def test_nothing_is_started_when_the_budget_is_used_up(tmp_path):
    table = run(tmp_path, takes_a_while, budget_s=1.0)
    done = (table.status == "done").sum()
    assert 1 <= done <= 2 and table.log_mstar.notna().sum() == done
    said = missing_fits(table)
    assert said.startswith(f"{4 - done} of 4 galaxies have no fit") and "d" in said and "budget" in said
    assert (run(tmp_path, budget_s=60).status == "done").all() and len(CALLS) == 4 - done


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    table = run(tmp_path, fails_for_c)
    assert (
        table.status.tolist()[:2] == ["done", "done"]
        and "ZeroDivisionError: no such luck" in table.status["c"]
    )
    assert "c; the same call" in missing_fits(table) and table.log_mstar["d"] > 0
    assert (run(tmp_path).status == "done").all() and CALLS == ["c"]


def test_in_parallel_the_same(tmp_path):
    one, two = run(tmp_path / "one"), run(tmp_path / "two", jobs=2)
    assert one.filter(regex="log_|a_v").equals(two.filter(regex="log_|a_v"))


def test_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "fits")
    assert os.listdir(tmp_path) == ["fits"] and sorted(os.listdir(tmp_path / "fits"))[:2] == [
        ".lock",
        "fits.json",
    ]


def test_missing_extra_is_named_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(fullfit, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'gencast\[sed\]'") as said:
        fit_bagpipes(SAMPLE, tmp_path)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "sample, options, words",
    [
        (replace(SAMPLE, flux_err=None), {}, "no flux_err"),
        (replace(SAMPLE, redshift=None), {}, "no redshift"),
        (replace(SAMPLE, redshift=np.array([0.1, -0.005, 0.1, 0.1])), {}, "no redshift"),
        (replace(SAMPLE, flux_err=np.full_like(LIGHT, np.nan)), {}, "fewer than 3"),
        (SAMPLE, {"live": 3}, "no setting 'live'"),
        (SAMPLE, {"bin": 0}, "bin"),
    ],
)
def test_refusals(tmp_path, sample, options, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path, sample=sample, **options)


@pytest.mark.parametrize(
    "wrong",
    [
        {"tau": (0.1, 2)},
        {"a_v": (2, 1)},
        {"alpha": (0, 1)},
        {"dust": "salim"},
        {"eta": "high"},
        {"beta": (1, float("nan"))},
        {"tau": (5, 0.3)},
        {"tau": (0, 1)},
    ],
)
def test_priors_that_cannot_be(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Priors(**wrong)


def test_tau_begins_in_gyr_and_ends_as_a_share_of_the_age():
    late = Priors(tau=(5.0, 0.9))
    assert late.tau_range(universe_age(0.1)) == (5.0, 0.9 * universe_age(0.1))
    drawn = draw_parameters(late, universe_age(0.1), 100, 1)[:, 4]
    assert drawn.min() >= 5 and drawn.max() <= 0.9 * universe_age(0.1)
    with pytest.raises(InputError, match="lower its beginning"):
        draw_parameters(late, universe_age(2.0), 100, 1)  # the Universe is 3.2 Gyr old
    assert universe_age(0.0) == pytest.approx(AGE_TODAY, abs=0.01)


def test_no_star_is_older_than_the_universe():
    for z in (0.1, 1.0, 3.0):
        age = universe_age(z)
        drawn = draw_parameters(Priors(), age, 2000, 1)
        assert drawn.shape == (2000, len(PARAMETERS)) and (drawn[:, 4] <= age).all()
        assert (10 ** derive_properties(drawn, age)["log_age"] < age).all()


def test_history_agrees_with_a_fine_sum():
    age = universe_age(0.1)
    edges, t = age_bins(age), np.linspace(0, age, 400_001)[1:]
    for alpha, beta, tau in [(2.0, 1.0, 5.0), (20.0, 0.3, 8.0), (0.5, 30.0, 2.0)]:
        rate = 1 / ((t / tau) ** alpha + (t / tau) ** -beta)
        expected = np.histogram(age - t, edges, weights=rate)[0] / rate.sum()
        found = history_fractions(np.array([[alpha, beta, 10, 1, tau, 0, 1]]), edges)
        assert_allclose(found[0], expected, atol=2e-3)
        assert abs(mass_weighted_age(found, edges)[0] - ((age - t) * rate).sum() / rate.sum()) < 0.05


def test_rebinned_masks_and_mean():
    err = SAMPLE.flux_err.copy()
    err[0, 9] = np.inf
    binned = rebin(replace(SAMPLE, flux_err=err), 4, mask_lines=False)
    assert np.isinf(binned.flux_err[0, 2]) and np.isfinite(binned.flux_err[0, [1, 3]]).all()
    assert_allclose(binned.flux[1, 5], SAMPLE.flux[1, 20:24].mean())
    independent = rebin(SAMPLE, 4, fwhm_kms=0.0, mask_lines=False)
    assert_allclose(independent.flux_err[1, 5], np.sqrt((SAMPLE.flux_err[1, 20:24] ** 2).mean() / 4))


def test_a_library_says_where_a_sampler_may_begin(models):
    drawn = library_parameters(Priors(), universe_age(0.1), len(models), 1)
    light = np.asarray(models.flux[:20], float)
    for i in range(20):
        narrow, log_share = narrow_priors(
            light[i], 1 / (0.05 * light[i]) ** 2, models, Priors(), universe_age(0.1)
        )
        assert log_share < 0
        for k, name in enumerate(("alpha", "beta", None, "metallicity", None, "a_v", "eta")):
            if name:
                assert (
                    getattr(narrow, name)[0] <= drawn[i, k] <= getattr(narrow, name)[1]
                    and getattr(Priors(), name)[0] <= getattr(narrow, name)[0] * 1.001
                )
    tasks = make_tasks(
        replace(models.take(np.arange(2)), flux_err=0.05 * light[:2]),
        0.1,
        Priors(),
        1,
        1,
        fullfit.SETTINGS,
        models,
    )
    assert all(t.log_share < 0 and t.priors != Priors() for t in tasks)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    seen = rebin(SAMPLE)
    return build_library(
        tmp_path_factory.mktemp("models") / "library", wave=seen.wave, ssp="bc03_stelib", n=1500
    )


def test_library_is_cached_and_keyed(models, tmp_path, monkeypatch):
    options = dict(wave=models.wave, ssp="bc03_stelib", n=50)
    first = build_library(tmp_path / "l", **options)
    monkeypatch.setattr("gencast.sed.models.synthesize", None)
    assert np.array_equal(build_library(tmp_path / "l", **options).flux, first.flux)
    with pytest.raises(TypeError):  # another seed: made again
        build_library(tmp_path / "l", **options, seed=2)
    assert np.array_equal(
        build_library(tmp_path / "l", **options).flux, first.flux
    )  # and what was there is left
    assert sorted(os.listdir(tmp_path)) == ["l"]


def test_percentiles_agree_with_the_mean_fit(models):
    light = np.asarray(models.flux[:40], float)
    observed = replace(
        models.take(np.arange(40)),
        flux=light * (1 + 0.1 * RNG.normal(size=light.shape)),
        flux_err=0.1 * light,
    )
    a, b = (
        fit_models(observed, models, error_floor=0.0),
        fit_library(observed, models, error_floor=0.0, mask_lines=False),
    )
    assert_allclose(a.chi2, b.chi2, rtol=1e-6)
    assert_allclose(a.n_effective, b.n_effective, rtol=1e-4)
    many = (b.n_effective > 20).to_numpy()
    assert many.sum() > 3 and np.abs((a.log_age - b.log_age) / b.log_age_std)[many].max() < 1
    assert (a.a_v_p05 <= a.a_v_p16).all() and (a.a_v_p16 <= a.a_v).all() and (a.a_v <= a.a_v_p95).all()


def test_weighted_percentiles():
    values = np.repeat([3.0, 1.0, 2.0], [20, 50, 30])
    assert_allclose(
        weighted_percentiles(np.array([3.0, 1.0, 2.0]), np.array([0.2, 0.5, 0.3]), [25, 50, 80]),
        [1, 1.625, 2.6],
    )
    assert abs(weighted_percentiles(values, np.ones(100), [50])[0] - np.median(values)) < 0.6


def test_library_in_bands(tmp_path):
    bands = tuple(f"sdss2010-{b}" for b in "ugriz")
    library = build_library(tmp_path / "b", bands=bands, ssp="bc03_stelib", redshift=(0.05, 0.15), n=200)
    assert library.bands == bands and library.flux.shape == (200, 5) and np.ptp(library.redshift) > 0.08
    light = np.asarray(library.flux[:5], float)
    fit = fit_models(replace(library.take(np.arange(5)), flux_err=0.02 * light), library, error_floor=0.02)
    assert np.isfinite(fit.log_mstar).all() and abs(fit.log_mstar.median() - 10) < 0.5


def test_one_call_fits_a_sample(tmp_path):
    table = fit_sample(SAMPLE, "library", tmp_path, ssp="bc03_stelib", n_models=200)
    assert (
        list(table.index) == ["a", "b", "c", "d"]
        and {f"{p}_p95" for p in FITTED} <= set(table)
        and (table.status == "done").all()
    )
    with pytest.raises(InputError, match="method"):
        fit_sample(SAMPLE, "guess", tmp_path)


def test_scores_of_known_errors(tmp_path):
    import pandas as pd

    rng = np.random.default_rng(1)
    rows = {"method": "m", "universe": np.repeat(list("abcde"), 400)}
    for p in FITTED:
        truth = rng.normal(size=2000)
        found = truth + 0.3 * rng.normal(size=2000) + 0.1
        rows |= {f"truth_{p}": truth, p: found} | {
            p + end: found + z * 0.3 - 0.1
            for end, z in {"_p05": -1.645, "_p16": -1, "_p84": 1, "_p95": 1.645}.items()
        }
    table = pd.DataFrame(rows)
    scores = score_methods(table)
    assert_allclose(scores.rmse, np.hypot(0.3, 0.1), atol=0.02)
    assert_allclose(scores.bias, 0.1, atol=0.03)
    assert_allclose(scores.cover68, 0.683, atol=0.03)
    assert_allclose(scores.cover90, 0.90, atol=0.03)
    with pytest.raises(InputError, match="holds no results"):
        load_methods(tmp_path)


def test_stored_results_are_whole(tmp_path):
    tables, record = load_methods()
    bagpipes = tables["simulated"].query("method == 'bagpipes'")
    assert (
        len(bagpipes) >= 20
        and bagpipes.galaxy.is_unique
        and len(tables["observed"].query("method == 'library'")) >= 2
    )
    assert (tables["simulated"].query("method == 'library'").groupby("galaxy").size() == 1).all() and len(
        tables["simulated"].query("method == 'library'")
    ) >= 500
    save_methods(tmp_path, tables, {})
    (tmp_path / "single.csv").write_text("snr\n1\n")
    with pytest.raises(InputError, match="single.csv was changed"):
        load_methods(tmp_path)


def test_noise_has_the_level_asked_for():
    survey = replace(SAMPLE, meta={"fwhm_kms": 500.0})
    seen = observe_at(SAMPLE, survey, 25, 1)
    assert_allclose(np.median(SAMPLE.flux / seen.flux_err, axis=1), 25, rtol=1e-6)
    assert 0.5 < np.std((seen.flux - SAMPLE.flux) / seen.flux_err) < 1.5
    with pytest.raises(InputError, match="one grid"):
        observe_at(SAMPLE, replace(survey, wave=WAVE * 1.1), 25, 1)


class TestBagpipes:
    "BAGPIPES itself."

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("bagpipes", reason="bagpipes is not installed; pip install 'gencast[sed]'")
        pytest.importorskip("nautilus", reason="nautilus is not installed; pip install 'gencast[sed]'")

    def test_quick_average_is_that_of_spectres(self):
        import spectres

        old, new = np.geomspace(4000, 8000, 900), np.geomspace(4200, 7800, 100)
        flux = 1 + 0.3 * np.sin(old / 40)
        assert_allclose(fullfit.average_pixels(new, old, flux), spectres.spectres(new, old, flux), rtol=2e-4)

    def test_our_model_of_a_galaxy_is_that_of_bagpipes(self, tmp_path):
        """Spectrum, mass, age and rate of a library model against BAGPIPES' own, and the likelihood at the
        truth.
        """
        wave = rebin(Sample("grid", np.ones((1, 950)), np.geomspace(3830, 7380, 950))).wave
        narrow = Priors(eta=(1.5, 1.500001), metallicity=(0.99, 1.01), alpha=(0.5, 5), beta=(0.5, 5))
        library = build_library(tmp_path / "l", narrow, wave=wave, n=20)
        drawn = draw_parameters(narrow, universe_age(0.1), 20, 1)
        light = np.asarray(library.flux, float)
        tasks = make_tasks(
            replace(library, flux_err=0.02 * light),
            0.1,
            narrow,
            1,
            1,
            fullfit.SETTINGS | {"error_floor": 0.0, "r_spec": 2000.0, "fwhm_kms": 500.0},
        )
        with fullfit.quiet_bagpipes(0.1, 2000.0) as bagpipes:
            for i in range(5):
                model = fullfit.make_likelihood(bagpipes, tasks[i], str(tmp_path))
                values = dict(zip(("alpha", "beta", "massformed", "metallicity", "tau"), drawn[i])) | {
                    "Av": drawn[i, 5],
                    "eta": 1.5,
                }
                formed = (
                    10
                    - derive_properties(np.array([[*drawn[i, :2], 0.0, *drawn[i, 3:]]]), universe_age(0.1))[
                        "log_mstar"
                    ][0]
                )
                values["massformed"] = formed - np.log10(fullfit.IMF_TO_CHABRIER["Kroupa"])
                point = np.array([values[p.split(":")[1]] for p in model.params])
                model.lnlike(point)
                seen, used = model.galaxy.spectrum[:, 1], tasks[i].weight > 0
                ratio = model.model_galaxy.spectrum[used, 1] / seen[used]
                assert np.abs(ratio - 1).max() < 0.04 and abs(np.median(ratio) - 1) < 0.02
                sfh = model.model_galaxy.sfh
                assert abs(np.log10(sfh.mass_weighted_age) - library.properties["log_age"][i]) < 0.01
                rate = np.log10(sfh.sfr) + np.log10(fullfit.IMF_TO_CHABRIER["Kroupa"])
                assert (
                    abs(rate - library.properties["log_sfr"][i]) < 0.03
                    or library.properties["log_sfr"][i] < -2.9
                )

    def test_matplotlib_and_settings_stay(self, tmp_path, monkeypatch):
        import bagpipes
        import matplotlib

        monkeypatch.chdir(tmp_path)
        before = dict(matplotlib.rcParams), bagpipes.config.R_spec, bagpipes.config.max_redshift
        with pytest.raises(RuntimeError):
            with fullfit.quiet_bagpipes(0.1, 500.0):
                raise RuntimeError
        assert before == (
            dict(matplotlib.rcParams),
            bagpipes.config.R_spec,
            bagpipes.config.max_redshift,
        ) and not os.listdir(tmp_path)


def test_the_command_fits_and_says_so(tmp_path, capsys):
    from gencast.cli.main import main

    for _ in range(2):  # the second time the library is there
        with pytest.raises(SystemExit) as end:
            main(["fit", "--models", "400", "--out", str(tmp_path / "fit")])
        assert not end.value.code
    (said, bars), table = capsys.readouterr(), pd.read_csv(tmp_path / "fit" / "fits.csv")
    assert "library fit" not in said and bars.count("library fit ") == 2 and "\r" not in bars
    assert "log_mstar [dex(Msun)]" in said and "fewer than 20 models" in said and len(table) == 2
    assert (table.log_mstar_p16 <= table.log_mstar).all() and table.log_mstar.between(6, 12).all()
    with pytest.raises(SystemExit) as end:
        main(["fit", "--budget", "3", "--out", str(tmp_path / "fit")])
    assert end.value.code == 2 and "--budget is for --method bagpipes" in capsys.readouterr().err
