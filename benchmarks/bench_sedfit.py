"""Learned models compared with SED fitting: held-out galaxies of every simulation of the default suite, and
observed spectra.

    # two libraries of 100,000 models, 600 galaxies: minutes
    python benchmarks/bench_sedfit.py library
    # BAGPIPES on 20 galaxies: half an hour; after `library`
    python benchmarks/bench_sedfit.py full --rounds 1
    # BAGPIPES on the observed spectra that ppxf carries, and on those given (spec files or folders)
    python benchmarks/bench_sedfit.py observed [PATH ...]
    # BAGPIPES on photometry of ten of the galaxies
    python benchmarks/bench_sedfit.py bands
    # both fits on galaxies drawn from their own priors
    python benchmarks/bench_sedfit.py known
    # 60 forests, boosted trees and networks: an hour
    python benchmarks/bench_sedfit.py learn
    # the tables of nbs/studies/methods_compared.ipynb
    python benchmarks/bench_sedfit.py tables [PATH ...]

Times are for one core. BAGPIPES and one of the libraries need gencast[sed], networks need gencast[cnn].
Each part stores its results in `--cache` (results/methods), so that it resumes where it stopped. `tables`
writes nbs/studies/methods_tables, with the provenance beside the tables; `--out` changes the folder. The
tables call the simulation of a galaxy its `universe`.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import studies  # noqa: F401  puts nbs/studies on the path
from method_galaxies import (
    SNRS,
    bin_features,
    consensus_outside,
    draw_parts,
    fit_learner,
    heldout_sample,
    learned_answers,
    observe_at,
    snr_of,
)
from method_scores import LEARNERS, METHODS_FOLDER, save_methods

from gencast.core.base import digest
from gencast.core.cache import package_versions, read_arrays, remember
from gencast.core.progress import Progress
from gencast.core.sample import Sample
from gencast.data.photometry import SDSS_BANDS, band_luminosity, band_wavelengths
from gencast.data.references import load_spectra
from gencast.data.suites import load_suite
from gencast.sed.bagpipes import SETTINGS, fit_versions
from gencast.sed.fitting import FITTED, fit_bagpipes, fit_table, make_tasks, missing_fits
from gencast.sed.intervals import PERCENTILES, fit_models
from gencast.sed.library import rebin
from gencast.sed.models import build_library
from gencast.sed.priors import Priors
from gencast.synthesis.simulations import simulate

SEED, ROUNDS, N_TRAIN, N_CALIBRATE = 11, 30, 3000, 100  # galaxies of each simulation
TRAINED, TREES = 2000, 60  # of those that could train, and trees of a forest
KNOWN, KNOWN_FULL = 600, 10  # galaxies drawn from the priors, and how many of them BAGPIPES fits
SSPS = {"library": "bc03_miles", "library-stelib": "bc03_stelib"}


def observed_sample(paths) -> Sample:
    "The spectra that ppxf carries, and those given."
    parts = [load_spectra()] + ([load_spectra(paths, skip=True)] if paths else [])

    def stack(key):
        return np.concatenate([getattr(p, key) for p in parts])

    reference = np.concatenate([p.properties.get("log_mstar", np.full(len(p), np.nan)) for p in parts])
    return Sample(
        "observed",
        stack("flux"),
        parts[0].wave,
        (),
        stack("flux_err"),
        stack("redshift"),
        sum((p.ids for p in parts), ()),
        {"log_mstar": reference},
        parts[0].meta,
    )


def full(given):
    "BAGPIPES: the first galaxy of each simulation, then the second ..."
    sample = heldout_sample(load_suite("default"), load_spectra(), SEED, ROUNDS)
    n = given.rounds * len(set(sample.meta["universe"]))
    models = build_library(given.cache / "models-bc03_miles", wave=rebin(sample).wave, n=given.models)
    table = fit_bagpipes(
        sample.take(np.arange(n)),
        given.cache / "full",
        jobs=given.jobs,
        budget_s=given.budget,
        library=models,
    )
    print(table[["log_mstar", "chi2", "n_likelihood", "cpu_seconds"]].round(2), missing_fits(table), sep="\n")


def observed(given):
    "BAGPIPES on observed spectra."
    sample = observed_sample(given.paths)
    models = build_library(given.cache / "models-bc03_miles", wave=rebin(sample).wave, n=given.models)
    table = fit_bagpipes(
        sample, given.cache / "full-observed", jobs=given.jobs, budget_s=given.budget, library=models
    )
    print(table[["log_mstar", "chi2", "n_likelihood", "cpu_seconds"]].round(2), missing_fits(table), sep="\n")


def known_sample(given) -> Sample:
    "Galaxies drawn from the priors of the fits, with noise at the three levels by turns."
    survey = load_spectra()
    clean = build_library(
        given.cache / "models-known", wave=survey.wave, n=KNOWN, seed=SEED + 1, ssp="bc03_miles"
    )
    levels = snr_of(np.arange(KNOWN))
    seen = {s: observe_at(clean, survey, s, SEED) for s in SNRS}

    def stack(key):
        return np.array([getattr(seen[s], key)[i] for i, s in enumerate(levels)])

    return replace(
        clean,
        name="known",
        flux=stack("flux"),
        flux_err=stack("flux_err"),
        ids=tuple(f"known:{i}" for i in range(KNOWN)),
        meta={"snr": levels.tolist(), "fwhm_kms": survey.meta.get("fwhm_kms", 0.0)},
    )


def known(given):
    "Fits where their model family is the truth."
    sample = known_sample(given)
    models = build_library(given.cache / "models-bc03_miles", wave=rebin(sample).wave, n=given.models)
    fit_models(rebin(sample), models).to_csv(given.cache / "library-known.csv")
    table = fit_bagpipes(
        sample.take(np.arange(KNOWN_FULL)),
        given.cache / "full-known",
        jobs=given.jobs,
        budget_s=given.budget,
        library=models,
    )
    print(table[["log_mstar", "chi2", "n_likelihood", "cpu_seconds"]].round(2), missing_fits(table), sep="\n")


def known_rows(given) -> pd.DataFrame:
    "Both fits beside the truth."
    sample = known_sample(given)
    head = pd.DataFrame(
        {"galaxy": sample.ids, "universe": sample.ids, "snr": sample.meta["snr"]}
        | {f"truth_{p}": sample.properties[p] for p in FITTED}
    )
    found = {
        "library": pd.read_csv(given.cache / "library-known.csv"),
        "bagpipes": stored(sample, given.cache, "full-known"),
    }
    return pd.concat(
        [
            head.merge(t.drop(columns="status", errors="ignore"), on="galaxy").assign(method=m)
            for m, t in found.items()
            if len(t)
        ],
        ignore_index=True,
    )


def photometry() -> Sample:
    "Ten held-out galaxies in SDSS ugriz at z = 0.1 with errors of 5 % in u, 2 % in g, r, i and 3 % in z."
    suite, rows = load_suite("default"), []
    for recipe in suite.simulations[::2]:
        clean = simulate(recipe, suite, SEED, ROUNDS + N_CALIBRATE + N_TRAIN, view="photometry").take(
            np.arange(1)
        )
        rows.append(
            (recipe["name"], clean, band_luminosity(clean.wave, clean.flux, suite.redshift, SDSS_BANDS))
        )
    light = np.concatenate([r[2] for r in rows])
    err = light * np.array([0.05, 0.02, 0.02, 0.02, 0.03])
    noisy = light + err * np.random.default_rng(SEED).normal(size=light.shape)
    return Sample(
        "bands",
        noisy,
        band_wavelengths(SDSS_BANDS),
        SDSS_BANDS,
        err,
        np.full(len(rows), suite.redshift),
        tuple(f"{r[0]}:0" for r in rows),
        {p: np.concatenate([r[1].properties[p] for r in rows]) for p in FITTED},
        {"universe": [r[0] for r in rows]},
    )


def bands(given):
    "BAGPIPES on photometry."
    table = fit_bagpipes(photometry(), given.cache / "full-bands", jobs=given.jobs, budget_s=given.budget)
    print(table[["log_mstar", "chi2", "n_likelihood", "cpu_seconds"]].round(2), missing_fits(table), sep="\n")


def library(given):
    "Percentiles over libraries of models."
    sample = heldout_sample(load_suite("default"), load_spectra(), SEED, ROUNDS)
    seen = rebin(sample)
    facts = {}
    for name, ssp in SSPS.items():
        start, clock = time.process_time(), time.perf_counter()
        models = build_library(given.cache / f"models-{ssp}", wave=seen.wave, ssp=ssp, n=given.models)
        built = time.process_time() - start
        start = time.process_time()
        table = fit_models(seen, models)
        fitted = time.process_time() - start
        facts[name] = {
            "ssp": ssp,
            "models": len(models),
            "build_cpu_s": round(built, 1),
            "megabytes": round(models.flux.nbytes / 1e6, 1),
            "fit_cpu_s_per_galaxy": round(fitted / len(seen), 4),
        }
        print(
            name,
            facts[name],
            f"{time.perf_counter() - clock:.0f} s in all",
            f"effective models: {table.n_effective.describe().round(1).to_dict()}",
            flush=True,
        )
        table.to_csv(given.cache / f"{name}.csv")
        (given.cache / f"{name}.json").write_text(json.dumps(facts[name]))
    fit_models(
        rebin(observed_sample(given.paths)),
        build_library(given.cache / "models-bc03_miles", wave=seen.wave, n=given.models),
    ).to_csv(given.cache / "library-observed.csv")


def one_simulation(u, cache):
    "Features, their noise and labels of a simulation's parts at each noise level, stored."
    suite = load_suite("default")
    recipe = suite.simulations[u]

    def make():
        survey = load_spectra()
        parts, out = draw_parts(recipe, suite, SEED, N_TRAIN, N_CALIBRATE, ROUNDS), {}
        parts["train"] = parts["train"].take(np.arange(TRAINED))
        for part, clean in parts.items():
            out[f"{part}-truth"] = np.column_stack([clean.properties[p] for p in FITTED])
            for snr in SNRS:
                seen = observe_at(clean, survey, snr, SEED)
                out[f"{part}-{snr}"] = bin_features(seen).astype(np.float32)
                if part == "train":
                    out[f"noise-{snr}"] = feature_noise(seen)
        return out

    remember(
        cache / "features" / f"{recipe['name']}.npz",
        digest("features-2", recipe, SEED, ROUNDS, N_TRAIN, N_CALIBRATE, TRAINED),
        make,
    )
    return recipe["name"]


def feature_noise(seen) -> np.ndarray:
    "Median error of each feature, dex, shape (n_bin,)."
    binned = rebin(seen)
    measured = np.isfinite(binned.flux_err)
    relative = np.where(measured, binned.flux_err / binned.flux, np.nan)[:, measured.any(axis=0)]
    return np.nanmedian(relative, axis=0) / np.log(10)


def one_model(kind, u, snr, names, cache, seen):
    "Predictions of a simulation's model at a noise level for all galaxies."

    def make():
        parts = [read_arrays(cache / "features" / f"{n}.npz") for n in names]
        clock = time.process_time()
        predict = fit_learner(
            kind, parts[u][f"train-{snr}"], parts[u]["train-truth"], SEED, TREES, parts[u][f"noise-{snr}"]
        )
        trained = time.process_time() - clock
        out = {"calibrate": np.array([predict(p[f"calibrate-{snr}"]) for p in parts])}
        clock = time.process_time()
        out["heldout"] = np.array([predict(p[f"heldout-{snr}"]) for p in parts])
        asked = (time.process_time() - clock) / (len(parts) * ROUNDS)
        out["observed"] = predict(seen)
        return out | {"seconds": np.array([trained, asked])}

    remember(
        cache / "models" / kind / f"{names[u]}-{snr}.npz",
        digest("models-1", names, snr, SEED, TRAINED, TREES, seen),
        make,
    )
    return u


def learn(given):
    "A model of each kind for each simulation and noise level."
    suite, progress = load_suite("default"), Progress(given.jobs)
    names = progress.map(
        "galaxies", one_simulation, [(u, given.cache) for u in range(len(suite.simulations))]
    )
    seen = bin_features(observed_sample(given.paths)).astype(np.float32)
    for kind in LEARNERS:
        progress.map(
            kind,
            one_model,
            [(kind, u, snr, names, given.cache, seen) for snr in SNRS for u in range(len(names))],
        )


def stored(sample, cache, name) -> pd.DataFrame:
    "The fits that are there, of a part that may still be running."
    found = sorted((cache / name).glob("galaxy-*.npz"))
    if not found:
        return pd.DataFrame()
    sample = sample.take(np.arange(int(found[-1].stem.split("-")[1]) + 1))
    models = None if sample.bands else build_library(cache / "models-bc03_miles", wave=rebin(sample).wave)
    tasks = make_tasks(sample, None, Priors(), 4, 1, SETTINGS, models)
    table = fit_table(
        tasks, [cache / name / f"galaxy-{i:05d}.npz" for i in range(len(tasks))], ["done"] * len(tasks)
    )
    return table[table.chi2.notna()].reset_index()


def wide(percentiles: np.ndarray) -> dict:
    "Columns from an array of shape (n_gal, n_property, n_percent)."
    return {p + end: percentiles[:, i, j] for i, p in enumerate(FITTED) for j, end in enumerate(PERCENTILES)}


def tables(given):
    "Put together what the other parts have stored."
    suite, cache = load_suite("default"), given.cache
    names = list(suite.names)
    sample = heldout_sample(suite, load_spectra(), SEED, ROUNDS)
    seen = observed_sample(given.paths)
    head = pd.DataFrame(
        {"galaxy": sample.ids, "universe": sample.meta["universe"], "snr": sample.meta["snr"]}
        | {f"truth_{p}": sample.properties[p] for p in FITTED}
    )
    place = pd.MultiIndex.from_arrays([head.universe, [int(g.split(":")[1]) for g in head.galaxy]])
    truth = np.array([read_arrays(cache / "features" / f"{n}.npz")["calibrate-truth"] for n in names])
    rows, single, outside, facts = [], [], {}, {}
    for kind, ending in LEARNERS.items():
        seconds = []
        for snr in SNRS:
            found = [read_arrays(cache / "models" / kind / f"{n}-{snr}.npz") for n in names]
            heldout, calibrate = (np.array([f[k] for f in found]) for k in ("heldout", "calibrate"))
            seconds.append(np.mean([f["seconds"] for f in found], axis=0))
            at = np.flatnonzero(head.snr == snr)
            t, i = (
                np.array([names.index(u) for u in place[at].get_level_values(0)]),
                place[at].get_level_values(1).to_numpy(),
            )
            for method, answers in learned_answers(heldout, calibrate, truth).items():
                rows.append(head.iloc[at].assign(method=method + ending, **wide(answers[t, i])))
            actual = head.iloc[at][[f"truth_{p}" for p in FITTED]].to_numpy()
            gap = heldout[:, t, i] - actual  # (source, galaxy, property)
            for k, p in enumerate(FITTED):
                single += [
                    {
                        "kind": kind,
                        "snr": snr,
                        "universe": n,
                        "property": p,
                        "mse": float(np.mean(np.delete(gap[:, t == u, k], u, axis=0) ** 2)),
                    }
                    for u, n in enumerate(names)
                ]
            outside[kind, snr] = consensus_outside(np.array([f["observed"] for f in found]), calibrate, truth)
        trained, asked = np.mean(seconds, axis=0)
        facts[kind] = {
            "train_cpu_s": round(float(trained), 2),
            "cpu_s_per_galaxy": float(asked),
            "trained_on": TRAINED,
        } | ({"trees": TREES} if kind == "random_forest" else {})
    for name in SSPS:
        table = pd.read_csv(cache / f"{name}.csv")
        rows.append(head.assign(method=name, **{c: table[c].to_numpy() for c in table if c != "galaxy"}))
        facts[name] = json.loads((cache / f"{name}.json").read_text())
    table = stored(sample, cache, "full")
    rows.append(head.merge(table.drop(columns=["status"]), on="galaxy").assign(method="bagpipes"))
    facts["bagpipes"] = {
        "settings": SETTINGS,
        "versions": fit_versions(),
        "galaxies": len(table),
        "median_cpu_s": float(table.cpu_seconds.median()),
        "median_likelihoods": float(table.n_likelihood.median()),
    }
    made = {
        "simulated": pd.concat(rows, ignore_index=True),
        "single": pd.DataFrame(single),
        "observed": observed_rows(seen, outside, cache),
        "bands": band_rows(cache),
        "known": known_rows(given),
    }
    record = {
        "suite": suite.name,
        "seed": SEED,
        "heldout_of_each": ROUNDS,
        "calibrate_of_each": N_CALIBRATE,
        "priors": Priors().__dict__,
        "facts": facts,
        "versions": package_versions(),
    }
    save_methods(given.out or METHODS_FOLDER, made, record)
    print({k: v.shape for k, v in made.items()}, json.dumps(facts, indent=1))


def observed_rows(seen, outside, cache) -> pd.DataFrame:
    "Observed galaxies: consensus at the nearest noise level, library, BAGPIPES."
    snr = np.median(seen.flux / seen.flux_err, axis=1)
    nearest = np.array(SNRS)[np.abs(np.log(snr[:, None] / np.array(SNRS))).argmin(axis=1)]
    head = pd.DataFrame(
        {
            "galaxy": seen.ids,
            "redshift": seen.redshift,
            "snr": snr.round(1),
            "reference_log_mstar": seen.properties["log_mstar"],
        }
    )
    rows = [
        head.assign(
            method="consensus" + ending,
            **wide(np.array([outside[kind, s][i] for i, s in enumerate(nearest)])),
        )
        for kind, ending in LEARNERS.items()
    ]
    for method, table in (
        ("library", pd.read_csv(cache / "library-observed.csv")),
        ("bagpipes", stored(seen, cache, "full-observed")),
    ):
        if len(table):
            rows.append(
                head.merge(table.drop(columns="status", errors="ignore"), on="galaxy").assign(method=method)
            )
    return pd.concat(rows, ignore_index=True)


def band_rows(cache) -> pd.DataFrame:
    "Photometric fits beside the truth."
    sample = photometry()
    head = pd.DataFrame(
        {"galaxy": sample.ids, "universe": sample.meta["universe"]}
        | {f"truth_{p}": sample.properties[p] for p in FITTED}
    )
    table = stored(sample, cache, "full-bands")
    return (
        head.merge(table.drop(columns="status"), on="galaxy").assign(method="bagpipes")
        if len(table)
        else head.assign(method="none")
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=["full", "observed", "bands", "known", "library", "learn", "tables"])
    parser.add_argument(
        "paths", type=Path, nargs="*", help="spec files or folders, beside the spectra that ppxf carries"
    )
    parser.add_argument("--rounds", type=int, default=1, help="full: galaxies of each simulation")
    parser.add_argument("--models", type=int, default=100_000, help="library: how many")
    parser.add_argument("--budget", type=float, default=1e12, help="seconds after which no galaxy is started")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--cache", type=Path, default=Path("results/methods"))
    parser.add_argument("--out", type=Path, default=None)
    given = parser.parse_args()
    globals()[given.part](given)


if __name__ == "__main__":
    main()
