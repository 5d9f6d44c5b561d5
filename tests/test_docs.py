"""The website: staged from the repository and from a run's notebooks, with nothing broken, with and without
Quarto."""

import importlib
import importlib.util
import json
import os
import re
import shutil
import time
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

import gencast.site.build as docs
from gencast.core.base import InputError
from gencast.site.links import PAGES, check_site, nav_links
from gencast.site.pages import count_site
from gencast.site.reference import face_groups
from gencast.site.targets import stage_targets

ROOT = Path(__file__).resolve().parent.parent
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def executed(path: Path, title: str, template: str, *cells) -> None:
    "Write a notebook as papermill leaves it."
    path.parent.mkdir(parents=True, exist_ok=True)
    figure = new_code_cell(
        "draw()",
        outputs=[new_output("display_data", {"image/png": PIXEL})],
        metadata={"papermill": {"duration": 1.0}},
    )
    meta = {
        "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
        "papermill": {"input_path": f"/somewhere/templates/{template}.ipynb"},
    }
    nbformat.write(
        new_notebook(
            cells=[
                new_markdown_cell(
                    f'# {title}\n\n> In one sentence: "quoted".\n\nSee [samples](../core/sample.html#sample).'
                ),
                figure,
                *cells,
            ],
            metadata=meta,
        ),
        path,
    )


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "toy" / "notebooks"
    executed(
        folder / "sim_01.ipynb", "The simulation: one", "simulation", new_code_cell("#| hide\nsecret = 1")
    )
    executed(folder / "sdss_spectra.ipynb", "SDSS spectra", "survey")
    executed(folder / "summary.ipynb", "Summary", "summary")
    return folder.parent


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    return docs.build_docs(results, tmp_path_factory.mktemp("out"), render=False, execute=False)


@pytest.mark.slow
def test_site_is_staged_with_nothing_broken(report):
    assert report.broken == ()
    assert not report.rendered and str(report.staged) in report.message
    sources = {p.relative_to(ROOT / "nbs") for p in ROOT.glob("nbs/**/*.ipynb")}
    sources = {p for p in sources if p.parts[0] != "targets"}
    assert sources <= {p.relative_to(report.staged) for p in report.staged.rglob("*.ipynb")}
    # targets, gallery, method, changelog, benchmarks, a page for each module
    assert report.counts["pages"] >= len(sources) + 60
    assert (
        report.counts["links"] > 1000 and report.counts["figures"] > 50 and report.counts["without_text"] == 0
    )
    assert (report.staged / "references.bib").exists() and (report.staged / "styles.css").exists()


@pytest.mark.slow
def test_staging_leaves_only_the_site(report):
    assert sorted(p.name for p in report.staged.parent.iterdir()) == [".kept", "staged"]
    assert not (ROOT / "_proc").exists()


@pytest.mark.slow
def test_targets_are_in_the_navigation(report):
    config = yaml.safe_load((report.staged / "_quarto.yml").read_text(encoding="utf-8"))
    bars = {bar["id"]: bar for bar in config["website"]["sidebar"]}
    section = bars["results"]["contents"]
    assert section[0]["href"] == "targets.qmd" and section[1] == "targets/summary.ipynb"
    assert [(g["section"], g["contents"]) for g in section[2:4]] == [
        ("Surveys", ["targets/sdss_spectra.ipynb"]),
        ("Simulations", ["targets/sim_01.ipynb"]),
    ]
    items = {item["text"]: item["href"] for item in config["website"]["navbar"]["left"]}
    assert list(items) == ["Home", "Learn", "How-to", "Results", "Method", "Reference"]
    assert items["Results"] == "targets.qmd"


@pytest.mark.slow
def test_every_notebook_is_in_a_sidebar(report):
    config = yaml.safe_load((report.staged / "_quarto.yml").read_text(encoding="utf-8"))
    bars = {bar["id"]: nav_links(bar["contents"]) for bar in config["website"]["sidebar"]}
    staged = {p.relative_to(report.staged).as_posix() for p in report.staged.rglob("*.ipynb")}
    assert staged - {"index.ipynb"} <= {href for links in bars.values() for href in links}
    for wing in {p.parent.name for p in ROOT.glob("gencast/*/__init__.py")}:
        ours = [p for p in bars[wing] if p.startswith(f"{wing}/")]
        assert ours[0] == f"{wing}/00_index.ipynb" and ours == sorted(ours)
        front = nbformat.read(report.staged / ours[0], as_version=4).cells[0].source
        assert f"sidebar: {wing}" in front


