"""Networks of the default suite, trained one by one and together, compared with random forests and ridge
regressions on the same galaxies.

    # 20 simulations x 6,500 galaxies; under an hour on two cores
    python benchmarks/bench_networks.py
    # minutes
    python benchmarks/bench_networks.py --simulations 4 --galaxies 2000 --skip-accuracy

Simulated spectra are observed and split into training and test galaxies as in a run (3,500 of 6,500 train).
Every model learns five labels and the share of the stellar mass in eight bins of age. There are three
kinds:

    forests   for each label 100 trees with a random choice of sqrt(n_feature) pixels, one for the shares
    ridge     one linear fit with the survey's noise as its penalty
    networks  `CNNRegressor` with its defaults, all labels at once, `--noise` times the survey's noise

`together` trains all simulations as one network, which is meant for GPUs. CPU seconds count all threads and
depend little on what else runs; wall seconds do. Times grow with simulations, epochs, members, galaxies and
pixels.
"""

import argparse
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--simulations", type=int, default=20)
parser.add_argument("--galaxies", type=int, default=6500, help="of each simulation, before they are split")
parser.add_argument("--epochs", type=int, default=40)
parser.add_argument("--members", type=int, default=3)
parser.add_argument("--trees", type=int, default=100)
parser.add_argument("--noise", type=float, default=2.0, help="times the survey's noise")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--device", default="auto")
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--skip-together", action="store_true")
parser.add_argument("--skip-accuracy", action="store_true", help="times only")
args = parser.parse_args()
for key in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(key, str(args.threads))

import numpy as np  # noqa: E402
from sklearn.ensemble import RandomForestRegressor  # noqa: E402

from gencast.data.suites import load_suite  # noqa: E402
from gencast.features.table import feature_table  # noqa: E402
from gencast.models.layers import choose_device, load_torch  # noqa: E402
from gencast.models.networks import fit_networks  # noqa: E402
from gencast.pipeline.parts import Simulations, split_rows  # noqa: E402
from gencast.pipeline.settings import Settings, SurveySettings  # noqa: E402
from gencast.pipeline.simulate import make_galaxies  # noqa: E402
from gencast.pipeline.surveys import expected_noise, load_survey, noise_survey  # noqa: E402

LABELS = ("log_mstar", "log_age", "log_zmet", "a_v", "log_sfr")
BINS = 8


def make_sets(settings: Settings, names: tuple) -> tuple:  # training sets, test sets, noise of the features
    "Features and labels of each simulation."
    suite, seed = settings.suite, settings.seed
    survey = load_survey(suite, settings.part(SurveySettings), "spectra", seed)
    given, learn, test = noise_survey(suite, "spectra", survey, settings.observed), [], []
    cut = Simulations(Path(), Path(), "spectra", names, names, seed, settings.n_selection)
    for name in names:
        recipe = suite.simulations[suite.names.index(name)]
        sample = make_galaxies(suite, recipe, "spectra", settings.n_galaxies, seed, given)
        values, sfh = feature_table(sample).values, sample.properties["sfh"]
        shares = np.add.reduceat(sfh, np.linspace(0, sfh.shape[1], BINS + 1).round().astype(int)[:-1], axis=1)
        labels = np.column_stack(
            [*(sample.properties[k] for k in LABELS), shares / shares.sum(axis=1, keepdims=True)]
        )
        rows = split_rows(len(sample), cut, name)
        learn.append((values[rows["model"]], labels[rows["model"]]))
        test.append((values[rows["test"]], labels[rows["test"]]))
    return learn, test, expected_noise(suite, "spectra", survey, seed)


class Forests:
    "One forest for each label and one for the shares."

    def __init__(self, X, y):
        def grow(target):
            return RandomForestRegressor(
                args.trees,
                max_features="sqrt",
                min_samples_leaf=2,
                random_state=args.seed,
                n_jobs=args.threads,
            ).fit(X, target)

        self.models = [grow(y[:, k]) for k in range(len(LABELS))] + [grow(y[:, len(LABELS) :])]

    def predict(self, X):
        return np.column_stack([m.predict(X) for m in self.models])


