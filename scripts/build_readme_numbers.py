"""Write the numbers of README.md and of the site's pages from a finished run of the default suite.

    python scripts/build_readme_numbers.py results/default          # write
    python scripts/build_readme_numbers.py results/default --check  # exit code 1 where a number differs

A number, a table or a block stands between two comments, and the first says what it is:

    R² <!-- run: r2 stack spectra -->0.79<!-- / -->

Everything is read through `gencast.report`, so that README, terminal and notebooks say the same.
"""

import re
import sys
from pathlib import Path

import numpy as np

from gencast.core.folding import MOST, fold_lines
from gencast.report import forecast_lines, load_results, score_lines

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "nbs/method.qmd", "nbs/learn/what_to_expect.qmd")
MARK = re.compile(r"(<!-- run: ([^>]+?) -->)(.*?)(<!-- / -->)", flags=re.S)
LAWS = {  # law in scores.csv -> what the tables call it
    "stack": "gencast's law (stack)",
    "consensus": "the consensus signal alone",
    "pooled_line": "a line in the distance (the 2020 paper)",
    "constant": "a constant, the mean of all other pairs",
    "in_domain": "the model's error on its own simulation",
    "autoeval": "AutoEval",
    "dle": "direct loss estimation (as in NannyML)",
    "atc": "average thresholded confidence (ATC)",
    "importance_weighted": "importance weighting",
    "doc": "difference of confidences (DoC)",
}


def score_of(results, law: str, view: str, family: str = ""):  # one row of scores.csv
    "The scores of a law for stellar mass, over all held-out simulations or families."
    table = results.scores
    table = table[(table.target == "all") & (table.property == "log_mstar")]
    table = table[(table.law == law) & (table["view"] == view) & (table.family.fillna("") == family)]
    table = table[table.distance == results.run["parameters"]["distance"]]
    if len(table) != 1:
        raise SystemExit(f"the run has {len(table)} scores of {law}, {view} {family}; give a default run")
    return table.iloc[0]


def plain(value: float, digits: int) -> str:
    "A number with a true minus sign."
    return f"{value:.{digits}f}".replace("-", "−")


def r2(results, law: str, view: str, family: str = "") -> str:
    "Held-out R²; one decimal where it is far below zero."
    value = score_of(results, law, view, family).r2
    return plain(value, 1 if value < -1 else 2)


def off(results, law: str, view: str) -> str:
    "Mean miss, dex of MSE."
    return plain(score_of(results, law, view).mae_dex, 2)


def percent(results, law: str, view: str) -> str:
    "Mean miss as a share of the RMSE."
    return f"{100 * (10 ** (score_of(results, law, view).mae_dex / 2) - 1):.0f} %"


def hold(results, law: str, view: str, family: str = "", which: str = "all") -> str:
    "Share of errors within their 90 % interval, a simulation or a family held out; `worst`: of the worst."
    row = score_of(results, law, view, family)
    if which == "worst":
        rows = results.scores[(results.scores.law == law) & (results.scores["view"] == view)]
        rows = rows[(rows.family == family) & (rows.property == row.property) & (rows.target != "all")]
        row = rows[rows.distance == row.distance].min(numeric_only=True)
    return f"{100 * row.coverage_90:.0f} %"


def too_small(results, view: str) -> str:
    "By which factor the RMSE on other simulations exceeds that on the model's own: the median of all pairs."
    errors = results.errors[(results.errors["view"] == view) & (results.errors.property == "log_mstar")]
    own = errors[errors.source == errors.target].set_index("source").mse
    other = errors[errors.source != errors.target]
    return f"{np.median(np.sqrt(other.mse / other.source.map(own))):.1f}"


def terminal(results) -> str:
    "What `gencast run` prints."
    lines = ["How well errors are predicted on what was held out:"]
    lines += [f"  {line}" for line in score_lines(results)]
    lines += ["", "Forecast error of the best model on observed galaxies (dex):"]
    lines += [f"  {line}" for line in forecast_lines(results)]
    return "\n```\n" + "\n".join(fold_lines(lines, MOST)) + "\n```\n"


def laws(results) -> str:
    "A table of laws and methods, both views."
    rows = ["", "", "| forecast by | R², spectra | off by, dex of MSE | R², *ugriz* | off by, dex of MSE |"]
    rows.append("|---|---|---|---|---|")
    for law, name in LAWS.items():
        cells = [f(results, law, view) for view in ("spectra", "photometry") for f in (r2, off)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n\n"


def families(results) -> str:
    "A table of scores with whole families held out."
    known = {"": "the simulation alone", "history": "its family of histories", "dust": "its dust law"}
    known["ssp"] = "its stellar library"
    rows = ["", "", "| held out with the target | R², spectra | R², *ugriz* |", "|---|---|---|"]
    for family, name in known.items():
        cells = [r2(results, "stack", view, family) for view in ("spectra", "photometry")]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n\n"


def made(results) -> str:
    "Which run the numbers are from."
    version, n = results.run["versions"]["gencast"], results.run["parameters"]["n_galaxies"]
    return f"gencast {version}, seed {results.run['seed']}, {n:,} galaxies for each simulation"


KINDS = {f.__name__: f for f in (r2, off, percent, hold, too_small, terminal, laws, families, made)}


def filled(text: str, results) -> str:
    "A page with the numbers of a run."

    def replace(m):
        kind, *words = m[2].split()
        return m[1] + KINDS[kind](results, *words) + m[4]

    return MARK.sub(replace, text)


def main(folder: str, check: bool) -> int:  # exit code
    "Write the numbers, or name the pages that differ."
    results, stale = load_results(folder), []
    for page in PAGES:
        path = ROOT / page
        text = path.read_text(encoding="utf-8")
        new = filled(text, results)
        if new == text:
            continue
        stale.append(page)
        if not check:
            path.write_text(new, encoding="utf-8")
    if check and stale:
        print(f"other numbers than those of {folder}: {', '.join(stale)}", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--check"]
    sys.exit(main(*words or ["results/default"], check="--check" in sys.argv))
