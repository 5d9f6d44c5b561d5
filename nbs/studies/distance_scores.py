"""How well a straight line in each distance predicts the error of a held-out simulation, and how surely.

Part of the study in `which_distance.ipynb`; not installed with gencast. `score_distances` scores what
`distance_contest.measure_contest` measured, `compare` and `choose_without` set two distances against each
other, and `error_limits` says what a distance could know at best.
"""

import warnings

import numpy as np
import pandas as pd

from gencast.core.arguments import Array, takes
from gencast.core.base import InputError

FORMS = ("linear", "log")  # a line in the distance, or in its logarithm
SCORES = ("r2", "mae", "rank")


def line_sums(
    # of ordered pairs, (n_sim, n_sim); or [k] in features without k, (n_sim, n_sim, n_sim)
    values: np.ndarray,
) -> np.ndarray:  # [m, k]: without simulations m and k; last m: without k only. Shape (n_sim + 1, n_sim)
    "Sums over ordered pairs of different simulations, without the pairs of two simulations in turn."
    n = values.shape[-1]
    cube = values if values.ndim == 3 else np.broadcast_to(values, (n, n, n))
    values = np.where(np.eye(n, dtype=bool), 0, cube)
    own = values.sum(axis=1) + values.sum(axis=2)  # [k, m]: pairs in which m takes part
    at = np.arange(n)
    without = values.sum(axis=(1, 2)) - own[at, at]  # pairs without k
    return np.vstack([without - own.T + values[at, :, at].T + values[at, at].T, without])


@takes(distance=Array("...", masked=True, least=0), log_mse=Array("n_sim n_sim", masked=True, least=0))
def predict_heldout(
    # [k]: in features chosen without simulation k, diagonal ignored, (n_sim, n_sim, n_sim)
    distance: np.ndarray,
    log_mse: np.ndarray,  # log10 MSE, source x target, dex, shape (n_sim, n_sim)
) -> np.ndarray:  # dex, shape (n_sim + 1, n_sim, n_sim)
    """Predictions of a line through all pairs for every target held out; a constant where all distances are
    equal. Raises `InputError` for fewer than 5 simulations and for values that are not finite.

    Entry [m, k, i] is the prediction for source i and target k from pairs without k and m; the last m leaves
    out k alone. It is nan where i = k and where m takes part.
    """
    n = len(log_mse)
    if distance.shape != (n, n, n) or n < 5:
        raise InputError(
            f"predict_heldout: distances of shape {distance.shape} for errors of shape {log_mse.shape}; give "
            "(n_sim, n_sim, n_sim) and (n_sim, n_sim) with at least 5 simulations"
        )
    off = ~np.eye(n, dtype=bool)
    if not np.isfinite(distance[:, off]).all() or not np.isfinite(log_mse[off]).all():
        raise InputError(
            "predict_heldout: a distance or an error of two different simulations is not finite; leave out "
            "that distance or that simulation"
        )
    x0, y0 = distance[:, off].mean(axis=1)[:, None, None], log_mse[off].mean()
    x, y = np.where(off, distance - x0, 0), np.where(off, log_mse - y0, 0)
    count, sx, sy, sxx, sxy = (line_sums(v) for v in (np.ones((n, n)), x, y, x * x, x * y))
    spread = sxx - sx**2 / count
    varies = spread > 1e-12 * (sxx + 1e-300)
    slope = np.divide(sxy - sx * sy / count, spread, out=np.zeros_like(sx), where=varies)
    at = np.arange(n)
    level = (sy - slope * sx)[..., None] / count[..., None]
    predicted = level + slope[..., None] * x[at, :, at] + y0
    predicted[:, at, at] = np.nan
    predicted[at, at] = predicted[at, :, at] = np.nan
    return predicted


@takes(values=Array("... n", blank=True))
def ranks(values: np.ndarray) -> np.ndarray:  # mean ranks, nan where nan, shape of `values`
    "Ranks along the last axis, nan left out, ties sharing their mean rank."
    below, same = (op(values[..., None, :], values[..., :, None]).sum(axis=-1) for op in (np.less, np.equal))
    return np.where(np.isnan(values), np.nan, below + (same + 1) / 2)


