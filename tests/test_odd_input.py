"""One argument of a sound call damaged at a time: a result that keeps the law, or `InputError` that says what
is wrong; nothing else.

The calls stand in `odd_calls.py`. `GENCAST_EXAMPLES=2000 python -m pytest tests/test_odd_input.py` tries
every damage.
"""

import dataclasses
import importlib
import inspect
import os
import pkgutil
import signal
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from odd_calls import CALLS  # noqa: E402
from scipy.sparse import issparse  # noqa: E402

import gencast  # noqa: E402
from gencast.core.base import InputError

N = int(os.environ.get("GENCAST_EXAMPLES", 25))
LONGEST = 3000  # characters of a message


def one(value):
    "An array with one value replaced."

    def change(a):
        a = np.array(a, dtype=float)
        if a.size:
            a.flat[a.size // 3] = value
        return a

    return change


def objects(a):
    a = np.array(a, dtype=object)
    if a.size:
        a.flat[0] = None
    return a


ARRAY = {
    "nan": one(np.nan),
    "inf": one(np.inf),
    "-inf": one(-np.inf),
    "huge": one(1e308),
    "one negative": one(-5.0),
    "one zero": one(0.0),
    "all nan": lambda a: np.full(a.shape, np.nan),
    "negative": lambda a: -np.abs(a * 1.0),
    "zeros": lambda a: np.zeros(a.shape),
    "same": lambda a: np.full(a.shape, a.flat[0]),
    "empty": lambda a: a[:0],
    "one row": lambda a: a[:1],
    "two rows": lambda a: a[:2],
    "no columns": lambda a: a[..., :0],
    "repeated": lambda a: a[np.zeros(len(a), int)],
    "flat": lambda a: a.ravel() if a.ndim > 1 else a[:, None],
    "deep": lambda a: a[None],
    "0-d": lambda a: np.array(a.flat[0]),
    "a column less": lambda a: a[..., :-1],
    "a row more": lambda a: np.concatenate([a, a[:1]]),
    "reversed": lambda a: a[::-1],
    "words": lambda a: np.full(a.shape, "x"),
    "text": lambda a: a.astype(str),
    "objects": objects,
    "whole": lambda a: a.astype(int),
    "single": lambda a: a.astype(np.float32),
    "truth": lambda a: a > 1,
    "complex": lambda a: a + 1j,
    "list": lambda a: a.tolist(),
    "None": lambda a: None,
    "a word": lambda a: "x",
    "a number": lambda a: 3.0,
}
NUMBER = {
    "nan": np.nan,
    "inf": np.inf,
    "-inf": -np.inf,
    "negative": -1,
    "zero": 0,
    "half": 0.5,
    "above": 2.5,
    "huge": 1e308,
    "a word": "x",
    "None": None,
    "true": True,
    "list": [],
    "bytes": b"1",
}
TEXT = {
    "empty": "",
    "unknown": "no such",
    "out": "../x",
    "number": 3,
    "None": None,
    "null": "a\0b",
    "nan": np.nan,
    "list": ["x"],
    "html": "<b>",
    "long": "x" * 5000,
    "bytes": b"x",
}
PATHS = (
    "path",
    "folder",
    "results",
    "paths",
    "suite",
    # what is no path at all is a `TypeError` of Python's own; a path that cannot be opened is an `OSError`
    # that names it, one line on the command line
)
SET = {
    "empty": lambda v: type(v)(),
    "None": lambda v: None,
    "number": lambda v: 3,
    "word": lambda v: "no such",
    "one None": lambda v: type(v)([None]),
    "twice": lambda v: v + v,
    "one less": lambda v: v[:-1],
    "nan": lambda v: np.nan,
}
TABLE = {
    "empty": lambda v: {},
    "None": lambda v: None,
    "number": lambda v: 3,
    "word": lambda v: "no such",
    "more": lambda v: v | {"zzz": 1},
    "list": lambda v: list(v),
}


def damages(value) -> dict:
    "How a value may be wrong: name -> damaged value."
    if isinstance(value, np.ndarray):
        return {k: f(value) for k, f in ARRAY.items()}
    if isinstance(value, (bool, np.random.Generator)) or value is None:
        return {}
    if isinstance(value, (int, float)):
        return NUMBER
    if isinstance(value, str):
        return TEXT
    if isinstance(value, (list, tuple)):
        inner = damages(value[0]) if value else {}
        return {k: f(value) for k, f in SET.items()} | {
            f"first {k}": type(value)([v, *value[1:]]) for k, v in inner.items()
        }
    if isinstance(value, dict):
        inner = {f"{key} {k}": value | {key: v} for key in value for k, v in damages(value[key]).items()}
        return (
            {k: f(value) for k, f in TABLE.items()}
            | inner
            | {f"without {key}": {k: v for k, v in value.items() if k != key} for key in value}
        )
    return {}


def plan(call) -> list:  # (argument, damage)
    "All damages of a call."
    given = call.arguments()

    def odd(key, value):
        words = value if isinstance(value, (tuple, list)) and key == "paths" else [value]
        return key in PATHS and not all(isinstance(v, str) and "\0" not in v for v in words)

    return [
        (key, name)
        for key in given
        if key not in call.kept
        for name, value in damages(given[key]).items()
        if not odd(key, value)
    ]


def finite(found) -> bool:
    "No NaN or infinity anywhere in a result."
    if isinstance(found, pd.DataFrame):
        return all(finite(found[c].to_numpy()) for c in found)
    if issparse(found):
        return finite(found.data)
    if isinstance(found, np.ndarray):
        return found.dtype.kind not in "fc" or bool(np.isfinite(found).all())
    if isinstance(found, float):
        return np.isfinite(found)
    if isinstance(found, dict):
        return all(map(finite, found.values()))
    if isinstance(found, (tuple, list)):
        return all(map(finite, found))
    return (
        all(finite(getattr(found, f.name)) for f in dataclasses.fields(found))
        if dataclasses.is_dataclass(found)
        else True
    )


class Slow(BaseException):
    "A call takes too long."


def _alarm(*_):
    raise Slow


def function_of(call):
    "The function that is called: of gencast, or of a study's module (`studies.`), which is not installed."
    module, name = call.function.rsplit(".", 1)
    study = module.startswith("studies.")
    module = importlib.import_module(module.removeprefix("studies.") if study else f"gencast.{module}")
    return getattr(module, name)


def attempt(call, key: str, damage: str) -> str:
    "What is wrong with the answer to a damaged call; empty if nothing."
    function = function_of(call)
    given = call.arguments()
    if key:
        given[key] = damages(given[key])[damage]
    old = signal.signal(signal.SIGALRM, _alarm) if hasattr(signal, "SIGALRM") else None
    if old is not None:
        signal.alarm(20)
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = function(**given)
    except InputError as err:
        said = str(err)
        return "" if 15 < len(said) <= LONGEST else f"the message has {len(said)} characters: {said[:80]!r}"
    except Slow:
        return "it takes longer than 20 s"
    except Exception as err:
        return (
            ""
            if key in PATHS and isinstance(err, OSError) and err.filename
            else f"{type(err).__name__}: {err}"[:300]
        )
    finally:
        if old is not None:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
    if not call.blank and not finite(found):
        return "the result is not finite"
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            kept = call.law(found, given)
        except Exception as err:
            return f"the law cannot be checked: {type(err).__name__}: {err}"[:200]
    return "" if kept else "the law does not hold"


@pytest.mark.parametrize("call", CALLS, ids=lambda c: c.function)
def test_a_damaged_argument_is_refused_or_keeps_the_law(call):
    todo = plan(call)

    @settings(
        max_examples=max(1, min(N, len(todo))),
        derandomize=N == 25,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.sampled_from(todo or [("", "")]))
    def tried(case):
        problem = attempt(call, *case)
        assert not problem, f"{call.function} with {' '.join(case)}: {problem}"

    tried()


def functions(public: bool) -> set:
    "Module and name, without gencast, of every public function, or of every function, helpers included."
    modules = [
        m.name
        for m in pkgutil.walk_packages(gencast.__path__, "gencast.")
        if not m.ispkg and not m.name.endswith("_modidx")
    ]
    found = set()
    for name in modules:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", []) if public else vars(module)
        for n in names:
            value = getattr(module, n)
            if inspect.isfunction(value) and value.__module__ == name:
                found.add(f"{name[8:]}.{n}")
    return found


def test_every_public_function_is_tried_or_left_out_with_a_reason():
    left_out = [
        f"{m}.{n}"
        for modules in yaml.safe_load((Path(__file__).parent / "odd_left_out.yaml").read_text()).values()
        for m, names in modules.items()
        for n in names.split()
    ]
    called = {
        c.function
        for c in CALLS
        if not c.function.startswith("studies.") and inspect.isfunction(function_of(c))
    }
    assert len(left_out) == len(set(left_out)) and not called & set(left_out), "named twice"
    assert sorted(functions(public=True) - called - set(left_out)) == [], (
        "add a sound call to odd_calls.py, or the name to odd_left_out.yaml under its reason"
    )
    assert sorted((called | set(left_out)) - functions(public=False)) == [], (
        "no such function: take the name out"
    )


def test_sound_calls_are_sound():
    problems = {c.function: attempt(c, "", "") for c in CALLS if "no such" not in str(c.arguments())}
    assert not {k: v for k, v in problems.items() if v}
