"""Kinds of model compared: their errors within a simulation and across simulations, for each property.

    # six simulations of the default suite, 2,000 galaxies each
    python benchmarks/bench_models.py
    # an hour or more on two cores
    python benchmarks/bench_models.py --simulations 20 --galaxies 6500
    # finished runs compared: errors, and how well they were forecast
    python benchmarks/bench_models.py --runs results/forest results/cnn

Simulated spectra are observed and split as in a run. Each kind of model learns from each simulation and is
tested on other galaxies of all simulations: forests and boosted trees one property at a time, networks
(where PyTorch is installed) all at once. Printed is the RMSE, for a history the RMS SMAPE and in brackets
the median SMAPE: within a simulation, and across (the median over sources, for each target), as means over
simulations with their standard errors. CPU seconds are those of training, all properties, per simulation.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.properties import HISTORIES
from gencast.data.suites import load_suite
from gencast.models.errors import error_metrics
from gencast.models.estimators import fit_model
from gencast.models.timebins import label_columns, label_matrix, labels_of
from gencast.pipeline.parts import load_rows, open_simulations
from gencast.pipeline.settings import Settings, SimulationSettings, SurveySettings
from gencast.pipeline.simulate import simulate_one
from gencast.pipeline.surveys import load_survey, noise_survey, survey_noise
from gencast.pipeline.training import NOISE, OneLabel, network_options

PROPERTIES = ("log_mstar", "log_age", "log_zmet", "a_v", "log_sfr", "sfh")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--simulations", type=int, default=6, help="spread evenly over the suite")
parser.add_argument("--galaxies", type=int, default=2000)
parser.add_argument("--kinds", default="random_forest,extra_trees,boosting,cnn")
parser.add_argument("--folder", type=Path, default=Path("results/models"), help="where simulations are kept")
parser.add_argument(
    "--runs", type=Path, nargs="+", help="folders of finished runs of one suite with different kinds of model"
)
args = parser.parse_args()


def compare_runs(folders) -> pd.DataFrame:
    """Errors of each run's models within and across simulations, and how well its law forecasts them with the
    target held out.
    """
    found = []
    for folder in folders:
        results = load_results(folder)
        made, e, s, h = results.run["parameters"], results.errors, results.scores, results.heldout
        chosen = (
            (s.law == made["law"])
            & (s.distance == made["distance"])
            & (s.target == "all")
            & (s.protocol == "leave-simulation-out")
        )
        for row in s[chosen].itertuples():
            of = e[(e["view"] == row.view) & (e.property == row.property)]
            own, across = of[of.source == of.target], of[of.source != of.target]
            held = h[
                (h["view"] == row.view)
                & (h.property == row.property)
                & (h.law == made["law"])
                & (h.distance == made["distance"])
            ]
            gap = np.abs(10 ** (held.predicted / 2) - 10 ** (held.log_mse / 2))
            one = {
                "view": row.view,
                "property": row.property,
                "model": made["model"],
                "within": own.rmse.median(),
                "across": across.rmse.median(),
                "best source": across.groupby("target").rmse.min().median(),
            }
            if row.property in HISTORIES:
                one |= {
                    "SMAPE within, %": 100 * own.smape.median(),
                    "SMAPE across, %": 100 * across.smape.median(),
                }
            found.append(
                one
                | {
                    "R2": row.r2,
                    "MAE, dex": row.mae_dex,
                    "rank": row.rank_correlation,
                    "90 % holds": 100 * row.coverage_90,
                    "width": row.width_90,
                    "off by (median)": gap.median(),
                    "off by (mean)": gap.mean(),
                    "within 0.015": 100 * (gap < 0.015).mean(),
                }
            )
    return (
        pd.DataFrame(found)
        .sort_values(["view", "property"], kind="stable")
        .set_index(["view", "property", "model"])
    )


if args.runs:
    from gencast.report.results import load_results

    print(compare_runs(args.runs).round(3).to_string(na_rep=""))
    raise SystemExit

settings = Settings(
    load_suite("default"), n_galaxies=args.galaxies, properties=PROPERTIES, views=("spectra",)
)
survey = load_survey(settings.suite, settings.part(SurveySettings), "spectra", settings.seed)
given = noise_survey(settings.suite, "spectra", survey, settings.observed)
names = [
    settings.suite.names[k]
    for k in np.linspace(0, len(settings.suite.names) - 1, args.simulations).round().astype(int)
]
for name in names:
    simulate_one(settings.part(SimulationSettings), args.folder, "spectra", name, given)
chosen = tuple(s for s in settings.suite.simulations if s["name"] in names)
some = replace(settings, suite=replace(settings.suite, simulations=chosen))
simulations = open_simulations(args.folder, some, "spectra")
train = {n: load_rows(simulations, n, "model") for n in names}
test = {n: load_rows(simulations, n, "test") for n in names}


def models_of(kind: str, name: str) -> dict:  # property -> fitted model
    "Models of one simulation."
    values, sample = train[name]
    if kind != "cnn":
        return {p: fit_model(kind, values, labels_of(sample, p), seed=1) for p in PROPERTIES}
    from gencast.models.networks import CNNRegressor

    network = CNNRegressor(
        **network_options(simulations, name, PROPERTIES, NOISE * survey_noise(survey))
    ).fit(values, label_matrix(sample, PROPERTIES))
    return {p: OneLabel(network, label_columns(PROPERTIES, p)) for p in PROPERTIES}


rows = []
for kind in args.kinds.split(","):
    for source in names:
        start = time.process_time()
        models = models_of(kind, source)
        cost = time.process_time() - start
        for target in names:
            for p, model in models.items():
                edges = HISTORIES[p].edges if p in HISTORIES else None
                found = error_metrics(labels_of(test[target][1], p), model.predict(test[target][0]), edges)
                rows.append(
                    {"kind": kind, "source": source, "target": target, "property": p, "cost": cost, **found}
                )
    print(
        f"{kind}: {np.mean([r['cost'] for r in rows if r['kind'] == kind]):.1f} CPU s a simulation",
        flush=True,
    )
table = pd.DataFrame(rows)


def said(v):
    return f"{v.mean():.3f} ± {v.std() / np.sqrt(len(v)):.3f}"


for p in PROPERTIES:
    for kind, part in table[table.property == p].groupby("kind", sort=False):
        own, across = part[part.source == part.target], part[part.source != part.target].groupby("target")
        extra = (
            (f" ({100 * own.smape.median():.1f} %)", f" ({100 * across.smape.median().median():.1f} %)")
            if p in HISTORIES
            else ("", "")
        )
        print(
            f"{p:10} {kind:14} within {said(own.rmse)}{extra[0]}   across "
            f"{said(across.rmse.median())}{extra[1]}"
        )
