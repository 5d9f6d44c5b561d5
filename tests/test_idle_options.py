"Options that would have no effect, or contradict a file, are refused in one sentence before any work."

import json
import sys

import nbformat
import numpy as np
import pytest
import yaml
from astropy.cosmology import WMAP9, Planck18

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.pipeline.configure import make_settings
from gencast.pipeline.notebooks import execute_notebook
from gencast.pipeline.observed import read_observed
from gencast.pipeline.settings import SurveySettings
from gencast.pipeline.surveys import check_idle

MAP = {"frame": "observed", "redshift": 0.1, "cosmology": "WMAP9"}
MAP["spectra"] = {"column": "f", "error": "e", "wave": "w", "unit": "1e-17 erg/s/cm2/AA", "wave_unit": "AA"}
BANDS = {"r": {"column": "f", "wave": 6166.0, "unit": "uJy"}}


def refusal(capsys, *words: str) -> str:
    "What the command line says when it refuses."
    with pytest.raises(SystemExit) as end:
        main(list(words))
    said = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in said
    return said


@pytest.mark.parametrize(
    "words, reason",
    [
        (["--map", "m.yaml"], "--map has no effect: no --catalogue is given"),
        (
            ["--catalogue", "c.cat", "--views", "spectra"],
            "--catalogue has no effect: the run has no photometry",
        ),
        (["--ebv", "0.1", "--views", "photometry"], "--ebv has no effect: the run has no spectra"),
        (["--skip", "--views", "photometry"], "--skip has no effect: the run has no spectra"),
        (["--clean", "--views", "photometry"], "--clean has no effect: the run has no spectra"),
    ],
)
def test_an_idle_option_ends_a_run_before_any_work(tmp_path, capsys, words, reason):
    (tmp_path / "m.yaml").write_text(yaml.safe_dump({"frame": "rest", "bands": BANDS}))
    words = [str(tmp_path / w) if w == "m.yaml" else w for w in words]
    assert reason in refusal(capsys, "run", "--quick", "-o", str(tmp_path / "r"), *words)
    assert not (tmp_path / "r" / "run.json").exists()


def test_an_option_that_acts_is_not_refused():
    for changes in ({"ebv": 0.1}, {"skip": True}, {"views": "photometry"}, {"observed": False}):
        settings = make_settings("default", **changes)
        check_idle(settings.suite, settings.part(SurveySettings), settings.views)


@pytest.mark.parametrize("address", ["foo", "tcp://foo"])
def test_a_scheduler_that_is_no_address(tmp_path, capsys, address):
    pytest.importorskip("distributed")
    said = refusal(capsys, "run", "--quick", "-o", str(tmp_path / "r"), "--scheduler", address)
    assert f"no Dask scheduler answers at {address!r}" in said


def test_two_cosmologies_are_refused_and_one_acts(tmp_path, capsys):
    wave = np.geomspace(4000, 8500, 4000)
    np.savez(tmp_path / "t.npz", w=wave, f=np.full((1, 4000), 2.0), e=np.full((1, 4000), 0.1))
    (tmp_path / "m.yaml").write_text(yaml.safe_dump(MAP))
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump({k: v for k, v in MAP.items() if k != "cosmology"}))
    settings = make_settings("default", views="spectra")
    read = [tmp_path / "t.npz"]
    with pytest.raises(InputError, match="--cosmology Planck15 and the mapping's cosmology: WMAP9 differ"):
        read_observed(settings, read, tmp_path / "m.yaml", cosmology="Planck15")
    given = read_observed(settings, read, tmp_path / "m.yaml", cosmology="WMAP9")
    by_option = read_observed(settings, read, tmp_path / "bare.yaml", cosmology="WMAP9")
    plain = read_observed(settings, read, tmp_path / "bare.yaml")
    ratio = (WMAP9.luminosity_distance(0.1) / Planck18.luminosity_distance(0.1)).value ** 2
    np.testing.assert_allclose(by_option.flux / plain.flux, ratio, rtol=1e-9)
    np.testing.assert_array_equal(given.flux, by_option.flux)
    (tmp_path / "b.yaml").write_text(yaml.safe_dump({**MAP, "spectra": {}, "bands": BANDS}))
    words = ["--catalogue", "c.csv", "--map", str(tmp_path / "b.yaml"), "--cosmology", "Planck15"]
    said = refusal(capsys, "run", "photometry", "--quick", "-o", str(tmp_path / "r"), *words)
    assert "--cosmology Planck15 and the mapping's cosmology: WMAP9 differ" in said
    assert make_settings("photometry", catalogue="c.csv", columns=str(tmp_path / "b.yaml"), cosmology="WMAP9")


def test_notebooks_run_with_the_python_of_gencast(tmp_path, monkeypatch):
    place = tmp_path / "jupyter" / "kernels" / "python3"
    place.mkdir(parents=True)
    spec = {"argv": ["false", "{connection_file}"], "display_name": "Python 3 (other)", "language": "python"}
    (place / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    usual = {"name": "python3", "display_name": "Python 3", "language": "python"}
    cells = [nbformat.v4.new_code_cell("import sys\nprint(sys.prefix)")]
    nbformat.write(
        nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": usual}), tmp_path / "t.ipynb"
    )
    made = nbformat.read(execute_notebook(tmp_path / "t.ipynb", tmp_path / "o.ipynb", {}), 4)
    assert made.cells[-1].outputs[0].text.strip() == sys.prefix and made.metadata.kernelspec.name == "python3"
