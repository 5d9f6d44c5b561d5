"""Damaged files and hostile words: one small case of every fault that the fuzz campaign found, a sample of
the campaign, and what is shown of names.

The campaign itself, thousands of cases: `python benchmarks/fuzz_campaign.py --cases 6000`.
"""

import gzip
import json
import re
import sys
from pathlib import Path

import h5py
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.io import fits
from astropy.table import Table

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.checks import load_yaml
from gencast.core.files import read_sealed
from gencast.core.properties import define_property
from gencast.core.units import parse_unit
from gencast.data.catalogues import read_catalogue
from gencast.data.columns import read_columns
from gencast.data.fetch import HOSTS, check_url, open_url
from gencast.data.mappings import load_mapping
from gencast.data.readers import load_table
from gencast.data.references import read_references
from gencast.data.specfiles import read_spec, write_spec
from gencast.data.suites import restore_suite
from gencast.pipeline.configure import load_settings
from gencast.pipeline.notebooks import execute_notebook, template_path
from gencast.report.examples import toy_results
from gencast.report.results import load_results
from gencast.report.surveys import survey_notes, tabulate_galaxies, tabulate_survey
from gencast.report.wording import escape_markdown
from gencast.site.targets import stage_targets

ROOT = Path(__file__).resolve().parent.parent
BANDS = {"u": {"column": "f_u", "wave": 3560.0}, "g": {"column": "f_g", "wave": 4700.0}}
MAPPING = {"unit": "Lsun", "bands": BANDS, "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}}}


def sound(**changes):
    return {"f_u": [1e9, 2e9, 3e9], "f_g": [2e9, 3e9, 4e9], "mass": [1e9, 1e10, 1e11]} | changes


def csv(path, table):
    pd.DataFrame(table).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "kind",
    [
        "csv",
        "fitsgz",
        "hdf5",
        "npz",
        "spec",
        "cat",
        "suite",
        "mapping",
        "results",
        "settings",
        "sample",
        "cache",
        "ipynb",
        "archive",
        "reference",
    ],
)
def test_a_sample_of_the_fuzz_campaign(kind):
    pytest.importorskip("pyarrow")
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from fuzz_campaign import BAD, campaign

    found = campaign([(kind, n) for n in range(8)], seed=7, limit=60, memory=2 * 2**30)
    assert len(found) == 8
    assert not [f for f in found if f[2] in BAD]


# ---------------------------------------------------------------- values that no galaxy has


@pytest.mark.parametrize(
    "change, message",
    [
        ({"f_u": [1e9, 1e300, 3e9]}, "'f_u', row 2 gives a luminosity outside"),
        ({"f_g": [1e-320, 3e9, 4e9]}, "'f_g', row 1 gives a luminosity outside"),
        ({"mass": [1e9, 1e10, 1e300]}, "'mass', row 3 gives log_mstar outside 0 to 16"),
    ],
)
def test_values_that_are_finite_and_impossible(tmp_path, change, message):
    path = csv(tmp_path / "t.csv", sound(**change))
    with pytest.raises(InputError, match=message):
        load_table(path, MAPPING)
    kept = load_table(path, MAPPING | {"bad": "leave out"})
    assert len(kept) == 2 and sum(kept.meta["left_out"].values()) == 1, "left out and counted"
    np.testing.assert_allclose(
        kept.flux,
        load_table(csv(tmp_path / "s.csv", sound()), MAPPING).flux[
            [k for k in range(3) if str(k + 1) in kept.ids]
        ],
    )


