"Files of predictions: what a run makes of them, beside the run that made the models; and what is refused."

import json

import numpy as np
import pandas as pd
import pytest
import yaml

import gencast as gc
from gencast.core.base import InputError
from gencast.core.cache import read_arrays
from gencast.data.prediction_files import is_predictions_file, load_predictions
from gencast.features.table import feature_table
from gencast.pipeline.configure import load_settings
from gencast.pipeline.parts import load_labels, load_rows, open_simulations
from gencast.pipeline.settings import SurveySettings
from gencast.pipeline.surveys import lacking_noise, load_survey, noise_survey

NAMES = tuple(f"toy{k}" for k in range(6))


def write_files(folder, n: int = 80, **changes):
    "Truths, one file of predictions for each pair, in several formats, and the YAML file."
    from astropy.table import Table

    rng = np.random.default_rng(0)
    for j, target in enumerate((*NAMES, "sky")):
        truth, ids = rng.normal(10, 0.5, n), np.array([f"g{i}" for i in range(n)])
        table = {"id": ids, "truth": truth, "u": truth + j / 5, "g": rng.normal(size=n)}
        if target == "sky":
            del table["truth"]
        Table(table).write(folder / f"{target}.fits", overwrite=True)
        for i, model in enumerate(NAMES):
            made = truth + 0.05 * (1 + abs(i - j)) * rng.normal(size=n)
            order = rng.permutation(n)
            pd.DataFrame({"id": ids[order], "made": made[order]}).to_csv(
                folder / f"{model}-{target}.csv", index=False
            )
    content = {
        "name": "six",
        "property": "log_mstar",
        "tables": {"ids": "id", "truth": "truth", "predictions": "{model}-{target}.csv", "column": "made"},
        "simulations": [{"name": n, "table": f"{n}.fits"} for n in NAMES],
        "survey": {"name": "sky", "table": "sky.fits"},
    }
    file = folder / "six.yaml"
    file.write_text(yaml.safe_dump(content | changes, sort_keys=False))
    return file


