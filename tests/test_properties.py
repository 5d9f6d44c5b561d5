"""Laws that must hold whatever the input is, tried on inputs that hypothesis makes up.

`GENCAST_EXAMPLES=2000 python -m pytest tests/test_properties.py` tries more of them than continuous
integration does.
"""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, assume, example, given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra import numpy as hnp  # noqa: E402

from gencast.core.base import InputError, digest, rng_for
from gencast.core.checks import check_name, load_yaml  # noqa: E402
from gencast.core.properties import PROPERTIES
from gencast.core.resampling import pixel_edges, resample  # noqa: E402
from gencast.core.sample import Sample, load_sample, save_sample
from gencast.core.units import convert_property, parse_unit  # noqa: E402
from gencast.data.columns import read_columns  # noqa: E402
from gencast.data.readers import load_table  # noqa: E402
from gencast.distances.metrics import METRICS  # noqa: E402
from gencast.distances.tables import distance, galaxy_distances  # noqa: E402
from gencast.features.clusters import cluster_features, rank_distance  # noqa: E402
from gencast.regression.intervals import conformal_interval  # noqa: E402
from gencast.regression.laws import fit_line  # noqa: E402
from gencast.regression.register import make_law  # noqa: E402

N = int(os.environ.get("GENCAST_EXAMPLES", 25))
settings.register_profile(
    "gencast",
    derandomize=N == 25,
    deadline=None,
    max_examples=N,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("gencast")

ordinary = st.floats(-100, 100, allow_subnormal=False)
odd = st.one_of(st.floats(), st.sampled_from([0.0, 1e308, -1e308, float("nan"), float("inf")]))
SYMMETRIC = [
    name
    for name, m in METRICS.items()
    if not m.directed and name not in ("classifier_auc", "proxy_a", "sinkhorn")
]


def matrix(n, k, elements=ordinary):
    return hnp.arrays(float, st.tuples(st.integers(*n), st.integers(*k)), elements=elements)


@given(
    st.integers(20, 80), st.integers(3, 30), st.integers(0, 2**32 - 1), st.floats(0, 0.4), st.floats(0.6, 1)
)
def test_resampling_keeps_the_light(n_in, n_out, seed, start, stop):
    rng = np.random.default_rng(seed)
    wave = 4000 + np.cumsum(rng.uniform(25, 40, n_in))  # a step much wider than its neighbours is a gap
    flux, edges = rng.uniform(0, 5, n_in), pixel_edges(wave)
    wanted = np.geomspace(wave[0] + start * np.ptp(wave), wave[0] + stop * np.ptp(wave), n_out + 1)
    grid = np.sqrt(wanted[1:] * wanted[:-1])
    out, err, share = resample(wave, flux, 0.1 * flux, grid)
    light = np.concatenate([[0], np.cumsum(flux * np.diff(edges))])
    assert_allclose(
        out * np.diff(pixel_edges(grid)),
        np.diff(np.interp(pixel_edges(grid), edges, light)),
        atol=1e-8 * light[-1],
    )
    assert_allclose(share, 1, rtol=1e-9)
    assert (err >= 0).all() and (out >= -1e-12).all()
    assert_allclose(resample(wave, 3 * flux, flux, grid)[0], 3 * out, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", SYMMETRIC)
@settings(max_examples=max(5, N // 5))
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(12, 30),
    m=st.integers(12, 30),
    k=st.integers(1, 6),
    scale=st.floats(0.1, 50),
    shift=st.floats(-30, 30),
)
def test_distances_are_symmetric_and_know_no_order(name, seed, n, m, k, scale, shift):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, k)), rng.normal(0.5, 1.5, size=(m, k))
    options = {"wasserstein": {"n": 12}}.get(name, {})
    options |= {"weights": np.ones(k)} if name == "weighted" else {}
    d = distance(name, a, b, device="numpy", **options)
    near = 1e-4 * max(1, abs(d))
    assert np.isfinite(d) and (d > -1e-9 or METRICS[name].unbiased)
    assert abs(distance(name, b, a, device="numpy", **options) - d) < near
    if name != "wasserstein":  # whose subset of the galaxies depends on their order
        assert abs(distance(name, a[::-1], b[rng.permutation(m)], device="numpy", **options) - d) < near
    moved = distance(name, scale * a + shift, scale * b + shift, device="numpy", **options)
    power = {"dex": 1, "dex^4": 4}.get(METRICS[name].units, 0)
    assert_allclose(moved, scale**power * d, rtol=2e-3, atol=2e-3 * scale**power)
    if not METRICS[name].unbiased:
        assert distance(name, a, a, device="numpy", **options) < max(1e-3, 1e-2 * abs(d))


@given(matrix((1, 6), (1, 3), odd), matrix((1, 6), (1, 3), odd), st.sampled_from(sorted(METRICS)))
def test_distances_of_anything_are_finite_or_refused(a, b, name):
    assume(name not in ("classifier_auc", "proxy_a", "sinkhorn"))
    try:
        with np.errstate(all="ignore"):
            d = distance(name, a, b, device="numpy")
    except InputError:
        return
    assert np.isfinite(a).all() and np.isfinite(b).all() and a.shape[1] == b.shape[1]
    assert np.isfinite(d)


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 20), st.integers(1, 5))
def test_mean_and_nearest_distances_are_those_of_the_definition(seed, n, m, k):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(n, k)), rng.normal(size=(m, k))
    pairs = np.linalg.norm(a[:, None] - b[None], axis=2)
    mean, nearest = galaxy_distances(a, b)
    assert_allclose(mean, pairs.mean(axis=0), rtol=1e-5, atol=1e-5)
    assert_allclose(nearest, pairs.min(axis=0), rtol=1e-4, atol=1e-4)


