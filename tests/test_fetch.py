"""Fetching: recorded answers in the archives' own formats, interruptions, damage, and what must be refused.
No network."""

import io
import json
import tarfile
from urllib.error import HTTPError, URLError

import numpy as np
import pandas as pd
import pytest
from astropy.table import Table
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.data import fetch
from gencast.data.catalogues import read_catalogue
from gencast.data.references import A_R, load_spectra, read_references
from gencast.data.specfiles import write_spec
from gencast.data.surveys import load_sdss_spectra

# as SkyServer answers a query with format=csv, four rows of the columns that are asked for
ANSWER = """#Table1
plate,mjd,fiberID,run2d,z,snMedian,lgm_tot_p16,lgm_tot_p50,lgm_tot_p84,lgm_fib_p50,sfr_tot_p50,sfr_fib_p50,oh_p50,petroMag_r,fiberMag_r,extinction_r
266,51602,1,26,0.0213,37.2,10.21,10.31,10.40,9.71,0.12,-0.51,8.92,14.91,16.72,0.11
295,51585,596,26,0.1380,17.1,10.91,11.02,11.10,10.71,-0.83,-1.21,-9999,16.60,17.80,0.07
390,51900,282,103,0.0180,18.4,9.10,9.21,9.33,8.70,-0.53,-1.02,8.55,15.90,17.40,0.15
395,51783,525,104,0.0181,28.0,9.80,9.91,10.02,9.30,-9999,-9999,8.90,15.20,17.10,0.09
"""
WAVE = np.geomspace(3600, 8600, 3000)


def recorded(sql):
    "The answer as astroquery parses it."
    return Table.read(ANSWER, format="ascii.csv", comment="#")


class Response(io.BytesIO):
    def __init__(self, content, length=None):
        super().__init__(content)
        self.headers = {"Content-Length": str(len(content) if length is None else length)}


class Archive:
    "Answers to URLs; notes what was asked."

    def __init__(self, files, trouble=()):
        self.files, self.trouble, self.asked = files, list(trouble), []

    def __call__(self, url):
        self.asked.append(url)
        if self.trouble:
            problem = self.trouble.pop(0)
            if isinstance(problem, Exception):
                raise problem
            if problem is not None:
                return problem
        name = url.rsplit("/", 1)[1]
        if name not in self.files:
            raise HTTPError(url, 404, "Not Found", {}, None)
        return Response(self.files[name])


@pytest.fixture(scope="module")
def spectra(tmp_path_factory):
    "Spec-lite files of the four galaxies, as the archive has them."
    folder, files = tmp_path_factory.mktemp("archive"), {}
    for row in recorded(""):
        name = f"spec-{row['plate']:04d}-{row['mjd']}-{row['fiberID']:04d}.fits"
        files[name] = write_spec(
            folder / name, WAVE, 1e6 * (WAVE / 5000) ** -1.0, float(row["z"])
        ).read_bytes()
    return files


def get(folder, archive, **more):
    waits = []
    return fetch.fetch_sdss(folder, 4, ask=recorded, open_url=archive, sleep=waits.append, **more), waits


def test_query_names_all_columns_and_limits():
    sql = fetch.sdss_sql(1000, 0.02, 0.2, 10)
    assert sql.startswith("SELECT TOP 1000 ") and all(f".{c}" in sql for c in fetch.COLUMNS)
    assert "BETWEEN 0.02 AND 0.2" in sql and "snMedian > 10" in sql and "zWarning = 0" in sql
    for bad in [(0, 0.02, 0.2, 10), (10, 0.2, 0.1, 10), (10, 0, 0.1, 10), (10, 0.1, 0.2, -1)]:
        with pytest.raises(InputError):
            fetch.sdss_sql(*bad)


def test_addresses():
    assert (
        fetch.spec_url(recorded("")[0])
        == "https://data.sdss.org/sas/dr17/sdss/spectro/redux/26/spectra/lite/0266/spec-0266-51602-0001.fits"
    )
    assert (
        fetch.field_url("goodss")
        == "https://archive.stsci.edu/missions/hlsp/3d-hst/RELEASE_V4.0/Photometry/GOODSS/goodss_3dhst.v4.1.cats.tar.gz"
    )


def test_fetched_once_and_pinned(spectra, tmp_path):
    archive = Archive(spectra)
    count, waits = get(tmp_path, archive)
    assert count == {"there": 0, "fetched": 4, "missing": 0, "damaged": 0} and waits == [0.5] * 4
    manifest = json.loads((tmp_path / "checksums.json").read_text())
    assert len(manifest) == 5 and all(len(v["sha256"]) == 64 for v in manifest.values())
    again = Archive({})
    assert get(tmp_path, again)[0]["there"] == 4 and not again.asked


