"""The study of distances in nbs/studies: planted examples, leaks, the jackknife against brute force,
determinism, refusals, the stored tables."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from distance_contest import (
    CHOICES,
    PAPER,
    Contest,
    apply_choice,
    contest_metrics,
    hold_groups,
    load_contest,
    measure_contest,
)
from distance_scores import (
    choose_without,
    compare,
    error_limits,
    predict_heldout,
    ranks,
    score_distances,
)
from distance_verdict import (
    CONTEST_FOLDER,
    LINE,
    board_table,
    describe_cluster_cut,
    describe_winner,
    duel_table,
    load_verdict,
    luminosity_distance,
    plain_entry,
    reason_table,
    save_verdict,
)
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import spearmanr

from gencast.core.base import InputError
from gencast.core.properties import BUILT_IN
from gencast.data.suites import load_suite
from gencast.distances.metrics import METRICS
from gencast.pipeline.settings import Settings

N_SIM, N_WAVE = 8, 40
FEW = ("top100", "clusters20_weighted", "shape")


def planted(seed=0, n_gal=80):
    """Spectra = luminosity + slope: luminosities differ much between simulations, slopes little, and errors
    follow the slopes alone.
    """
    rng = np.random.default_rng(seed)
    wave = np.linspace(4000, 8000, N_WAVE)
    bright, slope = rng.permutation(N_SIM) * 0.4, np.linspace(0, 1.5, N_SIM)
    tilt = np.linspace(-1, 1, N_WAVE)

    def galaxies(i):
        lum = bright[i] + 0.5 * rng.normal(size=n_gal)
        own = slope[i] + 0.3 * rng.normal(size=n_gal)
        return (lum[:, None] + own[:, None] * tilt + 0.02 * rng.normal(size=(n_gal, N_WAVE))).astype(
            np.float32
        ), lum + 0.3 * own

    chosen = [galaxies(i) for i in range(N_SIM)]
    apart = np.abs(slope[:, None] - slope)
    y = -2 + 1.2 * apart + 0.05 * rng.normal(size=(N_SIM, N_SIM))
    bias = 0.1 * (slope[:, None] - slope)
    labels = {"log_mstar": [m for _, m in chosen]}
    return Contest(
        tuple(f"s{i}" for i in range(N_SIM)),
        wave,
        [x for x, _ in chosen],
        labels,
        [galaxies(i)[0] for i in range(N_SIM)],
        {"log_mstar": y},
        {"log_mstar": bias},
        Settings(load_suite("default"), seed=4),
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    contest = planted()
    distances = measure_contest(
        contest, tmp_path_factory.mktemp("contest"), FEW, n_groups=4, n_trees=12, show=False
    )
    return contest, distances, *board_table(distances, contest.log_mse)


def test_the_planted_distance_wins(toy):
    contest, distances, board, scored = toy
    top = board.sort_values("mae").iloc[0]
    assert top.choice == "shape" and top.r2 > 0.8 and top["rank"] > 0.8
    paper = board.set_index(["choice", "distance", "form"]).loc[LINE]
    assert paper.r2 < 0.3 and paper.cut == 0 and paper.cut_se == 0
    duels = duel_table(board, scored, contest.log_mse)
    row = duels.set_index("question").loc["winner or paper"]
    assert row.cut > 2 * row.cut_se > 0 and row.one.startswith("shape|") and row.r2_difference > 2 * row.r2_se
    free = duels.set_index("question").loc["chosen without the target or paper"]
    assert free.one.startswith("shape|") and row.mae_one <= free.mae_one < 0.5 * free.mae_other
    assert set(describe_cluster_cut(duels)["20 % reached"]) <= {"no", "open"}
    text = describe_winner(board, duels, "log_mstar")
    assert plain_entry(row.one) in text and f"{row.mae_one:.3f}" in text
    free_choice = choose_without(scored, contest.log_mse, "log_mstar", LINE)
    assert sum(free_choice["chosen"].values()) == N_SIM


def test_the_reason_is_found(toy):
    contest, distances, *_ = toy
    reasons, pairs = reason_table(contest, distances)
    by = reasons.set_index("choice")
    assert by.loc["top100", "with_luminosity"] > 0.95 and by.loc["shape", "with_places"] > 0.9
    assert abs(by.loc["luminosity", "with_luminosity"] - 1) < 1e-12 and by.offset_on_one_axis.iloc[0] > 0.999
    assert len(pairs) == N_SIM * (N_SIM - 1)
    d = luminosity_distance(contest)
    a, b = (np.median(contest.galaxies[i], axis=1).astype(float) for i in (0, 3))
    assert_allclose(d[0, 3], np.abs(a[:, None] - b).mean(), rtol=1e-5)


def test_no_leak_from_the_target(toy):
    contest, distances, *_ = toy
    d, y, k = distances["log_mstar", *PAPER], contest.log_mse["log_mstar"], 3
    mixed, rng = y.copy(), np.random.default_rng(0)
    mixed[k], mixed[:, k] = rng.normal(size=(2, N_SIM))
    one, two = predict_heldout(d, y)[-1], predict_heldout(d, mixed)[-1]
    assert_allclose(np.delete(one[k], k), np.delete(two[k], k), atol=1e-12)
    assert np.nanmax(np.abs(np.delete(one - two, k, 0))) > 1e-3  # the others' predictions do change


def test_no_leak_into_the_choice(toy, tmp_path):
    contest, distances, *_ = toy
    groups, g = hold_groups(N_SIM, 4, contest.settings.seed), 1
    other = planted(9)
    ours = groups == g

    def swap(a, b):
        return [y if own else x for x, y, own in zip(a, b, ours)]

    changed = replace(
        contest,
        labels={"log_mstar": swap(contest.labels["log_mstar"], other.labels["log_mstar"])},
        selection=swap(contest.selection, other.selection),
    )
    again = measure_contest(changed, tmp_path, FEW, n_groups=4, n_trees=12, show=False)
    for key, d in distances.items():
        assert_array_equal(again[key][ours], d[ours])
    assert any(
        not np.array_equal(again[key][~ours], d[~ours], equal_nan=True) for key, d in distances.items()
    )


def test_same_seed_same_bytes_with_any_jobs(toy, tmp_path):
    contest, distances, board, scored = toy
    again = measure_contest(
        planted(), tmp_path / "a", ("top100",), n_groups=4, n_trees=12, jobs=2, show=False
    )
    for key, d in again.items():
        assert_array_equal(d, distances[key])
    before = {f: f.stat().st_mtime_ns for f in (tmp_path / "a").glob("*.npz")}
    measure_contest(planted(), tmp_path / "a", ("top100",), n_groups=4, n_trees=12, show=False)
    assert before and before == {
        f: f.stat().st_mtime_ns for f in (tmp_path / "a").glob("*.npz")
    }  # found, not made again
    duels, (reasons, pairs) = duel_table(board, scored, contest.log_mse), reason_table(contest, distances)
    tables = {"board": board, "duels": duels, "reasons": reasons, "pairs": pairs}
    for name in ("one", "two"):
        save_verdict(tmp_path / name, tables, {"seed": 4})
    assert all(
        (tmp_path / "one" / f"{t}.csv").read_bytes() == (tmp_path / "two" / f"{t}.csv").read_bytes()
        for t in tables
    )
    assert_allclose(load_verdict(tmp_path / "one")["board"].mae, board.mae, rtol=1e-3)


def test_jackknife_is_the_contest_without_one(toy):
    contest, distances, _, scored = toy
    d, y = distances["log_mstar", *PAPER], contest.log_mse["log_mstar"]
    for m in (0, 5):
        keep = np.delete(np.arange(N_SIM), m)
        alone = score_distances({("p", "c", "m"): d[np.ix_(keep, keep, keep)]}, {"p": y[np.ix_(keep, keep)]})[
            1
        ]["p", "c", "m", "linear"][1][-1]
        assert_allclose(scored["log_mstar", *LINE][1][m], alone, rtol=1e-9)
    duel = compare(scored, ("log_mstar", "shape", "weighted", "linear"), ("log_mstar", *LINE))
    assert_allclose(duel.difference, duel.one - duel.other)
    assert (duel.se > 0).all()


def test_ranks_against_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, (2, 30)).astype(float)
    assert_allclose(np.corrcoef(ranks(a), ranks(b))[0, 1], spearmanr(a, b).statistic)
    assert np.isnan(ranks(np.array([1.0, np.nan, 0.0]))[1]) and ranks(np.array([1.0, np.nan, 0.0]))[0] == 2


def test_a_symmetric_distance_has_a_ceiling():
    rng = np.random.default_rng(1)
    y, c = rng.normal(size=(9, 9)), rng.normal(size=9)
    ceiling = error_limits(y, c[:, None] - c)["symmetric_ceiling"]
    off, best = ~np.eye(9, dtype=bool), (y + y.T) / 2
    left = (y - best)[off]
    assert_allclose(ceiling, 1 - (left**2).sum() / ((y[off] - y[off].mean()) ** 2).sum())
    for _ in range(50):
        d = rng.normal(size=(9, 9))
        d = d + d.T + rng.uniform(0, 3) * best
        assert np.corrcoef(d[off], y[off])[0, 1] ** 2 <= ceiling + 1e-12


def test_groups_and_choices():
    groups = hold_groups(20, 5, 0)
    assert np.bincount(groups).tolist() == [4] * 5 and not np.array_equal(groups, hold_groups(20, 5, 1))
    contest = planted(1)
    for choice in CHOICES.values():
        if choice.space != "indices":
            sets, weights = apply_choice(choice, contest, np.arange(6), np.full(N_WAVE + 1, 1 / (N_WAVE + 1)))
            assert all(np.isfinite(x).all() for x in sets) and (weights is not None) == choice.weighted
    assert all(METRICS[m].weighted for c in CHOICES if CHOICES[c].weighted for m in contest_metrics(c))


def test_bad_input(toy, tmp_path):
    contest, distances, board, scored = toy
    with pytest.raises(InputError, match="does not tell of a complete run"):
        load_contest(tmp_path)
    settings = Settings(load_suite("default"))
    record = {
        "suite": asdict(settings.suite),
        "seed": 0,
        "parameters": {k: v for k, v in asdict(settings).items() if k not in ("suite", "seed")},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="no property 'colour'; choose from log_mstar"):
        load_contest(tmp_path, ("colour",))
    with pytest.raises(InputError, match="errors.csv is missing"):
        load_contest(tmp_path)
    (tmp_path / "run.json").write_text(
        json.dumps(record | {"parameters": record["parameters"] | {"views": ["photometry"]}})
    )
    with pytest.raises(InputError, match="no spectra"):
        load_contest(tmp_path)
    with pytest.raises(InputError, match="no choice of features 'best'"):
        measure_contest(contest, tmp_path / "c", ("best",), n_groups=4, show=False)
    with pytest.raises(InputError, match="2 groups of 8"):
        measure_contest(contest, tmp_path / "c", FEW, n_groups=2, show=False)
    with pytest.raises(InputError, match="lacks the paper's choice"):
        board_table({k: v for k, v in distances.items() if k[1] == "shape"}, contest.log_mse)
    with pytest.raises(InputError, match="there is no distance"):
        compare(scored, ("log_mstar", *LINE), ("log_age", *LINE))
    with pytest.raises(InputError, match="at least 5"):
        predict_heldout(np.ones((4, 4, 4)), np.ones((4, 4)))
    with pytest.raises(InputError, match="not finite"):
        predict_heldout(np.full((6, 6, 6), np.nan), np.ones((6, 6)))
    with pytest.raises(InputError, match="bench_contest"):
        load_verdict(tmp_path)


def test_the_carried_tables():
    verdict = load_verdict()
    board, duels, record = verdict["board"], verdict["duels"], verdict["record"]
    assert set(board.property) == set(BUILT_IN) - {"dust_slope"} and set(CHOICES) <= set(board.choice)
    assert {"seed", "versions", "checksum", "galaxies"} <= set(record)
    assert sum(f.stat().st_size for f in CONTEST_FOLDER.glob("*.csv")) < 200_000
    for p, rows in board.groupby("property"):
        paper = rows.set_index(["choice", "distance", "form"]).loc[LINE]
        best = rows[rows.choice != "none"].sort_values("mae").iloc[0]
        winner = duels[(duels.property == p) & (duels.question == "winner or paper")].iloc[0]
        assert winner.one == "|".join(best[["choice", "distance", "form"]]) and winner.mae_one == best.mae
        assert_allclose(rows.cut, 1 - rows.mae / paper.mae, atol=2e-3)
    assert set(CHOICES) < set(verdict["reasons"].choice) and len(verdict["pairs"]) == record[
        "simulations"
    ] * (record["simulations"] - 1)
