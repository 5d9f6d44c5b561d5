"Distances: against SciPy, scikit-learn, POT and dcor, closed forms, symmetries, nulls, refusals."

import warnings
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.spatial.distance import cdist

import gencast.distances.pairwise as pairwise
from gencast.core.base import InputError
from gencast.distances.classifiers import deal_folds, proxy_a, stack
from gencast.distances.metrics import FAST, METRICS, Plan, join, prepare
from gencast.distances.moments import Moments, ShrinkageWarning, bhattacharyya, fit_moments, frechet
from gencast.distances.pairwise import KERNELS, compare, feature_set, pooled_scale
from gencast.distances.tables import (
    DISTANCES,
    distance,
    distance_table,
    galaxy_distances,
    null_distance,
    profile,
    spread,
)
from gencast.distances.transport import cut_slices, directions, sliced_wasserstein

RNG = np.random.default_rng(7)
D = 6
MIX = RNG.normal(size=(D, D))
X, Y, Z = (
    RNG.normal(size=(n, D)) @ MIX * s + 3 + step
    for n, s, step in ((300, 1.0, 0.0), (240, 1.3, 0.5), (280, 0.7, 1.0))
)
W = RNG.uniform(0.2, 2, D)
OPTIONS = {
    "wasserstein": {"n": 100},
    "sinkhorn": {"n": 100, "reg": 0.2},
    "classifier_auc": {"trees": 10, "folds": 2},
}
NO_POT = tuple(n for n in METRICS if n != "sinkhorn")


@pytest.fixture(autouse=True)
def fresh():
    "The same draws for a test whichever tests run before it."
    global RNG
    RNG = np.random.default_rng(8)


def mean_within(v):
    return cdist(v, v).sum() / len(v) / (len(v) - 1)


def value(name, source, target, **kw):
    "A distance with small options, weights only where they are needed."
    if name == "sinkhorn":
        pytest.importorskip("ot")
    if name == "weighted":
        kw.setdefault("weights", np.ones(source.shape[1]))
    return distance(name, source, target, **(OPTIONS.get(name, {}) | kw))


# --- the register


@pytest.mark.parametrize("name", METRICS)
def test_declared_direction(name):
    there, back = value(name, X, Y), value(name, Y, X)
    if METRICS[name].directed:
        assert abs(there - back) > 1e-3 * abs(there)
    elif name == "classifier_auc":  # boosted trees break ties by the order of the galaxies
        assert_allclose(there, back, atol=0.02)
    else:
        assert_allclose(there, back, rtol=1e-5)


@pytest.mark.parametrize("name", METRICS)
def test_declared_weights(name):
    if name == "sinkhorn":
        pytest.importorskip("ot")
    if METRICS[name].weighted:
        stretched = distance(
            "mean_euclidean" if name == "weighted" else name,
            X * np.sqrt(W),
            Y * np.sqrt(W),
            **OPTIONS.get(name, {}),
        )
        assert_allclose(value(name, X, Y, weights=W), stretched, rtol=1e-4)
        assert value(name, X, Y, weights=W) != value(name, X, Y)
    else:
        with pytest.raises(InputError, match="weights do not change"):
            value(name, X, Y, weights=W)
        assert_allclose(value(name, X, Y), value(name, X, Y))


@pytest.mark.parametrize("name", ["coral", "energy", "mmd"])
def test_unbiased_at_equal_sets(name):
    assert METRICS[name].unbiased
    null = null_distance(name, X, n_splits=20)
    assert abs(null.mean()) < 4 * null.std() / np.sqrt(19)
    assert abs(null.mean()) < 0.05 * distance(name, X, Y)


@pytest.mark.parametrize(
    "name, chance, width", [("proxy_a", 0, 0.1), ("uncovered", 0.05, 0.02), ("knn_kl", 0, 0.2)]
)
def test_near_chance_at_equal_sets(name, chance, width):
    null = null_distance(name, np.vstack([X, RNG.normal(size=(1000, D)) @ MIX + 3]), n_splits=5)
    assert abs(null.mean() - chance) < width


