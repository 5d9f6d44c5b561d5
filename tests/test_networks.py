"Networks: the contract, the same bytes, what is stored, and every way in which a training can fail."

import json
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.core.files import checksum, write_json
from gencast.models import layers, members, networks
from gencast.models.layers import weight_shapes
from gencast.models.networks import CNNRegressor, fit_networks, load_network, save_network

try:
    import torch
except ImportError:
    torch = None
needs_torch = pytest.mark.skipif(torch is None, reason="needs gencast[cnn]")


def made_up(n: int = 150, seed: int = 1, n_feature: int = 120) -> tuple:
    "Smooth log spectra and labels: the level, a product, and three fractions."
    rng = np.random.default_rng(seed)
    k, curves = (
        rng.normal(size=(n, 4)),
        np.random.default_rng(9).normal(size=(3, n_feature)).cumsum(axis=1) / 10,
    )
    X = 7 + k[:, :1] + 0.1 * k[:, 1:] @ curves + 0.005 * rng.normal(size=(n, n_feature))
    parts = np.exp(0.5 * k[:, 1:])
    return X.astype(np.float32), np.column_stack(
        [10 + k[:, 0] + 0.1 * k[:, 1] ** 2, k[:, 1] * k[:, 2], parts / parts.sum(axis=1, keepdims=True)]
    )


X, Y = made_up()
TINY = {"n_members": 2, "epochs": 3, "compositions": ((2, 5),), "noise": 0.005, "device": "cpu"}


def state_bytes(model) -> dict:
    return {k: v.tobytes() for k, v in model.state_.items()}


@pytest.fixture(scope="module")
def fitted():
    pytest.importorskip("torch")
    return CNNRegressor(**TINY).fit(X, Y)


# ---------------------------------------------------------------- the contract


@needs_torch
def test_it_keeps_the_contract_of_sklearn(monkeypatch):
    from sklearn.utils.estimator_checks import check_estimator

    monkeypatch.setattr(networks, "FEWEST", 2)  # its data sets are small
    check_estimator(CNNRegressor(n_members=1, epochs=1, device="cpu"), on_skip=None)


@needs_torch
def test_shapes_of_answers(fitted):
    mean, spread = fitted.predict(X[:7], return_spread=True)
    assert mean.shape == spread.shape == (7, 5) and (spread >= 0).all() and (spread > 0).any()
    assert_allclose(mean[:, 2:].sum(axis=1), 1, atol=1e-12)
    assert (mean[:, 2:] >= 0).all()
    one = CNNRegressor(n_members=1, epochs=1, device="cpu").fit(X, Y[:, 0])
    mean, spread = one.predict(X[:7], return_spread=True)
    assert mean.shape == spread.shape == (7,) and (spread == 0).all()
    assert fitted.n_features_in_ == 120 and fitted.predict(X[:1]).shape == (1, 5)
    assert (
        list(fitted.history_) == ["member", "epoch", "train_loss", "validation_loss"]
        and len(fitted.history_) == 6
    )


@needs_torch
def test_many_galaxies_are_predicted_in_blocks(fitted, monkeypatch):
    device, whole = layers.choose_device("cpu"), fitted.predict(X)
    parts = networks.predict_members(X, fitted.state_, ((2, 5),), device, block=40).mean(axis=0)
    assert_allclose(parts, whole, atol=1e-5)


@needs_torch
@pytest.mark.parametrize("n_feature", [1, 5, 100])
def test_any_number_of_features(n_feature):
    x = np.concatenate([X, X], axis=1)[:, :n_feature]
    model = CNNRegressor(n_members=1, epochs=1, device="cpu").fit(x, Y[:, 0])
    assert np.isfinite(model.predict(x)).all()
    assert ("filter0" in weight_shapes(n_feature, 3, 1)) == (n_feature >= layers.FEWEST_PIXELS)


@needs_torch
def test_it_learns_and_goes_on_where_the_training_galaxies_end():
    x, y = made_up(400, 2)
    model = CNNRegressor(n_members=1, epochs=15, device="cpu", seed=3).fit(x, y[:, 0])
    brighter = x[:100] + np.float32(5)  # all galaxies are outside
    assert np.sqrt(np.mean((model.predict(brighter) - y[:100, 0] - 5) ** 2)) < 0.15


@needs_torch
def test_constant_labels_and_features():
    x = X.copy()
    x[:, 3:9] = x.mean()
    model = CNNRegressor(n_members=1, epochs=2, device="cpu").fit(
        x, np.column_stack([Y[:, 0], np.full(len(Y), 4.0)])
    )
    assert_allclose(model.predict(x)[:, 1], 4, atol=0.05)


