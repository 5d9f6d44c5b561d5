"""Write the numbers of README.md and of the site's pages from a finished run of the default suite.

    python scripts/build_readme_numbers.py results/default          # write
    python scripts/build_readme_numbers.py results/default --check  # exit code 1 where a number differs
    python scripts/build_readme_numbers.py results/default --all results/all  # all properties, too

The second run is one of `gencast run --properties all`. Its scores are kept in a table beside the page that
shows them, so that a check needs the first run only.

A number, a table or a block stands between two comments, and the first says what it is:

    R² <!-- run: r2 stack spectra -->0.79<!-- / -->

Everything is read through `gencast.report`, so that README, terminal and notebooks say the same.
"""

import argparse
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.folding import MOST, fold_lines
from gencast.report import forecast_lines, load_results, score_lines, tabulate_coverage

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "nbs/method.qmd", "nbs/learn/what_to_expect.qmd", "nbs/learn/catalogue.qmd")
FITS = ROOT / "nbs" / "studies" / "catalogue_tables" / "intervals.csv"  # from benchmarks/bench_catalogue.py
SCORES = ROOT / "nbs" / "learn" / "property_scores.csv"  # from a run of all properties
PROPERTIES = {  # as in scores.csv -> what the table calls it
    "log_mstar": "mass",
    "log_age": "age",
    "log_zmet": "metallicity",
    "a_v": "A_V",
    "log_sfr": "star-formation rate",
    "sfh": "star-formation history",
}
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


def markdown(table: pd.DataFrame, digits: dict) -> str:
    "A table in Markdown; `digits`: column -> decimals."
    texts = table.astype(object)
    for name, n in digits.items():
        texts[name] = [plain(value, n) for value in table[name]]
    rows = [f"| {' | '.join(texts)} |", "|" + "---|" * len(texts.columns)]
    rows += [f"| {' | '.join(map(str, row))} |" for row in texts.itertuples(index=False)]
    return "\n\n" + "\n".join(rows) + "\n\n"


COVERAGE = {"holds 68 [%]": 0, "width 68": 2, "holds 90 [%]": 0, "width 90": 2}


def intervals(results, view: str) -> str:
    "A table of what the intervals of single galaxies hold with the library left out, overall and by library."
    table = tabulate_coverage(results.galaxy_coverage, view=view)
    table = table[table["by"].isin(("all", "left out"))].drop(columns="by")
    return markdown(table.rename(columns={"galaxies": "library left out"}), {"rmse": 2, **COVERAGE})


def interval_bins(results, view: str) -> str:
    "The same in bins."
    table = tabulate_coverage(results.galaxy_coverage, view=view)
    table = table[~table["by"].isin(("all", "left out"))]
    table = table.rename(columns={"by": "sorted by", "galaxies": "bin"})
    return markdown(table, {"rmse": 2, **COVERAGE})


def holds(results, view: str, level: str, which: str = "all") -> str:
    "Share of galaxies within their interval, a library left out; `worst`: of the worst library; `narrowest`."
    rows = results.galaxy_coverage
    rows = rows[(rows["view"] == view) & (rows["property"] == "log_mstar")]
    rows = rows[rows.by == ("all" if which == "all" else "family")]
    return f"{100 * rows[f'coverage_{level}'].min():.0f} %"


def width(results, view: str, level: str) -> str:
    "Median width of the intervals, dex."
    rows = results.galaxy_coverage
    rows = rows[(rows["view"] == view) & (rows["property"] == "log_mstar") & (rows.by == "all")]
    return plain(rows[f"width_{level}"].iloc[0], 2)


def at_coverage(rows: pd.DataFrame, level: str) -> float:
    "By which factor intervals must be stretched to hold what they promise; families weigh the same."
    half = np.maximum((rows[f"upper_{level}"] - rows[f"lower_{level}"]) / 2, 1e-3)
    middle = (rows[f"upper_{level}"] + rows[f"lower_{level}"]) / 2
    ratio = ((rows.truth - middle).abs() / half).to_numpy()
    weight = (1 / rows.groupby("family").truth.transform("size")).to_numpy()
    order = np.argsort(ratio)
    share = np.cumsum(weight[order]) / weight.sum()
    return float(ratio[order][np.searchsorted(share, float(level) / 100)])


def method_row(method: str, rows: pd.DataFrame) -> dict:
    "Error, coverage as stated, and widths at the coverage that is promised."
    miss = ((rows.value - rows.truth) ** 2).groupby(rows.family).mean()
    row = {"intervals of": method, "n": len(rows), "RMSE": float(np.sqrt(miss).mean())}
    for level in ("68", "90"):
        low, high = rows[f"lower_{level}"], rows[f"upper_{level}"]
        inside = (low <= rows.truth) & (rows.truth <= high)
        row[f"{level} % hold [%]"] = 100 * inside.groupby(rows.family).mean().mean()
        row[f"width at {level} %"] = at_coverage(rows, level) * float((high - low).median())
    return row


