"""Spectra, snapshots and options as real files have them: each case with its right value, from numpy and
astropy alone."""

import gzip
import json
import sys
import types

import h5py
import numpy as np
import pytest
from astropy.cosmology import FlatLambdaCDM, Planck18
from astropy.io import fits
from numpy.testing import assert_allclose

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.cosmology import cosmology_name, find_cosmology
from gencast.core.resampling import fill_gaps, resample
from gencast.core.units import brightness_factor, parse_unit
from gencast.data.archives import read_archive
from gencast.data.onespectrum import flux_factor, to_angstrom
from gencast.data.particles import read_particles
from gencast.data.photometry import nu_l_nu
from gencast.data.readers import load_table
from gencast.data.references import load_spectra
from gencast.data.specfiles import built_in_spectra, luminosity, write_spec
from gencast.data.surveys import load_sdss_spectra

WIDE = np.geomspace(3500, 9000, 4000)
GRID = np.geomspace(4200, 6800, 300)
E17 = "erg cm**(-2) s**(-1) angstrom**(-1)"


def light(wave=WIDE):
    "A made-up spectrum with structure, Lsun/Angstrom."
    return 1e7 * (wave / 5000) ** -1 * (1 + 0.2 * np.sin(40 * np.log(wave)))


@pytest.fixture
def spec(tmp_path):
    return write_spec(tmp_path / "one.fits", WIDE, light(), redshift=0.05)


def edit(path, change, name="edited.fits"):
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(path.with_name(name), overwrite=True)
    return path.with_name(name)


def refusal(call, *args, **kwargs):
    with pytest.raises(InputError) as err:
        call(*args, **kwargs)
    return str(err.value)


# --- gaps


def without(rows):
    return lambda h: h.__setitem__(1, fits.BinTableHDU(np.delete(h[1].data, rows), h[1].header, "COADD"))


def masked(rows):
    return lambda h: h[1].data["ivar"].__setitem__(rows, 0.0)


@pytest.mark.parametrize(
    "grid",
    [
        np.geomspace(4000, 8000, 2000),
        np.arange(4000.0, 8000, 2),
        np.cumsum(np.linspace(50, 10, 300)) + 6000,
        (10 ** (3.6 + 1e-4 * np.arange(3000))).astype(np.float32).astype(float),
    ],
    ids=["log", "linear", "prism", "single precision"],
)
@pytest.mark.parametrize("rows", [[50], np.arange(60, 90), np.r_[10, 12, 20:23]])
def test_missing_rows_are_found_and_pixels_that_widen_are_none(grid, rows):
    full, given = fill_gaps(np.delete(grid, rows))
    changing = np.ptp(np.diff(grid)) > 30  # the width of a missing pixel is only roughly known
    assert abs((~given).sum() - len(rows)) <= (4 if changing else 0) and fill_gaps(grid)[1].all()
    assert changing or np.allclose(full, grid, rtol=1e-3)


def test_sections_of_other_steps_are_no_gaps():
    coarser = np.concatenate([np.arange(3000.0, 3100), np.arange(3100.0, 4000, 10)])
    assert fill_gaps(coarser)[1].all()
    full, given = fill_gaps(np.delete(coarser, np.r_[40, 130]))
    assert (~given).sum() == 2


def test_a_missing_row_is_a_masked_one():
    wave, out = np.geomspace(4000, 5000, 800), np.geomspace(4100, 4900, 60)
    flux, err, good = 1 + np.sin(wave / 30), np.full(800, 0.1), np.ones(800, bool)
    good[np.r_[300:320, 500]] = False
    one = resample(wave, flux, err, out, good, 150.0)
    two = resample(wave[good], flux[good], err[good], out, None, 150.0)
    for a, b in zip(one, two):
        assert_allclose(a, b, rtol=1e-6)


def test_rows_that_are_missing_in_a_spec_file_are_refused_as_masked_ones_are(spec):
    gap = slice(1900, 2150)
    said = [refusal(load_sdss_spectra, edit(spec, change), GRID) for change in (without(gap), masked(gap))]
    assert said[0] == said[1] and "no good pixels at" in said[0]
    few = slice(2000, 2003)
    one, two = (load_sdss_spectra(edit(spec, change), GRID) for change in (without(few), masked(few)))
    assert_allclose(one.flux, two.flux, rtol=1e-6)


def table_of(tmp_path, name="t.npz", n=2, wave=None, **change):
    "Two observed galaxies in a table, flat in luminosity apart from waves."
    wave = np.geomspace(3800, 8200, 3000) if wave is None else wave
    z = np.full(n, 0.1)
    per = luminosity(wave, np.ones(wave.size), 0.1)
    flux = np.tile(light(wave / 1.1) / per, (n, 1))
    columns = {"flux": flux, "err": flux / 20, "wave": wave, "z": z} | change
    np.savez(tmp_path / name, **columns)
    return tmp_path / name


