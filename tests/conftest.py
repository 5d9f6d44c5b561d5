"What all tests share. Nothing here may need the network or a folder outside the repository."

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "nbs" / "studies"))  # modules of the studies, which are not installed


@pytest.fixture(scope="session")
def root() -> Path:
    "The repository."
    return ROOT


@pytest.fixture(scope="session")
def some_universes(tmp_path_factory):
    """A function that writes a suite of some of the default suite's universes: name, step, how many; its path
    comes back.
    """
    import yaml

    from gencast.synthesis.recipes import list_suites

    def write(name: str, step: int, n: int):
        text = yaml.safe_load(list_suites()["default"].read_text())
        path = tmp_path_factory.mktemp("suite") / f"{name}.yaml"
        path.write_text(yaml.safe_dump(text | {"name": name, "simulations": text["simulations"][::step][:n]}))
        return path

    return write