def test_goes_on_after_an_interruption(spectra, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        get(tmp_path, Interrupted(spectra, 2))
    assert len(list(tmp_path.glob("*.fits"))) == 2 and not list(tmp_path.glob("*.part"))
    rest = Archive(spectra)
    assert (
        get(tmp_path, rest)[0] == {"there": 2, "fetched": 2, "missing": 0, "damaged": 0}
        and len(rest.asked) == 2
    )


class Interrupted(Archive):
    "Ctrl-C after so many files."

    def __init__(self, files, after):
        super().__init__(files)
        self.after = after

    def __call__(self, url):
        if len(self.asked) == self.after:
            raise KeyboardInterrupt
        return super().__call__(url)


def test_asks_again_politely(spectra, tmp_path):
    busy = HTTPError("u", 429, "Too Many Requests", {"Retry-After": "7"}, None)
    short = Response(next(iter(spectra.values()))[:1000], length=5000)
    count, waits = get(
        tmp_path,
        Archive(
            spectra,
            [busy, HTTPError("u", 503, "Unavailable", {}, None), short, ConnectionResetError("reset")],
        ),
    )
    assert count["fetched"] == 4 and waits[:4] == [7.0, 4.0, 8.0, 16.0]


def test_gives_up_with_words(spectra, tmp_path):
    with pytest.raises(InputError, match="data.sdss.org cannot be reached.*what is here already is kept"):
        get(tmp_path, Archive(spectra, [URLError("timed out")] * 5))
    assert (tmp_path / "reference.csv").exists() and not list(tmp_path.glob("*.part"))


def test_missing_and_damaged_files_are_counted(spectra, tmp_path):
    names = list(spectra)
    files = {n: spectra[n] for n in names[1:]} | {names[1]: spectra[names[1]][:4000]}
    count, _ = get(tmp_path, Archive(files))
    assert (
        count == {"there": 0, "fetched": 2, "missing": 1, "damaged": 1} and not (tmp_path / names[1]).exists()
    )
    assert get(tmp_path, Archive(spectra))[0]["fetched"] == 2  # both come at the next trial


def test_another_file_under_the_same_name_is_refused(spectra, tmp_path):
    get(tmp_path, Archive(spectra))
    name = next(iter(spectra))
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match="is not the file that was fetched first"):
        get(tmp_path, Archive(spectra | {name: b"something else"}))
    assert not (tmp_path / name).exists()


def test_sizes_and_addresses_are_limited(spectra, tmp_path):
    with pytest.raises(InputError, match="more than the 0 MB"):
        fetch.download(
            "https://data.sdss.org/x.fits",
            tmp_path / "x.fits",
            limit=100,
            open_url=lambda u: Response(b"a" * 200),
        )
    with pytest.raises(InputError, match="is larger than"):
        fetch.download(
            "https://data.sdss.org/x.fits",
            tmp_path / "x.fits",
            limit=100,
            open_url=lambda u: Response(b"a" * 200, length=50),
        )
    for url in (
        "http://data.sdss.org/a",
        "https://example.org/a",
        "file:///etc/hosts",
        "ftp://data.sdss.org/a",
    ):
        with pytest.raises(InputError, match="not an https address"):
            fetch.open_url(url)
        with pytest.raises(InputError, match="not an https address"):  # where a server sends us on
            fetch._StayThere().redirect_request(
                fetch.Request("https://data.sdss.org/a"), None, 302, "Found", {}, url
            )
    assert not list(tmp_path.iterdir())


def test_other_answers_are_refused(tmp_path):
    with pytest.raises(InputError, match="lacks the column"):
        fetch.fetch_sdss(tmp_path, 4, ask=lambda sql: Table({"plate": [1]}), open_url=Archive({}))
    with pytest.raises(InputError, match="403"):
        fetch.download(
            "https://data.sdss.org/x.fits",
            tmp_path / "x.fits",
            open_url=Archive({}, [HTTPError("u", 403, "Forbidden", {}, None)]),
        )
    (tmp_path / "checksums.json").write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        fetch.read_manifest(tmp_path)


def test_astroquery_is_asked_as_it_wants(monkeypatch):
    "Where astroquery is installed, its own parser reads the recorded answer."
    core = pytest.importorskip("astroquery.sdss.core")

    class Recorded:
        text = ANSWER

    seen = {}
    monkeypatch.setattr(
        core.SDSSClass,
        "_request",
        lambda self, method, url, **more: seen.update(url=url, **more) or Recorded(),
    )
    table = fetch.ask_sdss(fetch.sdss_sql(4, 0.01, 0.2, 10))
    assert (
        len(table) == 4
        and set(fetch.COLUMNS) <= set(table.colnames)
        and seen["params"]["cmd"].strip().startswith("SELECT TOP 4")
    )


