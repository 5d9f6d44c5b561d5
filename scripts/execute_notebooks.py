"""Run the notebooks in nbs/ and store their outputs, small, so that they can be read without running them.

    python scripts/execute_notebooks.py             # all
    python scripts/execute_notebooks.py 10_data.ssp # some

Figures are stored with a palette of 64 colours, which shrinks them to a third; metadata is cleaned by nbdev.
"""

import base64
import io
import os
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

os.environ.pop("MPLBACKEND", None)  # else kernels would draw no figures into the notebooks
NBS = Path(__file__).resolve().parent.parent / "nbs"


def shrink(nb) -> None:
    "Store every PNG of a notebook with a palette."
    for cell in nb.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                small = io.BytesIO()
                image = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).convert("RGB")
                image.quantize(64).save(small, "PNG", optimize=True)
                data["image/png"] = base64.b64encode(small.getvalue()).decode()


def main(names: list) -> None:
    "Execute notebooks by name, or all of them."
    for path in sorted(NBS.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        nb = nbformat.read(path, 4)
        NotebookClient(
            nb, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(NBS)}}
        ).execute()
        shrink(nb)
        nbformat.write(nb, path)
        print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")
    subprocess.run(["nbdev-clean"], check=True, cwd=NBS.parent)


if __name__ == "__main__":
    main(sys.argv[1:])
