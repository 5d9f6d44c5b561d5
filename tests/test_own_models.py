"A run with the user's own estimator: the whole job, what is trained again, what is refused."

import json
import os
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from joblib import Parallel, delayed

import gencast as gc
from gencast.core.base import InputError
from gencast.data.photometry import band_wavelengths
from gencast.models.factories import load_factory
from gencast.models.own_estimators import OwnModel
from gencast.pipeline.configure import load_settings, make_settings
from gencast.pipeline.observed import forecast, read_observed

QUICK = {"quick": True, "notebooks": False, "progress": False, "jobs": 1, "n_galaxies": 120}
CODE = """
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from own_test_layers import STRENGTH


def ridge():
    return make_pipeline(StandardScaler(), Ridge(STRENGTH))


class Halves:
    "No scikit-learn, no seed, no parameters: labels of the training galaxies, and their mean."

    def fit(self, X, y):
        self.mean = y.mean()

    def predict(self, X):
        return self.mean + 0.1 * X[:, :1]


SHARED = Ridge()


def shared():
    return SHARED


def late():
    raise OSError("the disk with the weights is not there")
"""


def galaxies(k: int, n: int = 120) -> pd.DataFrame:
    "A made-up simulation in five bands."
    rng = np.random.default_rng(k)
    mass, color = rng.normal(10, 0.5, n), rng.normal(0, 0.2 + 0.02 * k, n)
    bands = {
        b: 10 ** (mass - 1 + 0.02 * k + color * (i - 2) / 2 + 0.01 * rng.normal(size=n))
        for i, b in enumerate("ugriz")
    }
    return pd.DataFrame({"id": np.arange(n), **bands, "mass": 10**mass})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "Six tables, a survey, a suite file, and a module with estimators."
    folder = tmp_path_factory.mktemp("own_models")
    waves = dict(zip("ugriz", band_wavelengths().round(1).tolist()))
    columns = {
        "unit": "Lsun",
        "ids": "id",
        "bands": {b: {"column": b, "wave": w} for b, w in waves.items()},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    names = [f"toy{k}" for k in range(6)]
    for k, name in enumerate([*names, "sky"]):
        galaxies(k).to_csv(folder / f"{name}.csv", index=False)
    suite = {
        "name": "toys",
        "tables": {"columns": columns},
        "simulations": [{"name": n, "table": f"{n}.csv"} for n in names],
        "survey": {"name": "sky", "table": "sky.csv"},
    }
    (folder / "toys.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    (folder / "own_test_models.py").write_text(CODE)
    (folder / "own_test_layers.py").write_text("STRENGTH = 1.0\n")
    return folder


@pytest.fixture
def here(folder, monkeypatch):
    "The folder as the current one, from which modules are imported."
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(folder)])
    monkeypatch.chdir(folder)
    return folder


def tables_of(folder) -> dict:
    return {p.name: p.read_bytes() for p in sorted(folder.glob("*.csv"))}


@pytest.fixture(scope="module")
def ridge_run(folder):
    "A run with a Pipeline of one's own."
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return gc.run("toys.yaml", out="ridge", model="own_test_models:ridge", **QUICK)


def test_a_pipeline_without_spread_runs_the_whole_job(ridge_run, here):
    assert set(ridge_run.errors.model) == {"own_test_models:ridge"}
    assert ridge_run.errors.rmse.max() < 0.5
    forecasts = ridge_run.forecasts[ridge_run.forecasts.kind == "photometry"]
    assert len(forecasts) == 6 and (forecasts.rmse > 0).all()
    spread = ridge_run.signals[ridge_run.signals.signal == "spread"].value
    assert spread.nunique() == 1, "no spread is the same spread for all pairs"
    laws = ridge_run.scores[ridge_run.scores.target == "all"]
    assert np.isfinite(laws.mae_dex).all()
    recorded = json.loads((here / "ridge" / "run.json").read_text())["own_model"]
    assert list(recorded["files"]) == ["own_test_layers", "own_test_models"]
    assert "'alpha': 1.0" in recorded["estimator"] and recorded["packages"]["sklearn"]


def test_two_processes_and_a_function_give_the_same_tables(ridge_run, here):
    import importlib

    sys.path.insert(0, str(here))
    make = importlib.import_module("own_test_models").ridge
    gc.run("toys.yaml", out="again", model=make, **(QUICK | {"jobs": 2}))
    assert tables_of(here / "ridge") == tables_of(here / "again")


