#!/usr/bin/env python3
"""Make gencast/synthesis/ssp_grids/fastar.fits: FASTAR's single stellar populations on six IMFs.

    pip install fastar-astro==0.1.2       (61 MB, and JAX; an environment of its own is best)
    python scripts/build_fastar.py [--out gencast/synthesis/ssp_grids]

FASTAR (BaSTI-IAC isochrones; MILES and BOSZ stars through a small neural network) gives every star on an
isochrone a spectrum that is a mean and sixteen components. A population is then a sum of the same few
components, so that a table of coefficients holds all ages, metallicities and IMFs. The spectra of the stars
are the package's. What is done here:

  - level: FASTAR sets each star's V magnitude by its luminosity and a bolometric correction, with a zero
    point that counts the Sun's correction twice (its Sun has M_V = 4.91). Here a star with the Sun's
    luminosity, temperature and gravity has M_V = 4.80 AB (Willmer 2018);
  - IMF: integrated in double precision over the isochrone's points, per solar mass formed between 0.1 and 100
    Msun;
  - wavelengths: from air to vacuum, binned to 140 km/s, the light of each pixel kept.

The file's primary header says what it is, where from, licence, citation; then
  BASIS    float32 (n_component, n_wave)                 components
  WEIGHTS  float32 (n_imf, n_zmet, n_age, n_component)   weights @ basis is the luminosity density over LEVEL
  LEVEL    float64 (n_imf, n_zmet, n_age)                its mean, Lsun/Angstrom per Msun formed with that IMF
  EDGES, AGE, ZMET, FWHM                                 as in the other files
  IMFS     table                                         name of each IMF, as in gencast.synthesis.imf
  SOURCES  table                                         name, sha256 of every file that was read
"""

import argparse
import hashlib
import importlib.metadata
from pathlib import Path

import numpy as np
from astropy.io import fits
from build_ssp_grids import C_KMS, STEP_KMS, air_to_vacuum, pixel_edges, rebin, write_checksums

from gencast.core.constants import C_ANGSTROM, L_SUN, TEN_PARSEC
from gencast.synthesis.ages import AGES
from gencast.synthesis.imf import IMFS, initial_mass_function

VERSION = "0.1.2"
SUN = dict(logg=4.438, log_teff=np.log10(5772.0), met=0.0, m_v=4.80)  # IAU 2015; AB, Willmer (2018)
Z_SUN_BASTI = 0.0153  # Hidalgo et al. (2018), after Caffau et al. (2011)
METALS = (-2.2, -1.7, -1.2, -0.9, -0.6, -0.3, -0.1, float(np.log10(0.02 / Z_SUN_BASTI)), 0.3)  # [M/H]
WINDOW = (3541.0, 7409.0)  # Angstrom, in air
FWHM_AA = 2.51
PRECISION = 2e-4  # rms of what the components leave out, relative to the flux
ASSETS = (
    "BASTI-IAC_isochrones.hdf5",
    "WORTHEY11_colors.hdf5",
    "filters_default.res",
    "pca_regressor_spec.flax",
    "training_artifacts_spec.h5",
)
HEADER = dict(
    LIBRARY=("fastar", "gencast's name"),
    ISOCHRON=("BaSTI-IAC, Hidalgo et al. 2018", "stellar evolution"),
    STARS=("MILES and BOSZ", "stellar spectra"),
    BUNIT=("Lsun/Angstrom/Msun", "Msun formed with the IMF of the row"),
    INAIR=(True, "source in air? This file is in vacuum"),
    RESOLUT=(f"FWHM {FWHM_AA} A", "of the source"),
    STEPKMS=(STEP_KMS, "[km/s] pixel"),
    SOURCE=(f"fastar-astro {VERSION}", ""),
    LICENCE=("MIT (of the package)", ""),
    VERSION=(1, "of this file"),
    BUILDER=("scripts/build_fastar.py", ""),
)
CITATION = (
    "Martin-Navarro, FASTAR (fastar-astro); Hidalgo et al. 2018 ApJ 856 125; Sanchez-Blazquez et al. 2006 "
    "MNRAS 371 703; Meszaros et al. 2024 A&A 688 A197; Worthey & Lee 2011 ApJS 193 1"
)
NOTES = (
    "Level set so that the Sun has M_V = 4.80 AB: the package's own zero point is 0.11 mag fainter. Z is "
    "0.0153 x 10^[M/H]."
)


def trapezoid_steps(x):
    "What each point counts in an integral by trapezoids."
    step = np.diff(x)
    return (np.append(step, 0) + np.append(0, step)) / 2


