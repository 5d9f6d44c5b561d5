"""Spellings of units and dialects of text that archives, codes and colleagues write, each with the right value."""

import gzip

import numpy as np
import pytest
from astropy import units as u

import gencast as gc
from gencast.core.base import InputError
from gencast.core.units import parse_unit
from gencast.data.catalogues import read_catalogue

FLAM, FNU = u.erg / u.s / u.cm**2 / u.AA, u.erg / u.s / u.cm**2 / u.Hz


@pytest.mark.parametrize(
    "spelling, unit",
    [
        ("GHZ", u.GHz),
        ("THZ", u.THz),
        ("MHZ", u.MHz),
        ("HERTZ", u.Hz),
        ("UM", u.um),
        (r"$\mu$m", u.um),
        ("NM", u.nm),
        ("meters", u.m),
        ("flam", FLAM),
        ("1E-17 FLAM", 1e-17 * FLAM),
        ("FNU", FNU),
        ("WATT/M^2/UM", u.W / u.m**2 / u.um),
        ("mJY", u.mJy),
        ("JANSKY", u.Jy),
        ("M_SUN/YR", u.Msun / u.yr),
        ("L_SUN", u.Lsun),
        ("myr", u.Myr),  # astropy: a thousandth of a year
        ("1/FLAM^2", 1 / FLAM**2),
        ("MAG", u.mag),
        ("m", u.m),  # unchanged
        ("mHz", u.mHz),
        ("MJy", u.MJy),
    ],
)
def test_more_spellings_of_units(spelling, unit):
    assert (1 * parse_unit(spelling, "x")).to_value(unit) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("spelling", ["MJY", "mhz", "photlam", "f_lambda"])
def test_spellings_that_could_mean_two_units_are_refused(spelling):
    with pytest.raises(InputError, match="is not known"):
        parse_unit(spelling, "x")


CAT = {
    "plain.cat": "# id f_B e_B f_V e_V z_spec\n# AB ZP: 23.9\n1 3 0.1 4 0.2 0.5\n2 5 0.1 6 0.2 0.7\n",
    "commas.cat": "# id,f_B,e_B,f_V,e_V,z_spec\n# AB ZP: 23.9\n1,3,0.1,4,0.2,0.5\n2,5,0.1,6,0.2,0.7\n",
    "bare.cat": "id,f_B,e_B,f_V,e_V,z_spec\n# AB ZP: 23.9\n1,3,0.1,4,0.2,0.5\n2,5,0.1,6,0.2,0.7\n",
    "matlab.cat": "% id f_B e_B f_V e_V z_spec\n% AB ZP: 23.9\n1 3 0.1 4 0.2 0.5\n2 5 0.1 6 0.2 0.7\n",
    "fortran.cat.gz": "! id f_B e_B f_V e_V z_spec\n! AB ZP: 23.9\n1 3 0.1 4 0.2 0.5\n2 5 0.1 6 0.2 0.7\n",
}


def write(path, text):
    with gzip.open(path, "wt") if path.suffix == ".gz" else open(path, "w") as f:
        f.write(text)
    return path


@pytest.mark.parametrize("name", CAT)
def test_catalogues_packed_with_commas_and_other_comments(tmp_path, name):
    found = read_catalogue(write(tmp_path / name, CAT[name]))
    assert found.name == name.split(".")[0] and found.zero_point == 23.9 and found.ids == ("1", "2")
    assert found.flux.tolist() == [[3, 4], [5, 6]] and found.redshift.tolist() == [0.5, 0.7]


def test_a_packed_catalogue_finds_its_other_files(tmp_path):
    write(tmp_path / "a.cat.gz", CAT["plain.cat"])
    write(tmp_path / "a.fout.gz", "# id z lmass\n# AB ZP: 23.9\n1 0.51 10\n2 0.71 11\n")
    found = read_catalogue(tmp_path / "a.cat.gz")
    assert found.redshift.tolist() == [0.51, 0.71] and found.reference["log_mstar"].tolist() == [10, 11]


def test_an_empty_field_between_commas_is_no_flux(tmp_path):
    found = read_catalogue(write(tmp_path / "a.cat", CAT["commas.cat"].replace("5,0.1", ",")))
    assert np.isnan(found.flux[1, 0]) and found.flux[1, 1] == 6


def test_a_damaged_packed_catalogue_is_refused(tmp_path):
    path = write(tmp_path / "a.cat.gz", CAT["plain.cat"] * 40)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match="a.cat.gz cannot be read"):
        read_catalogue(path)


MAPPING = {
    "frame": "observed",
    "redshift": "z",
    "ids": "id",
    "bands": {"sdss2010-r": {"column": "f", "unit": "uJy"}, "sdss2010-g": {"column": "g", "unit": "uJy"}},
}


@pytest.mark.parametrize("first", ["% id z f g", "! by hand\n! id z f g", "# id z f g"])
def test_comments_of_other_languages(tmp_path, first):
    path = write(tmp_path / "t.txt", f"{first}\n1 0.1 10 11\n! 9 0.1 10 11\n2 0.2 20 21\n")
    found = gc.load_table(path, MAPPING)
    assert found.ids == ("1", "2") and found.redshift.tolist() == [0.1, 0.2]


def test_feather(tmp_path):
    feather = pytest.importorskip("pyarrow.feather")
    import pyarrow as pa

    columns = {"id": [1, 2**60 + 1], "z": [0.1, 0.2], "f": [10.0, 20.0], "g": [11.0, None]}
    feather.write_feather(pa.table(columns), tmp_path / "t.feather")
    found = gc.load_table(tmp_path / "t.feather", MAPPING | {"bad": "leave out"})
    assert found.ids == ("1",)
    text = write(tmp_path / "t.txt", "id z f g\n1 0.1 10 11\n")
    np.testing.assert_allclose(found.flux, gc.load_table(text, MAPPING).flux)
    (tmp_path / "t.feather").write_bytes((tmp_path / "t.feather").read_bytes()[:-40])
    with pytest.raises(InputError, match=r"t.feather cannot be read"):
        gc.load_table(tmp_path / "t.feather", MAPPING)
