"Observed data: spec files, resampling, photometry, and everything that must be refused."

import json
from pathlib import Path

import numpy as np
import pytest
from astropy import units as u
from astropy.cosmology import Planck18
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.core.constants import C_KMS
from gencast.core.resampling import broadening_matrix, overlap_matrix, pixel_edges, resample
from gencast.core.sample import Sample, load_sample, save_sample
from gencast.data.photometry import (
    SDSS_BANDS,
    band_luminosity,
    band_wavelengths,
    kcorrect_masses,
    load_sdss_photometry,
    nu_l_nu,
    observe_photometry,
    survey_partners,
)
from gencast.data.references import colour_masses, load_spectra
from gencast.data.specfiles import built_in_spectra, luminosity, read_spec, write_spec
from gencast.data.surveys import MAX_GAP, WAVE_GRID, fibre_fluxes, load_sdss_spectra, read_galaxies

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "sdss"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared/data/sdss, thirteen SDSS spec files, is not there"
)
WIDE = np.geomspace(3500, 9000, 4000)


def galaxy(wave=WIDE):
    "A made-up spectrum with structure on many scales, Lsun/Angstrom."
    return (
        1e7
        * (wave / 5000) ** -1
        * (1 + 0.2 * np.sin(60 * np.log(wave)) - 0.4 * np.exp(-0.5 * ((wave - 5178) / 12) ** 2))
    )


@pytest.fixture
def spec(tmp_path):
    return write_spec(tmp_path / "one.fits", WIDE, galaxy(), redshift=0.05)


def edit(path, change, name="edited.fits"):
    "A copy of a spec file, changed."
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(path.with_name(name), overwrite=True)
    return path.with_name(name)


def refusal(path, **kwargs):
    with pytest.raises(InputError) as err:
        load_sdss_spectra(path, **kwargs)
    return str(err.value)


# --- the shared files


@needs_shared
def test_shared_files_nine_in_four_refused():
    sample = load_sdss_spectra(SHARED, skip=True)
    assert (
        len(sample) == 9
        and sample.flux.shape == (9, WAVE_GRID.size)
        and np.isfinite(sample.flux).all()
        and (sample.flux_err > 0).all()
    )
    refused = dict(line.split(": ", 1) for line in sample.meta["refused"])
    assert (
        "2784-6631" in refused["spec-0548-51986-0001.fits"]
        and "3829-7383" in refused["spec-0548-51986-0001.fits"]
    )
    assert "class is QSO" in refused["spec-0548-51986-0020.fits"]
    assert "class is STAR" in refused["spec-4055-55359-0001.fits"]
    assert "5 (SKY, SMALL_DELTA_CHI2)" in refused["spec-2341-53738-0560.fits"]
    warned = [f["name"] for f in sample.meta["files"] if f["zwarning"] == ["MANY_OUTLIERS"]]
    assert warned == ["spec-1678-53433-0425"]


@needs_shared
def test_shared_folder_is_refused_as_a_whole_with_a_line_a_file():
    message = refusal(SHARED)
    assert message.count("\n") == 3


@needs_shared
def test_shared_galaxies_on_a_bluer_grid():
    "Nine of the ten: the tenth, at z = 0.37, is negative in four pixels of the grid even when smoothed."
    sample = load_sdss_spectra(SHARED, wave=np.geomspace(3830, 6600, 700), skip=True)
    assert len(sample) == 9 and 0.2 < max(sample.redshift) < 0.36
    assert "spec-0548-51986-0001.fits: 4 of its 700 pixels" in sample.meta["refused"][-1]


@needs_shared
def test_shared_quasar_by_name_is_still_refused_for_coverage():
    assert "covers 1185" in refusal(
        SHARED / "spec-0548-51986-0020.fits", accept=["spec-0548-51986-0020.fits"]
    )