class Stars:
    "The stars of FASTAR's isochrones, each with its spectrum in Lsun/Angstrom."

    def __init__(self):
        from fastar import IntegratedSSPSynthesizer
        from fastar.interpolate.color import color_interpolation

        self.code, self.colour = IntegratedSSPSynthesizer(), color_interpolation
        self.wave = np.asarray(self.code.wave, dtype=float)
        self.response = np.asarray(self.code.filter_response, dtype=float)
        sun = [np.array([SUN[k]]) for k in ("logg", "log_teff", "met")]
        self.sun = self.correction(*sun)[0]

    def correction(self, logg, log_teff, met):
        "Bolometric corrections to the V band, mag (Worthey & Lee 2011)."
        c = self.code
        return np.asarray(
            self.colour(logg, log_teff, met, c.logg_array, c.teff_log10_array, c.fmet_array, c.bcv_grid),
            dtype=float,
        )

    def magnitudes(self, spectra):
        "AB magnitudes in V of flux densities in erg/s/cm2/Angstrom, shape (n_star, n_wave)."
        step = trapezoid_steps(self.wave)
        f_nu = (
            spectra @ (self.response * self.wave * step) / (C_ANGSTROM * (self.response / self.wave) @ step)
        )
        return -2.5 * np.log10(f_nu) - 48.60

    def __call__(self, age, met):
        "Initial masses, Msun; spectra; their scale to Lsun/Angstrom. Age in Gyr, met is [M/H]."
        mass, log_teff, logg, log_lum = self.code._get_isochrone(age, met)
        metals = np.full(mass.shape, met)
        spectra = np.asarray(self.code.predict_spectrum(logg, log_teff, metals), dtype=float)
        correction = self.correction(logg, log_teff, metals) - self.sun
        wanted = SUN["m_v"] - 2.5 * np.asarray(log_lum, dtype=float) - correction
        scale = 10 ** (0.4 * (self.magnitudes(spectra) - wanted)) * 4 * np.pi * TEN_PARSEC**2 / L_SUN
        return np.asarray(mass, dtype=float), spectra, scale


def populations(ages, metals):
    "Edges of the pixels, and the luminosity density by IMF, metallicity, age and pixel, Lsun/Angstrom/Msun."
    stars = Stars()
    low, high = air_to_vacuum(np.array(WINDOW))
    edges = low * np.exp(np.arange(int(np.log(high / low) * C_KMS / STEP_KMS) + 1) * STEP_KMS / C_KMS)
    own = pixel_edges(stars.wave, air=True)
    flux = np.empty((len(IMFS), len(metals), len(ages), edges.size - 1))
    for j, met in enumerate(metals):
        for k, age in enumerate(ages):
            mass, spectra, scale = stars(age, met)
            number = np.array([initial_mass_function(np.clip(mass, 0.1, 100), imf) / mass for imf in IMFS])
            for i, total in enumerate((number * trapezoid_steps(mass) * scale) @ spectra):
                flux[i, j, k] = rebin(own, total, edges)
    return edges, flux


def compress(flux):
    "Components, weights and level, with as few components as `PRECISION` allows."
    level = flux.mean(axis=-1)
    relative = (flux / level[..., None]).reshape(-1, flux.shape[-1])
    u, s, v = np.linalg.svd(relative, full_matrices=False)
    for n in range(4, 60):
        weights, basis = (u[:, :n] * s[:n]).astype("f4"), v[:n].astype("f4")
        left = weights.astype(float) @ basis / relative - 1
        rms = np.sqrt((left**2).mean(axis=1)).max()
        if rms < PRECISION:
            break
    print(f"{n} components: rms {rms:.1e} at most, one pixel {abs(left).max():.1e}")
    return basis, weights.reshape(*level.shape, n), level


def read_sources():
    "(package, file, sha256) of the files of the package that hold the physics."
    import fastar

    folder = Path(fastar.__file__).parent / "assets"
    return [
        ("fastar-astro", f"fastar/assets/{n}", hashlib.sha256((folder / n).read_bytes()).hexdigest())
        for n in ASSETS
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path(__file__).resolve().parents[1] / "gencast" / "synthesis" / "ssp_grids"
    parser.add_argument("--out", type=Path, default=folder)
    out = parser.parse_args().out
    if importlib.metadata.version("fastar-astro") != VERSION:
        raise SystemExit(f"fastar-astro {VERSION} is needed: pip install fastar-astro=={VERSION}")
    ages, zmet = np.append(0.02, AGES[AGES > 0.021]), Z_SUN_BASTI * 10 ** np.array(METALS)
    edges, flux = populations(ages, METALS)
    if not (flux > 0).all():
        raise SystemExit("fastar: luminosities that are not positive")
    basis, weights, level = compress(flux)
    head = fits.Header()
    limits = dict(
        WAVEMIN=(round(edges[0], 3), "[Angstrom] vacuum"),
        WAVEMAX=(round(edges[-1], 3), "[Angstrom] vacuum"),
        YOUNGEST=(ages[0], "[Gyr]"),
    )
    for key, card in (HEADER | limits).items():
        head[key] = card
    head["CITATION"], head["NOTES"] = CITATION, NOTES
    tables = {
        "IMFS": (("name",), [(n,) for n in IMFS]),
        "SOURCES": (("package", "file", "sha256"), read_sources()),
    }
    hdus = [fits.PrimaryHDU(header=head)]
    fwhm = (C_KMS * FWHM_AA / np.sqrt(edges[1:] * edges[:-1])).astype("f4")
    images = dict(BASIS=basis, WEIGHTS=weights, LEVEL=level, EDGES=edges, AGE=ages, ZMET=zmet, FWHM=fwhm)
    hdus += [fits.ImageHDU(v, name=k) for k, v in images.items()]
    for name, (titles, rows) in tables.items():
        columns = [fits.Column(t, f"{max(map(len, v))}A", array=list(v)) for t, v in zip(titles, zip(*rows))]
        hdus.append(fits.BinTableHDU.from_columns(columns, name=name))
    fits.HDUList(hdus).writeto(out / "fastar.fits", overwrite=True)
    write_checksums(out)
    print(
        f"fastar: {zmet.size} metallicities, {ages.size} ages, {edges.size - 1} pixels, "
        f"{(out / 'fastar.fits').stat().st_size / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
