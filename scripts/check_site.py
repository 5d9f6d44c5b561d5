"""Count what is wrong with a staged website, defect by defect; all counts should be zero.

    python scripts/check_site.py _docs/staged            # the counts
    python scripts/check_site.py _docs/staged --pandoc   # and whether pandoc reads each page as written

Quarto is not needed. What only a browser can see (widths, contrasts) is in tests/test_docs.py.
"""

import argparse
import json
import re
import sys
from collections import Counter
from pathlib import Path

import yaml

from gencast.site.links import PAGES, check_site, nav_links, plain_text
from gencast.site.navigation import sidebar_of
from gencast.site.outputs import joined_cells
from gencast.site.pages import count_site

ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
MACHINE = re.compile(r"(?:Posix|Windows)Path\(|[\"'`( ]/(?:home|root|work|tmp|usr/lib)/\w")
ROW = re.compile(r"^\| `(\w+)` \|(.*)\|(.*)\|(.*)\|$", flags=re.M)


def notebooks(staged: Path) -> dict:  # path -> cells
    "The cells of every staged notebook."
    return {p: json.loads(p.read_text(encoding="utf-8"))["cells"] for p in sorted(staged.rglob("*.ipynb"))}


def loads_from_elsewhere(cells: list) -> bool:
    "Whether Quarto would load scripts from another server for this notebook, or it loads some itself."
    kinds = [k for c in cells for o in c.get("outputs", []) for k in o.get("data", {})]
    text = "".join(plain_text(c["source"]) for c in cells if c["cell_type"] == "markdown")
    widgets = any(k == "text/html" or "javascript" in k or "widget" in k for k in kinds)
    return widgets or re.search(r"<script[^>]+src=[\"']https?:", text) is not None


def searched_outputs(cells: list) -> int:
    "Cells whose outputs would fill the search index."
    options = [plain_text(c["source"]) for c in cells if c.get("outputs")]
    return sum("quarto-exclude-from-search-index" not in s and "output: asis" not in s for s in options)


def open_code(cells: list) -> int:
    "Code cells of a target's page that are neither folded nor hidden."
    sources = [plain_text(c["source"]) for c in cells if c["cell_type"] == "code"]
    return sum("code-fold: true" not in s and "echo: false" not in s for s in sources)


def reference_counts(staged: Path) -> Counter:
    "What is missing or wrong in the reference and the page of commands."
    found = Counter()
    for page in [
        *sorted((staged / "reference").glob("*.qmd")),
        staged / "reference.qmd",
        staged / "commands.qmd",
    ]:
        text = page.read_text(encoding="utf-8")
        found["addresses"] += len(ADDRESS.findall(text))
        found["machine_paths"] += len(MACHINE.findall(text))
        found["stray_backslashes"] += len(re.findall(r"\\[|<]", text))
        found["arguments"] += len(ROW.findall(text))
        found["arguments_without_words"] += sum(not row[3].strip() for row in ROW.findall(text))
        returns = re.findall(r"^\*\*Returns\*\*(.*)$", text, flags=re.M)
        found["returns"] += len(returns)
        found["returns_without_words"] += sum(not re.sub(r"`[^`]*`|\bor\b", "", r).strip() for r in returns)
    index = (staged / "reference.qmd").read_text(encoding="utf-8")
    found["names_in_a_wall"] = sum(line.count("](reference/") > 1 for line in index.splitlines())
    return found


def current_item(page: str, website: dict) -> str:
    "The item of the navbar that Quarto marks on a page: the first in its sidebar, or the page itself."
    bars = website["sidebar"]
    wing = page.split("/")[0] if page.endswith("/00_index.ipynb") else sidebar_of(page, bars)
    inside = {h for bar in bars if bar["id"] == wing for h in nav_links(bar["contents"])}
    marked = [i["text"] for i in website["navbar"]["left"] if i["href"] in inside | {page}]
    return marked[0] if marked else ""


def navigation_counts(staged: Path) -> Counter:
    "Pages without a marked item of the navbar, or with `Home` marked, and links that appear twice."
    website = yaml.safe_load((staged / "_quarto.yml").read_text(encoding="utf-8"))["website"]
    pages = [p.relative_to(staged).as_posix() for p in sorted(staged.rglob("*")) if p.suffix in PAGES]
    marked = {page: current_item(page, website) for page in pages if not page.startswith("index.")}
    found = Counter(pages_marked_home=sum(m == "Home" for m in marked.values()))
    found["pages_without_mark"] = sum(not m for m in marked.values())
    for bar in website["sidebar"]:
        links = nav_links(bar["contents"])
        found["links_twice_in_a_sidebar"] += len(links) - len(set(links))
    found["breadcrumbs_on"] = int(website.get("bread-crumbs") is not False)
    return found


def page_title(path: Path, text: str) -> str:
    "The title of a page: from its front matter, else its first heading."
    told = re.search(r"(?m)^title: [\"']?(.+?)[\"']?$", text) or re.search(r"(?m)^# (.+)$", text)
    return told[1] if told else path.stem


def found_first(staged: Path, words: str) -> str:  # page; empty: none
    """The page that a search shows first: Quarto weighs a title twice as much as the text, and a short title
    that is all of what was looked for more than a long one.
    """
    best = (0.0, "")
    for path in (p for p in sorted(staged.rglob("*")) if p.suffix in PAGES):
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            cells = json.loads(text)["cells"]
            text = "\n".join(plain_text(c["source"]) for c in cells if c["cell_type"] in ("raw", "markdown"))
        title, looked = page_title(path, text).lower(), words.lower()
        headings = re.findall(r"(?m)^##+ (.+)$", text.lower())
        score = 2 * (looked in title) * (1 + len(looked) / max(len(title), 1))
        score += 1.5 * any(looked in h for h in headings) + (looked in text.lower())
        best = max(best, (score, path.relative_to(staged).as_posix()), key=lambda found: found[0])
    return best[1]


