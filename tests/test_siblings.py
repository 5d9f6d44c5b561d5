"""Siblings of the wrong numbers that real files gave: other units, spellings, names and formats. Each is read
as it says or refused with its cause; the right values are computed here, with numpy and astropy alone."""

import gzip

import h5py
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.cosmology import FlatLambdaCDM
from astropy.io import fits
from astropy.table import QTable, Table
from numpy.testing import assert_allclose

import gencast as gc
from gencast.core.base import InputError
from gencast.data.catalogues import read_catalogue
from gencast.data.limits import is_code
from gencast.data.particles import read_particles
from gencast.data.readers import load_table
from gencast.data.zero_points import zero_point_of

FLUX = np.array([10.0, 20.0, 30.0, 40.0])
MAGNITUDES = 23.9 - 2.5 * np.log10(FLUX)


def relative_error(path, flux, error, unit="uJy", error_in_file="", name="e", **entry):
    "The relative errors that are read from a FITS table."
    columns = [fits.Column("f", "D", array=flux), fits.Column(name, "D", array=error, unit=error_in_file)]
    columns += [fits.Column("z", "D", array=np.full(len(flux), 0.5))]
    fits.BinTableHDU.from_columns(columns).writeto(path)
    key = entry.pop("key", "error")
    mapping = {"bands": {"r": {"column": "f", key: name, "wave": 6166.0} | entry}, "unit": unit}
    found = load_table(path, mapping | {"redshift": "z", "frame": "observed", "bad": "leave out"})
    return (found.flux_err / found.flux)[:, 0]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("where", ["file", "mapping"])
def test_errors_in_millimagnitudes(tmp_path, where):
    more = {"error_in_file": "mmag"} if where == "file" else {"error_unit": "mmag"}
    got = relative_error(tmp_path / "t.fits", MAGNITUDES, np.full(4, 100.0), "mag(AB)", **more)
    assert_allclose(got, 0.1 * 0.4 * np.log(10), rtol=1e-6)


def test_an_error_in_a_logarithmic_unit_of_a_linear_flux_is_refused(tmp_path):
    with pytest.raises(InputError, match="no unit of an error of a brightness in uJy"):
        relative_error(tmp_path / "t.fits", FLUX, np.log10(0.1 * FLUX), error_unit="dex(uJy)")


@pytest.mark.parametrize("name", ["r_sigma2", "err2", "err_sq", "varflux", "e_f_squared", "error_squared"])
def test_names_that_say_square(tmp_path, name):
    if name == "e_f_squared":
        assert_allclose(relative_error(tmp_path / "t.fits", FLUX, 0.1 * FLUX, name=name), 0.1)  # no such word
        return
    with pytest.raises(InputError, match="variance or weight"):
        relative_error(tmp_path / "t.fits", FLUX, (0.1 * FLUX) ** 2, name=name)


@pytest.mark.parametrize("name", ["snr", "SNR_r", "sn_r", "r_s2n", "signal_to_noise"])
def test_a_ratio_is_no_error(tmp_path, name):
    with pytest.raises(InputError, match="signal-to-noise"):
        relative_error(tmp_path / "t.fits", FLUX, np.full(4, 10.0), name=name, error_unit="1")


def test_the_second_of_several_errors_is_no_square(tmp_path):
    Table({"f2": FLUX, "err2": 0.1 * FLUX}).write(tmp_path / "t.fits")
    bands = {"r": {"column": "f2", "error": "err2", "wave": 6166.0}}
    found = load_table(tmp_path / "t.fits", {"bands": bands, "unit": "1e9 Lsun"})
    assert_allclose(found.flux_err / found.flux, 0.1)


@pytest.mark.parametrize("code", [1e20, 9.9e99, 1e38])
def test_an_inverse_variance_without_measure_is_a_code(tmp_path, code):
    ivar = 1 / (0.1 * FLUX) ** 2
    ivar[1] = code
    assert_allclose(relative_error(tmp_path / "t.fits", FLUX, ivar, key="ivar"), [0.1] * 3)


