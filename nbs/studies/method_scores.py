"""Scores of learned models and fits: who is closer to the truth, how honest the intervals are, what it costs.

Part of the study in `methods_compared.ipynb`; not installed with gencast. The stored tables in
`methods_tables` come from `benchmarks/bench_sedfit.py`; they call the simulation of a galaxy its `universe`.
A score is taken in each simulation and then averaged, since it is simulations that differ, not galaxies.
"""

import io
from pathlib import Path

import numpy as np
import pandas as pd

from gencast.core.base import InputError
from gencast.core.files import checksum, read_sealed, whole_file, write_json
from gencast.core.properties import PROPERTIES
from gencast.figures.style import styled
from gencast.sed.fitting import FITTED

LEARNERS = {
    "random_forest": "",
    "boosting": "-boosting",
    "cnn": "-cnn",
}  # kind -> ending of its methods' names
METHODS = {  # name in the tables -> words
    "in-domain": "forest, own simulation",
    "in-domain-boosting": "boosting, own simulation",
    "in-domain-cnn": "networks, own simulation",
    "consensus": "forests of other simulations",
    "consensus-boosting": "boosting, other simulations",
    "consensus-cnn": "networks of other simulations",
    "library": "model library, BC03-MILES",
    "library-stelib": "model library, BC03-STELIB",
    "bagpipes": "BAGPIPES",
}
SHORT = {"log_mstar": "mass", "log_age": "age", "log_zmet": "metallicity", "a_v": "$A_V$", "log_sfr": "SFR"}
COLOURS = {
    "in-domain": "#9a9a9a",
    "in-domain-boosting": "#bdbdbd",
    "in-domain-cnn": "#555555",
    "consensus": "#0b5394",
    "consensus-boosting": "#8fc1e3",
    "consensus-cnn": "#2a9d8f",
    "library": "#e07b39",
    "library-stelib": "#f2b98f",
    "bagpipes": "#990000",
}
MARKERS = {
    "in-domain": "o",
    "in-domain-boosting": "v",
    "in-domain-cnn": "^",
    "consensus": "o",
    "consensus-boosting": "v",
    "consensus-cnn": "^",
    "library": "s",
    "library-stelib": "s",
    "bagpipes": "D",
}
METHODS_FOLDER = Path(__file__).parent / "methods_tables"
TABLES = ("simulated", "observed", "single", "bands", "known")


def save_methods(
    folder: str | Path,
    tables: dict,  # name -> table; the names are those of `TABLES`
    record: dict,  # how they were made
) -> None:
    "Write the tables, and beside them how they were made, with a checksum of each."
    sums = {}
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.4g", lineterminator="\n").encode()
        sums[name] = checksum(text)
        with whole_file(Path(folder) / f"{name}.csv") as f:
            f.write(text)
    write_json(Path(folder) / "methods.json", record | {"checksums": sums}, seal=True)


def load_methods(
    folder: str | Path = METHODS_FOLDER,
) -> tuple[dict, dict]:  # tables by name, and how they were made
    "What was measured. Raises `InputError` where a file is missing or was changed."
    folder = Path(folder)
    try:
        record = read_sealed(folder / "methods.json")
        texts = {name: (folder / f"{name}.csv").read_bytes() for name in TABLES}
        if changed := [n for n, text in texts.items() if checksum(text) != record["checksums"].get(n)]:
            raise ValueError(f"{changed[0]}.csv was changed")
        return {n: pd.read_csv(io.BytesIO(text)) for n, text in texts.items()}, record
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(
            f"{folder} holds no results of methods ({err}); make them with `python "
            "benchmarks/bench_sedfit.py tables`"
        ) from err


def half_width(table: pd.DataFrame, name: str) -> pd.Series:
    "Half the width of the 68 % interval of a property."
    return (table[f"{name}_p84"] - table[f"{name}_p16"]) / 2


def inside(value: pd.Series, table: pd.DataFrame, name: str, level: int) -> pd.Series:  # of truth values
    "Whether values lie in a table's intervals of 68 or 90 per cent."
    low, high = {68: ("_p16", "_p84"), 90: ("_p05", "_p95")}[level]
    return (value >= table[name + low]) & (value <= table[name + high])


