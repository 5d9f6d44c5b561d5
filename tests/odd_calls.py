"""Sound calls of public functions, for `test_odd_input.py`, which damages one argument after the other. What
is not called stands in `odd_left_out.yaml`."""

import functools
import tempfile
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from gencast.core.sample import Sample

RNG = np.random.default_rng(5)
WAVE = np.geomspace(3600.0, 7000.0, 40)
FLUX = RNG.uniform(1, 2, (24, 40)) * 1e6
LOG = np.log10(FLUX)
X, Y = RNG.normal(size=(30, 4)), RNG.normal(0.3, 1.2, (24, 4))
LABELS = X[:, 0] + 0.1 * RNG.normal(size=30)
PAIRS = RNG.normal(-1, 0.3, (7, 7))
GAPS = np.abs(RNG.normal(2, 0.5, (7, 7)))
NAMES = tuple("abcdefg")


def sample(n: int = 24, bands: bool = False) -> Sample:
    "A sound sample."
    if bands:
        return Sample(
            "s",
            FLUX[:n, :5],
            np.array([3560.0, 4700, 6170, 7480, 8930]),
            tuple(f"sdss2010-{b}" for b in "ugriz"),
            0.05 * FLUX[:n, :5],
            np.linspace(0.05, 0.1, n),
            (),
            {"log_mstar": 10 + FLUX[:n, 0] / 1e6},
        )
    return Sample(
        "s",
        FLUX[:n],
        WAVE,
        (),
        0.05 * FLUX[:n],
        np.linspace(0.05, 0.1, n),
        (),
        {"log_mstar": 10 + FLUX[:n, 0] / 1e6},
    )


class Call(NamedTuple):
    "A sound call."

    function: str  # module and name, without gencast
    arguments: Callable  # () -> keyword arguments
    law: Callable = lambda found, given: True  # what holds for every result
    blank: bool = False  # NaN is a documented value
    kept: tuple = ()  # arguments that are not damaged


def share(found, given) -> bool:
    return np.isclose(np.sum(found), 1) and np.min(found) >= 0


def positive(found, given) -> bool:
    return bool(np.all(np.asarray(found, float) >= 0))


def shaped(name: str) -> Callable:
    return lambda found, given: np.shape(found) == np.shape(given[name])


def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def priors():
    from gencast.sed.priors import Priors

    return Priors()


def drawn():
    from gencast.sed.priors import draw_parameters

    return draw_parameters(priors(), 12.0, 20, 1)


def bins():
    from gencast.synthesis.agebins import age_bins

    return age_bins(12.0)


@functools.cache
def clusters():
    from gencast.features.clusters import cluster_features

    return cluster_features(X, np.arange(1.0, 5), n_clusters=2)


@functools.cache
def design():
    from gencast.regression.crossed import pair_design

    return pair_design(PAIRS, GAPS[..., None], ("gap",))


@functools.cache
def signal_table():
    from gencast.regression.signal_table import toy_signals

    return toy_signals(7)


EDGES = np.concatenate([[0, 0.001, 0.003], np.geomspace(0.01, 13.0, 10)])
FRACTIONS = np.random.default_rng(6).dirichlet(np.ones(12), 5)
MASSES = np.linspace(9.0, 11.5, 5)
HISTORY = {
    "family": "delayed_tau",
    "onset": [0.5, 4.0],
    "main_sequence": {"ssfr": -10.0, "slope": -0.2, "scatter": 0.3},
    "quench": {"mass": 10.5, "width": 0.3, "timescale_gyr": [0.3, 1.0]},
    "burst_sigma": 0.2,
    "burst_time_gyr": 0.2,
}
RECIPE = {
    "name": "odd",
    "ssp": "bc03_stelib",
    "dust": {"law": "calzetti", "a_v": 0.4, "slope": 0.2, "birth_cloud": 1.0},
    "history": HISTORY,
    "metallicity": {
        "relation": "gallazzi05",
        "offset": 0.1,
        "enrichment": "mass",
        "start": 0.3,
        "range": [0.0002, 0.05],
    },
    "mass": {"knee": 10.7, "slope": -1.2, "minimum": 9.0},
}


@functools.cache
def ssp():
    from gencast.synthesis.ssp import load_ssp

    return load_ssp("bc03_stelib", WAVE, 800.0)


@functools.cache
def small_suite(redshifts: bool = False):
    from gencast.synthesis.recipes import Suite

    grid = {"start": 4000.0, "stop": 6800.0, "pixels": 30, "fwhm_kms": 900.0}
    return Suite("odd", "", 0.1, 100, grid, grid, (RECIPE,), (0.05, 1.0) if redshifts else ())


@functools.cache
def galaxies():
    from gencast.synthesis.galaxies import draw_galaxies

    return draw_galaxies(RECIPE, 0.1, 5, 0)


@functools.cache
def stars():
    from gencast.data.particles import StarParticles

    rng = np.random.default_rng(7)
    return StarParticles(
        np.repeat(["a", "b"], 60),
        rng.uniform(0, 10, 120),
        np.full(120, 1e6),
        rng.uniform(0.005, 0.03, 120),
        0.1,
        {},
    )


@functools.cache
def spectrum():
    from gencast.data.specfiles import Spectrum

    wave = np.geomspace(3800.0, 9200.0, 400)
    return Spectrum(
        "s", wave, np.ones(400), np.ones(400), np.ones(400, bool), np.full(400, 160.0), 0.05, "GALAXY", 0, {}
    )


def wide_sample(redshift: bool = False):
    from gencast.core.sample import Sample

    wave = np.geomspace(1500.0, 14000.0, 60)
    return Sample(
        "s", FLUX[:6, :1] * np.ones(60), wave, redshift=np.linspace(0.05, 0.1, 6) if redshift else None
    )


