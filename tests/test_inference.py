"""Inference on pairs: against brute force and dense algebra, size under the null, power, symmetries and
refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError, rng_for
from gencast.regression.crossed import CrossedParts, crossed_parts, draw_crossed, pair_design, share_products
from gencast.regression.inference import (
    jackknife_errors,
    jackknife_test,
    mrqap_test,
    naive_test,
    null_statistics,
    relation_test,
    sandwich_covariance,
    sandwich_test,
)

WORLD = CrossedParts(source=0.3, target=0.3, both=0.15, pair=0.4, reverse=0.2)
RNG = np.random.default_rng(5)


def example(n=9, k=3, seed=0):
    rng = rng_for(seed, "example")
    X = draw_crossed(WORLD, n, rng, k)
    return draw_crossed(WORLD, n, rng)[..., 0] + 1, X + 0.5 * X[..., :1]


def pairs_of(n):
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def ols(y, X):
    "Least squares pair by pair, independent of the package."
    pairs = pairs_of(len(y))
    Z = np.array([[1, *X[i, j]] for i, j in pairs])
    v = np.array([y[i, j] for i, j in pairs])
    beta = np.linalg.lstsq(Z, v, rcond=None)[0]
    return pairs, Z, v, beta, v - Z @ beta


def test_naive_agrees_with_scipy_and_the_textbook():
    from scipy.stats import linregress

    y, X = example()
    off = ~np.eye(9, dtype=bool)
    table, other = naive_test(pair_design(y, X[..., 0])), linregress(X[..., 0][off], y[off])
    assert_allclose(
        table.loc[1, ["coefficient", "se", "p"]].astype(float), [other.slope, other.stderr, other.pvalue]
    )
    assert_allclose(
        table.loc[0, ["coefficient", "se"]].astype(float), [other.intercept, other.intercept_stderr]
    )
    _, Z, v, beta, e = ols(y, X)
    V = np.linalg.inv(Z.T @ Z) * (e @ e) / (len(v) - 4)
    table = naive_test(pair_design(y, X))
    assert_allclose(table.coefficient, beta)
    assert_allclose(table.se, np.sqrt(np.diag(V)))
    assert_allclose((table.high + table.low) / 2, beta)


def test_sandwich_agrees_with_a_loop_over_couples_of_pairs():
    y, X = example()
    pairs, Z, v, beta, e = ols(y, X)
    meat = np.zeros((4, 4))
    for p, one in enumerate(pairs):
        for q, two in enumerate(pairs):
            if set(one) & set(two):
                meat += e[p] * e[q] * np.outer(Z[p], Z[q])
    bread = np.linalg.inv(Z.T @ Z)
    V = bread @ meat @ bread
    got, repaired = sandwich_covariance(pair_design(y, X), correct=False)
    if repaired:
        assert np.linalg.eigvalsh(V)[0] < 0
    else:
        assert_allclose(got, V, rtol=1e-8, atol=1e-12)
    single, repaired = sandwich_covariance(pair_design(*[y, X[..., 0]]), correct=True)
    assert not repaired
    _, Z, v, beta, e = ols(y, X[..., :1])
    share = np.array([[bool(set(a) & set(b)) for b in pairs] for a in pairs])
    w = np.linalg.pinv(Z) * e
    assert_allclose(single, w @ share @ w.T * 9 / 8 * 71 / 70, rtol=1e-8)


def test_a_sandwich_that_is_not_positive_is_repaired_and_says_so():
    repaired = 0
    for seed in range(30):
        y, X = example(n=6, k=4, seed=seed)
        design = pair_design(y, X)
        V, flag = sandwich_covariance(design)
        assert np.linalg.eigvalsh(V)[0] > -1e-10 * np.abs(V).max()
        assert (sandwich_test(design).repaired == flag).all()
        repaired += flag
    assert repaired > 0


def test_jackknife_agrees_with_refits():
    y, X = example()
    _, Z, v, beta, _ = ols(y, X)
    refits = []
    for out in range(9):
        keep = np.delete(np.arange(9), out)
        refits.append(ols(y[np.ix_(keep, keep)], X[np.ix_(keep, keep)])[3])
    b, se = jackknife_errors(pair_design(y, X), pair_design(y, X).y[..., None])
    assert_allclose(b[:, 0], beta)
    assert_allclose(se[:, 0], np.sqrt(8 / 9 * ((np.array(refits) - beta) ** 2).sum(axis=0)))


def test_jackknife_survives_bad_units():
    y, X = example()
    one, two = jackknife_test(pair_design(y, X)), jackknife_test(pair_design(y, 1e3 + 1e-3 * X))
    assert_allclose(two.coefficient[1:], one.coefficient[1:] * 1e3, rtol=1e-4)
    assert_allclose(two.t[1:], one.t[1:], rtol=1e-4)


def dense_kinds(n):
    "The five kinds of couples of pairs, as 0/1 matrices over the pairs."
    pairs = pairs_of(n)
    kinds = np.zeros((5, len(pairs), len(pairs)))
    for p, (i, j) in enumerate(pairs):
        for q, (k, l) in enumerate(pairs):
            kind = (
                0
                if (i, j) == (k, l)
                else 1
                if (i, j) == (l, k)
                else 2
                if i == k
                else 3
                if j == l
                else 4
                if i == l or j == k
                else None
            )
            if kind is not None:
                kinds[kind, p, q] = 1
    return kinds


def test_sums_over_shared_simulations_agree_with_dense_matrices():
    V = RNG.normal(size=(7, 7, 3)) * ~np.eye(7, dtype=bool)[..., None]
    off = ~np.eye(7, dtype=bool)
    for got, kind in zip(share_products(V), dense_kinds(7)):
        assert_allclose(got[off], kind @ V[off], atol=1e-12)
        assert (got[~off] == 0).all()


def test_variances_agree_with_dense_moment_equations():
    y, X = example(n=7, k=2)
    _, Z, v, beta, e = ols(y, X)
    M = np.eye(42) - Z @ np.linalg.pinv(Z)
    kinds = dense_kinds(7)
    H = [[np.trace(c @ M @ d @ M) for d in kinds] for c in kinds]
    same, back, source, target, both = np.linalg.solve(H, [e @ c @ e for c in kinds])
    found = crossed_parts(pair_design(y, X))
    assert_allclose(
        [found.source, found.target, found.both, found.pair, found.reverse],
        [source, target, both, same - source - target, back - 2 * both],
    )


def test_draws_have_the_asked_covariances():
    draws = draw_crossed(WORLD, 6, rng_for(0, "draws"), 40_000)
    off = ~np.eye(6, dtype=bool)
    values = draws[off]
    expected = np.tensordot([1.0, 0.5, 0.3, 0.3, 0.15], dense_kinds(6), axes=1)
    assert_allclose(values @ values.T / 40_000, expected, atol=0.04)
    assert (draws[~off] == 0).all()


def loop_mrqap(y, X, k, orders):
    "Double semi-partialling with least squares for each permutation, as the paper has it."
    pairs = pairs_of(len(y))
    others = np.array([[1, *np.delete(X[i, j], k)] for i, j in pairs])
    x, v = np.array([X[p][k] for p in pairs]), np.array([y[p] for p in pairs])
    rest = np.zeros_like(y)
    rest[tuple(np.transpose(pairs))] = x - others @ np.linalg.lstsq(others, x, rcond=None)[0]
    t = []
    for o in [np.arange(len(y)), *orders]:
        Z = np.column_stack([others, [rest[o[i], o[j]] for i, j in pairs]])
        beta = np.linalg.lstsq(Z, v, rcond=None)[0]
        e = v - Z @ beta
        t.append(abs(beta[-1]) / np.sqrt(np.linalg.inv(Z.T @ Z)[-1, -1] * (e @ e) / (len(v) - Z.shape[1])))
    return (1 + np.sum(np.array(t[1:]) >= t[0])) / len(t)


def test_mrqap_agrees_with_a_loop():
    y, X = example(n=8)
    orders = np.argsort(rng_for(4, "mrqap").random((60, 8)), axis=1)
    assert_allclose(
        mrqap_test(pair_design(y, X), 60, seed=4).p, [loop_mrqap(y, X, k, orders) for k in range(3)]
    )


def test_mrqap_statistic_of_the_data_is_the_least_squares_t():
    from gencast.regression.inference import slope_statistics

    y, X = example()
    design = pair_design(y, X)
    Z = design.Z[design.pairs]
    for k in (1, 2, 3):
        t = slope_statistics(Z[:, k][None], y[design.pairs], np.delete(Z, k, axis=1))
        assert_allclose(t, np.abs(naive_test(design).t[k]))


@pytest.mark.parametrize("shift", [0, 1])
def test_order_units_and_diagonal_do_not_matter(shift):
    y, X = example()
    order = RNG.permutation(9)
    table = relation_test(X, y, n_perm=99, n_boot=99)
    y2 = y[np.ix_(order, order)].copy()
    y2[np.eye(9, dtype=bool)] = np.nan
    again = relation_test(3 * X[np.ix_(order, order)] + shift, y2, n_perm=99, n_boot=99)
    for column in ("coefficient", "se_naive", "se_dyadic"):
        assert_allclose(again[column], table[column] / 3)
    assert_allclose(again.p_naive, table.p_naive)
    turned = sandwich_test(pair_design(y.T, X.transpose(1, 0, 2)))  # source and target change places
    assert_allclose(turned.se, sandwich_test(pair_design(y, X)).se)


def test_same_seed_same_table():
    y, X = example()
    one, two, other = (relation_test(X, y, n_perm=199, n_boot=199, seed=s) for s in (1, 1, 2))
    assert_array_equal(one.to_numpy(), two.to_numpy())
    assert (one.p_mrqap != other.p_mrqap).any() and (one.p_dyadic != other.p_dyadic).any()


def test_many_simulations_are_done_in_pieces(monkeypatch):
    y, X = example(n=60, k=1)
    design = pair_design(y, X)
    null = null_statistics(design, 700, 0)  # 555 at a time
    assert null.shape == (700, 2) and np.isfinite(null).all()
    assert 0 < mrqap_test(design, 700).p[0] <= 1


def test_size_and_power():
    n_sets = 400
    rng = rng_for(11, "size")
    ys, xs = draw_crossed(WORLD, 20, rng, n_sets), draw_crossed(WORLD, 20, rng, n_sets)

    def found(slope, test):
        return np.mean(
            [test(pair_design(ys[..., k] + slope * xs[..., k], xs[..., k]), k) <= 0.05 for k in range(n_sets)]
        )

    def robust(d, k):
        return jackknife_test(d, n_boot=199, seed=k).p[1]

    def permute(d, k):
        return mrqap_test(d, 199, seed=k).p[0]

    for test in (robust, permute):  # 5 %, and three standard errors of 400 draws
        assert 0.018 < found(0, test) < 0.083
        assert found(0.5, test) > 0.8
    assert found(0, lambda d, k: naive_test(d).p[1]) > 0.25
    assert 0.08 < found(0, lambda d, k: sandwich_test(d).p[1]) < 0.25


def test_intervals_cover_the_truth():
    n_sets = 300
    rng = rng_for(12, "cover")
    ys, xs = draw_crossed(WORLD, 20, rng, n_sets), draw_crossed(WORLD, 20, rng, n_sets)
    tables = [
        jackknife_test(pair_design(2 + 0.4 * xs[..., k] + ys[..., k], xs[..., k]), n_boot=199, seed=k)
        for k in range(n_sets)
    ]
    for row, truth in enumerate((2, 0.4)):
        assert 0.91 < np.mean([t.low[row] < truth < t.high[row] for t in tables]) < 0.985


def test_a_perfect_relation_is_found():
    _, X = example()
    table = relation_test(X[..., 0], 1 + 2 * X[..., 0], ("distance",))
    assert_allclose(table.coefficient, 2)
    assert (table[["p_naive", "p_dyadic", "p_mrqap"]] <= 0.002).all(axis=None)


@pytest.mark.parametrize(
    "damage, words",
    [
        (lambda y, X: (y[:4, :4], X[:4, :4]), "4 simulations are too few"),
        (lambda y, X: (y, X[:8]), "shape"),
        (lambda y, X: (y.at(2, 3, np.nan), X), "y is not finite for source 2, target 3"),
        (lambda y, X: (y, np.where(np.arange(3) == 1, np.inf, X)), "x2 is not finite"),
        (lambda y, X: (y, np.where(np.arange(3) == 2, 7.0, X)), "'x3' is constant"),
        (
            lambda y, X: (y, np.concatenate([X, X[..., :1] - X[..., 1:2]], axis=-1)),
            "'x4' is constant or a linear combination",
        ),
        (
            lambda y, X: (y, np.where((np.arange(9) == 4)[:, None, None], 1.0, 0.0) * np.ones((9, 9, 1))),
            "without simulation 4",
        ),
    ],
)
def test_what_cannot_be_tested_is_refused(damage, words):
    class Matrix(np.ndarray):
        def at(self, i, j, value):
            self[i, j] = value
            return self

    y, X = example()
    with pytest.raises(InputError, match=words):
        relation_test(*damage(y.view(Matrix), X)[::-1], n_perm=9, n_boot=9)