def score(
    table: pd.DataFrame,  # rows of one method: truth_*, percentiles, universe
    name: str,  # of the property
) -> dict:  # rmse, bias, cover68, cover90, each with its error (`_se`), width, n and n_universe
    "RMSE, bias and coverage of one property; errors are the scatter over simulations (RMSE: the jackknife)."
    truth = table[f"truth_{name}"]
    gap = table[name] - truth
    columns = {
        "mse": gap**2,
        "bias": gap,
        "cover68": inside(truth, table, name, 68),
        "cover90": inside(truth, table, name, 90),
        "width": half_width(table, name),
    }
    known = gap.notna()
    each = pd.DataFrame(columns)[known].groupby(table["universe"][known]).mean()
    n = len(each)
    out = {k: float(each[k].mean()) for k in ("bias", "cover68", "cover90", "width")}
    out |= {"rmse": float(np.sqrt(each.mse.mean())), "n": int(known.sum()), "n_universe": n}
    if n > 1:
        left = np.sqrt((each.mse.sum() - each.mse) / (n - 1))
        out |= {f"{k}_se": float(each[k].std(ddof=1) / np.sqrt(n)) for k in ("bias", "cover68", "cover90")}
        out |= {"rmse_se": float(np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum()))}
    return out


def score_methods(
    table: pd.DataFrame,  # one row a galaxy and method, see `load_methods`
    by: tuple = (),  # columns in which scores are taken apart, e.g. ("snr",)
) -> pd.DataFrame:  # one row a method, property and group
    "Scores of every method and property."
    rows = []
    for keys, part in table.groupby(["method", *by], sort=False):
        rows += [dict(zip(("method", *by), keys)) | {"property": p} | score(part, p) for p in FITTED]
    return pd.DataFrame(rows)


def score_table(
    scores: pd.DataFrame,  # from `score_methods`, one row a method and property
    what: str = "rmse",  # or another score
    scale: float = 1.0,  # by which it is multiplied
    digits: int = 3,
) -> pd.DataFrame:  # text, one row a method, one column a property
    "A score of each method and property with its error over simulations, to print."
    texts = []
    for _, row in scores.iterrows():
        text = f"{scale * row[what]:.{digits}f}"
        if what + "_se" in row:
            text += f" ± {scale * row[what + '_se']:.{digits}f}"
        texts.append(text)
    wide = scores.assign(text=texts).pivot(index="method", columns="property", values="text")
    wide = wide.reindex(
        index=[m for m in METHODS if m in wide.index], columns=[p for p in FITTED if p in wide.columns]
    )
    return wide.rename(index=METHODS, columns=SHORT).rename_axis(index=None, columns=None)