# ---------------------------------------------------------------- the same bytes


@needs_torch
def test_same_seed_same_bytes_whatever_else_is_set(fitted):
    before, state = torch.get_num_threads(), torch.random.get_rng_state()
    try:
        torch.set_num_threads(2)
        torch.manual_seed(77)
        with torch.no_grad():
            again = CNNRegressor(**TINY).fit(X, Y)
        assert torch.get_num_threads() == 2
        torch.set_default_dtype(torch.float64)
        third = CNNRegressor(**TINY).fit(X.astype(float), Y)
        drawn = torch.rand(3, dtype=torch.float32)
        torch.manual_seed(77)
        assert torch.equal(drawn, torch.rand(3, dtype=torch.float32)), "the global generator was used"
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(before)
        torch.random.set_rng_state(state)
    assert state_bytes(again) == state_bytes(fitted) == state_bytes(third)
    other = CNNRegressor(**TINY | {"seed": 1}).fit(X, Y)
    assert state_bytes(other)["best"] != state_bytes(fitted)["best"]


@needs_torch
def test_another_process_makes_the_same_bytes(fitted, tmp_path):
    code = """
        import sys, torch
        torch.set_num_threads(2)
        from test_networks import TINY, X, Y
        from gencast.models.networks import CNNRegressor, save_network
        save_network(CNNRegressor(**TINY).fit(X, Y), sys.argv[1])"""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path / "net"],
        cwd=__file__.rsplit("/", 1)[0],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert state_bytes(load_network(tmp_path / "net")) == state_bytes(fitted)


@needs_torch
@pytest.mark.parametrize("together", [None, 3])
def test_a_network_is_the_same_alone_and_beside_others(together):
    sets = [made_up(150, 1), made_up(150, 2), made_up(170, 3)]  # the last has other batches
    many = fit_networks(
        sets, [5, 6, 7], 0.005, ((2, 5),), list("abc"), together, n_members=2, epochs=3, device="cpu"
    )
    for (x, y), seed, model in zip(sets, (5, 6, 7), many):
        alone = CNNRegressor(**TINY | {"seed": seed}).fit(x, y)
        assert_allclose(model.predict(x), alone.predict(x), atol=1e-4)
        if together is None:
            assert state_bytes(model) == state_bytes(alone)


@needs_torch
def test_sets_of_other_sizes_share_a_team():
    sets = [made_up(2500, 1), made_up(2900, 2)]  # the same batches, 17 and 19 of them
    options = {"n_members": 1, "epochs": 1, "device": "cpu"}
    for model, (x, y) in zip(
        fit_networks([(x, y[:, 0]) for x, y in sets], [5, 6], together=2, **options), sets
    ):
        alone = CNNRegressor(seed=5 + (len(x) > 2500), **options).fit(x, y[:, 0])
        assert_allclose(model.predict(x), alone.predict(x), atol=1e-4)


@needs_torch
def test_one_grouped_convolution_says_the_same():
    with layers.steady(1):
        x, w, b = torch.randn(3, 5, 2, 40), torch.randn(3, 4, 2, 7), torch.randn(3, 4)
        one, many = (layers.convolve(x, w, b, 3, grouped) for grouped in (True, False))
    assert one.shape == many.shape == (3, 5, 4, 12)
    assert_allclose(one.numpy(), many.numpy(), atol=1e-5)


@needs_torch
def test_training_with_grouped_convolutions_ends_alike(fitted, monkeypatch):
    monkeypatch.setattr(members, "convolves_together", lambda device: True)
    assert_allclose(CNNRegressor(**TINY).fit(X, Y).predict(X), fitted.predict(X), atol=1e-3)


# ---------------------------------------------------------------- interrupted and stored


class Interrupt:
    def __init__(self, after: int):
        self.after, self.seen = after, []

    def __call__(self, done: int, total: int):
        self.seen.append((done, total))
        if len(self.seen) > self.after:
            raise KeyboardInterrupt


@needs_torch
@pytest.mark.parametrize("after", [0, 2])
def test_an_interrupted_training_goes_on_to_the_same_bytes(fitted, tmp_path, after):
    options = {k: v for k, v in TINY.items() if k not in ("noise", "compositions")}

    def call(progress):
        return fit_networks(
            [(X, Y)],
            [0],
            TINY["noise"],
            TINY["compositions"],
            progress=progress,
            checkpoint=tmp_path,
            **options,
        )

    with pytest.raises(KeyboardInterrupt):
        call(Interrupt(after))
    rest = Interrupt(99)
    (model,) = call(rest)
    assert rest.seen[0] == (2 * after, 6) and rest.seen[-1] == (6, 6)
    assert state_bytes(model) == state_bytes(fitted)
    assert_array_equal(model.history_, fitted.history_)
    ready = Interrupt(99)
    assert state_bytes(call(ready)[0]) == state_bytes(fitted) and ready.seen == [(6, 6)], (
        "a finished one is found"
    )


