"""How good is the forecast for models of your own? Doors one to three on the spectra of the default suite.

Part of the study in `own_models.ipynb`; not installed with gencast. The tables in `own_models_tables` come
from

    python nbs/studies/own_models.py RUN [estimators|domains|single] ...

where RUN is the folder of a finished default run, whose simulated spectra are read.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gencast.core.base import InputError, rng_for
from gencast.forecaster import ErrorForecaster, study_one_model, study_predictions

TABLES = Path(__file__).resolve().parent / "own_models_tables"
N_GALAXIES = 1500  # of each simulation
NOISE = 0.003  # dex, of the features
SIZES = (5, 7, 10, 14, 19)  # domains, for the figure of how few suffice
SCORES = ["r2", "mae_dex", "rank_correlation", "coverage_90", "width_90"]


def load_domains(
    folder: Path,  # of a finished default run
    n_galaxies: int = N_GALAXIES,  # of each simulation
    property: str = "log_mstar",
) -> tuple[dict, dict]:  # name -> (X, y); name -> stellar library
    "Spectra of the default suite as features, dex, and a property."
    from gencast.core.sample import load_sample
    from gencast.features.table import feature_table
    from gencast.report.results import load_results

    folder = Path(folder)
    if not (folder / "simulations" / "spectra").is_dir():
        raise InputError(f"{folder} holds no simulated spectra; give the folder of a finished run")
    table = load_results(folder).simulations
    domains = {}
    for name in table.name:
        sample = load_sample(folder / "simulations" / "spectra" / name).take(slice(0, n_galaxies))
        domains[name] = feature_table(sample).values.astype(float), sample.properties[property]
    return domains, dict(zip(table.name, table.ssp))


def make_estimators() -> dict:  # name -> unfitted estimator
    "The estimators of the table."
    found = {
        "random forest": RandomForestRegressor(60, max_features="sqrt", min_samples_leaf=2),
        "ridge": make_pipeline(StandardScaler(), Ridge(10.0)),
        "pipeline (PCA, ridge)": make_pipeline(PCA(30), StandardScaler(), Ridge(1.0)),
        "gradient boosting": make_pipeline(PCA(30), HistGradientBoostingRegressor(max_iter=150)),
        "MLP": make_network(),
    }
    try:
        from gencast.models.networks import CNNRegressor

        found["torch network"] = CNNRegressor(n_members=1, epochs=60)
    except ImportError:
        pass
    return found


def make_network(seed: int | None = None):
    "A small network on principal components, with its labels brought to scale."
    layers = MLPRegressor(hidden_layer_sizes=(64, 64), alpha=1.0, max_iter=300, random_state=seed)
    scaled = TransformedTargetRegressor(layers, transformer=StandardScaler())
    return make_pipeline(PCA(30), StandardScaler(), scaled)


def score_rows(scores: pd.DataFrame, **key) -> list:
    "The scores over all pairs, one row a protocol."
    rows = scores[scores.target == "all"]
    return [{**key, "protocol": r["protocol"], **{k: r[k] for k in SCORES}} for _, r in rows.iterrows()]


def compare_estimators(domains: dict, families: dict) -> pd.DataFrame:
    "Door one with every estimator, and door two with its predictions."
    rows = []
    for name, estimator in make_estimators().items():
        begun = time.process_time()
        forecaster = ErrorForecaster(estimator, noise=NOISE).fit(domains, families=families)
        own = forecaster.errors_.source == forecaster.errors_.target
        size = {"home": forecaster.errors_.rmse[own].median(), "away": forecaster.errors_.rmse[~own].median()}
        rows += score_rows(forecaster.scores_, estimator=name, door="any estimator", **size)
        alone = study_predictions(predictions_of(forecaster), families=families)
        rows += score_rows(alone.scores, estimator=name, door="predictions only", **size)
        print(name, f"{time.process_time() - begun:.0f} CPU s", rows[-4:], flush=True)
    return pd.DataFrame(rows)


def predictions_of(forecaster: ErrorForecaster) -> dict:  # name -> table
    "What the models of a forecaster predict for the rows that test them, with the truth."
    evidence = forecaster.domain_errors_.evidence
    parts = np.split(evidence.predicted, evidence.edges[1:-2], axis=1)
    tables = {}
    for name, predicted, truth in zip(forecaster.names_, parts, evidence.truth):
        tables[name] = dict(zip(forecaster.names_, predicted)) | {"truth": truth}
    return tables


def count_domains(domains: dict, n_draw: int = 6, n_survey: int = 3, seed: int = 0) -> pd.DataFrame:
    "Forecasts for simulations that were left out, from few domains and from many."
    names, rows = list(domains), []
    for size in SIZES:
        for draw in range(n_draw):
            rng = rng_for(seed, "how many domains", size, draw)
            order = [names[i] for i in rng.permutation(len(names))]
            used = {n: domains[n] for n in order[:size]}
            forecaster = ErrorForecaster(make_pipeline(PCA(30), StandardScaler(), Ridge(1.0)), noise=NOISE)
            forecaster.fit(used)
            for target in order[size : size + n_survey]:
                X, y = domains[target]
                found = forecaster.forecast(X[:400], target)
                true = [np.sqrt(np.mean((m.predict(X[:400]) - y[:400]) ** 2)) for m in forecaster.models_]
                s = found.sources
                for i, source in enumerate(s.source):
                    row = {"domains": size, "draw": draw, "source": source, "target": target, "true": true[i]}
                    values = {k: s[k].iloc[i] for k in ("rmse", "lower", "upper")}
                    rows.append(row | values | {"tier": found.tier})
        print(size, flush=True)
    return pd.DataFrame(rows)


def try_single(domains: dict, n_mixture: int = 3, seed: int = 0) -> pd.DataFrame:
    "Door three: networks trained on mixtures of three simulations, tried on the other seventeen."
    auxiliary = ErrorForecaster(make_pipeline(PCA(30), StandardScaler(), Ridge(1.0)), noise=NOISE).fit(
        domains
    )
    many = auxiliary.heldout_.assign(mixture="each model", error=lambda t: t.log_mse - t.predicted)
    tables = [many]
    for k in range(n_mixture):
        rng = rng_for(seed, "mixture", k)
        seen = tuple(np.array(auxiliary.names_)[np.sort(rng.permutation(len(domains))[:3])])
        at = [auxiliary.names_.index(n) for n in seen]
        X, y = (np.concatenate([part[i] for i in at]) for part in auxiliary.train_)
        network = make_network(k).fit(X, y)
        predicted = {n: network.predict(x) for n, (x, _) in domains.items()}
        study = study_one_model(auxiliary, predicted, trained_on=seen, name=f"mixture {k}")
        tables.append(study.heldout.assign(mixture=" + ".join(seen), error=lambda t: t.log_mse - t.predicted))
        print(k, seen, tables[-1].error.abs().mean(), flush=True)
    columns = ["mixture", "source", "target", "log_mse", "predicted", "lower_90", "upper_90"]
    return pd.concat(tables)[columns]


def read_part(part: str) -> pd.DataFrame:  # `estimators`, `domains` or `single`
    "A stored table. Raises `InputError` where it is missing."
    path = TABLES / f"{part}.csv"
    if not path.is_file():
        raise InputError(f"{path} is missing; make it with `python nbs/studies/own_models.py RUN {part}`")
    return pd.read_csv(path)


def tabulate_estimators(protocol: str = "leave-simulation-out") -> pd.DataFrame:
    "Errors at home and away, and the law's scores by door, one row an estimator."
    table = read_part("estimators")
    table = table[table.protocol == protocol]
    wide = table.pivot(index="estimator", columns="door", values=["r2", "mae_dex", "coverage_90"])
    size = table.groupby("estimator", sort=False)[["home", "away"]].first()
    wide.columns = [f"{door}: {score}" for score, door in wide.columns]
    return size.join(wide).round(3)


def summarise_domains() -> pd.DataFrame:  # one row a number of domains
    "How good forecasts are by how many domains they rest on; dex of RMSE."
    table = read_part("domains")
    table = table[table.tier != "outside"]
    table = table.assign(miss=np.log10(table.true / table.rmse).abs(), given=np.isfinite(table.upper))
    table["inside"] = (table.true >= table.lower) & (table.true <= table.upper)
    rows = []
    for n, part in table.groupby("domains"):
        known = part[part.given]
        width = np.log10(known.upper / known.lower).median() if len(known) else np.nan
        holds = known.inside.mean() if len(known) else np.nan
        rows.append(
            {"domains": n, "miss": part.miss.median(), "holds": holds, "width": width, "n": len(part)}
        )
    return pd.DataFrame(rows)


def plot_domains(axes) -> None:  # three axes
    "Miss, coverage and width against the number of domains."
    table = summarise_domains()
    labels = {
        "miss": "median miss of\nthe RMSE [dex]",
        "holds": "share of true errors in\ntheir 90 % interval",
        "width": "median width of\nthe interval [dex]",
    }
    for ax, (column, label) in zip(axes, labels.items()):
        ax.plot(table.domains, table[column], "o-", color="#0072B2", lw=1, ms=4)
        ax.set(xlabel="number of domains", ylabel=label, xticks=table.domains, xlim=(4, 20))
        ax.set_ylim(0, 1.05 if column == "holds" else 1.15 * table[column].max())
    axes[1].axhline(0.9, color="0.5", lw=0.8)


def summarise_single() -> pd.DataFrame:  # one row a mixture, and one for all auxiliary models
    "How far the law misses the error of one model, and those of the many."
    table = read_part("single")
    table = table.assign(miss=table.log_mse - table.predicted)
    table["holds"] = (table.log_mse >= table.lower_90) & (table.log_mse <= table.upper_90)
    found = table.groupby("mixture", sort=False).agg(
        n=("miss", "size"), mae_dex=("miss", lambda m: m.abs().mean()), coverage_90=("holds", "mean")
    )
    variance = table.groupby("mixture", sort=False).log_mse.var(ddof=0)
    square = table.assign(square=table.miss**2).groupby("mixture", sort=False).square.mean()
    return found.assign(r2=1 - square / variance).round(2)


def main(folder: str, *parts: str) -> None:
    "Write the tables."
    domains, families = load_domains(Path(folder))
    TABLES.mkdir(exist_ok=True)
    work = {
        "estimators": lambda: compare_estimators(domains, families),
        "domains": lambda: count_domains(domains),
        "single": lambda: try_single(domains),
    }
    for part in parts or work:
        work[part]().to_csv(TABLES / f"{part}.csv", index=False, float_format="%.5g")


if __name__ == "__main__":
    main(*sys.argv[1:])
