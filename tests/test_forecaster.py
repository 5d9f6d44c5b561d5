"The four doors: any estimator, predictions only, one model, errors only; what they refuse."

import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from gencast.core.base import InputError
from gencast.forecaster import ErrorForecaster, study_errors, study_one_model, study_predictions
from gencast.forecaster.domains import read_domains, split_domain
from gencast.regression import evidence_from_features, heldout_predictions, toy_galaxies, toy_signals
from gencast.regression.evidence import compute_signals
from gencast.regression.signals import LAW_SIGNALS
from gencast.report import best_forecast

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def make_domains(n_sim: int = 6, n_gal: int = 110, seed: int = 0) -> tuple[dict, np.ndarray, np.ndarray]:
    "Domains of toy galaxies; the survey's features and its truth."
    galaxies, hidden = toy_galaxies(n_sim, n_gal, seed)
    domains = {f"sim{i}": xy for i, xy in enumerate(zip(galaxies["train"], galaxies["labels"]))}
    return domains, galaxies["survey"], hidden


@pytest.fixture(scope="module")
def toy():
    return make_domains()


@pytest.fixture(scope="module")
def fitted(toy):
    return ErrorForecaster(Ridge(), law="ridge").fit(toy[0])


def tables_of(forecaster) -> dict:
    "The predictions of a forecaster's models for its test rows, as door two takes them."
    evidence, tables = forecaster.domain_errors.evidence, {}
    parts = np.split(evidence.predicted, evidence.edges[1:-2], axis=1)
    for name, predicted, truth in zip(forecaster.names_, parts, evidence.truth):
        tables[name] = pd.DataFrame(dict(zip(forecaster.names_, predicted))).assign(truth=truth)
    return tables


# one engine


def test_any_estimator_gives_what_the_engine_gives(toy, fitted):
    domains, survey, _ = toy
    train, labels = fitted.train_
    test, truth = fitted.test_
    models = [Ridge().fit(x, y) for x, y in zip(train, labels)]
    predicted = [[m.predict(x) for x in test] for m in models]
    on_survey = [m.predict(survey) for m in models]
    evidence = evidence_from_features(
        train, labels, test, truth, survey, predicted, on_survey, fitted.names_, noise=None
    )
    table, _ = compute_signals(evidence, signals=LAW_SIGNALS)
    expected = heldout_predictions(table, "ridge")
    columns = ["mean_euclidean", "nearest"]
    assert set(columns).isdisjoint(fitted.domain_errors.law_table.signals)
    pd.testing.assert_frame_equal(fitted.heldout_, expected, rtol=1e-9)


def test_predictions_with_features_give_what_any_estimator_gives(toy, fitted):
    domains, survey, _ = toy
    reference = {n: (x, y) for n, x, y in zip(fitted.names_, *fitted.train_)}
    features = dict(zip(fitted.names_, fitted.test_[0]))
    study = study_predictions(tables_of(fitted), features=features, reference=reference, law="ridge")
    pd.testing.assert_frame_equal(study.domain_errors.heldout, fitted.heldout_)
    table = {n: m.predict(survey) for n, m in zip(fitted.names_, fitted.models_)}
    one, two = study.forecast(table, survey), fitted.forecast(survey)
    pd.testing.assert_frame_equal(one.sources, two.sources)
    assert one.tier == two.tier


def test_only_the_score_of_a_shuffled_domain_changes(toy, fitted):
    domains, _, _ = toy
    X, y = domains["sim2"]
    shuffled = domains | {"sim2": (X, np.random.default_rng(0).permutation(y))}
    other = ErrorForecaster(Ridge(), law="ridge").fit(shuffled)
    before, after = (f.heldout_.query("target == 'sim2'") for f in (fitted, other))
    for column in ("predicted", "lower_90", "upper_90", "sd"):
        assert_array_equal(before[column], after[column])
    assert not np.allclose(before.log_mse, after.log_mse)


