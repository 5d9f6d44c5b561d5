"""Laws on many signals: independent implementations, leakage, determinism, errors."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.regression.comparisons import effective_number, paired_gain
from gencast.regression.forgetting import forget_errors, mean_transfer
from gencast.regression.intervals import conformal_interval, family_interval
from gencast.regression.laws import BASELINE_LABELS, LAWS
from gencast.regression.mixing import inner_misses, member_weights
from gencast.regression.protocol import direction_scores, heldout_predictions, hold_target, score_table
from gencast.regression.register import make_law, register_law
from gencast.regression.signal_table import SignalTable
from gencast.regression.variance_components import fit_components, reml_loss, same

SIGNALS = ("consensus", "mean_euclidean", "in_domain", "spread", *BASELINE_LABELS)


@pytest.fixture(scope="module")
def table():
    return make_table(9)


def make_table(n, seed=0):
    rng = np.random.default_rng(seed)
    log_mse = rng.normal(-2, 0.3, (n, n)) + 0.3 * rng.normal(size=n) + 0.3 * rng.normal(size=(n, 1))
    without = log_mse[None, :, :, None] + rng.normal(0, 0.3, (n, n, n, len(SIGNALS)))
    values = without.mean(axis=0)
    without[np.arange(n), np.arange(n)] = np.nan
    return SignalTable(
        tuple(f"s{i}" for i in range(n)), SIGNALS, values, without, log_mse, rng.normal(size=(n, n))
    )


def flat(table, *out):
    source, target = np.nonzero(table.training_pairs(*out))
    return table.values[source, target], table.log_mse[source, target], source, target


@pytest.mark.parametrize("name", LAWS)
def test_contract(table, name):
    from sklearn.base import clone

    law = make_law(name, table.signals, seed=3)
    again = clone(law)
    assert again.get_params() == law.get_params() and again is not law
    X, y, source, target = flat(table, 0)
    first, second = (
        m.fit(X, y, source, target).predict(table.values[1:, 0], np.arange(1, 9)) for m in (law, again)
    )
    assert first.shape == (8,) and np.isfinite(first).all()
    assert_array_equal(first, second)
    mean, sd = law.predict(table.values[1:, 0], np.arange(1, 9), return_std=True)
    assert_array_equal(mean, first)
    assert sd.shape == (8,) and (np.isnan(sd) | (sd >= 0)).all()
    with pytest.raises(InputError, match="fewer|few"):
        make_law(name, table.signals).fit(X[:4], y[:4], source[:4], target[:4])


@pytest.mark.parametrize("name", ["pooled_line", "huber", "theil_sen", "mixed", "gaussian_process"])
def test_order_of_pairs_does_not_matter(table, name):
    X, y, source, target = flat(table)
    order = np.random.default_rng(0).permutation(len(y))
    one, two = (
        make_law(name, table.signals[:4])
        .fit(X[o, :4], y[o], source[o], target[o])
        .predict(X[:5, :4], source[:5])
        for o in (slice(None), order)
    )
    assert_allclose(one, two, atol=2e-3)


def test_lines_agree_with_sklearn(table):
    from sklearn.linear_model import HuberRegressor, LinearRegression, TheilSenRegressor

    X, y, source, target = flat(table)
    x = X[:, [1]]
    for name, other, tolerance in (
        ("pooled_line", LinearRegression(), 1e-9),
        ("huber", HuberRegressor(alpha=0), 0.02),
        ("theil_sen", TheilSenRegressor(random_state=0), 0.03),
    ):
        ours = make_law(name, table.signals).fit(X, y, source, target).predict(X, source)
        assert_allclose(ours, other.fit(x, y).predict(x), atol=tolerance, err_msg=name)


def fitted_line(law, x, y, use):
    "Intercept and slope by polyfit: another implementation of the laws on one distance."
    if law == "constant":
        return y[use].mean(), 0.0
    if law == "pooled_line":
        return np.polyfit(x[use], y[use], 1)[::-1]
    targets = np.flatnonzero(use.any(axis=0))
    return np.mean([np.polyfit(x[use[:, j], j], y[use[:, j], j], 1)[::-1] for j in targets], axis=0)


@pytest.mark.parametrize("law", ["pooled_line", "target_lines", "constant", "in_domain"])
def test_laws_on_a_distance_agree_with_polyfit_and_nested_loops(table, law):
    n, found = len(table.names), heldout_predictions(table, law)
    assert found.source.tolist() == [table.names[i] for k in range(n) for i in range(n) if i != k]
    assert found.target.tolist() == [table.names[k] for k in range(n) for i in range(n) if i != k]

    def predict(k, j, *out):  # errors on target j, from what does not know k
        if law == "in_domain":
            return table.without[k, :, j, table.signals.index("in_domain")]
        x = table.column("mean_euclidean", k)
        intercept, slope = fitted_line(law, x, table.log_mse, table.training_pairs(*out))
        return intercept + slope * x[:, j]

    for k in range(n):
        others = np.delete(np.arange(n), k)
        missed = [np.delete(table.log_mse[:, j] - predict(k, j, k, j), [k, j]) for j in others]
        rows, predicted = found[found.target == table.names[k]], predict(k, k, k)[others]
        assert_allclose(rows.log_mse, table.log_mse[others, k])
        assert_allclose(rows.predicted, predicted, atol=1e-9)
        for level in (50, 68, 90):
            low, high = conformal_interval(missed, level / 100)
            if level == 90:
                assert (low, high) == (-np.inf, np.inf) and rows[["lower_90", "upper_90"]].isna().all(
                    axis=None
                )
                continue
            assert_allclose(rows[f"lower_{level}"], predicted + low, atol=1e-9)
            assert_allclose(rows[f"upper_{level}"], predicted + high, atol=1e-9)


def test_a_distance_of_ones_choice(table):
    "A law of one signal reads the one that is asked for; the others do not matter."
    alone = table.select(("spread",))
    one = heldout_predictions(table, "pooled_line", signal="spread")
    assert one.equals(heldout_predictions(alone, "pooled_line", signal="spread"))
    assert not np.array_equal(one.predicted, heldout_predictions(table, "pooled_line").predicted)


def test_a_law_of_ones_own_reaches_the_workers(table):
    @register_law("middle", "middle", "median of all pairs", ("spread",))
    def fit_middle(X, y, source, target, seed):
        return lambda X, source: (np.full(len(X), np.median(y)), None)

    try:
        one, two = (heldout_predictions(table, "middle", jobs=j) for j in (1, 2))
        assert one.equals(two)
    finally:
        del LAWS["middle"]


@pytest.mark.parametrize("name", ["stack", "mixed", "gaussian_process", "pooled_line"])
def test_no_leak_from_the_target(name):
    table, k, rng = make_table(6), 4, np.random.default_rng(5)
    log_mse, bias = table.log_mse.copy(), table.bias.copy()
    for m in (log_mse, bias):
        m[k], m[:, k] = rng.permutation(m[k]) + 1, rng.permutation(m[:, k]) - 3
    values = table.values + rng.normal(size=table.values.shape)
    without = table.without.copy()
    without[np.arange(6) != k] += 1.0
    changed = replace(table, log_mse=log_mse, bias=bias, values=values, without=without)
    one, two = (heldout_predictions(t, name).query("target == 's4'") for t in (table, changed))
    for c in [c for c in one if c.startswith(("predicted", "lower", "upper"))]:
        assert_array_equal(one[c].to_numpy(), two[c].to_numpy(), err_msg=c)


def test_no_leak_from_the_family(table):
    families, _k, rng = np.array(list("aaabbbccc")), 4, np.random.default_rng(5)
    log_mse = table.log_mse.copy()
    log_mse[3:6], log_mse[:, 3:6] = rng.normal(size=(3, 9)), rng.normal(size=(9, 3))
    one, two = (
        heldout_predictions(t, "gaussian_process", families=families).query("target == 's4'")
        for t in (table, replace(table, log_mse=log_mse))
    )
    assert sorted(one.source) == ["s0", "s1", "s2", "s6", "s7", "s8"]
    for c in [c for c in one if c.startswith(("predicted", "lower", "upper"))]:
        assert_array_equal(one[c].to_numpy(), two[c].to_numpy(), err_msg=c)


def test_jobs_and_seed():
    table = make_table(5)
    one, two, other = (
        heldout_predictions(table, "boosted", seed=s, jobs=j) for s, j in ((0, 1), (0, 2), (1, 1))
    )
    assert one.equals(two)
    assert not np.array_equal(one.predicted, other.predicted)


def test_family_of_one_is_leave_simulation_out(table):
    one, two = heldout_predictions(table, "mixed"), heldout_predictions(table, "mixed", families=np.arange(9))
    same_columns = ["source", "target", "log_mse", "predicted", "sd"]
    assert one[same_columns].equals(two[same_columns])
    assert one.lower_90.isna().all() and two.lower_90.notna().all()  # eight simulations, eight families


def test_components_are_the_likelihood_of_contrasts(table):
    from scipy.stats import multivariate_normal

    X, y, source, target = flat(table)
    H = np.column_stack([np.ones(len(y)), X[:, 0]])
    F = [same(source, range(9)), same(target, range(9))]
    contrasts = np.linalg.svd(H)[0][:, 2:].T
    parts = fit_components(y, H, F)

    def loss(ratio, noise):
        V = noise * (np.eye(len(y)) + sum(r * f @ f.T for r, f in zip(ratio, F)))
        return -2 * multivariate_normal(cov=contrasts @ V @ contrasts.T).logpdf(contrasts @ y)

    columns = np.column_stack([*F, H, y])

    def profiled(r):
        return reml_loss(r, columns.T @ columns, np.array([9, 9]), len(y))[0]

    best = loss(parts.ratio, parts.noise)
    dof = len(y) - 2
    constant = best - profiled(parts.ratio)
    for ratio in ([0.1, 0.1], [1.0, 0.5], [0.01, 3.0]):
        V = np.eye(len(y)) + sum(r * f @ f.T for r, f in zip(ratio, F))
        z = contrasts @ y
        noise = z @ np.linalg.solve(contrasts @ V @ contrasts.T, z) / dof
        assert_allclose(loss(ratio, noise) - profiled(np.array(ratio)), constant, rtol=1e-8)
        assert loss(ratio, noise) >= best - 1e-6
        for factor in (0.9, 1.1):
            assert loss(ratio, noise * factor) > loss(ratio, noise)


def test_components_predict_as_kriging_does(table):
    X, y, source, target = flat(table, 0)
    F = [same(source, range(9)), same(target, range(9))]
    H = np.column_stack([np.ones(len(y)), X[:, 0]])
    parts = fit_components(y, H, F)
    new, Hn = np.arange(1, 9), np.column_stack([np.ones(8), table.values[1:, 0, 0]])
    Fn = [same(new, range(9)), np.zeros((8, 9))]
    mean, sd = parts.predict(Hn, Fn, parts.ratio[1])
    V = np.eye(len(y)) + sum(r * f @ f.T for r, f in zip(parts.ratio, F))
    k = sum(r * a @ f.T for r, a, f in zip(parts.ratio, Fn, F))
    C = np.linalg.inv(H.T @ np.linalg.solve(V, H))
    beta = C @ H.T @ np.linalg.solve(V, y)
    assert_allclose(mean, Hn @ beta + k @ np.linalg.solve(V, y - H @ beta), rtol=1e-8)
    d = Hn - k @ np.linalg.solve(V, H)
    variance = (
        1 + parts.ratio.sum() - np.diag(k @ np.linalg.solve(V, k.T)) + np.einsum("ij,jk,ik->i", d, C, d)
    )
    assert_allclose(sd, np.sqrt(parts.noise * variance), rtol=1e-8)


@pytest.mark.filterwarnings("ignore")
def test_mixed_agrees_with_statsmodels(table):
    sm = pytest.importorskip("statsmodels.formula.api")
    import pandas as pd

    _, y, source, target = flat(table)
    x = np.random.default_rng(2).normal(size=len(y))
    frame = pd.DataFrame({"y": y, "x": x, "s": source, "t": target, "one": 1})
    model = sm.mixedlm(
        "y ~ x", frame, groups="one", re_formula="0", vc_formula={"s": "0 + C(s)", "t": "0 + C(t)"}
    )
    other = model.fit(reml=True, method="powell")
    parts = fit_components(
        y, np.column_stack([np.ones(len(y)), x]), [same(source, range(9)), same(target, range(9))]
    )
    assert (other.vcomp > 1e-3).all()
    assert_allclose(parts.beta, other.fe_params, rtol=1e-3)
    assert_allclose(np.r_[parts.noise, parts.noise * parts.ratio], np.r_[other.scale, other.vcomp], rtol=0.01)


def test_direction():
    import pandas as pd

    heldout = pd.DataFrame(
        [
            ("a", "b", 0.0, 0.0),
            ("b", "a", 1.0, 0.5),
            ("a", "c", 0.0, 1.0),
            ("c", "a", 1.0, 0.0),
            ("b", "c", 0.01, 0.0),
            ("c", "b", 0.0, 0.2),
        ],
        columns=["source", "target", "log_mse", "predicted"],
    )
    scores = direction_scores(heldout)
    assert scores["direction_sign"] == 0.5  # b-c differs by less than 0.05 dex
    assert_allclose(scores["direction_mae"], (0.5 + 2 + 0.21) / 3)


def test_scores(table):
    scores = score_table(heldout_predictions(table, "gaussian_process"))
    assert {
        "r2",
        "mae_dex",
        "rank_correlation",
        "coverage_90",
        "width_90",
        "direction_sign",
        "direction_mae",
    } <= set(scores)
    assert scores.target[0] == "all" and len(scores) == 10 and scores.r2[0] > 0
    assert scores.width_50[0] < scores.width_68[0] and np.isnan(scores.width_90[0])  # eight are too few


def test_normal_intervals(table):
    from scipy.stats import norm

    heldout, own = heldout_predictions(table, "mixed"), heldout_predictions(table, "mixed", interval="normal")
    assert_array_equal(own.predicted, heldout.predicted)
    assert_allclose(norm.cdf((own.upper_90 - own.predicted) / own.sd), 0.95)
    assert_allclose(own.upper_50 - own.predicted, own.predicted - own.lower_50)


def test_scaled_intervals(table):
    plain, scaled = (heldout_predictions(table, "mixed", interval=i) for i in ("conformal", "scaled"))
    assert_array_equal(plain.predicted, scaled.predicted)
    reach = (scaled.upper_90 - scaled.predicted) / scaled.sd
    for _, r in reach.groupby(scaled.target):
        assert_allclose(r, r.iloc[0])  # one factor a target
    assert_allclose(scaled.predicted - scaled.lower_90, scaled.upper_90 - scaled.predicted)
    covered = ((scaled.log_mse >= scaled.lower_90) & (scaled.log_mse <= scaled.upper_90)).mean()
    assert 0.8 < covered < 0.98
    assert np.isfinite(
        heldout_predictions(table, "consensus", families=list("aaabbbccc"), interval="scaled").upper_90
    ).all()


def test_three_families_have_an_interval_wider_than_nine(table):
    found = heldout_predictions(table, "mixed", families=list("aaabbbccc"))
    alone = heldout_predictions(table, "mixed", families=np.arange(9))
    assert np.isfinite(found[["lower_90", "upper_90"]]).all(axis=None)
    assert (
        np.ptp(found[["lower_90", "upper_90"]], axis=1).mean()
        > np.ptp(alone[["lower_90", "upper_90"]], axis=1).mean()
    )
    score = score_table(found).iloc[0]
    assert score.width_50 < score.width_68 < score.width_90 < np.inf


def test_no_interval_is_nan_not_infinite(table):
    two = heldout_predictions(table, "mixed", families=list("aaaabbbbb"))  # the other family alone fits
    assert np.isfinite(two.predicted).all() and two[["lower_90", "upper_90"]].isna().all(axis=None)
    few = heldout_predictions(make_table(7), "ridge")
    assert few.lower_90.isna().all() and np.isfinite(few.lower_50).all()
    score = score_table(few).iloc[0]
    assert np.isnan(score.coverage_90) and np.isnan(score.width_90) and np.isfinite(score.coverage_50)


def test_a_held_out_family_changes_nothing_but_its_score():
    table, rng, families = make_table(9), np.random.default_rng(5), np.array(list("aaabbbccc"))
    log_mse, out = table.log_mse.copy(), families == "b"
    log_mse[out] = rng.permutation(log_mse[out].ravel()).reshape(log_mse[out].shape) + 1
    log_mse[:, out] = log_mse[:, out][:, ::-1] - 2
    before, after = (
        heldout_predictions(t, "stack", families=families).query("target in ('s3', 's4', 's5')")
        for t in (table, replace(table, log_mse=log_mse))
    )
    same = ["predicted", "lower_90", "upper_90", "sd"]
    assert_array_equal(before[same], after[same])
    assert (before.log_mse != after.log_mse).any()


@pytest.mark.parametrize("n_family", [2, 3, 5])
def test_an_interval_of_few_families_holds_for_a_new_one(n_family):
    rng, hits = np.random.default_rng(n_family), []
    for _ in range(300):
        sd = 0.2 * 10 ** (0.15 * rng.normal(size=n_family + 1))
        groups = [s * (0.7 * rng.normal() + 0.7 * rng.normal(size=49)) for s in sd]
        low, high = family_interval(groups[:-1], 0.9)
        hits.append(np.mean((groups[-1] > low) & (groups[-1] < high)))
    assert 0.85 < np.mean(hits) < 0.99


def test_the_interval_of_families_follows_the_unit_and_ends_where_conformal_begins():
    rng = np.random.default_rng(2)
    groups = [rng.normal(size=20) for _ in range(9)]
    assert family_interval(groups) == conformal_interval(groups)
    few = family_interval(groups[:3])
    assert_allclose(family_interval([1e-3 * g for g in groups[:3]]), 1e-3 * np.array(few), rtol=1e-9)
    assert few[0] == -few[1] and few[1] > 1.6
    uneven = family_interval([groups[0], 10 * groups[1], 0.1 * groups[2]])
    assert uneven[1] > 3 * few[1]  # families that differ by more promise less
    assert family_interval([np.zeros(4), np.zeros(3)]) == (0.0, 0.0)
    with pytest.raises(InputError, match="needs residuals"):
        family_interval([])


def test_errors(table):
    X, y, source, target = flat(table)
    with pytest.raises(InputError, match="unknown law 'linear'"):
        make_law("linear", table.signals)
    with pytest.raises(InputError, match="mean_euclidean"):
        make_law("pooled_line", ("consensus",))
    with pytest.raises(InputError, match="consensus"):
        make_law("stack", ("spread",))
    with pytest.raises(InputError, match="all signals"):
        make_law("ridge", table.signals, signal="spread")
    X[3, 3] = np.nan
    with pytest.raises(InputError, match="'spread' of pair 3"):
        make_law("ridge", table.signals).fit(X, y, source, target)
    with pytest.raises(InputError, match="not been fitted"):
        make_law("ridge", table.signals).predict(X, source)
    with pytest.raises(InputError, match="9 labels|8 labels"):
        heldout_predictions(table, families=list("aaabbbcc"))
    with pytest.raises(InputError, match="families"):
        heldout_predictions(table, families=list("aaaaaaaab"))
    with pytest.raises(InputError, match="unknown interval"):
        heldout_predictions(table, interval="jackknife")
    with pytest.raises(InputError, match="standard deviation"):
        heldout_predictions(table, "consensus", interval="normal")
    with pytest.raises(InputError, match="without has shape"):
        replace(table, without=table.without[1:])
    with pytest.raises(InputError, match="not in the table"):
        table.column("distance")


def leave_one_in_means(n=12, seed=1):
    "Simulations whose errors follow their own difficulty; signals as evidence makes them."
    from gencast.regression.signals import LAW_SIGNALS

    rng = np.random.default_rng(seed)
    names = tuple(f"s{i}" for i in range(n))
    log_mse = rng.normal(-2, 0.3, (n, n)) + 0.3 * rng.normal(size=(n, 1))
    squared, bias = 10 ** rng.normal(-2, 0.3, n), rng.normal(0, 0.05, (n, n))
    values = rng.normal(size=(n, n, len(LAW_SIGNALS)))
    at = {name: k for k, name in enumerate(LAW_SIGNALS)}

    def version(k):
        found, used = values.copy(), np.arange(n) != k
        own = np.array([squared[used & (np.arange(n) != j)].mean() for j in range(n)])
        found[..., at["neighbour"]] = 0.0
        found[..., at["predicted_bias"]] = bias
        found[..., at["consensus_bias"]] = np.log10(bias**2 + own)
        found[..., at["consensus"]] = np.log10(bias**2 + 0.01 + own)
        found[..., at["transfer"]] = mean_transfer(np.zeros((n, n)), log_mse, used)
        found[~used] = np.nan
        return found

    without = np.array([version(k) for k in range(n)])
    return SignalTable(names, LAW_SIGNALS, version(-1), without, log_mse, bias)


@pytest.mark.filterwarnings("error")
def test_a_model_that_is_no_target_changes_no_mean():
    "The column of a single model, which no other model is tried on, is nan; the rest stays."
    rng, used = np.random.default_rng(0), np.array([True, True, False, True])
    near, log_mse = rng.normal(size=(2, 4, 4))
    alone = near.copy()
    alone[:, 3] = np.nan
    found, whole = (mean_transfer(x, log_mse, used) for x in (alone, near))
    assert np.isnan(found[:, 3]).all() and np.isfinite(whole).all()
    assert_array_equal(found[:, :3], whole[:, :3])


def test_residuals_held_out_twice_are_as_large_as_those_held_out_once():
    "A mean over all but one tells about that one; nested residuals must not read it."
    table, law = leave_one_in_means(), "gaussian_process"
    inner, outer = [], []
    for k in range(0, 12, 3):
        residuals, predicted, _ = hold_target(
            table, make_law(law, table.signals), k, np.arange(12), table.without[k]
        )
        inner.append(np.mean([np.mean(r**2) for r, _ in residuals]))
        outer.append(np.mean((np.delete(table.log_mse[:, k], k) - predicted) ** 2))
    assert 0.6 < np.sqrt(np.mean(inner) / np.mean(outer)) < 1.6


def test_forgetting_agrees_with_signals_made_without_both():
    table, n = leave_one_in_means(), 12
    held, also = np.arange(n) == 2, np.arange(n) == 5
    found = forget_errors(table.without[2], table.signals, table.log_mse, held, also)
    used, k = ~(held | also), table.signals.index("transfer")
    expected = [
        [np.delete(table.log_mse[i], sorted({2, 5, i, j})).mean() for j in range(n)] for i in range(n)
    ]
    off = used[:, None] & ~np.eye(n, dtype=bool)
    assert_allclose(found[..., k][off], np.array(expected)[off], atol=1e-9)
    changed = {
        s for k, s in enumerate(table.signals) if (found[..., k] != table.without[2][..., k])[off].any()
    }
    assert changed == {"transfer", "consensus", "consensus_bias"}
    other = replace(table, without=table.without + 0.1 * (np.arange(len(table.signals)) == k))
    same_means = forget_errors(other.without[2], table.signals, table.log_mse, held, also)
    assert_array_equal(same_means[..., k][off], other.without[2][..., k][off])  # no such mean: left alone


def test_weights_follow_the_members_that_do_well():
    rng = np.random.default_rng(0)
    missed = rng.normal(size=(380, 4)) * [1.0, 1.0, 1.0, 4.0]
    few, many = member_weights(missed, 4), member_weights(missed, 400)
    for weights in (few, many):
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert many[3] < few[3] < 0.25 and many[3] < 0.08
    assert_allclose(member_weights(np.zeros((5, 3)), 5), 1 / 3)
    two = missed[:, [0, 3]]  # against a grid
    pull = 4 / 20 * (two**2).mean(axis=0).sum() / 2
    loss = [
        np.mean((two @ [1 - w, w]) ** 2) + pull * ((w - 0.5) ** 2 + (0.5 - w) ** 2)
        for w in np.linspace(0, 1, 1001)
    ]
    assert member_weights(two, 20)[1] == pytest.approx(np.linspace(0, 1, 1001)[np.argmin(loss)], abs=2e-3)


def test_a_members_inner_trial_is_a_fit_without_the_held_out():
    "Ridge: the same as scikit-learn's, fitted without a group of simulations, on the same scale."
    from sklearn.linear_model import Ridge

    from gencast.regression.laws import fit_ridge, standardiser

    table = make_table(8)
    X, y, source, target = flat(table)
    law = fit_ridge(X, y, source, target, 0)
    rest = y - X[:, 0]
    missed = inner_misses([law.member], X, y, source, target, table.signals, 0)
    assert missed.shape == (8 * 7 - 4, 2)  # 8 in 6 groups: two groups of two, without their own pairs
    held, Z = np.isin(source, [2]) | np.isin(target, [2]), standardiser(X)(X)
    fitted = Ridge(10).fit(Z[~held], rest[~held])
    new = (target == 2) & (source != 2)
    assert_allclose(missed[2 * 6 + 2 * 6 :][:7, 1], (rest - fitted.predict(Z))[new])


def test_a_gain_has_the_error_of_its_units():
    table = make_table(9)
    one, two = (heldout_predictions(table, law, levels=()) for law in ("ridge", "constant"))
    alone = {n: n for n in table.names}
    gain, error = paired_gain(one, two, alone)
    difference = (two.log_mse - two.predicted).abs() - (one.log_mse - one.predicted).abs()
    each = difference.groupby(one.target).mean()
    assert gain == pytest.approx(difference.mean())
    assert error == pytest.approx(each.std(ddof=1) / 3)  # as many pairs for each target
    assert paired_gain(one, two, dict.fromkeys(alone, "a"))[0] == pytest.approx(gain)
    assert np.isnan(paired_gain(one, two, dict.fromkeys(alone, "a"))[1])
    assert effective_number(list("aabbcc")) == 3 and effective_number(list("aaab")) == 1.6
    with pytest.raises(InputError, match="no pair in common"):
        paired_gain(one, two[:0], alone)
