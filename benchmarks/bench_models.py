"""Kinds of model beside each other: how wrong within a simulation and across simulations, and how well that is foretold.

    for m in random_forest extra_trees boosting cnn; do gencast run --model $m --properties all --views spectra -n 2000 --no-notebooks -o results/$m; done
    python benchmarks/bench_models.py results/random_forest results/extra_trees results/boosting results/cnn

Reads the tables of finished runs of one suite, one kind of model each. For each property and model: the RMSE on unseen galaxies
of its own simulation, of any other source, and of the source that was forecast to be best, each with the simulation held out;
medians over simulations with the standard error of a median over them (1.25 sd / sqrt(n)). Of histories the RMS SMAPE. Beside
them the law: R2 of log10 MSE, mean miss in dex, and the mean miss of the RMSE itself in the property's unit (in points of SMAPE for
histories), with simulations held out. `--markdown` prints what stands in benchmarks/README.md.
"""
import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core import HISTORIES
from gencast.results import load_results

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("runs", nargs="+", type=Path, help="folders of finished runs")
parser.add_argument("--view", default="spectra")
parser.add_argument("--markdown", action="store_true")
args = parser.parse_args()


def of_simulations(values: pd.Series) -> str:
    "Median over simulations, with its standard error."
    return f"{values.median():.3f} ± {1.25 * values.std() / np.sqrt(len(values)):.3f}"


rows = []
for folder in args.runs:
    run = load_results(folder)
    errors = run.errors[run.errors["view"] == args.view]
    law = run.run["parameters"]["law"]
    for prop, table in errors.groupby("property", sort=False):
        own = table[table.source == table.target].set_index("target")
        across = table[table.source != table.target].groupby("target")
        held = run.heldout[(run.heldout["view"] == args.view) & (run.heldout.property == prop) & (run.heldout.law == law)]
        best = held.loc[held.groupby("target").predicted.idxmin()]
        score = run.scores[(run.scores["view"] == args.view) & (run.scores.property == prop) & (run.scores.law == law) & (run.scores.target == "all") & (run.scores.protocol == "leave-simulation-out")].iloc[0]
        true, told = 10 ** (held.log_mse / 2), 10 ** (held.predicted / 2)
        rows.append({"property": prop, "model": table.model.iloc[0], "within": of_simulations(own.rmse), "any other source": of_simulations(across.rmse.median()), "best forecast": of_simulations(10 ** (best.log_mse / 2)),
                     "law R2": round(score.r2, 2), "law misses, dex": round(score.mae_dex, 3), "RMSE missed by": f"{100 * (told - true).abs().mean():.1f} points" if prop in HISTORIES else f"{(told - true).abs().mean():.3f}",
                     **({"median SMAPE within": f"{100 * own.smape.median():.1f} %", "across": f"{100 * across.smape.median().median():.1f} %"} if prop in HISTORIES else {})})
order = list(dict.fromkeys(r["property"] for r in rows))
table = pd.DataFrame(rows).sort_values("property", key=lambda p: p.map(order.index), kind="stable").fillna("")
if args.markdown:
    print("| " + " | ".join(table.columns) + " |\n|" + "---|" * len(table.columns))
    print("\n".join("| " + " | ".join(map(str, r)) + " |" for r in table.itertuples(index=False)))
else:
    print(table.to_string(index=False))
