"""What a finished run keeps gives the forecasts that measuring everything anew gives; damage is noticed.

Photometry is compared in test_own_suite.py.
"""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.progress import Progress
from gencast.data.surveys import load_sdss_spectra
from gencast.models.estimators import make_model, predict_with_spread
from gencast.models.trees import forest_arrays, read_forest
from gencast.pipeline import observed
from gencast.pipeline.configure import load_settings
from gencast.pipeline.job import run
from gencast.report import load_results
from gencast.synthesis import list_suites

PROPERTIES = ("log_mstar", "sfh")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A small run of spectra, with a history."
    place = tmp_path_factory.mktemp("kept")
    suite = yaml.safe_load(list_suites()["default"].read_text())
    path = place / "five.yaml"
    path.write_text(yaml.safe_dump(suite | {"name": "five", "simulations": suite["simulations"][::4]}))
    run(
        path,
        True,
        place / "five",
        n_galaxies=130,
        n_trees=10,
        properties=PROPERTIES,
        views=("spectra",),
        notebooks=False,
        progress=False,
        jobs=2,
    )
    return place / "five"


@pytest.fixture(scope="module")
def noisy():
    "Spectra that are noisier than those of the run."
    sample = load_sdss_spectra()
    err = 3 * sample.flux_err + 0.02 * sample.flux
    flux = sample.flux * (1 + 0.01 * np.random.default_rng(0).normal(size=sample.flux.shape))
    return replace(sample, flux=flux, flux_err=err, name="noisy")


def anew(folder, sample, properties=PROPERTIES):
    "The forecast with all steps of a run."
    return observed.forecast_anew(folder, load_settings(folder), sample, properties, Progress(2, False))


def assert_same(found, expected):
    """Two pairs of tables, equal up to the rounding of single precision. The law for histories looks for
    galaxies with nearly the same consensus: there rounding may pick another one.
    """
    for mine, theirs in zip(found, expected):
        for name, rtol in (("log_mstar", 2e-5), ("sfh", 2e-3)):
            one, other = mine[mine.property == name], theirs[theirs.property == name]
            assert_frame_equal(one, other, rtol=rtol, atol=2e-6)


def test_kept_pieces_give_the_tables_of_all_steps(folder, noisy, tmp_path, capsys):
    kept = observed.forecast(folder, noisy, progress=False, jobs=2)
    assert capsys.readouterr().out == "", "nothing to say where all is kept"
    shutil.copytree(folder, tmp_path / "copy")
    expected = anew(tmp_path / "copy", noisy)
    assert_same(kept, expected)
    assert_array_equal(kept[1].predicted, expected[1].predicted)


def test_a_broken_spectrum_among_others_changes_nothing(folder, noisy):
    err = np.concatenate([noisy.flux_err, 3 * noisy.flux_err[:1]])
    wild = noisy.flux[:1] * 10 ** (2 * np.sin(np.arange(noisy.flux.shape[1]) / 5))
    broken = replace(
        noisy,
        flux=np.concatenate([noisy.flux, wild]),
        flux_err=err,
        redshift=np.append(noisy.redshift, 0.01),
        ids=(*noisy.ids, "broken"),
        properties={},
    )
    clean = observed.forecast(folder, noisy, ("log_mstar",), progress=False, jobs=2)
    found = observed.forecast(folder, broken, ("log_mstar",), progress=False, jobs=2)
    counts = ["n_out_of_range", "share_inside"]
    assert_frame_equal(found[0].drop(columns=counts), clean[0].drop(columns=counts))
    assert (found[0].n_galaxies == 2).all() and (found[0].n_out_of_range == 1).all()
    assert_array_equal(found[1].expected_error[:2], clean[1].expected_error)
    assert np.isnan(found[1].expected_error[2]) and not found[1].inside[2]
    assert found[1].predicted.notna().all()