def score_heldout(
    predicted: np.ndarray,  # from `predict_heldout`, shape (..., n_sim, n_sim), target x source
    log_mse: np.ndarray,  # source x target, dex, shape (n_sim, n_sim)
) -> np.ndarray:  # r2, mae (dex), rank; shape (..., 3)
    "R2, mean absolute error, and rank correlation over the sources of a target, averaged over targets."
    true = np.where(np.isnan(predicted), np.nan, log_mse.T)
    error = predicted - true
    variance = (true - np.nanmean(true, axis=(-2, -1), keepdims=True)) ** 2
    a, b = (r - np.nanmean(r, axis=-1, keepdims=True) for r in (ranks(predicted), ranks(true)))
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.nansum(a * b, axis=-1) / np.sqrt(np.nansum(a**2, axis=-1) * np.nansum(b**2, axis=-1))
    r2 = 1 - np.nansum(error**2, axis=(-2, -1)) / np.nansum(variance, axis=(-2, -1))
    return np.stack([r2, np.nanmean(np.abs(error), axis=(-2, -1)), np.nanmean(rho, axis=-1)], axis=-1)


def score_quietly(predicted: np.ndarray, log_mse: np.ndarray) -> np.ndarray:
    "`score_heldout` without NumPy's warnings of empty means: a simulation that is left out has no pairs."
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return score_heldout(predicted, log_mse)


def jackknife_error(
    replicates: np.ndarray,  # a score with each simulation left out, shape (n_sim, ...)
) -> np.ndarray:  # shape (...)
    "Standard error of a score over simulations, from leaving out one at a time (Efron & Stein 1981)."
    n = len(replicates)
    return np.sqrt((n - 1) / n * ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0))


def score_distances(
    distances: dict,  # (property, choice, distance) -> from `distance_contest.measure_contest`
    log_mse: dict,  # property -> source x target, dex, shape (n_sim, n_sim)
) -> tuple[pd.DataFrame, dict]:
    """Score every distance, with standard errors over simulations. Raises `InputError`.

    Gives a table with one row for each property, choice, distance and form of the line, and a dict
    (property, choice, distance, form) -> (predictions, scores of each jackknife replicate).
    """
    _check_contest(distances, log_mse)
    rows, scored = [], {}
    for (p, c, m), d in distances.items():
        sizes = {}
        d = Array("n_sim n_sim n_sim", masked=True).read(d, f"score_distances: distance {m}", sizes)
        true = Array("n_sim n_sim", masked=True).read(log_mse[p], f"score_distances: log_mse of {p}", sizes)
        off = ~np.eye(len(d), dtype=bool)
        forms = FORMS if (d[:, off] > 0).all() else FORMS[:1]  # a distance of zero has no logarithm
        for form in forms:
            x = np.log10(np.where(off, d, 1)) if form == "log" else d
            predicted = predict_heldout(x, true)
            scores = score_quietly(predicted, true)
            scored[p, c, m, form] = predicted, scores
            row = {"property": p, "choice": c, "distance": m, "form": form}
            for s, value, error in zip(SCORES, scores[-1], jackknife_error(scores[:-1])):
                row |= {s: value, f"{s}_se": error}
            rows.append(row)
    return pd.DataFrame(rows), scored


def _check_contest(distances: dict, log_mse: dict) -> None:
    "`InputError` unless both are dicts, and every distance has errors of its property."
    sound = isinstance(distances, dict) and isinstance(log_mse, dict)
    if not sound or not all(isinstance(k, tuple) and len(k) == 3 and k[0] in log_mse for k in distances):
        raise InputError(
            "score_distances: give {(property, choice, distance): array} and {property: array}, with errors "
            "for every property"
        )


def compare(
    scored: dict,  # from `score_distances`
    one: tuple,  # (property, choice, distance, form)
    other: tuple,
) -> pd.DataFrame:  # score, one, other, difference (one - other), se, times (difference / se); a row a score
    "The scores of two distances and their difference, with its error over simulations. Raises `InputError`."
    for k in (one, other):
        if not isinstance(k, tuple) or not all(isinstance(word, str) for word in k) or k not in scored:
            raise InputError(
                f"compare: there is no distance {k}; give (property, choice, distance, form) of a row of the "
                "table"
            )
    a, b = scored[one][1], scored[other][1]
    gap, error = a[-1] - b[-1], jackknife_error((a - b)[:-1])
    times = np.divide(gap, error, out=np.full(3, np.nan), where=error > 0)
    return pd.DataFrame(
        {"score": SCORES, "one": a[-1], "other": b[-1], "difference": gap, "se": error, "times": times}
    )


