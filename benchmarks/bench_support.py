"""Which odd sets are called inside the simulations' range? Each simulation of a run is left out and changed.

    # a run of recipes with 1,100 galaxies or more: of the default suite or of `photometry` (deep fields)
    python benchmarks/bench_support.py runs/default
    python benchmarks/bench_support.py runs/default --views photometry --own     # cut into a user's own suite

Prints the shares of sets that are inside, at the edge and outside, the area under the ROC curve (how often a
changed set scores higher than an unchanged one), the share of changed galaxies that are flagged one by one
and so left out, and the power against an unknown family by number of galaxies, with the false-alarm rate.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.base import rng_for
from gencast.core.sample import load_sample
from gencast.features.table import feature_table
from gencast.pipeline.configure import load_settings
from gencast.regression.power import support_power
from gencast.regression.support import TIERS, fit_support_model

N_REFERENCE, N_OWN = 800, 3  # galaxies of a simulation; simulations of a user's own suite
NOISE = {"spectra": 0.003, "photometry": 0.001}  # dex; below this, differences do not matter
LINES = ((2799, 60), (4341.7, 20), (4862.7, 50), (6564.6, 200))  # Angstrom, equivalent width


def with_shape(x, shape, light, factor):
    "Luminosities of another shape (dex, in L_lambda) at the mean brightness of the galaxies times a factor."
    bright = x[:, light].mean(axis=1, keepdims=True) + factor
    found = x.copy()
    found[:, light] = shape - shape.mean(axis=1, keepdims=True) + bright
    return found


def quasars(x, wave, light, rng, bands):
    "Power laws with broad lines, brighter than the galaxies by a factor of two; rest-frame wavelengths."
    slope = rng.normal(-1.5, 0.3, (len(x), 1))
    shape = slope * np.log10(wave / 5000)
    for centre, width in LINES:
        sigma = centre * 2000 / 3e5
        profile = np.exp(-0.5 * ((wave - centre) / sigma) ** 2) / (2.5 * sigma)
        shape = shape + np.log10(1 + (0.3 if bands else 1) * width * profile)
    return with_shape(x, shape + bands * np.log10(wave), light, rng.normal(0.3, 0.3, (len(x), 1)))


def stars(x, wave, light, rng, bands):
    "Planck's law at 3,500 to 10,000 K, as bright as the galaxies; bands hold lambda L_lambda."
    temperature = rng.uniform(3500, 10000, (len(x), 1))
    shape = (bands - 5) * np.log10(wave) - np.log10(np.expm1(1.4388e8 / (wave * temperature)))
    return with_shape(x, shape, light, 0)


def some(change, share):
    "A change of the first galaxies of a set."

    def changed(x):
        n = max(round(share * len(x)), 1)
        return np.concatenate([change(x[:n]), x[n:]])

    changed.share = share
    return changed


def moved(x, light, wave, shift):
    "Spectra at wavelengths that are wrong by a factor."
    found = x.copy()
    found[:, light] = [np.interp(wave * (1 + shift), wave, row) for row in x[:, light]]
    return found


def aliens(wave, rng, bands):
    "Name -> change of features, shape (n_gal, n_feature), dex; `wave` is nan for log(1 + z)."
    light = np.isfinite(wave)
    w = wave[light]

    def at_light(change):
        return lambda x: np.where(light, change(x), x)

    def quasar(x):
        return quasars(x, w, light, rng, bands)

    def star(x):
        return stars(x, w, light, rng, bands)

    spread = np.where(light, np.log10(np.where(light, wave, 5500.0) / 5500), 0)
    first = np.arange(len(wave)) == 1
    found = {
        "unchanged": lambda x: x,
        "brightness x 10": lambda x: x + light,
        "brightness / 10": lambda x: x - light,
        "5 % quasars": some(quasar, 0.05),
        "20 % quasars": some(quasar, 0.2),
        "quasars": quasar,
        "5 % stars": some(star, 0.05),
        "20 % stars": some(star, 0.2),
        "stars": star,
        "noise of 0.1 dex": at_light(lambda x: x + 0.1 * rng.normal(size=x.shape)),
        "no flux calibration, tilt of 0.3 dex": lambda x: x + 0.8 * spread,
        "dust not removed, A_V = 0.5": lambda x: x - light * 0.2 * 10 ** (-1.3 * spread),
        "one galaxy many times": lambda x: np.repeat(x[:1], len(x), axis=0),
        "ten galaxies many times": lambda x: np.resize(x[:10], x.shape),
    }
    if bands:
        found["one band off by 0.2 mag"] = lambda x: x + 0.08 * first
        found["one band missing in 10 %"] = some(lambda x: np.where(first, x - 4, x), 0.1)
    else:
        found["wavelengths off by 0.3 %"] = lambda x: moved(x, light, w, 0.003)
        found["ripple of 5 %"] = lambda x: x + np.log10(1 + 0.05 * np.sin(wave / 100))
    if not light.all():
        found["all at one redshift"] = lambda x: np.where(light, x, np.median(x, axis=0))
        found["all at redshift 0.02"] = lambda x: np.where(light, x, np.log10(1.02))
    return found


def read_view(run: Path, view: str, n: int, thin: int) -> tuple:
    "Reference galaxies and others of each simulation, their families, and the wavelengths."
    sets, new, suite = [], [], load_settings(run).suite
    for name in suite.names:
        sample = load_sample(run / "simulations" / view / name)
        rows = rng_for(0, view, name).permutation(len(sample))[: N_REFERENCE + n]
        table = feature_table(sample.take(rows))
        values, wave = table.values[:, ::thin], table.wave[::thin]
        sets.append(values[:N_REFERENCE])
        new.append(values[N_REFERENCE:])
    return sets, new, [recipe["ssp"] for recipe in suite.simulations], wave


def read_own(run: Path, n: int) -> tuple:
    "Three simulations of different libraries, each cut into seven slices by its first colour."
    suite, sets, new, families = load_settings(run).suite, [], [], []
    recipes = {r["ssp"]: r["name"] for r in suite.simulations}
    for family, name in list(recipes.items())[:N_OWN]:
        table = feature_table(load_sample(run / "simulations" / "photometry" / name))
        order = np.argsort(table.values[:, 0] - table.values[:, 2])
        for k, part in enumerate(np.array_split(order, 7)):
            part = rng_for(0, name, k).permutation(part)
            new.append(table.values[part[:n]])
            sets.append(table.values[part[n : n + N_REFERENCE]])
            families.append(family)
    return sets, new, families, table.wave


def alien_table(model, new: list, wave, view: str) -> pd.DataFrame:
    "Tiers, AUROC and flagged galaxies for each alien."
    rows, calm = {}, None
    for name, change in aliens(wave, rng_for(0, "aliens", view), view == "photometry").items():
        reports = [model.judge(model.compare(change(x)), out=(k,)) for k, x in new]
        score = np.array([r.score for r in reports])
        calm = score if calm is None else calm
        n = max(round(getattr(change, "share", 1) * len(new[0][1])), 1)
        row = {t: np.mean([r.tier == t for r in reports]) for t in TIERS}
        row["AUROC"] = np.mean(score[:, None] > calm) + np.mean(score[:, None] == calm) / 2
        rows[name] = row | {"flagged": np.mean([(r.galaxy_tier[:n] == 2).mean() for r in reports])}
        print(f"{name:40}", {k: round(float(v), 2) for k, v in rows[name].items()}, flush=True)
    return pd.DataFrame(rows).T.round(2)


def main() -> None:
    "Read the options and print the tables."
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("--views", nargs="+", default=["spectra", "photometry"])
    parser.add_argument("--own", action="store_true", help="cut the photometry into a user's own suite")
    parser.add_argument("--galaxies", type=int, default=300, help="in a set")
    parser.add_argument("--groups", type=int, default=50, help="drawn from a simulation, for the power")
    parser.add_argument("--every", type=int, default=1, help="change only every so many simulations")
    parser.add_argument("--thin", type=int, default=1, help="use only every so many features")
    parser.add_argument("--sizes", nargs="+", type=int, default=[1, 2, 10, 100], help="0: no power")
    o = parser.parse_args()
    for view in ["photometry"] if o.own else o.views:
        found = read_own(o.run, o.galaxies) if o.own else read_view(o.run, view, o.galaxies, o.thin)
        sets, new, families, wave = found
        light = np.isfinite(wave)
        model = fit_support_model(sets, families, noise=NOISE[view], light=light)
        changed = list(enumerate(new))[:: o.every]
        print(f"{'own suite' if o.own else view}, {len(changed)} sets of {o.galaxies} galaxies", flush=True)
        alien_table(model, changed, wave, view)
        if o.sizes != [0]:
            power = support_power(model, tuple(o.sizes), n_group=o.groups)
            print(power.round(2).to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
