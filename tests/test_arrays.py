"""Observed spectra given as arrays take the steps of spec files, and what cannot be used is refused."""

import numpy as np
import pytest

from gencast.core.base import InputError
from gencast.data.arrays import sample_from_spectra
from gencast.data.specfiles import built_in_spectra, read_spec
from gencast.data.surveys import load_sdss_spectra

UNIT = "1e-17 erg / (s cm2 AA)"


@pytest.fixture(scope="module")
def spec():
    "A spectrum that ppxf carries."
    return read_spec(built_in_spectra()[1])


def given(spec, **changes) -> dict:
    "Arguments of `sample_from_spectra` that say what the file says."
    error = np.where(spec.good, 1 / np.sqrt(np.where(spec.good, spec.ivar, 1)), np.nan)
    known = {"wave": spec.wave, "flux": spec.flux, "error": error, "redshift": spec.redshift}
    return known | {"unit": UNIT, "resolution_kms": spec.fwhm_kms} | changes


def test_arrays_give_what_the_file_gives(spec):
    theirs = load_sdss_spectra(built_in_spectra()[1:])
    mine = sample_from_spectra(**given(spec, ids=(spec.name,), name="mine"))
    assert np.array_equal(mine.flux, theirs.flux)
    np.testing.assert_allclose(mine.flux_err, theirs.flux_err, rtol=1e-12)
    assert mine.name == "mine" and mine.ids == theirs.ids and "SDSS" not in str(mine.meta["survey"])


def test_flux_per_frequency_is_converted(spec):
    per_hertz = spec.flux * 1e-17 * spec.wave**2 / 2.99792458e18 * 1e29  # erg/s/cm2/AA -> uJy
    factor = 1e-17 * spec.wave**2 / 2.99792458e18 * 1e29
    like = given(spec)
    there = sample_from_spectra(**like | {"flux": per_hertz, "error": like["error"] * factor, "unit": "uJy"})
    here = sample_from_spectra(**like)
    np.testing.assert_allclose(there.flux, here.flux, rtol=1e-9)


def test_masked_pixels_are_bridged_and_counted(spec):
    flux = np.ma.masked_array(spec.flux, mask=np.arange(spec.flux.size) == 1500)
    sample = sample_from_spectra(**given(spec, flux=flux))
    assert sample.meta["files"][0]["n_masked_pixels"] == 1 and np.isfinite(sample.flux).all()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"error": np.zeros(3815)}, "write NaN"),
        ({"redshift": -0.1}, "gives no distance"),
        ({"redshift": np.nan}, "gives no distance"),
        ({"redshift": [0.1, 0.1]}, "one redshift a galaxy"),
        ({"unit": "kg"}, "none of a flux"),
        ({"unit": ""}, "not stated"),
        ({"resolution_kms": 900.0}, "coarser"),
        ({"ids": ("a", "b")}, "2 different names"),
        ({"ebv": -1}, "ebv"),
        ({"flux": np.full(3815, np.nan)}, "none of its pixels"),
        ({"wave": np.arange(3815.0)[::-1] + 4000}, "must ascend"),
        ({"wave": np.linspace(5000, 9000, 3815)}, "it covers"),
    ],
)
def test_what_cannot_be_used_is_refused(spec, changes, words):
    with pytest.raises(InputError, match=words):
        sample_from_spectra(**given(spec, **changes))


def test_bad_galaxies_are_left_out_and_listed(spec):
    like = given(spec)
    two = {k: np.array([like[k]] * 2) for k in ("flux", "error")}
    two["error"][1] = 0
    many = like | two | {"redshift": [spec.redshift] * 2, "ids": ("good", "bad")}
    sample = sample_from_spectra(**many, skip=True)
    assert sample.ids == ("good",) and sample.meta["refused"][0].startswith("bad: its error is 0")
    with pytest.raises(InputError, match="bad: its error is 0"):
        sample_from_spectra(**many)