def test_only_the_scores_of_a_shuffled_family_change():
    domains, _, _ = make_domains(8, 80)
    families = dict(zip(domains, "aabbccdd"))
    rng = np.random.default_rng(0)
    shuffled = domains | {n: (domains[n][0], rng.permutation(domains[n][1])) for n in ("sim2", "sim3")}
    found = [ErrorForecaster(Ridge(), law="ridge").fit(d, families=families) for d in (domains, shuffled)]
    rows = [f.domain_errors.heldout_family.query("target == 'sim2'") for f in found]
    assert set(rows[0].source) == {f"sim{i}" for i in (0, 1, 4, 5, 6, 7)}
    assert_array_equal(rows[0].predicted, rows[1].predicted)
    assert not np.allclose(rows[0].log_mse, rows[1].log_mse)
    assert set(found[0].scores_.protocol) == {"leave-simulation-out", "leave-family-out"}


def test_predictions_alone_do_not_leak(fitted):
    tables = tables_of(fitted)
    study = study_predictions(tables, law="ridge")
    rng = np.random.default_rng(0)
    shuffled = tables | {"sim3": tables["sim3"].assign(truth=rng.permutation(tables["sim3"].truth))}
    other = study_predictions(shuffled, law="ridge")
    before, after = (s.domain_errors.heldout.query("target == 'sim3'") for s in (study, other))
    assert_array_equal(before.predicted, after.predicted)
    assert not np.allclose(before.log_mse, after.log_mse)


def test_the_same_seed_gives_the_same_bytes_on_any_number_of_cores(toy):
    forest = RandomForestRegressor(5)
    found = [ErrorForecaster(forest, law="ridge", n_jobs=n).fit(toy[0]) for n in (1, 2)]
    assert_array_equal(*(f.heldout_.predicted for f in found))
    assert_array_equal(*(f.forecast(toy[1]).sources.rmse for f in found))
    other = ErrorForecaster(forest, law="ridge", random_state=1).fit(toy[0])
    assert not np.allclose(other.errors_.mse, found[0].errors_.mse)


def test_what_is_told_is_one_number(toy, fitted):
    forecast = fitted.forecast(toy[1])
    results = fitted.results(forecast)
    best = best_forecast(results, "survey")
    told = forecast.combined.iloc[0][["rmse", "lower", "upper"]].astype(float)
    assert_array_equal([best.rmse, best.lower, best.upper], told)  # nan where there is no interval
    assert f"{forecast.rmse:.2g}" in fitted.describe(forecast) and forecast.best in fitted.describe(forecast)
    assert best.source == forecast.best


# any estimator


def torch_network():
    networks = pytest.importorskip("gencast.models.networks")
    pytest.importorskip("torch")
    return networks.CNNRegressor(n_members=1, epochs=3, n_components=3)


ESTIMATORS = {
    "ridge": Ridge,
    "mlp": lambda: MLPRegressor(hidden_layer_sizes=(8,), max_iter=20),
    "boosting": lambda: HistGradientBoostingRegressor(max_iter=5),
    "pipeline": lambda: make_pipeline(StandardScaler(), PCA(3), Ridge()),
    "forest in a pipeline": lambda: make_pipeline(StandardScaler(), RandomForestRegressor(5)),
    "torch": torch_network,
}


@pytest.mark.parametrize("name", ESTIMATORS)
def test_any_estimator_forecasts(toy, name):
    domains, survey, hidden = toy
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if name == "torch":  # a network of eight bands wants more columns than the toy has
            domains = {n: (np.tile(x, 4), y) for n, (x, y) in domains.items()}
            survey = np.tile(survey, 4)
        forecaster = ErrorForecaster(ESTIMATORS[name](), law="ridge").fit(domains)
        forecast = forecaster.forecast(survey)
    assert len(forecaster.errors_) == 36 and (forecaster.errors_.rmse > 0).all()
    assert forecast.sources.rmse.between(1e-3, 10).all() and len(forecast.galaxies) == len(survey)
    assert forecaster.predict(survey).shape == hidden.shape
    spread = forecaster.signals_["spread"]
    assert (spread.nunique() > 1) == (name in ("forest in a pipeline", "torch")) or name == "torch"


