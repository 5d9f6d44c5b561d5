"""What do noise and negative pixels cost? Logarithms and asinh brightness at S/N 20 to 2.

Part of the study in `faint_spectra.ipynb`; not installed with gencast. The table in `faint_tables` comes from

    python nbs/studies/faint_spectra.py

which takes some ten minutes on one core and goes on where it was interrupted.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestRegressor

from gencast.core.base import rng_for
from gencast.core.sample import Sample
from gencast.data.faint import soften
from gencast.data.observing import observe_spectra
from gencast.data.suites import load_suite
from gencast.features.table import feature_table, line_mask
from gencast.forecaster import ErrorForecaster
from gencast.synthesis.simulations import simulate

TABLES = Path(__file__).resolve().parent / "faint_tables"
N_GALAXIES = 200  # of each simulation
EVERY = 2  # of the default suite, for time
NOISE = 0.001  # dex, that the survey has beyond the simulations
LEAST_KEPT = 40  # galaxies of each simulation, with fewer of which nothing is learned
SNRS = (20, 10, 5, 3, 2)  # median over the pixels
FEATURES = ("asinh, joined", "log", "asinh", "linear")


def make_clean(n_galaxies: int = N_GALAXIES, seed: int = 1) -> dict:  # name -> spectra without noise
    "Ten of the simulations of the default suite."
    suite = load_suite("default")
    return {r["name"]: simulate(r, suite, seed, n_galaxies) for r in suite.simulations[::EVERY]}


def make_survey(clean: dict, snr: float, seed: int = 2) -> Sample:
    """A survey of 200 galaxies, some of every simulation. The errors are those of the sky: twice as large in
    the blue as in the red, three times as large in the pixels of sky lines, and the same for all of a galaxy.
    """
    rng = rng_for(seed, "survey", str(snr))
    flux = np.concatenate([s.flux[:: len(s) // 20][:20] for s in clean.values()])
    wave = next(iter(clean.values())).wave
    slope = np.geomspace(1.4, 0.7, wave.size)
    lines = np.repeat(rng.random((len(flux), wave.size // 5 + 1)) < 0.08, 5, axis=1)[:, : wave.size]
    err = np.median(flux, axis=1)[:, None] / snr * slope * np.where(lines, 3, 1)
    noisy = flux + err * rng.normal(size=flux.shape)
    return Sample(f"snr-{snr:g}", noisy, wave, flux_err=err, meta={"fwhm_kms": 500.0})


def observed_features(sample: Sample, survey: Sample, kind: str, seed: int = 3) -> tuple:  # features, kept
    "Features of a simulation with the survey's noise, and which galaxies have them."
    seen = observe_spectra(sample, soften(survey), seed)
    keep = np.ones(len(seen), bool)
    if kind == "log":
        keep = (seen.flux > 0).all(axis=1)
    known = np.isin(np.arange(len(sample)), np.array(seen.ids, int)[keep])
    if not keep.any():
        return np.zeros((0, 0)), known
    if kind == "linear":
        level, free = np.median(seen.flux, axis=1)[:, None], line_mask(seen.wave)
        return np.log10(level) + (seen.flux / level - 1)[:, free] / np.log(10), known
    drop = {"log": ("softening", "joined"), "asinh": ("joined",), "asinh, joined": ()}[kind]
    meta = {k: v for k, v in seen.meta.items() if k not in drop}
    return feature_table(replace(seen, meta=meta).take(keep)).values.astype(float), known


def consensus_error(forecaster: ErrorForecaster) -> float:  # median over the simulations
    "RMSE of the consensus of the other simulations on each of them."
    evidence = forecaster.domain_errors_.evidence
    cuts = evidence.edges[1:-2]
    found = []
    for j, truth in enumerate(evidence.truth):
        predicted = np.split(evidence.consensus[(j,)], cuts)[j]
        found.append(np.sqrt(np.mean((predicted - truth) ** 2)))
    return float(np.median(found))


def score_features(clean: dict, snr: float, kind: str, property: str = "log_mstar") -> dict:
    "One row of the table."
    begun, survey, domains, kept = time.process_time(), make_survey(clean, snr), {}, []
    for name, sample in clean.items():
        values, stay = observed_features(sample, survey, kind)
        domains[name] = values, sample.properties[property][stay]
        kept.append(stay.mean())
    row = {"snr": snr, "features": kind, "property": property, "kept": np.mean(kept)}
    row["n_features"] = max(x.shape[1] for x, _ in domains.values())
    if min(len(y) for _, y in domains.values()) < LEAST_KEPT:
        return row
    forest = RandomForestRegressor(40, max_features="sqrt", min_samples_leaf=2)
    forecaster = ErrorForecaster(forest, noise=NOISE, property=property).fit(domains)
    own = forecaster.errors_.source == forecaster.errors_.target
    score = forecaster.scores_[forecaster.scores_.target == "all"].iloc[0]
    return row | {
        "within": forecaster.errors_.rmse[own].median(),
        "across": forecaster.errors_.rmse[~own].median(),
        "consensus": consensus_error(forecaster),
        "r2": score.r2,
        "mae_dex": score.mae_dex,
        "seconds": time.process_time() - begun,
    }


def compare(
    path: Path = TABLES / "scores.csv", snrs=SNRS, kinds=FEATURES, property: str = "log_mstar"
) -> None:
    "Write the whole table, row by row; rows that are there are kept."
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["snr", "features"])
    known, clean = set(zip(table.snr, table.features)), {}
    for kind in kinds:
        for snr in snrs:
            if (snr, kind) in known:
                continue
            clean = clean or make_clean()
            table = pd.concat([table, pd.DataFrame([score_features(clean, snr, kind, property)])])
            table.sort_values(["snr", "features"], ascending=[False, True]).round(4).to_csv(path, index=False)


def load_scores(path: Path = TABLES / "scores.csv") -> pd.DataFrame:
    "The table; rows that are missing are computed first."
    path.parent.mkdir(exist_ok=True)
    compare(path)
    return pd.read_csv(path)


def plot_scores(table: pd.DataFrame):  # of `compare`
    "Share of galaxies kept, errors, and the law's R2 against S/N, a line for each kind of features."
    import matplotlib.pyplot as plt

    panels = {
        "kept": "share of galaxies kept",
        "within": "RMSE within [dex]",
        "across": "RMSE across [dex]",
        "consensus": "RMSE of the consensus [dex]",
        "r2": "R² of the law",
    }
    fig, axes = plt.subplots(2, 3, figsize=(8.5, 5.2), layout="constrained")
    for ax, (column, label) in zip(axes.flat, panels.items()):
        for marker, (kind, rows) in zip("osD^", table.groupby("features", sort=False)):
            ax.plot(rows.snr, rows[column], marker=marker, ms=4, label=kind)
        ax.set(xlabel="median S/N of a pixel", ylabel=label, xscale="log")
        ax.set_xticks(SNRS, [f"{s:g}" for s in SNRS])
        ax.minorticks_off()
        ax.set_ylim(0, 1.05 if column in ("kept", "r2") else 1.08 * table[column].max())
    axes[1, 2].axis("off")
    axes[1, 2].legend(*axes[0, 0].get_legend_handles_labels(), title="features", frameon=False, loc="center")
    return fig


if __name__ == "__main__":
    print(load_scores())
