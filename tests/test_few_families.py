"Slices of two or three simulations as a suite: the family is the unit of the forecast's interval."

import numpy as np
import pandas as pd
import pytest
import yaml

from gencast.core.base import InputError
from gencast.data.photometry import band_wavelengths
from gencast.data.suites import load_suite
from gencast.figures.hard_test import plot_hard_test
from gencast.pipeline.evidence import are_slices, family_labels
from gencast.pipeline.job import run
from gencast.pipeline.laws import forecast_law
from gencast.pipeline.settings import LawSettings
from gencast.regression.register import make_law
from gencast.report.forecast_sentences import describe_forecast, describe_support
from gencast.report.forecasts import forecast_lines
from gencast.report.laws import describe_law
from gencast.report.scores import score_lines

BANDS = "ugriz"
WAVE = dict(zip(BANDS, band_wavelengths().round(1).tolist()))
SLOPES = np.linspace(-1, 1, 5)
OFFSETS = {"a": 0.0, "b": 0.35, "c": -0.3}  # dex; of the mass at the same light


def galaxies(family: str, part: int, n: int = 150) -> pd.DataFrame:
    "Galaxies of a slice: light alike in all families, and masses that differ by the family's offset."
    rng = np.random.default_rng([ord(family), part])
    mass, age = rng.normal(10 + 0.1 * part, 0.4, n), rng.normal(0.05 * part, 0.3, n)
    light = mass[:, None] + SLOPES * age[:, None] + rng.normal(0, 0.02, (n, 5))
    table = {f"L_{b}": 10 ** light[:, i] for i, b in enumerate(BANDS)}
    more = 0.05 * part * rng.normal(size=n)
    return pd.DataFrame({"id": np.arange(n), **table, "mass": 10 ** (mass + OFFSETS[family] + more)})


def write_suite(folder, slices: list, survey: str = ""):
    "A suite of tables, one for each (family, number); `survey`: the family that is observed."
    columns = {
        "unit": "Lsun",
        "ids": "id",
        "bands": {b: {"column": f"L_{b}", "wave": WAVE[b]} for b in BANDS},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    entries = []
    for family, part in slices:
        name = f"{family}{part}"
        galaxies(family, part).to_csv(folder / f"{name}.csv", index=False)
        entries.append({"name": name, "table": f"{name}.csv", "family": {"code": f"code {family}"}})
    suite = {"name": "sliced", "about": "slices", "tables": {"columns": columns}, "simulations": entries}
    if survey:
        seen = galaxies(survey, 2)
        rng = np.random.default_rng(7)
        for b in BANDS:
            seen[f"e_{b}"] = 0.03 * seen[f"L_{b}"]
            seen[f"L_{b}"] *= rng.normal(1, 0.03, len(seen))
        seen.drop(columns="mass").to_csv(folder / "sky.csv", index=False)
        bands = {b: {"column": f"L_{b}", "error": f"e_{b}", "wave": WAVE[b]} for b in BANDS}
        suite["survey"] = {"name": "sky", "table": "sky.csv", "columns": {"bands": bands}}
    path = folder / "sliced.yaml"
    path.write_text(yaml.safe_dump(suite, sort_keys=False))
    return path


def test_which_families_are_held_out(tmp_path):
    two = load_suite(write_suite(tmp_path, [(f, k) for f in "ab" for k in range(3)]))
    assert list(family_labels(two)) == ["code"] and not are_slices(two, family_labels(two))
    uneven = load_suite(write_suite(tmp_path, [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)]))
    assert family_labels(uneven) == {} and are_slices(uneven, {})  # two stay without the first
    one = load_suite(write_suite(tmp_path, [("a", k) for k in range(5)]))
    assert family_labels(one) == {} and are_slices(one, {})


def test_two_families_say_how_a_third_may_differ(tmp_path):
    """Held out one at a time, slices promise the errors of their siblings; a third family is far worse. The
    interval must come from whole families, and every sentence must say so.
    """
    slices = [(f, k) for f in "ab" for k in range(5)]
    path = write_suite(tmp_path, slices, "c")
    found = run(str(path), out=tmp_path / "run", quick=True, notebooks=False, progress=False, jobs=1)
    rows = found.forecasts[found.forecasts.kind != "simulation"]
    assert set(rows.tier) == {"inside"} and set(rows.interval) == {"unseen"}
    seen = found.galaxies.merge(
        galaxies("c", 2).assign(galaxy=lambda t: t.id.astype(str)).astype({"id": str})
    )
    true = float(np.sqrt(np.mean((seen.predicted - np.log10(seen.mass)) ** 2)))
    best = found.combined[found.combined.predictor == "best"].iloc[0]
    assert best.lower < true < best.upper and true > 0.2
    hard = found.scores[(found.scores.protocol == "leave-family-out") & (found.scores.target == "all")]
    assert {"stack", "constant", "pooled_line", "ridge"} <= set(hard.law) and set(hard.family) == {"code"}
    assert hard.coverage_90.isna().all(), "of two families, none is left to say how the second differs"
    inside, terminal = (
        describe_support(found, "sky"),
        "\n".join([*score_lines(found), *forecast_lines(found)]),
    )
    assert "slices of so few of one code" in inside and "as these differ from each other" in terminal
    assert terminal.startswith("photometry  log_mstar  its code out (2 families, in effect 2.0)")
    ax = plot_hard_test(found)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["all pairs", "code a (5)", "code b (5)"]
    assert "in effect 2.0" in ax.texts[0].get_text() and "for the worst" in str(
        ax.get_legend_handles_labels()
    )
    assert "never seen" not in describe_law(found) + describe_forecast(found, "sky")


@pytest.mark.parametrize("name", ["clustered", "nearest", "mean_euclidean"])
def test_the_law_of_the_forecasts_reads_the_distance_of_the_settings(name):
    settings = LawSettings("pooled_line", name)
    rng, signals = np.random.default_rng(3), ("mean_euclidean", "clustered", "nearest")
    X, (source, target) = rng.normal(size=(12, 3)), np.nonzero(~np.eye(4, dtype=bool))
    y = X @ [0.5, -1.0, 2.0]
    found = make_law(forecast_law(settings), signals).fit(X, y, source, target).predict(X, source)
    line = np.polyfit(X[:, signals.index(name)], y, 1)
    assert np.allclose(found, np.polyval(line, X[:, signals.index(name)]))
    assert forecast_law(LawSettings("stack", name)) == "stack"
    for bad in ("stack:nearest", "pooled_line:", "no_law:nearest"):
        with pytest.raises(InputError):
            make_law(bad, signals)