def test_scikit_learns_contract(fitted):
    assert clone(fitted).get_params()["law"] == "ridge"
    assert not hasattr(clone(fitted), "domain_errors_")
    assert clone(fitted).set_params(estimator__alpha=3.0).estimator.alpha == 3.0
    assert "estimator=Ridge()" in repr(fitted)
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        clone(fitted).forecast(np.zeros((3, 5)))


class OneTable(RegressorMixin, BaseEstimator):
    "The forecaster behind scikit-learn's own signature: five domains dealt out row by row."

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def fit(self, X, y):
        from sklearn.utils.validation import validate_data

        X, y = validate_data(self, X, y, y_numeric=True)
        inner = ErrorForecaster(Ridge(self.alpha), law="ridge")
        self.inner_ = inner.fit(X, y, domain=np.arange(len(X)) % 5)
        return self

    def predict(self, X):
        from sklearn.utils.validation import check_is_fitted, validate_data

        check_is_fitted(self)
        return self.inner_.predict(validate_data(self, X, reset=False))


class Interrupted(Ridge):
    "An estimator at whose third domain the user presses Ctrl-C."

    fitted = 0

    def fit(self, X, y):
        Interrupted.fitted += 1
        if Interrupted.fitted == 3:
            raise KeyboardInterrupt
        return super().fit(X, y)


def test_an_interrupted_fit_leaves_no_half_of_an_earlier_one(toy, fitted):
    forecaster = ErrorForecaster(Ridge(), law="ridge").fit(toy[0])
    forecaster.set_params(estimator=Interrupted())
    with pytest.raises(KeyboardInterrupt):
        forecaster.fit(dict(list(toy[0].items())[:5]))
    with pytest.raises(NotFittedError):
        forecaster.forecast(toy[1])
    assert_allclose(forecaster.fit(toy[0]).forecast(toy[1]).rmse, fitted.forecast(toy[1]).rmse, rtol=1e-12)


def test_one_table_with_a_column_of_domains(toy, fitted):
    domains = toy[0]
    X, y = (np.concatenate([d[k] for d in domains.values()]) for k in (0, 1))
    domain = np.repeat(list(domains), 110)
    again = ErrorForecaster(Ridge(), law="ridge").fit(X, y, domain)
    pd.testing.assert_frame_equal(again.heldout_, fitted.heldout_)
    inner = OneTable().fit(X, y)
    assert inner.predict(X[:4]).shape == (4,) and inner.score(X, y) > 0.5
    frame = pd.DataFrame(X, columns=list("abcde"))
    named = ErrorForecaster(Ridge(), law="ridge").fit(frame, y, domain)
    with pytest.raises(InputError, match="another order"):
        named.forecast(frame[list("edcba")][:50] + 1.0)


@pytest.mark.parametrize(
    "check",
    [
        "check_no_attributes_set_in_init",
        "check_get_params_invariance",
        "check_set_params",
        "check_parameters_default_constructible",
        "check_estimator_repr",
        "check_estimator_tags_renamed",
        "check_mixin_order",
    ],
)
def test_checks_of_scikit_learn_that_apply(check):
    from sklearn.utils import estimator_checks

    found = getattr(estimator_checks, check, None)
    if found is None:
        pytest.skip(f"this version of scikit-learn has no {check}")
    found("ErrorForecaster", ErrorForecaster(Ridge()))


class Fails(BaseEstimator):
    def __init__(self, way="fit"):
        self.way = way

    def fit(self, X, y):
        if self.way == "fit":
            raise RuntimeError("no convergence")
        return self

    def predict(self, X):
        return {"short": np.zeros(len(X) - 1), "nan": np.full(len(X), np.nan)}.get(
            self.way, np.zeros((len(X), 2))
        )


class NoPredict(BaseEstimator):
    def fit(self, X, y):
        return self


