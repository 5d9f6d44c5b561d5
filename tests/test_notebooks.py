"""The notebooks are the source of truth: they run, they are clean, gencast/ is what they export, and what
they
store came from the code of today."""

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from gencast.site.links import nav_links
from gencast.site.navigation import fill_sidebars

ROOT = Path(__file__).resolve().parent.parent
TEMPLATES = sorted(ROOT.glob("nbs/targets/*.ipynb"))
NOTEBOOKS = sorted(p for p in ROOT.glob("nbs/**/*.ipynb") if ".ipynb_checkpoints" not in p.parts)
PAGES = [p for p in NOTEBOOKS if p not in TEMPLATES]  # all that run by themselves
WINGS = [p for p in PAGES if (ROOT / "gencast" / p.parent.name / "__init__.py").is_file()]
NEEDS = {
    "models/40_layers": "torch",
    "models/50_members": "torch",
    "models/60_networks": "torch",
}  # what comes with an extra; the others run with what gencast requires
IN_A_KERNEL = (
    "index",
    "learn/paper_figure",
)  # as a reader runs them; the others in a fork that has the imports
SLOW = (
    "learn/observed_galaxies",
    "learn/own_simulations",
    "learn/default_suite",
    "learn/posteriors",
    "pipeline/80_job",
    "pipeline/90_verify",
)  # each makes a run, or a suite, of its own; test_run, test_own_suite, test_deep_fields, test_keeping and
# test_posteriors guard the same


def name(path):
    return path.relative_to(ROOT / "nbs").with_suffix("").as_posix()


def run(code: str, *args, cwd: Path) -> subprocess.CompletedProcess:
    "Run Python code that calls nbdev, outside pytest's process and without nbdev's flag for tests."
    env = {k: v for k, v in os.environ.items() if k != "IN_TEST"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, args)],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=600,
    )


def script(file: str, *options, root: Path = ROOT) -> subprocess.CompletedProcess:
    "Run a script of the repository."
    command = [sys.executable, str(root / "scripts" / file), *options]
    return subprocess.run(command, cwd=root, capture_output=True, text=True)


def needed(path: Path) -> None:
    "Skip where an extra is missing."
    if name(path) in NEEDS:
        pytest.importorskip(NEEDS[name(path)])


def marked(paths: list) -> list:
    "Parameters of a test that runs notebooks."
    slow = {True: (pytest.mark.slow,), False: ()}
    return [pytest.param(p, marks=slow[name(p) in SLOW], id=name(p)) for p in paths]


@pytest.mark.parametrize("path", marked([p for p in PAGES if name(p) not in IN_A_KERNEL]))
def test_notebook_runs(path, notebook_server):
    "What `nbdev-test` does, in a fork of a process that has imported what notebooks import."
    needed(path)
    done = notebook_server.run(path)
    assert done["ok"], f"{name(path)} does not run:\n{done['text'][-3000:]}"


def test_lists_above_name_notebooks():
    "A notebook that moves takes its mark along."
    assert {*NEEDS, *IN_A_KERNEL, *SLOW} <= set(map(name, PAGES))


def test_notebooks_run_in_a_kernel():
    "As Jupyter runs them, one after the other: the how-to finds the run that the front page made."
    for word in IN_A_KERNEL:
        run_in_a_kernel(word)


def run_in_a_kernel(word: str) -> None:
    "Execute a notebook in a kernel of its own; at least one figure must come out."
    from nbclient import NotebookClient

    path = ROOT / "nbs" / f"{word}.ipynb"
    nb = nbformat.read(path, as_version=4)
    for cell in nb.cells:
        cell["outputs"] = [] if cell.cell_type == "code" else None
        if cell["outputs"] is None:
            del cell["outputs"]
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"}
    env["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), env.get("PYTHONPATH")]))
    client = NotebookClient(
        nb, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}}
    )
    client.execute(env=env)
    outputs = [o for c in nb.cells for o in c.get("outputs", [])]
    assert any("image/png" in o.get("data", {}) for o in outputs), "no figure is drawn"