def test_a_code_for_no_magnitude_is_not_taken_as_one(tmp_path):
    path = csv(tmp_path / "t.csv", {"f_u": [20.0, 99.0], "f_g": [19.0, 20.0], "z": [0.1, 0.2]})
    with pytest.raises(
        InputError, match="'f_u', row 2 gives a luminosity outside .* a code for missing values"
    ):
        load_table(path, {"frame": "observed", "redshift": "z", "unit": "mag(AB)", "bands": BANDS})
    with pytest.raises(InputError, match="'z', row 1 is beyond redshift 30"):
        load_table(
            csv(tmp_path / "z.csv", {"f_u": [20.0], "f_g": [19.0], "z": [1e6]}),
            {"frame": "observed", "redshift": "z", "unit": "mag(AB)", "bands": BANDS},
        )


def test_masked_words_and_null_integers_are_missing_not_zero(tmp_path):
    (tmp_path / "t.ecsv").write_text(
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: string}\n# schema: "
        'astropy-2.0\na\n""\n1.5\n'
    )
    np.testing.assert_array_equal(read_columns(tmp_path / "t.ecsv", ["a"])["a"].values, [np.nan, 1.5])
    column = fits.Column("a", "J", null=-999, array=np.array([1, -999, 3]))
    fits.BinTableHDU.from_columns([column]).writeto(tmp_path / "t.fits")
    np.testing.assert_array_equal(read_columns(tmp_path / "t.fits", ["a"])["a"].values, [1, np.nan, 3])


def test_errors_in_another_unit_than_the_brightness_are_converted(tmp_path):
    table = Table(
        {**sound(), "e_u": [1e8 * 3.828e33] * 3, "e_g": [1e8] * 3},
        units={"f_u": "Lsun", "f_g": "Lsun", "e_u": "erg/s", "e_g": "Lsun"},
    )
    table.write(tmp_path / "t.fits")
    bands = {k: {**v, "error": f"e_{k}"} for k, v in BANDS.items()}
    np.testing.assert_allclose(load_table(tmp_path / "t.fits", {"bands": bands}).flux_err, 1e8, rtol=1e-3)
    with pytest.raises(InputError, match="'e_u', errors of 'f_u': its unit erg.* does not go with"):
        load_table(tmp_path / "t.fits", {"bands": {**bands, "u": bands["u"] | {"unit": "uJy"}}})
    with pytest.raises(InputError, match="fits columns of several units"):
        read_columns(tmp_path / "t.fits", ["e_*"])


# ---------------------------------------------------------------- files that are not what they say


