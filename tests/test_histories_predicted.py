"""Histories and dust slopes as properties of a run, for every tree model: leakage, bytes, tables, figures,
notebooks."""

import shutil
from dataclasses import replace

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.properties import HISTORIES
from gencast.core.sample import load_sample, save_sample
from gencast.data.suites import load_suite
from gencast.features.ranking import rank_features
from gencast.figures.histories import histories_of, plot_history
from gencast.models.ensembles import Boosting, RandomForest
from gencast.models.estimators import MODELS, fit_model, predict_with_spread
from gencast.models.timebins import as_shares, label_columns, labels_of, pick_labels, smape
from gencast.pipeline.configure import load_settings, make_settings
from gencast.pipeline.job import run
from gencast.pipeline.parts import load_labels, open_simulations, sample_path
from gencast.pipeline.selection import select_features
from gencast.regression.signals import DRAWN, TARGETS, consensus, likely_truths
from gencast.regression.views import KnownErrors, TargetView
from gencast.synthesis.agebins import age_bins
from gencast.synthesis.simulations import simulate

SMALL = {
    "quick": True,
    "n_galaxies": 200,
    "n_trees": 10,
    "notebooks": False,
    "progress": False,
    "jobs": 2,
    "views": ("spectra",),
}
PROPERTIES = ("log_mstar", "sfh", "dust_slope")
VICTIM = 3  # the simulation whose labels are shuffled


@pytest.fixture(scope="module")
def suite_file(some_universes):
    "Six universes of the default suite."
    return some_universes("six", 3, 6)


@pytest.fixture(scope="module")
def results(suite_file, tmp_path_factory):
    "A small run that predicts a mass, a history and a dust slope."
    return run(suite_file, out=tmp_path_factory.mktemp("run") / "six", properties=PROPERTIES, **SMALL)


def test_every_table_has_every_property(results):
    for name in (
        "errors",
        "distances",
        "features",
        "heldout",
        "scores",
        "forecasts",
        "galaxies",
        "signals",
        "decomposition",
        "relations",
        "combined",
    ):
        assert set(getattr(results, name).property) == set(PROPERTIES), name
    assert results.galaxies[results.galaxies.property == "sfh"].predicted.isna().all(), (
        "a history is no single number"
    )
    assert results.galaxies.expected_error.notna().all()


def test_features_are_chosen_for_a_history_where_a_family_is_held_out():
    "Where too few ranking trees have met no simulation of the family, a forest of its own ranks them."
    rng = np.random.default_rng(3)
    pool = [rng.normal(size=(150, 12)) for _ in range(3)]
    shares = [np.column_stack([np.exp(x[:, 4]), np.exp(-x[:, 7])]) for x in pool]
    chosen = select_features(pool, shares, -1, 1, n_features=2, n_clusters=2)
    assert set(chosen["chosen"]) == {4, 7}
    assert rank_features(pool[0], shares[0], seed=2)[[4, 7]].sum() > 0.5
    with pytest.raises(InputError, match="history"):
        rank_features(pool[0], shares[0][:-1], seed=2)


def test_errors_of_histories_are_those_of_the_stored_predictions(results):
    "The SMAPE of Lovell et al. (2019), by a formula of its own, and the Wasserstein distance by SciPy."
    from scipy.stats import wasserstein_distance

    settings = load_settings(results.folder)
    names, row = settings.suite.names, results.errors.query("property == 'sfh'").iloc[8]  # source 1, target 2
    with np.load(results.folder / "cache" / f"errors-spectra-sfh-{row.source}.npz") as stored:
        predicted = stored["predicted"]
    simulations = open_simulations(results.folder, settings, "spectra")
    truth = [load_labels(simulations, n, "test", "sfh") for n in names]
    start = sum(map(len, truth[: names.index(row.target)]))
    t, p = truth[names.index(row.target)], predicted[start : start + len(truth[names.index(row.target)])]
    each = [
        100 * sum(abs(a - b) for a, b in zip(x, y)) / sum(a + b for a, b in zip(x, y)) for x, y in zip(t, p)
    ]
    assert_allclose(
        [row.rmse, row.smape], [np.sqrt(np.mean(np.square(each))) / 100, np.median(each) / 100], rtol=1e-5
    )
    edges = HISTORIES["sfh"].edges
    points = np.concatenate(
        [np.linspace(lo, hi, 401)[:-1] + (hi - lo) / 800 for lo, hi in zip(edges[:-1], edges[1:])]
    )
    moved = [
        wasserstein_distance(points, points, np.repeat(a, 400), np.repeat(b, 400))
        for a, b in zip(t[:40], p[:40])
    ]
    from gencast.models.timebins import wasserstein_time

    assert_allclose(wasserstein_time(p[:40], t[:40], np.array(edges)), moved, rtol=2e-3, atol=1e-3)