MAP = {
    "frame": "observed",
    "redshift": "z",
    "unit": "1e-17 erg/s/cm2/AA",
    "spectra": {"column": "flux", "error": "err", "wave": "wave", "wave_unit": "AA"},
}


def with_(**entry):
    return MAP | {"spectra": MAP["spectra"] | entry}


def test_gaps_of_a_table_are_refused_or_bridged(tmp_path):
    wave = np.geomspace(3800, 8200, 3000)
    whole = load_table(table_of(tmp_path), MAP, wave=GRID)
    assert_allclose(whole.flux[0], light(GRID), rtol=2e-3)
    hole = table_of(tmp_path, wave=np.delete(wave, np.r_[1500:1700]))
    assert "row 1 has a gap that is too long to be bridged" in refusal(load_table, hole, MAP, wave=GRID)
    nan = np.load(table_of(tmp_path))["flux"].copy()
    nan[0, 1500:1700] = np.nan
    assert "row 1 has a gap" in refusal(load_table, table_of(tmp_path, flux=nan), MAP, wave=GRID)
    left = load_table(table_of(tmp_path, flux=nan), MAP | {"bad": "leave out"}, wave=GRID)
    assert left.ids == ("2",) and sum(left.meta["left_out"].values()) == 1


@pytest.mark.parametrize("value", [np.nan, -1e3, 0.0, 1e30, np.inf, -99.0])
def test_single_bad_pixels_of_a_table_are_masked(tmp_path, value):
    flux = np.load(table_of(tmp_path))["flux"].copy()
    err, mask = flux / 20, np.zeros(flux.shape)
    flux[0, 1500], mask[0, 1500] = value, 1
    path = table_of(tmp_path, flux=flux, err=err, mask=mask)
    assert_allclose(load_table(path, with_(mask="mask"), wave=GRID).flux[0], light(GRID), rtol=3e-3)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf, 9.9e99])
def test_errors_of_zero_or_a_code_mask_a_pixel_and_ivar_is_recognised(tmp_path, value):
    flux = np.load(table_of(tmp_path))["flux"].copy()
    err = flux / 20
    flux[0, 1500], err[0, 1500] = 1e9, value
    found = load_table(table_of(tmp_path, flux=flux, err=err), MAP, wave=GRID)
    assert_allclose(found.flux[0], light(GRID), rtol=3e-3)
    entry = {k: v for k, v in MAP["spectra"].items() if k != "error"} | {"ivar": "ivar"}
    path = table_of(tmp_path, ivar=(20 / np.load(table_of(tmp_path))["flux"]) ** 2)
    by_ivar = load_table(path, MAP | {"spectra": entry}, wave=GRID)
    plain = load_table(table_of(tmp_path), MAP, wave=GRID)
    assert_allclose(by_ivar.flux_err, plain.flux_err, rtol=1e-9)


def test_descending_wavelengths_frequencies_and_wavelengths_of_their_own(tmp_path):
    wave = np.geomspace(3800, 8200, 3000)
    plain = load_table(table_of(tmp_path), MAP, wave=GRID)
    flux = np.load(tmp_path / "t.npz")["flux"]
    down = table_of(tmp_path, flux=flux[:, ::-1], err=flux[:, ::-1] / 20, wave=wave[::-1])
    assert_allclose(load_table(down, MAP, wave=GRID).flux, plain.flux, rtol=1e-9)
    hertz = table_of(tmp_path, nu=2.99792458e18 / wave)
    by_frequency = load_table(hertz, with_(wave="nu", wave_unit="Hz"), wave=GRID)
    assert_allclose(by_frequency.flux, plain.flux, rtol=1e-6)
    own = np.stack([wave, wave * 1.001])
    each = load_table(table_of(tmp_path, own=own), with_(wave="own"), wave=GRID)
    assert_allclose(each.flux[0], plain.flux[0], rtol=1e-9)
    assert np.abs(each.flux[1] / plain.flux[1] - 1).max() > 1e-3


def test_a_table_is_what_the_same_spectrum_is_as_a_spec_file(spec, tmp_path):
    as_spec = load_sdss_spectra(spec, GRID, ebv=0.3)
    (one,) = read_archive(spec)
    np.savez(tmp_path / "t.npz", flux=one.flux[None], ivar=one.ivar[None], wave=one.wave, z=[0.05])
    entry = {"column": "flux", "ivar": "ivar", "wave": "wave", "wave_unit": "AA", "fwhm_kms": 500, "ebv": 0.3}
    table = load_table(tmp_path / "t.npz", MAP | {"spectra": entry}, wave=GRID, fwhm_kms=500)
    assert_allclose(table.flux, as_spec.flux, rtol=1e-3)
    assert_allclose(table.flux_err, as_spec.flux_err, rtol=1e-2)
    plain = load_table(tmp_path / "t.npz", MAP | {"spectra": entry | {"ebv": 0}}, wave=GRID, fwhm_kms=500)
    assert 1.8 < np.median(table.flux / plain.flux) < 3
    assert "frame: observed" in refusal(
        load_table, tmp_path / "t.npz", MAP | {"frame": "rest", "spectra": entry}, wave=GRID
    )


