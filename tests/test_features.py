"""Features, line indices, feature spaces, ranking and stability: against formulas and independent
implementations."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError
from gencast.core.constants import ABSORPTION_LINES, EMISSION_LINES
from gencast.core.sample import Sample
from gencast.features.indices import list_indices, measure_indices
from gencast.features.ranking import rank_features, rank_groups
from gencast.features.spaces import SPACES, FeatureSpace, normalise_continuum, split_shape
from gencast.features.stability import (
    choice_stability,
    choose_clusters,
    choose_top,
    close_wavelengths,
    jaccard,
    labels_agree,
    selection_stability,
)
from gencast.features.table import MARKED_LINES, feature_table, line_mask

RNG = np.random.default_rng(5)
WAVE = np.geomspace(3700, 7000, 900)
LOG_FLUX = (
    7
    + RNG.normal(size=(40, 1))
    + 0.3 * RNG.normal(size=(40, 1)) * np.log(WAVE / 5000)
    + 0.02 * RNG.normal(size=(40, 900))
)


def test_line_lists_agree_with_each_other():
    assert not set(EMISSION_LINES) & set(ABSORPTION_LINES)
    for name, wave in MARKED_LINES.items():
        near = min(abs(wave - w) for w in [*EMISSION_LINES.values(), *ABSORPTION_LINES.values()])
        assert name == "D4000" or near < 8, "a blend lies between its lines"
    assert not line_mask(np.array(list(EMISSION_LINES.values()))).any()


def test_lines_are_in_vacuum():
    from gencast.synthesis.libraries import air_to_vacuum

    for name, air in {
        "Hα": 6562.8,
        "Hβ": 4861.33,
        "[O III] 5008": 5006.84,
        "[O I]": 6300.30,
    }.items():  # NIST, air
        assert abs(air_to_vacuum(air) - EMISSION_LINES[name]) < 0.1
    for name, air in {"Ca K": 3933.66, "Ca H": 3968.47, "Ca I": 4226.73, "Ca II 8544": 8542.09}.items():
        assert abs(air_to_vacuum(air) - ABSORPTION_LINES[name]) < 0.1
    assert_allclose(
        air_to_vacuum(np.array([5167.32, 5172.68, 5183.60])).mean(), ABSORPTION_LINES["Mg b"], atol=0.1
    )
    assert_allclose(air_to_vacuum(np.array([5889.95, 5895.92])).mean(), ABSORPTION_LINES["Na D"], atol=0.1)


def test_indices_against_plain_integration():
    "Each index by brute force on a fine grid, from its definition."
    fine = np.arange(3700, 6900, 0.02)
    flux = (fine / 5000) ** 1.5 * (1 + 0.1 * np.sin(fine / 7) + 0.05 * np.cos(fine / 31))
    found = measure_indices(flux[None], fine)
    for name, index in list_indices().items():

        def inside(band):
            return (fine >= band[0]) & (fine < band[1])

        blue, main, red = index.bands
        if index.kind == "break":
            expected = (flux * fine**2)[inside(red)].mean() / (flux * fine**2)[inside(blue)].mean()
        else:
            ends = [flux[inside(b)].mean() for b in (blue, red)]
            at = inside(main)
            continuum = ends[0] + (ends[1] - ends[0]) * (fine[at] - blue.mean()) / (red.mean() - blue.mean())
            passed = np.trapezoid(flux[at] / continuum, fine[at])
            width = main[1] - main[0]
            expected = (
                width - passed * width / np.ptp(fine[at])
                if index.kind == "EW"
                else -2.5 * np.log10(passed / np.ptp(fine[at]))
            )
        assert_allclose(found[name], expected, atol=5e-3, err_msg=name)


def test_indices_do_not_depend_on_the_pixels():
    def truth(w):
        return 1 - 0.4 * np.exp(-0.5 * ((w - 5178) / 8) ** 2) + (w - 5000) / 8000

    grids = (
        np.geomspace(4800, 5600, 800),
        np.geomspace(4800, 5600, 300),
        np.sort(RNG.uniform(4800, 5600, 3000)),
    )
    values = [measure_indices(truth(w)[None], w)["Mgb"][0] for w in grids[:2]]
    assert_allclose(values[0], values[1], atol=0.03)
    assert measure_indices(truth(grids[0])[None], grids[0])["NaD"] is None
    gap = grids[0][np.abs(grids[0] - 5178) > 6]
    assert (
        measure_indices(truth(gap)[None], gap)["Mgb"] is None
        and measure_indices(truth(gap)[None], gap)["Fe5270"] is not None
    )


@pytest.mark.parametrize(
    "flux, wave, words",
    [
        (np.ones((2, 5)), np.arange(4.0), "shape"),
        (np.ones((2, 5)), np.arange(5.0)[::-1], "ascending"),
        (-np.ones((2, 5)), np.arange(5.0), "not positive"),
        (np.full((2, 5), np.nan), np.arange(5.0), "not finite"),
    ],
)
def test_indices_refuse(flux, wave, words):
    with pytest.raises(InputError, match=words):
        measure_indices(flux, wave)


def test_continuum_is_numpys_least_squares():
    x = np.log(WAVE)
    fitted = np.array([np.polynomial.Legendre.fit(x, row, 8)(x) for row in LOG_FLUX[:5]])
    assert_allclose(normalise_continuum(LOG_FLUX[:5], WAVE), LOG_FLUX[:5] - fitted, atol=1e-9)
    assert_allclose(
        normalise_continuum(LOG_FLUX.astype(np.float32), WAVE), normalise_continuum(LOG_FLUX, WAVE), atol=2e-6
    )


def test_spaces_undo_and_ignore_what_they_should():
    shape, luminosity = split_shape(LOG_FLUX)
    assert_allclose(shape + luminosity, LOG_FLUX)
    for kind in ("shape", "continuum", "indices"):
        space = FeatureSpace(kind, wave=WAVE, luminosity=False).fit(LOG_FLUX)
        assert_allclose(
            space.transform(LOG_FLUX),
            space.transform(LOG_FLUX + 2),
            atol=1e-8,
            err_msg=f"{kind} must not see luminosity",
        )
    parts = FeatureSpace("components", n_components=40).fit(LOG_FLUX)
    z = parts.transform(LOG_FLUX)
    assert_allclose(
        ((z[0] - z[1]) ** 2).sum(), ((LOG_FLUX[0] - LOG_FLUX[1]) ** 2).sum(), rtol=1e-6
    )  # all of them: a rotation


def test_spaces_carry_columns_without_wavelength():
    X = np.column_stack([LOG_FLUX, np.linspace(0, 1, 40)])
    for kind in SPACES:
        space = FeatureSpace(kind, wave=np.append(WAVE, np.nan)).fit(X)
        out = space.transform(X)
        assert_allclose(out[:, -1], X[:, -1], err_msg=kind)
        assert out.shape[1] == len(space.get_feature_names_out()) == len(space.wave_out_)
        assert np.isnan(space.wave_out_[-1])


@pytest.mark.parametrize("kind", ["log_flux", "shape", "components"])
def test_space_keeps_the_contract_of_sklearn(kind):
    from sklearn.utils.estimator_checks import check_estimator

    check_estimator(FeatureSpace(kind), on_skip=None)


@pytest.mark.parametrize(
    "options, X, words",
    [
        (dict(kind="colours"), LOG_FLUX, "no feature space 'colours'"),
        (dict(kind="indices"), LOG_FLUX, "needs the wavelength"),
        (dict(kind="shape", wave=WAVE[:5]), LOG_FLUX, "5 wavelengths for 900"),
        (dict(kind="continuum", wave=WAVE, degree=900), LOG_FLUX, "lower the degree"),
        (
            dict(kind="shape", wave=WAVE),
            np.where(np.arange(900) == 3, np.nan, LOG_FLUX),
            f"feature {WAVE[3]:.1f} of galaxy 0 is NaN",
        ),
        (dict(kind="components"), LOG_FLUX[:1], "1 sample"),
        (dict(kind="indices", wave=WAVE + 5000), LOG_FLUX, "no index"),
    ],
)
def test_spaces_refuse(options, X, words):
    with pytest.raises(InputError, match=words):
        FeatureSpace(**options).fit(X).transform(X)


def test_space_refuses_another_number_of_features():
    with pytest.raises(InputError, match="899 features"):
        FeatureSpace().fit(LOG_FLUX).transform(LOG_FLUX[:, :899])


def test_feature_table_masks_lines_only_when_asked():
    sample = Sample("toy", 10**LOG_FLUX, WAVE)
    assert feature_table(sample, mask_lines=False).values.shape == (40, 900)
    table = feature_table(sample)
    assert table.values.shape[1] == line_mask(WAVE).sum() and table.values.dtype == np.float32


# ranking

X = RNG.normal(size=(400, 8)).astype(np.float32)
Y = 2 * X[:, 2] + X[:, 5] + 0.1 * RNG.normal(size=400)


def test_group_importance_is_that_of_the_joint_shuffle():
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance

    forest = RandomForestRegressor(60, max_features="sqrt", min_samples_leaf=5, random_state=1).fit(
        X[:200], Y[:200]
    )
    other = permutation_importance(
        forest, X[200:], Y[200:], n_repeats=5, random_state=1, scoring="neg_mean_squared_error"
    ).importances_mean.clip(0)
    assert_allclose(rank_groups(X, Y, np.arange(8), seed=1), other / other.sum(), atol=0.06)
    doubled = np.column_stack([X, X[:, 2]])
    assert rank_groups(doubled, Y, np.array([*range(8), 2]), seed=1).argmax() == 2
    assert_allclose(rank_groups(X, Y, np.array([-1, -1, 0, -1, -1, 1, -1, -1]), seed=1).sum(), 1)


def test_same_seed_same_bytes():
    groups = np.arange(8) // 2
    assert_array_equal(rank_groups(X, Y, groups, seed=3), rank_groups(X, Y, groups, seed=3))
    assert_array_equal(rank_features(X, Y, 3), rank_features(X, Y, 3))


@pytest.mark.parametrize(
    "values, labels, words",
    [
        (np.where(np.arange(8) == 4, np.nan, X), Y, "feature 4 is NaN"),
        (X, np.where(np.arange(400) == 9, np.nan, Y), "row 9"),
        (X, Y[:-1], "shape"),
        (X[:1], Y[:1], "one galaxy"),
    ],
)
def test_ranking_refuses(values, labels, words):
    for rank in (
        lambda: rank_features(values, labels, 0),
        lambda: rank_groups(values, labels, np.arange(8), 0),
    ):
        with pytest.raises(InputError, match=words):
            rank()


def test_groups_are_checked():
    with pytest.raises(InputError, match="without a gap"):
        rank_groups(X, Y, np.array([0, 0, 0, 2, 2, 2, 2, 2]), 0)
    with pytest.raises(InputError, match="shuffling no group"):
        rank_groups(X, np.zeros(400), np.arange(8), 0)


# stability


def nogueira(Z: np.ndarray) -> float:
    "Definition 4 of Nogueira, Sechidis & Brown (2018), written out feature by feature."
    M, d = Z.shape
    variance = [M / (M - 1) * Z[:, f].mean() * (1 - Z[:, f].mean()) for f in range(d)]
    k = Z.sum(axis=1).mean() / d
    return 1 - np.mean(variance) / (k * (1 - k))


def effective(Z: np.ndarray, C: np.ndarray) -> float:
    "The definition of Sechidis et al. (2020) with full matrices."
    d, k = Z.shape[1], Z.sum(axis=1)
    both = np.full((d, d), np.mean(k * (k - 1)) / (d * (d - 1)))
    np.fill_diagonal(both, k.mean() / d)
    return 1 - np.trace(C @ np.cov(Z.T)) / np.trace(C @ (both - (k.mean() / d) ** 2))


def test_stability_is_the_published_formula():
    Z = (RNG.random((12, 30)) < RNG.random(30) ** 2).astype(float)
    Z[:, 3] = 1
    sets, C = [np.flatnonzero(z) for z in Z], close_wavelengths(np.geomspace(5000, 5300, 30), 2000)
    assert_allclose(selection_stability(sets, 30), nogueira(Z))
    assert_allclose(selection_stability(sets, 30, C), effective(Z, C))
    assert (np.linalg.eigvalsh(C) > -1e-9).all(), "a triangular kernel is positive"


def test_stability_refuses():
    for sets, words in (([[1]], "at least two"), ([[1], []], "none empty"), ([[0, 1], [0, 1]], "not all")):
        with pytest.raises(InputError, match=words):
            selection_stability(sets, 2)
    with pytest.raises(InputError, match="alike"):
        selection_stability([[0], [1]], 3, np.eye(2))


def test_overlap_and_labels():
    alike = close_wavelengths(np.array([5000, 5001, 6000, np.nan]), 1000)
    assert_allclose(alike[3], [0, 0, 0, 1])
    assert (
        jaccard([0, 2], [1, 2]) == 1 / 3
        and jaccard([0, 2], [1, 2], alike) == 1
        and jaccard([0], [2], alike) == 0
    )
    random = [RNG.integers(0, 4, 300) for _ in range(20)]
    assert abs(labels_agree(random)) < 0.01


def test_choosing_again():
    blocks = np.repeat(np.arange(4), 6)
    hidden = RNG.normal(size=(300, 4))
    V, y = hidden[:, blocks] + 0.2 * RNG.normal(size=(300, 24)), 2 * hidden[:, 0] + hidden[:, 1]
    boot = choice_stability(
        choose_clusters(4, n_trees=10),
        V,
        y,
        n_boot=5,
        alike=np.equal.outer(blocks, blocks).astype(float),
        seed=2,
    )
    assert boot.summary["ari"] == 1 and boot.summary["nogueira_neighbours"] == 1 > boot.summary["nogueira"]
    assert len(boot.sets) == 5 and boot.chosen_share().shape == (24,) and boot.summary["ari_err"] == 0
    left = choice_stability(choose_top(3, n_trees=10), V, y, groups=np.arange(300) % 4, seed=2)
    assert left.kind == "left out" and len(left.sets) == 4 and "ari" not in left.summary and not left.labels
    again = choice_stability(choose_clusters(4, n_trees=10), V, y, n_boot=5, seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(boot.sets, again.sets))
