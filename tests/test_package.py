"What a user installs: metadata, contents of wheel and sdist, what the documents promise."

import configparser
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

import gencast

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted(
    m.name for m in pkgutil.walk_packages(gencast.__path__, "gencast.") if not m.name.endswith("_modidx")
)
TEXT = {
    ".py",
    ".ipynb",
    ".qmd",
    ".md",
    ".yml",
    ".yaml",
    ".toml",
    ".ini",
    ".in",
    ".cff",
    ".css",
    ".bib",
    ".csv",
    ".ecsv",
    ".mplstyle",
    "",
}


def settings() -> dict:
    parser = configparser.ConfigParser(delimiters=["="], interpolation=None)
    parser.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(parser["DEFAULT"])


def source_files() -> list:
    "Files of the repository: tracked ones, and new ones that git does not ignore."
    try:
        names = (
            subprocess.run(
                ["git", "ls-files", "-z", "-co", "--exclude-standard"],
                cwd=ROOT,
                capture_output=True,
                check=True,
            )
            .stdout.decode()
            .split("\0")
        )
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout to tell the project's files from others")
    return sorted({ROOT / n for n in names if n and (ROOT / n).is_file()})


def test_one_version():
    version = settings()["version"]
    assert gencast.__version__ == version
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    assert re.search(
        rf"^## {re.escape(version)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), flags=re.M
    )


def test_metadata_comes_from_settings():
    have, want = distribution("gencast"), settings()

    def name(r):
        return re.match(r"[\w.-]+", r)[0].lower().replace("-", "_")

    required = {name(r) for r in have.requires if "extra ==" not in r}
    assert required == {name(r) for r in want["requirements"].split()}
    assert have.metadata["Requires-Python"] == f">={want['min_python']}"
    assert {"dev", "sed"} <= set(have.metadata.get_all("Provides-Extra"))