def test_without_astroquery_or_connection(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "astroquery.sdss", None)
    with pytest.raises(InputError, match="gencast\\[fetch\\]"):
        fetch.ask_sdss("SELECT 1")


def test_spectra_with_references(spectra, tmp_path):
    get(tmp_path, Archive(spectra))
    table, grid = read_references(tmp_path), np.geomspace(3900, 7500, 300)
    assert len(table) == 4 and np.isnan(table.loc["spec-0395-51783-0525", "sfr_tot_p50"])
    fibre, whole = load_spectra(tmp_path, grid), load_spectra(tmp_path, grid, aperture=True)
    rows = table.loc[list(fibre.ids)]
    assert_allclose(fibre.properties["log_mstar"], rows.lgm_fib_p50 + np.log10(0.61 / 0.66))
    assert_allclose(whole.properties["log_mstar"], rows.lgm_tot_p50 + np.log10(0.61 / 0.66))
    assert_allclose(
        whole.flux / fibre.flux,
        10 ** (0.4 * (rows.fiberMag_r - rows.petroMag_r)).to_numpy()[:, None] * np.ones(grid.size),
    )
    by_hand = load_sdss_spectra(tmp_path, grid, ebv=(rows.extinction_r / A_R).to_dict())
    assert_allclose(fibre.flux, by_hand.flux)
    assert whole.meta["aperture_corrected"] and any("whole galaxy" in n for n in whole.meta["notes"])
    pd.read_csv(tmp_path / "reference.csv").assign(petroMag_r=-9999).to_csv(
        tmp_path / "reference.csv", index=False
    )
    with pytest.raises(InputError, match="no aperture correction"):
        load_spectra(tmp_path, grid, aperture=True)


def tar_of(files, kind="w:gz"):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=kind) as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return raw.getvalue()


CAT = (
    b"# id f_F160W e_F160W w_F160W z_spec star_flag use_phot\n# goodss_3dhst.v4.1.cat:\n1 10.0 0.1 1.0 "
    b"-1.0 0 1\n"
)
FOUT = (
    b"#    id         z      lmass        Av      lsfr\n# AB ZP:        25.00\n# Stellar IMF:  Chabrier\n# "
    b"Filters:     205\n 1 0.9 10.1 0.5 1.0\n"
)
ZOUT = b"# id z_spec z_peak\n# EAZY\n1 -1.0 0.91\n"


def test_field_of_3dhst(tmp_path):
    stem = "goodss_3dhst.v4.1"
    files = {
        f"{stem}.cats/Catalog/{stem}.cat": CAT,
        f"{stem}.cats/Fast/{stem}.fout": FOUT,
        f"{stem}.cats/Eazy/{stem}.zout": ZOUT,
        "../../evil": b"x",
        f"{stem}.cats/Fast/{stem}.param": b"x",
    }
    archive = Archive({f"{stem}.cats.tar.gz": tar_of(files)})
    path = fetch.fetch_3dhst(tmp_path / "in", "goodss", open_url=archive, sleep=lambda s: None)
    assert read_catalogue(path).redshift[0] == 0.9 and sorted(
        p.suffix for p in path.parent.glob(f"{stem}.[czf]*")
    ) == [".cat", ".fout", ".gz", ".zout"]
    assert not (tmp_path / "evil").exists() and len(list((tmp_path / "in").iterdir())) == 5
    fetch.fetch_3dhst(tmp_path / "in", "goodss", open_url=archive, sleep=lambda s: None)
    assert len(archive.asked) == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a tar file", "is damaged"),
        (tar_of({"goodss_3dhst.v4.1.cat": CAT}), "lacks goodss_3dhst.v4.1.fout"),
        (
            tar_of(
                {
                    "goodss_3dhst.v4.1.cat": None,
                    "goodss_3dhst.v4.1.fout": FOUT,
                    "goodss_3dhst.v4.1.zout": ZOUT,
                }
            ),
            "lacks goodss_3dhst.v4.1.cat",
        ),  # a link is no file
    ],
)
def test_odd_archives_are_refused(content, words, tmp_path):
    with pytest.raises(InputError, match=words):
        fetch.fetch_3dhst(
            tmp_path,
            "goodss",
            open_url=Archive({"goodss_3dhst.v4.1.cats.tar.gz": content}),
            sleep=lambda s: None,
        )


def test_field_that_moved(tmp_path):
    with pytest.raises(InputError, match="not there any more"):
        fetch.fetch_3dhst(tmp_path, "uds", open_url=Archive({}), sleep=lambda s: None)
