"""Time and memory of a run as a function of the number of galaxies, and what follows for larger ones.

    # 20 simulations of 5,000, 10,000 and 20,000 galaxies; about 20 minutes on two cores
    python benchmarks/bench_scale.py
    python benchmarks/bench_scale.py 2000 4000 --folder /scratch/scale
    # keep the results, to look at them
    python benchmarks/bench_scale.py 20000 --keep
    # parts of a tenth of the size: is memory flat beyond them?
    python benchmarks/bench_scale.py 3000 6000 12000 --tenth

Each run is `gencast run --galaxies N --no-notebooks` with spectra and one property, in its own process.
Memory is what the main process and its workers hold besides mapped files (resident minus shared, as psutil
reports on Linux), sampled four times a second: pages of a mapped file belong to the system's cache, which
frees them when it needs the room. A straight line through the peaks gives the slope.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

TENTH = (
    "from gencast.pipeline import parts, simulate; parts.MOST_TRAINED, parts.MOST_TESTED = 2000, 1000; "
    "simulate.MOST_IN_MEMORY = 1000; "
)
CODE = (
    "import sys; from gencast.pipeline.job import run; r = run('default', out=sys.argv[1], "
    "notebooks=False, progress=False, views=('spectra',), n_galaxies=int(sys.argv[2]), "
    "jobs=int(sys.argv[3]))"
)


def held(process: psutil.Process) -> float:
    "Memory of a process besides mapped files, GB."
    try:
        memory = process.memory_info()
        return (memory.rss - memory.shared) / 1e9
    except psutil.NoSuchProcess:
        return 0.0


def measure(n: int, folder: Path, jobs: int, tenth: bool) -> dict:
    """One run: wall and CPU seconds, peaks of the main process, of the largest worker, and of all together
    (GB), disk (GB).
    """
    peaks, start = np.zeros(3), time.perf_counter()
    run = psutil.Popen(
        [sys.executable, "-c", (TENTH if tenth else "") + CODE, str(folder), str(n), str(jobs)]
    )
    done = threading.Event()

    def watch():
        while not done.wait(0.25):
            try:
                sizes = [held(p) for p in (run, *run.children(recursive=True))]
            except psutil.NoSuchProcess:  # it has just ended
                return
            peaks[:] = np.maximum(peaks, [sizes[0], max(sizes[1:], default=0), sum(sizes)])

    watcher = threading.Thread(target=watch)
    watcher.start()
    before = os.times()
    code = run.wait()
    after, wall = os.times(), time.perf_counter() - start
    done.set()
    watcher.join()
    if code:
        raise SystemExit(f"the run of {n} galaxies ended with {code}")
    stages = json.loads((folder / "run.json").read_text())["stages"]
    disk = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / 1e9
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {
        "galaxies": n,
        "wall": round(wall),
        "cpu": round(cpu),
        "main_gb": round(peaks[0], 2),
        "worker_gb": round(peaks[1], 2),
        "all_gb": round(peaks[2], 2),
        "disk_gb": round(disk, 2),
        "stages": {k: round(v, 1) for k, v in sorted(stages.items(), key=lambda kv: -kv[1])[:6]},
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "galaxies",
        nargs="*",
        type=int,
        default=[5000, 10000, 20000],
        help="numbers of galaxies of each simulation",
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the results go")
    parser.add_argument("--keep", action="store_true", help="keep the results")
    parser.add_argument(
        "--tenth",
        action="store_true",
        help="no more than 2,000 galaxies train and 1,000 test, instead of ten times as many; in one process",
    )
    args = parser.parse_args()
    if args.tenth:
        args.jobs = 1  # other processes would not know the bounds
    base = Path(args.folder or tempfile.mkdtemp())
    rows = []
    for n in args.galaxies:
        folder = base / str(n)
        rows.append(measure(n, folder, args.jobs, args.tenth))
        print(json.dumps(rows[-1]), flush=True)
        if not args.keep:
            shutil.rmtree(folder)
    if len(rows) > 1:
        x = np.array([r["galaxies"] for r in rows]) / 1000
        for what, unit in (
            ("worker_gb", "GB a worker"),
            ("main_gb", "GB in the main process"),
            ("wall", "s"),
            ("cpu", "CPU s"),
            ("disk_gb", "GB on disk"),
        ):
            slope, zero = np.polyfit(x, [r[what] for r in rows], 1)
            last, before = rows[-1], rows[-2]
            step = (last[what] - before[what]) / (last["galaxies"] - before["galaxies"]) * 1000
            print(
                f"{what:<10} {zero:8.2f} + {slope:8.4f} per 1,000 galaxies; last step {step:8.4f}; line at "
                f"200,000 galaxies: {zero + 200 * slope:8.1f} {unit}"
            )


if __name__ == "__main__":
    main()
