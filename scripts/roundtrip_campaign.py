"""The same galaxies, written in random ways, must be read back as the same sample.

    python scripts/roundtrip_campaign.py --cases 10000 --seed 1
    python scripts/roundtrip_campaign.py --replay 17 --seed 1

A case is a number and the seed; nothing else decides what is written. Each makes 8 galaxies in 2 bands with
errors, redshifts, ids of 62 bits, masses and rates of star formation. It writes them in units, logarithms,
precision, byte order and format drawn at random, with codes for some values, and compares what `load_table`
gives, to 1e-5. One case in ten is a `.cat` whose zero point is stated in one of several ways. The program
ends with 1 where a case fails.
"""

import argparse
import gzip
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import h5py
import numpy as np
from astropy import units as u
from astropy.cosmology import Planck18
from astropy.io import fits
from astropy.io.votable.tree import VOTableFile
from astropy.table import Table

from gencast.data.fields import load_catalogue
from gencast.data.readers import load_table

N, TOLERANCE = 8, 1e-5
WAVES = {"g": 4702.0, "r": 6176.0}
OBSERVED = [
    "uJy",
    "nJy",
    "Jy",
    "mJy",
    "nanomaggy",
    "erg/s/cm2/AA",
    "1E-17 erg/s/cm^2/Ang",
    "W/m2/Hz",
    "mag(AB)",
]
OBSERVED += ["dex(uJy)", "dex(erg/s/cm2/Hz)", "log(mJy)", "dB(Jy)"]
REST = ["Lsun", "erg/s", "W", "Lsun/AA", "erg/s/Hz", "dex(Lsun)", "dex(erg/s)", "log(W/Hz)", "mag(AB)"]
MASSES = ["Msun", "1e10 Msun", "kg", "dex(Msun)", "log10(Msun)", "dex(1e10 Msun)"]
RATES = ["Msun/yr", "Msun/Gyr", "dex(Msun/yr)", "dex(Msun / Gyr)"]
FORMATS = [".csv", ".tsv", ".dat", ".csv.gz", ".ecsv", ".fits", ".fits.gz", ".hdf5", ".npz", ".npy", ".vot"]
CODES = [-99.0, -99.9, -9.99e9, -0.9999995e9, -999.0, -1e30]
VOTABLES = {"f4": "tabledata", "f8": "binary2", ">f4": "binary", ">f8": "tabledata"}  # precision -> encoding
ZERO_POINTS = [25.0, 23.9, 31.4, 22.5, 8.9]


def plain(unit: str) -> u.UnitBase:
    "The linear unit in astropy's words."
    inner = unit[unit.index("(") + 1 : -1] if unit.startswith(("dex(", "log(", "log10(", "dB(")) else unit
    inner = inner.replace("1E-17", "1e-17").replace("^", "").replace("/Ang", "/AA")
    return {"nanomaggy": u.Unit("3.631e-6 Jy"), "mag(AB)": u.Unit("3631 Jy")}.get(inner) or u.Unit(inner)


def as_written(linear: np.ndarray, sigma: np.ndarray, unit: str) -> tuple:
    "Values and errors under a unit: logarithms where it is one."
    slope = {"mag": -0.4, "dB(": 0.1, "dex": 1.0, "log": 1.0}.get(unit[:3])
    if slope is None:
        return linear, sigma
    return np.log10(linear) / slope, sigma / linear / np.log(10) / abs(slope)


def to_unit(lum: np.ndarray, z: np.ndarray | None, wave: np.ndarray, unit: str) -> np.ndarray:
    "nu L_nu in Lsun as a linear value in a unit."
    lam, nu = wave * u.AA, (wave * u.AA).to(u.Hz, u.spectral())
    if z is None and unit != "mag(AB)":
        wanted = plain(unit)
        for density in (1, lam, nu):
            value = lum * u.L_sun / density
            if value.unit.is_equivalent(wanted):
                return value.to_value(wanted)
    distance = 10 * u.pc if z is None else Planck18.luminosity_distance(z)[:, None]
    f_nu = lum * u.L_sun / nu / (4 * np.pi * distance**2)
    return f_nu.to_value(plain(unit), u.spectral_density(lam))


def draw(rng: np.random.Generator) -> dict:
    "Galaxies, and how they are to be written."
    lum = 10 ** rng.uniform(8.5, 11, (N, 2))
    return {
        "lum": lum,
        "err": lum * rng.uniform(0.02, 0.3, lum.shape),
        "z": rng.uniform(0.02, 1.5, N),
        "ids": rng.integers(2**53, 2**62, N),
        "log_mstar": rng.uniform(8, 11.5, N),
        "log_sfr": rng.uniform(-2, 2, N),
        "frame": rng.choice(["observed", "rest"]),
        "format": rng.choice(FORMATS),
        "precision": rng.choice(["f4", "f8", ">f4", ">f8"]),
        "error": rng.choice(["error", "ivar", "own unit", "variance"]),
        "code": float(rng.choice(CODES)),
        "missing": rng.random(N) < 0.2,
    }


