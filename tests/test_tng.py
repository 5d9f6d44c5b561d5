"""TNG's web API, emulated by a local HTTP server after its documentation: paging, interruptions, refusals,
units. Never the real one."""

import io
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlparse
from urllib.request import Request, urlopen

import h5py
import numpy as np
import pytest
import yaml
from astropy.cosmology import Planck18
from numpy.testing import assert_allclose

from gencast.core.base import InputError
from gencast.data import fetch, tng
from gencast.data.domains import read_table
from gencast.synthesis.ssp import load_ssp

SECRET = "0123456789abcdef0123456789abcdef"
MASSES = {i: 0.2142 + 0.001 * i for i in range(0, 5000, 2)}  # id -> mass_stars, 1e10 Msun/h
HUBBLE, REDSHIFT = 0.6774, 0.0994018026302


def stars(number, n=150, wind=3, **change):
    "A cut-out in TNG's layout, as bytes."
    rng, raw = np.random.default_rng(number), io.BytesIO()
    formed = np.where(np.arange(n) < wind, -0.7, rng.uniform(0.1, 0.9, n)).astype("f4")
    fields = {
        "GFM_StellarFormationTime": formed,
        "GFM_InitialMass": np.full(n, 1e-4, "f4"),
        "GFM_Metallicity": np.full(n, 0.0127, "f4"),
    } | change
    with h5py.File(raw, "w") as f:
        f.create_group("Header").attrs.update(
            {"Redshift": REDSHIFT, "HubbleParam": HUBBLE, "NumPart_ThisFile": [0, 0, 0, 0, n, 0]}
        )
        for k, v in fields.items():
            if v is not None:
                f[f"PartType4/{k}"] = v
    return raw.getvalue()


