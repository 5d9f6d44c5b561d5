#!/usr/bin/env python3
"""Draw the histories of simulated populations that gencast carries.

    python -m venv v && v/bin/pip install diffsky==0.3.11 astropy      (brings diffstar 1.0.3, diffmah 0.7.3,
    dsps 0.4.8, JAX)
    v/bin/python scripts/build_diffstarpop.py [--out gencast/synthesis/sfh_tables] [--galaxies 2250] [--seed
    1]

DiffstarPop (Alarcon et al. 2025) is fitted to what IllustrisTNG, Galacticus and UniverseMachine say of
star-formation
histories in haloes of given growth. Haloes with their subhaloes are drawn at z = 0 in three volumes, the
larger for the
rarer, each halo with the number density that it stands for; then histories for them, on the cosmic time of
Planck18.
From all galaxies the table takes as many in each bin of stellar mass, within a bin by their number density.
About two
CPU minutes, byte for byte the same on one machine. One FITS file for each population:
  LOG_SHARE  int16, scaled (n_gal, n_time - 1)  log10 of the share of all mass formed that formed in each step
  of cosmic time
  TIME       float64 (n_time)                  edges of the steps: age of the Universe, Gyr
  GALAXIES   table                             log_mstar: today, log10 of Msun, 0.6 of the formed mass;
  density: comoving, 1/Mpc^3
"""

import argparse
import hashlib
from importlib.metadata import version
from pathlib import Path

import numpy as np
from astropy.cosmology import Planck18
from astropy.io import fits

POPULATIONS = {  # family -> (name of the fit in diffstar, what it was fitted to, whom to cite for that)
    "tng": (
        "tng",
        "IllustrisTNG (TNG300), stars formed in the main progenitor",
        "Pillepich et al. 2018 MNRAS 473 4077; Nelson et al. 2019 ComAC 6 2",
    ),
    "galacticus": (
        "galacticus_in_plus_ex_situ",
        "Galacticus, stars formed in the galaxy or brought by mergers",
        "Benson 2012 NewA 17 175",
    ),
    "um": ("smdpl_dr1", "UniverseMachine on SMDPL, data release 1", "Behroozi et al. 2019 MNRAS 488 3143"),
}
VOLUMES = (
    (10.0, 11.7, 50.0**3),
    (11.7, 13.0, 200.0**3),
    (13.0, 17.0, 800.0**3),
)  # halo mass from, to (log10 Msun), comoving Mpc^3
SURVIVING = 0.6  # of the formed mass, as in gencast.synthesis.histories
MASS, BIN = (7.25, 12.25), 0.125  # log10 of surviving stellar mass, Msun
N_STEP, LEAST = 100, -9.0
CITATION = (
    "Alarcon et al. 2025 arXiv:2510.27604 (DiffstarPop); Alarcon et al. 2023 MNRAS 518 562 (Diffstar); "
    "Hearin et al. 2021 OJAp 4 7 (Diffmah)"
)


def draw_haloes(key):
    "Haloes and subhaloes of all volumes at z = 0, and the number density each stands for, 1/Mpc^3."
    import jax
    from diffsky.mass_functions.mc_diffmah_tpeak import mc_subhalos
    from dsps.cosmology.flat_wcdm import CosmoParams

    cosmology = CosmoParams(Planck18.Om0, -1.0, 0.0, Planck18.h)
    parts = []
    for k, (low, high, volume) in enumerate(VOLUMES):
        cat = mc_subhalos(jax.random.fold_in(key, k), 0.0, low, volume_com=volume, cosmo_params=cosmology)
        keep = (np.asarray(cat.logmp0) >= low) & (np.asarray(cat.logmp0) < high)

        def pick(x):
            return np.asarray(x)[keep]

        satellite = pick(cat.upids) >= 0
        now = np.float64(Planck18.age(0).value)
        parts.append(
            {
                "mah": [pick(x) for x in cat.mah_params],
                "logmp0": pick(cat.logmp0),
                "upid": np.where(satellite, 1, -1),
                "lgmu": np.where(satellite, pick(cat.logmp_ult_inf) - pick(cat.logmhost_ult_inf), 0.0),
                "host": pick(cat.logmhost_ult_inf),
                "since": np.where(satellite, now - pick(cat.t_ult_inf), -100.0),
                "density": np.full(keep.sum(), 1 / volume),
            }
        )

    def join(name):
        return np.concatenate([p[name] for p in parts])

    mah = [np.concatenate(x) for x in zip(*(p["mah"] for p in parts))]
    return mah, {name: join(name) for name in parts[0] if name != "mah"}


