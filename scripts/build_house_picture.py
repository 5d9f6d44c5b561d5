"""Draw the wings of gencast and who imports whom: nbs/images/house.png, shown in CONTRIBUTING.md.

python scripts/build_house_picture.py

Floors are read from .importlinter, modules and imports from the code itself (with grimp, which import-linter
brings along). An arrow leaves out what follows from others: where `report` imports `regression`, and
`regression` imports `core`, no line goes from `report` to `core`.
"""

import configparser
from pathlib import Path

import grimp
import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parent.parent
WIDTH, HEIGHT = 2.3, 0.5  # of a box
COLORS = {"regression": "#D55E00", "data": "#0072B2", "features": "#0072B2", "distances": "#0072B2"}
SHIFTS = {
    "cli": 0.6,
    "site": -1.9,
    "pipeline": 0.9,
    "figures": 2.6,
    "sed": -2.6,
    "report": 1.3,
    "regression": 0.6,
    "features": -2.0,
    "distances": 0.5,
    "models": 3.0,
    "data": -0.9,
    "synthesis": 0.9,
    "core": 0.3,
}
SENTENCES = {
    "cli": "the commands of gencast",
    "site": "the website",
    "pipeline": "the main job on disk",
    "figures": "every plot",
    "sed": "the yardstick: SED fitting",
    "report": "results as tables and sentences",
    "regression": "the error law; arrays alone",
    "models": "what learns from a simulation",
    "distances": "how far sets lie apart",
    "features": "what is measured, clustered",
    "data": "tables, spectra, surveys",
    "synthesis": "how a simulation shines",
    "core": "samples, files, checks, workers",
}


def read_floors() -> list:  # lists of wings, the highest floor first
    "The floors as .importlinter has them."
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter", encoding="utf-8")
    layers = config["importlinter:contract:wings"]["layers"].split("\n")
    return [[w.strip() for w in line.split("|")] for line in layers if line.strip()]


def wing_imports(wings: list) -> tuple[dict, set]:
    "Modules of each wing, and which wing imports from which."
    graph = grimp.build_graph("gencast", exclude_type_checking_imports=True)
    modules = {w: len(graph.find_descendants(f"gencast.{w}")) for w in wings}
    arrows = set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer):
            a, b = (m.split(".")[1] if "." in m else "" for m in (importer, imported))
            if a in modules and b in modules and a != b:
                arrows.add((a, b))
    return modules, arrows


def without_shortcuts(arrows: set) -> set:
    "Arrows that do not follow from a chain of others."

    def reaches(a, b, skip):
        steps = {y for x, y in arrows if x == a and (x, y) != skip}
        return b in steps or any(reaches(s, b, skip) for s in steps)

    return {(a, b) for a, b in arrows if not reaches(a, b, (a, b))}


def place_wings(floors: list) -> dict:  # wing -> x, y of its centre
    "Each wing on its floor, the ground at the bottom, shifted so that arrows pass beside the boxes."
    return {w: (SHIFTS[w], 0.95 * level) for level, wings in enumerate(reversed(floors)) for w in wings}


def draw(floors: list, modules: dict, arrows: set):
    "The picture."
    places = place_wings(floors)
    fig, ax = plt.subplots(figsize=(8.2, 9.2))
    for a, b in sorted(arrows):
        (x0, y0), (x1, y1) = places[a], places[b]
        lean = max(-0.4, min(0.4, (x1 - x0) / 5)) * WIDTH
        style = {"arrowstyle": "-|>", "color": "#777777", "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
        ax.annotate(
            "", (x1 - lean, y1 + HEIGHT / 2), (x0 + lean, y0 - HEIGHT / 2), arrowprops=style, zorder=1
        )
    for wing, (x, y) in places.items():
        color = COLORS.get(wing, "#444444")
        box = plt.Rectangle(
            (x - WIDTH / 2, y - HEIGHT / 2), WIDTH, HEIGHT, fc="white", ec=color, lw=1.6, zorder=2
        )
        ax.add_patch(box)
        ax.text(
            x,
            y + 0.07,
            f"{wing} ({modules[wing]})",
            ha="center",
            va="center",
            weight="bold",
            color=color,
            zorder=3,
        )
        ax.text(x, y - 0.12, SENTENCES[wing], ha="center", va="center", fontsize=7, color="#333333", zorder=3)
    ax.set(xlim=(-3.9, 4.3), ylim=(-0.4, 0.95 * len(floors) - 0.5), aspect="equal")
    ax.axis("off")
    return fig


def main() -> None:
    "Draw and save."
    floors = read_floors()
    modules, arrows = wing_imports([w for floor in floors for w in floor])
    fig = draw(floors, modules, without_shortcuts(arrows))
    fig.savefig(
        ROOT / "nbs" / "images" / "house.png", dpi=150, bbox_inches="tight", metadata={"Software": None}
    )


if __name__ == "__main__":
    main()
