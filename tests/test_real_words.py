"""Units, dialects and headers that archives, codes and colleagues write, each with the right value."""

import gzip

import h5py
import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

import gencast as gc
from gencast.core.base import InputError
from gencast.core.properties import PROPERTIES
from gencast.core.units import convert_property, parse_unit
from gencast.data.catalogues import read_catalogue
from gencast.data.snapshots import read_header

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


def snapshot(path, header, **parameters):
    "A hundred stars of one galaxy."
    with h5py.File(path, "w") as f:
        f.create_group("Header").attrs.update(header)
        f.create_group("Parameters").attrs.update(parameters)
    return path


COSMIC = {"Omega0": 0.31, "OmegaLambda": 0.69, "HubbleParam": 0.68}


@pytest.mark.parametrize(
    "header, redshift",
    [
        ({"Redshift": 0.0, "Time": 0.79, "Omega0": 0.0}, np.nan),  # without a cosmology, as Gadget writes it
        ({"Redshift": 0.0, "Time": 1.0, **COSMIC}, 0),
        ({"Redshift": 0.25, "Time": 0.8, **COSMIC}, 0.25),
        ({"Redshift": 0.0, "Time": 13.8, **COSMIC}, 0),  # Gyr
        ({"Redshift": 6.0, "Time": 0.93, **COSMIC}, 6),  # Gyr
        ({"Redshift": 0.25, "Time": 0.01, "Scale-factor": 0.8, **COSMIC}, 0.25),  # SWIFT
    ],
)
def test_time_may_be_a_time(tmp_path, header, redshift):
    assert read_header(snapshot(tmp_path / "s.hdf5", header)).redshift == pytest.approx(redshift, nan_ok=True)


def test_a_run_that_says_it_has_no_cosmology_has_no_redshift(tmp_path):
    header = {"Redshift": 0.0, "Time": 0.79, **COSMIC}
    found = read_header(snapshot(tmp_path / "s.hdf5", header, ComovingIntegrationOn=0))
    assert np.isnan(found.redshift) and found.cosmology is None and found.hubble == 0.68
    assert (
        read_header(snapshot(tmp_path / "t.hdf5", header | {"Time": 1.0}, ComovingIntegrationOn=1)).redshift
        == 0
    )


def test_a_time_that_contradicts_the_redshift_is_refused(tmp_path):
    path = snapshot(tmp_path / "s.hdf5", {"Redshift": 0.0, "Time": 0.79, **COSMIC})
    with pytest.raises(InputError, match=r"Redshift 0 and Time 0.79, which is redshift 0.2658"):
        read_header(path)


def photometry(path, values):
    bands = ("sdss2010-g", "sdss2010-r", "sdss2010-i")
    names = dict(zip(bands, "abc"))
    Table({"z": np.full(len(values), 0.1)} | dict(zip("abc", values.T))).write(path)
    entries = {b: {"column": c, "unit": "uJy"} for b, c in names.items()}
    return gc.load_table(path, {"frame": "observed", "redshift": "z", "bands": entries})


def test_magnitudes_under_a_unit_of_flux_are_refused(tmp_path):
    magnitudes = np.linspace(17, 23, 8)[:, None] + [0, -0.5, -0.8]
    with pytest.raises(InputError, match=r"16.2 to 23 uJy and fall towards the red, as magnitudes do"):
        photometry(tmp_path / "t.fits", magnitudes)
    fluxes = np.linspace(17, 23, 8)[:, None] * [1, 1.2, 1.3]  # redder bands are brighter
    assert len(photometry(tmp_path / "f.fits", fluxes)) == 8
    assert len(photometry(tmp_path / "w.fits", 1000 * magnitudes)) == 8


def test_a_floor_on_logarithms_is_one_of_logarithms():
    def convert(values, **entry):
        unit = "Msun / yr"
        return convert_property(
            np.array(values), {"column": "s"} | entry, PROPERTIES["log_sfr"], unit, "t.csv"
        )

    rates = [-1, 0.5, 1.2]
    assert convert(rates, log=True)[0].tolist() == rates
    values, lifted = convert(rates, log=True, floor=-0.5)
    assert values.tolist() == [-0.5, 0.5, 1.2] and lifted == 1
    with pytest.raises(InputError, match="it is 1 solMass / yr; write floor: -3 for 0.001 solMass / yr"):
        convert(rates, log=True, floor=0.001)
    np.testing.assert_allclose(convert([0.0, 10.0], floor=0.001)[0], [-3, 1])


def test_an_id_that_two_galaxies_have_is_refused_before_a_forecast():
    from gencast.data.suites import load_suite
    from gencast.pipeline.observed import compared_with
    from gencast.pipeline.surveys import check_survey

    flux = np.ones((2, 5)) * np.array([1.0, 2, 3, 2, 1])
    sample = gc.Sample("mine", flux, np.linspace(4000, 7000, 5), ids=("a", "a"))
    with pytest.raises(InputError, match="'mine': the id 'a' stands twice"):
        check_survey(load_suite("default"), "spectra", sample)
    with pytest.raises(InputError, match="'mine': the id 'a' stands twice"):  # a run's later galaxies
        compared_with(None, sample, None)
