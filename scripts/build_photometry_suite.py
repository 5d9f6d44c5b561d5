"""Write gencast/synthesis/suites/photometry.yaml: twenty simulations for deep fields, 0.4 < z < 2, seen
from the ultraviolet to the near infrared.

    python scripts/build_photometry_suite.py

The design is that of scripts/build_default_suite.py: four stellar libraries by five dust laws, histories and
enrichment
balanced over them, amounts from a scrambled Sobol sequence. What differs: each galaxy has a redshift of its
own, drawn from the survey's;
the recipes hold at z = 1 and change with redshift (`evolution`). The ranges bracket what is observed at z =
1: a main
sequence about Speagle et al. (2014) and Whitaker et al. (2014), mass functions about Tomczak et al. (2014),
quenched
fractions about Muzzin et al. (2013), metallicities about those of Gallazzi et al. (2005) and up to 0.15 dex
below. The least mass is about
that of a galaxy with K = 24 (AB).
"""

from pathlib import Path

import yaml
from build_default_suite import DUST, SHORT, metallicity
from scipy.stats import qmc

LIBRARIES = ["bc03_stelib", "m11_stelib", "mastar", "bpass"]
HISTORIES = ["delayed_tau", "lognormal", "double_power_law", "bursty"]
RANGES = {  # low, high
    "knee": (10.7, 11.0),
    "alpha": (-1.45, -1.2),
    "minimum": (8.2, 8.8),
    "sampling": (0.1, 0.8),
    "a_v": (0.2, 1.0),
    "av_slope": (0.1, 0.4),
    "av_scatter": (0.15, 0.3),
    "birth_cloud": (0.0, 2.0),
    "ssfr": (-9.5, -8.9),
    "ssfr_evolution": (2.0, 3.2),
    "quench_mass": (10.5, 11.4),
    "z_offset": (-0.15, 0.2),
    "z_scatter": (0.1, 0.25),
    "z_evolution": (-0.6, 0.0),
    "minimum_evolution": (4.0, 4.8),
}
SHAPES = {
    "delayed_tau": {"onset": [0.2, 1.5]},
    "lognormal": {},
    "double_power_law": {},
}  # the Universe is 3.3 Gyr old at z = 2


def history(kind: str, v: dict) -> dict:
    "The history recipe of a simulation."
    family = "lognormal" if kind == "bursty" else kind
    bursts = {"burst_sigma": 0.4, "burst_time_gyr": 0.2} if kind == "bursty" else {}
    return {
        "family": family,
        **SHAPES[family],
        **bursts,
        "main_sequence": {"ssfr": v["ssfr"], "slope": -0.15, "scatter": 0.3},
        "quench": {
            "mass": v["quench_mass"],
            "width": 0.4,
            "timescale_gyr": [0.1, 0.6],
            "lookback_gyr": [0.3, 5.0],
        },
    }


def simulation(i: int, j: int, v: dict) -> dict:
    "The recipe of the simulation with library i and dust law j; v holds its amounts."
    law, kind = DUST[j], HISTORIES[(i + j) % len(HISTORIES)]
    short = {"delayed_tau": "tau", "lognormal": "lognormal", "double_power_law": "dpl", "bursty": "bursty"}[
        kind
    ]
    dust_name = {"power": "cf00"}.get(law, law)
    return {
        "name": f"{SHORT[LIBRARIES[i]]}-{dust_name}-{short}",
        "ssp": LIBRARIES[i],
        "dust": {
            "law": law,
            "a_v": v["a_v"],
            "slope": v["av_slope"],
            "scatter": v["av_scatter"],
            "birth_cloud": v["birth_cloud"],
        },
        "history": history(kind, v),
        "metallicity": metallicity(LIBRARIES[i], v) | {"enrichment": ["constant", "mass"][(i // 2 + j) % 2]},
        "mass": {"knee": v["knee"], "slope": v["alpha"], "minimum": v["minimum"], "sampling": v["sampling"]},
        "evolution": {
            "ssfr": v["ssfr_evolution"],
            "metallicity": v["z_evolution"],
            "minimum": v["minimum_evolution"],
        },
    }


def photometry_suite() -> dict:
    "The whole suite as a dictionary."
    points = qmc.scale(qmc.Sobol(len(RANGES), scramble=True, rng=21).random(32)[:20], *zip(*RANGES.values()))
    amounts = [dict(zip(RANGES, [round(float(x), 2) for x in p])) for p in points]
    return {
        "name": "photometry",
        "about": "Twenty simulations at 0.4 < z < 2 for deep fields such as ZFOURGE and 3D-HST, each galaxy "
        "at a redshift of its own",
        "redshift": 1.0,
        "redshift_range": [0.4, 2.0],
        "n_galaxies": 6500,
        "spectra": {"start": 3830, "stop": 7900, "pixels": 1000, "fwhm_kms": 500},
        "photometry": {"start": 1205, "stop": 18000, "pixels": 700, "fwhm_kms": 1500},
        "simulations": [simulation(i, j, amounts[5 * i + j]) for i in range(4) for j in range(5)],
    }


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "gencast" / "synthesis" / "suites" / "photometry.yaml"
    head = (
        "# Made by scripts/build_photometry_suite.py, which explains the design. It needs a catalogue:\n#  "
        "   gencast run photometry --catalogue my_field.cat\n"
    )
    path.write_text(
        head + yaml.safe_dump(photometry_suite(), sort_keys=False, width=120, default_flow_style=None),
        encoding="utf-8",
    )
    print(f"wrote {path.name}: {len(photometry_suite()['simulations'])} simulations")
