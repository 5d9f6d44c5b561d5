"""Large simulations: bounded parts, blocks that add up to the whole, light built up in a file."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.cache import write_arrays
from gencast.core.sample import load_sample
from gencast.features.table import feature_table
from gencast.pipeline import gathering, stages
from gencast.pipeline.job import make_settings
from gencast.pipeline.stages import load_labels, load_rows, row_blocks, sample_path, simulate_one, split_rows
from gencast.synthesis.simulations import simulate
from gencast.synthesis.spectra import map_array


@pytest.fixture(scope="module")
def settings():
    whole = make_settings("default", n_galaxies=300, n_trees=3)
    return replace(whole, suite=replace(whole.suite, simulations=whole.suite.simulations[:3]))


@pytest.fixture(scope="module")
def folder(settings, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scale")
    for name in settings.suite.names:
        simulate_one(settings, folder, "spectra", name)
    return folder


def test_parts_are_bounded_and_apart(settings):
    for n, sizes in {
        6500: (1000, 3500, 3500, 1500, 2000),
        200_000: (1000, 126_636, 20_000, 1500, 10_000),
    }.items():
        rows = split_rows(n, replace(settings, n_galaxies=n), "toy", "spectra")
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
def test_blocks_add_up_to_the_part(settings, folder, block):
    name = settings.suite.names[1]
    whole, sample = load_rows(folder, settings, "spectra", name, "test")
    parts = list(row_blocks(folder, settings, "spectra", name, "test", block))
    assert max(len(x) for x, _ in parts) <= block
    assert_array_equal(np.concatenate([x for x, _ in parts]), whole)
    assert_array_equal(
        load_labels(folder, settings, "spectra", name, "test", "log_age"), sample.properties["log_age"]
    )


def test_stages_do_not_depend_on_the_block(settings, folder, monkeypatch):
    noise = np.full(
        feature_table(
            load_sample(sample_path(folder, "spectra", settings.suite.names[0])).take(np.arange(2))
        ).values.shape[1],
        0.003,
    )
    survey, _ = load_rows(folder, settings, "spectra", settings.suite.names[2], "reference")

    def results():
        model = stages.train(folder, settings, "spectra", "log_mstar", settings.suite.names[0])
        return [
            gathering.consensus_of(folder, settings, "spectra", (1,), noise, survey),
            gathering.neighbours_of(folder, settings, "spectra", settings.suite.names[0], noise, survey),
            gathering.predict_parts(model, folder, settings, "spectra"),
        ]

    whole = results()

    def small(*args, block=13):
        return row_blocks(*args, block=block)

    monkeypatch.setattr(gathering, "row_blocks", small)
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
    small = simulate_one(settings, tmp_path / "a", "spectra", settings.suite.names[0])
    monkeypatch.setattr(stages, "MOST_IN_MEMORY", 100)
    assert simulate_one(settings, tmp_path / "b", "spectra", settings.suite.names[0]) == small
    one, other = (load_sample(sample_path(tmp_path / k, "spectra", settings.suite.names[0])) for k in "ab")
    assert_array_equal(one.flux, other.flux)
    assert len(list((tmp_path / "b" / "simulations" / "spectra").iterdir())) == 1
    monkeypatch.setattr(stages, "save_sample", lambda *a: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        simulate_one(settings, tmp_path / "c", "spectra", settings.suite.names[0])
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