@pytest.fixture
def file(tmp_path):
    return write_files(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    "A run without features, and its file."
    folder = tmp_path_factory.mktemp("predictions")
    file = write_files(folder)
    return file, gc.run(file, out=folder / "run", notebooks=False, progress=False, jobs=1, law="ridge")


def test_a_run_of_predictions_has_the_tables_of_a_run(made):
    file, results = made
    read = load_predictions(file)
    assert not is_predictions_file("default")
    rms = results.errors.pivot(index="source", columns="target", values="rmse")
    for i, source in enumerate(NAMES):
        for target, truth, predicted in zip(NAMES, read.truth, read.predicted):
            row = rms.loc[source, target]
            assert row == pytest.approx(np.sqrt(np.mean((predicted[i] - truth) ** 2)), rel=1e-7)
    assert {"ridge", "stack", "consensus", "constant", "pooled_line"} == set(results.scores.law) - {
        "gaussian_process",
        "mixed",
        "theil_sen",
        "in_domain",
    }
    assert (results.forecasts.query("kind != 'simulation'").tier == "not judged").all()
    assert "nobody can say whether it lies within the range" in gc.report.describe_support(results, "sky")
    assert set(results.distances.distance) == {"disagreement"}
    assert list(results.galaxies.galaxy[:2]) == ["g0", "g1"]


def test_the_same_command_finds_the_run_and_verify_computes_its_errors(made, command, tmp_path):
    file, results = made
    again = gc.run(file, out=results.folder, notebooks=False, progress=False, jobs=1, law="ridge")
    assert again.run["started"] == results.run["started"] and again.run["key"] == results.run["key"]
    gc.run(file, out=tmp_path, notebooks=False, progress=False, jobs=2, law="ridge")
    for path in results.folder.glob("*.csv"):
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name
    code, said = command("verify", tmp_path)
    assert code == 0 and "all 180 values equal in all digits" in said
    table = tmp_path / "errors.csv"
    table.write_text(table.read_text().replace("toy1", "toy2", 1))
    assert command("verify", tmp_path)[0] == 1
    code, said = command("forecast", "x.fits", "--run", results.folder)
    assert code == 2 and "this run was made from predictions" in said


def test_a_changed_file_makes_the_tables_anew(tmp_path, made):
    file = write_files(tmp_path)
    run = {"out": tmp_path / "run", "notebooks": False, "progress": False, "jobs": 1, "law": "ridge"}
    gc.run(file, **run)
    table = tmp_path / "toy1-toy2.csv"
    pd.read_csv(table).assign(made=lambda t: t.made + 0.5).to_csv(table, index=False)
    changed = gc.run(file, **run).errors.query("source == 'toy1' and target == 'toy2'")
    assert changed.bias.iloc[0] > 0.4


def damage_table(name, change):
    "A case that rewrites one table."

    def apply(folder):
        change(folder / name)

    return apply


def lines(change):
    "A change of the lines of a text file."

    def apply(path):
        path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")

    return apply


def content(change):
    "A case that changes the YAML file."

    def apply(folder):
        file = folder / "six.yaml"
        text = yaml.safe_load(file.read_text())
        change(text)
        file.write_text(yaml.safe_dump(text, sort_keys=False))

    return apply


def with_truth(folder):
    "A model that has seen the truth."
    from astropy.table import Table

    table = Table.read(folder / "toy2.fits")
    pd.DataFrame({"id": list(table["id"].astype(str)), "made": list(table["truth"])}).to_csv(
        folder / PAIR, index=False
    )


PAIR = "toy1-toy2.csv"
DAMAGED = {
    "no row for the galaxy": damage_table(PAIR, lines(lambda rows: rows[:-1])),
    "the id 'g": damage_table(PAIR, lines(lambda rows: [*rows, rows[-1]])),
    "does not stand in": damage_table(PAIR, lines(lambda rows: [*rows, "stranger,1.0"])),
    "is not a finite number": damage_table(
        PAIR, lines(lambda rows: [*rows[:-1], rows[-1].split(",")[0] + ",nan"])
    ),
    "there is no column 'made'": damage_table(
        PAIR, lines(lambda rows: [rows[0].replace("made", "x"), *rows[1:]])
    ),
    "there is no file 'toy1-toy2.csv'": damage_table(PAIR, lambda path: path.unlink()),
    "two simulations are called toy0": content(lambda c: c["simulations"].append(c["simulations"][0])),
    "at least five are needed": content(lambda c: c.update(simulations=c["simulations"][:4])),
    "property 'mass' is not known": content(lambda c: c.update(property="mass")),
    "unknown key ages": content(lambda c: c.update(ages=1)),
    "the galaxies must be matched": content(lambda c: c["tables"].pop("ids")),
    "missing key truth": content(lambda c: c["tables"].pop("truth")),
    "put {model} into column": content(lambda c: c["tables"].update(predictions="toy1-toy2.csv")),
    "noise is that of features": content(lambda c: c.update(noise=0.1)),
    "toy0 has features, toy1 has none": content(lambda c: c["simulations"][0].update(features=["u"])),
    "differ from those of the first table": content(
        lambda c: [s.update(features=["u", "g"][: 1 + (s["name"] != "toy3")]) for s in c["simulations"]]
    ),
    "is no feature, but features": content(lambda c: c["tables"].update(features="*")),
    "must both have features": content(lambda c: [s.update(features=["u"]) for s in c["simulations"]]),
    "names must differ": content(lambda c: c["survey"].update(name="toy0")),
    "is the name of a file in": content(lambda c: c["survey"].update(table="../sky.fits")),
    "equals the truth in every row": lambda folder: with_truth(folder),
}


@pytest.mark.parametrize("why", DAMAGED)
def test_files_that_are_refused_in_one_sentence(file, why, command):
    DAMAGED[why](file.parent)
    code, said = command("run", file, "-o", file.parent / "run", "--law", "ridge", "--no-notebooks")
    assert code == 2, said
    assert said.strip().count("\n") == 0 and not (file.parent / "run" / "run.json").exists()
    close = {
        "is the name of a file in": "must be the name of a file in",
        "put {model} into column": "would stand in one column",
    }
    assert close.get(why, why) in said


def test_a_unit_that_is_not_the_propertys(file):
    from astropy.table import Table

    table = Table.read(file.parent / "toy3.fits")
    table["truth"].unit = "Msun"
    table.write(file.parent / "toy3.fits", overwrite=True)
    with pytest.raises(InputError, match="column 'truth' is in .*, and log_mstar in dex"):
        load_predictions(file)


def test_options_without_effect_are_refused(file, command):
    for option in (["--quick"], ["-n", "200"], ["--clean"], ["--model", "cnn"], ["--retry-failed"]):
        code, said = command("run", file, "-o", file.parent / "run", *option)
        assert code == 2 and "without effect" in said, said


def write_from_run(results, folder, view: str, property: str):
    "The predictions of a built-in run as files, with features of the test galaxies and of the training ones."
    settings = load_settings(results.folder)
    simulations = open_simulations(results.folder, settings, view)
    survey = load_survey(settings.suite, settings.part(SurveySettings), view, settings.seed)
    noise = lacking_noise(survey, noise_survey(settings.suite, view, survey, settings.observed))
    names, cache = simulations.names, simulations.cache
    truth = [load_labels(simulations, n, "test", property) for n in names]
    cuts = np.cumsum([len(t) for t in truth])[:-1]
    fits = {n: read_arrays(cache / f"errors-{view}-{property}-{n}.npz") for n in names}
    seen = {n: read_arrays(cache / f"{survey.name}-{view}-{property}-{n}.npz") for n in names}

    def write(name, X, **columns):
        features = {f"x{k:04d}": column.astype(float) for k, column in enumerate(X.T)}
        np.savez(folder / f"{name}.npz", id=np.arange(len(X)), **features, **columns)

    for j, name in enumerate(names):
        made = {m: np.split(f["predicted"], cuts)[j] for m, f in fits.items()}
        made |= {f"{m} sd": np.split(f["spread"], cuts)[j].astype(float) for m, f in fits.items()}
        write(name, load_rows(simulations, name, "test")[0], truth=truth[j], **made)
        train = load_labels(simulations, name, "train", property)
        write(f"{name}-train", load_rows(simulations, name, "train")[0], truth=train)
    made = {m: f["predicted"] for m, f in seen.items()} | {f"{m} sd": f["spread"] for m, f in seen.items()}
    write("survey", feature_table(survey).values, **made)
    libraries = {s["name"]: s["ssp"] for s in settings.suite.simulations}
    content = {
        "name": "again",
        "property": property,
        "noise": noise.tolist(),
        "tables": {"ids": "id", "truth": "truth", "features": "x*", "spread": "{model} sd"},
        "simulations": [
            {"name": n, "table": f"{n}.npz", "reference": f"{n}-train.npz", "family": libraries[n]}
            for n in names
        ],
        "survey": {"name": "observed", "table": "survey.npz"},
    }
    (folder / "again.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
    return folder / "again.yaml"


def test_predictions_of_a_run_give_the_tables_of_the_run(some_universes, tmp_path):
    "The same engine: scores and forecasts of a run come out again from its predictions."
    small = {"notebooks": False, "progress": False, "jobs": 1}
    suite = some_universes("six", 3, 6)
    first = gc.run(suite, True, tmp_path / "first", n_galaxies=200, views=["photometry"], n_trees=10, **small)
    file = write_from_run(first, tmp_path, "photometry", "log_mstar")
    second = gc.run(file, out=tmp_path / "second", **small)
    pair = ["source", "target"]
    known = first.errors.set_index(pair)[["mse", "rmse", "bias", "n", "nmad"]]
    np.testing.assert_allclose(
        second.errors.set_index(pair).loc[known.index, known.columns], known, rtol=1e-6
    )
    for law in ("stack", "consensus", "ridge", "mixed"):
        one, other = (r.heldout[r.heldout.law == law].set_index(pair).sort_index() for r in (first, second))
        np.testing.assert_allclose(other.predicted, one.predicted, atol=1e-4)
        one, other = (
            r.scores[(r.scores.law == law) & (r.scores.protocol == "leave-simulation-out")].set_index(
                "target"
            )
            for r in (first, second)
        )
        columns = ["r2", "mae_dex", "coverage_50", "width_50"]
        known, again = (t.loc["all", columns].to_numpy(float) for t in (one, other))
        np.testing.assert_allclose(again, known, atol=1e-3)
    one, other = (r.forecasts[r.forecasts.kind != "simulation"].set_index("source") for r in (first, second))
    other = other.loc[one.index]
    # the run knows which galaxies are in range from its reference galaxies, the file from the training ones
    np.testing.assert_allclose(other.n_galaxies, one.n_galaxies, rtol=0.03)
    np.testing.assert_allclose(other.rmse, one.rmse, rtol=0.02)
    np.testing.assert_allclose(other.bias, one.bias, atol=5e-3)
    assert (other.tier == one.tier).all()
    assert json.loads((tmp_path / "second" / "run.json").read_text())["kind"] == "predictions"


def write_one_model(folder):
    "Predictions of a seventh model, trained on two of the simulations together."
    from astropy.table import Table

    rng = np.random.default_rng(7)
    for j, target in enumerate((*NAMES, "sky")):
        table = Table.read(folder / f"{target}.fits")
        truth = np.array(table["u"]) - j / 5
        made = truth + 0.05 * (1 + abs(2.5 - j)) * rng.normal(size=len(truth))
        pd.DataFrame({"id": list(table["id"].astype(str)), "made": made}).to_csv(
            folder / f"mine-{target}.csv", index=False
        )


def test_one_model_beside_those_of_the_simulations(tmp_path, command):
    file = write_files(tmp_path, one_model={"name": "mine", "trained_on": ["toy2", "toy3"]})
    write_one_model(tmp_path)
    code, said = command("run", file, "-o", tmp_path / "run", "--law", "ridge", "--no-notebooks", "-j", 1)
    assert code == 0 and "mine on sky, log_mstar: RMSE" in said, said
    heldout = pd.read_csv(tmp_path / "run" / "one_model_heldout.csv")
    assert set(heldout.source) == {"mine"} and set(heldout.target) == set(NAMES) - {"toy2", "toy3"}
    errors = pd.read_csv(tmp_path / "run" / "one_model_errors.csv").set_index("target").rmse
    assert errors["toy2"] < errors["toy5"]
    forecast = pd.read_csv(tmp_path / "run" / "one_model_forecast.csv").iloc[0]
    assert 0.5 * errors["toy5"] < forecast.rmse < 3 * errors["toy5"]
    assert command("verify", tmp_path / "run")[0] == 0


def test_one_model_that_is_refused(tmp_path):
    for one, why in (
        ({"name": "mine"}, "give either trained_on or home"),
        ({"name": "toy1", "trained_on": ["toy2"]}, "names must differ"),
        ({"name": "mine", "trained_on": ["toy9"]}, "name some of toy0"),
        ({"name": "mine", "trained_on": ["toy2"], "train": "toy1.fits"}, "compared by features"),
        ({"name": "other", "trained_on": ["toy2"]}, "there is no file 'other-toy0.csv'"),
    ):
        file = write_files(tmp_path, one_model=one)
        write_one_model(tmp_path)
        with pytest.raises(InputError, match=why):
            load_predictions(file)


def test_one_model_with_others_that_are_trained_here(tmp_path, command):
    one = {"name": "mine", "trained_on": ["toy2", "toy3"], "others": "trained"}
    file = write_files(tmp_path, 160, one_model=one)
    write_one_model(tmp_path)
    said = command("run", file, "-o", tmp_path / "run", "--law", "ridge", "-j", 1)[1]
    assert "others can be trained on features only" in said
    content(lambda c: c["tables"].update(features=["u", "g"]))(tmp_path)
    for options in ([], ["--model", "sklearn.linear_model:Ridge"]):
        words = ["run", file, "-o", tmp_path / "run", "--law", "ridge", "--no-notebooks", "-j", 1, *options]
        code, said = command(*words)
        assert code == 0 and "mine on sky, log_mstar: RMSE" in said, said
    errors = gc.load_results(tmp_path / "run").errors
    assert errors.n.max() == 58 and len(errors) == 36
    assert len(pd.read_csv(tmp_path / "run" / "one_model_heldout.csv")) == 4
