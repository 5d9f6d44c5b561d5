"""Support: against brute force, the stated rate of false alarms on exchangeable toy suites, symmetries and
refusals."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import Ridge

from gencast.core.base import InputError, rng_for
from gencast.regression.support import TIERS, fit_support_model, support_table
from gencast.regression.support_calibration import HeldOutStatistics
from gencast.regression.support_statistics import STATISTICS, compare, fit_sheet, over_galaxies

FAMILIES = list("aaabbbcccddd")


def toy_suite(seed, n_sim=12, n_gal=150, p=10, families=FAMILIES, apart=0.3, family_apart=0.0):
    "Simulations on sheets of three dimensions that are shifted and bent at random; families share a shift."
    rng = rng_for(seed, "toy")
    base = rng.normal(size=(3, p))
    shift = {f: family_apart * rng.normal(size=p) for f in dict.fromkeys(families or [])}
    out = []
    for k in range(n_sim):
        rng = rng_for(seed, "toy", k)
        axes = base + apart * 0.3 * rng.normal(size=base.shape)
        offset = apart * rng.normal(size=p) + (shift[families[k]] if families else 0)
        out.append(offset + rng.normal(size=(n_gal, 3)) @ axes + 0.05 * rng.normal(size=(n_gal, p)))
    return out


@pytest.fixture(scope="module")
def suite():
    return toy_suite(1, family_apart=0.3)


@pytest.fixture(scope="module")
def model(suite):
    return fit_support_model(suite, FAMILIES, noise=0.05, n_component=3)


def test_compare_agrees_with_brute_force(suite):
    x, y = suite[0][:80] / 0.05, suite[1][:7] / 0.05
    sheet = fit_sheet(x.astype(np.float32), 3)
    mean = x.mean(axis=0)
    power, axes = np.linalg.eigh(np.cov(x.T, bias=True))
    axes, scale = axes[:, -3:], np.sqrt(power[-3:] + 1)

    def place(v):
        return (v - mean) @ axes / scale

    a = place(x)
    gaps = np.array([[np.linalg.norm(u - v) for v in a] for u in a])
    half = gaps.sum() / (80 * 79) / 2
    spacing, potential = np.sort(gaps, axis=1)[:, 3], gaps.sum(axis=1) / 79 - half
    shapes, bright = x - x.mean(axis=1, keepdims=True), x.mean(axis=1)
    width, turned = np.linalg.eigh(np.cov(shapes.T, bias=True))
    turned = turned[:, -6:] / np.sqrt(width[-6:] + 1)

    def form(v):
        return (v - v.mean(axis=-1, keepdims=True) - shapes.mean(axis=0)) @ turned

    fit = Ridge(alpha=0.01 * 80).fit(form(x), bright)
    scatter = (bright - fit.predict(form(x))).std()
    expected = []
    for v in y:
        d = np.linalg.norm(a - place(v), axis=1)
        near = np.argsort(d)[:3]
        rest = (v - mean) - axes @ (axes.T @ (v - mean))
        b, ordered = v.mean(), np.sort(x.mean(axis=1))
        below = np.mean(ordered < b)
        beyond = max(b - ordered[-1], ordered[0] - b, 0) / ordered.std()
        tail = -np.log10(2 * min(below, 1 - below) + 1 / 80) + beyond
        expected.append(
            [
                np.log10(d[near].max() / spacing[near].mean()),
                np.log10(np.sqrt(1 + (rest**2).sum() / 7)),
                np.log10(max((d.mean() - half) / potential[near].mean(), 1)),
                max(tail - 1, 0),
                (b - fit.predict(form(v[None]))[0]) / scatter,
                (b - np.quantile(bright, 0.95)) / bright.std(),
                (b - bright.mean()) / np.sqrt(bright.var() + 1 / 10),
            ]
        )
    assert_allclose(compare(sheet, y.astype(np.float32)), np.transpose(expected), atol=2e-4)


def test_brightness_leaves_features_alone_that_do_not_grow_with_it(suite):
    light, rng = np.append(np.ones(suite[0].shape[1]), 0), np.random.default_rng(3)
    wider = [np.column_stack([x, rng.normal(0, 0.05, len(x))]) for x in suite]
    model = fit_support_model(wider, None, noise=0.05, n_component=3, light=light)
    near, brighter = (model.compare(wider[3] + shift * light) for shift in (0, 0.7))
    scatter = np.array([s.scatter for s in model.sheets])[:, None]
    assert_allclose((brighter[4] - near[4]) * scatter, 0.7, rtol=2e-3)


def test_faint_simulations_do_not_hide_a_bright_set():
    rng = np.random.default_rng(0)
    level = np.append(rng.normal(0, 0.1, 12), [-1.5, -2.0, -2.5, -3.0])
    suite = [
        b + rng.normal(0, 0.5, (300, 1)) + rng.normal(0, 0.3, (300, 1)) * np.linspace(-1, 1, 6) for b in level
    ]
    model = fit_support_model(suite, None, noise=0.05, n_component=2)
    reports = {shift: model.judge(model.compare(suite[0][:150] + shift), out=(0,)) for shift in (0, 1, -1)}
    excess = {shift: report.excess()["brightest"] for shift, report in reports.items()}
    assert reports[0].tier == "inside"
    assert excess[1] > 0 > max(excess[0], excess[-1])


def test_a_wrong_unit_is_told_where_shape_gives_the_brightness():
    rng = np.random.default_rng(0)
    colour = [rng.normal(0, 0.5, (400, 1)) for _ in range(12)]
    suite = [
        c * np.linspace(-1, 1, 8)
        + c
        + 0.1 * rng.normal()
        + 0.1 * rng.normal(size=(400, 1))
        + 0.01 * rng.normal(size=(400, 8))
        for c in colour
    ]
    model = fit_support_model(suite, None, noise=0.05, n_component=3)
    reports = {shift: model.judge(model.compare(suite[0][:100] + shift), out=(0,)) for shift in (0, 1, -1)}
    assert [r.tier for r in reports.values()] == ["inside", "outside", "outside"]
    excess = reports[-1].excess()
    assert excess["offset"] > 5 and excess["brightness"] < excess["offset"]


def at_redshifts(seed, n_sim=12, n_gal=150):
    "Simulations whose last feature is a redshift, between 0.1 and 0.5, on which nothing else depends."
    rng = rng_for(seed, "redshifts")
    suite = toy_suite(seed, n_sim, n_gal)
    return [np.column_stack([x, np.log10(1 + rng.uniform(0.1, 0.5, n_gal))]) for x in suite]


@pytest.mark.parametrize("n", [10, 100])
def test_one_redshift_for_all_galaxies_is_not_inside(n):
    suite, light = at_redshifts(5), np.append(np.ones(10), 0)
    model = fit_support_model(suite, None, noise=0.003, n_component=6, light=light)
    new, same = suite[3][:n], suite[3][:n].copy()
    same[:, -1] = np.median(same[:, -1])  # nothing but the width is odd
    good, bad = (model.judge(model.compare(x), out=(3,)) for x in (new, same))
    assert good.tier == "inside" and bad.tier == "outside"
    assert max(bad.excess(), key=bad.excess().get) == "alike" and "alike 2.00" in bad.sentence()
    few = model.judge(model.compare(same[:9]), out=(3,))
    assert few.statistics["alike"]["value"] == 0


def test_spectra_scaled_to_one_brightness_are_not_inside(suite, model):
    scaled = suite[2] - suite[2].mean(axis=1, keepdims=True) + suite[2].mean()
    report = model.judge(model.compare(scaled), out=(2,))
    assert report.tier == "outside" and report.statistics["alike"]["value"] == pytest.approx(2, abs=0.01)


def test_half_the_width_is_allowed():
    place = np.random.default_rng(0).normal(size=(1, 100_000))
    rows = np.concatenate([np.zeros((6, place.size)), place / 2])
    assert over_galaxies(rows)[6] == pytest.approx(np.log10(2), abs=0.01)
    assert over_galaxies(np.concatenate([rows[:6], 3 * place]))[6] == 0


def test_p_value_counts_simulations():
    groups = np.array([[0.0, 1, 2, 3], [5, 5, 5, 5], [1, 1, 1, 9]])
    expected = [(1 + np.mean([3 <= g for g in groups[0]]) + 1 + 0.25) / 4, 1.0, 0.25]
    assert_allclose(
        HeldOutStatistics(np.zeros((3, 4, 1)), 0.3).p_value(groups, np.array([3.0, -1, 10])), expected
    )


@pytest.mark.parametrize("families", [None, list("aaaaabbbbbcccccdddddd")])
def test_stated_rate_of_false_alarms(families):
    tables = [
        support_table(toy_suite(s, 21, 90, families=families), range(21), families, noise=0.05, n_component=3)
        for s in range(12)
    ]
    tier = np.concatenate([t.tier for t in tables])
    p = np.concatenate([t.p_value for t in tables])
    n = tier.size  # 252; targets of one suite are exchangeable, not independent
    assert (tier != "inside").mean() < 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / n)
    assert (tier == "outside").mean() <= (tier != "inside").mean()
    for level in (0.1, 0.2, 0.5):
        assert (p <= level + 1e-9).mean() < level + 2.5 * np.sqrt(level * (1 - level) / n)


def test_single_galaxies_are_refused_no_more_often_than_stated():
    values = np.concatenate([rng_for(s, "alone").normal(size=(1, 40, len(STATISTICS), 50)) for s in range(4)])
    rate = 0.2
    far = [
        HeldOutStatistics(v, rate)
        .judge_galaxies(rng_for(i, "new").normal(size=(len(STATISTICS), 2000)))[1]
        .mean()
        for i, v in enumerate(values)
    ]
    assert 0.5 * rate < np.mean(far) < rate  # of six statistics together, each of which alone fails as often


def test_a_galaxy_odd_in_three_ways_at_once_is_flagged():
    "At 1 % of the galaxies of held-out simulations, however few these are."
    held = HeldOutStatistics(rng_for(0, "held").normal(size=(20, len(STATISTICS), 200)), 0.05)
    new = rng_for(1, "new").normal(size=(len(STATISTICS), 4000))
    odd, once = new.copy(), new.copy()
    odd[:3] += 2
    once[3] += 2
    known, far = held.judge_galaxies(new)
    assert 0.005 < known.mean() <= 0.0101 and 0.005 < far.mean() < 0.015
    assert held.judge_galaxies(odd)[1].mean() > 0.4 > 2 * held.judge_galaxies(once)[1].mean()


def test_three_tiers(suite, model):
    new = toy_suite(1, 12, 300, family_apart=0.3)[4][150:]
    assert model.assess(new).tier == "inside"
    tiers = [
        model.assess(new + step * np.linspace(-1, 1, 10) ** 2 * np.sign(np.sin(np.arange(10) * 2))).tier
        for step in (0, 0.1, 0.3, 1, 3, 10)
    ]
    assert tiers[0] == "inside" and tiers[-1] == "outside"
    order = [TIERS.index(t) for t in tiers]
    assert order == sorted(order)


def test_edge_needs_families(suite):
    alone = fit_support_model(suite, None, noise=0.05, n_component=3)
    for step in (0, 1, 10):
        report = alone.assess(suite[0] + step)
        assert report.tier in ("inside", "outside") and report.p_value == report.p_edge


def test_family_left_out_is_farther():
    table = support_table(
        toy_suite(3, 12, 150, family_apart=1), range(12), FAMILIES, noise=0.05, n_component=3
    )
    assert (table.tier == "inside").mean() > 0.8
    assert (table.tier_family_out != "inside").mean() > 0.8


def test_mixed_sample_is_inside_and_flags_find_the_alien(suite, model):
    mixed = np.array([x[i] for i, x in enumerate(suite)])
    report = model.assess(mixed)
    assert report.tier == "inside" and report.share_inside == 1
    mixed[3] += 30 * np.sign(np.sin(np.arange(10) * 2))
    report = model.assess(mixed)
    assert_array_equal(np.flatnonzero(~report.galaxy_inside), [3])


@pytest.mark.parametrize("n", [1, 2, 10, 40, 150])
def test_any_number_of_galaxies(suite, model, n):
    report = model.assess(suite[2][:n])
    assert report.tier == "inside" and len(report.galaxy_tier) == n
    assert model.assess(suite[2][:n] + 20 * (-1) ** np.arange(10)).tier == "outside"
    assert set(report.statistics) == {*STATISTICS, "share_far"}
    assert str(n) in report.sentence()


def test_nearest_simulation(suite, model):
    new = toy_suite(1, 12, 300, family_apart=0.3)
    assert [model.assess(x[150:]).nearest for x in new] == list(range(12))


def test_noise_of_the_target_is_allowed_for(suite, model):
    rng = rng_for(0, "noise")
    noisy = suite[5] + 0.3 * rng.normal(size=suite[5].shape)
    plain, told = model.assess(noisy), model.assess(noisy, noise=0.3)
    assert told.statistics["residual"]["value"] < 0.5 * plain.statistics["residual"]["value"]
    assert_allclose(model.compare(suite[5], noise=0), model.compare(suite[5]))


def test_symmetries(suite, model):
    one, same = model.assess(suite[3][:40], seed=4), model.assess(suite[3][:40], seed=4)
    assert one.p_value == same.p_value and one.statistics == same.statistics
    turned = model.assess(suite[3][:40][::-1], seed=4)
    assert turned.p_value == one.p_value
    assert_array_equal(turned.galaxy_tier, one.galaxy_tier[::-1])
    again = fit_support_model(suite, FAMILIES, noise=0.05, n_component=3)
    assert_array_equal(again.table, model.table)
    loaded = pickle.loads(pickle.dumps(model))
    assert loaded.assess(suite[3][:40], seed=4).statistics == one.statistics
    assert_allclose(model.compare(suite[0], block=7), model.compare(suite[0]), atol=1e-4)


def test_left_out_takes_no_part(suite, model):
    "Judging without simulation k gives what a model gives that never saw k."
    rest = [x for i, x in enumerate(suite) if i != 7]
    seen = model.judge(model.table[7], out=(7,))
    never = fit_support_model(rest, [f for i, f in enumerate(FAMILIES) if i != 7], noise=0.05, n_component=3)
    assert seen.tier == never.judge(never.compare(suite[7])).tier
    changed = np.array(model.table)
    changed[7], changed[:, :, 7] = 99, -99
    other = type(model)(model.sheets, changed, model.families, model.noise, model.rate)
    assert other.judge(model.table[7], out=(7,)).p_value == seen.p_value


def test_refusals(suite, model):
    bad = suite[0].copy()
    bad[3, 4] = np.nan
    for values, words in [
        (bad, "feature 4 of the target"),
        (suite[0][:, :9], r"\(150, 9\)"),
        (suite[0][0], "shape"),
        (suite[0][:0], "at least 1"),
    ]:
        with pytest.raises(InputError, match=words):
            model.assess(values)
    for args, words in [
        ((suite[:2],), "at least 3"),
        ((suite, FAMILIES[:4]), "4 families for 12"),
        ((suite, None, 0.0), "noise"),
        ((suite[:5] + [bad],), "simulation 5"),
        ((suite[:5] + [suite[5][:20]],), "at least 30"),
        ((suite[:5] + [suite[5][:, :8]],), "simulation 5"),
    ]:
        with pytest.raises(InputError, match=words):
            fit_support_model(*args)
    with pytest.raises(InputError, match="rate"):
        fit_support_model(suite, rate=1.5)


def test_few_simulations_say_their_rate():
    report = fit_support_model(toy_suite(2, 5, 90, families=None), noise=0.05).assess(
        toy_suite(2, 5, 90, families=None)[0]
    )
    assert report.rate == pytest.approx(1 / 6) and "16.7 %" in report.sentence()