# --- pixels and files of spectra


@pytest.mark.parametrize("flux", [np.nan, np.inf, -np.inf, 1e30])
def test_a_masked_pixel_may_hold_anything(spec, flux):
    def change(h):
        h[1].data["ivar"][2000], h[1].data["flux"][2000] = 0, flux

    assert_allclose(
        load_sdss_spectra(edit(spec, change), GRID).flux[0], load_sdss_spectra(spec, GRID).flux[0], rtol=3e-3
    )


@pytest.mark.parametrize("flux", [0.0, -5.0])
def test_single_dark_pixels_are_judged_on_the_grid(spec, flux):
    one = edit(spec, lambda h: h[1].data["flux"].__setitem__(2000, flux))
    assert (load_sdss_spectra(one, GRID).flux > 0).all()
    dark = edit(spec, lambda h: h[1].data["flux"].__setitem__(slice(1900, 2200), flux))
    assert "zero or negative" in refusal(load_sdss_spectra, dark, GRID)


def test_trees_packed_files_and_capital_endings(spec, tmp_path):
    raw = spec.read_bytes()
    plates = tmp_path / "spectra" / "lite" / "0266"
    plates.mkdir(parents=True)
    (plates / "spec-0266-51602-0001.fits").write_bytes(raw)
    (plates / "a.fits.gz").write_bytes(gzip.compress(raw))
    (plates.parent / "B.FITS").write_bytes(raw)
    sample = load_spectra(tmp_path / "spectra", GRID)
    assert set(sample.ids) == {"spec-0266-51602-0001", "a", "B"}
    assert_allclose(np.ptp(sample.flux, axis=0), 0)
    (plates / "a.fits.gz").write_bytes(gzip.compress(raw)[:2000])
    assert "a.fits.gz: it cannot be unpacked" in refusal(load_spectra, tmp_path / "spectra", GRID)


def test_descending_loglam_is_turned(spec):
    def change(h):
        h[1].data = h[1].data[::-1].copy()

    assert_allclose(
        load_sdss_spectra(edit(spec, change), GRID).flux, load_sdss_spectra(spec, GRID).flux, rtol=1e-9
    )


def write_eso(path, wave, flux, err, unit=E17, keys=None, ucd="em.wl", wave_unit="Angstrom", **more):
    "A spectrum as ESO's Phase 3 standard has it: one row of vectors."
    columns = [("WAVE", wave, wave_unit), ("FLUX", flux, unit), ("ERR", err, unit)]
    columns += [(name, values, "") for name, values in more.items()]
    table = fits.BinTableHDU.from_columns(
        [fits.Column(n, f"{len(v)}D", u or None, array=[v]) for n, v, u in columns], name="SPECTRUM"
    )
    table.header.update({"TUCD1": ucd, "VOCLASS": "SPECTRUM v1.0", "NELEM": len(wave)})
    for k, utype in enumerate(("SpectralAxis.Value", "FluxAxis.Value", "FluxAxis.Accuracy.StatError"), 1):
        table.header[f"TUTYP{k}"] = f"Spectrum.Data.{utype}"
    head = {"ORIGIN": "ESO", "PRODCATG": "SCIENCE.SPECTRUM", "FLUXCAL": "ABSOLUTE", "SPEC_RES": 1500.0}
    fits.HDUList([fits.PrimaryHDU(header=fits.Header(head | (keys or {}))), table]).writeto(
        path, overwrite=True
    )
    return path


def observed(z, wave):
    "Flux density of the made-up galaxy, erg/s/cm2/Angstrom."
    return 1e-17 * light(wave / (1 + z)) / luminosity(wave, np.ones(wave.size), z)