def test_results_forecast(folder, noisy):
    results = load_results(folder)
    by_source, by_galaxy = results.forecast(noisy, ("log_mstar",))
    assert set(by_source.property) == {"log_mstar"} and len(by_source) == len(results.simulations)
    assert_frame_equal(by_galaxy, observed.forecast(folder, noisy, ("log_mstar",), progress=False)[1])
    found = results.catalog(noisy, properties=("log_mstar",), progress=False)
    assert len(found) == len(noisy) and "sfh" not in found.colnames
    with pytest.raises(InputError, match="no effect without a sample"):
        results.catalog(properties=("log_mstar",))


def test_nothing_kept_could_hold_code(folder):
    arrays = [*folder.glob("kept/**/*.npy"), *folder.glob("cache/*.npz")]
    assert len(arrays) > 50
    for path in arrays:
        found = np.load(path, allow_pickle=False)
        for a in found.values() if path.suffix == ".npz" else [found]:
            assert not a.dtype.hasobject
    others = [p for p in folder.glob("kept/**/*") if p.is_file() and p.suffix not in (".npy", ".json")]
    assert not others


def damage(path):
    "Change one bit in the middle of a file."
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("kept/spectra/tests.npy", "damaged"),
        ("kept/spectra/kept.json", "damaged"),
        ("kept/spectra-survey/flux.npy", "damaged"),
        ("kept/spectra", "keeps nothing"),
        ("cache/errors-spectra-log_mstar-*.npz", "missing or damaged"),
    ],
)
def test_damage_is_said_and_everything_measured_anew(
    folder, noisy, tmp_path, capsys, monkeypatch, what, words
):
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = next(copy.glob(what))
    shutil.rmtree(path) if path.is_dir() else damage(path)
    monkeypatch.setattr(observed, "forecast_anew", lambda *a: ("all", "steps", "anew"))
    assert observed.forecast(copy, noisy, ("log_mstar",), progress=False, jobs=1) == ("all", "steps")
    said = capsys.readouterr().out
    assert words in said and "measured anew" in said and said.count("\n") == 1


def test_a_damaged_forest_is_grown_again(folder, noisy, tmp_path, capsys):
    expected = observed.forecast(folder, noisy, ("log_mstar",), progress=False)
    copy = shutil.copytree(folder, tmp_path / "copy")
    path = next(copy.glob("cache/model-spectra-log_mstar-*.npz"))
    sound = path.read_bytes()
    damage(path)
    capsys.readouterr()
    found = observed.forecast(copy, noisy, ("log_mstar",), progress=False, jobs=1)
    assert "trained again" in capsys.readouterr().out
    assert_same(found, expected)
    assert path.read_bytes() == sound


def test_another_version_measures_anew(folder, noisy, capsys, monkeypatch):
    monkeypatch.setattr("gencast.pipeline.kept.kept_key", lambda *a: "another")
    monkeypatch.setattr(observed, "forecast_anew", lambda *a: ("all", "steps", "anew"))
    assert observed.forecast(folder, noisy, ("log_mstar",), progress=False, jobs=1) == ("all", "steps")
    assert "another version" in capsys.readouterr().out


def test_a_property_that_the_run_lacks_is_refused_at_once(folder, capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["forecast", str(tmp_path), "--run", str(folder), "--properties", "log_age"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "log_age" in said and "log_mstar, sfh" in said and said.count("\n") == 1


@pytest.mark.parametrize("kind", ["random_forest", "extra_trees"])
@pytest.mark.parametrize("n_output", [1, 3])
def test_a_forest_from_arrays_predicts_bit_for_bit(kind, n_output):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(700, 60)).astype(np.float32)
    y = np.abs(X[:, :n_output] + 0.3 * rng.normal(size=(700, n_output)))
    y = y[:, 0] if n_output == 1 else y / y.sum(axis=1, keepdims=True)
    model = make_model(kind, 60, seed=3, n_trees=15).fit(X[:500], y[:500])
    stored = read_forest(forest_arrays(model))
    for mine, theirs in zip(predict_with_spread(stored, X), predict_with_spread(model, X)):
        assert_array_equal(mine, theirs)


def test_other_models_are_not_forests():
    model = make_model("boosting", 5, seed=0, n_trees=3).fit(np.eye(5), np.arange(5.0))
    assert forest_arrays(model) is None and forest_arrays(pd.Series()) is None
