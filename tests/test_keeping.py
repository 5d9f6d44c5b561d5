"""Never lose, never lie: kills, full disks, failing models, flipped bits, two runs at a time."""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml

import gencast.pipeline.evidence
import gencast.pipeline.notebooks
import gencast.pipeline.training
from gencast.cli.main import main
from gencast.core.base import InputError
from gencast.core.cache import read_arrays
from gencast.core.failures import RunFailed, machine_trouble, read_failures
from gencast.core.files import load_arrays, read_sealed, write_json
from gencast.core.locks import clear_leftovers, hold_folder
from gencast.core.progress import Progress
from gencast.core.sample import load_sample
from gencast.pipeline.configure import failed_settings, load_settings
from gencast.pipeline.job import run
from gencast.pipeline.notebooks import execute_targets, is_current
from gencast.report.results import load_results, table_checksum
from gencast.synthesis import list_suites

TINY = {
    "quick": True,
    "n_galaxies": 120,
    "views": ("photometry",),
    "notebooks": False,
    "progress": False,
    "jobs": 1,
}


def write_suite(folder, n):
    "Some universes of the default suite."
    text = yaml.safe_load(list_suites()["default"].read_text())
    path = folder / "some.yaml"
    path.write_text(yaml.safe_dump(text | {"name": "some", "simulations": text["simulations"][::3][:n]}))
    return path


@pytest.fixture(scope="module")
def suite_file(tmp_path_factory):
    return write_suite(tmp_path_factory.mktemp("suite"), 5)


@pytest.fixture(scope="module")
def said():
    "What the small run says: stdout and stderr."
    return io.StringIO(), io.StringIO()


@pytest.fixture(scope="module")
def whole(suite_file, tmp_path_factory, said):
    "A small run that nobody disturbs."
    with redirect_stdout(said[0]), redirect_stderr(said[1]):
        return run(suite_file, out=tmp_path_factory.mktemp("whole") / "some", **TINY | {"progress": True})


def tables(folder):
    return {f.name: f.read_bytes() for f in sorted(Path(folder).glob("*.csv"))}


@pytest.mark.slow
def test_a_sample_of_the_kill_campaign(root, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    from kill_campaign import campaign

    report = campaign(tmp_path, kills=5, seed=5, notebooks=False, view="photometry", longest=0.5)
    assert report["kills"] == 5 and report["runs completed after kills"] >= 1 and report["processes"] > 5
    assert report["problems"] == []


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 12, 60, 95])
def test_a_disk_that_fills_up_at_any_file(whole, suite_file, tmp_path, monkeypatch, capsys, number):
    """The disk is full from the n-th file on: one line, exit code 3, nothing damaged; with space again, the
    same tables.
    """
    out, count, real = tmp_path / "out", [], os.fsync

    def full(descriptor):
        count.append(1)
        if len(count) >= number:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(SystemExit) as end:
        main(
            [
                "run",
                str(suite_file),
                "--quick",
                "--galaxies",
                "120",
                "--jobs",
                "1",
                "--no-notebooks",
                "--out",
                str(out),
            ]
        )
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        end.value.code == 3
        and said.startswith("gencast: ")
        and "the disk is full; free some space" in said
        and "goes on" in said
    )
    monkeypatch.setattr(os, "fsync", real)
    if number in (12, 95):
        assert tables(run(suite_file, out=out, **TINY).folder) == tables(whole.folder)