# ---------------------------------------------------------------- logarithms and codes


def light(path, values, name, unit):
    Table({name: values}).write(path)
    return load_table(path, {"bands": {"r": {"column": name, "wave": 6166.0}}, "unit": unit})


@pytest.mark.parametrize(
    "name, unit", [("mag_r", "1e9 Lsun"), ("rMag", "1e9 Lsun"), ("MAG_AUTO", "Lsun"), ("log_L", "1e9 Lsun")]
)
def test_a_name_that_says_magnitude_or_logarithm(tmp_path, name, unit):
    with pytest.raises(InputError, match="its name says (magnitude|logarithm)"):
        light(tmp_path / "t.fits", FLUX, name, unit)


def test_a_flux_is_no_magnitude(tmp_path):
    with pytest.raises(InputError, match="its name says flux"):
        light(tmp_path / "t.fits", -FLUX, "flux_r", "mag(AB)")
    Table({"image_r": FLUX}).write(tmp_path / "i.fits")  # no magnitude, for all its letters
    bands = {"bands": {"r": {"column": "image_r", "wave": 6166.0}}, "unit": "1e9 Lsun"}
    assert_allclose(load_table(tmp_path / "i.fits", bands).flux[:, 0], 1e9 * FLUX)


@pytest.mark.parametrize("unit", ["m_AB", "mag(ABmag)", "mAB", "mag(mAB)"])
def test_more_names_of_ab_magnitudes(tmp_path, unit):
    found = light(tmp_path / "t.fits", np.array([-20.0, -21.0]), "m", unit)
    right = (3631 * u.Jy * 10 ** (0.4 * np.array([20, 21])) * 4 * np.pi * (10 * u.pc) ** 2).to("Lsun / Hz")
    assert_allclose(found.flux[:, 0], (right * (6166 * u.AA).to("Hz", u.spectral())).to_value("Lsun"), 1e-5)


def prop(path, values, name="p", column="p", **entry):
    Table({"f": np.full(len(values), 1e10), column: values}).write(path)
    bands = {"r": {"column": "f", "wave": 6166.0}}
    mapping = {"bands": bands, "unit": "Lsun", "properties": {name: {"column": column} | entry}}
    return load_table(path, mapping).properties[name]


def test_attenuations_that_are_logarithms_or_reddenings(tmp_path):
    with pytest.raises(InputError, match="look like logarithms of A_V"):
        prop(tmp_path / "a.fits", [-1.0, -0.3, 0.0], "a_v", unit="mag")
    got = prop(tmp_path / "b.fits", [-1.0, -0.3, 0.0], "a_v", unit="mag", log=True)
    assert_allclose(got, 10.0 ** np.array([-1.0, -0.3, 0.0]))
    for name in ("E(B-V)", "ebv", "E_BV", "star_ebv"):
        with pytest.raises(InputError, match=r"says E\(B-V\)"):
            prop(tmp_path / f"{len(name)}{name[:4]}.fits", [0.1, 0.2, 0.3], "a_v", name, unit="mag")


def test_logarithms_whose_name_ends_in_log(tmp_path):
    with pytest.raises(InputError, match="look like logarithms"):
        prop(tmp_path / "a.fits", [0.1, 0.5, 1.2], "log_sfr", "SFRlog", unit="Msun/yr")
    with pytest.raises(InputError, match="its unit .* is a logarithm, and log: is false"):
        prop(tmp_path / "b.fits", [9.0, 10.0], "log_mstar", unit="dex(Msun)", log=False)


def test_a_code_that_half_precision_rounds_to_a_number():
    whole = np.array([10.0, 20.0, 30.0])
    assert not is_code(whole, [9.9999]).any()  # 10 in half precision
    half = np.array([0.1, 9.99, 0.8], np.float16).astype(float)
    assert is_code(half, [9.99]).tolist() == [False, True, False]
    surely = np.array([0.1, 99.99, 0.8], np.float16).astype(float)
    assert is_code(surely, [99.99]).tolist() == [False, True, False]


