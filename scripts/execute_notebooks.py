"""Run the notebooks in nbs/, each in its own folder, and store their outputs, small, so that they can be read
without running them.

    python scripts/execute_notebooks.py                       # all, two at a time
    python scripts/execute_notebooks.py regression/10_signals index   # some, by folder and name
    python scripts/execute_notebooks.py regression            # those of a wing
    python scripts/execute_notebooks.py --check               # list those whose outputs are older than their
    code
    python scripts/execute_notebooks.py --stale               # run these

Figures are stored with a palette of 64 colours, which shrinks them to a third; metadata is cleaned by nbdev.
The notebook's metadata says from which code its outputs come (scripts/freshness.py). Templates of targets
(nbs/targets) are not run: they belong to a run and store nothing.
"""

import argparse
import base64
import io
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
from freshness import code_digest, why_stale

SHARP = "--InlineBackend.figure_formats={'retina'}"  # figures at twice the size at which they are shown
PARSING = threading.Lock()  # `ast.parse` in two threads at a time can fail in Python 3.11
NBS = Path(__file__).resolve().parent.parent / "nbs"


def all_notebooks() -> list:
    "Paths of the notebooks that store outputs: those that others read from first, so that runs are shared."
    found = [p for p in NBS.rglob("*.ipynb") if not {".ipynb_checkpoints", "targets"} & set(p.parts)]
    return sorted(found, key=lambda p: (p.parent != NBS, p))


def is_meant(path: Path, word: str) -> bool:
    "Whether a word of the command line means a notebook: its path, its name, its wing, or `wing/name`."
    place = path.relative_to(NBS).with_suffix("")
    given = word.removeprefix("nbs/").removesuffix(".ipynb").strip("/")
    return given in (place.as_posix(), place.name, place.parent.as_posix()) or Path(word).resolve() == path


def shrink(nb) -> None:
    "Store every PNG with a palette, and no warnings of other packages, which name paths of this machine."
    from PIL import Image

    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if "site-packages" not in o.get("text", "")]
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                small = io.BytesIO()
                image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
                image.quantize(64).save(small, "PNG", optimize=True)
                data["image/png"] = base64.b64encode(small.getvalue()).decode()


def execute(path: Path) -> str:  # what went wrong, or ""
    "Run one notebook in a kernel of its own and store what comes out. A notebook that fails stays as it is."
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    begin = time.monotonic()
    nb = nbformat.read(path, 4)
    # a kernel draws into the notebook only where no other backend is asked for, and imports this source tree
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(NBS.parent), env.get("PYTHONPATH")]))
    exports = [c for c in nb.cells if c.cell_type == "code" and "nbdev_export()" in c.source]
    sources = [c.source for c in exports]
    for cell in exports:  # two notebooks that export at a time would read each other's half-written files
        cell.source = ""
    where = {"metadata": {"path": str(path.parent)}}
    client = NotebookClient(nb, timeout=600, kernel_name="python3", resources=where, extra_arguments=[SHARP])
    try:
        client.execute(env=env)
    except CellExecutionError as err:
        print(f"{path.relative_to(NBS)} FAILS\n{err}", file=sys.stderr, flush=True)
        return str(err)
    for cell, source in zip(exports, sources):
        cell.source = source
    shrink(nb)
    with PARSING:
        nb.metadata["gencast"] = {"code": code_digest(nb, path.parent)}
    nbformat.write(nb, path)
    size, seconds = path.stat().st_size / 1000, time.monotonic() - begin
    print(f"{path.relative_to(NBS)}: {size:.0f} kB, {seconds:.0f} s", flush=True)
    return ""


def stale_notebooks(paths: list) -> dict:
    "Path -> why its outputs are not those of today's code."
    found = {path: why_stale(nbformat.read(path, 4), path.parent) for path in paths}
    return {path: why for path, why in found.items() if why}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="notebooks or wings; without any, all notebooks")
    parser.add_argument(
        "--check", action="store_true", help="run nothing, list what is stale; exit code 1 if any"
    )
    parser.add_argument("--stale", action="store_true", help="run only what is stale")
    parser.add_argument("--jobs", type=int, default=2, help="how many notebooks run at a time")
    given = parser.parse_args()
    paths = all_notebooks()
    for word in given.names:
        if not any(is_meant(p, word) for p in paths):
            parser.error(f"there is no notebook or wing {word!r}")
    paths = [p for p in paths if not given.names or any(is_meant(p, w) for w in given.names)]
    if given.check or given.stale:
        stale = stale_notebooks(paths)
        for path, why in stale.items():
            print(f"{path.relative_to(NBS)}: {why}")
        if given.check:
            return int(bool(stale))
        paths = list(stale)
    with ThreadPoolExecutor(given.jobs) as pool:  # each thread waits for a kernel, a process of its own
        failed = sum(map(bool, pool.map(execute, paths)))
    subprocess.run(["nbdev-clean"], check=True, cwd=NBS.parent)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