@pytest.mark.slow
def test_reference_lists_the_names_of_each_wing(report):
    index = (report.staged / "reference.qmd").read_text(encoding="utf-8")
    for wing in ("core", "distances", "regression", "figures"):
        part = index.partition(f"## gencast.{wing}:")[2].partition("\n:::")[0]
        listed = set(re.findall(r"\[`(\w+)`\]", part))
        face = importlib.import_module(f"gencast.{wing}")
        assert listed == {n for n in face.__all__ if callable(getattr(face, n))}
    tasks = index.partition("## Wings")[0]
    assert len(face_groups()) >= 5 and all(f"## {task}" in tasks for task, _ in face_groups())
    assert all(f"[`{name}`]" in tasks for _, names in face_groups() for name in names)


@pytest.fixture(scope="module")
def check_site_script(load_script):
    "scripts/check_site.py as a module."
    return load_script("check_site")


@pytest.mark.slow
def test_nothing_is_wrong_with_the_site(report, check_site_script):
    counts = check_site_script.site_counts(report.staged)
    assert counts["arguments"] > 1000 and counts["returns"] > 200
    wrong = {name: n for name, n in counts.items() if n and name not in check_site_script.SIZES}
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "page"),
    [
        ("install", "howto/install.qmd"),
        ("EAGLE", "learn/own_simulations.ipynb"),
        ("own model", "learn/own_model.ipynb"),
        ("exit codes", "howto/exit_codes.qmd"),
    ],
)
def test_search_leads_to_the_right_page_first(report, check_site_script, words, page):
    if not (report.staged / page).is_file():
        pytest.skip(f"{page} is not written yet")
    assert check_site_script.found_first(report.staged, words) == page


@pytest.mark.slow
def test_pandoc_reads_what_was_written(report, check_site_script):
    pytest.importorskip("pypandoc", reason="pypandoc_binary is not installed: pip install -e '.[dev]'")
    assert check_site_script.pages_that_read_otherwise(report.staged) == []


CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
LOOKED_AT = (
    "index.ipynb",
    "targets/summary.ipynb",
    "targets.qmd",
    "reference.qmd",
    "commands.qmd",
    "howto/install.qmd",
    "method.qmd",
    "learn/running.qmd",
    "regression/40_laws.ipynb",
    "reference/pipeline.job.qmd",
)
CONTRASTS = """() => {
  const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
    .map(x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
  const code = [...document.querySelectorAll("main :not(pre) > code")];
  return code.map(c => { const s = getComputedStyle(c), a = light(s.color), b = light(s.backgroundColor);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); });
}"""


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="no Chromium on PATH: apt-get install chromium, or set CHROMIUM")
def test_pages_fit_a_phone_and_code_can_be_read(report, check_site_script, tmp_path):
    "No page is wider than 390 pixels, and code within a line has a contrast of 4.5 in both themes."
    pytest.importorskip("pypandoc", reason="pypandoc_binary is not installed: pip install -e '.[dev]'")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    file, flags = tmp_path / "page.html", ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    n_code = 0
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=flags)
        page = browser.new_page(viewport={"width": 390, "height": 844})
        for name in LOOKED_AT:
            for dark in (False, True):
                file.write_text(check_site_script.preview_page(report.staged / name, dark), encoding="utf-8")
                page.goto(file.as_uri())
                assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
                contrasts = page.evaluate(CONTRASTS)
                n_code += len(contrasts)
                assert all(c >= 4.5 for c in contrasts), (name, dark, min(contrasts))
        browser.close()
    assert n_code > 100


def test_each_defect_is_counted(check_site_script, tmp_path):
    "A page with the defects of the first site: every check sees its own."
    nb = new_notebook(
        cells=[
            new_markdown_cell("# One\n\nTwo.\nThree."),
            new_code_cell("t", outputs=[new_output("execute_result", {"text/html": "<b>1</b>"})]),
        ]
    )
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "a.ipynb").write_text(json.dumps(nb))
    (tmp_path / "reference").mkdir()
    rows = "| `x` | `int \\| str` |  |  |\n\n**Returns** `int`\n\n"
    rows += "at 0x7fec00aa PosixPath('/somewhere/of/mine/a')\n"
    (tmp_path / "reference" / "core.x.qmd").write_text(rows)
    (tmp_path / "reference.qmd").write_text("[`a`](reference/core.x.qmd#a), [`b`](reference/core.x.qmd#b)\n")
    (tmp_path / "commands.qmd").write_text("")
    website = {"navbar": {"left": [{"text": "Home", "href": "reference.qmd"}]}, "bread-crumbs": True}
    website["sidebar"] = [{"id": "all", "contents": ["reference.qmd", "reference.qmd", "commands.qmd"]}]
    (tmp_path / "_quarto.yml").write_text(yaml.safe_dump({"website": website}))
    counts = check_site_script.site_counts(tmp_path)
    zero = {name for name, n in counts.items() if not n}
    assert zero <= {"figures_without_text"}, zero


