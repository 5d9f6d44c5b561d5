"Files of every kind that gencast reads, and ways to damage them. See fuzz_campaign.py."

import gzip
import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import nbformat
import numpy as np
import yaml
from astropy.io import fits
from astropy.table import Table

import gencast
from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.cache import remember
from gencast.core.sample import Sample, load_sample, save_sample
from gencast.data.catalogues import write_catalogue
from gencast.data.fetch import COLUMNS, REFERENCE, fetch_3dhst, read_manifest
from gencast.data.fields import load_catalogue
from gencast.data.mappings import load_mapping
from gencast.data.particles import read_particles
from gencast.data.photometry import band_wavelengths
from gencast.data.readers import load_table
from gencast.data.references import load_spectra
from gencast.data.specfiles import write_spec
from gencast.data.suites import load_suite
from gencast.data.surveys import WAVE_GRID, load_sdss_spectra
from gencast.pipeline.configure import load_settings
from gencast.report.examples import toy_results
from gencast.report.forecast_sentences import describe_forecast
from gencast.report.pairs import pair_table
from gencast.report.record import provenance, stage_times
from gencast.report.results import choices, load_results
from gencast.report.surveys import survey_notes, tabulate_survey
from gencast.site.targets import stage_targets

BANDS = dict(u=3560.0, g=4700.0, r=6180.0, i=7500.0, z=8960.0)
N, N_WAVE = 12, 60


@dataclass(frozen=True)
class Corpus:
    "Files of one kind."

    name: str
    make: Callable  # folder -> None: write sound files
    use: Callable  # folder -> result; raises `InputError`
    damage: Callable  # folder, generator -> (what was done, whether it can be noticed)
    facts: Callable  # result -> something JSON can hold: equal for equal results
    valid: Callable = lambda result: True  # what every result must fulfil
    share: float = 1.0


def numbers(*arrays) -> str:
    "Fingerprint of arrays to eleven digits, so that a unit that is written otherwise does not matter."
    return hashlib.sha256(
        b"".join(np.char.mod("%.10e", np.asarray(a, float)).tobytes() for a in arrays if a is not None)
    ).hexdigest()


def sample_facts(s: Sample) -> list:
    left = {k: v for k, v in s.meta.items() if k in ("left_out", "lifted_to_floor")}
    return [
        s.bands,
        s.ids,
        left,
        numbers(s.flux, s.wave, s.flux_err, s.redshift, *s.properties.values()),
        list(s.properties),
    ]


def sample_valid(s: Sample) -> bool:
    "Finite brightness, positive wavelengths, no infinite property; bands brighter than zero."
    ends = {"log_mstar": (-5, 20), "a_v": (-5, 100), "log_sfr": (-30, 10)}
    ok = (
        np.isfinite(s.flux).all()
        and (np.asarray(s.wave) > 0).all()
        and (s.flux_err is None or np.isfinite(s.flux_err).all() and (s.flux_err >= 0).all())
    )
    ok &= not s.bands or bool((s.flux > 0).all())
    ok &= s.redshift is None or bool((np.isfinite(s.redshift) & (s.redshift > 0) & (s.redshift < 30)).all())
    return bool(ok) and all(
        np.all(
            ~np.isfinite(v) & ~np.isinf(v)
            | (v > ends.get(k, (-np.inf, 0))[0]) & (v < ends.get(k, (0, np.inf))[1])
        )
        for k, v in s.properties.items()
    )


# ---------------------------------------------------------------- damage to bytes


def damage_bytes(path: Path, rng: np.random.Generator) -> str:
    "Damage a file as disks, networks and editors do."
    raw, at = path.read_bytes(), lambda n: int(rng.integers(0, max(n, 1)))
    n = len(raw)
    a, b = sorted((at(n), at(n)))
    b = min(b, a + 4096)
    kinds = {
        "cut": lambda: raw[: at(n)],
        "cut near the end": lambda: raw[: n - 1 - at(64)],
        "cut to a block": lambda: raw[: n // 2880 * 2880 - 2880 * (1 + at(3))],
        "flip one bit": lambda: raw[:a] + bytes([raw[a] ^ (1 << at(8))]) + raw[a + 1 :] if n else raw,
        "flip a byte": lambda: raw[:a] + bytes([at(256)]) + raw[a + 1 :],
        "flip a byte of the head": lambda: (lambda h: raw[:h] + bytes([at(256)]) + raw[h + 1 :])(
            at(min(n, 600))
        ),
        "flip sixteen": lambda: bytes(
            v if k not in spots else at(256)
            for spots in [set(rng.integers(0, max(n, 1), 16).tolist())]
            for k, v in enumerate(raw)
        ),
        "insert": lambda: raw[:a] + rng.bytes(1 + at(50)) + raw[a:],
        "insert text": lambda: (
            raw[:a]
            + rng.choice(
                [
                    b"nan",
                    b"-1e999",
                    b",,",
                    b"\n",
                    b"\x00",
                    b"\xff\xfe",
                    b'"',
                    b"{",
                    b"&a",
                    b"#",
                    b"=1+1",
                    b"\x1b[31m",
                ]
            )
            + raw[a:]
        ),
        "take out": lambda: raw[:a] + raw[b:],
        "repeat": lambda: raw[:b] + raw[a:b] + raw[b:],
        "blank": lambda: raw[:a] + b"\0" * (b - a) + raw[b:],
        "fill": lambda: raw[:a] + b"\xff" * (b - a) + raw[b:],
        "swap": lambda: raw[b:] + raw[:a] + raw[a:b],
        "append": lambda: raw + rng.bytes(1 + at(3000)),
        "empty": lambda: b"",
        "noise": lambda: rng.bytes(n),
        "twice": lambda: raw + raw,
        "BOM": lambda: b"\xef\xbb\xbf" + raw,
        "CRLF": lambda: raw.replace(b"\n", b"\r\n"),
        "CR": lambda: raw.replace(b"\n", b"\r"),
        "not UTF-8": lambda: raw[:a] + b"\xe9\xff" + raw[a:],
        "UTF-16": lambda: raw.decode("latin-1").encode("utf-16"),
        "a long line": lambda: raw[:a] + b"x" * 3_000_000 + raw[a:],
        "NUL": lambda: raw[:a] + b"\0" + raw[a:],
        "upper case": lambda: raw.upper(),
        "a web page": lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
        "a pickle": lambda: (
            b"\x80\x04\x95\x1d\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94."
        ),
    }
    what = str(rng.choice(list(kinds)))
    path.write_bytes(kinds[what]())
    return what


def damage_place(path: Path, rng: np.random.Generator) -> str:
    "Put something else where a file was."
    what = str(
        rng.choice(
            ["nothing", "a folder", "a link to itself", "a dead link", "a link to a folder", "a pipe's end"]
        )
    )
    path.unlink()
    if what == "a folder":
        path.mkdir()
    elif what == "a link to itself":
        path.symlink_to(path.name)
    elif what == "a dead link":
        path.symlink_to("nowhere")
    elif what == "a link to a folder":
        path.symlink_to(path.parent)
    elif what == "a pipe's end":
        os.mkfifo(path)
    return what


def generic(
    pick: Callable,
    special: Callable | None = None,
    sealed: tuple = ("cut", "cut near the end", "cut to a block", "empty", "noise", "a web page", "a pickle"),
) -> Callable:
    """Damage to bytes and places, and at times `special(folder, rng)`. `sealed`: kinds of damage that the
    format itself betrays.
    """

    def damage(folder: Path, rng: np.random.Generator) -> tuple:
        if special and rng.random() < 0.55:
            return special(folder, rng)
        path = pick(folder, rng)
        if rng.random() < 0.06:
            return f"{path.name}: {damage_place(path, rng)}", False
        what = damage_bytes(path, rng)
        return f"{path.name}: {what}", what in sealed

    return damage


def one_of(*names: str) -> Callable:
    "Pick one of the files of these names."
    return lambda folder, rng: folder / str(rng.choice([n for n in names if (folder / n).is_file()]))


# ---------------------------------------------------------------- tables


def sound_table() -> dict:
    rng = np.random.default_rng(5)
    table = {"id": np.arange(100, 100 + N)}
    for k, b in enumerate(BANDS):
        table |= {f"f_{b}": rng.uniform(20, 90, N) * (k + 1), f"e_{b}": rng.uniform(0.5, 1.0, N)}
    return table | {
        "z": rng.uniform(0.1, 0.4, N),
        "mass": 10 ** rng.uniform(9, 11, N),
        "av": rng.uniform(0, 2, N),
    }


UNITS = {"mass": "Msun", "av": "mag", **{f"{k}_{b}": "uJy" for k in "fe" for b in BANDS}}
MAPPING = {
    "frame": "observed",
    "unit": "uJy",
    "ids": "id",
    "redshift": "z",
    "bands": {b: {"column": f"f_{b}", "error": f"e_{b}", "wave": w} for b, w in BANDS.items()},
    "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}, "a_v": {"column": "av", "unit": "mag"}},
}


def write_table(table: dict, path: Path, units: dict = UNITS) -> None:
    "Write columns in the format of the file's ending."
    kind = path.name.split(".", 1)[1]
    as_array = {k: np.asarray(v) for k, v in table.items()}
    if kind == "csv":
        n = max(len(v) for v in as_array.values())
        lines = [
            ",".join(as_array),
            *(",".join(str(v[k]) if k < len(v) else "" for v in as_array.values()) for k in range(n)),
        ]
        path.write_text("\n".join(lines) + "\n")
    elif kind in ("ecsv", "fits", "fits.gz"):
        t = Table(as_array)
        for name in t.colnames:
            if units.get(name):
                t[name].unit = units[name]
        hdu = None if kind == "ecsv" else fits.table_to_hdu(t)
        t.write(path, format="ascii.ecsv", overwrite=True) if hdu is None else fits.HDUList(
            [fits.PrimaryHDU(), hdu]
        ).writeto(path, overwrite=True)
    elif kind == "hdf5":
        with h5py.File(path, "w") as f:
            for k, v in as_array.items():
                f.create_dataset(k, data=v.astype(h5py.string_dtype()) if v.dtype.kind in "UO" else v)
                if units.get(k):
                    f[k].attrs["unit"] = units[k]
    elif kind == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.table({k: pa.array(v.tolist()) for k, v in as_array.items()}), path)
    elif kind == "npz":
        np.savez(path, **as_array)
    elif kind == "npy":
        np.save(path, np.rec.fromarrays(list(as_array.values()), names=list(as_array)))