def test_no_leakage_of_histories(results, suite_file, tmp_path):
    """Shuffle the histories of one simulation: what is predicted for it may not move by a bit; its true
    errors must.
    """
    folder = tmp_path / "shuffled"
    shutil.copytree(results.folder / "simulations", folder / "simulations")
    name = load_settings(results.folder).suite.names[VICTIM]
    sample = load_sample(sample_path(folder, "spectra", name), mmap=False)
    order = np.random.default_rng(0).permutation(len(sample))
    save_sample(
        replace(sample, properties=sample.properties | {"sfh": sample.properties["sfh"][order]}),
        sample_path(folder, "spectra", name),
    )
    broken = run(suite_file, out=folder, properties=PROPERTIES, **SMALL)
    key = ["law", "distance", "source"]

    def of_target(r):
        return (
            r.heldout[(r.heldout.property == "sfh") & (r.heldout.target == name)]
            .sort_values(key)
            .reset_index(drop=True)
        )

    before, after = of_target(results), of_target(broken)
    honest = before.law != "in_domain"
    for column in ("value", "predicted", "lower", "upper"):
        pd.testing.assert_series_equal(before[column][honest], after[column][honest], check_exact=True)
    assert (before.log_mse != after.log_mse).all()

    def models(r):
        return r.errors[
            (r.errors.property == "sfh") & (r.errors.source != name) & (r.errors.target != name)
        ].mse.to_numpy()

    assert (models(results) == models(broken)).all()

    def rows(r, what):
        return (
            r.histories[(r.histories.target == name) & (r.histories.what == what)]
            .filter(like="share_")
            .to_numpy()
        )

    def mass(r):
        return r.heldout[r.heldout.property == "log_mstar"].reset_index(drop=True)

    pd.testing.assert_frame_equal(mass(results), mass(broken))
    (
        assert_allclose(rows(results, "predicted")[0], rows(broken, "predicted")[0]),
        "the mean prediction for it is what it was",
    )


@pytest.mark.slow
@pytest.mark.parametrize("model, view", [("extra_trees", "photometry"), ("boosting", "spectra")])
def test_other_models_do_the_whole_job(results, suite_file, tmp_path, model, view):
    shutil.copytree(results.folder / "simulations", tmp_path / model / "simulations")
    done = run(
        suite_file, out=tmp_path / model, model=model, properties=("sfh",), **{**SMALL, "views": (view,)}
    )
    assert set(done.errors.model) == {model} and np.isfinite(done.forecasts.rmse).all()
    first, X = (
        done.errors.iloc[0],
        labels_of(load_sample(sample_path(done.folder, view, done.errors.source[0])), "sfh"),
    )
    assert first.source == first.target and first.smape < np.median(smape(X, X.mean(axis=0))), (
        "it has learned something"
    )


def test_all_properties_are_those_that_are_offered(suite_file):
    settings = make_settings(suite_file, properties=("all",))
    assert settings.properties == (
        "log_mstar",
        "log_age",
        "log_zmet",
        "a_v",
        "dust_slope",
        "log_sfr",
        "sfh",
        "sfh_linear",
        "zh",
    )


