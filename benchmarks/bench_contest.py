"""Which distance tells the error best: every distance in every choice of features, on a finished run.

    gencast run --properties all                              # first, if there is no run yet
    python benchmarks/bench_contest.py results/default        # a quarter of an hour on one core
    python benchmarks/bench_contest.py results/default --galaxies 300 --out results/contest-small

Writes board.csv, duels.csv, reasons.csv and pairs.csv, each with its provenance in the first line. Without
`--out` they
replace those that come with gencast (gencast/data/contest), which nbs/studies/30_answer.ipynb shows. What was
measured is kept in
`--cache` (results/contest-cache): a benchmark that was stopped goes on where it was. Needs POT (`pip install
POT`).
"""

import argparse
import json
import time
import warnings
from pathlib import Path

from answer import CONTEST_FOLDER, board_table, describe_winner, duel_table, reason_table, save_verdict
from contest import MOST_CLASSIFIED, OPTIONS, hold_contest, load_entrants

from gencast.distances.moments import ShrinkageWarning


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument(
        "--galaxies", type=int, default=1000, help="of each simulation, between which distances are measured"
    )
    parser.add_argument(
        "--groups",
        type=int,
        default=5,
        help="groups of simulations held out together from the choice of features",
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--out", type=Path, default=CONTEST_FOLDER)
    parser.add_argument("--cache", type=Path, default=Path("results/contest-cache"))
    given = parser.parse_args()
    warnings.simplefilter(
        "ignore", ShrinkageWarning
    )  # ten galaxies to a feature, collinear ones: shrunk where it must be
    start = time.process_time()
    entrants = load_entrants(given.run, n_galaxies=given.galaxies)
    distances = hold_contest(entrants, given.cache, n_groups=given.groups, jobs=given.jobs)
    board, judged = board_table(distances, entrants.log_mse)
    duels = duel_table(board, judged, entrants.log_mse)
    reasons, pairs = reason_table(entrants, distances)
    made = json.loads((given.run / "run.json").read_text(encoding="utf-8"))
    record = {
        "suite": entrants.settings.suite.name,
        "seed": entrants.settings.seed,
        "versions": made["versions"],
        "simulations": len(entrants.names),
        "galaxies": len(entrants.galaxies[0]),
        "selection": len(entrants.selection[0]),
        "groups": given.groups,
        "checksum": entrants.checksum,
        "subsets": OPTIONS | {"classifier_auc_galaxies": MOST_CLASSIFIED},
    }
    save_verdict(given.out, {"board": board, "duels": duels, "reasons": reasons, "pairs": pairs}, record)
    for p in entrants.log_mse:
        print(describe_winner(board, duels, p), "\n")
    print(f"{time.process_time() - start:.0f} CPU seconds in this process; tables in {given.out}")


if __name__ == "__main__":
    main()
