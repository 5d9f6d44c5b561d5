"""A real JupyterLab in a real Chromium: the simulation template opens, runs from top to bottom, and again
with another parameter; the front page and a how-to run as from a fresh clone."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from gencast.report.examples import toy_law_results

playwright = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'"
)
ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHROMIUM, reason="no Chromium on PATH: apt-get install chromium, or set CHROMIUM to its path"
    ),
]
TEMPLATE = "nbs/targets/simulation.ipynb"
FRESH = ("nbs/index.ipynb", "nbs/learn/paper_figure.ipynb")  # the second reads the run of the first
PAIRS = "nbs/learn/paper_figure_pairs.csv"  # what the page of the figure reads
WAIT = 300_000  # milliseconds; a slow machine starts a kernel slowly
# a kernel restarted while JupyterLab still connects to it for the first time is never heard of again
# (jupyter_server 2.21)
SETTLE = 8_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "JupyterLab on this machine only, in a folder of its own with the template and made-up results."
    folder = tmp_path_factory.mktemp("lab")
    toy_law_results(folder / "results" / "default", n_sim=6)
    (folder / "nbs" / "targets").mkdir(parents=True)
    (folder / "nbs" / "learn").mkdir()
    for name in (TEMPLATE, *FRESH, PAIRS):
        shutil.copy(ROOT / name, folder / name)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = {
        name: str(folder / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_RUNTIME_DIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
            "IPYTHONDIR",
        )
    }
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--IdentityProvider.token=",
        "--ServerApp.password=",
        f"--ServerApp.root_dir={folder}",
    ]
    env = {k: v for k, v in os.environ.items() if k != "MPLBACKEND"} | home
    with open(folder / "lab.log", "wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=env)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=5)
                break
            except OSError:
                assert server.poll() is None, (folder / "lab.log").read_text()[-2000:]
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}", folder
    finally:
        server.terminate()
        server.wait(30)


@pytest.fixture
def page(lab, request):
    "A page that shows a notebook, the template unless a test says otherwise, its kernel ready."
    name = getattr(request, "param", TEMPLATE)
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(WAIT)
        page.goto(f"{lab[0]}/lab/tree/{name}?reset")
        page.wait_for_selector(".jp-Notebook .jp-CodeCell")
        page.wait_for_selector(".jp-Notebook-ExecutionIndicator[data-status='idle']", state="attached")
        page.wait_for_timeout(SETTLE)
        yield page
        browser.close()


def saved(lab, name: str = TEMPLATE) -> dict:
    return json.loads((lab[1] / name).read_text(encoding="utf-8"))


def run_all(page, lab, name: str = TEMPLATE) -> list:
    "Run all cells from a fresh kernel, save, and give the outputs of the code cells."
    page.click(".jp-Notebook")
    page.click("li.lm-MenuBar-item:has-text('Kernel')")
    page.click(".lm-Menu-itemLabel:has-text('Restart Kernel and Run All Cells')")
    page.click(".jp-Dialog button:has-text('Restart')")
    deadline, code, running = time.time() + WAIT / 1000, [], False
    while time.time() < deadline:  # what the file says is what a user would keep
        page.keyboard.press("Control+s")
        page.wait_for_timeout(1000)
        code = [c for c in saved(lab, name)["cells"] if c["cell_type"] == "code"]
        counts = [c["execution_count"] for c in code]
        running |= None in counts  # cells that wait have no number
        if (
            running
            and counts == list(range(1, len(code) + 1))
            or any(o["output_type"] == "error" for c in code for o in c["outputs"])
        ):
            break
    page.wait_for_timeout(500)
    return [o for c in code for o in c["outputs"]]


def shown(outputs: list, kind: str) -> list:
    return [o["data"][kind] for o in outputs if kind in o.get("data", {})]


def test_template_runs_and_runs_again_with_another_parameter(page, lab):
    outputs = run_all(page, lab)
    assert not [o for o in outputs if o["output_type"] == "error"], outputs
    first = shown(outputs, "image/png")
    assert len(first) >= 5
    page.wait_for_selector(".jp-OutputArea-output img[src^='data:image/png']", state="attached")
    name = "bpass-calzetti-lognormal"
    cell = page.locator(".jp-CodeCell", has_text="results: str").first
    cell.scroll_into_view_if_needed()
    line = cell.locator(".cm-line", has_text="target: str")
    line.click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type(f'target: str = "{name}"  # another one')
    outputs = run_all(page, lab)
    assert f'target: str = "{name}"' in "".join(
        next(c["source"] for c in saved(lab)["cells"] if c["cell_type"] == "code")
    )
    assert not [o for o in outputs if o["output_type"] == "error"], outputs
    assert any(name in "".join(text) for text in shown(outputs, "text/markdown"))
    again = shown(outputs, "image/png")
    assert len(again) == len(first) and again != first
    assert page.locator(".jp-OutputArea-output img[src^='data:image/png']").count() >= 1
    assert (
        page.locator(
            ".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr'], .jp-OutputArea-output "
            ".ansi-red-fg"
        ).count()
        == 0
    )


@pytest.mark.parametrize("page", FRESH, indirect=True, ids=lambda name: Path(name).stem)
def test_front_page_and_how_to_run_as_from_a_fresh_clone(page, lab, request):
    name = request.node.callspec.params["page"]
    outputs = run_all(page, lab, name)
    assert not [o for o in outputs if o["output_type"] == "error"], outputs
    assert shown(outputs, "image/png"), "no figure is drawn"
    page.wait_for_selector(".jp-OutputArea-output img[src^='data:image/png']", state="attached")