def test_sizes_that_are_not_there_are_refused_before_memory_is_asked_for(tmp_path):
    with h5py.File(tmp_path / "t.hdf5", "w") as f:
        f.create_dataset("never", (10**12,), "f8", chunks=(1000,))
        f.create_dataset("outside", (3,), "f8", external=[("/etc/passwd", 0, 24)])
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource("nowhere.h5", "x", (3,))
        f.create_virtual_dataset("virtual", layout)
    for name, message in [
        ("never", "8e\\+03 GB large, of which 0 GB are stored"),
        ("outside", "no column 'outside'"),
        ("virtual", "no file 'nowhere.h5'"),
    ]:
        with pytest.raises(InputError, match=message):
            read_columns(tmp_path / "t.hdf5", [name])
    with open(tmp_path / "t.npy", "wb") as f:
        np.lib.format.write_array_header_1_0(f, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(InputError, match="t.npy cannot be read"):
        read_columns(tmp_path / "t.npy", ["0"])


def test_headers_of_many_cards_are_read_and_those_full_of_none_are_refused(tmp_path):
    table = fits.BinTableHDU(Table({"a": np.arange(100.0)}))
    for k in range(3000):
        table.header.add_history(f"frame {k}, reduced in lower case")
    fits.HDUList([fits.PrimaryHDU(), table, table.copy()]).writeto(tmp_path / "long.fits")
    raw = (tmp_path / "long.fits").read_bytes()
    assert read_columns(tmp_path / "long.fits", ["a"])["a"].values[99] == 99
    for at in (160, 2000, 2880 + 160, len(raw) // 2):  # in the first header, its padding, the others
        (tmp_path / "full.fits").write_bytes(raw[:at] + b"x" * 2_880_000 + raw[at:])
        with pytest.raises(
            InputError, match="full.fits cannot be read: .* 3[56],.* does not allow; it is damaged"
        ):
            read_columns(tmp_path / "full.fits", ["a"])


@pytest.mark.parametrize("ids", [{"a": 1}, {}, ["id"], True])
def test_ids_that_name_no_column(tmp_path, ids):
    path = csv(tmp_path / "t.csv", sound())
    with pytest.raises(InputError, match="columns: ids"):
        load_table(path, MAPPING | {"ids": ids})


def test_checksums_of_fits_and_gzip_are_verified(tmp_path):
    Table({"a": np.arange(100.0)}).write(tmp_path / "t.fits")
    with fits.open(tmp_path / "t.fits") as hdus:
        hdus.writeto(tmp_path / "sum.fits", checksum=True)
    raw = bytearray((tmp_path / "sum.fits").read_bytes())
    raw[-2880 + 9] ^= 4
    (tmp_path / "sum.fits").write_bytes(raw)
    with pytest.raises(InputError, match="sum.fits cannot be read: .*verification failed"):
        read_columns(tmp_path / "sum.fits", ["a"])
    packed = bytearray(gzip.compress((tmp_path / "t.fits").read_bytes(), 0))
    packed[-3000] ^= 4
    (tmp_path / "t.fits.gz").write_bytes(packed)
    with pytest.raises(InputError, match="t.fits.gz cannot be read: CRC"):
        read_columns(tmp_path / "t.fits.gz", ["a"])


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "\n".join(
                [
                    "a0: &a0 [x, x, x, x, x, x, x, x, x]",
                    *(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]" for k in range(1, 12)),
                ]
            ),
            "more than 200,000 entries",
        ),
        (
            "\n".join(
                [
                    "a0: &a0 {k: 1}",
                    *(f"a{k}: &a{k} {{<<: [{', '.join([f'*a{k - 1}'] * 9)}]}}" for k in range(1, 12)),
                ]
            ),
            "more than 200,000 entries",
        ),
        ("a: &a [*a]", "holds itself"),
        ("!!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("[" * 5000, "not readable as YAML"),
        ("a: " + "x" * 3_000_000, "more than the 1 MB"),
        ("[1, 2]: 3", "not readable as YAML"),
        ("a: 1\n---\nb: 2", "not readable as YAML"),
        ("a: " + "9" * 6000, "not readable as YAML"),
    ],
)
def test_yaml_bombs(tmp_path, text, message):
    (tmp_path / "f.yaml").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_yaml(tmp_path / "f.yaml")
    assert len(str(caught.value)) < 1200, "a message quotes no more than a line"


@pytest.mark.parametrize(
    "change, message",
    [
        (
            {"properties": {"log_mstar": {"column": "mass", "unit": "Msun", "log": "no"}}},
            "log is 'no'; say true or false",
        ),
        ({"properties": {"log_mstar": {"column": "mass", "unit": "Msun", "floor": "x"}}}, "floor is 'x'"),
        ({"redshift": [1]}, "redshift is \\[1\\]"),
        ({"missing": float("nan")}, "missing must be a number"),
        ({"missing": 10**400}, "missing must be a number"),
    ],
)
def test_mappings_of_the_wrong_kind(change, message):
    with pytest.raises(InputError, match=message):
        load_mapping(MAPPING | change)


@pytest.mark.parametrize("unit", ["1e400", "nan", "x" * 5000, "((((", "__import__('os')", "0"])
def test_units_that_are_none(unit):
    with pytest.raises(InputError):
        parse_unit(unit, "here")


def test_damaged_spec_files(tmp_path):
    write_spec(tmp_path / "s.fits", np.geomspace(3500, 8600, 900), 1e7 * np.ones(900), 0.05)
    with fits.open(tmp_path / "s.fits") as hdus:
        hdus[1].data["flux"][700] = 1e308
        hdus.writeto(tmp_path / "bright.fits")
        hdus[1].data["loglam"][-1] = 400
        hdus.writeto(tmp_path / "far.fits")
        fits.HDUList([hdus[0], fits.BinTableHDU(hdus[1].data[:1]), hdus[2]]).writeto(tmp_path / "one.fits")
        fits.HDUList(
            [
                hdus[0],
                fits.BinTableHDU(fits.FITS_rec.from_columns(hdus[1].columns)),
                fits.ImageHDU(np.zeros((2, 3), "u1")),
            ]
        ).writeto(tmp_path / "image.fits")
    assert not read_spec(tmp_path / "bright.fits").good[700], "an impossible pixel is masked"
    for name in ("far", "one"):
        with pytest.raises(InputError, match="ascend between 2 and 7"):
            read_spec(tmp_path / f"{name}.fits")
    with pytest.raises(InputError):
        read_spec(tmp_path / "image.fits")


def test_a_header_with_two_billion_axes_is_refused_at_once(tmp_path):
    Table({"a": [1.0]}).write(tmp_path / "t.fits")
    raw = (tmp_path / "t.fits").read_bytes()
    (tmp_path / "t.fits").write_bytes(
        re.sub(rb"NAXIS   =                    2", b"NAXIS   =           2147483647", raw, count=1)
    )
    for read in (lambda p: read_columns(p, ["a"]), read_spec):
        with pytest.raises(InputError, match="NAXIS = 2147483647, and FITS allows 999"):
            read(tmp_path / "t.fits")


def test_damaged_catalogues(tmp_path):
    cat, fout = tmp_path / "f.cat", tmp_path / "f.fout"
    cat.write_text("# id f_r e_r\n1 5 1\n2 6 1\n")
    for text, message in [
        ("# id z lmass\n# AB ZP: 25.x\n1 0.5 10\n2 0.6 10\n", "header of the .fout is damaged"),
        ("# id z lmass\n# AB ZP: 1e9\n1 0.5 10\n2 0.6 10\n", "AB zero point of 1e\\+09"),
        ("# id z lmass\n1 0.5 10\n2 0.6 10\n", "nothing says which AB magnitude"),
        ("# id z z\n1 0.5 10\n2 0.6 10\n", "two columns are called 'z'"),
    ]:
        fout.write_text(text)
        with pytest.raises(InputError, match=message):
            read_catalogue(cat)
    fout.write_text("# id z lmass\n# AB ZP: 25\n1 0.5 10\n2 0.6 1e300\n")
    found = read_catalogue(cat)
    assert np.isnan(found.reference["log_mstar"][1]) and found.meta["unlikely_reference"] == {"log_mstar": 1}


@pytest.mark.parametrize(
    "cell, message",
    [
        ("1e300", "row 1: 1e\\+300 is none that a galaxy can have"),
        ("word", "not a number"),
        ("inf", "none that a galaxy can have"),
    ],
)
def test_damaged_reference_tables(tmp_path, cell, message):
    from gencast.data.fetch import COLUMNS, REFERENCE

    row = dict.fromkeys(COLUMNS, "1") | {"lgm_tot_p50": cell}
    (tmp_path / REFERENCE).write_text(",".join(COLUMNS) + "\n" + ",".join(row.values()) + "\n")
    with pytest.raises(InputError, match=message):
        read_references([tmp_path])


# ---------------------------------------------------------------- results of others


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return toy_results(tmp_path_factory.mktemp("toy") / "run", 6)


def changed(folder, tmp_path, **changes):
    import shutil

    copy = shutil.copytree(folder, tmp_path / "run")
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | changes))
    return copy


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": {"simulate": "x"}},
        {"stages": []},
        {"surveys": "x"},
        {"surveys": {"toy_survey": {"meta": {"notes": None}}}},
        {"tables": {"../../etc/passwd": "0"}},
        {"parameters": {"views": 3}},
        {"suite": {"name": "x", "properties": {"log_x": {"label": "<script>"}}}},
        {"suite": {"properties": {"log_x": 3}}},
    ],
)
def test_a_run_record_of_another_form_is_refused(toy, tmp_path, changes):
    with pytest.raises(InputError):
        load_results(changed(toy, tmp_path, **changes))


