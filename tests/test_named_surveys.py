"""Tables of known surveys, made up in their layouts: recognised by their columns, and read to the right
luminosities, with codes, dust, cuts and redshifts as their documents say."""

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.cosmology import Planck18
from astropy.io import fits
from astropy.table import Table
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.data.bands import effective_wavelength
from gencast.data.catalogues import band_curves, read_catalogue
from gencast.data.fields import load_catalogue, survey_catalogue
from gencast.data.named_surveys import LAYOUTS, read_survey, recognise_survey

N = 6
Z = np.linspace(0.5, 1.2, N)
ERR = 0.02


def flux_of(k, base=10.0):
    "A flux that differs from band to band and galaxy to galaxy."
    return base * (1 + 0.1 * k) * np.linspace(1, 2, N)


def luminosity(jansky, z, curve):
    "nu L_nu in Lsun, by astropy."
    nu = (effective_wavelength(curve) * u.AA).to(u.Hz, u.spectral())
    area = 4 * np.pi * Planck18.luminosity_distance(z) ** 2
    return (jansky * u.Jy * nu * area).to_value(u.Lsun)


def check(sample, curve, jansky, z, floor=0.0):
    "A band of a sample against fluxes in Jy."
    right = luminosity(jansky, z, curve)
    k = sample.bands.index(curve)
    assert_allclose(sample.flux[:, k], right, rtol=1e-4)  # 3631 and 3630.78 Jy
    assert_allclose(sample.flux_err[:, k], right * np.hypot(ERR, floor), rtol=1e-4)


def load(path, **more):
    return load_catalogue(path, (0.01, 2.0), (1210.0, 18000.0), snr=5, error_floor=0.0, **more)


# COSMOS2020

COSMOS = {
    "CFHT_u": 4.807,
    "HSC_g": 3.69,
    "HSC_i": 2.0,
    "UVISTA_Y": 1.213,
    "UVISTA_Ks": 0.365,
    "SC_IB427": 4.261,
}


def cosmos(path, ending, valid=False):
    "A Farmer or a Classic table."
    t = Table(
        {"ID": np.arange(1, N + 1), "ALPHA_J2000": 150.0 + np.zeros(N), "FLAG_COMBINED": np.zeros(N, int)}
    )
    t["lp_zBEST"], t["lp_type"], t["EBV_MW"] = Z, np.zeros(N, int), np.full(N, 0.02)
    t["lp_mass_med"], t["lp_SFR_med"] = np.full(N, 10.2), np.full(N, -99.0)
    for k, band in enumerate(COSMOS):
        t[f"{band}_FLUX{ending}"] = flux_of(k)
        t[f"{band}_FLUX{ending}"].unit = "uJy"
        t[f"{band}_FLUXERR{ending}"] = ERR * flux_of(k)
        t[f"{band}_MAG{ending}"] = np.full(N, -99.0)
        if valid:
            t[f"{band}_VALID"] = np.ones(N, int)
    t.write(path)
    return t


def test_farmer(tmp_path):
    cosmos(tmp_path / "COSMOS2020_FARMER.fits", "", valid=True)
    assert recognise_survey(tmp_path / "COSMOS2020_FARMER.fits").layout.name == "COSMOS2020 (Farmer)"
    sample = load(tmp_path / "COSMOS2020_FARMER.fits")
    assert sample.ids == tuple(map(str, range(1, N + 1)))
    for curve, band in (("hsc2017-i", "HSC_i"), ("subaru_suprimecam_ia427", "SC_IB427")):
        k = list(COSMOS).index(band)
        check(sample, curve, flux_of(k) * 1e-6 * 10 ** (0.4 * COSMOS[band] * 0.02), Z)
    assert_allclose(sample.properties["log_mstar"], 10.2)
    assert np.isnan(sample.properties["log_sfr"]).all()
    assert "Farmer" in sample.meta["notes"][0] and "E(B-V)" in sample.meta["galactic_extinction"]
    assert sample.meta["zero_point"] == 23.9


def test_classic_is_made_total(tmp_path):
    t = cosmos(tmp_path / "a.fits", "_APER2")
    t["total_off2"] = np.full(N, -0.4)
    t.write(tmp_path / "classic.fits.gz")
    sample = load(tmp_path / "classic.fits.gz")
    k = list(COSMOS).index("UVISTA_Y")
    check(sample, "vista_vircam_Y", flux_of(k) * 1e-6 * 10**0.16 * 10 ** (0.4 * 1.213 * 0.02), Z)


