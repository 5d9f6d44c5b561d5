"""Label-free error predictors of others on a finished run, with NannyML's direct loss estimation run for real.

    python benchmarks/bench_baselines.py results/default --view spectra --property log_mstar
    python benchmarks/bench_baselines.py results/default --view photometry --nannyml-python ~/nannyml/bin/python --out table.csv

Reads a run's simulated galaxies, trains one model a simulation on some of them, and predicts the error of every ordered pair
from the baselines of `gencast.baselines`. The error itself is measured on the target's galaxies, which no model has seen.
Each baseline is scored as it is and after a straight line, log10 MSE = a + b * baseline, fitted without the target's simulation
(neither as source nor as target). Below stand the laws of the run itself from heldout.csv, on the run's own models and galaxies.

NannyML need not be in the environment of gencast. Make another one and name its Python:

    python -m venv ~/nannyml && ~/nannyml/bin/pip install nannyml statsmodels

It is fitted once a source on the same 20 components as ours, and asked about every target in one chunk. It is left out,
with words, where it is not installed.
"""
import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NML_DISABLE_USAGE_LOGGING", "1")

import numpy as np
import pandas as pd


def nannyml_losses(folder):
    "For each file of a source in `folder`, NannyML's MSE of every target, written beside it. Runs in NannyML's environment."
    import logging
    import warnings
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import nannyml
    spent = 0.0
    for path in sorted(Path(folder).glob("source-*.npz")):
        with np.load(path) as stored:
            data = {k: stored[k] for k in stored.files}
        columns = [f"c{i}" for i in range(data["features"].shape[1])]
        frame = lambda x, p: pd.DataFrame(x, columns=columns).assign(prediction=p)
        start = time.perf_counter()
        reference = frame(data["features"], data["predicted"]).assign(truth=data["labels"])
        found = nannyml.DLE(feature_column_names=columns, y_pred="prediction", y_true="truth", metrics=["mse"], chunk_number=1, tune_hyperparameters=False).fit(reference)
        mse = []
        for j in range(len(data["target_predicted"])):
            if j == int(data["number"]):
                mse.append(np.nan)
                continue
            estimate = found.estimate(frame(data["target_features"][j], data["target_predicted"][j]))
            mse.append(float(estimate.filter(period="analysis").to_df()[("mse", "value")].iloc[0]))
        spent += time.perf_counter() - start
        np.save(path.with_name(path.stem.replace("source", "mse") + ".npy"), np.array(mse))
        print(f"NannyML {nannyml.__version__}: {path.stem} done, {spent:.0f} s", file=sys.stderr, flush=True)


def load_galaxies(run, view, name, prop, n, seed):
    "Features and labels of n random galaxies of a simulation."
    from gencast.core import load_sample, rng_for
    from gencast.features import feature_table
    sample = load_sample(run / "simulations" / view / name)
    rows = np.sort(rng_for(seed, "bench baselines", name).permutation(len(sample))[:n])
    sample = sample.take(rows)
    order = rng_for(seed, "bench baselines", name, "order").permutation(len(rows))
    return feature_table(sample).values[order], np.asarray(sample.properties[prop], float)[order]


def score(table, column):
    "R2, mean absolute error (dex) and bias of log10 MSE, and mean rank correlation within a target."
    use = table[np.isfinite(table[column])]
    miss = use[column] - use.log_mse
    spread = [g for _, g in use.groupby("target") if g[column].nunique() > 1 and g.log_mse.nunique() > 1]
    rank = [g[column].corr(g.log_mse, method="spearman") for g in spread] or [np.nan]
    return {"r2": 1 - (miss**2).sum() / ((use.log_mse - use.log_mse.mean()) ** 2).sum(), "mae_dex": miss.abs().mean(), "bias_dex": miss.mean(), "rank_correlation": np.mean(rank), "pairs": len(use)}


def calibrated(table, column):
    "A straight line in a baseline, for each target fitted without its simulation."
    out = pd.Series(np.nan, index=table.index)
    for target in table.target.unique():
        fit = table[(table.target != target) & (table.source != target) & np.isfinite(table[column])]
        if fit[column].nunique() > 1:
            slope, intercept = np.polyfit(fit[column], fit.log_mse, 1)
            out[table.target == target] = intercept + slope * table[column][table.target == target]
    return out