def test_lines_survive(results, tmp_path, check_site_script):
    "A run's notebooks, as papermill and as the site write them, keep their line breaks where Quarto reads."
    stage_targets(docs.find_notebooks(results), tmp_path)
    for path in [*docs.find_notebooks(results), *(tmp_path / "targets").glob("*.ipynb")]:
        assert check_site_script.joined_cells(path) == 0, path
    cells = json.loads((tmp_path / "targets" / "sim_01.ipynb").read_text(encoding="utf-8"))["cells"]
    assert check_site_script.open_code(cells) == 0


@pytest.mark.slow
def test_staging_again_makes_nothing_again(results, report, monkeypatch):
    "The pages of the last call are used where nothing has changed, and the site is the same."
    before = {p: p.read_bytes() for p in report.staged.rglob("*") if p.is_file()}
    monkeypatch.setattr(docs, "reference_pages", lambda *a: pytest.fail("the reference was made again"))
    begin = time.monotonic()
    again = docs.build_docs(results, report.staged.parent, render=False, execute=False)
    assert time.monotonic() - begin < 60
    assert {p: p.read_bytes() for p in again.staged.rglob("*") if p.is_file()} == before


def test_without_the_source_tree_the_run_is_shown_alone(results, tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "source_root", lambda: None)
    report = docs.build_docs(results, tmp_path / "site", render=False)
    assert report.broken == () and report.counts["figures"] == 3
    pages = {p.relative_to(report.staged).as_posix() for p in report.staged.rglob("*") if p.suffix in PAGES}
    assert pages == {
        "index.qmd",
        "targets.qmd",
        "targets/sim_01.ipynb",
        "targets/sdss_spectra.ipynb",
        "targets/summary.ipynb",
    }
    assert "](../" not in (report.staged / "targets/sim_01.ipynb").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="clone the repository"):
        docs.build_docs(None, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_look_of_the_site():
    "Light and dark, search, formulas that need no network, and citations: plain settings of Quarto."
    config = yaml.safe_load((ROOT / "_quarto.yml").read_text(encoding="utf-8"))
    html = config["format"]["html"]
    assert (
        set(html["theme"]) == {"light", "dark"}
        and html["html-math-method"] == "mathml"
        and config["website"]["search"]
    )
    assert (ROOT / "nbs" / config["bibliography"]).is_file() and "refs" in (
        ROOT / "nbs/method.qmd"
    ).read_text(encoding="utf-8")


@pytest.mark.slow
def test_gallery_has_a_card_with_a_picture_for_each_target(report):
    text = (report.staged / "targets.qmd").read_text(encoding="utf-8")
    for name in ("sim_01", "sdss_spectra", "summary"):
        assert f"](targets/{name}.ipynb)" in text and f"targets/thumbs/{name}.png" in text
        assert (report.staged / f"targets/thumbs/{name}.png").read_bytes()[1:4] == b"PNG"
    assert all("fig-alt=" in line for line in text.splitlines() if "![](" in line)


@pytest.mark.slow
def test_reference_has_every_public_name_with_its_shapes(report):
    index = (report.staged / "reference.qmd").read_text(encoding="utf-8")
    for module, name, words in [
        ("distances.tables", "distance", ""),
        ("core.sample", "Sample", "(n_gal, n_wave)"),
        ("synthesis.simulations", "simulate", ""),
        ("figures.galaxies", "plot_methods", "(n_gal,)"),
    ]:
        page = (report.staged / f"reference/{module}.qmd").read_text(encoding="utf-8")
        assert (
            f"### {name} {{#{name}}}" in page and words in page and f"reference/{module}.qmd#{name})" in index
        )


@pytest.mark.slow
def test_figures_have_a_text(report):
    pages = sorted((report.staged / "figures").glob("*.ipynb"))
    cells = [cell for page in pages for cell in nbformat.read(page, as_version=4).cells]
    texts = [o["data"].get("text/markdown", "") for c in cells for o in c.get("outputs", []) if "data" in o]
    drawn = [
        re.match(r"!\[\]\(([^)]+)\)\{fig-alt=\"([^\"]+)\" width=(\d+)\}$", t)
        for t in texts
        if "_figures/" in t
    ]
    assert len(drawn) > 5 and all(drawn) and drawn[0][2].endswith(".")
    assert all((report.staged / "figures" / match[1]).is_file() for match in drawn)


@pytest.mark.slow
def test_missing_text_is_counted_and_reported(report, tmp_path):
    page = tmp_path / "page.ipynb"
    executed(page, "One", "simulation")
    (tmp_path / "words.md").write_text('![](a.png) <img src="b.png"> ![c](c.png)\n', encoding="utf-8")
    assert count_site(tmp_path) == {"pages": 2, "links": 4, "images": 3, "figures": 1, "without_text": 3}


def test_serving_needs_a_site(tmp_path, monkeypatch):
    monkeypatch.setattr(docs.shutil, "which", lambda name: None)
    with pytest.raises(InputError, match="quarto.org"):
        docs.serve_site(tmp_path)


def test_a_rendered_site_is_served_to_this_machine_only(tmp_path, monkeypatch):
    import http.server
    import threading
    import urllib.request

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("<p>hello</p>")
    monkeypatch.setattr(docs.shutil, "which", lambda name: None)
    servers, start = [], http.server.ThreadingHTTPServer.__init__
    monkeypatch.setattr(
        http.server.ThreadingHTTPServer,
        "__init__",
        lambda self, *a: (start(self, *a), servers.append(self))[0],
    )
    thread = threading.Thread(target=docs.serve_site, args=(tmp_path, 0), daemon=True)
    thread.start()
    for _ in range(100):
        if servers:
            break
        thread.join(0.05)
    host, port = servers[0].server_address
    assert (
        host == "127.0.0.1"
        and urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10).read() == b"<p>hello</p>"
    )
    servers[0].shutdown()
    thread.join(5)
    servers[0].server_close()