def beside_fits(results, view: str) -> str:
    "The catalogue, the library fit and BAGPIPES on the same galaxies; BAGPIPES has fewer."
    table = pd.read_csv(FITS)
    table, keys, found = table[table["view"] == view], ["simulation", "row"], []
    few = table[table.method == "BAGPIPES"][keys]
    for chosen in (table, *([table.merge(few, on=keys)] if len(few) else [])):
        full = chosen is table
        names = [m for m in dict.fromkeys(chosen.method) if m != "BAGPIPES" or not full]
        found += [method_row(name, chosen[chosen.method == name]) for name in names]
    digits = {"RMSE": 2, "68 % hold [%]": 0, "width at 68 %": 2, "90 % hold [%]": 0, "width at 90 %": 2}
    return markdown(pd.DataFrame(found), digits)


def interval_rules(results, view: str) -> str:
    "What the intervals of single galaxies hold with other rules than gencast's."
    table = pd.read_csv(FITS.with_name("rules.csv"))
    table, percent = table[table["view"] == view].drop(columns="view"), {}
    for level in ("68", "90"):
        for key, word in (("coverage", "hold"), ("worst", "worst library")):
            table[f"{key}_{level}"] *= 100
            percent[f"{key}_{level}"] = f"{level} % {word} [%]"
    table = table.rename(columns={**percent, "width_68": "width 68", "width_90": "width 90"})
    return markdown(table, {**dict.fromkeys(percent.values(), 0), "width 68": 2, "width 90": 2})


def property_scores(results) -> pd.DataFrame:  # one row a view and property
    "Scores of gencast's law for all properties: one simulation held out, and its whole stellar library."
    table = results.scores
    table = table[(table.law == "stack") & (table.distance == results.run["parameters"]["distance"])]
    table = table.assign(library=table.target.map(results.simulations.set_index("name")["ssp"]))
    keys, rows = ["view", "property"], {}
    for family, word in (("", "simulation"), ("ssp", "library")):
        mine = table[table.family.fillna("") == family]
        whole, single = mine[mine.target == "all"].set_index(keys), mine[mine.target != "all"]
        names = {"r2": "r2", "mae_dex": "off", "coverage_90": "hold", "width_90": "width"}
        for column, name in names.items():
            rows[f"{word}_{name}"] = whole[column]
        rows[f"{word}_worst"] = single.groupby([*keys, "library"]).coverage_90.mean().groupby(keys).min()
    return pd.DataFrame(rows).reset_index()


def keep_property_scores(folder: str) -> None:
    "Write the scores of a run of all properties beside the page, with a line that says which run it was."
    results = load_results(folder)
    text = property_scores(results).to_csv(index=False, float_format="%.4f", lineterminator="\n")
    SCORES.write_text(f"# {made(results)}\n{text}", encoding="utf-8")


def properties(_, view: str) -> str:
    "A table of the scores of all properties, from the table beside the page."
    table = pd.read_csv(SCORES, comment="#").set_index(["view", "property"]).loc[view].loc[list(PROPERTIES)]
    rows = [
        "",
        "",
        "| property | R² | off by | hold | R², library out | off by | hold | worst library | width |",
    ]
    rows.append("|---" * 9 + "|")
    for name, row in zip(PROPERTIES.values(), table.itertuples(), strict=True):
        mild = (
            plain(row.simulation_r2, 2),
            plain(row.simulation_off, 2),
            f"{100 * row.simulation_hold:.0f} %",
        )
        hard = (plain(row.library_r2, 2), plain(row.library_off, 2), f"{100 * row.library_hold:.0f} %")
        rest = (f"{100 * row.library_worst:.0f} %", plain(row.library_width, 2))
        rows.append(f"| {' | '.join((name, *mild, *hard, *rest))} |")
    return "\n".join(rows) + "\n\n"


def properties_made(_) -> str:
    "Which run the scores of all properties are from."
    return SCORES.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def made(results) -> str:
    "Which run the numbers are from."
    version, n = results.run["versions"]["gencast"], results.run["parameters"]["n_galaxies"]
    return f"gencast {version}, seed {results.run['seed']}, {n:,} galaxies for each simulation"


KINDS = {f.__name__: f for f in (r2, off, percent, hold, too_small, terminal, laws, families, made)}
KINDS |= {f.__name__: f for f in (properties, properties_made)}
KINDS |= {f.__name__: f for f in (intervals, interval_bins, holds, width, beside_fits, interval_rules)}


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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", nargs="?", default="results/default", help="a run of the default suite")
    parser.add_argument("--all", help="a run of all properties, whose scores are kept beside the page")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit code 1 where a number differs"
    )
    options = parser.parse_args()
    if options.all:
        keep_property_scores(options.all)
    sys.exit(main(options.folder, check=options.check))
