"Where light in range does not tell that a family is new, the interval is that of a new family, and says so."

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from test_few_families import OFFSETS, galaxies, write_suite
from test_support import FAMILIES, toy_suite

from gencast.forecaster import ErrorForecaster
from gencast.pipeline.configure import load_settings
from gencast.pipeline.evidence import ViewEvidence
from gencast.pipeline.job import run
from gencast.pipeline.observed import forecast, run_survey
from gencast.regression.support import fit_support_model, is_blind, judge_without_family, support_table
from gencast.report.forecast_sentences import describe_support
from gencast.report.forecasts import describe_interval, forecast_lines


def tiers(family_apart: float) -> list:
    "Tiers of a toy suite's simulations with their family left out; `support_table` says the same."
    suite = toy_suite(1, 12, 150, families=FAMILIES, apart=0.1, family_apart=family_apart)
    model = fit_support_model(suite, FAMILIES, noise=0.05, n_component=3, rate=0.1)
    found = [judge_without_family(model, k).tier for k in range(12)]
    table = support_table(suite, list(range(12)), model=model)
    assert found == table.tier_family_out.tolist()
    return found


def test_support_is_blind_to_families_that_look_alike():
    assert is_blind(tiers(0.0)) and not is_blind(tiers(1.0))
    assert is_blind(["inside", "edge"]) and not is_blind(["inside", "edge", "outside"])
    assert not is_blind([]) and not is_blind(())
    model = fit_support_model(toy_suite(1, 6, 60, families=None), noise=0.05, n_component=3)
    assert judge_without_family(model, 0) is None


@pytest.mark.parametrize("tier", ["inside", "edge", "outside"])
@pytest.mark.parametrize("n", [99, 100])
@pytest.mark.parametrize("blind", [True, False])
def test_which_forecasts_are_those_of_a_new_family(tier, n, blind):
    view = SimpleNamespace(
        support=SimpleNamespace(tier=tier), survey=range(n), kin=np.arange(6), slices=False, blind=blind
    )
    assert ViewEvidence.unseen.fget(view) == (tier == "edge" or (tier == "inside" and (blind or n < 100)))


def test_the_interval_says_why_it_is_that_of_a_new_family():
    few, blind = (describe_interval("unseen", "inside", n, "stellar library", False) for n in (99, 100))
    slices = describe_interval("unseen", "inside", 100, "code", True)
    assert few.startswith("So few galaxies") and "most simulations are called inside" in blind
    assert slices.startswith("The simulations are slices of so few of one code")
    for text in (few, blind, slices, describe_interval("unseen", "edge", 100)):
        assert text.endswith("from random stellar libraries.") and "as these differ from each other" in text
    assert describe_interval("unseen", "edge", 100).startswith("The interval holds 90 %")
    assert "less for a family that is new" in describe_interval("simulations", "inside", 100)
    assert describe_interval("none", "outside", 100) == ""


@pytest.fixture(scope="module")
def blind_run(tmp_path_factory):
    "Five families whose light is alike and whose masses differ; a sixth is observed."
    folder = tmp_path_factory.mktemp("blind")
    OFFSETS.update(d=0.1, e=-0.1, f=0.5)
    path = write_suite(folder, [(f, k) for f in "abcde" for k in range(2)], "f")
    return run(str(path), out=folder / "run", quick=True, notebooks=False, progress=False, jobs=1)


@pytest.mark.slow
def test_a_new_family_that_looks_like_the_known_ones(blind_run):
    rows = blind_run.forecasts[blind_run.forecasts.kind != "simulation"]
    assert set(rows.tier) == {"inside"} and (rows.n_galaxies >= 100).all()
    assert set(rows.interval) == {"unseen"}
    seen = blind_run.galaxies.merge(galaxies("f", 2).assign(galaxy=lambda t: t.id.astype(str)), on="galaxy")
    true = float(np.sqrt(np.mean((seen.predicted - np.log10(seen.mass)) ** 2)))
    best = blind_run.combined[blind_run.combined.predictor == "best"].iloc[0]
    assert best.lower < true < best.upper
    said, terminal = describe_support(blind_run, "sky"), "\n".join(forecast_lines(blind_run))
    for text in (said, terminal):
        assert "most simulations are called inside with all others of their code left out" in text


@pytest.mark.slow
def test_a_later_forecast_gives_the_same_interval(blind_run):
    survey = run_survey(load_settings(blind_run.folder), "photometry")
    found, _ = forecast(blind_run.folder, survey, jobs=1, progress=False)
    rows = blind_run.forecasts[blind_run.forecasts.kind != "simulation"].set_index("source")
    found = found.set_index("source").loc[rows.index]
    assert set(found.interval) == {"unseen"}
    for name in ("rmse", "lower", "upper"):
        assert np.allclose(found[name].astype(float), rows[name].astype(float), rtol=1e-6, equal_nan=True)


def test_the_forecaster_asks_the_same():
    families, values = list("aabbccddee"), {}
    rng = np.random.default_rng(0)
    for k, f in enumerate(families):
        x = rng.normal(size=(160, 3))
        values[f"{f}{k}"] = (x, x @ [1.0, 0.5, 0.2] + 0.3 * "abcde".index(f) + 0.05 * k)
    known = {name: name[0] for name in values}
    fitted = ErrorForecaster(Ridge(), law="ridge", noise=0.05).fit(values, families=known)
    found = fitted.forecast(rng.normal(size=(150, 3)))
    assert found.tier == "inside" and set(found.sources.interval) == {"unseen"}
    place = fitted.domain_errors_.range
    assert place.blind
    place.__dict__["blind"] = False
    calm = fitted.forecast(rng.normal(size=(150, 3)))
    assert set(calm.sources.interval) == {"simulations"}
    assert np.diff(found.interval) > np.diff(calm.interval)
    few = fitted.forecast(rng.normal(size=(60, 3)))
    assert set(few.sources.interval) == {"unseen"}