def broken(domains, what):
    X, y = domains["sim1"]
    return {
        "four": lambda: dict(list(domains.items())[:4]),
        "twice": lambda: [*((n, *d) for n, d in domains.items()), ("sim1", X, y)],
        "feature": lambda: domains | {"sim1": (X[:, :4], y)},
        "nan": lambda: domains | {"sim1": (np.where(np.arange(5) == 2, np.nan, X), y)},
        "labels": lambda: domains | {"sim1": (X, y[:-1])},
        "same": lambda: domains | {"sim1": (X, np.zeros(len(X)))},
        "few": lambda: domains | {"sim1": (X[:20], y[:20])},
        "names": lambda: {i: d for i, d in enumerate(domains.values())},
        "list": lambda: [1, 2, 3],
    }[what]()


@pytest.mark.parametrize(
    "what, message",
    {
        "four": "at least 5",
        "twice": "sim1 is named twice",
        "feature": "sim1.*5",
        "nan": "sim1.*not finite",
        "labels": "sim1",
        "same": "all labels of sim1",
        "few": "sim1 has 20 rows",
        "names": "0.* is no name",
        "list": "mapping of names",
    }.items(),
)
def test_domains_that_are_refused(toy, what, message):
    with pytest.raises(InputError, match=message):
        read_domains(broken(toy[0], what))


@pytest.mark.parametrize(
    "estimator, message",
    [
        (NoPredict(), "NoPredict has no predict"),
        (Ridge, "Ridge is a class"),
        (Fails("fit"), "sim0 failed: RuntimeError: no convergence"),
        (Fails("short"), "shape|returned"),
        (Fails("nan"), "not finite"),
        (Fails("wide"), "shape|returned"),
        (None, "give an estimator"),
    ],
)
def test_estimators_that_are_refused(toy, estimator, message):
    with pytest.raises(InputError, match=message):
        ErrorForecaster(estimator, law="ridge").fit(toy[0])


def test_surveys_and_options_that_are_refused(toy, fitted):
    domains, survey, _ = toy
    with pytest.raises(InputError, match="expecting 5 features"):
        fitted.forecast(survey[:, :3])
    with pytest.raises(InputError, match="7 of its 7 rows stand in the domain sim4"):
        fitted.forecast(domains["sim4"][0][:7])
    with pytest.raises(InputError, match="not finite"):
        fitted.forecast(np.full((3, 5), np.nan))
    with pytest.raises(InputError, match="unknown law"):
        ErrorForecaster(Ridge(), law="lore").fit(domains)
    with pytest.raises(InputError, match="train_share"):
        ErrorForecaster(Ridge(), train_share=1.0).fit(domains)
    with pytest.raises(InputError, match="sim5 has none"):
        ErrorForecaster(Ridge()).fit(domains, families={f"sim{i}": "a" for i in range(5)})


def test_far_away_there_is_no_interval(toy, fitted):
    forecast = fitted.forecast(toy[1] + 50)
    assert forecast.tier == "outside" and np.isnan(forecast.interval).all()
    assert forecast.galaxies.expected_error.isna().all() and not forecast.sources.in_support.any()
    assert "no forecast" in fitted.describe(forecast)


def test_the_split_depends_on_the_name_alone(toy):
    train, test = split_domain("sim0", 110, 0)
    assert len(train) == 70 and sorted([*train, *test]) == list(range(110))
    assert not np.array_equal(train, split_domain("sim1", 110, 0)[0])
    seven = ErrorForecaster(Ridge(), law="ridge").fit(make_domains(7)[0])
    assert_array_equal(seven.test_rows("sim0")[0], test)


