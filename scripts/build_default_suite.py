"""Write the suites of simulations at z = 0.1: gencast/synthesis/suites/default.yaml (20), wide.yaml (60) and
full_optical.yaml (20).

    python scripts/build_default_suite.py

Discrete choices form a balanced table, in two steps. First, five stellar libraries have four slots each
(twelve in `wide`). Dust laws go round with library and slot, so that each of the five meets each library as
evenly as can be; the seven kinds of history go round with the running number, so that no two of these choices
always go together; gas shines in three of five simulations, and enrichment alternates. Then FASTAR, the sixth
library, takes over slots with all that they hold but the stars: the last one of each of the last three
libraries (in `wide`, every sixth). So 4 + 4 + 3 + 3 + 3 + 3 simulations remain (ten of each in `wide`), and
all else is as balanced as before. A simulation that keeps its library has the galaxies and the place that it
had in the suite of five libraries. FASTAR comes with Chabrier's IMF only, that of the others: on another one
"mass" means another thing.

Amounts (mass function, attenuation, main sequence, quenching, metallicity, gas) follow a scrambled Sobol
sequence, which fills their ranges more evenly than independent random numbers. The ranges bracket what is
observed at z = 0.1: Schechter functions about Baldry et al. (2012), a main sequence about Speagle et al.
(2014), quenched fractions about Peng et al. (2010), stellar metallicities about Gallazzi et al. (2005);
histories from DiffstarPop bring the main sequence and the quenching of the simulations that it was fitted to.
Masses follow much the same Schechter function in all; what differs is how far down a simulation resolves them
and how its catalogue was sampled, from every galaxy of a volume (sampling 0) towards a survey limited by flux
(1.5), so that the suite reaches both the dwarfs and the giants that SDSS observed.

The grid is where SDSS sees low-redshift galaxies in the rest frame: its spectra cover 3,800-9,200 A, so
3,830-7,380 A is there for 97.5 % of the 9,988 galaxies in kcorrect's sample, and ends where M11-MILES does;
3,830-7,900 A would be there for 84.6 %, 3,650-9,000 A for none. `full_optical` has 3,000-9,000 A, from the
libraries that reach that far; it needs the extra `sed`, and is as coarse as PopStar.
"""

from pathlib import Path

import yaml
from scipy.stats import qmc

LIBRARIES = ["bc03_stelib", "m11_stelib", "m11_miles", "mastar", "bpass"]  # the first step of the design
SIXTH = "fastar"  # takes over slots of theirs
SHORT = {
    "bc03_stelib": "bc03",
    "m11_stelib": "m11",
    "m11_miles": "m11miles",
    "mastar": "mastar",
    "bpass": "bpass",
    "fastar": "fastar",
    "popstar": "popstar",
    "popstar_nebular": "popneb",
    "bc03_miles": "bc03miles",
}
HISTORIES = [
    "delayed_tau",
    "lognormal",
    "double_power_law",
    "bursty",
    "diffstar_tng",
    "diffstar_galacticus",
    "diffstar_um",
]
KIND = {
    "delayed_tau": "tau",
    "double_power_law": "dpl",
    "diffstar_tng": "tng",
    "diffstar_galacticus": "galacticus",
    "diffstar_um": "um",
}
DUST = ["calzetti", "cardelli", "smc", "salim", "power"]
RANGES = {  # low, high
    "knee": (10.7, 10.9),
    "alpha": (-1.25, -1.2),
    "minimum": (7.5, 8.5),
    "sampling": (0.0, 1.0),
    "a_v": (0.1, 1.2),
    "av_slope": (0.0, 0.35),
    "av_scatter": (0.15, 0.3),
    "birth_cloud": (0.0, 2.0),
    "ssfr": (-10.4, -9.7),
    "quench_mass": (10.2, 11.2),
    "z_offset": (-0.2, 0.3),
    "z_scatter": (0.1, 0.25),
    "escape": (0.0, 0.5),
    "excitation": (-0.2, 0.2),
}


def history(kind: str, v: dict) -> dict:
    "The history recipe of a simulation."
    if kind.startswith("diffstar"):
        return {"family": kind}
    bursts = {"burst_sigma": 0.4, "burst_time_gyr": 0.3} if kind == "bursty" else {}
    return {
        "family": "lognormal" if kind == "bursty" else kind,
        **bursts,
        "main_sequence": {"ssfr": v["ssfr"], "slope": -0.2, "scatter": 0.3},
        "quench": {"mass": v["quench_mass"], "width": 0.5, "timescale_gyr": [0.2, 1.0]},
    }


