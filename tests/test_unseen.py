"""Nothing of a held-out family leaks into what is said about it, and trial targets are targets only."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gencast.core.base import InputError
from gencast.pipeline.consensus import penalties_of_targets, whole_families
from gencast.regression import (
    choose_penalties,
    compute_signals,
    conformal_interval,
    family_interval,
    toy_evidence,
    toy_galaxies,
)
from gencast.regression.consensus import PENALTIES, fit_consensus, held_errors, scatter_of
from gencast.regression.evidence import take_survey
from gencast.regression.shifts import learn_shifts, shift_evidence, shift_trials
from gencast.regression.signals import LAW_SIGNALS
from gencast.regression.trial_targets import Stock, TrialTargets
from gencast.regression.unseen import predict_unseen, unseen_predictions
from gencast.synthesis import known_libraries, mixed_libraries, random_library, random_recipe, read_recipes

FAMILIES = np.repeat(np.arange(5), 2)


def cautious_without(given: dict, labels: list, held: tuple):
    "The cautious consensus with some simulations held out."
    columns = [y[:, None] for y in labels]
    consensus, used = fit_consensus(given["train"], columns, 0.003, held)
    return choose_penalties(consensus, 0.003, FAMILIES[used], (0,))


def test_a_familys_labels_take_no_part_in_its_own_cautious_consensus():
    given, _ = toy_galaxies()
    labels, rng = list(given["labels"]), np.random.default_rng(1)
    shuffled = [rng.permutation(y) if FAMILIES[k] == 2 else y for k, y in enumerate(labels)]
    before, after = (cautious_without(given, y, (4, 5)) for y in (labels, shuffled))
    x = before.consensus.basis.expand(given["test"][4])
    scatter = scatter_of(x, len(before.consensus.basis.components))
    assert before.chosen == after.chosen
    assert_array_equal(before.coefficients(scatter), after.coefficients(scatter))
    others = (cautious_without(given, y, (0, 1)).coefficients(scatter) for y in (labels, shuffled))
    assert not np.array_equal(*others), "where it is not held out, its labels do count"


def test_penalties_of_a_target_are_chosen_without_its_family(monkeypatch):
    "The errors by which they are chosen are those of the other families alone."
    given, _ = toy_galaxies()
    labels, rng = list(given["labels"]), np.random.default_rng(1)
    shuffled = [rng.permutation(y) if FAMILIES[k] == 2 else y for k, y in enumerate(labels)]
    seen, use, names = {}, list(range(8)), tuple("aabbccddee")
    for key, each in (("true", labels), ("shuffled", shuffled)):
        cautious = cautious_without(given, each, (8, 9))
        errors = []
        known = "gencast.regression.consensus.held_errors"
        monkeypatch.setattr(known, lambda *a: errors.append(held_errors(*a)) or errors[-1])
        found = penalties_of_targets(cautious, use, names)
        monkeypatch.undo()
        assert found[8] is found[9] is cautious, "nothing is known of the family that is held out"
        assert found[4] is found[5] is not cautious
        seen[key] = np.array(errors).reshape(4, len(PENALTIES), 6)  # of families a to d, without each
    assert_array_equal(seen["true"][2], seen["shuffled"][2])
    assert all(not np.array_equal(seen["true"][k], seen["shuffled"][k]) for k in (0, 1, 3))


def test_held_errors_are_those_of_fits_without_the_family():
    given, _ = toy_galaxies()
    columns = [y[:, None] for y in given["labels"]]
    consensus, _ = fit_consensus(given["train"], columns, 0.003)
    found = held_errors(consensus, 0.003, PENALTIES["sharp"], FAMILIES)[:, 0]
    for j in (0, 7):
        kin = np.flatnonzero(FAMILIES == FAMILIES[j])
        x = consensus.basis.expand(given["train"][j])
        slow = np.mean((consensus.predict(x, *kin) - columns[j]) ** 2)
        assert found[j] == pytest.approx(slow, rel=1e-5)


def test_one_family_alone_cannot_choose():
    given, _ = toy_galaxies()
    consensus, _ = fit_consensus(given["train"], [y[:, None] for y in given["labels"]], 0.003)
    with pytest.raises(InputError, match="two families"):
        choose_penalties(consensus, 0.003, np.zeros(10), (0,))


@pytest.fixture(scope="module")
def table():
    return compute_signals(toy_evidence(10)[0], signals=LAW_SIGNALS)[0]


def made_up_stock(table, n_trial=30, seed=0) -> Stock:
    "Trial targets that repeat columns of the table with some scatter."
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 10, n_trial)
    values = table.values[:, targets] + 0.02 * rng.normal(size=(10, n_trial, len(LAW_SIGNALS)))
    log_mse = table.log_mse[:, targets] + 0.1 * rng.normal(size=(10, n_trial))
    held = [(), *(tuple(np.flatnonzero(FAMILIES == f).tolist()) for f in range(5))]
    made_of = np.arange(n_trial) % 5
    usable = {
        h: np.array([k == () or FAMILIES[h[0]] != m if h else True for k, m in enumerate(made_of)])
        for h in held
    }
    versions = {h: np.where(np.isin(np.arange(10), h)[:, None, None], np.nan, values) for h in held}
    names = tuple(f"random-{k:02d}" for k in range(n_trial))
    return Stock(names, LAW_SIGNALS, versions, usable, log_mse)


def test_trial_targets_give_an_interval_of_90_per_cent_and_are_never_sources(table):
    stock = made_up_stock(table)
    found = unseen_predictions(table, "ridge", FAMILIES, table.without, stock)
    assert np.isfinite(found[["lower_90", "upper_90"]]).all(axis=None)
    assert set(found.source) | set(found.target) == set(table.names)
    families = dict(zip(table.names, FAMILIES))
    assert all(families[s] != families[t] for s, t in zip(found.source, found.target))
    assert found.equals(unseen_predictions(table, "ridge", FAMILIES, table.without, stock, jobs=2))


def test_a_trial_target_made_of_the_held_family_is_not_used(table):
    stock = made_up_stock(table)
    held = (2, 3)
    poisoned = stock.log_mse + 9 * ~stock.usable[held]
    before, after = (
        unseen_predictions(table, "ridge", FAMILIES, table.without, each)
        for each in (stock, replace(stock, log_mse=poisoned))
    )
    mine = before.target.isin([table.names[k] for k in held])
    assert_array_equal(before.predicted[mine], after.predicted[mine])
    assert_array_equal(before.upper_90[mine], after.upper_90[mine])
    assert not np.array_equal(before.predicted[~mine], after.predicted[~mine])


def test_targets_without_part_in_anything_have_intervals_from_families_and_trial_targets(table):
    stock = made_up_stock(table)
    others = made_up_stock(table, 12, seed=5)
    found = predict_unseen(table, "ridge", FAMILIES, others, stock)
    covered = (found.log_mse > found.lower_90) & (found.log_mse < found.upper_90)
    assert len(found) == 12 * 10 and 0.7 < covered.mean() <= 1
    assert set(found.target) == set(others.names)


def test_few_families_still_have_an_interval(table):
    found = unseen_predictions(table, "ridge", FAMILIES, table.without)
    assert np.isfinite(found[["lower_90", "upper_90"]]).all(axis=None)
    assert np.isfinite(family_interval([np.zeros(3) + 0.1, np.ones(4), np.ones(2)], 0.9)).all()


def test_random_libraries_are_the_same_for_the_same_seed_and_mix_three():
    suite = read_recipes("default")
    known = known_libraries(suite)
    first, again, other = (random_library(known, seed, 3) for seed in (1, 1, 2))
    assert first.flux.tobytes() == again.flux.tobytes() and first.flux.tobytes() != other.flux.tobytes()
    assert tuple(first.meta["mixes"]) == mixed_libraries(suite, 1, 3) and len(first.meta["mixes"]) == 3
    recipe, parents = random_recipe(suite, 1, 3)
    assert {suite.simulations[k]["ssp"] for k in parents} <= set(first.meta["mixes"])
    assert recipe["name"] not in suite.names


def test_two_libraries_are_too_few_to_mix():
    suite = read_recipes("default")
    few = replace(suite, simulations=tuple(s for s in suite.simulations if s["ssp"] in ("bpass", "mastar")))
    with pytest.raises(InputError, match="the suite 'default' has 2"):
        known_libraries(few)


def made_up_trials(n_trial: int = 12, n_gal: int = 500):
    "Trial targets whose consensus is too high, and the mean of the models too low, by amounts of their own."
    rng = np.random.default_rng(3)
    truth = [rng.normal(10, 0.5, n_gal) for _ in range(n_trial)]
    joined, off = np.concatenate(truth), np.repeat(rng.uniform(0.1, 0.3, n_trial), n_gal)
    models = joined - off + 0.1 * rng.normal(size=(6, joined.size))
    near = [{k: np.zeros(joined.size) for k in ("distance", "label_variance", "outside")}] * 6
    consensus = {(): joined + off, (0, 1): joined + off}
    usable = {(): np.ones(n_trial, bool), (0, 1): np.arange(n_trial) < 10}
    names = tuple(f"trial-{t}" for t in range(n_trial))
    return TrialTargets(names, truth, models, np.full(models.shape, 0.1), near, consensus, usable)


def test_the_consensus_moves_to_where_the_truth_of_trial_targets_lies():
    trials = made_up_trials()
    shifts = learn_shifts(trials)
    assert shifts[()] == pytest.approx(0.5, abs=0.02)
    before, after = (
        np.mean([abs(np.mean(t.consensus[()][t.rows(k)] - t.truth[k])) for k in range(12)])
        for t in (trials, shift_trials(trials, shifts))
    )
    assert after < before / 5 and shift_trials(trials, shifts).shifts == shifts


def test_what_is_held_out_takes_no_part_in_the_shift():
    trials = made_up_trials()
    models, truth = trials.predicted.copy(), list(trials.truth)
    models[:2] += 1  # of the simulations that are held out
    truth[10:] = [y - 2 for y in truth[10:]]  # of trial targets that are made of them
    changed = replace(trials, predicted=models, truth=truth)
    before, after = learn_shifts(trials), learn_shifts(changed)
    assert before[0, 1] == after[0, 1] and before[()] != after[()]
    moved = (shift_trials(t, s) for t, s in ((trials, before), (changed, after)))
    first, second = (t.consensus[0, 1] for t in moved)
    assert_array_equal(first, second)


def test_a_target_has_no_say_in_its_own_shift():
    evidence, _ = toy_evidence()
    labels = [y + 1 if k == 2 else y for k, y in enumerate(evidence.truth)]
    models = evidence.predicted.copy()
    models[2] += 1
    changed = replace(evidence, truth=labels, predicted=models)
    rows = slice(*evidence.edges[[2, 3]])
    before, after = (shift_evidence(e, {(): 0.7}).consensus[()] for e in (evidence, changed))
    assert_array_equal(before[rows], after[rows])
    assert not np.array_equal(before, after), "elsewhere its model does count"


def test_nothing_moves_on_the_word_of_a_few_trial_targets():
    trials = made_up_trials(9)
    shifts = learn_shifts(replace(trials, usable={h: np.ones(9, bool) for h in trials.usable}))
    assert set(shifts.values()) == {0.0}
    assert_array_equal(shift_trials(trials, shifts).consensus[()], trials.consensus[()])


def test_few_galaxies_move_less():
    evidence, _ = toy_evidence()
    few = take_survey(evidence, np.arange(len(evidence.survey_consensus)) < 2)
    moved = [shift_evidence(e, {(): 0.5}).survey_consensus - e.survey_consensus for e in (evidence, few)]
    own = [np.mean(e.predicted[:, e.edges[-2] :].mean(axis=0) - e.survey_consensus) for e in (evidence, few)]
    assert moved[0] == pytest.approx(0.5 * own[0] * 300 / 310)
    assert moved[1] == pytest.approx(0.5 * own[1] * 2 / 12)


def test_a_moved_history_is_a_history():
    rng = np.random.default_rng(0)
    trials = made_up_trials()
    shares = rng.dirichlet(np.ones(4), size=6000)
    models = np.array([rng.dirichlet(np.ones(4) / 2, size=6000) for _ in range(6)])
    of_histories = replace(
        trials, truth=np.split(shares, 12), predicted=models, consensus={(): np.roll(shares, 1, axis=1)}
    )
    moved = shift_trials(of_histories, {(): 0.8}).consensus[()]
    assert (moved >= 0).all() and moved.sum(axis=1) == pytest.approx(1)


def test_ranks_of_a_familys_interval_may_be_fractions():
    rng, hits, whole = np.random.default_rng(0), [], []
    for _ in range(400):
        groups = [rng.normal() + 0.3 * rng.normal(size=16) for _ in range(28)]
        for found, interval in ((hits, family_interval), (whole, conformal_interval)):
            low, high = interval(groups[:27])
            found.append(np.mean((groups[27] >= low) & (groups[27] <= high)))
    assert abs(np.mean(hits) - 0.9) < 0.03 and np.mean(whole) > np.mean(hits) + 0.015
    whole_rank = [rng.normal(size=5) for _ in range(39)]  # 5 % of 40 is 2
    assert family_interval(whole_rank) == conformal_interval(whole_rank)


def test_the_consensus_stays_where_the_library_is_known():
    from types import SimpleNamespace

    from gencast.pipeline.evidence import move_consensus

    evidence, _ = toy_evidence()
    trials, moved = (
        made_up_trials(),
        replace(evidence, consensus=evidence.consensus | {(0, 1): evidence.consensus[()]}),
    )
    known = {h: trials.consensus[()] for h in ((), (0, 1), (0, 2))}
    usable = {h: np.ones(12, bool) for h in known}
    trials = replace(trials, predicted=np.tile(trials.predicted, (2, 1))[:8], consensus=known, usable=usable)
    units = SimpleNamespace(units=np.repeat(np.arange(4), 2))
    found = move_consensus(units, moved, trials)[1]
    assert set(found.shifts) == {(), (0, 1)}
    assert_array_equal(found.consensus[0, 2], known[0, 2])
    assert (found.consensus[0, 1] != known[0, 1]).any()


def test_offsets_of_families_are_for_targets_of_a_new_one(monkeypatch):
    "Where other simulations of the target's family stay, what they say about its offset is kept."
    given, _ = toy_galaxies()
    consensus, used = fit_consensus(given["train"], [y[:, None] for y in given["labels"]], 0.003)
    for name in ("sharp", "edge"):
        monkeypatch.delitem(PENALTIES, name)
    monkeypatch.setitem(PENALTIES, "strong", replace(PENALTIES["strong"], noise=100.0))  # it learns nothing
    options = (consensus, 0.003, FAMILIES[used], (0,))
    assert choose_penalties(*options).chosen == ("apart",)
    assert choose_penalties(*options, offsets=False).chosen == ("strong",)
    labels = ("a", "a", "b", "b", "c")
    assert whole_families([0, 1, 2, 3, 4], labels) and whole_families([0, 1, 4], labels)
    assert not whole_families([0, 2, 3, 4], labels) and not whole_families([1, 3, 4], labels)
