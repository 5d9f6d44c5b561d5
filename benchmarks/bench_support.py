"""Which odd sets are called inside the simulations' range? Each simulation of a run is left out and changed.

    python benchmarks/bench_support.py                          # spectra, ugriz and a user's suite
    python benchmarks/bench_support.py --catalogue field.cat    # and a deep field, of 3D-HST or ZFOURGE

Makes the simulations as a run does (nothing is downloaded) and writes `aliens.csv` and `power.csv` beside the
page that shows them, `nbs/studies/odd_sets.ipynb`. Kinds of data that are not made keep their rows.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.cosmology import Planck18
from astropy.table import Table

from gencast.core.base import rng_for
from gencast.core.sample import Sample
from gencast.data.photometry import band_luminosity, band_wavelengths
from gencast.data.suites import load_suite
from gencast.features.table import feature_table
from gencast.pipeline.evidence import family_labels
from gencast.pipeline.settings import SurveySettings
from gencast.pipeline.simulate import make_galaxies, suite_of_one
from gencast.pipeline.surveys import load_survey, noise_survey, survey_noise
from gencast.regression.power import support_power
from gencast.regression.support import TIERS, SupportModel, fit_support_model
from gencast.synthesis.simulations import simulate

TABLES = Path(__file__).resolve().parents[1] / "nbs" / "studies" / "support_tables"
SEED = 1
N_RUN, N_SET = 1500, 300  # galaxies that describe a simulation in a run; galaxies of a set
SIZES = (1, 2, 10, 100, 1000)  # galaxies in a set, for the power
N_KNOWN = 1000 + SIZES[-1]  # that describe a simulation and stand for it when it is held out
N_SIMULATED = 4000  # in bands some are too faint to be detected
OWN, SLICES = (
    (0, 7, 13),
    7,
)  # recipes of the default suite that stand in for a user's simulations; parts of each
LINES = ((2799, 60), (4341.7, 20), (4862.7, 50), (6564.6, 200))  # Angstrom, equivalent width


@dataclass(frozen=True)
class Kind:
    "The simulations of one kind of data."

    name: str
    samples: list  # of each simulation: galaxies that describe it, and after `N_KNOWN` those of its sets
    families: tuple
    noise: np.ndarray  # dex, shape (n_feature,)

    def fit(self, n: int, **options) -> SupportModel:
        "The range of the simulations, from n galaxies of each."
        tables = [feature_table(s.take(np.arange(n))) for s in self.samples]
        light = np.isfinite(tables[0].wave)
        sets = [t.values for t in tables]
        return fit_support_model(sets, self.families, self.noise, SEED, light=light, **options)


def make_kind(name: str, suite, view: str, wanted: SurveySettings) -> Kind:
    "Simulations as a run makes them."
    survey = load_survey(suite, wanted, view, SEED)
    given, samples = noise_survey(suite, view, survey, wanted.observed), []
    for recipe in suite.simulations:
        one = suite_of_one(suite, recipe, view)
        sample = make_galaxies(one, recipe, view, N_SIMULATED, SEED, given)
        if sample.flux_err is None:  # spectra: the errors of the survey
            err = sample.flux * np.log(10) * np.median(survey_noise(survey))
            sample = replace(sample, flux_err=err)
        samples.append(sample.take(rng_for(SEED, "order", sample.name).permutation(len(sample))))
    families = next(iter(family_labels(suite).values()))
    return Kind(name, samples, tuple(map(str, families)), survey_noise(survey))


def write_own_suite(folder: Path) -> Path:
    "Three recipes and a survey as tables of rest-frame ugriz, as a user has them, and the file of the suite."
    suite, wave, text = load_suite("default"), band_wavelengths(), []
    for place in (*OWN, 10):
        recipe = suite.simulations[place]
        galaxies = simulate(recipe, suite, SEED, N_SIMULATED * SLICES, "photometry")
        light = band_luminosity(galaxies.wave, galaxies.flux, 0.0)
        columns = {b: light[:, k] for k, b in enumerate("ugriz")} | {
            "m": 10 ** galaxies.properties["log_mstar"]
        }
        if place == 10:  # the survey, with errors of 3 per cent
            columns |= {f"e_{b}": 0.03 * columns[b] for b in "ugriz"}
        Table(columns).write(folder / f"{recipe['name']}.fits")
        text.append((recipe["name"], "error: e_{}, " if place == 10 else ""))
    entries = []
    for name, error in text:
        bands = ", ".join(f"{b}: {{column: {b}, {error.format(b)}wave: {w}}}" for b, w in zip("ugriz", wave))
        mass = "" if error else ", properties: {log_mstar: {column: m, unit: Msun}}"
        entries.append(
            f"  name: {name}\n  table: {name}.fits\n  columns: {{unit: Lsun, bands: {{{bands}}}{mass}}}"
        )
    simulations = "\n".join("-" + e[1:] for e in entries[:-1])
    lines = ["name: own", "about: three simulations", "tables:", "  columns: {frame: rest}"]
    lines += [f"  split: {{by: u - r, parts: {SLICES}}}", "simulations:", simulations, "survey:", entries[-1]]
    path = folder / "own.yaml"
    path.write_text("\n".join(lines))
    return path


def make_kinds(catalogue: str) -> dict:  # name -> function that makes the simulations
    "Spectra, ugriz, a deep field where there is a catalogue, and a user's suite."

    def own():
        with tempfile.TemporaryDirectory() as folder:
            return make_kind("user's suite", load_suite(write_own_suite(Path(folder))), "photometry", plain)

    plain, deep = SurveySettings(), SurveySettings(catalogue=catalogue)
    found = {
        "spectra": lambda: make_kind("spectra", load_suite("default"), "spectra", plain),
        "ugriz": lambda: make_kind("ugriz", load_suite("default"), "photometry", plain),
        "deep field": lambda: make_kind("deep field", load_suite("photometry"), "photometry", deep),
        "user's suite": own,
    }
    return found if catalogue else {k: v for k, v in found.items() if k != "deep field"}


def rest_wave(s: Sample) -> np.ndarray:  # Angstrom, shape (n_gal or 1, n_wave)
    "Wavelengths at which galaxies shone."
    return s.wave / (1 + (0 if s.redshift is None else s.redshift[:, None]))


def brighter(factor) -> Callable:  # factor: a number, or a function of a sample
    "All light times a factor, its errors too."

    def change(s):
        f = factor(s) if callable(factor) else factor
        return replace(s, flux=s.flux * f, flux_err=s.flux_err * f)

    return change


def with_shape(s: Sample, shape: np.ndarray, more: np.ndarray) -> Sample:
    "Galaxies of another shape (dex, in L_lambda), `more` dex brighter; bands hold lambda L_lambda."
    shape = shape + (np.log10(s.wave) if s.bands else 0)
    bright = np.log10(s.flux).mean(axis=1, keepdims=True) + more
    flux = 10 ** (shape - shape.mean(axis=1, keepdims=True) + bright)
    return replace(s, flux=flux, flux_err=flux * (s.flux_err / s.flux))


def quasars(s: Sample) -> Sample:
    "Power laws with broad lines, brighter than the galaxies by a factor of two."
    rng, wave = rng_for(SEED, "quasars", s.name), rest_wave(s)
    shape = rng.normal(-1.5, 0.3, (len(s), 1)) * np.log10(wave / 5000)
    for centre, width in LINES:
        sigma = centre * 2000 / 3e5
        profile = np.exp(-0.5 * ((wave - centre) / sigma) ** 2) / (2.5 * sigma)
        shape = shape + np.log10(1 + (0.3 if s.bands else 1) * width * profile)
    return with_shape(s, shape, rng.normal(0.3, 0.3, (len(s), 1)))


def stars(s: Sample) -> Sample:
    "Planck's law at 3,500 to 10,000 K, as bright as the galaxies, whatever their redshift."
    temperature = rng_for(SEED, "stars", s.name).uniform(3500, 10000, (len(s), 1))
    return with_shape(s, -5 * np.log10(s.wave) - np.log10(np.expm1(1.4388e8 / (s.wave * temperature))), 0)


def some(change, share: float) -> Callable:
    "A change of the first galaxies of a set."

    def changed(s):
        n = max(round(share * len(s)), 1)
        flux = np.concatenate([change(s.take(np.arange(n))).flux, s.flux[n:]])
        return replace(s, flux=flux)

    changed.share = share
    return changed


def noisier(s: Sample) -> Sample:
    "Three times the noise that the galaxies have; those left with a band or pixel below zero are lost."
    flux = s.flux + np.sqrt(8) * s.flux_err * rng_for(SEED, "noise", s.name).normal(size=s.flux.shape)
    return replace(s, flux=flux).take((flux > 0).all(axis=1))


def wrong_redshift(s: Sample) -> Sample:
    "Redshifts too large by 0.02: other distances in bands, other wavelengths in spectra (straight beyond)."
    if s.bands:
        z = s.redshift + 0.02
        ratio = (Planck18.luminosity_distance(z) / Planck18.luminosity_distance(s.redshift)).value
        return replace(brighter(ratio[:, None] ** 2)(s), redshift=z)
    wave, log = s.wave * 1.02, np.log10(s.flux)
    moved = np.array([np.interp(wave, s.wave, row) for row in log])
    beyond = wave > s.wave[-1]
    slope = (log[:, -1] - log[:, -50]) / (s.wave[-1] - s.wave[-50])
    moved[:, beyond] = log[:, -1:] + slope[:, None] * (wave[beyond] - s.wave[-1])
    return replace(s, flux=10**moved)


def exchanged(s: Sample) -> Sample:
    "The fluxes of the second and third band exchanged; lambda L_lambda goes as the flux over the wavelength."
    flux = s.flux.copy()
    flux[:, 1], flux[:, 2] = s.flux[:, 2] * s.wave[2] / s.wave[1], s.flux[:, 1] * s.wave[1] / s.wave[2]
    return replace(s, flux=flux)


def half(sign: int) -> Callable:
    "The brighter (1) or fainter (-1) half of a set, which no survey is to be refused for."

    def chosen(s):
        bright = sign * np.log10(s.flux).mean(axis=1)
        return s.take(bright >= np.median(bright))

    return chosen


def calibration_warp(s: Sample) -> np.ndarray:
    "A factor: up by 5 per cent in the blue, down by as much in the red."
    u = np.log(s.wave / s.wave[0]) / np.log(s.wave[-1] / s.wave[0])
    return 1 + 0.05 * np.sin(2 * np.pi * u)


def aliens(like: Sample) -> dict:  # name -> change of a sample
    "Odd sets that such galaxies can be made into."
    found = {
        "unchanged": lambda s: s,
        "the brighter half": half(1),
        "the fainter half": half(-1),
        "brightness x 10 (2.5 mag)": brighter(10),
        "brightness / 10 (2.5 mag)": brighter(0.1),
        "brightness x 2 (h forgotten)": brighter(2),
        "noise x 3": noisier,
        "5 % quasars": some(quasars, 0.05),
        "quasars": quasars,
        "5 % stars": some(stars, 0.05),
        "stars": stars,
        "calibration warped by 5 %": brighter(calibration_warp),
        "dust not removed, A_V = 0.5": brighter(lambda s: 10 ** (-0.2 * (rest_wave(s) / 5500) ** -1.3)),
        "one galaxy many times": lambda s: s.take(np.zeros(len(s), int)),
    }
    if like.bands:
        second = np.arange(like.wave.size) == 1
        found["one band off by 0.2 mag"] = brighter(np.where(second, 10**0.08, 1))
        found["two bands exchanged"] = exchanged
    if like.redshift is not None:
        found["all at one redshift"] = lambda s: replace(s, redshift=np.full(len(s), np.median(s.redshift)))
        found["all at redshift 0.02"] = lambda s: replace(s, redshift=np.full(len(s), 0.02))
    if like.redshift is not None or not like.bands:
        found["redshifts off by 0.02"] = wrong_redshift
    return found


def alien_table(kind: Kind) -> pd.DataFrame:
    "Tiers, area under the ROC curve against unchanged sets, and flagged galaxies, for each alien."
    model, n = kind.fit(N_RUN), len(kind.samples)
    new = [s.take(np.arange(N_KNOWN, N_KNOWN + N_SET)) for s in kind.samples]
    kin = [tuple(j for j in range(n) if kind.families[j] == f) for f in kind.families]
    plan = {name: (change, [(k,) for k in range(n)]) for name, change in aliens(new[0]).items()}
    plan["a library that no simulation has"] = (plan["unchanged"][0], kin)
    rows, calm = [], None
    for name, (change, out) in plan.items():
        sets = [feature_table(change(s)).values for s in new]
        reports = [model.judge(model.compare(x), SEED, o) for x, o in zip(sets, out)]
        score = np.array([r.score for r in reports])
        calm = score if calm is None else calm
        first = max(round(getattr(change, "share", 1) * N_SET), 1)
        row = {"kind": kind.name, "set": name, "sets": n}
        row |= {t: np.mean([r.tier == t for r in reports]) for t in TIERS}
        row["auroc"] = np.mean(score[:, None] > calm) + np.mean(score[:, None] == calm) / 2
        rows.append(row | {"flagged": np.mean([(r.galaxy_tier[:first] == 2).mean() for r in reports])})
        print({k: round(float(v), 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return pd.DataFrame(rows)


def power_table(kind: Kind, n_group: int) -> pd.DataFrame:
    "Power against an unseen library by number of galaxies, beside the false-alarm rate."
    model = kind.fit(N_KNOWN, n_cal=SIZES[-1])
    table = support_power(model, SIZES, n_group, SEED)
    table.insert(0, "kind", kind.name)
    print(table.round(3).to_string(index=False), flush=True)
    return table


def keep_rows(path: Path, table: pd.DataFrame) -> None:
    "Write the rows of one kind of data; those of the others stay."
    path.parent.mkdir(exist_ok=True)
    if path.is_file():
        old = pd.read_csv(path)
        table = pd.concat([old[old.kind != table.kind.iloc[0]], table])
    table.round(4).to_csv(path, index=False)


def main() -> None:
    "Read the options, make the simulations of each kind of data, and write the tables."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catalogue", default="", help="of a deep field at 0.4 < z < 2")
    parser.add_argument(
        "--kinds", nargs="+", help="spectra, ugriz, 'deep field', \"user's suite\"; default: all"
    )
    parser.add_argument("--groups", type=int, default=50, help="drawn from a simulation, for the power")
    parser.add_argument("--tables", nargs="+", default=["aliens", "power"], help="which of the two to write")
    parser.add_argument("--out", type=Path, default=TABLES, help="folder for the tables")
    o = parser.parse_args()
    for name, make in make_kinds(o.catalogue).items():
        if o.kinds and name not in o.kinds:
            continue
        begun = time.process_time()
        kind = make()
        if "aliens" in o.tables:
            keep_rows(o.out / "aliens.csv", alien_table(kind))
        if "power" in o.tables:
            keep_rows(o.out / "power.csv", power_table(kind, o.groups))
        print(f"{name}: {time.process_time() - begun:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
