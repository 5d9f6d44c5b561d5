"""Write `gencast/<wing>/__init__.py`: every public name of a wing's modules, loaded when it is first used.

python scripts/build_faces.py          # write
python scripts/build_faces.py --check  # exit code 1 where a file is not what it should be

A name is public when it stands in its module's `__all__`, that is, in a cell that begins with `#| export`;
`#| exporti` keeps a helper to itself. The wings' one-line descriptions are the subtitles of their index
notebooks.
"""

import ast
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WINGS = sorted(
    {p.name for p in (ROOT / "gencast").iterdir() if (p / "__init__.py").is_file()}
    - {"cli"}  # commands, no functions to import
)


def public_names(module: Path) -> list:
    "What stands in a module's `__all__`."
    for node in ast.parse(module.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return sorted(ast.literal_eval(node.value))
    return []


def wing_names(wing: str) -> dict:  # module -> its public names
    "The public names of a wing. Raises `SystemExit` where one has two homes or is called like a module."
    found, home = {}, {}
    for path in sorted((ROOT / "gencast" / wing).glob("*.py")):
        if path.name == "__init__.py":
            continue
        found[path.stem] = public_names(path)
        for name in found[path.stem]:
            if name in home:
                raise SystemExit(f"{name} is defined in {wing}.{home[name]} and in {wing}.{path.stem}")
            home[name] = path.stem
    if clash := sorted(set(home) & set(found)):
        raise SystemExit(f"in {wing} these are both a module and a function: {', '.join(clash)}")
    return found


def wing_sentence(wing: str) -> str:
    "The subtitle of the wing's index notebook."
    cells = json.loads((ROOT / "nbs" / wing / "00_index.ipynb").read_text(encoding="utf-8"))["cells"]
    text = next(s for s in ("".join(c["source"]) for c in cells) if s.startswith("# "))
    return re.search(r"(?m)^> (.+)$", text)[1].strip()


def face(wing: str) -> str:
    "The text of a wing's `__init__.py`."
    lines = [
        f'"""{wing_sentence(wing)}"""',
        "",
        "# Written by scripts/build_faces.py.",
        "import lazy_loader",
        "",
    ]
    lines += ["__getattr__, __dir__, __all__ = lazy_loader.attach(", "    __name__,", "    submod_attrs={"]
    for module, names in ((m, n) for m, n in wing_names(wing).items() if n):
        lines += [f'        "{module}": [', *[f'            "{name}",' for name in names], "        ],"]
    return "\n".join([*lines, "    },", ")", ""])


def main(check: bool) -> int:
    "Write the faces, or say which are not in sync."
    stale = []
    for wing in WINGS:
        path, text = ROOT / "gencast" / wing / "__init__.py", face(wing)
        if path.read_text(encoding="utf-8") == text:
            continue
        stale.append(path.relative_to(ROOT).as_posix())
        if not check:
            path.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"not in sync: {', '.join(stale)}; run python scripts/build_faces.py", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
