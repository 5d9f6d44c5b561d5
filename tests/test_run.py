"""The main job guarded: leakage, same seed same bytes, reuse, bad input, the command line."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.sample import load_sample, save_sample
from gencast.data.suites import load_suite
from gencast.pipeline.configure import load_settings, make_settings
from gencast.pipeline.job import run
from gencast.pipeline.parts import open_simulations, sample_path, split_rows
from gencast.synthesis import list_suites

SMALL = {"quick": True, "n_galaxies": 260, "notebooks": False, "progress": False, "jobs": 2}
VICTIM = 3  # the simulation whose labels are shuffled


@pytest.fixture(scope="module")
def suite_file(some_universes):
    "Six universes of the default suite."
    return some_universes("six", 3, 6)


@pytest.fixture(scope="module")
def results(suite_file, tmp_path_factory):
    "A small run in both views."
    return run(suite_file, out=tmp_path_factory.mktemp("run") / "six", **SMALL)


def tables(folder):
    return {f.name: f.read_bytes() for f in sorted(folder.glob("*.csv"))}


def test_same_seed_same_bytes_from_scratch(results, suite_file, tmp_path):
    again = run(suite_file, out=tmp_path / "again", **{**SMALL, "jobs": 1})
    assert tables(again.folder) == tables(results.folder)
    assert len(tables(again.folder)) == 20
    for name, checksum in results.run["files"].items():
        assert (again.folder / name).read_bytes() == (results.folder / name).read_bytes(), name
        assert again.run["files"][name] == checksum
    assert len(results.catalog()) == results.galaxies.groupby("target").galaxy.nunique().sum()


def test_other_seed_other_numbers(results, suite_file, tmp_path):
    other = run(suite_file, out=tmp_path / "other", seed=43, views=("spectra",), **SMALL)
    assert (
        other.errors.mse.to_numpy() != results.errors[results.errors.view == "spectra"].mse.to_numpy()
    ).all()


def test_schema_and_counts(results):
    names = load_settings(results.folder).suite.names
    assert list(results.errors.columns[:8]) == [
        "source",
        "target",
        "property",
        "model",
        "mse",
        "rmse",
        "bias",
        "n",
    ]
    assert list(results.distances.columns[:4]) == ["source", "target", "distance", "value"]
    assert list(results.forecasts.columns[:8]) == [
        "target",
        "kind",
        "source",
        "property",
        "rmse",
        "lower",
        "upper",
        "in_support",
    ]
    assert results.errors.groupby("view").size().tolist() == [36, 36]
    assert set(results.forecasts.kind) == {"simulation", "spectra", "photometry"}
    assert results.simulations.name.tolist() == list(names)
    outside = results.forecasts[~results.forecasts.in_support.astype(bool)]
    assert outside.lower.isna().all() and outside.upper.isna().all() and outside.rmse.notna().all()
    record = results.run
    assert record["seed"] == 42 and record["versions"]["scikit-learn"] and len(record["tables"]) == 20
    assert {"spectra: simulate", "photometry: distances"} <= set(record["stages"])


def test_forecasts_of_the_survey_agree_with_each_other(results):
    "Sources, best, ensemble and single galaxies tell the same story."
    for view in ("spectra", "photometry"):
        sources = results.forecasts[(results.forecasts.kind == view)]
        combined = results.combined[results.combined["view"] == view].set_index("predictor")
        galaxies = results.galaxies[results.galaxies.target == sources.target.iloc[0]]
        assert len(galaxies) == sources.n_galaxies.iloc[0] + sources.n_out_of_range.iloc[0]
        galaxies = galaxies.dropna(subset="expected_error")  # the set is its galaxies in range
        assert len(galaxies) == sources.n_galaxies.iloc[0]
        best = sources.loc[sources.rmse.idxmin()]
        assert (
            list(combined.index) == ["best", "ensemble", "consensus"]
            and combined.source["best"] == best.source == galaxies.source.iloc[0]
        )
        assert np.isclose(combined.rmse["best"], best.rmse, rtol=1e-6)
        assert np.isclose(np.sqrt(np.mean(galaxies.expected_error**2)), best.rmse, rtol=1e-6), (
            "the mean over galaxies is the forecast for the set"
        )
        inside = combined.dropna(subset="lower")
        assert (inside.lower < inside.upper).all() and set(combined.tier) <= {"inside", "edge", "outside"}
        assert np.allclose(
            best.bias, np.mean(galaxies.predicted - galaxies.predicted_consensus), atol=1e-6
        ), "the bias is the offset from the consensus"


def test_signals_and_decomposition(results):
    "Every pair has every signal; the parts of an error sum to it."
    n = len(results.simulations)
    signals = results.signals[results.signals["view"] == "spectra"]
    assert (
        signals.groupby("signal").size().nunique() == 1 and len(signals) == signals.signal.nunique() * n * n
    )  # n - 1 targets and the survey, for each source
    parts = results.decomposition
    assert np.allclose(
        parts.in_domain + parts.wrong_inverse + parts.cross + parts.get("refit", 0), parts.mse, rtol=1e-5
    )
    errors = parts.merge(results.errors, on=["view", "property", "source", "target"])
    assert np.allclose(errors.mse_x, errors.mse_y, rtol=1e-5)
    assert {"leave-simulation-out"} <= set(results.scores.protocol) and results.scores.law.iloc[0] == "stack"


def test_errors_are_those_of_the_stored_galaxies(results):
    "E is recomputed from the stored predictions by other means."
    settings = load_settings(results.folder)
    names = settings.suite.names
    row = results.errors.query("view == 'spectra'").iloc[7]  # source 1, target 1
    with np.load(results.folder / "cache" / f"errors-spectra-log_mstar-{row.source}.npz") as stored:
        predicted = stored["predicted"]
    sizes, truth, simulations = [], [], open_simulations(results.folder, settings, "spectra")
    for name in names:
        sample = load_sample(sample_path(results.folder, "spectra", name))
        test = split_rows(len(sample), simulations, name)["test"]
        sizes.append(len(test))
        truth.append(sample.properties["log_mstar"][test])
    start = sum(sizes[: names.index(row.target)])
    delta = predicted[start : start + sizes[names.index(row.target)]] - truth[names.index(row.target)]
    assert np.isclose(np.mean(delta**2), row.mse, rtol=1e-6) and np.isclose(
        np.mean(delta), row.bias, rtol=1e-5, atol=1e-8
    )


def test_distances_agree_with_scipy(results):
    from scipy.spatial.distance import cdist

    from gencast.features.table import feature_table

    settings = load_settings(results.folder)
    names = settings.suite.names
    chosen = results.features.query("view == 'spectra'").feature.tolist()
    parts, simulations = [], open_simulations(results.folder, settings, "spectra")
    for name, part in [(names[0], "reference"), (names[2], "test")]:
        sample = load_sample(sample_path(results.folder, "spectra", name))
        table = feature_table(sample.take(split_rows(len(sample), simulations, name)[part]))
        parts.append(table.values[:, [table.names.index(f"{float(w):.1f}") for w in chosen]].astype(float))
    found = results.distances.query(
        "view == 'spectra' and distance == 'mean_euclidean' and source == @names[0] and target == @names[2]"
    ).value.item()
    assert np.isclose(found, cdist(*parts).mean(), rtol=1e-5)


@pytest.mark.parametrize("view", ["spectra", "photometry"])
def test_no_leakage(results, suite_file, tmp_path, view):
    """Shuffle the labels of one simulation: what is predicted for it may not move by a bit; its score, and
    only what used its labels, may.
    """
    folder = tmp_path / "shuffled"
    shutil.copytree(results.folder / "simulations", folder / "simulations")
    name = load_settings(results.folder).suite.names[VICTIM]
    sample = load_sample(sample_path(folder, view, name), mmap=False)
    shuffled = np.random.default_rng(0).permutation(sample.properties["log_mstar"])
    save_sample(
        replace(sample, properties=sample.properties | {"log_mstar": shuffled}),
        sample_path(folder, view, name),
    )
    broken = run(suite_file, out=folder, views=(view,), **SMALL)

    def of_target(table, target=name):
        rows = table[(table.view == view) & (table.target == target)]
        return rows.sort_values([c for c in ("law", "distance", "source") if c in rows]).reset_index(
            drop=True
        )

    before, after = of_target(results.heldout), of_target(broken.heldout)
    honest = (
        before.law != "in_domain"
    )  # the quoted error is each source's own and no prediction from distances
    for column in ("value", "predicted", "lower", "upper"):
        pd.testing.assert_series_equal(before[column][honest], after[column][honest], check_exact=True)
    scored, scored_after = of_target(results.scores), of_target(broken.scores)
    honest = scored.law != "in_domain"
    assert scored.width_68[honest].notna().any(), "five simulations are enough for intervals of 68 %"
    for column in ("width_50", "width_68"):
        pd.testing.assert_series_equal(scored[column][honest], scored_after[column][honest], check_exact=True)
    assert (before.log_mse != after.log_mse).all(), "its true errors must change: its labels were shuffled"
    told, told_after = of_target(results.forecasts), of_target(broken.forecasts)
    for column in ("rmse", "distance_value", "in_support"):
        assert (told[column] == told_after[column]).all(), (
            f"forecast {column} of the held-out simulation moved"
        )
    pd.testing.assert_series_equal(told.lower, told_after.lower)
    other = load_settings(results.folder).suite.names[0]
    assert (
        of_target(results.heldout, other).predicted != of_target(broken.heldout, other).predicted
    ).any(), "others do learn from it"

    def models(r):
        return r.errors[
            (r.errors.view == view) & (r.errors.source != name) & (r.errors.target != name)
        ].mse.to_numpy()

    assert (models(results) == models(broken)).all(), "no other model or score may have seen its labels"


@pytest.mark.slow
def test_second_run_reuses_and_a_change_recomputes(results, suite_file, tmp_path):
    folder = tmp_path / "six"
    shutil.copytree(results.folder, folder)

    def stamps():
        return {
            f: f.stat().st_mtime_ns
            for f in [*folder.glob("cache/*.npz"), *folder.glob("simulations/*/*/flux.npy")]
        }

    before = stamps()
    run(suite_file, out=folder, **SMALL)
    assert stamps() == before, "nothing changed, so nothing may be made again"
    run(suite_file, out=folder, n_trees=31, **SMALL)
    changed = {f.name.split("-")[0] for f, t in stamps().items() if before[f] != t}
    assert changed == {"model", "errors", "baselines", "sdss_spectra", "sdss_photometry", "trials"}, (
        "more trees: only the models, their predictions and what is made from them"
    )
    batches = [f for f in stamps() if re.fullmatch(r"trials-[a-z]+-\d+\.npz", f.name)]
    assert batches and all(stamps()[f] == before[f] for f in batches), "the trial targets' galaxies stay"


def test_a_changed_table_is_noticed(results, tmp_path):
    from gencast.report.results import load_results

    folder = tmp_path / "six"
    shutil.copytree(results.folder, folder)
    text = (folder / "forecasts.csv").read_text()
    (folder / "forecasts.csv").write_text(text.replace("0.", "1.", 1))
    with pytest.raises(InputError, match="forecasts.csv is not the table"):
        load_results(folder)


def test_interrupted_run_goes_on(results, suite_file, tmp_path):
    folder = tmp_path / "six"
    shutil.copytree(results.folder, folder)
    for path in [*folder.glob("*.csv"), folder / "run.json", *sorted(folder.glob("cache/*.npz"))[::3]]:
        path.unlink()
    shutil.rmtree(sorted(folder.glob("simulations/spectra/*"))[0])
    victim = sorted(folder.glob("cache/*.npz"))[5]
    victim.write_bytes(victim.read_bytes()[:100])  # cut off while it was written
    assert tables(run(suite_file, out=folder, **SMALL).folder) == tables(results.folder)


def in_a_process(*arguments) -> tuple[int, str]:
    "Run the command line in a process of its own: exit code, and what it said."
    code = "import sys; from gencast.cli.main import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


def bad_suite(tmp_path, change) -> str:
    text = yaml.safe_load(list_suites()["default"].read_text())
    change(text)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(text))
    return str(path)


BAD_SUITES = {
    "unknown stellar library 'phoenix'": lambda s: s["simulations"][4].update(ssp="phoenix"),
    "missing key dust": lambda s: s["simulations"][2].pop("dust"),
    "missing key redshift": lambda s: s.pop("redshift"),
    "unknown dust law 'fog'": lambda s: s["simulations"][0]["dust"].update(law="fog"),
    "unknown family 'chaos'": lambda s: s["simulations"][0]["history"].update(family="chaos"),
    "unknown key colour": lambda s: s["simulations"][0].update(colour="red"),
    "two simulations are called": lambda s: s["simulations"][1].update(name=s["simulations"][0]["name"]),
    "letters, digits": lambda s: s["simulations"][1].update(name="../../x"),
    "a_v is 'much'": lambda s: s["simulations"][1]["dust"].update(a_v="much"),
    "at least five": lambda s: s.update(simulations=s["simulations"][:4]),
    "name 7": lambda s: s["simulations"][0].update(name=7),
    "must be a word": lambda s: s.update(name=2020),
    "expected a whole number": lambda s: s["spectra"].update(pixels=1000.5),
    "not below maximum": lambda s: s["simulations"][0]["mass"].update(minimum=12.5),
    "photometry needs 900": lambda s: s["photometry"].update(start=900),
    "'bc03_stelib' covers 3327-9295 Å": lambda s: s["spectra"].update(start=1000),
}


@pytest.mark.parametrize("words", BAD_SUITES)
def test_bad_suite_is_one_line_and_writes_nothing(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    path = bad_suite(tmp_path, BAD_SUITES[words])
    with pytest.raises(SystemExit) as end:
        main(["run", path, "--quick"])
    said = capsys.readouterr().err.strip()
    assert end.value.code == 2 and words in said and said.count("\n") == 0 and "bad.yaml" in said
    assert [p.name for p in tmp_path.iterdir()] == ["bad.yaml"]


def test_broken_yaml_and_unknown_options(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_text("name: [unclosed")
    for bad, words in [(path, "not readable as YAML"), ("nowhere.yaml", "there is no suite")]:
        with pytest.raises(InputError, match=words):
            load_suite(bad)
    for change, words in [
        ({"properties": ()}, "unknown property"),
        ({"model": "oracle"}, "unknown model"),
        ({"seed": -1}, "seed is -1"),
        ({"properties": ("colour",)}, "unknown property"),
        ({"views": ("x-ray",)}, "unknown view"),
        ({"distance": "far"}, "unknown distance"),
        ({"n_galaxies": 10}, "too few"),
        ({"nonsense": 1}, "unknown setting"),
    ]:
        with pytest.raises(InputError, match=words):
            make_settings(**change)


def spec_file(path, redshift=0.05, kind="GALAXY", zwarning=0):
    "A spec file of a flat spectrum."
    from gencast.data.specfiles import write_spec

    wave = np.geomspace(3600, 9500, 4000)
    write_spec(path, wave, np.full(wave.size, 1e6), 0.05, kind=kind, zwarning=zwarning)
    if redshift is None:
        from astropy.io import fits

        with fits.open(path, mode="update") as hdus:
            hdus[2].data["Z"] = np.nan
    return path


def test_bad_spec_files_are_refused_before_any_work(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = tmp_path / "spec"
    files.mkdir()
    cases = {
        "no-redshift.fits": (lambda p: spec_file(p, redshift=None), "redshift"),
        "star.fits": (lambda p: spec_file(p, kind="STAR"), "STAR"),
        "quasar.fits": (lambda p: spec_file(p, kind="QSO"), "QSO"),
        "warned.fits": (lambda p: spec_file(p, zwarning=4), "redshift warning"),
        "cut-off.fits": (lambda p: p.write_bytes(spec_file(p).read_bytes()[:5000]), "cut-off.fits"),
    }
    for name, (make, words) in cases.items():
        make(files / name)
        with pytest.raises(SystemExit) as end:
            main(["run", "--quick", "--spectra", str(files / name)])
        said = capsys.readouterr().err.strip()
        assert end.value.code == 2 and name in said and words in said and said.count("\n") == 0, said
        assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_own_spectra_by_option(suite_file, tmp_path):
    "The user's own spec file through the whole job, by the command line, with its notebooks."
    spec = spec_file(tmp_path / "mine.fits")
    code, said = in_a_process(
        "run",
        suite_file,
        "--quick",
        "--galaxies",
        200,
        "--spectra",
        spec,
        "--out",
        tmp_path / "own",
        "--no-notebooks",
    )
    assert code == 0, said
    found = load_settings(tmp_path / "own")
    assert found.spectra == (str(spec),)
    assert pd.read_csv(tmp_path / "own" / "galaxies.csv").query(
        "target == 'sdss_spectra'"
    ).galaxy.tolist() == ["mine"]


@pytest.mark.slow
def test_notebooks_of_a_run(results, tmp_path):
    "Executed for each target, reused when nothing changed, removed when they no longer show the tables."
    import nbformat

    from gencast.core.progress import Progress
    from gencast.pipeline.notebooks import execute_targets

    folder = tmp_path / "six"
    shutil.copytree(results.folder, folder)
    settings, surveys = load_settings(folder), {"spectra": "sdss_spectra", "photometry": "sdss_photometry"}
    assert execute_targets(folder, settings, Progress(2, False), surveys) == []
    made = {p.stem: p.stat().st_mtime_ns for p in (folder / "notebooks").glob("*.ipynb")}
    assert set(made) == {*settings.suite.names, "sdss_spectra", "sdss_photometry", "summary"}
    for path in (folder / "notebooks").glob("*.ipynb"):
        outputs = [o for c in nbformat.read(path, 4).cells if c.cell_type == "code" for o in c.outputs]
        assert not [o for o in outputs if o.output_type == "error"], path
        assert any("image/png" in o.get("data", {}) for o in outputs), f"{path.name} shows no figure"
    assert execute_targets(folder, settings, Progress(2, False), surveys) == []
    assert made == {p.stem: p.stat().st_mtime_ns for p in (folder / "notebooks").glob("*.ipynb")}
    (folder / "errors.csv").write_text((folder / "errors.csv").read_text() + "\n")
    execute_targets(folder, settings, Progress(2, False), surveys, execute=False)
    assert not list((folder / "notebooks").glob("*.ipynb"))


def test_command_line(results, tmp_path, command):
    code, said = in_a_process("--help")
    assert code == 0 and all(word in said for word in ("run", "simulate", "forecast", "list", "docs"))
    for what in ("suites", "simulations", "ssp", "dust", "histories", "properties"):
        code, said = command("list", what)
        assert code == 0 and len(said.splitlines()) > 1, said
    spec = spec_file(tmp_path / "mine.fits")
    code, said = command("forecast", spec, "--run", results.folder, "--out", tmp_path / "out")
    assert code == 0 and "mine" in said, said
    table = pd.read_csv(tmp_path / "out" / "forecasts.csv")
    assert len(table) == 6 and list(table.columns[:8]) == list(results.forecasts.columns[:8])
    code, said = command("forecast", spec, "--run", tmp_path / "nowhere")
    assert code == 2 and "gencast run" in said and "Traceback" not in said


def test_simulate_command(suite_file, tmp_path, command):
    code, said = command(
        "simulate", suite_file, "--out", tmp_path / "sims", "--galaxies", 120, "--only", "bc03-calzetti-tau"
    )
    assert code == 0, said
    sample = load_sample(sample_path(tmp_path / "sims", "spectra", "bc03-calzetti-tau"))
    assert len(sample) == 120 and sample.properties["sfh"].shape[0] == 120
    code, said = command("simulate", suite_file, "--out", tmp_path / "sims", "--only", "nonsense")
    assert code == 2 and "nonsense" in said


def test_noise_is_outside_the_simulations_range(results):
    "An alien: flat spectra of random brightness, a thousand times too bright."
    from gencast.core.sample import Sample
    from gencast.pipeline.observed import forecast

    settings = load_settings(results.folder)
    wave = settings.suite.wave()
    rng = np.random.default_rng(0)
    flux = 10 ** rng.normal(11, 1, (5, wave.size))
    alien = Sample("alien", flux=flux, wave=wave, flux_err=0.1 * flux, redshift=np.full(5, 0.1))
    table, galaxies = forecast(results.folder, alien, progress=False)
    assert not table.in_support.any() and table.lower.isna().all()
    assert len(galaxies) == 5
    with pytest.raises(InputError, match="grid"):
        forecast(
            results.folder,
            Sample("short", flux=flux[:, :10], wave=wave[:10], redshift=np.full(5, 0.1)),
            progress=False,
        )


def test_run_record_is_json(results):
    record = json.loads((results.folder / "run.json").read_text())
    assert load_settings(results.folder) == make_settings_of(record)


def make_settings_of(record):
    from gencast.pipeline.settings import Settings
    from gencast.synthesis.recipes import Suite

    suite = Suite(
        **{**record["suite"], **{k: tuple(record["suite"][k]) for k in ("simulations", "redshift_range")}}
    )
    return Settings(
        suite,
        record["seed"],
        **{k: tuple(v) if isinstance(v, list) else v for k, v in record["parameters"].items()},
    )
