"""Kill a run at random moments, resume it, and compare its tables with those of an undisturbed run.

    # 50 kills, about fifteen minutes on one core
    python benchmarks/kill_campaign.py
    python benchmarks/kill_campaign.py --kills 5 --no-notebooks

A small suite (five simulations, 130 galaxies each) is run repeatedly in one folder. Each time all its
processes, workers and notebook kernels included, are killed with SIGKILL after a random time: five times,
or until a run finishes; then a new folder begins. After each kill, every file with a final name must be
complete and match its checksum. At the end the tables must be byte for byte those of the undisturbed run,
run.json the same except for the times, and the notebooks must show the same figures.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
import yaml

from gencast.core.base import InputError
from gencast.core.cache import read_arrays
from gencast.core.files import read_sealed
from gencast.core.locks import UNFINISHED
from gencast.core.sample import load_sample
from gencast.synthesis.recipes import list_suites

TIMES = ("started", "stages", "jobs", "checksum")  # of run.json: what may differ
CODE = (
    "import sys; from gencast.pipeline.job import run; run(sys.argv[1], True, sys.argv[2], "
    "int(sys.argv[3]), sys.argv[4] == 'True', n_galaxies=130, views=(sys.argv[5],))"
)


def small_suite(folder: Path) -> Path:
    "Five simulations of the default suite."
    text = yaml.safe_load(list_suites()["default"].read_text(encoding="utf-8"))
    path = folder / "five.yaml"
    path.write_text(
        yaml.safe_dump(text | {"name": "five", "simulations": text["simulations"][::4]}), encoding="utf-8"
    )
    return path


def start(suite: Path, out: Path, jobs: int, notebooks: bool, view: str, log: Path) -> subprocess.Popen:
    "A run in a process of its own; what it prints goes to a file."
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
    with open(log, "w", encoding="utf-8") as f:
        return subprocess.Popen(
            [sys.executable, "-c", CODE, str(suite), str(out), str(jobs), str(notebooks), view],
            stdout=f,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )


def kill_family(process: subprocess.Popen) -> int:  # processes killed
    "SIGKILL for a process that we started and all that it started."
    parent = psutil.Process(process.pid)
    family = [parent, *parent.children(recursive=True)]
    for one in family:
        try:
            one.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            pass
    process.wait()
    psutil.wait_procs(family[1:], timeout=10)
    return len(family)


def damaged(out: Path) -> list:  # names
    "Files under their final names that are not what their checksums say."
    wrong = []
    for path in [
        p
        for p in out.rglob("*")
        if p.is_file() and not any(UNFINISHED.fullmatch(part) for part in p.relative_to(out).parts)
    ]:
        try:
            if path.suffix == ".npz":
                read_arrays(path)
            elif path.suffix == ".json" and path.name != "sample.json":
                read_sealed(path)
            elif path.name == "sample.json":
                load_sample(path.parent)
            elif path.suffix in (".csv", ".ipynb") and not path.read_bytes().endswith((b"\n", b"}")):
                raise ValueError("cut off")
        except (ValueError, InputError) as err:
            wrong.append(f"{path.relative_to(out)}: {err}")
    return wrong


def last_stage(log: Path) -> str:
    "The stage that a run reached, by what it printed."
    found = re.findall(
        r"^([a-z][a-z: ]*?) *: +\d+%",
        log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n"),
        re.M,
    )
    return found[-1] if found else "before the first stage"


def what_it_says(out: Path) -> dict:
    "All that must not depend on interruptions: tables, run.json without times, figures of the notebooks."
    said = {p.name: p.read_bytes() for p in sorted(out.glob("*.csv"))}
    said["run.json"] = {
        k: v for k, v in json.loads((out / "run.json").read_text(encoding="utf-8")).items() if k not in TIMES
    }
    for path in sorted(out.glob("notebooks/*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        said[path.name] = [
            o["data"]["image/png"]
            for c in cells
            for o in c.get("outputs", [])
            if "image/png" in o.get("data", {})
        ]
    return said


def campaign(
    folder: Path,  # to work in
    kills: int,
    seed: int = 0,
    jobs: int = 2,
    notebooks: bool = True,
    view: str = "spectra",  # or photometry, which is faster
    chain: int = 5,  # kills of one run at most; then it may reach its end, and another begins
    longest: float = 0.8,  # latest moment of a kill, as a share of an undisturbed run's time
    tell=print,
    # kills, runs that reached the end after one or more of them, stages in which they were killed, problems
) -> dict:
    "Kill, resume and compare."
    suite, rng, log = small_suite(folder), np.random.default_rng(seed), folder / "log.txt"
    begin = time.monotonic()
    whole = start(suite, folder / "whole", jobs, notebooks, view, log)
    if whole.wait():
        raise RuntimeError(f"the undisturbed run failed: {log.read_text(encoding='utf-8')[-2000:]}")
    duration, expected = time.monotonic() - begin, what_it_says(folder / "whole")
    tell(f"undisturbed: {duration:.1f} s, {len(expected)} files to compare")
    stages, problems, done, finished, survived, processes, unfinished = Counter(), [], 0, 0, 0, 0, 0
    while done < kills:
        out, before, last = folder / f"killed-{finished}", done, min(kills, done + chain)
        while True:
            run = start(suite, out, jobs, notebooks, view, log)
            try:
                code = run.wait(rng.uniform(0, longest * duration) if done < last else None)
                break
            except subprocess.TimeoutExpired:
                processes += kill_family(run)
            done += 1
            stages[last_stage(log)] += 1
            unfinished += sum(bool(UNFINISHED.fullmatch(p.name)) for p in out.rglob("*"))
            problems += [f"kill {done} in {last_stage(log)}: {line}" for line in damaged(out)]
            tell(f"kill {done}: {last_stage(log)}")
        if code:
            problems.append(
                f"run after kill {done} ended with code {code}: {log.read_text(encoding='utf-8')[-1500:]}"
            )
        else:
            found = what_it_says(out)
            problems += [
                f"after kill {done}: {name} differs"
                for name in sorted({*expected, *found})
                if expected.get(name) != found.get(name)
            ]
            problems += [
                f"after kill {done}: {p.name} was left behind"
                for p in out.rglob("*")
                if UNFINISHED.fullmatch(p.name)
            ]
        finished, survived = finished + 1, survived + (done > before)
        shutil.rmtree(out, ignore_errors=True)
    return {
        "kills": done,
        "processes": processes,
        "runs completed after kills": survived,
        "runs that no kill met": finished - survived,
        "half-written files left by kills": unfinished,
        "stages": dict(stages.most_common()),
        "problems": problems,
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--no-notebooks", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = campaign(
            Path(folder),
            given.kills,
            given.seed,
            given.jobs,
            not given.no_notebooks,
            tell=lambda line: print(line, flush=True),
        )
    print(json.dumps(report, indent=1))
    sys.exit(bool(report["problems"]))


if __name__ == "__main__":
    main()
