"""Wheel and sdist, built and used as a user would: in fresh virtual environments, away from the repository.

    python scripts/check_packages.py                    # wheel and sdist, all dependencies installed anew (a
    GB of downloads each)
    python scripts/check_packages.py --sample           # what continuous integration does: with the
    dependencies of this environment
    python scripts/check_packages.py --only --oldest    # the oldest dependencies that settings.ini allows,
    and the fast tests with them
    python scripts/check_packages.py --only --oldest --tests tests/test_run.py tests/test_keeping.py
    python scripts/check_packages.py --only --pythons   # Python 3.11 to 3.14, as far as they are found
    python scripts/check_packages.py --only --audit     # known weaknesses of the dependencies (pip-audit)

Needs git, and `pip install -e ".[dev]"` for the environment it is started in. `--oldest` and `--audit`
install uv and pip-audit into
environments of their own. Exit codes: 0 all is well, 1 something failed, 4 pip-audit could not reach its
database, so that
nothing is known (which is not "clean"), 5 it knows of a weakness.
"""

import argparse
import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
FAST = (
    "bad_input",
    "baselines",
    "catalogues",
    "clusters",
    "decomposition",
    "distances",
    "dust",
    "features",
    "fetch",
    "histories",
    "inference",
    "laws",
    "notebooks",
    "particles",
    "plots",
    "properties",
    "readers",
    "ssp",
    "support",
    "surveys",
)
NOT_REACHED, WEAK = 4, 5
BUILD = (
    "import sys; from setuptools import build_meta as b; out = sys.argv[1]; print(b.build_sdist(out), "
    "b.build_wheel(out))"
)
SUITE = """
import sys, yaml
from pathlib import Path
import gencast
from gencast.synthesis import list_suites
assert not Path(gencast.__file__).is_relative_to(sys.argv[1]), gencast.__file__
text = yaml.safe_load(list_suites()["default"].read_text(encoding="utf-8"))
some = yaml.safe_dump(text | {"name": "five", "simulations": text["simulations"][::4]})
Path("five.yaml").write_text(some, encoding="utf-8")
"""


def call(*command, **options) -> str:
    "Run a command; what it prints, or the end of it and an exit where it fails."
    done = subprocess.run(
        [str(c) for c in command],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment(),
        **options,
    )
    if done.returncode:
        raise SystemExit(
            f"{' '.join(map(str, command))[:300]} ended with "
            f"{done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


def environment() -> dict:
    "That of this process without what leads to other packages, and pip's settings in uv's words."
    found = {
        k: v
        for k, v in os.environ.items()
        if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS")
    } | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    asked = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True
    ).stdout
    config = {
        key.split(".", 1)[-1]: value.strip().strip("'").split()
        for key, value in (line.split("=", 1) for line in asked.splitlines() if "=" in line)
    }

    def here(word):
        return not word.startswith("file://") or Path(word[7:]).is_dir()

    for key, name, join in (
        ("index-url", "UV_DEFAULT_INDEX", " "),
        ("extra-index-url", "UV_INDEX", " "),
        ("find-links", "UV_FIND_LINKS", ","),
        ("cert", "SSL_CERT_FILE", " "),
    ):
        if words := [word for word in config.get(key, []) if here(word)]:
            found.setdefault(name, join.join(words))
    return found | {
        "UV_INDEX_STRATEGY": "unsafe-best-match"
    }  # the best version of all indices, as pip has it


def build(folder: Path) -> tuple:  # paths of wheel and sdist
    "Both, from a copy of what git has, changes included."
    names = (
        subprocess.run(
            ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
        )
        .stdout.decode()
        .split("\0")
    )
    for name in names:
        if name and (ROOT / name).is_file():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    sdist, wheel = call(sys.executable, "-c", BUILD, folder, cwd=folder / "source").split()[-2:]
    return folder / wheel, folder / sdist


def make_venv(folder: Path, python: str = sys.executable) -> Path:  # its Python
    "A fresh virtual environment."
    call(python, "-m", "venv", folder)
    return folder / ("Scripts" if os.name == "nt" else "bin") / "python"


