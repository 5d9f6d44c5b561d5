"""Galaxies that learned models and fits both read, the learned models, and their predictions with intervals.

Part of the study in `methods_compared.ipynb`; not installed with gencast. The stored tables call the
simulation of a galaxy its `universe`.
"""

from dataclasses import replace

import numpy as np

from gencast.core.arguments import Number, Word, takes
from gencast.core.base import InputError, rng_for
from gencast.core.sample import Sample
from gencast.data.observing import UNMEASURED, correlated_noise
from gencast.models.ensembles import Boosting
from gencast.sed.fitting import FITTED
from gencast.sed.intervals import PERCENTILES
from gencast.sed.library import rebin
from gencast.synthesis.recipes import Suite
from gencast.synthesis.simulations import simulate

SNRS = (10, 30, 100)  # median over pixels
LEAST_LIGHT = 0.02  # of the median brightness: fainter bins count as this bright where a logarithm is taken


@takes(snr=Number(0.1, 1e6))
def observe_at(
    sample: Sample,  # simulated spectra, rest frame
    survey: Sample,  # observed spectra on the same wavelengths, with errors
    snr: float,  # median signal-to-noise of a pixel
    seed: int,
) -> Sample:  # every galaxy, with noise and errors
    """Spectra with noise of the shape of a survey's at a given level. Raises `InputError` for a survey
    without errors, or on another grid.
    """
    same_grid = sample.wave.shape == survey.wave.shape and np.allclose(sample.wave, survey.wave, rtol=1e-6)
    if survey.flux_err is None or survey.bands or not same_grid:
        raise InputError(
            f"{survey.name!r} must be spectra with errors on the wavelengths of {sample.name!r}; load both "
            "on one grid"
        )
    rng = rng_for(seed, sample.name, "observe_at", snr)
    relative = np.asarray(survey.flux_err / survey.flux, float)
    hidden = ~(relative < UNMEASURED)
    shape = relative / np.median(relative, axis=1, keepdims=True) / snr
    partner = rng.integers(len(survey), size=len(sample))
    flux = np.asarray(sample.flux, float)
    err = np.where(hidden[partner], 0, shape[partner]) * flux
    width = float(survey.meta.get("fwhm_kms", 0.0))
    noisy = flux + err * correlated_noise(len(sample), sample.wave, width, rng)
    return replace(
        sample,
        flux=noisy,
        flux_err=np.where(hidden[partner], np.inf, err),
        meta=sample.meta | {"observed_as": survey.name, "snr": snr},
    )


@takes(
    n_train=Number(0, 1e6, whole=True),
    n_calibrate=Number(0, 1e6, whole=True),
    n_heldout=Number(1, 1e6, whole=True),
)
def draw_parts(
    recipe: dict,  # one simulation of the suite
    suite: Suite,
    seed: int,
    n_train: int = 3000,
    n_calibrate: int = 100,
    n_heldout: int = 30,
) -> dict:  # `heldout`, `calibrate`, `train`: samples without noise
    "The galaxies of a simulation in three parts that have none in common."
    sample = simulate(recipe, suite, seed, n_heldout + n_calibrate + n_train)
    ends = np.cumsum([0, n_heldout, n_calibrate, n_train])
    parts = {}
    for name, a, b in zip(("heldout", "calibrate", "train"), ends, ends[1:]):
        if b > a:
            part = sample.take(np.arange(a, b))
            labels = {q: v for q, v in part.properties.items() if q in FITTED}
            ids = tuple(f"{sample.name}:{i}" for i in range(a, b))
            parts[name] = replace(part, ids=ids, properties=labels)
    return parts


def snr_of(place: np.ndarray) -> np.ndarray:
    "The signal-to-noise at which a held-out galaxy is observed: the levels take turns."
    return np.array(SNRS)[np.asarray(place) % len(SNRS)]


def heldout_sample(
    suite: Suite,
    survey: Sample,
    seed: int,
    rounds: int = 30,  # held-out galaxies of each simulation
    n_train: int = 3000,
    n_calibrate: int = 100,
) -> Sample:  # the first galaxy of each simulation, then the second ...; `meta` has `snr` and `universe`
    "The held-out galaxies of all simulations, observed; the S/N changes from one to the next."
    found = []
    for u, recipe in enumerate(suite.simulations):
        clean = draw_parts(recipe, suite, seed, n_train, n_calibrate, rounds)["heldout"]
        observed = {s: observe_at(clean, survey, s, seed) for s in SNRS}
        found.append([(observed[s], i, s) for i, s in enumerate(snr_of(np.arange(rounds) + u))])
    rows = [found[u][i] for i in range(rounds) for u in range(len(found))]

    def stack(get):
        return np.array([get(s)[i] for s, i, _ in rows])

    return Sample(
        "heldout",
        stack(lambda s: s.flux),
        rows[0][0].wave,
        (),
        stack(lambda s: s.flux_err),
        np.full(len(rows), suite.redshift),
        tuple(s.ids[i] for s, i, _ in rows),
        {p: stack(lambda s, p=p: s.properties[p]) for p in FITTED},
        {
            "snr": [int(s) for *_, s in rows],
            "universe": [s.name for s, *_ in rows],
            "fwhm_kms": survey.meta.get("fwhm_kms", 0.0),
        },
    )