def table_of(case: dict, rng: np.random.Generator) -> tuple:  # columns, units of the file, mapping
    "The columns of a case and the mapping that describes them."
    observed = case["frame"] == "observed"
    wave = np.array(list(WAVES.values()))
    columns, units = {"id": case["ids"]}, {}
    mapping = {
        "frame": case["frame"],
        "ids": "id",
        "bad": "leave out",
        "missing": [case["code"]],
        "bands": {},
    }
    mapping |= {"redshift": "z", "properties": {}}
    columns["z"] = case["z"]
    for k, band in enumerate(WAVES):
        unit = str(rng.choice(OBSERVED if observed else REST))
        z = case["z"] if observed else None
        pair = [to_unit(x[:, k : k + 1], z, wave[k : k + 1], unit)[:, 0] for x in (case["lum"], case["err"])]
        value, error = as_written(*pair, unit)
        entry = {"column": f"f_{band}", "wave": float(wave[k]), "unit": unit}
        columns[f"f_{band}"] = value
        if case["error"] == "ivar":
            columns[f"w_{band}"], entry["ivar"] = error**-2.0, f"w_{band}"
        elif case["error"] == "variance" and unit in ("uJy", "nJy", "Jy", "Lsun", "W"):
            columns[f"v_{band}"], entry["error"], entry["error_unit"] = error**2, f"v_{band}", f"{unit}2"
        elif case["error"] == "own unit" and unit in ("uJy", "nJy", "Jy", "mJy"):
            columns[f"e_{band}"] = (error * u.Unit(unit)).to_value(u.nJy)
            entry |= {"error": f"e_{band}", "error_unit": "nJy"}
        else:
            columns[f"e_{band}"], entry["error"] = error, f"e_{band}"
        mapping["bands"][band] = entry
    for prop, choices in (("log_mstar", MASSES), ("log_sfr", RATES)):
        unit = str(rng.choice(choices))
        base = u.M_sun if prop == "log_mstar" else u.M_sun / u.yr
        linear = (10 ** case[prop] * base).to_value(plain(unit))
        columns[prop[4:]] = as_written(linear, linear, unit)[0]
        mapping["properties"][prop] = {"column": prop[4:], "unit": unit}
    holes = rng.choice([c for c in columns if c != "id"])
    columns[holes] = np.where(case["missing"], case["code"], columns[holes])
    return columns, units, mapping


def write_votable(path: Path, table: Table, form: str) -> None:
    """Write a VOTable with astropy's writer in Python. The one in C writes beyond its memory where a row has
    256, 512, ... characters (astropy issue 20419), and the interpreter crashes some time later.
    """
    file = VOTableFile.from_table(table)
    file.to_xml(str(path), tabledata_format=form, _debug_python_based_parser=True)


def write(path: Path, columns: dict, precision: str) -> dict:
    "Write a table in the format of its ending; the columns as the file holds them."
    text = path.suffix in (".csv", ".tsv", ".dat", ".gz", ".ecsv", ".vot") and not path.name.endswith(
        ".fits.gz"
    )
    kind = precision.replace(">", "") if text else precision
    with np.errstate(over="ignore", under="ignore"):
        held = {k: v if k == "id" else np.asarray(v).astype(kind) for k, v in columns.items()}
    names = list(held)
    if path.suffix in (".csv", ".tsv", ".dat", ".gz") and not path.name.endswith(".fits.gz"):
        separator = {".tsv": "\t", ".dat": " "}.get(path.suffix, ",")
        lines = [separator.join(names)] + [
            separator.join(map(str, row)) for row in zip(*(held[n] for n in names))
        ]
        lines[0] = "# " + lines[0] if path.suffix == ".dat" else lines[0]
        content = ("\n".join(lines) + "\n").encode()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    elif path.suffix == ".ecsv":
        Table(held).write(path, format="ascii.ecsv")
    elif path.suffix == ".vot":
        write_votable(path, Table(held), VOTABLES[precision])
    elif path.suffix == ".hdf5":
        with h5py.File(path, "w") as f:
            for name, values in held.items():
                f[f"cat/{name}"] = values
    elif path.suffix == ".npz":
        np.savez(path, **held)
    elif path.suffix == ".npy":
        np.save(path, Table(held).as_array())
    else:
        codes = {"f4": "E", "f8": "D"}
        made = [fits.Column(n, "K" if n == "id" else codes[kind[-2:]], array=v) for n, v in held.items()]
        fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made)]).writeto(path)
    return held