def test_an_interrupted_call_goes_on(whole, suite_file, tmp_path, monkeypatch):
    "As in a notebook: the interruption reaches the caller, and the next call makes only what is missing."

    def interrupt(*_):
        raise KeyboardInterrupt

    out = tmp_path / "some"
    with monkeypatch.context() as patch:
        patch.setattr(gencast.pipeline.evidence, "grow_ranking", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(suite_file, out=out, **TINY | {"jobs": 1})
    assert not list(out.glob("*.csv")) and not list(out.rglob("*.tmp"))
    made = {p: p.stat().st_mtime_ns for p in (out / "simulations").rglob("*.npy")}
    assert made and tables(run(suite_file, out=out, **TINY).folder) == tables(whole.folder)
    assert {p: p.stat().st_mtime_ns for p in made} == made, "simulations were made twice"


def test_each_stage_reports_on_stderr(whole, said):
    "In a file, as in a batch job: a plain line for each stage, and nothing on stdout."
    printed, said = (stream.getvalue() for stream in said)
    assert printed == "" and not re.search(r"[\x00-\x09\x0b-\x1f█]|it/s", said)
    lines = [re.fullmatch(r"(.+?) +(\d+) of (\d+) in [\d.]+ s", line) for line in said.splitlines()]
    assert all(lines), said
    assert all(line[2] == line[3] for line in lines)
    stages = read_sealed(whole.folder / "run.json")["stages"]
    assert {line[1] for line in lines} == set(stages)
    assert {f"photometry: {stage}" for stage in ("simulate", "support", "laws", "tables")} <= set(stages)
    assert next(int(line[3]) for line in lines if line[1] == "photometry: laws") > 20


class Terminal(io.StringIO):
    "A stream that can draw."

    def isatty(self):
        return True


def test_a_terminal_has_bars(capsys):
    with redirect_stderr(Terminal()) as screen:
        Progress(1).map("squares", pow, [(k, 2) for k in range(4)])
        with Progress(1).stage("support"):
            pass
        Progress(1, show=False).map("nothing", pow, [(2, 2)])
        Progress(1).map("no tasks", pow, [])
        with pytest.raises(ValueError), Progress(1).stage("fails"):
            raise ValueError
    drawn = screen.getvalue()
    assert "\rsquares" in drawn and " 4/4 [" in drawn and "\rsupport" in drawn and " 1/1 [" in drawn
    assert "nothing" not in drawn and "no tasks" not in drawn
    assert "fails" in drawn and not re.search(r"fails +: 100%", drawn)
    assert capsys.readouterr().out == ""


def test_no_memory_in_a_model_stops_the_run(suite_file, tmp_path, monkeypatch, capsys):
    "It isn't that simulation's fault, so it is not left out."

    def train(*_):
        raise MemoryError

    monkeypatch.setattr(gencast.pipeline.training, "train", train)
    with pytest.raises(SystemExit) as end:
        main(
            [
                "run",
                str(suite_file),
                "--quick",
                "--galaxies",
                "120",
                "--jobs",
                "1",
                "--no-notebooks",
                "--out",
                str(tmp_path / "out"),
            ]
        )
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert (
        end.value.code == 3
        and "not enough memory in the stage 'spectra: train and apply'" in said
        and not (tmp_path / "out" / "failures.json").exists()
    )


@pytest.mark.slow
def test_a_failing_model_is_left_out_named_and_tried_again(tmp_path, monkeypatch, capsys):
    suite_file, real, out = write_suite(tmp_path, 6), gencast.pipeline.training.train, tmp_path / "out"
    text = yaml.safe_load(suite_file.read_text())
    bad = text["simulations"].pop(2)["name"]
    less = tmp_path / "less.yaml"
    less.write_text(yaml.safe_dump(text))

    def train(simulations, source, property, kind, n_trees):
        if source == bad:
            raise FloatingPointError("no tree would grow")
        return real(simulations, source, property, kind, n_trees)

    monkeypatch.setattr(gencast.pipeline.training, "train", train)
    results = run(suite_file, out=out, **TINY)
    assert [f["name"] for f in results.run["failures"]] == [bad] and results.run["parameters"]["without"] == [
        bad
    ]
    assert (
        "no tree would grow" in (out / results.run["failures"][0]["log"]).read_text()
        and "Traceback" in (out / results.run["failures"][0]["log"]).read_text()
    )
    assert tables(out) == tables(run(less, out=tmp_path / "less", **TINY).folder), (
        "as if the suite had never named it"
    )
    models = {p.name: p.stat().st_mtime_ns for p in (out / "cache").glob("errors-*.npz")}
    with pytest.raises(SystemExit) as end:  # the cause is still there
        main(["run", str(suite_file), "--retry-failed", "--out", str(out), "--jobs", "1", "--no-notebooks"])
    said = capsys.readouterr().err
    assert (
        end.value.code == 1
        and f"simulation {bad} failed" in said
        and f"fitted without {bad}, to the other 5" in said
        and "Traceback" not in said
    )
    monkeypatch.setattr(gencast.pipeline.training, "train", real)
    mended = run(
        suite_file,
        out=out,
        retry_failed=True,
        **{k: v for k, v in TINY.items() if k in ("notebooks", "progress", "jobs")},
    )
    assert (
        len(mended.simulations) == 6
        and not mended.run["failures"]
        and not (out / "failures.json").exists()
        and not (out / "logs").exists()
    )
    again = {p.name: p.stat().st_mtime_ns for p in (out / "cache").glob("errors-*.npz")}
    assert len(again) == 6 and all(again[n] == t for n, t in models.items()), (
        "only the model that failed was fitted"
    )
    with pytest.raises(InputError, match="nothing failed"):
        failed_settings(out)
    with pytest.raises(SystemExit) as end:
        main(["run", str(suite_file), "--retry-failed", "--galaxies", "300", "--out", str(out)])
    assert end.value.code == 2 and "leave out galaxies" in capsys.readouterr().err


def test_too_few_simulations_left_is_no_result(suite_file, tmp_path, monkeypatch):
    def train(*_):
        raise ValueError("nothing works")

    monkeypatch.setattr(gencast.pipeline.training, "train", train)
    with pytest.raises(
        RunFailed, match="0 of 5 simulations are left, and at least 5 are needed.*nothing works"
    ):
        run(suite_file, out=tmp_path / "out", **TINY)
    failures, _ = read_failures(tmp_path / "out")
    assert len(failures) == 5 and not (tmp_path / "out" / "run.json").exists()


def test_an_error_of_ours_is_written_down(suite_file, tmp_path, monkeypatch, capsys):
    "Not one simulation's fault, nor the machine's."

    def broken(*_, **__):
        raise ZeroDivisionError("of ours")

    monkeypatch.setattr(gencast.pipeline.evidence, "fit_support_model", broken)
    with pytest.raises(SystemExit) as end:
        main(
            [
                "run",
                str(suite_file),
                "--quick",
                "--galaxies",
                "120",
                "--jobs",
                "1",
                "--no-notebooks",
                "--out",
                str(tmp_path / "out"),
            ]
        )
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert end.value.code == 1 and "ZeroDivisionError: of ours" in said and "please report it" in said
    assert "Traceback" in next((tmp_path / "out" / "logs").iterdir()).read_text()


def test_a_failing_notebook_does_not_stop_the_others(whole, tmp_path, monkeypatch):
    folder = tmp_path / "some"
    shutil.copytree(whole.folder, folder)
    for name, code in {"simulation": "1 / 0", "survey": "print('all is well')"}.items():
        nb = nbformat.v4.new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
            cells=[nbformat.v4.new_code_cell(code)],
        )
        nbformat.write(nb, tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(gencast.pipeline.notebooks, "template_path", lambda name: tmp_path / f"{name}.ipynb")
    monkeypatch.setattr(
        gencast.pipeline.notebooks,
        "plan_targets",
        lambda *_: [("simulation", "bad", {}), ("survey", "good", {})],
    )

    def go():
        return execute_targets(folder, load_settings(folder), Progress(1, False), {})

    (failure,) = go()
    assert (
        failure.name == "bad"
        and failure.error == "ZeroDivisionError: division by zero"
        and "\x1b" not in failure.traceback
    )
    assert (
        [p.name for p in (folder / "notebooks").iterdir()] == ["good.ipynb"]
        and is_current(folder, "good")
        and not is_current(folder, "bad")
    )
    stamp = (folder / "notebooks" / "good.ipynb").stat().st_mtime_ns
    assert len(go()) == 1 and (folder / "notebooks" / "good.ipynb").stat().st_mtime_ns == stamp, (
        "only the one that failed runs again"
    )
    damaged = bytearray((folder / "notebooks" / "good.ipynb").read_bytes())
    damaged[100] ^= 1
    (folder / "notebooks" / "good.ipynb").write_bytes(damaged)
    assert not is_current(folder, "good")


def flip(path: Path, rng) -> None:
    "Another bit in one place."
    data = bytearray(path.read_bytes())
    data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    path.write_bytes(data)


def read_whole(folder) -> bytes:
    "What a folder of arrays holds: a sample, or what a run keeps for forecasts."
    if (folder / "kept.json").is_file():
        return b"".join(a.tobytes() for a in load_arrays(folder, "kept.json", always=True)[0].values())
    return load_sample(folder).flux.tobytes()


def test_every_flipped_bit_is_noticed(whole, tmp_path):
    "In arrays, steps, tables and records; what is still the same content (a space) may pass."
    rng, folder = np.random.default_rng(0), tmp_path / "some"
    shutil.copytree(whole.folder, folder)
    read = {
        ".npz": lambda p: {k: v.tobytes() for k, v in read_arrays(p).items()},
        ".npy": lambda p: read_whole(p.parent) and p.read_bytes(),
        ".json": lambda p: load_sample(p.parent).meta if p.name == "sample.json" else read_sealed(p),
    }
    read[".csv"] = lambda p: load_results(folder) and p.read_bytes()
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in read]
    noticed, kinds = 0, set()
    for i in range(400):
        path = files[rng.integers(len(files))]
        before, said = path.read_bytes(), read[path.suffix](path)
        flip(path, rng)
        os.utime(path, ns=(i, i))  # in time too, the file is another one
        try:
            assert read[path.suffix](path) == said, path
        except (InputError, ValueError, OSError):
            noticed += 1
            kinds.add(path.suffix)
        path.write_bytes(before)
    assert noticed > 390 and kinds == set(read)