def test_slices_of_three_simulations_with_features_of_any_unit():
    "The layout of a suite of hydrodynamical simulations: 21 domains in three families."
    rng, domains, families = np.random.default_rng(0), {}, {}
    for code, tilt in {"tng": 0.0, "eagle": 0.3, "simba": -0.4}.items():
        for k in range(7):
            y, other = rng.normal(10 + 0.2 * k, 0.4, 70), rng.normal(0, 0.5, 70)
            X = np.column_stack([1e4 * (y + tilt * other), 1e-3 * other, y * other, rng.normal(0, 5, 70)])
            domains[f"{code}-{k}"], families[f"{code}-{k}"] = (X, y), code
    forecaster = ErrorForecaster(Ridge(), law="ridge").fit(domains, families=families)
    out = forecaster.domain_errors.heldout_family
    assert not any(s.split("-")[0] == t.split("-")[0] for s, t in zip(out.source, out.target))
    assert len(forecaster.heldout_) == 21 * 20 and len(out) == 21 * 14
    y, other = rng.normal(10.5, 0.4, 60), rng.normal(0, 0.5, 60)
    X = np.column_stack([1e4 * (y + 0.1 * other), 1e-3 * other, y * other, rng.normal(0, 5, 60)])
    forecast = forecaster.forecast(X)
    assert forecast.tier in ("inside", "edge") and 0 < forecast.rmse < 1


# predictions only


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t: t.drop(columns="sim5"), "sim1.*no column 'sim5'"),
        (lambda t: t.assign(sim5=np.nan), "sim1.*'sim5'.*not finite"),
        (lambda t: t.assign(sim5="a"), "sim1.*'sim5'"),
        (lambda t: t.assign(sim5=t.truth), "'sim5' equals the truth"),
        (lambda t: t.drop(columns="truth"), "no column 'truth'"),
        (lambda t: 5, "int is no table"),
    ],
)
def test_predictions_that_are_refused(fitted, change, message):
    tables = tables_of(fitted)
    with pytest.raises(InputError, match=message):
        study_predictions(tables | {"sim1": change(tables["sim1"])})


def test_predictions_from_files_of_any_format(fitted, tmp_path):
    from astropy.table import Table

    tables = tables_of(fitted)
    paths = {
        n: tmp_path / f"{n}{end}"
        for n, end in zip(tables, (".csv", ".fits", ".ecsv", ".hdf5", ".npz", ".csv"))
    }
    for name, path in paths.items():
        if path.suffix == ".npz":
            np.savez(path, **tables[name])
        elif path.suffix == ".csv":
            tables[name].to_csv(path, index=False)
        else:
            more = {"path": "data"} if path.suffix == ".hdf5" else {}
            Table.from_pandas(tables[name]).write(path, **more)
    del paths["sim3"]  # HDF5 keeps its table under a name of its own; read by the mapping of a suite
    found = study_predictions({**paths, "sim3": tables["sim3"]}, law="ridge")
    expected = study_predictions({**{n: tables[n] for n in paths}, "sim3": tables["sim3"]}, law="ridge")
    assert_allclose(found.domain_errors.heldout.predicted, expected.domain_errors.heldout.predicted)


def test_features_of_the_survey_belong_to_those_of_the_simulations(toy, fitted):
    _, survey, _ = toy
    table = {n: m.predict(survey) for n, m in zip(fitted.names_, fitted.models_)}
    alone = study_predictions(tables_of(fitted), law="ridge")
    assert alone.forecast(table).tier == "not judged"
    with pytest.raises(InputError, match="no use"):
        alone.forecast(table, survey)
    whole = study_predictions(
        tables_of(fitted), features=dict(zip(fitted.names_, fitted.test_[0])), law="ridge"
    )
    with pytest.raises(InputError, match="give features"):
        whole.forecast(table)
    with pytest.raises(InputError, match="4 of them"):
        whole.forecast(table, survey[:, :4])
    with pytest.raises(InputError, match="one of the simulations"):
        alone.forecast(table, name="sim2")


# one model


@pytest.fixture(scope="module")
def single():
    domains, survey, hidden = make_domains(8, 110)
    auxiliary = ErrorForecaster(Ridge(), law="ridge").fit(domains)
    train = [np.concatenate([part[i] for i in (0, 1)]) for part in auxiliary.train_]
    model = make_pipeline(PCA(4), RandomForestRegressor(20, random_state=0)).fit(*train)
    predicted = {n: model.predict(x) for n, (x, _) in domains.items()}
    return domains, survey, hidden, auxiliary, model, predicted


