"""Thousands of damaged files, each of which must end in a right result or in an `InputError`.

    python benchmarks/fuzz_campaign.py --cases 6000 --seed 1
    python benchmarks/fuzz_campaign.py --kinds csv,fits --cases 400 --show
    # one case, here, with its traceback
    python benchmarks/fuzz_campaign.py --replay fits:17

A case is a kind of file, a number and the seed; nothing else decides what is damaged. Cases run in their
own process with a limit of memory (--memory) and of time (--limit). The outcome is one of

    same      the result of the undamaged file
    refused   `InputError` (on the command line: exit code 2 and one line)
    changed   another valid result: one digit replaced by another cannot be noticed without a checksum

and, which must never happen,

    wrong     a result that is not valid, or that differs although the damage (a cut, a lost column, a wrong
              size) can be noticed
    raised    any other exception: a traceback for the user
    hang      longer than the limit of processor time, or ten times as long by the clock
    died      the process is gone
"""

import argparse
import collections
import contextlib
import io
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fuzz_corpus import KINDS  # noqa: E402

from gencast.core.base import InputError

GOOD, BAD = ("same", "refused", "changed"), ("wrong", "raised", "hang", "died")


class Hang(BaseException):
    "The time of a case is over."


def rng_of(kind: str, number: int, seed: int) -> np.random.Generator:
    "The generator of one case."
    return np.random.default_rng([seed, number, *kind.encode()])


