"""Nothing of a held-out family leaks into what is said about it, and trial targets are targets only."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gencast.core.base import InputError
from gencast.regression import (
    choose_penalties,
    compute_signals,
    family_interval,
    toy_evidence,
    toy_galaxies,
)
from gencast.regression.consensus import PENALTIES, fit_consensus, held_errors, scatter_of
from gencast.regression.signals import LAW_SIGNALS
from gencast.regression.trial_targets import Stock
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
