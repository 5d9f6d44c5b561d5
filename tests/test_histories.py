"""Histories and metallicities: closed forms, reproducibility, population, refusals."""

import time

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.integrate import quad

from gencast.core.base import InputError, rng_for
from gencast.core.properties import Z_SUN
from gencast.synthesis.agebins import age_bins, mass_weighted_age, recent_sfr
from gencast.synthesis.histories import FAMILIES, burst_factor, draw_histories, list_histories
from gencast.synthesis.metallicity import GALLAZZI05, draw_metallicities, saturated
from gencast.synthesis.populations import TABLES

EDGES = age_bins(12.4)
QUENCH = {"mass": 10.7, "width": 0.55, "timescale_gyr": [0.2, 0.8]}
MASS = rng_for(0, "mass").uniform(9, 11.6, 6500)


@pytest.mark.parametrize("age", [0.3, 1.0, 6.0, 12.4, 13.78])
@pytest.mark.parametrize("n", [12, 24, 60, 100])
def test_age_bins(age, n):
    edges = age_bins(age, n)
    assert edges.shape == (n + 1,) and edges[0] == 0 and (np.diff(edges) > 0).all()
    assert_allclose(edges[[1, 2, 3, -1]], [0.001, 0.003, 0.01, age])
    assert np.isclose(edges, 0.1).any()


@pytest.mark.parametrize("args", [(12.4, 5), (0.1, 60), (np.nan, 60)])
def test_age_bins_refused(args):
    with pytest.raises(InputError):
        age_bins(*args)


@pytest.mark.parametrize("name", FAMILIES)
def test_cumulative_is_the_integral_of_the_rate(name):
    shapes = {k: np.mean(v) for k, v in FAMILIES[name].shapes.items()}
    for scale in (0.5, 3.0, 20.0):
        points = sorted({shapes.get("onset", scale), min(scale, 8.9)})
        integral = quad(
            lambda t: float(FAMILIES[name].formula(t, scale, **shapes)[0]), 0, 9.0, points=points, limit=200
        )[0]
        assert_allclose(FAMILIES[name].formula(9.0, scale, **shapes)[1], integral, rtol=1e-6)


