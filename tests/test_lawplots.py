"""Reports and figures of the law: scores agree with their definitions, sentences with the numbers, figures
with the tables."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

from gencast import figures, report
from gencast.core.base import InputError
from gencast.figures.signals import signal_table
from gencast.report import laws as lawreports
from gencast.report.examples import toy_law_results, toy_results
from gencast.report.pairs import heldout_pairs
from gencast.report.results import load_results

N = 12  # simulations of the made-up run
STACK, PAPER = ("stack", "mean_euclidean"), lawreports.PAPER_LAW


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return load_results(toy_law_results(tmp_path_factory.mktemp("results") / "toy", n_sim=N))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return load_results(toy_results(tmp_path_factory.mktemp("results") / "plain", n_sim=N))


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_scores_are_those_of_their_definition_and_errors_those_of_the_jackknife(results):
    from sklearn.metrics import mean_absolute_error, r2_score

    table = report.law_scores(results).set_index("law")
    for law in ("stack", "pooled_line", "constant"):
        rows = heldout_pairs(results, law=law)
        assert table.r2[law] == pytest.approx(r2_score(rows.log_mse, rows.predicted))
        assert table.mae_dex[law] == pytest.approx(mean_absolute_error(rows.log_mse, rows.predicted))
        less = [rows[rows.target != t] for t in rows.target.unique()]
        for name, score in (("r2", r2_score), ("mae_dex", mean_absolute_error)):
            values = np.array([score(r.log_mse, r.predicted) for r in less])
            assert table[f"{name}_error"][law] == pytest.approx(
                np.sqrt((N - 1) / N * ((values - values.mean()) ** 2).sum())
            )


def test_a_gain_turns_its_sign_with_the_laws(results):
    gain, error = lawreports.law_gain(results, STACK, PAPER)
    back, same = lawreports.law_gain(results, PAPER, STACK)
    assert gain == pytest.approx(-back) and error == pytest.approx(same) and gain > 3 * error
    assert lawreports.law_gain(results, STACK, STACK) == (0, 0)


def test_skill_is_claimed_only_where_there_is_some(results):
    "The sentence turns when the line becomes as poor as a constant."
    assert "no skill" not in report.describe_law(results)
    held = results.heldout.copy()
    paper = held.law == "pooled_line"
    held.loc[paper, "predicted"] = held.log_mse[paper].mean() + np.random.default_rng(99).normal(
        0, 0.2, paper.sum()
    )
    text = report.describe_law(replace(results, heldout=held))
    assert (
        "the mean Euclidean distance alone has no skill" in text and "the law stack has no skill" not in text
    )
    held.loc[held.law == "stack", "predicted"] = held.predicted[paper].to_numpy()
    assert "the law stack has no skill" in report.describe_law(replace(results, heldout=held))


def test_family_scores_without_an_interval_are_not_called_covered(results):
    scores = results.scores.assign(
        width_90=np.where(results.scores.protocol == "leave-family-out", np.inf, 0.3), coverage_90=1.0
    )
    text = report.describe_law(replace(results, scores=scores))
    assert "too few simulations for a 90 % interval" in text and "100 %" not in text
    ax = figures.plot_coverage(replace(results, scores=scores))
    assert [
        len(line.get_xdata())
        for line in ax.lines
        if line.get_linestyle() == "-" and line.get_marker() in "osD"
    ] == [3, 2, 2] or ax.containers


def test_direction_is_right_for_a_law_that_knows_the_truth(results):
    held = results.heldout.copy()
    stack = held.law == "stack"
    held.loc[stack, "predicted"] = held.log_mse[stack]
    text = report.describe_direction(replace(results, heldout=held))
    assert "rightly says in 100 %" in text and "by 0.00 dex" in text
    held.loc[stack, "predicted"] = -held.log_mse[stack]
    assert "rightly says in 0 %" in report.describe_direction(replace(results, heldout=held))


@pytest.mark.parametrize(
    "tier, word",
    [("inside", "inside the range"), ("edge", "at the edge"), ("outside", "no interval is given")],
)
def test_each_tier_has_its_words(results, tier, word):
    cast = replace(results, forecasts=results.forecasts.assign(tier=tier, in_support=tier != "outside"))
    assert word in report.describe_support(cast, "toy_survey") and "97 %" in report.describe_support(
        cast, "toy_survey"
    )
    row = report.tabulate_forecasts(cast).iloc[0]
    assert row.tier == tier and (row["best source"] == "none") == (tier == "outside")


def test_an_interval_without_ends_is_not_shown_as_one(results):
    ends = {"lower": 0.0, "upper": np.inf, "bias_lower": -np.inf, "bias_upper": np.inf}
    endless = replace(
        results,
        forecasts=results.forecasts.assign(tier="edge", **ends),
        combined=results.combined.assign(**ends),
    )
    for table in (
        report.tabulate_sources(endless, "toy_survey"),
        report.tabulate_forecasts(endless),
        report.tabulate_predictors(endless, "toy_survey"),
    ):
        assert table[["lower", "upper"]].isna().all(axis=None) and table.rmse.notna().all()
    assert "no 90 % interval can be promised" in report.describe_support(endless, "toy_survey")
    assert "can be promised" not in report.describe_support(results, "toy_survey")


def test_summary_gives_the_interval_of_a_chosen_source(results):
    best, row = (
        results.combined[results.combined.predictor == "best"].iloc[0],
        report.tabulate_forecasts(results).iloc[0],
    )
    assert (row.lower, row.upper) == (round(best.lower, 3), round(best.upper, 3))


def test_split_adds_up_to_the_error(results):
    rows = results.decomposition
    target = rows.target[0]
    ax = figures.plot_split(results, target)
    ends = sorted(p.get_x() + p.get_width() for p in ax.patches)[N - 1 :]
    mine = rows[rows.target == target]
    np.testing.assert_allclose(ends, np.sort(mine.in_domain + mine.wrong_inverse), rtol=1e-6)
    np.testing.assert_allclose(np.sort(ax.lines[0].get_xdata()), np.sort(mine.mse))


def test_laws_are_drawn_on_one_scale_with_every_pair(results):
    axes = figures.plot_laws(results)
    assert axes[0].get_xlim() == axes[1].get_xlim() == axes[0].get_ylim()
    for ax, law in zip(axes, (PAPER, STACK)):
        drawn = np.concatenate(
            [line.get_ydata() for line in ax.lines if line.get_marker() not in ("None", "")]
        )
        np.testing.assert_allclose(np.sort(drawn), np.sort(heldout_pairs(results, law=law[0]).predicted))
        assert "[dex²]" in ax.get_xlabel()
    assert len(figures.plot_laws(results, results.simulations.name[0], (STACK,))) == 1


def test_signals_come_in_the_order_of_what_they_tell(results):
    from scipy.stats import spearmanr

    axes = figures.plot_signals(results)
    table = signal_table(results)
    assert len(table) == N * (N - 1)
    rho = np.mean([spearmanr(part.consensus, part.log_mse)[0] for _, part in table.groupby("target")])
    assert axes[0].get_title("left") == "consensus" and f"ρ {rho:+.2f}" in axes[0].texts[0].get_text()


def test_data_forecast_shows_every_row_and_no_interval_outside(results):
    axes = figures.plot_data_forecast(results, "toy_survey")
    assert (
        len(axes[0].get_yticklabels()) == N + 3
        and "[dex]" in axes[0].get_xlabel()
        and "[dex]" in axes[1].get_xlabel()
    )
    assert len(axes[0].collections) == len(axes[1].collections) == N + 3
    blank = {c: np.nan for c in ("lower", "upper", "bias_lower", "bias_upper")}
    out = replace(
        results,
        forecasts=results.forecasts.assign(in_support=False, tier="outside", **blank),
        combined=results.combined.assign(**blank),
    )
    axes = figures.plot_data_forecast(out, "toy_survey")
    assert not len(axes[0].collections) and "outside" in axes[0].get_title("left")


def test_figures_use_the_axes_they_are_given_and_change_no_settings(results):
    before, target = dict(matplotlib.rcParams), results.simulations.name[0]
    for draw in (
        figures.plot_coverage,
        figures.plot_law_ranking,
        lambda r, **k: figures.plot_law_ranking(r, "r2", **k),
        lambda r, **k: figures.plot_split(r, target, **k),
        lambda r, **k: figures.plot_galaxy_errors(r, "toy_survey", **k),
    ):
        mine = plt.subplots()[1]
        assert draw(results, ax=mine) is mine and mine.get_xlabel() and mine.get_ylabel() is not None
        draw(results).figure.draw_without_rendering()
    assert dict(matplotlib.rcParams) == before


def test_what_a_run_did_not_leave_is_refused_or_left_out(plain):
    target = plain.simulations.name[0]
    for draw in (
        figures.plot_signals,
        lambda r: figures.plot_split(r, target),
        lambda r: figures.plot_galaxy_errors(r, "toy_survey"),
    ):
        with pytest.raises(InputError, match="gencast run"):
            draw(plain)
    with pytest.raises(InputError, match="choose"):
        figures.plot_law_ranking(plain, "mse")
    assert not len(report.tabulate_predictors(plain, "toy_survey")) and not len(
        report.tabulate_relations(plain)
    )
    assert len(figures.plot_data_forecast(plain, "toy_survey")[0].get_yticklabels()) == N
    assert len(figures.plot_laws(plain)) == 1, "the paper's line is the law of the forecasts"


def test_made_up_runs_are_the_same_for_the_same_seed(tmp_path):
    a, b, c = (
        toy_law_results(tmp_path / name, n_sim=6, seed=seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    def read(folder):
        return {p.name: p.read_bytes() for p in folder.iterdir()}

    assert read(a) == read(b) != read(c)
    assert json.loads((a / "run.json").read_text())["parameters"]["law"] == "stack"


def test_import_is_light():
    code = (
        "import sys, gencast.figures.laws, gencast.figures.signals; "
        "print([m for m in ('sklearn', 'scipy', 'astropy', 'joblib') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "MPLBACKEND": "agg"},
    )
    assert done.stdout.strip() == "[]"
