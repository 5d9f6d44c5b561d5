"""Coverage of three kinds of posteriors on simulations held out, before and after widening.

Needs the simulations of a run, e.g. of `gencast run default --quick -n 520 --views spectra`. Prints, for each
kind of model, the table of `score_coverage` for several laws, and the coverage with factors found on the
source's own simulation. Some minutes on one core.

    python benchmarks/bench_posteriors.py results/default
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gencast.core.base import rng_for
from gencast.core.sample import load_sample
from gencast.features.table import feature_table
from gencast.regression import evidence_from_posteriors, heldout_coverage, read_posterior, score_coverage

PROBABILITIES = (0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95)
N_TRAIN = 320


def load(folder: Path, property: str, n: int = 520) -> tuple[tuple, dict]:
    "Names of the simulations, and their arrays: train, labels, test, truth."
    names, found = [], {"train": [], "labels": [], "test": [], "truth": []}
    for path in sorted((folder / "simulations" / "spectra").iterdir()):
        sample = load_sample(path)
        order = rng_for(1, path.name).permutation(len(sample))[:n]
        x, y = feature_table(sample).values[order], np.asarray(sample.properties[property])[order]
        parts = (x[:N_TRAIN], y[:N_TRAIN], x[N_TRAIN:], y[N_TRAIN:])
        for key, part in zip(found, parts):
            found[key].append(part)
        names.append(path.name)
    return tuple(names), found


def gaussian_process(x: np.ndarray, y: np.ndarray):
    "Standard deviations."
    kernel = 1.0 * RBF(3) + WhiteKernel(0.1)
    steps = PCA(10), StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True)
    model = make_pipeline(*steps).fit(x, y)
    return lambda t: read_posterior(*model.predict(t, return_std=True))


def boosted_quantiles(x: np.ndarray, y: np.ndarray):
    "Quantiles; where two of them cross they are sorted."
    pca = make_pipeline(PCA(10), StandardScaler()).fit(x)
    size = {"max_iter": 60, "max_leaf_nodes": 8, "min_samples_leaf": 15}
    models = [
        HistGradientBoostingRegressor(loss="quantile", quantile=p, **size).fit(pca.transform(x), y)
        for p in PROBABILITIES
    ]

    def state(t):
        found = np.sort([m.predict(pca.transform(t)) for m in models], axis=0)
        return read_posterior(quantiles=found.T, probabilities=PROBABILITIES)

    return state


def forest(x: np.ndarray, y: np.ndarray):
    "Samples: the trees."
    model = RandomForestRegressor(100, min_samples_leaf=2, max_features=0.3, random_state=0).fit(x, y)
    return lambda t: read_posterior(samples=np.transpose([tree.predict(t) for tree in model.estimators_]))


def at_home(posteriors: list, truth: list) -> pd.DataFrame:  # stated, home, factor, elsewhere, elsewhere_off
    "Coverage elsewhere with the factors that are right on the source's own simulation."
    n, levels = len(truth), posteriors[0][0].levels
    factors = np.array([posteriors[i][i].widening(truth[i]) for i in range(n)])
    home = np.array([posteriors[i][i].coverage(truth[i]) for i in range(n)])
    away = np.array(
        [
            posteriors[i][j].widened(factors[i]).coverage(truth[j])
            for i in range(n)
            for j in range(n)
            if i != j
        ]
    )
    off = np.abs(away - levels)
    means = {"home": home, "factor": factors, "elsewhere": away, "elsewhere_off": off}
    return pd.DataFrame({"stated": levels} | {name: values.mean(axis=0) for name, values in means.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of a run with spectra")
    parser.add_argument("--laws", nargs="+", default=["constant", "ridge", "mixed"])
    arguments = parser.parse_args()
    cases = [
        (gaussian_process, "log_mstar"),
        (boosted_quantiles, "log_mstar"),
        (forest, "log_age"),
    ]
    for train_one, property in cases:
        names, data = load(arguments.folder, property)
        models = [train_one(x, y) for x, y in zip(data["train"], data["labels"])]
        posteriors = [[state(t) for t in (*data["test"], data["test"][0][:50])] for state in models]
        survey = data["test"][0][:50]  # not used here
        evidence = evidence_from_posteriors(
            **data, survey=survey, posteriors=posteriors, names=names, noise=0.01
        )
        print(f"\n{train_one.__name__}, {property}")
        print(at_home(posteriors, data["truth"]).round(3).to_string(index=False))
        for law in arguments.laws:
            scores = score_coverage(heldout_coverage(evidence, posteriors, law))
            print(f"{law}\n{scores.round(3).to_string(index=False)}", flush=True)


if __name__ == "__main__":
    main()