def test_what_is_damaged_is_made_again(whole, suite_file, tmp_path):
    rng, folder = np.random.default_rng(1), tmp_path / "some"
    shutil.copytree(whole.folder, folder)
    for path in [
        *sorted(folder.glob("cache/*.npz"))[::7],
        *sorted(folder.glob("simulations/*/*/flux.npy"))[::2],
        folder / "errors.csv",
        folder / "run.json",
    ]:
        flip(path, rng)
    assert tables(run(suite_file, out=folder, **TINY).folder) == tables(whole.folder)


def test_two_runs_in_one_folder(suite_file, tmp_path, capsys):
    out = tmp_path / "out"
    with hold_folder(out), pytest.raises(SystemExit) as end:
        main(["run", str(suite_file), "--quick", "--galaxies", "120", "--out", str(out)])
    said = capsys.readouterr().err.strip()
    assert (
        end.value.code == 2
        and f"is in use by process {os.getpid()} on " in said
        and "started 20" in said
        and said.count("\n") == 0
    )
    assert [p.name for p in out.iterdir()] == [".lock"]
    with hold_folder(out, shared=True), pytest.raises(InputError, match="in use"), hold_folder(out):
        pass


def test_a_folder_that_cannot_be_written(suite_file, tmp_path, capsys):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(SystemExit) as end:
        main(
            ["run", str(suite_file), "--quick", "--galaxies", "120", "--out", str(tmp_path / "file" / "out")]
        )
    said = capsys.readouterr().err.strip()
    assert (
        end.value.code == 2 and str(tmp_path / "file") in said and "--out" in said and said.count("\n") == 0
    )
    if os.getuid():  # root may write everywhere
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(SystemExit) as end:
            main(
                [
                    "run",
                    str(suite_file),
                    "--quick",
                    "--galaxies",
                    "120",
                    "--out",
                    str(tmp_path / "closed" / "out"),
                ]
            )
        assert end.value.code == 2 and "permission" in capsys.readouterr().err.lower()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_words(suite_file, tmp_path, number):
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-c",
        "from gencast.cli.main import main; main()",
        "run",
        str(suite_file),
        "--quick",
        "--galaxies",
        "120",
        "--jobs",
        "2",
        "--no-notebooks",
        "--out",
        str(out),
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    end = time.monotonic() + 180
    while not list(out.glob("simulations/*/*/sample.json")) and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process.pid, number)
    said = process.communicate(timeout=180)[1].strip()
    said = re.sub(r"^[^\n]+ \d+ of \d+ in [\d.]+ s\n", "", said, flags=re.M)  # stages that were done
    # a worker that the signal met while it began tells of that itself; nothing else is said
    said = re.sub(
        r"^Process LokyProcess-\d+:\nTraceback [^\n]*\n(?: [^\n]*\n)*KeyboardInterrupt\n",
        "",
        said,
        flags=re.M,
    )
    assert (
        process.returncode == 128 + number
        and said
        == f"gencast: interrupted ({number.name}); what is done is kept, and the same command goes on "
        "where it stopped"
    ), said
    assert not (out / ".lock").read_text()
    clear_leftovers(
        out
    )  # a worker that the signal met while it wrote leaves its part, which the next run removes
    assert not [p for p in out.rglob("*.tmp")]


