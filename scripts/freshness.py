"""A digest of the code that a notebook's outputs come from: its own cells and what they import of gencast.

Formatting, comments and docstrings do not count: the digest is made from the syntax tree, the same with every
version of Python. It is stored in the notebook's metadata (`gencast: {code: ...}`) by
scripts/execute_notebooks.py, and a test compares it with the code of today.
"""

import ast
import functools
import hashlib
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gencast"
SPEECHLESS = ("ctx", "kind", "type_comment", "lineno", "col_offset", "end_lineno", "end_col_offset")
CARRIED = (".csv", ".ecsv", ".fits", ".mplstyle", ".yaml")  # files beside a module that change what it does


def without_docstring(body: list) -> list:
    "Statements, but for a text that is the first of them."
    first = body[0] if body else None
    if (
        isinstance(first, ast.Expr)
        and isinstance(first.value, ast.Constant)
        and isinstance(first.value.value, str)
    ):
        return body[1:]
    return body


def shape(node) -> object:
    "A syntax tree as nested tuples: what is said, not how it is written."
    if isinstance(node, list):
        return tuple(shape(n) for n in node)
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = []
    for name, value in ast.iter_fields(node):
        if name == "body" and isinstance(
            node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        ):
            value = without_docstring(value)
        if name not in SPEECHLESS and value is not None and value != []:
            fields.append((name, shape(value)))
    return (type(node).__name__, *fields)


def parse(text: str) -> ast.Module | None:
    "The tree of a cell or a module without the lines that are for IPython; None where it is no Python."
    try:
        return ast.parse(re.sub(r"(?m)^([ \t]*)[%!].*$", r"\1pass", text))
    except SyntaxError:
        return None


@functools.cache
def exported_names(package: str) -> dict:
    "Name -> module, as the face of a package (its `__init__.pyi`) has it."
    stub = module_path(package).with_suffix(".pyi")
    if not stub.is_file():
        return {}
    found = {}
    for node in ast.parse(stub.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            home = f"{package}.{node.module}"
            for alias in node.names:
                found[alias.name] = resolve(home, alias.name)[0] if is_package(home) else home
    return found


@functools.cache
def module_path(name: str) -> Path | None:
    "The file of a module of gencast."
    place = ROOT.joinpath(*name.split("."))
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def resolve(package: str, name: str) -> list:
    "Modules behind `from package import name`."
    if module_path(f"{package}.{name}"):
        return [f"{package}.{name}"]
    if name in exported_names(package):
        return [exported_names(package)[name]]
    return [package]


def is_package(name: str) -> bool:
    path = module_path(name)
    return path is not None and path.name == "__init__.py"


def imported(tree: ast.AST, inside: str = "") -> set:
    """Modules of gencast that a tree imports, wherever in it; `inside`: the package that relative imports
    mean.
    """
    found, aliases = set(), {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = inside.split(".")[: len(inside.split(".")) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            if base.split(".")[0] != "gencast":
                continue
            for alias in node.names:
                found |= set(resolve(base, alias.name)) if is_package(base) else {base}
                if is_package(f"{base}.{alias.name}"):
                    aliases[alias.asname or alias.name] = f"{base}.{alias.name}"
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "gencast":
                    found.add(alias.name)
                    aliases[alias.asname or "gencast"] = alias.name if alias.asname else "gencast"
    return found | used(tree, aliases)


def used(tree: ast.AST, aliases: dict) -> set:
    "Modules reached through a package: `gc.mmd`, `gc.distances.mmd`."
    found = set()
    for node in ast.walk(tree):
        names, inner = [], node
        while isinstance(inner, ast.Attribute):
            names.insert(0, inner.attr)
            inner = inner.value
        if not (names and isinstance(inner, ast.Name) and inner.id in aliases):
            continue
        package = aliases[inner.id]
        for name in names:
            if not is_package(package):
                break
            package = resolve(package, name)[0]
        found.add(package)
    return found


@functools.cache
def module_facts(name: str) -> tuple[str, frozenset]:
    "The digest of a module with the files it carries, and what it imports."
    path = module_path(name)
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    said = hashlib.sha256(repr(shape(tree)).encode())
    inside = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for file in sorted(p for p in path.parent.rglob("*") if p.suffix in CARRIED):
        folder = "" if file.parent == path.parent else file.parent.name
        if path.name != "__init__.py" and any(f'"{word}' in text for word in (file.name, folder) if word):
            said.update(file.read_bytes())
    return said.hexdigest(), frozenset(imported(tree, inside))


def closure(names: set) -> list:
    "Modules, and all that these import in turn; packages stand for nothing but their faces' names."
    seen, waiting = set(), set(names)
    while waiting:
        name = waiting.pop()
        if name in seen or module_path(name) is None:
            continue
        seen.add(name)
        if not is_package(name):
            waiting |= module_facts(name)[1] - seen
    return sorted(n for n in seen if not is_package(n))


def code_digest(nb, folder: Path) -> str:
    "The digest of a notebook's code, given the notebook as nbformat reads it and the folder it stands in."
    said, modules = hashlib.sha256(), set()
    for cell in nb.cells:
        if cell.cell_type != "code" or "nbdev_export()" in cell.source:
            continue
        tree = parse(cell.source)
        said.update(repr(shape(tree) if tree else cell.source).encode())
        modules |= imported(tree) if tree else set()
        for beside in local_modules(tree, folder):
            inner = ast.parse(beside.read_text(encoding="utf-8"))
            said.update(repr(shape(inner)).encode())
            modules |= imported(inner)
    for name in closure(modules):
        said.update(f"{name} {module_facts(name)[0]}".encode())
    return said.hexdigest()[:16]


def local_modules(tree: ast.AST | None, folder: Path) -> list:
    "Files beside the notebook that it imports, as studies do."
    names = set()
    for node in ast.walk(tree) if tree else ():
        if isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return sorted(folder / f"{n}.py" for n in names if (folder / f"{n}.py").is_file())


def has_outputs(nb) -> bool:
    "Whether anything is stored under a cell."
    return any(cell.get("outputs") for cell in nb.cells)


def why_stale(nb, folder: Path) -> str:
    "What is wrong with a notebook's stored outputs; empty where they are those of the code of today."
    stored = nb.metadata.get("gencast", {}).get("code")
    if not has_outputs(nb) and stored is None:
        return ""
    if stored is None:
        return "its outputs do not say from which code they come"
    return "" if stored == code_digest(nb, folder) else "its code, or code it imports, has changed"
