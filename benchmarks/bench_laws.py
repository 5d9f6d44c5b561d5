"""How well errors are predicted: the laws of a run compared, and on suites that nothing was tuned on.

    # a table of every law and property of a finished run
    python benchmarks/bench_laws.py results/default
    # three suites drawn at random, each run from scratch
    python benchmarks/bench_laws.py --unseen 3 --galaxies 1300
    # the law of a finished run on stellar libraries that are in no suite (GENCAST_SSP names their folder)
    python benchmarks/bench_laws.py results/default --libraries emiles,miuscat,bc03_miles

An unseen suite takes its libraries, dust laws, histories, enrichment and amounts independently at random
(no balanced design, wider ranges than the default suite), so that some simulations are nearly the same and
others far from all.
"""

import argparse
import importlib.util
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

ROOT = Path(__file__).parent.parent
WIDER = {
    "a_v": (0.05, 1.6),
    "birth_cloud": (0.0, 2.5),
    "ssfr": (-10.6, -9.5),
    "quench_mass": (10.0, 11.4),
    "z_offset": (-0.3, 0.35),
    "z_scatter": (0.05, 0.3),
    "knee": (10.6, 11.0),
    "minimum": (7.5, 9.0),
    "sampling": (0.0, 1.2),
}


def law_table(results) -> pd.DataFrame:
    "One row a view, property, law and protocol; `fraction` is the MAE in units of that of the paper's line."
    rows = results.scores[(results.scores.target == "all")].copy()
    paper = (
        rows[(rows.law == "pooled_line") & (rows.distance == "mean_euclidean")]
        .set_index(["view", "property"])
        .mae_dex
    )
    rows["fraction"] = rows.mae_dex / [paper[v, p] for v, p in zip(rows["view"], rows["property"])]
    columns = [
        "view",
        "property",
        "law",
        "distance",
        "protocol",
        "family",
        "r2",
        "mae_dex",
        "fraction",
        "rank_correlation",
        "coverage_50",
        "coverage_68",
        "coverage_90",
        "width_90",
        "direction_sign",
        "direction_mae",
    ]
    return rows[columns].reset_index(drop=True)


def chosen_source(results) -> pd.DataFrame:
    """What choosing the source by the law costs: mean log10 MSE of the source chosen, of a random one, and of
    the best one.
    """
    made = results.run["parameters"]
    rows = results.heldout[
        (results.heldout.law == made["law"]) & (results.heldout.distance == made["distance"])
    ]

    def pick(column):
        return (
            rows.loc[rows.groupby(["view", "property", "target"])[column].idxmin()]
            .groupby(["view", "property"])
            .log_mse.mean()
        )

    return pd.DataFrame(
        {
            "chosen": pick("predicted"),
            "random": rows.groupby(["view", "property"]).log_mse.mean(),
            "best": pick("log_mse"),
        }
    )


def unseen_suite(seed: int, n_sim: int = 20) -> dict:
    "A suite with everything drawn at random."
    spec = importlib.util.spec_from_file_location("design", ROOT / "scripts" / "build_default_suite.py")
    design = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(design)
    rng, suite = np.random.default_rng(seed), dict(design.SUITES[0])
    libraries = [*design.LIBRARIES, design.SIXTH]
    suite |= {
        "name": f"unseen-{seed}",
        "about": f"Everything drawn at random, seed {seed}",
        "simulations": [],
    }
    for n in range(n_sim):
        v = {k: round(float(rng.uniform(*WIDER.get(k, span))), 2) for k, span in design.RANGES.items()}
        library, kind = libraries[rng.integers(len(libraries))], design.HISTORIES[rng.integers(4)]
        one = design.simulation(library, *map(int, rng.integers(5, size=2)), n, v)
        one["history"], one["name"] = (
            design.history(kind, v),
            f"u{n:02d}-{one['name'].rsplit('-', 1)[0]}-{kind}",
        )
        one["metallicity"]["enrichment"] = str(rng.choice(["constant", "mass"]))
        suite["simulations"].append(one)
    return suite