def bin_features(
    sample: Sample,  # observed spectra
    n: int = 4,  # pixels averaged
) -> np.ndarray:  # dex(Lsun/Angstrom), shape (n_gal, n_bin)
    "Logarithm of the light in bins without emission lines."
    shape = (1, sample.wave.size)
    blank = Sample("lines", np.ones(shape), sample.wave, flux_err=np.full(shape, 0.1))
    keep = np.isfinite(rebin(blank, n).flux_err[0])
    flux = rebin(sample, n).flux[:, keep]
    return np.log10(np.maximum(flux, LEAST_LIGHT * np.median(flux, axis=1, keepdims=True)))


@takes(n_trees=Number(1, 1e5, whole=True))
def fit_forest(
    values: np.ndarray,  # from `bin_features`, shape (n_gal, n_bin)
    labels: np.ndarray,  # properties, shape (n_gal, n_property)
    seed: int,
    n_trees: int = 100,
):  # function: values -> predictions, shape (n_gal, n_property)
    "A forest that predicts several properties together."
    from sklearn.ensemble import RandomForestRegressor

    middle, scatter = labels.mean(axis=0), labels.std(axis=0)
    forest = RandomForestRegressor(n_trees, max_features="sqrt", min_samples_leaf=2, random_state=seed)
    forest.fit(values, (labels - middle) / scatter)

    def predict(values):
        return forest.predict(values) * scatter + middle

    return predict


@takes(kind=Word(("random_forest", "boosting", "cnn")), n_trees=Number(1, 1e5, whole=True))
def fit_learner(
    kind: str,  # `random_forest`, `boosting` or `cnn`
    values: np.ndarray,  # from `bin_features`, shape (n_gal, n_bin)
    labels: np.ndarray,  # properties, shape (n_gal, n_property)
    seed: int,
    n_trees: int = 100,  # of a forest
    noise: float | np.ndarray = 0.0,  # added to a network's galaxies in each batch, dex, or (n_bin,)
):  # function: values -> predictions, shape (n_gal, n_property)
    """A model of any kind that predicts several properties together. Raises `InputError` for another kind, or
    where `cnn` lacks its extra.
    """
    if kind == "random_forest":
        return fit_forest(values, labels, seed, n_trees)
    if kind == "boosting":
        return Boosting(random_state=seed).fit(values, labels).predict
    from gencast.models.networks import CNNRegressor

    return CNNRegressor(seed=seed, noise=noise, device="cpu").fit(values, labels).predict


PERCENTS = np.array(list(PERCENTILES.values()))


def learned_answers(
    heldout: np.ndarray,  # predictions, shape (n_source, n_target, n_gal, n_property)
    calibrate: np.ndarray,  # shape (n_source, n_target, n_calibrate, n_property)
    truth: np.ndarray,  # of the calibration galaxies, shape (n_target, n_calibrate, n_property)
) -> dict:  # `in-domain`, `consensus`: shape (n_target, n_gal, n_property, n_percent)
    """Predictions with percentiles (`PERCENTILES`) for the galaxies of each simulation.

    In-domain: the model of the galaxy's own simulation, with percentiles of its errors on calibration
    galaxies. Consensus: the mean of all other models, with percentiles of the errors that such a mean makes
    on the calibration galaxies of the other simulations.
    """
    n = len(truth)
    found = {"in-domain": [], "consensus": []}
    for t in range(n):
        others = np.delete(np.arange(n), t)
        own = truth[t] - calibrate[t, t]
        gaps = np.concatenate(
            [truth[u] - calibrate[np.setdiff1d(others, [u]), u].mean(axis=0) for u in others]
        )
        found["in-domain"].append(_with_interval(heldout[t, t], own))
        found["consensus"].append(_with_interval(heldout[others, t].mean(axis=0), gaps))
    return {k: np.array(v) for k, v in found.items()}


def _with_interval(middle: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """A prediction and percentiles around it, from errors (truth - prediction) made elsewhere, shape (...,
    n_property, n_percent).
    """
    spread = np.percentile(gap, PERCENTS, axis=0).T
    spread[:, PERCENTS == 50] = 0
    return middle[..., None] + spread


def consensus_outside(
    predictions: np.ndarray,  # of all models for galaxies of no simulation, (n_source, n_gal, n_property)
    calibrate: np.ndarray,  # shape (n_source, n_target, n_calibrate, n_property)
    truth: np.ndarray,  # shape (n_target, n_calibrate, n_property)
) -> np.ndarray:  # shape (n_gal, n_property, n_percent)
    """The consensus of all simulations for observed galaxies, with the errors that it makes on a simulation
    it has not seen.
    """
    n = len(truth)
    gaps = np.concatenate([truth[u] - np.delete(calibrate[:, u], u, axis=0).mean(axis=0) for u in range(n)])
    return _with_interval(predictions.mean(axis=0), gaps)
