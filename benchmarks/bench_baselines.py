"""Published baselines that predict an error without labels, compared with the laws of a finished run, and
with NannyML itself.

    python benchmarks/bench_baselines.py results/default
    python benchmarks/bench_baselines.py results/default --view photometry --property all \\
        --nannyml-python ~/nannyml/bin/python

DoC, ATC, AutoEval, importance-weighted validation and our direct loss estimation (DLE) are in the run's own
heldout.csv. NannyML's DLE is run here, on the same models, galaxies and coordinates as ours (read from the
run's cache): it is fitted once for each source on its test galaxies and applied to every other simulation
in one chunk. All are scored on the same ordered pairs, as they are and after a straight line fitted without
the target's simulation. `behind` is how much larger their mean absolute error is than that of the law that
forecasts, with its standard error over the targets.

NannyML need not be installed beside gencast. Make another environment and give its Python:

    python -m venv ~/nannyml && ~/nannyml/bin/pip install nannyml statsmodels

Without it, NannyML is left out with a message.
"""

import argparse
import os
import shutil
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
    """For each file of a source in `folder`, NannyML's MSE of every target, written beside it. Runs in
    NannyML's environment.
    """
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    import nannyml

    for path in sorted(Path(folder).glob("source-*.npz")):
        with np.load(path) as stored:
            data = {k: stored[k] for k in stored.files}
        columns = [f"c{i}" for i in range(data["features"].shape[1])]

        def frame(rows, data=data, columns=columns):
            values = pd.DataFrame(data["features"][rows], columns=columns)
            return values.assign(prediction=data["predicted"][rows])

        cuts, own = data["cuts"], int(data["number"])
        reference = frame(slice(*cuts[[own, own + 1]])).assign(truth=data["labels"])
        found = nannyml.DLE(
            feature_column_names=columns,
            y_pred="prediction",
            y_true="truth",
            metrics=["mse"],
            chunk_number=1,
            tune_hyperparameters=False,
        ).fit(reference)

        def estimate(j, found=found, cuts=cuts, frame=frame):
            result = found.estimate(frame(slice(*cuts[[j, j + 1]]))).filter(period="analysis")
            return float(result.to_df()[("mse", "value")].iloc[0])

        np.save(
            path.with_name(path.stem.replace("source", "mse") + ".npy"),
            np.array([np.nan if j == own else estimate(j) for j in range(len(cuts) - 1)]),
        )
        print(f"NannyML {nannyml.__version__}: {path.stem}", file=sys.stderr, flush=True)


def write_sources(run, view, prop, folder):
    """What NannyML needs of each source, from the run's cache: coordinates and predictions of all test
    galaxies, labels of its own.
    """
    from gencast.pipeline.configure import load_settings
    from gencast.pipeline.parts import load_labels, open_simulations

    settings = load_settings(run)
    names = settings.suite.names
    simulations = open_simulations(run, settings, view)
    truth = [load_labels(simulations, n, "test", prop) for n in names]
    cuts = np.concatenate([[0], np.cumsum([len(t) for t in truth])])
    for i, name in enumerate(names):
        with (
            np.load(run / "cache" / f"errors-{view}-{prop}-{name}.npz") as made,
            np.load(run / "cache" / f"neighbours-{view}-{name}.npz") as near,
        ):
            predicted, features = made["predicted"], near["coordinates"][: cuts[-1], 1:]
        np.savez(
            folder / f"source-{i:03d}.npz",
            number=i,
            cuts=cuts,
            features=features,
            predicted=predicted,
            labels=truth[i],
        )
    return names


def ask_nannyml(run, view, prop, python):
    "NannyML's log10 MSE for every pair, as rows of heldout.csv; None where it is not installed."
    if (
        shutil.which(python) is None
        or subprocess.run([python, "-c", "import nannyml"], capture_output=True).returncode
    ):
        print(f"NannyML is not installed for {python}: its row is left out (see the head of this file)")
        return None
    with tempfile.TemporaryDirectory() as work:
        names = write_sources(run, view, prop, Path(work))
        subprocess.run(
            [python, __file__, "--nannyml-folder", work], check=True, stdout=subprocess.DEVNULL
        )  # LightGBM talks a lot
        mse = np.array([np.load(Path(work) / f"mse-{i:03d}.npy") for i in range(len(names))])
    rows = [
        (s, t, np.log10(max(mse[i, j], 1e-12)))
        for i, s in enumerate(names)
        for j, t in enumerate(names)
        if i != j
    ]
    return pd.DataFrame(rows, columns=["source", "target", "predicted"])


