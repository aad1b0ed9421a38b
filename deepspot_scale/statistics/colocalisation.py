"""Shares of spots with a partner, by condition and well, and how sure they are.

Rows of cells (`vocabulary.CELL_PAIRS`) and counts of images come in,
`vocabulary.COLOCALISATION` goes out. The share of a group is a ratio of sums, pairs of
all cells over spots of all cells, so a cell counts as much as it has spots. Its
variance over cells (or wells) is that of the linearised ratio: what a bootstrap of
cells comes to when it is drawn for ever, without its noise (Cochran, Sampling
Techniques, 1977, section 6.4). The interval is Wilson's for as many independent spots
as would vary so, see `statistics.bootstrap`. Nothing here knows images or files.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.statistics.bootstrap import LEVEL, Interval, share_interval
from deepspot_scale.statistics.groups import WELL, group_keys, iter_groups
from deepspot_scale.tables import make_table
from deepspot_scale.vocabulary import COLOCALISATION

_KEYS: Final = ["channel", "other", "condition", "gene"]
_COUNTS: Final = ["n_spots", "n_other", "n_pairs"]
_RANGE: Final = 1.96
Line = dict[str, Any]


def summarise_pairs(
    cells: pd.DataFrame, images: pd.DataFrame, plate_map: pd.DataFrame
) -> pd.DataFrame:
    """Return the shares of each condition, and of each of its wells.

    Parameters
    ----------
    cells
        `vocabulary.CELL_PAIRS`; may be empty.
    images
        A row for each image and pair of channels: row, column, field, acquisition, t,
        z, channel, other, n_spots, n_other and n_pairs, in cells or not.
    plate_map
        As in `groups.with_plate_map`.

    Returns
    -------
    DataFrame
        `vocabulary.COLOCALISATION`: a condition's line, then those of its wells.
    """
    lines: list[Line] = []
    for keys in (_KEYS, [*_KEYS, *WELL]):
        counted, measured = (
            {tuple(names.values()): rows for names, rows in _groups(table, plate, keys)}
            for table, plate in ((images, plate_map), (cells, plate_map))
        )
        for key in dict.fromkeys((*counted, *measured)):
            names = dict(zip(group_keys(keys), key, strict=True))
            if names.get("row") == "":  # outside a plate there are no wells
                continue
            whole = {"row": "", "column": ""} | names
            own = measured.get(key, cells.iloc[:0])
            lines.append(whole | _measure(counted.get(key, images.iloc[:0]), own))
    order = [*group_keys(_KEYS), *WELL]
    lines.sort(key=lambda line: [_natural(name, line[name]) for name in order])
    return make_table(lines, COLOCALISATION)


def _natural(name: str, value: Any) -> Any:
    return str(value).rjust(8) if name in WELL and value != "" else value


def _groups(
    table: pd.DataFrame, plate_map: pd.DataFrame, keys: list[str]
) -> Iterator[tuple[Line, pd.DataFrame]]:
    if len(table):
        for group in iter_groups(table, plate_map, keys):
            yield group.names, group.cells


def _measure(images: pd.DataFrame, cells: pd.DataFrame) -> Line:
    n_spots, n_other, n_pairs = (int(images[name].sum()) for name in _COUNTS)
    wells = {*zip(images["row"], images["column"], strict=True)}
    wells |= {*zip(cells["row"], cells["column"], strict=True)}
    return {
        "n_wells": len(wells),
        "n_spots": n_spots,
        "n_other": n_other,
        "n_pairs": n_pairs,
        "share_all": _ratio(n_pairs, n_spots),
        **_measure_cells(cells[cells["n_spots"] > 0]),
    }


def _measure_cells(cells: pd.DataFrame) -> Line:
    n_spots, n_pairs = (cells[n].to_numpy(np.int64) for n in ("n_spots", "n_pairs"))
    share = _ratio(int(n_pairs.sum()), int(n_spots.sum()))
    by_well = cells.groupby(WELL, sort=False)[["n_spots", "n_pairs"]].sum()
    over_cells = ratio_interval(n_pairs, n_spots, few=False)
    over_wells = ratio_interval(
        *(by_well[n].to_numpy() for n in ("n_pairs", "n_spots"))
    )
    chance, spread = _chance(cells, n_spots)
    return {
        "n_cells": len(cells),
        "n_spots_cells": int(n_spots.sum()),
        "n_pairs_cells": int(n_pairs.sum()),
        "share": share,
        "low": over_cells.low,
        "high": over_cells.high,
        "low_wells": over_wells.low,
        "high_wells": over_wells.high,
        "chance": chance,
        # Not by `max(0, NaN)`, which would be 0.
        "chance_low": float(np.maximum(chance - _RANGE * spread, 0.0)),
        "chance_high": float(np.minimum(chance + _RANGE * spread, 1.0)),
        "excess": share - chance,
        "ratio": _ratio(share, chance),
    }


def _chance(cells: pd.DataFrame, n_spots: NDArray[np.int64]) -> tuple[float, float]:
    """Return mean and standard deviation of a group's share by chance.

    The cells' draws are independent. Sums are exact, whatever the order of cells.
    """
    total = int(n_spots.sum())
    if total == 0:
        return np.nan, np.nan
    mean = math.fsum(n_spots * cells["chance"].to_numpy()) / total
    variance = math.fsum((n_spots * cells["chance_sd"].to_numpy()) ** 2) / total**2
    return mean, math.sqrt(variance)


def _ratio(above: float, below: float) -> float:
    return above / below if below else np.nan


def ratio_interval(
    above: NDArray[np.int64], below: NDArray[np.int64], *, few: bool = True
) -> Interval:
    """Return the 95 % interval of the share that is a ratio of sums over units.

    Parameters
    ----------
    above, below
        (n,) counts of each unit, a cell or a well; its share is their ratio.
    few
        Whether units are few, so that Student's t has to be taken.

    Returns
    -------
    Interval
        NaN with fewer than two units, or where nothing was counted.
    """
    from scipy.stats import norm, t

    n, total = len(above), int(below.sum())
    if n < 2 or total == 0:
        return Interval()
    share = int(above.sum()) / total
    rest = math.fsum((above - share * below) ** 2)
    variance = rest / total**2 * n / (n - 1)
    quantile = t.ppf((1 + LEVEL) / 2, n - 1) if few else norm.ppf((1 + LEVEL) / 2)
    return share_interval(share, total, variance, float(quantile))
