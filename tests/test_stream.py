"""Surveys in blocks: the values of a forecast in memory, whatever the size of a block; a killed call goes on;
what cannot be used is named by file, row and column.
"""

import shutil
import signal
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal

import gencast as gc
from gencast.core.base import InputError
from gencast.core.sample import Sample, load_sample
from gencast.data.photometry import band_wavelengths, nu_l_nu
from gencast.pipeline import blocks, stream
from gencast.pipeline.configure import load_settings
from gencast.pipeline.observed import observe_all, read_observed
from gencast.pipeline.parts import sample_path
from gencast.pipeline.stream import stream_catalog

SMALL = {
    "quick": True,
    "notebooks": False,
    "progress": False,
    "jobs": 1,
    "n_trees": 10,
    "views": ("photometry",),
}
COLUMNS = {"value": "", "error": "_error", "lower_68": "_lower_68", "upper_90": "_upper_90"}
N, STEP = 640, 90  # galaxies of a table; rows of a block, which leaves 10 for the last


def toy_galaxies(k: int, n: int, scatter: float = 0.01) -> pd.DataFrame:
    "A made-up simulation in five bands."
    rng = np.random.default_rng(k)
    mass, color = rng.normal(10, 0.5, n), rng.normal(0, 0.2 + 0.02 * k, n)
    light = {
        f"f{i}": 10 ** (mass - 1 + 0.02 * k + color * (i - 2) / 2 + scatter * rng.normal(size=n))
        for i in range(5)
    }
    return pd.DataFrame({"id": np.arange(n), **light, "mass": 10**mass})


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    "A run on six tables without families, a table of further galaxies, and its mapping."
    folder = tmp_path_factory.mktemp("toys")
    waves = band_wavelengths().round(1).tolist()
    columns = {
        "unit": "Lsun",
        "ids": "id",
        "bad": "leave out",
        "bands": {b: {"column": f"f{i}", "wave": w} for i, (b, w) in enumerate(zip("ugriz", waves))},
        "properties": {"log_mstar": {"column": "mass", "unit": "Msun"}},
    }
    for k in range(6):
        toy_galaxies(k, 150).to_csv(folder / f"toy{k}.csv", index=False)
    simulations = [{"name": f"toy{k}", "table": f"toy{k}.csv"} for k in range(6)]
    suite = {"name": "toys", "tables": {"columns": columns}, "simulations": simulations}
    (folder / "toys.yaml").write_text(yaml.safe_dump(suite, sort_keys=False))
    gc.run(folder / "toys.yaml", out=folder / "run", n_galaxies=150, **SMALL)
    sky = toy_galaxies(2, N)
    sky.loc[[3, 95, 400], "f1"] = np.nan
    Table.from_pandas(sky).write(folder / "sky.fits")
    (folder / "sky.yaml").write_text(yaml.safe_dump(columns, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def universes(tmp_path_factory, some_universes):
    "A run on five universes of five families, a table of their galaxies with noise, and its mapping."
    folder = tmp_path_factory.mktemp("universes")
    gc.run(some_universes("five", 4, 5), out=folder / "run", n_galaxies=150, **SMALL)
    parts = [
        load_sample(sample_path(folder / "run", "photometry", n))
        for n in load_settings(folder / "run").suite.names
    ]
    rng = np.random.default_rng(1)
    flux, err, z = (
        np.concatenate([np.asarray(getattr(p, k), float) for p in parts])
        for k in ("flux", "flux_err", "redshift")
    )
    to_ujy = 3.631 / nu_l_nu(np.ones(flux.shape), z, parts[0].wave)
    rows = rng.integers(0, len(z), N)
    flux, err, z = (flux * to_ujy)[rows], (err * to_ujy)[rows], z[rows]
    flux = np.abs(flux + err * rng.normal(size=flux.shape))
    table = Table({"ID": [f"gal-{k}" for k in range(N)], "z": z})
    for k in range(flux.shape[1]):
        table[f"f{k}"], table[f"e{k}"] = flux[:, k], err[:, k]
    table["f2"][[3, 95, 400]] = np.nan
    bands = {b: {"column": f"f{k}", "error": f"e{k}"} for k, b in enumerate(parts[0].bands)}
    mapping = {
        "frame": "observed",
        "unit": "uJy",
        "redshift": "z",
        "ids": "ID",
        "bad": "leave out",
        "bands": bands,
    }
    table.write(folder / "sky.fits")
    table.write(folder / "sky.hdf5", path="data", serialize_meta=False)
    table.to_pandas().to_parquet(folder / "sky.parquet", row_group_size=77)
    table.write(folder / "sky.csv")
    (folder / "sky.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
    return folder


def in_memory(folder, table="sky.fits"):
    "The intervals of all galaxies of a table that is read whole."
    sample = read_observed(load_settings(folder / "run"), [folder / table], folder / "sky.yaml")
    return observe_all(folder / "run", sample, None, 1, False, "", None).intervals


def in_blocks(folder, out, table="sky.fits", step=STEP):
    "The same in blocks: what came of it, and the catalogue."
    found = stream_catalog(
        folder / "run", [folder / table], out, folder / "sky.yaml", jobs=1, progress=False, block=step
    )
    return found, Table.read(out)


def words(column) -> list:
    return np.asarray(column).astype(str).tolist()


def assert_same(catalogue, rows, rtol=2e-6):
    "Same galaxies and flags, and numbers equal up to the rounding of single precision."
    assert words(catalogue["galaxy"]) == words(rows.galaxy) and words(catalogue["flag"]) == words(rows.flag)
    for column, ending in COLUMNS.items():
        assert_allclose(catalogue["log_mstar" + ending], rows[column], rtol=rtol, equal_nan=True)


@pytest.mark.parametrize("table", ["sky.fits", "sky.hdf5", "sky.parquet", "sky.csv"])
def test_values_are_those_of_a_forecast_in_memory(universes, tmp_path, table):
    rows = in_memory(universes, table)
    found, catalogue = in_blocks(universes, tmp_path / "c.fits", table)
    assert_same(catalogue, rows)
    assert found.n == len(rows) < N and sum(found.flags.values()) == found.n
    assert found.blocks == (8 if table != "sky.csv" else -(-found.n // STEP)) and found.resumed == 0
    assert sum(found.sample.meta["left_out"].values()) == N - found.n
    assert (rows.flag == "ok").sum() > 500


def test_tables_without_families_give_the_same_too(toys, tmp_path):
    rows = in_memory(toys)
    assert (rows.flag == "ok").any()
    _, catalogue = in_blocks(toys, tmp_path / "c.fits")
    assert_same(catalogue, rows)


def test_neither_block_nor_format_changes_the_catalogue(universes, tmp_path):
    _, one = in_blocks(universes, tmp_path / "one.fits", step=N)
    _, many = in_blocks(universes, tmp_path / "many.parquet", step=7)
    assert one.colnames == many.colnames
    assert words(one["galaxy"]) == words(many["galaxy"]) and words(one["flag"]) == words(many["flag"])
    for ending in COLUMNS.values():
        assert_allclose(many["log_mstar" + ending], one["log_mstar" + ending], rtol=2e-6, equal_nan=True)


def test_a_set_that_stands_for_all_changes_values_by_less_than_their_errors(universes, tmp_path, monkeypatch):
    monkeypatch.setattr(blocks, "MOST_SET", 200)
    rows = in_memory(universes)
    found, catalogue = in_blocks(universes, tmp_path / "c.fits")
    other, _ = in_blocks(universes, tmp_path / "d.fits", step=50)
    assert len(found.sample) == 200 and found.sample.ids == other.sample.ids
    both = (catalogue["flag"] == "ok") & (rows.flag == "ok").to_numpy()
    assert both.mean() > 0.9
    off = np.abs(np.asarray(catalogue["log_mstar"])[both] - rows.value.to_numpy()[both])
    assert 0 < np.median(off / rows.error.to_numpy()[both]) < 0.5


KILLED = """
import os, signal, sys
from gencast.pipeline import stream
make, done = stream.make_part, []

def make_some(*given):
    if len(done) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(0)
    return make(*given)

stream.make_part = make_some
run, table, out, columns = sys.argv[1:]
stream.stream_catalog(run, [table], out, columns, jobs=1, progress=False, block=90)
"""


def killed(folder, out):
    "A call that is killed while it works on the third block."
    given = [folder / "run", folder / "sky.fits", out, folder / "sky.yaml"]
    done = subprocess.run([sys.executable, "-c", KILLED, *map(str, given)], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists() and len(list(stream.part_folder(out).glob("part-*"))) == 2


def test_a_killed_call_goes_on_and_writes_the_same_bytes(toys, tmp_path, monkeypatch):
    in_blocks(toys, tmp_path / "whole.fits")
    killed(toys, tmp_path / "c.fits")
    (tmp_path / "c.fits.77-0123abcd.tmp").touch()  # as a call leaves it that is killed while it writes
    made, make = [], stream.make_part
    monkeypatch.setattr(stream, "make_part", lambda b, k, *more: made.append(k) or make(b, k, *more))
    found, _ = in_blocks(toys, tmp_path / "c.fits")
    assert found.resumed == 2 and made == list(range(2, 8))
    assert (tmp_path / "c.fits").read_bytes() == (tmp_path / "whole.fits").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["c.fits", "whole.fits"]


def test_a_damaged_part_is_made_anew(toys, tmp_path):
    in_blocks(toys, tmp_path / "whole.fits")
    killed(toys, tmp_path / "c.fits")
    path = stream.part_folder(tmp_path / "c.fits") / "part-00001" / "log_mstar.npy"
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    found, _ = in_blocks(toys, tmp_path / "c.fits")
    assert found.resumed == 1
    assert (tmp_path / "c.fits").read_bytes() == (tmp_path / "whole.fits").read_bytes()


def test_parts_of_another_survey_are_never_mixed(toys, tmp_path):
    killed(toys, tmp_path / "c.fits")
    with pytest.raises(InputError, match="begun with another --block; delete the folder"):
        in_blocks(toys, tmp_path / "c.fits", step=100)
    table = Table.read(toys / "sky.fits")
    table["f0"] *= 1.01
    table.write(tmp_path / "sky.fits")
    for name in ("run", "sky.yaml"):
        (tmp_path / name).symlink_to(toys / name)
    with pytest.raises(InputError, match="begun with another table"):
        in_blocks(tmp_path, tmp_path / "c.fits")
    mapping = yaml.safe_load((toys / "sky.yaml").read_text())
    (tmp_path / "sky.yaml").unlink()
    (tmp_path / "sky.yaml").write_text(yaml.safe_dump(mapping | {"bad": "refuse"}, sort_keys=False))
    shutil.copy(toys / "sky.fits", tmp_path / "sky.fits")
    with pytest.raises(InputError, match="begun with another mapping"):
        in_blocks(tmp_path, tmp_path / "c.fits")


@pytest.fixture
def changed(toys, tmp_path):
    "A function that changes the table: `change(table)`, and what the mapping says; a folder comes back."

    def write(change, **more):
        table = Table.read(toys / "sky.fits")
        table = change(table) or table
        table.write(tmp_path / "sky.fits", overwrite=True)
        mapping = yaml.safe_load((toys / "sky.yaml").read_text()) | more
        (tmp_path / "sky.yaml").write_text(yaml.safe_dump(mapping, sort_keys=False))
        if not (tmp_path / "run").exists():
            (tmp_path / "run").symlink_to(toys / "run")
        return tmp_path

    return write


def test_what_cannot_be_used_is_named_by_file_row_and_column(changed):
    folder = changed(lambda t: None, bad="refuse")
    with pytest.raises(InputError, match=r"sky\.fits: column 'f1', row 4 is not a finite number"):
        in_blocks(folder, folder / "c.fits")

    def later(table):
        table["f1"] = 10.0**9
        table["f3"][431] = -5

    folder = changed(later, bad="refuse")
    with pytest.raises(InputError, match=r"sky\.fits: column 'f3', row 432 is zero or negative"):
        in_blocks(folder, folder / "c.fits")

    def twins(table):
        table["id"][500] = table["id"][7]

    with pytest.raises(InputError, match=r"sky\.fits: the id '7' stands in rows 8 and 501; ids must differ"):
        in_blocks(changed(twins), folder / "c.fits")

    def nothing(table):
        table["f0"] = np.nan

    with pytest.raises(InputError, match=r"sky\.fits: no galaxy .*f0 is not a finite number \(637\)"):
        in_blocks(changed(nothing), folder / "c.fits")
    assert not stream.part_folder(folder / "c.fits").exists(), "nothing is left behind"


def test_medians_are_judged_on_the_set_and_not_on_a_block(changed):
    def dim(table):  # the last block is one galaxy, far fainter than the median galaxy may be
        for k in range(5):
            table[f"f{k}"][N - 1] = 100.0

    folder = changed(dim)
    found, catalogue = in_blocks(folder, folder / "c.fits", step=N - 1)
    assert words(catalogue["galaxy"])[-1] == str(N - 1) and words(catalogue["flag"])[-1] == "outside"
    assert_same(catalogue, in_memory(folder))

    def all_dim(table):
        for k in range(5):
            table[f"f{k}"] *= 1e-8

    with pytest.raises(InputError, match="median luminosity"):
        in_blocks(changed(all_dim), folder / "d.fits")


def test_blocks_without_a_usable_galaxy_are_passed_over(changed):
    def hole(table):
        table["f0"][STEP : 3 * STEP] = np.nan

    folder = changed(hole)
    found, catalogue = in_blocks(folder, folder / "c.fits")
    assert found.n == N - 2 * STEP - 2 == len(catalogue)  # rows 96 and others were lost before
    assert_same(catalogue, in_memory(folder))


def test_a_table_that_changes_meanwhile_is_refused(changed, monkeypatch):
    folder, draw = changed(lambda t: None), stream.draw_set

    def draw_and_change(*given):
        chosen = draw(*given)
        changed(lambda t: t[:-3])
        return chosen

    monkeypatch.setattr(stream, "draw_set", draw_and_change)
    with pytest.raises(InputError, match="has changed"):
        in_blocks(folder, folder / "c.fits")


def test_words_beyond_ascii_and_of_any_length_keep_their_width(changed):
    folder = changed(lambda t: None)
    table = Table.read(folder / "sky.fits").to_pandas()
    table["id"] = [f"g{k}" if k < 600 else f"galaxie-é-{k}" for k in range(N)]
    table.to_parquet(folder / "sky.parquet")
    _, catalogue = in_blocks(folder, folder / "c.fits", "sky.parquet")
    assert words(catalogue["galaxy"])[-1] == "galaxie-\\xe9-639"
    _, catalogue = in_blocks(folder, folder / "c.parquet", "sky.parquet")
    assert words(catalogue["galaxy"])[-1] == "galaxie-é-639"


def test_half_precision_is_read_whole(toys, tmp_path):
    import h5py

    with h5py.File(tmp_path / "half.hdf5", "w") as f:
        for k in range(5):
            f[f"f{k}"] = np.ones(20, np.float16 if k == 3 else float)
        f["id"], f["mass"] = np.arange(20), np.ones(20)
    assert blocks.count_rows([tmp_path / "half.hdf5"], toys / "sky.yaml") == 0
    assert blocks.count_rows([toys / "sky.fits"], toys / "sky.yaml") == N


def test_command_line(universes, tmp_path, command, monkeypatch):
    told = [
        "forecast",
        universes / "sky.fits",
        "--run",
        universes / "run",
        "--map",
        universes / "sky.yaml",
        "-j",
        1,
    ]
    code, said = command(*told, "--block", STEP)
    assert code == 2 and "--block has no effect without --out" in said
    code, said = command(*told, "--block", STEP, "--out", tmp_path / "a")
    assert code == 0 and "8 blocks, of which 0 had been finished before" in " ".join(said.split()), said
    made = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert made == ["bins.csv", "catalog.fits", "combined.csv", "comparison.csv", "forecasts.csv"]
    assert_same(Table.read(tmp_path / "a" / "catalog.fits"), in_memory(universes))
    monkeypatch.setattr("gencast.cli.blocks.LONG", 600)
    code, said = command(*told, "--parquet", "--out", tmp_path / "b")
    assert code == 0 and "1 blocks" in said and (tmp_path / "b" / "catalog.parquet").exists(), said
    code, said = command(*told, "--block", 0, "--parquet", "--out", tmp_path / "c")
    assert code == 0 and (tmp_path / "c" / "galaxies.csv").exists(), said
    whole, blocked = (Table.read(tmp_path / k / "catalog.parquet") for k in "cb")
    assert words(whole["galaxy"]) == words(blocked["galaxy"])
    assert_allclose(blocked["log_mstar"], whole["log_mstar"], rtol=2e-6, equal_nan=True)
    pd.testing.assert_frame_equal(*(pd.read_csv(tmp_path / k / "forecasts.csv") for k in "bc"), rtol=1e-5)


def test_arguments_that_cannot_be_used(universes, tmp_path):
    given = (universes / "run", [universes / "sky.fits"])
    for out, more, match in (
        ("c.txt", {}, "FITS or Parquet"),
        ("c.fits", {"block": 0}, "block is 0"),
        ("c.fits", {"properties": ("log_age",)}, "does not predict"),
    ):
        with pytest.raises(InputError, match=match):
            stream_catalog(*given, tmp_path / out, universes / "sky.yaml", progress=False, **more)
    spectra = Sample("spectra", np.ones((3, 4)), np.arange(4000.0, 4004))
    with pytest.raises(InputError, match="only photometry goes in blocks; leave --block out"):
        blocks.whole_blocks(spectra, universes / "spectra.fits", 10)


def test_a_run_that_keeps_nothing_is_told(universes, tmp_path):
    shutil.copytree(universes / "run", tmp_path / "run", ignore=shutil.ignore_patterns("cache"))
    shutil.rmtree(tmp_path / "run" / "kept")
    with pytest.raises(InputError, match="keeps nothing.*--block 0"):
        stream_catalog(
            tmp_path / "run", [universes / "sky.fits"], tmp_path / "c.fits", universes / "sky.yaml"
        )


def test_sizes_of_blocks_follow_the_number_of_simulations():
    assert [blocks.block_rows(n) for n in (1, 20, 1000)] == [50_000, 10_000, 1_000]
    assert_array_equal(blocks.id_sums(["a", "b", "a"])[[0, 2]], blocks.id_sums(["a", "a"]))
