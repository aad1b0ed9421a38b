r"""How often experts prefer a network's score to an expert's: choices in, tables out.

An expert sees an image with two scores, the target (an expert's) and the predicted one,
and chooses one, both (equivalent) or neither (discard). Of the N that were not
discarded, T chose the target, P the predicted score and E both. Of each expert and bin
of the target:

    confusion    1 - |P - T| / N     1: the two cannot be told apart; 0: always the same
    domination   P / (T + P)         1/2: balance; not known where T + P = 0
    win share    P / N

after Eq. 1 of "Rating super-resolution microscopy images with deep learning", whose
printed domination is cut off; P / (T + P) is what its text says. Means and standard
deviations are over experts, as in its tables 1 and 2; neither measure of pooled choices
is the mean over experts. An expert for whom a measure is not known is not in its mean,
and n says how many are. Nothing here knows pages or files.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.statistics.bootstrap import LEVEL

EDGES: Final = (0.0, 20.0, 40.0, 60.0, 80.0, 100.0)
"""Of bins of the target; the last one has its upper edge."""
ALL: Final = "all"
"""Name of all bins together."""
BINS: Final = tuple(f"{low:g}-{high:g}" for low, high in pairwise(EDGES))
Counts = pd.Series | NDArray[np.int64]
MEASURES: Final = ("confusion", "domination", "win_share")
_COUNTS: Final = {
    "target": "n_target",
    "predicted": "n_predicted",
    "equivalent": "n_equivalent",
    "discard": "n_discard",
}


class Interval(NamedTuple):
    """Where the mean over all experts is expected; NaN where it is not known."""

    low: float = np.nan
    high: float = np.nan


def bin_of(target: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number in `BINS` of each target, 0 to 100.

    Examples
    --------
    >>> bin_of(np.array([0, 19.9, 20, 100])).tolist()
    [0, 0, 1, 4]
    """
    return np.searchsorted(EDGES[1:-1], target, side="right")


def count_choices(choices: pd.DataFrame) -> pd.DataFrame:
    """Count the choices of each arm, expert and bin, and of all bins together.

    Parameters
    ----------
    choices
        Columns arm, expert, choice and target, see `study_folder.read_choices`.

    Returns
    -------
    DataFrame
        Columns arm, expert, bin (of `BINS`, or `ALL`), n_target, n_predicted,
        n_equivalent, n_discard, n (without discarded ones), and `MEASURES`, NaN where
        not known. Bins of which an expert saw nothing have no row.
    """
    known = choices[["arm", "expert", "choice"]].reset_index(drop=True)
    names = np.array(BINS, dtype=object)
    number = bin_of(choices["target"].to_numpy(np.float64))
    parts = [known.assign(bin=names[number]), known.assign(bin=ALL)]
    every = pd.concat(parts, ignore_index=True)
    keys = ["arm", "expert", "bin"]
    counts = {
        column: (every["choice"] == choice).groupby([every[k] for k in keys]).sum()
        for choice, column in _COUNTS.items()
    }
    table = pd.DataFrame(counts).astype(np.int64).reset_index()
    table["n"] = table[["n_target", "n_predicted", "n_equivalent"]].sum(axis=1)
    measured = measure_counts(table["n_target"], table["n_predicted"], table["n"])
    table = table.assign(**measured)
    order = {name: k for k, name in enumerate((*BINS, ALL))}
    return table.sort_values(
        keys, key=lambda c: c.map(order) if c.name == "bin" else c, ignore_index=True
    )


def measure_counts(
    n_target: Counts, n_predicted: Counts, n: Counts
) -> dict[str, NDArray[np.float64]]:
    """Return `MEASURES` of counts; NaN where what they are divided by is 0.

    Examples
    --------
    >>> five = measure_counts(*(np.array([k]) for k in (3, 1, 5)))
    >>> {name: float(value[0]) for name, value in five.items()}
    {'confusion': 0.6, 'domination': 0.25, 'win_share': 0.2}
    """
    t, p, every = (np.asarray(c, np.float64) for c in (n_target, n_predicted, n))
    some, either = (np.where(c > 0, c, np.nan) for c in (every, t + p))
    return {
        "confusion": 1 - np.abs(p - t) / some,
        "domination": p / either,
        "win_share": p / some,
    }


def average_experts(
    counts: pd.DataFrame, *, n_boot: int = 2000, seed: int = 0
) -> pd.DataFrame:
    """Return mean, standard deviation and interval over experts of each measure.

    Parameters
    ----------
    counts
        Of `count_choices`.
    n_boot
        How often experts are drawn again for the interval; 0: no intervals.
    seed
        Of these draws.

    Returns
    -------
    DataFrame
        One row for each arm, bin and measure: arm, bin, measure, mean, sd (of a sample;
        NaN of one expert), low, high (95 % interval of the mean), n_experts (who are in
        the mean), n_undefined (who are not, since it is not known for them), n (choices
        that were not discarded) and n_discard, of all experts.
    """
    rng = np.random.default_rng(seed)
    rows = []
    arms, bins = sorted(set(counts["arm"])), (*BINS, ALL)
    for arm in arms:
        for name in bins:
            own = counts[(counts["arm"] == arm) & (counts["bin"] == name)]
            for kind in MEASURES if len(own) else ():
                values = own[kind].to_numpy(np.float64)
                known = values[np.isfinite(values)]
                row = {"arm": arm, "bin": name, "measure": kind}
                row |= _average(known, interval_over_experts(known, n_boot, rng))
                row |= {"n_undefined": len(values) - len(known)}
                row |= {"n": int(own["n"].sum())}
                rows.append(row | {"n_discard": int(own["n_discard"].sum())})
    names = ["arm", "bin", "measure", "mean", "sd", "low", "high"]
    numbers = ["n_experts", "n_undefined", "n", "n_discard"]
    return pd.DataFrame(rows, columns=[*names, *numbers])


def _average(values: NDArray[np.float64], interval: Interval) -> dict[str, object]:
    n = len(values)
    return {
        "mean": float(values.mean()) if n else np.nan,
        "sd": float(values.std(ddof=1)) if n > 1 else np.nan,
        "low": interval.low,
        "high": interval.high,
        "n_experts": n,
    }


def interval_over_experts(
    values: NDArray[np.float64], n_boot: int, rng: np.random.Generator
) -> Interval:
    """Return the 95 % interval of the mean of values (n,), one of each expert.

    Experts are drawn again with replacement. The bootstrap gives the variance, and the
    interval is Student's about the mean, since experts are few: quantiles of the
    bootstrap of five of them hold the truth in four of five studies only. NaN with
    fewer than two experts; values are shares, so limits are within 0 and 1.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2 or n_boot < 2:
        return Interval()
    means = values[rng.integers(0, n, (n_boot, n))].mean(axis=1)
    # Drawing from n experts shows (n - 1) / n of the variance between experts.
    spread = float(np.sqrt(means.var(ddof=1) * n / (n - 1)))
    half, mean = float(t.ppf((1 + LEVEL) / 2, n - 1)) * spread, float(values.mean())
    return Interval(max(mean - half, 0.0), min(mean + half, 1.0))
