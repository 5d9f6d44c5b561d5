"""Make nbs/images/front.png, the figure at the top of the front page and of README.md, from a finished run.

    python scripts/build_front_figure.py results/default

Left: the forecast error of every model against its true error, with the simulation that it was applied to
held out. Middle: how far off forecasts are, the more is held out with it. Right: the forecast for galaxies.
"""

import io
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

from gencast.figures.marks import draw_points, looks
from gencast.figures.style import BAND, BLACK, BLUE, GREY, INK, ORANGE, house_style, save_figure
from gencast.report.forecasts import best_forecast
from gencast.report.pairs import heldout_pairs
from gencast.report.results import Results, choices, load_results

IMAGES = Path(__file__).resolve().parent.parent / "nbs" / "images"
HELD = {  # family held out with the simulation -> words
    "": "the simulation",
    "history": "its histories",
    "dust": "its dust law",
    "ssp": "its stellar library",
}
TICKS = (0.05, 0.1, 0.2, 0.5)  # dex of RMSE


def rmse(log_mse) -> np.ndarray:
    "RMSE of a log10 MSE."
    return np.sqrt(10.0 ** np.asarray(log_mse, float))


def draw_held_out(ax, results: Results) -> None:
    "Forecast against true RMSE of every pair, on one logarithmic scale."
    rows, look = heldout_pairs(results, None), looks(results, None)
    true, told = rmse(rows.log_mse), rmse(rows.predicted)
    ax.vlines(true, rmse(rows.lower), rmse(rows.upper), color=BAND, lw=0.7, alpha=0.5, zorder=1)
    draw_points(ax, pd.Series(true), pd.Series(told), rows.target.reset_index(drop=True), look, 4)
    ends = (0.8 * min(true.min(), told.min()), 1.25 * max(true.max(), told.max()))
    ax.plot(ends, ends, color=INK, lw=1, zorder=2)
    inside = 100 * ((rows.log_mse >= rows.lower) & (rows.log_mse <= rows.upper)).mean()
    r2 = 1 - (rows.residual**2).sum() / ((rows.log_mse - rows.log_mse.mean()) ** 2).sum()
    words = f"R² = {r2:.2f}\n{inside:.0f} % within their\n90 % intervals"
    ax.text(0.04, 0.96, words, transform=ax.transAxes, va="top", fontsize=9)
    ax.set(xscale="log", yscale="log", xlim=ends, ylim=ends, aspect="equal")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(matplotlib.ticker.FixedLocator(TICKS))
        axis.set_minor_locator(matplotlib.ticker.NullLocator())
        axis.set_major_formatter("{x:g}")
    ax.set(xlabel="true error [dex]", ylabel="forecast error [dex]", title="Forecast and truth")


def held_out_scores(results: Results) -> pd.DataFrame:
    "How far off the law of the forecasts is, by what was held out."
    which, table = choices(results), results.scores
    rows = table[(table.target == "all") & (table["view"] == which["view"]) & (table.law == which["law"])]
    rows = rows[(rows.property == which["property"]) & (rows.distance == which["distance"])]
    family = rows.family.fillna("").astype(str)
    return rows.assign(words=family.map(HELD)).dropna(subset="words").set_index("words")


def draw_scores(ax, results: Results) -> None:
    "Typical factor between forecast and true RMSE, the more is held out."
    found, which = held_out_scores(results), choices(results)
    table = results.scores[(results.scores.target == "all") & (results.scores["view"] == which["view"])]
    constant = 10 ** (table[table.law == "constant"].mae_dex.iloc[0] / 2)
    words = [w for w in HELD.values() if w in found.index]
    for y, name in enumerate(words):
        factor = 10 ** (found.mae_dex[name] / 2)
        ax.plot(factor, y, "o", color=BLUE, ms=8)
        ax.text(factor + 0.012, y, f"×{factor:.2f}", va="center", fontsize=9)
    ax.axvline(constant, color=GREY, lw=1, ls=":")
    ax.text(constant - 0.006, -0.42, "no law: the mean", ha="right", va="center", fontsize=8, color=GREY)
    ax.set_yticks(range(len(words)), words)
    ax.set(ylim=(len(words) - 0.5, -0.75), xlim=(1, constant + 0.05), title="What was held out")
    ax.set_xlabel("typical factor between forecast and truth")
    ax.grid(axis="y", visible=False)


def draw_survey(ax, results: Results) -> None:
    "The forecast of the best model for each survey, beside its error on its own simulation."
    rows = results.forecasts[results.forecasts.kind != "simulation"]
    names = {"sdss_spectra": "SDSS spectra", "sdss_photometry": "SDSS ugriz"}
    for y, target in enumerate(rows.target.unique()):
        best = best_forecast(results, target)
        own = results.errors.query("source == @best.source and target == @best.source")
        own = own[(own["view"] == best.view) & (own.property == best.property)].rmse.iloc[0]
        ax.hlines(y, best.lower, best.upper, color=BLUE, lw=5, alpha=0.35)
        ax.plot(best.rmse, y, "o", color=BLUE, ms=8, label="forecast, 90 % interval" if not y else None)
        ax.plot(own, y, "|", color=ORANGE, ms=14, mew=2.5, label="on its own simulation" if not y else None)
        words = f"{names.get(target, target)}: {best.rmse:.2f} dex"
        ax.text(best.rmse, y - 0.17, words, ha="center", va="bottom", fontsize=9, color=BLACK)
    ax.set(ylim=(y + 0.5, -0.75), yticks=[], title="Real galaxies", xlabel="error in log stellar mass [dex]")
    ax.set_xlim(left=0)
    ax.grid(axis="y", visible=False)
    ax.legend(loc="lower right", fontsize=8, frameon=False)


def front_figure(results: Results):
    "The three panels."
    with house_style():
        fig, axes = plt.subplots(1, 3, figsize=(10.6, 3.7), gridspec_kw={"width_ratios": [1.05, 0.9, 1]})
        draw_held_out(axes[0], results)
        draw_scores(axes[1], results)
        draw_survey(axes[2], results)
    return axes


def main(results: str) -> None:
    "Draw, save, and shrink the PNG."
    png = save_figure(front_figure(load_results(results)), IMAGES / "front", ("png",), dpi=200)[0]
    small = io.BytesIO()
    Image.open(png).convert("RGB").quantize(128).save(small, "PNG", optimize=True)
    png.write_bytes(small.getvalue())
    print(f"{png}: {png.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main(*sys.argv[1:] or ["results/default"])