def test_a_run_record_cannot_lead_out_of_its_folder(tmp_path):
    suite = {
        "name": "x",
        "about": "",
        "redshift": None,
        "n_galaxies": 100,
        "spectra": {},
        "photometry": {},
        "simulations": [{"name": "../../x", "table": "t.csv", "file": "t.csv"}],
        "redshift_range": [],
        "properties": {},
        "survey": {},
        "folder": "/",
    }
    with pytest.raises(InputError, match=r"'../../x' must be a word"):
        restore_suite(suite)
    for change, message in [
        ({"name": float("inf")}, "suite's name inf"),
        ({"about": [1]}, "must be words"),
        ({"n_galaxies": "x"}, "n_galaxies is 'x'"),
        ({"redshift": float("inf")}, "redshift is inf"),
    ]:
        with pytest.raises(InputError, match=message):
            restore_suite(suite | change)
    (tmp_path / "run.json").write_text("[" * 100_000)
    with pytest.raises(InputError, match="does not tell of a complete run"):
        load_settings(tmp_path)
    with pytest.raises(ValueError):
        read_sealed(tmp_path / "run.json")


def test_damaged_notebooks_are_refused(tmp_path):
    for content in (
        b"",
        b"[1]",
        b'{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        b"\xff\xfe",
        b"<html>",
    ):
        (tmp_path / "a.ipynb").write_bytes(content)
        with pytest.raises(InputError, match="a.ipynb is not a notebook"):
            stage_targets([tmp_path / "a.ipynb"], tmp_path)


