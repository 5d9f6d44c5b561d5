"""Feature clusters, selector and their figures: against scipy and scikit-learn, and refusals."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.features import selector
from gencast.features.clusters import (
    check_matrix,
    cluster_features,
    cluster_values,
    describe_clusters,
    grow_tree,
    rank_correlation,
    rank_distance,
    reweigh,
    standard_ranks,
)

RNG = np.random.default_rng(3)
TRUTH = RNG.integers(0, 5, 40)
X = RNG.normal(size=(400, 5))[:, TRUTH] * RNG.choice([-1, 1], 40) + 0.3 * RNG.normal(size=(400, 40))
IMPORTANCE = RNG.random(40)


def test_rank_distance_is_spearman():
    from scipy.stats import spearmanr

    ties = X.round(1)
    d = rank_distance(ties)
    assert d.shape == (40, 40)
    assert_allclose(d, 1 - np.abs(spearmanr(ties).statistic), atol=1e-12)
    assert (np.diag(d) == 0).all() and (d == d.T).all()


def test_blocks_are_recovered_whatever_the_order_and_sign():
    from sklearn.metrics import adjusted_rand_score

    for order in (np.arange(40), RNG.permutation(40)):
        found = cluster_features(X[:, order], IMPORTANCE[order], n_clusters=5)
        assert adjusted_rand_score(TRUTH[order], found.labels) == 1
    again = cluster_features(np.exp(X), IMPORTANCE, n_clusters=5)  # monotonic functions change nothing
    assert_array_equal(again.labels, cluster_features(X, IMPORTANCE, n_clusters=5).labels)


def test_agrees_with_sklearn():
    from sklearn.cluster import AgglomerativeClustering
    from sklearn.metrics import adjusted_rand_score

    for n in (2, 7, 13):
        other = AgglomerativeClustering(n, metric="precomputed", linkage="average").fit_predict(
            rank_distance(X)
        )
        assert adjusted_rand_score(other, cluster_features(X, IMPORTANCE, n_clusters=n).labels) == 1


def test_weights_and_representatives():
    found = cluster_features(X, IMPORTANCE, threshold=0.4)
    assert_allclose(found.weights.sum(), 1)
    assert (np.diff(found.weights) <= 0).all()
    for k in range(len(found)):
        members = np.flatnonzero(found.labels == k)
        assert found.representatives[k] == members[np.argmax(IMPORTANCE[members])]
        assert_allclose(found.weights[k], IMPORTANCE[members].sum() / IMPORTANCE.sum())
    assert found.labels.shape == (40,) and found.linkage.shape == (39, 4)


def test_limits():
    assert len(cluster_features(X, IMPORTANCE, n_clusters=1)) == 1
    assert len(cluster_features(X, IMPORTANCE, n_clusters=100)) == 40  # at most
    assert len(cluster_features(X[:, :1], IMPORTANCE[:1], n_clusters=3)) == 1
    assert len(cluster_features(X, IMPORTANCE, threshold=0.0)) == 40


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(n_clusters=3, threshold=0.1), "either"),
        (dict(), "either"),
        (dict(n_clusters=0), "at least one"),
        (dict(threshold=1.5), "between 0 and 1"),
        (dict(n_clusters=3, importance=IMPORTANCE[:5]), "5 importances for 40"),
        (dict(n_clusters=3, importance=-IMPORTANCE), "not negative"),
        (dict(n_clusters=3, importance=np.zeros(40)), "all zero"),
        (
            dict(n_clusters=3, X=np.where(np.arange(40) == 7, 1.0, X)),
            "feature 7 is the same for every galaxy",
        ),
        (dict(n_clusters=3, X=np.where(np.arange(40) == 9, np.nan, X)), "feature 9 is not finite"),
        (dict(n_clusters=3, X=X[:2]), "at least 3"),
        (dict(n_clusters=3, X=X[:1]), "at least 3"),
        (dict(n_clusters=3, X=X[0]), "at least 3"),
        (dict(n_clusters=3, X=X[:, :0], importance=[]), "shape"),
        (dict(n_clusters=3, X=X.astype(str)), "not numbers"),
        (dict(n_clusters=3, importance=np.where(np.arange(40) == 2, np.nan, IMPORTANCE)), "finite"),
        (dict(n_clusters=3, importance=np.where(np.arange(40) == 2, -0.1, IMPORTANCE)), "not negative"),
        (dict(n_clusters=3, method="centroid"), "no linkage 'centroid'"),
        (dict(n_clusters=3, representative="best"), "must be one of"),
        (dict(n_clusters=3, constant="drop"), "raise or leave out"),
        (dict(n_clusters=3, X=np.ones((9, 40)), constant="leave out"), "every feature is the same"),
        (dict(threshold=-0.1, method="ward"), "threshold"),
    ],
)
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        cluster_features(**(dict(X=X, importance=IMPORTANCE) | change))


# ranks and trees


@pytest.mark.parametrize(
    "values",
    [X, X.round(1), X.astype(np.float32), (X * 3).astype(int), np.sign(X)],
    ids=["float", "ties", "float32", "integers", "two values"],
)
def test_rank_correlation_is_scipys(values):
    from scipy.stats import rankdata, spearmanr

    want = spearmanr(values).statistic
    assert_allclose(rank_correlation(values), want, atol=1e-12)
    assert_allclose(rank_correlation(values, precise=False, block=64), want, atol=1e-6)
    rank = rankdata(values, axis=0).T
    rank -= rank.mean(axis=1, keepdims=True)
    assert_allclose(
        standard_ranks(np.asarray(values), block=7),
        rank / np.linalg.norm(rank, axis=1, keepdims=True),
        atol=1e-12,
    )


def test_many_features_take_the_quick_way():
    from scipy.stats import spearmanr

    wide = (RNG.normal(size=(50, 4)) @ RNG.normal(size=(4, 1600))).astype(np.float32)
    rho = rank_correlation(wide)
    assert 0 < np.abs(rho - spearmanr(wide).statistic).max() < 1e-6
    assert (np.diag(rho) == 1).all() and np.abs(rho).max() <= 1


def test_ward_is_wards_method_on_lines_without_direction():
    """The matrices z z' of the standardised ranks are points; Ward on them is Ward on sqrt(1 - rho^2), up to
    a factor.
    """
    from scipy.cluster.hierarchy import linkage

    z = standard_ranks(X[:60, :15])
    points = np.einsum("ij,ik->ijk", z, z).reshape(15, -1)
    want, tree = linkage(points, "ward"), grow_tree(rank_correlation(X[:60, :15]), "ward")
    assert_array_equal(tree[:, :2], want[:, :2])
    assert_allclose(tree[:, 2] * np.sqrt(2), want[:, 2], rtol=1e-6)


def test_complete_linkage_bounds_every_pair():
    found, d = cluster_features(X, IMPORTANCE, threshold=0.3, method="complete"), rank_distance(X)
    for k in range(len(found)):
        assert d[np.ix_(found.labels == k, found.labels == k)].max() <= 0.3


@pytest.mark.parametrize("method", ["average", "ward", "complete"])
def test_every_linkage_ignores_order_sign_and_scale(method):
    from sklearn.metrics import adjusted_rand_score

    want, order = cluster_features(X, IMPORTANCE, n_clusters=7, method=method), RNG.permutation(40)
    other = cluster_features(-np.exp(X[:, order]), IMPORTANCE[order], n_clusters=7, method=method)
    assert adjusted_rand_score(want.labels[order], other.labels) == 1
    assert_allclose(want.weights, other.weights)
    assert_array_equal(want.representatives, order[other.representatives])


# representatives and values


def test_medoid_is_the_closest_to_all():
    found, d = cluster_features(X, IMPORTANCE, n_clusters=6, representative="medoid"), rank_distance(X)
    for k in range(6):
        members = np.flatnonzero(found.labels == k)
        assert found.representatives[k] == members[d[np.ix_(members, members)].sum(axis=1).argmin()]


def test_mean_turns_members_round():
    found = cluster_features(X, IMPORTANCE, n_clusters=5, representative="mean")
    mean = cluster_values(X, found)
    for k in range(5):
        members = np.flatnonzero(found.labels == k)
        rho = rank_correlation(X[:, members])[list(members).index(found.representatives[k])]
        assert_array_equal(found.signs[members], np.sign(rho))
        assert_allclose(mean[:, k], (X[:, members] * np.sign(rho)).mean(axis=1))
        assert np.corrcoef(mean[:, k], X[:, found.representatives[k]])[0, 1] > 0.9, (
            "the mean points the way of its representative"
        )


def test_values_scaled_by_weight_are_the_weighted_distance():
    from scipy.spatial.distance import cdist

    found = cluster_features(X, IMPORTANCE, n_clusters=5)
    want = cdist(X[:9, found.representatives], X[9:20, found.representatives], "euclidean", w=found.weights)
    a, b = (cluster_values(part, found, scale_by_weight=True) for part in (X[:9], X[9:20]))
    assert_allclose(cdist(a, b), want)
    with pytest.raises(InputError, match="same features"):
        cluster_values(X[:, :39], found)


def test_other_weights_reorder_the_clusters():
    found = cluster_features(X, IMPORTANCE, n_clusters=5)
    new = reweigh(found, [1, 2, 3, 4, 5])
    assert_array_equal(new.labels, 4 - found.labels)
    assert_array_equal(new.representatives, found.representatives[::-1])
    assert_allclose(new.weights, np.array([5, 4, 3, 2, 1]) / 15)
    for wrong in ([1, 2], [0] * 5, [-1, 1, 1, 1, 1], [np.nan, 1, 1, 1, 1]):
        with pytest.raises(InputError):
            reweigh(found, wrong)


def test_constant_features_are_left_out_only_on_request_and_said_so():
    holed, want = np.insert(X, [3, 20], 7.0, axis=1), cluster_features(X, IMPORTANCE, n_clusters=5)
    weights = np.insert(IMPORTANCE, [3, 20], 0.0)
    with pytest.warns(UserWarning, match=r"2 features are the same.*first: 3"):
        found = cluster_features(holed, weights, n_clusters=5, constant="leave out")
    assert (
        found.left_out == (3, 21)
        and (found.labels[[3, 21]] == -1).all()
        and (found.signs[[3, 21]] == 0).all()
    )
    assert_array_equal(np.delete(found.labels, [3, 21]), want.labels)
    assert_allclose(cluster_values(holed, found), cluster_values(X, want))
    assert check_matrix(holed, "leave out")[1].sum() == 2
    assert describe_clusters(found, np.arange(42)).members.sum() == 40


# the transformer

Y = X[:, 0] + 0.5 * X[:, 7] + 0.1 * RNG.normal(size=400)


@pytest.mark.parametrize(
    "options",
    [{}, {"representative": "mean"}, {"importance": "equal", "method": "ward"}, {"scale_by_weight": True}],
    ids=str,
)
def test_selector_keeps_the_contract_of_sklearn(options):
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(selector.FeatureClusterSelector(n_trees=3, **options), on_skip=None)


def test_selector_is_cluster_features():
    fitted = selector.FeatureClusterSelector(5, importance=IMPORTANCE, scale_by_weight=True).fit(X)
    want = cluster_features(X, IMPORTANCE, n_clusters=5)
    assert_array_equal(fitted.labels_, want.labels)
    assert_allclose(fitted.weights_, want.weights)
    assert_allclose(fitted.transform(X), cluster_values(X, want, scale_by_weight=True))


def test_selector_finds_what_matters_by_either_importance():
    for how in ("impurity", "permutation"):
        fitted = selector.FeatureClusterSelector(5, importance=how, n_trees=20).fit(X, Y)
        assert fitted.labels_[0] == 0 and fitted.weights_[0] > 0.5, how
    again = selector.FeatureClusterSelector(5, importance="permutation", n_trees=20).fit(X, Y)
    assert_array_equal(fitted.weights_, again.weights_)


def test_selector_names_columns():
    import pandas as pd

    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(40)])
    fitted = selector.FeatureClusterSelector(5, n_trees=5).set_output(transform="pandas").fit(frame, Y)
    assert list(fitted.transform(frame)) == [f"pixel {i}" for i in fitted.representatives_]
    mean = selector.FeatureClusterSelector(5, n_trees=5, representative="mean").fit(frame, Y)
    assert all("mean of" in n for n in mean.get_feature_names_out())
    with pytest.raises(InputError, match="not equal"):
        fitted.get_feature_names_out([f"x{i}" for i in range(40)])


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(importance="gain"), "no importance 'gain'"),
        (dict(importance=np.ones(3)), "3 importances for 40"),
        (dict(importance=-np.ones(40)), "not negative"),
        (dict(importance=np.zeros(40)), "all zero"),
        (dict(y=None), "requires y"),
        (dict(y=Y[:-1]), "inconsistent numbers"),
        (dict(X=X[:1], y=Y[:1]), "1 sample"),
        (dict(X=np.where(np.arange(40) == 9, np.nan, X)), "feature x9 of galaxy 0 is NaN"),
        (dict(X=np.where(np.arange(40) == 7, 1.0, X)), "feature 7 is the same"),
        (dict(y=np.full(400, np.nan)), "NaN"),
        (dict(n_clusters=0), "at least one"),
        (dict(threshold=0.1), "not both"),
        (dict(y=np.ones(400)), "the same for all galaxies"),
    ],
)
def test_selector_refuses(change, words):
    data = {k: change.get(k, v) for k, v in dict(X=X, y=Y).items()}
    options = {k: v for k, v in change.items() if k not in data}
    with pytest.raises(InputError, match=words):
        selector.FeatureClusterSelector(n_trees=5, **options).fit(data["X"], data["y"])


def test_selector_refuses_other_features():
    with pytest.raises(InputError, match="39 features"):
        selector.FeatureClusterSelector(5, n_trees=5).fit(X, Y).transform(X[:, :39])


# figures


def overlap(texts, renderer) -> list:
    "Pairs of texts whose boxes overlap."
    boxes = [t.get_window_extent(renderer) for t in texts]
    return [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].overlaps(boxes[j])
    ]


@pytest.mark.parametrize("size", [None, (5, 3)])
def test_line_labels_never_overlap(size):
    import matplotlib.pyplot as plt

    from gencast.core.constants import EMISSION_LINES
    from gencast.features.table import MARKED_LINES
    from gencast.figures.clusters import plot_cluster_spectrum

    wave = np.geomspace(3600, 8600, 40)
    found = cluster_features(X, IMPORTANCE, n_clusters=9)
    for lines in (MARKED_LINES, EMISSION_LINES):
        ax = plt.subplots(figsize=size, layout="constrained")[1] if size and lines is MARKED_LINES else None
        ax = plot_cluster_spectrum(
            found, wave, np.geomspace(3600, 8600, 500), np.ones(500), lines=lines, title="a title", ax=ax
        )
        ax.figure.draw_without_rendering()
        texts = [t for t in ax.texts if t.get_text() in lines]
        assert len(texts) == sum(3600 < w < 8600 for w in lines.values())
        assert not overlap(texts, ax.figure.canvas.get_renderer())
        assert ax.get_ylabel() and "Å" in ax.child_axes[0].get_xlabel()
        plt.close(ax.figure)


def test_figures_draw_on_given_axes_and_refuse_what_does_not_fit():
    import matplotlib.pyplot as plt

    from gencast.figures.clusters import (
        keep_apart,
        plot_cluster_matrix,
        plot_cluster_spectrum,
        plot_property_clusters,
    )

    found, wave = (
        cluster_features(X, IMPORTANCE, n_clusters=9),
        np.append(np.geomspace(3600, 8600, 39), np.nan),
    )
    before, rc = plt.get_fignums(), dict(plt.rcParams)
    fig, own = plt.subplots()
    assert plot_cluster_matrix(found, X, ax=own) is own
    axes = plot_property_clusters({"a": found, "b": found}, wave, np.geomspace(3600, 8600, 500), np.ones(500))
    assert len(axes) == 2 and dict(plt.rcParams) == rc
    for wrong in (
        lambda: plot_cluster_matrix(found, X[:, :5]),
        lambda: plot_cluster_spectrum(found, wave[:5], wave, wave),
        lambda: plot_property_clusters({}, wave, wave, wave),
    ):
        with pytest.raises(InputError, match="plot:"):
            wrong()
    plt.close("all")
    assert before == [] or plt.get_fignums() == []
    x = RNG.random(30) * 3
    placed = keep_apart(x, 0.2, 0, 8)
    assert (np.diff(placed[np.argsort(x)]) > 0.2 - 1e-9).all() and placed.min() >= 0 and placed.max() <= 8
