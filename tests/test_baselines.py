"""Baselines against closed forms, and the failing cases against known truth; what they must not look at, and
refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError, rng_for
from gencast.figures.assumptions import plot_assumption_cost
from gencast.regression.baselines import (
    BASELINES,
    Applied,
    PairInputs,
    baseline,
    components,
    galaxy_losses,
    importance_weights,
    predict_baselines,
)
from gencast.report.assumptions import assumption_cost, choices_of
from gencast.report.pairs import hardest_pairs


def draw(mean, n, rng, p=3, concept=0.0):
    "A model that predicts x0 exactly but for noise that grows with x1: E[e^2 | x] = 0.05 + 0.2 exp(x1)."
    x = rng.normal(mean, 1, (n, p))
    scatter = np.sqrt(0.05 + 0.2 * np.exp(x[:, 1]))
    return Applied(x, x[:, 0], scatter, x[:, 0] + concept + scatter * rng.normal(size=n))


def truth(mean, concept=0.0):
    "E[exp(x1)] = exp(mean1 + 1/2) for a normal of unit variance."
    return np.log10(0.05 + 0.2 * np.exp(mean[1] + 0.5) + concept**2)


@pytest.fixture(scope="module")
def pair():
    rng = rng_for(3, "pair")
    others = tuple(draw([0, m, 0], 800, rng) for m in (-1, 0.2, 0.6, 1.0, 1.4, -0.5))
    return PairInputs(draw([0, 0, 0], 6000, rng), draw([0.3, 0.8, 0], 4000, rng), others=others)


def test_covariate_shift_has_a_known_answer(pair):
    right = truth([0.3, 0.8, 0])
    assert abs(baseline("in_domain", pair) - truth([0, 0, 0])) < 0.05
    exact = np.exp(pair.source.features @ np.array([0.3, 0.8, 0]))  # ratio of the densities, up to a constant
    weighted = np.log10(np.average((pair.source.predicted - pair.source.labels) ** 2, weights=exact))
    assert abs(baseline("importance_weighted", pair) - weighted) < 0.04
    assert abs(weighted - right) < 0.15  # the few galaxies with large weights make it noisy
    assert abs(baseline("dle", pair) - right) < 0.1
    assert abs(baseline("doc", pair) - right) < 0.05  # this model knows its own scatter
    assert right - truth([0, 0, 0]) > 0.25  # so the three had something to find


def test_concept_shift_leaves_no_trace(pair):
    moved = replace(pair, target=draw([0.3, 0.8, 0], 4000, rng_for(4, "moved"), concept=1.5))
    for name in BASELINES:
        assert baseline(name, moved) < truth([0.3, 0.8, 0], 1.5) - 0.15


@pytest.mark.parametrize("name", BASELINES)
def test_target_labels_and_order_play_no_part(pair, name):
    blind = replace(pair, target=replace(pair.target, labels=None))
    nonsense = replace(pair, target=replace(pair.target, labels=np.full(4000, 1e9)))
    assert baseline(name, pair) == baseline(name, blind) == baseline(name, nonsense)

    def turn(a):
        return Applied(
            *(None if v is None else v[::-1] for v in (a.features, a.predicted, a.spread, a.labels))
        )

    assert_allclose(
        baseline(name, replace(pair, target=turn(pair.target), source=turn(pair.source))),
        baseline(name, pair),
        atol=0.02,
    )


@pytest.mark.parametrize("name", [n for n in BASELINES if n != "autoeval"])
def test_no_shift_gives_the_in_domain_error(pair, name):
    same = replace(pair, target=pair.source)
    assert_allclose(baseline(name, same), baseline("in_domain", pair), atol=0.03)


def test_importance_weights_are_the_ratio_of_the_densities(pair):
    x = pair.source.features
    exact = np.exp(x @ np.array([0.3, 0.8, 0]))
    exact /= exact.sum()
    w = importance_weights(pair)
    assert_allclose(w.sum(), 1)
    assert np.corrcoef(np.log(w), np.log(exact))[0, 1] > 0.99
    assert 0.9 < np.polyfit(np.log(exact), np.log(w), 1)[0] < 1.1


def test_dle_galaxy_by_galaxy(pair):
    losses = galaxy_losses(pair)
    assert losses.shape == (4000,) and (losses >= 0).all()
    expected = 0.05 + 0.2 * np.exp(pair.target.features[:, 1])
    assert np.corrcoef(np.log(losses + 1e-3), np.log(expected))[0, 1] > 0.6
    assert_array_equal(losses, galaxy_losses(pair))


def test_autoeval_is_the_line(pair):
    def gap(a):  # Fréchet distance from the source in units of the source's spread, by scipy
        from scipy.linalg import sqrtm

        s = pair.source.features
        u, v = ((x - s.mean(axis=0)) / s.std(axis=0) for x in (s, a.features))
        c, d = np.cov(u.T), np.cov(v.T)
        return np.sqrt(
            ((u.mean(axis=0) - v.mean(axis=0)) ** 2).sum() + np.trace(c + d - 2 * np.real(sqrtm(c @ d)))
        )

    known = [np.log10(np.mean((o.predicted - o.labels) ** 2)) for o in pair.others]
    line = np.polyfit([gap(o) for o in pair.others], known, 1)
    assert_allclose(baseline("autoeval", pair), np.polyval(line, gap(pair.target)), rtol=1e-6)


def test_atc_by_hand():
    source = Applied(np.zeros((4, 1)), np.zeros(4), np.array([1.0, 2, 3, 4]), np.array([3.0, 1, 4, 2]))
    target = Applied(np.zeros((3, 1)), np.zeros(3), np.array([0.5, 2.5, 9]))
    # ranks 0, 1/2 and 1 of squared errors 1, 4, 9, 16 that stand at 1/8, 3/8, 5/8 and 7/8
    assert_allclose(10 ** baseline("atc", PairInputs(source, target)), (1 + 6.5 + 16) / 3)


def test_many_targets_at_once_are_the_same_as_one_by_one(pair):
    rng = rng_for(4, "few")
    targets = [pair.target, *pair.others[:2], draw([0, 0, 0], 19, rng)]
    found = predict_baselines(pair.source, targets)
    for name in ("doc", "atc", "importance_weighted", "dle"):
        alone = [baseline(name, replace(pair, target=replace(t, labels=None))) for t in targets[:3]]
        assert_allclose(found[name][:3], alone)
    assert all(np.isnan(v[3]) for v in found.values())  # 19 galaxies say nothing
    shuffled = [replace(t, labels=rng.permutation(t.labels)) for t in targets]
    assert_array_equal(pd.DataFrame(predict_baselines(pair.source, shuffled)), pd.DataFrame(found))


def test_a_model_whose_members_agree_has_no_confidence(pair):
    sure = replace(pair.source, spread=np.zeros(len(pair.source.spread)))
    found = predict_baselines(sure, [replace(pair.target, spread=np.zeros(len(pair.target.spread)))])
    assert (
        np.isnan([found["doc"][0], found["atc"][0]]).all()
        and np.isfinite([found["dle"][0], found["importance_weighted"][0]]).all()
    )


def test_many_features_become_components():
    rng = rng_for(5, "wide")
    x = rng.normal(size=(300, 3)) @ rng.normal(size=(3, 200)) + 0.01 * rng.normal(size=(300, 200))
    a = Applied(x, x[:, 0], np.ones(300), x[:, 0] + rng.normal(size=300))
    z = components(PairInputs(a, a))(x)
    assert z.shape == (300, 20)
    assert_allclose(z.std(axis=0), 1, rtol=1e-6)
    assert all(
        np.isfinite(baseline(n, PairInputs(a, a, others=(a, a, replace(a, features=x + 1)))))
        for n in BASELINES
    )


def test_refusals_of_baselines(pair):
    with pytest.raises(InputError, match="no 'magic'"):
        baseline("magic", pair)
    with pytest.raises(InputError, match="has 2"):
        baseline("autoeval", replace(pair, others=pair.others[:2]))
    flat = replace(pair.target, spread=np.zeros(4000))
    with pytest.raises(InputError, match="no spread"):
        baseline("doc", replace(pair, target=flat))
    s = pair.source
    for broken, words in [
        (replace(s, labels=None), "labels"),
        (replace(s, predicted=s.predicted[:5]), "predicted"),
        (replace(s, labels=np.full(6000, np.nan)), "labels of the source"),
    ]:
        with pytest.raises(InputError, match=words):
            replace(pair, source=broken)
    with pytest.raises(InputError, match="the target has features"):
        replace(pair, target=replace(pair.target, features=pair.target.features[:, :2]))


LIBRARY, DUST = "abcd", "wxyz"
SIMULATIONS = pd.DataFrame([{"name": s + d, "ssp": s, "dust": d, "a_v": 0.3} for s in LIBRARY for d in DUST])


def made_up_errors(seed=0, noise=0.2, ssp=0.6, dust=0.2):
    rng = rng_for(seed, "errors")
    u, v = rng.normal(0, 0.3, 16), rng.normal(0, 0.3, 16)
    rows = []
    for i, a in SIMULATIONS.iterrows():
        for j, b in SIMULATIONS.iterrows():
            log_mse = u[i] + v[j] + ssp * (a.ssp != b.ssp) + dust * (a.dust != b.dust) + noise * rng.normal()
            rows.append((a["name"], b["name"], 10**log_mse, log_mse, 0.0, -0.5, 0.5))
    return pd.DataFrame(rows, columns=["source", "target", "mse", "log_mse", "predicted", "lower", "upper"])


def test_costs_are_exact_without_noise():
    table = assumption_cost(made_up_errors(noise=0), SIMULATIONS).set_index("choice")
    assert_allclose(table.cost[["ssp", "dust"]], [0.6, 0.2], atol=1e-10)
    assert_allclose(table.se, 0, atol=1e-10)
    assert_allclose(table.factor["ssp"], 10**0.3)


def test_costs_agree_with_dummy_regression():
    errors = made_up_errors()
    pairs = errors[errors.source != errors.target]
    known = SIMULATIONS.set_index("name")
    differ = {
        c: known[c][pairs.source].to_numpy() != known[c][pairs.target].to_numpy() for c in ("ssp", "dust")
    }
    X = np.column_stack(
        [
            pd.get_dummies(pairs.source),
            pd.get_dummies(pairs.target).iloc[:, 1:],
            differ["ssp"],
            differ["dust"],
        ]
    ).astype(float)
    beta = np.linalg.lstsq(X, pairs.log_mse.to_numpy(), rcond=None)[0][-2:]
    table = assumption_cost(errors, SIMULATIONS).set_index("choice")
    assert_allclose(table.cost[["ssp", "dust"]], beta)
    shuffled = assumption_cost(
        errors.sample(frac=1, random_state=1), SIMULATIONS.sample(frac=1, random_state=2)
    ).set_index("choice")
    assert_allclose(shuffled.loc[table.index, ["cost", "se"]], table[["cost", "se"]])


def test_interval_covers():
    tables = [assumption_cost(made_up_errors(s), SIMULATIONS).set_index("choice") for s in range(40)]
    hits = np.mean(
        [[t.low[c] <= true <= t.high[c] for c, true in (("ssp", 0.6), ("dust", 0.2))] for t in tables]
    )
    assert 0.87 <= hits <= 1


def test_hardest_pairs():
    errors = made_up_errors()
    rows = hardest_pairs(errors, SIMULATIONS, 7)
    apart = errors[errors.source != errors.target]
    assert_allclose(rows.residual.abs(), np.sort(apart.log_mse.abs())[::-1][:7])
    assert_array_equal(rows.inside, rows.log_mse.abs() <= 0.5)
    for _, r in rows.iterrows():
        assert ("ssp" in r.differ or r.differ == "all") == (r.source[0] != r.target[0]) == ("→" in r.ssp)
    assert len(hardest_pairs(errors, SIMULATIONS, 10_000)) == 240
    assert list(choices_of(SIMULATIONS, ["bx", "aw"]).ssp) == ["b", "a"]


def test_refusals_of_failures():
    errors = made_up_errors()
    for args, words in [
        ((pd.concat([errors, errors]), SIMULATIONS), "several rows"),
        ((errors.drop(columns="mse"), SIMULATIONS), "'mse'"),
        ((errors, SIMULATIONS[1:]), "row 'aw'"),
        ((errors, SIMULATIONS, ["metals"]), "column 'metals'"),
        ((errors, SIMULATIONS.drop(columns="name")), "'name'"),
        ((errors, SIMULATIONS.assign(other=SIMULATIONS.ssp)), "told apart"),
        ((errors, SIMULATIONS.assign(same="x"), ["same"]), "same is the same"),
        ((errors.assign(mse=0.0), SIMULATIONS), "positive"),
    ]:
        with pytest.raises(InputError, match=words):
            assumption_cost(*args)
    assert list(assumption_cost(errors, SIMULATIONS.assign(same="x")).choice) == [
        "ssp",
        "dust",
    ]  # a choice that all share says nothing


def test_figure_of_costs():
    import matplotlib.pyplot as plt

    table = assumption_cost(made_up_errors(), SIMULATIONS)
    fig, ax = plt.subplots()
    assert plot_assumption_cost(table, ax) is ax
    assert "dex" in ax.get_xlabel() and len(ax.patches) == 2
    plt.close(fig)
