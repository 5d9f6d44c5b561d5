"""Large simulations: bounded parts, blocks that add up to the whole, light built up in a file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.cache import write_arrays
from gencast.core.sample import load_sample
from gencast.pipeline import consensus, training
from gencast.pipeline import simulate as simulate_module
from gencast.pipeline.configure import make_settings
from gencast.pipeline.parts import (
    Simulations,
    load_labels,
    load_rows,
    open_simulations,
    row_blocks,
    sample_path,
    split_rows,
)
from gencast.pipeline.settings import SimulationSettings, selection_size
from gencast.pipeline.simulate import simulate_one
from gencast.synthesis.simulations import simulate
from gencast.synthesis.spectra import map_array


@pytest.fixture(scope="module")
def settings():
    whole = make_settings("default", n_galaxies=300, n_trees=3)
    return replace(whole, suite=replace(whole.suite, simulations=whole.suite.simulations[:3]))


@pytest.fixture(scope="module")
def simulations(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    for name in settings.suite.names:
        simulate_one(settings.part(SimulationSettings), folder, "spectra", name)
    return open_simulations(folder, settings, "spectra")


def test_parts_are_bounded_and_apart():
    for n, sizes in {
        6500: (1000, 3500, 3500, 1500, 2000),
        200_000: (1000, 126_636, 20_000, 1500, 10_000),
    }.items():
        cut = Simulations(Path("a"), Path("b"), "spectra", ("toy",), ("",), 42, selection_size(n))
        rows = split_rows(n, cut, "toy")
        assert tuple(map(len, rows.values())) == sizes and list(rows) == [
            "selection",
            "train",
            "model",
            "reference",
            "test",
        ]
        together = np.concatenate([rows["selection"], rows["train"], rows["test"]])
        assert len(np.unique(together)) == len(together) <= n and together.max() < n
        for part in ("model", "reference"):
            assert np.isin(rows[part], rows["train"]).all()


@pytest.mark.parametrize("block", [1, 7, 10_000])
def test_blocks_add_up_to_the_part(simulations, block):
    name = simulations.names[1]
    whole, sample = load_rows(simulations, name, "test")
    parts = list(row_blocks(simulations, name, "test", block))
    assert max(len(x) for x, _ in parts) <= block
    assert_array_equal(np.concatenate([x for x, _ in parts]), whole)
    assert_array_equal(load_labels(simulations, name, "test", "log_age"), sample.properties["log_age"])


def test_stages_do_not_depend_on_the_block(simulations, monkeypatch):
    survey, _ = load_rows(simulations, simulations.names[2], "reference")
    noise, properties = np.full(survey.shape[1], 0.003), ("log_mstar",)

    def results():
        source = simulations.names[0]
        model = training.train(simulations, source, "log_mstar", n_trees=3)
        return [
            consensus.consensus_of(simulations, properties, (1,), noise, survey),
            consensus.neighbours_of(simulations, source, properties, noise, survey),
            training.predict_parts(model, simulations),
        ]

    whole = results()

    def small(*args, block=13):
        return row_blocks(*args, block=block)

    monkeypatch.setattr(consensus, "row_blocks", small)
    monkeypatch.setattr(training, "row_blocks", small)
    for one, other in zip(whole, results()):
        assert one.keys() == other.keys()
        for key in one:
            assert_allclose(one[key], other[key], rtol=1e-4, atol=2e-5, err_msg=key)


@pytest.mark.parametrize("view", ["spectra", "photometry"])
def test_light_in_a_file_is_the_same_light(settings, tmp_path, view):
    recipe = settings.suite.simulations[0]
    here = simulate(recipe, settings.suite, 5, 1203, view)
    there = simulate(recipe, settings.suite, 5, 1203, view, scratch=tmp_path / "light.npy")
    assert isinstance(there.flux, np.memmap)
    assert_array_equal(here.flux, there.flux)
    for key, value in here.properties.items():
        assert_array_equal(value, there.properties[key])


def test_many_galaxies_leave_no_scratch(settings, tmp_path, monkeypatch):
    simulated = settings.part(SimulationSettings)
    small = simulate_one(simulated, tmp_path / "a", "spectra", settings.suite.names[0])
    monkeypatch.setattr(simulate_module, "MOST_IN_MEMORY", 100)
    assert simulate_one(simulated, tmp_path / "b", "spectra", settings.suite.names[0]) == small
    one, other = (load_sample(sample_path(tmp_path / k, "spectra", settings.suite.names[0])) for k in "ab")
    assert_array_equal(one.flux, other.flux)
    assert len(list((tmp_path / "b" / "simulations" / "spectra").iterdir())) == 1
    monkeypatch.setattr(simulate_module, "save_sample", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        simulate_one(simulated, tmp_path / "c", "spectra", settings.suite.names[0])
    assert not list((tmp_path / "c" / "simulations" / "spectra").iterdir())


def test_no_room_is_noticed_before_the_work(tmp_path):
    with pytest.raises(OSError):
        map_array(tmp_path / "light.npy", (2**34, 2**20))  # 72 PB


def test_a_step_is_stored_as_it_is_and_never_pickled(tmp_path):
    arrays = {"x": np.arange(3.0), "name": np.array("a")}
    write_arrays(tmp_path / "step.npz", arrays)
    with np.load(tmp_path / "step.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(arrays)  # NumPy before 2.2 stored an argument as well
    with pytest.raises(TypeError, match="objects would have to be pickled"):
        write_arrays(tmp_path / "other.npz", {"objects": np.array([{}])})
    assert not (tmp_path / "other.npz").exists()