def damage_values(path: Path, rng: np.random.Generator, table: dict | None = None) -> tuple:
    "What goes wrong before a table is written."
    table, units = dict(table or sound_table()), dict(UNITS)
    column, row = (
        str(rng.choice([k for k in table if np.asarray(table[k]).ndim == 1 and k != "id"])),
        int(rng.integers(N)),
    )

    def change(value):
        return table.update(
            {column: [value if k == row else v for k, v in enumerate(np.asarray(table[column]).tolist())]}
        )

    kinds = {
        "NaN": (lambda: change(float("nan")), True),
        "infinite": (lambda: change(float("inf")), True),
        "minus infinity": (lambda: change(float("-inf")), True),
        "1e300": (lambda: change(1e300), column[:2] != "e_"),
        "-1e300": (lambda: change(-1e300), True),
        "-99": (lambda: change(-99.0), True),
        "zero": (lambda: change(0.0), column not in ("av",) and column[:2] != "e_"),
        "1e-320": (lambda: change(1e-320), column not in ("av",) and column[:2] != "e_"),
        "a word": (
            lambda: table.update({column: [*map(str, np.asarray(table[column]).tolist()[:-1]), "bright"]}),
            True,
        ),
        "all words": (lambda: table.update({column: ["bright"] * N}), True),
        "empty words": (lambda: table.update({column: [""] * N}), True),
        "no column": (lambda: table.pop(column), True),
        "complex": (lambda: table.update({column: np.asarray(table[column]) + 1j}), True),
        "booleans": (lambda: table.update({column: np.ones(N, bool)}), False),
        "two-dimensional": (
            lambda: table.update({column: np.tile(np.asarray(table[column])[:, None], 3).tolist()}),
            True,
        ),
        "one row fewer": (lambda: table.update({column: np.asarray(table[column])[:-1]}), True),
        "no rows": (lambda: table.update({k: np.asarray(v)[:0] for k, v in table.items()}), True),
        "one id twice": (lambda: table.update(id=[100, 100, *range(102, 100 + N)]), True),
        "unit of length": (lambda: units.update({k: "kpc" for k in units}), False),
        "nonsense unit": (lambda: units.update({k: "((((" for k in units}), False),
        "hostile unit": (lambda: units.update({k: "__import__('os')" for k in units}), False),
        "single precision": (lambda: table.update({column: np.asarray(table[column], "f4")}), False),
        "big-endian": (lambda: table.update({column: np.asarray(table[column], ">f8")}), False),
        "integers": (lambda: table.update({column: np.asarray(table[column]).astype("i8") + 1}), False),
        "long doubles": (lambda: table.update({column: np.asarray(table[column], np.longdouble)}), False),
        "a strange name": (
            lambda: table.update(
                {
                    str(
                        rng.choice(
                            [
                                "../../x",
                                "<script>alert(1)</script>",
                                "a\nb",
                                "",
                                "x" * 5000,
                                "\u202e",
                                "=cmd()",
                                "\x00",
                                "a,b",
                                '"',
                            ]
                        )
                    ): table.pop(column)
                }
            ),
            True,
        ),
    }
    what = str(rng.choice(list(kinds)))
    kinds[what][0]()
    try:
        write_table(table, path, units)
    except Exception as err:  # a table that its own library will not write cannot reach us
        return (
            f"{path.name}: {column}: {what}: not written ({type(err).__name__}); {damage_bytes(path, rng)}",
            False,
        )
    return f"{path.name}: {column}, row {row + 1}: {what}", kinds[what][1]