# ---------------------------------------------------------------- zero points


@pytest.mark.parametrize(
    "line, zero_point",
    [
        ("fluxes in 1e-3 uJy", 31.4),
        ("fluxes in units of 10^-3 uJy", 31.4),
        ("fluxes in 0.1 uJy", 26.4),
        ("total fluxes, microjanskys", 23.9),
        ("fluxes in units of 3.631e-6 Jy", 8.9 - 2.5 * np.log10(3.631e-6)),
        ("fluxes are not in uJy but in counts", None),
        ("flux limit 5 uJy per beam", None),
        ("photometry deeper than 2 uJy", None),
    ],
)
def test_multiples_of_units_and_lines_that_state_none(line, zero_point):
    found = zero_point_of(line)
    assert found is None if zero_point is None else found == pytest.approx(zero_point, abs=1e-6)


def test_a_damaged_parameter_file_is_named(tmp_path):
    (tmp_path / "x.cat").write_text("# id f_F160W e_F160W z_spec\n1 10 1 .5\n")
    (tmp_path / "zphot.param").write_text("CATALOG_FILE x.cat\nPRIOR_ABZP abc\n")
    with pytest.raises(InputError, match=r"zphot.param: PRIOR_ABZP is 'abc', which is no number"):
        read_catalogue(tmp_path / "x.cat")


def test_a_zero_point_beside_bands_has_no_effect_and_is_refused(tmp_path):
    bands = {"bands": {"r": {"column": "f", "wave": 6166.0}}, "unit": "uJy", "zero_point": 25}
    with pytest.raises(InputError, match="zero_point: has no effect"):
        load_table(tmp_path / "t.fits", bands)


# ---------------------------------------------------------------- texts and ids


@pytest.mark.parametrize("packed", [False, True])
def test_names_in_quotation_marks_above_numbers(tmp_path, packed):
    path = tmp_path / f"t.csv{'.gz' * packed}"
    content = b'"id","f","z"\n1,10,0.5\n2,20,0.5\n'
    path.write_bytes(gzip.compress(content) if packed else content)
    bands = {"bands": {"r": {"column": "f", "wave": 6166.0}}, "unit": "1e9 Lsun"}
    assert_allclose(load_table(path, bands).flux[:, 0], [1e10, 2e10])


def test_columns_between_bars(tmp_path):
    Table({"id": [1, 2], "f": [10.0, 20.0]}).write(tmp_path / "t.txt", format="ascii.fixed_width")
    bands = {"bands": {"r": {"column": "f", "wave": 6166.0}}, "unit": "1e9 Lsun", "ids": "id"}
    assert_allclose(load_table(tmp_path / "t.txt", bands).flux[:, 0], [1e10, 2e10])


def test_the_first_number_that_single_precision_rounds(tmp_path):
    Table({"id": np.array([2**24 + 1, 2], "f4"), "f": [10.0, 20.0]}).write(tmp_path / "t.fits")
    bands = {"bands": {"r": {"column": "f", "wave": 6166.0}}, "unit": "1e9 Lsun", "ids": "id"}
    with pytest.raises(InputError, match="whole numbers of 16,777,216 or more"):
        load_table(tmp_path / "t.fits", bands)


def test_rounded_ids_of_a_catalogue(tmp_path):
    path = tmp_path / "x.cat"
    path.write_text("# AB ZP: 25\n# id f_F160W e_F160W z_spec\n1.234e18 10 1 .5\n2 10 1 .5\n")
    with pytest.raises(InputError, match="line 3: the id is a rounded number"):
        read_catalogue(path)


# ---------------------------------------------------------------- snapshots

