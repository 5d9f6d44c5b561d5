"""Results are refused when broken; figures show what the tables say, with units, and leave matplotlib as it
was."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest

from gencast import figures, report
from gencast.core.base import InputError
from gencast.report.examples import toy_law_results, toy_results
from gencast.report.forecast_sentences import describe_forecast
from gencast.report.pairs import heldout_pairs, outliers, pair_table
from gencast.report.results import TABLES, load_results

ROOT = Path(__file__).resolve().parent.parent
N = 12  # simulations of the made-up run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return toy_results(tmp_path_factory.mktemp("results") / "toy", n_sim=N)


@pytest.fixture(scope="module")
def signals_folder(tmp_path_factory) -> Path:
    return toy_law_results(tmp_path_factory.mktemp("results") / "toy", n_sim=N)


@pytest.fixture(scope="module")
def results(folder):
    return load_results(folder)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def calls(results) -> dict:
    "Every figure that draws on one pair of axes."
    target = results.simulations.name[3]
    return {
        "plot_error_distance": lambda **k: figures.plot_error_distance(results, target, **k),
        "plot_law": lambda **k: figures.plot_law(results, "toy_survey", **k),
        "plot_error_matrix": lambda **k: figures.plot_error_matrix(results, **k),
        "plot_distance_matrix": lambda **k: figures.plot_distance_matrix(results, **k),
        "plot_predicted_true": lambda **k: figures.plot_predicted_true(results, **k),
        "plot_forecast": lambda **k: figures.plot_forecast(results, target, **k),
        "plot_support": lambda **k: figures.plot_support(results, "toy_survey", **k),
        "plot_spectra": lambda **k: figures.plot_spectra(results, "toy_survey", **k),
        "plot_features": lambda **k: figures.plot_features(results, **k),
        "plot_galaxies": lambda **k: figures.plot_galaxies(results, "toy_survey", **k),
    }


FIGURES = [
    "plot_error_distance",
    "plot_law",
    "plot_error_matrix",
    "plot_distance_matrix",
    "plot_predicted_true",
    "plot_forecast",
    "plot_support",
    "plot_spectra",
    "plot_features",
    "plot_galaxies",
]
UNITS = {
    "plot_error_distance": "[dex",
    "plot_law": "[dex",
    "plot_predicted_true": "[dex²]",
    "plot_forecast": "[dex]",
    "plot_support": "[dex]",
    "plot_spectra": "[Å]",
    "plot_features": "[Å]",
    "plot_galaxies": "M_\\odot",
}


def points(ax) -> int:
    "Points drawn with a marker, in data coordinates."
    return sum(
        len(line.get_xdata())
        for line in ax.lines
        if line.get_marker() not in ("None", "", None) and line.get_transform() == ax.transData
    )


@pytest.mark.parametrize("name", FIGURES)
def test_figure_uses_the_axes_it_is_given_and_changes_no_settings(results, name):
    before = dict(matplotlib.rcParams)
    fig, mine = plt.subplots()
    assert calls(results)[name](ax=mine) is mine
    assert plt.get_fignums() == [fig.number], "no other figure is made"
    own = calls(results)[name]()
    assert own is not mine and own.figure.get_constrained_layout()
    assert dict(matplotlib.rcParams) == before
    own.figure.draw_without_rendering()


@pytest.mark.parametrize("name", UNITS)
def test_labels_carry_units(results, name):
    ax = calls(results)[name]()
    assert UNITS[name] in ax.get_xlabel() and ax.get_ylabel()


def test_matrices_hold_every_pair_and_a_labelled_bar(results):
    for name in ("plot_error_matrix", "plot_distance_matrix"):
        ax = calls(results)[name]()
        assert ax.images[0].get_array().shape == (N, N)
        assert "[dex" in ax.figure.axes[-1].get_ylabel()
        assert {t.get_text().split()[0] for t in ax.get_yticklabels()} == set(results.simulations.name)


def test_error_distance_shows_all_sources_the_line_and_the_band(results):
    target = results.simulations.name[3]
    ax = figures.plot_error_distance(results, target)
    assert points(ax) == N, "eleven sources and the target's own model"
    pairs = pair_table(results).query("target == @target")
    drawn = np.sort(
        np.concatenate([line.get_ydata() for line in ax.lines if line.get_marker() not in ("None", "")])
    )
    np.testing.assert_allclose(drawn, np.sort(pairs.mse))
    numbers = {t.get_text() for t in ax.texts}
    assert numbers == {str(i) for i in range(1, N + 1)} - {"4"}, "each source has its number"
    assert len(ax.collections) == 1, "the held-out band"
    assert target in ax.get_title("left")


def test_numbers_do_not_cover_each_other(results):
    ax = figures.plot_error_distance(results, results.simulations.name[3])
    ax.figure.draw_without_rendering()
    boxes = [t.get_window_extent() for t in ax.texts]
    clash = [
        (a, b)
        for i, a in enumerate(boxes)
        for b in boxes[:i]
        if a.shrunk(0.7, 0.7).overlaps(b.shrunk(0.7, 0.7))
    ]
    assert not clash


def test_all_targets_and_suite_have_a_panel_each(results):
    before = dict(matplotlib.rcParams)
    axes = figures.plot_all_targets(results, columns=5)
    assert len(axes.flat[0].figure.axes) == N
    assert all(points(ax) == N for ax in axes.flat[:N])
    panels = figures.plot_suite(results)
    assert [
        "M_\\odot" in panels[0].get_xlabel(),
        "Gyr" in panels[1].get_xlabel(),
        "mag" in panels[2].get_xlabel(),
    ] == [True] * 3
    assert dict(matplotlib.rcParams) == before


def test_predicted_true_shows_every_pair_and_its_score(results):
    ax = figures.plot_predicted_true(results)
    assert points(ax) == N * (N - 1)
    rows = heldout_pairs(results)
    r2 = 1 - (rows.residual**2).sum() / ((rows.log_mse - rows.log_mse.mean()) ** 2).sum()
    assert f"R² = {r2:.2f}" in ax.texts[0].get_text()


def test_forecast_leaves_out_numbers_beyond_the_range(results):
    rows = results.forecasts.query("target == 'toy_survey'")
    ax = figures.plot_forecast(results, "toy_survey")
    assert points(ax) == rows.in_support.sum() < N
    assert "outside" in " ".join(t.get_text() for t in ax.texts)
    truth = figures.plot_forecast(results, results.simulations.name[0])
    assert "true RMSE" in [t.get_text() for t in truth.get_legend().get_texts()]


def test_too_few_simulations_for_an_interval(results):
    heldout = results.heldout.assign(lower=-np.inf, upper=np.inf)
    bare = replace(results, heldout=heldout, forecasts=results.forecasts.assign(lower=0.0, upper=np.inf))
    for name in ("plot_error_distance", "plot_predicted_true", "plot_forecast", "plot_law"):
        calls(bare)[name]().figure.draw_without_rendering()
    assert "too few simulations" in describe_forecast(bare, "toy_survey")


def test_unknown_names_are_refused(results):
    target = results.simulations.name[0]
    for call in [
        lambda: figures.plot_error_distance(results, "eagle"),
        lambda: figures.plot_error_distance(results, target, property="log_mass"),
        lambda: figures.plot_error_distance(results, target, color_by="colour"),
        lambda: figures.plot_forecast(results, "toy_survey", view="photometry"),
        lambda: figures.plot_spectra(results, "toy_survey", galaxy="g9"),
        lambda: report.tabulate_scores(results, law="magic"),
    ]:
        with pytest.raises(InputError, match="there are|choose"):
            call()


def test_outliers_are_the_largest_residuals(results):
    target = results.simulations.name[0]
    rows = heldout_pairs(results, target)
    worst = outliers(results, target, n=3)
    np.testing.assert_allclose(worst.residual.abs(), np.sort(rows.residual.abs())[::-1][:3])
    assert {"ssp", "dust", "history", "enrichment"} <= set(worst)


# what a run that was stopped, or edited, may leave
BROKEN = {
    "missing": lambda p: p.unlink(),
    "empty": lambda p: p.write_bytes(b""),
    "cut off": lambda p: p.write_bytes(p.read_bytes()[:-7]),
    "without a column": lambda p: p.write_text(
        "\n".join(line.split(",", 1)[1] for line in p.read_text().splitlines()) + "\n"
    ),
}


@pytest.mark.parametrize("damage", BROKEN)
@pytest.mark.parametrize("table", TABLES)
def test_broken_table_is_refused_by_name(tmp_path, table, damage):
    folder = toy_results(tmp_path / "toy", n_sim=4)
    BROKEN[damage](folder / f"{table}.csv")
    with pytest.raises(InputError, match=f"{table}.csv.*gencast run"):
        load_results(folder)


def test_words_in_a_column_of_numbers_are_refused(tmp_path):
    folder = toy_results(tmp_path / "toy", n_sim=4)
    path = folder / "errors.csv"
    lines = path.read_text().splitlines()
    lines[2] = ",".join(
        "oops" if i == lines[0].split(",").index("mse") else v for i, v in enumerate(lines[2].split(","))
    )
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(InputError, match="errors.csv.*'mse'"):
        load_results(folder)


def test_half_written_json_is_refused(tmp_path):
    folder = toy_results(tmp_path / "toy", n_sim=4)
    (folder / "run.json").write_text(json.dumps({"seed": 1})[:-3])
    with pytest.raises(InputError, match="run.json"):
        load_results(folder)


def test_a_name_that_pandas_would_take_for_missing_survives(tmp_path):
    folder = toy_results(tmp_path / "toy", n_sim=4)
    for path in folder.glob("*.csv"):
        path.write_text(path.read_text().replace("bc03-calzetti-tau", "NA"))
    assert load_results(folder).simulations.name[0] == "NA"


def test_results_import_is_light():
    "Notebook kernels start fast: no scikit-learn, SciPy or astropy behind results and plots."
    code = (
        "import sys, gencast.figures.spectra, gencast.figures.errors, gencast.report.forecast_sentences; "
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


@pytest.mark.parametrize(
    "template, target, count, more",
    [("simulation", "", 4, 1), ("survey", "toy_survey", 5, 0), ("summary", None, 11, 2)],
)
@pytest.mark.parametrize("tables", ["a line", "many signals"])
def test_template_runs_and_shows_every_figure(
    folder, signals_folder, tmp_path, template, target, count, more, tables
):
    papermill = pytest.importorskip("papermill")
    rich = tables == "many signals"
    parameters = {"results": str(signals_folder if rich else folder)} | (
        {} if target is None else {"target": target}
    )
    out = tmp_path / "out.ipynb"
    papermill.execute_notebook(
        str(ROOT / f"nbs/targets/{template}.ipynb"),
        str(out),
        parameters,
        kernel_name="python3",
        language="python",
        progress_bar=False,
        cwd=str(tmp_path),
    )
    outputs = [o for c in nbformat.read(out, 4).cells if c.cell_type == "code" for o in c.outputs]
    assert sum("image/png" in o.get("data", {}) for o in outputs) == count + more * rich
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