def test_one_row_of_vectors_as_eso_writes_it(tmp_path):
    wave = np.linspace(4801, 9600, 2154)
    flux = observed(0.3, wave)
    quality = np.zeros(wave.size)
    quality[1000] = 1
    damaged = flux.copy()
    damaged[1000] = 1
    path = write_eso(tmp_path / "v.fits", wave, damaged, flux / 10, keys={"REDSHIFT": 0.3}, QUAL=quality)
    (one,) = read_archive(path)
    assert one.survey == "ESO" and one.wave.size == 2154 and not one.good[1000] and one.assumed == ()
    assert_allclose(one.wave[[0, -1]], [4801, 9600])
    assert_allclose(one.fwhm_kms, 299792.458 / 1500)
    assert_allclose(load_spectra(path, GRID).flux[0], light(GRID), rtol=5e-3)
    air = write_eso(tmp_path / "a.fits", wave, flux, flux / 10, ucd="em.wl;obs.atmos")
    assert_allclose(read_archive(air)[0].wave[0] - 4801, 1.342, atol=0.02)  # Morton (2000)
    nm = write_eso(tmp_path / "n.fits", wave[::-1] / 10, flux[::-1], flux[::-1] / 10, wave_unit="nm")
    assert_allclose(read_archive(nm)[0].flux, flux / 1e-17)
    for keys, words in (({"CONTNORM": True}, "continuum"), ({"FLUXCAL": "UNCALIBRATED"}, "not calibrated")):
        assert words in refusal(
            read_archive, write_eso(tmp_path / "w.fits", wave, flux, flux / 10, keys=keys)
        )
    assert "has no unit" in refusal(read_archive, write_eso(tmp_path / "u.fits", wave, flux, flux, unit=""))


def write_image(path, head=None, data=None, **extensions):
    "A spectrum as images of one row, as VANDELS has it."
    head = {"CRVAL1": 4801.0, "CDELT1": 2.55, "CRPIX1": 1.0, "BUNIT": "erg/s/cm2/A"} | (head or {})
    head = fits.Header({k: v for k, v in head.items() if v is not None})
    parts = [fits.PrimaryHDU(data, head)]
    for name, (values, unit) in extensions.items():
        parts.append(fits.ImageHDU(values, fits.Header({"BUNIT": unit} if unit else {}), name=name))
    fits.HDUList(parts).writeto(path, overwrite=True)
    return path


IMAGE = np.full(500, 2e-19)


@pytest.mark.parametrize(
    "head, errors",
    [
        ({}, {"NOISE": (IMAGE / 10, "")}),
        ({"CDELT1": None, "CD1_1": 2.55}, {"ERR": (IMAGE * 1e16, "1e-17 erg/s/cm2/A")}),
        ({"CRVAL1": 480.1, "CDELT1": 0.255, "CUNIT1": "nm"}, {"IVAR": (100 / IMAGE**2, "")}),
        ({"CRVAL1": 4801 - 2.55, "CRPIX1": 0.0}, {"VAR": (IMAGE**2 / 100, "")}),
        ({"CTYPE1": "LINEAR"}, {"STAT": (IMAGE**2 * 1e38, "(10**(-20)*erg/s/cm**2/Angstrom)**2")}),
    ],
)
def test_images_of_one_row_as_vandels_has_them(tmp_path, head, errors):
    (one,) = read_archive(write_image(tmp_path / "v.fits", head, IMAGE.astype(">f4"), **errors))
    assert_allclose(one.wave, 4801 + 2.55 * np.arange(500), rtol=1e-9)
    assert_allclose(one.flux, 0.02, rtol=1e-6)
    assert_allclose(one.flux * one.ivar**0.5, 10, rtol=1e-5)


def test_axes_of_images(tmp_path):
    noise = {"NOISE": (IMAGE / 10, "")}
    iraf = {"CRVAL1": 3.7, "CDELT1": 1e-4, "DC-FLAG": 1}
    (one,) = read_archive(write_image(tmp_path / "i.fits", iraf, IMAGE, **noise))
    assert_allclose(one.wave, 10 ** (3.7 + 1e-4 * np.arange(500)))
    (one,) = read_archive(write_image(tmp_path / "l.fits", {"CTYPE1": "WAVE-LOG"}, IMAGE, **noise))
    assert_allclose(one.wave, 4801 * np.exp(2.55 * np.arange(500) / 4801))
    (one,) = read_archive(write_image(tmp_path / "a.fits", {"CTYPE1": "AWAV"}, IMAGE, **noise))
    assert_allclose(one.wave[0] - 4801, 1.342, atol=0.02)  # Morton (2000)
    vandels = {"BUNIT": None, "HIERARCH PND Z": 1.2}
    (one,) = read_archive(write_image(tmp_path / "sc_CDFS017433.fits", vandels, IMAGE, **noise))
    assert one.survey == "VANDELS" and one.redshift == 1.2 and "erg/s/cm2" in one.assumed[0]
    for head, more, words in (
        ({"BUNIT": None}, noise, "has no unit"),
        ({"CRVAL1": 480.1, "CDELT1": 0.255}, noise, "write CUNIT1"),
        ({}, {}, "has no errors"),
        ({}, {"NOISE": (IMAGE[1:], "")}, "has 499 pixels, the flux 500"),
    ):
        assert words in refusal(read_archive, write_image(tmp_path / "w.fits", head, IMAGE, **more))