def predict_all(args, names):
    "Truth and all baselines for every ordered pair, and the seconds that each took."
    from gencast.baselines import BASELINES, Applied, PairInputs, baseline, components
    from gencast.core import rng_for
    from gencast.models import fit_model, predict_with_spread
    cut = args.n_train + args.n_validate
    data = {n: load_galaxies(args.run, args.view, n, args.property, cut + args.n_target, args.seed) for n in names}
    for n, (x, _) in data.items():
        if len(x) < cut + args.n_target:
            raise SystemExit(f"{n} has {len(x)} galaxies; {cut + args.n_target} are asked for, lower --n-train, --n-validate or --n-target")
    rows, seconds, folder = [], dict.fromkeys(BASELINES, 0.0), Path(args.work)
    for i, source in enumerate(names):
        x, y = data[source]
        model = fit_model("random_forest", x[: args.n_train], y[: args.n_train], int(rng_for(args.seed, source).integers(2**31)), args.n_trees)
        apply = lambda x, y: Applied(x, *predict_with_spread(model, x), y)
        home = apply(x[args.n_train : cut], y[args.n_train : cut])
        away = {n: apply(data[n][0][cut:], data[n][1][cut:]) for n in names}
        place = components(PairInputs(home, home, x[: args.n_train]))
        reduce = lambda a: Applied(place(a.features), a.predicted, a.spread, a.labels)
        train, home, away = place(x[: args.n_train]), reduce(home), {n: reduce(a) for n, a in away.items()}
        for target in names:
            if target == source:
                continue
            known = tuple(a for n, a in away.items() if n not in (source, target))
            blind = Applied(away[target].features, away[target].predicted, away[target].spread)
            inputs, row = PairInputs(home, blind, train, known), {"source": source, "target": target, "log_mse": np.log10(away[target].squared_error.mean())}
            for name in BASELINES:
                start = time.perf_counter()
                row[name] = baseline(name, inputs)
                seconds[name] += time.perf_counter() - start
            rows.append(row)
        np.savez(folder / f"source-{i:03d}.npz", number=i, features=home.features, predicted=home.predicted, labels=home.labels,
                 target_features=np.array([away[n].features for n in names]), target_predicted=np.array([away[n].predicted for n in names]))
        print(f"{i + 1} of {len(names)}: {source}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows), seconds


def add_nannyml(table, names, args):
    "NannyML's DLE as a column; None where it is not installed."
    start = time.perf_counter()
    if subprocess.run([args.nannyml_python, "-c", "import nannyml"], capture_output=True).returncode:
        print(f"NannyML is not installed for {args.nannyml_python}: its column is left out (see the head of this file)")
        return None
    subprocess.run([args.nannyml_python, __file__, "--nannyml-folder", str(args.work)], check=True, stdout=subprocess.DEVNULL)  # LightGBM talks a lot
    mse = {n: np.load(Path(args.work) / f"mse-{i:03d}.npy") for i, n in enumerate(names)}
    table["nannyml_dle"] = [np.log10(max(mse[s][names.index(t)], 1e-12)) for s, t in zip(table.source, table.target)]
    return time.perf_counter() - start


def agreement(table):
    "How far our DLE and NannyML's agree."
    gap = table.dle - table.nannyml_dle
    return f"our DLE less NannyML's, {len(gap)} pairs: mean {gap.mean():+.3f}, scatter {gap.std():.3f}, largest {gap.abs().max():.3f} dex; correlation {table.dle.corr(table.nannyml_dle):.3f}"


def run_laws(run, view, prop):
    "Scores of the run's own laws from heldout.csv."
    path = run / "heldout.csv"
    if not path.exists():
        return pd.DataFrame()
    held = pd.read_csv(path)
    held = held[(held["view"] == view) & (held.property == prop)]
    by = [c for c in ("law", "distance", "protocol") if c in held and held[c].notna().any()]
    return pd.DataFrame([{"law": " / ".join(map(str, k if isinstance(k, tuple) else (k,))), **score(g, "predicted")} for k, g in held.groupby(by)])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?", help="folder of a finished run, e.g. results/default")
    parser.add_argument("--view", default="spectra", choices=["spectra", "photometry"])
    parser.add_argument("--property", default="log_mstar")
    parser.add_argument("--n-train", type=int, default=3000, help="galaxies that train each model")
    parser.add_argument("--n-validate", type=int, default=1500, help="labelled galaxies of the source that no model has seen")
    parser.add_argument("--n-target", type=int, default=1500, help="galaxies of each target")
    parser.add_argument("--n-trees", type=int, default=100)
    parser.add_argument("--n-sim", type=int, default=None, help="simulations to use, evenly spread over the list (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nannyml-python", default=sys.executable, help="Python that has NannyML")
    parser.add_argument("--out", help="CSV file to write, one row a pair")
    parser.add_argument("--nannyml-folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.nannyml_folder:
        return nannyml_losses(args.nannyml_folder)
    if args.run is None or not (args.run / "simulations.csv").exists():
        parser.error("give the folder of a finished run, such as results/default; `gencast run` makes one")
    names = list(pd.read_csv(args.run / "simulations.csv").name)
    if args.n_sim is not None and args.n_sim < len(names):
        print(f"a subset: {args.n_sim} of {len(names)} simulations")
        names = [names[i] for i in np.linspace(0, len(names) - 1, args.n_sim).round().astype(int)]
    with tempfile.TemporaryDirectory() as args.work:
        table, seconds = predict_all(args, names)
        spent = add_nannyml(table, names, args)
    if spent is not None:
        seconds["nannyml_dle"] = spent
        print(agreement(table))
    rows = []
    for name in seconds:
        table[f"{name}_line"] = calibrated(table, name)
        rows.append({"baseline": name, **score(table, name), **{f"line_{k}": v for k, v in score(table, f"{name}_line").items() if k != "pairs"}, "seconds": seconds[name]})
    if args.out:
        table.to_csv(args.out, index=False)
    print(f"\n{args.view}, {args.property}: {len(table)} pairs of {len(names)} simulations; log10 MSE {table.log_mse.mean():.2f} +- {table.log_mse.std():.2f}")
    print(pd.DataFrame(rows).round(3).to_string(index=False))
    laws = run_laws(args.run, args.view, args.property)
    if len(laws):
        print("\nlaws of the run, on its own models and galaxies\n" + laws.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
