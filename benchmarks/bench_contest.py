"""Which distance predicts the error best: every distance in every choice of features, on a finished run.

    gencast run --properties all                              # first, if there is no run yet
    python benchmarks/bench_contest.py results/default        # a quarter of an hour on one core
    python benchmarks/bench_contest.py results/default --galaxies 300 --out results/contest-small

Writes board.csv, duels.csv, reasons.csv and pairs.csv, each with its provenance in the first line. Without
`--out` they replace those in nbs/studies/contest_tables, which nbs/studies/which_distance.ipynb shows. What
was measured is kept in `--cache` (results/contest-cache), so that a benchmark that was stopped resumes.
Needs POT (`pip install POT`).
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import studies  # noqa: F401  puts nbs/studies on the path
from distance_contest import MOST_CLASSIFIED, OPTIONS, load_contest, measure_contest
from distance_verdict import (
    CONTEST_FOLDER,
    board_table,
    describe_winner,
    duel_table,
    reason_table,
    save_verdict,
)

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
    contest = load_contest(given.run, n_galaxies=given.galaxies)
    distances = measure_contest(contest, given.cache, n_groups=given.groups, jobs=given.jobs)
    board, scored = board_table(distances, contest.log_mse)
    duels = duel_table(board, scored, contest.log_mse)
    reasons, pairs = reason_table(contest, distances)
    made = json.loads((given.run / "run.json").read_text(encoding="utf-8"))
    record = {
        "suite": contest.settings.suite.name,
        "seed": contest.settings.seed,
        "versions": made["versions"],
        "simulations": len(contest.names),
        "galaxies": len(contest.galaxies[0]),
        "selection": len(contest.selection[0]),
        "groups": given.groups,
        "checksum": contest.checksum,
        "subsets": OPTIONS | {"classifier_auc_galaxies": MOST_CLASSIFIED},
    }
    save_verdict(given.out, {"board": board, "duels": duels, "reasons": reasons, "pairs": pairs}, record)
    for p in contest.log_mse:
        print(describe_winner(board, duels, p), "\n")
    print(f"{time.process_time() - start:.0f} CPU seconds in this process; tables in {given.out}")


if __name__ == "__main__":
    main()