def test_the_table_of_histories_holds_histories(results):
    table = results.histories
    bins = [c for c in table if c.startswith("share_")]
    whole = table[
        table.what.isin(["true", "predicted", "consensus"]) & ~table.galaxy.isin(["p16", "p50", "p84"])
    ]
    assert_allclose(whole[bins].sum(axis=1), 1, rtol=1e-4)
    assert (table[bins] >= 0).all().all() and len(bins) == 8
    name = load_settings(results.folder).suite.names[0]
    assert histories_of(results, name, what="true").shape == (10, 8)
    best = table[(table.target == name) & (table.what == "predicted")].source.iloc[0]
    assert best != name, "the source must be another simulation"
    assert (
        plot_history(results, "sdss_spectra").get_legend() is not None
        and plot_history(results, name).get_legend() is not None
    )
    plt.close("all")
    with pytest.raises(InputError, match="no history 'zh'|there are: sfh"):
        histories_of(results, name, "zh")


def test_templates_run_with_a_history(results, tmp_path):
    "Both templates, executed for a property that is no single number."
    from gencast.pipeline.notebooks import execute_notebook, template_path

    for template, target in (
        ("simulation", load_settings(results.folder).suite.names[0]),
        ("survey", "sdss_spectra"),
    ):
        out = tmp_path / f"{template}.ipynb"
        execute_notebook(
            template_path(template),
            out,
            {"results": str(results.folder), "target": target, "property": "sfh"},
        )
        cells = nbformat.read(out, 4).cells
        assert not [o for c in cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]
        drawn = [c for c in cells if c.cell_type == "code" and "plot_history(" in c.source]
        assert len(drawn) == 1 and any("image/png" in o.get("data", {}) for o in drawn[0].outputs), (
            "the figure of the history is there"
        )
        assert "star-formation history" in "".join(
            str(o.get("data", {}).get("text/markdown"))
            for c in cells
            if c.cell_type == "code"
            for o in c.outputs
        )


@pytest.mark.parametrize("model", [RandomForest(8, random_state=0), Boosting(2, 60, random_state=0)])
def test_ensembles_keep_the_contract_of_sklearn(model):
    from sklearn.utils.estimator_checks import check_estimator

    known = {
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    }  # scikit-learn's own forest fails them, too: it draws galaxies at random
    failed = [
        r
        for r in check_estimator(model, on_fail=None)
        if r["status"] == "failed" and not (isinstance(model, RandomForest) and r["check_name"] in known)
    ]
    assert not failed, [(r["check_name"], str(r["exception"])[:200]) for r in failed]


def test_the_random_forest_is_that_of_sklearn():
    from sklearn.ensemble import RandomForestRegressor

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(120, 60)).astype(np.float32), rng.normal(size=120)
    ours, theirs = (
        fit_model("random_forest", X, y, seed=3, n_trees=12),
        RandomForestRegressor(12, max_features="sqrt", min_samples_leaf=2, random_state=3).fit(X, y),
    )
    assert (ours.predict(X) == theirs.predict(X)).all()
    mean, spread = predict_with_spread(ours, X)
    each = np.array([tree.predict(X) for tree in theirs.estimators_])
    assert_allclose(mean, each.mean(axis=0)), assert_allclose(spread, each.std(axis=0), atol=1e-9)


@pytest.mark.parametrize("name", [m for m in MODELS if m != "cnn"])
def test_models_of_shares_say_shares(name):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(150, 12)), rng.dirichlet(np.ones(5), 150)
    found, spread = predict_with_spread(fit_model(name, X, y, seed=0, n_trees=10), X[:20])
    assert_allclose(found.sum(axis=1), 1, rtol=1e-6)
    assert found.shape == spread.shape == (20, 5) and (found >= 0).all()
    for bad in (y[:-1], np.where(y > 0.5, np.nan, y), y[:, :, None]):
        with pytest.raises(InputError):
            fit_model(name, X, bad, seed=0)


