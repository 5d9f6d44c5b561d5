"""Speed and values of the family of distances against SciPy, scikit-learn, POT and dcor, in one run.

    pip install POT dcor
    python benchmarks/bench_distances.py              # 20 x 20 sets of 6,500 galaxies x 100 features, some
    minutes
    python benchmarks/bench_distances.py --n 1000 --sets 6

The other libraries are timed on a few pairs, which are also the pairs whose values are compared; their time
for the whole table is that time multiplied by the number of pairs. Ours is the whole table, measured, in a
process of its own so that the memory is its own too. dcor's energy distance is compared on the first
thousand galaxies of a set: dcor 0.7 beside a recent array-api-compat takes a path that needs n^2 x d
numbers, 31 GiB at 6,500 x 100. Its time is that of the three SciPy calls that it makes otherwise. CPU
seconds are given beside wall seconds: on a busy machine they are the fairer pair.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
import warnings

import numpy as np
import pandas as pd

from gencast.distances.metrics import METRICS
from gencast.distances.moments import ShrinkageWarning
from gencast.distances.tables import distance, distance_table, spread

TEN = (
    "mean_euclidean",
    "centroid",
    "mahalanobis",
    "coral",
    "energy",
    "mmd",
    "frechet",
    "sliced_wasserstein",
    "knn_kl",
    "proxy_a",
)
ALL = (*TEN[:3], "bhattacharyya", *TEN[3:], "uncovered", "weighted")
GROUPS = {
    "over pairs": ("mean_euclidean", "energy", "mmd", "knn_kl", "uncovered"),
    "moments": ("centroid", "mahalanobis", "bhattacharyya", "coral", "frechet"),
    "sliced": ("sliced_wasserstein",),
    "proxy A": ("proxy_a",),
    "the ten": TEN,
    "all thirteen": ALL,
}
OPTIONS = {"coral": {"unbiased": False}}  # as other libraries have it


def make_sets(n: int, sets: int, d: int, seed: int = 0) -> dict:
    """Smooth curves like log spectra: eight collinear components, noise of 0.02 dex, a mean and a scatter to
    each set.
    """
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, d)
    shapes = np.polynomial.legendre.legvander(x, 7).T * 0.5 ** np.arange(8)[:, None]
    return {
        f"s{i}": rng.normal(0.2 * rng.normal(size=8), rng.uniform(0.8, 1.2, 8), size=(n, 8)) @ shapes
        + 0.02 * rng.normal(size=(n, d))
        + 8
        for i in range(sets)
    }


def others(scale: float, k: int, weights: np.ndarray, along: np.ndarray) -> dict:
    """The same distances by common library calls: name -> (library, function of two sets); directed ones give
    both directions.
    """
    import ot
    from scipy.spatial.distance import cdist
    from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics.pairwise import rbf_kernel
    from sklearn.neighbors import NearestNeighbors
    from sklearn.preprocessing import StandardScaler

    from gencast.distances.classifiers import deal_folds

    def off(m):
        return (m.sum() - np.trace(m)) / len(m) / (len(m) - 1)

    def pooled(x, y):
        return ((len(x) - 1) * np.cov(x.T) + (len(y) - 1) * np.cov(y.T)) / (len(x) + len(y) - 2)

    def near(x, y, skip):  # distance of x's galaxies to the k-th nearest of y
        return NearestNeighbors(n_neighbors=k + skip, n_jobs=-1).fit(y).kneighbors(x)[0][:, -1]

    def knn_kl(x, y):
        def one(s, t):
            return t.shape[1] * np.log(near(t, s, 0) / near(t, t, 1)).mean() + np.log(len(s) / (len(t) - 1))

        return one(x, y), one(y, x)

    def uncovered(x, y):
        def one(s, t):
            return np.mean(near(t, s, 0) > np.quantile(near(s, s, 1), 0.95))

        return one(x, y), one(y, x)

    def mmd(x, y):
        gamma = 1 / (2 * scale**2)
        return (
            off(rbf_kernel(x, x, gamma)) + off(rbf_kernel(y, y, gamma)) - 2 * rbf_kernel(x, y, gamma).mean()
        )

    def bhattacharyya(x, y):
        a, b, gap = np.cov(x.T), np.cov(y.T), x.mean(0) - y.mean(0)

        def log_det(c):
            return np.linalg.slogdet(c)[1]

        return (
            gap @ np.linalg.inv((a + b) / 2) @ gap / 8
            + (log_det((a + b) / 2) - (log_det(a) + log_det(b)) / 2) / 2
        )

    def proxy_a(x, y):
        both, label = StandardScaler().fit_transform(np.vstack([x, y])), np.repeat([0, 1], [len(x), len(y)])
        fold, guess = (
            np.concatenate([deal_folds(len(x), 5), deal_folds(len(y), 5)]),
            np.empty(len(x) + len(y)),
        )
        for i in range(5):
            seen = fold != i
            model = LogisticRegression(
                solver="newton-cholesky", tol=1e-8, max_iter=1000, class_weight="balanced"
            ).fit(both[seen], label[seen])
            guess[~seen] = model.predict(both[~seen])
        return 2 - 4 * np.mean(guess[len(x) :] == 0), 2 - 4 * np.mean(guess[: len(x)] == 1)

    return {
        "mean_euclidean": ("SciPy cdist", lambda x, y: cdist(x, y).mean()),
        "weighted": ("SciPy cdist", lambda x, y: cdist(x, y, "euclidean", w=weights).mean()),
        "centroid": ("NumPy", lambda x, y: np.linalg.norm(x.mean(0) - y.mean(0))),
        "mahalanobis": (
            "SciPy",
            lambda x, y: scipy_mahalanobis(x.mean(0), y.mean(0), np.linalg.inv(pooled(x, y))),
        ),
        "bhattacharyya": ("NumPy", bhattacharyya),
        "coral": ("NumPy", lambda x, y: np.sum((np.cov(x.T) - np.cov(y.T)) ** 2) / (4 * x.shape[1] ** 2)),
        "energy": (
            "SciPy cdist (dcor for the value)",
            lambda x, y: 2 * cdist(x, y).mean() - off(cdist(x, x)) - off(cdist(y, y)),
        ),
        "mmd": ("scikit-learn rbf_kernel", mmd),
        "frechet": (
            "POT",
            lambda x, y: ot.gaussian.bures_wasserstein_distance(
                x.mean(0), y.mean(0), np.cov(x.T), np.cov(y.T)
            ),
        ),
        "sliced_wasserstein": (
            "POT",
            lambda x, y: ot.sliced.sliced_wasserstein_distance(x, y, projections=along, p=2),
        ),
        "knn_kl": ("scikit-learn NearestNeighbors", knn_kl),
        "uncovered": ("scikit-learn NearestNeighbors", uncovered),
        "proxy_a": ("scikit-learn LogisticRegression", proxy_a),
    }


def ours(args: argparse.Namespace, names: tuple) -> dict:
    "Seconds, CPU seconds and peak memory of a table, in a fresh process."
    code = (
        "import sys, json; sys.path.insert(0, sys.argv[1]); import bench_distances as b; "
        "print(json.dumps(b.measure(*json.loads(sys.argv[2]))))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "ignore",
            "-c",
            code,
            __file__.rsplit("/", 1)[0],
            json.dumps([args.n, args.sets, args.features, args.jobs, names]),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def measure(n: int, n_sets: int, d: int, jobs: int, names: tuple) -> dict:
    "Run in the fresh process: the table, timed."
    sets = make_sets(n, n_sets, d)
    weights = np.linspace(0.2, 1, d) if "weighted" in names else None
    distance_table(
        {k: v[:200] for k, v in list(sets.items())[:2]}, ("proxy_a",)
    )  # imports are not the matter here
    wall, cpu = time.perf_counter(), time.process_time()
    table = distance_table(sets, tuple(names), weights=weights, jobs=jobs, device="numpy")
    result = {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    return result | {"scale": table.attrs["scale"]}


def against(args: argparse.Namespace) -> pd.DataFrame:
    """Every distance by other libraries on a few pairs: seconds for the whole table, and how far the values
    are apart.
    """
    import dcor

    from gencast.distances.pairwise import feature_set, pooled_scale
    from gencast.distances.transport import directions

    sets = list(make_sets(args.n, args.sets, args.features).values())
    weights, scale = np.linspace(0.2, 1, args.features), pooled_scale([feature_set(s) for s in sets])
    library = others(scale, 5, weights, directions(args.features, 500, 0))
    pairs = [(0, 1), (2, 3), (0, args.sets - 1)][: args.pairs]
    rows = []
    for name in ALL:
        options = OPTIONS.get(name, {}) | ({"bandwidth": scale} if name == "mmd" else {})
        wall, cpu, apart = 0.0, 0.0, 0.0
        for i, j in pairs:
            at, busy = time.perf_counter(), time.process_time()
            theirs = np.atleast_1d(library[name][1](sets[i], sets[j]))
            wall, cpu = wall + time.perf_counter() - at, cpu + time.process_time() - busy
            mine = [
                distance(
                    name, sets[a], sets[b], weights if name == "weighted" else None, device="numpy", **options
                )
                for a, b in ((i, j), (j, i))
            ][: len(theirs)]
            apart = max(apart, np.max(np.abs(mine - theirs) / np.abs(theirs)))
            if name == "energy":  # dcor counts pairs of a galaxy with itself
                a, b = sets[i][:1000], sets[j][:1000]
                truth = dcor.energy_distance(a, b)
                apart = max(
                    apart,
                    abs(
                        distance("energy", a, b, device="numpy")
                        + spread(a) / len(a)
                        + spread(b) / len(b)
                        - truth
                    )
                    / truth,
                )
        number = args.sets * (args.sets - 1) / 2 / len(pairs)
        rows.append(
            {
                "distance": name,
                "library": library[name][0],
                "wall": wall * number,
                "cpu": cpu * number,
                "apart": apart,
            }
        )
        print(rows[-1], flush=True)
    return pd.DataFrame(rows).set_index("distance")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, default, meaning in [
        ("n", 6500, "galaxies a set"),
        ("sets", 20, "sets"),
        ("features", 100, "features"),
        ("jobs", 2, "threads"),
        ("pairs", 2, "pairs for the other libraries, at most 3"),
    ]:
        parser.add_argument(f"--{name}", type=int, default=default, help=meaning)
    parser.add_argument(
        "--brief", action="store_true", help="only the ten and all thirteen, no parts and no curve"
    )
    parser.add_argument(
        "--curve",
        type=int,
        nargs="*",
        default=[500, 1000, 2000, 4000],
        help="numbers of galaxies for the curve of cost",
    )
    args = parser.parse_args()
    warnings.simplefilter("ignore", ShrinkageWarning)
    print(
        f"{args.sets} x {args.sets} sets, {args.n} galaxies x {args.features} features, {args.jobs} threads"
    )
    mine = {}
    for what, names in list(GROUPS.items())[4 if args.brief else 0 :]:
        mine[what] = ours(args, names)
        print(
            "ours, whole table:",
            what,
            {k: round(v, 2) for k, v in mine[what].items() if k != "scale"},
            flush=True,
        )
    for n in [] if args.brief else args.curve:
        found = ours(argparse.Namespace(**vars(args) | {"n": n}), TEN)
        print(
            "ours, the ten:",
            {"n": n} | {k: round(v, 2) for k, v in found.items() if k != "scale"},
            flush=True,
        )
    print(
        "\nothers, a few pairs times the number of pairs (s), and the largest relative difference of the "
        "values"
    )
    table = against(args)
    print(table.to_string(float_format=lambda v: f"{v:.3g}"))
    for names, what in ((TEN, "the ten"), (ALL, "all thirteen")):
        theirs, us = table.loc[list(names)], mine[what]
        print(
            f"{what}: others {theirs.wall.sum():.0f} s wall, {theirs.cpu.sum():.0f} s CPU; ours "
            f"{us['wall']:.1f} s, {us['cpu']:.1f} s; {theirs.wall.sum() / us['wall']:.0f} and "
            f"{theirs.cpu.sum() / us['cpu']:.0f} times as fast; values within {theirs.apart.max():.1g}"
        )
    assert table.apart.max() < 1e-4, "values differ by more than 1e-4"
    assert set(ALL) <= set(METRICS)


if __name__ == "__main__":
    main()