@needs_torch
def test_a_killed_training_goes_on_to_the_same_bytes(fitted, tmp_path):
    code = """
        import os, sys
        from test_networks import TINY, X, Y
        from gencast.models.networks import fit_networks
        kill = lambda done, total: os.kill(os.getpid(), 9) if done == 4 else None
        fit_networks([(X, Y)], [0], progress=kill, checkpoint=sys.argv[1], save_every=1, **TINY)"""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), tmp_path],
        cwd=__file__.rsplit("/", 1)[0],
        capture_output=True,
        text=True,
    )
    assert done.returncode == -9, done.stderr[-2000:]
    model = CNNRegressor(checkpoint=str(tmp_path), save_every=1, **TINY).fit(X, Y)
    assert state_bytes(model) == state_bytes(fitted)


@needs_torch
def test_damaged_and_foreign_checkpoints_are_not_used(fitted, tmp_path):
    CNNRegressor(checkpoint=tmp_path, **TINY).fit(X, Y)
    (folder,) = tmp_path.iterdir()
    weights = folder / "weights.npy"
    weights.write_bytes(weights.read_bytes()[:-8] + b"\1" * 8)
    assert state_bytes(CNNRegressor(checkpoint=tmp_path, **TINY).fit(X, Y)) == state_bytes(fitted)
    CNNRegressor(checkpoint=tmp_path, **TINY | {"seed": 4}).fit(X, Y)
    assert len(list(tmp_path.iterdir())) == 2, "another seed has another place"


@needs_torch
def test_members_stop_early_and_keep_their_best_weights():
    model = CNNRegressor(n_members=2, epochs=60, patience=2, learning_rate=0.05, device="cpu").fit(X, Y[:, 1])
    last = model.history_.groupby("member").epoch.max()
    assert (last < 60).all()
    best = model.history_.loc[model.history_.groupby("member").validation_loss.idxmin(), "epoch"].to_numpy()
    assert_array_equal(last.to_numpy() - best, 2)


@needs_torch
def test_a_network_is_stored_without_pickle(fitted, tmp_path):
    path = save_network(fitted, tmp_path / "net")
    again = load_network(path)
    assert_array_equal(again.predict(X), fitted.predict(X))
    assert again.get_params() == fitted.get_params()
    assert {p.suffix for p in path.iterdir()} == {".npy", ".json"}
    single = CNNRegressor(n_members=1, epochs=1, noise=np.full(120, 0.01), device="cpu").fit(X, Y[:, 0])
    again = load_network(save_network(single, path))
    assert_array_equal(again.predict(X), single.predict(X))
    assert_array_equal(again.noise, single.noise)


@needs_torch
@pytest.mark.parametrize("damage", ["missing", "bits", "pickle", "json", "shape", "form"])
def test_damaged_networks_are_refused(fitted, tmp_path, damage):
    path = save_network(fitted, tmp_path / "net")
    head = json.loads((path / "network.json").read_text())
    if damage == "missing":
        (path / "best.npy").unlink()
    elif damage == "bits":
        (path / "best.npy").write_bytes((path / "best.npy").read_bytes()[:-1] + b"\7")
    elif damage == "json":
        (path / "network.json").write_text("[]")
    elif damage == "shape":
        arrays, head = members.read_state(path)
        members.save_state(path, arrays | {"best": arrays["best"][:, :-1]}, head)
    else:
        head.pop("checksum")
        if damage == "pickle":
            np.save(path / "best.npy", np.array([{}], dtype=object), allow_pickle=True)
            head["arrays"]["best"] = checksum((path / "best.npy").read_bytes())
        write_json(path / "network.json", head | ({"form": 99} if damage == "form" else {}), seal=True)
    with pytest.raises(InputError, match="is not a network that gencast stored"):
        load_network(path)


# ---------------------------------------------------------------- what is refused


def one_value(a, value):
    a = a.copy()
    a[3, 2] = value
    return a