def test_verify_runs_the_code_only_where_it_is_named(ridge_run, here, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers stay where they began
    Parallel(2)(delayed(os.getcwd)() for _ in range(4))
    monkeypatch.chdir(here)
    code, said = command("verify", "ridge", "--sample", 4)
    assert code == 0 and "not tried: the model is code" in said, said
    code, said = command("verify", "ridge", "--sample", 4, "--model", "own_test_models:ridge")
    assert code == 0 and "own model" in said and "not tried" not in said, said


def test_forecast_trains_again_where_the_code_is_named_and_unchanged(ridge_run, here, command):
    settings = load_settings("ridge")
    columns = here / "toys.yaml"
    mapping = yaml.safe_load(columns.read_text())["tables"]["columns"]
    (here / "map.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    sample = read_observed(settings, ["sky.csv"], "map.yaml")
    with pytest.raises(InputError, match="somebody's code; if you trust it, name it again"):
        forecast("ridge", sample, progress=False)
    table, _ = forecast("ridge", sample, jobs=1, progress=False, model="own_test_models:ridge")
    known = ridge_run.forecasts[ridge_run.forecasts.kind == "photometry"]
    np.testing.assert_allclose(table.rmse, known.rmse, rtol=1e-6)


def test_changed_code_is_trained_again_and_noticed(ridge_run, here, command):
    layers = here / "own_test_layers.py"
    before = load_factory("own_test_models:ridge")
    layers.write_text("STRENGTH = 1000.0\n")
    try:
        assert load_factory("own_test_models:ridge") != before
        with pytest.raises(InputError, match="its files are not those with which this run began"):
            before.make()
        changed = gc.run("toys.yaml", out="changed", model="own_test_models:ridge", **QUICK)
        assert not np.allclose(changed.errors.rmse, ridge_run.errors.rmse)
        code, said = command("verify", "ridge", "--sample", 4, "--model", "own_test_models:ridge")
        assert code == 1 and "own_test_layers is not as it was" in said, said
    finally:
        layers.write_text("STRENGTH = 1.0\n")
    assert load_factory("own_test_models:ridge") == before


def test_any_class_does_and_histories_are_learned_bin_by_bin(here):
    rng = np.random.default_rng(0)
    X, shares = rng.normal(size=(90, 4)), rng.dirichlet(np.ones(3), 90)
    one = OwnModel(load_factory("own_test_models:Halves"), 1).fit(X, shares[:, 0])
    mean, spread = one.predict(X, return_spread=True)
    assert mean.shape == (90,) and not spread.any()
    several = OwnModel(load_factory("sklearn.svm:SVR"), 1).fit(X, shares)
    assert len(several.members_) == 3
    np.testing.assert_allclose(several.predict(X).sum(axis=1), 1)


def test_seeds_reach_the_steps_of_a_pipeline_and_global_generators_return(here):
    (here / "own_test_seeds.py").write_text(
        "import numpy as np\nfrom sklearn.ensemble import ExtraTreesRegressor\n"
        "from sklearn.pipeline import make_pipeline\nfrom sklearn.preprocessing import StandardScaler\n\n\n"
        "def forest():\n    return make_pipeline(StandardScaler(), ExtraTreesRegressor(5))\n\n\n"
        "class Dice:\n    def fit(self, X, y):\n        self.value = np.random.normal()\n\n"
        "    def predict(self, X):\n        return np.full(len(X), self.value)\n"
    )
    X = np.random.default_rng(0).normal(size=(80, 3))
    for name in ("forest", "Dice"):
        factory = load_factory(f"own_test_seeds:{name}")
        np.random.seed(7)
        first, second, other = (OwnModel(factory, s).fit(X, X[:, 0]).predict(X + 0.5) for s in (1, 1, 2))
        assert np.random.normal() == np.random.RandomState(7).normal()
        assert (first == second).all() and not (first == other).all()


REFUSED = {
    "own_test_models:nobody": "has no attribute 'nobody'",
    "no_such_file:make": "No module named 'no_such_file'",
    "own_test_models:STRENGTH": "is a float, not a function or class",
    "own_test_models:shared": "returns the same estimator at every call",
    "own_test_models:late": "OSError: the disk with the weights is not there",
    "sklearn.preprocessing:StandardScaler": "returns a StandardScaler without predict",
    "os:system('ls')": "the arguments must be named",
    "builtins:print(end='x')": "only a class with fit and predict may be given arguments",
    "sklearn.linear_model:Ridge(alpha=-1.0)": "cannot be fitted to",
    "sklearn.neighbors:KNeighborsRegressor(n_neighbors=500)": "cannot be fitted to",
    "forest": "choose from random_forest",
}


@pytest.mark.parametrize("model", REFUSED)
def test_models_that_are_refused_before_any_work(here, model, command):
    code, said = command("run", "toys.yaml", "-o", "refused", "-n", 120, "--model", model)
    assert code == 2 and REFUSED[model] in said
    assert said.strip().count("\n") == 0, "one sentence"
    assert not (here / "refused").exists()


def test_objects_that_no_other_process_could_find(here):
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    for model, why in ((lambda: Ridge(), "no import path"), (make_pipeline(Ridge()), "are objects")):
        with pytest.raises(InputError, match=why):
            gc.run("toys.yaml", out="refused", model=model, **QUICK)


def test_an_unfitted_estimator_is_named_by_its_class_and_parameters(here):
    from sklearn.linear_model import Ridge

    settings = make_settings("toys.yaml", model=Ridge(alpha=2.0))
    assert settings.model == "sklearn.linear_model._ridge:Ridge(alpha=2.0)"


def test_retry_asks_for_the_name(here, ridge_run, monkeypatch):
    from gencast.core.failures import Failure, write_failures
    from gencast.pipeline.record import settings_record

    failure = Failure("notebook", "summary", "notebooks", "no kernel")
    write_failures(here / "ridge", [failure], settings_record(load_settings("ridge")))
    with pytest.raises(InputError, match="name it again"):
        gc.run(out="ridge", retry_failed=True, **{k: v for k, v in QUICK.items() if k != "quick"})
    write_failures(here / "ridge", [], {})
