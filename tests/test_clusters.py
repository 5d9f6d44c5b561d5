"""Feature clusters: against scipy's Spearman and scikit-learn's clustering, and refusals."""
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.clusters import cluster_features, rank_distance
from gencast.core import InputError

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
        other = AgglomerativeClustering(n, metric="precomputed", linkage="average").fit_predict(rank_distance(X))
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


@pytest.mark.parametrize("change, words", [
    (dict(n_clusters=3, threshold=0.1), "either"),
    (dict(), "either"),
    (dict(n_clusters=0), "at least one"),
    (dict(threshold=1.5), "between 0 and 1"),
    (dict(n_clusters=3, importance=IMPORTANCE[:5]), "5 importances for 40"),
    (dict(n_clusters=3, importance=-IMPORTANCE), "not negative"),
    (dict(n_clusters=3, importance=np.zeros(40)), "all zero"),
    (dict(n_clusters=3, X=np.where(np.arange(40) == 7, 1.0, X)), "feature 7 is the same for every galaxy"),
    (dict(n_clusters=3, X=np.where(np.arange(40) == 9, np.nan, X)), "feature 9 is not finite"),
    (dict(n_clusters=3, X=X[:2]), "at least 3"),
])
def test_refusals(change, words):
    with pytest.raises(InputError, match=words):
        cluster_features(**(dict(X=X, importance=IMPORTANCE) | change))