def borrow_packages(python: Path) -> None:
    """Let an environment import the packages of this one, gencast as it is installed there first. Links of
    this one (editable installs) do not count.
    """

    def place(p):
        return call(p, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()

    (Path(place(python)) / "borrowed.pth").write_text(place(sys.executable) + "\n", encoding="utf-8")


def use_package(python: Path, work: Path, whole: bool) -> None:
    "What a user does first: list the suites; and if wanted make a tiny run and verify it."
    work.mkdir()
    gencast = python.with_name("gencast")
    assert "default" in call(gencast, "list", "suites", cwd=work), "the suites are not listed"
    call(python, "-c", SUITE, ROOT, cwd=work)
    if whole:
        call(
            gencast,
            "run",
            "five.yaml",
            "--quick",
            "--no-notebooks",
            "--galaxies",
            100,
            "--jobs",
            1,
            "--out",
            "out",
            cwd=work,
        )
        assert (work / "out" / "forecasts.csv").stat().st_size > 100, "the run has no forecast"
        print("   ", call(gencast, "verify", "out", cwd=work).strip().splitlines()[-1])


def check(title: str, python: Path, package: Path, work: Path, whole: bool, borrowed: bool = False) -> None:
    "Install a package and use it."
    begin = time.monotonic()
    options = ("--no-deps", "--no-build-isolation", "--no-index") if borrowed else ()
    if borrowed and package.suffix != ".whl":  # to build it needs the setuptools of this environment
        borrow_packages(python)
        options += ("--ignore-installed",)
    call(python, "-m", "pip", "install", "-q", *options, package)
    if borrowed:
        borrow_packages(python)
    use_package(python, work, whole)
    print(
        f"{title}: installed {package.name}, {'listed, ran, verified' if whole else 'imported, listed'} in "
        f"{time.monotonic() - begin:.0f} s",
        flush=True,
    )


def find_python(version: str) -> str | None:
    "An interpreter of that version which works: a name on PATH may be a shim that leads nowhere."
    beside = sorted(Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python"))  # as pyenv keeps them
    for python in (f"python{version}", *map(str, beside)):
        try:
            if subprocess.run(
                [python, "-c", "import ensurepip, venv, sys; print(sys.version)"],
                capture_output=True,
                text=True,
            ).stdout.startswith(version):
                return python
        except OSError:
            pass
    return None


def check_pythons(package: Path, folder: Path) -> None:
    "The wheel with each Python that is supported."
    for version in PYTHONS:
        if python := find_python(version):
            check(
                f"Python {version}",
                make_venv(folder / f"venv{version}", python),
                package,
                folder / f"work{version}",
                True,
            )
        else:
            print(f"Python {version}: not found on PATH, not tried", flush=True)


def requirements() -> list:
    "Direct dependencies, those of the developers included."
    parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return [*parser["DEFAULT"]["requirements"].split(), *parser["DEFAULT"]["dev_requirements"].split()]


def check_oldest(package: Path, folder: Path, tests: list) -> int:
    "The lowest versions of all direct dependencies that settings.ini allows, and tests with them."
    tools, python = make_venv(folder / "tools"), make_venv(folder / "oldest")
    call(tools, "-m", "pip", "install", "-q", "uv")
    (folder / "oldest.txt").write_text("\n".join(requirements()) + "\n", encoding="utf-8")
    uv = tools.with_name("uv")
    call(
        uv, "pip", "install", "--python", python, "--resolution", "lowest-direct", "-r", folder / "oldest.txt"
    )
    call(uv, "pip", "install", "--python", python, "--no-deps", package)
    frozen = dict(
        line.split("==")
        for line in call(uv, "pip", "freeze", "--python", python).splitlines()
        if "==" in line
    )
    print(
        "oldest:",
        ", ".join(
            f"{name} {frozen[name]}"
            for name in ("numpy", "scipy", "pandas", "astropy", "scikit-learn", "matplotlib")
            if name in frozen
        ),
        flush=True,
    )
    use_package(python, folder / "work-oldest", True)
    done = subprocess.run(
        [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests],
        cwd=folder / "source",
        env=environment(),
    )
    return done.returncode


def audit(folder: Path) -> int:
    "Known weaknesses of what this environment has installed. 0 none, `WEAK`, or `NOT_REACHED`."
    tools = make_venv(folder / "audit")
    call(tools, "-m", "pip", "install", "-q", "pip-audit")
    frozen = [
        line
        for line in call(sys.executable, "-m", "pip", "freeze", "--exclude-editable").splitlines()
        if "==" in line and not line.startswith("gencast")
    ]
    (folder / "frozen.txt").write_text(
        "\n".join(line.split("+")[0] for line in frozen) + "\n", encoding="utf-8"
    )
    done = subprocess.run(
        [
            tools.with_name("pip-audit"),
            "--no-deps",
            "--disable-pip",
            "--progress-spinner",
            "off",
            "-f",
            "json",
            "-r",
            folder / "frozen.txt",
        ],
        capture_output=True,
        text=True,
        env=environment(),
    )
    found = json.loads(done.stdout)["dependencies"] if done.stdout.startswith("{") else []
    seen, skipped = (
        [d for d in found if "skip_reason" not in d],
        [d["name"] for d in found if "skip_reason" in d],
    )
    if not seen:
        why = next((d["skip_reason"] for d in found), done.stderr.strip().split("\n")[-1])
        print(
            "pip-audit did not reach its database, so NOTHING IS KNOWN about weaknesses of the "
            f"{len(frozen)} packages: {why[:300]}"
        )
        return NOT_REACHED
    weak = [
        f"{d['name']} {d['version']}: {v['id']}, mended in {', '.join(v['fix_versions']) or 'no version'}"
        for d in seen
        for v in d["vulns"]
    ]
    print(
        f"pip-audit: {len(seen)} packages looked up, {len(weak)} known weaknesses; not looked up: "
        f"{', '.join(skipped) or 'none'}",
        *weak,
        sep="\n  ",
    )
    return WEAK if weak else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--sample",
        action="store_true",
        help="take the dependencies of this environment instead of installing them",
    )
    parser.add_argument(
        "--only", action="store_true", help="leave wheel and sdist out, do what the next options say"
    )
    parser.add_argument("--oldest", action="store_true")
    parser.add_argument(
        "--tests",
        nargs="+",
        default=[f"tests/test_{name}.py" for name in FAST if (ROOT / f"tests/test_{name}.py").exists()],
    )
    parser.add_argument("--pythons", action="store_true")
    parser.add_argument("--audit", action="store_true")
    given, code = parser.parse_args(), 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        wheel, sdist = build(folder)
        if not given.only:
            for title, package, whole in (("wheel", wheel, True), ("sdist", sdist, False)):
                check(
                    title,
                    make_venv(folder / f"venv-{title}"),
                    package,
                    folder / f"work-{title}",
                    whole,
                    given.sample,
                )
        if given.pythons:
            check_pythons(wheel, folder)
        if given.oldest:
            code = check_oldest(wheel, folder, given.tests) and 1
        if given.audit:
            code = code or audit(folder)
    return code


if __name__ == "__main__":
    sys.exit(main())