def damage_fits(path: Path, rng: np.random.Generator) -> tuple:
    "Headers that promise what is not there."
    raw = bytearray(gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes())
    cards = [
        k
        for k in range(0, len(raw), 80)
        if raw[k : k + 8].strip()
        in (
            b"NAXIS1",
            b"NAXIS2",
            b"NAXIS",
            b"TFIELDS",
            b"PCOUNT",
            b"GCOUNT",
            b"BITPIX",
            b"XTENSION",
            b"THEAP",
        )
        or raw[k : k + 5] in (b"TFORM", b"TTYPE", b"TUNIT", b"TZERO", b"TSCAL", b"TDIM1")
        or raw[k : k + 3] == b"END"
    ]
    at = int(rng.choice(cards))
    key = bytes(raw[at : at + 8])
    value = str(
        rng.choice(
            [
                "1000000000000",
                "-1",
                "0",
                "99999999999999999999999",
                "'1PD(9999999)'",
                "'Q'",
                "'1000000000D'",
                "T",
                "1E400",
                "'XXXX'",
                "''",
                "2147483647",
                "3",
                "NaN",
            ]
        )
    )
    how = str(rng.choice(["value", "lost", "twice"]))
    raw[at : at + 80] = (
        (
            f"{key.decode('latin-1')}= {value:>20}"
            if how == "value"
            else ""
            if how == "lost"
            else bytes(raw[at - 80 : at]).decode("latin-1")
        )
        .ljust(80)[:80]
        .encode("latin-1")
    )
    path.write_bytes(gzip.compress(bytes(raw)) if path.suffix == ".gz" else bytes(raw))
    return f"{path.name}: card {key.decode('latin-1').strip()} {value if how == 'value' else how}", False


def damage_hdus(path: Path, rng: np.random.Generator) -> tuple:
    "HDUs that are missing, doubled or swapped; columns lost."
    with fits.open(path, memmap=False) as hdus:
        hdus = [h.copy() for h in hdus]
    what = str(rng.choice(["lost", "swapped", "column lost", "doubled", "an image"]))
    k = int(rng.integers(1, len(hdus)))
    if what == "lost":
        del hdus[k]
    elif what == "swapped" and len(hdus) > 2:
        hdus[1], hdus[2] = hdus[2], hdus[1]
    elif what == "column lost" and hasattr(hdus[k], "columns"):
        names = hdus[k].columns.names
        hdus[k] = fits.BinTableHDU.from_columns(
            [c for c in hdus[k].columns if c.name != names[int(rng.integers(len(names)))]],
            header=None,
            name=hdus[k].name,
        )
    elif what == "doubled":
        hdus.insert(k, hdus[k].copy())
    else:
        hdus[k] = fits.ImageHDU(np.zeros((3, 4)), name=hdus[k].name)
    fits.HDUList(hdus).writeto(path, overwrite=True, output_verify="ignore")
    return f"{path.name}: HDU {k} {what}", False


def damage_hdf5(path: Path, rng: np.random.Generator) -> tuple:
    "Data sets that promise, link or hold what they should not."
    what = str(
        rng.choice(
            [
                "huge",
                "bomb",
                "external link",
                "soft loop",
                "hard loop",
                "scalar",
                "lost",
                "objects",
                "references",
                "virtual of another",
                "outside file",
                "compound",
                "unit of numbers",
                "deep",
                "four dimensions",
            ]
        )
    )
    column = str(rng.choice(["f_r", "e_i", "z", "mass", "id"]))
    with h5py.File(path, "r+") as f:
        if what in ("hard loop", "deep", "unit of numbers"):
            if what == "hard loop":
                f["loop"] = f["/"]
            elif what == "deep":
                f["/".join(["g"] * 400)] = np.arange(3)
            else:
                f[column].attrs["unit"] = np.arange(5)
        else:
            del f[column]
            if what == "huge":
                f.create_dataset(column, (10**12,), "f8", chunks=(1000,))
            elif what == "bomb":
                f.create_dataset(column, (600_000_000,), "f8", chunks=(10_000_000,), compression="gzip")[
                    :1
                ] = 1.0
            elif what == "external link":
                f[column] = h5py.ExternalLink("/etc/hostname", "/x")
            elif what == "soft loop":
                f[column] = h5py.SoftLink(f"/{column}")
            elif what == "scalar":
                f[column] = 1.0
            elif what == "objects":
                f.create_dataset(column, data=np.array(["a"] * N, object), dtype=h5py.string_dtype())
            elif what == "references":
                f.create_dataset(column, (N,), dtype=h5py.ref_dtype)
            elif what == "virtual of another":
                layout = h5py.VirtualLayout((N,), "f8")
                layout[:] = h5py.VirtualSource("nowhere.h5", "x", (N,))
                f.create_virtual_dataset(column, layout)
            elif what == "outside file":
                f.create_dataset(column, (N,), "f8", external=[("/etc/passwd", 0, N * 8)])
            elif what == "compound":
                f[column] = np.zeros(N, [("a", "f8"), ("b", "f8")])
            elif what == "four dimensions":
                f[column] = np.zeros((N, 1, 1, 1))
            else:
                pass
    if what == "scalar" and column == "z":  # one redshift for all galaxies, which is a valid table
        return f"{path.name}: {column} {what}", False
    return f"{path.name}: {column} {what}", what not in ("hard loop", "deep", "unit of numbers")


def damage_npz(path: Path, rng: np.random.Generator) -> tuple:
    """Arrays of objects (which would have to be unpickled), sizes that are not there, members that are
    something else.
    """
    import zipfile

    table, what = (
        sound_table(),
        str(
            rng.choice(
                ["objects", "huge", "bomb", "a member with another name", "twice", "text", "bad version"]
            )
        ),
    )
    column = str(rng.choice(["f_r", "e_i", "z", "mass", "id"]))
    if what == "objects":
        table[column] = np.array([print] * N, object)
        np.savez(path, **table)
        return f"{path.name}: {column} {what}", True
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        buffer,
        {"descr": "<f8", "fortran_order": False, "shape": (10**12,) if what == "huge" else (137_500_000,)},
    )
    content = {
        "huge": buffer.getvalue() + b"\0" * 64,
        "text": b"hello",
        "bad version": b"\x93NUMPY\x09\x09" + b"\0" * 90,
    }.get(what)
    name = "../../evil" if what == "a member with another name" else column
    arrays = {}
    for k, v in table.items():
        b = io.BytesIO()
        np.save(b, v)
        arrays[k] = b.getvalue()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
        for k, v in arrays.items():
            if k != column:
                z.writestr(f"{k}.npy", v)
        if what == "bomb":
            with z.open(f"{column}.npy", "w", force_zip64=True) as member:
                member.write(buffer.getvalue())
                for _ in range(11):
                    member.write(bytes(100_000_000))
        else:
            z.writestr(f"{name}.npy", content or arrays[column])
        if what == "twice":
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                z.writestr(f"{name}.npy", arrays["f_u"])
    return f"{path.name}: {column} {what}", what != "twice"


def damage_npy(path: Path, rng: np.random.Generator) -> tuple:
    what = str(rng.choice(["objects", "huge", "plain"]))
    if what == "objects":
        np.save(path, np.array([{"run": "me"}] * N, object), allow_pickle=True)
    elif what == "huge":
        with open(path, "wb") as f:
            np.lib.format.write_array_header_1_0(
                f, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)}
            )
    else:
        np.save(path, np.ones((N, 3)))
    return f"{path.name}: {what}", True