@functools.cache
def scored():
    from distance_scores import score_distances

    return score_distances(
        {("p", "c", "m"): np.repeat(GAPS[None], 7, 0), ("p", "c", "k"): np.repeat(GAPS.T[None] ** 2, 7, 0)},
        {"p": PAIRS},
    )[1]


@functools.cache
def forest():
    from gencast.models.estimators import fit_model

    return fit_model("random_forest", X, LABELS, seed=0, n_trees=3)


@functools.cache
def heldout():
    from gencast.regression.protocol import heldout_predictions

    return heldout_predictions(signal_table(), "pooled_line", (0.5,))


@functools.cache
def assumed():
    return pd.DataFrame({"name": NAMES, "ssp": list("xxyyxyx"), "dust": list("ppqpqqp")})


@functools.cache
def errors():
    return pd.DataFrame(
        [
            {"source": a, "target": b, "mse": 10 ** PAIRS[i, j], "log_mse": PAIRS[i, j], "predicted": -1.0}
            for i, a in enumerate(NAMES)
            for j, b in enumerate(NAMES)
            if i != j
        ]
    )


@functools.cache
def observed_galaxies():
    rng = np.random.default_rng(8)
    predicted = rng.normal(10, 0.5, 60)
    return pd.DataFrame(
        {
            "target": "t",
            "property": "log_mstar",
            "reference_from": "r",
            "predicted": predicted,
            "expected_error": 0.2,
            "reference": predicted + rng.normal(0, 0.2, 60),
            "redshift": rng.uniform(0.1, 0.9, 60),
            "inside": True,
        }
    )