@given(matrix((3, 30), (2, 8), odd), st.integers(1, 8), st.data())
def test_clusters_share_out_all_features_or_refuse(X, n_clusters, data):
    importance = data.draw(hnp.arrays(float, X.shape[1], elements=odd))
    try:
        with np.errstate(all="ignore"):
            found = cluster_features(X, importance, n_clusters=n_clusters)
    except InputError:
        return
    assert np.isfinite(X).all() and (importance >= 0).all()
    assert set(found.labels) == set(range(len(found.weights))) and len(found.weights) <= n_clusters
    assert_allclose(found.weights.sum(), 1, rtol=1e-9)
    assert (np.diff(found.weights) <= 1e-12).all()
    assert_array_equal(found.labels[found.representatives], np.arange(len(found.weights)))


@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(2, 8))
def test_rank_distance_ignores_monotone_changes(seed, n, k):
    X = np.random.default_rng(seed).normal(size=(n, k))
    assert_allclose(rank_distance(np.exp(X) * 3), rank_distance(X), atol=1e-9)
    d = rank_distance(X)
    assert (d >= -1e-12).all() and (d <= 1 + 1e-12).all()
    assert_allclose(d, d.T)


@given(hnp.arrays(float, st.integers(0, 8), elements=odd), hnp.arrays(float, st.integers(0, 8), elements=odd))
def test_a_line_is_finite_or_refused(x, y):
    try:
        with np.errstate(all="ignore"):
            found = fit_line(x, y)
    except InputError:
        return
    assert np.isfinite(found).all() and np.isfinite(x).all() and np.isfinite(y).all()


@given(
    st.integers(0, 10**6),
    st.sampled_from(["pooled_line", "target_lines", "constant"]),
    st.floats(-3, 3),
    st.floats(-3, 3),
)
def test_a_law_finds_the_line_that_is_there(seed, law, intercept, slope):
    d = np.random.default_rng(seed).uniform(0, 3, (6, 6))
    source, target = np.nonzero(~np.eye(6, dtype=bool))
    x = d[source, target]
    found = make_law(law, ("mean_euclidean",)).fit(x[:, None], intercept + slope * x, source, target)
    predicted = found.predict(d.reshape(-1, 1), np.repeat(np.arange(6), 6))
    if law != "constant":
        assert_allclose(predicted, intercept + slope * d.ravel(), atol=1e-7)
    assert np.isfinite(predicted).all()


@given(
    st.lists(hnp.arrays(float, st.integers(1, 8), elements=ordinary), min_size=1, max_size=25),
    st.floats(0.05, 0.95),
    st.floats(0.05, 0.95),
)
def test_intervals_grow_with_their_level(residuals, a, b):
    small, large = (conformal_interval(residuals, level) for level in sorted((a, b)))
    assert small[0] <= small[1] and large[0] <= large[1]
    assert large[1] - large[0] >= small[1] - small[0] - 1e-9 or not np.isfinite(large).all()


@given(
    hnp.arrays(float, st.integers(1, 12), elements=st.floats(allow_nan=False, allow_infinity=False)),
    st.sampled_from(["csv", "fits", "hdf5", "npz", "npy", "ecsv"]),
)
def test_a_column_comes_back_as_it_was_written(values, kind):
    import h5py
    from astropy.table import Table

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{kind}"
        if kind == "csv":
            path.write_text("x\n" + "\n".join(map(repr, values.tolist())) + "\n")
        elif kind == "hdf5":
            with h5py.File(path, "w") as f:
                f["x"] = values
        elif kind == "npz":
            np.savez(path, x=values)
        elif kind == "npy":
            np.save(path, np.rec.fromarrays([values], names=["x"]))
        else:
            Table({"x": values}).write(path, format={"ecsv": "ascii.ecsv"}.get(kind, kind))
        assert_array_equal(read_columns(path, ["x"])["x"].values, values)


