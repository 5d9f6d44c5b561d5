"""Write gencast/suites/default.yaml: twenty universes spread evenly over what simulations assume.

    python scripts/build_default_suite.py

Discrete choices form a balanced table: four stellar libraries by five dust laws, in which every history family,
every enrichment and every pair (library, history), (dust law, history), (library, enrichment) occurs as evenly as
twenty simulations allow. Amounts (mass function, attenuation, main sequence, quenching, metallicity) follow a
scrambled Sobol sequence, which fills their ranges more evenly than independent random numbers. The ranges bracket
what is observed at z = 0.1: Schechter functions about Baldry et al. (2012), a main sequence about Speagle et al.
(2014), quenched fractions about Peng et al. (2010), stellar metallicities about Gallazzi et al. (2005).
Masses follow much the same Schechter function in all; what differs is how far down a simulation resolves them and
how its catalogue was sampled, from every galaxy of a volume (sampling 0) towards a survey limited by flux (1.5), so
that the suite reaches both the dwarfs and the giants that SDSS observed.
"""

from pathlib import Path

import yaml
from scipy.stats import qmc

LIBRARIES = ["bc03_stelib", "m11_stelib", "mastar", "bpass"]
SHORT = {"bc03_stelib": "bc03", "m11_stelib": "m11", "mastar": "mastar", "bpass": "bpass"}
HISTORIES = ["delayed_tau", "lognormal", "double_power_law", "bursty"]
DUST = ["calzetti", "cardelli", "smc", "salim", "power"]
RANGES = {  # low, high
    "knee": (10.7, 10.9), "alpha": (-1.25, -1.2), "minimum": (7.5, 8.5), "sampling": (0.0, 1.0),
    "a_v": (0.1, 1.2), "av_slope": (0.0, 0.35), "av_scatter": (0.15, 0.3), "birth_cloud": (0.0, 2.0),
    "ssfr": (-10.4, -9.7), "quench_mass": (10.2, 11.2),
    "z_offset": (-0.2, 0.3), "z_scatter": (0.1, 0.25),
}


def history(kind: str, v: dict) -> dict:
    "The history recipe of a simulation."
    bursts = {"burst_sigma": 0.4, "burst_time_gyr": 0.3} if kind == "bursty" else {}
    return {
        "family": "lognormal" if kind == "bursty" else kind, **bursts,
        "main_sequence": {"ssfr": v["ssfr"], "slope": -0.2, "scatter": 0.3},
        "quench": {"mass": v["quench_mass"], "width": 0.5, "timescale_gyr": [0.2, 1.0]},
    }


def metallicity(library: str, v: dict) -> dict:
    "The metallicity recipe. M11-STELIB has nothing below half solar, so its universes are metal-rich with a flat relation."
    if library == "m11_stelib":
        return {"relation": "linear", "offset": round(0.5 * v["z_offset"] + 0.05, 3), "slope": 0.1, "scatter": 0.12}
    return {"relation": "gallazzi05", "offset": v["z_offset"], "scatter": v["z_scatter"]}


def simulation(i: int, j: int, v: dict) -> dict:
    "The recipe of the simulation with library i and dust law j; v holds its amounts."
    law, kind = DUST[j], HISTORIES[(i + j) % len(HISTORIES)]
    enrichment = ["constant", "mass"][(i // 2 + j) % 2]
    short = {"delayed_tau": "tau", "lognormal": "lognormal", "double_power_law": "dpl", "bursty": "bursty"}[kind]
    dust_name = {"power": "cf00"}.get(law, law)
    return {
        "name": f"{SHORT[LIBRARIES[i]]}-{dust_name}-{short}",
        "ssp": LIBRARIES[i],
        "dust": {"law": law, "a_v": v["a_v"], "slope": v["av_slope"], "scatter": v["av_scatter"], "birth_cloud": v["birth_cloud"]},
        "history": history(kind, v),
        "metallicity": metallicity(LIBRARIES[i], v) | {"enrichment": enrichment},
        "mass": {"knee": v["knee"], "slope": v["alpha"], "minimum": v["minimum"], "sampling": v["sampling"]},
    }


def default_suite() -> dict:
    "The whole suite as a dictionary."
    points = qmc.scale(qmc.Sobol(len(RANGES), scramble=True, rng=20).random(32)[:20], *zip(*RANGES.values()))
    amounts = [dict(zip(RANGES, [round(float(x), 2) for x in p])) for p in points]
    return {
        "name": "default",
        "about": "Twenty universes at z = 0.1 that differ in stellar library, dust, histories, enrichment and mass function",
        "redshift": 0.1,
        "n_galaxies": 6500,
        "spectra": {"start": 3830, "stop": 7900, "pixels": 1000, "fwhm_kms": 500},
        "photometry": {"start": 1500, "stop": 12000, "pixels": 700, "fwhm_kms": 1500},
        "simulations": [simulation(i, j, amounts[5 * i + j]) for i in range(4) for j in range(5)],
    }


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "gencast" / "suites" / "default.yaml"
    head = "# Made by scripts/build_default_suite.py, which explains the design. Copy it, change it, and pass your copy:\n#     gencast run my_suite.yaml\n"
    path.write_text(head + yaml.safe_dump(default_suite(), sort_keys=False, width=120, default_flow_style=None), encoding="utf-8")
    print(f"wrote {path.name}: {len(default_suite()['simulations'])} simulations")