def test_cosmos_cuts_and_codes(tmp_path):
    t = cosmos(tmp_path / "a.fits", "", valid=True)
    t["FLAG_COMBINED"][0], t["lp_type"][1], t["lp_zBEST"][2] = 1, 1, -99.0
    t["HSC_i_VALID"][3], t["HSC_g_FLUX"][4], t["HSC_g_FLUXERR"][4] = 0, -99.0, -99.0
    t.write(tmp_path / "b.fits")
    sample = load(tmp_path / "b.fits", wanted=("hsc2017-g", "hsc2017-i", "vista_vircam_Y"))
    assert sample.ids == ("6",)
    left = sample.meta["left_out"]
    assert left["outside the clean area (FLAG_COMBINED)"] == left["no galaxy (lp_type)"] == 1
    assert left["no redshift"] == 1 and left["not observed in a common band"] == 2


@pytest.mark.parametrize("unit", ["njy", "NJY", "mJY", "ct", "mag"])
def test_units_that_the_documents_contradict_are_refused(tmp_path, unit):
    t = cosmos(tmp_path / "a.fits", "")
    t["HSC_i_FLUX"].unit = None
    t.write(tmp_path / "b.fits")
    with fits.open(tmp_path / "b.fits", mode="update") as hdus:
        hdus[1].header[f"TUNIT{t.colnames.index('HSC_i_FLUX') + 1}"] = unit
    with pytest.raises(InputError, match=f"in {unit} by the file, and COSMOS2020 .Farmer. has uJy"):
        load(tmp_path / "b.fits")


def test_a_table_in_another_unit_is_refused(tmp_path):
    t = cosmos(tmp_path / "a.fits", "")
    for band in COSMOS:
        t[f"{band}_FLUX"].unit = "nJy"
    t.write(tmp_path / "b.fits")
    with pytest.raises(InputError, match="in nJy by the file, and COSMOS2020 .Farmer. has uJy"):
        load(tmp_path / "b.fits")


# 3D-HST, as its readme of the UDS (v4.2) describes the files

UDS_BANDS = "F160W u B V F606W R i F814W z F125W J F140W H K IRAC1 IRAC2 IRAC3 IRAC4".split()
UDS_CURVES = {
    "F160W": "wfc3_ir_f160w",
    "u": "cfht_megacam_us_9301",
    "B": "subaru_suprimecam_B",
    "V": "subaru_suprimecam_V",
    "F606W": "acs_wfc_f606w",
    "R": "subaru_suprimecam_Rc",
    "F814W": "acs_wfc_f814w",
    "F125W": "wfc3_ir_f125w",
    "J": "ukirt_wfcam_J",
    "F140W": "wfc3_ir_f140w",
    "H": "ukirt_wfcam_H",
    "K": "ukirt_wfcam_K",
    "IRAC1": "spitzer_irac_ch1",
    "IRAC2": "spitzer_irac_ch2",
}
UDS_FAST = """#    id      z    ltau   metal    lage      Av   lmass    lsfr   lssfr    la2t    chi2
# FAST version: 0.9b
# Photometric catalog file: uds_3dhst.v4.2.cat
# Photometric redshift file: uds_3dhst.v4.2.zout
# AB ZP:        25.00
# Library:      Bruzual & Charlot (2003)
# Stellar IMF:  Chabrier
# Filters:     205  88 122  79 236 123 124 239 125 203 263 204 264 265  18  19  20  21
# ltau: log[tau/yr], lage: log[age/yr], lmass: log[mass/Msol], lsfr: log[sfr/(Msol/yr)]
# For sfr=0. lsfr is set to -99
#    id      z    ltau   metal    lage      Av   lmass    lsfr   lssfr    la2t    chi2
"""