@needs_shared
def test_full_file_cut_after_the_tables_is_refused(tmp_path):
    raw = (SHARED / "spec-0390-51900-0282.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(raw[:1_000_000])
    assert "cut off" in refusal(tmp_path / "cut.fits")


@needs_shared
def test_shared_ten_galaxies_are_read_three_files_are_not():
    galaxies, refused = read_galaxies(SHARED)
    assert len(galaxies) == 10 and max(z for _, z, *_ in galaxies) > 0.36
    assert {line.split(":")[0] for line in refused} == {
        "spec-0548-51986-0020.fits",
        "spec-4055-55359-0001.fits",
        "spec-2341-53738-0560.fits",
    }
    sample = load_sdss_spectra(SHARED, skip=True)
    assert sample.meta["n_galaxies"] == 10 and [
        line.split(":")[0] for line in sample.meta["refused"] if "the grid needs" in line
    ] == ["spec-0548-51986-0001.fits"]
    boss = [spec for spec, *_ in galaxies if spec.record["plate"] == 4055]
    assert len(boss) == 2 and all(
        spec.wave[0] < 3700 and spec.wave[-1] > 9800 for spec in boss
    )  # BOSS sees farther on both sides


@needs_shared
def test_shared_light_in_the_fibre_is_the_pipelines():
    for spec, *_ in read_galaxies(SHARED)[0]:
        with fits.open(SHARED / spec.record["file"]) as hdus:
            assert_allclose(
                fibre_fluxes(spec), hdus[2].data["SPECTROFLUX"][0][1:4], rtol=0.03, err_msg=spec.name
            )


@needs_shared
def test_shared_galaxies_have_a_mass_from_their_colour():
    sample = load_spectra(SHARED, skip=True)
    assert sample.meta["reference_from"].startswith("the colour") and sample.properties[
        "log_mstar"
    ].shape == (9,)
    masses = dict(zip(sample.ids, sample.properties["log_mstar"]))
    assert (
        9.5 < masses["spec-0266-51602-0001"] < 10
        and 11 < masses["spec-4055-55359-0006"] < 11.5
        and masses["spec-2880-54509-0230"] < 8
    )


# --- bad input, made here


@pytest.mark.parametrize(
    "change, words",
    [
        (lambda h: h[2].data.__setitem__("Z", np.nan), "no redshift; give one with redshift="),
        (lambda h: h.pop(2), "no redshift"),
        (lambda h: h.pop(1), "lacks the column"),
        (lambda h: h[2].data.__setitem__("Z", 0.0), "its redshift is 0"),
        (lambda h: h[2].data.__setitem__("Z", -0.01), "its redshift is -0.01"),
        (lambda h: h[2].data.__setitem__("CLASS", "QSO"), "class is QSO"),
        (lambda h: h[2].data.__setitem__("ZWARNING", 128 + 16), "144 (UNPLUGGED)"),
        (lambda h: h[1].data.__setitem__("ivar", 0.0), "all its pixels are masked"),
        (lambda h: h[1].data.__setitem__("and_mask", 1 << 24), "all its pixels are masked"),
        (lambda h: h[1].data["ivar"].__setitem__(slice(5, 8), -1.0), "ivar is negative in 3 pixels"),
        (lambda h: h[1].data.__setitem__("flux", np.nan), "all its pixels are masked"),
        (lambda h: h[1].data.__setitem__("wdisp", 0.0), "wdisp is empty"),
        (lambda h: h[1].data.__setitem__("wdisp", 9.0), "coarser than 500 km/s"),
        (lambda h: h[1].columns.del_col("ivar"), "lacks the column ivar"),
        (lambda h: h[0].header.__setitem__("BUNIT", "W/m2/um"), "'W/m2/um'"),
        (lambda h: h[1].data["ivar"].__setitem__(slice(2000, 2100), 0.0), "no good pixels at"),
    ],
)
def test_bad_files_are_refused_with_a_reason_and_a_remedy(spec, change, words):
    path = edit(spec, change)
    message = refusal(path)
    assert message.startswith("edited.fits: ") and words in message and ";" in message and "\n" not in message


@pytest.mark.parametrize("content", [b"", b"not FITS at all", None])
def test_damaged_files_are_refused(spec, content):
    spec.write_bytes(spec.read_bytes()[:40_000] if content is None else content)
    assert "cannot be read as FITS" in refusal(spec)


def test_wrong_paths_and_names(spec, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no such file" in refusal(tmp_path / "missing.fits")
    assert "no *.fits file" in refusal(tmp_path / "empty")
    assert "more than once" in refusal([spec, spec])
    assert "no spec files" in refusal([])
    assert "accept names 'other'" in refusal(spec, accept=["other"])
    assert "redshift names 'other'" in refusal(spec, redshift={"other": 0.1})
    assert "ebv is -1" in refusal(spec, ebv=-1)


def test_all_problems_come_at_once_and_can_be_skipped(spec, tmp_path):
    edit(spec, lambda h: h[2].data.__setitem__("CLASS", "STAR"), "star.fits")
    edit(spec, lambda h: h[2].data.__setitem__("Z", np.nan), "blank.fits")
    assert [line.split(":")[0] for line in refusal(tmp_path).splitlines()] == ["blank.fits", "star.fits"]
    kept = load_sdss_spectra(tmp_path, skip=True)
    assert kept.ids == ("one",) and len(kept.meta["refused"]) == 2 and kept.meta["n_files"] == 3
    assert "STAR" in refusal(tmp_path / "star.fits", skip=True)  # nothing is left


def test_overruling_by_name(spec):
    path = edit(
        spec,
        lambda h: (h[2].data.__setitem__("CLASS", "STAR"), h[2].data.__setitem__("ZWARNING", 4)),
        "odd.fits",
    )
    record = load_sdss_spectra(path, accept="odd").meta["files"][0]
    assert (
        record["class_overruled"]
        and record["accepted_by_name"]
        and record["zwarning"] == ["SMALL_DELTA_CHI2"]
    )
    blank = edit(spec, lambda h: h.pop(2), "blank.fits")
    assert load_sdss_spectra(blank, redshift={"blank.fits": 0.05}).redshift[0] == 0.05


def test_a_galaxy_beyond_the_grid_is_read_and_refused_for_the_grid_alone(tmp_path):
    write_spec(tmp_path / "near.fits", WIDE, galaxy(), redshift=0.05)
    far = np.geomspace(3830 / 1.4, 9200 / 1.4, 3000)
    write_spec(tmp_path / "far.fits", far, galaxy(far), redshift=0.4)
    write_spec(tmp_path / "quasar.fits", WIDE, galaxy(), redshift=0.05, kind="QSO")
    galaxies, refused = read_galaxies(tmp_path)
    assert (
        {spec.name for spec, *_ in galaxies} == {"near", "far"}
        and len(refused) == 1
        and "class is QSO" in refused[0]
    )
    assert "the grid needs" in refusal(tmp_path) and refusal(tmp_path).count("\n") == 1
    sample = load_sdss_spectra(tmp_path, skip=True)
    assert sample.ids == ("near",) and sample.meta["n_galaxies"] == 2 and sample.meta["n_files"] == 3
    assert len(load_sdss_spectra(tmp_path, wave=np.geomspace(3830, 6500, 300), skip=True)) == 2


def test_full_files_are_read_like_lite_ones(spec, tmp_path):
    "Single exposures after the coadd change nothing."
    with fits.open(spec) as hdus:
        exposure = fits.BinTableHDU.from_columns(
            [fits.Column("flux", "D", array=np.zeros(9)), fits.Column("loglam", "D", array=np.ones(9))],
            name="B1-00012345",
        )
        hdus.append(exposure)
        hdus.append(exposure.copy())
        hdus.writeto(tmp_path / "full.fits")
    lite, full = read_spec(spec), read_spec(tmp_path / "full.fits")
    for name in ("wave", "flux", "ivar", "good", "fwhm_kms"):
        assert_array_equal(getattr(lite, name), getattr(full, name))
    assert lite.redshift == full.redshift and lite.record["sha256"] != full.record["sha256"]


# --- what comes out


def test_the_result_says_that_masses_are_those_in_the_fibre(spec):
    assert any(
        "fibre" in note and "no aperture correction" in note for note in load_spectra(spec).meta["notes"]
    )


def test_galactic_dust_against_the_published_curve(spec):
    "CCM89 by its own formula in the optical (equations 3), A(lambda) / A_V = a + b / R_V."
    x = 1e4 / np.array([4500.0, 5500.0, 7000.0]) - 1.82
    a = np.polyval([0.32999, -0.77530, 0.01979, 0.72085, -0.02427, -0.50447, 0.17699, 1], x)
    b = np.polyval([-2.09002, 5.30260, -0.62251, -5.38434, 1.07233, 2.28305, 1.41338, 0], x)
    wave = np.array([4500.0, 5500.0, 7000.0])
    removed = 2.5 * np.log10(luminosity(wave, np.ones(3), 0.1, ebv=0.2) / luminosity(wave, np.ones(3), 0.1))
    assert_allclose(removed, 0.2 * 3.1 * (a + b / 3.1), rtol=1e-4)


def test_colour_masses_by_hand_where_no_k_correction_is_needed():
    z = np.array([0.002, 0.003])
    nanomaggies = 1e3 * np.array([[1.0, 1.9, 2.6], [1.0, 1.5, 1.8]])
    magnitude = 22.5 - 2.5 * np.log10(nanomaggies) - Planck18.distmod(z).value[:, None]
    by_hand = 1.15 + 0.70 * (magnitude[:, 0] - magnitude[:, 2]) - 0.4 * magnitude[:, 2]
    assert_allclose(colour_masses(nanomaggies, z), by_hand, atol=0.01)
    for bad in ((-nanomaggies, z), (nanomaggies[:, :2], z), (nanomaggies, z + 1), (nanomaggies, -z)):
        with pytest.raises(InputError, match="colour masses need"):
            colour_masses(*bad)


def test_light_in_bands_of_a_flat_source(tmp_path):
    """f_nu constant: the same AB flux in all bands; 1e-17 erg/s/cm2/Å at 6000 Å is 1.2e-28 erg/s/cm2/Hz, 3.31
    nanomaggies.
    """
    flat = 1e6 * (5000 / WIDE) ** 2
    spec = read_spec(write_spec(tmp_path / "flat.fits", WIDE, flat, 0.05))
    fluxes = fibre_fluxes(spec)
    assert_allclose(fluxes, fluxes[1], rtol=2e-3)
    at = np.interp(6000, spec.wave, spec.flux)
    assert_allclose(fluxes[1], at * 1e-17 * 6000**2 / 2.99792458e18 / 3.631e-29, rtol=2e-3)
    assert (fibre_fluxes(spec, ebv=0.1) > fluxes * 1.15).all()


def test_round_trip_within_noise(tmp_path):
    rng = np.random.default_rng(5)
    truth, err = galaxy(), 0.03 * galaxy()
    clean = load_sdss_spectra(write_spec(tmp_path / "a.fits", WIDE, truth, 0.08))
    noisy = load_sdss_spectra(
        write_spec(tmp_path / "b.fits", WIDE, truth + err * rng.normal(size=WIDE.size), 0.08, flux_err=err)
    )
    assert_allclose(clean.flux[0], resample(WIDE, truth, err, WAVE_GRID)[0], rtol=4e-3)
    pull = (noisy.flux - clean.flux) / noisy.flux_err
    assert (
        abs(pull.mean()) < 0.1 and 0.8 < pull.std() < 1.5
    )  # two resamplings: errors of neighbours are correlated


def test_smoothing_to_the_common_resolution(tmp_path):
    line = 1e7 * (1 + 5 * np.exp(-0.5 * (np.log(WIDE / 5500) * C_KMS / 100) ** 2))  # sigma 100 km/s
    path = write_spec(tmp_path / "line.fits", WIDE, line, 0.05, fwhm_kms=100 * np.sqrt(8 * np.log(2)))
    sample = load_sdss_spectra(path)
    x, y = np.log(WAVE_GRID / 5500) * C_KMS, sample.flux[0] / 1e7 - 1
    near = np.abs(x) < 1500
    sigma = np.sqrt((y * x**2)[near].sum() / y[near].sum())
    boxes = np.sqrt(8 * np.log(2) / 12) * np.array(
        [217, 71, 69]
    )  # averaging over pixels, three times, adds its own width
    assert_allclose(sigma * np.sqrt(8 * np.log(2)), np.hypot(500, np.sqrt((boxes**2).sum())), rtol=0.02)
    assert_allclose(
        y[near].sum() * np.log(WAVE_GRID[1] / WAVE_GRID[0]) * C_KMS, 5 * 100 * np.sqrt(2 * np.pi), rtol=0.01
    )


def test_extinction_and_redshift_by_file(spec):
    plain, red, far = (
        load_sdss_spectra(spec),
        load_sdss_spectra(spec, ebv={"one": 0.1}),
        load_sdss_spectra(spec, redshift=0.06),
    )
    hidden = 2.5 * np.log10(red.flux / plain.flux)[0]
    assert hidden[0] > hidden[-1] > 0.1 and abs(np.interp(5500 / 1.05, WAVE_GRID, hidden) - 0.31) < 0.01
    assert_allclose(red.flux / red.flux_err, plain.flux / plain.flux_err, rtol=1e-3)
    assert far.redshift[0] == 0.06 and far.meta["files"][0]["redshift_in_file"] == 0.05


def test_short_gap_is_bridged_counted_and_given_a_large_error(spec):
    path = edit(spec, lambda h: h[1].data["ivar"].__setitem__(slice(2000, 2012), 0.0))
    whole, gap = load_sdss_spectra(spec), load_sdss_spectra(path)
    record = gap.meta["files"][0]
    assert record["n_masked_pixels"] == 12 and 1 <= record["n_bridged_pixels"] <= MAX_GAP
    bridged = gap.flux_err[0] > 0.9 * np.abs(gap.flux[0])
    assert bridged.sum() == record["n_bridged_pixels"]
    assert_allclose(gap.flux[0, bridged], whole.flux[0, bridged], rtol=0.1)
    assert_allclose(gap.flux[0, ~bridged], whole.flux[0, ~bridged], rtol=0.03)


def test_built_in_spectra_match_sdss_own_synthetic_magnitudes():
    """Luminosity back to flux with an independent formula, through r, against SPECTROFLUX (nanomaggies) of
    the pipeline.
    """
    from speclite.filters import load_filter

    r = load_filter("sdss2010-r")
    for path in built_in_spectra():
        spec = read_spec(path)
        lum = luminosity(spec.wave, spec.flux, spec.redshift) * u.L_sun / u.AA
        flux = (
            lum
            / (4 * np.pi * (Planck18.comoving_distance(spec.redshift) * (1 + spec.redshift)) ** 2)
            / (1 + spec.redshift)
        )
        maggies = r.get_ab_maggies(flux.to(u.erg / u.s / u.cm**2 / u.AA), spec.wave * u.AA)
        with fits.open(path) as hdus:
            assert_allclose(1e9 * maggies, hdus[2].data["SPECTROFLUX"][0][2], rtol=0.05)


def test_built_in_sample_can_be_stored(tmp_path):
    sample = load_sdss_spectra()
    assert [len(f["sha256"]) for f in sample.meta["files"]] == [64, 64]
    assert sample.meta["files"][0]["class"] == "STAR" and sample.meta["files"][0]["class_overruled"]
    assert "/" not in json.dumps([f["file"] for f in sample.meta["files"]])
    back = load_sample(save_sample(sample, tmp_path / "s"))
    assert_array_equal(back.flux, sample.flux)
    assert back.meta == json.loads(json.dumps(sample.meta))


# --- resampling


@pytest.mark.parametrize("n_out", [37, 200, 911])
def test_resampling_conserves_flux(n_out):
    wave_in, wave_out = np.geomspace(4000, 5000, 400), np.geomspace(4050, 4950, n_out)
    flux = galaxy(wave_in) * np.random.default_rng(2).uniform(0.5, 2, 400)
    out, _, share = resample(wave_in, flux, flux, wave_out)
    edges_in, edges_out = pixel_edges(wave_in), pixel_edges(wave_out)
    cumulative = np.concatenate([[0], np.cumsum(flux * np.diff(edges_in))])
    expected = np.diff(np.interp(edges_out, edges_in, cumulative)) / np.diff(
        edges_out
    )  # another way to the same averages
    assert_allclose(out, expected, rtol=1e-9)
    assert_allclose(
        (out * np.diff(edges_out)).sum(),
        np.ptp(np.interp(edges_out[[0, -1]], edges_in, cumulative)),
        rtol=1e-6,
    )
    assert_allclose(share, 1, rtol=1e-9)


def test_broadening_agrees_with_scipy():
    from scipy.ndimage import gaussian_filter1d

    wave = np.geomspace(4000, 6000, 3000)
    step = np.log(wave[1] / wave[0]) * C_KMS
    flux = galaxy(wave)
    ours = broadening_matrix(pixel_edges(wave), np.full(wave.size, 4 * step)) @ flux
    middle = slice(50, -50)
    assert_allclose(ours[middle], gaussian_filter1d(flux, 4)[middle], rtol=2e-4)
    assert_allclose(broadening_matrix(pixel_edges(wave), np.zeros(wave.size)) @ flux, flux, rtol=1e-12)


def test_no_overlap_gives_an_empty_share():
    weights = overlap_matrix(np.array([1.0, 2, 3]), np.array([5.0, 6, 7]))
    assert weights.shape == (2, 2) and weights.nnz == 0


def test_errors_match_a_monte_carlo_with_masks_and_changing_resolution():
    rng = np.random.default_rng(11)
    wave_in, wave_out = np.geomspace(5000, 5300, 250), np.geomspace(5030, 5270, 70)
    sigma, kms = rng.uniform(0.5, 2, 250), np.linspace(80, 200, 250)
    good = rng.random(250) > 0.1
    _, err, share = resample(wave_in, np.zeros(250), sigma, wave_out, good, kms)
    draws = np.array(
        [resample(wave_in, sigma * rng.normal(size=250), sigma, wave_out, good, kms)[0] for _ in range(1500)]
    )
    assert_allclose(draws.std(axis=0) / err, 1, atol=0.09)
    assert_allclose(draws.mean(axis=0) / err, 0, atol=0.12)
    assert (share < 1).any()


# --- photometry


@pytest.fixture(scope="module")
def survey():
    return load_sdss_photometry()


def simulation(n_gal=300, seed=4):
    rng = np.random.default_rng(seed)
    wave = np.geomspace(1500, 12000, 700)
    log_lum, slope = rng.normal(10, 0.7, (n_gal, 1)), rng.normal(-0.5, 0.8, (n_gal, 1))
    shape = (
        (wave / 6000) ** slope
        * (1 + 0.1 * np.sin(40 * np.log(wave)))
        * np.where(wave < 4000, rng.uniform(0.3, 1, (n_gal, 1)), 1)
    )
    return Sample(
        "toy",
        flux=(10**log_lum / 6000 * shape).astype("f4"),
        wave=wave,
        properties={"log_mstar": log_lum[:, 0]},
    )


def test_band_luminosity_agrees_with_speclite():
    from speclite.filters import load_filters

    sample, redshift = simulation(12), np.linspace(0.01, 0.5, 12)
    ours = band_luminosity(sample.wave, sample.flux, redshift)
    fine = np.geomspace(1510, 11900, 20_000)  # speclite wants a finer grid than ours
    for flux, z, lum in zip(sample.flux, redshift, ours):
        d_l = Planck18.luminosity_distance(z)
        observed = np.interp(fine, sample.wave, flux) * u.L_sun / u.AA / (4 * np.pi * d_l**2 * (1 + z))
        table = load_filters(*SDSS_BANDS).get_ab_maggies(
            observed.to(u.erg / u.s / u.cm**2 / u.AA), fine * (1 + z) * u.AA
        )
        nanomaggies = 1e9 * np.array([list(table[0])])
        assert_allclose(lum, nu_l_nu(nanomaggies, np.array([z]), band_wavelengths())[0], rtol=5e-3)


def test_photometry_counts_and_cuts(survey):
    assert (
        survey.meta["n_catalogue"] == 10_000
        and survey.meta["left_out"]
        == {
            "flux or error missing, zero or negative in a band": 12,
            "Petrosian and model flux in r differ by more than a factor of 2": 0,
            "redshift outside 0.01 to 0.6": 0,
        }
        and len(survey) == 9_988
    )
    assert (survey.flux > 0).all() and (survey.flux_err / survey.flux > [0.05, 0.02, 0.02, 0.02, 0.03]).all()
    json.dumps(survey.meta)


def test_kcorrect_masses_are_those_of_kcorrect(survey):
    from kcorrect.kcorrect import Kcorrect

    few = survey.take(slice(0, 200))
    ours = kcorrect_masses(few)
    fitter = Kcorrect(
        responses=[f"sdss_{b}0" for b in "ugriz"], redshift_range=[0.0, 1.0], nredshift=1000, cosmo=Planck18
    )
    maggies = (few.flux / nu_l_nu(np.full(few.flux.shape, 1e9), few.redshift, few.wave)).astype("f4")
    ivar = (maggies * few.flux / few.flux_err / maggies**2) ** 2
    coeffs = fitter.fit_coeffs(redshift=few.redshift.astype("f4"), maggies=maggies, ivar=ivar.astype("f4"))
    theirs = fitter.derived(redshift=few.redshift.astype("f4"), coeffs=coeffs)["mremain"]
    assert_allclose(ours, np.log10(theirs), atol=2e-3)
    with pytest.raises(InputError, match="ugriz"):
        kcorrect_masses(simulation(3))


def test_kcorrect_masses_near_a_published_relation(survey):
    """Taylor et al. 2011 (GAMA), eq. 8: log M = 1.15 + 0.70 (g - i) - 0.4 M_i, Chabrier IMF; K-corrections
    below z = 0.05 are small. An h^2 would be 0.34 dex.
    """
    near = survey.take(survey.redshift < 0.05)
    f_nu = near.flux * u.L_sun / (C_KMS * 1e13 / near.wave * u.Hz) / (4 * np.pi * (10 * u.pc) ** 2)
    mag = f_nu.to_value(u.ABmag)
    taylor = 1.15 + 0.70 * (mag[:, 1] - mag[:, 3]) - 0.4 * mag[:, 3]
    difference = kcorrect_masses(near) - taylor
    assert abs(np.median(difference)) < 0.1 and difference.std() < 0.2


def test_observed_simulation(survey):
    sample = simulation()
    seen, again, other = (observe_photometry(sample, survey, seed) for seed in (1, 1, 2))
    assert_array_equal(seen.flux, again.flux)
    assert_array_equal(seen.redshift, again.redshift)
    assert len(seen) != len(other) or (seen.flux != other.flux).any()
    assert len(seen) + seen.meta["n_not_detected"] == 300 and (seen.flux > 0).all()
    rows = np.array(seen.ids, int)
    assert_array_equal(seen.properties["log_mstar"], sample.properties["log_mstar"][rows])
    assert set(seen.redshift) <= set(survey.redshift)
    low = seen.properties["log_mstar"] < 9.3
    assert np.median(seen.redshift[low]) < np.median(seen.redshift[~low])


def test_observation_of_what_cannot_be_observed(survey):
    sample = simulation(5)
    narrow = Sample("narrow", flux=sample.flux[:, 300:], wave=sample.wave[300:])
    with pytest.raises(InputError, match="sdss2010-u at redshift .* needs"):
        observe_photometry(narrow, survey, 1)
    with pytest.raises(InputError, match="has bands already"):
        observe_photometry(survey, survey, 1)
    with pytest.raises(InputError, match="no photometric survey"):
        observe_photometry(sample, sample, 1)
    with pytest.raises(InputError, match="not known to speclite"):
        band_luminosity(sample.wave, sample.flux, 0.1, ("sdss2010-x",))


def test_partners_are_among_the_nearest():
    rng = np.random.default_rng(0)
    lum_survey, lum = rng.normal(10, 0.5, 400), np.concatenate([rng.normal(10, 0.8, 200), [5.0, 15.0]])
    for _ in range(5):
        partner = survey_partners(lum, lum_survey, rng, k=20)
        gap = np.abs(lum_survey[None, :] - lum[:, None])
        assert (gap[np.arange(lum.size), partner] <= np.sort(gap, axis=1)[:, 19] + 1e-12).all()