def calibrated(table):
    "A straight line in a baseline, for each target fitted without its simulation."
    out = table.predicted.copy()
    for target in table.target.unique():
        fit = table[(table.target != target) & (table.source != target)]
        slope, intercept = np.polyfit(fit.predicted, fit.log_mse, 1)
        out[table.target == target] = intercept + slope * table.predicted[table.target == target]
    return out


def score(table, best):
    """Scores of a law, and how far it is behind the best: mean absolute error less that of the forecasting
    law, with its error over targets.
    """
    miss = table.predicted - table.log_mse
    groups = [g for _, g in table.groupby("target") if g.predicted.nunique() > 1]
    behind = (miss.abs().groupby(table.target).mean() - best).to_numpy()
    return {
        "r2": 1 - (miss**2).sum() / ((table.log_mse - table.log_mse.mean()) ** 2).sum(),
        "mae_dex": miss.abs().mean(),
        "bias_dex": miss.mean(),
        "rank_correlation": np.mean([g.predicted.corr(g.log_mse, method="spearman") for g in groups])
        if groups
        else np.nan,
        "behind": behind.mean(),
        "its_error": behind.std(ddof=1) / np.sqrt(len(behind)),
        "pairs": len(table),
    }


def compare(results, view, prop, python):
    "One table of all laws and baselines, on the same pairs."
    made = results.run["parameters"]
    held = results.heldout[(results.heldout["view"] == view) & (results.heldout.property == prop)]
    held = held[(held.distance == made["distance"]) | held.law.isin(["pooled_line"])]
    tables = {
        law if law != "pooled_line" or d == made["distance"] else f"{law}, {d}": g.reset_index(drop=True)
        for (law, d), g in held.groupby(["law", "distance"], sort=False)
    }
    start, found = time.perf_counter(), ask_nannyml(Path(results.folder), view, prop, python)
    if found is not None:
        truth = tables[made["law"]][["source", "target", "log_mse"]]
        tables["nannyml_dle"] = found = found.merge(truth, on=["source", "target"])
        tables["nannyml_dle_line"] = found.assign(predicted=calibrated(found))
        both = found.merge(tables["dle"], on=["source", "target"], suffixes=("", "_ours"))
        gap = both.predicted_ours - both.predicted
        print(
            f"{view}, {prop}: our DLE less NannyML's, {len(gap)} pairs: mean {gap.mean():+.3f}, scatter "
            f"{gap.std():.3f} dex; correlation {both.predicted_ours.corr(both.predicted):.3f}; NannyML "
            f"took {time.perf_counter() - start:.0f} s"
        )
    law = tables[made["law"]]
    best = (law.predicted - law.log_mse).abs().groupby(law.target).mean()
    rows = [
        {"view": view, "property": prop, "law": name, **score(table, best)} for name, table in tables.items()
    ]
    return pd.DataFrame(rows).sort_values("mae_dex")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, nargs="?", help="folder of a finished run, e.g. results/default")
    parser.add_argument("--view", default="spectra", help="spectra, photometry, or all")
    parser.add_argument("--property", default="log_mstar", help="a property of the run, or all")
    parser.add_argument("--nannyml-python", default=sys.executable, help="Python that has NannyML")
    parser.add_argument("--out", help="CSV file to write")
    parser.add_argument("--nannyml-folder", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.nannyml_folder:
        return nannyml_losses(args.nannyml_folder)
    if args.run is None or not (args.run / "heldout.csv").exists():
        parser.error("give the folder of a finished run, such as results/default; `gencast run` makes one")
    from gencast.report.results import load_results

    results = load_results(args.run)

    def pick(asked, known):
        return list(known) if asked == "all" else [asked]

    found = [
        compare(results, v, p, args.nannyml_python)
        for v in pick(args.view, results.run["parameters"]["views"])
        for p in pick(args.property, results.run["parameters"]["properties"])
    ]
    table = pd.concat(found, ignore_index=True)
    if args.out:
        table.to_csv(args.out, index=False)
    pd.set_option("display.width", 200)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
