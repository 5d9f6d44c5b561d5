"A set is its usable galaxies: what is out of range is counted, and changes nothing."

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from gencast.cli.forecast import galaxy_lines
from gencast.forecaster import ErrorForecaster
from gencast.models.timebins import mean_miss
from gencast.regression import toy_evidence
from gencast.regression.evidence import take_survey
from gencast.regression.forecasts import group_mistakes, intervals
from gencast.report.comparison import compare_reference, describe_comparison
from gencast.report.forecasts import forecast_lines


def made_up(seed, n=120, tilt=0.0):
    "Four features, and the property that they follow."
    rng = np.random.default_rng(seed)
    y, other = rng.normal(size=(2, n))
    x = np.column_stack([y + tilt * other, other + 0.1 * y, y - other, other - tilt * y])
    return x + 0.05 * rng.normal(size=x.shape), y


@pytest.fixture(scope="module")
def forecaster():
    tilts = np.linspace(-0.6, 0.6, 10)
    domains = {f"sim{i}": made_up(i, tilt=t) for i, t in enumerate(tilts)}
    return ErrorForecaster(Ridge(), law="ridge", noise=0.05).fit(domains)


def test_one_broken_galaxy_changes_no_forecast(forecaster):
    x = made_up(99, 60, 0.2)[0]
    clean = forecaster.forecast(x)
    broken = forecaster.forecast(np.vstack([x, [[50.0, -40.0, 60.0, 10.0]]]))
    used = clean.galaxies.expected_error.notna()
    assert (broken.best, broken.tier) == (clean.best, clean.tier)
    for name in ("rmse", "interval", "bias"):
        assert_allclose(getattr(broken, name), getattr(clean, name), rtol=1e-9)
    assert_allclose(broken.galaxies.expected_error[:-1], clean.galaxies.expected_error, rtol=1e-9)
    last = broken.galaxies.iloc[-1]
    assert np.isnan(last.expected_error) and not last.inside and np.isfinite(last.predicted)
    assert (broken.sources.n_out_of_range == (~used).sum() + 1).all()
    assert (broken.sources.n_galaxies == used.sum()).all()


def test_a_set_of_strangers_is_refused_and_says_how_many_are_left(forecaster):
    x = made_up(99, 60, 0.2)[0]
    x[:40] += 50 * np.array([1, -1, 1, -1])
    found = forecaster.forecast(x)
    assert found.tier == "outside" and found.galaxies.expected_error.isna().all()
    assert "fewer than half" in found.support.sentence()
    assert found.support.usable.all() and found.support.too_few


def test_galaxies_of_a_refused_set_get_no_error(forecaster):
    found = forecaster.forecast(made_up(99, 60)[0] + 2.5)
    assert found.tier == "outside" and found.galaxies.expected_error.isna().all()
    galaxies = pd.DataFrame(
        {"galaxy": ["a", "b"], "redshift": 0.1, "property": "log_mstar", "predicted": 10.0}
    )
    lines = galaxy_lines(galaxies.assign(expected_error=np.nan, inside=[True, False]))
    assert "yes" not in "\n".join(lines) and "no error is given" in lines[-1]
    one = galaxies.assign(expected_error=[0.1, np.nan], inside=[True, False], target="s", reference=9.0)
    assert "1 of 2" in galaxy_lines(one)[-1]
    one["reference_from"] = "somebody"
    said = describe_comparison(compare_reference(one), "s")
    assert "For 1 galaxies" in said and "alone is 0.10 dex" in said
    assert describe_comparison(compare_reference(one.assign(expected_error=np.nan)), "s") == ""


def test_the_chosen_source_has_the_interval_of_choices(forecaster):
    found = forecaster.forecast(made_up(99, 60, 0.2)[0])
    best = found.sources.loc[found.sources.rmse.idxmin()]
    assert_allclose(best[["lower", "upper"]].astype(float), found.interval)
    line = forecast_lines(SimpleNamespace(forecasts=to_table(found.sources)))[1]
    assert f"{found.interval[0]:.3f} to {found.interval[1]:.3f}" in line


def to_table(sources):
    "Sources as in forecasts.csv."
    more = {
        "target": "s",
        "kind": "photometry",
        "view": "photometry",
        "property": "log_mstar",
        "tier": "inside",
    }
    return sources.assign(**more)


def test_some_galaxies_of_a_survey():
    evidence = toy_evidence(5, 30)[0]
    keep = np.arange(30) % 3 > 0
    part = take_survey(evidence, keep)
    mine, whole = part.target((), -1), evidence.target((), -1)
    assert_array_equal(mine.predicted, whole.predicted[:, keep])
    assert_array_equal(mine.consensus, whole.consensus[keep])
    assert np.isnan(part.target((), -1).distances["proxy_a"]).all()
    assert_array_equal(part.target((), 2).distances["proxy_a"], evidence.target((), 2).distances["proxy_a"])


class _Law:
    "Forecasts a mean square of one."

    def predict(self, row, sources):
        return np.zeros(len(row))


def test_the_ensembles_bias_of_histories_is_actual_less_forecast(monkeypatch):
    rng = np.random.default_rng(0)
    shares = rng.dirichlet(np.ones(4), size=(4, 50))
    truth, consensus = rng.dirichlet(np.ones(4), size=(2, 50))
    group = SimpleNamespace(predicted=shares, consensus=consensus)
    signals = ("predicted_bias",)
    monkeypatch.setattr("gencast.regression.forecasts.signal_row", lambda *_: np.zeros((4, 1)))
    found = group_mistakes(_Law(), group, truth, SimpleNamespace(own_error=0.01), np.arange(4), signals)
    mean = shares.mean(axis=0)
    assert_allclose(found[5], mean_miss(mean, truth) - mean_miss(mean, consensus))
    assert_allclose(found[6], mean_miss(consensus, truth))
    assert intervals([SimpleNamespace(**dict.fromkeys(FIELDS, np.zeros(2)))] * 20)["consensus_bias"] == (0, 0)


FIELDS = ("error", "bias", "best", "ensemble", "consensus", "ensemble_bias", "consensus_bias")
