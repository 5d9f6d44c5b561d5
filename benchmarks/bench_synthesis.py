"""Spectra of simulated galaxies: how fast, beside BAGPIPES, population-synthesis-toolkit and DSPS, and how
the cost grows.

    pip install -e ".[sed]" dsps
    python benchmarks/bench_synthesis.py              # 2-3 minutes
    python benchmarks/bench_synthesis.py --suite      # also the whole default suite, 20 x 6,500, with its
    memory

All on the same 3,000 wavelengths (3,600-9,000 A, rest frame), BC03-MILES (PopStar for pst, which has no
BC03), delayed tau histories, Calzetti dust with deeper birth clouds, and nebular emission where the code
has it. BAGPIPES through `update`, its fast path. Ours is everything from a recipe to a sample: drawing the
galaxies, reading the library, light, dust, gas, labels. Times are CPU seconds of one thread each (run with
OMP_NUM_THREADS=1), so that other work on the machine matters little; ratios are per galaxy, in this one
run.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

from gencast.data.suites import load_suite
from gencast.synthesis.histories import delayed_tau
from gencast.synthesis.recipes import Suite
from gencast.synthesis.simulations import simulate
from gencast.synthesis.ssp import load_ssp

WAVE = {"start": 3600, "stop": 9000, "pixels": 3000, "fwhm_kms": 300}
RECIPE = {
    "name": "bench",
    "ssp": "bc03_miles",
    "nebular": {"escape": 0.0},
    "dust": {"law": "calzetti", "a_v": 0.5, "birth_cloud": 1.0},
    "history": {"family": "delayed_tau"},
    "metallicity": {"relation": "gallazzi05", "offset": 0.0, "scatter": 0.15, "enrichment": "constant"},
    "mass": {"knee": 10.8, "slope": -1.2, "minimum": 8.5},
}


def suite(pixels: int = 3000) -> Suite:
    return Suite("bench", "", 0.1, 6500, WAVE | {"pixels": pixels}, WAVE, (RECIPE,))


def ours(n: int, pixels: int = 3000, ssp: str = "bc03_miles") -> float:
    "Seconds for n galaxies."
    start = time.process_time()
    simulate(RECIPE | {"ssp": ssp}, suite(pixels), 1, n)
    return time.process_time() - start


def bagpipes_seconds(n: int) -> float:
    "Seconds per galaxy of `model_galaxy.update`."
    import bagpipes

    rng = np.random.default_rng(1)

    def parts():
        return {
            "redshift": 0.1,
            "delayed": {
                "age": rng.uniform(3, 11),
                "tau": rng.uniform(0.5, 6),
                "massformed": 10.0,
                "metallicity": rng.uniform(0.3, 2),
            },
            "dust": {"type": "Calzetti", "Av": rng.uniform(0, 1), "eta": 2.0},
            "nebular": {"logU": -3.0},
            "t_bc": 0.01,
        }

    model = bagpipes.model_galaxy(parts(), spec_wavs=np.geomspace(3600, 9000, 3000) * 1.1)
    start = time.process_time()
    for _ in range(n):
        model.update(parts())
    return (time.process_time() - start) / n


def dsps_seconds(n: int) -> float:
    """Seconds per galaxy of DSPS's compiled sum over a table of history (stars only, no dust), on our
    BC03-MILES grid.
    """
    import jax.numpy as jnp
    from dsps import calc_rest_sed_sfh_table_lognormal_mdf

    grid = load_ssp("bc03_miles", np.geomspace(3600, 9000, 3000), 300.0)
    time_gyr = np.linspace(0.05, 12.4, 100)
    lgmet, lgage, flux = np.log10(grid.zmet), np.log10(grid.age), jnp.array(grid.flux)

    def run(tau):
        return calc_rest_sed_sfh_table_lognormal_mdf(
            time_gyr, delayed_tau(time_gyr, tau, 1.0)[0] + 1e-9, -2.0, 0.2, lgmet, lgage, flux, 12.4
        ).rest_sed.block_until_ready()

    run(2.0)
    start = time.process_time()
    for tau in np.linspace(0.5, 6, n):
        run(tau)
    return (time.process_time() - start) / n


def pst_seconds(n: int) -> float:
    "Seconds per galaxy of pst's sum over PopStar, stars only, no dust, in its own optical pixels."
    import astropy.units as u
    from pst import SSP, models

    ssp = SSP.PopStar(IMF="cha")
    ssp.cut_wavelength(3600 * u.AA, 9000 * u.AA)
    start = time.process_time()
    for tau in np.linspace(0.5, 6, n):
        models.ExponentialDelayedZPowerLawCEM(
            today=12.4 * u.Gyr,
            mass_today=1e10 * u.Msun,
            tau=tau * u.Gyr,
            ism_metallicity_today=0.02 * u.dimensionless_unscaled,
            alpha_powerlaw=1.0,
        ).compute_SED(ssp, t_obs=12.4 * u.Gyr)
    return (time.process_time() - start) / n


def attempt(label: str, function, n: int, mine: float) -> None:
    try:
        seconds = function(n)
    except Exception as err:  # another package's matter: say it and go on
        print(f"| {label} | failed: {type(err).__name__}: {str(err)[:120]} | |")
    else:
        print(f"| {label} | {1e3 * seconds:.3f} | {seconds / mine:.0f} |")


def whole_suite() -> None:
    """The default suite, made by `gencast simulate` with two processes; wall seconds and the peak of all
    processes together.
    """
    import threading

    import psutil

    with tempfile.TemporaryDirectory() as folder:
        start, peak = time.perf_counter(), 0.0
        run = psutil.Popen(
            [
                sys.executable,
                "-c",
                "from gencast.cli.main import main; main()",
                "simulate",
                "default",
                "--out",
                folder,
                "--jobs",
                "2",
            ],
            stdout=subprocess.DEVNULL,
        )
        done = threading.Event()

        def watch():
            nonlocal peak
            while not done.wait(0.1):
                try:
                    peak = max(
                        peak,
                        sum(
                            p.memory_info().rss - p.memory_info().shared
                            for p in (run, *run.children(recursive=True))
                        )
                        / 1e9,
                    )
                except psutil.NoSuchProcess:
                    pass

        watcher = threading.Thread(target=watch)
        watcher.start()
        code = run.wait()
        wall = time.perf_counter() - start
        done.set()
        watcher.join()
        print(
            f"\ndefault suite, {len(load_suite('default').names)} x 6,500 spectra, two processes: "
            f"{wall:.0f} s, {peak:.2f} GB at most, exit {code}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--suite", action="store_true")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    ours(200)  # libraries are read once
    mine = min(ours(6500) for _ in range(3)) / 6500
    coarse = min(ours(6500, ssp="popstar") for _ in range(2)) / 6500
    print("| code | CPU ms per galaxy | times ours |\n|---|---|---|")
    print(f"| gencast, BC03-MILES, two dust components, gas | {1e3 * mine:.4f} | 1 |")
    attempt("BAGPIPES, the same", bagpipes_seconds, 60, mine)
    attempt("DSPS, stars only", dsps_seconds, 60, mine)
    attempt("pst, PopStar, stars only (beside ours with PopStar)", pst_seconds, 60, coarse)
    print("\n| galaxies (3,000 pixels) | s | | pixels (4,000 galaxies) | s |\n|---|---|---|---|---|")
    for n, p in zip((1000, 2000, 4000, 8000, 16000), (500, 1000, 2000, 4000, 8000)):
        print(
            f"| {n:,} | {min(ours(n) for _ in range(2)):.2f} | | {p:,} | "
            f"{min(ours(4000, p) for _ in range(2)):.2f} |"
        )
    if args.suite:
        whole_suite()


if __name__ == "__main__":
    main()