def sound(kind: str, pristine: Path) -> str:
    "Facts of the undamaged file."
    with (
        tempfile.TemporaryDirectory(dir=pristine.parent) as work,
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        folder = Path(
            shutil.copytree(pristine / kind, Path(work) / "f", symlinks=True)
        )  # a copy, as some uses leave files behind
        return json.dumps(KINDS[kind].facts(KINDS[kind].use(folder)), sort_keys=True, default=str)


def one_case(kind: str, number: int, seed: int, pristine: Path, expected: dict) -> tuple:
    "What became of a case, how the file was damaged, and the last words."
    corpus, rng = KINDS[kind], rng_of(kind, number, seed)
    with tempfile.TemporaryDirectory(dir=pristine.parent) as work:
        folder = Path(work) / "f"
        shutil.copytree(pristine / corpus.name, folder, symlinks=True)
        what, noticeable = corpus.damage(folder, rng)
        printed = io.StringIO()
        try:
            with (
                warnings.catch_warnings(),
                np.errstate(all="ignore"),
                contextlib.redirect_stdout(printed),
                contextlib.redirect_stderr(printed),
            ):
                warnings.simplefilter("ignore")
                result = corpus.use(folder)
        except InputError as err:
            said = str(err)
            return (
                ("wrong", what, "the message is longer than 3,000 characters")
                if len(said) > 3000
                else ("refused", what, said[:300])
            )
        except Hang:
            return "hang", what, ""
        except (
            OSError
        ) as err:  # of a place that cannot be written to: the command line says its name in one line
            return ("refused" if err.filename else "raised"), what, str(err)
        except BaseException as err:
            return "raised", what, "".join(traceback.format_exception(err))[-1500:]
        try:
            if not corpus.valid(result):
                return "wrong", what, "the result is not valid"
            same = json.dumps(corpus.facts(result), sort_keys=True, default=str) == expected[kind]
        except Exception as err:
            return (
                "wrong",
                what,
                "the result cannot be judged: " + "".join(traceback.format_exception(err))[-800:],
            )
        return (
            ("same" if same else "wrong" if noticeable else "changed"),
            what,
            "" if same or not noticeable else "another result, although the damage can be noticed",
        )


def _alarm(*_):
    raise Hang


def work_on(
    cases: list, seed: int, pristine: Path, expected: dict, limit: float, memory: int, out: int
) -> None:
    "Work on cases, in a process of its own; a line before and after each."
    used = (
        int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        if Path("/proc/self/statm").exists()
        else 2**32
    )
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    signal.signal(signal.SIGPROF, _alarm)  # the time of the processor: a busy machine makes no hang

    def tell(**facts):
        return os.write(out, (json.dumps(facts) + "\n").encode())

    for kind, number in cases:
        tell(start=[kind, number])
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            end = one_case(kind, number, seed, pristine, expected)
        except Hang:
            end = ("hang", "", "")
        signal.setitimer(signal.ITIMER_PROF, 0)
        took = round(time.process_time() - began, 2)
        tell(end=[kind, number, *end], peak=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, took=took)


def campaign(
    cases: list, seed: int, limit: float, memory: int, tell=lambda *_: None
) -> list:  # (kind, number, end, damage, words, memory in kB, CPU seconds)
    "Run cases one after the other; a process that dies or hangs costs its case only."
    found, todo = [], list(cases)
    with tempfile.TemporaryDirectory() as place:
        pristine, expected = Path(place) / "pristine", {}
        for kind in dict.fromkeys(k for k, _ in cases):
            KINDS[kind].make(pristine / kind)
            expected[kind] = sound(kind, pristine)
        while todo:
            read, write = os.pipe()
            if not (child := os.fork()):
                try:
                    os.close(read)
                    work_on(todo, seed, pristine, expected, limit, memory, write)
                finally:
                    os._exit(0)
            os.close(write)
            buffer, current = b"", None
            while True:
                ready, _, _ = select.select([read], [], [], 10 * limit)
                block = os.read(read, 65536) if ready else None
                if not block:
                    break
                buffer += block
                *lines, buffer = buffer.split(b"\n")
                for line in map(json.loads, lines):
                    current = tuple(line["start"]) if "start" in line else None
                    if "end" in line:
                        found.append((*line["end"], line["peak"], line["took"]))
                        tell(found[-1])
            if block is None:
                os.kill(child, signal.SIGKILL)
            os.close(read)
            status = os.waitpid(child, 0)[1]
            done = {f[:2] for f in found}
            if current and current not in done:
                found.append((*current, "hang" if block is None else "died", f"exit {status}", "", 0, 0))
                tell(found[-1])
                done.add(current)
            todo = [c for c in todo if c not in done]
            if status and not current and todo:
                raise RuntimeError(f"the worker ended with {status} between two cases")
    return found


def plan(kinds: list, cases: int) -> list:
    "Cases spread over kinds as their shares have it."
    share = sum(KINDS[k].share for k in kinds)
    return [(k, n) for k in kinds for n in range(max(1, round(cases * KINDS[k].share / share)))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument(
        "--limit",
        type=float,
        default=20.0,
        help="seconds of the processor a case; ten times as long by the clock",
    )
    parser.add_argument(
        "--memory", type=float, default=1.5, help="GB a case may take beside what the program itself takes"
    )
    parser.add_argument("--show", action="store_true", help="print each case")
    parser.add_argument("--replay", help="kind:number; run one case here")
    args = parser.parse_args()
    if args.replay:
        kind, number = args.replay.split(":")
        with tempfile.TemporaryDirectory() as place:
            pristine = Path(place) / "pristine"
            KINDS[kind].make(pristine / kind)
            expected = {kind: sound(kind, pristine)}
            print(*one_case(kind, int(number), args.seed, pristine, expected), sep="\n")
        return 0

    def show(f):
        return print(*f[:5], sep=" | ", flush=True) if args.show or f[2] in BAD else None

    found = campaign(
        plan(args.kinds.split(","), args.cases), args.seed, args.limit, int(args.memory * 2**30), show
    )
    count = collections.Counter((f[0], f[2]) for f in found)
    print(f"\n{'kind':<12}" + "".join(f"{e:>9}" for e in (*GOOD, *BAD)) + f"{'cases':>9}")
    for kind in [*dict.fromkeys(f[0] for f in found), "all"]:
        row = [
            sum(n for (k, e), n in count.items() if e == end and kind in (k, "all")) for end in (*GOOD, *BAD)
        ]
        print(f"{kind:<12}" + "".join(f"{n:>9}" for n in row) + f"{sum(row):>9}")
    print(f"largest memory of the worker: {max(f[5] for f in found) / 2**20:.2f} GB")
    slowest = max(found, key=lambda f: f[6])
    print(f"slowest: {slowest[0]}:{slowest[1]}, {slowest[6]:.1f} s of CPU; {slowest[3]}")
    return int(any(f[2] in BAD for f in found))


if __name__ == "__main__":
    sys.exit(main())
