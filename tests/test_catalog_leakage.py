"""The catalogue through the pipeline: labels of what is left out change its own score alone."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.testing import assert_array_equal

from gencast.core.progress import Progress
from gencast.data.photometry import band_wavelengths
from gencast.pipeline.catalog import coverage_rows, galaxy_facts, score_family, simulation_families
from gencast.pipeline.configure import make_settings
from gencast.pipeline.evidence import gather_property, gather_view
from gencast.pipeline.family_pairs import consensus_apart, family_groups, find_pairs, group_pairs
from gencast.pipeline.job import find_surveys, make_simulations
from gencast.pipeline.laws import family_signals
from gencast.pipeline.settings import ModelSettings, SelectionSettings
from gencast.pipeline.surveys import noise_survey, survey_noise
from gencast.pipeline.training import make_learner
from gencast.regression.galaxy_trials import hold_galaxies

pytestmark = pytest.mark.slow

BANDS = "ugriz"
WAVE = dict(zip(BANDS, band_wavelengths().round(1).tolist()))
SLOPES = np.linspace(-1, 1, 5)
FAMILIES = "abcd"
PLAYED = (2, 3)  # the simulations of family b


def write_suite(folder, shuffled: tuple = ()):
    "Eight tables of four families; the masses of those in `shuffled` are dealt anew."
    folder.mkdir()
    entries = []
    for k, (family, part) in enumerate((f, p) for f in FAMILIES for p in range(2)):
        rng = np.random.default_rng([ord(family), part])
        mass, age = rng.normal(10, 0.5, 120), rng.normal(0.2 * part, 0.3, 120)
        light = mass[:, None] + SLOPES * age[:, None] + rng.normal(0, 0.03, (120, 5))
        mass = mass + 0.1 * FAMILIES.index(family) + (0.1 + 0.05 * part) * rng.normal(size=120)
        mass = np.random.default_rng(k).permutation(mass) if k in shuffled else mass
        table = {f"L_{b}": 10 ** light[:, i] for i, b in enumerate(BANDS)} | {"mass": 10**mass}
        pd.DataFrame({"id": np.arange(120), **table}).to_csv(folder / f"{family}{part}.csv", index=False)
        entries.append(
            {"name": f"{family}{part}", "table": f"{family}{part}.csv", "family": {"code": family}}
        )
    columns = {
        "unit": "Lsun",
        "ids": "id",
        "bands": {b: {"column": f"L_{b}", "wave": WAVE[b]} for b in BANDS},
    }
    columns["properties"] = {"log_mstar": {"column": "mass", "unit": "Msun"}}
    suite = {"name": "four", "about": "families", "tables": {"columns": columns}, "simulations": entries}
    (folder / "four.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    return folder


def gathered(folder):
    "The evidence of a suite, from its files, and what its galaxies are sorted by."
    settings, progress = make_settings(str(folder / "four.yaml"), True, n_trees=5), Progress(1, False)
    (view, survey), *_ = find_surveys(settings).items()
    given = noise_survey(settings.suite, view, survey, settings.observed)
    simulations = make_simulations(settings, folder / "run", view, given, progress)
    shared = gather_view(settings.suite, simulations, survey, given, settings.properties, progress)
    learner = make_learner(settings.part(ModelSettings), survey_noise(shared.observed))
    selection = replace(settings.part(SelectionSettings), n_features=3, n_clusters=2)
    c = gather_property(shared, "log_mstar", selection, learner, progress)
    return c, galaxy_facts(simulations, progress)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    "The evidence with true labels, and with those of one simulation of family b shuffled in its file."
    place = tmp_path_factory.mktemp("leak")
    return gathered(write_suite(place / "true")), gathered(write_suite(place / "shuffled", (2,)))


def test_shuffled_labels_change_nothing_but_their_own_score(both):
    tables = []
    for c, facts in both:
        groups = family_groups(simulation_families(c))
        assert groups[1] == PLAYED
        tables.append(score_family(c, PLAYED, groups, facts))
    before, after = tables
    for name in ("chosen", "value", "width_68", "width_90", "colour"):
        assert_array_equal(before[name], after[name])
    own = np.arange(len(before)) < len(before) // 2  # of the simulation itself; then comes its sibling
    assert_array_equal(before.miss[~own], after.miss[~own])
    assert before.inside_90[own].mean() - 0.2 > after.inside_90[own].mean()


@pytest.mark.parametrize("other", [0, 4, 6])
def test_values_and_signals_of_other_galaxies_stay_with_the_family_left_out(both, other):
    kept = [hold_galaxies(c.edge, other, simulation_families(c), also=PLAYED)[0] for c, _ in both]
    for name in kept[0].values:
        assert_array_equal(kept[0].values[name], kept[1].values[name])
    for name in kept[0].signals:
        assert_array_equal(kept[0].signals[name], kept[1].signals[name])
    assert_array_equal(kept[0].truth, kept[1].truth)
    used = [hold_galaxies(c.edge, other, simulation_families(c))[0] for c, _ in both]
    assert not np.array_equal(used[0].values["consensus"], used[1].values["consensus"]), "there it takes part"


def test_two_families_apart_know_nothing_of_either(both):
    "The consensus for pairs of families, of which each is left out for the other's galaxies."
    found, progress = [], Progress(1, False)
    for c, facts in both:
        shared = c.shared
        sizes, noise = [len(f["mass"]) for f in facts], np.full(shared.features.values.shape[1], 0.02)
        known = (shared.simulations, ("log_mstar",), shared.kin, sizes, noise, True, progress)
        found.append(find_pairs(*known))
    edges = np.concatenate([[0], np.cumsum(sizes)])
    assert len(found[0]) == 6
    for pair, true in found[0].items():
        if not set(PLAYED) <= set(pair):
            continue
        for key in ("predicted", "cautious"):
            for j in pair:
                rows = slice(edges[j], edges[j + 1])
                assert np.isfinite(true[key][:, rows]).all()
                assert_array_equal(true[key][:, rows], found[1][pair][key][:, rows], f"{pair} {key} {j}")
            assert np.isnan(
                np.delete(true[key][0], np.r_[tuple(np.s_[edges[j] : edges[j + 1]] for j in pair)])
            ).all()
    away = found[0][0, 1, 4, 5], found[1][0, 1, 4, 5]
    assert not np.array_equal(*(a["predicted"][:, : edges[1]] for a in away)), "in this pair it takes part"


def test_pairs_are_needed_of_families_of_several_simulations_alone():
    assert group_pairs(np.array(list("aabc"))) == [(0, 1, 2), (0, 1, 3)]
    nine = np.array(list("aabcdefghi"))
    assert len(group_pairs(nine)) == 8 and group_pairs(np.arange(30)) == []


def test_without_the_pairs_there_is_no_coverage(both):
    (c, facts), _ = both
    missing = replace(c.edge, consensus={h: v for h, v in c.edge.consensus.items() if len(h) < 4})
    assert len(coverage_rows(c, facts, Progress(1, False))) > 5
    assert len(coverage_rows(replace(c, edge=missing), facts, Progress(1, False))) == 0


def test_a_family_apart_is_blank_and_of_two_that_stay_none_chooses_a_penalty(both):
    (c, facts), simulations = both[0], both[0][0].shared.simulations
    noise = np.full(c.shared.features.values.shape[1], 0.02)
    whole = consensus_apart(simulations, ("log_mstar",), PLAYED, tuple(c.shared.kin), noise, False)
    edges = np.concatenate([[0], np.cumsum([len(f["mass"]) for f in facts])])
    for values in whole.values():
        assert np.isnan(values[:, edges[2] : edges[4]]).all()
        assert np.isfinite(np.delete(values[0], np.s_[edges[2] : edges[4]])).all()
    two = ("a", "a", "b", "b", "a", "a", "d", "d")  # without b and the target's family one family stays
    found = consensus_apart(simulations, ("log_mstar",), PLAYED, two, noise, False)
    stay = np.r_[edges[0] : edges[2], edges[4] : edges[6]]
    assert_array_equal(found["predicted"][:, stay], found["cautious"][:, stay])


def test_distances_with_a_family_left_out_know_none_of_its_labels(both):
    "Features for them are chosen without the whole family, not without one of its simulations alone."
    sibling = PLAYED[1]  # its own labels are the same in both
    versions = [family_signals(c, "clustered")["code"][sibling] for c, _ in both]
    assert_array_equal(*versions)
    assert np.isfinite(versions[0][[0, 1, 4, 5, 6, 7]]).all() and np.isnan(versions[0][2, 3])
    columns = [
        [c.table.signals.index(s) for s in ("mean_euclidean", "clustered", "nearest")] for c, _ in both
    ]
    assert_array_equal(*(c.by_family["code"][sibling][..., k] for (c, _), k in zip(both, columns)))
    alone = [c.distances[sibling]["clustered"] for c, _ in both]
    assert not np.array_equal(*alone), "without the sibling alone, the choice follows the shuffled labels"