def write_uds(folder):
    "Six objects: four galaxies, one not fitted by FAST (-1 throughout), one without use_phot."
    names = "id x y ra dec faper_F160W eaper_F160W faper_F140W eaper_F140W".split()
    names += [f"{kind}_{b}" for b in UDS_BANDS for kind in "few"]
    names += "tot_cor wmin_ground wmin_hst wmin_irac wmin_wfc3 z_spec star_flag kron_radius".split()
    names += "a_image b_image theta_J2000 class_star flux_radius fwhm_image flags IRAC1_contam".split()
    names += "IRAC2_contam IRAC3_contam IRAC4_contam contam_flag f140w_flag use_phot near_star".split()
    names += "nexp_f125w nexp_f140w nexp_f160w".split()
    values = dict.fromkeys(names, np.zeros(N)) | {"id": np.arange(1, N + 1), "z_spec": np.full(N, -1.0)}
    for k, band in enumerate(UDS_BANDS):
        values |= {f"f_{band}": flux_of(k), f"e_{band}": ERR * flux_of(k), f"w_{band}": np.ones(N)}
    values |= {"use_phot": np.array([1, 1, 1, 1, 1, 0]), "faper_F160W": np.full(N, 3.0)}
    for part in ("Catalog", "Fast", "Eazy"):
        (folder / part).mkdir()
    rows = [" ".join(f"{v:.8g}" for v in row) for row in np.column_stack([values[n] for n in names])]
    head = f"# {' '.join(names)}\n# uds_3dhst.v4.2.cat:\n# by R. E. Skelton (2014/03/12)\n"
    path = folder / "Catalog" / "uds_3dhst.v4.2.cat"
    path.write_text(head + "\n".join(rows) + "\n")
    fits_ = [f"{k + 1} {z} 8 0.02 9 0.3 10.5 -99 -99 1 1.0" for k, z in enumerate(Z)]
    fits_[4] = "5" + " -1" * 10
    (folder / "Fast" / "uds_3dhst.v4.2.fout").write_text(UDS_FAST + "\n".join(fits_) + "\n")
    return path


def test_the_uds_of_3dhst(tmp_path):
    path = write_uds(tmp_path)
    sample = load(path)
    assert sample.ids == ("1", "2", "3", "4") and sample.meta["zero_point"] == 25
    curves = band_curves(read_catalogue(path))
    assert {b: curves[b] for b in UDS_CURVES} == UDS_CURVES and None not in curves.values()
    for band in ("B", "V", "F606W", "R", "F814W", "F125W", "J", "F140W", "F160W"):
        check(sample, UDS_CURVES[band], flux_of(UDS_BANDS.index(band))[:4] * 3631e-10, Z[:4])
    assert_allclose(sample.properties["log_mstar"], 10.5)
    assert np.isnan(sample.properties["log_sfr"]).all()  # -99: none
    assert sample.meta["left_out"]["no redshift"] == 1
    assert "3D-HST" in str(sample.meta)


# CANDELS

GOODS = ("ACS_F435W", "ACS_F606W", "ACS_F775W", "WFC3_F105W", "WFC3_F125W", "WFC3_F160W", "HAWKI_KS")


def candels(flags=None):
    "The photometry of GOODS-S."
    t = {"ID": np.arange(1, N + 1), "RA": np.full(N, 53.1), "DEC": np.full(N, -27.8)}
    t |= {"FLAGS": np.zeros(N, int) if flags is None else flags, "CLASS_STAR": np.full(N, 0.02)}
    for k, band in enumerate(GOODS):
        t |= {f"{band}_FLUX": flux_of(k), f"{band}_FLUXERR": ERR * flux_of(k), f"{band}_WEIGHT": 1.0}
    return pd.DataFrame(t)


def as_sextractor(path, table):
    "The layout of the text files: numbered comments name the columns."
    lines = [f"# {k} {name} (uJy)" for k, name in enumerate(table, 1)]
    lines += [" ".join(f"{v:.8g}" for v in row) for row in table.to_numpy()]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("name", ["goodss.cat", "goodss.txt"])
def test_candels_with_joined_redshifts(tmp_path, name):
    table = candels(flags=[0, 0, 16, 0, 0, 0])
    table.loc[4, ["ACS_F606W_FLUX", "ACS_F606W_FLUXERR"]] = -99.0
    path = as_sextractor(tmp_path / name, table)
    with pytest.raises(InputError, match="CANDELS and has no redshifts.*--redshift"):
        load(path)
    pd.DataFrame({"name": np.arange(N, 0, -1), "z": Z[::-1]}).to_csv(tmp_path / "z.csv", index=False)
    sample = load(path, redshift=tmp_path / "z.csv", ebv=0.01, wanted=("acs_wfc_f606w", "wfc3_ir_f125w"))
    assert sample.ids == ("1", "2", "4", "6")
    assert sample.meta["left_out"]["flag is not 0 (FLAGS)"] == 1
    from dust_extinction.parameter_averages import CCM89

    keep = np.array([0, 1, 3, 5])
    share = CCM89(Rv=3.1).extinguish(np.array([effective_wavelength("wfc3_ir_f125w")]) * u.AA, Ebv=0.01)
    check(sample, "wfc3_ir_f125w", flux_of(4)[keep] * 1e-6 / share, Z[keep])


