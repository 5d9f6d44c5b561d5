"""A run whose models are networks: the whole job, networks trained once, same bytes, refusals."""

import builtins
import shutil
from dataclasses import replace

import numpy as np
import pytest

from gencast.core.base import InputError
from gencast.pipeline.configure import load_settings, make_settings
from gencast.pipeline.job import run
from gencast.pipeline.observed import forecast
from gencast.pipeline.parts import open_simulations
from gencast.pipeline.settings import ModelSettings, SurveySettings
from gencast.pipeline.surveys import load_survey

SMALL = {
    "quick": True,
    "n_galaxies": 200,
    "n_trees": 10,
    "notebooks": False,
    "progress": False,
    "jobs": 2,
    "model": "cnn",
    "properties": ("log_mstar", "sfh"),
}


@pytest.fixture(scope="module")
def suite_file(some_universes):
    "Five universes of the default suite."
    return some_universes("five", 4, 5)


def survey_of(settings):
    "The observed spectra of a run."
    return load_survey(settings.suite, settings.part(SurveySettings), "spectra", settings.seed)


def test_without_pytorch_one_line_names_the_extra(monkeypatch):
    real = builtins.__import__

    def no_torch(name, *rest, **more):
        if name.split(".")[0] == "torch":
            raise ImportError("no torch here")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_torch)
    with pytest.raises(InputError, match=r"pip install 'gencast\[cnn\]'") as refused:
        make_settings("default", model="cnn")
    assert "\n" not in str(refused.value)


def test_networks_are_for_spectra():
    with pytest.raises(InputError, match="the model cnn is for spectra"):
        make_settings("default", model="cnn", views=("spectra", "photometry"))


@pytest.fixture(scope="module")
def results(suite_file, tmp_path_factory):
    pytest.importorskip("torch")
    return run(suite_file, out=tmp_path_factory.mktemp("run") / "five", **SMALL)


@pytest.mark.slow
def test_the_whole_job(results):
    assert set(results.errors["view"]) == {"spectra"} and set(results.errors.model) == {"cnn"}
    assert (
        set(results.forecasts.property) == {"log_mstar", "sfh"} and np.isfinite(results.forecasts.rmse).all()
    )
    own = results.errors[
        (results.errors.source == results.errors.target) & (results.errors.property == "log_mstar")
    ]
    spread = results.simulations.set_index("name").eval("log_mstar_p84 - log_mstar_p16") / 2
    assert (own.set_index("source").rmse < 0.5 * spread).mean() > 0.7, "networks have learned masses"
    assert "torch" in results.run["versions"]


@pytest.mark.slow
def test_networks_are_trained_once(results, suite_file):
    made = sorted(results.folder.glob("cache/network-*/*/network.json"))
    assert len(made) == 5, (
        "one for each simulation, whatever the number of properties; no leftovers of training"
    )
    before = {p: p.stat().st_mtime_ns for p in made}
    tables = {p.name: p.read_bytes() for p in results.folder.glob("*.csv")}
    for path in results.folder.glob("cache/errors-*.npz"):
        path.unlink()
    run(suite_file, out=results.folder, **SMALL)
    assert {p: p.stat().st_mtime_ns for p in made} == before
    assert {p.name: p.read_bytes() for p in results.folder.glob("*.csv")} == tables


@pytest.mark.slow
def test_the_survey_is_read_once_for_all_networks(results, suite_file, monkeypatch):
    from gencast.pipeline import surveys, training

    calls, read = [], surveys.load_survey
    monkeypatch.setattr(surveys, "load_survey", lambda *a: calls.append(a) or read(*a))
    run(suite_file, out=results.folder, **SMALL)
    assert len(calls) == 1, "the training does not read it, not once for each network"
    settings = load_settings(results.folder)
    simulations = open_simulations(results.folder, settings, "spectra")
    noise, name = surveys.survey_noise(survey_of(settings)), settings.suite.names[0]

    def key(settings, noise):
        learner = training.make_learner(settings.part(ModelSettings), noise)
        return training.network_key(simulations, name, learner)

    same = key(settings, noise)
    assert training.network_path(
        simulations, name, training.make_learner(settings.part(ModelSettings), noise)
    ).is_dir(), "it is the key of the stored network"
    assert key(replace(settings, n_trees=99, law="ridge"), noise) == same
    assert key(settings, 2 * noise) != same != key(replace(settings, properties=("log_mstar",)), noise)


@pytest.mark.slow
def test_a_later_forecast_uses_the_stored_networks(results):
    survey = survey_of(load_settings(results.folder))
    before = {p: p.stat().st_mtime_ns for p in results.folder.glob("cache/network-*/*/network.json")}
    table, galaxies = forecast(results.folder, survey.take(np.arange(1)), jobs=1, progress=False)
    assert np.isfinite(table.rmse).all() and set(galaxies.property) == {"log_mstar", "sfh"}
    assert {p: p.stat().st_mtime_ns for p in results.folder.glob("cache/network-*/*/network.json")} == before


@pytest.mark.slow
def test_a_damaged_network_is_trained_again_to_the_same_bytes(results, suite_file, tmp_path):
    folder = tmp_path / "five"
    shutil.copytree(results.folder, folder)
    name = load_settings(folder).suite.names[1]
    weights = next(folder.glob(f"cache/network-spectra-{name}/*/best.npy"))
    data = bytearray(weights.read_bytes())
    data[-5] ^= 1
    weights.write_bytes(bytes(data))
    for path in folder.glob("cache/errors-*.npz"):
        path.unlink()
    run(suite_file, out=folder, **SMALL)
    assert (folder / "errors.csv").read_bytes() == (results.folder / "errors.csv").read_bytes()


@pytest.mark.slow
def test_verify_derives_the_errors_of_networks_again(results):
    from gencast.pipeline.verify import verify_run

    found = verify_run(results.folder, sample=6)
    assert found.good, str(found)