def test_the_legac_spectrum_that_ppxf_carries():
    (path,) = built_in_spectra()[0].parent.glob("legac_*.fits")
    (one,) = read_archive(path)
    row = fits.getdata(path)[0]
    good = row["QUAL"] == 0
    assert one.survey == "LEGA-C" and one.assumed == () and one.ra == 149.803879
    assert_allclose(one.flux[one.good], row["FLUX"][one.good] / 100)
    assert not (one.good & ~good).any() and one.good.sum() > 4000
    assert_allclose(one.wave[0] - row["WAVE"][0], 1.608, atol=0.02)  # air to vacuum, Morton (2000)
    assert_allclose(one.ivar[one.good], 1e4 / row["ERR"][one.good] ** 2)
    assert "redshift" in refusal(load_sdss_spectra, path, GRID)


def test_legac_has_its_units_and_takes_redshifts_from_a_table(tmp_path):
    wave = np.linspace(6200, 9000, 2000)
    flux = observed(0.7, wave) / 1e-19
    path = write_eso(
        tmp_path / "legac_M1_v3.11_spec1d_77204.fits", wave, flux, flux / 20, "", wave_unit="", ucd="em.wl"
    )
    (one,) = read_archive(path)
    assert one.survey == "LEGA-C"
    assert_allclose(one.flux, observed(0.7, wave) / 1e-17)
    (tmp_path / "z.csv").write_text("name,z\nlegac_M1_v3.11_spec1d_77204,0.7\n")
    grid = np.geomspace(3800, 5100, 100)
    assert "no redshift" in refusal(load_spectra, path, grid)
    sample = load_spectra(path, grid, redshift=tmp_path / "z.csv")
    assert_allclose(sample.flux[0], light(grid), rtol=1e-2)
    assert np.isnan(sample.properties["log_mstar"]).all()  # it does not cover g


def write_desi(folder, z=0.125, n=3, **change):
    "A coadd file of DESI and the redrock file beside it, three targets, the last a fibre on the sky."
    ids = np.array([39627, 39628, 39629], ">i8") + 2**55
    hdus = [fits.PrimaryHDU()]
    facts = {
        "TARGETID": ("K", ids),
        "COADD_FIBERSTATUS": ("J", np.zeros(n, int)),
        "OBJTYPE": ("3A", np.array(["TGT", "TGT", "SKY"])),
        "EBV": ("E", np.array([0.1, 0.0, 0.0])),
        "TARGET_RA": ("D", np.full(n, 30.0)),
        "TARGET_DEC": ("D", np.full(n, 10.0)),
    } | change.get("fibermap", {})
    columns = [fits.Column(k, form, array=v) for k, (form, v) in facts.items()]
    hdus.append(fits.BinTableHDU.from_columns(columns, name="FIBERMAP"))
    for camera, low, high in (("B", 3600, 5800), ("R", 5760, 7620), ("Z", 7520, 9824)):
        wave = np.round(np.arange(low, high + 0.4, 0.8), 1)
        flux = np.tile(observed(z, wave) / 1e-17, (n, 1))
        mask = np.zeros(flux.shape, np.int32)
        flux[1, 700], mask[1, 700] = 1e6, 4
        rows = np.zeros((n, 11, wave.size), np.float32)
        rows[:] = (np.exp(-0.5 * (np.arange(-5, 6) / 1.2) ** 2))[None, :, None]
        unit = "10**-17 erg/(s cm2 Angstrom)"
        for name, data, bunit in (
            ("WAVELENGTH", wave, "Angstrom"),
            ("FLUX", flux.astype(np.float32), unit),
            ("IVAR", (400 / flux**2).astype(np.float32), "10**+34 (s2 cm4 Angstrom2) / erg2"),
            ("MASK", mask, ""),
            ("RESOLUTION", rows, ""),
        ):
            hdu = fits.ImageHDU(data, name=f"{camera}_{name}")
            if bunit:
                hdu.header["BUNIT"] = bunit
            hdus.append(hdu)
    fits.HDUList(hdus).writeto(folder / "coadd-main-bright-10016.fits", overwrite=True)
    found = {
        "TARGETID": ("K", ids[::-1]),
        "Z": ("D", np.array([0.02, z, z])),
        "ZWARN": ("K", np.array([0, 0, 0])),
        "SPECTYPE": ("6A", np.array(["GALAXY"] * 3)),
    } | change.get("redrock", {})
    table = fits.BinTableHDU.from_columns(
        [fits.Column(k, form, array=v) for k, (form, v) in found.items()], name="REDSHIFTS"
    )
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(
        folder / "redrock-main-bright-10016.fits", overwrite=True
    )
    return ids


