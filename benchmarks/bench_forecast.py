"""How fast a finished run forecasts for other galaxies, from what it keeps and with all steps of a run.

    gencast run                                              # first, if there is no run yet
    python benchmarks/bench_forecast.py results/default      # ten minutes on two idle cores
    python benchmarks/bench_forecast.py results/default --galaxies 1 1000 --skip-anew

Galaxies of one simulation are given noise (5 % in each pixel) and asked about: once in a process of its own,
start and imports included, and again in the same process, as a notebook does with `results.forecast`. The
steps of a run are taken in a copy of the folder, because they replace what it remembers. Printed are wall and
CPU seconds, the ratio of all steps to the first question, and the largest relative difference of the tables.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.sample import load_sample, save_sample
from gencast.pipeline.configure import load_settings
from gencast.pipeline.parts import sample_path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path, help="folder of a finished run")
parser.add_argument("--galaxies", type=int, nargs="+", default=[1, 1000])
parser.add_argument("--views", nargs="+", default=None, help="default: those of the run")
parser.add_argument("--jobs", type=int, default=2)
parser.add_argument("--skip-anew", action="store_true", help="leave the steps of a run out")

ASK = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from gencast.core.progress import Progress
from gencast.core.sample import load_sample
from gencast.pipeline import observed
folder, sample, out, jobs, anew = Path(sys.argv[1]), load_sample(sys.argv[2]), *sys.argv[3:6]
settings = observed.load_settings(folder)
times = []
for _ in range(1 if anew == "anew" else 2):
    used = sum(resource.getrusage(w).ru_utime for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    if anew == "anew":
        p = Progress(int(jobs), False)
        tables = observed.forecast_anew(folder, settings, sample, settings.properties, p)
    else:
        tables = observed.forecast(folder, sample, jobs=int(jobs), progress=False)
    now = sum(resource.getrusage(w).ru_utime for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    times.append((time.perf_counter() - start, now - (used if times else 0)))
    start = time.perf_counter()
for name, table in zip(("forecasts", "galaxies"), tables):
    table.to_csv(f"{out}-{name}.csv", index=False)
print(json.dumps(times))
"""


def noisy_galaxies(folder: Path, view: str, n: int):
    "Galaxies of the first simulation, with 5 % of noise; in bands as they are."
    settings = load_settings(folder)
    sample = load_sample(sample_path(folder, view, settings.suite.names[0]))
    sample = sample.take(np.arange(n))
    flux = np.asarray(sample.flux, float)
    if view == "spectra":
        flux = flux * (1 + 0.05 * np.random.default_rng(0).normal(size=flux.shape))
    ids = tuple(f"g{i}" for i in range(n))
    return replace(sample, name="asked", flux=flux, flux_err=0.05 * flux, ids=ids, properties={}, meta={})


def ask(folder: Path, sample: Path, out: Path, jobs: int, how: str) -> list:  # of (wall, CPU) seconds
    "Times of a question in a process of its own, and of the same question again."
    command = [sys.executable, "-c", ASK, *map(str, (folder, sample, out, jobs, how))]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(said.splitlines()[-1])


def largest_difference(a: Path, b: Path) -> float:
    "The largest relative difference of the numbers in two pairs of tables."
    worst = 0.0
    for name in ("forecasts", "galaxies"):
        one, other = (pd.read_csv(f"{p}-{name}.csv").select_dtypes("number") for p in (a, b))
        with np.errstate(invalid="ignore", divide="ignore"):
            gap = np.abs(one / other - 1).to_numpy()
        worst = max(worst, np.nanmax(np.where(np.isfinite(gap), gap, 0)))
    return worst


def main():
    "Print a table of times."
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        for view in args.views or load_settings(args.run).views:
            for n in args.galaxies:
                sample = save_sample(noisy_galaxies(args.run, view, n), scratch / f"{view}-{n}")
                first, again = ask(args.run, sample, scratch / "kept", args.jobs, "kept")
                row = {"view": view, "galaxies": n, "first": first[0], "CPU": first[1], "again": again[0]}
                if not args.skip_anew:
                    copy = scratch / "copy"
                    shutil.copytree(args.run, copy, dirs_exist_ok=True)
                    anew = ask(copy, sample, scratch / "anew", args.jobs, "anew")[0]
                    row |= {"all steps": anew[0], "all steps, CPU": anew[1], "ratio": anew[0] / first[0]}
                    row["difference"] = largest_difference(scratch / "kept", scratch / "anew")
                rows.append(row)
                print(pd.DataFrame(rows).to_string(index=False, float_format="%.3g"), flush=True)


if __name__ == "__main__":
    main()