class TNG(ThreadingHTTPServer):
    """Answers as the documentation of the API shows; `trouble` holds answers for the next cut-outs: a status
    and headers, or a function of the content.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked, self.keys, self.trouble, self.page, self.lie = [], set(), [], 1000, 0
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def open_url(self, url, hosts, headers):
        "What `fetch.open_url` does, with this server in the place of TNG."
        assert fetch.check_url(url, hosts).startswith("https://www.tng-project.org/api/") and hosts == (
            "www.tng-project.org",
        )
        return urlopen(
            Request(
                f"http://127.0.0.1:{self.server_port}" + url.removeprefix("https://www.tng-project.org"),
                headers=headers,
            ),
            timeout=10,
        )


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *args):
        pass

    def do_GET(self):
        server, parts = self.server, urlparse(self.path)
        server.asked.append(self.path)
        server.keys.add(self.headers.get("api-key"))
        query, words = parse_qs(parts.query), parts.path.strip("/").split("/")[1:]
        if self.headers.get("api-key") != SECRET:
            return self.answer(403, b'{"detail":"Invalid token."}')
        if words[0] != "TNG100-1" or len(words) > 2 and words[2] != "91":
            return self.answer(404, b'{"detail":"Not found."}')
        if words[-1] == "cutout.hdf5":
            assert query["stars"] == ["GFM_StellarFormationTime,GFM_InitialMass,GFM_Metallicity"]
            problem, content = server.trouble.pop(0) if server.trouble else None, stars(int(words[4]))
            if callable(problem):
                return problem(self, content)
            return (
                self.answer(*problem)
                if problem
                else self.answer(
                    200, content, {"Content-Disposition": f"attachment; filename=cutout_{words[4]}.hdf5"}
                )
            )
        if words[-1] == "subhalos":
            found = sorted(
                (i for i, m in MASSES.items() if m > float(query["mass_stars__gt"][0])),
                key=lambda i: -MASSES[i],
            )
            assert query["order_by"] == ["-mass_stars"]
            first, limit = int(query["offset"][0]), min(int(query["limit"][0]), server.page)
            base = "http://www.tng-project.org/api/TNG100-1/snapshots/91/subhalos/"
            rows = [
                {"id": i, "sfr": 0.5, "mass_log_msun": 11.0, "url": f"{base}{i}/"}
                for i in found[first : first + limit]
            ]
            more = f"{base}?limit={limit}&offset={first + limit}" if first + limit < len(found) else None
            return self.answer(
                200,
                json.dumps(
                    {"count": len(found) + server.lie, "next": more, "previous": None, "results": rows}
                ).encode(),
            )
        whole = (
            {"name": "TNG100-1", "hubble": HUBBLE, "boxsize": 75000.0}
            if len(words) == 1
            else {"number": 91, "redshift": REDSHIFT, "num_groups_subfind": 4500000}
        )
        self.answer(200, json.dumps(whole).encode())

    def answer(self, code, content=b"", headers=()):
        self.send_response(code)
        for k, v in dict(headers, **{"Content-Length": str(len(content))}).items():
            self.send_header(k, v)
        self.end_headers()
        self.wfile.write(content)


def breaks_off(handler, content):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])


def breaks_off_in_chunks(handler, content):
    handler.protocol_version = "HTTP/1.1"
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"ffff\r\n" + content[:500])
    handler.close_connection = True


def cut(handler, content):
    handler.answer(200, content[: len(content) // 2])  # whole by its length, but no HDF5 file any more


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("TNG_API_KEY", SECRET)
    found = TNG()
    yield found
    found.shutdown()
    found.server_close()


def get(server, folder, n=4, **more):
    waits = []
    count = tng.fetch_tng(
        folder, n=n, open_url=server.open_url, sleep=waits.append, **{"log_mass": 9.5} | more
    )
    return count, waits


def cutouts(server):
    return [a for a in server.asked if "cutout" in a]


def test_pages_are_walked_and_masses_are_in_code_units(server, tmp_path):
    opened = tng.with_key(SECRET, server.open_url)
    known = tng.list_subhalos(tmp_path, "TNG100-1", 91, 9.6, opened, lambda s: None)
    least = 10**9.6 / 1e10 * HUBBLE  # 0.2697
    assert known["ids"] == [i for i, m in MASSES.items() if m > least] and len(known["ids"]) > 2 * tng.PAGE
    assert (
        len([a for a in server.asked if "subhalos" in a]) == 3
        and known["redshift"] == REDSHIFT
        and known["hubble"] == HUBBLE
    )
    server.page = 400  # the server may give fewer at a time than were asked for
    assert tng.list_subhalos(tmp_path, "TNG100-1", 91, 9.6, opened, lambda s: None) == known and not list(
        tmp_path.iterdir()
    )
    server.lie = 1
    with pytest.raises(InputError, match="were announced"):
        tng.list_subhalos(tmp_path, "TNG100-1", 91, 9.6, opened, lambda s: None)


def test_fetched_once_and_more_later(server, tmp_path):
    count, waits = get(server, tmp_path)
    assert (
        count == {"there": 0, "fetched": 4, "missing": 0, "damaged": 0}
        and waits == [0.5] * 4
        and len(server.asked) == 5 + 4
    )
    assert get(server, tmp_path)[0]["there"] == 4 and len(server.asked) == 9
    assert (
        get(server, tmp_path, 6)[0] == {"there": 4, "fetched": 2, "missing": 0, "damaged": 0}
        and len(server.asked) == 11
    )


def test_the_key_goes_in_a_header_and_nowhere_else(server, tmp_path, capsys, caplog):
    get(server, tmp_path)
    assert server.keys == {SECRET} and not any(SECRET in a for a in server.asked)
    assert not any(SECRET.encode() in p.read_bytes() for p in tmp_path.iterdir())
    printed = capsys.readouterr()
    assert SECRET not in printed.out + printed.err + caplog.text


def test_goes_on_after_an_interruption(server, tmp_path):
    stopped = iter([False, False, True])

    def open_url(url, **more):
        if "cutout" in url and next(stopped):
            raise KeyboardInterrupt
        return server.open_url(url, **more)

    with pytest.raises(KeyboardInterrupt):
        tng.fetch_tng(tmp_path, n=4, log_mass=9.5, open_url=open_url, sleep=lambda s: None)
    assert len(list(tmp_path.glob("*.hdf5"))) == 2 and not list(tmp_path.glob("*.part"))
    server.asked.clear()
    assert get(server, tmp_path)[0] == {"there": 2, "fetched": 2, "missing": 0, "damaged": 0}
    assert len(server.asked) == 2  # neither the list nor what is here is asked for again


def test_busy_servers_and_broken_connections_are_tried_again(server, tmp_path):
    server.trouble = [(429, b"", {"Retry-After": "7"}), (503,), breaks_off, breaks_off_in_chunks]
    count, waits = get(server, tmp_path)
    assert count["fetched"] == 4 and waits[:5] == [7.0, 4.0, 8.0, 16.0, 0.5]
    assert all(tng.check_cutout(p) for p in tmp_path.glob("*.hdf5"))


def test_a_file_that_is_cut_is_counted_and_comes_at_the_next_run(server, tmp_path):
    server.trouble = [None, cut, lambda h, c: h.answer(200, b"<html>login</html>")]
    assert (
        get(server, tmp_path)[0] == {"there": 0, "fetched": 2, "missing": 0, "damaged": 2}
        and len(list(tmp_path.glob("*.hdf5"))) == 2
    )
    assert get(server, tmp_path)[0] == {"there": 2, "fetched": 2, "missing": 0, "damaged": 0}


def test_a_file_changed_on_disk_is_fetched_again(server, tmp_path):
    get(server, tmp_path)
    path = sorted(tmp_path.glob("*.hdf5"))[0]
    path.write_bytes(path.read_bytes()[:-100])
    server.trouble = [lambda h, c: h.answer(200, c + b"\0" * 8)]  # made anew, and another one to the byte
    assert get(server, tmp_path)[0] == {"there": 3, "fetched": 1, "missing": 0, "damaged": 0}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"simulation": "TNG7-1"}, "no simulation 'TNG7-1'"),
        ({"snapshot": 92}, "no snapshot 92"),
        ({"simulation": "../../x"}, "give a name such as TNG100-1"),
        ({"snapshot": -1}, "from 0 to 99"),
        ({"log_mass": 12.9}, "no subhalo has more than"),
        ({"log_mass": 3}, "log10 of a mass"),
        ({"n": 0}, "1 to 100,000"),
    ],
)
def test_what_tng_does_not_have(server, tmp_path, change, words):
    with pytest.raises(InputError, match=words):
        get(server, tmp_path, **change)
    assert not list(tmp_path.glob("*.hdf5"))


@pytest.mark.parametrize(
    "key, words",
    [
        (None, "TNG_API_KEY is not set"),
        ("", "is not set"),
        ("two words\nx: y", "no key"),
        ("f" * 32, "^www.tng-project.org does not accept the key .*403"),
    ],
)
def test_keys_that_are_none(server, tmp_path, monkeypatch, key, words):
    monkeypatch.delenv("TNG_API_KEY") if key is None else monkeypatch.setenv("TNG_API_KEY", key)
    with pytest.raises(InputError, match=words) as err:
        get(server, tmp_path)
    assert not key or key not in str(err.value)


def test_another_folder_for_another_simulation(server, tmp_path):
    get(server, tmp_path)
    with pytest.raises(InputError, match="holds galaxies of TNG100-1, snapshot 91.*another folder"):
        get(server, tmp_path, snapshot=99)
    (tmp_path / "subhalos.json").write_text('{"simulation": "TNG100-1", "ids": ["../../x"]}')
    with pytest.raises(InputError, match="is damaged"):
        get(server, tmp_path)


def test_the_key_follows_no_redirection_to_other_hosts():
    handler = fetch._StayThere((tng.HOST,))
    for url in (
        "https://data.sdss.org/a",
        "https://example.org/a?token=x",
        "http://www.tng-project.org/api/",
        "file:///etc/hosts",
    ):
        with pytest.raises(InputError, match="not an https address of www.tng-project.org") as err:
            handler.redirect_request(Request("https://www.tng-project.org/api/"), None, 302, "Found", {}, url)
        assert "token" not in str(err.value)
        with pytest.raises(InputError, match="not an https address"):
            fetch.open_url(url, hosts=(tng.HOST,), headers={"api-key": SECRET})


@pytest.mark.parametrize(
    "content, words",
    [
        (b"<html>", "not the JSON"),
        (b"[1]", "not the JSON"),
        (b'{"hubble": "0.7"}', "'hubble' is '0.7'"),
        (b'{"hubble": 70.0, "redshift": 0}', "cannot be"),
        (b"[" * 100000, "not the JSON"),
    ],
)
def test_other_answers_are_refused(server, tmp_path, content, words):
    class Answer(io.BytesIO):
        headers = {}

    with pytest.raises(InputError, match=words):
        tng.fetch_tng(tmp_path, open_url=lambda url, **more: Answer(content), sleep=lambda s: None)
    assert not list(tmp_path.iterdir())


def test_too_large_and_without_fields(server, tmp_path):
    with pytest.raises(InputError, match="more than the 0 MB"):
        get(server, tmp_path, limit=100)
    (tmp_path / "mini.hdf5").write_bytes(stars(1, GFM_InitialMass=None))
    with pytest.raises(InputError, match="no field 'GFM_InitialMass'.*mini"):
        tng.check_cutout(tmp_path / "mini.hdf5")


def test_units_by_hand(server, tmp_path):
    "Three stars of 1e-4 x 1e10 Msun / 0.6774: 1.476e6 Msun each; a = 0.5 is z = 1; wind is left out."
    get(server, tmp_path, 1)
    path = next(tmp_path.glob("*.hdf5"))
    path.write_bytes(
        stars(
            1,
            5,
            GFM_StellarFormationTime=np.array([-0.5, 0.0, 0.5, 0.5, 0.8], "f4"),
            GFM_Metallicity=np.array([0, 0, 0.01, 0.03, 0.02], "f4"),
            GFM_InitialMass=np.full(5, 1e-4, "f4"),
        )
    )
    grid = load_ssp("bc03_stelib", np.geomspace(4000, 6500, 60), 500)
    galaxies, ids, left_out = tng.tng_galaxies(tmp_path, grid, 0.5, least=1)
    assert (
        ids == (path.stem,)
        and left_out == {"galaxies of few particles": 0, "particles of wind": 2, "galaxies not fetched": 0}
        and galaxies.a_v[0] == 0.5
    )
    first, last = (
        np.searchsorted(galaxies.edges, float(Planck18.age(REDSHIFT).value - Planck18.age(z).value)) - 1
        for z in (1.0, 0.25)
    )
    assert_allclose(galaxies.fractions[0, [first, last]], [2 / 3, 1 / 3], rtol=1e-6)
    assert_allclose(galaxies.zmet[0, [first, last]], [0.02, 0.02], rtol=1e-6)
    formed = 3e-4 * 1e10 / 0.6774
    assert 0.5 < 10 ** galaxies.log_mstar[0] / formed < 0.8
    with pytest.raises(InputError, match="has 100 star particles"):
        tng.tng_galaxies(tmp_path, grid)


def test_a_sample_and_a_table_that_a_suite_can_name(server, tmp_path):
    get(server, tmp_path)
    known = tng.read_listing(tmp_path)
    (tmp_path / f"{known['chosen'][1]}.hdf5").write_bytes(stars(1, 20))  # too few particles
    (tmp_path / f"{known['chosen'][2]}.hdf5").unlink()
    sample = tng.tng_sample(
        tmp_path, load_ssp("bc03_stelib", np.geomspace(4000, 6500, 60), 500), {"law": "calzetti", "a_v": 0.2}
    )
    assert sample.ids == (str(known["chosen"][0]), str(known["chosen"][3])) and np.isfinite(sample.flux).all()
    assert sample.meta["left_out"] == {
        "galaxies of few particles": 1,
        "particles of wind": 9,
        "galaxies not fetched": 1,
    }
    assert sample.meta["simulation"] == "TNG100-1" and SECRET not in json.dumps(sample.meta, default=str)
    entry = yaml.safe_load(tng.write_table(sample, tmp_path / "tng.npz"))[0]
    again = read_table(tmp_path / "tng.npz", entry["columns"], "tng").samples["spectra"]
    assert entry["table"] == "tng.npz" and tuple(again.ids) == sample.ids
    assert_allclose(again.flux, sample.flux, rtol=1e-6)
    for k in ("log_mstar", "log_sfr"):
        assert_allclose(again.properties[k], sample.properties[k])


def test_nothing_fetched(tmp_path):
    with pytest.raises(InputError, match="holds no galaxies"):
        tng.tng_galaxies(tmp_path, None)


def test_command_line(server, tmp_path, monkeypatch, capsys):
    from functools import partial

    from gencast.cli import main as cli

    monkeypatch.setattr(
        tng, "fetch_tng", partial(tng.fetch_tng, open_url=server.open_url, sleep=lambda s: None)
    )
    with pytest.raises(SystemExit) as end:
        cli.main(["fetch", "tng", "-n", "2", "--out", str(tmp_path / "tng")])
    printed = capsys.readouterr()
    assert (
        not end.value.code
        and "2 galaxies: 2 fetched" in printed.out
        and "6 particles of wind" in printed.out
        and re.fullmatch(r"fetch +2 of 2 in [\d.]+ s\n", printed.err)
        and SECRET not in printed.out + printed.err
    )
    entry = yaml.safe_load(printed.out[printed.out.index("- name: tng100-1") :])[0]
    assert len(read_table(tmp_path / "tng" / entry["table"], entry["columns"], "tng").samples["spectra"]) == 2
    monkeypatch.delenv("TNG_API_KEY")
    with pytest.raises(SystemExit) as end:
        cli.main(["fetch", "tng", "--out", str(tmp_path / "none")])
    assert end.value.code == 2 and "TNG_API_KEY is not set" in capsys.readouterr().err
