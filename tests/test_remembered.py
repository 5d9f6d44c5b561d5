"""What a stage takes is what its remembered result depends on: other values leave it untouched."""

import shutil
from dataclasses import fields, replace
from inspect import signature

import numpy as np
import pytest

from gencast.core.base import InputError
from gencast.core.cache import call_key, code_key, imported_modules, read_arrays
from gencast.pipeline import settings as parts_of_settings
from gencast.pipeline.configure import make_settings
from gencast.pipeline.consensus import basis_without, consensus_of, neighbours_of
from gencast.pipeline.distances import measure_distances, survey_distances
from gencast.pipeline.job import run
from gencast.pipeline.selection import ranking_of, select_features
from gencast.pipeline.settings import ModelSettings, Settings, SimulationSettings
from gencast.pipeline.simulate import make_galaxies, simulation_key
from gencast.pipeline.training import Learner, fit_source, make_learner
from gencast.regression.evidence import baselines_of

TINY = {
    "quick": True,
    "n_galaxies": 120,
    "n_ranking_trees": 15,
    "views": ("spectra",),
    "observed": False,
    "notebooks": False,
    "progress": False,
    "jobs": 1,
}
STAGES = (
    make_galaxies,
    basis_without,
    consensus_of,
    neighbours_of,
    ranking_of,
    select_features,
    measure_distances,
    survey_distances,
    fit_source,
    baselines_of,
)


@pytest.fixture(scope="module")
def suite_file(some_universes):
    return some_universes("five", 4, 5)


@pytest.fixture(scope="module")
def whole(suite_file, tmp_path_factory):
    "A small run whose simulated spectra are clean, so that they do not depend on the survey."
    return run(suite_file, out=tmp_path_factory.mktemp("whole") / "five", **TINY).folder


def stamps(folder) -> dict:  # (stage, rest of the name) -> when it was written
    files = [*folder.glob("cache/*.npz"), *folder.glob("simulations/*/*/sample.json")]
    names = {f: ("simulations", f.parent.name) for f in files if f.suffix == ".json"}
    return {names.get(f) or tuple(f.stem.split("-", 1)): f.stat().st_mtime_ns for f in files}


MODELS = {"model", "errors", "sdss_spectra", "baselines", "trials"}
CHOICE = {"features", "distances", "baselines"}
SURVEY = {"consensus", "neighbours", "distances", "sdss_spectra", "baselines"}
EVERYTHING = {"simulations", "ranking", "basis", "consensus", "neighbours"} | MODELS | CHOICE


@pytest.mark.parametrize(
    "change, remade",
    [
        ({"law": "ridge"}, set()),
        ({"distance": "nearest"}, set()),
        ({"n_trees": 31}, MODELS),
        ({"model": "extra_trees"}, MODELS),
        ({"n_features": 40}, CHOICE),
        ({"n_clusters": 8}, CHOICE),
        ({"n_ranking_trees": 20}, CHOICE),
        ({"ebv": 0.05}, SURVEY),
        ({"snr": 5.0}, set()),
        ({"properties": ("log_mstar", "a_v")}, {"consensus", "neighbours", "baselines", "trials"}),
        ({"seed": 43}, EVERYTHING),
    ],
    ids=lambda x: "-".join(map(str, x)) if isinstance(x, dict) else "",
)
def test_only_what_takes_a_value_is_made_again(whole, suite_file, tmp_path, change, remade):
    """Files of the first run that another run with one change has written again. (New files, of other trees
    or other properties, do not count.)
    """
    folder = tmp_path / "five"
    shutil.copytree(whole, folder)
    before = stamps(folder)
    run(suite_file, out=folder, **TINY | change)
    after = stamps(folder)
    written = {stage for (stage, name), stamp in before.items() if after[stage, name] != stamp}
    assert written == remade
    if change == {"ebv": 0.05}:  # of the distances, only those of the survey
        changed = {
            name for (stage, name), t in before.items() if stage == "distances" and after[stage, name] != t
        }
        assert changed == {"spectra-log_mstar-sdss_spectra"}


def test_a_moved_folder_is_still_remembered(whole, suite_file, tmp_path):
    folder = tmp_path / "elsewhere" / "five"
    shutil.copytree(whole, folder)
    before = stamps(folder)
    run(suite_file, out=folder, **TINY)
    assert stamps(folder) == before


def test_no_remembered_stage_takes_all_settings():
    kinds = [getattr(parts_of_settings, n) for n in dir(parts_of_settings) if n.endswith("Settings")]
    assert Settings in kinds and len(kinds) == 6
    for stage in STAGES:
        for parameter in signature(stage).parameters.values():
            assert parameter.annotation not in kinds and parameter.name != "settings", (stage, parameter)


def test_the_parts_are_the_whole():
    settings = make_settings("default")
    found = [f.name for kind in Settings.__bases__ for f in fields(kind)]
    assert sorted(found) == sorted(f.name for f in fields(Settings)) and len(set(found)) == len(found)
    assert all(vars(settings.part(k)).items() <= vars(settings).items() for k in Settings.__bases__)


