#!/usr/bin/env python3
"""Write gencast/synthesis/suites/paper.yaml: one population of galaxies under twenty sets of assumptions.

    python scripts/build_paper_suite.py

This is the setting of Acquaviva, Lovell & Ishida (2020): the galaxies are of one kind, and what differs is
how they are modelled. Five stellar libraries by four dust laws give twenty simulations. Histories
(DiffstarPop, fitted to IllustrisTNG), mass function and mass-metallicity relation are the same in all. Each
simulation draws galaxies of its own from that one population, so that no galaxy is both in the training set
of one and in the test set of another.

Each dust law comes with an amount of its own, because a law alone changes an optical spectrum little. The
amounts were chosen after a first result: with A_V of 0.3, 0.6, 0.45 and 0.9 mag the correlation of log MSE
with the mean Euclidean distance within a target was 0.04. Unlike amounts, from nearly none to much, make the
distances differ more than the noise does. So the suite shows that the paper's
trend can be had and how, not that it must come.

The metallicities are those that all five libraries cover: M11 has nothing below half solar. There is no gas.
"""

from pathlib import Path

import yaml
from build_default_suite import LIBRARIES, SDSS, SHORT

DUST = {"calzetti": 0.1, "cardelli": 0.5, "smc": 1.0, "power": 1.6}  # law -> A_V at 10^10 Msun, mag
POPULATION = {
    "history": {"family": "diffstar_tng"},
    "metallicity": {
        "relation": "linear",
        "offset": 0.05,
        "slope": 0.1,
        "scatter": 0.12,
        "enrichment": "constant",
    },
    "mass": {"knee": 10.8, "slope": -1.22, "minimum": 8.0, "maximum": 11.2, "sampling": 0.5},
}


def simulation(library: str, law: str, a_v: float) -> dict:
    "The recipe of one library with one dust law."
    dust = {"law": law, "a_v": a_v, "slope": 0.2, "scatter": 0.2, "birth_cloud": 1.0}
    name = f"{SHORT[library]}-{law.replace('power', 'cf00')}-tng"
    return {"name": name, "ssp": library, "dust": dust, **POPULATION}


def paper_suite() -> dict:
    "The whole suite as a dictionary."
    return {
        "name": "paper",
        "about": "One population of galaxies at z = 0.1 under twenty sets of assumptions: five stellar "
        "libraries by four dust laws, as in the paper",
        "redshift": 0.1,
        "n_galaxies": 6500,
        "spectra": SDSS,
        "photometry": {"start": 1500, "stop": 12000, "pixels": 700, "fwhm_kms": 1500},
        "simulations": [simulation(library, *dust) for library in LIBRARIES for dust in DUST.items()],
    }


class Dumper(yaml.SafeDumper):
    "Writes equal parts out in full, without anchors."

    def ignore_aliases(self, data):
        return True


if __name__ == "__main__":
    path = Path(__file__).parent.parent / "gencast" / "synthesis" / "suites" / "paper.yaml"
    head = "# Made by scripts/build_paper_suite.py, which explains the design.\n#     gencast run paper\n"
    text = yaml.dump(paper_suite(), Dumper=Dumper, sort_keys=False, width=120, default_flow_style=None)
    path.write_text(head + text, encoding="utf-8")
    print(f"wrote {path.name}: {len(paper_suite()['simulations'])} simulations")
