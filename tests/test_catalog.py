"""Values of single galaxies: intervals that hold on families held out, and files that say what they hold."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.core.sample import Sample
from gencast.pipeline.catalog import library_trials, survey_trials
from gencast.regression import evidence as toys
from gencast.regression.galaxy_errors import fit_galaxy_errors
from gencast.regression.galaxy_intervals import (
    calibrate_galaxies,
    coverage_table,
    family_reach,
    reach_with,
    score_intervals,
)
from gencast.regression.galaxy_trials import GalaxyTrial, hold_galaxies, random_trials, survey_values
from gencast.regression.trial_targets import TrialTargets
from gencast.report.catalog import (
    catalog_table,
    data_checksum,
    describe_catalog,
    run_catalog,
    write_catalog,
)

FAMILIES = np.array(["a", "a", "b", "b", "c", "c", "d", "d"])
GROUPS = [(0, 1), (2, 3), (4, 5), (6, 7)]


@pytest.fixture(scope="module")
def evidence():
    "Eight simulations of four families, with the consensus without each family and without each two."
    found, _ = toys.toy_evidence(n_sim=8, n_gal=200)
    more = {g: found.consensus[()] for g in GROUPS}
    more |= {tuple(sorted(a + b)): found.consensus[()] for a in GROUPS for b in GROUPS if a != b}
    return replace(found, consensus=found.consensus | more)


def scored(evidence, played, trials=None):
    "The intervals of one family, calibrated on the others and on trial targets."
    others = [hold_galaxies(evidence, g[0], FAMILIES, also=played)[0] for g in GROUPS if g != played]
    random = random_trials(evidence, trials, FAMILIES, played) if trials else ()
    return score_intervals(hold_galaxies(evidence, played[0], FAMILIES)[0], others, random)


@pytest.fixture(scope="module")
def trials():
    "Twelve random libraries; each third one is made of the simulations of one family."
    rng, n_trial, n_gal = np.random.default_rng(5), 12, 60
    truth = [rng.normal(10, 0.5, n_gal) for _ in range(n_trial)]
    whole = np.concatenate(truth)
    predicted = whole + 0.15 * rng.normal(size=(8, len(whole)))
    near = {
        "distance": np.ones(len(whole)),
        "label_variance": np.full((1, len(whole)), 0.01),
        "outside": np.zeros(len(whole), bool),
    }
    consensus = {h: whole + 0.1 * rng.normal(size=len(whole)) for h in ((), *GROUPS)}
    usable = {h: np.arange(n_trial) % 4 != k for k, h in enumerate(GROUPS)} | {(): np.ones(n_trial, bool)}
    names = tuple(f"random-{k:02d}" for k in range(n_trial))
    return TrialTargets(names, truth, predicted, np.full(predicted.shape, 0.1), [near] * 8, consensus, usable)


def test_labels_of_the_family_that_plays_the_survey_change_nothing_but_its_score(evidence):
    rng = np.random.default_rng(0)
    truth = [rng.permutation(t) if k in GROUPS[1] else t for k, t in enumerate(evidence.truth)]
    before, after = scored(evidence, GROUPS[1]), scored(replace(evidence, truth=truth), GROUPS[1])
    for name in ("chosen", "value", "width_68", "width_90"):
        assert_array_equal(before[name], after[name])
    assert after.inside_90.mean() < before.inside_90.mean() - 0.2
    others = [scored(e, GROUPS[2]).width_90 for e in (evidence, replace(evidence, truth=truth))]
    assert not np.array_equal(*others), "there they do calibrate"


def test_with_random_libraries_too_its_labels_change_nothing_but_its_score(evidence, trials):
    rng = np.random.default_rng(0)
    truth = [rng.permutation(t) if k in GROUPS[1] else t for k, t in enumerate(evidence.truth)]
    before = scored(evidence, GROUPS[1], trials)
    after = scored(replace(evidence, truth=truth), GROUPS[1], trials)
    for name in ("chosen", "value", "width_68", "width_90"):
        assert_array_equal(before[name], after[name])
    assert after.inside_90.mean() < before.inside_90.mean() - 0.2
    # nor do the libraries that are made of its simulations
    mixed = [t[::-1] if not trials.usable[GROUPS[1]][k] else t for k, t in enumerate(trials.truth)]
    again = scored(evidence, GROUPS[1], replace(trials, truth=mixed))
    assert_array_equal(before.width_90, again.width_90)
    other = replace(trials, truth=[t[::-1] for t in trials.truth])
    assert not np.array_equal(before.width_90, scored(evidence, GROUPS[1], other).width_90)


def test_random_libraries_make_the_interval_conformal(evidence, trials):
    families = [hold_galaxies(evidence, g[0], FAMILIES)[0] for g in GROUPS]
    random = random_trials(evidence, trials, FAMILIES)
    assert [t.family for t in random] == list(trials.names) and len(random[0].truth) == 60
    assert_array_equal(random[2].values["consensus"], trials.consensus[()][trials.rows(2)])
    few, many = calibrate_galaxies(families), calibrate_galaxies(families, random)
    assert "4 in 5" in few.sentence() and "4 families of simulations and 12 random" in many.sentence()
    assert "at least 90 %" in many.sentence() and many.n_random == 12
    assert_allclose(many.rmse["consensus"], np.mean([t.miss("consensus").std() for t in random]), rtol=0.2)


def test_random_libraries_weigh_as_much_as_the_families_where_these_suffice():
    real, made = [np.full(10, 3.0)] * 5, [np.full(7, 1.0)] * 20
    assert reach_with(real, made, 0.68) == 3 and reach_with(real, [], 0.68) == 3
    assert reach_with(real, made, 0.9) == 3 and reach_with(real, made * 5, 0.9) == 1
    assert reach_with(real, made, 0.4) == 1, "they hold half of the weight"


def test_trial_targets_that_do_not_fit_are_refused(evidence, trials):
    with pytest.raises(InputError, match=r"without simulations \(3,\) is missing"):
        random_trials(evidence, trials, held=(3,))
    history = replace(evidence, truth=[np.ones((200, 3))] * 8)
    with pytest.raises(InputError, match="history"):
        random_trials(history, trials)


def test_the_catalogue_is_made_with_the_cautious_consensus(evidence, trials):
    cautious = replace(evidence, consensus={h: c + 1 for h, c in evidence.consensus.items()})
    shared = SimpleNamespace(kin=FAMILIES)
    c = SimpleNamespace(evidence=evidence, edge=cautious, shared=shared, trials=trials)
    made = survey_trials(c)
    assert [t.family for t in made] == ["a", "b", "c", "d"]
    assert min(t.values["consensus"].mean() for t in made) > 10.5
    assert len(library_trials(c)) == 12 and len(library_trials(c, GROUPS[0])) == 9
    assert library_trials(c, (0,)) == [] and library_trials(replace_trials(c, None)) == []


def replace_trials(c, trials):
    "The same evidence with other trial targets."
    return SimpleNamespace(**{**vars(c), "trials": trials})


def test_intervals_hold_on_families_held_out(evidence):
    table = coverage_table(pd.concat([scored(evidence, g) for g in GROUPS], ignore_index=True), ("value",))
    whole = table[table.by == "all"].iloc[0]
    assert whole.coverage_68 > 0.68 and whole.coverage_90 > 0.9
    assert (table[table.by == "value"].coverage_90 > 0.85).all()
    assert (table.width_90 > table.width_68).all()


def test_a_galaxy_has_the_same_value_in_any_company(evidence):
    trials = [hold_galaxies(evidence, g[0], FAMILIES)[0] for g in GROUPS]
    calibration = calibrate_galaxies(trials)
    whole = calibration.intervals(*survey_values(evidence, FAMILIES))
    cut = slice(0, evidence.edges[-2] + 3)
    few = replace(
        evidence,
        predicted=evidence.predicted[:, cut],
        spread=evidence.spread[:, cut],
        survey_consensus=evidence.survey_consensus[:3],
        neighbours=[
            n
            | {k: n[k][cut] for k in ("distance", "outside", "coordinates")}
            | {"label_variance": n["label_variance"][:, cut]}
            for n in evidence.neighbours
        ],
    )
    assert_allclose(calibration.intervals(*survey_values(few, FAMILIES)), whole[:3])


@pytest.mark.parametrize("n_family, level, share", [(5, 0.68, 0.816), (12, 0.9, 0.975)])
def test_reach_of_many_families_is_the_conformal_quantile(n_family, level, share):
    misses = [np.abs(np.random.default_rng(k).normal(size=400)) for k in range(n_family)]
    expected = np.quantile(np.concatenate(misses), share, method="inverted_cdf")
    assert_allclose(family_reach(misses, level), expected, rtol=0.02)


def test_reach_of_few_families_is_that_of_the_widest():
    misses = [np.full(10, 0.1), np.full(10, 0.5), np.full(10, 0.3)]
    assert family_reach(misses, 0.9) == 0.5
    with pytest.raises(InputError, match="at least one family"):
        family_reach([], 0.9)


def trial(family, n=500, error=0.1, seed=0):
    "A family whose error is a signal that it has."
    rng = np.random.default_rng(seed)
    scatter, truth = error * rng.lognormal(0, 0.5, n), rng.normal(10, 1, n)
    value = truth + scatter * rng.normal(size=n)
    return GalaxyTrial(family, {"only": value}, {"gap": scatter, "other": np.full(n, 0.1)}, truth)


def test_trials_from_elsewhere_serve_as_well():
    calibration = calibrate_galaxies([trial(name, seed=k) for k, name in enumerate("abcde")])
    new = trial("new", seed=9)
    found = calibration.intervals(new.values, new.signals)
    inside = (found.lower_90 <= new.truth) & (new.truth <= found.upper_90)
    assert 0.88 < inside.mean() < 0.99
    assert np.corrcoef(found.error, new.signals["gap"])[0, 1] > 0.95
    assert fit_galaxy_errors([trial("a")], "only").weights["gap"] >= 0.25


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: calibrate_galaxies([trial("a")]), "at least 2 families"),
        (lambda: calibrate_galaxies([trial("a"), trial("a")]), "trials of 1 families"),
        (
            lambda: calibrate_galaxies([trial("a"), replace(trial("b"), signals={"gap": np.ones(500)})]),
            "differ",
        ),
        (lambda: replace(trial("a"), truth=np.full(500, np.nan)), "truth must be finite"),
        (lambda: replace(trial("a"), signals={"gap": -np.ones(500)}), "must not be negative"),
        (lambda: fit_galaxy_errors([trial("a")], "none"), "no value 'none'"),
        (lambda: score_intervals(trial("a"), [trial("a"), trial("b")]), "among the trials"),
    ],
)
def test_trials_that_do_not_fit_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_many_galaxies_take_seconds():
    calibration = calibrate_galaxies([trial(name, seed=k) for k, name in enumerate("abc")])
    many = trial("many", n=100_000)
    assert len(calibration.intervals(many.values, many.signals)) == 100_000


@pytest.fixture
def rows():
    "Two galaxies, one of them out of range, with two properties."
    columns = ("value", "error", "lower_68", "upper_68", "lower_90", "upper_90")
    table = pd.DataFrame(
        {
            "target": "field",
            "galaxy": ["in", "out"] * 2,
            "redshift": [0.1, 0.2] * 2,
            "view": "spectra",
            "property": ["log_mstar", "log_mstar", "log_zmet", "log_zmet"],
            "chosen": "both",
            "families": 5,
            "random": 0,
            "flag": ["ok", "outside"] * 2,
        }
    )
    return table.assign(**{c: [10.0 + k, np.nan, k, np.nan] for k, c in enumerate(columns)})


def test_files_say_what_they_hold_and_have_the_same_bytes(rows, tmp_path):
    table = run_catalog(rows, {"seed": 7, "suite": {"name": "default"}, "versions": {"gencast": "1"}})
    sums = write_catalog(table, tmp_path / "a")
    assert write_catalog(table, tmp_path / "b") == sums
    text = (tmp_path / "a" / "catalog.ecsv").read_text()
    assert str(tmp_path) not in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = Table.read(tmp_path / "a" / "catalog.ecsv")
    assert str(back["log_mstar_lower_90"].unit) == "dex(solMass)" and str(back["log_zmet"].unit) == "dex"
    assert back.meta["SEED"] == 7 and back.meta["NFAMILY"] == 5 and len(back.meta["ROWSUM"]) == 64
    assert all(back[name].description for name in back.colnames)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = Table.read(tmp_path / "a" / "catalog.fits")
    assert [str(v).strip() for v in read["flag"]] == ["ok", "outside"]
    assert_array_equal(np.asarray(read["log_mstar"].filled(np.nan)), np.asarray(back["log_mstar"]))
    assert {str(read[n].unit) for n in ("log_mstar", "log_mstar_error")} == {"dex(solMass)", "dex"}


RUN = {
    "seed": 7,
    "suite": {"name": "default"},
    "versions": {"gencast": "1.2", "numpy": "2.4", "astropy": "8.0"},
    "parameters": {
        "model": "forest",
        "n_galaxies": 200,
        "catalogue": "/data/me/field.fits",
        "spectra": ["/a"],
    },
    "simulations": {"one": {"spectra": {"key": "k1"}}, "two": {"spectra": {"key": "k2"}}},
    "surveys": {"field": {"checksum": "0123456789abcdef"}, "other": {"checksum": "f" * 16}},
}


def test_plain_astropy_reads_values_units_descriptions_and_provenance(rows, tmp_path):
    more = rows.assign(property=rows["property"].replace("log_zmet", "dust_slope"))
    table = run_catalog(pd.concat([rows, more[2:]], ignore_index=True), RUN)
    write_catalog(table, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = {end: Table.read(tmp_path / f"catalog.{end}") for end in ("fits", "ecsv")}
    for back in read.values():
        assert back.colnames == table.colnames and len(back) == 2
        for name in table.colnames:
            assert back[name].description == table[name].description
            unit = "" if table[name].unit is None else str(table[name].unit)
            assert ("" if back[name].unit is None else str(back[name].unit)) == unit
            number = table[name].dtype.kind == "f"
            assert not number or unit or "(dimensionless)" in back[name].description, name
            if number:
                mine = np.ma.filled(np.ma.asarray(back[name]), np.nan)
                assert_array_equal(np.asarray(mine, float), np.asarray(table[name]))
            else:
                assert [str(w) for w in back[name]] == [str(w) for w in table[name]]
        assert {k: v for k, v in back.meta.items() if k in table.meta} == dict(table.meta)
    assert table.meta["VERSIONS"] == "numpy 2.4, astropy 8.0" and table.meta["GENCAST"] == "1.2"
    assert table.meta["SETTINGS"] == '{"model": "forest", "n_galaxies": 200}', "no place of a file"
    assert table.meta["DATASUM"] == "field 0123456789abcdef" and table.meta["NSIM"] == 2


def test_provenance_is_of_the_galaxies_that_were_given(rows):
    sample = Sample("field", np.ones((2, 3)), np.arange(3.0) + 5000)
    mine, of_run = run_catalog(rows, RUN, sample).meta, run_catalog(rows, RUN).meta
    assert mine["DATASUM"] == f"field {data_checksum(sample)}" != of_run["DATASUM"]
    assert data_checksum(sample) == data_checksum(replace(sample)) != data_checksum(sample.take([0]))
    changed = RUN | {"simulations": {"one": {"spectra": {"key": "k1"}}, "two": {"spectra": {"key": "k3"}}}}
    assert run_catalog(rows, changed).meta["SIMSUM"] != of_run["SIMSUM"]


def test_a_catalogue_needs_its_columns(rows):
    with pytest.raises(InputError, match="'flag' is missing"):
        catalog_table(rows.drop(columns="flag"))
    with pytest.raises(InputError, match="no galaxies"):
        catalog_table(rows[:0])


def test_sentence_tells_the_promise_and_what_was_held(rows):
    each = {"view": "spectra", "property": "log_mstar", "width_68": 0.2, "width_90": 0.4, "coverage_68": 0.7}
    coverage = pd.DataFrame(
        [
            {"by": "all", "family": "", "coverage_90": 0.91, **each},
            {"by": "family", "family": "x", "coverage_90": 0.62, **each},
        ]
    )
    text = describe_catalog(rows, coverage)
    for words in ("1 of 2 galaxies", "5 in 6", "held 70 %", "91 %", "worst family was x", "62 %"):
        assert words in text, words
    assert describe_catalog(rows.drop(columns="random"), coverage) == text
    assert "5 families of simulations and 22 random" in describe_catalog(rows.assign(random=22), coverage)


def test_fits_holds_words_that_are_not_ascii(tmp_path):
    made = Table({"galaxy": ["NGC é", "b"], "a_v": [1.0, 2.0]}, meta={"SUITE": "toÿs"})
    made["galaxy"].description, made["a_v"].description = "id", "at 5500 Å"
    write_catalog(made, tmp_path)
    with fits.open(tmp_path / "catalog.fits") as hdus:
        header, rows = hdus[1].header, hdus[1].data
        assert header["TCOMM2"] == "at 5500 Angstrom" and header["SUITE"] == r"to\xffs"
        assert list(rows["galaxy"]) == [r"NGC \xe9", "b"]
    assert made["galaxy"][0] == "NGC é" and made.meta["SUITE"] == "toÿs"  # ECSV holds them as they are