def two_methods(table: pd.DataFrame, one: str, other: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    "The rows of two methods, galaxy by galaxy, for the galaxies that both have read."
    a, b = (table[table.method == m].set_index("galaxy") for m in (one, other))
    both = a.index.intersection(b.index)
    return a.loc[both], b.loc[both]


def library_agreement(
    table: pd.DataFrame,  # one row a galaxy and method
    method: str = "library",
    reference: str = "bagpipes",
) -> pd.DataFrame:  # one row a property: median and robust scatter of the difference, ratio of widths
    "How a method's posteriors differ from another's, in units of the latter's half width."
    a, b = two_methods(table, method, reference)
    rows = []
    for p in FITTED:
        half = half_width(b, p)
        gap = (a[p] - b[p]) / half
        rows.append(
            {
                "property": p,
                "n": len(a),
                "median": gap.median(),
                "scatter": (gap.quantile(0.84) - gap.quantile(0.16)) / 2,
                "width_ratio": (half_width(a, p) / half).median(),
                "n_effective": a["n_effective"].median() if "n_effective" in a else np.nan,
            }
        )
    return pd.DataFrame(rows).set_index("property")


def compare_methods(
    table: pd.DataFrame,  # one row a galaxy and method
    method: str = "consensus",
    other: str = "library",
) -> pd.DataFrame:  # one row a property: RMSE of both, difference, its error, who wins
    """Differences of RMS errors on the galaxies that both have read. A method wins where the difference is
    more than twice its error, which comes from leaving out one simulation at a time.
    """
    a, b = two_methods(table, method, other)
    rows = []
    for p in FITTED:
        errors = {"a": (a[p] - a[f"truth_{p}"]) ** 2, "b": (b[p] - b[f"truth_{p}"]) ** 2}
        square = pd.DataFrame(errors).groupby(a["universe"]).mean()
        n, total = len(square), square.sum()
        left = np.sqrt((total - square) / (n - 1))
        gap = left.a - left.b
        error = np.sqrt((n - 1) / n * ((gap - gap.mean()) ** 2).sum())
        row = {"property": p, "n": len(a), method: np.sqrt(total.a / n), other: np.sqrt(total.b / n)}
        difference = row[method] - row[other]
        winner = method if difference < 0 else other
        if abs(difference) < 2 * error:
            winner = "neither"
        rows.append(row | {"error": error, "difference": difference, "wins": winner})
    return pd.DataFrame(rows).set_index("property")


def observed_gaps(
    table: pd.DataFrame,  # `observed` of `load_methods`
    method: str = "consensus",
    other: str = "bagpipes",
    # one row a galaxy and property: gap, forecast, posterior (half widths), inside68, inside90
) -> pd.DataFrame:
    "Disagreement of two methods on observed galaxies."
    a, b = two_methods(table, method, other)
    rows = []
    for p in FITTED:
        columns = {
            "property": p,
            "gap": a[p] - b[p],
            "forecast": half_width(a, p),
            "posterior": half_width(b, p),
            "snr": a["snr"],
            "inside68": inside(b[p], a, p, 68),
            "inside90": inside(b[p], a, p, 90),
        }
        rows.append(pd.DataFrame(columns))
    found = pd.concat(rows).reset_index()
    return found.assign(pull=found.gap / np.hypot(found.forecast, found.posterior))


def describe_wins(
    compared: pd.DataFrame,  # from `compare_methods`
    where: str = "",  # in words, e.g. "at S/N 10"
) -> str:  # one sentence
    "Which method wins in which property, in words."
    method, other = (c for c in compared if c in METHODS)
    parts = []
    for m in (method, other):
        won = [
            f"{SHORT[p]} ({compared.loc[p, method]:.2f} against {compared.loc[p, other]:.2f})"
            for p in compared.index[compared.wins == m]
        ]
        if won:
            parts.append(f"{METHODS[m]} closer to the truth in {', '.join(won)}")
    if even := [SHORT[p] for p in compared.index if compared.wins[p] == "neither"]:
        parts.append(f"no difference beyond twice its error in {', '.join(even)}")
    start = f"{where}: " if where else ""
    galaxies = int(compared.n.iloc[0])
    return (
        f"{start}{'; '.join(parts)} (RMS errors, {METHODS[method]} against {METHODS[other]}, {galaxies} "
        "galaxies)."
    )


def describe_costs(
    record: dict,  # from `load_methods`
) -> str:  # lines
    "CPU time per galaxy of each method, in words."
    f = record["facts"]
    lib, full, per = f["library"], f["bagpipes"], f["bagpipes"]["median_cpu_s"]
    words = {"random_forest": "forest", "boosting": "boosting", "cnn": "networks"}
    lines = [
        f"{word}: {1e3 * f[kind]['cpu_s_per_galaxy']:.2f} ms a galaxy, after {f[kind]['train_cpu_s']:.1f} "
        f"CPU s of training on {f[kind]['trained_on']:,} galaxies for each simulation"
        for kind, word in words.items()
        if kind in f
    ]
    lines.append(
        f"library: {1e3 * lib['fit_cpu_s_per_galaxy']:.0f} ms a galaxy, after {lib['build_cpu_s']:.0f} "
        f"CPU s to make {lib['models']:,} models ({lib['megabytes']:.0f} MB, mapped)"
    )
    lines.append(
        f"BAGPIPES: {per:.0f} CPU s a galaxy (median of {full['galaxies']}, "
        f"{full['median_likelihoods']:,.0f} likelihoods): {per / lib['fit_cpu_s_per_galaxy']:,.0f} "
        f"times the library, {per / f['random_forest']['cpu_s_per_galaxy']:,.0f} times the forest"
    )
    return "\n".join(lines)


def describe_gaps(gaps: pd.DataFrame, other: str) -> str:  # one sentence a property
    "Disagreements from `observed_gaps`, in words."
    lines = []
    for p, part in gaps.groupby("property", sort=False):
        unit = PROPERTIES[p].unit.split("(")[0]
        lines.append(
            f"{p}: {METHODS['consensus']} minus {METHODS[other]} is {part.gap.median():+.2f} {unit} in the "
            f"median; {part.inside68.sum()} of {len(part)} fits lie inside the 68 % interval of our "
            f"forecast, {part.inside90.sum()} inside that of 90 %; posterior half width "
            f"{part.posterior.median():.2f}, forecast's {part.forecast.median():.2f}"
        )
    return "\n".join(lines)


def draw_method(ax, method: str, x: np.ndarray, y, error) -> None:
    "The points of one method, in its colour and mark."
    style = {"fmt": MARKERS[method], "color": COLOURS[method], "label": METHODS[method]}
    ax.errorbar(x, y, yerr=error, ms=4, mew=0, elinewidth=1, **style)


@styled(3.2, 2.6)
def plot_scores(
    scores: pd.DataFrame,  # from `score_methods`
    name: str = "log_mstar",  # property
    what: str = "rmse",  # or `bias`
    by: str = "snr",  # column along the axis
    ax=None,
):
    "A score of each method, with errors over simulations."
    part = scores[scores["property"] == name]
    groups = sorted(part[by].unique())
    methods = [m for m in METHODS if m in set(part.method)]
    for k, method in enumerate(methods):
        rows = part[part.method == method].set_index(by).reindex(groups)
        x = np.arange(len(groups)) + min(0.13, 0.8 / len(methods)) * (k - (len(methods) - 1) / 2)
        draw_method(ax, method, x, rows[what], rows.get(f"{what}_se"))
    if what == "bias":
        ax.axhline(0, color="#444444", lw=0.8)
    else:
        ax.set_ylim(bottom=0)
    unit = PROPERTIES[name].unit.split("(")[0]
    ax.set(
        xticks=range(len(groups)),
        xticklabels=groups,
        xlabel="S/N of a pixel" if by == "snr" else by,
        ylabel=f"{'RMS error' if what == 'rmse' else 'mean error'} [{unit}]",
        title=PROPERTIES[name].label,
    )


@styled(4.2, 2.8)
def plot_intervals(
    scores: pd.DataFrame,  # from `score_methods`, one row a method and property
    level: int = 68,  # or 90, per cent
    ax=None,
):
    "Share of intervals that hold the truth, with errors over simulations."
    names = [p for p in FITTED if p in set(scores["property"])]
    methods = [m for m in METHODS if m in set(scores.method)]
    ax.axhline(level, color="#444444", lw=0.8, zorder=0)
    for k, method in enumerate(methods):
        rows = scores[scores.method == method].set_index("property").reindex(names)
        x = np.arange(len(names)) + min(0.14, 0.8 / len(methods)) * (k - (len(methods) - 1) / 2)
        error = 100 * rows[f"cover{level}_se"] if f"cover{level}_se" in rows else None
        draw_method(ax, method, x, 100 * rows[f"cover{level}"], error)
    ax.set(xticks=range(len(names)), ylim=(0, 103), ylabel=f"truth inside the {level} % interval [%]")
    ax.set_xticklabels([SHORT[p] for p in names])


def error_bars(table: pd.DataFrame, name: str) -> list:  # below and above, each shape (n_gal,)
    "The 68 % interval of a property as lengths of error bars."
    below, above = table[name] - table[name + "_p16"], table[name + "_p84"] - table[name]
    return [np.maximum(below, 0), np.maximum(above, 0)]


@styled(3.2, 3.0)
def plot_observed(
    table: pd.DataFrame,  # `observed` of `load_methods`
    name: str = "log_mstar",  # property
    other: str = "bagpipes",
    ax=None,
):
    "Consensus and a fit of observed galaxies, with their 68 % intervals."
    a, b = two_methods(table, "consensus", other)
    style = {"fmt": "o", "color": COLOURS["consensus"], "ecolor": "#9fc5e0", "ms": 4, "mew": 0}
    ax.errorbar(b[name], a[name], xerr=error_bars(b, name), yerr=error_bars(a, name), elinewidth=0.8, **style)
    ends = [min(ax.get_xlim()[0], ax.get_ylim()[0]), max(ax.get_xlim()[1], ax.get_ylim()[1])]
    ax.plot(ends, ends, color="#222222", lw=0.8, zorder=0)
    label = PROPERTIES[name].label
    ax.set(
        xlim=ends,
        ylim=ends,
        aspect="equal",
        xlabel=f"{label}, {METHODS[other].split(',')[0]}",
        ylabel=f"{label}, consensus",
    )
