"""Star particles in the layouts of IllustrisTNG and EAGLE: masses and metals are kept, wind and bad rows are
told."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from astropy.cosmology import Planck18
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.data.domains import read_table
from gencast.data.particles import particle_histories, read_particles, shine
from gencast.synthesis.ssp import load_ssp

Z, N_GAL, N_STAR = 0.1, 6, 150
TNG = {
    "part": "PartType4",
    "galaxy": "SubhaloID",
    "formation": "GFM_StellarFormationTime",
    "mass": "GFM_InitialMass",
    "metallicity": "GFM_Metallicity",
    "mass_unit": "1.476e10 Msun",
}


@pytest.fixture(scope="module")
def grid():
    return load_ssp("bc03_stelib", np.geomspace(4000, 6500, 60), 500)


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(4)
    return {
        "galaxy": rng.permutation(np.repeat(np.arange(N_GAL), N_STAR)),
        "scale": rng.uniform(0.1, 1 / 1.1, N_GAL * N_STAR),
        "mass": 10 ** rng.normal(-4, 0.1, N_GAL * N_STAR),
        "zmet": 10 ** rng.normal(-1.9, 0.3, N_GAL * N_STAR),
    }


def write(path, drawn, **change):
    table = {
        "SubhaloID": drawn["galaxy"],
        "GFM_StellarFormationTime": drawn["scale"],
        "GFM_InitialMass": drawn["mass"],
        "GFM_Metallicity": drawn["zmet"],
    } | change
    with h5py.File(path, "w") as f:
        for k, v in table.items():
            f[f"PartType4/{k}"] = v
    return path


def test_times_masses_and_metals(drawn, grid, tmp_path):
    stars = read_particles(write(tmp_path / "s.hdf5", drawn), TNG, Z)
    assert_allclose(stars.age, Planck18.age(Z).value - Planck18.age(1 / drawn["scale"] - 1).value, atol=2e-4)
    galaxies, names = particle_histories(stars, grid)
    assert list(names) == list("012345")
    assert_allclose(galaxies.fractions.sum(axis=1), 1)
    for k in range(N_GAL):
        ours = drawn["galaxy"] == k
        metals = (galaxies.fractions[k] * galaxies.zmet[k]).sum()
        assert_allclose(metals, np.average(drawn["zmet"][ours], weights=drawn["mass"][ours]), rtol=1e-10)
        old = stars.age[ours] >= galaxies.edges[40]
        assert_allclose(
            galaxies.fractions[k, 40:].sum(),
            drawn["mass"][ours][old].sum() / drawn["mass"][ours].sum(),
            rtol=1e-10,
        )
    formed = np.array([drawn["mass"][drawn["galaxy"] == k].sum() for k in range(N_GAL)]) * 1.476e10
    assert ((10**galaxies.log_mstar > 0.4 * formed) & (10**galaxies.log_mstar < 0.9 * formed)).all(), (
        "stars return a third to a half of their mass"
    )


def test_redshifts_and_ages_mean_the_same_as_scale_factors(drawn, tmp_path):
    age = Planck18.age(Z).value - Planck18.age(1 / drawn["scale"] - 1).value
    first = read_particles(write(tmp_path / "s.hdf5", drawn), TNG, Z).age
    redshift = read_particles(
        write(tmp_path / "z.hdf5", drawn, GFM_StellarFormationTime=1 / drawn["scale"] - 1),
        {**TNG, "time": "redshift"},
        Z,
    ).age
    megayears = read_particles(
        write(tmp_path / "a.hdf5", drawn, GFM_StellarFormationTime=age * 1e3),
        {**TNG, "time": "age", "age_unit": "Myr"},
        Z,
    ).age
    assert_allclose(redshift, first, atol=1e-9)
    assert_allclose(megayears, age, atol=1e-9)


def test_wind_is_counted_and_small_galaxies_left_out(drawn, grid, tmp_path):
    scale = np.where(np.arange(len(drawn["scale"])) < 7, -0.8, drawn["scale"])
    galaxy = np.where(drawn["galaxy"] == 5, np.arange(len(scale)) + 100, drawn["galaxy"])
    stars = read_particles(
        write(tmp_path / "s.hdf5", drawn, GFM_StellarFormationTime=scale, SubhaloID=galaxy), TNG, Z
    )
    assert stars.left_out == {"wind": 7} and len(stars.age) == len(scale) - 7
    assert len(particle_histories(stars, grid)[1]) == 5
    with pytest.raises(InputError, match="has 1000 star particles"):
        particle_histories(stars, grid, least=1000)


def test_particles_and_galaxies_made_by_hand_are_checked(drawn, grid, tmp_path):
    stars = read_particles(write(tmp_path / "s.hdf5", drawn), TNG, Z)
    for change, word in (
        ({"mass": -stars.mass}, "mass"),
        ({"zmet": stars.zmet * np.nan}, "zmet"),
        ({"age": stars.age[:-1]}, "age"),
    ):
        with pytest.raises(InputError, match=f"{word} of the stars"):
            particle_histories(replace(stars, **change), grid)
    with pytest.raises(InputError, match="one number, or one a galaxy"):
        particle_histories(stars, grid, a_v=np.ones(N_GAL + 1))
    galaxies = particle_histories(stars, grid)[0]
    for change, word in (
        ({"a_v": galaxies.a_v - 1}, "a_v"),
        ({"log_mstar": galaxies.log_mstar[:-1]}, "fractions"),
        ({"edges": galaxies.edges[::-1]}, "edges"),
    ):
        with pytest.raises(InputError, match=f"{word} of the galaxies"):
            shine(replace(galaxies, **change), grid, {"law": "calzetti"}, "odd")


@pytest.mark.parametrize(
    "change, columns, message",
    [
        (
            {"GFM_StellarFormationTime": 0.95},
            {},
            "'GFM_StellarFormationTime', row 4: 0.95 is after the snapshot",
        ),
        ({"GFM_InitialMass": -1.0}, {}, "'GFM_InitialMass', row 4: -1 cannot be the mass of a star"),
        ({"GFM_Metallicity": np.nan}, {}, "'GFM_Metallicity', row 4: nan"),
        ({}, {"mass": "Masses"}, "no column 'Masses'"),
        ({}, {"mass_unit": "kpc"}, "'GFM_InitialMass'.*kpc"),
        ({}, {"time": "cosmic"}, "unknown time 'cosmic'"),
        ({"GFM_StellarFormationTime": 30.0}, {"time": "age", "age_unit": "Gyr"}, "30 is before the Big Bang"),
        ({}, {"part": "PartType5"}, "no group 'PartType5'"),
    ],
)
def test_bad_particles_are_refused(drawn, tmp_path, change, columns, message):
    names = {"GFM_StellarFormationTime": "scale", "GFM_InitialMass": "mass", "GFM_Metallicity": "zmet"}
    table = {k: np.where(np.arange(len(drawn["scale"])) == 3, v, drawn[names[k]]) for k, v in change.items()}
    with pytest.raises(InputError, match=message):
        read_particles(write(tmp_path / "s.hdf5", drawn, **table), {**TNG, **columns}, Z)


def test_light_of_particles_becomes_a_table(drawn, grid, tmp_path):
    galaxies, names = particle_histories(
        read_particles(write(tmp_path / "s.hdf5", drawn), TNG, Z), grid, a_v=0.3
    )
    sample = shine(galaxies, grid, {"law": "calzetti"}, "tng", names)
    np.savez(tmp_path / "tng.npz", flux=sample.flux, wave=sample.wave, **sample.properties)
    mapping = {
        "unit": "Lsun/AA",
        "spectra": {"column": "flux", "wave": "wave"},
        "properties": {
            "log_mstar": {"column": "log_mstar", "unit": "Msun", "log": True},
            "a_v": {"column": "a_v", "unit": "mag"},
        },
    }
    again = read_table(tmp_path / "tng.npz", mapping, "tng").samples["spectra"]
    assert_allclose(again.flux, sample.flux, rtol=1e-6)
    assert_allclose(again.properties["log_mstar"], galaxies.log_mstar)


def test_layout_of_eagle_and_files_of_one_galaxy(drawn, tmp_path):
    with h5py.File(tmp_path / "e.hdf5", "w") as f:
        for k, v in {
            "GroupNumber": drawn["galaxy"],
            "StellarFormationTime": drawn["scale"],
            "InitialMass": drawn["mass"],
            "Metallicity": drawn["zmet"],
        }.items():
            f[f"PartType4/{k}"] = v
    eagle = {
        "part": "PartType4",
        "galaxy": "GroupNumber",
        "formation": "StellarFormationTime",
        "mass": "InitialMass",
        "metallicity": "Metallicity",
        "mass_unit": "1.476e10 Msun",
    }
    first, second = (
        read_particles(write(tmp_path / "s.hdf5", drawn), TNG, Z),
        read_particles(tmp_path / "e.hdf5", eagle, Z),
    )
    for k in ("galaxy", "age", "mass", "zmet"):
        assert (getattr(first, k) == getattr(second, k)).all()
    alone = read_particles(tmp_path / "e.hdf5", {k: v for k, v in eagle.items() if k != "galaxy"}, Z)
    assert set(alone.galaxy) == {"e"} and (alone.age == first.age).all()