def test_delayed_tau_bins_against_quad():
    h = draw_histories(
        {"family": "delayed_tau", "onset": 2.0, "main_sequence": {"scatter": 0}},
        np.array([10.0]),
        EDGES,
        rng_for(1),
    )[0]
    # find tau from the fractions themselves: S(x) over the last Gyr against the one before; then check every
    # bin
    from scipy.optimize import brentq

    target = (
        0.6 * 0.1
    )  # specific rate per formed mass now, 1/Gyr, of a galaxy of 1e10 Msun on the main sequence

    def rate(t, tau):
        return (t - 2) * np.exp(-(t - 2) / tau) if t > 2 else 0.0

    def total(tau):
        return quad(rate, 2, 12.4, args=(tau,))[0]

    tau = brentq(lambda tau: rate(12.4, tau) / total(tau) - target, 0.5, 50)
    for k in range(0, 60, 7):
        low, high = max(12.4 - EDGES[k + 1], 2), 12.4 - EDGES[k]
        assert_allclose(h[k], quad(rate, low, high, args=(tau,))[0] / total(tau), rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_population(family):
    recipe = {"family": family, "quench": QUENCH, "burst_sigma": 0.1}
    start = time.perf_counter()
    h = draw_histories(recipe, MASS, EDGES, rng_for(3, family))
    assert time.perf_counter() - start < 3  # 0.1 s on an idle core
    assert h.shape == (6500, 60) and h.dtype == np.float32 and (h >= 0).all()
    assert_allclose(h.sum(axis=1), 1, atol=1e-5)
    age = mass_weighted_age(h, EDGES)
    assert (age > 0).all() and (age < 12.4).all()
    log_ssfr = np.log10(np.maximum(recent_sfr(h, EDGES) / 0.6, 1e-14))
    quenched = log_ssfr < -11 - 0.2 * (MASS - 10)
    for mass, share in [(9.5, 0.1), (11.2, 0.7)]:
        assert abs(quenched[abs(MASS - mass) < 0.2].mean() - share) < 0.08
    forming = ~quenched & (abs(MASS - 10) < 0.3)
    assert abs(np.median(log_ssfr[forming]) + 10) < 0.1 and 0.22 < log_ssfr[forming].std() < 0.42
    assert np.median(age[MASS > 11]) > np.median(age[MASS < 9.6]) + 1


def test_same_seed_same_bytes():
    recipe = {"family": "lognormal", "quench": QUENCH, "burst_sigma": 0.3}

    def draw(seed):
        return draw_histories(recipe, MASS[:200], EDGES, rng_for(seed, "h"))

    assert draw(1).tobytes() == draw(1).tobytes()
    assert draw(1).tobytes() != draw(2).tobytes()


def test_recent_sfr_is_a_mean_rate():
    h = np.zeros((2, 60), np.float32)
    h[0] = np.diff(EDGES) / 12.4  # constant star formation
    h[1, -1] = 1  # all in the oldest bin
    assert_allclose(recent_sfr(h, EDGES, np.array([1e10, 1e10])), [1e10 / 12.4e9, 0], rtol=1e-5)
    assert_allclose(recent_sfr(h, EDGES, span_gyr=0.055)[0], 1 / 12.4e9, rtol=1e-5)  # inside a bin
    assert_allclose(mass_weighted_age(h, EDGES), [6.2, EDGES[-2:].mean()], rtol=1e-5)


def test_burst_factor_is_correlated_and_averages_out():
    log = np.log(burst_factor(4000, 0.3, 0.2, EDGES, rng_for(5)))
    near, far = np.corrcoef(log[:, 3], log[:, 4])[0, 1], np.corrcoef(log[:, 3], log[:, 45])[0, 1]
    assert near > 0.95 and abs(far) < 0.1
    assert log[:, -1].std() < 0.6 * log[:, 0].std()


def test_mass_metallicity_relation_recovered():
    h = draw_histories({"family": "delayed_tau"}, MASS, EDGES, rng_for(3))
    wide = {"relation": "gallazzi05", "range": [1e-6, 0.8]}
    for enrichment in ("constant", "mass"):
        z = draw_metallicities(wide | {"enrichment": enrichment}, MASS, h, EDGES, rng_for(4))
        log_z = np.log10((z * h).sum(axis=1) / Z_SUN)
        for m, *published in GALLAZZI05[1:14]:
            near = abs(MASS - m) < 0.1
            if near.sum() > 200:
                assert_allclose(np.percentile(log_z[near], [50, 16, 84]), published, atol=0.12)
    z = draw_metallicities(
        {"relation": "linear", "offset": -0.1, "slope": 0.4, "scatter": 0.0}, MASS, h, EDGES, rng_for(4)
    )
    assert_allclose(np.log10(z[:, 0] / Z_SUN), -0.1 + 0.4 * (MASS - 10.5), atol=1e-5)


def test_enrichment_rises_towards_today_and_saturation_is_counted():
    h = draw_histories({"family": "delayed_tau", "onset": 1.0}, MASS[:300], EDGES, rng_for(3))
    recipe = {
        "relation": "gallazzi05",
        "scatter": 0.1,
        "enrichment": "mass",
        "start": 0.1,
        "range": [0.004, 0.02],
    }
    z = draw_metallicities(recipe, MASS[:300], h, EDGES, rng_for(4))
    assert z.shape == h.shape and z.dtype == np.float32
    assert (np.diff(z, axis=1) <= 1e-9).all()  # lookback ascends, so Z descends
    assert z.min() >= np.float32(0.004) and z.max() <= np.float32(0.02)
    assert 0.05 < saturated(z, h, recipe) < 0.9
    wide = recipe | {"range": [1e-6, 0.8]}
    assert saturated(draw_metallicities(wide, MASS[:300], h, EDGES, rng_for(4)), h, wide) == 0
    assert_array_equal(
        z,
        np.clip(
            draw_metallicities(wide, MASS[:300], h, EDGES, rng_for(4)), np.float32(0.004), np.float32(0.02)
        ),
    )


@pytest.mark.parametrize(
    "recipe, words",
    [
        ({}, "'family' is missing"),
        ("delayed_tau", "not a table"),
        ({"family": "exponential"}, "delayed_tau, lognormal, double_power_law"),
        ({"family": "lognormal", "tau": 1}, "unknown key 'tau'"),
        ({"family": "lognormal", "onset": 1}, "unknown key 'onset'"),
        ({"family": "lognormal", "width": "wide"}, "'width' is 'wide'"),
        ({"family": "lognormal", "width": [0.9, 0.3]}, "'width'"),
        ({"family": "delayed_tau", "onset": 13}, "'onset'"),
        ({"family": "double_power_law", "falling": 0.9}, "'falling'"),
        ({"family": "lognormal", "main_sequence": {"scater": 1}}, "unknown key 'scater'"),
        ({"family": "lognormal", "main_sequence": {"ssfr": 1e-10}}, "'ssfr'"),
        ({"family": "lognormal", "quench": {"mass": 10.5}}, "'width' is missing"),
        ({"family": "lognormal", "quench": QUENCH | {"timescale_gyr": 0}}, "'timescale_gyr'"),
        ({"family": "lognormal", "burst_sigma": -1}, "'burst_sigma'"),
        ({"family": "lognormal", "burst_sigma": [0, 1, 2]}, "'burst_sigma'"),
    ],
)
def test_bad_history_recipes(recipe, words):
    with pytest.raises(InputError, match=words):
        draw_histories(recipe, MASS[:5], EDGES, rng_for(1))


@pytest.mark.parametrize(
    "recipe, words",
    [
        ({}, "'relation' is missing"),
        ({"relation": "tremonti04"}, "gallazzi05, linear"),
        ({"relation": "linear", "offset": 0}, "'slope' is missing"),
        ({"relation": "gallazzi05", "enrichment": "fast"}, "constant, mass"),
        ({"relation": "gallazzi05", "scater": 0.1}, "unknown key 'scater'"),
        ({"relation": "gallazzi05", "scatter": "big"}, "'scatter'"),
        ({"relation": "gallazzi05", "range": [0.03, 0.01]}, "'range'"),
        ({"relation": "gallazzi05", "start": 2}, "'start'"),
    ],
)
def test_bad_metallicity_recipes(recipe, words):
    h = np.full((5, 60), 1 / 60, np.float32)
    with pytest.raises(InputError, match=words):
        draw_metallicities(recipe, MASS[:5], h, EDGES, rng_for(1))


def test_bad_arrays():
    with pytest.raises(InputError, match="not finite"):
        draw_histories({"family": "lognormal"}, np.array([10, np.nan]), EDGES, rng_for(1))
    with pytest.raises(InputError, match="ascend"):
        draw_histories({"family": "lognormal"}, MASS[:5], EDGES[::-1], rng_for(1))
    with pytest.raises(InputError, match="fractions"):
        draw_metallicities({"relation": "gallazzi05"}, MASS[:5], np.ones((4, 60)), EDGES, rng_for(1))
    assert list(list_histories().index) == [*FAMILIES, *TABLES]
