"""Histories of simulated populations: the files, cutting at an epoch, drawing by mass, refusals."""

import hashlib

import numpy as np
import pytest
from astropy.cosmology import Planck18
from astropy.io import fits
from numpy.testing import assert_allclose, assert_array_equal

from gencast.core.base import InputError, rng_for
from gencast.synthesis import populations
from gencast.synthesis.agebins import age_bins, mass_weighted_age, recent_sfr
from gencast.synthesis.epochs import recipe_at
from gencast.synthesis.histories import SURVIVING, draw_histories, list_histories
from gencast.synthesis.populations import (
    TABLE_FOLDER,
    TABLES,
    Population,
    draw_rows,
    formed_until,
    read_population,
    table_histories,
)

EDGES = age_bins(float(Planck18.age(0.1).value))
MASS = rng_for(0, "mass").uniform(8, 11.9, 4000)


@pytest.mark.parametrize("name", TABLES)
def test_files_are_those_that_were_built_and_explain_themselves(name):
    content = (TABLE_FOLDER / f"{name}.fits").read_bytes()
    assert hashlib.sha256(content).hexdigest() == TABLES[name].sha256 and len(content) < 5e5
    with fits.open(TABLE_FOLDER / f"{name}.fits") as hdus:
        head = hdus[0].header
        assert head["FAMILY"] == name and head["SURVIVE"] == SURVIVING and "BSD-3" in head["LICENSE"]
        assert (
            "diffstar 1.0.3" in head["PACKAGES"]
            and "2510.27604" in head["CITATION"]
            and "Planck18" in head["COSMOL"]
        )
        assert hdus["LOG_SHARE"].header["BITPIX"] == 16


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_clean_and_reach_all_masses(name):
    table = read_population(name)
    assert_allclose(table.time[[0, -1]], [0, Planck18.age(0).value], rtol=1e-6)
    assert np.isfinite(table.formed).all() and (np.diff(table.formed, axis=1) > 0).all()
    assert (table.formed[:, 0] == 0).all() and (table.formed[:, -1] == 1).all()
    assert np.isfinite(table.log_mstar).all() and (table.density > 0).all()
    assert np.histogram(table.log_mstar, np.arange(7.5, 12.01, 0.25))[0].min() >= 100
    per_dex = table.density[abs(table.log_mstar - 10.25) < 0.25].sum() / 0.5
    assert 10**-2.5 < per_dex < 10**-1.8  # Baldry et al. (2012): 10^-2.2 per Mpc^3 and dex


@pytest.mark.parametrize("redshift", [0.0, 0.1, 1.0, 2.0])
@pytest.mark.parametrize("name", TABLES)
def test_mass_is_conserved_and_nothing_is_older_than_the_universe(name, redshift):
    now = float(Planck18.age(redshift).value)
    edges = age_bins(now)
    h = draw_histories({"family": name}, MASS, edges, rng_for(1, name))
    assert h.shape == (len(MASS), 60) and h.dtype == np.float32 and (h >= 0).all()
    assert_allclose(h.sum(axis=1), 1, atol=1e-5)
    assert mass_weighted_age(h, edges).max() < now


def test_cutting_is_exact():
    table = Population(
        np.array([0.0, 2.0, 4.0]), np.array([[0, 0.25, 1.0]]), np.array([10.0]), np.array([1.0])
    )
    assert_allclose(formed_until(table, np.array([0, 1, 2, 3, 4])), [[0, 0.125, 0.25, 0.625, 1]])


def test_an_epoch_is_a_cut_of_today(monkeypatch):
    """Seen at 3 Gyr of 4: 0.625 of the mass has formed, 0.2 of that in the first Gyr, 0.6 in the last; the
    mass is what it was then.
    """
    table = Population(
        np.array([0.0, 2.0, 4.0]),
        np.array([[0, 0.25, 1.0], [0, 0.9, 1.0]]),
        np.array([10.0, 11.0]),
        np.ones(2),
    )
    monkeypatch.setattr(populations, "read_population", lambda name: table)
    monkeypatch.setattr(populations, "LEAST_ROWS", 1)
    h = table_histories(
        "diffstar_um", np.array([10 + np.log10(0.625), 11.0]), np.array([0.0, 1, 2, 3]), rng_for(1)
    )
    assert_allclose(h, [[0.6, 0.2, 0.2], [0.05 / 0.95, 0.45 / 0.95, 0.45 / 0.95]])
    with pytest.raises(InputError, match="earlier epoch"):
        table_histories("diffstar_um", np.array([10.0]), np.array([0.0, 1, 4.1]), rng_for(1))


