"""Write `gencast/<wing>/__init__.py` and `__init__.pyi`: the public names of a wing, loaded when first used.

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


def face(wing: str) -> dict:  # file name -> text
    "A wing's `__init__.py`, which loads lazily, and its `__init__.pyi`, which says what."
    code = f'''"""{wing_sentence(wing)}"""

# Written by scripts/build_faces.py.
import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
'''
    stub = [
        "# Written by scripts/build_faces.py: the public names of this wing, loaded when they are first used."
    ]
    for module, names in wing_names(wing).items():
        stub += [f"from .{module} import {name} as {name}" for name in names]
    return {"__init__.py": code, "__init__.pyi": "\n".join(stub) + "\n"}


def main(check: bool) -> int:
    "Write the faces, or say which are not in sync."
    stale = []
    for wing in WINGS:
        for name, text in face(wing).items():
            path = ROOT / "gencast" / wing / name
            if path.is_file() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(path.relative_to(ROOT).as_posix())
            if not check:
                path.write_text(text, encoding="utf-8")
    if check and stale:
        print(f"not in sync: {', '.join(stale)}; run python scripts/build_faces.py", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
