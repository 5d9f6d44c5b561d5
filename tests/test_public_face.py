"`import gencast as gc`: what it offers, that it is light, and that its types hold."

import doctest
import inspect
import shutil
import subprocess
import sys

import pytest

import gencast as gc

WINGS = {
    "cli",
    "core",
    "data",
    "distances",
    "features",
    "figures",
    "forecaster",
    "models",
    "pipeline",
    "regression",
    "report",
}
WINGS |= {"sed", "site", "synthesis"}
NAMES = sorted(set(dir(gc)) - WINGS)
HEAVY = ("numpy", "pandas", "scipy", "sklearn", "matplotlib", "astropy", "typer")


def python(code: str) -> str:
    "What a fresh Python prints."
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_the_face_has_some_30_names_and_all_wings():
    assert 20 <= len(NAMES) <= 40
    assert WINGS <= set(dir(gc))


@pytest.mark.parametrize("name", NAMES)
def test_each_name_is_there_and_explains_itself(name):
    found = getattr(gc, name)
    assert found.__module__.startswith("gencast.")
    text = inspect.getdoc(found) or ""
    assert len(text) > 40
    assert ">>> " in text, f"gc.{name} has no example in its docstring"


@pytest.fixture(scope="module")
def made_up_run(tmp_path_factory):
    from gencast.report import toy_results

    return toy_results(tmp_path_factory.mktemp("face") / "run")


@pytest.mark.parametrize("name", NAMES)
def test_the_examples_of_the_face_run(name, made_up_run, tmp_path):
    "Each docstring's example; `folder` is that of a made-up run."
    import matplotlib.pyplot as plt
    import numpy as np

    from gencast.core.properties import PROPERTIES

    known = dict(PROPERTIES)
    folder = tmp_path / "run"
    shutil.copytree(made_up_run, folder)
    names = {"gc": gc, "np": np, "folder": folder}
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(getattr(gc, name)), names, name, None, 0)
    assert test.examples
    said = []
    result = doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    plt.close("all")
    for extra in set(PROPERTIES) - set(known):
        del PROPERTIES[extra]
    assert result.failed == 0, "".join(said)


def test_importing_gencast_imports_nothing_heavy():
    loaded = python(
        "import sys, gencast as gc; dir(gc); print(*{m.split('.')[0] for m in sys.modules})"
    ).split()
    assert not set(loaded) & set(HEAVY)
    assert "numpy" in python("import sys, gencast as gc; gc.Sample; print(*sys.modules)").split()


def test_the_command_line_prints_its_help_without_the_science():
    loaded = python("import sys, gencast.cli.main; print(*{m.split('.')[0] for m in sys.modules})").split()
    assert "typer" in loaded
    assert not set(loaded) & set(HEAVY[1:-1])


def test_types_of_the_face_hold(root, tmp_path):
    "mypy reads tests/typing; a wrong use is refused, so that this test can fail."
    pytest.importorskip("mypy.api")
    from mypy import api

    good = root / "tests" / "typing" / "public_face.py"
    bad = tmp_path / "wrong.py"
    bad.write_text("import gencast as gc\n\ngc.load_table(1, 2, 3, 4, 5, 6, 7, 8, 9)\ngc.no_such_name\n")
    options = ["--config-file", str(root / "mypy.ini"), "--cache-dir", str(tmp_path / "cache")]
    said, _, code = api.run([*options, str(good)])
    assert code == 0, said
    said, _, code = api.run([*options, str(bad)])
    assert code == 1 and "no_such_name" in said and "Too many arguments" in said
