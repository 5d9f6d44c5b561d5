"""Write nbs/howto/dependencies.qmd: what gencast depends on, and under which licence, as packages state it.

    python scripts/build_dependencies.py          # write, from the packages of this environment
    python scripts/build_dependencies.py --check  # exit code 1 where the page and settings.ini differ

Install all extras first. A package that is not installed keeps its row; one that never was is refused.
"""

import configparser
import re
import sys
from importlib.metadata import PackageNotFoundError, distributions, metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "nbs" / "howto" / "dependencies.qmd"
EXTRAS = {
    "": "Always",
    "parquet": "Parquet tables",
    "cnn": "Neural networks",
    "fetch": "Archives",
    "sfd": "Galactic dust maps",
    "dask": "A cluster",
    "ot": "Optimal transport, to compare with",
    "sed": "BAGPIPES, to compare with",
    "dev": "Tests and documentation",
    "checks": "Further tests",
}  # name of an extra -> heading of its table
HEAD = """---
title: Dependencies
description: Every package that gencast depends on, its licence, and the oldest version that will do.
---

<!-- written by scripts/build_dependencies.py; do not edit -->

gencast is under the BSD 3-Clause licence and contains none of these packages: `pip` installs them beside \
it. Licences are quoted from the metadata of the version that was installed when this page was made; what \
a package says in its own files counts.

Stellar libraries, filter curves and spectra have licences of their own: see [Data and \
licences](../learn/running.qmd#data-and-licences) and `gencast list ssp`.
"""
NOTE = """
## Not for every use

The metadata of {names} state no licence, or one that is proprietary or for non-commercial use. Read what \
comes with these packages before you use gencast commercially.
"""
OTHERS = """
## What these need in turn

{n} more packages come with those of the first table. Their licences, as stated:

{table}
"""
ODD = re.compile("proprietary|non-?commercial|not stated", flags=re.I)


def read_requirements() -> dict:  # extra -> {package: lowest version}
    "What settings.ini asks for."
    settings = configparser.ConfigParser()
    settings.read(ROOT / "settings.ini", encoding="utf-8")
    found = {}
    for key, value in settings["DEFAULT"].items():
        if key == "requirements" or key.endswith("_requirements"):
            pairs = (word.split(">=") for word in value.split())
            found[key.removesuffix("requirements").strip("_")] = {name: low for name, low in pairs}
    return found


def licence_of(about) -> str:  # `about`: metadata of a package
    "Its licence in a few words, from the expression, the line `License`, or the classifiers."
    classes = [c.split(" :: ")[-1] for c in about.get_all("Classifier") or [] if c.startswith("License ::")]
    line = (about.get("License") or "").strip().split("\n")[0]
    if re.match("copyright|license agreement|unknown|[^a-z]*$", line, flags=re.I):
        line = ""
    words = [about.get("License-Expression") or line, *classes]
    kept = [w for k, w in enumerate(words) if w and w not in words[:k]]
    plain = [w for w in kept[1:] if ODD.search(w)] if kept else []
    return "; ".join(kept[:1] + plain).replace("|", "/") or "not stated"


def home_of(about) -> str:  # address; empty where none is stated
    "Where the package lives."
    links = dict(link.split(", ", 1) for link in about.get_all("Project-URL") or [])
    known = {name.lower(): address for name, address in links.items()}
    names = ("homepage", "home", "repository", "source", "source code", "github", "source-code")
    home = about.get("Home-page") or next((known[n] for n in names if n in known), "")
    return "" if "/project/" in home else home  # a registry's own page says no more


def read_page() -> dict:  # (heading, package) -> (lowest version, line)
    "The rows of the page as it is."
    rows, heading = {}, ""
    for line in PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else ():
        heading = line.removeprefix("## ") if line.startswith("## ") else heading
        if found := re.match(r"\| \[?([\w.-]+)(?:\]\([^)]*\))? \| (\S+) \| \S+ \| .+ \|$", line):
            rows[heading, found[1]] = (found[2], line)
    return rows


def row_of(heading: str, name: str, low: str, before: dict) -> str:
    "The line of one package."
    try:
        about = metadata(name)
    except PackageNotFoundError:
        if (heading, name) not in before:
            raise SystemExit(f"{name} is not installed; install all extras and try again") from None
        return re.sub(r"\| \S+ \|", f"| {low} |", before[heading, name][1], count=1)
    home = home_of(about)
    shown = f"[{name}]({home})" if home else name
    return f"| {shown} | {low} | {about['Version']} | {licence_of(about)} |"


def needed_by(names) -> list:  # of metadata, sorted by name
    "What packages need, directly or not, without extras; as far as it is installed."
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    known = {canonicalize_name(d.metadata["Name"]): d for d in distributions()}
    todo, seen = [canonicalize_name(n) for n in names], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in known:
            continue
        seen.add(name)
        wanted = map(Requirement, known[name].requires or [])
        todo += [
            canonicalize_name(r.name) for r in wanted if not r.marker or r.marker.evaluate({"extra": ""})
        ]
    first = {canonicalize_name(n) for n in names}
    return [known[name].metadata for name in sorted(seen - first)]


def other_lines(names) -> str:
    "The packages that others need, by licence."
    by_licence = {}
    for about in needed_by(names):
        by_licence.setdefault(licence_of(about), []).append(about["Name"])
    lines = [f"| {licence} | {', '.join(found)} |" for licence, found in sorted(by_licence.items())]
    return "\n".join(["| licence | packages |", "|---|---|", *lines])


def make_page() -> str:
    "The page."
    wanted, before, text, odd = read_requirements(), read_page(), HEAD, []
    for extra, heading in EXTRAS.items():
        rows = [row_of(heading, name, low, before) for name, low in wanted[extra].items()]
        text += f"\n## {heading}\n\n" + (f"`pip install 'gencast[{extra}]'`\n\n" if extra else "")
        text += "| package | oldest version | version seen | licence |\n|---|---|---|---|\n"
        text += "\n".join(rows) + "\n"
        odd += [re.match(r"\| \[?([\w.-]+)", row)[1] for row in rows if ODD.search(row)]
    odd = list(dict.fromkeys(odd))
    others = other_lines(wanted[""])
    text += OTHERS.format(n=others.count(", ") + others.count("\n") - 1, table=others)
    return text + NOTE.format(names=" and ".join([", ".join(odd[:-1]), odd[-1]]))


def differences() -> list:  # sentences
    "Where the page and settings.ini differ."
    page = {key: low for key, (low, _) in read_page().items()}
    wanted = {(EXTRAS[e], n): low for e, found in read_requirements().items() for n, low in found.items()}
    wrong = [f"{name} ({where}) is missing" for where, name in wanted if (where, name) not in page]
    wrong += [f"{name} ({where}) is no dependency" for where, name in page if (where, name) not in wanted]
    both = [key for key in wanted if key in page and page[key] != wanted[key]]
    return wrong + [f"{n} ({w}): {page[w, n]} here, {wanted[w, n]} in settings.ini" for w, n in both]


def main(arguments: list) -> int:  # exit code
    "Write the page, or compare it."
    if arguments == ["--check"]:
        if wrong := differences():
            print("\n".join(["nbs/howto/dependencies.qmd:", *wrong]), file=sys.stderr)
        return int(bool(wrong))
    PAGE.write_text(make_page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
