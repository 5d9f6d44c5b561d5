"""Decomposition of the error: exact identities, cases with known answer, figures and refusals."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.figures.decomposition import distance_bins, plot_decomposition, plot_shares
from gencast.regression.decomposition import decomposition_table, split_error, split_residual

RNG = np.random.default_rng(8)
NAMES = ("A", "B", "C", "D")
SIZES = (50, 61, 72, 83)
TRUTH = [RNG.normal(10, 1, n) for n in SIZES]


def predictions(n_refit):
    shape = (lambda n: (n_refit, n)) if n_refit else (lambda n: (n,))
    return [[t + RNG.normal(0.2 * i, 0.3, shape(len(t))) for t in TRUTH] for i in range(4)]


@pytest.mark.parametrize("n_refit", [0, 1, 5])
def test_identities(n_refit):
    table = decomposition_table(predictions(n_refit), TRUTH, NAMES)
    assert len(table) == 12 and not (table.source == table.target).any()
    assert_allclose(
        table.mse, table.in_domain + table.wrong_inverse + table.refit + table.cross, atol=1e-10, rtol=0
    )
    assert_allclose(table.mse, table.offset2 + table.scatter + table.refit, atol=1e-10, rtol=0)
    assert_allclose(table.share_wrong_inverse, table.wrong_inverse / table.mse)
    assert (table.wrong_offset2 <= table.wrong_inverse).all()
    assert (
        table.cross.abs() <= 2 * np.sqrt(table.in_domain * table.wrong_inverse) + 1e-12
    ).all()  # Cauchy-Schwarz
    assert (table.refit > 0).all() if n_refit > 1 else (table.refit == 0).all()


def test_rows_agree_with_a_plain_calculation():
    made = predictions(3)
    table = decomposition_table(made, TRUTH, NAMES, np.arange(16).reshape(4, 4)).set_index(
        ["source", "target"]
    )
    row, g, own, y = table.loc[("B", "D")], made[1][3], made[3][3].mean(axis=0), TRUTH[3]
    assert row.distance == 7
    assert_allclose(row.mse, np.mean([np.mean((p - y) ** 2) for p in g]))
    assert_allclose(row.in_domain, np.mean((own - y) ** 2))
    assert_allclose(row.wrong_inverse, np.mean((np.mean(g, axis=0) - own) ** 2))
    assert_allclose(row.offset2, np.mean(g - y) ** 2)
    assert_allclose(row.source_in_domain, np.mean((made[1][1] - TRUTH[1]) ** 2))


def test_linear_inverse_functions_with_known_difference():
    x = RNG.normal(0.5, 0.7, 200_000)
    y = 9 + 1.2 * x + 0.15 * RNG.normal(size=x.size)
    found = split_error(y, 9.3 + 1.0 * x + 0.05 * RNG.normal(size=(4, x.size)), 9 + 1.2 * x)
    added = (0.3 - 0.2 * 0.5) ** 2 + 0.2**2 * 0.7**2
    assert_allclose(found["wrong_inverse"], added + 0.05**2 / 4, rtol=0.01)
    assert_allclose(found["wrong_offset2"], (0.3 - 0.2 * 0.5) ** 2, rtol=0.01)
    assert_allclose(found["in_domain"], 0.15**2, rtol=0.01)
    assert_allclose(found["refit"], 0.05**2 * 3 / 4, rtol=0.01)
    assert abs(found["cross"]) < 1e-3


def test_the_same_model_has_nothing_added():
    own = TRUTH[0] + RNG.normal(size=50)
    found = split_error(TRUTH[0], own, own)
    assert found["wrong_inverse"] == found["cross"] == found["refit"] == found["share_wrong_inverse"] == 0
    assert found["mse"] == found["in_domain"]
    perfect = split_error(TRUTH[0], TRUTH[0], TRUTH[0])
    assert perfect["mse"] == 0 and perfect["share_wrong_inverse"] == 0


def test_order_and_a_common_shift_do_not_matter():
    order, p, own = RNG.permutation(50), TRUTH[0] + RNG.normal(size=(3, 50)), TRUTH[0] + RNG.normal(size=50)
    one, two = (
        split_error(TRUTH[0], p, own),
        split_error(TRUTH[0][order] - 10, p[:, order] - 10, own[order] - 10),
    )
    assert_allclose(list(one.values()), list(two.values()))
    assert_allclose(list(split_residual(TRUTH[0], p).values()), list(split_residual(-TRUTH[0], -p).values()))


def test_bins_hold_equal_numbers():
    table = decomposition_table(predictions(0), TRUTH, NAMES, RNG.random((4, 4)))
    assert distance_bins(table, None, 4)["bin"].value_counts().tolist() == [3, 3, 3, 3]
    assert distance_bins(table, None, 50)["bin"].nunique() == 12
    assert distance_bins(table, np.ones(12), 3)["bin"].nunique() == 3  # ties


@pytest.mark.parametrize("plot", [plot_decomposition, plot_shares])
def test_figures(plot):
    table = decomposition_table(predictions(2), TRUTH, NAMES)
    before = dict(plt.rcParams)
    ax = plot(table, RNG.random(12), n_bins=4)
    assert "distance" in ax.get_xlabel() and ("dex" in ax.get_ylabel() or "%" in ax.get_ylabel())
    assert dict(plt.rcParams) == before
    fig, mine = plt.subplots()
    assert plot(table, RNG.random(12), ax=mine) is mine
    with pytest.raises(InputError, match="no distance"):
        plot(table)
    plt.close("all")


def test_stacked_shares_add_up_to_the_whole_less_the_cross_term():
    table = decomposition_table(predictions(2), TRUTH, NAMES, RNG.random((4, 4)))
    ax = plot_shares(table, n_bins=3)
    tops = np.array([b.get_y() + b.get_height() for b in ax.containers[-1]])
    assert_allclose(tops + ax.lines[0].get_ydata(), 100)
    plt.close("all")


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: split_residual(TRUTH[0], TRUTH[1]), "one prediction a galaxy"),
        (lambda: split_residual(TRUTH[0], np.zeros((0, 50))), "one prediction a galaxy"),
        (lambda: split_error(TRUTH[0], TRUTH[0], TRUTH[1]), "the target's own prediction"),
        (lambda: split_error(TRUTH[0], np.where(np.arange(50) == 7, np.nan, TRUTH[0]), TRUTH[0]), "galaxy 7"),
        (lambda: split_error(np.where(np.arange(50) == 9, np.inf, TRUTH[0]), TRUTH[0], TRUTH[0]), "galaxy 9"),
        (lambda: decomposition_table(predictions(0)[:3], TRUTH, NAMES), "3 rows of predictions"),
        (lambda: decomposition_table(predictions(0), TRUTH, NAMES, np.zeros((3, 3))), "distance has shape"),
    ],
)
def test_what_cannot_be_split_is_refused(call, words):
    with pytest.raises(InputError, match=words):
        call()
