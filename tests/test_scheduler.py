"""A run on a Dask cluster of separate processes equals one on this machine, also when a worker dies; unfit
clusters are refused."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.progress import Progress
from gencast.core.workers import check_workers, on_cluster, open_workers
from gencast.pipeline.job import run
from gencast.synthesis import list_suites

distributed = pytest.importorskip(
    "distributed", reason="distributed is not installed; pip install 'gencast[dask]'"
)
TINY = {"quick": True, "n_galaxies": 130, "progress": False, "views": ("photometry",)}


@pytest.fixture
def start(tmp_path, monkeypatch):
    "Starts processes, and ends them with the test."
    started = []

    def one(*command, env=None):
        p = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=tmp_path,
            env=os.environ | (env or {}),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(p)
        return p

    yield one
    for p in started:
        try:
            os.killpg(p.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        p.wait()


def wait_for(what, seconds=60):
    "The first true value of `what()`."
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")


@pytest.fixture
def address(start, tmp_path):
    "A scheduler, as a user starts it."
    file = tmp_path / "scheduler.json"
    start(
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
        "--scheduler-file",
        str(file),
    )
    return wait_for(lambda: file.exists() and yaml.safe_load(file.read_text() or "{}").get("address"))


def worker(start, address, threads=1, **kw):
    return start(
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        str(threads),
        "--no-dashboard",
        "--no-nanny",
        **kw,
    )


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory):
    text = yaml.safe_load(list_suites()["default"].read_text())
    text |= {"name": "five", "simulations": text["simulations"][::4]}
    path = tmp_path_factory.mktemp("suite") / "five.yaml"
    path.write_text(yaml.safe_dump(text))
    return path


def tables(folder):
    return {f.name: f.read_bytes() for f in sorted(Path(folder).glob("*.csv"))}


@pytest.mark.slow
def test_a_cluster_gives_the_same_bytes_though_workers_die(suite_file, start, address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # workers started elsewhere must find a folder that is given relative
    run(suite_file, out="here", notebooks=False, jobs=2, **TINY)
    early, late, other = (worker(start, address) for _ in range(3))
    with distributed.Client(address) as client:
        client.wait_for_workers(3, timeout=60)
    work = subprocess.Popen(
        [
            sys.executable,
            "-c",
            f"from gencast.pipeline.job import run; run({str(suite_file)!r}, out='there', "
            f"scheduler={address!r}, **{TINY!r})",
        ],
        cwd=tmp_path,
    )
    try:
        for doomed, sign in (
            (early, "simulations/photometry/*/sample.json"),
            (late, "cache/baselines-*.npz"),
        ):
            wait_for(lambda: list((tmp_path / "there").glob(sign)), 120)
            os.kill(doomed.pid, signal.SIGKILL)
        assert work.wait(timeout=300) == 0
    finally:
        work.kill()
    assert early.wait() == late.wait() == -signal.SIGKILL and other.poll() is None
    assert tables("there") == tables("here") and len(tables("here")) > 10
    assert len(list((tmp_path / "there" / "notebooks").glob("*.ipynb"))) == 7, (
        "notebooks were executed on the worker that is left"
    )
    assert not list((tmp_path / "there").glob(".s*")), "nothing that tasks shared is left"


def test_unfit_workers_are_named(start, address, tmp_path, monkeypatch):
    with (
        pytest.raises(InputError, match="has no worker after"),
        on_cluster(address, tmp_path / "results", wait=1),
    ):
        pass
    one = worker(start, address, threads=2)
    with distributed.Client(address) as client:
        client.wait_for_workers(1, timeout=60)
        with pytest.raises(InputError, match="has 2 threads; start workers with `--nthreads 1`"):
            check_workers(client, tmp_path)
        os.killpg(one.pid, signal.SIGKILL)
        wait_for(lambda: not client.nthreads())
        worker(start, address)
        client.wait_for_workers(1, timeout=60)
        assert check_workers(client, tmp_path) == 1
        with monkeypatch.context() as m:
            m.setattr("gencast.core.workers.own_code", lambda: "something else")
            with pytest.raises(InputError, match="has another gencast, Python, or other packages"):
                check_workers(client, tmp_path)
    assert not list(tmp_path.glob(".seen*"))


class Elsewhere:
    "A client whose one worker sees another disk, or has no gencast."

    def __init__(self, found):
        self.found = found

    def run(self, function, path, on_error):
        return {"tcp://far": self.found or function("/nowhere/else")}

    def nthreads(self):
        return {"tcp://far": 1}


def test_workers_elsewhere_are_named(tmp_path):
    with pytest.raises(
        InputError, match="tcp://far on .* does not see .*; put the results on a disk that all machines share"
    ):
        check_workers(Elsewhere(None), tmp_path)
    with pytest.raises(
        InputError,
        match="tcp://far of the cluster cannot run gencast .ModuleNotFoundError: gencast.; install the same",
    ):
        check_workers(Elsewhere(ModuleNotFoundError("gencast")), tmp_path)


def test_what_tasks_share_is_written_once(tmp_path):
    table, own = np.arange(5000.0), [np.full(10, i) for i in range(4)]
    sums = Progress(2, False, spool=tmp_path).map("sums", np.dot, [(table[:10], o) for o in own])
    assert sums == [45 * i for i in range(4)] and not list(tmp_path.iterdir())  # slices of their own
    sums = Progress(2, False, spool=tmp_path).map("sums", np.multiply, [(table, i) for i in range(4)])
    assert len(list(tmp_path.iterdir())) == 1 and [s[-1] for s in sums] == [4999 * i for i in range(4)]


def test_no_scheduler_no_extra_no_jobs(tmp_path, capsys, monkeypatch):
    for address in ("tcp://127.0.0.1:9", "nonsense", "127.0.0.1:99999999"):
        with (
            pytest.raises(InputError, match="no Dask scheduler answers at"),
            on_cluster(address, tmp_path, wait=1),
        ):
            pass
    with (
        pytest.raises(InputError, match="leave out either --jobs 3 or --scheduler"),
        open_workers("tcp://127.0.0.1:9", tmp_path, 3),
    ):
        pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SystemExit) as end:
        main(["run", "--quick", "--scheduler", "tcp://127.0.0.1:9", "-o", str(tmp_path / "r")])
    assert end.value.code == 2
    assert "pip install 'gencast[dask]'" in capsys.readouterr().err