@pytest.mark.parametrize("name", METRICS)
def test_grows_with_a_known_shift(name):
    step = np.eye(D)[0]
    near, far = (value(name, X[:150], X[150:] + s * step) for s in (1, 20))
    assert far > near
    if name == "centroid":
        assert_allclose(value(name, X, X + 5 * step), 5, rtol=1e-6)


@pytest.mark.parametrize("name", ["centroid", "frechet", "wasserstein", "sliced_wasserstein"])
def test_triangle(name):
    xy, yz, xz = (value(name, a, b) for a, b in ((X, Y), (Y, Z), (X, Z)))
    assert xz <= xy + yz and xy <= xz + yz and yz <= xy + xz
    assert_allclose(value(name, X, X.copy()), 0, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "mean_euclidean",
        "centroid",
        "mahalanobis",
        "bhattacharyya",
        "coral",
        "energy",
        "mmd",
        "frechet",
        "wasserstein",
        "sinkhorn",
        "knn_kl",
        "uncovered",
    ],
)
def test_rotation_and_shift_change_nothing(name):
    turn = np.linalg.qr(RNG.normal(size=(D, D)))[0]
    assert_allclose(value(name, X @ turn + 50, Y @ turn + 50), value(name, X, Y), rtol=2e-4)


def test_affine_maps_change_nothing():
    for name in ("mahalanobis", "bhattacharyya"):
        assert_allclose(value(name, X @ MIX, Y @ MIX), value(name, X, Y), rtol=1e-6)


# --- the pass over the pairs


@pytest.mark.parametrize(
    "n, m, k", [(1, 1, 1), (3, 2, 1), (40, 1500, 5), (1500, 700, 1), (1300, 1111, 9), (2100, 2050, 5)]
)
def test_pass_agrees_with_scipy(n, m, k):
    x, y = RNG.normal(50, 1, size=(n, 10)), RNG.normal(50.2, 1.2, size=(m, 10))
    direct = cdist(x, y)
    for kind in KERNELS:
        found = compare(feature_set(x), feature_set(y), (kind, 3.0), min(k, n, m), "numpy")

        def gauss(s):
            return np.exp(-(direct**2) / (2 * s**2))

        truth = {
            "gaussian": gauss(3.0),
            "laplace": np.exp(-direct / 3),
            "rational_quadratic": 1 / (1 + direct**2 / 18),
            "multi": np.mean([gauss(3 * f) for f in (0.25, 0.5, 1, 2, 4)], axis=0),
        }[kind]
        assert_allclose(found.kernel, truth.mean(), rtol=1e-6)
    assert_allclose(found.distance, direct.mean(), rtol=1e-7)
    assert_allclose(found.near_a, np.sort(direct, axis=1)[:, :k], rtol=1e-5)
    assert_allclose(found.near_b, np.sort(direct, axis=0)[:k].T, rtol=1e-5)


@pytest.mark.parametrize("n, k", [(2, 1), (7, 5), (600, 5), (2200, 5)])
def test_pass_within_a_set(n, k):
    x = feature_set(RNG.normal(9, 1, size=(n, 8)))
    direct = cdist(x.x.astype(float), x.x.astype(float))
    off = direct[~np.eye(n, dtype=bool)]
    for kind in KERNELS:
        found = compare(x, x, (kind, 2.0), k, "numpy")
        other = compare(x, replace(x), (kind, 2.0), 0, "numpy")  # the same galaxies, but not the same set
        assert_allclose(other.kernel, (found.kernel * (n - 1) + 1) / n, atol=2e-3 / n, rtol=1e-6)
    assert_allclose(found.distance, off.mean(), rtol=1e-6)
    assert_allclose(found.near_a, np.sort(direct, axis=1)[:, 1 : k + 1], rtol=1e-5)


def test_tiles_change_nothing(monkeypatch):
    a, b = feature_set(RNG.normal(size=(1500, 5))), feature_set(RNG.normal(size=(1100, 5)))
    whole = [compare(a, b, ("gaussian", 1.0), 5, "numpy"), compare(a, a, ("laplace", 1.0), 5, "numpy")]
    monkeypatch.setattr(pairwise, "TILE", 400_000)
    for one, other in zip(
        whole, [compare(a, b, ("gaussian", 1.0), 5, "numpy"), compare(a, a, ("laplace", 1.0), 5, "numpy")]
    ):
        for name in ("distance", "kernel", "near_a", "near_b"):
            assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-6)


