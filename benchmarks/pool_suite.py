"""A suite of made-up simulations whose parameters vary continuously, as CAMELS' do, for benchmarks and tests.

python benchmarks/pool_suite.py 100 folder
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from gencast.data.photometry import band_wavelengths

BANDS = "ugriz"
RANGES = {"feedback": (-1.0, 1.0), "dust": (0.2, 1.8), "metals": (-0.5, 0.5), "cosmic": (0.1, 0.5)}


def galaxies(parameters: dict, n: int, seed: tuple) -> pd.DataFrame:
    "Galaxies of one simulation, in five bands; `cosmic` changes nothing."
    rng = np.random.default_rng(seed)
    mass, age, dust = rng.normal(10, 0.5, n), rng.normal(0, 0.3, n), rng.gamma(2.0, 0.15, n)
    slope = np.linspace(1, -1, len(BANDS))
    light = (
        mass[:, None]
        - 0.4 * age[:, None] * (1 + 0.6 * slope + 0.3 * slope**2)
        + 0.25 * parameters["metals"] * (age[:, None] * slope**2 - 0.4 * slope)
        - 0.4 * parameters["dust"] * dust[:, None] * (1 + 0.8 * slope)
        + 0.15 * parameters["feedback"] * (mass[:, None] - 10)
        + 0.01 * rng.normal(size=(n, len(BANDS)))
    )
    return pd.DataFrame(
        {"id": np.arange(n), **{b: 10 ** light[:, i] for i, b in enumerate(BANDS)}, "mass": 10**mass}
    )


def write_suite(folder: Path, n: int, n_galaxies: int = 100, families: int = 0, seed: int = 0) -> Path:
    "Tables and suite file of n simulations; `families`: how many families they are of, 0 for none."
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    values = {k: rng.uniform(*limits, n + 1) for k, limits in RANGES.items()}
    names, simulations = [f"sim{k:04d}" for k in range(n)], []
    for k, name in enumerate([*names, "sky"]):
        parameters = {key: round(float(v[k]), 4) for key, v in values.items()}
        galaxies(parameters, n_galaxies, (seed, k)).to_csv(folder / f"{name}.csv", index=False)
        entry = {"name": name, "table": f"{name}.csv", "parameters": parameters}
        if families:
            entry["family"] = {"code": f"code {chr(65 + k % families)}"}
        simulations.append(entry)
    waves = dict(zip(BANDS, band_wavelengths().round(1).tolist()))
    columns = {
        "unit": "Lsun",
        "ids": "id",
        "bands": {b: {"column": b, "wave": w} for b, w in waves.items()},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    suite = {
        "name": f"pool{n}",
        "tables": {"columns": columns},
        "simulations": simulations[:-1],
        "survey": {"name": "sky", "table": "sky.csv"},
    }
    path = folder / "suite.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    return path


if __name__ == "__main__":
    print(write_suite(Path(sys.argv[2]), int(sys.argv[1])))