def draw_formed(params, mah, haloes, key, time):
    """Mass formed until each time, Msun, shape (n_gal, n_time): the trapezoidal rule on a grid twenty times
    finer.
    """
    from diffmah.defaults import DiffmahParams
    from diffsky.experimental.mc_diffstarpop_wrappers import (
        mc_diffstar_params_galpop,
        mc_select_diffstar_params,
    )
    from diffstar import calc_sfh_galpop
    from diffstar.defaults import FB

    lgt0, fine = np.log10(time[-1]), np.linspace(0, time[-1], 20 * (len(time) - 1) + 1)
    fine[0] = 1e-3
    ms, quenched, _, is_quenched = mc_diffstar_params_galpop(
        params,
        haloes["logmp0"],
        mah[-1],
        haloes["upid"],
        haloes["lgmu"],
        haloes["host"],
        haloes["since"],
        key,
    )
    chosen = mc_select_diffstar_params(quenched, ms, is_quenched)
    formed = np.empty((len(mah[0]), len(time)))
    for i in range(0, len(formed), 5000):
        rows = slice(i, i + 5000)

        def cut(values):
            return type(values)(*(np.asarray(x)[rows] for x in values))

        sfh = np.asarray(
            calc_sfh_galpop(cut(chosen), DiffmahParams(*(x[rows] for x in mah)), fine, lgt0=lgt0, fb=FB),
            float,
        )
        mass = np.concatenate(
            [
                np.zeros((len(sfh), 1)),
                np.cumsum((sfh[:, 1:] + sfh[:, :-1]) / 2 * np.diff(fine) * 1e9, axis=1),
            ],
            axis=1,
        )
        formed[rows] = mass[:, ::20]
    return formed


def choose(log_mass, density, n, rng):
    """As many galaxies of each bin of mass, by their density; returns rows and the density that each row
    stands for.
    """
    edges = np.arange(MASS[0], MASS[1] + BIN / 2, BIN)
    rows, weight, per_bin = [], [], -(-n // (len(edges) - 1))
    for low, high in zip(edges[:-1], edges[1:]):
        inside = np.flatnonzero((log_mass >= low) & (log_mass < high))
        if not len(inside):
            continue
        k = min(per_bin, len(inside))
        rows.append(rng.choice(inside, k, replace=False, p=density[inside] / density[inside].sum()))
        weight.append(np.full(k, density[inside].sum() / k))
    rows, weight = np.concatenate(rows), np.concatenate(weight)
    order = np.argsort(log_mass[rows], kind="stable")
    return rows[order], weight[order]


def write(path, family, time, formed, density, seed):
    fit, what, cite = POPULATIONS[family]
    share = np.diff(formed, axis=1) / formed[:, -1:]
    assert np.isfinite(share).all() and (share >= 0).all() and np.abs(share.sum(axis=1) - 1).max() < 1e-12
    head = fits.Header()
    head["ORIGIN"], head["FAMILY"], head["FIT"] = (
        "gencast scripts/build_diffstarpop.py",
        f"diffstar_{family}",
        fit,
    )
    head["SIMULAT"], head["CITATION"], head["CITESIM"], head["LICENSE"] = (
        what,
        CITATION,
        cite,
        "BSD-3-Clause, (c) 2019-2023 Andrew Hearin",
    )
    head["PACKAGES"] = ", ".join(
        f"{p} {version(p)}" for p in ("diffsky", "diffstar", "diffmah", "dsps", "jax")
    )
    head["COSMOL"], head["SURVIVE"], head["SEED"] = f"Planck18, {time[-1]:.4f} Gyr old today", SURVIVING, seed
    image = fits.ImageHDU(np.log10(np.maximum(share, 10**LEAST)), name="LOG_SHARE")
    image.scale("int16", bscale=-LEAST / 65000, bzero=LEAST / 2)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("log_mstar", "E", unit="dex(solMass)", array=np.log10(SURVIVING * formed[:, -1])),
            fits.Column("density", "E", unit="Mpc-3", array=density),
        ],
        name="GALAXIES",
    )
    fits.HDUList([fits.PrimaryHDU(header=head), image, fits.ImageHDU(time, name="TIME"), table]).writeto(
        path, overwrite=True
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("gencast/synthesis/sfh_tables"))
    parser.add_argument("--galaxies", type=int, default=2250)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    import jax
    from diffstar.diffstarpop import SIMULATION_FIT_PARAMS

    args.out.mkdir(parents=True, exist_ok=True)
    key, time = jax.random.PRNGKey(args.seed), np.linspace(0, float(Planck18.age(0).value), N_STEP + 1)
    mah, haloes = draw_haloes(key)
    print(f"{len(mah[0])} haloes, {np.mean(haloes['upid'] > 0):.2f} of them subhaloes")
    for k, family in enumerate(POPULATIONS):
        formed = draw_formed(
            SIMULATION_FIT_PARAMS[POPULATIONS[family][0]], mah, haloes, jax.random.fold_in(key, 100 + k), time
        )
        good = (
            np.isfinite(formed).all(axis=1) & (np.diff(formed, axis=1) >= 0).all(axis=1) & (formed[:, -1] > 0)
        )
        print(f"{family}: {np.count_nonzero(~good)} of {len(good)} histories not finite, left out")
        log_mass = np.where(good, np.log10(np.maximum(SURVIVING * formed[:, -1], 1)), -1)
        print(
            f"{family}: {np.count_nonzero(log_mass >= 11.75)} of 11.75 dex(Msun) or more, "
            f"{np.count_nonzero((log_mass >= 9.125) & (log_mass < 9.25))} at 9.1-9.25"
        )
        rows, density = choose(
            log_mass, haloes["density"], args.galaxies, np.random.default_rng([args.seed, k])
        )
        write(args.out / f"diffstar_{family}.fits", family, time, formed[rows], density, args.seed)
    for path in sorted(args.out.glob("diffstar_*.fits")):
        print(
            f"{path.name}  sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}  {path.stat().st_size} "
            "bytes"
        )
    print("write these checksums into TABLES of nbs/synthesis/30_populations.ipynb")


if __name__ == "__main__":
    main()
