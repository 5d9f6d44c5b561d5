"""Run notebooks one after another, each in a fork of this process, which has imported what notebooks import.

A fresh Python needs about 2.5 s for these imports; a fork has them at once, and nothing that one notebook
changes reaches the next. Reads a path a line from standard input and answers with a line of JSON:
`{"ok": true, "seconds": 1.2, "cpu": 1.1, "text": "what it wrote"}`. Each notebook runs in its own folder,
with the rules of `nbdev-test` (cells marked `eval: false` and `notest` are skipped).

    python tests/notebook_server.py nbs/core/10_sample.ipynb ...    # by hand: time and errors of some
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 600  # seconds for a notebook
WARM = (
    "astropy.cosmology",
    "astropy.io.fits",
    "astropy.table",
    "astropy.units",
    "h5py",
    "joblib",
    "matplotlib.pyplot",
    "matplotlib_inline.backend_inline",
    "nbdev.showdoc",
    "nbdev.test",
    "numpy.testing",
    "pandas",
    "scipy.stats",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.neighbors",
    "yaml",
)


def run_here(path: Path, log: int) -> None:
    "Run a notebook in this process, a child, and end it: 0 where all went well."
    code = 1
    try:
        os.dup2(log, 1), os.dup2(log, 2)
        sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
        sys.stderr = sys.__stderr__ = os.fdopen(2, "w", buffering=1, closefd=False)
        os.chdir(path.parent)
        from nbdev.test import test_nb

        code = int(not test_nb(path, skip_flags=["notest"], basepath=str(ROOT))[0])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def wait_for(child: int) -> tuple:  # exit status, seconds of CPU time
    "Wait until a child ends, and end it where it takes too long."
    deadline = time.monotonic() + PATIENCE
    while True:
        ended, status, used = os.wait4(child, os.WNOHANG)
        if ended:
            return status, used.ru_utime + used.ru_stime
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            deadline = float("inf")
        time.sleep(0.02)


def run_forked(path: Path) -> dict:
    "Run a notebook in a fork of this process."
    begin = time.monotonic()
    with tempfile.TemporaryFile() as log:
        child = os.fork()
        if not child:
            run_here(path, log.fileno())
        status, cpu = wait_for(child)
        log.seek(0)
        text = log.read().decode(errors="replace")
    seconds = round(time.monotonic() - begin, 2)
    return {"ok": status == 0, "seconds": seconds, "cpu": round(cpu, 2), "text": text[-4000:]}


def main() -> None:
    "Import, then answer until standard input ends."
    sys.path.insert(0, str(ROOT))
    for name in WARM:
        importlib.import_module(name)
    for name in sys.argv[1:]:
        found = run_forked(Path(name).resolve())
        print(
            f"{found['seconds']:6.2f} s, {found['cpu']:6.2f} s of CPU  {name}",
            "" if found["ok"] else f"FAILS\n{found['text']}",
            flush=True,
        )
    if sys.argv[1:]:
        return
    for line in sys.stdin:
        print(json.dumps(run_forked(Path(line.strip()))), flush=True)


if __name__ == "__main__":
    main()