def table_kind(ending: str, share: float = 1.0) -> Corpus:
    "Photometry with errors, redshifts and properties in one format."
    name = f"table.{ending}"

    def special(folder, rng):
        path, others = (
            folder / name,
            {
                "fits": [damage_fits, damage_hdus],
                "fits.gz": [damage_fits],
                "hdf5": [damage_hdf5],
                "npz": [damage_npz],
                "npy": [damage_npy],
            }.get(ending, []),
        )
        return [damage_values, *others][int(rng.integers(1 + len(others)))](path, rng)

    def make(folder):
        folder.mkdir(parents=True)
        write_table(sound_table(), folder / name)

    sealed = ("empty", "noise", "a web page", "a pickle") + (
        ()
        if ending in ("csv", "ecsv")
        else ("cut", "cut near the end", "cut to a block", "take out", "swap", "insert")
    )
    sealed += (
        ("flip one bit", "flip a byte", "flip sixteen", "blank", "fill") if ending in ("fits.gz",) else ()
    )
    return Corpus(
        ending.replace(".", ""),
        make,
        lambda f: load_table(f / name, MAPPING),
        generic(one_of(name), special, sealed),
        sample_facts,
        sample_valid,
        share,
    )


def spectra_kind(ending: str) -> Corpus:
    "Rest-frame spectra in one two-dimensional column."
    name, rng = f"spectra.{ending}", np.random.default_rng(6)
    flux, wave = rng.uniform(1e6, 2e6, (N, N_WAVE)), np.geomspace(4000, 7000, N_WAVE)
    mapping = {
        "spectra": {
            "column": "flux",
            "error": "err",
            "wave": "WAVE" if ending == "fits" else "wave",
            "unit": "Lsun / AA",
        },
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    mass = 10 ** rng.uniform(9, 11, N)

    def make(folder, **changes):
        folder.mkdir(parents=True, exist_ok=True)
        data = {"flux": flux, "err": 0.1 * flux, "wave": wave, "mass": mass} | changes
        if ending == "hdf5":
            with h5py.File(folder / name, "w") as f:
                for k, v in data.items():
                    f[k] = v
        else:
            columns = [
                fits.Column("flux", f"{np.shape(data['flux'])[1]}D", array=data["flux"]),
                fits.Column("err", f"{np.shape(data['err'])[1]}D", array=data["err"]),
                fits.Column("mass", "D", array=data["mass"]),
            ]
            fits.HDUList(
                [
                    fits.PrimaryHDU(),
                    fits.BinTableHDU.from_columns(columns),
                    fits.ImageHDU(data["wave"], name="wave"),
                ]
            ).writeto(folder / name, overwrite=True)

    def special(folder, rng):
        if ending == "fits" and rng.random() < 0.5:
            return damage_fits(folder / name, rng) if rng.random() < 0.6 else damage_hdus(folder / name, rng)
        i, k = int(rng.integers(N)), int(rng.integers(N_WAVE))

        def spoil(a, value):
            return np.where(
                (np.arange(a.size) == i * N_WAVE + k if a.ndim == 2 else np.arange(a.size) == k).reshape(
                    a.shape
                ),
                value,
                a,
            )

        changes = {
            "NaN": {"flux": spoil(flux, np.nan)},
            "negative": {"flux": spoil(flux, -1e6)},
            "huge": {"flux": spoil(flux, 1e308)},
            "error inf": {"err": spoil(0.1 * flux, np.inf)},
            "error negative": {"err": spoil(0.1 * flux, -1.0)},
            "wave descends": {"wave": wave[::-1]},
            "wave twice": {"wave": spoil(wave, wave[k - 1])},
            "wave NaN": {"wave": spoil(wave, np.nan)},
            "wave one short": {"wave": wave[1:]},
            "transposed": {"flux": flux.T, "err": flux.T * 0.1},
            "one pixel": {"flux": flux[:, :1], "err": flux[:, :1], "wave": wave[:1]},
            "masses negative": {"mass": -mass},
            "wave huge": {"wave": wave * 1e300},
        }
        what = str(rng.choice(list(changes)))
        make(folder, **changes[what])
        masked = ("NaN", "error inf", "wave descends")  # bridged and counted, or turned round
        return f"{name}: {what}", what not in ("wave huge", *masked)

    return Corpus(
        f"{ending}spec",
        make,
        lambda f: load_table(f / name, mapping),
        generic(one_of(name), special),
        sample_facts,
        sample_valid,
    )


# ---------------------------------------------------------------- spec files, catalogues, particles


def spec_kind() -> Corpus:
    wave = WAVE_GRID

    def make(folder, damage=lambda f: f):
        folder.mkdir(parents=True, exist_ok=True)
        for k in range(2):
            write_spec(
                folder / f"spec-000{k}.fits",
                np.geomspace(3500, 8600, 900),
                1e7 * np.geomspace(1, 2 + k, 900),
                0.05 + 0.02 * k,
            )

    def special(folder, rng):
        path = folder / "spec-0001.fits"
        if rng.random() < 0.5:
            return damage_fits(path, rng) if rng.random() < 0.6 else damage_hdus(path, rng)
        with fits.open(path, memmap=False) as hdus:
            hdus = fits.HDUList([h.copy() for h in hdus])
        what, k = (
            str(
                rng.choice(
                    [
                        "NaN",
                        "ivar NaN",
                        "ivar negative",
                        "loglam NaN",
                        "loglam descends",
                        "loglam huge",
                        "z NaN",
                        "z negative",
                        "z 1000",
                        "masked",
                        "flux 1e38",
                        "wdisp NaN",
                        "class",
                        "zwarning",
                        "ivar inf",
                        "unit",
                        "one pixel",
                    ]
                )
            ),
            int(rng.integers(500, 3000)),
        )
        data, row = hdus[1].data, hdus[2].data
        {
            "NaN": lambda: data["flux"].__setitem__(k, np.nan),
            "ivar NaN": lambda: data["ivar"].__setitem__(k, np.nan),
            "ivar negative": lambda: data["ivar"].__setitem__(k, -1),
            "loglam NaN": lambda: data["loglam"].__setitem__(k, np.nan),
            "loglam descends": lambda: data["loglam"].__setitem__(slice(None), data["loglam"][::-1].copy()),
            "loglam huge": lambda: data["loglam"].__setitem__(-1, 400.0),
            "z NaN": lambda: row["Z"].__setitem__(0, np.nan),
            "z negative": lambda: row["Z"].__setitem__(0, -0.1),
            "z 1000": lambda: row["Z"].__setitem__(0, 1000),
            "masked": lambda: data["and_mask"].__setitem__(slice(None), 1 << 24),
            "flux 1e38": lambda: data["flux"].__setitem__(k, 1e308),
            "wdisp NaN": lambda: data["wdisp"].__setitem__(slice(None), np.nan),
            "class": lambda: row["CLASS"].__setitem__(0, "\x1b[31m"),
            "zwarning": lambda: row["ZWARNING"].__setitem__(0, -5),
            "ivar inf": lambda: data["ivar"].__setitem__(k, np.inf),
            "unit": lambda: hdus[0].header.__setitem__("BUNIT", "Jy"),
            "one pixel": lambda: None,
        }[what]()
        if what == "one pixel":
            hdus[1] = fits.BinTableHDU(data[:1], name="COADD")
        hdus.writeto(path, overwrite=True)
        unnoticed = ("NaN", "ivar NaN", "ivar inf", "flux 1e38", "class", "loglam descends")  # or masked
        return f"{path.name}: {what}", what not in unnoticed

    def facts(s):
        return [
            *sample_facts(s),
            s.meta["n_files"],
            s.meta["refused"],
            [{k: v for k, v in f.items() if k not in ("sha256", "median_snr")} for f in s.meta["files"]],
        ]

    return Corpus(
        "spec",
        make,
        lambda f: load_sdss_spectra(f, wave),
        generic(one_of("spec-0001.fits"), special),
        facts,
        sample_valid,
        1.5,
    )


NAMES, CURVES = (
    ("u", "g", "r", "i", "z"),
    ("sdss2010-u", "sdss2010-g", "sdss2010-r", "sdss2010-i", "sdss2010-z"),
)


def cat_kind() -> Corpus:
    curves = dict(zip(NAMES, CURVES))

    def make(folder):
        folder.mkdir(parents=True)
        rng, wave = np.random.default_rng(8), band_wavelengths(CURVES)
        flux = rng.uniform(1e10, 2e10, (N, 5))
        sample = Sample(
            "field",
            flux,
            wave,
            CURVES,
            0.02 * flux,
            rng.uniform(0.45, 0.6, N),
            properties={
                "log_mstar": rng.uniform(9, 11, N),
                "a_v": rng.uniform(0, 1, N),
                "log_sfr": rng.uniform(-1, 1, N),
            },
        )
        write_catalogue(folder / "field.cat", sample, NAMES, (73, 74, 75, 76, 77))

    def special(folder, rng):
        path = folder / str(rng.choice(["field.cat", "field.fout"]))
        lines = path.read_text().splitlines()
        head = sum(x.startswith("#") for x in lines)
        k = int(rng.integers(head, len(lines)))
        row = lines[k].split()
        c = int(rng.integers(0, len(row)))
        what = str(
            rng.choice(
                [
                    "nan",
                    "inf",
                    "1e999",
                    "-99",
                    "0",
                    "-1",
                    "word",
                    "1_0",
                    "0x10",
                    "١٢",
                    "field lost",
                    "field more",
                    "row lost",
                    "row twice",
                    "head lost",
                    "head long",
                    "AB ZP: x",
                    "AB ZP: 1e9",
                    "Filters: 1 x",
                    "Stellar IMF: None",
                    "column twice",
                    "1e300",
                    "0.5+1j",
                ]
            )
        )
        if what in ("field lost", "field more"):
            row = row[:-1] if what == "field lost" else [*row, "1"]
        elif what == "row twice":
            lines.insert(k, lines[k])
        elif what == "head lost":
            lines[0] = "#"
        elif what == "head long":
            lines[0] += " more"
        elif what == "column twice":
            names = lines[0].split()
            names[-1] = names[2]
            lines[0] = " ".join(names)
        elif ":" in what:
            lines.insert(1, f"# {what}")
        elif what != "row lost":
            row[c] = what
        lines[k] = " ".join(row) if what not in ("row twice",) else lines[k]
        if what == "row lost":
            del lines[k]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return f"{path.name}: line {k + 1}, column {c + 1}: {what}", what in (
            "field lost",
            "field more",
            "row twice",
            "word",
            "0.5+1j",
        ) or what in ("head lost", "head long", "column twice") and path.suffix == ".cat"

    def facts(s):
        return [*sample_facts(s), s.meta["left_out"], s.meta["columns"]]

    return Corpus(
        "cat",
        make,
        lambda f: load_catalogue(f / "field.cat", (0.4, 2.0), curves=curves),
        generic(one_of("field.cat", "field.fout"), special, ("empty", "noise", "a web page", "a pickle")),
        facts,
        sample_valid,
        1.5,
    )


def survey_table() -> dict:
    "Galaxies in the layout of the Legacy Surveys, with redshifts."
    rng = np.random.default_rng(9)
    table = {"release": np.full(N, 9010), "brickid": np.full(N, 4), "objid": np.arange(N)}
    for band, wave in (("g", 1.0), ("r", 2.0), ("z", 3.0)):
        flux = wave * rng.uniform(20, 90, N)
        table |= {f"flux_{band}": flux, f"flux_ivar_{band}": (50 / flux) ** 2}
        table |= {f"mw_transmission_{band}": rng.uniform(0.8, 0.9, N)}
    return table | {"maskbits": np.zeros(N, int), "id": np.arange(N), "z_spec": rng.uniform(0.45, 0.6, N)}


def survey_kind() -> Corpus:
    "The table of a survey that is known by its columns; a galaxy with a bad value is left out and counted."

    def make(folder):
        folder.mkdir(parents=True)
        write_table(survey_table(), folder / "survey.fits")

    def special(folder, rng):
        path = folder / "survey.fits"
        if rng.random() < 0.6:
            return damage_values(path, rng, survey_table())[0], False
        return [damage_fits, damage_hdus][int(rng.integers(2))](path, rng)[0], False

    return Corpus(
        "survey",
        make,
        lambda f: load_catalogue(f / "survey.fits", (0.4, 0.7), snr=5),
        generic(one_of("survey.fits"), special, ("empty", "noise", "a web page", "a pickle")),
        lambda s: [*sample_facts(s), s.meta["left_out"], s.meta["columns"]],
        sample_valid,
        1.0,
    )


def particles_kind() -> Corpus:
    columns = {"galaxy": "g", "formation": "a", "mass": "m", "metallicity": "Z", "mass_unit": "1e10 Msun"}
    rng = np.random.default_rng(9)
    sound = {
        "g": np.repeat([1, 2], 10),
        "a": rng.uniform(0.2, 0.9, 20),
        "m": rng.uniform(1e-4, 2e-4, 20),
        "Z": rng.uniform(0.001, 0.03, 20),
    }

    def make(folder, **changes):
        folder.mkdir(parents=True, exist_ok=True)
        with h5py.File(folder / "snap.hdf5", "w") as f:
            for k, v in (sound | changes).items():
                f[k] = v

    def special(folder, rng):
        k, column, value = (
            int(rng.integers(20)),
            str(rng.choice(["a", "m", "Z"])),
            float(rng.choice([np.nan, np.inf, -np.inf, 1e308, -1.0, 0.0, 2.0, 1e-30])),
        )
        changed = sound[column].copy()
        changed[k] = value
        make(folder, **{column: changed})
        return f"{column}, row {k + 1}: {value}", not np.isfinite(value) and not (
            column == "a" and value < 0
        ) or column == "m" and value <= 0 or column == "a" and value > 1

    return Corpus(
        "particles",
        make,
        lambda f: read_particles(f / "snap.hdf5", columns, 0.05),
        generic(one_of("snap.hdf5"), special),
        lambda s: [s.galaxy.tolist(), numbers(s.age, s.mass, s.zmet), s.left_out],
        lambda s: bool(
            np.isfinite(s.age).all()
            and (s.age >= 0).all()
            and np.isfinite(s.mass).all()
            and (s.mass > 0).all()
            and np.isfinite(s.zmet).all()
            and (s.zmet < 1).all()
        ),
        0.7,
    )


# ---------------------------------------------------------------- YAML

LAUGHS = "\n".join(
    [
        "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]",
        *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)),
    ]
)
HOSTILE = {
    "python object": "!!python/object/apply:os.system ['touch pwned']",
    "python name": "!!python/name:os.system",
    "laughs": "{" + LAUGHS.replace("\n", ", ") + "}",
    "own alias": "&x [*x]",
    "deep list": "[" * 3000 + "]" * 3000,
    "deep map": "{a: " * 2000 + "1" + "}" * 2000,
    "NaN": ".nan",
    "inf": ".inf",
    "null": "null",
    "list": "[1, 2]",
    "map": "{a: b}",
    "date": "2020-01-01",
    "binary": "!!binary aGVsbG8=",
    "set": "!!set {a, b}",
    "big": "9" * 6000,
    "float": "1e400",
    "path": "../../../etc/passwd",
    "absolute": "/etc/passwd",
    "script": "<script>alert(1)</script>",
    "long": "x" * 100_000,
    "empty": "''",
    "dash": "-rf",
    "con": "con",
    "space": "a b",
    "newline": '"a\\nb"',
    "NUL": '"a\\0b"',
    "escape": '"\\e[31mred"',
    "bool": "yes",
    "minus": "-1",
    "zero": "0",
    "unicode": "ñ東京",
    "right to left": '"a\\u202eb"',
    "surrogate": '"\\ud800"',
    "backslash": "a\\b",
    "url": "https://example.org/x.csv",
    "home": "~/x.csv",
    "dollar": "$(id)",
    "merge": "{<<: [{a: 1}, {a: 2}]}",
    "key list": "{[1, 2]: 3}",
    "key twice": "{a: 1, a: 2}",
    "octal": "0o17",
    "sexagesimal": "1:30",
}