@given(
    hnp.arrays(float, st.integers(1, 8), elements=st.floats(9.0, 12.0)),
    st.sampled_from(["Msun", "1e10 Msun", "kg", "dex(Msun)", "dex(1e10 Msun)"]),
)
def test_a_mass_is_the_same_in_every_unit(logs, unit):
    plain = parse_unit(unit, "test")
    values = (
        logs
        if unit == "dex(Msun)"
        else logs - 10
        if unit.startswith("dex")
        else 10**logs * (1 * parse_unit("Msun", "test")).to_value(plain)
    )
    found, lifted = convert_property(values, {"unit": unit}, PROPERTIES["log_mstar"], "", "test")
    assert_allclose(found, logs, atol=1e-9)
    assert lifted == 0


@given(
    hnp.arrays(float, st.tuples(st.integers(1, 6), st.just(2)), elements=st.floats(16, 28)),
    st.floats(0.01, 3),
)
def test_magnitudes_and_fluxes_give_the_same_light(mags, z):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.npz"
        np.savez(
            path,
            a=mags[:, 0],
            b=mags[:, 1],
            fa=3631e6 * 10 ** (-0.4 * mags[:, 0]),
            fb=3631e6 * 10 ** (-0.4 * mags[:, 1]),
        )

        def read(unit, prefix):
            return load_table(
                path,
                {
                    "frame": "observed",
                    "redshift": z,
                    "unit": unit,
                    "bands": {
                        b: {"column": prefix + b, "wave": w} for b, w in (("a", 4000.0), ("b", 6000.0))
                    },
                },
            )

        assert_allclose(read("mag(AB)", "").flux, read("uJy", "f").flux, rtol=1e-9)


@given(st.integers(0, 10**6), st.lists(st.text(max_size=8), min_size=1, max_size=3))
def test_random_numbers_depend_on_seed_and_names_only(seed, names):
    first = rng_for(seed, *names).integers(2**62, size=4)
    assert_array_equal(first, rng_for(seed, *names).integers(2**62, size=4))
    assert (first != rng_for(seed + 1, *names).integers(2**62, size=4)).any() and (
        first != rng_for(seed, *names, "x").integers(2**62, size=4)
    ).any()


@given(hnp.arrays(float, st.integers(1, 6), elements=st.floats(allow_nan=False)), st.integers(0, 5))
def test_a_digest_notices_one_bit(values, k):
    k = k % len(values)
    changed = values.copy()
    changed.view(np.uint8)[8 * k] ^= 1
    assert digest(values) == digest(values.copy()) != digest(changed)
    assert digest("a", "bc") != digest("ab", "c")


@given(
    matrix((1, 5), (2, 4)),
    st.lists(
        st.text(st.characters(exclude_categories=("Cs",)), max_size=6), min_size=5, max_size=5, unique=True
    ),
)
def test_a_sample_comes_back_as_it_was_saved(flux, ids):
    n, k = flux.shape
    sample = Sample(
        "s",
        flux,
        np.arange(1.0, k + 1),
        tuple(f"b{i}" for i in range(k)),
        np.abs(flux),
        np.linspace(0.1, 0.2, n),
        tuple(ids[:n]),
        {"log_mstar": flux[:, 0]},
        {"note": ids[0]},
    )
    with tempfile.TemporaryDirectory() as folder:
        back = load_sample(save_sample(sample, Path(folder) / "s"))
        for field in ("flux", "flux_err", "wave", "redshift"):
            assert_array_equal(getattr(back, field), getattr(sample, field))
        assert (back.name, back.bands, back.ids, back.meta) == (
            sample.name,
            sample.bands,
            sample.ids,
            sample.meta,
        )


@given(st.one_of(st.text(max_size=200), st.from_regex(r"[\[\]{}:,&*!<\-? ab1\n]{0,60}", fullmatch=True)))
@example("!!python/object/apply:os.system [ls]")
def test_any_text_is_yaml_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "f.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            load_yaml(path)
        except InputError as err:
            assert "f.yaml" in str(err)


@given(
    st.binary(max_size=400),
    st.sampled_from(["csv", "ecsv", "fits", "fits.gz", "hdf5", "parquet", "npy", "npz"]),
)
@example(b"", "csv")
@example(b"a,a\n1,2\n", "csv")
@example(b"\xef\xbb\xbfa\r\n1\r\n", "csv")
def test_any_bytes_are_a_table_or_refused(content, kind):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{kind}"
        path.write_bytes(content)
        try:
            found = read_columns(path, ["a"])
        except InputError as err:
            assert "t." in str(err)
        else:
            assert found["a"].values.dtype == float and len(found["a"].values)


@given(st.text(max_size=90))
@example("../../x")
@example("con")
@example("a.")
def test_a_name_that_is_accepted_is_a_plain_file_name(name):
    try:
        check_name(name, "here")
    except InputError:
        return
    assert (
        name.isascii()
        and name == Path(name).name
        and len(name) <= 80
        and name[0].isalnum()
        and not set(name) & set("<>&'\"|`$ \n\\:")
    )