def test_server_notices_a_failure(notebook_server, tmp_path):
    "A notebook that ends in an error, and one whose process dies, are failures; the next one is none."
    for source, fine in (("assert 1 == 2", False), ("import os; os._exit(3)", False), ("x = 1", True)):
        path = tmp_path / "some.ipynb"
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
        nb.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nb, path)
        done = notebook_server.run(path)
        assert done["ok"] == fine, done
    assert not (tmp_path / "_docs").exists()


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    "The parts of the repository that nbdev works on."
    folder = tmp_path_factory.mktemp("copy")
    for part in ("nbs", "gencast", "scripts"):
        shutil.copytree(
            ROOT / part,
            folder / part,
            ignore=shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__", "*.fits"),
        )
    for part in ("pyproject.toml", "settings.ini"):
        shutil.copy(ROOT / part, folder)
    return folder


def test_export_is_in_sync(copy):
    before = {p.relative_to(copy): p.read_text(encoding="utf-8") for p in copy.glob("gencast/**/*.py")}
    generated = [p for p, text in before.items() if "AUTOGENERATED" in text]
    assert len(generated) > 5
    for path in generated:
        (copy / path).unlink()
    done = run(
        "from nbdev.doclinks import nbdev_export\nif __name__ == '__main__': nbdev_export.__wrapped__()",
        cwd=copy,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    after = {p.relative_to(copy): p.read_text(encoding="utf-8") for p in copy.glob("gencast/**/*.py")}
    assert set(before) == set(after), "run nbdev-export, and delete modules whose notebook is gone"
    assert [str(p) for p in before if before[p] != after[p]] == [], (
        "run nbdev-export and commit what it changes"
    )


def test_templates_are_in_sync(copy):
    script = [sys.executable, str(copy / "scripts" / "sync_templates.py")]
    done = subprocess.run([*script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    templates = copy / "gencast" / "pipeline" / "templates"
    assert {p.name for p in templates.glob("*.ipynb")} >= {
        "simulation.ipynb",
        "survey.ipynb",
        "summary.ipynb",
    }
    (templates / "gone.ipynb").write_text("{}")
    (templates / "survey.ipynb").unlink()
    done = subprocess.run([*script, "--check"], capture_output=True, text=True)
    assert done.returncode == 1 and "gone.ipynb, survey.ipynb" in done.stderr
    assert subprocess.run(script).returncode == 0
    assert subprocess.run([*script, "--check"]).returncode == 0 and not (templates / "gone.ipynb").exists()


def test_faces_are_in_sync():
    "`gencast/<wing>/__init__.py` has the public names of the wing's modules, each of which has one home."
    done = script("build_faces.py", "--check")
    assert done.returncode == 0, done.stderr


def test_wings_import_downwards_only():
    "The floors of `.importlinter`."
    lint = shutil.which("lint-imports", path=str(Path(sys.executable).parent)) or shutil.which("lint-imports")
    if not lint:
        pytest.skip("import-linter is not installed: pip install -e '.[dev]'")
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([lint, "--no-cache"], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("command", ["check", "format"])
def test_form(command):
    "`ruff check` and `ruff format`, notebooks included, have nothing to say."
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or shutil.which("ruff")
    if not ruff:
        pytest.skip("ruff is not installed: pip install -e '.[dev]'")
    options = {"check": ["--output-format=concise", "--quiet"], "format": ["--check"]}[command]
    done = subprocess.run(
        [ruff, command, "--no-cache", *options, "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:]


def test_no_module_is_written_by_hand():
    by_hand = [
        p.name for p in ROOT.glob("gencast/**/*.py") if "AUTOGENERATED" not in p.read_text(encoding="utf-8")
    ]
    assert set(by_hand) <= {"__init__.py", "_modidx.py"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name)
def test_notebook_is_clean(path):
    text = path.read_text(encoding="utf-8")
    nb = nbformat.reads(text, as_version=nbformat.NO_CONVERT)
    nbformat.validate(nb)
    assert (nb.nbformat, nb.nbformat_minor >= 5) == (4, True)
    ids = [c.id for c in nb.cells]
    assert len(ids) == len(set(ids))
    assert nb.metadata.kernelspec.language == "python" and nb.metadata.kernelspec.name == "python3"
    assert len(nb.cells) < 60, f"{len(nb.cells)} cells: a notebook nobody reads to its end wants to be two"
    outputs = [c.get("outputs", []) for c in nb.cells]
    assert len(json.dumps(outputs)) < 700_000, "outputs of more than 700 kB"  # figures at twice their size
    assert not [o for cell in outputs for o in cell if o.output_type == "error"]


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_figures_are_stored(path):
    "A cell that ends in a plot shows it to those who read the notebook without running it."
    for cell in nbformat.read(path, as_version=4).cells:
        if (
            cell.cell_type != "code"
            or "#| export" in cell.source
            or not re.search(r"plt\.subplots\(|^(ax = )?plot_\w+\(", cell.source, flags=re.M)
            or "plt.close" in cell.source
        ):
            continue
        stored = [o.data for o in cell.outputs if "data" in o]
        assert any("image/png" in d for d in stored), (
            f"{path.name}: run scripts/execute_notebooks.py {path.stem}; no figure is stored "
            f"under\n{cell.source}"
        )


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_imports_stand_in_cells_of_their_own(path):
    "Staging the site runs every cell that holds an import, and no other example: a mixed cell fails there."
    for cell in nbformat.read(path, as_version=4).cells:
        if (
            cell.cell_type != "code"
            or re.search(r"^#\|\s*(export\w*|default_exp|eval: false)", cell.source, flags=re.M)
            or "nbdev_export()" in cell.source
        ):
            continue
        tree = ast.parse(re.sub(r"^\s*[%!].*$", "", cell.source, flags=re.M))
        imports = [n for n in ast.walk(tree) if isinstance(n, (ast.Import, ast.ImportFrom))]
        alone = all(isinstance(n, (ast.Import, ast.ImportFrom)) for n in tree.body)
        assert not imports or alone, f"{path.name}: give the import a cell of its own:\n{cell.source}"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_page_has_a_title_and_a_wing_exports(path):
    cells = nbformat.read(path, as_version=4).cells
    title = next(c.source for c in cells if c.cell_type == "markdown")
    assert re.match(r"# .+\n+> .+", title), "the first text cell is `# Title` and `> one-sentence subtitle`"
    if path in WINGS and path.stem != "00_index":  # the others are pages, which export nothing
        assert re.match(r"#\|\s*default_exp \S+", cells[0].source)
        assert "nbdev_export()" in cells[-1].source


@pytest.mark.parametrize("path", TEMPLATES, ids=name)
def test_template_has_a_parameters_cell(path):
    from papermill import inspect_notebook

    tagged = [
        c for c in nbformat.read(path, as_version=4).cells if "parameters" in c.metadata.get("tags", [])
    ]
    assert len(tagged) == 1 and inspect_notebook(str(path)), (
        "papermill would only warn, and the defaults would win"
    )


def test_nbdev_clean_keeps_the_parameters_tag(copy):
    path = copy / "nbs" / "targets" / "tagged.ipynb"
    path.parent.mkdir(exist_ok=True)
    cell = nbformat.v4.new_code_cell("n = 1", metadata={"tags": ["parameters"], "scrolled": True})
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[cell],
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
        ),
        path,
    )
    done = run(
        "from nbdev.clean import nbdev_clean\nimport sys\nnbdev_clean.__wrapped__(sys.argv[1])",
        path,
        cwd=copy,
    )
    kept = nbformat.read(path, as_version=4).cells[0].metadata
    path.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    assert kept == {"tags": ["parameters"]}, "the tag stays and other metadata go"


def test_nbdev_clean_keeps_the_digest(copy):
    path = copy / "nbs" / "core" / "kept.ipynb"
    metadata = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "gencast": {"code": "0123456789abcdef"},
        "papermill": {"duration": 3},
    }
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")], metadata=metadata), path)
    code = "from nbdev.clean import nbdev_clean\nimport sys\nnbdev_clean.__wrapped__(sys.argv[1])"
    done = run(code, path, cwd=copy)
    kept = nbformat.read(path, as_version=4).metadata
    path.unlink()
    assert done.returncode == 0, done.stderr[-2000:]
    assert set(kept) == {"kernelspec", "gencast"} and kept.gencast == metadata["gencast"]


def test_every_page_is_in_a_sidebar():
    "By name, by the pattern of its folder, or in the sidebar of its wing; the front page in the navigation."
    website = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))["website"]
    bars = fill_sidebars(website["sidebar"], ROOT / "nbs")
    listed = [h for bar in bars for h in nav_links(bar["contents"]) if h.endswith(".ipynb")]
    once = [h for h in listed if not h.endswith("00_index.ipynb")]  # an index stands in the reference, too
    assert len(once) == len(set(once)), "each page once"
    pages = {p.relative_to(ROOT / "nbs").as_posix() for p in PAGES}
    assert set(listed) | {"index.ipynb"} == pages


@pytest.fixture(scope="module")
def freshness(load_script):
    "scripts/freshness.py as a module."
    return load_script("freshness")


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_stored_outputs_are_fresh(path, freshness):
    "What a notebook shows came from its code, and the code that it imports, as they are today."
    why = freshness.why_stale(nbformat.read(path, as_version=4), path.parent)
    assert not why, f"{name(path)}: {why}; run python scripts/execute_notebooks.py {name(path)}"


@functools.cache
def simulation_names(suite: str = "") -> set:
    "Of all suites that come with gencast, or of one."
    from gencast.synthesis import list_suites

    found = set()
    for which, path in list_suites().items():
        if suite in ("", which):
            text = yaml.safe_load(path.read_text(encoding="utf-8"))
            found |= {s["name"] for s in text["simulations"]}
    return found


def named_simulations(text: str, names: set) -> set:
    "Words of a text that are built as a simulation's name is: library, dust law, history."
    libraries, dusts, histories = (set(part) for part in zip(*(n.split("-") for n in names)))
    found = set()
    for word in re.findall(r"(?<![\w./-])[a-z]\w*-[a-z]\w*-[a-z]\w*(?![\w-])", text):
        library, dust, history = word.split("-")
        if (library in libraries) + (dust in dusts) + (history in histories) >= 2:
            found.add(word)
    return found


def shown_text(nb) -> str:
    "What a notebook's stored outputs say in words."
    said = []
    for output in (o for c in nb.cells for o in c.get("outputs", [])):
        said.append(str(output.get("text", "")))
        said += [str(v) for kind, v in output.get("data", {}).items() if not kind.startswith("image/p")]
    return "\n".join(said)


@pytest.fixture(scope="module")
def made_up(tmp_path_factory) -> set:
    "Simulations of the made-up results, which are no suite's."
    from gencast.report.examples import toy_results
    from gencast.report.results import load_results

    folder = tmp_path_factory.mktemp("names")
    return set(load_results(toy_results(folder / "toy", n_sim=24)).simulations.name)


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_stored_outputs_name_what_exists(path, made_up):
    "A page that runs the default suite shows its simulations, any other page those of some suite."
    nb = nbformat.read(path, as_version=4)
    shown = named_simulations(shown_text(nb), simulation_names())
    is_default = any(re.search(r'^\w+ = run\(\s*"default"', c.source, flags=re.M) for c in nb.cells)
    there = simulation_names("default") if is_default else simulation_names() | made_up
    assert shown <= there, f"{name(path)} shows {shown - there}, which the suite does not have"


def test_a_name_of_another_day_is_noticed():
    names = simulation_names()
    said = (
        "its nearest are fsps-salim-dpl and bc03-calzetti-tau, a leave-one-out fit, results/bpass-salim-tau"
    )
    assert named_simulations(said, names) - names == {"fsps-salim-dpl"}


def test_digest_changes_with_the_code_only(freshness):
    "Comments, docstrings and layout are free; a number, an imported module's number, is not."

    def digest(*cells):
        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        return freshness.code_digest(nb, ROOT / "nbs")

    one = digest("def f(x):\n    'Double.'\n    return 2 * x", "f(1)")
    assert one == digest("def f(\n    x,  # a number\n):\n    return (2 * x)", "f( 1 )  # two")
    assert one != digest("def f(x):\n    return 3 * x", "f(1)")
    modules = freshness.closure({"gencast.report.results"})
    assert {"gencast.report.results", "gencast.core.base"} <= set(modules)
    assert not [m for m in modules if m.startswith(("gencast.site", "gencast.cli"))]
    through_face = freshness.imported(ast.parse("from gencast.core import InputError"))
    assert through_face == {"gencast.core.base"}
    assert freshness.imported(ast.parse("import gencast.core as c; c.InputError")) >= {"gencast.core.base"}


def test_a_suite_counts_as_code(freshness, monkeypatch):
    "The YAML that a module carries changes what a notebook shows."
    home = freshness.exported_names("gencast.synthesis")["list_suites"]
    before = freshness.module_facts.__wrapped__(home)[0]
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: read(self) + b" " * (self.suffix == ".yaml"))
    assert freshness.module_facts.__wrapped__(home)[0] != before