@pytest.mark.parametrize("name", MODULES)
def test_public_names_are_documented(name):
    module = importlib.import_module(name)
    if not hasattr(module, "__path__"):
        assert module.__doc__, f"{name} has no docstring: its notebook needs a `> subtitle` under the title"
    for public in getattr(module, "__all__", []):
        value = getattr(module, public)
        if inspect.isfunction(value) or inspect.isclass(value):
            doc = inspect.getdoc(value) or ""
            assert doc and not doc.startswith(f"{public}("), f"{name}.{public} has no docstring"


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple:
    "A wheel and an sdist of the repository as it stands, made in a copy."
    folder = tmp_path_factory.mktemp("build")
    for path in source_files():
        copy = folder / "src" / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    # it changes sys.argv
    code = (
        "import sys; from setuptools import build_meta as b; out = sys.argv[1]; print(b.build_sdist(out), "
        "b.build_wheel(out))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=folder / "src", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    sdist, wheel = done.stdout.split()[-2:]
    return folder / wheel, folder / sdist


def test_wheel_holds_all_that_a_run_needs(built):
    names = set(zipfile.ZipFile(built[0]).namelist())
    in_tree = {p.relative_to(ROOT).as_posix() for p in source_files() if p.is_relative_to(ROOT / "gencast")}
    assert in_tree - names == set(), "files of gencast/ that MANIFEST.in leaves out of the wheel"
    assert not [n for n in names if n.startswith(("tests/", "nbs/"))]
    entry = next(n for n in names if n.endswith("entry_points.txt"))
    assert "gencast = gencast.cli.main:main" in zipfile.ZipFile(built[0]).read(entry).decode().replace(
        "=", " = "
    ).replace("  ", " ")
    for pattern in (
        r"gencast/synthesis/suites/.*\.yaml",
        r"gencast/pipeline/templates/.*\.ipynb",
        r"gencast/synthesis/ssp_grids/.*\.fits",
    ):
        assert any(re.fullmatch(pattern, n) for n in names), f"the wheel has no {pattern}"


def test_sdist_can_be_built_from(built):
    with tarfile.open(built[1]) as tar:
        names = {n.split("/", 1)[1] for n in tar.getnames() if "/" in n}
    assert {
        "settings.ini",
        "setup.py",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "_quarto.yml",
        "nbs/core/10_sample.ipynb",
        "tests/test_package.py",
    } <= names


def test_installed_package_works_without_the_source_tree(built, tmp_path):
    """From the unpacked wheel alone: import, read templates and suites, refuse to make the site with one
    sentence.
    """
    zipfile.ZipFile(built[0]).extractall(tmp_path)
    code = (
        "import gencast; from pathlib import Path; from gencast.core.base import InputError; from "
        "gencast.site.build import build_docs\n"
        "here = Path(gencast.__file__).parent; assert here.parent == Path.cwd(), here\n"
        "assert list((here / 'pipeline/templates').glob('*.ipynb'))\n"
        "assert list((here / 'synthesis/suites').glob('*.yaml'))\n"
        "try: build_docs(out='site')\n"
        "except InputError as err: print(err)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "clone the repository" in done.stdout and not (tmp_path / "site").exists()


def test_no_machine_paths_and_no_registry_hosts():
    hosts = "|".join(
        re.escape(h)
        for h in (
            "pypi" + ".org",
            "python" + "hosted.org",
            "npmjs" + ".org",
            "npmjs" + ".com",
            "anaconda" + ".org",
        )
    )
    bad = re.compile(rf"(?<![\w.$}})>-])/(?:work|opt|root|home/\w+|Users/\w+)/|{hosts}")
    found = []
    for path in source_files():
        if path.suffix in TEXT:
            for i, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if m := bad.search(line):
                    found.append(f"{path.relative_to(ROOT)}:{i}: {m[0]}")
    assert not found


def test_no_pickle_in_the_repository():
    assert not [p for p in source_files() if p.suffix in {".pkl", ".pickle", ".joblib"}]


def test_ci_runs_the_commands_of_the_readme():
    readme, ci = ((ROOT / n).read_text(encoding="utf-8") for n in ("README.md", ".ci/run"))
    for command in ('pip install -e ".[dev]"', "python -m pytest"):
        assert command in readme
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    last = [line for line in ci.splitlines() if line.strip()][-1]
    assert last.startswith('python -m pytest -m "slow or not slow"'), (
        "the whole suite, and its summary ends the log"
    )
    installed = re.search(r'pip install -e "\.\[([\w,]+)\]"', ci)[1].split(",")
    extras = {key.removesuffix("_requirements") for key in settings() if key.endswith("_requirements")}
    assert installed[0] == "dev" and set(installed) == extras, "nothing may be skipped for lack of an extra"
    assert "pip install -e ." in readme and "gencast run" in readme


def test_page_of_dependencies_is_in_step(load_script, tmp_path, monkeypatch):
    "Each package of settings.ini with its oldest version and a licence, and no other."
    script = load_script("build_dependencies")
    assert script.differences() == []
    rows = script.read_page()
    assert len(rows) > 30 and all(line.split(" | ")[3].strip(" |") for _, line in rows.values())
    page = tmp_path / "page.qmd"
    page.write_text(script.PAGE.read_text(encoding="utf-8").replace("| 1.15 |", "| 1.14 |"), encoding="utf-8")
    monkeypatch.setattr(script, "PAGE", page)
    assert script.differences() == ["scipy (Always): 1.14 here, 1.15 in settings.ini"]
    assert script.main(["--check"]) == 1


def test_licences_as_metadata_state_them(load_script):
    from email.message import Message

    script = load_script("build_dependencies")

    def licence(**fields):
        about = Message()
        for name, values in fields.items():
            for value in values:
                about[name.replace("_", "-")] = value
        return script.licence_of(about)

    assert licence(License_Expression=["MIT"], License=["see the file"]) == "MIT"
    assert licence(License=["BSD 3-Clause License\n\nCopyright"]) == "BSD 3-Clause License"
    assert licence(License=["Copyright by X"], Classifier=["License :: OSI Approved :: ISC"]) == "ISC"
    free = "License :: Free for non-commercial use"
    assert licence(License=["BSD"], Classifier=[free]) == "BSD; Free for non-commercial use"
    assert licence() == licence(License=["UNKNOWN"]) == licence(License=["====="]) == "not stated"


def test_workflow_does_what_ci_does():
    "The same script, on every Python that settings.ini allows."
    flow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = flow["jobs"]["tests"]
    pythons = job["strategy"]["matrix"]["python"]
    assert pythons[0] == settings()["min_python"] and len(pythons) == len(set(pythons)) == 4
    assert [step["run"] for step in job["steps"] if "run" in step][-1].endswith(".ci/run")


@pytest.fixture
def numbers(load_script):
    "The script that writes the numbers of the documents, as a module."
    return load_script("build_readme_numbers")


def test_marked_numbers_are_known_and_agree(numbers):
    "The same number is the same wherever it stands, and none is missing."
    found = {}
    for page in numbers.PAGES:
        for _, name, text, _ in numbers.MARK.findall((ROOT / page).read_text(encoding="utf-8")):
            assert name.split()[0] in numbers.KINDS and text.strip(), f"{page}: {name}"
            found.setdefault(name, set()).add(text)
    assert len(found) > 12
    assert {name: texts for name, texts in found.items() if len(texts) > 1} == {}


def toy_scores(laws) -> pd.DataFrame:
    "Scores of the same form as a default run's, each law with another R²."
    rows = [
        {"view": view, "law": law, "family": family, "r2": -7.35 + k, "mae_dex": 0.11, "coverage_90": 0.93}
        for view in ("spectra", "photometry")
        for k, law in enumerate(laws)
        for family in ("", "ssp", "dust", "history")
    ]
    return pd.DataFrame(rows).assign(property="log_mstar", distance="mean_euclidean", target="all")


def toy_coverage() -> pd.DataFrame:
    "Coverage of the intervals of single galaxies, in the form of a default run's."
    both, bins = {"rmse": 0.1, "width_68": 0.25, "width_90": 0.4, "property": "log_mstar"}, []
    for view in ("spectra", "photometry"):
        rows = [("all", "", 0.74, 0.91), ("family", "x", 0.44, 0.81), ("mass", "", 0.7, 0.9)]
        for by, family, c68, c90 in rows:
            ends = {"low": 9.0, "high": 9.5} if by == "mass" else {}
            row = {"view": view, "by": by, "family": family, "n": 40, "coverage_68": c68, "coverage_90": c90}
            bins.append(row | ends | both)
    return pd.DataFrame(bins)


def test_scores_of_all_properties_are_kept_and_shown(numbers, tmp_path, monkeypatch):
    rows = [
        dict(property=p, view=v, target=t, family=f, r2=0.5 - 0.1 * bool(f), coverage_90=hold)
        for p in numbers.PROPERTIES
        for v in ("spectra", "photometry")
        for f in ("", "ssp")
        for t, hold in (("all", 0.9), ("a", 1.0), ("b", 0.7), ("c", 0.6))
    ]
    scores = pd.DataFrame(rows).assign(law="stack", distance="energy", mae_dex=0.12, width_90=0.7)
    simulations = pd.DataFrame({"name": ["a", "b", "c"], "ssp": ["bc03", "bc03", "bpass"]})
    run = {"parameters": {"distance": "energy", "n_galaxies": 9}, "seed": 1, "versions": {"gencast": "0.1.0"}}
    results = SimpleNamespace(scores=scores, simulations=simulations, run=run)
    monkeypatch.setattr(numbers, "load_results", lambda folder: results)
    monkeypatch.setattr(numbers, "SCORES", tmp_path / "property_scores.csv")
    numbers.keep_property_scores("results")
    assert numbers.properties_made(None) == "gencast 0.1.0, seed 1, 9 galaxies for each simulation"
    lines = numbers.properties(None, "spectra").split("\n")
    assert "| mass | 0.50 | 0.12 | 90 % | 0.40 | 0.12 | 90 % | 60 % | 0.70 |" in lines  # bpass holds 60 %


def test_intervals_are_compared_at_the_same_coverage(numbers):
    rng, n = np.random.default_rng(0), 4000
    truth = rng.normal(10, 0.5, n)
    value = truth + 0.1 * rng.normal(size=n)
    rows = pd.DataFrame(
        {"family": np.repeat(["a", "b"], [n // 4, n - n // 4]), "truth": truth, "value": value}
    )
    for level, half in (("68", 0.05), ("90", 0.3)):  # too narrow, and too wide
        rows[f"lower_{level}"], rows[f"upper_{level}"] = value - half, value + half
    row = numbers.method_row("toy", rows)
    assert row["n"] == n and row["68 % hold [%]"] < 45 and row["90 % hold [%]"] > 99
    np.testing.assert_allclose(row["width at 68 %"], 0.199, rtol=0.05)
    np.testing.assert_allclose(row["width at 90 %"], 0.329, rtol=0.05)


def test_numbers_are_written_from_a_run_and_checked(numbers, tmp_path, monkeypatch, capsys):
    pairs = [(s, t, 0.04 if s == t else 0.36) for s in "ab" for t in "ab"]
    errors = pd.DataFrame(pairs, columns=["source", "target", "mse"]).assign(property="log_mstar")
    run = {"parameters": {"distance": "mean_euclidean", "n_galaxies": 6500}, "seed": 42}
    results = SimpleNamespace(
        galaxy_coverage=toy_coverage(),
        scores=toy_scores(numbers.LAWS),
        errors=pd.concat([errors.assign(view=v) for v in ("spectra", "photometry")]),
        run=run | {"versions": {"gencast": "0.1.0"}},
    )
    monkeypatch.setattr(numbers, "ROOT", tmp_path)
    monkeypatch.setattr(numbers, "load_results", lambda folder: results)
    monkeypatch.setattr(numbers, "score_lines", lambda r: ["spectra R² 0.79"])
    monkeypatch.setattr(numbers, "forecast_lines", lambda r: ["sdss_spectra 0.177"])
    for page in numbers.PAGES:
        (tmp_path / page).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, tmp_path / page)
    assert numbers.main("results", check=True) == 1
    assert "README.md" in capsys.readouterr().err
    assert numbers.main("results", check=False) == 0 and numbers.main("results", check=True) == 0
    readme = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "sdss_spectra 0.177" in readme and "too_small spectra -->3.0<!--" in readme
    assert (
        numbers.r2(results, "stack", "spectra") == "−7.3"
        and numbers.percent(results, "stack", "spectra") == "14 %"
    )
    page = (tmp_path / "nbs/learn/catalogue.qmd").read_text(encoding="utf-8")
    assert (
        "| x | 40 | 0.10 | 44 | 0.25 | 81 | 0.40 |" in page and "holds spectra 90 worst -->81 %<!--" in page
    )
    with pytest.raises(SystemExit, match="give a default run"):
        numbers.r2(results, "no_such_law", "spectra")


def test_readme_is_a_page_or_two():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"<!-- run: terminal -->.*?<!-- / -->", "", text, flags=re.S)  # not what a run prints
    assert len(re.sub(r"<!--.*?-->|\]\([^)]*\)", "", prose).split()) < 1200
    commands = re.findall(r"^python3 -m venv .*$", text, flags=re.M)
    assert len(commands) == 2 and all(" && " in c and ".venv/bin/pip install -e" in c for c in commands)


def test_documents_are_there():
    for name in ("LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md"):
        assert (ROOT / name).stat().st_size > 200
    assert "Redistribution and use in source and binary forms" in (ROOT / "LICENSE").read_text(
        encoding="utf-8"
    )


def test_links_of_the_readme_lead_somewhere():
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"):
        for href in re.findall(r"\]\(([^)#\s]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert href.startswith("https://") or (ROOT / href).exists(), f"{name}: {href}"
