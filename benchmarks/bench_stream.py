"""Time and memory of `gencast forecast` for surveys of growing size, in blocks and in memory.

    gencast run --quick --views photometry --no-notebooks   # first, if there is no run yet
    python benchmarks/bench_stream.py results/default       # 10^4, 10^5, 10^6 galaxies; ten minutes
    python benchmarks/bench_stream.py results/default 10000 100000 --whole 10000 100000 --repeat 3

The galaxies are those of four simulations, drawn again and again, each time with noise of their own, as a
FITS table of fluxes in the run's bands. Every forecast is the command of a user, in a process of its own,
start, imports and writing included: in blocks of the default size, and with `--block 0`. Both are asked in
turn.

Memory is what the process holds besides mapped files (resident minus shared, sampled ten times a second):
pages of a mapped file belong to the system's cache. `most resident` counts them, too. Where both ways were
gone, the catalogues are compared: the largest and the median difference of the values, over their errors.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import yaml
from astropy.table import Table
from bench_scale import held

from gencast.core.sample import load_sample
from gencast.data.photometry import nu_l_nu
from gencast.pipeline.configure import load_settings
from gencast.pipeline.parts import sample_path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("run", type=Path, help="folder of a finished run with photometry")
parser.add_argument("rows", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
parser.add_argument(
    "--whole", type=int, nargs="*", default=[10_000, 100_000], help="sizes that are read whole, too"
)
parser.add_argument("--jobs", type=int, default=2)
parser.add_argument("--repeat", type=int, default=1)
parser.add_argument("--folder", type=Path, help="for tables and catalogues; default: one that is removed")


def write_survey(run: Path, n: int, path: Path) -> None:
    "A table of made-up galaxies, and the mapping beside it."
    names = load_settings(run).suite.names[:4]
    parts = [load_sample(sample_path(run, "photometry", name)) for name in names]
    flux, err, z = (
        np.concatenate([np.asarray(getattr(p, k), float) for p in parts])
        for k in ("flux", "flux_err", "redshift")
    )
    to_ujy = 3.631 / nu_l_nu(np.ones(flux.shape), z, parts[0].wave)
    rng = np.random.default_rng(1)
    rows = rng.integers(0, len(z), n)
    flux, err, z = (flux * to_ujy)[rows], (err * to_ujy)[rows], z[rows]
    flux += err * rng.normal(size=flux.shape)
    table = Table({"ID": np.arange(n), "z": z})
    for k in range(flux.shape[1]):
        table[f"f{k}"], table[f"e{k}"] = flux[:, k], err[:, k]
    table.write(path, overwrite=True)
    bands = {b: {"column": f"f{k}", "error": f"e{k}"} for k, b in enumerate(parts[0].bands)}
    mapping = {
        "frame": "observed",
        "unit": "uJy",
        "redshift": "z",
        "ids": "ID",
        "bad": "leave out",
        "bands": bands,
    }
    path.with_suffix(".yaml").write_text(yaml.safe_dump(mapping))


def ask(run: Path, table: Path, out: Path, jobs: int, more: list) -> dict:
    "One forecast: seconds, and the most memory that it held."
    given = [table, "--run", run, "--map", table.with_suffix(".yaml"), "--out", out, "--jobs", jobs, *more]
    command = [sys.executable, "-c", "from gencast.cli.main import main; main()", "forecast", *given]
    start, peaks, done = time.perf_counter(), np.zeros(2), threading.Event()
    process = psutil.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )

    def watch():
        while not done.wait(0.1):
            try:
                peaks[:] = np.maximum(peaks, [held(process), process.memory_info().rss / 1e9])
            except psutil.NoSuchProcess:
                return

    watcher = threading.Thread(target=watch)
    watcher.start()
    said, _ = process.communicate()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    if process.returncode:
        raise SystemExit(said)
    return {"seconds": seconds, "held [GB]": peaks[0], "most resident [GB]": peaks[1]}


def differences(one: Path, other: Path) -> str:
    "How far the values of two catalogues differ."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of dex, which is no unit of FITS
        a, b = (Table.read(p / "catalog.fits") for p in (one, other))
    told = []
    for name in [n[: -len("_error")] for n in a.colnames if n.endswith("_error")]:
        off = np.abs(np.asarray(a[name]) - np.asarray(b[name])) / np.asarray(b[f"{name}_error"])
        told.append(f"{name}: median {np.nanmedian(off):.2g}, largest {np.nanmax(off):.2g} errors")
    return f"{'; '.join(told)}; {int((a['flag'] != b['flag']).sum())} flags differ"


def main():
    given = parser.parse_args()
    folder, rows = Path(given.folder or tempfile.mkdtemp()), []
    folder.mkdir(parents=True, exist_ok=True)
    for n in given.rows:
        table = folder / f"survey-{n}.fits"
        write_survey(given.run, n, table)
        ways = {"blocks": ["--block", 10_000] if n < 50_000 else []}
        ways |= {"memory": ["--block", 0]} if n in given.whole else {}
        for k in range(given.repeat):
            for way, more in ways.items():
                found = ask(given.run, table, folder / f"{n}-{way}", given.jobs, more)
                row = {"galaxies": n, "way": way, "try": k + 1, **found}
                rows.append(row | {"galaxies a second": n / found["seconds"]})
                print(
                    pd.DataFrame(rows[-1:]).round(2).to_string(index=False, header=len(rows) == 1), flush=True
                )
        if "memory" in ways:
            print(f"{n:,}: {differences(folder / f'{n}-blocks', folder / f'{n}-memory')}", flush=True)
    print("\n" + pd.DataFrame(rows).round(2).to_markdown(index=False))
    if not given.folder:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
