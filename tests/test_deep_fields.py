"""Catalogues of deep fields, bands, simulations at many epochs, and forecasts for photometry, from file to
command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.cosmology import Planck18
from astropy.table import Table
from numpy.testing import assert_allclose

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.sample import Sample, load_sample
from gencast.data.bands import band_curve, eazy_filters, pivot
from gencast.data.catalogues import band_curves, read_catalogue, write_catalogue
from gencast.data.fields import load_catalogue, survey_catalogue
from gencast.data.photometry import band_luminosity, band_wavelengths, nu_l_nu, observe_photometry
from gencast.data.specfiles import write_spec
from gencast.data.suites import load_suite
from gencast.data.surveys import load_sdss_spectra
from gencast.features.table import feature_table
from gencast.pipeline.job import run
from gencast.report.comparison import compare_reference
from gencast.report.results import load_results
from gencast.synthesis.epochs import simulate_epochs

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data" / "zfourge"
needs_shared = pytest.mark.skipif(
    not SHARED.exists(), reason="../shared/data/zfourge, a ZFOURGE catalogue, is not there"
)
COLUMNS = {
    "B": ("subaru_suprimecam_B", 122),
    "V": ("subaru_suprimecam_V", 79),
    "i": ("subaru_suprimecam_ip", 124),
    "z": ("subaru_suprimecam_zp", 125),
    "J": ("ukirt_wfcam_J", 263),
    "K": ("ukirt_wfcam_K", 265),
}
BANDS = tuple(curve for curve, _ in COLUMNS.values())


@pytest.fixture(scope="module")
def suite():
    return load_suite("photometry")


@pytest.fixture(scope="module")
def spectra(suite):
    "Simulated galaxies at redshifts of their own."
    return simulate_epochs(suite.simulations[3], suite, np.linspace(0.42, 1.98, 200), seed=7, n_galaxies=180)


@pytest.fixture(scope="module")
def galaxies(spectra):
    "The same as photometry with 4 % errors, properties known."
    flux = band_luminosity(spectra.wave, spectra.flux, spectra.redshift, BANDS)
    return Sample(
        "field",
        flux,
        band_wavelengths(BANDS),
        BANDS,
        0.04 * flux,
        spectra.redshift,
        properties=spectra.properties,
    )


@pytest.fixture
def cat(galaxies, tmp_path):
    return write_catalogue(
        tmp_path / "field.cat", galaxies, tuple(COLUMNS), tuple(n for _, n in COLUMNS.values())
    )


def change(path, line, column, value):
    "A catalogue with one value replaced; the line counts rows from 0, the header left out."
    lines = path.read_text().splitlines()
    k = lines[0].lstrip("# ").split().index(column)
    words = lines[line + 1].split()
    lines[line + 1] = " ".join([*words[:k], str(value), *words[k + 1 :]])
    path.write_text("\n".join(lines) + "\n")
    return path


# bands


def test_eazy_pivots_are_those_of_the_curves():
    for number, (stated, curve) in eazy_filters().items():
        assert abs(pivot(curve) / stated - 1) < 0.012, (number, curve)


def test_band_fluxes_agree_with_sedpy(spectra):
    "sedpy's own projection of a redshifted spectrum, with curves that are not cut at 0.1 % of their peak."
    from sedpy.observate import load_filters

    few, area = spectra.take(slice(0, 4)), 4 * np.pi * (10 * 3.0856775815e18) ** 2
    ours = band_luminosity(few.wave, few.flux, few.redshift, BANDS)
    for k in range(4):
        z = few.redshift[k]
        f_lambda = (
            few.flux[k].astype(float) * 3.828e33 / area / (1 + z)
        )  # at 10 pc, so that no distance enters
        magnitudes = [f.ab_mag(few.wave * (1 + z), f_lambda) for f in load_filters(list(BANDS))]
        f_nu = (
            10 ** (-0.4 * (np.array(magnitudes) + 48.6)) * area / 3.828e33 / (1 + z)
        )  # Lsun/Hz, L_nu at the emitted frequency
        nu = 2.99792458e18 / band_wavelengths(BANDS) * (1 + z)
        assert_allclose(ours[k], nu * f_nu, rtol=0.01)


def test_unknown_band():
    with pytest.raises(InputError, match="no_such"):
        band_curve("no_such")


# catalogues


@needs_shared
def test_zfourge_778_of_978():
    sample = load_catalogue(SHARED / "uds_sample.cat")
    left = sample.meta["left_out"]
    assert sample.meta["n_catalogue"] == 978 and sample.meta["n_pass_cuts"] == 778
    assert [
        left[k] for k in ("use flag is not 1", "S/N not above 20", "no flux in the reference band K")
    ] == [114, 85, 1]
    assert len(sample) + sum(left.values()) == 978
    assert sample.meta["columns"] == ["B", "V", "R", "i", "z", "J", "H", "K"]
    assert set(sample.meta["columns"]) | set(sample.meta["bands_left_out"]) == set(
        read_catalogue(SHARED / "uds_sample.cat").bands
    )
    assert np.isfinite(sample.properties["log_mstar"]).all() and (sample.flux > 0).all()


@needs_shared
def test_zfourge_fluxes_are_those_of_the_file():
    "One galaxy by hand: AB magnitude in the catalogue against nu L_nu, through another route."
    sample, raw = load_catalogue(SHARED / "uds_sample.cat"), read_catalogue(SHARED / "uds_sample.cat")
    i, row = 10, raw.ids.index(sample.ids[10])
    magnitude = 25 - 2.5 * np.log10(raw.flux[row, raw.bands.index("K")])
    absolute = magnitude - Planck18.distmod(sample.redshift[i]).value  # of L_nu (1+z)
    k = sample.meta["columns"].index("K")
    nu_l = (
        4
        * np.pi
        * (3.0856775815e19) ** 2
        * 10 ** (-0.4 * (absolute + 48.6))
        * 2.99792458e18
        / sample.wave[k]
        / 3.828e33
    )
    assert_allclose(sample.flux[i, k], nu_l, rtol=1e-4)


def test_round_trip_gives_the_same_features(cat, galaxies, spectra, tmp_path, suite):
    "A simulated galaxy as a catalogue row, as a row of another table, and as a spec file."
    back = load_catalogue(cat, suite.redshift_range)
    assert back.bands == BANDS and back.meta["n_pass_cuts"] == len(galaxies) == len(back)
    assert_allclose(feature_table(back).values, feature_table(galaxies).values, atol=2e-6)
    assert_allclose(back.properties["log_mstar"], galaxies.properties["log_mstar"], rtol=1e-6)
    mapping, path = table_of(galaxies, tmp_path)
    assert_allclose(
        feature_table(survey_catalogue(path, mapping)).values, feature_table(galaxies).values, atol=2e-4
    )
    wave, flux = spectra.wave, spectra.flux[0].astype(float)
    rng, err = np.random.default_rng(1), 0.05 * flux
    use = (wave > 3300) & (wave < 8600)
    file = write_spec(
        tmp_path / "one.fits",
        wave[use],
        (flux + err * rng.normal(size=flux.size))[use],
        0.1,
        err[use],
        fwhm_kms=500,
    )
    grid = np.geomspace(3900, 7700, 120)
    seen = load_sdss_spectra(file, grid, fwhm_kms=1500)
    clean = load_sdss_spectra(
        write_spec(tmp_path / "two.fits", wave[use], flux[use], 0.1, fwhm_kms=500), grid, fwhm_kms=1500
    )
    assert np.mean(np.abs(feature_table(seen).values - feature_table(clean).values)) < 0.05 / np.log(10)


def table_of(galaxies, folder, unit="uJy"):
    "The galaxies as a FITS table of flux densities, with its mapping."
    micro_jansky = (
        galaxies.flux / nu_l_nu(np.ones(galaxies.flux.shape), galaxies.redshift, galaxies.wave) * 3.631
    )
    columns = {"id": np.arange(len(galaxies)), "zbest": galaxies.redshift}
    for n, flux in enumerate(micro_jansky.T):
        columns |= {f"f{n}": flux, f"e{n}": 0.04 * flux}
    path = Path(folder) / "mine.fits"
    Table(columns).write(path, overwrite=True)
    bands = {b: {"column": f"f{n}", "error": f"e{n}"} for n, b in enumerate(galaxies.bands)}
    return {"frame": "observed", "redshift": "zbest", "ids": "id", "unit": unit, "bands": bands}, path


def test_layout_of_3dhst(galaxies, tmp_path):
    """Other names of the flags, no column snr, filters by position, and negative errors in a band that is not
    used.
    """
    path = write_catalogue(
        tmp_path / "goodss.cat",
        galaxies,
        ("B", "V", "F775W", "F850LP", "F125W", "F160W"),
        (122, 79, 238, 240, 203, 205),
    )
    text = (
        path.read_text()
        .replace(" star use snr\n", " star_flag use_phot f_IRAC1 e_IRAC1 w_IRAC1\n")
        .splitlines()
    )
    rows = [" ".join([*line.split()[:-1], "5.0", "-0.3", "1.0"]) for line in text[1:]]
    rows[0] = " ".join([*rows[0].split()[:-5], "1", "1", "5.0", "0.2", "1.0"])  # a star
    path.write_text("\n".join([text[0], *rows]) + "\n")
    fout = path.with_suffix(".fout")
    fout.write_text(fout.read_text().replace("203 205", "203 205 18"))
    sample = load_catalogue(path, snr=5)
    assert sample.meta["reference_band"] == "F160W" and sample.bands[-1] == "wfc3_ir_f160w"
    assert sample.meta["left_out"]["flagged as a star"] == 1 and "IRAC1" in sample.meta["bands_left_out"]
    assert read_catalogue(path).meta["bad_errors"] == {"IRAC1": "2"}


def test_missing_flux_is_never_made_up(cat, galaxies):
    change(change(change(cat, 5, "f_J", -99.0), 5, "e_J", -99.0), 5, "w_J", 0.0)
    change(cat, 6, "f_B", -0.01)
    sample = load_catalogue(cat)
    assert (
        sample.meta["left_out"]["not observed in a common band"] == 1
        and sample.meta["left_out"]["flux not positive in a common band"] == 1
    )
    assert len(sample) == len(galaxies) - 2 and not {"6", "7"} & set(sample.ids)


def test_band_that_many_lack_is_left_out(cat, galaxies):
    for row in range(20):
        change(cat, row, "f_J", -99.0)
    sample = load_catalogue(cat)
    assert "J" not in sample.meta["columns"] and "89 %" in sample.meta["bands_left_out"]["J"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: change(p, 3, "e_V", -0.2), "e_V is negative for id 4"),
        (lambda p: p.write_text(p.read_text()[:-20]), "damaged or cut off"),
        (lambda p: p.write_text(p.read_text().replace("# id", "# galaxy")), "begins with id"),
        (lambda p: change(p, 2, "id", 1), "an id occurs twice"),
        (lambda p: change(p, 2, "f_B", "bright"), "must be numbers"),
        (lambda p: p.with_suffix(".fout").unlink(), "no .fout or .zout beside it"),
        (
            lambda p: p.with_suffix(".fout").write_text(
                p.with_suffix(".fout").read_text().replace("Chabrier", "Miller-Scalo")
            ),
            "Miller-Scalo",
        ),
        (lambda p: p.write_text(p.read_text().replace("f_", "flux_")), "no columns f_X"),
        (lambda p: p.write_bytes(b"\xff\xfe\x00"), "cannot be read as text|truncated"),
    ],
)
def test_bad_catalogues_are_refused_by_name(cat, spoil, words):
    spoil(cat)
    with pytest.raises(InputError, match=words):
        load_catalogue(cat)


def test_redshifts_that_give_no_distance_are_counted(cat):
    fout = cat.with_suffix(".fout")
    lines = fout.read_text().splitlines()
    lines[-1] = " ".join([lines[-1].split()[0], "-1.0", *lines[-1].split()[2:]])
    fout.write_text("\n".join(lines) + "\n")
    assert load_catalogue(cat).meta["left_out"]["no redshift"] == 1


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda m, t: (m, t.__setitem__("e2", -t["e2"])), "is negative"),
        (lambda m, t: (m, t.__setitem__("zbest", -t["zbest"])), "zero or negative"),
        (lambda m, t: m["bands"][BANDS[0]].__setitem__("unit", "km"), "km"),
        (lambda m, t: m["bands"][BANDS[0]].pop("error"), "some have an error and some have none"),
        (lambda m, t: m.pop("redshift"), "redshift"),
    ],
)
def test_bad_tables_are_refused_by_name(galaxies, tmp_path, spoil, words):
    mapping, path = table_of(galaxies, tmp_path)
    table = Table.read(path)
    spoil(mapping, table)
    table.write(path, overwrite=True)
    with pytest.raises(InputError, match=words):
        survey_catalogue(path, mapping)


def test_mixed_units_are_converted_band_by_band(galaxies, tmp_path):
    mapping, path = table_of(galaxies, tmp_path)
    table = Table.read(path)
    table["f0"], table["e0"] = table["f0"] * 1e-6, table["e0"] * 1e-6
    table.write(path, overwrite=True)
    mapping["bands"][BANDS[0]]["unit"] = "Jy"
    assert_allclose(survey_catalogue(path, mapping).flux, galaxies.flux, rtol=1e-4)


def test_curves_by_hand_and_unknown_columns(cat):
    catalogue = read_catalogue(cat)
    assert band_curves(catalogue, {"K": "twomass-Ks"})["K"] == "twomass-Ks"
    with pytest.raises(InputError, match="no band Q"):
        band_curves(catalogue, {"Q": "twomass-Ks"})


# epochs and depth


def test_suite_is_what_its_script_writes(root):
    code = (
        "import yaml, sys; from build_photometry_suite import photometry_suite; "
        "yaml.safe_dump(photometry_suite(), sys.stdout)"
    )
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=root / "scripts", capture_output=True, text=True, check=True
    ).stdout
    assert yaml.safe_load(made) == yaml.safe_load(
        (root / "gencast" / "synthesis" / "suites" / "photometry.yaml").read_text()
    )


def test_nothing_is_older_than_the_universe(spectra, suite):
    assert (10 ** spectra.properties["log_age"] < Planck18.age(spectra.redshift).value).all()
    again = simulate_epochs(suite.simulations[3], suite, np.linspace(0.42, 1.98, 200), seed=7, n_galaxies=180)
    assert (
        again.flux.tobytes() == spectra.flux.tobytes()
        and again.redshift.tobytes() == spectra.redshift.tobytes()
    )
    with pytest.raises(InputError, match="0.1 to 1"):
        simulate_epochs(suite.simulations[0], suite, np.array([0.1, 1.0]), 1, 50)


def test_depth_is_the_surveys(spectra, galaxies):
    "Errors from one background per band: the same for all galaxies of a brightness, whatever the colour."
    per = nu_l_nu(np.ones(galaxies.flux.shape), galaxies.redshift, galaxies.wave)
    background = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]) * 1e-3 * np.median(galaxies.flux / per)
    survey = Sample(
        "deep",
        galaxies.flux,
        galaxies.wave,
        BANDS,
        background * per,
        galaxies.redshift,
        meta={"columns": list(COLUMNS), "reference_band": "K", "error_floor": 0.0},
    )
    seen = observe_photometry(spectra, survey, seed=3)
    rows = np.array(seen.ids, int)
    found = seen.flux_err / per[rows]
    assert_allclose(np.median(found, axis=0), background, rtol=0.05)
    assert_allclose(((seen.flux - galaxies.flux[rows]) / seen.flux_err).std(), 1, atol=0.1)
    assert len(seen) + seen.meta["n_below_flux_limit"] + seen.meta["n_not_detected"] == len(spectra)


# a whole run


@pytest.fixture(scope="module")
def small(tmp_path_factory, suite, galaxies):
    "A run of six simulations for a field of 180 galaxies."
    folder = tmp_path_factory.mktemp("deep")
    text = yaml.safe_load(
        (
            Path(__file__).resolve().parents[1] / "gencast" / "synthesis" / "suites" / "photometry.yaml"
        ).read_text()
    )
    text["simulations"] = [text["simulations"][i] for i in (0, 2, 6, 9, 12, 17)]
    (folder / "small.yaml").write_text(yaml.safe_dump(text | {"name": "small", "n_galaxies": 160}))
    noise = np.random.default_rng(2).normal(1, 0.04, galaxies.flux.shape)
    observed = Sample(
        "field",
        galaxies.flux * noise,
        galaxies.wave,
        BANDS,
        galaxies.flux_err,
        galaxies.redshift,
        properties=galaxies.properties,
    )
    write_catalogue(folder / "field.cat", observed, tuple(COLUMNS), tuple(n for _, n in COLUMNS.values()))
    run(
        folder / "small.yaml",
        quick=True,
        n_galaxies=160,
        n_trees=20,
        out=folder / "out",
        jobs=1,
        notebooks=False,
        progress=False,
        catalogue=str(folder / "field.cat"),
    )
    return folder


def test_run_for_photometry_alone(small):
    results = load_results(small / "out")
    assert set(results.errors["view"]) == {"photometry"} and set(
        results.forecasts[results.forecasts.kind != "simulation"].target
    ) == {"field"}
    rows = results.galaxies[results.galaxies.target == "field"]
    assert (rows.reference_from == "FAST (.fout)").all() and rows[["magnitude", "snr"]].notna().all().all()
    known = rows[
        rows.expected_error.notna()
    ]  # the others are out of range and have no forecast to be compared
    assert results.comparison[results.comparison.by == "redshift"].n.sum() == len(known) > 0.9 * len(rows)
    whole = results.comparison[results.comparison.by == "all"].iloc[0]
    assert_allclose(
        whole.rms_difference, np.sqrt(np.mean((known.predicted - known.reference) ** 2)), rtol=1e-6
    )
    assert results.run["surveys"]["field"]["meta"]["bands_left_out"] == {}
    sample = load_sample(small / "out" / "simulations" / "photometry" / results.simulations.name[0])
    assert sample.bands == BANDS and sample.redshift.min() > 0.4


def test_truth_in_the_place_of_the_reference(small):
    "Here the reference is the truth, so the forecast can be judged: within a factor of two of what happened."
    whole = load_results(small / "out").comparison.query("by == 'all'").iloc[0]
    assert 0.5 < whole.forecast_rmse / whole.rms_difference < 2


def test_forecast_for_a_table_and_for_a_catalogue(small, galaxies, tmp_path, capsys):
    inside = (galaxies.redshift > 0.45) & (galaxies.redshift < 1.9)
    mapping, path = table_of(galaxies.take(inside), tmp_path)
    (tmp_path / "columns.yaml").write_text(yaml.safe_dump(mapping))
    with pytest.raises(SystemExit) as end:
        main(
            [
                "forecast",
                str(path),
                "--run",
                str(small / "out"),
                "--map",
                str(tmp_path / "columns.yaml"),
                "--out",
                str(tmp_path / "out"),
                "--jobs",
                "1",
            ]
        )
    printed, said = capsys.readouterr()
    assert end.value.code == 0 and "forecast   " not in printed
    assert re.fullmatch(r"forecast +1 of 1 in [\d.]+ s\n", said), said
    table = pd.read_csv(tmp_path / "out" / "galaxies.csv")
    assert (
        len(table) == inside.sum()
        and np.std(table.predicted - galaxies.properties["log_mstar"][inside]) < 0.4
    )
    with pytest.raises(SystemExit) as end:
        main(["forecast", str(small / "field.cat"), "--run", str(small / "out"), "--jobs", "1"])
    assert (
        end.value.code == 0
        and "comparison with another model, not the truth" in capsys.readouterr().out.lower()
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "photometry"], "--catalogue"),
        (["run", "default", "--catalogue", "x.cat"], "single epoch"),
        (["run", "photometry", "--catalogue", "no_such.cat"], "no_such.cat"),
        (["run", "photometry", "--catalogue", "no_such.fits"], "--map"),
        (["simulate", "photometry"], "--catalogue"),
        (["fetch", "3dhst", "--field", "hdfn"], "hdfn"),
        (["fetch", "sdss", "--zmin", "0.3", "--zmax", "0.1"], "zmin"),
    ],
)
def test_mistakes_end_in_one_line(arguments, words, capsys):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    said = capsys.readouterr().err
    assert end.value.code == 2 and words in said and said.count("\n") == 1


def test_comparison_has_no_rows_without_reference():
    assert (
        len(
            compare_reference(
                pd.DataFrame(
                    {
                        "target": ["a"],
                        "property": ["b"],
                        "predicted": [1.0],
                        "reference": [np.nan],
                        "reference_from": [""],
                    }
                )
            )
        )
        == 0
    )


def test_run_record_names_the_catalogue(small):
    record = json.loads((small / "out" / "run.json").read_text())
    assert (
        record["parameters"]["catalogue"].endswith("field.cat")
        and record["surveys"]["field"]["meta"]["n_kept"] == record["surveys"]["field"]["n_galaxies"]
    )