def test_one_model_is_judged_where_it_has_seen_nothing(single):
    domains, survey, hidden, auxiliary, model, predicted = single
    study = study_one_model(auxiliary, predicted, trained_on=("sim0", "sim1"))
    assert list(study.heldout.target) == [f"sim{i}" for i in range(2, 8)]
    rows = auxiliary.test_rows("sim4")[0]
    true = np.log10(np.mean((predicted["sim4"][rows] - domains["sim4"][1][rows]) ** 2))
    assert_allclose(study.heldout.set_index("target").log_mse["sim4"], true)
    forecast = study.forecast(model.predict(survey), survey)
    actual = np.sqrt(np.mean((model.predict(survey) - hidden) ** 2))
    assert 0.3 < forecast.rmse / actual < 3 and forecast.best == "my model"
    assert_allclose(np.sqrt(np.mean(forecast.galaxies.expected_error**2)), forecast.rmse)
    assert "The model my model is forecast" in study.describe(forecast)


def test_one_model_does_not_leak(single):
    domains, _, _, auxiliary, model, predicted = single
    X, y = domains["sim5"]
    shuffled = domains | {"sim5": (X, np.random.default_rng(0).permutation(y))}
    other = ErrorForecaster(Ridge(), law="ridge").fit(shuffled)
    found = [study_one_model(a, predicted, trained_on=("sim0", "sim1")).heldout for a in (auxiliary, other)]
    rows = [t.set_index("target") for t in found]
    assert_allclose(rows[0].predicted["sim5"], rows[1].predicted["sim5"], rtol=1e-12)
    assert not np.isclose(rows[0].log_mse["sim5"], rows[1].log_mse["sim5"])
    assert not np.isclose(rows[0].predicted["sim6"], rows[1].predicted["sim6"])


def test_a_copy_of_an_auxiliary_model_is_forecast_like_it(single):
    domains, survey, _, auxiliary, _, _ = single
    own = auxiliary.models_[3]
    predicted = {n: own.predict(x) for n, (x, _) in domains.items()}
    study = study_one_model(auxiliary, predicted, trained_on=("sim3",))
    forecast = study.forecast(own.predict(survey), survey)
    as_auxiliary = auxiliary.forecast(survey).sources.set_index("source").rmse["sim3"]
    assert abs(np.log10(forecast.rmse / as_auxiliary)) < 0.1


def test_one_model_without_features(single):
    domains, survey, _, auxiliary, model, predicted = single
    study = study_predictions(tables_of(auxiliary), law="ridge")
    mine = {n: predicted[n][auxiliary.test_rows(n)[0]] for n in predicted}
    home = auxiliary.test_[1][0], mine["sim0"]
    one = study_one_model(study, mine, home=home)
    assert len(one.heldout) == 8
    table = {n: m.predict(survey) for n, m in zip(auxiliary.names_, auxiliary.models_)}
    assert one.forecast(model.predict(survey), table).tier == "not judged"


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"trained_on": ("sim9",)}, "no simulation 'sim9'"),
        ({"trained_on": tuple(f"sim{i}" for i in range(5))}, "at least 4 must be left"),
        ({"trained_on": ()}, "train=|home="),
        ({"name": "sim1"}, "name of a simulation"),
        ({"predicted": {"sim0": np.zeros(110)}}, "nothing for sim1"),
        ({"home": (np.zeros(3), np.full(3, np.nan))}, "home.*not finite"),
        ({"train": (np.zeros((20, 3)), np.zeros(20))}, "5 features"),
    ],
)
def test_one_model_refused(single, wrong, message):
    _, _, _, auxiliary, _, predicted = single
    with pytest.raises(InputError, match=message):
        study_one_model(auxiliary, **({"predicted": predicted, "trained_on": ("sim0", "sim1")} | wrong))