def family_scores(results) -> pd.DataFrame:
    """With a stellar library held out: the law that forecasts, over all pairs, with the least coverage of the
    90 % interval among the libraries, and the width.
    """
    made, rows = results.run["parameters"], results.scores
    rows = rows[(rows.protocol == "leave-family-out") & (rows.family == "ssp") & (rows.law == made["law"])]
    library = {s["name"]: s["ssp"] for s in results.run["suite"]["simulations"] if "ssp" in s}
    each = rows[rows.target != "all"].assign(library=lambda t: t.target.map(library))
    each = each.assign(held=each.coverage_90 * each.n).groupby(["view", "property", "library"])[["held", "n"]]
    covered = each.sum().pipe(lambda t: t.held / t.n).unstack()
    keys = ["view", "property"]
    columns = [*keys, "r2", "mae_dex", "rank_correlation", "coverage_90", "width_90"]
    return rows[rows.target == "all"][columns].set_index(keys).join(covered.add_prefix("covered_"))


def other_galaxies(settings, view: str, given, names: list, n: int) -> dict:  # name -> Sample
    "Four simulations of each library that is in no suite, with recipes of the suite, seen as the run's are."
    from gencast.data.observing import observe_spectra
    from gencast.data.photometry import observe_photometry
    from gencast.synthesis.simulations import simulate

    suite, found = settings.suite, {}
    for k, library in enumerate(names):
        for q in range(4):
            recipe = suite.simulations[(5 * q + 3 * k) % len(suite.simulations)]
            recipe = recipe | {"ssp": library, "name": f"{library}-{q}"}
            sample = simulate(recipe, suite, settings.seed + 1, n, view)
            if view == "photometry":
                sample = observe_photometry(sample, given, settings.seed)
            elif given is not None:
                sample = observe_spectra(sample, given, settings.seed, in_place=True)
            found[recipe["name"]] = sample
    return found


def library_scores(folder, names: list, n_galaxies: int) -> pd.DataFrame:
    "The law of a finished run on libraries that no choice has seen; its steps are read back."
    from gencast.core.cache import call_key, write_arrays
    from gencast.core.progress import Progress
    from gencast.features.table import feature_table
    from gencast.models.timebins import label_matrix
    from gencast.pipeline.configure import load_settings
    from gencast.pipeline.consensus import consensus_of, trial_neighbours
    from gencast.pipeline.evidence import gather_property, gather_view, join_trials
    from gencast.pipeline.job import find_surveys, make_simulations
    from gencast.pipeline.laws import law_signals
    from gencast.pipeline.settings import LawSettings, ModelSettings, SelectionSettings
    from gencast.pipeline.surveys import lacking_noise, noise_survey, survey_noise
    from gencast.pipeline.training import fit_source, kept_model, make_learner, predict_trials
    from gencast.pipeline.trial_targets import TrialSets, batch_path
    from gencast.regression.shifts import shift_trials
    from gencast.regression.trial_targets import make_stock
    from gencast.regression.unseen import predict_unseen

    settings, progress, rows = load_settings(folder), Progress(2, show=False), []
    law = settings.part(LawSettings).law
    for view, survey in find_surveys(settings).items():
        given = noise_survey(settings.suite, view, survey, settings.observed)
        simulations = make_simulations(settings, Path(folder), view, given, progress)
        shared = gather_view(settings.suite, simulations, survey, given, settings.properties, progress)
        made = other_galaxies(settings, view, given, names, n_galaxies)
        lacking = lacking_noise(survey, given)
        learner = make_learner(settings.part(ModelSettings), survey_noise(survey))
        with tempfile.TemporaryDirectory() as scratch:
            sets = TrialSets(Path(scratch), view, tuple(made), tuple(() for _ in made), ("others",))
            values = [feature_table(s).values.astype(np.float32) for s in made.values()]
            labels = [label_matrix(s, settings.properties) for s in made.values()]
            sizes = np.array([len(x) for x in values])
            arrays = {"values": np.concatenate(values), "labels": np.concatenate(labels), "sizes": sizes}
            write_arrays(batch_path(sets.cache, view, 0), arrays)
            units = tuple(map(str, shared.units))
            call = (simulations, settings.properties, (), lacking, values[0][:0], False, units, sets)
            near = [
                trial_neighbours(simulations, n, settings.properties, lacking, sets)
                for n in settings.suite.names
            ]
            others = replace(shared, trials=sets, trial_neighbours=near, consensus={(): consensus_of(*call)})
            for p in settings.properties:
                c = gather_property(shared, p, settings.part(SelectionSettings), learner, progress)
                fits = []
                for name in settings.suite.names:
                    key = call_key(fit_source, simulations, name, p, learner)
                    fits.append(predict_trials(kept_model(simulations, name, p, learner, key), sets))
                targets = shift_trials(join_trials(others, p, fits, labels), c.trials.shifts)
                table = law_signals(c, law)
                columns = [c.table.signals.index(s) for s in table.signals]
                table = replace(table, values=c.edge_values[..., columns])
                stock = make_stock(c.edge, targets, [()], table.signals)
                found = predict_unseen(table, law, shared.units, stock, c.stock, seed=settings.seed)
                rows.append(found.assign(view=view, property=p))
    return pd.concat(rows)


