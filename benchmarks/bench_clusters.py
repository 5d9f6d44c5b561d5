"""Time and memory of clustering features, relative to what other libraries take for the same.

    # 1,000 wavelengths x 5,000 galaxies, half a minute
    python benchmarks/bench_clusters.py
    # 6,001 wavelengths x 20,000 galaxies, some minutes
    python benchmarks/bench_clusters.py --full

Each contender runs in its own process, so that its memory can be measured, and makes its data from the same
seed: spectra that are sums of a dozen smooth curves, with noise.

    gencast       cluster_features: ranks, one matrix product in single precision, average linkage
    scipy         scipy.stats.spearmanr, 1 - |rho|, scipy.cluster.hierarchy.linkage(average)
    scikit-learn  FeatureAgglomeration(average) on correlations computed as with scipy
    sklearn-ward  FeatureAgglomeration(ward) as it is: Euclidean distances of standardised features, no ranks

Wall-clock time depends on the machine and on what else runs, the ratio and CPU seconds (of all threads)
much less. Also compared is the adjusted Rand index of the clusters found, which should be 1 for `scipy` and
`scikit-learn`.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time

CONTENDERS = ("gencast", "scipy", "scikit-learn", "sklearn-ward")


def make(n_wave: int, n_gal: int):
    "Log spectra, float32, shape (n_gal, n_wave), and importances."
    import numpy as np

    rng = np.random.default_rng(0)
    curves = rng.normal(size=(12, n_wave)).astype(np.float32).cumsum(axis=1) / 50
    X = np.empty((n_gal, n_wave), np.float32)
    for i in range(0, n_gal, 1000):
        rows = X[i : i + 1000]
        rows[:] = rng.normal(size=(len(rows), 12)).astype(np.float32) @ curves + 0.02 * rng.standard_normal(
            rows.shape, np.float32
        )
    return X, rng.random(n_wave)


def cluster(who: str, X, importance, n_clusters: int):
    "Labels by one of the contenders."
    import numpy as np

    if who == "gencast":
        from gencast.features.clusters import cluster_features

        return cluster_features(X, importance, n_clusters=n_clusters).labels
    if who == "sklearn-ward":
        from sklearn.cluster import FeatureAgglomeration

        return FeatureAgglomeration(n_clusters).fit((X - X.mean(axis=0)) / X.std(axis=0)).labels_
    from scipy.stats import spearmanr

    distance = np.clip(1 - np.abs(spearmanr(X).statistic), 0, 1)
    if who == "scikit-learn":
        from sklearn.cluster import AgglomerativeClustering

        return (
            AgglomerativeClustering(n_clusters, metric="precomputed", linkage="average").fit(distance).labels_
        )
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    np.fill_diagonal(distance, 0)
    return fcluster(linkage(squareform(distance, checks=False), "average"), n_clusters, "maxclust")


def run_one(who: str, n_wave: int, n_gal: int, n_clusters: int, repeats: int) -> dict:
    "Best time of some repeats, peak memory beyond the data, labels."
    X, importance = make(n_wave, n_gal)
    cluster(who, X[:50, :20].copy(), importance[:20], 3)  # imports
    before, seconds, cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, [], []
    for _ in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        labels = cluster(who, X, importance, n_clusters)
        seconds.append(time.perf_counter() - start)
        cpu.append(time.process_time() - used)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "who": who,
        "seconds": min(seconds),
        "cpu": min(cpu),
        "extra_gb": (peak - before) / 1e6,
        "peak_gb": peak / 1e6,
        "labels": [int(k) for k in labels],
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--full", action="store_true", help="6,001 wavelengths x 20,000 galaxies")
    parser.add_argument("--n-wave", type=int)
    parser.add_argument("--n-gal", type=int)
    parser.add_argument("--n-clusters", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2, help="cores that the matrix product may use")
    parser.add_argument("--only", nargs="*", choices=CONTENDERS, default=CONTENDERS)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    n_wave, n_gal = args.n_wave or (6001 if args.full else 1000), args.n_gal or (20000 if args.full else 5000)
    if args.one:
        print(json.dumps(run_one(args.one, n_wave, n_gal, args.n_clusters, args.repeats)))
        return
    env = os.environ | {
        k: str(args.threads) for k in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    }
    found = []
    for who in args.only:
        options = [
            "--one",
            who,
            "--n-wave",
            n_wave,
            "--n-gal",
            n_gal,
            "--n-clusters",
            args.n_clusters,
            "--repeats",
            args.repeats,
        ]
        done = subprocess.run(
            [sys.executable, __file__, *map(str, options)], env=env, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(f"{who} failed:\n{done.stderr[-2000:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
    from sklearn.metrics import adjusted_rand_score

    print(
        f"{n_wave:,} features x {n_gal:,} galaxies, {args.n_clusters} clusters, {args.threads} threads, "
        f"best of {args.repeats}"
    )
    print(
        f"{'':14}{'seconds':>9}{'ratio':>8}{'CPU seconds':>13}{'memory beyond the data, GB':>29}"
        f"{'same clusters (ARI)':>22}"
    )
    for row in found:
        ratio, same = (
            row["seconds"] / found[0]["seconds"],
            adjusted_rand_score(found[0]["labels"], row["labels"]),
        )
        print(
            f"{row['who']:14}{row['seconds']:9.1f}{ratio:8.1f}{row['cpu']:13.1f}{row['extra_gb']:29.2f}{same:22.3f}"
        )


if __name__ == "__main__":
    main()