class Ridge:
    "A linear fit whose penalty is the noise."

    def __init__(self, X, y, noise):
        self.mean, self.middle = X.mean(axis=0, dtype=float), y.mean(axis=0)
        centred = X - self.mean
        self.slopes = np.linalg.solve(
            centred.T @ centred + len(X) * np.diag(noise**2), centred.T @ (y - self.middle)
        )

    def predict(self, X):
        return (X - self.mean) @ self.slopes + self.middle


def timed(make) -> tuple:  # what it made, wall seconds, CPU seconds
    wall, cpu = time.perf_counter(), time.process_time()
    made = make()
    return made, time.perf_counter() - wall, time.process_time() - cpu


def errors(model, test: tuple) -> np.ndarray:
    "RMSE of each label, and the SMAPE of the shares in per cent."
    apart = model.predict(test[0]) - test[1]
    n = len(LABELS)
    return np.append(np.sqrt((apart[:, :n] ** 2).mean(axis=0)), 50 * np.abs(apart[:, n:]).sum(axis=1).mean())


def show_errors(found: dict, test: list) -> None:
    "Medians within simulations and across them."
    print(f"\n{'':20}" + "".join(f"{k:>11}" for k in (*LABELS, "SMAPE %")))
    for who, models in found.items():
        table = np.array([[errors(m, t) for t in test] for m in models])
        same = np.eye(len(test), dtype=bool)
        for where, use in (("in-domain", same), ("across", ~same)):
            if use.any():
                print(f"{who:10}{where:10}" + "".join(f"{v:11.3f}" for v in np.median(table[use], axis=0)))


def main():
    torch, suite = load_torch(), load_suite("default")
    names = suite.names[:: max(1, len(suite.names) // args.simulations)][: args.simulations]
    learn, test, noise = make_sets(Settings(suite, args.seed, args.galaxies), names)
    options = {
        "noise": args.noise * noise,
        "compositions": ((len(LABELS), len(LABELS) + BINS),),
        "epochs": args.epochs,
        "n_members": args.members,
        "threads": args.threads,
        "device": args.device,
    }
    seeds, device = [args.seed + i for i in range(len(names))], choose_device(args.device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(
        f"{len(names)} simulations, {len(learn[0][0]):,} training galaxies x {learn[0][0].shape[1]} "
        f"pixels; PyTorch {torch.__version__} on {where}, {args.threads} threads, load "
        f"{os.getloadavg()[0]:.1f}"
    )
    fit_networks(
        [(X[:100], y[:100]) for X, y in learn[:1]], [0], **options | {"epochs": 1}
    )  # wakes the device
    contenders = {
        "forests": lambda: [Forests(X, y) for X, y in learn],
        "ridge": lambda: [Ridge(X, y, noise) for X, y in learn],
        "networks": lambda: [m for s, k in zip(learn, seeds) for m in fit_networks([s], [k], **options)],
    } | (
        {}
        if args.skip_together
        else {"together": lambda: fit_networks(learn, seeds, together=len(learn), **options)}
    )
    found, times = {}, {}
    print(f"\n{'':12}{'wall s':>10}{'CPU s':>10}{'of forests, CPU':>17}{'wall':>8}")
    for who, make in contenders.items():
        found[who], *times[who] = timed(make)
        (wall, cpu), (wall0, cpu0) = times[who], times["forests"]
        print(f"{who:12}{wall:10.1f}{cpu:10.1f}{cpu / cpu0:17.2f}{wall / wall0:8.2f}", flush=True)
    if "together" in found:
        apart = max(
            np.abs(a.predict(t[0]) - b.predict(t[0])).max()
            for a, b, t in zip(found["networks"], found["together"], test)
        )
        print(f"networks trained together and one by one differ by {apart:.1e} at most")
    if not args.skip_accuracy:
        show_errors({k: v for k, v in found.items() if k != "together"}, test)


if __name__ == "__main__":
    main()