def usable(case: dict, columns: dict, precision: str) -> bool:
    "Whether all numbers fit into the precision; 1e-44 is none of single precision."
    numbers = np.abs(np.concatenate([np.asarray(v, float) for k, v in columns.items() if k != "id"]))
    numbers = numbers[numbers > 0]
    return "8" in precision or (numbers.min() > 1e-37 and numbers.max() < 3e38)


def check(name: str, found, right) -> None:
    "AssertionError where two arrays differ by more than the tolerance."
    np.testing.assert_allclose(found, right, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def run_table(case: dict, rng: np.random.Generator, folder: Path) -> None:
    "Write a case as a table and read it back."
    columns, _, mapping = table_of(case, rng)
    precision = case["precision"] if usable(case, columns, case["precision"]) else "f8"
    write(folder / f"t{case['format']}", columns, precision)
    if case["format"] == ".hdf5":
        mapping["part"] = "cat"
    stay = ~case["missing"]
    if not stay.any():
        return
    found = load_table(folder / f"t{case['format']}", mapping)
    assert found.ids == tuple(map(str, case["ids"][stay])), "ids"
    scale = 1 / case["lum"][stay]
    loose = 30 if "4" in precision else 1  # a step of single precision in a logarithm is 1e-6 dex and more
    check("flux", (found.flux * scale - 1) / loose, 0)
    check("error", (found.flux_err / case["err"][stay] - 1) / loose / 10, 0)
    for prop in ("log_mstar", "log_sfr"):
        check(prop, found.properties[prop] / loose, case[prop][stay] / loose)


def run_catalogue(case: dict, rng: np.random.Generator, folder: Path) -> None:
    "Write a case as a .cat with a zero point that is stated in one of several ways, and read it back."
    zero = float(rng.choice(ZERO_POINTS))
    z = 0.4 + case["z"] / 1.5
    names = {"F435W": 1, "F606W": 4, "F125W": 203, "F160W": 205}
    flux = 10 ** rng.uniform(0, 2, (N, 4)) * 10 ** (0.4 * (zero - 25))
    unit = {25.0: None, 23.9: "uJy", 31.4: "nJy", 22.5: "nanomaggies", 8.9: "Jy"}[zero]
    said = [f"# AB ZP: {zero}", f"# zero point = {zero:g}", f"# mag = {zero:g} - 2.5 log10(f)"]
    lines = [str(rng.choice(said + [f"# fluxes in {unit}"] * bool(unit)))]
    lines.append("# id " + " ".join(f"f_{n} e_{n}" for n in names) + " z_spec")
    lines.append("# id " + " ".join(f"F{k} E{k}" for k in names.values()) + " z_spec")
    for i, row, redshift in zip(case["ids"], flux, z):
        lines.append(f"{i} " + " ".join(f"{v:.9g} {0.02 * v:.9g}" for v in row) + f" {redshift:.9g}")
    (folder / "m.cat").write_text("\n".join(lines) + "\n")
    found = load_catalogue(folder / "m.cat", (0.3, 1.5), snr=5, error_floor=0.0)
    micro = flux * 10 ** (0.4 * (23.9 - zero))
    lum = to_unit(np.ones((N, len(found.wave))), z, found.wave, "uJy")
    used = [list(names).index(n) for n in found.meta["columns"]]
    assert found.ids == tuple(map(str, case["ids"])), "ids"
    check("flux", found.flux * lum / micro[:, used] / 10 - 0.1, 0)
    assert found.meta["zero_point"] == zero


def run_case(number: int, seed: int) -> None:
    "One case. Raises where it is not read as it was written."
    rng = np.random.default_rng([seed, number])
    case = draw(rng)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        (run_catalogue if rng.random() < 0.1 else run_table)(case, rng, Path(folder))


def campaign(cases: int, seed: int, show=print) -> int:  # cases that failed
    "Run cases 0 to `cases`; each failure is shown with its number."
    failed = 0
    for number in range(cases):
        try:
            run_case(number, seed)
        except Exception as err:
            failed += 1
            show(f"case {number}: {type(err).__name__}: {' '.join(str(err).split())[:300]}")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the same galaxies in random ways and read them back.")
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", type=int, help="run one case, with its traceback")
    args = parser.parse_args()
    if args.replay is not None:
        try:
            run_case(args.replay, args.seed)
        except Exception:
            traceback.print_exc()
            return 1
        return 0
    failed = campaign(args.cases, args.seed)
    print(f"{args.cases:,} cases, {failed:,} not read as they were written")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