def choose_without(
    scored: dict,  # from `score_distances`
    log_mse: dict,  # as for `score_distances`
    property: str,
    against: tuple,  # (choice, distance, form) to compare with
) -> dict:
    """The mean absolute error (dex) when the distance for each target is chosen on all pairs without it.
    Raises `InputError`.

    Gives `mae`, that of `against`, their `difference` with its `se`, and `chosen`: for each (choice,
    distance, form) the number of targets that chose it.
    """
    keys = [k for k in scored if k[0] == property]
    if not isinstance(against, tuple) or (property, *against) not in keys:
        raise InputError(
            f"choose_without: there is no distance {against} for {property!r}; give (choice, distance, form) "
            "of a row of the table"
        )
    best = np.argmin([scored[k][1][:-1, 1] for k in keys], axis=0)  # [k]: which wins without k
    true = _finite_errors(log_mse, property, len(best))

    def absolute_error(k):
        return np.abs(scored[k][0][-1] - true.T)

    def mean_without(x, m):
        return np.nanmean(np.delete(np.delete(x, m, 0), m, 1))

    chosen = np.array([absolute_error(keys[b])[t] for t, b in enumerate(best)])
    fixed = absolute_error((property, *against))
    gaps = np.array([mean_without(chosen, m) - mean_without(fixed, m) for m in range(len(best))])
    return {
        "mae": np.nanmean(chosen),
        "against": np.nanmean(fixed),
        "difference": np.nanmean(chosen) - np.nanmean(fixed),
        "se": float(jackknife_error(gaps)),
        "chosen": pd.Series([keys[b][1:] for b in best]).value_counts().to_dict(),
    }


def _finite_errors(log_mse: dict, property: str, n: int) -> np.ndarray:
    "The errors of a property, checked; `InputError`."
    advice = "give the same as for `score_distances`"
    if not isinstance(log_mse, dict) or property not in log_mse:
        raise InputError(f"choose_without: log_mse has no errors for {property!r}; {advice}")
    shape = Array("n_sim n_sim", masked=True)
    true = shape.read(log_mse[property], f"choose_without: log_mse of {property}", {"n_sim": n})
    if not np.isfinite(true).any():
        raise InputError(f"choose_without: log_mse of {property} has no finite value; {advice}")
    return true


def offset_places(
    bias: np.ndarray,  # mean of predicted less true, source x target, shape (n_sim, n_sim)
) -> tuple[np.ndarray, float]:  # places, mean zero, shape (n_sim,); share of the sum of squares explained
    "Least-squares places c with b_ij = c_i - c_j."
    off = ~np.eye(len(bias), dtype=bool)
    b = np.where(off, bias, 0)
    place = (b.sum(axis=1) - b.sum(axis=0)) / (2 * len(b))
    left = (b - (place[:, None] - place))[off]
    return place, 1 - (left**2).sum() / (b[off] ** 2).sum()


def pair_correlation(a: np.ndarray, b: np.ndarray) -> float:
    "Pearson correlation of two matrices over pairs of different simulations."
    off = ~np.eye(len(a), dtype=bool)
    return float(np.corrcoef(a[off], b[off])[0, 1])


@takes(
    log_mse=Array("n_sim n_sim", low=-300, high=300, least=3),
    bias=Array("n_sim n_sim", low=-1e100, high=1e100),
)
def error_limits(
    log_mse: np.ndarray,  # source x target, dex, shape (n_sim, n_sim)
    bias: np.ndarray,  # mean of predicted less true, source x target, shape (n_sim, n_sim)
) -> dict:  # symmetric_ceiling (R2), offset_share, offset_on_one_axis, places_with_error (correlation)
    """Which part of the errors a distance could know, and which part is offset. Raises `InputError` where all
    errors or offsets are the same, or the offsets have no direction.
    """
    off = ~np.eye(len(bias), dtype=bool)
    if np.ptp(log_mse[off]) == 0 or np.ptp(bias[off]) == 0 or not (bias - bias.T)[off].any():
        raise InputError(
            "error_limits: all errors or all offsets are the same, or the offsets have no direction; give "
            "simulations that differ"
        )
    place, along = offset_places(bias)
    return {
        "symmetric_ceiling": pair_correlation(log_mse, (log_mse + log_mse.T) / 2) ** 2,
        "offset_share": float(np.mean(bias[off] ** 2 / 10 ** log_mse[off])),
        "offset_on_one_axis": along,
        "places_with_error": pair_correlation(np.abs(place[:, None] - place), log_mse),
    }
