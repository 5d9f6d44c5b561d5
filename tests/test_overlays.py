"""The simulated galaxies most like an observed one, the forecasts in bins, two views side by side: tables and
figures."""

from dataclasses import replace

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.sample import Sample
from gencast.features.table import line_mask
from gencast.figures.overlays import plot_overlay, plot_overlays
from gencast.regression.views import KnownErrors
from gencast.report.bins import bin_facts, describe_bins, forecast_bins, heldout_bins
from gencast.report.examples import toy_results
from gencast.report.overlays import FEWEST, REDSHIFT_WINDOW, SOFTENING, overlay_rows
from gencast.report.results import load_results
from gencast.report.views import describe_views, tabulate_views

WAVE = np.geomspace(3850, 7800, 240)
BANDS = ("sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z")


def shapes(n, seed, wave=WAVE):
    rng = np.random.default_rng(seed)
    slope, wiggle = rng.uniform(-2, 1, n)[:, None], rng.uniform(0, 0.2, n)[:, None]
    return (
        10 ** rng.uniform(5, 8, n)[:, None]
        * (wave / 5500) ** slope
        * (1 + wiggle * np.sin(30 * np.log(wave)))
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return load_results(toy_results(tmp_path_factory.mktemp("toy") / "toy", n_sim=5))


@pytest.fixture(scope="module")
def library(toy):
    return [Sample(name, shapes(150, k), WAVE) for k, name in enumerate(toy.simulations.name)]


@pytest.fixture(scope="module")
def seen():
    flux = shapes(14, 99)
    err = 0.05 * flux
    err[0, 50:60] = flux[0, 50:60] = 3e9  # bridged
    return Sample(
        "toy_survey",
        flux,
        WAVE,
        flux_err=err,
        redshift=np.linspace(0.02, 0.1, 14),
        ids=tuple(f"g{k}" for k in range(14)),
    )


@pytest.fixture
def results(toy, seen, library):
    yield replace(toy, overlays=overlay_rows(seen, library))
    plt.close("all")


def test_nearest_is_that_of_a_plain_search(seen, library):
    rows = overlay_rows(seen, iter(library), n_gal=3, n=5)
    free = line_mask(WAVE)
    for k in range(3):
        use = free & (seen.flux_err[k] < 0.9 * seen.flux[k])
        found = []
        for sample in library:
            for i, flux in enumerate(sample.flux):
                gap = np.log10(seen.flux[k] / flux)[use]
                w = 1 / ((seen.flux_err[k] / seen.flux[k])[use] ** 2 / np.log(10) ** 2 + SOFTENING**2)
                found.append(
                    (np.sqrt(np.average((gap - np.average(gap, weights=w)) ** 2, weights=w)), sample.name, i)
                )
        best = min(found)
        first = rows[(rows.galaxy == f"g{k}") & (rows["rank"] == 1)].iloc[0]
        assert (first.simulation, first.number) == best[1:]
        assert_allclose(first.rms, best[0], rtol=1e-6)
        each = rows[(rows.galaxy == f"g{k}") & (rows["rank"] > 0)].groupby("simulation").rms.first()
        for name, rms in each.items():
            assert_allclose(rms, min(f[0] for f in found if f[1] == name), rtol=1e-6)


def test_a_copy_is_found_whatever_its_brightness_its_lines_and_its_gaps(library):
    source = library[2]
    flux = 7 * source.flux[[31]].astype(float)
    flux[:, ~line_mask(WAVE)] *= 20  # emission
    err = 0.02 * flux
    flux[0, 100:104] = err[0, 100:104] = 1.0
    rows = overlay_rows(Sample("one", flux, WAVE, flux_err=err), library)
    first = rows[rows["rank"] == 1]
    assert first.simulation.iloc[0] == source.name and first.number.iloc[0] == 31 and first.rms.iloc[0] < 1e-9
    assert_allclose(first.level, np.log10(7), atol=1e-9)
    assert_allclose(first.flux, 7 * source.flux[31], rtol=1e-9)
    assert rows[rows["rank"] == 0].masked.sum() == 4


def test_photometry_is_compared_at_its_redshift():
    rng, wave = np.random.default_rng(3), np.array([4700.0, 6200, 7500, 8900])
    z = rng.uniform(0.02, 0.4, 2000)
    sample = Sample("sim", shapes(2000, 5, wave), wave, BANDS, redshift=z)
    seen = Sample(
        "sky",
        shapes(4, 6, wave),
        wave,
        BANDS,
        0.03 * shapes(4, 6, wave),
        redshift=np.array([0.1, 0.2, 0.3, 0.9]),
    )
    rows = overlay_rows(seen, [sample])
    near = rows[rows["rank"] == 1].groupby("galaxy", sort=False).redshift.first().to_numpy()
    assert (np.abs(near[:3] - [0.1, 0.2, 0.3]) <= REDSHIFT_WINDOW).all()
    assert near[3] >= np.sort(z)[-FEWEST]  # nothing at 0.9: among the thirty nearest
    assert_allclose(rows[rows.galaxy == "0"].wave.unique(), wave / 1.1)


def test_another_grid_is_refused(seen, library):
    with pytest.raises(InputError, match="240 and 200|200 and 240"):
        overlay_rows(seen, [replace(library[0], flux=library[0].flux[:, :200], wave=WAVE[:200])])


def test_figure_shows_observed_and_simulated_with_names_lines_and_gaps(results):
    before = dict(matplotlib.rcParams)
    fig, mine = plt.subplots()
    ax = plot_overlay(results, "toy_survey", "g0", ax=mine)
    assert ax is mine and dict(matplotlib.rcParams) == before
    low = fig.axes[-1]
    labels = [t.get_text() for t in ax.get_legend().get_texts()]
    assert labels[0] == "observed" and len(labels) == 4 and all("dex" in t for t in labels[1:])
    assert (
        "[Å]" in low.get_xlabel()
        and "[dex]" in low.get_ylabel()
        and {"Hα", "Mg b"} <= {t.get_text() for t in ax.texts}
    )
    assert [p for p in ax.patches if p.get_hatch()] and not np.isfinite(low.lines[0].get_ydata()[50:60]).any()
    drawn = ax.lines[0].get_ydata()
    assert_allclose(
        drawn * results.overlays.query("galaxy == 'g0' and rank == 0").flux.median(),
        results.overlays.query("galaxy == 'g0' and rank == 1").flux,
    )
    fig.canvas.draw()


def test_a_dozen_at_most_and_names_that_are_there(results):
    axes = plot_overlays(results, "toy_survey")
    assert axes.size == 12 and results.overlays.galaxy.nunique() == 12
    assert plot_overlays(results, "toy_survey", n=3).shape == (2, 2)
    with pytest.raises(InputError, match="nobody"):
        plot_overlay(results, "toy_survey", "nobody")


def test_photometry_has_error_bars(toy):
    wave = np.array([4700.0, 6200, 7500, 8900])
    sample = Sample(toy.simulations.name[0], shapes(50, 5, wave), wave, BANDS, redshift=np.full(50, 0.1))
    seen = Sample("sky", shapes(1, 6, wave), wave, BANDS, 0.03 * shapes(1, 6, wave), redshift=np.array([0.1]))
    ax = plot_overlay(replace(toy, overlays=overlay_rows(seen, [sample])), "sky")
    assert len(ax.containers) == 1 and ax.get_yscale() == "log" and "z = 0.1000" in ax.get_title(loc="left")
    plt.close("all")


# bins


def galaxies(n=400, seed=2):
    rng = np.random.default_rng(seed)
    z = rng.uniform(0.02, 0.3, n)
    return pd.DataFrame(
        {
            "target": "sky",
            "property": "log_mstar",
            "redshift": z,
            "predicted": rng.normal(10, 0.5, n),
            "reference": np.nan,
            "reference_from": "",
            "magnitude": 15 + 10 * z,
            "snr": 100 / (1 + z),
            "expected_error": 0.05 + z,
            "inside": True,
        }
    )


def test_a_bin_is_forecast_from_its_own_galaxies():
    table = galaxies()
    bins = forecast_bins(table)
    assert (
        set(bins.by) == {"redshift", "predicted", "magnitude", "snr"}
        and (bins.groupby("by").n.sum() == len(table)).all()
    )
    by_z = bins[bins.by == "redshift"]
    for row in by_z.itertuples():
        mine = table[(table.redshift >= row.low) & (table.redshift <= row.high)]
        assert_allclose(row.forecast_rmse, np.sqrt((mine.expected_error**2).mean()))
    assert (
        by_z.forecast_rmse.is_monotonic_increasing
        and by_z.forecast_rmse.iloc[-1] > 2 * by_z.forecast_rmse.iloc[0]
    )
    assert (
        len(forecast_bins(table.drop(columns="expected_error"))) == 0 and len(forecast_bins(table[:20])) == 0
    )  # one bin is none


class Evidence:
    """Three simulations in which a source errs in proportion to how far it is from the consensus, or not at
    all so.
    """

    names = ("a", "b", "c")

    def __init__(self, follows):
        rng = np.random.default_rng(8)
        self.truth = [rng.normal(10, 0.5, 600) for _ in self.names]
        rise = [np.exp(t - 10) for t in self.truth]
        self.error = [0.2 * r * rng.choice([-1, 1], (3, 600)) for r in rise]
        self.gap = self.error if follows else [rng.normal(0, 0.2, (3, 600)) for _ in rise]

    def target(self, without, k):
        return type(
            "V",
            (),
            {
                "predicted": self.truth[k] + self.error[k],
                "consensus": self.truth[k] + self.error[k] - self.gap[k],
            },
        )

    def known(self, without, k):
        assert without == (k,)
        return KnownErrors(np.zeros((3, 3)), np.full(3, 1e-4), (k,))


def test_scores_of_bins_tell_skill_from_none():
    facts = {k: [np.full(600, np.nan)] * 3 for k in ("redshift", "magnitude")} | {
        "snr": [t for t in Evidence(True).truth]
    }
    good, none = (
        heldout_bins(Evidence(f), facts).query("by == 'snr'").set_index("models") for f in (True, False)
    )
    assert (good.r2 > 0.98).all() and (none.r2 < 0.2).all()
    assert good.n["all sources"] == 3 * 2 * 4 and good.n["best source"] == 3 * 4
    assert (good.chance < 0.1 * good.flat).all(), "errors of one size within a bin: little chance"
    assert_allclose(good.flat["all sources"], none.flat["all sources"], rtol=1e-9)
    told = {
        w: describe_bins(t.reset_index().assign(property="log_mstar", view="spectra"), "log_mstar", "spectra")
        for w, t in (("good", good), ("none", none))
    }
    assert "tell more than" in told["good"] and "tell no more than" in told["none"] and "S/N" in told["good"]
    assert describe_bins(pd.DataFrame(), "log_mstar", "spectra") == ""


def test_facts_are_those_of_the_surveys_band():
    wave = np.array([4700.0, 6200, 7500, 8900])
    flux = shapes(5, 1, wave)
    sample = Sample("sim", flux, wave, BANDS, 0.1 * flux, redshift=np.full(5, 0.2))

    def bright(band):
        return bin_facts([sample], replace(sample, meta={"columns": list("griz"), "reference_band": band}))[
            "magnitude"
        ][0]

    assert_allclose(
        bright("z") - bright("g"), -2.5 * np.log10(flux[:, 3] * wave[3] / (flux[:, 0] * wave[0])), rtol=1e-6
    )
    facts = bin_facts([Sample("spectra", shapes(4, 2), WAVE)], sample)
    assert all(np.isnan(facts[k][0]).all() and len(facts[k][0]) == 4 for k in facts)


def test_two_views_side_by_side(toy):
    table = tabulate_views(toy)
    held = toy.heldout
    by_hand = [10 ** (g.log_mse[g.predicted.idxmin()] / 2) for _, g in held.groupby("target")]
    assert_allclose(table.best_source[0], np.median(by_hand))
    assert (
        table["view"].tolist() == ["spectra"]
        and describe_views(table) == ""
        and table.data[0] == "toy_survey"
    )
    assert "photometry" in describe_views(pd.concat([table, table.assign(view="photometry")]))