def test_files_of_others_are_no_leftovers(tmp_path):
    for name in ("mine.tmp", "flux.npy", "notes.12.txt", "a.12-01234567.tmp.keep"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "errors.csv.12-01234567.tmp").write_text("half")
    assert clear_leftovers(tmp_path) == ["errors.csv.12-01234567.tmp"] and len(list(tmp_path.iterdir())) == 4


def test_verify_by_command(whole, tmp_path, capsys):
    folder = tmp_path / "some"
    shutil.copytree(whole.folder, folder)

    def main_verify(*options):
        return pytest.raises(SystemExit, main, ["verify", str(folder), "--jobs", "1", *options]).value.code

    assert main_verify("--sample", "12", "--seed", "3") == 0
    said = capsys.readouterr().out
    assert (
        "seed 42" in said
        and "all 30 values equal in all digits" in said
        and "all 6 values equal in all digits" in said
        and "as now" in said
    )
    distances = whole.distances.copy()
    distances.loc[5, "value"] *= 1.01
    distances.to_csv(folder / "distances.csv", index=False, float_format="%.8g", lineterminator="\n")
    assert (
        main_verify("--sample", "0") == 1
        and "distances.csv is not the table that this run wrote" in capsys.readouterr().out
    )
    record = read_sealed(folder / "run.json")
    write_json(
        folder / "run.json",
        record
        | {
            "tables": record["tables"] | {"distances": table_checksum(folder, "distances")},
            "versions": record["versions"] | {"numpy": "1.0"},
        },
        seal=True,
    )
    assert main_verify("--sample", "400") == 1
    said = capsys.readouterr().out
    row = whole.distances.iloc[5]
    assert (
        f"WRONG: distances.csv, photometry, log_mstar, {row.source} -> {row.target}, {row.distance}: the "
        "table says"
        in said
        and said.count("WRONG:") == 1
        and "numpy 1.0, now" in said
    )