def site_counts(staged: Path) -> dict:  # what is wrong -> how often
    "All counts of one staged site."
    books = notebooks(staged)
    found = Counter(joined_cells=sum(map(joined_cells, books)))
    found["pages_that_load_from_elsewhere"] = sum(map(loads_from_elsewhere, books.values()))
    found["outputs_in_search"] = sum(map(searched_outputs, books.values()))
    found["open_code_on_targets"] = sum(open_code(c) for p, c in books.items() if p.parent.name == "targets")
    found["figures_without_text"] = count_site(staged)["without_text"]
    found["broken_links"] = len(check_site(staged))
    return {**found, **reference_counts(staged), **navigation_counts(staged)}


SIZES = ("arguments", "returns")  # how much was looked at; the other counts should be zero


def markdown_of(cells: list) -> str:
    "What a notebook's Markdown cells say, as Quarto joins them."
    return "\n\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")


def written(text: str) -> tuple:  # headings, paragraphs
    "Headings and paragraphs of Markdown, counted in the text: blocks of plain words between empty lines."
    from gencast.site.links import CODE

    plain = CODE.sub(lambda m: "" if m[1] else "code", text)
    blocks = [b.strip("\n") for b in re.split(r"\n\s*\n", plain) if b.strip()]
    headings = sum(bool(re.match(r"#{1,6} ", b)) for b in blocks)
    inside = re.compile(r"^(#{1,6} |[-*+] |\d+[.)] |\||>|:::|!\[|<|\$\$|\[\^|    )")
    return headings, sum(not inside.match(b) for b in blocks)


def all_blocks(blocks: list) -> list:
    "Blocks of pandoc, those inside boxes too."
    inside = [all_blocks(b["c"][1]) for b in blocks if b["t"] == "Div"]
    return [b for b in blocks if b["t"] != "Div"] + [b for part in inside for b in part]


def rendered(text: str) -> tuple:  # headings, paragraphs
    "The same counted by pandoc in what it made of the text."
    import pypandoc

    tree = json.loads(pypandoc.convert_text(text, "json", format="markdown-yaml_metadata_block"))
    blocks = all_blocks(tree["blocks"])
    alone = [[i["t"] for i in b["c"]] in (["Image"], ["Math"]) for b in blocks if b["t"] == "Para"]
    return sum(b["t"] == "Header" for b in blocks), len(alone) - sum(alone)


def pages_that_read_otherwise(staged: Path) -> list:  # sentences
    "Notebooks whose Markdown pandoc does not read as it was written."
    wrong = []
    for path, cells in notebooks(staged).items():
        text = markdown_of(cells)
        meant, seen = written(text), rendered(text)
        if meant != seen:
            wrong.append(f"{path.relative_to(staged)}: {meant} headings and paragraphs written, {seen} read")
    return wrong


def page_markdown(path: Path) -> str:
    "A staged page as the Markdown that Quarto would give to pandoc: text, shown code, outputs."
    if path.suffix != ".ipynb":
        return re.sub(r"\A---\n.*?\n---\n", "", path.read_text(encoding="utf-8"), flags=re.S)
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = plain_text(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
        elif cell["cell_type"] == "code":
            code = re.sub(r"(?m)^#\|.*\n?", "", source)
            hidden = "echo: false" in source or "code-fold: true" in source
            parts += [] if hidden else [f"```python\n{code}\n```"]
            for output in cell.get("outputs", []):
                shown = plain_text(output.get("data", {}).get("text/markdown", ""))
                plain = plain_text(output.get("data", {}).get("text/plain", output.get("text", "")))
                parts.append(shown or f"```\n{plain}\n```")
    return "\n\n".join(parts)


def preview_page(path: Path, dark: bool = False) -> str:  # HTML
    "A staged page as pandoc and the site's own style show it, without Quarto's theme."
    import pypandoc

    html = pypandoc.convert_text(page_markdown(path), "html", format="markdown", extra_args=["--mathml"])
    style = find_style(path).read_text(encoding="utf-8")
    ground = "#222; color: #eee" if dark else "#fff; color: #222"
    body = "body { margin: 0 auto; padding: 12px; max-width: 900px; font: 16px sans-serif; "
    body += f"background: {ground} }}"
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><base href="{path.parent.as_uri()}/">'
        f'<meta name="viewport" content="width=device-width"><style>{body}{style}</style></head>'
        f'<body class="quarto-{"dark" if dark else "light"}"><main>{html}</main></body></html>'
    )


def find_style(path: Path) -> Path:
    "The site's style sheet, in the nearest folder above a page."
    return next(folder / "styles.css" for folder in path.parents if (folder / "styles.css").is_file())


def main() -> int:  # exit code
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("staged", type=Path)
    parser.add_argument("--pandoc", action="store_true", help="let pandoc read each page's Markdown")
    given = parser.parse_args()
    counts = site_counts(given.staged)
    for name, count in counts.items():
        print(f"{count:6d}  {name.replace('_', ' ')}")
    wrong = pages_that_read_otherwise(given.staged) if given.pandoc else []
    print("\n".join(wrong))
    return int(any(count for name, count in counts.items() if name not in SIZES) or bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
