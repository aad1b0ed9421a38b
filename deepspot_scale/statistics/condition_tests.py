"""Whether two conditions differ in polarity: a table of cells in, a line per pair out.

A well is the unit: each gives one number, its corrected index, and the labels of wells
are permuted. Cells of a well share plating, staining and focus, so a test over cells
would find differences between any two wells. With n and m wells there are
``(n + m)! / n! m!`` permutations, and p cannot be below two over that (three wells
against three: 0.1, four against four: 0.029); each line gives it as `least_p`. Nothing
here draws or reads files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.statistics import polarity_tests
from deepspot_scale.statistics.groups import WELL, draw_key, group_keys, iter_groups
from deepspot_scale.statistics.polarity_tests import Line
from deepspot_scale.statistics.sector_index import SectorIndex, measure_group, stream
from deepspot_scale.vocabulary import COMPARISONS

Values = NDArray[np.float64]


def compare_conditions(
    cells: pd.DataFrame,
    plate_map: pd.DataFrame | None = None,
    *,
    control: str | None = None,
    within: Sequence[str] = ("gene",),
    index: SectorIndex | None = None,
) -> pd.DataFrame:
    """Test pairs of conditions for a difference of their corrected index.

    Parameters
    ----------
    cells
        `vocabulary.CELLS`.
    plate_map
        As in `polarity_tests.polarity_statistics`; it must name the conditions, unless
        the column condition is in `cells`.
    control
        The condition that all others are compared with; None: all pairs.
    within
        Columns whose groups are compared separately, as channels, time points,
        acquisitions and planes always are.
    index
        How polarity is measured. `n_draws` is the largest number of permutations; if
        there are no more than that, all are tried.

    Returns
    -------
    DataFrame
        The columns of `within`, then `vocabulary.COMPARISONS`.

    Raises
    ------
    SettingsError
        A column does not exist, or no well has the control.
    """
    index = index or SectorIndex()
    keys = group_keys(["channel", *within])
    wells = _well_values(cells, plate_map, [*keys, "condition"], index)
    _check_control(control, wells)
    lines: list[Line] = []
    for key, group in wells.groupby(keys, sort=False):
        names = dict(zip(keys, key, strict=True))
        values = {
            str(name): np.asarray(value, np.float64)
            for name, value in group.groupby("condition")["value"]
        }
        for one, other in _pairs(list(values), control):
            rng = stream(index, (*draw_key(names), one, other), "permutations")
            line = _compare(values[one], values[other], index.n_draws, rng)
            lines.append(names | {"condition": one, "versus": other} | line)
    about = {"sectors": index.sectors, "rotation": index.rotation}
    return polarity_tests.finish_table(
        [line | about for line in lines], keys, COMPARISONS
    )


def _well_values(
    cells: pd.DataFrame,
    plate_map: pd.DataFrame | None,
    keys: list[str],
    index: SectorIndex,
) -> pd.DataFrame:
    """Return the corrected index of each well that has one."""
    keys = group_keys(list(dict.fromkeys([*keys, *WELL])))
    # Intervals and p values of single wells are not needed.
    bare = replace(index, n_boot=0, n_draws=0)
    rows = []
    for group in iter_groups(cells, plate_map, keys):
        bins, _ = polarity_tests.usable_cells(group.cells, bare)
        measured = measure_group(bins.spots, bins.areas, bare, group.key)
        rows.append((*group.names.values(), measured.polarity_corrected))
    table = pd.DataFrame(rows, columns=[*keys, "value"])
    return table[table["value"].notna()]


def _check_control(control: str | None, wells: pd.DataFrame) -> None:
    known = sorted(set(wells["condition"]))
    if control is not None and control not in known:
        raise SettingsError(
            f"the control must be a condition with measured wells, which are "
            f"{', '.join(known) or 'none'}; got {control!r}."
            + did_you_mean(control, known)
        )


def _pairs(names: list[str], control: str | None) -> Iterator[tuple[str, str]]:
    """Yield pairs; a control is the second of each pair."""
    if control is None:
        yield from ((b, a) for a, b in combinations(names, 2))
    elif control in names:
        yield from ((name, control) for name in names if name != control)


def _compare(
    one: Values, other: Values, n_draws: int, rng: np.random.Generator
) -> Line:
    low, high = _welch_interval(one, other)
    line: dict[str, Any] = {
        "difference": float(one.mean() - other.mean()),
        "low": low,
        "high": high,
        "exact": False,
        "n_wells": len(one),
        "n_wells_versus": len(other),
    }
    if min(len(one), len(other)) < 2 or n_draws == 0:
        return line
    return line | _permute(one, other, n_draws, rng)


def _permute(
    one: Values, other: Values, n_draws: int, rng: np.random.Generator
) -> Line:
    from scipy.stats import permutation_test

    answer = permutation_test(
        (one, other),
        lambda a, b, axis: a.mean(axis=axis) - b.mean(axis=axis),
        vectorized=True,
        n_resamples=n_draws,
        random_state=rng,
    )
    all_of_them = comb(len(one) + len(other), len(one))
    exact = all_of_them <= n_draws
    # scipy doubles the smaller side; when sampling, it counts the measured value as one
    # more draw.
    least = min(1.0, 2 / (all_of_them if exact else n_draws + 1))
    return {"p_value": float(answer.pvalue), "least_p": least, "exact": exact}


def _welch_interval(one: Values, other: Values) -> tuple[float, float]:
    """Return Welch's 95 % interval of the difference of means.

    Written out because scipy's `ttest_ind` warns where the wells of a side agree.
    """
    from scipy.stats import t

    if min(len(one), len(other)) < 2:
        return np.nan, np.nan
    parts = np.array([one.var(ddof=1) / len(one), other.var(ddof=1) / len(other)])
    if parts.sum() < 1e-24:  # all wells of each side agree to the last digits
        return np.nan, np.nan
    freedom = parts.sum() ** 2 / (parts**2 / [len(one) - 1, len(other) - 1]).sum()
    half = float(t.ppf(0.975, freedom) * np.sqrt(parts.sum()))
    difference = float(one.mean() - other.mean())
    return difference - half, difference + half
