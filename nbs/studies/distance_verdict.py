"""The tables, sentences and figures of the study in `which_distance.ipynb`; not installed with gencast.

`board_table`, `duel_table` and `reason_table` make the tables from what `distance_contest` measured,
`save_verdict` and `load_verdict` store them, the rest puts them into words and figures. The stored tables in
`contest_tables` come from `benchmarks/bench_contest.py`.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from distance_contest import CHOICES, PAPER, Contest, as_square
from distance_scores import (
    choose_without,
    compare,
    error_limits,
    jackknife_error,
    offset_places,
    pair_correlation,
    score_distances,
)

from gencast.core.base import InputError
from gencast.core.files import whole_file
from gencast.distances.metrics import METRICS
from gencast.distances.tables import distance_table
from gencast.features.spaces import split_shape
from gencast.figures.style import BLUE, house_style, styled
from gencast.report.results import unique
from gencast.report.wording import error_unit, plain_name

LINE = (*PAPER, "linear")  # the paper's choice, distance and form
CONSTANT = ("none", "constant", "linear")  # no distance at all
ENTRY = ["choice", "distance", "form"]  # columns that name a line
CONTEST_FOLDER = Path(__file__).parent / "contest_tables"
TABLES = ("board", "duels", "reasons", "pairs")


def mean_distance(choice: str) -> str:
    "The name of the mean distance in a choice of features."
    return "weighted" if CHOICES[choice].weighted else "mean_euclidean"


def board_table(
    distances: dict,  # (property, choice, distance) -> from `distance_contest.measure_contest`
    log_mse: dict,  # property -> source x target, dex, shape (n_sim, n_sim)
) -> tuple[pd.DataFrame, dict]:  # the table, and what `compare` needs
    "Every distance scored and compared with the paper's, and a constant beside them. Raises `InputError`."
    for p in log_mse:
        if (p, *PAPER) not in distances:
            raise InputError(
                f"the contest of {p} lacks the paper's choice, {' and '.join(PAPER)}; measure it too"
            )
    nothing = {(p, *CONSTANT[:2]): np.zeros((len(y),) * 3) for p, y in log_mse.items()}
    board, scored = score_distances(distances | nothing, log_mse)
    cuts = [mae_cut(scored, k, (k[0], *LINE)) for k in scored]
    return board.assign(cut=[c for c, _ in cuts], cut_se=[e for _, e in cuts]), scored


def mae_cut(scored: dict, one: tuple, other: tuple) -> tuple[float, float]:
    "By which share the MAE of one distance is smaller than another's, and the error of that."
    share = 1 - scored[one][1][:, 1] / scored[other][1][:, 1]
    return float(share[-1]), float(jackknife_error(share[:-1]))


def best_entry(board: pd.DataFrame) -> tuple:  # (choice, distance, form)
    "The line with the smallest MAE; the table must be sorted by it."
    return tuple(board.iloc[0][ENTRY])


def duel_questions(board: pd.DataFrame, property: str) -> list:  # (question, one, other)
    "The comparisons that answer the question of the study, for one property."
    ours = board[(board.property == property) & (board.choice != "none")].sort_values("mae")
    first = best_entry(ours)
    second = best_entry(ours[(ours.choice != first[0]) | (ours.distance != first[1])])
    grouped = []
    for name in unique(ours.choice):
        choice = CHOICES[name]
        if choice.keep == "clusters" and choice.weighted and choice.space == "log_flux":
            grouped.append(name)
    asked = [
        ("winner or paper", first, LINE),
        ("winner or runner-up", first, second),
        ("winner or constant", first, CONSTANT),
        ("paper or constant", LINE, CONSTANT),
    ]
    asked += [(f"{c} or paper", (c, "weighted", "linear"), LINE) for c in grouped]
    if grouped:
        best = best_entry(ours[ours.choice.isin(grouped)])
        asked.append(("best weighted clusters or paper", best, LINE))
    return asked


def duel_row(scored: dict, property: str, question: str, one: tuple, other: tuple) -> dict:
    "One comparison as a row of `duel_table`."
    duel = compare(scored, (property, *one), (property, *other)).set_index("score")
    cut, cut_se = mae_cut(scored, (property, *one), (property, *other))
    mae = duel.loc["mae"]
    row = {
        "property": property,
        "question": question,
        "one": "|".join(one),
        "other": "|".join(other),
        "mae_one": mae.one,
        "mae_other": mae.other,
        "difference": mae.difference,
        "se": mae.se,
        "cut": cut,
        "cut_se": cut_se,
    }
    return row | {f"{s}_{c}": duel.loc[s, c] for s in ("r2", "rank") for c in ("difference", "se")}


def free_choice_row(scored: dict, log_mse: dict, property: str) -> dict:
    "The distance that the other simulations choose for each target, against the paper's, as a row."
    free = choose_without(scored, log_mse, property, LINE)
    often = max(free["chosen"], key=free["chosen"].get)
    return {
        "property": property,
        "question": "chosen without the target or paper",
        "one": "|".join(often),
        "other": "|".join(LINE),
        "mae_one": free["mae"],
        "mae_other": free["against"],
        "difference": free["difference"],
        "se": free["se"],
        "cut": -free["difference"] / free["against"],
        "cut_se": free["se"] / free["against"],
        "times_chosen": free["chosen"][often],
    }


def duel_table(
    board: pd.DataFrame,  # from `board_table`
    scored: dict,
    log_mse: dict,
) -> pd.DataFrame:  # property, question, one, other, mae_*, difference, se, cut, cut_se; r2_*, rank_*
    "The comparisons that answer the question, in dex."
    rows = []
    for p in log_mse:
        rows += [duel_row(scored, p, *asked) for asked in duel_questions(board, p)]
        rows.append(free_choice_row(scored, log_mse, p))
    return pd.DataFrame(rows)


def luminosity_distance(contest: Contest) -> np.ndarray:  # dex, source x target, diagonal nan
    "The mean Euclidean distance in a single feature, the median log flux."
    features = {n: split_shape(x)[1] for n, x in zip(contest.names, contest.galaxies)}
    return as_square(distance_table(features, ("mean_euclidean",)), contest.names)


def reason_table(
    contest: Contest,
    distances: dict,  # as for `board_table`
) -> tuple[pd.DataFrame, pd.DataFrame]:  # a row a property and choice; a row a pair of the first property
    """What the mean distances see and what the errors come from: correlations over pairs with the error, the
    paper's distance, the distance in luminosity and the distance of the places that explain the offsets.
    """
    bright = luminosity_distance(contest)

    def mean(p, c):
        return distances[p, c, mean_distance(c)].mean(axis=0)

    rows = []
    for p, y in contest.log_mse.items():
        place, limits = offset_places(contest.bias[p])[0], error_limits(y, contest.bias[p])
        others = {
            "error": y,
            "paper": mean(p, PAPER[0]),
            "luminosity": bright,
            "places": np.abs(place[:, None] - place),
        }
        measured = [c for c in CHOICES if (p, c, mean_distance(c)) in distances]
        for name, d in [("luminosity", bright), *((c, mean(p, c)) for c in measured)]:
            correlations = {f"with_{k}": pair_correlation(d, v) for k, v in others.items()}
            rows.append({"property": p, "choice": name} | correlations | limits)
    p = next(iter(contest.log_mse))
    return pd.DataFrame(rows), pair_rows(contest, p, mean(p, PAPER[0]), bright)


def pair_rows(contest: Contest, property: str, paper: np.ndarray, luminosity: np.ndarray) -> pd.DataFrame:
    "Error, offset and distances of each pair of different simulations, for one property."
    i, j = np.nonzero(~np.eye(len(luminosity), dtype=bool))
    name, place = np.array(contest.names), offset_places(contest.bias[property])[0]
    return pd.DataFrame(
        {
            "property": property,
            "source": name[i],
            "target": name[j],
            "log_mse": contest.log_mse[property][i, j],
            "bias": contest.bias[property][i, j],
            "places": place[i] - place[j],
            "paper": paper[i, j],
            "luminosity": luminosity[i, j],
        }
    )


def save_verdict(
    folder: str | Path,  # to make and fill
    tables: dict,  # board, duels, reasons, pairs
    record: dict,  # where they come from; anything JSON can hold
) -> None:
    "Write the tables as CSV, four significant digits; the first line, after a #, is the record."
    for name, table in tables.items():
        text = table.to_csv(index=False, float_format="%.4g", lineterminator="\n")
        with whole_file(Path(folder) / f"{name}.csv") as f:
            f.write(f"# {json.dumps(record, sort_keys=True)}\n{text}".encode())


def load_verdict(
    folder: str | Path = CONTEST_FOLDER,  # default: the stored tables of the first default suite
) -> dict:  # board, duels, reasons, pairs; record
    "Read what `save_verdict` wrote. Raises `InputError`."
    tables = {}
    for name in TABLES:
        path = Path(folder) / f"{name}.csv"
        try:
            record = json.loads(path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("# "))
            tables[name] = pd.read_csv(path, skiprows=1, keep_default_na=False, na_values=[""])
        except (OSError, ValueError) as err:
            raise InputError(
                f"{path} is not a table of a contest; make it with benchmarks/bench_contest.py"
            ) from err
    return tables | {"record": record}


def plain_entry(entry: str | tuple) -> str:
    "A distance in its choice of features, in words."
    choice, distance, form = entry.split("|") if isinstance(entry, str) else entry
    if choice == "none":
        return "no distance at all"
    log = "logarithm of the " if form == "log" else ""
    return f"{log}{METRICS[distance].label} ({CHOICES[choice].label.replace(' (paper)', '')})"


def duel_of(duels: pd.DataFrame, property: str, question: str) -> pd.Series:
    "One row of the duels; raises `InputError`."
    rows = duels[(duels.property == property) & (duels.question == question)]
    if not len(rows):
        raise InputError(
            f"no duel {question!r} of {property!r}; there are: {', '.join(unique(duels.question))}, and "
            f"{', '.join(unique(duels.property))}"
        )
    return rows.iloc[0]


def times_its_error(difference: float, se: float) -> str:
    "Whether a difference exceeds its error, in words."
    times = abs(difference) / se
    return f"{times:.1f} times its error" + ("" if times > 2 else " (not significant)")


def describe_winner(
    board: pd.DataFrame,
    duels: pd.DataFrame,
    property: str,
) -> str:
    "What wins for a property, by how much, and whether that exceeds its error."
    paper = duel_of(duels, property, "winner or paper")
    next_ = duel_of(duels, property, "winner or runner-up")
    free = duel_of(duels, property, "chosen without the target or paper")
    entries = board[ENTRY].agg("|".join, axis=1)
    row = board[(board.property == property) & (entries == paper.one)].iloc[0]
    return (
        f"{plain_name(property)}: the {plain_entry(paper.one)} comes first, with a MAE of {row.mae:.3f} ± "
        f"{row.mae_se:.3f} dex (R² {row.r2:.2f} ± {row.r2_se:.2f}, rank correlation {row['rank']:.2f} ± "
        f"{row.rank_se:.2f}). "
        f"The paper's choice has {paper.mae_other:.3f}: a cut by {100 * paper.cut:.0f} ± "
        f"{100 * paper.cut_se:.0f} %, {times_its_error(paper.difference, paper.se)}. "
        f"The runner-up, {plain_entry(next_.other)}, has {next_.mae_other:.3f}: a difference of "
        f"{times_its_error(next_.difference, next_.se)}. "
        f"When the other simulations choose the distance for each target, the MAE is {free.mae_one:.3f}, a "
        f"cut by {100 * free.cut:.0f} ± {100 * free.cut_se:.0f} %."
    )


def describe_cluster_cut(
    duels: pd.DataFrame,
    question: str = "clusters20_weighted or paper",
) -> pd.DataFrame:  # property, MAE with clusters and of the paper, cut in per cent and its error, verdict
    "Whether clustering with weights cuts the MAE by 20 %, for each property: yes, no, or open."
    rows = duels[duels.question == question]
    below = np.where(rows.cut + 2 * rows.cut_se < 0.2, "no", "open")
    reached = np.where(rows.cut - 2 * rows.cut_se > 0.2, "yes", below)
    table = {
        "property": rows.property,
        "clusters": rows.mae_one,
        "paper": rows.mae_other,
        "cut, %": 100 * rows.cut,
        "±": 100 * rows.cut_se,
        "20 % reached": reached,
    }
    return pd.DataFrame(table).reset_index(drop=True)


SHORTER = {  # parts of the distances' labels -> what narrow columns can hold
    " distance": "",
    "squared maximum mean discrepancy": "MMD²",
    "nearest-neighbour KL divergence of the target from the source": "k-NN KL",
    "uncovered fraction of the target": "uncovered",
    "Sinkhorn divergence, root": "Sinkhorn",
    "distance between centroids": "centroid",
    "AUC of a classifier": "classifier AUC",
}


def short_label(label: str) -> str:
    "A distance's name for a narrow column."
    for words, shorter in SHORTER.items():
        label = label.replace(words, shorter)
    return label


@styled(8.6, 3.7)
def plot_board(
    board: pd.DataFrame,
    property: str,
    ax=None,
):
    """Cut of the MAE against the paper's choice, per cent, for each choice and distance; a dot where it
    exceeds twice its error. Raises `InputError` for a property without a contest.
    """
    ours = board[(board.property == property) & (board.choice != "none")]
    rows = ours.sort_values("mae").drop_duplicates(["choice", "distance"])
    if not len(rows):
        raise InputError(
            f"there is no contest of {property!r}; choose from {', '.join(unique(board.property))}"
        )
    choices = [c for c in CHOICES if c in set(rows.choice)]
    names = [m for m in METRICS if m in set(rows.distance)]
    wide = rows.pivot(index="choice", columns="distance", values="cut")
    image = ax.imshow(
        100 * wide.reindex(index=choices, columns=names), cmap="RdBu", vmin=-40, vmax=40, aspect="auto"
    )
    for r in rows.itertuples():
        dot = "•" if abs(r.cut) > 2 * r.cut_se else ""
        color = "white" if abs(100 * r.cut) > 25 else "#222222"
        at = names.index(r.distance), choices.index(r.choice)
        ax.text(*at, f"{round(100 * r.cut)}{dot}", ha="center", va="center", fontsize=7, color=color)
    corner = names.index(PAPER[1]) - 0.5, choices.index(PAPER[0]) - 0.5
    ax.add_patch(plt.Rectangle(corner, 1, 1, fill=False, ec="#222222", lw=2))
    ax.set_xticks(range(len(names)), [short_label(METRICS[m].label) for m in names], rotation=40, ha="right")
    ax.set_yticks(range(len(choices)), [CHOICES[c].label for c in choices])
    ax.grid(False)
    ax.set_title(plain_name(property))
    ax.figure.colorbar(image, ax=ax, label="cut of the MAE, per cent", pad=0.01)


def row_label(row) -> str:
    "A row of the board, short enough for an axis."
    if row.choice == "none":
        return "constant"
    log = "log " if row.form == "log" else ""
    paper = " (paper)" if (row.choice, row.distance, row.form) == LINE else ""
    label = short_label(METRICS[row.distance].label)
    return f"{log}{label} · {CHOICES[row.choice].label.replace(' (paper)', '')}{paper}"


@styled(5.4, 3.4)
def plot_leaders(
    board: pd.DataFrame,
    property: str,
    n: int = 8,  # how many of the best
    ax=None,
):
    "MAE of the best distances with their errors over simulations, and of the paper's choice and a constant."
    ours = board[board.property == property]
    rows = ours.sort_values("mae").drop_duplicates(["choice", "distance"])
    best = rows[rows.choice != "none"].head(n)
    fixed = ours[ours[ENTRY].agg(tuple, axis=1).isin([LINE, CONSTANT])]
    shown = pd.concat([best, fixed]).drop_duplicates(ENTRY).iloc[::-1]
    colors, marks = {LINE: "#D55E00", CONSTANT: "#555555"}, {LINE: "s", CONSTANT: "D"}
    for y, r in enumerate(shown.itertuples()):
        entry = (r.choice, r.distance, r.form)
        mark, color = marks.get(entry, "o"), colors.get(entry, BLUE)
        ax.errorbar(r.mae, y, xerr=r.mae_se, fmt=mark, color=color, ms=5)
    ax.set_yticks(range(len(shown)), [row_label(r) for r in shown.itertuples()], fontsize=7)
    ax.set(xlabel="MAE of log$_{10}$ MSE [dex]", title=plain_name(property), ylim=(-0.6, len(shown) - 0.4))


def plot_reasons(
    pairs: pd.DataFrame,  # from `reason_table`
):  # array of three axes
    "The paper's distance against that in luminosity alone; offsets against places; errors against distances."
    unit, name = error_unit(pairs.property.iloc[0]), plain_name(pairs.property.iloc[0])
    labels = {
        "luminosity": "mean distance in luminosity alone [dex]",
        "paper": "paper's distance [dex]",
        "places": f"$c_i - c_j$ [{unit}]",
        "bias": f"offset of model i on j [{unit}]",
        "log_mse": f"log$_{{10}}$ MSE [{unit}²]",
    }
    panels = [
        ("luminosity", "paper", "what the distance sees"),
        ("places", "bias", "where the error comes from"),
        ("paper", "log_mse", "what is left"),
    ]
    with house_style():
        fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.2))
        for ax, (x, y, title) in zip(axes, panels):
            ax.plot(pairs[x], pairs[y], "o", ms=3, mew=0, alpha=0.6, color=BLUE)
            ax.set(xlabel=labels[x], ylabel=labels[y], title=title)
            r = np.corrcoef(pairs[x], pairs[y])[0, 1]
            ax.text(0.03, 0.97, f"r = {r:.2f}", transform=ax.transAxes, va="top", fontsize=8)
        fig.suptitle(name, fontsize=9)
    return axes
