"""Make nbs/images/front.png, the figure at the top of README.md, from a finished run.

    python scripts/build_front_figure.py results/default

On the left what a line in the distance says of each pair of simulations, target held out; on the right what
gencast's law says.
"""

import io
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")

from PIL import Image

from gencast.figures.laws import plot_laws
from gencast.figures.style import save_figure
from gencast.report.results import load_results

IMAGES = Path(__file__).resolve().parent.parent / "nbs" / "images"


def main(results: str) -> None:
    "Draw, save, and shrink the PNG."
    png = save_figure(plot_laws(load_results(results)), IMAGES / "front", ("png",), dpi=130)[0]
    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(256).save(small, "PNG", optimize=True)
    png.write_bytes(small.getvalue())
    print(f"{png}: {png.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["results/default"])
