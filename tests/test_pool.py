"Many simulations: sampled pairs, hold-outs in parts, signals computed once; parameters of a suite."

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.testing import assert_array_equal

from gencast.core.base import InputError
from gencast.data.suites import load_suite
from gencast.pipeline.job import run
from gencast.regression.coverage import held_pairs
from gencast.regression.evidence import baselines_of, compute_signals, members, signal_version, toy_evidence
from gencast.regression.protocol import MOST_APART, PARTS, apart, held_residuals, heldout_predictions
from gencast.regression.register import make_law
from gencast.regression.signal_table import MOST_PAIRS, sample_pairs, toy_signals
from gencast.regression.signals import FIXED, SIGNALS
from gencast.report.parameters import describe_parameters, tabulate_parameters

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
from pool_suite import write_suite  # noqa: E402


@pytest.fixture(scope="module")
def evidence():
    found, _ = toy_evidence(7, 60)
    rng = np.random.default_rng(1)
    own = {held: c + 0.01 * rng.normal(size=len(c)) for held, c in found.consensus.items()}
    own |= {(0, 1): own[0,] + 0.01, (2, 3, 4): own[2,] - 0.01, (5, 6): own[5,]}
    found = replace(found, consensus=own)
    return replace(found, baselines=[baselines_of(found, i) for i in range(7)])


FAMILIES = np.array(list("aabbbcc"))


def test_signals_computed_once_are_those_of_each_version_to_the_last_bit(evidence):
    edge = replace(evidence, consensus={h: c + 0.02 for h, c in evidence.consensus.items()})
    table, by_family = compute_signals(evidence, {"code": FAMILIES}, unseen=edge)
    assert_array_equal(table.values, signal_version(evidence, ()))
    for k in range(7):
        assert_array_equal(table.without[k], signal_version(evidence, (k,)))
        assert_array_equal(by_family["code"][k], signal_version(edge, members(FAMILIES, k)))
    assert {"refit_change", "spread"} <= FIXED and not {"consensus", "transfer", "autoeval"} & FIXED
    refits = table.column("refit_change")
    assert np.isfinite(refits).all() and np.ptp(refits) > 0  # there was something to copy


def test_no_signal_knows_the_simulation_that_is_held_out(evidence):
    truth, predicted = [t.copy() for t in evidence.truth], evidence.predicted.copy()
    truth[2] += 5
    predicted[2] *= 3
    absurd = replace(evidence, truth=truth, predicted=predicted, baselines=())
    absurd = replace(absurd, baselines=[baselines_of(absurd, i) for i in range(7)])
    before, after = (compute_signals(e)[0] for e in (evidence, absurd))
    rest = np.delete(np.arange(7), 2)
    assert_array_equal(before.without[2][rest], after.without[2][rest])
    assert (before.values != after.values)[rest].any()


def test_a_signal_that_is_registered_again_is_no_longer_fixed():
    from gencast.regression.signals import register_signal

    old, about = SIGNALS["spread"]
    try:
        register_signal(about)(old)
        assert "spread" not in FIXED
    finally:
        register_signal(about, fixed=True)(old)
    assert "spread" in FIXED


def test_pairs_are_sampled_beyond_forty_simulations_only():
    few, many = (~np.eye(n, dtype=bool) for n in (40, 41))
    assert sample_pairs(few) is few and sample_pairs(many).sum() == MOST_PAIRS
    sparse = many & (np.random.default_rng(0).random((41, 41)) < 0.5)
    assert_array_equal(sample_pairs(sparse), sparse)  # few are known: all of them serve
    wide = ~np.eye(90, dtype=bool) & (np.random.default_rng(0).random((90, 90)) < 0.5)
    assert MOST_PAIRS <= sample_pairs(wide).sum() < 1.1 * MOST_PAIRS


def test_units_are_held_out_in_parts_and_each_once():
    units, out = np.arange(60), np.arange(60) == 7
    parts = apart(units, out)
    assert len(parts) == PARTS and (np.sum(parts, axis=0) == ~out).all()
    assert max(p.sum() for p in parts) <= 6
    kin = np.repeat(np.arange(50), 2)
    for part in apart(kin, kin == 3):  # families stay whole
        assert not set(kin[part]) & set(kin[~part])
    alone = apart(np.arange(MOST_APART + 1), np.arange(MOST_APART + 1) == 0)
    assert [p.sum() for p in alone] == [1] * MOST_APART