def metallicity(library: str, v: dict) -> dict:
    """The metallicity recipe. M11 has nothing below half solar, so its simulations are metal-rich with a flat
    relation.
    """
    if library.startswith("m11"):
        return {
            "relation": "linear",
            "offset": round(0.5 * v["z_offset"] + 0.05, 3),
            "slope": 0.1,
            "scatter": 0.12,
        }
    return {"relation": "gallazzi05", "offset": v["z_offset"], "scatter": v["z_scatter"]}


def simulation(library: str, i: int, j: int, number: int, v: dict) -> dict:
    "The recipe of slot j of library i with the stars of `library`; v holds its amounts."
    law, kind = DUST[(i + j) % len(DUST)], HISTORIES[number % len(HISTORIES)]
    gas = (
        {"nebular": {"escape": v["escape"], "excitation": v["excitation"]}}
        if (3 * i + j) % 5 < 3 and library != "popstar_nebular"
        else {}
    )
    most = (
        {"maximum": 11.2} if kind == "diffstar_tng" else {}
    )  # above, the fit to IllustrisTNG forms stars that the simulation does not
    return {
        "name": f"{SHORT[library]}-{law.replace('power', 'cf00')}-{KIND.get(kind, kind)}",
        "ssp": library,
        **gas,
        "dust": {
            "law": law,
            "a_v": v["a_v"],
            "slope": v["av_slope"],
            "scatter": v["av_scatter"],
            "birth_cloud": v["birth_cloud"],
        },
        "history": history(kind, v),
        "metallicity": metallicity(library, v) | {"enrichment": ["constant", "mass"][(i + j) % 2]},
        "mass": {"knee": v["knee"], "slope": v["alpha"], "minimum": v["minimum"], "sampling": v["sampling"]}
        | most,
    }


def suite(
    name: str, about: str, counts: dict, spectra: dict, given: range = range(0), seed: int = 20
) -> dict:
    "A whole suite; counts: slots of each library; given: numbers of the slots that the sixth library takes."
    n = sum(counts.values())
    points = qmc.scale(qmc.Sobol(len(RANGES), scramble=True, rng=seed).random(64)[:n], *zip(*RANGES.values()))
    amounts = [dict(zip(RANGES, [round(float(x), 2) for x in p])) for p in points]
    slots = [(library, i, j) for i, (library, count) in enumerate(counts.items()) for j in range(count)]
    return {
        "name": name,
        "about": about,
        "redshift": 0.1,
        "n_galaxies": 6500,
        "spectra": spectra,
        "photometry": {"start": 1500, "stop": 12000, "pixels": 700, "fwhm_kms": 1500},
        "simulations": [
            simulation(SIXTH if k in given else library, i, j, k, v)
            for k, ((library, i, j), v) in enumerate(zip(slots, amounts))
        ],
    }


SDSS = {"start": 3830, "stop": 7380, "pixels": 950, "fwhm_kms": 500}
SUITES = [
    suite(
        "default",
        "Twenty simulations at z = 0.1 that differ in stellar library, dust, gas, histories, enrichment and "
        "mass function",
        dict.fromkeys(LIBRARIES, 4),
        SDSS,
        given=range(11, 20, 4),
    ),
    suite(
        "wide",
        "Sixty such simulations, for a tighter law",
        dict.fromkeys(LIBRARIES, 12),
        SDSS,
        given=range(5, 60, 6),
    ),
    suite(
        "full_optical",
        "Twenty simulations at z = 0.1 on 3,000-9,000 A, from PopStar and BC03-MILES; needs the extra sed",
        {"popstar": 7, "popstar_nebular": 6, "bc03_miles": 7},
        {"start": 3000, "stop": 9000, "pixels": 400, "fwhm_kms": 2100},
    ),
]


if __name__ == "__main__":
    head = (
        "# Made by scripts/build_default_suite.py, which explains the design. Copy it, change it, and pass "
        "your copy:\n#     gencast run my_suite.yaml\n"
    )
    for made in SUITES:
        path = Path(__file__).parent.parent / "gencast" / "synthesis" / "suites" / f"{made['name']}.yaml"
        path.write_text(
            head + yaml.safe_dump(made, sort_keys=False, width=120, default_flow_style=None), encoding="utf-8"
        )
        print(f"wrote {path.name}: {len(made['simulations'])} simulations")