@needs_torch
@pytest.mark.parametrize(
    "x, y, options, words",
    [
        (one_value(X, np.nan), Y, {}, "contains NaN"),
        (one_value(X, np.inf), Y, {}, "infinity"),
        (X, one_value(Y, np.nan), {}, "contains NaN"),
        (one_value(X, 1e9), Y, {}, "give logarithms"),
        (X[:0], Y[:0], {}, "0 sample"),
        (X[:20], Y[:20], {}, "too few for a network"),
        (X, Y[:9], {}, "inconsistent numbers"),
        (X, one_value(Y, -0.1), TINY, "first: row 3"),
        (X, Y * 100, TINY, "divide them by their sum"),
        (X, np.full((150, 1), "x"), {}, "network: "),
        (X, Y * 1e35, {}, "labels beyond"),
        (X, Y, {"compositions": ((3, 9),)}, "pairs \\(start, stop\\)"),
        (X, Y, {"compositions": ((0, 2), (1, 3))}, "do not overlap"),
        (X, Y, {"compositions": "ab"}, "compositions"),
        (X, Y, {"compositions": 3}, "compositions"),
        (X, Y, {"compositions": ((0.5, 2),)}, "compositions"),
        (X, Y, {"noise": -1.0}, "not negative"),
        (X, Y, {"noise": np.ones(7)}, "one for each of 120"),
        (X, Y, {"noise": "x"}, "noise"),
        (X, Y, {"noise": np.nan}, "noise"),
        (X, Y, {"epochs": 0}, "epochs is '0'"),
        (X, Y, {"n_members": 2.5}, "whole number"),
        (X, Y, {"seed": -1}, "seed"),
        (X, Y, {"learning_rate": np.nan}, "learning_rate"),
        (X, Y, {"held_out": 0.9}, "held_out"),
        (X, Y, {"checkpoint": 3}, "checkpoint"),
        (X, Y, {"device": "abacus"}, "device 'abacus' cannot be used"),
        (X, Y, {"device": None}, "give auto, cpu or cuda"),
        (X, Y, {"threads": 0}, "threads"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(x, y, options, words):
    with pytest.raises(InputError, match=words):
        CNNRegressor(**{"epochs": 1, "n_members": 1, "device": "cpu"} | options).fit(x, y)


@needs_torch
def test_a_training_that_diverges_begins_again_and_then_says_so(monkeypatch):
    with pytest.raises(
        InputError, match="wild: the training of its network diverged.*again.*lower learning_rate"
    ):
        fit_networks([(X, Y)], [0], names=["wild"], learning_rate=1e9, epochs=9, n_members=1, device="cpu")
    record, seen = members.record_epoch, []

    def once(group, who, arrays, losses, held_out):
        if not seen:
            losses = losses * np.nan
        seen.append(1)
        record(group, who, arrays, losses, held_out)

    monkeypatch.setattr(members, "record_epoch", once)
    model = CNNRegressor(**TINY).fit(X, Y)
    assert np.isfinite(model.predict(X)).all() and len(seen) == 4, "one round more than there are epochs"


@needs_torch
def test_other_features_are_refused(fitted):
    for x, words in (
        (X[:, :50], "50 features"),
        (one_value(X, np.nan), "NaN"),
        (X[0], "2D array"),
        (X[:0], "0 sample"),
        ("x", "network"),
    ):
        with pytest.raises(InputError, match=words):
            fitted.predict(x)
    with pytest.raises(InputError, match="has been fitted"):
        save_network(CNNRegressor(), "nowhere")


@needs_torch
@pytest.mark.parametrize(
    "change, words",
    [
        ({"sets": []}, "must be a list"),
        ({"sets": [X]}, "must be a list"),
        ({"sets": [(X, Y), (X[:, :50], Y)], "seeds": [1, 2], "names": ["a", "b"]}, "b: 50 features"),
        ({"seeds": [1, 2]}, "one for each of 1 sets"),
        ({"names": "a"}, "names must be a list"),
        ({"together": 0}, "together"),
        ({"depth": 3}, "no parameter 'depth'"),
        ({"sets": [(X[:9], Y[:9])]}, "a: 9 galaxies"),
        ({"seeds": [1.5]}, "seed"),
    ],
)
def test_sets_that_cannot_be_trained_together_are_refused(change, words):
    with pytest.raises(InputError, match=words):
        fit_networks(**{"sets": [(X, Y)], "seeds": [1], "names": ["a"], "epochs": 1} | change)


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'gencast\[cnn\]'"):
        CNNRegressor().fit(X, Y)


def test_importing_gencast_does_not_import_torch():
    done = subprocess.run(
        [sys.executable, "-c", "import sys, gencast.models.networks; sys.exit('torch' in sys.modules)"],
        capture_output=True,
    )
    assert done.returncode == 0
