"""Kinds of model beside each other: how wrong within a simulation and across simulations, per property.

    python benchmarks/bench_models.py                                    # six simulations of the default suite, 2,000 galaxies each
    python benchmarks/bench_models.py --simulations 20 --galaxies 6500   # an hour and more on two cores

Simulated spectra are observed and split as a run does it. Each kind of model learns from each simulation and is tested on unseen
galaxies of all: forests and boosted trees one property at a time, networks (where PyTorch is there) all at once. Printed is the
RMSE, of a history the RMS SMAPE and in brackets the median SMAPE: within a simulation, and across (the median over sources, for
each target), as means over simulations with their standard errors. CPU seconds are those of training, all properties, per simulation.
"""
import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core import HISTORIES
from gencast.data.simulations import load_suite
from gencast.errors import error_metrics
from gencast.models import fit_model
from gencast.stages import Settings, load_rows, load_survey, observed_as, simulate_one
from gencast.timebins import label_columns, label_matrix, labels_of
from gencast.training import OneLabel, network_options

PROPERTIES = ("log_mstar", "log_age", "log_zmet", "a_v", "log_sfr", "sfh")
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--simulations", type=int, default=6, help="spread evenly over the suite")
parser.add_argument("--galaxies", type=int, default=2000)
parser.add_argument("--kinds", default="random_forest,extra_trees,boosting,cnn")
parser.add_argument("--folder", type=Path, default=Path("results/models"), help="where simulations are kept")
args = parser.parse_args()

settings = Settings(load_suite("default"), n_galaxies=args.galaxies, properties=PROPERTIES, views=("spectra",))
survey = load_survey(settings, "spectra")
seen_as = observed_as(settings, "spectra", survey)
names = [settings.suite.names[k] for k in np.linspace(0, len(settings.suite.names) - 1, args.simulations).round().astype(int)]
for name in names:
    simulate_one(settings, args.folder, "spectra", name, seen_as)
train = {n: load_rows(args.folder, settings, "spectra", n, "model") for n in names}
test = {n: load_rows(args.folder, settings, "spectra", n, "test") for n in names}


def models_of(kind: str, name: str) -> dict:  # property -> fitted model
    "Models of one simulation."
    values, sample = train[name]
    if kind != "cnn":
        return {p: fit_model(kind, values, labels_of(sample, p), seed=1) for p in PROPERTIES}
    from gencast.networks import CNNRegressor

    network = CNNRegressor(**network_options(settings, "spectra", name)).fit(values, label_matrix(sample, PROPERTIES))
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
                rows.append({"kind": kind, "source": source, "target": target, "property": p, "cost": cost, **found})
    print(f"{kind}: {np.mean([r['cost'] for r in rows if r['kind'] == kind]):.1f} CPU s a simulation", flush=True)
table = pd.DataFrame(rows)
said = lambda v: f"{v.mean():.3f} ± {v.std() / np.sqrt(len(v)):.3f}"
for p in PROPERTIES:
    for kind, part in table[table.property == p].groupby("kind", sort=False):
        own, across = part[part.source == part.target], part[part.source != part.target].groupby("target")
        extra = (f" ({100 * own.smape.median():.1f} %)", f" ({100 * across.smape.median().median():.1f} %)") if p in HISTORIES else ("", "")
        print(f"{p:10} {kind:14} within {said(own.rmse)}{extra[0]}   across {said(across.rmse.median())}{extra[1]}")