def test_predictions_of_one_model_in_another_length(single):
    _, _, _, auxiliary, _, predicted = single
    with pytest.raises(InputError, match="sim3.*110"):
        study_one_model(auxiliary, predicted | {"sim3": predicted["sim3"][:-1]}, trained_on=("sim0",))


# errors only


def toy_rows(n: int = 10) -> pd.DataFrame:
    toy = toy_signals(n)
    i, j = np.indices(toy.log_mse.shape).reshape(2, -1)
    names = np.array(toy.names)
    rows = pd.DataFrame({"source": names[i], "target": names[j], "rmse": 10 ** (toy.log_mse.ravel() / 2)})
    rows = rows.assign(far=toy.column("mean_euclidean").ravel(), near=toy.column("consensus").ravel())
    return rows[rows.source != rows.target].reset_index(drop=True)


def test_a_table_gives_what_the_engine_gives():
    toy, rows = toy_signals(10), toy_rows(10)
    study = study_errors(rows, "rmse", "rmse", ("near", "far"), law="ridge")
    expected = heldout_predictions(toy.select(("consensus", "mean_euclidean")), "ridge")
    assert_allclose(study.heldout.predicted, expected.predicted)
    assert_allclose(study.heldout.upper_90, expected.upper_90)


def test_missing_pairs_are_left_out_and_nothing_else():
    rows = toy_rows(10)
    some = rows.drop(index=[3, 17, 40])
    study = study_errors(some, "rmse", "rmse", "far")
    assert len(study.heldout) == len(some)
    line = np.polyfit(some.far, 2 * np.log10(some.rmse), 1)
    new = pd.DataFrame({"far": [0.5, 2.0]})
    assert_allclose(2 * np.log10(study.forecast(new).rmse), np.polyval(line, new.far))


def test_few_targets_have_no_interval():
    rows = toy_rows(6)
    found = study_errors(rows, "rmse", "rmse", "far").forecast(pd.DataFrame({"far": [1.0]}))
    assert np.isfinite(found.rmse[0]) and np.isnan(found.lower[0]) and np.isnan(found.upper[0])


def test_models_and_targets_need_not_be_the_same():
    rows = toy_rows(12)
    rows = rows[
        rows.source.isin(["sim00", "sim01", "sim02"]) & ~rows.target.isin(["sim00", "sim01", "sim02"])
    ]
    study = study_errors(rows, "rmse", "rmse", ("near", "far"), law="ridge")
    assert len(study.heldout) == 27 and np.isfinite(study.scores.r2[0])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"kind": "sigma"}, "say what 'rmse' holds"),
        ({"error": "mse"}, "no column 'mse'"),
        ({"signals": ()}, "at least one signal"),
        ({"rows": [1, 2]}, "no table"),
        ({"families": {"sim00": "a"}}, "sim01 has no family"),
        ({"law": "doc"}, None),
    ],
)
def test_tables_that_are_refused(change, message):
    arguments = {"rows": toy_rows(6), "error": "rmse", "kind": "rmse", "signals": "far"} | change
    if message is None:
        assert study_errors(**arguments).signal == "far"
        return
    with pytest.raises(InputError, match=message):
        study_errors(**arguments)


def test_values_that_are_refused():
    rows = toy_rows(6)
    for column, value, message in (
        ("rmse", 0.0, "positive"),
        ("far", np.inf, "row 4"),
        ("rmse", np.nan, "row 4"),
    ):
        wrong = rows.assign(**{column: rows[column].where(rows.index != 4, value)})
        with pytest.raises(InputError, match=message):
            study_errors(wrong, "rmse", "rmse", "far")
    with pytest.raises(InputError, match="occurs twice"):
        study_errors(pd.concat([rows, rows[:1]]), "rmse", "rmse", "far")
    with pytest.raises(InputError, match="4 targets are too few"):
        study_errors(toy_rows(4), "rmse", "rmse", "far")
