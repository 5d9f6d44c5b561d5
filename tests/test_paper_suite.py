"""The suite `paper`: one population of galaxies under twenty sets of assumptions."""

from pathlib import Path

import numpy as np
import yaml

from gencast.synthesis.recipes import list_suites, read_recipes
from gencast.synthesis.simulations import simulate


def test_it_is_what_its_builder_makes(load_script, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))  # it imports another builder
    made = load_script("build_paper_suite").paper_suite()
    assert yaml.safe_load(list_suites()["paper"].read_text()) == made


def test_one_population_under_twenty_sets_of_assumptions():
    suite = read_recipes("paper")
    for part in ("history", "metallicity", "mass"):
        assert len({yaml.safe_dump(s[part]) for s in suite.simulations}) == 1, part
    assert len(suite.names) == len({(s["ssp"], s["dust"]["law"]) for s in suite.simulations}) == 20
    assert {
        len({s["dust"]["law"] for s in suite.simulations if s["ssp"] == ssp})
        for ssp in {s["ssp"] for s in suite.simulations}
    } == {4}


def test_its_galaxies_are_of_one_kind_and_its_spectra_are_not():
    suite = read_recipes("paper")
    first, other = (simulate(suite.simulations[k], suite, 1, 400) for k in (0, 19))
    for name in ("log_mstar", "log_age", "log_zmet"):
        both = first.properties[name], other.properties[name]
        error = np.hypot(*(np.std(v) / np.sqrt(len(v)) for v in both))
        assert abs(np.mean(both[0]) - np.mean(both[1])) < 4 * error, name
    assert np.mean(other.properties["a_v"]) > 2 * np.mean(first.properties["a_v"])
    assert not np.array_equal(first.properties["log_mstar"], other.properties["log_mstar"])
    assert first.meta["mass_share_beyond_library_metallicity"] < 0.02
