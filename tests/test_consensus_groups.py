"""The consensus of every group, from sums that are taken once, against a plain fit to those that are left."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.progress import Progress
from gencast.core.sample import load_sample, save_sample
from gencast.pipeline import consensus_groups
from gencast.pipeline.configure import make_settings
from gencast.pipeline.consensus import noisy_basis
from gencast.pipeline.consensus_groups import find_consensus, group_blocks, held_tag
from gencast.pipeline.parts import load_rows, open_simulations, sample_path
from gencast.pipeline.settings import SimulationSettings
from gencast.pipeline.simulate import simulate_one
from gencast.regression.consensus import (
    Basis,
    Consensus,
    basis_of,
    choose_penalties,
    join_scatters,
    leave_out,
    measure_scatter,
    noise_penalty,
    normal_equations,
    scatter_of,
)

FAMILIES = ("a", "a", "b", "b", "c")
HELD = [(), (0,), (4,), (0, 1), (2, 3)]
HARD = ((), (0, 1), (2, 3))
NOISE = 0.003


def plain_basis(sets: list, n_components: int = 120) -> Basis:
    "Principal components by a singular value decomposition of the galaxies themselves."
    values = np.concatenate(sets).astype(float)
    mean = values.mean(axis=0)
    _, size, rows = np.linalg.svd(values - mean, full_matrices=False)
    variance = size**2 / len(values)
    rows = rows[: min(n_components, len(values) - 1)]
    rows = rows * np.sign(rows[np.arange(len(rows)), np.abs(rows).argmax(axis=1)])[:, None]
    return Basis(mean, rows, np.sqrt(variance[:6]))


def train_of(simulations, i: int) -> tuple:
    "Features and labels of a simulation's training galaxies."
    x, sample = load_rows(simulations, simulations.names[i], "train")
    return x, sample.properties["log_mstar"][:, None]


def plain_consensus(simulations, held: tuple, survey, noise_free: bool) -> dict:
    "The consensus of the simulations that are left, read and fitted for this group alone."
    names, noise = simulations.names, np.full(survey.shape[1], NOISE)
    use = [i for i in range(len(names)) if i not in held]
    basis = plain_basis([load_rows(simulations, names[i], "reference")[0][:300] for i in use])
    basis = noisy_basis(basis, noise) if noise_free else basis
    parts = [normal_equations(basis, *train_of(simulations, i)) for i in use]
    gram, moment, square = map(np.array, zip(*parts))
    found = Consensus(basis, gram, moment, noise_penalty(basis, noise), square)
    tests = [basis.expand(load_rows(simulations, name, "test")[0]) for name in names]
    left = [[use.index(j)] if j in use else [] for j in range(len(names))]
    of_targets = [found.predict(x, *out) for x, out in zip(tests, left)]
    known = {"predicted": np.concatenate(of_targets).T}
    known["survey"] = found.predict(basis.expand(survey if not held else survey[:0])).T
    if held in HARD:
        kin = np.array(FAMILIES)[use]
        cautious = choose_penalties(found, noise, kin, (0,))
        scatters = [scatter_of(x, len(basis.components)) for x in tests]
        each = []
        for j, (x, scatter, out) in enumerate(zip(tests, scatters, left)):
            mine = kin != FAMILIES[j]  # penalties are chosen without the target's family, where two are left
            rest = [use[k] for k in np.flatnonzero(mine)]
            chosen = cautious.chosen
            if len(set(kin[mine])) > 1:
                parts = [normal_equations(basis, *train_of(simulations, i)) for i in rest]
                gram, moment, square = map(np.array, zip(*parts))
                fewer = Consensus(basis, gram, moment, found.penalty, square)
                chosen = choose_penalties(fewer, noise, kin[mine], (0,)).chosen
            each.append(x @ replace(cautious, chosen=chosen).coefficients(scatter, *out))
        known |= {"cautious": np.concatenate(each).T, "chosen": np.array(cautious.chosen)}
    return known


@pytest.fixture(scope="module")
def simulations(tmp_path_factory):
    whole = make_settings("default", n_galaxies=200)
    settings = replace(whole, suite=replace(whole.suite, simulations=whole.suite.simulations[::4]))
    folder = tmp_path_factory.mktemp("groups")
    for name in settings.suite.names:
        simulate_one(settings.part(SimulationSettings), folder, "spectra", name)
    return open_simulations(folder, settings, "spectra")


@pytest.fixture(scope="module")
def survey(simulations):
    return load_rows(simulations, simulations.names[0], "selection")[0]


def groups(simulations, survey, cache, noise_free=False, jobs=1):
    noise, progress = np.full(survey.shape[1], NOISE), Progress(jobs, show=False)
    options = (noise, survey, noise_free, progress, FAMILIES, HARD)
    return find_consensus(replace(simulations, cache=cache), ("log_mstar",), HELD, *options)


@pytest.mark.parametrize("noise_free", [False, True])
def test_every_group_is_the_plain_fit_to_those_that_are_left(simulations, survey, tmp_path, noise_free):
    "Scores of the basis are in single precision, so predictions agree to some 1e-5 dex."
    found = groups(simulations, survey, tmp_path, noise_free)
    assert list(found) == HELD
    for held in HELD:
        known = plain_consensus(simulations, held, survey, noise_free)
        assert ("cautious" in found[held]) == (held in HARD)
        for key in known:
            if key == "chosen":
                assert_array_equal(found[held][key], known[key])
            else:
                assert_allclose(found[held][key], known[key], atol=2e-4, err_msg=f"{held} {key}")
                assert known[key].size == 0 or np.median(np.abs(found[held][key] - known[key])) < 3e-5


def test_sums_give_the_basis_of_the_galaxies_themselves():
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(30, 30)) * 0.5 ** np.arange(30)
    sets = [rng.normal(size=(n, 30)) @ mix.T + 0.3 * rng.normal(size=30) + 8 for n in (300, 200, 250, 10)]
    parts = [measure_scatter([x]) for x in sets]
    for held in ((), (1,), (0, 3)):
        own = join_scatters([parts[i] for i in held]) if held else None
        sums = join_scatters([join_scatters(parts[:2]), join_scatters(parts[2:])])
        basis = basis_of(leave_out(sums, held, own) if held else sums)
        plain = plain_basis([x for i, x in enumerate(sets) if i not in held])
        assert_allclose(basis.mean, plain.mean, rtol=1e-12)
        assert_allclose(basis.scale, plain.scale, rtol=1e-10)
        strong = slice(0, 12)  # the others are lost in rounding
        assert_allclose(basis.components[strong], plain.components[strong], atol=1e-8)


def test_labels_of_a_group_held_out_change_nothing_of_its_consensus(simulations, survey, tmp_path):
    "Neither basis nor penalties nor any prediction; those of the other groups do change."
    before = groups(simulations, survey, tmp_path / "before")
    k, rng = 4, np.random.default_rng(1)
    path = sample_path(simulations.folder, "spectra", simulations.names[k])
    sample = load_sample(path, mmap=False)
    shuffled = sample.properties | {"log_mstar": rng.permutation(sample.properties["log_mstar"])}
    try:
        save_sample(replace(sample, properties=shuffled), path)
        after = groups(simulations, survey, tmp_path / "after")
    finally:
        save_sample(sample, path)
    for key in before[k,]:
        assert_array_equal(before[k,][key], after[k,][key])
    for held in [h for h in HELD if k not in h]:
        others = slice(0, -len(load_rows(simulations, simulations.names[k], "test")[0]))
        assert not np.array_equal(before[held]["predicted"][:, others], after[held]["predicted"][:, others])


def test_galaxies_of_a_group_held_out_change_only_what_is_said_of_them(simulations, survey, tmp_path):
    "Light ten times as strong, of other galaxies: not even the basis knows, but for rounding."
    before = groups(simulations, survey, tmp_path / "before")
    k = 4
    path = sample_path(simulations.folder, "spectra", simulations.names[k])
    sample = load_sample(path, mmap=False)
    flux = np.asarray(sample.flux)[::-1] * np.linspace(1, 10, sample.flux.shape[1], dtype=np.float32)
    try:
        save_sample(replace(sample, flux=flux), path)
        after = groups(simulations, survey, tmp_path / "after")
    finally:
        save_sample(sample, path)
    others = slice(0, -len(load_rows(simulations, simulations.names[k], "test")[0]))
    unchanged = before[k,]["predicted"][:, others], after[k,]["predicted"][:, others]
    changed = before[()]["predicted"][:, others], after[()]["predicted"][:, others]
    assert_allclose(*unchanged, atol=2e-5)
    assert np.abs(changed[0] - changed[1]).max() > 1e-2


def test_blocks_of_groups_and_processes_do_not_matter(simulations, survey, tmp_path, monkeypatch):
    whole = groups(simulations, survey, tmp_path / "whole")
    monkeypatch.setattr(consensus_groups, "AT_ONCE", 2 * len(simulations.names))
    assert list(map(len, group_blocks(HELD, len(simulations.names)))) == [2, 2, 1]
    parts = groups(simulations, survey, tmp_path / "parts", jobs=2)
    for held in HELD:
        for key, values in whole[held].items():
            assert_array_equal(values, parts[held][key])


def test_a_cut_off_consensus_goes_on_where_it_stopped(simulations, survey, tmp_path, monkeypatch):
    whole = groups(simulations, survey, tmp_path)
    lost = [
        f"{kind}-spectra-{held_tag(h, simulations.names)}.npz"
        for kind, h in (("consensus", (4,)), ("basis", ()))
    ]
    (tmp_path / lost[0]).write_bytes(b"cut off")
    (tmp_path / lost[1]).unlink()
    asked, made = [], consensus_groups.measure_groups

    def watch(simulations, properties, requests, progress):
        asked.extend(r.group.held for r in requests)
        return made(simulations, properties, requests, progress)

    monkeypatch.setattr(consensus_groups, "measure_groups", watch)
    again = groups(simulations, survey, tmp_path)
    assert asked == [(4,)]
    assert_array_equal(again[4,]["predicted"], whole[4,]["predicted"])
    groups(simulations, survey, tmp_path)
    assert asked == [(4,)]
