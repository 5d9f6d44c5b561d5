"""Posteriors: what is read and measured, and that nothing of a held-out simulation reaches its forecast."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from gencast.core.base import InputError
from gencast.regression import (
    evidence_from_posteriors,
    forecast_coverage,
    heldout_coverage,
    read_posterior,
    score_coverage,
)

N_SIM, N_GAL = 9, 150


def made_up(seed: int = 0, n_sim: int = N_SIM) -> tuple[dict, list, np.ndarray]:
    """Simulations whose relation of feature to label is offset by `place`; each model states the scatter of
    its own simulation, so that its intervals are right at home and too narrow elsewhere."""
    rng = np.random.default_rng(seed)
    place = np.append(np.linspace(-0.5, 0.5, n_sim), 0.1)  # the survey's last

    def galaxies(offset):
        y = rng.normal(0, 0.5, N_GAL)
        x = np.column_stack([y + offset, np.full(N_GAL, offset) + 0.05 * rng.normal(size=N_GAL)])
        return x + 0.1 * rng.normal(size=x.shape), y

    (train, labels), (test, truth) = (zip(*map(galaxies, place[:-1])) for _ in range(2))
    survey, hidden = galaxies(place[-1])
    data = {"train": train, "labels": labels, "test": test, "truth": truth, "survey": survey}
    posteriors = [
        [read_posterior(x[:, 0] - offset, np.full(N_GAL, 0.1)) for x in (*test, survey)]
        for offset in place[:-1]
    ]
    return data, posteriors, hidden


@pytest.fixture(scope="module")
def case():
    data, posteriors, hidden = made_up()
    return data, posteriors, evidence_from_posteriors(**data, posteriors=posteriors), hidden


def test_intervals_of_a_gaussian_by_three_ways():
    mean, sd = np.array([1.0, 2.0]), np.array([0.1, 0.3])
    by_sd = read_posterior(mean, sd)
    assert by_sd.levels == (0.5, 0.68, 0.9)
    assert_allclose(by_sd.upper[2], mean + 1.6448536 * sd)
    p = (0.05, 0.16, 0.25, 0.5, 0.75, 0.84, 0.95)
    by_quantiles = read_posterior(quantiles=mean[:, None] + sd[:, None] * norm.ppf(p), probabilities=p)
    assert_allclose(by_quantiles.levels, by_sd.levels)
    assert_allclose(by_quantiles.lower, by_sd.lower)
    draws = mean[:, None] + sd[:, None] * norm.ppf((np.arange(5000) + 0.5) / 5000)
    assert_allclose(read_posterior(samples=draws).upper, by_sd.upper, atol=1e-3)


def test_the_widening_factor_makes_intervals_hold():
    rng = np.random.default_rng(1)
    truth, mean = rng.normal(size=(2, 400))
    low, high = rng.uniform(0.1, 1, (2, 400))
    posterior = read_posterior(
        quantiles=np.stack([mean - low, mean, mean + high], axis=1), probabilities=(0.05, 0.5, 0.95)
    )
    factor = posterior.widening(truth)
    assert_allclose(posterior.widened(factor * (1 + 1e-12)).coverage(truth), 0.9)
    inside = (truth >= posterior.lower[0]) & (truth <= posterior.upper[0])
    assert posterior.coverage(truth)[0] == inside.mean()
    assert posterior.widened(factor * 0.99).coverage(truth)[0] < 0.9


def test_an_interval_without_width_holds_only_its_centre():
    posterior = read_posterior(quantiles=[[1.0, 1.0, 1.0]] * 2, probabilities=(0.05, 0.5, 0.95))
    assert posterior.misses(np.array([1.0, 1.1])).tolist() == [[0.0, np.inf]]


ONES = np.ones(3)


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({}, "nothing was given"),
        ({"mean": ONES}, "sd is missing"),
        ({"mean": ONES, "sd": ONES, "samples": np.ones((3, 30))}, "give one of"),
        ({"mean": ONES, "sd": [1.0, -0.5, 1.0]}, "sd of galaxy 1 is -0.5"),
        ({"mean": ONES, "sd": [1.0, 0.0, 1.0]}, "must be positive"),
        ({"mean": [1.0, np.nan, 1.0], "sd": ONES}, "not finite"),
        ({"mean": ONES, "sd": ONES[:2]}, "shape"),
        ({"mean": np.ones((3, 2)), "sd": ONES}, "shape"),
        ({"mean": ONES, "sd": ONES, "levels": (0.5, 1.2)}, "between 0 and 1"),
        ({"mean": ONES, "sd": ONES, "probabilities": (0.5,)}, "belong to quantiles"),
        ({"quantiles": [[1.0, 0.0, 2.0]], "probabilities": (0.05, 0.5, 0.95)}, "do not ascend"),
        ({"quantiles": [[1.0, 2.0, 3.0]], "probabilities": (0.95, 0.5, 0.05)}, "must ascend"),
        ({"quantiles": [[1.0, 2.0, 3.0]], "probabilities": (0.05, 0.6, 0.95)}, "lack 0.5"),
        ({"quantiles": [[1.0, 2.0, 3.0]], "probabilities": (0.05, 0.5, 0.9)}, "lack 0.05 and 0.95"),
        (
            {"quantiles": [[1.0, 2.0, 3.0]], "probabilities": (0.05, 0.5, 0.95), "levels": (0.68,)},
            "lack 0.16 and 0.84",
        ),
        ({"samples": np.ones((3, 19))}, "give at least 20"),
        ({"samples": np.full((3, 30), np.nan)}, "not finite"),
    ],
)
def test_what_is_no_posterior_is_refused_in_one_sentence(wrong, words):
    with pytest.raises(InputError, match=words) as error:
        read_posterior(**wrong)
    assert "\n" not in str(error.value)


def test_widening_brings_heldout_coverage_to_its_level(case):
    _, posteriors, evidence, _ = case
    heldout = heldout_coverage(evidence, posteriors)
    assert len(heldout) == 3 * N_SIM * (N_SIM - 1)
    scores = score_coverage(heldout)
    assert (scores.real < scores.stated - 0.1).all()
    assert_allclose(scores.widened, scores.stated, atol=0.06)
    assert (scores.widened_off < 0.6 * scores.real_off).all()
    one_factor = score_coverage(heldout_coverage(evidence, posteriors, law="constant"))
    assert (scores.widened_off < 0.8 * one_factor.widened_off).all()


def test_labels_of_a_simulation_change_nothing_but_its_score(case):
    data, posteriors, evidence, _ = case
    k, rng = 4, np.random.default_rng(3)
    shuffled = [rng.permutation(t) if j == k else t for j, t in enumerate(data["truth"])]
    labels = [rng.permutation(y) if j == k else y for j, y in enumerate(data["labels"])]
    other = evidence_from_posteriors(**(data | {"truth": shuffled, "labels": labels}), posteriors=posteriors)
    before, after = (heldout_coverage(e, posteriors).query("target == 'sim4'") for e in (evidence, other))
    scored = ["real", "right_widening", "widened"]
    for column in before.columns.drop(["target", "source", "widened_safely"]):
        same = np.allclose(before[column], after[column], rtol=1e-9)
        assert same == (column not in scored), column


def test_the_forecast_for_a_survey(case):
    _, posteriors, evidence, hidden = case
    forecast = forecast_coverage(evidence, posteriors)
    near = "sim5"  # place 0.125, the survey's is 0.1
    real = np.array([p.coverage(hidden)[2] for p in forecast.posteriors.values()])
    ninety = forecast.table[forecast.table.stated == 0.9]
    assert list(ninety.source) == list(evidence.names)
    assert np.corrcoef(ninety.expected, real)[0, 1] > 0.8
    assert abs(forecast.widened(near).coverage(hidden)[2] - 0.9) < 0.12
    assert forecast.best in ("sim4", "sim5", "sim6")
    galaxies = forecast.galaxies(near, safely=True)
    assert (galaxies.upper_90 > forecast.galaxies(near).upper_90).all()
    assert near in forecast.sentence(near) and "90 % interval" in forecast.sentence(near)
    assert "Coverage on a survey" in forecast._repr_html_()
    with pytest.raises(InputError, match="unknown source"):
        forecast.widened("nowhere")
    with pytest.raises(InputError, match="not stated"):
        forecast.sentence(level=0.95)


def test_few_simulations_have_no_interval_and_fewer_are_refused():
    data, posteriors, _ = made_up(n_sim=7)
    evidence = evidence_from_posteriors(**data, posteriors=posteriors)
    forecast = forecast_coverage(evidence, posteriors)
    assert "too few for 90 % intervals" in forecast.sentence() and "inf" not in forecast.sentence()
    with pytest.raises(InputError, match="leave out safely"):
        forecast.widened(safely=True)
    data, posteriors, _ = made_up(n_sim=5)
    evidence = evidence_from_posteriors(**data, posteriors=posteriors)
    with pytest.raises(InputError, match="5 simulations are too few"):
        heldout_coverage(evidence, posteriors)


def test_families_are_held_out_as_a_whole(case):
    data, posteriors, evidence, _ = case
    families = np.repeat(["a", "b", "c"], 3)
    with pytest.raises(InputError, match="give the families"):
        heldout_coverage(evidence, posteriors, families=families)
    whole = evidence_from_posteriors(**data, posteriors=posteriors, families=families)
    heldout = heldout_coverage(whole, posteriors, families=families)
    kin = dict(zip(whole.names, families))
    assert not (heldout.source.map(kin) == heldout.target.map(kin)).any()


def test_posteriors_that_do_not_belong_together_are_refused(case):
    _, posteriors, evidence, _ = case
    lost = [row[:3] for row in posteriors]
    with pytest.raises(InputError, match="posteriors of model 0"):
        heldout_coverage(evidence, lost)
    other = [list(row) for row in posteriors]
    other[1][2] = read_posterior(np.zeros(N_GAL), np.ones(N_GAL), levels=(0.5,))
    with pytest.raises(InputError, match="same levels"):
        heldout_coverage(evidence, other)
    with pytest.raises(InputError, match="same models, simulations and survey"):
        heldout_coverage(evidence, [[*row[:-1], row[-1].take(slice(50))] for row in posteriors])
    exact = [list(row) for row in posteriors]
    exact[0][1] = replace(exact[0][1], center=evidence.truth[1])
    with pytest.raises(InputError, match="exactly the truth"):
        heldout_coverage(evidence, exact)
