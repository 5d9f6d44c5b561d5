"What all tests share. Nothing here may need the network or a folder outside the repository."

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "nbs" / "studies"))  # modules of the studies, which are not installed

#: Files whose tests share a run or a website: one process makes it, and has all tests of the file.
TOGETHER = {
    "test_deep_fields.py",
    "test_docs.py",
    "test_histories_predicted.py",
    "test_keeping.py",
    "test_kept.py",
    "test_own_models.py",
    "test_own_suite.py",
    "test_predictions_run.py",
    "test_run.py",
    "test_training.py",
}


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    "Two processes where pytest-xdist is installed and nothing else is asked for; `-n 0` is this process."
    options = config.option
    if hasattr(config, "workerinput") or not hasattr(options, "numprocesses"):
        return
    if options.numprocesses is None and not (options.usepdb or options.collectonly or options.tx):
        options.numprocesses = 2
    if options.numprocesses and options.dist == "no":
        options.dist = "loadscope"
        options.loadscopereorder = False  # `weight` gives the order


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """The files of `TOGETHER` are dealt whole, all other tests one by one. (`xdist_group` marks are ignored
    since pytest 9.2: pytest-xdist issue 1386.)
    """
    if config.option.dist != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            file = nodeid.split("::")[0]
            return file if Path(file).name in TOGETHER else nodeid

    return Together(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config):
    "Pictures are compared where pytest-mpl is installed, without being asked to; else they are only drawn."
    if hasattr(config.option, "mpl") and config.option.mpl_generate_path is None:
        config.option.mpl = True
    elif not hasattr(config.option, "mpl"):  # tests that return a figure are for pytest-mpl
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestReturnNotNoneWarning")


def pytest_collection_modifyitems(config, items):
    "What takes longest begins first, so that no process ends up alone with it."
    items.sort(key=lambda item: -weight(item))


def weight(item) -> int:
    "0, 1 or 2: the order in which tests are dealt. A whole file takes longer than one slow test."
    if item.path.name in TOGETHER:
        return 2
    return int(item.get_closest_marker("slow") is not None)


class NotebookServer:
    "tests/notebook_server.py, started when the first notebook is to run."

    process = None

    def run(self, path: Path) -> dict:  # ok, seconds, text
        "Run a notebook in a fork of the server."
        if self.process is None:
            command = [sys.executable, str(ROOT / "tests" / "notebook_server.py")]
            env = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT
            )
        self.process.stdin.write(f"{path}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(30)


@pytest.fixture(scope="session")
def notebook_server():
    "Runs notebooks with the imports of all of them made once: `notebook_server.run(path)`."
    server = NotebookServer()
    yield server
    server.close()


class CommandLine(CliRunner):
    "Typer's runner for all of `gencast`: with the one line and the exit code that end a command that fails."

    def __call__(self, *arguments) -> tuple[int, str]:  # exit code, what was said
        from gencast.cli.main import main

        with self.isolation() as streams:
            try:
                main(list(map(str, arguments)))
                code = 0
            except SystemExit as end:
                code = end.code or 0
            sys.stdout.flush(), sys.stderr.flush()
            said = b"".join(stream.getvalue() for stream in streams[:2] if stream is not None)
        return code, said.decode()


@pytest.fixture
def command() -> CommandLine:
    "`gencast` in this process: `command('list', 'suites')` gives the exit code and all that it printed."
    return CommandLine()


@pytest.fixture(scope="session")
def root() -> Path:
    "The repository."
    return ROOT


@pytest.fixture(scope="session")
def load_script():
    "A function from the name of a file in scripts/ to its module."

    def load(name: str):
        spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def some_universes(tmp_path_factory):
    """A function that writes a suite of some of the default suite's universes: name, step, how many; its path
    comes back.
    """
    import yaml

    from gencast.synthesis import list_suites

    def write(name: str, step: int, n: int):
        text = yaml.safe_load(list_suites()["default"].read_text())
        path = tmp_path_factory.mktemp("suite") / f"{name}.yaml"
        path.write_text(yaml.safe_dump(text | {"name": name, "simulations": text["simulations"][::step][:n]}))
        return path

    return write
