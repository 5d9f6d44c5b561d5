"""Our synthesis against BAGPIPES (Carnall et al. 2018), an independent code, on the same stellar models.

Metallicities are the stellar models' own or near them: between two of them BAGPIPES interpolates linearly in
Z and
gencast in log Z, which differs by up to 4 % (11 Gyr old stars at 0.7 solar).

Needs the extra `sed` (`pip install -e ".[sed]"`); without it the test says so and is skipped.
"""

import numpy as np
import pytest

pytest.importorskip("bagpipes", reason="bagpipes is not installed; pip install 'gencast[sed]'")

from gencast.core.properties import Z_SUN
from gencast.core.resampling import broadening_matrix, overlap_matrix, pixel_edges
from gencast.synthesis.agebins import age_bins
from gencast.synthesis.galaxies import Galaxies
from gencast.synthesis.histories import delayed_tau
from gencast.synthesis.libraries import air_to_vacuum
from gencast.synthesis.spectra import synthesize
from gencast.synthesis.ssp import load_ssp

REDSHIFT, FWHM = 0.1, 500.0
WAVE = np.geomspace(3830, 7900, 1000)


def bagpipes_luminosity(
    age: float, tau: float, a_v: float, eta: float, metallicity: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rest-frame wavelength (Angstrom) and luminosity density (Lsun/Angstrom) of 1e10 Msun formed, delayed
    tau, Calzetti.
    """
    import bagpipes

    bagpipes.config.R_spec = (
        5000  # by default it samples the stellar models at R = 1000, coarser than they are
    )
    components = {
        "redshift": REDSHIFT,
        "delayed": {"age": age, "tau": tau, "massformed": 10.0, "metallicity": metallicity},
        "dust": {"type": "Calzetti", "Av": a_v, "eta": eta},
        "t_bc": 0.01,
    }
    model = bagpipes.model_galaxy(components, spec_wavs=np.arange(4000.0, 9500.0, 5.0))
    return model.wavelengths, model.spectrum_full * model.lum_flux * (
        1 + REDSHIFT
    ) / 3.826e33  # its solar luminosity, erg/s


def common(wave: np.ndarray, flux: np.ndarray) -> np.ndarray:
    "Broaden to the common resolution and put on WAVE."
    wave = air_to_vacuum(np.maximum(wave, 2000.0))  # BAGPIPES leaves its stellar models in air
    inside = (wave > 3600) & (wave < 8300)
    edges = pixel_edges(wave[inside])
    own = 2.54 / wave[inside] * 299792.458  # FWHM of MILES, km/s
    smooth = broadening_matrix(edges, np.sqrt(FWHM**2 - own**2) / 2.3548) @ flux[inside]
    overlap = overlap_matrix(edges, pixel_edges(WAVE))
    return (overlap @ smooth) / np.asarray(overlap.sum(axis=1)).ravel()


@pytest.mark.parametrize(
    "age, tau, a_v, eta, metallicity",
    [
        (10.0, 1.0, 0.0, 1.0, 1.0),
        (10.0, 3.0, 0.5, 1.0, 1.0),
        (5.0, 2.0, 1.0, 2.0, 0.4),
        (11.0, 0.5, 0.3, 1.0, 0.4),
        (3.0, 5.0, 0.8, 2.0, 1.5),
    ],
)
def test_spectrum_agrees_with_bagpipes(age, tau, a_v, eta, metallicity):
    edges = age_bins(12.4, 400)
    formed = delayed_tau(np.maximum(age - edges, 0), tau, 0.0)[1]
    fractions = (formed[:-1] - formed[1:])[None] / formed[0]
    grid = load_ssp("bc03_miles", WAVE, FWHM)
    galaxies = Galaxies(
        np.array([10.0]),
        fractions.astype(np.float32),
        np.full(fractions.shape, metallicity * Z_SUN),
        np.array([a_v]),
        edges,
    )
    flux, mass_formed = synthesize(galaxies, grid, {"law": "calzetti", "birth_cloud": eta - 1})
    ours = flux[0] / mass_formed[0] * 1e10 * grid.meta["imf_factor"]
    theirs = common(*bagpipes_luminosity(age, tau, a_v, eta, metallicity))
    ratio = ours / theirs
    print(f"median ratio {np.median(ratio):.4f}, range {ratio.min():.4f} to {ratio.max():.4f}")
    assert np.abs(ratio - 1).max() < 0.02