def test_desi_coadd_and_redrock(tmp_path):
    ids = write_desi(tmp_path)
    sample = load_spectra(tmp_path, GRID, skip=True)
    assert sample.ids == tuple(map(str, ids[:2])) and sample.name == "desi_spectra"
    assert "class is SKY" in sample.meta["refused"][0]
    assert_allclose(sample.flux[1], light(GRID), rtol=5e-3)
    plain = load_spectra(tmp_path, GRID, skip=True, ebv=0)
    assert_allclose(plain.flux[0], light(GRID), rtol=5e-3)
    by_hand = load_spectra(tmp_path, GRID, skip=True, ebv={str(ids[0]): 0.086})
    assert_allclose(sample.flux[0], by_hand.flux[0], rtol=1e-6)  # EBV of 1998, times 0.86
    one = read_archive(tmp_path / "coadd-main-bright-10016.fits")[0]
    assert one.wave.size == np.unique(np.round(one.wave, 3)).size and one.wave[0] == 3600
    step = 0.8 / one.wave[1000] * 299792.458
    assert_allclose(one.fwhm_kms[1000], 2.3548 * 1.2 * step, rtol=0.01)
    write_desi(tmp_path, redrock={"ZWARN": ("K", np.array([0, 4, 0]))})
    assert "redshift warning is 4" in refusal(load_spectra, tmp_path, GRID)
    (tmp_path / "redrock-main-bright-10016.fits").unlink()
    assert "it has no redshift" in refusal(load_spectra, tmp_path, GRID)
    write_desi(tmp_path, fibermap={"TARGETID": ("K", np.array([1, 1, 2]))})
    assert "single exposures" in refusal(load_spectra, tmp_path, GRID)


def write_manga(folder, z=0.03, n=6, drpall=True):
    "A MaNGA cube of n x n covered spaxels that share the light of the galaxy, in a frame of none."
    wave = 10 ** (3.5589 + 1e-4 * np.arange(4563))
    size = n + 2
    total = observed(z, wave) / 1e-17
    flux = np.zeros((wave.size, size, size), np.float32)
    mask = np.ones(flux.shape, np.int32)
    flux[:, 1:-1, 1:-1], mask[:, 1:-1, 1:-1] = (total / n**2)[:, None, None], 0
    ivar = np.where(mask == 0, 100 / (total / n**2)[:, None, None] ** 2, 0).astype(np.float32)
    mask[2000, 1, 1], flux[2000, 1, 1] = 1024, 1e5  # one spaxel that must not be used
    hdus = [fits.PrimaryHDU(header=fits.Header({"PLATEIFU": "7443-12703", "EBVGAL": 0.05, "OBJRA": 229.5}))]
    for name, data in (("FLUX", flux), ("IVAR", ivar), ("MASK", mask), ("WAVE", wave)):
        hdus.append(fits.ImageHDU(data, name=name))
    hdus.append(fits.ImageHDU(np.full(wave.size, 2000.0), name="SPECRES"))
    hdus[1].header["BUNIT"] = "1E-17 erg/s/cm^2/Ang/spaxel"
    fits.HDUList(hdus).writeto(folder / "manga-7443-12703-LOGCUBE.fits.gz", overwrite=True)
    if drpall:
        columns = [
            fits.Column("plateifu", "12A", array=["1-1", "7443-12703"]),
            fits.Column("nsa_z", "D", array=[0.5, z]),
        ]
        table = fits.BinTableHDU.from_columns(columns, name="MANGA")
        fits.HDUList([fits.PrimaryHDU(), table]).writeto(folder / "drpall-v3_1_1.fits", overwrite=True)


def test_manga_cubes_are_summed(tmp_path):
    write_manga(tmp_path)
    sample = load_spectra(tmp_path, GRID, ebv=0)
    assert sample.ids == ("manga-7443-12703-LOGCUBE",) and sample.meta["survey"] == "MaNGA"
    assert_allclose(sample.flux[0], light(GRID), rtol=5e-3)
    (one,) = read_archive(tmp_path / "manga-7443-12703-LOGCUBE.fits.gz")
    assert_allclose(one.ebv, 0.86 * 0.05)
    assert one.record["n_spaxels"] == 36
    relative = np.median(1 / np.sqrt(one.ivar) / one.flux)
    assert_allclose(relative, 0.1 / 6 * (1 + 1.62 * np.log10(36)), rtol=1e-3)


def test_sdss_v_layout(spec):
    "Names in capital letters, SPALL instead of SPECOBJ."

    def change(h):
        for name in list(h[1].columns.names):
            h[1].columns.change_name(name, name.upper())
        h[2].name = "SPALL"

    assert_allclose(
        load_sdss_spectra(edit(spec, change), GRID).flux, load_sdss_spectra(spec, GRID).flux, rtol=1e-9
    )