@pytest.mark.slow
def test_render_patterns_match_every_page(report):
    config = yaml.safe_load((report.staged / "_quarto.yml").read_text(encoding="utf-8"))
    matched = {p for pattern in config["project"]["render"] for p in report.staged.glob(pattern)}
    assert matched == {p for p in report.staged.rglob("*") if p.suffix in PAGES}
    assert config["execute"] == {"enabled": False}


@pytest.mark.slow
def test_executed_notebook_becomes_a_page(report):
    nb = nbformat.read(report.staged / "targets" / "sim_01.ipynb", as_version=4)
    nbformat.validate(nb)
    front = yaml.safe_load(nb.cells[0].source.strip("-\n"))
    assert nb.cells[0].cell_type == "raw"
    assert front == {
        "title": "sim 01",
        "subtitle": "The simulation: one",
        "description": 'In one sentence: "quoted".',
    }
    text = json.dumps(nb)
    assert "/somewhere" not in text and "papermill" not in text and "secret" not in text
    assert "sim_01_figures/01.png" in text


@pytest.mark.slow
def test_notebooks_show_documentation_instead_of_code(report):
    nb = nbformat.read(report.staged / "core/10_sample.ipynb", as_version=4)
    text = json.dumps(nb)
    assert "__main__." not in text and "#| export" not in text
    assert "### load_sample" in text and "[`Sample`](../core/sample.html#sample)" in text


@pytest.mark.slow
def test_staged_notebooks_are_valid(report):
    for path in report.staged.rglob("*.ipynb"):
        nbformat.validate(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.slow
def test_broken_things_are_named(results, report, tmp_path):
    staged = tmp_path / "staged"
    shutil.copytree(report.staged, staged)
    for path, words in [
        (staged / "method.qmd", "\n[a](gone.html) ![b](figures/gone.png) [c](core/units.html#gone)\n"),
        (staged / "changelog.md", '\n<img src="no.svg">\n'),
    ]:
        path.write_text(path.read_text(encoding="utf-8") + words, encoding="utf-8")
    (staged / "core/10_sample.ipynb").unlink()
    broken = check_site(staged)
    for word in (
        "gone.html",
        "figures/gone.png",
        "no.svg",
        "core/10_sample.ipynb leads nowhere",
        "core/sample.html#sample leads nowhere",
        "core/units.html#gone names a heading that is not there",
    ):
        assert any(word in b for b in broken), word


def test_failed_cells_are_reported(tmp_path):
    error = new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])
    executed(
        tmp_path / "notebooks" / "bad.ipynb", "Bad", "simulation", new_code_cell("1 / 0", outputs=[error])
    )
    assert stage_targets(docs.find_notebooks(tmp_path), tmp_path)[1] == [
        "bad.ipynb: a cell ended in ZeroDivisionError"
    ]


def test_results_without_notebooks_are_refused(tmp_path):
    with pytest.raises(InputError, match="gencast run"):
        docs.build_docs(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_without_quarto_the_way_on_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(docs.shutil, "which", lambda name: None)
    rendered, message = docs.render_site(tmp_path)
    assert not rendered
    assert "https://quarto.org" in message and f"quarto render {tmp_path}" in message


@pytest.mark.slow
@pytest.mark.skipif(
    not shutil.which("quarto"),
    reason="Quarto is not installed: the site was staged and checked, not rendered",
)
def test_quarto_renders_the_site(results, tmp_path):
    report = docs.build_docs(results, tmp_path, render=True, execute=False)
    assert report.rendered, report.message
    for page in (
        "index.html",
        "core/sample.html",
        "core/index.html",
        "method.html",
        "changelog.html",
        "targets/summary.html",
        "targets/sim_01.html",
    ):
        assert (tmp_path / "site" / page).is_file(), page