def test_nothing_is_unpickled():
    found = [
        f"{p.name}: {line.strip()}"
        for p in sorted((ROOT / "gencast").rglob("*.py"))
        for line in p.read_text().splitlines()
        if re.search(
            r"pickle\.loads?\(|joblib\.load\(|torch\.load\(|allow_pickle=True|yaml\.(unsafe_|full_)?load\((?!.*_Loader)|\beval\(|\bexec\(",
            line,
        )
    ]
    assert not found
    loads = [
        line
        for p in (ROOT / "gencast").rglob("*.py")
        for line in p.read_text().splitlines()
        if "np.load(" in line
    ]
    assert loads and all("allow_pickle=False" in line for line in loads)


# ---------------------------------------------------------------- names and words

HOSTILE = "<script>alert(1)</script>|`x`$y_{$ [a](javascript:b)"


def test_hostile_text_in_definitions_is_refused():
    for what in ("label", "unit", "meaning"):
        for text in ("<script>alert(1)</script>", "a|b", "`a`", "a\nb", "x" * 300, "\x1b[31m"):
            with pytest.raises(InputError, match=f"its {what}"):
                define_property("log_hostile", **{what: text})


@pytest.mark.parametrize("field", ["name", "simulation", "family", "label", "meaning", "unit", "survey"])
def test_a_suite_with_a_hostile_word_ends_in_one_line(tmp_path, capsys, field):
    for k in range(5):
        csv(
            tmp_path / f"t{k}.csv",
            {
                "f_u": np.geomspace(1e9, 1e10, 100),
                "f_g": np.geomspace(2e9, 3e10, 100),
                "mass": np.geomspace(1e9, 1e11, 100),
            },
        )
    suite = {
        "name": "s",
        "about": HOSTILE,
        "tables": {"columns": MAPPING},
        "properties": {"log_x": {"label": "x", "meaning": "x"}},
        "simulations": [{"name": f"t{k}", "table": f"t{k}.csv", "family": {"code": "sph"}} for k in range(5)],
    }
    change = {
        "name": lambda: suite.update(name=HOSTILE),
        "simulation": lambda: suite["simulations"][2].update(name=HOSTILE),
        "family": lambda: suite["simulations"][2].update(family={"code": HOSTILE}),
        "survey": lambda: suite.update(survey={"name": HOSTILE, "table": "t0.csv"}),
    }
    change.get(field, lambda: suite["properties"]["log_x"].update({field: HOSTILE}))()
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(suite))
    with pytest.raises(SystemExit) as end:
        main(["list", "simulations", "--suite", str(tmp_path / "s.yaml")])
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("gencast: ") and said.count("\n") == 1