def paths_of(content, path=()) -> list:
    "Every place in nested data."
    below = (
        content.items()
        if isinstance(content, dict)
        else enumerate(content)
        if isinstance(content, list)
        else ()
    )
    return [path, *(p for k, v in below for p in paths_of(v, (*path, k)))]


def damage_yaml(path: Path, rng: np.random.Generator) -> tuple:
    "Put something hostile at some place of a YAML file, or take the place away."
    content = yaml.safe_load(path.read_text())
    place = list(paths_of(content))
    where = place[int(rng.integers(1, len(place)))]
    holder = content
    for key in where[:-1]:
        holder = holder[key]
    what = str(rng.choice(["lost", "key", *HOSTILE]))
    if what == "lost":
        holder.pop(where[-1])
    elif what == "key" and isinstance(holder, dict):
        holder[str(rng.choice(["../x", "<b>", "", "x" * 500, "a b"]))] = holder.pop(where[-1])
    else:
        holder[where[-1]] = "HOSTILE"
    path.write_text(
        yaml.safe_dump(content, sort_keys=False).replace("HOSTILE", HOSTILE.get(what, "null")),
        encoding="utf-8",
        errors="surrogatepass",
    )
    return f"{'.'.join(map(str, where))[:60]}: {what}", False


def own_suite(folder: Path) -> None:
    "Five tables of a hundred galaxies and a suite file."
    folder.mkdir(parents=True, exist_ok=True)
    rng, names = np.random.default_rng(3), ("tng", "eagle", "simba", "magneticum", "horizon")
    for name in names:
        table = {
            "id": np.arange(100),
            **{f"L_{b}": rng.uniform(1e9, 1e10, 100) for b in "ugr"},
            "mass": 10 ** rng.uniform(9, 11, 100),
            "dust": 10 ** rng.uniform(6, 8, 100),
            "kind": np.arange(100) % 2,
        }
        write_table(table, folder / f"{name}.csv")
    columns = {
        "unit": "Lsun",
        "ids": "id",
        "bands": {b: {"column": f"L_{b}", "wave": BANDS[b]} for b in "ugr"},
        "properties": {
            "log_mstar": {"column": "mass", "unit": "Msun"},
            "log_mdust": {"column": "dust", "unit": "Msun"},
        },
    }
    suite = {
        "name": "own",
        "about": "for the fuzz campaign",
        "n_galaxies": 100,
        "tables": {"columns": columns},
        "properties": {"log_mdust": {"label": "dust", "unit": "dex(Msun)", "meaning": "log dust mass"}},
        "simulations": [
            {"name": n, "table": f"{n}.csv", "family": {"code": "sph" if k < 2 else "grid"}}
            for k, n in enumerate(names)
        ],
    }
    (folder / "suite.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))


def suite_facts(suite) -> dict:
    return {k: v for k, v in asdict(suite).items() if k != "folder"}


def yaml_damage(folder, rng):
    if rng.random() < 0.12:
        what = str(
            rng.choice(
                [
                    "laughs",
                    "merge laughs",
                    "many keys",
                    "many brackets",
                    "long text",
                    "deep",
                    "tag",
                    "two documents",
                    "anchors",
                ]
            )
        )
        text = {
            "laughs": LAUGHS,
            "merge laughs": "\n".join(
                [
                    "a0: &a0 {k: 1}",
                    *(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}" for k in range(1, 12)),
                ]
            ),
            "many keys": "\n".join(f"k{k}: {k}" for k in range(100_000)),
            "many brackets": "[" * 100_000,
            "long text": "name: " + "x" * 20_000_000,
            "deep": "\n".join(" " * k + "a:" for k in range(3000)),
            "tag": "!!python/object/new:os.system [touch pwned]",
            "two documents": "a: 1\n---\nb: 2\n",
            "anchors": "\n".join(f"- &a{k} x" for k in range(30_000)),
        }[what]
        (folder / "suite.yaml").write_text(text)
        return f"suite.yaml: {what}", False
    return damage_yaml(folder / "suite.yaml", rng)


def suite_kind() -> Corpus:
    return Corpus(
        "suite",
        own_suite,
        lambda f: load_suite(f / "suite.yaml"),
        generic(one_of("suite.yaml"), yaml_damage, ()),
        suite_facts,
        suite_valid,
        3.0,
    )


def suite_valid(suite) -> bool:
    "Names are plain words, tables lie beside the suite file, and nothing was run."
    import re

    plain = all(re.fullmatch(r"[A-Za-z0-9][\w.-]{0,100}", n) for n in (suite.name, *suite.names))
    inside = all(
        ".." not in str(s.get("file", "")) and not str(s.get("file", "")).startswith("/")
        for s in suite.simulations
    )
    return plain and inside and not list(Path(getattr(suite, "folder", "") or ".").glob("pwned"))


def recipes_kind() -> Corpus:
    def make(folder):
        folder.mkdir(parents=True)
        content = yaml.safe_load(
            (Path(gencast.__file__).parent / "synthesis/suites/default.yaml").read_text()
        )
        content["simulations"] = content["simulations"][:6]
        (folder / "suite.yaml").write_text(yaml.safe_dump(content | {"name": "recipes"}, sort_keys=False))

    return Corpus(
        "recipes",
        make,
        lambda f: load_suite(f / "suite.yaml"),
        generic(one_of("suite.yaml"), yaml_damage, ()),
        suite_facts,
        suite_valid,
        1.5,
    )


def mapping_kind() -> Corpus:
    def make(folder):
        folder.mkdir(parents=True)
        write_table(sound_table(), folder / "table.csv")
        (folder / "suite.yaml").write_text(yaml.safe_dump(MAPPING, sort_keys=False))

    def use(f):
        return load_table(f / "table.csv", f / "suite.yaml") if load_mapping(f / "suite.yaml") else None

    return Corpus(
        "mapping", make, use, generic(one_of("suite.yaml"), yaml_damage, ()), sample_facts, sample_valid, 2.0
    )


# ---------------------------------------------------------------- what a run leaves behind


def use_results(folder: Path) -> list:
    "What the summary notebook reads and says."
    run = load_results(folder / "run")
    said = [describe_forecast(run, "toy_survey"), survey_notes(run, "toy_survey")]
    return [
        said,
        tabulate_survey(run, "toy_survey").to_html(),
        provenance(run).to_html(),
        stage_times(run).to_html(),
        pair_table(run).to_csv(),
        choices(run),
    ]


def json_damage(name: str) -> Callable:
    def damage(folder, rng):
        path = folder / name
        content = json.loads(path.read_text())
        place = list(paths_of(content))
        where = place[int(rng.integers(0, len(place)))]
        value = [
            None,
            "x",
            -1,
            1e400,
            [],
            {},
            [1, [2]],
            "x" * 100_000,
            True,
            {"a": {"b": 1}},
            "../../x",
            "<script>alert(1)</script>",
            float("nan"),
        ][int(rng.integers(13))]
        if not where:
            content = value
        else:
            holder = content
            for key in where[:-1]:
                holder = holder[key]
            if rng.random() < 0.3:
                holder.pop(where[-1])
            else:
                holder[where[-1]] = value
        text = "[" * 100_000 if rng.random() < 0.03 else json.dumps(content)
        path.write_text(text)
        return f"{name}: {'.'.join(map(str, where))[:60]} = {str(value)[:40]}", False

    return damage


def results_kind() -> Corpus:
    def make(folder):
        toy_results(folder / "run", 6)
        record = json.loads((folder / "run" / "run.json").read_text())
        record["tables"] = {
            p.stem: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((folder / "run").glob("*.csv"))
        }
        (folder / "run" / "run.json").write_text(json.dumps(record))

    def pick(folder, rng):
        return sorted((folder / "run").iterdir())[int(rng.integers(len(list((folder / "run").iterdir()))))]

    def special(folder, rng):
        return json_damage("run/run.json")(folder, rng)

    def damage(folder, rng):
        path = pick(folder, rng)
        if rng.random() < 0.4 or path.suffix != ".csv":
            return special(folder, rng)
        if rng.random() < 0.06:
            return f"{path.name}: {damage_place(path, rng)}", False
        before, what = path.read_bytes(), damage_bytes(path, rng)
        return f"{path.name}: {what}", path.read_bytes() != before

    return Corpus(
        "results", make, use_results, damage, lambda r: r, lambda r: "<script>" not in json.dumps(r), 2.0
    )


def settings_kind() -> Corpus:
    def make(folder):
        own_suite(folder / "tables")
        suite = load_suite(folder / "tables" / "suite.yaml")
        (folder / "run.json").write_text(
            json.dumps(
                {
                    "suite": asdict(suite),
                    "seed": 42,
                    "parameters": {"n_galaxies": 100, "properties": ["log_mstar"], "views": ["photometry"]},
                }
            )
        )

    return Corpus(
        "settings",
        make,
        load_settings,
        generic(one_of("run.json"), json_damage("run.json"), ("empty", "noise", "a web page", "a pickle")),
        lambda s: {k: v for k, v in asdict(s).items()} | {"folder": ""} if not isinstance(s, str) else s,
        lambda s: suite_valid(s.suite),
        1.0,
    )


def sample_kind() -> Corpus:
    def make(folder):
        rng = np.random.default_rng(4)
        save_sample(
            Sample(
                "s",
                rng.uniform(1, 2, (N, 5)),
                np.array(list(BANDS.values())),
                tuple(BANDS),
                None,
                rng.uniform(0.1, 0.2, N),
                ids=tuple(f"g{k}" for k in range(N)),
                properties={"log_mstar": rng.uniform(9, 11, N)},
            ),
            folder / "s",
        )

    def use(folder):
        return load_sample(folder / "s").take(np.arange(N) % 2 == 0)

    def special(folder, rng):
        path = (
            folder
            / "s"
            / str(rng.choice(["flux.npy", "property-log_mstar.npy", "redshift.npy", "sample.json"]))
        )
        if path.suffix == ".json":
            return json_damage("s/sample.json")(folder, rng)
        return damage_npy(path, rng)[0], path.name == "flux.npy"

    def pick(folder, rng):
        return sorted((folder / "s").iterdir())[int(rng.integers(len(list((folder / "s").iterdir()))))]

    return Corpus(
        "sample",
        make,
        use,
        generic(pick, special),
        lambda s: [s.name, *sample_facts(s)],
        lambda s: s.flux.ndim == 2,
        1.0,
    )


def cache_kind() -> Corpus:
    def make(folder):
        folder.mkdir(parents=True)
        remember(folder / "c.npz", "k", lambda: {"a": np.arange(50.0)})

    def use(folder):
        return remember(folder / "c.npz", "k", lambda: {"a": np.arange(50.0)})

    sealed = (
        "cut",
        "cut near the end",
        "cut to a block",
        "empty",
        "noise",
        "a web page",
        "a pickle",
        "flip one bit",
        "flip a byte",
        "flip sixteen",
        "flip a byte of the head",
        "blank",
        "fill",
        "insert",
        "take out",
        "swap",
        "repeat",
        "append",
        "twice",
        "BOM",
        "CRLF",
    )
    return Corpus(
        "cache", make, use, generic(one_of("c.npz"), None, sealed), lambda r: numbers(r["a"]), share=1.0
    )


def ipynb_kind() -> Corpus:
    def make(folder):
        (folder / "notebooks").mkdir(parents=True)
        nb = nbformat.v4.new_notebook(metadata={"papermill": {"input_path": "survey.ipynb"}})
        nb.cells = [
            nbformat.v4.new_markdown_cell("# A survey\n\n> What was found."),
            nbformat.v4.new_code_cell(
                "1 + 1", outputs=[nbformat.v4.new_output("execute_result", {"text/plain": "2"})]
            ),
        ]
        nbformat.write(nb, folder / "notebooks" / "a.ipynb")

    def use(folder):
        staged = folder / "staged"
        shutil.rmtree(staged, ignore_errors=True)
        staged.mkdir()
        return stage_targets([folder / "notebooks" / "a.ipynb"], staged)

    def special(folder, rng):
        if rng.random() < 0.2:
            nb = nbformat.read(folder / "notebooks" / "a.ipynb", 4)
            nb.cells[0].source = str(
                rng.choice(
                    [
                        "# <script>alert(1)</script>\n\n> x",
                        "# a: b\n---\nx: |\n",
                        "# " + "#" * 200,
                        "---\ntitle: x\n---",
                        "# `x` | y",
                        "# a" + "\u0000",
                    ]
                )
            )
            nbformat.write(nb, folder / "notebooks" / "a.ipynb")
            return "heading", False
        return json_damage("notebooks/a.ipynb")(folder, rng)

    return Corpus(
        "ipynb",
        make,
        use,
        generic(lambda f, r: f / "notebooks" / "a.ipynb", special, ()),
        lambda r: r,
        share=1.0,
    )


# ---------------------------------------------------------------- downloads, references, the command line


def archive_kind() -> Corpus:
    files = ("goodss_3dhst.v4.1.cat", "goodss_3dhst.v4.1.fout", "goodss_3dhst.v4.1.zout")

    def bundle(folder, members: list) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
            for info, content in members:
                info.size = len(content) if info.isreg() else 0
                tar.addfile(info, io.BytesIO(content))
        (folder / "source.tar.gz").write_bytes(buffer.getvalue())

    def make(folder):
        folder.mkdir(parents=True)
        bundle(folder, [(tarfile.TarInfo(f"x/{n}"), b"# id\n1\n" * 100) for n in files])

    def use(folder):
        class Response(io.BytesIO):
            headers = {}

        out = folder / "out"
        if not (folder / "source.tar.gz").is_file():
            raise InputError("offline")
        path = fetch_3dhst(
            out,
            "goodss",
            limit=5e7,
            open_url=lambda url: Response((folder / "source.tar.gz").read_bytes()),
            sleep=lambda s: None,
        )
        read_manifest(out)
        outside = [p.name for p in folder.rglob("*") if p.is_file() or p.is_symlink()]
        return {
            "path": path.name,
            "files": sorted(outside),
            "content": hashlib.sha256(path.read_bytes()).hexdigest(),
            "links": [p.name for p in out.iterdir() if p.is_symlink()],
        }

    def special(folder, rng):
        what = str(rng.choice(["escapes", "links", "absolute", "bomb", "device", "hard link", "extra"]))
        members = [(tarfile.TarInfo(f"x/{n}"), b"# id\n1\n" * 100) for n in files]
        info = tarfile.TarInfo(
            {"escapes": f"../../{files[0]}", "absolute": f"/tmp/{files[0]}"}.get(
                what, f"x/{files[0]}" if what != "extra" else "../evil.cat"
            )
        )
        content = bytes(60_000_000) if what == "bomb" else b"evil\n"
        if what in ("links", "device", "hard link"):
            info.type, info.linkname = (
                {"links": tarfile.SYMTYPE, "device": tarfile.FIFOTYPE, "hard link": tarfile.LNKTYPE}[what],
                "/etc/passwd",
            )
        bundle(folder, [*members[1:], (info, content)] if what != "extra" else [*members, (info, content)])
        return f"archive: {what}", what in ("links", "device", "hard link", "bomb")

    def valid(r):
        return (
            set(r["files"]) <= {"source.tar.gz", "goodss_3dhst.v4.1.cats.tar.gz", "checksums.json", *files}
            and not r["links"]
        )

    return Corpus("archive", make, use, generic(one_of("source.tar.gz"), special), lambda r: r, valid, 0.7)


def reference_kind() -> Corpus:
    def make(folder):
        folder.mkdir(parents=True)
        write_spec(
            folder / "spec-0266-51602-0001.fits", np.geomspace(3500, 8600, 900), 1e7 * np.ones(900), 0.05
        )
        row = dict(
            plate=266,
            mjd=51602,
            fiberID=1,
            run2d=26,
            z=0.05,
            snMedian=20,
            lgm_tot_p16=10,
            lgm_tot_p50=10.1,
            lgm_tot_p84=10.2,
            lgm_fib_p50=9.7,
            sfr_tot_p50=0.1,
            sfr_fib_p50=-0.3,
            oh_p50=8.9,
            petroMag_r=16.5,
            fiberMag_r=17.5,
            extinction_r=0.1,
        )
        (folder / REFERENCE).write_text(
            ",".join(COLUMNS) + "\n" + ",".join(str(row[c]) for c in COLUMNS) + "\n"
        )

    def special(folder, rng):
        path, k = folder / REFERENCE, int(rng.integers(len(COLUMNS)))
        head, row = path.read_text().splitlines()
        cells = row.split(",")
        what = str(rng.choice(["nan", "", "word", "inf", "-9999", "1e300", "-5", "0"]))
        cells[k] = what
        path.write_text(head + "\n" + ",".join(cells) + "\n")
        return f"{COLUMNS[k]} = {what!r}", False

    def use(f):
        return load_spectra([f], aperture=True)

    return Corpus(
        "reference",
        make,
        use,
        generic(one_of(REFERENCE), special, ("noise", "a web page", "a pickle")),
        lambda s: [numbers(s.flux, *s.properties.values()), s.ids],
        sample_valid,
        0.7,
    )


def cli_kind() -> Corpus:
    "The command line itself: exit code 2 and one line, or a right end."

    def make(folder):
        own_suite(folder)
        toy_results(folder / "run", 6)
        write_table(sound_table(), folder / "table.fits")
        (folder / "map.yaml").write_text(yaml.safe_dump(MAPPING, sort_keys=False))
        write_spec(folder / "spec-0001.fits", np.geomspace(3500, 8600, 900), 1e7 * np.ones(900), 0.05)
        suite = load_suite(folder / "suite.yaml")
        (folder / "settings").mkdir()
        (folder / "settings" / "run.json").write_text(
            json.dumps(
                {
                    "suite": asdict(suite),
                    "seed": 42,
                    "parameters": {"n_galaxies": 100, "properties": ["log_mstar"], "views": ["photometry"]},
                }
            )
        )

    def use(folder):
        import contextlib

        said = []
        for words in (
            ["list", "simulations", "--suite", str(folder / "suite.yaml")],
            [
                "forecast",
                str(folder / "table.fits"),
                "--run",
                str(folder / "settings"),
                "--map",
                str(folder / "map.yaml"),
                "--jobs",
                "1",
            ],
            ["forecast", str(folder / "spec-0001.fits"), "--run", str(folder / "run")],
            ["docs", "--results", str(folder / "run"), "--no-render", "--out", str(folder / "site")],
        ):
            err = io.StringIO()
            try:
                with contextlib.redirect_stderr(err):
                    main(words)
                said.append("done")
            except SystemExit as end:
                if end.code not in (0, None) and (
                    end.code != 2
                    or not err.getvalue().splitlines()[-1].startswith("gencast: ")
                    or "Traceback" in err.getvalue()
                ):
                    raise AssertionError(f"{words[0]}: exit {end.code}: {err.getvalue()[:500]}") from end
                said.append(f"{words[0]}: {end.code}")
        return said

    def damage(folder, rng):
        path = folder / str(
            rng.choice(
                [
                    "suite.yaml",
                    "tng.csv",
                    "simba.csv",
                    "table.fits",
                    "map.yaml",
                    "spec-0001.fits",
                    "settings/run.json",
                    "run/run.json",
                    "run/errors.csv",
                ]
            )
        )
        if path.suffix == ".yaml" and rng.random() < 0.6:
            return damage_yaml(path, rng)
        if path.suffix == ".json" and rng.random() < 0.6:
            return json_damage(str(path.relative_to(folder)))(folder, rng)
        if rng.random() < 0.1:
            return f"{path.name}: {damage_place(path, rng)}", False
        return f"{path.name}: {damage_bytes(path, rng)}", False

    return Corpus("cli", make, use, damage, lambda r: r, share=1.0)


KINDS = {
    c.name: c
    for c in [
        *(table_kind(e) for e in ("csv", "ecsv", "fits", "fits.gz", "hdf5", "parquet", "npz", "npy")),
        spectra_kind("fits"),
        spectra_kind("hdf5"),
        spec_kind(),
        cat_kind(),
        survey_kind(),
        particles_kind(),
        suite_kind(),
        recipes_kind(),
        mapping_kind(),
        results_kind(),
        settings_kind(),
        sample_kind(),
        cache_kind(),
        ipynb_kind(),
        archive_kind(),
        reference_kind(),
        cli_kind(),
    ]
}
