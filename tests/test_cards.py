"Objects show themselves in a notebook; a name from outside never becomes a part of the page."

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from gencast.core.display import card, interval_bar, sparkline
from gencast.core.sample import Sample
from gencast.data.suites import load_suite
from gencast.regression.forecasts import SurveyForecast
from gencast.regression.register import make_law
from gencast.report.examples import toy_law_results
from gencast.report.results import load_results

BAD = '<script>alert("1")</script>'
WAVE = np.linspace(4000, 7000, 900)


def sample(name: str = BAD, **more) -> Sample:
    flux = np.abs(np.random.default_rng(0).normal(1, 0.1, (30, 900)))
    return Sample(
        name,
        flux,
        WAVE,
        properties={
            "log_mstar": np.linspace(9, 11, 30),
            "history": np.ones((30, 4)),
            BAD: np.full(30, np.nan),
        },
        **more,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return load_results(toy_law_results(tmp_path_factory.mktemp("cards") / "toy", n_sim=6))


def shown(results) -> dict:
    names = {name: name for name in results.forecasts.target.unique()} | {"toy_survey": BAD}
    bad = replace(
        results,
        forecasts=results.forecasts.replace({"target": names}),
        combined=results.combined.replace({"target": names}),
    )
    best = pd.DataFrame(
        {"predictor": ["best"], "source": [BAD], "rmse": 0.1, "lower": 0.05, "upper": 0.2, "bias": 0.01}
    )
    suite = load_suite("default")
    return {
        "sample": sample(),
        "bands": Sample(BAD, np.ones((3, 2)), np.array([4000.0, 6000]), bands=("g", BAD)),
        "suite": replace(suite, about=BAD),
        "line": make_law("pooled_line", ("mean_euclidean", BAD), signal=BAD),
        "law": make_law("stack", ("consensus", "spread")),
        "results": bad,
        "forecast": SurveyForecast(best, best, np.ones(4), 0),
    }


KINDS = ("sample", "bands", "suite", "line", "law", "results", "forecast")


@pytest.mark.parametrize("kind", KINDS)
def test_card_is_well_formed_and_safe(kind, results):
    html = shown(results)[kind]._repr_html_()
    ElementTree.fromstring(f"<div>{html}</div>")
    assert "<script" not in html and len(html) < 20_000
    assert ("&lt;script&gt;" in html) == (kind != "law")


@pytest.mark.parametrize("kind", KINDS)
def test_elsewhere_it_is_plain_text(kind, results):
    assert "<div" not in repr(shown(results)[kind])


def test_sample_tells_ranges_and_what_is_missing():
    html = sample("toy")._repr_html_()
    assert (
        "log_mstar" in html and "dex(Msun)" in html and ">10<" in html and ">30<" in html
    )  # median mass, values missing in the other
    assert "history" not in html, "a property with an axis of its own has no range"
    assert html.count("<polyline") == 1 and "masked" not in html


def test_results_show_the_law_its_score_and_the_forecast(results):
    html = results._repr_html_()
    assert "R²" in html and "toy_survey" in html and html.count("<rect") >= 1 and "90 % interval" in html


def test_pictures_stay_within_their_frame():
    for value, low, high in [(0.1, 0.05, 0.2), (5.0, 0.1, np.inf), (0.5, -1, 3)]:
        svg = ElementTree.fromstring(interval_bar(value, low, high, 1.0))
        assert all(0 <= float(e.get(k)) <= 220 for e in svg for k in ("x", "cx") if e.get(k))
    assert interval_bar(np.nan) == "" and sparkline(np.array([np.nan, np.inf])) == ""
    ElementTree.fromstring(sparkline(np.array([1.0, np.nan, 2.0]), about='"quoted"', dots=True))
    assert card("a & b").count("&amp;") == 1