def test_rows_are_near_in_mass_and_drawn_by_density():
    mass = np.repeat(np.arange(8, 12, 0.01), 2)
    density = np.tile([1.0, 3.0], 400)
    wanted = rng_for(1).uniform(8, 12, 20000)
    rows = draw_rows(mass, density, wanted, rng_for(2))
    assert abs(mass[rows] - wanted).max() <= 0.15 + 1e-9
    assert abs((rows % 2).mean() - 0.75) < 0.01
    assert set(draw_rows(mass, density, np.full(2000, 20.0), rng_for(2))) == set(
        range(790, 800)
    )  # the ten at the end
    assert set(draw_rows(mass, density, np.full(2000, 1.0), rng_for(2))) == set(range(10))


def test_order_of_the_table_does_not_matter():
    table, order = (
        read_population("diffstar_um"),
        rng_for(3).permutation(len(read_population("diffstar_um").formed)),
    )
    rows = draw_rows(table.log_mstar, table.density, MASS, rng_for(2))
    again = draw_rows(table.log_mstar[order], table.density[order], MASS, rng_for(2))
    assert_array_equal(rows, order[again])


def test_populations_differ_and_look_like_galaxies():
    h = {name: draw_histories({"family": name}, MASS, EDGES, rng_for(4)) for name in TABLES}
    log_ssfr = {name: np.log10(np.maximum(recent_sfr(v, EDGES) / SURVIVING, 1e-14)) for name, v in h.items()}
    for name, v in h.items():
        assert 4.5 < np.median(mass_weighted_age(v, EDGES)) < 8.5
        forming = (log_ssfr[name] > -11) & (abs(MASS - 10) < 0.3)
        assert -10.7 < np.median(log_ssfr[name][forming]) < -9.7
    quiet = log_ssfr["diffstar_um"] < -11
    assert quiet[MASS > 11.3].mean() > 0.6 and quiet[MASS < 9].mean() < 0.2
    assert abs(quiet[abs(MASS - 10.5) < 0.3].mean() - 0.4) < 0.15
    massive = [v[MASS > 11].mean(axis=0) for v in h.values()]
    assert max(abs(massive[0] - massive[2]).sum(), abs(massive[1] - massive[2]).sum()) > 0.15


def test_same_seed_same_bytes():
    def draw(seed):
        return draw_histories(
            {"family": "diffstar_tng", "burst_sigma": 0.3}, MASS[:200], EDGES, rng_for(seed, "h")
        )

    assert draw(1).tobytes() == draw(1).tobytes() != draw(2).tobytes()
    assert (
        draw(1).tobytes()
        != draw_histories({"family": "diffstar_tng"}, MASS[:200], EDGES, rng_for(1, "h")).tobytes()
    )


@pytest.mark.parametrize(
    "recipe, words",
    [
        (
            {"family": "diffstar_tng", "quench": {"mass": 10.5, "width": 0.5, "timescale_gyr": 0.5}},
            "'quench' cannot be set .* brings the main sequence",
        ),
        ({"family": "diffstar_um", "main_sequence": {"ssfr": -10}}, "'main_sequence' cannot be set"),
        ({"family": "diffstar_um", "onset": 1.0}, "unknown key 'onset'"),
        ({"family": "diffstar_eagle"}, "double_power_law, diffstar_tng, diffstar_galacticus, diffstar_um"),
        ({"family": "diffstar_um", "burst_sigma": 9}, "'burst_sigma'"),
    ],
)
def test_refused(recipe, words):
    with pytest.raises(InputError, match=words):
        draw_histories(recipe, MASS[:5], EDGES, rng_for(1))


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    name = "diffstar_um"
    (tmp_path / f"{name}.fits").write_bytes((TABLE_FOLDER / f"{name}.fits").read_bytes()[:-1] + b"x")
    monkeypatch.setattr(populations, "TABLE_FOLDER", tmp_path)
    for words in ("sha256 differs", "cannot be read"):
        read_population.cache_clear()
        with pytest.raises(InputError, match=words):
            read_population(name)
        (tmp_path / f"{name}.fits").unlink(missing_ok=True)
    read_population.cache_clear()


def test_listed():
    table = list_histories()
    assert set(TABLES) < set(table.index) and table.loc["diffstar_tng", "source"].startswith("Alarcon")


def test_evolution_leaves_a_table_alone():
    recipe = {
        "name": "a",
        "history": {"family": "diffstar_um"},
        "metallicity": {"relation": "gallazzi05"},
        "mass": {"minimum": 9.0},
        "evolution": {"metallicity": -0.5},
    }
    assert recipe_at(recipe, 1.0, 0.1)["history"] == {"family": "diffstar_um"}
    with pytest.raises(InputError, match="'ssfr' cannot be set"):
        recipe_at(recipe | {"evolution": {"ssfr": 2.5}}, 1.0, 0.1)