def test_candels_redshifts_from_another_file_by_yaml(tmp_path):
    candels().to_csv(tmp_path / "goodss.csv", index=False)
    Table({"Seq": np.arange(1, N + 1), "zbest": Z}).write(tmp_path / "santini.fits")
    (tmp_path / "z.yaml").write_text("redshift: {file: santini.fits, column: zbest, ids: Seq}\n")
    ends = ((0.4, 2.0), (1210.0, 18000.0))
    sample = survey_catalogue(tmp_path / "goodss.csv", tmp_path / "z.yaml", *ends)
    assert_allclose(sample.redshift, Z)
    assert "none removed" in sample.meta["galactic_extinction"]
    check(sample, "wfc3_ir_f160w", flux_of(5) * 1e-6, Z, floor=0.05)
    assert sample.meta["bands_left_out"]["HAWKI_KS"] == "no response curve"


def test_uds(tmp_path):
    t = {"ID": np.arange(N), "zbest": Z, "Flag": np.zeros(N, int)}
    for k, band in enumerate(("B_subaru", "i_subaru", "F125W_hst", "F160W_hst", "K_uds")):
        t |= {f"Flux_{band}": flux_of(k), f"Fluxerr_{band}": ERR * flux_of(k)}
    Table(t).write(tmp_path / "uds.fits")
    sample = load(tmp_path / "uds.fits")
    check(sample, "subaru_suprimecam_ip", flux_of(1) * 1e-6, Z)


def test_ids_that_do_not_meet(tmp_path):
    candels().to_csv(tmp_path / "goodss.csv", index=False)
    pd.DataFrame({"name": ["a", "b"], "z": [0.5, 0.6]}).to_csv(tmp_path / "z.csv", index=False)
    with pytest.raises(
        InputError, match="none of its ids, such as 'a', is one of the catalogue's, such as '1'"
    ):
        load(tmp_path / "goodss.csv", redshift=tmp_path / "z.csv")


# JADES


def test_jades_joins_its_extensions(tmp_path):
    bands = ("F435W", "F606W", "F090W", "F115W", "F150W", "F200W", "F277W")
    kron, conv = ({"ID": np.arange(101, 101 + N)} for _ in range(2))
    for k, band in enumerate(bands):
        for table, factor in ((kron, 7.0), (conv, 1.0)):
            table |= {f"{band}_KRON": factor * flux_of(k, 1e3), f"{band}_KRON_e": ERR * flux_of(k, 1e3)}
            table |= {f"{band}_KRON_ei": np.full(N, 9.0)}
    order = np.arange(N)[::-1]
    other = {"ID": kron["ID"][order], "EAZY_z_a": Z[order], "z_spec": np.where(order == 2, 0.9, -1.0)}
    flag = {"ID": kron["ID"], "FLAG_ST": (np.arange(N) == 0).astype(int), "FLAG_BN": np.zeros(N, int)}
    parts = {"FLAG": flag, "KRON": kron, "KRON_CONV": conv, "PHOTOZ": other}
    tables = [fits.table_to_hdu(Table(t, units={k: "nJy" for k in t if "KRON" in k})) for t in parts.values()]
    for name, hdu in zip(parts, tables):
        hdu.name = name
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(tmp_path / "jades.fits")
    sample = load(tmp_path / "jades.fits")
    z = np.where(np.arange(N) == 2, 0.9, Z)[1:]
    assert_allclose(sample.redshift, z)
    check(sample, "jwst_f150w", flux_of(4, 1e3)[1:] * 1e-9, z)
    assert sample.meta["left_out"]["flagged as a star (FLAG_ST)"] == 1


# GAMA

SDSS = tuple(f"sdss2010-{b}" for b in "ugriz")


def gama_matched():
    t = {"CATAID": np.arange(N) + 6802, "Z": 0.05 + 0.05 * np.arange(N), "NQ": np.full(N, 4)}
    for k, band in enumerate("ugrizYJHK"):
        t |= {f"MAG_AUTO_{band}": 18.0 - 0.2 * k + np.zeros(N), f"MAGERR_AUTO_{band}": np.full(N, 0.02)}
        t |= {f"A_{band}": np.full(N, 0.1 / (k + 1))}
    return t | {"logmstar": np.full(N, 10.0), "fluxscale": np.full(N, 1.25)}