def test_each_simulation_has_residuals_of_its_own_and_coverage_knows_their_pairs():
    table, units = toy_signals(45), np.arange(45)
    out = units == 4
    residuals = held_residuals(table, make_law("ridge", table.signals), table.without[4], units, out)
    pairs = held_pairs(units, out)
    assert len(residuals) == len(pairs) == 44
    for (residual, _), (source, target) in zip(residuals, pairs):
        assert len(residual) == len(source) == len(target) and len(set(target)) == 1
        assert not {4, target[0]} & set(source)


@pytest.mark.parametrize("families", [None, np.arange(46) // 2], ids=["alone", "families"])
def test_neither_prediction_nor_interval_knows_the_target(families):
    table = toy_signals(46)
    k = int(table.training_set()[2][0])  # one to which laws are fitted, where it is not held out
    kin = [k] if families is None else np.flatnonzero(families == families[k])
    log_mse = table.log_mse.copy()
    log_mse[kin] += 3.0
    log_mse[:, kin] -= 2.0
    absurd = replace(table, log_mse=log_mse)
    before, after = (
        heldout_predictions(t, "ridge", (0.9,), families, without_family=table.without)
        for t in (table, absurd)
    )
    mine = before.target == table.names[k]
    assert mine.sum() == 46 - len(kin)
    columns = ["predicted", "lower_90", "upper_90"]
    pd.testing.assert_frame_equal(before[mine][columns], after[mine][columns])
    assert not np.allclose(before[~mine].predicted, after[~mine].predicted)


def test_intervals_of_many_hold_what_they_promise():
    table = toy_signals(60, seed=2)
    found = heldout_predictions(table, "ridge", (0.9,))
    assert 0.85 < found.log_mse.between(found.lower_90, found.upper_90).mean() < 0.96


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    write_suite(folder, 9)
    return folder


def test_a_suite_without_families_says_where_among_its_parameters_it_fails(folder):
    small = {"notebooks": False, "progress": False, "jobs": 1, "n_trees": 5, "n_ranking_trees": 20}
    results = run(folder / "suite.yaml", out=folder / "out", **small)
    stated = yaml.safe_load((folder / "suite.yaml").read_text())["simulations"]
    for entry in stated:
        row = results.simulations.set_index("name").loc[entry["name"]]
        assert row.parameter_dust == entry["parameters"]["dust"]
    table = tabulate_parameters(results)
    assert table.parameter.nunique() == 4 and (table.groupby("parameter").n.sum() == 9).all()
    dust = results.simulations.set_index("name").parameter_dust
    high = dust.sort_values().index[-3:]
    held = results.heldout[results.heldout.law == "stack"]
    true = held[held.target.isin(high)].groupby("target").log_mse.mean().mean()
    last = table[table.parameter == "dust"].iloc[-1]
    assert last.log_mse == pytest.approx(true) and last.high == dust.max()
    assert "parameters" in describe_parameters(results) or "changes with" in describe_parameters(results)


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda s: s[1].pop("parameters"), "same ones"),
        (lambda s: s[1]["parameters"].pop("dust"), "same ones"),
        (lambda s: s[1]["parameters"].update(dust="much"), "a word and a number"),
        (lambda s: s[1]["parameters"].update(dust=float("nan")), "a word and a number"),
        (lambda s: s[1]["parameters"].update(dust=True), "a word and a number"),
        (lambda s: s[1].update(parameters={"two words": 1.0}), "a word and a number"),
        (lambda s: s[1].update(parameters=[1, 2]), "parameters"),
    ],
)
def test_parameters_that_are_refused(folder, change, said, tmp_path):
    text = yaml.safe_load((folder / "suite.yaml").read_text())
    change(text["simulations"])
    path = folder / "refused.yaml"
    path.write_text(yaml.safe_dump(text, sort_keys=False))
    with pytest.raises(InputError, match=said):
        load_suite(path)