def describe_libraries(found: pd.DataFrame) -> pd.DataFrame:
    "Scores of `library_scores` by view and property, for all of the libraries and for each."
    from gencast.regression.protocol import score_table

    found = found.assign(library=found.target.str.rsplit("-", n=1).str[0])
    parts = [("all", found), *found.groupby("library")]
    rows = []
    for library, part in parts:
        for (view, name), each in part.groupby(["view", "property"], sort=False):
            scores = score_table(each, levels=(0.9,)).iloc[0]
            rows.append({"view": view, "property": name, "library": library} | scores.to_dict())
    return pd.DataFrame(rows).drop(columns=["target", "direction_sign", "direction_mae"])


def main():
    from gencast.pipeline.job import run
    from gencast.report.results import load_results

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", help="a finished run")
    parser.add_argument("--unseen", type=int, default=0, help="how many random suites to run")
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--galaxies", type=int, default=1300)
    parser.add_argument("--properties", default="log_mstar,log_age,log_zmet,a_v,log_sfr")
    parser.add_argument("--views", default="spectra,photometry")
    parser.add_argument(
        "--libraries", default="", help="stellar libraries that are in no suite, for a finished run"
    )
    parser.add_argument("--csv", help="write the table here too")
    options = parser.parse_args()
    found = []
    if options.folder:
        results = load_results(options.folder)
        found.append(law_table(results))
        print(
            "\nMean log10 MSE of the source that the law chooses, of a random one, of the best one:\n",
            chosen_source(results).round(2).to_string(),
        )
        print("\nA stellar library held out:\n", family_scores(results).round(3).to_string())
        if options.libraries:
            others = library_scores(options.folder, options.libraries.split(","), 500)
            print("\nLibraries that are in no suite:\n", describe_libraries(others).round(3).to_string())
    for seed in range(options.first_seed, options.first_seed + options.unseen):
        with tempfile.TemporaryDirectory() as scratch:
            path, start = Path(scratch) / "suite.yaml", time.perf_counter()
            path.write_text(yaml.safe_dump(unseen_suite(seed)))
            results = run(
                path,
                out=Path(scratch) / "run",
                notebooks=False,
                progress=False,
                n_galaxies=options.galaxies,
                properties=tuple(options.properties.split(",")),
                views=tuple(options.views.split(",")),
            )
            found.append(law_table(results).assign(suite=results.run["suite"]["name"]))
            print("A stellar library held out:\n", family_scores(results).round(3).to_string())
            print(f"unseen suite {seed}: {time.perf_counter() - start:.0f} s, forecasts for {results}")
    table = pd.concat(found, ignore_index=True)
    if options.csv:
        table.to_csv(options.csv, index=False)
    pd.set_option("display.width", 250)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
