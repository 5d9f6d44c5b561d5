"""Faults of the machine, one after the other: each must end a run with a one-line message and an exit code,
leave no damaged file, and have no effect on the next run.

    # about fifteen minutes on one core
    python benchmarks/fault_campaign.py
    python benchmarks/fault_campaign.py --only disk

disk: a file system that fills up at different moments (tmpfs, needs root), and limits on the size of a
file; memory: limits on address space; files: limits on open files; signals: Ctrl-C and SIGTERM at random
moments, to the group or to the main process; workers: one worker killed (the run must finish), or all of
them repeatedly.
"""

import argparse
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from kill_campaign import damaged, kill_family, small_suite, what_it_says

from gencast.core.locks import UNFINISHED

CODE = "from gencast.cli.main import main; main()"
CODES = {0: "complete", 1: "something failed, named", 2: "input", 3: "machine", 130: "Ctrl-C", 143: "SIGTERM"}


def command(suite: Path, out: Path, jobs: int) -> list:
    "A small run, as a user starts it."
    return [
        sys.executable,
        "-c",
        CODE,
        "run",
        str(suite),
        "--quick",
        "--galaxies",
        "130",
        "--no-notebooks",
        "--jobs",
        str(jobs),
        "--out",
        str(out),
    ]


def start(suite: Path, out: Path, jobs: int = 2, limits: dict | None = None) -> subprocess.Popen:
    "The same, with limits: what `resource` calls it -> value."

    def limit():
        for name, value in (limits or {}).items():
            resource.setrlimit(getattr(resource, name), (value, value))

    return subprocess.Popen(
        command(suite, out, jobs),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=limit,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def finish(
    process: subprocess.Popen, timeout: float = 300
) -> tuple[int, str]:  # exit code, and what it said on stderr
    "Wait for the end."
    try:
        _, said = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        kill_family(process)
        return -1, "it hung"
    return process.returncode, said


@contextmanager
def small_disk(
    kilobytes: int,
):  # yields a folder on a file system of that size, or None where this is not permitted
    "A tmpfs."
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True
        ).returncode:
            yield None
            return
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "-l", folder], check=True)


def judge(name: str, code: int, said: str, out: Path, good: tuple = (2, 3)) -> list:  # problems
    "Whether an end is a clear one."
    lines = [line for line in said.splitlines() if line.startswith("gencast: ")]
    problems = [] if code in good else [f"{name}: exit code {code}: {said[-800:]}"]
    problems += [f"{name}: a traceback: {said[-800:]}"] if "Traceback" in said else []
    problems += [f"{name}: no word: {said[-300:]}"] if code and not lines else []
    return problems + [f"{name}: {line}" for line in damaged(out)]