DISTANCE = dict(source=X, target=Y)
CALLS = [
    # core
    Call(
        "core.properties.define_property",
        lambda: dict(name="log_odd", label="odd", unit="dex(Msun)", meaning="odd"),
    ),
    Call(
        "core.sample.Sample",
        lambda: dict(
            name="s",
            flux=FLUX,
            wave=WAVE,
            flux_err=FLUX / 9,
            redshift=np.linspace(0, 1, 24),
            ids=tuple(map(str, range(24))),
            properties={"log_mstar": FLUX[:, 0]},
            meta={},
        ),
        blank=True,
    ),
    Call("core.base.rng_for", lambda: dict(seed=3), lambda found, given: found.random() < 1),
    # data
    Call("data.bands.pivot", lambda: dict(name="sdss2010-g"), positive),
    Call("data.bands.effective_wavelength", lambda: dict(name="sdss2010-g"), positive),
    Call("data.bands.eazy_band", lambda: dict(number=155)),
    Call("core.checks.check_name", lambda: dict(name="foo", where="here")),
    Call("core.checks.beside", lambda: dict(folder=tempfile.gettempdir(), name="foo", where="here")),
    Call(
        "synthesis.dust.attenuation_curve",
        lambda: dict(law="salim", wave=WAVE, delta=-0.3, bump=1.0),
        lambda f, g: np.shape(f) == np.shape(g["wave"]) and positive(f, g),
    ),
    Call("synthesis.dust.k_calzetti", lambda: dict(wave=WAVE), shaped("wave")),
    Call("synthesis.dust.k_bump", lambda: dict(wave=WAVE, bump=1.0), shaped("wave")),
    Call("synthesis.dust.salim", lambda: dict(wave=WAVE, delta=-0.3, bump=1.0), shaped("wave")),
    Call("synthesis.dust.cardelli", lambda: dict(wave=WAVE, r_v=3.1), shaped("wave")),
    Call("synthesis.dust.smc", lambda: dict(wave=WAVE), shaped("wave")),
    Call("data.photometry.band_wavelengths", lambda: dict(bands=("sdss2010-g", "sdss2010-r")), positive),
    Call(
        "data.photometry.band_luminosity",
        lambda: dict(
            wave=np.geomspace(2000, 12000, 300), flux=np.ones((2, 300)), redshift=0.05, bands=("sdss2010-g",)
        ),
    ),
    Call(
        "data.photometry.nu_l_nu",
        lambda: dict(flux=FLUX[:6, :2], redshift=np.full(6, 0.1), wave=np.array([4700.0, 6170.0])),
        blank=True,
    ),
    Call(
        "data.photometry.survey_partners",
        lambda: dict(log_lum=LABELS, log_lum_survey=LABELS[::2] + 0.1, rng=rng(), k=5),
        positive,
    ),
    Call(
        "core.resampling.pixel_edges",
        lambda: dict(wave=WAVE),
        lambda f, g: bool((np.diff(f) > 0).all() and len(f) == len(g["wave"]) + 1),
    ),
    Call(
        "core.resampling.overlap_matrix",
        lambda: dict(edges_in=np.geomspace(3600, 7000, 21), edges_out=np.geomspace(4000, 6000, 11)),
        lambda f, g: bool((f.sum(axis=1) < 1 + 1e-9).all()),
    ),
    Call(
        "core.resampling.broadening_matrix",
        lambda: dict(edges=np.geomspace(3600, 7000, 21), sigma_kms=np.full(20, 900.0)),
        lambda f, g: bool((f.sum(axis=1) < 1 + 1e-9).all()),
    ),
    Call(
        "core.resampling.resample",
        lambda: dict(
            wave_in=WAVE,
            flux=FLUX[0],
            flux_err=0.1 * FLUX[0],
            wave_out=np.geomspace(4000, 6000, 15),
            sigma_kms=300.0,
        ),
        blank=True,
    ),
    Call("synthesis.recipes.read_recipes", lambda: dict(suite="default")),
    Call(
        "data.specfiles.luminosity",
        lambda: dict(wave=WAVE, flux=FLUX[0] / 1e6, redshift=0.1, ebv=0.03),
        lambda f, g: np.shape(f) == np.shape(g["flux"]),
    ),
    Call("core.units.parse_unit", lambda: dict(text="Msun", where="here")),
    Call(
        "synthesis.agebins.age_bins",
        lambda: dict(age_universe_gyr=13.0, n=20),
        lambda f, g: len(f) == g["n"] + 1 and bool((np.diff(f) > 0).all()),
    ),
    Call(
        "synthesis.recipe_values.draw_range",
        lambda: dict(value=[0.2, 0.8], n=5, rng=rng(), where="here", low=0.1, high=1.0),
        lambda f, g: len(f) == g["n"] and bool((f >= g["low"]).all() and (f <= g["high"]).all()),
    ),
    Call(
        "synthesis.histories.burst_factor",
        lambda: dict(n_gal=4, sigma=0.2, memory=0.3, edges=EDGES, rng=rng()),
        positive,
    ),
    Call(
        "synthesis.histories.draw_histories",
        lambda: dict(recipe=HISTORY, log_mstar=MASSES, edges=EDGES, rng=rng()),
        lambda f, g: positive(f, g) and np.allclose(f.sum(axis=1), 1, atol=1e-5),
    ),
    Call("synthesis.agebins.mass_weighted_age", lambda: dict(fractions=FRACTIONS, edges=EDGES), positive),
    Call(
        "synthesis.agebins.recent_sfr",
        lambda: dict(fractions=FRACTIONS, edges=EDGES, mass_formed=10**MASSES, span_gyr=0.1),
        positive,
    ),
    Call(
        "synthesis.metallicity.draw_metallicities",
        lambda: dict(
            recipe=RECIPE["metallicity"], log_mstar=MASSES, fractions=FRACTIONS, edges=EDGES, rng=rng()
        ),
        lambda f, g: np.shape(f) == np.shape(g["fractions"]) and bool((f > 0).all()),
    ),
    Call(
        "synthesis.libraries.air_to_vacuum",
        lambda: dict(wave=WAVE),
        lambda f, g: np.shape(f) == np.shape(g["wave"]) and not (f < np.asarray(g["wave"], float)).any(),
        blank=True,
    ),
    Call(
        "synthesis.pixels.bin_points",
        lambda: dict(wave=WAVE, flux=FLUX[:3], edges=np.geomspace(4000, 6000, 11)),
        lambda f, g: f.shape[-1] == len(g["edges"]) - 1,
    ),
    Call(
        "synthesis.pixels.log_edges",
        lambda: dict(low=3600.0, high=7000.0, step=300.0),
        lambda f, g: len(f) > 1 and bool((np.diff(f) > 0).all()),
    ),
    Call(
        "synthesis.pixels.resampling_matrix",
        lambda: dict(
            edges_in=np.geomspace(3600, 7000, 21),
            edges_out=np.geomspace(4000, 6000, 11),
            sigma=np.full(20, 900.0),
        ),
        lambda f, g: bool((f @ np.diff(g["edges_out"]) <= np.diff(g["edges_in"]) * (1 + 1e-9)).all()),
    ),
    Call(
        "synthesis.nebular.nebular_light",
        lambda: dict(
            wave=WAVE,
            age=np.array([0.001, 0.01, 1.0]),
            zmet=np.array([0.004, 0.02]),
            fwhm_kms=500.0,
            escape=0.1,
            excitation=0.2,
        ),
        lambda f, g: f.shape == (len(g["zmet"]), len(g["age"]), len(g["wave"])) and positive(f, g),
    ),
    Call(
        "synthesis.nebular.add_nebular",
        lambda: dict(grid=ssp(), escape=0.1, excitation=0.2),
        lambda f, g: positive(f.flux, g),
    ),
    Call(
        "synthesis.ages.log_weights",
        lambda: dict(own=np.array([0.001, 0.01, 0.1, 1.0]), wanted=np.array([0.0005, 0.02, 2.0])),
        lambda f, g: np.allclose(f.sum(axis=1), 1),
    ),
    Call(
        "synthesis.imf.initial_mass_function",
        lambda: dict(mass=np.array([0.2, 1.0, 20.0]), imf="steep"),
        positive,
    ),
    Call(
        "synthesis.kinematics.draw_dispersions",
        lambda: dict(recipe={"relation": "zahid16", "scatter": 0.1}, log_mstar=MASSES, rng=rng()),
        lambda f, g: len(f) == len(g["log_mstar"]) and positive(f, g),
    ),
    Call(
        "synthesis.kinematics.broaden",
        lambda: dict(flux=FLUX[:3], wave=WAVE, sigma=np.array([0.0, 100.0, 300.0]), block=2),
        lambda f, g: np.shape(f) == np.shape(g["flux"]),
    ),
    Call(
        "synthesis.nuclei.draw_nuclei",
        lambda: dict(recipe={"fraction": 0.5, "share": 0.2}, n=20, rng=rng()),
        lambda f, g: len(f) == g["n"] and np.all((f >= 0) & (f < 1)),
    ),
    Call(
        "synthesis.nuclei.add_nuclei",
        lambda: dict(
            flux=FLUX[:3],
            wave=WAVE,
            share=np.array([0.0, 0.1, 0.5]),
            slope=-1.56,
            fwhm=np.array([3000.0, 4000.0, 5000.0]),
            strength=np.array([0.0, 1.0, 2.0]),
            resolution=500.0,
        ),
        lambda f, g: np.shape(f) == np.shape(g["flux"]),
    ),
    Call(
        "synthesis.broad_lines.draw_broad_lines",
        lambda: dict(recipe={"broad_lines": 0.5, "fwhm": 5000}, n=20, rng=rng()),
        lambda f, g: all(len(x) == g["n"] for x in f) and positive(f[0], g) and np.all(f[1] >= 0),
    ),
    Call(
        "synthesis.broad_lines.broad_line_light",
        lambda: dict(wave=WAVE, fwhm=np.array([2000.0, 6000.0]), slope=-1.56, resolution=500.0),
        lambda f, g: np.shape(f) == (len(g["fwhm"]), len(g["wave"])) and np.all(f >= 0),
    ),
    Call(
        "synthesis.foreground.draw_residuals",
        lambda: dict(recipe={"ebv": 0.05, "error": 0.16}, n=20, rng=rng()),
        lambda f, g: len(f) == g["n"] and np.isfinite(f).all(),
    ),
    Call(
        "synthesis.foreground.redden",
        lambda: dict(flux=FLUX[:3], wave=WAVE, redshift=0.1, residual=np.array([0.0, 0.01, -0.01])),
        lambda f, g: np.shape(f) == np.shape(g["flux"]),
    ),
    Call(
        "synthesis.calibration.draw_warps",
        lambda: dict(recipe={"warp": 0.03, "degree": 3}, n=20, rng=rng()),
        lambda f, g: np.shape(f) == (g["n"], 3) and np.isfinite(f).all(),
    ),
    Call(
        "synthesis.calibration.warp_rms",
        lambda: dict(coefficients=np.array([[0.01, 0.02], [0.0, 0.03]])),
        lambda f, g: len(f) == 2 and np.all(f >= 0),
    ),
    Call(
        "synthesis.calibration.warp_spectra",
        lambda: dict(flux=FLUX[:2], wave=WAVE, coefficients=np.array([[0.01, 0.02], [0.0, 0.03]])),
        lambda f, g: np.shape(f) == np.shape(g["flux"]),
    ),
    Call(
        "synthesis.calibration.draw_zero_points",
        lambda: dict(recipe={"zero_point": 0.02}, name="a", bands=("sdss2010-g", "sdss2010-r"), seed=1),
        lambda f, g: len(f) == len(g["bands"]) and np.isfinite(f).all(),
    ),
    Call(
        "synthesis.igm.igm_transmission",
        lambda: dict(
            wave=np.geomspace(1000, 2000, 60),
            redshift=np.array([1.0, 3.0]),
            law="inoue14",
            factor=np.array([1.0, 1.2]),
        ),
        lambda f, g: np.shape(f) == (2, len(g["wave"])) and np.all((f > 0) & (f <= 1)),
    ),
    Call(
        "synthesis.igm.absorb",
        lambda: dict(
            flux=np.ones((2, 60)),
            wave=np.geomspace(1000, 2000, 60),
            redshift=np.array([1.0, 3.0]),
            recipe={"law": "madau95", "scatter": 0.1},
            rng=rng(),
        ),
        lambda f, g: np.shape(f) == np.shape(g["flux"]),
    ),
    Call(
        "synthesis.ssp.surviving_fraction",
        lambda: dict(zmet=np.array([0.004, 0.02]), age=np.array([0.01, 1.0, 10.0])),
        lambda f, g: positive(f, g) and bool((f <= 1 + 1e-9).all()),
    ),
    Call(
        "synthesis.ssp.load_ssp",
        lambda: dict(name="bc03_stelib", wave=WAVE, fwhm_kms=800.0, extend=False),
        lambda f, g: positive(f.flux, g),
    ),
    Call("synthesis.ssp.mass_to_light", lambda: dict(grid=ssp(), band="V"), positive),
    Call(
        "synthesis.epochs.draw_redshifts",
        lambda: dict(observed=np.linspace(0.1, 0.9, 8), n=6, rng=rng()),
        lambda f, g: len(f) == g["n"] and bool((np.diff(f) >= 0).all()),
    ),
    Call(
        "synthesis.epochs.simulate_epochs",
        lambda: dict(
            recipe=RECIPE,
            suite=small_suite(True),
            observed=np.linspace(0.1, 0.9, 8),
            seed=1,
            n_galaxies=6,
            n_slices=2,
        ),
        lambda f, g: len(f) == (g["n_galaxies"] or 100),
    ),
    Call(
        "data.faint.asinh_brightness",
        lambda: dict(flux=FLUX[:6] - 0.1 * FLUX[:6].mean(), softening=np.full(FLUX.shape[1], 0.1)),
        lambda f, g: f.shape == np.shape(g["flux"]),
    ),
    Call("data.faint.soften", lambda: dict(survey=sample())),
    Call(
        "data.observing.observe_spectra",
        lambda: dict(sample=sample(), survey=sample(), seed=1, limit=30.0, block=5),
        lambda f, g: len(f) <= 24,
    ),
    Call(
        "data.observing.observe",
        lambda: dict(sample=sample(), survey=sample(), seed=1),
        lambda f, g: len(f) <= 24,
    ),
    Call(
        "data.particles.particle_histories",
        lambda: dict(stars=stars(), grid=ssp(), a_v=np.array([0.1, 0.2]), least=40),
        lambda f, g: np.allclose(f[0].fractions.sum(axis=1), 1),
    ),
    Call(
        "data.particles.shine",
        lambda: dict(
            galaxies=galaxies(),
            grid=ssp(),
            dust={"law": "calzetti", "birth_cloud": 1.0},
            name="odd",
            ids=("a", "b", "c", "d", "e"),
        ),
        lambda f, g: positive(f.flux, g),
    ),
    Call(
        "data.photometry.observe_at_redshift",
        lambda: dict(sample=wide_sample(True), survey=sample(bands=True), seed=1, k=3),
    ),
    Call(
        "data.photometry.observe_photometry",
        lambda: dict(sample=wide_sample(), survey=sample(bands=True), seed=1),
    ),
    Call(
        "data.references.colour_masses",
        lambda: dict(fluxes=np.array([[20.0, 50, 70]]), redshift=np.array([0.05])),
        lambda f, g: len(f) == np.size(g["redshift"]),
    ),
    Call(
        "synthesis.spectra.synthesize",
        lambda: dict(galaxies=galaxies(), grid=ssp(), dust={"law": "calzetti", "birth_cloud": 1.0}, block=2),
        lambda f, g: positive(f[0], g),
    ),
    Call("synthesis.recipes.check_parts", lambda: dict(recipe=RECIPE, where="here")),
    Call(
        "synthesis.simulations.simulate",
        lambda: dict(recipe=RECIPE, suite=small_suite(), seed=1, n_galaxies=5, view="spectra"),
        lambda f, g: len(f) == (g["n_galaxies"] or 100) and positive(f.flux, g),
    ),
    Call(
        "data.surveys.rest_frame",
        lambda: dict(
            spec=spectrum(), redshift=0.05, wave=np.geomspace(4000.0, 6800.0, 30), ebv=0.03, fwhm_kms=600.0
        ),
        lambda f, g: f[0].shape == np.shape(g["wave"]),
    ),
    Call(
        "data.surveys.fibre_fluxes",
        lambda: dict(spec=spectrum(), ebv=0.03, bands=("sdss2010-g", "sdss2010-r")),
        lambda f, g: positive(f, g) and len(f) == len(g["bands"]),
    ),
    # features
    Call("features.table.line_mask", lambda: dict(wave=WAVE, width_kms=700.0), shaped("wave")),
    Call("features.table.feature_table", lambda: dict(sample=sample()), blank=True),
    Call(
        "features.ranking.rank_features",
        lambda: dict(values=X, labels=LABELS, seed=1, n_trees=3, max_samples=0.7, min_leaf=2),
        share,
    ),
    Call(
        "features.ranking.top_features",
        lambda: dict(importance=np.array([0.1, 0.5, 0.4]), n=2),
        lambda f, g: len(set(f.tolist())) == len(f),
    ),
    Call(
        "features.ranking.rank_groups",
        lambda: dict(
            values=X,
            labels=LABELS,
            groups=np.array([0, 0, 1, -1]),
            seed=1,
            n_trees=3,
            n_repeats=1,
            min_leaf=2,
        ),
        share,
    ),
    Call("features.indices.measure_indices", lambda: dict(flux=FLUX[:3], wave=WAVE), blank=True),
    Call(
        "features.spaces.split_shape",
        lambda: dict(values=LOG),
        lambda f, g: np.allclose(f[0] + f[1], np.asarray(g["values"], float), atol=1e-3),
    ),
    Call(
        "features.spaces.normalise_continuum", lambda: dict(values=LOG, wave=WAVE, degree=4), shaped("values")
    ),
    Call("features.clusters.rank_correlation", lambda: dict(X=X), lambda f, g: bool((np.abs(f) <= 1).all())),
    Call("features.clusters.rank_distance", lambda: dict(X=X), lambda f, g: np.allclose(f, f.T)),
    Call("features.clusters.grow_tree", lambda: dict(rho=np.corrcoef(X.T), method="average")),
    Call(
        "features.clusters.reweigh",
        lambda: dict(clusters=clusters(), weights=np.array([1.0, 3.0])),
        lambda f, g: np.isclose(f.weights.sum(), 1),
        kept=("clusters",),
    ),
    Call(
        "features.clusters.check_importance",
        lambda: dict(importance=np.array([1.0, 2.0]), n_feature=2),
        share,
    ),
    Call(
        "features.clusters.cluster_features",
        lambda: dict(
            X=X,
            importance=np.arange(1.0, 5),
            n_clusters=2,
            method="average",
            representative="importance",
            constant="raise",
        ),
        lambda f, g: np.isclose(f.weights.sum(), 1),
    ),
    Call(
        "features.clusters.cluster_values",
        lambda: dict(X=Y, clusters=clusters()),
        kept=("clusters",),
        blank=True,
    ),
    Call(
        "features.clusters.describe_clusters",
        lambda: dict(clusters=clusters(), names=list("abcd")),
        kept=("clusters",),
    ),
    Call("features.stability.selection_stability", lambda: dict(sets=[[0, 1], [1, 2], [0, 2]], n_feature=6)),
    Call(
        "features.stability.close_wavelengths",
        lambda: dict(wave=WAVE, reach_kms=1000.0),
        lambda f, g: np.shape(f) == (len(g["wave"]),) * 2,
    ),
    Call(
        "features.stability.jaccard",
        lambda: dict(a=np.array([0, 1]), b=np.array([1, 2])),
        lambda f, g: 0 <= f <= 1,
    ),
    Call("features.stability.labels_agree", lambda: dict(labels=[np.array([0, 0, 1]), np.array([1, 1, 0])])),
    # distances
    Call("distances.moments.fit_moments", lambda: dict(values=X, weights=np.ones(4)), blank=True),
    Call("distances.classifiers.deal_folds", lambda: dict(n=12, folds=3, seed=0)),
    Call("distances.classifiers.proxy_a", lambda: dict(**DISTANCE, folds=3, C=1.0, seed=0)),
    Call(
        "distances.classifiers.classifier_auc",
        lambda: dict(**DISTANCE, folds=3, trees=3, seed=0),
        lambda f, g: 0 <= f <= 1,
    ),
    Call("distances.transport.directions", lambda: dict(n_feature=4, n_projections=6, seed=0)),
    Call("distances.transport.wasserstein", lambda: dict(a=X[:8], b=Y[:8], p=2), positive),
    Call("distances.tables.distance", lambda: dict(name="energy", **DISTANCE, seed=0, device="numpy")),
    Call(
        "distances.tables.distance_table",
        lambda: dict(sets={"x": X, "y": Y}, names=("mean_euclidean", "coral"), device="numpy"),
    ),
    Call(
        "distances.tables.null_distance",
        lambda: dict(name="mean_euclidean", features=X, n_splits=2, seed=0, device="numpy"),
    ),
    Call(
        "distances.tables.galaxy_distances",
        lambda: dict(**DISTANCE, weights=np.ones(4), block=16),
        lambda f, g: bool((f[0] >= f[1] - 1e-5).all()),
    ),
    Call("distances.tables.spread", lambda: dict(values=X), blank=True),
    Call("distances.pairwise.feature_set", lambda: dict(values=X, weights=np.ones(4))),
    # models, laws
    Call(
        "models.factories.load_factory",
        lambda: dict(path="sklearn.linear_model:Ridge", folder=None),
        lambda f, g: f.path == g["path"],
        kept=("folder",),
    ),
    Call("models.estimators.make_model", lambda: dict(name="random_forest", n_feature=4, seed=0, n_trees=2)),
    Call(
        "models.estimators.fit_model",
        lambda: dict(name="random_forest", values=X, labels=LABELS, seed=0, n_trees=2),
    ),
    Call(
        "synthesis.agebins.rebin_shares",
        lambda: dict(shares=FRACTIONS, edges_in=EDGES, edges_out=np.array([0, 1.0, 20.0])),
        lambda f, g: np.allclose(np.sum(f, axis=1), np.sum(g["shares"], axis=1)),
    ),
    Call(
        "models.timebins.smape",
        lambda: dict(predicted=np.abs(X), other=np.abs(X[::-1])),
        lambda f, g: np.nanmin(f) >= 0 and np.nanmax(f) <= 1,
        blank=True,
    ),
    Call(
        "models.timebins.wasserstein_time",
        lambda: dict(
            predicted=np.abs(X) / np.abs(X).sum(axis=1, keepdims=True),
            truth=np.abs(X[::-1]) / np.abs(X[::-1]).sum(axis=1, keepdims=True),
            edges=np.arange(5.0),
        ),
        positive,
    ),
    Call(
        "models.timebins.labels_of",
        lambda: dict(sample=sample(), property="log_mstar"),
        lambda f, g: len(f) == len(g["sample"]),
    ),
    Call(
        "models.networks.fit_networks",
        lambda: dict(
            sets=[(X, LABELS), (X + 1, LABELS)],
            seeds=[1, 2],
            noise=0.01,
            compositions=(),
            names=["a", "b"],
            together=1,
            n_members=1,
            epochs=1,
            batch_size=16,
            learning_rate=0.01,
            held_out=0.1,
            n_components=3,
            device="cpu",
        ),
        lambda f, g: (
            len(f) == len(g["sets"])
            and all(bool(np.isfinite(m.predict(X)).all()) for m in f if m.n_features_in_ == 4)
        ),
    ),
    Call("models.networks.check_compositions", lambda: dict(compositions=((0, 2), (2, 5)), n_output=5)),
    Call(
        "models.errors.error_metrics",
        lambda: dict(truth=LABELS, predicted=LABELS + 0.1),
        lambda f, g: f["mse"] >= 0,
    ),
    Call("regression.laws.fit_line", lambda: dict(x=GAPS.ravel(), y=PAIRS.ravel())),
    Call(
        "regression.laws.line_table",
        lambda: dict(signal=GAPS, log_mse=PAIRS, use=~np.eye(7, dtype=bool), names=NAMES),
        blank=True,  # the correlation where a signal does not vary
        kept=("names",),
    ),
    Call(
        "regression.intervals.conformal_interval",
        lambda: dict(residuals=[LABELS, LABELS + 0.1] * 12, level=0.8),
        lambda f, g: f[0] <= f[1],
    ),
    Call(
        "regression.intervals.family_interval",
        lambda: dict(residuals=[LABELS, LABELS + 0.1, 2 * LABELS], level=0.8),
        lambda f, g: f[0] <= f[1],
    ),
    Call(
        "regression.galaxy_intervals.family_reach",
        lambda: dict(misses=[LABELS, LABELS + 0.1, 2 * LABELS], level=0.8),
        lambda f, g: f >= 0,
    ),
    Call("regression.crossed.pair_design", lambda: dict(y=PAIRS, X=GAPS[..., None], names=("gap",))),
    Call(
        "regression.inference.naive_test",
        lambda: dict(design=design(), level=0.9),
        blank=True,
        kept=("design",),
    ),
    Call(
        "regression.inference.sandwich_test",
        lambda: dict(design=design(), level=0.9),
        blank=True,
        kept=("design",),
    ),
    Call(
        "regression.inference.jackknife_test",
        lambda: dict(design=design(), level=0.9, n_boot=9, seed=0),
        blank=True,
        kept=("design",),
    ),
    Call(
        "regression.inference.mrqap_test",
        lambda: dict(design=design(), n_perm=9, seed=0),
        blank=True,
        kept=("design",),
    ),
    Call(
        "regression.inference.relation_test",
        lambda: dict(signals=GAPS[..., None], log_mse=PAIRS, names=("gap",), n_perm=9, n_boot=9, seed=0),
        blank=True,
    ),
    Call("regression.decomposition.split_residual", lambda: dict(truth=LABELS, predicted=LABELS * 0.9 + 0.1)),
    Call(
        "regression.decomposition.split_error",
        lambda: dict(truth=LABELS, predicted_source=LABELS * 0.9 + 0.1, predicted_own=LABELS * 0.98),
    ),
    Call(
        "regression.signal_table.SignalTable",
        lambda: dict(
            names=NAMES,
            signals=("gap",),
            values=GAPS[..., None],
            without=np.repeat(GAPS[None, ..., None], 7, 0),
            log_mse=PAIRS,
            bias=PAIRS,
        ),
        blank=True,
    ),
    Call("regression.posteriors.read_posterior", lambda: dict(mean=LABELS, sd=np.full(30, 0.1))),
    Call("regression.register.make_law", lambda: dict(name="ridge", signals=signal_table().signals, seed=0)),
    Call(
        "regression.protocol.heldout_predictions",
        lambda: dict(table=signal_table(), law="pooled_line", levels=(0.5,), seed=0, jobs=1),
        blank=True,
        kept=("table", "jobs"),
    ),
    Call(
        "studies.distance_scores.predict_heldout",
        lambda: dict(distance=np.repeat(GAPS[None], 7, 0), log_mse=PAIRS),
        blank=True,
    ),
    Call("studies.distance_scores.ranks", lambda: dict(values=PAIRS), blank=True),
    Call(
        "studies.distance_scores.score_distances",
        lambda: dict(distances={("p", "c", "m"): np.repeat(GAPS[None], 7, 0)}, log_mse={"p": PAIRS}),
        blank=True,
    ),
    Call("studies.distance_scores.error_limits", lambda: dict(log_mse=PAIRS, bias=PAIRS - PAIRS.T)),
    Call(
        "regression.support.fit_support_model",
        lambda: dict(
            features=[RNG.normal(size=(60, 4)) for _ in range(3)],
            noise=0.01,
            seed=0,
            rate=0.05,
            n_component=3,
            n_ref=40,
            n_cal=20,
        ),
    ),
    Call(
        "sed.library.fit_library",
        lambda: dict(
            sample=sample(4),
            library=sample(),
            error_floor=0.05,
            pixels_per_error=1.0,
            redshift_window=0.1,
            block=16,
        ),
        blank=True,
    ),
    Call("sed.priors.universe_age", lambda: dict(redshift=0.1), positive),
    Call(
        "sed.priors.draw_parameters",
        lambda: dict(priors=priors(), age_gyr=12.0, n=20, seed=1),
        lambda f, g: f.shape == (g["n"], 7),
        kept=("priors",),
    ),
    Call(
        "sed.priors.history_fractions",
        lambda: dict(parameters=drawn(), edges=bins(), n_sub=4),
        lambda f, g: np.allclose(f.sum(axis=1), 1),
    ),
    Call(
        "sed.priors.derive_properties",
        lambda: dict(parameters=drawn(), age_gyr=12.0),
        lambda f, g: all(np.isfinite(v).all() for v in f.values()),
    ),
    Call("sed.library.rebin", lambda: dict(sample=sample(), n=4, fwhm_kms=500.0), blank=True),
    Call(
        "sed.intervals.fit_models",
        lambda: dict(sample=sample(4), library=sample(), error_floor=0.05, redshift_window=0.1, block=16),
        blank=True,
    ),
    Call(
        "studies.method_galaxies.observe_at",
        lambda: dict(sample=sample(), survey=sample(6), snr=20.0, seed=1),
        blank=True,
    ),
    Call(
        "features.stability.choice_stability",
        lambda: dict(
            choose=lambda X, y, seed: np.argsort(np.corrcoef(X.T, y)[-1, :-1])[:2],
            X=X,
            y=LABELS,
            groups=np.repeat([0, 1, 2], 10),
            n_boot=3,
            alike=np.eye(4, dtype=bool),
            seed=1,
        ),
        lambda f, g: f.n_feature == np.shape(g["X"])[1],
        blank=True,
    ),
    Call("distances.moments.shrink", lambda: dict(x=X - X.mean(axis=0)), lambda f, g: np.allclose(f, f.T)),
    Call(
        "distances.tables.profile",
        lambda: dict(
            source=X,
            target=Y,
            chosen=np.array([0, 1, 2]),
            representatives=np.array([0, 2]),
            weights=np.array([0.4, 0.6]),
        ),
        lambda f, g: bool((f.mean >= f.nearest - 1e-5).all()),
    ),
    Call(
        "models.estimators.predict_with_spread",
        lambda: dict(model=forest(), values=Y),
        lambda f, g: len(f[0]) == len(g["values"]) and positive(f[1], g),
    ),
    Call("regression.comparisons.effective_number", lambda: dict(families=["a", "a", "b"])),
    Call("regression.protocol.score_table", lambda: dict(heldout=heldout(), levels=(0.5,)), blank=True),
    Call("regression.inference.sandwich_covariance", lambda: dict(design=design()), kept=("design",)),
    Call(
        "regression.inference.jackknife_errors",
        lambda: dict(design=design(), y=np.where(np.eye(7, dtype=bool), 0, PAIRS)[..., None]),
        lambda f, g: positive(f[1], g),
        kept=("design",),
    ),
    Call(
        "regression.variance_components.fit_components",
        lambda: dict(
            y=LABELS,
            H=np.column_stack([np.ones(30), X[:, 1]]),
            factors=[np.repeat(np.eye(5), 6, 0), np.tile(np.eye(6), (5, 1))],
            start=np.array([0.3, 0.3]),
        ),
    ),
    Call(
        "regression.decomposition.decomposition_table",
        lambda: dict(
            predictions=[[LABELS * 0.9 + 0.1 * i + 0.05 * j for j in range(3)] for i in range(3)],
            truth=[LABELS] * 3,
            names=("a", "b", "c"),
            distance=GAPS[:3, :3],
        ),
        lambda f, g: bool((f.mse >= 0).all()),
        blank=True,
    ),
    Call(
        "figures.decomposition.distance_bins",
        lambda: dict(table=errors(), distance=np.abs(np.sin(np.arange(42.0))), n_bins=4),
        lambda f, g: len(f) == 42 and bool((f["bin"] >= 0).all()),
    ),
    Call(
        "regression.support.support_table",
        lambda: dict(
            features=[RNG.normal(size=(45, 3)) for _ in range(3)],
            names=("a", "b", "c"),
            families=("x", "x", "y"),
            noise=0.05,
            seed=1,
        ),
        lambda f, g: len(f) == len(g["names"]),
    ),
    Call(
        "report.pairs.hardest_pairs",
        lambda: dict(heldout=errors(), simulations=assumed(), n=5, choices=("ssp", "dust")),
        lambda f, g: len(f) <= 42,
    ),
    Call(
        "report.assumptions.assumption_cost",
        lambda: dict(errors=errors(), simulations=assumed(), choices=("ssp", "dust"), level=0.9),
        lambda f, g: bool((f.low <= f.high).all()),
    ),
    Call(
        "report.overlays.overlay_rows",
        lambda: dict(survey=sample(3), simulations=[sample(), sample(9)], n_gal=2, n=1),
        blank=True,
    ),
    Call(
        "report.comparison.compare_reference",
        lambda: dict(galaxies=observed_galaxies(), n_bins=2),
        blank=True,
    ),
    Call(
        "report.bins.forecast_bins",
        lambda: dict(galaxies=observed_galaxies(), n_bins=2),
        lambda f, g: bool((f.n > 0).all()),
    ),
    Call("pipeline.observed.forecast", lambda: dict(folder="no such folder", sample=sample(3))),
    Call(
        "studies.distance_scores.compare",
        lambda: dict(scored=scored(), one=("p", "c", "m", "linear"), other=("p", "c", "k", "linear")),
        blank=True,
        kept=("scored",),
    ),
    Call(
        "studies.distance_scores.choose_without",
        lambda: dict(scored=scored(), log_mse={"p": PAIRS}, property="p", against=("c", "m", "linear")),
        lambda f, g: f["mae"] >= 0,
        blank=True,
        kept=("scored",),
    ),
    # files and folders, which are not there: damaged ones are the fuzz campaign's
    Call("core.sample.load_sample", lambda: dict(path="no such folder")),
    Call("models.networks.load_network", lambda: dict(path="no such folder")),
    Call("report.results.load_results", lambda: dict(folder="no such folder")),
    Call("pipeline.configure.load_settings", lambda: dict(folder="no such folder")),
    Call(
        "pipeline.configure.make_settings",
        lambda: dict(
            suite="default",
            quick=True,
            seed=1,
            n_galaxies=200,
            model="random_forest",
            law="stack",
            distance="energy",
        ),
    ),
    Call("pipeline.verify.verify_run", lambda: dict(folder="no such folder", sample=3)),
    Call("pipeline.configure.failed_settings", lambda: dict(folder="no such folder")),
    Call("site.targets.find_notebooks", lambda: dict(results="no such folder")),
    Call("data.columns.read_columns", lambda: dict(path="no such file.csv", names=["a"])),
    Call(
        "data.readers.load_table",
        lambda: dict(
            path="no such file.csv", columns={"unit": "Lsun", "bands": {"u": {"column": "u", "wave": 3560.0}}}
        ),
    ),
    Call(
        "data.mappings.load_mapping",
        lambda: dict(columns={"unit": "Lsun", "bands": {"u": {"column": "u", "wave": 3560.0}}}),
        blank=True,
    ),
    Call("data.catalogues.read_catalogue", lambda: dict(path="no such file.cat")),
    Call("data.named_surveys.read_survey", lambda: dict(path="no such file.fits", redshift=0.5, ebv=0.0)),
    Call("data.specfiles.read_spec", lambda: dict(path="no such file.fits")),
    Call(
        "data.particles.read_particles",
        lambda: dict(
            path="no such file.hdf5",
            columns={"galaxy": "g", "age": "a", "mass": "m", "zmet": "z"},
            redshift=0.1,
        ),
    ),
    Call("data.references.read_references", lambda: dict(paths=["no such folder"])),
    Call(
        "data.surveys.load_sdss_spectra", lambda: dict(paths=["no such file.fits"], ebv=0.0, fwhm_kms=500.0)
    ),
    Call("data.references.load_spectra", lambda: dict(paths=["no such file.fits"], ebv=0.0, fwhm_kms=500.0)),
    Call(
        "data.arrays.sample_from_spectra",
        lambda: dict(
            wave=np.linspace(3700.0, 9500.0, 3000),
            flux=np.full((2, 3000), 30.0),
            error=np.full((2, 3000), 2.0),
            redshift=np.array([0.1, 0.12]),
            unit="1e-17 erg / (s cm2 AA)",
            resolution_kms=150.0,
            ebv=0.1,
            fwhm_kms=500.0,
            ids=("a", "b"),
        ),
        lambda f, g: bool(np.isfinite(f.flux).all()),
        blank=True,
    ),
    Call("core.checks.load_yaml", lambda: dict(path="no such file.yaml")),
    Call("studies.distance_contest.load_contest", lambda: dict(folder="no such folder", n_galaxies=100)),
    Call("pipeline.notebooks.template_path", lambda: dict(name="survey")),
]
