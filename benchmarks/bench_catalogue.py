"""Intervals of single galaxies: the catalogue beside a library fit and BAGPIPES, on the same galaxies of
families that were left out.

    python benchmarks/bench_catalogue.py results/default catalogue   # minutes
    python benchmarks/bench_catalogue.py results/default library     # a minute
    python benchmarks/bench_catalogue.py results/default bagpipes --galaxies 1  # a minute a galaxy
    python benchmarks/bench_catalogue.py results/default rules       # minutes
    python benchmarks/bench_catalogue.py results/default tables      # nbs/studies/catalogue_tables

Needs a finished run of the default suite. Fifteen test galaxies of each simulation, evenly spread, are asked
about. The library fit has the galaxies of the simulations of all other families as its models, 250 of each;
BAGPIPES has its own stellar library, histories and dust, and needs gencast[sed]. Spectra of the suite are
free of noise: both fits take 5 % as the error of the models. `scripts/build_readme_numbers.py` makes the
tables of nbs/learn/catalogue.qmd from this one.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.files import read_sealed
from gencast.core.progress import Progress
from gencast.core.sample import Sample
from gencast.pipeline import catalog
from gencast.pipeline.configure import load_settings
from gencast.pipeline.evidence import gather_property, gather_view
from gencast.pipeline.kept import recorded_simulations
from gencast.pipeline.observed import run_survey
from gencast.pipeline.parts import load_part
from gencast.pipeline.settings import ModelSettings, SelectionSettings
from gencast.pipeline.surveys import noise_survey, survey_noise
from gencast.pipeline.training import make_learner
from gencast.regression import galaxy_intervals
from gencast.regression.galaxy_trials import hold_galaxies
from gencast.regression.intervals import group_quantile
from gencast.regression.signals import spread_rows
from gencast.sed.fitting import fit_bagpipes
from gencast.sed.library import fit_library

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "nbs" / "studies" / "catalogue_tables" / "intervals.csv"
PROPERTY, MOST, ASKED, MODELS, EVERY = "log_mstar", 500, 15, 250, 5
LEVELS = {"68": ("_p16", "_p84"), "90": ("_p05", "_p95")}
NORMAL = {"68": 0.9945, "90": 1.6449}  # standard deviations from the middle to an end


def evidence(folder: Path, view: str):
    "The evidence of a finished run, from what it remembers, and what its galaxies are sorted by."
    settings, progress = load_settings(folder), Progress(1)
    made = read_sealed(folder / "run.json", must=False)["simulations"]
    simulations = recorded_simulations(folder, settings, view, made)
    survey = run_survey(settings, view)
    given = noise_survey(settings.suite, view, survey, settings.observed)
    shared = gather_view(settings.suite, simulations, survey, given, settings.properties, progress)
    learner = make_learner(settings.part(ModelSettings), survey_noise(survey))
    c = gather_property(shared, PROPERTY, settings.part(SelectionSettings), learner, progress)
    return c, catalog.galaxy_facts(simulations, progress)


def asked_rows(n: int) -> np.ndarray:
    "Which of a simulation's test galaxies are asked about."
    rows = spread_rows(n, MOST)
    return rows[spread_rows(len(rows), ASKED)]


def catalogue(given):
    "The catalogue's intervals of the galaxies of each family, left out."
    c, facts = evidence(given.folder, given.view)
    groups, names = catalog.family_groups(catalog.simulation_families(c)), c.evidence.names
    tables = []
    for group in groups:
        table = catalog.score_family(c, group, groups, facts)
        places = [(names[j], row) for j in group for row in spread_rows(len(facts[j]["mass"]), MOST)]
        table["simulation"], table["row"] = zip(*places)
        tables.append(table)
    pd.concat(tables).to_csv(given.cache / f"catalogue-{given.view}.csv", index=False)


def plain(real: list, made: list, level: float) -> float:
    "The reach without the correction for few families, at 68 % alone."
    if level > 0.68 or not made:
        return REACH(real, made, level)
    return group_quantile([galaxy_intervals.even(real), galaxy_intervals.even(made)], level)


def real_alone(real: list, made: list, level: float) -> float:
    "The reach from the real families alone."
    return REACH(real, [], level)


REACH = galaxy_intervals.reach_with
RULES = {"as it is": REACH, "68 % without the correction": plain, "without random libraries": real_alone}


def score_rules(trials: list, view: str) -> pd.DataFrame:
    "What intervals of several rules hold; `trials`: of each family its own, the others' and random ones."
    rows = []
    for name, rule in RULES.items():
        galaxy_intervals.reach_with = rule
        parts = [galaxy_intervals.score_intervals(*three) for three in trials]
        table = galaxy_intervals.coverage_table(pd.concat(parts, ignore_index=True))
        row = {"view": view, "rule": name}
        for level in LEVELS:
            row |= {f"{k}_{level}": table[f"{k}_{level}"].iloc[0] for k in ("coverage", "width")}
            row[f"worst_{level}"] = table[table.by == "family"][f"coverage_{level}"].min()
        rows.append(row)
    galaxy_intervals.reach_with = REACH
    return pd.DataFrame(rows)


def rules(given):
    "What the intervals would hold with other rules."
    c, _ = evidence(given.folder, given.view)
    families, trials = catalog.simulation_families(c), []
    for mine in catalog.family_groups(families):
        others = [g for g in catalog.family_groups(families) if g != mine]
        held = [hold_galaxies(c.edge, g[0], families, also=mine)[0] for g in others]
        trials.append((hold_galaxies(c.edge, mine[0], families)[0], held, catalog.library_trials(c, mine)))
    score_rules(trials, given.view).to_csv(given.cache / f"rules-{given.view}.csv", index=False)


def simulations_of(given):
    "The simulations of the run, as they lie on disk."
    made = read_sealed(given.folder / "run.json", must=False)["simulations"]
    return recorded_simulations(given.folder, load_settings(given.folder), given.view, made)


def samples(given, part: str, n: int | None = None) -> dict:  # simulation -> Sample
    "Galaxies of each simulation: models of a library, or those that are asked about."
    simulations, found = simulations_of(given), {}
    for name in simulations.names:
        whole = load_part(simulations, name, part)
        rows = slice(0, n) if n else asked_rows(len(whole))
        found[name] = whole.take(rows)
    return found


def joined(parts: list, every: int = 1) -> Sample:
    "Several samples as one, with each `every`th wavelength."
    first, cut = parts[0], slice(None, None, every)
    flux = np.concatenate([p.flux[:, cut] for p in parts]).astype(float)
    known = {PROPERTY: np.concatenate([p.properties[PROPERTY] for p in parts])}
    err = None if first.flux_err is None else np.concatenate([p.flux_err[:, cut] for p in parts])
    z = None if first.redshift is None else np.concatenate([p.redshift for p in parts])
    return Sample("joined", flux, first.wave[cut], first.bands, err, z, properties=known)


def with_errors(sample: Sample) -> Sample:
    "Errors of 1 % where the light has none."
    if sample.flux_err is not None:
        return sample
    return Sample(
        "joined", sample.flux, sample.wave, flux_err=0.01 * sample.flux, properties=sample.properties
    )


def family_of(given) -> pd.Series:
    "The stellar library of each simulation."
    table = pd.read_csv(given.folder / "simulations.csv")
    return table.set_index("name").ssp


def library(given):
    "The fit with the simulations of the other families."
    models, asked, family = samples(given, "reference", MODELS), samples(given, "test"), family_of(given)
    every, rows = EVERY if given.view == "spectra" else 1, []
    pixels = 4.0 if given.view == "spectra" else 1.0
    for name, sample in asked.items():
        others = [models[n] for n in models if family[n] != family[name]]
        seen = with_errors(joined([sample], every))
        fit = fit_library(seen, joined(others, every), pixels_per_error=pixels)
        middle, sd = fit[PROPERTY].to_numpy(), np.maximum(fit[f"{PROPERTY}_std"].to_numpy(), 0.01)
        half = {level: times * sd for level, times in NORMAL.items()}
        rows.append(interval_table("library fit", name, family[name], sample, middle, half, half))
    pd.concat(rows).to_csv(given.cache / f"library-{given.view}.csv", index=False)


def interval_table(method, name, family, sample, value, below, above, rows=None) -> pd.DataFrame:
    "The intervals of one simulation's galaxies as rows."
    first = {"method": method, "simulation": name, "family": family}
    table = pd.DataFrame({"row": np.arange(len(sample)) if rows is None else rows, "value": value})
    table["truth"] = np.asarray(sample.properties[PROPERTY], float)
    for level in LEVELS:
        table[f"lower_{level}"], table[f"upper_{level}"] = value - below[level], value + above[level]
    return table.assign(**first)


def bagpipes(given):
    "BAGPIPES, the first galaxies of each simulation; every fit is stored, and a second call goes on."
    asked, family, rows = samples(given, "test"), family_of(given), []
    names = sorted(asked, key=lambda n: (list(family[family == family[n]].index).index(n), n))
    settings = load_settings(given.folder)
    for name in names[: given.simulations]:
        sample = with_errors(asked[name].take(slice(0, given.galaxies)))
        if sample.redshift is None:
            z = np.full(len(sample), settings.suite.redshift)
            sample = Sample("joined", sample.flux, sample.wave, (), sample.flux_err, z, (), sample.properties)
        folder = given.cache / f"bagpipes-{given.view}" / name
        fit = fit_bagpipes(sample, folder, jobs=1, budget_s=given.budget, progress=False)
        value = fit[PROPERTY].to_numpy()
        below = {k: value - fit[PROPERTY + low].to_numpy() for k, (low, _) in LEVELS.items()}
        above = {k: fit[PROPERTY + high].to_numpy() - value for k, (_, high) in LEVELS.items()}
        rows.append(interval_table("BAGPIPES", name, family[name], sample, value, below, above))
        pd.concat(rows).to_csv(given.cache / f"bagpipes-{given.view}.csv", index=False)
        print(name, fit[[PROPERTY, "cpu_seconds", "status"]].round(2).to_string(header=False), flush=True)


def tables(given):
    "All intervals of both views, one row a galaxy and method."
    parts = []
    for view in ("spectra", "photometry"):
        whole = pd.read_csv(given.cache / f"catalogue-{view}.csv")
        order = whole.sort_values("row").groupby("simulation").cumcount().reindex(whole.index)
        place = {r: k for k, r in enumerate(spread_rows(order.max() + 1, ASKED))}
        mine = whole[order.isin(place)].assign(method="catalogue", row=order.map(place))
        mine["truth"] = mine.value - mine.miss
        for level in LEVELS:
            half = mine[f"width_{level}"] / 2
            mine[f"lower_{level}"], mine[f"upper_{level}"] = mine.value - half, mine.value + half
        paths = [given.cache / f"{method}-{view}.csv" for method in ("library", "bagpipes")]
        found = [mine, *(pd.read_csv(path) for path in paths if path.exists())]
        parts += [part.assign(view=view) for part in found]
    columns = ["view", "method", "family", "simulation", "row", "truth", "value"]
    columns += [f"{end}_{level}" for level in LEVELS for end in ("lower", "upper")]
    table = pd.concat(parts)[columns].dropna().sort_values(columns[:5])
    TABLE.parent.mkdir(exist_ok=True)
    table.to_csv(TABLE, index=False, float_format="%.4f", lineterminator="\n")
    tried = pd.concat(pd.read_csv(given.cache / f"rules-{view}.csv") for view in ("spectra", "photometry"))
    tried.to_csv(TABLE.with_name("rules.csv"), index=False, float_format="%.4f", lineterminator="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="of a finished run of the default suite")
    parser.add_argument("part", choices=["catalogue", "library", "bagpipes", "rules", "tables"])
    parser.add_argument("--view", default="spectra", choices=["spectra", "photometry"])
    parser.add_argument("--galaxies", type=int, default=1, help="bagpipes: of each simulation")
    parser.add_argument(
        "--simulations", type=int, default=20, help="bagpipes: how many, by turns of libraries"
    )
    parser.add_argument("--budget", type=float, default=1e12, help="seconds after which no galaxy is started")
    parser.add_argument("--cache", type=Path, default=Path("results/catalogue"))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    globals()[given.part](given)


if __name__ == "__main__":
    main()