def test_gama_magnitudes(tmp_path):
    t = gama_matched()
    t["NQ"][0], t["MAG_AUTO_g"][1] = 2, -999.0
    Table(t).write(tmp_path / "gama.fits")
    sample = load(tmp_path / "gama.fits", wanted=SDSS)
    assert sample.ids == tuple(map(str, np.arange(2, N) + 6802))
    right = luminosity(3630.78 * 10 ** (-0.4 * (17.6 - 0.1 / 3)) * np.ones(4), t["Z"][2:], SDSS[2])
    assert_allclose(sample.flux[:, 2], right, rtol=1e-4)
    assert_allclose(sample.flux_err / sample.flux, 0.02 * 0.4 * np.log(10), rtol=1e-5)
    assert_allclose(sample.properties["log_mstar"], 10.0 + np.log10(1.25))


def test_gama_without_redshifts_or_dust(tmp_path):
    t = {k: v for k, v in gama_matched().items() if k[:2] != "A_" and k not in ("Z", "NQ")}
    pd.DataFrame(t).to_csv(tmp_path / "gama.csv", index=False)
    with pytest.raises(InputError, match="SpecObj has Z and NQ"):
        load(tmp_path / "gama.csv")
    pd.DataFrame(gama_matched())[["CATAID", "Z"]].to_csv(tmp_path / "SpecObj.csv", index=False)
    redshift = {"file": "SpecObj.csv", "column": "Z", "ids": "CATAID"}
    sample = load(tmp_path / "gama.csv", redshift=redshift, wanted=SDSS)
    assert_allclose(sample.redshift, gama_matched()["Z"])
    assert "none removed" in sample.meta["galactic_extinction"]


def test_gama_fluxes(tmp_path):
    t = {"uberID": 101001 + np.arange(N), "CATAID": np.arange(N), "Z": Z, "NQ": np.full(N, 3)}
    t |= {k: np.zeros(N, int) for k in ("duplicate", "mask", "starmask")} | {"uberclass": np.ones(N, int)}
    for k, b in enumerate(("NUV", "u", "g", "r", "i", "Z", "Y", "J", "H", "K")):
        t |= {f"flux_{b}t": flux_of(k, 1e-5), f"flux_err_{b}t": ERR * flux_of(k, 1e-5)}
    t["starmask"][5], t["flux_Yt"][4] = 1, -999.0
    pd.DataFrame(t).to_parquet(tmp_path / "gkv.parquet")
    sample = load(tmp_path / "gkv.parquet", wanted=("vista_vircam_Z", "vista_vircam_Y", "vista_vircam_H"))
    assert len(sample) == 4
    check(sample, "vista_vircam_H", flux_of(8, 1e-5)[:4], Z[:4])
    assert sample.meta["galactic_extinction"] == "removed by the survey"
    with pytest.raises(InputError, match="leave --ebv out"):
        load(tmp_path / "gkv.parquet", ebv=0.1)


# Legacy Surveys


def tractor(release=9010, upper=False, **more):
    t = {"release": np.full(N, release), "brickid": np.full(N, 7), "objid": np.arange(N)}
    t |= {"type": np.array(["EXP", "DEV", "SER", "REX", "PSF", "EXP"]), "maskbits": np.array([0] * 5 + [2])}
    t |= {"brick_primary": np.ones(N, bool)}
    for k, b in enumerate(("g", "r", "z", "w1")):
        t |= {f"flux_{b}": flux_of(k), f"flux_ivar_{b}": 1 / (ERR * flux_of(k)) ** 2}
        t |= {f"mw_transmission_{b}": np.full(N, 0.8 + 0.05 * k)}
    t |= more
    return Table({k.upper() if upper else k: v for k, v in t.items()})


@pytest.mark.parametrize("release, upper, curve", [(9010, False, "decam2014-r"), (9011, True, "BASS-r")])
def test_tractor(tmp_path, release, upper, curve):
    t = tractor(release, upper, z_phot_median=Z)
    t.write(tmp_path / "tractor.fits")
    bands = (curve, curve.replace("-r", "-g"))
    sample = load(tmp_path / "tractor.fits", wanted=bands)
    assert sample.ids == tuple(f"{release}-7-{k}" for k in range(4))
    check(sample, curve, flux_of(1)[:4] * 3.6308e-6 / 0.85, Z[:4])
    left = sample.meta["left_out"]
    assert left["a point source or a double entry (type)"] == left["masked (maskbits)"] == 1