class Faults:
    "The suite, the undisturbed tables, and what came out of each fault."

    def __init__(self, folder: Path, seed: int = 0):
        self.folder, self.rng = folder, np.random.default_rng(seed)
        self.suite, self.ends, self.problems, self.count = small_suite(folder), [], [], 0
        begin = time.monotonic()
        code, said = finish(start(self.suite, folder / "whole"))
        if code:
            raise RuntimeError(f"the undisturbed run failed: {said[-2000:]}")
        self.seconds, self.expected = time.monotonic() - begin, what_it_says(folder / "whole")

    def end(self, name: str, code: int, said: str, out: Path, good: tuple = (2, 3)) -> None:
        "Note how a fault ended."
        self.problems += judge(name, code, said, out, good)
        line = next((line for line in said.splitlines()[::-1] if line.startswith("gencast: ")), "")
        self.ends.append((name, code, re.sub(r"/tmp/\w+", "...", line)))
        self.count += 1
        print(f"{name}: exit {code}, {self.ends[-1][2]}", flush=True)

    def resume(self, name: str, out: Path) -> None:
        "The next run must complete, with the same tables."
        code, said = finish(start(self.suite, out))
        if code:
            self.problems.append(f"{name}, resumed: exit code {code}: {said[-800:]}")
            return
        found = what_it_says(out)
        self.problems += [
            f"{name}, resumed: {f} differs"
            for f in sorted({*found, *self.expected})
            if found.get(f) != self.expected.get(f)
        ]
        self.problems += [
            f"{name}, resumed: {p.name} was left behind"
            for p in out.rglob("*")
            if UNFINISHED.fullmatch(p.name)
        ]

    def limits(self, what: str, values: list, good: tuple = (2, 3)) -> None:
        "Runs under limits of one kind, in one folder, ever wider; then without."
        out = self.folder / what
        for value in values:
            self.end(
                f"{what} {value:,}", *finish(start(self.suite, out, limits={what: value})), out, (0, *good)
            )
        self.resume(what, out)

    def disks(self, sizes: list) -> None:
        "Runs on disks that are too small."
        for size in sizes:
            with small_disk(size) as disk:
                if disk is None:
                    print("a small file system cannot be mounted here (needs root); left out")
                    return
                out = disk / "run"
                self.end(f"disk of {size:,} kB", *finish(start(self.suite, out)), out, (0, 3))
                if (
                    subprocess.run(
                        ["mount", "-o", "remount,size=400m", str(disk)], capture_output=True
                    ).returncode
                    == 0
                ):
                    self.resume(f"disk of {size:,} kB", out)

    def signals(self, times: int) -> None:
        "Ctrl-C and SIGTERM."
        out = self.folder / "signals"
        for i in range(times):
            number, group = (signal.SIGINT, signal.SIGTERM)[i % 2], i % 4 < 2
            process = start(self.suite, out)
            time.sleep(self.rng.uniform(2.0, 0.5 * self.seconds))
            if process.poll() is None:
                (os.killpg if group else os.kill)(process.pid, number)
            self.end(
                f"{number.name} to {'group' if group else 'main process'}",
                *finish(process),
                out,
                (0, 128 + number),
            )
        self.resume("signals", out)

    def workers(self, always: bool) -> None:
        "Kill one worker, or all whenever there are some."
        out, killed = self.folder / f"workers-{always}", []
        process = start(self.suite, out)

        def hunt():
            while process.poll() is None and (always or not killed):
                time.sleep(0.2)
                try:
                    found = [
                        c
                        for c in psutil.Process(process.pid).children()
                        if "LokyProcess" in " ".join(c.cmdline())
                    ]
                    for c in found if always else found[:1]:
                        c.kill()
                        killed.append(c.pid)
                except psutil.NoSuchProcess:
                    pass

        thread = threading.Thread(target=hunt, daemon=True)
        thread.start()
        self.end(
            f"{'every worker' if always else 'one worker'} killed",
            *finish(process),
            out,
            (3,) if always else (0,),
        )
        thread.join()
        self.problems += [] if killed else ["no worker was found to kill"]
        self.resume("workers", out)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="disk,memory,files,signals,workers")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = Faults(Path(folder), given.seed)
        todo = {
            "disk": lambda: (
                faults.disks([8, 300, 1200, 2500, 4000, 5500]),
                faults.limits("RLIMIT_FSIZE", [500, 5_000, 60_000, 200_000, 600_000]),
            ),
            "memory": lambda: faults.limits(
                "RLIMIT_AS", [900_000_000, 1_300_000_000, 1_800_000_000, 2_500_000_000], (1, 2, 3)
            ),
            "files": lambda: faults.limits("RLIMIT_NOFILE", [16, 32, 64], (1, 2, 3)),
            "signals": lambda: faults.signals(10),
            "workers": lambda: (faults.workers(False), faults.workers(True)),
        }
        for name in given.only.split(","):
            todo[name]()
    print(
        json.dumps(
            {
                "faults": faults.count,
                "ends": Counter(CODES.get(code, str(code)) for _, code, _ in faults.ends),
                "problems": faults.problems,
            },
            indent=1,
        )
    )
    sys.exit(bool(faults.problems))


if __name__ == "__main__":
    main()
