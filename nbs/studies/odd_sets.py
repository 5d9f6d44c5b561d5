"""Which odd sets of galaxies are called inside the simulations' range? Tables and figures.

Part of the study in `odd_sets.ipynb`; not installed with gencast. The tables in `support_tables` come from
`benchmarks/bench_support.py`.
"""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

TABLES = Path(__file__).resolve().parent / "support_tables"
KINDS = ("spectra", "ugriz", "deep field", "user's suite")
FAIR = ("unchanged", "the brighter half", "the fainter half")  # sets that are not to be refused
COLOURS = {"inside": "#4c9f70", "edge": "#f2c14e", "outside": "#b5403a"}


def load_table(name: str) -> pd.DataFrame:
    "`aliens` or `power`, in the order of the kinds of data."
    table = pd.read_csv(TABLES / f"{name}.csv")
    return table.sort_values("kind", key=lambda k: k.map(KINDS.index), kind="stable")


def wide_table(aliens: pd.DataFrame, column: str) -> pd.DataFrame:
    "One column of the table of odd sets, a row for each set and a column for each kind of data."
    order = [*FAIR, *(s for s in aliens.set.unique() if s not in FAIR)]
    return aliens.pivot(index="set", columns="kind", values=column).reindex(order)[list(aliens.kind.unique())]


def plot_tiers(aliens: pd.DataFrame):
    "Shares of sets that are inside, at the edge and outside, for each odd set and kind of data."
    kinds, order = aliens.kind.unique(), wide_table(aliens, "inside").index
    height = 0.23 * len(order) + 1
    fig, axes = plt.subplots(1, len(kinds), figsize=(9, height), sharey=True, layout="constrained")
    for ax, kind in zip(axes, kinds):
        rows, left = aliens[aliens.kind == kind].set_index("set").reindex(order), 0
        for tier, colour in COLOURS.items():
            ax.barh(np.arange(len(order)), rows[tier], left=left, color=colour, label=tier)
            left = left + rows[tier]
        for i in np.flatnonzero(rows.inside.isna()):
            ax.text(0.5, i, "does not apply", ha="center", va="center", fontsize=7, color="0.5")
        ax.axhline(len(FAIR) - 0.5, color="k", lw=0.8)
        ax.set(title=kind, xlim=(0, 1), xlabel="share of sets")
    axes[0].set_yticks(np.arange(len(order)), order)
    axes[0].invert_yaxis()
    fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return fig


def plot_power(power: pd.DataFrame):
    "Share of sets that are noticed by number of galaxies: of an unseen library, and false alarms (dashed)."
    fig, ax = plt.subplots(figsize=(5.5, 3.4), layout="constrained")
    for colour, (kind, rows) in zip(("C0", "C1", "C2", "C3"), power.groupby("kind", sort=False)):
        ax.plot(rows.n_galaxies, rows.power, "o-", color=colour, ms=4, label=kind)
        ax.plot(rows.n_galaxies, rows.false_alarm, "--", color=colour, lw=1)
    ax.plot([], [], "k--", lw=1, label="false alarms")
    ax.set(
        xscale="log", xlabel="galaxies in a set", ylabel="share of sets not called inside", ylim=(-0.02, 1.05)
    )
    ax.legend(frameon=False, fontsize=8)
    return fig