def test_neighbours_survive_cancellation():
    "Close pairs in a wide set: 1e-3 apart where the features span a thousand."
    centres = RNG.uniform(-500, 500, size=(800, 20))
    x, y = centres + 3e-4 * RNG.normal(size=centres.shape), centres + 3e-4 * RNG.normal(size=centres.shape)
    direct = cdist(x.astype(np.float32).astype(float), y.astype(np.float32).astype(float)).min(axis=1)
    found = compare(feature_set(x), feature_set(y), k=1, device="numpy").near_a[:, 0]
    assert_allclose(np.log(found).mean(), np.log(direct).mean(), atol=0.02)


def test_small_energy_between_large_means():
    "The energy distance of nearby sets, a thousandth of the means that it is the difference of, to 1e-4."
    x = RNG.normal(100, 1, size=(1500, 50))
    y = RNG.normal(100.04, 1, size=(1500, 50))
    truth = 2 * cdist(x, y).mean() - mean_within(x) - mean_within(y)
    assert abs(truth) < 0.02
    assert_allclose(distance("energy", x, y), truth, rtol=1e-4)


@pytest.mark.parametrize("kind", KERNELS)
def test_torch_gives_the_same(kind):
    pytest.importorskip("torch")
    a, b = feature_set(X), feature_set(Y)
    for pair in ((a, b), (a, a)):
        one, other = (compare(*pair, (kind, 3.0), 5, device) for device in ("numpy", "cpu"))
        for name in ("distance", "kernel", "near_a", "near_b"):
            assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-5)


# --- closed forms


def gaussians():
    cov = [np.cov(RNG.normal(size=(D, 50))) for _ in range(2)]
    mean = RNG.normal(size=(2, D))
    return [Moments(10**9, m, c, float((c**2).sum()), c, False) for m, c in zip(mean, cov)]


def test_frechet_of_gaussians():
    from scipy.linalg import sqrtm

    g, h = gaussians()
    truth = np.sum((g.mean - h.mean) ** 2) + np.trace(g.cov + h.cov - 2 * sqrtm(g.cov @ h.cov).real)
    assert_allclose(frechet(g, h), np.sqrt(truth), rtol=1e-9)


def test_bhattacharyya_of_gaussians():
    from scipy.stats import multivariate_normal

    g, h = gaussians()
    p, q = (multivariate_normal(m.mean, m.cov) for m in (g, h))
    draws = p.rvs(400_000, random_state=1)
    overlap = np.exp((q.logpdf(draws) - p.logpdf(draws)) / 2).mean()  # integral of the root of p q
    assert_allclose(bhattacharyya(g, h), -np.log(overlap), rtol=0.02)


def test_kl_of_gaussians():
    cov, step = np.diag([0.7, 1.3]), np.array([0.6, 0.3])
    source, target = RNG.normal(size=(6000, 2)), RNG.normal(size=(6000, 2)) @ np.sqrt(cov) + step

    def kl(c, s):
        return (np.trace(c) + s @ s - 2 - np.log(np.linalg.det(c))) / 2

    inverse = np.linalg.inv(cov)
    truth = kl(cov, step), kl(inverse, np.sqrt(inverse) @ step)
    assert abs(truth[0] - truth[1]) > 0.03
    assert_allclose(
        [distance("knn_kl", source, target, k=1), distance("knn_kl", target, source, k=1)], truth, atol=0.05
    )


def test_moments_approach_the_gaussian():
    cov = np.diag([1.0, 4.0])
    x, y = RNG.normal(size=(200_000, 2)), RNG.normal(size=(200_000, 2)) @ np.sqrt(cov) + [3, 0]
    assert_allclose(distance("frechet", x, y), np.sqrt(9 + 1), rtol=0.01)
    assert_allclose(distance("mahalanobis", x, y), 3, rtol=0.01)
    assert_allclose(distance("coral", x, y), 9 / 16, rtol=0.03)


