"""CPU seconds of each stage of a run as a function of the number of simulations, and their exponents.

    python benchmarks/bench_pool.py 10 20 40 --out pool.csv    # 100 galaxies each, one core; some minutes
    python benchmarks/bench_pool.py --sampled 60               # what fitting laws to sampled pairs costs

The suite is that of `pool_suite.py`: tables in five bands, parameters that vary continuously, no families.
Stages are timed in CPU seconds of one process, so that a busy machine does not matter much. Beside the CSV
file lies a figure of the same name.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from pool_suite import write_suite

CODE = (
    "import sys, time; from types import SimpleNamespace; import gencast.core.progress as progress; "
    "progress.time = SimpleNamespace(perf_counter=time.process_time); from gencast.pipeline.job import run; "
    "run(sys.argv[1], out=sys.argv[2], notebooks=False, jobs=1, n_trees=20)"
)


def stages_of(n: int, n_galaxies: int, folder: Path) -> pd.DataFrame:  # simulations, stage, cpu_s
    "One run in a process of its own."
    path = write_suite(folder, n, n_galaxies)
    subprocess.run([sys.executable, "-c", CODE, str(path), str(folder / "out")], check=True)
    seconds = json.loads((folder / "out" / "run.json").read_text())["stages"]
    rows = [(n, name.split(": ")[-1], value) for name, value in seconds.items()]
    return pd.DataFrame(rows, columns=["simulations", "stage", "cpu_s"])


def exponents(table: pd.DataFrame) -> pd.Series:  # of each stage, the slope between the two largest runs
    "How fast each stage grows: seconds go as this power of the number of simulations."
    each = table.pivot_table(index="simulations", columns="stage", values="cpu_s", aggfunc="sum")
    before, last = each.iloc[-2], each.iloc[-1]
    return np.log(last / before) / np.log(each.index[-1] / each.index[-2])


def draw(table: pd.DataFrame, path: Path) -> None:
    "The stages that take the longest, and all together."
    import matplotlib.pyplot as plt

    each = table.pivot_table(index="simulations", columns="stage", values="cpu_s", aggfunc="sum")
    axes = plt.figure(figsize=(5, 3.6)).add_subplot()
    axes.loglog(each.index, each.sum(axis=1), "ko-", label="together")
    for stage in each.iloc[-1].sort_values(ascending=False).index[:7]:
        axes.loglog(each.index, each[stage], ".-", label=stage)
    axes.set(xlabel="simulations", ylabel="CPU seconds")
    axes.legend(fontsize=7)
    axes.figure.savefig(path, dpi=150, bbox_inches="tight")


def compare_sampled(n: int) -> None:
    "Scores of laws that are fitted to all pairs, and to those that `training_set` takes."
    from gencast.regression import signal_table
    from gencast.regression.protocol import heldout_predictions, score_table

    limits = {"all pairs": 10**9, "sampled": signal_table.MOST_PAIRS}
    for law in ("ridge", "mixed", "gaussian_process", "stack"):
        for what, signal_table.MOST_PAIRS in limits.items():
            start = time.process_time()
            found = heldout_predictions(signal_table.toy_signals(n, seed=3), law, ())
            s = score_table(found, ()).iloc[0]
            cpu = time.process_time() - start
            print(
                f"{law:<17} {what:<10} R2 {s.r2:.4f}  miss {s.mae_dex:.4f} dex  {cpu:.1f} CPU s", flush=True
            )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("simulations", nargs="*", type=int, default=[10, 20, 40])
    parser.add_argument("--galaxies", type=int, default=100, help="of each simulation")
    parser.add_argument("--out", type=Path, default=Path("pool.csv"), help="CSV file")
    parser.add_argument("--sampled", type=int, help="compare laws on so many made-up simulations instead")
    args = parser.parse_args()
    if args.sampled:
        return compare_sampled(args.sampled)
    found = []
    for n in args.simulations:
        with tempfile.TemporaryDirectory() as folder:
            found.append(stages_of(n, args.galaxies, Path(folder)))
        table = pd.concat(found)
        table.to_csv(args.out, index=False, float_format="%.3f")
    if len(args.simulations) > 1:
        print(exponents(table).sort_values(ascending=False).round(2).to_string())
        draw(table, args.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