STARS = {"part": "PartType4", "galaxy": "g", "mass": "m", "metallicity": "z", "formation": "a"}
HEADER = {"HubbleParam": 0.6777, "Omega0": 0.307, "Redshift": 0.271}


def snapshot(path, header=HEADER, attributes=None, zmet=None):
    with h5py.File(path, "w") as f:
        f.create_group("Header").attrs.update(header)
        columns = {"g": np.arange(100) // 50, "m": np.full(100, 1e-4), "a": np.full(100, 0.5)}
        columns["z"] = np.full(100, 0.02) if zmet is None else zmet
        for name, values in columns.items():
            f[f"PartType4/{name}"] = values
        f["PartType4/m"].attrs.update(attributes or {})
    return path


SWIFT = {
    "Conversion factor to CGS (not including cosmological corrections)": np.array([1.98841e43]),
    "h-scale exponent": np.array([0.0]),
    "a-scale exponent": np.array([0.0]),
}


@pytest.mark.parametrize(
    "attributes, msun", [(SWIFT, 1e6), ({"units": "1e10 Msun"}, 1e6), ({"unit": "1e10 Msun/h"}, 1e6 / 0.6777)]
)
def test_units_of_masses_that_the_file_states(tmp_path, attributes, msun):
    path = snapshot(tmp_path / "s.hdf5", attributes=attributes)
    assert_allclose(read_particles(path, STARS).mass, msun, rtol=1e-5)
    with pytest.raises(InputError, match="mass_unit says"):
        read_particles(path, STARS | {"mass_unit": "1e8 Msun"})


def test_headers_in_small_letters_and_a_cosmology_that_contradicts(tmp_path):
    small = {key.lower(): value for key, value in HEADER.items()}
    own = FlatLambdaCDM(H0=67.77, Om0=0.307)
    units = STARS | {"mass_unit": "1e10 Msun"}
    found = read_particles(snapshot(tmp_path / "s.hdf5", small), units)
    assert_allclose(found.age, (own.age(0.271) - own.age(1.0)).value, rtol=1e-3)
    with pytest.raises(InputError, match="leave cosmology out"):
        read_particles(tmp_path / "s.hdf5", units, cosmology="WMAP5")


def test_metals_of_several_elements(tmp_path):
    path = snapshot(tmp_path / "s.hdf5", zmet=np.full((100, 11), 0.02))
    units = STARS | {"mass_unit": "1e10 Msun"}
    with pytest.raises(InputError, match=r"one metallicity, e.g. z\[0\]"):
        read_particles(path, units)
    assert_allclose(read_particles(path, units | {"metallicity": "z[0]"}).zmet, 0.02)


# ---------------------------------------------------------------- samples and figures


def test_tables_name_their_bands_and_keep_their_units():
    frame = pd.DataFrame({"g": [1e9, 2e9], "r": [3e9, 4e9]})
    assert gc.Sample("m", frame, [4700, 6200]).bands == ("g", "r")
    spectra = gc.Sample("m", pd.DataFrame({4700: [1e5], 6200: [2e5]}), [4700, 6200])
    assert spectra.bands == ()
    table = QTable({"g": [1.0, 2.0] * u.L_sun, "r": ([3.0, 4.0] * u.L_sun).to("erg / s")})
    assert_allclose(gc.Sample("m", table, [4700, 6200]).flux, [[1, 3], [2, 4]])
    with pytest.raises(InputError, match="2 columns but 3 wavelengths"):
        gc.Sample("m", table, [4700, 6200, 7000])


@pytest.mark.parametrize("name", ["fig2.png", "fig2.PNG", "fig2.jpg", "fig2.eps", "a/fig.v2.pdf"])
def test_a_figure_is_the_file_that_was_asked_for(tmp_path, name):
    ax = plt.subplots()[1]
    ax.plot([0, 1], [0, 1])
    assert gc.save_figure(ax, tmp_path / name) == [tmp_path / name]
    assert (tmp_path / name).stat().st_size > 500
    plt.close(ax.figure)
