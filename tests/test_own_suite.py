"A suite of one's own tables, from the command line to the notebooks; and suites that must be refused."

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.table import Table
from numpy.testing import assert_allclose

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.properties import PROPERTIES
from gencast.core.sample import load_sample
from gencast.data.photometry import band_luminosity, band_wavelengths
from gencast.data.suites import (
    OwnSuite,
    load_suite,
    main_family,
    suite_families,
    suite_properties,
    suite_views,
)
from gencast.pipeline.configure import load_settings
from gencast.pipeline.evidence import family_labels
from gencast.pipeline.job import run
from gencast.pipeline.notebooks import execute_notebook, template_path
from gencast.pipeline.parts import sample_path
from gencast.pipeline.settings import SurveySettings
from gencast.pipeline.surveys import NOISE_FLOOR, TABLE_NOISE, expected_noise, load_survey
from gencast.report.results import load_results
from gencast.synthesis.recipes import read_recipes
from gencast.synthesis.simulations import simulate

BANDS, FORMATS = (
    "ugriz",
    {"tng": "csv", "eagle": "fits", "simba": "hdf5", "horizon": "parquet", "magneticum": "npz"},
)
SMALL = {"quick": True, "notebooks": False, "progress": False, "jobs": 1}
WAVE = dict(zip(BANDS, band_wavelengths().round(1).tolist()))


def columns_of(name):
    band = {"hdf5": lambda b: f"phot/L[{BANDS.index(b)}]"}.get(FORMATS.get(name), lambda b: f"L_{b}")
    return {"bands": {b: {"column": band(b), "wave": WAVE[b]} for b in BANDS}}


SHARED = {
    "unit": "Lsun",
    "ids": "id",
    "properties": {
        "log_mstar": {"column": "mass", "unit": "Msun"},
        "log_mdust": {"column": "dust", "unit": "Msun"},
    },
}
DUST = {"log_mdust": {"label": r"$\log_{10} M_d / M_\odot$", "unit": "dex(Msun)", "meaning": "log dust mass"}}


