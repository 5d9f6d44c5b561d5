"""`--jobs` means cores: BLAS and OpenMP have no more threads, neither in the parent nor in its workers."""

import os
import time

import numpy as np
from threadpoolctl import threadpool_info

from gencast.core.workers import THREADS, bound_threads, open_workers


def most_threads(size: int = 20) -> int:
    "Threads of the pool that has most, after a product and an eigenvalue problem."
    import scipy.linalg
    import sklearn.ensemble  # noqa: F401  (loads OpenMP)

    scipy.linalg.eigh(np.ones((size, size)) @ np.ones((size, size)))
    return max(pool["num_threads"] for pool in threadpool_info())


def cores_used(seconds: float = 1.0) -> float:
    "CPU seconds of matrix products for each second that passes."
    x = np.ones((600, 600))
    start, used = time.perf_counter(), time.process_time()
    while time.perf_counter() < start + seconds:
        x = np.clip(x @ x, 0, 1)
    return (time.process_time() - used) / (time.perf_counter() - start)


def test_one_job_takes_one_core(tmp_path):
    with open_workers("", tmp_path, 1, show=False) as (_, progress):
        assert progress.map("threads", most_threads, [(20,), (30,)]) == [1, 1]
        assert cores_used() < 1.2


def test_workers_have_one_thread_each(tmp_path):
    with open_workers("", tmp_path, 2, show=False) as (_, progress):
        assert progress.map("threads", most_threads, [(20,), (30,), (40,)]) == [1, 1, 1]
        assert most_threads() <= 2


def test_limits_end_with_the_block_and_smaller_ones_stay(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    most_threads()
    before = [pool["num_threads"] for pool in threadpool_info()]
    with bound_threads(8):
        assert most_threads() == 1, "the user's own limit is smaller"
        assert {os.environ[name] for name in THREADS} == {"1"}
    assert [pool["num_threads"] for pool in threadpool_info()] == before
    assert os.environ["OMP_NUM_THREADS"] == "1" and "MKL_NUM_THREADS" not in os.environ
