"""How well errors are predicted: the laws of a run compared, and on suites that nothing was tuned on.

    # a table of every law and property of a finished run
    python benchmarks/bench_laws.py results/default
    # three suites drawn at random, each run from scratch
    python benchmarks/bench_laws.py --unseen 3 --galaxies 1300

An unseen suite takes its libraries, dust laws, histories, enrichment and amounts independently at random
(no balanced design, wider ranges than the default suite), so that some simulations are nearly the same and
others far from all.
"""

import argparse
import importlib.util
import tempfile
import time
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
    rng, suite = np.random.default_rng(seed), design.default_suite()
    suite |= {
        "name": f"unseen-{seed}",
        "about": f"Everything drawn at random, seed {seed}",
        "simulations": [],
    }
    for n in range(n_sim):
        v = {k: round(float(rng.uniform(*WIDER.get(k, span))), 2) for k, span in design.RANGES.items()}
        i, j, kind = int(rng.integers(4)), int(rng.integers(5)), design.HISTORIES[rng.integers(4)]
        one = design.simulation(i, j, v)
        one["history"], one["name"] = (
            design.history(kind, v),
            f"u{n:02d}-{one['name'].rsplit('-', 1)[0]}-{kind}",
        )
        one["metallicity"]["enrichment"] = str(rng.choice(["constant", "mass"]))
        suite["simulations"].append(one)
    return suite


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
            print(f"unseen suite {seed}: {time.perf_counter() - start:.0f} s, forecasts for {results}")
    table = pd.concat(found, ignore_index=True)
    if options.csv:
        table.to_csv(options.csv, index=False)
    pd.set_option("display.width", 250)
    print(table.round(3).to_string(index=False))


if __name__ == "__main__":
    main()