@pytest.fixture(scope="module")
def truth():
    """Galaxies of five simulations that differ in library, dust and histories: spectra, bands at z = 0,
    masses.
    """
    suite, found = read_recipes("default"), {}
    for k, name in zip((0, 6, 12, 18, 3), FORMATS):
        g = simulate(suite.simulations[k], suite, 1, 240, "photometry")
        mass = 10 ** g.properties["log_mstar"]
        found[name] = {
            "lum": band_luminosity(g.wave, g.flux, 0.0),
            "mass": mass,
            "dust": 0.003 * mass * (0.05 + g.properties["a_v"]),
            "wave": g.wave[250:420],
            "flux": g.flux[:, 250:420],
        }
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory, truth):
    "The same, one file in each format; a survey; the suite file."
    pytest.importorskip("pyarrow")
    folder = tmp_path_factory.mktemp("own")
    for name, kind in FORMATS.items():
        t, path = truth[name], folder / f"{name}.{kind}"
        table = {
            "id": np.arange(240),
            **{f"L_{b}": t["lum"][:, i] for i, b in enumerate(BANDS)},
            "mass": t["mass"],
            "dust": t["dust"],
        }
        if kind == "csv":
            pd.DataFrame(table).to_csv(path, index=False)
        elif kind == "fits":
            Table(table).write(path)
        elif kind == "parquet":
            pd.DataFrame(table).to_parquet(path)
        elif kind == "npz":
            np.savez(path, **table)
        else:
            with h5py.File(path, "w") as f:
                f["phot/L"], f["id"], f["mass"], f["dust"] = t["lum"], table["id"], t["mass"], t["dust"]
    rng, seen = np.random.default_rng(1), truth["eagle"]["lum"][:60]
    pd.DataFrame(
        {f"L_{b}": seen[:, i] * rng.normal(1, 0.03, 60) for i, b in enumerate(BANDS)}
        | {f"e_{b}": 0.03 * seen[:, i] for i, b in enumerate(BANDS)}
    ).to_csv(folder / "sky.csv", index=False)
    survey = {
        "name": "sky",
        "table": "sky.csv",
        "columns": {"bands": {b: {"column": f"L_{b}", "error": f"e_{b}", "wave": WAVE[b]} for b in BANDS}},
    }
    suite = {
        "name": "five",
        "about": "one table a format",
        "tables": {"columns": SHARED},
        "properties": DUST,
        "survey": survey,
        "simulations": [
            {
                "name": n,
                "table": f"{n}.{k}",
                "columns": columns_of(n),
                "family": {"code": "sph" if n in ("tng", "eagle") else "grid"},
            }
            for n, k in FORMATS.items()
        ],
    }
    (folder / "five.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def results(folder, tmp_path_factory):
    return run(folder / "five.yaml", out=tmp_path_factory.mktemp("run") / "five", properties="all", **SMALL)


def test_what_was_written_is_what_the_run_uses(results, truth):
    for name in FORMATS:
        suite = load_settings(results.folder).suite
        read = suite.load(suite.simulations[suite.names.index(name)], "photometry", 1000, 1)
        assert_allclose(read.flux, truth[name]["lum"], rtol=1e-6)
        kept = load_sample(sample_path(results.folder, "photometry", name))
        rows = np.array(kept.ids, int)
        pull = (kept.flux - truth[name]["lum"][rows]) / kept.flux_err
        assert kept.meta["observed_as"] == "sky" and 0.9 < pull.std() < 1.1 and abs(pull.mean()) < 0.1, (
            "the survey has errors and the table has none"
        )
        assert_allclose(kept.flux_err / truth[name]["lum"][rows], 0.03, rtol=0.15)
        assert_allclose(kept.properties["log_mdust"], np.log10(truth[name]["dust"][rows]), rtol=1e-6)


def test_a_run_has_all_tables_and_no_word_of_libraries(results):
    assert set(results.errors.property) == {"log_mstar", "log_mdust"} and set(results.errors["view"]) == {
        "photometry"
    }
    assert len(results.errors) == 2 * 25 and list(results.simulations.columns[:4]) == [
        "name",
        "code",
        "simulation",
        "table",
    ]
    assert "ssp" not in results.simulations and len(results.spectra) == 0
    assert (
        set(results.forecasts.kind) == {"simulation", "photometry"}
        and set(results.galaxies.target) == {"sky"}
        and len(results.galaxies) == 120
    )
    assert results.galaxies.redshift.isna().all(), "rest-frame luminosities tell no redshift"
    assert (
        results.run["simulations"]["tng"]["photometry"]["file"] == "tng.csv"
        and results.run["surveys"]["sky"]["n_galaxies"] == 60
    )
    assert PROPERTIES["log_mdust"].unit == "dex(Msun)"


def test_a_run_is_read_back_with_its_bands_in_order(results, folder):
    before, after = load_suite(folder / "five.yaml"), load_settings(results.folder).suite
    assert after == before
    for a, b in zip((*before.simulations, before.survey), (*after.simulations, after.survey)):
        assert list(a["columns"]["bands"]) == list(b["columns"]["bands"]) == list("ugriz") and list(
            a.get("family", {})
        ) == list(b.get("family", {}))


def test_forecast_for_another_table(results, folder, tmp_path, capsys):
    "`gencast forecast --map` for the survey's own table says what the run said."
    survey = yaml.safe_load((folder / "five.yaml").read_text())["survey"]
    (folder / "map.yaml").write_text(yaml.safe_dump({"unit": "Lsun", **survey["columns"]}, sort_keys=False))
    with pytest.raises(SystemExit) as end:
        main(
            [
                "forecast",
                str(folder / "sky.csv"),
                "--map",
                str(folder / "map.yaml"),
                "--run",
                str(results.folder),
                "--out",
                str(tmp_path / "told"),
                "-j",
                "1",
                "--properties",
                "log_mdust",
            ]
        )
    assert end.value.code == 0, capsys.readouterr()
    told, run_said = pd.read_csv(tmp_path / "told" / "forecasts.csv"), results.forecasts
    run_said = run_said[(run_said.kind == "photometry") & (run_said.property == "log_mdust")]
    assert_allclose(told.rmse, run_said.rmse, rtol=1e-6)


def test_noise_of_the_consensus_is_that_of_the_survey(results, folder):
    settings = load_settings(results.folder)
    suite, wanted, seed = settings.suite, settings.part(SurveySettings), settings.seed
    survey = load_survey(suite, wanted, "photometry", seed)
    assert_allclose(expected_noise(suite, "photometry", survey, seed), 0.03 / np.log(10), rtol=0.2)
    assert_allclose(survey.meta["noise"], NOISE_FLOOR)  # the simulations have the survey's noise already
    bare = yaml.safe_load((folder / "five.yaml").read_text())
    bare.pop("survey")
    (folder / "bare.yaml").write_text(yaml.safe_dump(bare, sort_keys=False))
    alone = load_suite(folder / "bare.yaml")
    stand_in = load_survey(alone, wanted, "photometry", seed)
    assert stand_in.meta["stand_in"] and not stand_in.properties
    assert_allclose(expected_noise(alone, "photometry", stand_in, seed), TABLE_NOISE)


def test_same_seed_same_bytes_and_nothing_made_twice(results, folder, tmp_path):
    before = {f.name: f.read_bytes() for f in results.folder.glob("*.csv")}
    made = {f: f.stat().st_mtime_ns for f in results.folder.rglob("simulations/**/flux.npy")}
    run(folder / "five.yaml", out=results.folder, properties="all", **SMALL)
    assert {f.name: f.read_bytes() for f in results.folder.glob("*.csv")} == before
    assert {f: f.stat().st_mtime_ns for f in made} == made


@pytest.mark.parametrize(
    "template, target",
    [
        ("simulation", "tng"),
        pytest.param("survey", "sky", marks=pytest.mark.slow),
        pytest.param("summary", None, marks=pytest.mark.slow),
    ],
)
def test_notebooks_of_such_a_run(results, tmp_path, template, target):
    path = execute_notebook(
        template_path(template),
        tmp_path / "n.ipynb",
        {"results": str(results.folder), **({"target": target} if target else {})},
    )
    cells = json.loads(path.read_text())["cells"]
    said = "".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    said += "".join(
        "".join(o.get("text", o.get("data", {}).get("text/markdown", "")))
        for c in cells
        for o in c.get("outputs", [])
    )
    assert "librar" not in said and "stellar population" not in said.replace(
        "fitting stellar populations", ""
    )


def test_split_families_and_spectra_without_a_survey(truth, tmp_path, capsys):
    "Three simulations as spectra, cut by colour and by a column's values; from the command line."
    for n, kind in (("tng", "hdf5"), ("eagle", "npz"), ("simba", "hdf5")):
        t = truth[n]
        table = {
            "flux": t["flux"],
            "lam": t["wave"],
            "mass": t["mass"],
            "box": np.arange(240) % 2,
            **{f"L_{b}": t["lum"][:, i] for i, b in enumerate(BANDS)},
        }
        if kind == "npz":
            np.savez(tmp_path / f"{n}.npz", **table)
        else:
            with h5py.File(tmp_path / f"{n}.hdf5", "w") as f:
                for k, v in table.items():
                    f[k] = v
    shared = {
        "unit": "Lsun",
        "spectra": {"column": "flux", "wave": "lam", "unit": "Lsun/AA"},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    (tmp_path / "columns.yaml").write_text(yaml.safe_dump(shared, sort_keys=False))
    suite = {
        "name": "split",
        "tables": {"columns": "columns.yaml", "split": {"by": "log_mstar", "parts": 2}},
        "simulations": [
            {"name": "tng", "table": "tng.hdf5"},
            {"name": "eagle", "table": "eagle.npz", "split": {"by": "box"}},
            {"name": "simba", "table": "simba.hdf5"},
        ],
    }
    (tmp_path / "split.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    found = load_suite(tmp_path / "split.yaml")
    assert isinstance(found, OwnSuite) and found.names == (
        "tng-1",
        "tng-2",
        "eagle-1",
        "eagle-2",
        "simba-1",
        "simba-2",
    )
    assert (
        suite_views(found) == ("spectra",)
        and suite_properties(found) == ("log_mstar",)
        and suite_families(found)["simulation"].tolist() == ["tng"] * 2 + ["eagle"] * 2 + ["simba"] * 2
    )
    low, high = (found.load(found.simulations[k], "spectra", 1000, 1) for k in (0, 1))
    assert (
        low.properties["log_mstar"].max() <= high.properties["log_mstar"].min()
        and len(low) == len(high) == 120
    )
    assert_allclose(found.wave(), truth["tng"]["wave"])
    with pytest.raises(SystemExit) as end:
        main(
            [
                "run",
                str(tmp_path / "split.yaml"),
                "--quick",
                "--no-notebooks",
                "-j",
                "1",
                "-o",
                str(tmp_path / "out"),
            ]
        )
    said = capsys.readouterr().out
    assert end.value.code == 0 and "No observed galaxies" in said
    results = load_results(tmp_path / "out")
    assert (
        len(results.errors) == 36
        and len(results.galaxies) == 0
        and set(results.forecasts.kind) == {"simulation"}
        and len(results.spectra) > 0
    )
    assert "no-survey" not in (results.folder / "signals.csv").read_text() and results.run["surveys"] == {}
    with pytest.raises(SystemExit):
        main(["list", "simulations", "--suite", str(tmp_path / "split.yaml")])
    assert "box = 1" in capsys.readouterr().out


def test_three_families_are_held_out_as_a_whole(folder):
    text = yaml.safe_load((folder / "five.yaml").read_text())
    for entry, code in zip(text["simulations"], ("a", "b", "c", "c", "c")):
        entry["family"] = {"code": code}
    (folder / "families.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    assert (
        family_labels(load_suite(folder / "families.yaml")) == {}
    )  # three left must be more than two when two families are out
    for entry in text["simulations"]:
        entry["split"] = {"by": "u - r", "parts": 2}
    (folder / "families.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    suite = load_suite(folder / "families.yaml")
    assert (
        list(family_labels(suite)) == ["simulation"]
        and main_family(suite) == "code"
        and main_family(suite, ["simulation"]) == "simulation"
    )


BROKEN = {
    "few": (
        lambda s: s.update(simulations=s["simulations"][:4]),
        "4 simulations; at least five are needed.*split",
    ),
    "name twice": (lambda s: s["simulations"].append(s["simulations"][0]), "two simulations are called tng"),
    "out of the folder": (
        lambda s: s["simulations"][0].update(table="../tng.csv"),
        "'../tng.csv' must be the name of a file",
    ),
    "absolute": (lambda s: s["simulations"][0].update(table="/etc/passwd"), "must be the name of a file"),
    "no such file": (
        lambda s: s["simulations"][0].update(table="tgn.csv"),
        "simulation 1 \\(tng\\): there is no file 'tgn.csv'",
    ),
    "script": (lambda s: s["simulations"][0].update(name="<script>"), "name '<script>' must be a word"),
    "up": (lambda s: s["simulations"][0].update(name="../../x"), "must be a word"),
    "small": (
        lambda s: s["simulations"][0].update(split={"by": "u - r", "parts": 3}),
        "tng.csv has 80 galaxies with u - r from .* at least 100",
    ),
    "split by nothing": (
        lambda s: s["simulations"][0].update(split={"by": "colour", "parts": 2}),
        "tng.csv: there is no column 'colour'",
    ),
    "other bands": (
        lambda s: s["simulations"][1]["columns"]["bands"].pop("z"),
        "eagle.fits has the bands u, g, r, i, tng.csv has u, g, r, i, z",
    ),
    "other wavelengths": (
        lambda s: s["simulations"][1]["columns"]["bands"]["u"].update(wave=3000),
        "tng.csv differ in wavelengths",
    ),
    "other families": (
        lambda s: s["simulations"][1].update(family={"box": "large"}),
        "must name the same kinds",
    ),
    "family a number": (lambda s: s["simulations"][1].update(family={"code": 3}), "must be two words"),
    "no property for all": (
        lambda s: s["simulations"][1].update(columns={**columns_of("eagle"), "properties": {}}),
        "there is no property that all simulations have",
    ),
    "undeclared property": (lambda s: s.pop("properties"), "property 'log_mdust' is not known"),
    "known property anew": (
        lambda s: s.update(properties={"log_mstar": {"unit": "Msun"}, **DUST}),
        "'log_mstar' is known already",
    ),
    "label": (lambda s: s["properties"]["log_mdust"].update(label=r"$\frac{1}$"), "not readable as LaTeX"),
    "survey called like a simulation": (
        lambda s: s["survey"].update(name="tng"),
        "a simulation is called 'tng', too",
    ),
    "survey in other bands": (
        lambda s: s["survey"]["columns"]["bands"].pop("z"),
        "sky.csv has the bands u, g, r, i, tng.csv has",
    ),
    "survey offered": (lambda s: s.update(survey="sdss_spectra"), "survey 'sdss_spectra' must be one of"),
    "unknown key": (lambda s: s.update(simulation=1), "unknown key simulation"),
    "recipe without grid": (
        lambda s: s["simulations"].append({"name": "mine", "ssp": "bpass"}),
        "a recipe needs redshift",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_suites_that_are_refused(folder, case):
    change, message = BROKEN[case]
    text = yaml.safe_load((folder / "five.yaml").read_text())
    change(text)
    (folder / "broken.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    with pytest.raises(InputError, match=message):
        load_suite(folder / "broken.yaml")


def test_a_table_that_changed_is_noticed(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    suite = load_suite(tmp_path / "five.yaml")
    table = pd.read_csv(tmp_path / "tng.csv")
    table.assign(mass=table.mass * 2).to_csv(tmp_path / "tng.csv", index=False)
    with pytest.raises(InputError, match="tng.csv has changed since it was checked"):
        suite.load(suite.simulations[0], "photometry", 100, 1)
    assert load_suite(tmp_path / "five.yaml").simulations[0]["sha256"] != suite.simulations[0]["sha256"]


def test_one_galaxy_is_no_simulation(folder, tmp_path):
    text = yaml.safe_load((folder / "five.yaml").read_text())
    pd.read_csv(folder / "tng.csv")[:1].to_csv(tmp_path / "tng.csv", index=False)
    (tmp_path / "five.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    with pytest.raises(
        InputError, match="tng.csv has 1 galaxies that can be used; a domain needs at least 100"
    ):
        load_suite(tmp_path / "five.yaml")


def test_one_redshift_for_all_tells_nothing(truth, tmp_path):
    "Snapshots in the observed frame at one redshift: log(1 + z) is no feature."
    for n in FORMATS:
        pd.DataFrame(
            {**{f"L_{b}": truth[n]["lum"][:, i] / 1e9 for i, b in enumerate(BANDS)}, "mass": truth[n]["mass"]}
        ).to_csv(tmp_path / f"{n}.csv", index=False)
    columns = {
        "frame": "observed",
        "redshift": 0.1,
        "unit": "uJy",
        "bands": {b: {"column": f"L_{b}", "wave": WAVE[b]} for b in BANDS},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    text = {
        "name": "snap",
        "tables": {"columns": columns},
        "simulations": [{"name": n, "table": f"{n}.csv"} for n in FORMATS],
    }
    (tmp_path / "snap.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    suite = load_suite(tmp_path / "snap.yaml")
    assert suite.redshift == 0.1 and suite.load(suite.simulations[0], "photometry", 100, 1).redshift is None
    text["simulations"][0]["columns"] = {"redshift": 0.2}
    (tmp_path / "snap.yaml").write_text(yaml.safe_dump(text, sort_keys=False))
    suite = load_suite(tmp_path / "snap.yaml")
    assert suite.redshift is None and set(
        suite.load(suite.simulations[0], "photometry", 100, 1).redshift
    ) == {0.2}