@pytest.mark.parametrize(
    "text, value",
    [
        (E17, 1e17),
        ("erg Angstrom-1 s-1 cm-2", 1e17),
        ("10**-17 erg/(s cm2 Angstrom)", 1),
        ("10**(-17)erg.cm**(-2).s**(-1).angstrom**(-1)", 1),
        ("1E-17 erg/cm^2/s/Ang", 1),
        ("1e-19 erg/s/cm2/A", 0.01),
        ("W m-2 um-1", 1e17 * 1e3 * 1e-4),
        ("Jy", 1e-23 * 2.99792458e18 / 5000**2 / 1e-17),
    ],
)
def test_units_of_archives(text, value):
    assert_allclose(flux_factor(np.array([5000.0]), text, "flux"), value, rtol=1e-6)
    assert_allclose(to_angstrom(np.array([0.5]), "micron", "wave"), 5000)


# --- snapshots


def snapshot(path, header=None, group=None, attributes=None, groups=("Header",)):
    "A thousand stars of two galaxies, half of them in none."
    n = 1000
    with h5py.File(path, "w") as f:
        for name in groups:
            f.create_group(name).attrs.update(header or {})
        part = f.create_group("PartType4")
        part["Formation"] = np.linspace(0.2, 0.7, n)
        part["Mass"], part["Z"] = np.full(n, 1e-4), np.full(n, 0.01)
        part["Group"] = np.repeat([1, 2, *(group or [3, 4])], n // 4)
        part["Mass"].attrs.update(attributes or {})
    return path


PARTS = {
    "part": "PartType4",
    "galaxy": "Group",
    "formation": "Formation",
    "mass": "Mass",
    "metallicity": "Z",
    "mass_unit": "1e10 Msun",
}
EAGLE = {"Redshift": 0.271, "Omega0": 0.307, "OmegaLambda": 0.693, "HubbleParam": 0.6777}


def test_the_header_is_read_and_obeyed(tmp_path):
    path = snapshot(tmp_path / "s.hdf5", EAGLE)
    stars = read_particles(path, PARTS)
    own = FlatLambdaCDM(67.77, 0.307)
    birth = np.linspace(0.2, 0.7, 1000)
    assert stars.redshift == 0.271
    assert_allclose(stars.age, (own.age(0.271) - own.age(1 / birth - 1)).value, atol=1e-3)
    assert "its header says 0.271" in refusal(read_particles, path, PARTS, 0)
    assert "leave cosmology out" in refusal(read_particles, path, PARTS, cosmology="H0=50, Om0=1")
    bare = snapshot(tmp_path / "b.hdf5")
    assert "does not say at which redshift" in refusal(read_particles, bare, PARTS)
    given = read_particles(bare, PARTS, 0.271, cosmology={"H0": 67.77, "Om0": 0.307})
    assert_allclose(given.age, stars.age, atol=1e-6)
    assert_allclose(read_particles(bare, PARTS, 0.271).age[0], 8.98, atol=0.1)


@pytest.mark.parametrize(
    "header, groups",
    [
        ({"Time": 1 / 1.271, "Omega0": 0.307, "HubbleParam": 0.6777}, ("Header",)),
        ({"ExpansionFactor": 1 / 1.271, "Time": 13.2}, ("Header",)),
        ({"Redshift": np.array([0.271]), "Omega_m": [0.307], "h": [0.6777]}, ("Header", "Cosmology")),
        ({"Scale-factor": np.array([1 / 1.271])}, ("Cosmology",)),
    ],
)
def test_spellings_of_headers(tmp_path, header, groups):
    stars = read_particles(snapshot(tmp_path / "s.hdf5", header, groups=groups), PARTS)
    assert_allclose(stars.redshift, 0.271)


def test_a_header_that_contradicts_itself_is_refused(tmp_path):
    path = snapshot(tmp_path / "s.hdf5", {"Redshift": 0.271, "ExpansionFactor": 1.0})
    assert "scale factor 1, which is redshift 0" in refusal(read_particles, path, PARTS)


@pytest.mark.parametrize("code", [2**30, -1, 2**31 - 1, -5])
def test_stars_of_no_galaxy_are_left_out(tmp_path, code):
    stars = read_particles(snapshot(tmp_path / "s.hdf5", EAGLE, group=[code, code]), PARTS)
    assert set(stars.galaxy) == {"1", "2"} and stars.left_out == {"in no galaxy": 500}


def test_masses_per_h_and_units_that_the_file_states(tmp_path):
    path = snapshot(tmp_path / "s.hdf5", EAGLE)
    per_h = read_particles(path, PARTS | {"mass_unit": "1e10 Msun/h"}).mass
    assert_allclose(per_h, 1e6 / 0.6777)
    assert "has an h" in refusal(
        read_particles, snapshot(tmp_path / "b.hdf5"), PARTS | {"mass_unit": "1e10 Msun/h"}, 0.1
    )
    tng = snapshot(
        tmp_path / "t.hdf5", EAGLE, attributes={"to_cgs": 1.989e43, "h_scaling": -1.0, "a_scaling": 0.0}
    )
    assert "mass_unit says 1e+10 Msun, the file 1.47" in refusal(read_particles, tng, PARTS)
    silent = {k: v for k, v in PARTS.items() if k != "mass_unit"}
    assert_allclose(read_particles(tng, silent).mass, 1e6 / 0.6777, rtol=1e-3)
    assert "unit is not stated" in refusal(read_particles, path, silent)


def test_groups_and_subgroups_are_joined(tmp_path):
    path = snapshot(tmp_path / "s.hdf5", EAGLE)
    with h5py.File(path, "a") as f:
        f["PartType4/Sub"] = np.tile([0, 2**30], 500)
    stars = read_particles(path, PARTS | {"galaxy": ["Group", "Sub"]})
    assert set(stars.galaxy) == {"1-0", "2-0", "3-0", "4-0"} and stars.left_out == {"in no galaxy": 500}


# --- cosmology, dust and options


def test_any_cosmology(spec, tmp_path):
    flat = FlatLambdaCDM(70, 0.3)
    ratio = (flat.luminosity_distance(0.05) / Planck18.luminosity_distance(0.05)).value ** 2
    plain = load_sdss_spectra(spec, GRID)
    other = load_sdss_spectra(spec, GRID, cosmology="H0=70, Om0=0.3")
    assert_allclose(other.flux / plain.flux, ratio, rtol=1e-9)
    assert other.meta["cosmology"] == "H0=70, Om0=0.3" and find_cosmology(cosmology_name(flat)) == flat
    wave, z = np.array([6000.0]), np.array([0.05])
    args = (parse_unit("uJy", "x"), "observed", wave, z, False, "x")
    assert_allclose(brightness_factor(*args, flat) / brightness_factor(*args), ratio, rtol=1e-9)
    assert_allclose(nu_l_nu(np.ones((1, 1)), z, wave, flat) / nu_l_nu(np.ones((1, 1)), z, wave), ratio)
    path = table_of(tmp_path)
    by_mapping = load_table(path, MAP | {"cosmology": {"H0": 70, "Om0": 0.3}}, wave=GRID)
    far = (flat.luminosity_distance(0.1) / Planck18.luminosity_distance(0.1)).value ** 2
    assert_allclose(by_mapping.flux / load_table(path, MAP, wave=GRID).flux, far, rtol=1e-9)
    assert "Planck19" in refusal(load_table, path, MAP | {"cosmology": "Planck19"}, wave=GRID)


def test_reddening_from_the_map_on_the_scale_of_2011(spec, monkeypatch):
    asked = []

    class Query:
        def __call__(self, coordinates):
            asked.append((coordinates.ra.deg, coordinates.dec.deg))
            return np.full(coordinates.shape, 0.1)

    module = types.ModuleType("dustmaps.sfd")
    module.SFDQuery = Query
    monkeypatch.setitem(sys.modules, "dustmaps", types.ModuleType("dustmaps"))
    monkeypatch.setitem(sys.modules, "dustmaps.sfd", module)
    there = edit(spec, lambda h: h[0].header.update({"PLUG_RA": 165.0, "PLUG_DEC": 21.0}))
    mapped, by_hand = (load_sdss_spectra(there, GRID, ebv=e) for e in ("sfd", 0.086))
    assert_allclose(mapped.flux, by_hand.flux, rtol=1e-9)
    assert_allclose(asked[0], [[165], [21]])
    assert "no coordinates" in refusal(load_sdss_spectra, spec, GRID, ebv="sfd")
    monkeypatch.setitem(sys.modules, "dustmaps.sfd", None)
    assert "pip install 'gencast[sfd]'" in refusal(load_sdss_spectra, there, GRID, ebv="sfd")
    assert load_sdss_spectra(spec, GRID).meta["galactic_extinction"].startswith("none removed")


def test_lists_fit_the_terminal_and_are_json(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for what in ("ssp", "dust", "histories", "properties", "laws", "distances", "suites"):
        with pytest.raises(SystemExit) as end:
            main(["list", what])
        assert end.value.code in (0, None)
        said = capsys.readouterr().out
        assert max(map(len, said.splitlines())) <= 80
        if what == "ssp":
            assert " stellar_library  STELIB" in said, "words are not cut into syllables"
    with pytest.raises(SystemExit):
        main(["list", "laws", "--json"])
    assert "stack" in [row["law"] for row in json.loads(capsys.readouterr().out)]
    with pytest.raises(SystemExit) as end:
        main(["list", "laws", "--suite", "photometry"])
    assert end.value.code == 2 and "--suite has no effect" in capsys.readouterr().err
