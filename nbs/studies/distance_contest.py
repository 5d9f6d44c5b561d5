"""Every distance in every choice of features, measured between the simulations of a finished run.

Part of the study in `which_distance.ipynb`; not installed with gencast. `load_contest` reads a run,
`measure_contest` measures the distances with each target held out of the choice of features.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.base import InputError, digest, rng_for
from gencast.core.cache import code_key, remember
from gencast.core.progress import Progress
from gencast.core.properties import HISTORIES
from gencast.core.sample import load_sample
from gencast.distances.metrics import METRICS
from gencast.distances.tables import distance_table
from gencast.features.clusters import cluster_features, cluster_values
from gencast.features.ranking import top_features
from gencast.features.spaces import FeatureSpace
from gencast.features.table import feature_table
from gencast.pipeline.configure import load_settings
from gencast.pipeline.parts import load_rows, open_simulations, sample_path
from gencast.pipeline.selection import importance_without, rank_trees
from gencast.pipeline.settings import Settings
from gencast.report.results import read_table


@dataclass(frozen=True)
class Choice:
    "One way to describe galaxies for a distance."

    label: str  # for tables and axes
    space: str  # one of `gencast.features.spaces.SPACES`
    # which columns are kept: `top` (by importance), `clusters`, `all`, or `axes` (the leading principal axes)
    keep: str
    n: int = 0  # how many features, clusters or axes; 0 for `all`
    weighted: bool = False  # weights from the importance of the clusters' members
    standard: bool = False  # divide each column by its standard deviation over the selection set
    luminosity: bool = True  # whether the luminosity is one more column of the shape

    @property
    def supervised(self) -> bool:
        "Whether the choice depends on the property through its labels."
        return self.keep in ("top", "clusters")


# Log fluxes share one unit, dex, and are left as they are; columns of different kinds are standardised.
CHOICES = {
    "top100": Choice("top 100 wavelengths (paper)", "log_flux", "top", 100),
    "clusters20": Choice("20 clusters", "log_flux", "clusters", 20),
    "clusters20_weighted": Choice("20 clusters, weighted", "log_flux", "clusters", 20, weighted=True),
    "clusters100_weighted": Choice("100 clusters, weighted", "log_flux", "clusters", 100, weighted=True),
    "shape_luminosity": Choice(
        "shape and luminosity: 20 clusters, weighted", "shape", "clusters", 20, weighted=True, standard=True
    ),
    "shape": Choice(
        "shape alone: 20 clusters, weighted",
        "shape",
        "clusters",
        20,
        weighted=True,
        standard=True,
        luminosity=False,
    ),
    "components": Choice("25 principal components", "components", "all", 25, standard=True),
    "indices": Choice("line indices and breaks", "indices", "all", standard=True, luminosity=False),
    "all_wavelengths": Choice("all wavelengths, standardised", "log_flux", "axes", 60, standard=True),
}
PAPER = ("top100", "mean_euclidean")  # Acquaviva, Lovell & Ishida (2020)

# Three distances are slow: transport is measured on 150 galaxies of each simulation, the classifier on 300
# galaxies with 20 trees, and only in two choices that have few columns and serve all properties.
OPTIONS = {"wasserstein": {"n": 150}, "sinkhorn": {"n": 150, "reg": 0.2}, "classifier_auc": {"trees": 20}}
CLASSIFIED = ("components", "indices")  # choices in which the classifier takes part
MOST_CLASSIFIED = 300  # galaxies of each simulation that the classifier uses
CODE = (  # modules of gencast on which the distances depend, and with them those that they import
    "gencast.distances.tables",
    "gencast.features.clusters",
    "gencast.features.indices",
    "gencast.features.spaces",
    "gencast.pipeline.selection",
)


def contest_metrics(
    choice: str,  # one of `CHOICES`
) -> tuple:  # names from `METRICS`
    """The distances measured in a choice of features: with weights, only those that weights change.
    Raises `InputError` for an unknown choice.
    """
    if choice not in CHOICES:
        raise InputError(f"there is no choice of features {choice!r}; choose from {', '.join(CHOICES)}")
    found = []
    for name, metric in METRICS.items():
        takes_part = metric.weighted if CHOICES[choice].weighted else name != "weighted"
        if takes_part and (name != "classifier_auc" or choice in CLASSIFIED):
            found.append(name)
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Contest:
    "Simulations to compare, and the errors of their models on each other."

    names: tuple  # of the simulations, length n_sim
    wave: np.ndarray  # Angstrom, shape (n_wave,)
    selection: list  # log10 flux of the galaxies that choose features, dex, each (n_selection, n_wave)
    labels: dict  # property -> list, the property of each of those galaxies
    galaxies: (
        list  # log10 flux of the galaxies between which distances are measured, dex, each (n_gal, n_wave)
    )
    log_mse: dict  # property -> log10 MSE of model i on simulation j, (n_sim, n_sim)
    bias: dict  # property -> mean of predicted less true, unit of the property, shape (n_sim, n_sim)
    settings: Settings  # of the run

    @property
    def checksum(self) -> str:
        "Fingerprint of the galaxies and the errors."

        def flat(d):
            return [np.concatenate(v) for _, v in sorted(d.items())]

        return digest(
            self.names, self.wave, *self.selection, *self.galaxies, *flat(self.labels), *flat(self.log_mse)
        )


def load_contest(
    folder: str | Path,  # results of a finished run, e.g. results/default
    properties: tuple = (),  # names; empty for all of the run
    n_galaxies: int = 1000,  # of each simulation, at most
) -> Contest:
    """Read what a contest needs from a run: the selection set with its labels, test galaxies, and errors.
    Raises `InputError` for a folder that is no run, a run without spectra and an unknown property.
    """
    folder, settings = Path(folder), load_settings(folder)
    properties = _check_properties(folder, settings, properties)
    columns = ("view", "property", "source", "target", "model")
    errors = read_table(folder / "errors.csv", columns, ("mse", "bias"))
    names, simulations = settings.suite.names, open_simulations(folder, settings, "spectra")
    square = {(p, c): error_matrix(errors, settings, p, c) for p in properties for c in ("mse", "bias")}
    chosen = [load_rows(simulations, n, "selection") for n in names]
    tests = [load_rows(simulations, n, "test")[0] for n in names]
    first = load_sample(sample_path(folder, "spectra", names[0])).take(np.arange(1))
    return Contest(
        names=names,
        wave=feature_table(first).wave,
        selection=[x for x, _ in chosen],
        labels={p: [np.asarray(s.properties[p]) for _, s in chosen] for p in properties},
        galaxies=[x[np.linspace(0, len(x) - 1, min(n_galaxies, len(x))).astype(int)] for x in tests],
        log_mse={p: np.log10(square[p, "mse"]) for p in properties},
        bias={p: square[p, "bias"] for p in properties},
        settings=settings,
    )


def _check_properties(folder: Path, settings: Settings, properties: tuple) -> tuple:
    "The properties of a contest; `InputError` for what the run lacks."
    properties = tuple(properties) or tuple(p for p in settings.properties if p not in HISTORIES)
    for name in properties:
        if name in HISTORIES:
            raise InputError(f"the contest is for properties that are one number; {name!r} is a history")
        if name not in settings.properties:
            raise InputError(
                f"the run in {folder} has no property {name!r}; choose from {', '.join(settings.properties)}"
            )
    if "spectra" not in settings.views:
        raise InputError(
            f"the run in {folder} has no spectra; a contest of wavelengths needs the view `spectra`"
        )
    return properties


def as_square(
    table: pd.DataFrame,  # one row a pair: source, target and a value
    names: tuple,  # of the simulations, length n_sim
    column: str = "value",
) -> np.ndarray:  # source x target, shape (n_sim, n_sim), nan where a pair is missing
    "A column of a table of pairs as a matrix."
    wide = table.pivot(index="source", columns="target", values=column)
    return wide.reindex(index=names, columns=names).to_numpy(float)


def error_matrix(
    errors: pd.DataFrame,  # errors.csv of a run
    settings: Settings,
    property: str,
    column: str,
) -> np.ndarray:  # source x target, shape (n_sim, n_sim)
    "A column of errors.csv as a matrix; raises `InputError` where a pair is missing."
    ours = (errors["view"] == "spectra") & (errors.property == property) & (errors.model == settings.model)
    names = settings.suite.names
    square = as_square(errors[ours], names, column)
    if np.isnan(square).any():
        source, target = np.argwhere(np.isnan(square))[0]
        raise InputError(
            f"errors.csv has no {column} of {property} for source {names[source]} and target "
            f"{names[target]}; run `gencast run` again"
        )
    return square


def hold_groups(
    n_sim: int,
    n_groups: int,  # as many as simulations: each alone
    seed: int,
) -> np.ndarray:  # number of the group of each simulation, shape (n_sim,)
    "Groups of simulations, drawn at random, that are held out together. Raises `InputError`."
    if not 2 < n_groups <= n_sim:
        raise InputError(
            f"{n_groups} groups of {n_sim} simulations: give at least 3 groups and at most one for each "
            "simulation"
        )
    groups = np.empty(n_sim, int)
    groups[rng_for(seed, "contest groups").permutation(n_sim)] = np.arange(n_sim) % n_groups
    return groups


def heldout_importance(
    contest: Contest,
    property: str,
    space: str,  # `log_flux` or `shape` (with the luminosity as its last column)
    groups: np.ndarray,  # from `hold_groups`, shape (n_sim,)
    n_trees: int = 100,
) -> np.ndarray:  # importance of each feature without group g, rows sum to one, shape (n_groups, n_feature)
    """Impurity importance for a property, each group of simulations held out in turn: the mean over the trees
    that have not seen that group.
    """
    change = FeatureSpace(space).fit(contest.selection[0])
    together = [np.flatnonzero(groups == g) for g in range(groups.max() + 1)]
    pool = [np.concatenate([change.transform(contest.selection[i]) for i in g]) for g in together]
    labels = [np.concatenate([contest.labels[property][i] for i in g]) for g in together]
    importance, knows = rank_trees(pool, labels, range(n_trees), contest.settings.seed)
    return np.array([importance_without(importance, knows, g) for g in range(len(together))])


def apply_choice(
    choice: Choice,
    contest: Contest,
    use: np.ndarray,  # numbers of the simulations from which the choice is made
    importance: np.ndarray | None = None,  # of the columns of the space, (n_feature,); `top`, `clusters`
) -> tuple[list, np.ndarray | None]:  # features of each simulation's galaxies; weights, shape (n_feature,)
    """The galaxies of all simulations in a choice of features that is made on the pooled selection sets of
    some of them.
    """
    options = {"n_components": choice.n} if choice.space == "components" else {}
    pooled = np.concatenate([contest.selection[i] for i in use])
    space = FeatureSpace(choice.space, contest.wave, choice.luminosity, **options).fit(pooled)
    pooled, features = space.transform(pooled), [space.transform(x) for x in contest.galaxies]
    scale = np.ones(pooled.shape[1], pooled.dtype)
    if choice.standard:
        scale = pooled.std(axis=0, dtype=float).astype(pooled.dtype)
    pooled, features = pooled / scale, [x / scale for x in features]
    if choice.keep == "all":
        return features, None
    if choice.keep == "axes":  # turned axes change no Euclidean distance, and 60 cost a tenth of all
        axes = FeatureSpace("components", n_components=choice.n).fit(pooled)
        return [axes.transform(x) for x in features], None
    share = importance[: pooled.shape[1]] / importance[: pooled.shape[1]].sum()
    if choice.keep == "top":
        return [x[:, top_features(share, choice.n)] for x in features], None
    sample = rng_for(contest.settings.seed, "clusters").permutation(len(pooled))[:3000]
    clusters = cluster_features(pooled[sample], share, min(choice.n, pooled.shape[1]))
    weights = clusters.weights if choice.weighted else None
    return [cluster_values(x, clusters) for x in features], weights


def measure_choice(
    contest: Contest,
    choice: str,  # one of `CHOICES`
    use: np.ndarray,  # numbers of the simulations from which the choice is made
    importance: np.ndarray | None = None,  # as for `apply_choice`
    metrics: tuple = (),  # names from `METRICS`; empty for `contest_metrics(choice)`
) -> dict:  # name of a distance -> source x target, shape (n_sim, n_sim), diagonal nan
    "All distances between all simulations in one choice of features."
    metrics, names, seed = metrics or contest_metrics(choice), contest.names, contest.settings.seed
    features, weights = apply_choice(CHOICES[choice], contest, use, importance)
    tables = []
    if quick := tuple(m for m in metrics if m != "classifier_auc"):
        options = {m: OPTIONS[m] for m in quick if m in OPTIONS}
        tables.append(distance_table(dict(zip(names, features)), quick, weights, seed=seed, options=options))
    if "classifier_auc" in metrics:
        few = {n: x[:MOST_CLASSIFIED] for n, x in zip(names, features)}
        options = {"classifier_auc": OPTIONS["classifier_auc"]}
        tables.append(distance_table(few, ("classifier_auc",), seed=seed, options=options))
    return {m: as_square(t, names) for part in tables for m, t in part.groupby("distance", sort=False)}


def measure_contest(
    contest: Contest,
    out: str | Path,  # folder that remembers what was measured
    choices: tuple = tuple(CHOICES),
    n_groups: int = 5,  # of simulations held out together from the choice of features
    n_trees: int = 100,  # that rank features
    jobs: int = 1,  # processes
    show: bool = True,  # progress bars
) -> dict:
    """Measure every distance in every choice, or find it measured. Raises `InputError`.

    Gives (property, choice, distance) -> array of shape (n_sim, n_sim, n_sim): entry [k] has the distances,
    source x target, in features chosen without k's group.
    """
    for c in choices:
        contest_metrics(c)
    groups = hold_groups(len(contest.names), n_groups, contest.settings.seed)
    progress = Progress(jobs, show)
    base = _contest_key(contest, groups, n_trees)
    importance = _rank_all(contest, Path(out), base, choices, groups, n_trees, progress)
    tasks = []  # a choice that does not depend on the property serves all of them
    for c in choices:
        for q in contest.labels if CHOICES[c].supervised else ("",):
            tasks += [(c, q, g) for g in range(n_groups)]
    calls = []
    for c, q, g in tasks:
        path = Path(out) / f"distances-{c}-{q or 'any'}-{g}.npz"
        share = importance[q, CHOICES[c].space][g] if q else None
        calls.append((path, digest(base, c, q, g), contest, c, groups != g, share))
    tables = dict(zip(tasks, progress.map("distances", _measure_task, calls)))
    found = {}
    for q in contest.labels:
        for c in choices:
            owner = q if CHOICES[c].supervised else ""
            for m in contest_metrics(c):
                found[q, c, m] = np.array([tables[c, owner, g][m] for g in groups])
    return found


def _contest_key(contest: Contest, groups: np.ndarray, n_trees: int) -> str:
    "Fingerprint of all that the distances depend on."
    own = Path(__file__).read_bytes()
    return digest(
        contest.checksum,
        contest.settings.seed,
        groups.tolist(),
        n_trees,
        OPTIONS,
        MOST_CLASSIFIED,
        own,
        code_key(*CODE),
    )


def _rank_all(contest, out: Path, base: str, choices, groups, n_trees: int, progress) -> dict:
    "Importance without each group, for each property and space that a supervised choice needs."
    spaces = sorted({CHOICES[c].space for c in choices if CHOICES[c].supervised})
    wanted = [(q, s) for q in contest.labels for s in spaces]
    calls = [
        (out / f"importance-{q}-{s}.npz", digest(base, q, s), contest, q, s, groups, n_trees)
        for q, s in wanted
    ]
    ranked = progress.map("rank features", _rank_task, calls)
    return {w: r["importance"] for w, r in zip(wanted, ranked)}


def _rank_task(path, key, contest, property, space, groups, n_trees):
    def make():
        return {"importance": heldout_importance(contest, property, space, groups, n_trees)}

    return remember(path, key, make)


def _measure_task(path, key, contest, choice, use, importance):
    def make():
        return measure_choice(contest, choice, np.flatnonzero(use), importance)

    return remember(path, key, make)