def test_a_recipe_is_its_own():
    "The key of a simulation follows its recipe and its grid, not those of others."
    simulated = make_settings("default").part(SimulationSettings)
    suite, name = simulated.suite, simulated.suite.names[1]

    def key(**changes):
        return simulation_key(replace(simulated, suite=replace(suite, **changes)), "spectra", name, None)

    same, (first, second, *others) = key(), suite.simulations
    assert key(simulations=(second,)) == same
    assert key(simulations=(first | {"ssp": "bpass"}, second, *others)) == same
    assert key(photometry=suite.photometry | {"pixels": 50}) == same
    assert key(spectra=suite.spectra | {"pixels": 50}) != same
    assert key(redshift=suite.redshift + 0.01) != same
    assert key(simulations=(first, second | {"dust": second["dust"] | {"a_v": 0.123}}, *others)) != same


def test_a_forest_takes_no_noise_and_a_network_no_trees():
    noise = np.full(3, 0.01)

    def key(noise=noise, **changes):
        return call_key(fit_source, make_learner(ModelSettings(**changes), noise))

    assert key() == key(noise=2 * noise) != key(n_trees=5)
    assert key(model="cnn") == key(model="cnn", n_trees=5) != key(noise=2 * noise, model="cnn")
    assert key(model="cnn", properties=("log_mstar", "a_v")) != key(model="cnn")
    assert call_key(fit_source, Learner("boosted")) != call_key(fit_source, Learner("random_forest"))


def test_code_follows_imports(tmp_path, monkeypatch):
    """A change in a module that another one imports changes the key of both; a change elsewhere does not; a
    name that is no module is refused.
    """
    import gencast.core.cache as cache

    root = tmp_path / "gencast"
    for name, text in {
        "core/low.py": "x = 1",
        "core/aside.py": "x = 2",
        "data/middle.py": "from ..core.low import x",
        "data/lazy.py": "def f():\n    from gencast.core import low",
        "data/top.py": "import os\nfrom .middle import x",
        "data/face.py": "from gencast.core import x",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setattr(cache, "package_folder", lambda: root)

    def keys():
        for function in (cache.direct_imports, cache.imported_modules, cache.code_key):
            function.cache_clear()
        return {
            n: cache.code_key(f"gencast.{n}") for n in ("core.aside", "data.top", "data.lazy", "data.face")
        }

    try:
        before = keys()
        assert imported_modules("gencast.data.top") == (
            "gencast.core.low",
            "gencast.data.middle",
            "gencast.data.top",
        )
        assert set(imported_modules("gencast.data.face")) == {
            "gencast.core.aside",
            "gencast.core.low",
            "gencast.data.face",
        }, "of a name in a wing's face we cannot tell the module, so all count"
        (root / "core/low.py").write_text("x = 3")
        after = keys()
        assert {n for n in before if before[n] != after[n]} == {"data.top", "data.lazy", "data.face"}
        with pytest.raises(InputError, match="no module"):
            code_key("gencast.data.nothing")
    finally:
        monkeypatch.undo()
        for function in (cache.direct_imports, cache.imported_modules, cache.code_key):
            function.cache_clear()


def test_stages_follow_only_what_they_use():
    "No law, report or figure is in the code of a stage; the code of a simulation is in all of its stages."
    for stage in STAGES:
        reached = imported_modules(stage.__module__)
        wings = {m.split(".")[1] for m in reached}
        assert not wings & {"figures", "report", "cli", "site"}, stage
        assert "gencast.pipeline.job" not in reached and "gencast.regression.laws" not in reached, stage
    assert "gencast.synthesis.dust" in imported_modules(make_galaxies.__module__)


def test_keys_tell_kinds_apart():
    def key(*values):
        return call_key(fit_source, *values)

    values = [
        1,
        1.0,
        "1",
        True,
        None,
        (1,),
        [1, 2],
        ((1,), 2),
        {"a": 1},
        {1: 1},
        b"1",
        slice(0, 1),
        np.ones(1),
    ]
    assert len({key(v) for v in values}) == len(values)
    assert key([1, 2]) == key((1, 2)) and key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
    assert key(np.float64(0.1)) == key(0.1) and key(np.ones(2)) != key(np.ones(2, np.float32))
    for bad in (object(), {1, 2}, lambda: 0):
        with pytest.raises(TypeError, match="a key cannot be made from"):
            key(bad)


def test_what_is_stored_is_what_the_stage_returns(whole):
    stored = read_arrays(next(whole.glob("cache/features-spectra-log_mstar-all.npz")))
    assert set(stored) == {"key", "importance", "chosen", "cluster", "representatives", "weights"}
    assert stored["importance"].ndim == 1 and len(stored["chosen"]) == len(stored["cluster"]) == 50