def test_uncovered_fraction_of_equal_sets_and_of_strangers():
    x = RNG.normal(size=(3000, 4))
    assert abs(distance("uncovered", x[:1500], x[1500:]) - 0.05) < 0.03
    assert distance("uncovered", x, x + 100) == 1
    assert distance("uncovered", 4 * x[:1500], 0.5 * x[1500:]) == 0
    assert distance("uncovered", 0.5 * x[:1500], 4 * x[1500:]) > 0.9


# --- other libraries


def test_agrees_with_scikit_learn():
    from sklearn.metrics.pairwise import rbf_kernel

    def rbf(a, b):
        return rbf_kernel(a, b, gamma=1 / (2 * 4.0**2))

    def off(k):
        return (k.sum() - np.trace(k)) / len(k) / (len(k) - 1)

    assert_allclose(
        distance("mmd", X, Y, bandwidth=4.0),
        off(rbf(X, X)) + off(rbf(Y, Y)) - 2 * rbf(X, Y).mean(),
        rtol=1e-4,
    )


def test_proxy_a_agrees_with_scikit_learn():
    from sklearn.linear_model import LogisticRegression

    mix = np.vander(np.linspace(0, 1, 20), 4)  # collinear features, as spectra have
    source, target = (
        RNG.normal(m, s, size=(n, 4)) @ mix.T + 0.02 * RNG.normal(size=(n, 20))
        for n, m, s in ((500, 0, 1), (300, 0.4, 0.9))
    )
    x, label, weight = stack(source, target)
    fold = np.concatenate([deal_folds(500, 5), deal_folds(300, 5)])
    guess = np.empty(800)
    for i in range(5):
        seen = fold != i
        model = LogisticRegression(tol=1e-10, max_iter=10_000, solver="newton-cholesky").fit(
            x[seen], label[seen], sample_weight=weight[seen]
        )
        guess[~seen] = model.predict(x[~seen])
    forward, backward = 2 - 4 * np.mean(guess[500:] < 0), 2 - 4 * np.mean(guess[:500] > 0)
    assert_allclose(proxy_a(source, target), (forward, backward), atol=1e-12)
    assert_allclose(distance("proxy_a", source, target), forward)
    assert_allclose(distance("proxy_a", source, target, side="both"), (forward + backward) / 2)


def test_agrees_with_dcor():
    dcor = pytest.importorskip("dcor")
    for a, b in ((X, Y), (Y, Z)):
        mine = distance("energy", a, b)
        theirs = dcor.energy_distance(a, b)  # biased: pairs of a galaxy with itself count
        assert_allclose(mine + mean_within(a) / len(a) + mean_within(b) / len(b), theirs, rtol=1e-4)


def test_agrees_with_pot():
    ot = pytest.importorskip("ot")
    x, y = X[:200], Y[:200]
    even = np.full(200, 1 / 200)
    cost = ot.dist(x, y)
    assert_allclose(distance("wasserstein", x, y, n=200), np.sqrt(ot.emd2(even, even, cost)), rtol=1e-5)
    assert_allclose(distance("wasserstein", x, y, n=200, p=1), ot.emd2(even, even, np.sqrt(cost)), rtol=1e-5)
    reg = 0.2 * pooled_scale([feature_set(x), feature_set(y)]) ** 2

    def sharp(a, b):
        return ot.sinkhorn2(even, even, ot.dist(a, b), reg, stopThr=1e-10)

    assert_allclose(
        distance("sinkhorn", x, y, n=200, reg=0.2),
        np.sqrt(sharp(x, y) - sharp(x, x) / 2 - sharp(y, y) / 2),
        rtol=1e-4,
    )
    along = directions(D, 64)
    for p in (1, 2):
        for b in (y, Z[:130]):  # the same number of galaxies, and another
            theirs = ot.sliced.sliced_wasserstein_distance(x, b, projections=along, p=p)
            assert_allclose(
                sliced_wasserstein(*(cut_slices(feature_set(v), along) for v in (x, b)), p), theirs, rtol=1e-5
            )
    mean, cov = zip(*((v.mean(0), np.cov(v.T)) for v in (x, y)))
    assert_allclose(distance("frechet", x, y), ot.gaussian.bures_wasserstein_distance(*mean, *cov), rtol=1e-6)


