"""Size and power of the tests of a relation, on pairs of simulations with known truth.

    # 2,000 data sets for each scenario, 20 simulations: about 10 minutes on a core
    python benchmarks/bench_inference.py
    python benchmarks/bench_inference.py --n-sim 10 --worlds crossed distance --out sizes.csv

Each scenario draws an error matrix and a signal; without a relation, a test at 5 % should find one in 5 %
of the data sets. With 2,000 data sets the standard error of a size of 5 % is 0.5 %.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from gencast.core.base import rng_for
from gencast.regression.crossed import CrossedParts, draw_crossed, pair_design
from gencast.regression.inference import jackknife_test, mrqap_test, naive_test, sandwich_test

CROSSED = CrossedParts(source=0.3, target=0.3, both=0.15, pair=0.4, reverse=0.2)
STRONG = CrossedParts(source=0.45, target=0.45, both=0.225, pair=0.1, reverse=0.05)
SOURCE = CrossedParts(source=0.8, target=0.1, both=0.14, pair=0.1, reverse=0.05)
NOISE = CrossedParts(source=0, target=0, both=0, pair=1, reverse=0)


def one(parts, n, rng):
    return draw_crossed(parts, n, rng)[..., 0]


def distance(n, rng, outlier=1.0):
    """Euclidean distances of simulations placed at random in a plane, the first one `outlier` times as far
    out.
    """
    place = rng.normal(size=(n, 2))
    place[0] *= outlier
    return np.sqrt(((place[:, None] - place) ** 2).sum(axis=-1))


def heavy(n, rng):
    "Crossed effects with the tails of Student's t with 3 degrees of freedom."
    s, t = rng.standard_t(3, size=(2, n))
    return 0.4 * (s[:, None] + t) + 0.45 * rng.normal(size=(n, n))


def growing(n, rng):
    "Errors whose scatter grows with the distance."
    d = distance(n, rng)
    return one(CROSSED, n, rng) * (0.3 + d), d


def loud_outlier(n, rng):
    "The simulation that lies apart also has errors of its own, twice the scatter of all others."
    y = one(CROSSED, n, rng)
    y[0] += 2 * rng.normal()
    y[:, 0] += 2 * rng.normal()
    return y, distance(n, rng, 4)


def three(n, rng):
    "Three correlated signals: the first one is tested given the others."
    a, b = one(CROSSED, n, rng), one(CROSSED, n, rng)
    d = distance(n, rng)
    return one(CROSSED, n, rng), np.stack([a + b, a + d, a], axis=-1)


WORLDS = {  # errors and signals that know nothing of each other
    "crossed": lambda n, rng: (one(CROSSED, n, rng), one(CROSSED, n, rng)),
    "strong": lambda n, rng: (one(STRONG, n, rng), one(STRONG, n, rng)),
    "source effects": lambda n, rng: (one(SOURCE, n, rng), one(SOURCE, n, rng)),
    "in-domain error": lambda n, rng: (one(CROSSED, n, rng), np.repeat(rng.normal(size=(n, 1)), n, axis=1)),
    "distance": lambda n, rng: (one(CROSSED, n, rng), distance(n, rng)),
    "outlying simulation": lambda n, rng: (one(CROSSED, n, rng), distance(n, rng, 4)),
    "heavy tails": lambda n, rng: (heavy(n, rng), heavy(n, rng)),
    "three signals": three,
    "independent pairs": lambda n, rng: (one(NOISE, n, rng), one(NOISE, n, rng)),
    "growing scatter": growing,
    "loud outlier": loud_outlier,
}


def p_values(y, X, seed, draws):
    "p of the first signal by each test."
    design = pair_design(y, X)
    return {
        "naive": naive_test(design).p[1],
        "sandwich as published": sandwich_test(design, correct=False).p[1],
        "sandwich, t": sandwich_test(design).p[1],
        "jackknife, t": jackknife_test(design, n_boot=0).p[1],
        "jackknife, calibrated": jackknife_test(design, n_boot=draws, seed=seed).p[1],
        "MRQAP": mrqap_test(design, n_perm=draws, seed=seed).p[0],
    }


def rejections(world, n_sim, n_sets, slope, draws, seed, level):
    "Fraction of data sets in which each test finds a relation at the level."
    found = []
    for k in range(n_sets):
        rng = rng_for(seed, "bench", world, n_sim, k)
        y, X = WORLDS[world](n_sim, rng)
        signal = X if X.ndim == 2 else X[..., 0]
        found.append(p_values(y + slope * signal, X, k, draws))
    return (pd.DataFrame(found) <= level + 1e-12).mean()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n-sets", type=int, default=2000, help="data sets a world")
    parser.add_argument("--n-sim", type=int, default=20, help="simulations")
    parser.add_argument(
        "--slopes",
        type=float,
        nargs="+",
        default=[0.0],
        help="true slopes; 0 for the size, others for the power",
    )
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS), choices=list(WORLDS))
    parser.add_argument("--draws", type=int, default=399, help="permutations, and draws of the bootstrap")
    parser.add_argument("--level", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="CSV file to write")
    args = parser.parse_args()
    rows = []
    for slope in args.slopes:
        for world in args.worlds:
            start = time.perf_counter()
            row = rejections(world, args.n_sim, args.n_sets, slope, args.draws, args.seed, args.level)
            rows.append({"world": world, "n_sim": args.n_sim, "slope": slope, **row.to_dict()})
            print(
                f"{world:20s} N={args.n_sim} slope={slope:g}  "
                + "  ".join(f"{k} {100 * v:.1f}" for k, v in row.items())
                + f"  [{time.perf_counter() - start:.0f} s]",
                flush=True,
            )
    table = pd.DataFrame(rows)
    if args.out:
        table.to_csv(args.out, index=False)
    print(
        "\nrejected at",
        args.level,
        "in %\n"
        + table.assign(**{c: (100 * table[c]).round(1) for c in table.columns[3:]}).to_string(index=False),
    )


if __name__ == "__main__":
    main()