def test_words_from_files_are_shown_as_they_stand(toy, tmp_path):
    survey = {
        "view": "spectra",
        "n_galaxies": 5,
        "meta": {
            "notes": [HOSTILE],
            "left_out": {HOSTILE: 2},
            "refused": [f"{HOSTILE}.fits: it is cut off"],
            "source": HOSTILE,
        },
    }
    folder = changed(toy, tmp_path, surveys={"toy_survey": survey})
    for name, column in (("galaxies", "galaxy"), ("spectra", "galaxy"), ("simulations", "enrichment")):
        table = pd.read_csv(folder / f"{name}.csv", keep_default_na=False)
        table[column] = (
            HOSTILE
            if name != "spectra"
            else [HOSTILE if t == "toy_survey" else g for t, g in zip(table.target, table.galaxy)]
        )
        table.to_csv(folder / f"{name}.csv", index=False)
    run = load_results(folder)
    shown = [
        survey_notes(run, "toy_survey"),
        tabulate_survey(run, "toy_survey").to_html(),
        tabulate_galaxies(run, "toy_survey").to_html(),
    ]
    assert all("<script>" not in text and "script" in text for text in shown)
    assert escape_markdown("a|`b`") == "a\\|\\`b\\`"
    path = execute_notebook(
        template_path("survey"),
        folder / "notebooks" / "toy_survey.ipynb",
        {
            "results": "..",
            "target": "toy_survey",
            "property": "log_mstar",
            "distance": "mean_euclidean",
            "view": "spectra",
            "color_by": "ssp",
        },
    )
    (tmp_path / "site").mkdir()
    _, errors = stage_targets([path], tmp_path / "site")
    page = nbformat.read(tmp_path / "site" / "targets" / path.name, 4)
    outputs = [
        o.data[k]
        for c in page.cells
        for o in c.get("outputs", [])
        for k in ("text/html", "text/markdown")
        if k in o.get("data", {})
    ]
    assert not errors and outputs and not [t for t in outputs if "<script>alert" in t]
    assert any("&lt;script&gt;" in t for t in outputs)


def test_downloads_stay_with_the_archives():
    assert check_url(f"https://{HOSTS[0]}/x")
    for url in (
        "file:///etc/passwd",
        f"http://{HOSTS[0]}/x",
        "ftp://data.sdss.org/x",
        "https://example.org/x",
        "https://data.sdss.org.example.org/x",
        "https://data.sdss.org@example.org/x",
        "https://[::1]/x",
        "data:text/plain,x",
        "",
        f"https://{HOSTS[0]}:99999/x",
    ):
        with pytest.raises(InputError):
            check_url(url)
    with pytest.raises(InputError):
        open_url("file:///etc/passwd")


def test_hdf5_that_never_ends_is_refused(tmp_path):
    from gencast.data.columns import check_hdf5

    with h5py.File(tmp_path / "a.hdf5", "w") as f:
        f["x"] = np.arange(3)
    check_hdf5(tmp_path / "a.hdf5", 1)
    with pytest.raises(
        InputError, match="a.hdf5 cannot be read: its list of contents does not end within 0.001 s"
    ):
        check_hdf5(tmp_path / "a.hdf5", 2, limit=0.001)