def test_settings_of_a_reduced_suite_can_be_read(whole):
    settings = load_settings(whole.folder)
    assert settings.without == () and settings.store(Path("x")) == Path("x/cache") != replace(
        settings, without=("a",)
    ).store(Path("x"))
    assert json.loads((whole.folder / "run.json").read_text())["failures"] == []


def test_lack_of_memory_is_told_in_whatever_dress_it_comes():
    class PicklingError(Exception):
        pass

    def caused(err, cause):
        err.__cause__ = cause
        return err

    for err in (
        MemoryError(),
        ImportError("x.so: failed to map segment from shared object"),
        ImportError("Cannot allocate memory"),
        caused(PicklingError("Could not pickle the task"), MemoryError()),
        RuntimeError("cannot join thread before it is started"),
    ):
        assert machine_trouble(err).startswith("not enough memory")
    for err in (
        ImportError("No module named x"),
        caused(PicklingError("lambda"), TypeError()),
        RuntimeError("no"),
    ):
        assert not machine_trouble(err)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of address space are Linux's")
def test_too_little_room_is_told_before_anything_starts():
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (400_000_000,) * 2); from "
        "gencast.cli.main import main; main(['list', 'suites'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (
        done.returncode == 3
        and done.stderr.startswith("gencast: this session may use 400 MB")
        and done.stderr.count("\n") == 1
    )
