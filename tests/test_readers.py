"""Tables of any format: what was written is what is read, in each unit; each bad table is refused by file,
column and row."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.cosmology import Planck18
from astropy.io import fits
from astropy.table import Table
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.checks import beside, load_yaml
from gencast.core.properties import Property
from gencast.core.units import brightness_factor, convert_property, parse_unit
from gencast.data.columns import FORMATS, open_columns, read_columns
from gencast.data.domains import cut_groups, read_table
from gencast.data.mappings import load_mapping
from gencast.data.photometry import band_wavelengths
from gencast.data.readers import load_table

N, WAVE = 12, np.array([3551.0, 4686.0, 6166.0])
RNG = np.random.default_rng(5)
LUM = 10 ** RNG.normal(9.5, 0.5, (N, 3))  # nu L_nu, Lsun
MASS = RNG.normal(10, 0.6, N)
Z = RNG.uniform(0.02, 1.5, N)
IDS = [f"g{k}" for k in range(N)]
BANDS = {b: {"column": f"L_{b}", "error": f"e_{b}", "wave": w} for b, w in zip("ugr", WAVE.tolist())}
MAPPING = {
    "unit": "Lsun",
    "ids": "name",
    "bands": BANDS,
    "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
}


def columns(lum=LUM, err=None):
    err = 0.05 * lum if err is None else err
    return {
        "name": IDS,
        **{f"L_{b}": lum[:, k] for k, b in enumerate("ugr")},
        **{f"e_{b}": err[:, k] for k, b in enumerate("ugr")},
        "mass": 10**MASS,
    }


def write(path, table, units=None):
    "The same table in the format that the ending says."
    kind = path.suffix
    if kind == ".csv":
        pd.DataFrame(table).to_csv(path, index=False)
    elif kind in (".fits", ".ecsv"):
        Table(table, units=units).write(
            path, format="fits" if kind == ".fits" else "ascii.ecsv", overwrite=True
        )
    elif kind == ".hdf5":
        with h5py.File(path, "w") as f:
            for k, v in table.items():
                f[k] = [s.encode() for s in v] if k == "name" else v
                if units and k in units:
                    f[k].attrs["units"] = units[k]
    elif kind == ".parquet":
        pytest.importorskip("pyarrow")
        pd.DataFrame(table).to_parquet(path)
    elif kind == ".npz":
        np.savez(path, **{k: np.array(v) for k, v in table.items()})
    else:
        np.save(path, Table(table).as_array())
    return path


@pytest.mark.parametrize("kind", [".csv", ".ecsv", ".fits", ".hdf5", ".parquet", ".npz", ".npy"])
def test_every_format_gives_the_same_galaxies(tmp_path, kind):
    sample = load_table(write(tmp_path / f"t{kind}", columns()), MAPPING)
    assert_allclose(sample.flux, LUM, rtol=1e-12)
    assert_allclose(sample.flux_err, 0.05 * LUM, rtol=1e-12)
    assert_allclose(sample.properties["log_mstar"], MASS, rtol=1e-12)
    assert sample.ids == tuple(IDS) and sample.bands == ("u", "g", "r") and sample.redshift is None
    assert sample.meta["left_out"] == {} and len(sample.meta["sha256"]) == 64
    json.dumps(sample.meta)


@pytest.mark.parametrize(
    "unit",
    [
        "Jy",
        "uJy",
        "nJy",
        "mJy",
        "erg / (s cm2 Hz)",
        "W / (m2 Hz)",
        "nanomaggy",
        "maggy",
        "erg/s/cm2/AA",
        "1e-17 erg/s/cm2/AA",
        "mag(AB)",
    ],
)
@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_observed_fluxes_in_each_unit(tmp_path, unit):
    "Against astropy's own conversion, step by step."
    area = 4 * np.pi * Planck18.luminosity_distance(Z)[:, None] ** 2
    f_nu = (LUM * u.L_sun / area / (WAVE * u.AA).to(u.Hz, u.spectral())).to(u.Jy)
    if unit == "mag(AB)":
        flux = f_nu.to_value(u.ABmag)
        err = np.full(LUM.shape, 0.1)
    else:
        plain = {"nanomaggy": u.Unit("3.631e-6 Jy"), "maggy": u.Unit("3631 Jy")}.get(unit) or u.Unit(unit)
        flux = f_nu.to_value(plain, u.spectral_density(WAVE * u.AA))
        err = 0.1 * flux
    mapping = {**MAPPING, "frame": "observed", "unit": unit, "redshift": "z"}
    sample = load_table(write(tmp_path / "t.csv", {**columns(flux, err), "z": Z}), mapping)
    assert_allclose(sample.flux, LUM, rtol=1e-4)  # the AB zero point is 3630.78 Jy there, 3631 Jy here
    assert_allclose(
        sample.flux_err / sample.flux, 0.1 * (0.4 * np.log(10) if unit == "mag(AB)" else 1), rtol=1e-10
    )
    assert_allclose(sample.redshift, Z)


@pytest.mark.parametrize("unit", ["Lsun", "erg/s", "Lsun/AA", "erg/s/AA", "Lsun/Hz", "W/Hz", "mag(AB)"])
@pytest.mark.filterwarnings("ignore::astropy.units.UnitsWarning")
def test_rest_frame_luminosities_in_each_unit(tmp_path, unit):
    if unit == "mag(AB)":
        f_nu = LUM * u.L_sun / (4 * np.pi * (10 * u.pc) ** 2) / (WAVE * u.AA).to(u.Hz, u.spectral())
        flux = f_nu.to_value(u.ABmag)
    else:
        scale = {"AA": WAVE * u.AA, "Hz": (WAVE * u.AA).to(u.Hz, u.spectral())}.get(unit.split("/")[-1], 1)
        flux = (LUM * u.L_sun / scale).to_value(unit)
    mapping = {
        **MAPPING,
        "unit": unit,
        "bands": {b: {"column": f"L_{b}", "wave": w} for b, w in zip("ugr", WAVE.tolist())},
    }
    sample = load_table(write(tmp_path / "t.csv", columns(flux)), mapping)
    assert_allclose(sample.flux, LUM, rtol=1e-4)
    assert sample.flux_err is None


def test_speclite_names_need_no_wavelength(tmp_path):
    path = write(tmp_path / "t.csv", {"a": LUM[:, 0], "mass": MASS})
    sample = load_table(
        path,
        {
            "unit": "Lsun",
            "bands": {"sdss2010-r": "a"},
            "properties": {"log_mstar": {"column": "mass", "unit": "Msun", "log": True}},
        },
    )
    assert_allclose(sample.wave, band_wavelengths(("sdss2010-r",)))
    assert sample.ids[:2] == ("1", "2")


def test_units_of_the_file_count_where_the_mapping_says_none(tmp_path):
    for kind in (".fits", ".ecsv", ".hdf5"):
        path = write(
            tmp_path / f"t{kind}",
            {
                **columns(err=1e34 * 0.05 * LUM),
                **{f"L_{b}": 1e34 * LUM[:, k] for k, b in enumerate("ugr")},
                "mass": 10**MASS * u.M_sun.to(u.kg),
            },
            {**{f"L_{b}": "erg/s" for b in "ugr"}, "mass": "kg"},
        )
        plain = {**MAPPING, "properties": {"log_mstar": {"column": "mass"}}}
        plain.pop("unit")
        sample = load_table(path, plain)
        assert_allclose(sample.flux, 1e34 * LUM * (u.erg / u.s).to(u.L_sun), rtol=1e-12)
        assert_allclose(sample.properties["log_mstar"], MASS, rtol=1e-9)
    with pytest.raises(InputError, match="t.csv: column 'L_u': its unit is not stated"):
        load_table(write(tmp_path / "t.csv", columns()), plain)


@pytest.mark.parametrize(
    "entry, values, target, expected",
    [
        ({"unit": "1e10 Msun"}, [0.1, 30.0], "dex(Msun)", [9, 11.4771]),
        ({"unit": "dex(Msun)"}, [9.0, 11.0], "dex(Msun)", [9, 11]),
        ({"unit": "Msun", "log": True}, [9.0, 11.0], "dex(Msun)", [9, 11]),
        ({"unit": "yr"}, [1e9, 5e9], "dex(Gyr)", [0, 0.69897]),
        ({"unit": "1"}, [0.02, 0.002], "dex(Zsun)", [0, -1]),
        ({"unit": "Zsun", "log": True}, [0.3, -1.0], "dex(Zsun)", [0.3, -1]),
        ({"unit": "Msun/yr"}, [1.0, 10.0], "dex(Msun / yr)", [0, 1]),
        ({"unit": "dex(Msun/Gyr)"}, [9.0, 10.0], "dex(Msun/yr)", [0, 1]),
        ({"unit": "Msun", "log": True}, [1.0, 2.0], "Msun", [10, 100]),
        ({"unit": "mag"}, [0.3, 1.0], "mag", [0.3, 1]),
    ],
)
def test_properties_in_each_unit(entry, values, target, expected):
    found, lifted = convert_property(
        np.array(values), entry, Property("p", "p", target, ""), "", "t.csv: column 'p'"
    )
    assert_allclose(found, expected, atol=1e-4)
    assert lifted == 0


def test_floor_is_counted_and_recorded(tmp_path):
    rate = np.where(np.arange(N) < 3, 0.0, 1.5)
    entry = {"column": "sfr", "unit": "Msun/yr", "floor": 0.01}
    path = write(tmp_path / "t.csv", {**columns(), "sfr": rate})
    sample = load_table(path, {**MAPPING, "properties": {"log_sfr": entry}})
    assert sample.meta["lifted_to_floor"] == {"log_sfr": 3} and sample.properties["log_sfr"].min() == -2
    with pytest.raises(
        InputError, match=r"t.csv: column 'sfr', row 1 is zero or negative, so log_sfr has no logarithm"
    ):
        load_table(path, {**MAPPING, "properties": {"log_sfr": {"column": "sfr", "unit": "Msun/yr"}}})


@pytest.mark.parametrize("kind", [".hdf5", ".fits", ".parquet", ".npz", ".csv"])
def test_spectra_of_each_format(tmp_path, kind):
    lam = np.linspace(4000, 7000, 40)
    flux = 10 ** RNG.normal(5, 0.1, (N, 40))
    spectra, path = (
        {"column": "flux", "error": "err", "wave": "lam", "unit": "Lsun/AA", "wave_unit": "AA"},
        tmp_path / f"s{kind}",
    )
    if kind == ".hdf5":
        with h5py.File(path, "w") as f:
            f["flux"], f["err"], f["lam"], f["mass"] = flux, 0.1 * flux, lam / 10, MASS
            f["lam"].attrs["unit"] = "nm"
        spectra.pop("wave_unit")
    elif kind == ".fits":
        table = fits.BinTableHDU(Table({"flux": flux, "err": 0.1 * flux, "mass": MASS}), name="GALAXIES")
        fits.HDUList([fits.PrimaryHDU(), table, fits.ImageHDU(lam, name="lam".upper())]).writeto(path)
        spectra["wave"] = "LAM"
    elif kind == ".parquet":
        pytest.importorskip("pyarrow")
        pd.DataFrame({"flux": list(flux), "err": list(0.1 * flux), "mass": MASS}).to_parquet(path)
        np.save(tmp_path / "lam.npy", lam)
        spectra["wave"] = {"file": "lam.npy"}
    elif kind == ".npz":
        np.savez(path, flux=flux, err=0.1 * flux, lam=lam, mass=MASS)
    else:
        pd.DataFrame(
            {
                **{f"f_{k:03d}": flux[:, k] for k in range(40)},
                **{f"e_{k:03d}": 0.1 * flux[:, k] for k in range(40)},
                "mass": MASS,
            }
        ).to_csv(path, index=False)
        spectra |= {"column": "f_*", "error": "e_*", "wave": lam.tolist()}
    mapping = {
        "spectra": spectra,
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun", "log": True}},
    }
    sample = load_table(path, mapping)
    assert_allclose(sample.flux, flux, rtol=1e-12)
    assert_allclose(sample.flux_err, 0.1 * flux, rtol=1e-12)
    assert_allclose(sample.wave, lam, rtol=1e-12)
    narrow = np.linspace(4500, 6500, 15)
    coarse = load_table(path, mapping, wave=narrow)
    step = np.gradient(narrow)
    assert (
        coarse.flux.shape == (N, 15)
        and abs(
            (coarse.flux @ step).sum()
            / (sample.flux[:, (lam > 4430) & (lam < 6570)] * (lam[1] - lam[0])).sum()
            - 1
        )
        < 0.05
    )


def bad_table(change):
    table = {k: list(v) for k, v in columns().items()}
    change(table)
    return table


def put(column, row, value):
    return lambda t: t[column].__setitem__(row, value)


BAD = {
    "missing column": (lambda t: t.pop("L_g"), {}, r"bad\.csv: there is no column 'L_g'; did you mean"),
    "nan": (put("L_g", 3, np.nan), {}, r"bad\.csv: column 'L_g', row 4 is not a finite number"),
    "negative": (put("L_r", 6, -1e9), {}, r"bad\.csv: column 'L_r', row 7 is zero or negative"),
    "zero": (put("L_r", 0, 0.0), {}, r"bad\.csv: column 'L_r', row 1 is zero or negative"),
    "code": (put("L_u", 2, -99.0), {"missing": [-99]}, r"bad\.csv: column 'L_u', row 3 is missing \(-99\)"),
    "negative error": (put("e_u", 1, -0.1), {}, r"bad\.csv: error -0.1 in row 2 of L_u is negative"),
    "nan property": (put("mass", 4, np.nan), {}, r"bad\.csv: column 'mass', row 5 is not a finite number"),
    "word": (put("L_u", 5, "bright"), {}, r"bad\.csv: column 'L_u', row 6: 'bright' is not a number"),
    "same id": (put("name", 7, "g2"), {}, r"bad\.csv: the id 'g2' stands in rows 3 and 8"),
    "undeclared log": (
        lambda t: t.update(mass=MASS.tolist()),
        {},
        r"bad\.csv: column 'mass': values from .* look like logarithms",
    ),
    "unknown unit": (
        lambda t: None,
        {"unit": "janskis"},
        r"bad\.csv: column 'L_u': unit 'janskis' is not known",
    ),
    "flux in the rest frame": (lambda t: None, {"unit": "uJy"}, r"unit uJy does not fit frame 'rest'"),
    "luminosity observed": (
        lambda t: None,
        {"frame": "observed", "redshift": 0.1},
        r"unit solLum does not fit frame 'observed'",
    ),
    "observed without redshift": (lambda t: None, {"frame": "observed"}, "needs redshift"),
    "negative redshift": (
        lambda t: None,
        {"frame": "observed", "redshift": -0.1, "unit": "uJy"},
        r"redshift is -0.1, expected a number from 0 to 30",
    ),
    "unknown property": (
        lambda t: None,
        {"properties": {"log_mass": "mass"}},
        "property 'log_mass' is not known",
    ),
    "no wavelength": (lambda t: None, {"bands": {"u": "L_u"}}, r"bands: u: add its wave:"),
    "one column twice": (
        lambda t: None,
        {"bands": {"u": {"column": "L_u", "wave": 3000}, "g": {"column": "L_u", "wave": 4000}}},
        "'L_u' stands for two things",
    ),
    "unknown key": (lambda t: None, {"band": {}}, "unknown key band"),
    "some errors": (
        lambda t: None,
        {"bands": {**BANDS, "u": {"column": "L_u", "wave": 3551}}},
        "some have an error",
    ),
    "mass in hours": (
        lambda t: None,
        {"properties": {"log_mstar": {"column": "mass", "unit": "Msun/h"}}},
        "cannot become that of log_mstar",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused(tmp_path, case):
    change, mapping, message = BAD[case]
    path = write(tmp_path / "bad.csv", bad_table(change))
    with pytest.raises(InputError, match=message):
        load_table(path, {**MAPPING, **mapping})


def test_bad_galaxies_are_left_out_where_asked_and_counted(tmp_path):
    table = bad_table(
        lambda t: (
            put("L_u", 0, -99)(t),
            put("L_g", 1, np.nan)(t),
            put("L_r", 1, -1)(t),
            put("mass", 2, -5.0)(t),
        )
    )
    sample = load_table(write(tmp_path / "t.csv", table), {**MAPPING, "missing": [-99], "bad": "leave out"})
    assert (
        sample.ids == tuple(IDS[3:])
        and sum(sample.meta["left_out"].values()) == 3
        and sample.meta["rows"] == N
    )
    assert sample.meta["left_out"]["L_u is missing (-99)"] == 1
    assert_allclose(sample.flux, LUM[3:], rtol=1e-12)


@pytest.mark.parametrize("kind", [".csv", ".fits", ".hdf5", ".parquet", ".npz", ".npy", ".ecsv"])
def test_damaged_files_are_refused_by_name(tmp_path, kind):
    whole = write(tmp_path / f"whole{kind}", columns()).read_bytes()
    path = tmp_path / f"cut{kind}"
    for n in (0, len(whole) // 3, len(whole) - len(whole) // 8 - 3):
        n = whole.rfind(b",", 0, n) if kind == ".csv" and n else n  # within a field nobody can tell
        path.write_bytes(whole[:n])
        with pytest.raises(InputError, match=f"cut{kind}"):
            load_table(path, MAPPING)
    path.write_bytes(np.random.default_rng(1).bytes(3000))
    with pytest.raises(InputError, match=f"cut{kind}"):
        load_table(path, MAPPING)


def test_other_files_that_cannot_be_used(tmp_path):
    (tmp_path / "twice.csv").write_text("a,a\n1,2\n")
    np.save(tmp_path / "pickled.npy", np.array([{"run": "me"}], dtype=object), allow_pickle=True)
    with h5py.File(tmp_path / "uneven.hdf5", "w") as f:
        f["a"], f["b"], f["elsewhere"] = np.ones(4), np.ones(5), h5py.ExternalLink("other.hdf5", "/secret")
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3\n")
    for name, want, message in [
        ("twice.csv", ["a"], "two columns are called 'a'"),
        ("pickled.npy", ["0"], "cannot be read: .*Python objects"),
        ("uneven.hdf5", ["a", "b"], "'b' has 5 rows .*'a' has 4"),
        ("uneven.hdf5", ["elsewhere"], "no column 'elsewhere'"),
        ("rows.csv", ["a"], "rows.csv, line 3: 1 fields, the header has 2"),
        ("none.csv", ["a"], "there is no such file"),
        ("t.xls", ["a"], "kind .xls are not known"),
    ]:
        with pytest.raises(InputError, match=message):
            read_columns(tmp_path / name, want)
    assert set(FORMATS) >= {".csv", ".fits", ".hdf5", ".parquet", ".npy", ".npz"}


def test_parquet_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__
    monkeypatch.setattr(
        builtins,
        "__import__",
        lambda name, *a, **k: (
            (_ for _ in ()).throw(ImportError(name)) if name.startswith("pyarrow") else real(name, *a, **k)
        ),
    )
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"gencast\[parquet\]"):
        with open_columns(tmp_path / "t.parquet"):
            pass


def test_yaml_is_plain_data(tmp_path):
    for text, message in [
        ("a: 1\na: 2", "'a' stands twice"),
        ("a: !!python/object/apply:os.system [ls]", "not readable"),
        ("a: [", "not readable"),
        ("? [1, 2]\n: 3\n? {a: 1}\n: 2", "not readable"),
    ]:
        (tmp_path / "t.yaml").write_text(text)
        with pytest.raises(InputError, match=message):
            load_yaml(tmp_path / "t.yaml")
    (tmp_path / "map.yaml").write_text("unit: Lsun\nbands: {u: {column: L_u, wave: 3551}}\n")
    assert load_mapping(tmp_path / "map.yaml")["bands"]["u"]["column"] == "L_u"
    for name in ("../map.yaml", "/etc/passwd", "a/../../b", "C:\\x", 3):
        with pytest.raises(InputError, match="must be the name of a file"):
            beside(tmp_path, name, "suite.yaml")


def test_splits():
    values = RNG.normal(size=101)
    groups = cut_groups(values, {"by": "x", "parts": 4}, "t")
    assert sorted(np.concatenate([g for _, g in groups]).tolist()) == list(range(101)) and {
        len(g) for _, g in groups
    } == {25, 26}
    for bad, message in [
        (np.full(10, 2.0), "1 different values"),
        (np.array([1.0, np.nan, 2.0]), "galaxy 2"),
    ]:
        with pytest.raises(InputError, match=message):
            cut_groups(bad, {"by": "x", "parts": 2}, "t")
    with pytest.raises(InputError, match="101 different values; give parts"):
        cut_groups(values, {"by": "x"}, "t")


def test_galaxies_are_the_same_in_both_views(tmp_path):
    lam = np.linspace(4000, 7000, 20)
    with h5py.File(tmp_path / "t.hdf5", "w") as f:
        f["flux"], f["lam"], f["mass"] = 10 ** RNG.normal(5, 0.1, (N, 20)), lam, MASS
        f["flux"][2, 5], f["id"] = -1.0, np.arange(N)
        for k, b in enumerate("ugr"):
            f[f"L_{b}"] = LUM[:, k]
        f["L_g"][4] = np.nan
    mapping = {
        "unit": "Lsun",
        "bad": "leave out",
        "ids": "id",
        "bands": {b: {"column": f"L_{b}", "wave": w} for b, w in zip("ugr", WAVE.tolist())},
        "spectra": {"column": "flux", "wave": "lam", "unit": "Lsun/AA", "wave_unit": "AA"},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun", "log": True}},
    }
    data = read_table(tmp_path / "t.hdf5", mapping, "t")
    assert (
        data.samples["spectra"].ids
        == data.samples["photometry"].ids
        == tuple(str(k) for k in range(N) if k not in (2, 4))
    )
    assert_allclose(
        data.values("u - g"),
        (-2.5 * np.log10(LUM[:, 0] * WAVE[0] / LUM[:, 1] / WAVE[1]))[data.rows],
        rtol=1e-10,
    )
    assert_allclose(data.values("log_mstar"), MASS[data.rows])


def test_one_galaxy_is_a_sample_but_no_simulation(tmp_path):
    path = write(tmp_path / "one.csv", {k: v[:1] for k, v in columns().items()})
    assert len(load_table(path, MAPPING)) == 1


def test_constants_of_the_ab_system():
    wave = np.array([5000.0])
    assert_allclose(
        brightness_factor(parse_unit("mag(AB)", "x"), "rest", wave, None, False, "x"),
        brightness_factor(parse_unit("ABmag", "x"), "rest", wave, None, False, "x"),
    )