def test_tractor_unseen_bands_are_missing(tmp_path):
    t = tractor(z_spec=Z)
    t["flux_ivar_g"][0] = 0.0
    t.write(tmp_path / "t.fits")
    sample = load(tmp_path / "t.fits", wanted=("decam2014-g", "decam2014-r"))
    assert sample.meta["left_out"]["not observed in a common band"] == 1 and len(sample) == 3


@pytest.mark.parametrize("release", [[9010] * 5 + [9011], [1234] * 6])
def test_tractor_cameras_must_be_known(tmp_path, release):
    tractor(z_spec=Z, release=np.array(release)).write(tmp_path / "t.fits")
    with pytest.raises(InputError, match="DECam"):
        load(tmp_path / "t.fits")


def test_desi_redshifts_in_the_same_table(tmp_path):
    t = tractor(upper=True, targetid=39627700000000000 + np.arange(N), z=Z, photsys=np.full(N, "S"))
    t["ZWARN"] = [0, 4, 0, 0, 0, 0]
    t["SPECTYPE"] = ["GALAXY", "GALAXY", "QSO", "GALAXY", "GALAXY", "GALAXY"]
    t.remove_columns(["TYPE", "RELEASE"])
    t.write(tmp_path / "zall.fits")
    sample = load(tmp_path / "zall.fits", wanted=("decam2014-g", "decam2014-r"))
    assert sample.ids == tuple(str(39627700000000000 + k) for k in (0, 3, 4))


def test_tractor_joined_by_several_columns(tmp_path):
    tractor().write(tmp_path / "sweep.fits")
    pz = Table({"RELEASE": np.full(N, 9010), "BRICKID": np.full(N, 7), "OBJID": np.arange(N)[::-1]})
    pz["Z_PHOT_MEDIAN"] = Z[::-1]
    pz.write(tmp_path / "pz.fits")
    redshift = {"file": "pz.fits", "column": "Z_PHOT_MEDIAN", "ids": ["RELEASE", "BRICKID", "OBJID"]}
    sample = load(tmp_path / "sweep.fits", redshift=redshift, wanted=("decam2014-g", "decam2014-r"))
    assert_allclose(sample.redshift, Z[:4])


# in general


def test_every_curve_of_every_layout_is_at_hand():
    names = [f"{b}{e}" for b in ("ID",) for e in ("",)]
    for layout in LAYOUTS:
        assert layout.source and layout.join and layout.bands(names) == ()


@pytest.mark.parametrize(
    "option, value", [("fout", "a.fout"), ("zero_point", 25.0)], ids=["fout", "zero_point"]
)
def test_options_that_do_nothing(tmp_path, option, value):
    tractor(z_spec=Z).write(tmp_path / "t.fits")
    with pytest.raises(InputError, match=f"{option} has no effect"):
        load(tmp_path / "t.fits", **{option: value})


def test_other_tables_are_not_recognised(tmp_path):
    pd.DataFrame({"ID": [1], "flux_g": [1.0], "flux_r": [1.0]}).to_csv(tmp_path / "t.csv", index=False)
    assert recognise_survey(tmp_path / "t.csv") is None and recognise_survey(tmp_path) is None
    with pytest.raises(InputError, match="not those of a survey that is known"):
        read_survey(tmp_path / "t.csv")


def test_an_object_that_stands_twice(tmp_path):
    tractor(z_spec=Z, objid=np.array([1, 1, 2, 3, 4, 5])).write(tmp_path / "t.fits")
    with pytest.raises(InputError, match="'9010-7-1' stands twice"):
        load(tmp_path / "t.fits")


def test_tails_of_zeros_do_not_cost_a_band(tmp_path):
    "speclite's curve of DECam's g begins at 3330 Å with zeros."
    tractor(z_spec=np.linspace(0.45, 0.6, N)).write(tmp_path / "t.fits")
    sample = load_catalogue(tmp_path / "t.fits", (0.4, 0.7), (1210.0, 18000.0), snr=5)
    assert sample.bands == ("decam2014-g", "decam2014-r", "decam2014-z")