# --- the table


def test_table_is_what_single_calls_say():
    sets = {"x": X, "y": Y, "z": Z}
    names = tuple(n for n in NO_POT if n not in ("weighted", "mmd", "classifier_auc"))
    table = distance_table(sets, names, options={n: o for n, o in OPTIONS.items() if n in names}, jobs=2)
    assert list(table.columns) == ["source", "target", "distance", "value"]
    assert len(table) == 6 * len(names) and np.isfinite(table.value).all()
    for row in table.itertuples():
        assert_allclose(
            row.value,
            distance(row.distance, sets[row.source], sets[row.target], **OPTIONS.get(row.distance, {})),
            rtol=1e-6,
            atol=1e-9,
        )


def test_table_shares_one_length_scale():
    table = distance_table({"x": X, "y": Y, "z": Z}, ("mmd",))
    scale = table.attrs["scale"]
    assert_allclose(scale, pooled_scale([feature_set(v) for v in (X, Y, Z)]))
    assert_allclose(
        table.query("source == 'x' and target == 'z'").value.item(),
        distance("mmd", X, Z, bandwidth=scale),
        rtol=1e-6,
    )


def test_table_with_weights_keeps_the_plain_distance():
    table = (
        distance_table(
            {"x": X, "y": Y}, ("mean_euclidean", "weighted", "energy", "mahalanobis", "proxy_a"), weights=W
        )
        .set_index(["source", "distance"])
        .value
    )
    assert_allclose(table["x", "mean_euclidean"], cdist(X, Y).mean(), rtol=1e-6)
    assert_allclose(table["x", "weighted"], cdist(X, Y, "euclidean", w=W).mean(), rtol=1e-6)
    assert_allclose(table["x", "energy"], distance("energy", X, Y, weights=W), rtol=1e-6)
    assert_allclose(table["x", "mahalanobis"], distance("mahalanobis", X, Y))


def test_same_seed_same_bytes_whatever_the_threads():
    sets = {"x": X, "y": Y, "z": Z}
    one, other = (distance_table(sets, FAST, jobs=jobs, n_bootstrap=3, seed=4) for jobs in (1, 3))
    assert one.equals(other)
    assert not one.equals(distance_table(sets, FAST, n_bootstrap=3, seed=5))


def test_standard_error_of_a_mean():
    "The distance of far centroids along one axis has the standard error of a difference of means."
    x, y = RNG.normal(size=(400, 3)), RNG.normal(0, 2, size=(400, 3)) + [100, 0, 0]
    table = distance_table({"x": x, "y": y}, ("centroid",), n_bootstrap=200)
    assert_allclose(table.stderr[0], np.sqrt(1 / 400 + 4 / 400), rtol=0.2)


def test_several_tiles_and_old_names_still_work():
    assert DISTANCES == ("mean_euclidean", "energy", "clustered", "nearest")
    mean, nearest = galaxy_distances(X, Y, W, block=50)
    assert_allclose(mean, cdist(Y, X, "euclidean", w=W).mean(axis=1), rtol=1e-5)
    found = profile(X, Y, np.arange(D), np.arange(2), np.ones(2))
    assert_allclose(found.value("energy", (spread(X), spread(Y))), distance("energy", X, Y), rtol=1e-3)
    assert_allclose(found.value("mean_euclidean"), distance("mean_euclidean", X, Y), rtol=1e-5)


# --- bad input

BAD = X.copy()
BAD[3, 2] = np.nan


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    "source, target, words",
    [
        (X, Y[:, :-1], "same features"),
        (X, BAD, "not finite"),
        (BAD, X, "not finite"),
        (X, Y[:0], "at least one"),
        (X, Y[0], "same features"),
    ],
)
def test_sets_that_cannot_be_compared(name, source, target, words):
    with pytest.raises(InputError, match=words):
        distance(name, source, target, weights=np.ones(D) if name == "weighted" else None)