def test_label_columns_find_every_property():
    properties = ("log_mstar", "sfh", "a_v", "zh")
    said = np.arange(18.0)[:, None] * np.ones(3)
    assert (
        pick_labels(said, label_columns(properties, "log_mstar"))[0] == 0
        and pick_labels(said, label_columns(properties, "a_v"))[0] == 9
    )
    assert_allclose(
        pick_labels(said, label_columns(properties, "zh"))[0], np.arange(10, 18) / np.arange(10, 18).sum()
    )


def test_enrichment_and_star_formation_differ_where_metals_do():
    suite = load_suite("default")
    constant = next(
        r for r in suite.simulations if r["metallicity"].get("enrichment", "constant") == "constant"
    )
    growing = next(r for r in suite.simulations if r["metallicity"].get("enrichment") == "mass")
    for recipe, same in ((constant, True), (growing, False)):
        s = simulate(recipe, suite, 1, 100)
        gap = smape(labels_of(s, "zh"), labels_of(s, "sfh"))
        assert (gap.max() < 1e-5) == same
        assert_allclose(labels_of(s, "sfh_linear").sum(axis=1), 1, rtol=1e-5)


def test_histories_at_many_redshifts_are_in_common_bins():
    from gencast.synthesis.epochs import simulate_epochs

    suite = load_suite("photometry")
    sample = simulate_epochs(suite.simulations[0], suite, np.linspace(0.5, 1.9, 50), 1, 60)
    shares = labels_of(sample, "sfh")
    assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert np.array(sample.meta["age_edges_gyr"])[-1] > 9 and len(age_bins(9.0)) == len(
        sample.meta["age_edges_gyr"]
    )
    young = sample.redshift > 1.5
    assert shares[young][:, 7].max() < 1e-6, "no star of z > 1.5 is older than 6.4 Gyr"


def history_view(n=700, seed=3):
    """A target with two models, and what is known of five simulations of which the first is the target: the
    consensus of all is wrong by the same.
    """
    rng, lean = np.random.default_rng(seed), np.array([0.2, 0, 0, 0])
    truth = rng.dirichlet(np.full(4, 2.0), size=(5, n))
    said = [as_shares(y + lean) for y in truth]
    models = np.stack([as_shares(truth[0] + lean[::-1]), truth[0]])
    view = TargetView(models, *[np.ones(models.shape[:2])] * 3, np.ones(models.shape[:2], bool), said[0], {})
    return (
        truth,
        view,
        KnownErrors(np.zeros((5, 5)), np.full(5, 0.01), (0, 2), samples=list(zip(said, truth))),
    )


def test_the_consensus_mistakes_of_others_tell_what_the_truth_may_be():
    truth, view, known = history_view()
    rows, drawn = likely_truths(view, known)
    assert len(rows) == TARGETS and rows[[0, -1]].tolist() == [0, 699] and drawn.shape == (DRAWN, TARGETS, 4)
    assert_allclose(drawn.sum(axis=-1), 1, rtol=1e-6)
    assert (
        smape(drawn.mean(axis=0), truth[0][rows]).mean()
        < 0.25 * smape(view.consensus[rows], truth[0][rows]).mean()
    )
    expected, true = (
        10 ** (consensus(view, known) / 2),
        np.mean(smape(view.predicted, truth[0]) ** 2, axis=1) ** 0.5,
    )
    assert true[1] == 0 and expected[1] < 0.03 and abs(expected[0] - true[0]) < 0.03


def test_histories_of_those_held_out_have_no_say():
    _, view, known = history_view()
    for k, changes in ((0, False), (2, False), (3, True)):
        answers = list(known.samples)
        answers[k] = (answers[k][0], answers[k][1][::-1])
        assert (
            np.array_equal(consensus(view, replace(known, samples=answers)), consensus(view, known))
            != changes
        )


def test_a_handful_of_galaxies_is_enough():
    _, view, known = history_view()
    few = replace(known, samples=[(c[:2], y[:2]) for c, y in known.samples])
    rows, drawn = likely_truths(view.take(np.array([5])), few)
    assert (
        rows.tolist() == [0]
        and drawn.shape == (6, 1, 4)
        and np.isfinite(consensus(view.take(np.array([5])), few)).all()
    )