@pytest.mark.parametrize("name", METRICS)
def test_one_galaxy(name):
    if METRICS[name].least > 1 or name in ("proxy_a", "classifier_auc"):
        with pytest.raises(InputError, match="has 1 galax"):
            value(name, X, Y[:1])
    elif name not in ("wasserstein", "sinkhorn", "sliced_wasserstein"):
        assert np.isfinite(value(name, X, Y[:1]))


@pytest.mark.parametrize("weights", [-W, np.zeros(D), W[:-1], np.full(D, np.nan), W - W.min() - 1e-3])
def test_bad_weights(weights):
    with pytest.raises(InputError, match="weights must be"):
        distance("energy", X, Y, weights=weights)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: distance("hellinger", X, Y), "unknown distance 'hellinger'; choose from mean_euclidean"),
        (lambda: distance("weighted", X, Y), "needs weights"),
        (lambda: distance("mean_euclidean", X, Y, weights=W), "ask for weighted"),
        (lambda: distance("mmd", X, Y, kernel="box"), "choose from gaussian"),
        (lambda: distance("mmd", X, Y, width=3), "no option 'width'; it has kernel, bandwidth"),
        (lambda: distance("energy", X, Y, k=3), "it has none"),
        (lambda: distance("mmd", X, Y, bandwidth=-1.0), "above zero"),
        (lambda: distance("knn_kl", X, Y, k=0), "above zero"),
        (lambda: distance("knn_kl", X, Y, k=240), "has 240 galaxies"),
        (lambda: distance("sliced_wasserstein", X, Y, p=3), "choose from 1, 2"),
        (lambda: distance("proxy_a", X, Y, side="left"), "choose from target, both"),
        (lambda: distance("proxy_a", X, Y, folds=1), "folds"),
        (lambda: distance("knn_kl", X, np.repeat(Y[:40], 6, axis=0)), "remove repeated galaxies"),
        (lambda: distance("mmd", np.ones((9, 2)), np.ones((8, 2))), "no length scale"),
        (lambda: distance("mahalanobis", np.ones((9, 2)), np.ones((8, 2))), "no covariance"),
        (lambda: distance_table({"x": X}), "at least two sets"),
        (lambda: distance_table({"x": X, "y": Y}, ()), "no distance"),
        (
            lambda: distance_table({"x": X, "y": Y}, ("energy",), options={"nope": {}}),
            "unknown distance 'nope'",
        ),
        (lambda: distance_table({"x": X, "y": Y[:, :3]}, ("energy",)), r"y has shape \(240, 3\)"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(InputError, match=words):
        call()


@pytest.mark.parametrize(
    "source, target",
    [(X[:5], Y[:200]), (np.hstack([X, np.ones((300, 1))]), np.hstack([Y, np.ones((240, 1))]))],
)
def test_no_inverse_is_reported(source, target):
    for name in ("mahalanobis", "bhattacharyya"):
        with pytest.warns(ShrinkageWarning, match="source"):
            assert np.isfinite(distance(name, source, target))
    with pytest.warns(ShrinkageWarning, match="s"):
        table = distance_table({"s": source, "t": target}, ("mahalanobis", "frechet"), n_bootstrap=2)
    assert "s" in table.attrs["shrunk"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("frechet", "coral", "energy", "mmd", "sliced_wasserstein", "centroid"):
            assert np.isfinite(distance(name, source, target))


def test_shrinkage_is_ledoit_and_wolf():
    from sklearn.covariance import ledoit_wolf

    few = fit_moments(X[:4])
    assert few.shrunk and not fit_moments(X).shrunk
    assert_allclose(few.invertible, ledoit_wolf(X[:4])[0], rtol=1e-6)
    plan = Plan(("mahalanobis",), {"mahalanobis": {}}, None, 1.0, 1)
    assert (
        join(prepare(X, plan), prepare(Y, plan), plan).sums is None
    )  # nothing is computed that no distance needs


def test_missing_pot_is_named(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(InputError, match=r"gencast\[ot\]"):
        distance("sinkhorn", X, Y, n=50)
