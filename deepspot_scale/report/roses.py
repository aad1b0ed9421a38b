"""Roses: where about the nucleus the spots of a condition lie, cells in, petals out.

A petal's length is the spots found in it over those that uniform spots would give, so
a circle of radius 1 is "no direction". Nothing here reads files or images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.kernels.sectors import sector_sums
from deepspot_scale.report.figures import BLUE, INK, SKY, group_names, new_figure
from deepspot_scale.statistics.polarity_tests import iter_groups, usable_cells
from deepspot_scale.statistics.sector_index import CellBins, SectorIndex, stream
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KEYS: Final = ["channel", "condition", "gene"]
MOST_ROSES: Final = 24
"""More cannot be told apart on a page; all are in the table."""
_NEAR: Final = 18
"""About so many petals a rose."""
_COLUMNS = (
    *(Column(name, "string", "") for name in KEYS),
    Column("from_deg", "float64", "counter-clockwise from the reference"),
    Column("to_deg", "float64", "its other edge"),
    Column("concentration", "float64", "spots over those of uniform spots; 1: none"),
    Column("low", "float64", "95 % bootstrap interval over cells"),
    Column("high", "float64", "its upper end"),
    Column("n_cells", "int64", "cells used"),
)


def measure_roses(
    cells: pd.DataFrame, plate_map: pd.DataFrame, index: SectorIndex
) -> pd.DataFrame:
    """Measure each condition's concentration of spots in directions about the nucleus.

    Parameters
    ----------
    cells
        `vocabulary.CELLS`.
    plate_map
        Columns row, column, condition, gene.
    index
        Which cells count; how many sectors; `n_boot` for the intervals.

    Returns
    -------
    DataFrame
        channel, condition, gene, from_deg, to_deg, concentration, low, high, n_cells;
        a petal for each line. Groups with fewer than two usable cells have none.

    Notes
    -----
    In petal p, with s spots and a pixels of cytoplasm in each cell k, the
    concentration is ``sum_k s_kp / sum_k (s_k a_kp / a_k)``: cells count by their
    spots, and each is compared with its own uniform spots. Intervals are those of the
    Poisson bootstrap, which weighs each cell by draws of mean 1.
    """
    n = n_petals(index.sectors)
    tables = []
    for key, group in iter_groups(cells, plate_map, KEYS):
        bins, used = usable_cells(group, index)
        if len(used) > 1:
            petals = _petals(bins, n, index, key)
            names = dict(zip(KEYS, key, strict=True))
            tables.append(petals.assign(**names, n_cells=len(used)))
    empty = empty_table(_COLUMNS)
    return pd.concat(tables, ignore_index=True)[list(empty)] if tables else empty


def n_petals(sectors: int) -> int:
    """Return how many petals: an odd number in each sector, so that edges meet."""
    fit = [sectors * m for m in range(1, 180, 2) if 180 % (sectors * m) == 0]
    return min(fit, key=lambda n: abs(n - _NEAR))


def _petals(
    bins: CellBins, n: int, index: SectorIndex, key: tuple[str, ...]
) -> pd.DataFrame:
    rng = stream(index, key, "rose")
    # Row 0 is what was measured, the others are bootstrap samples.
    found, expected = (np.zeros((1 + index.n_boot, n)) for _ in range(2))
    for _, spots, areas in bins.chunks():
        weights = rng.poisson(1.0, (1 + index.n_boot, len(spots))).astype(np.float64)
        weights[0] = 1.0
        inside, room = sector_sums(spots, n), sector_sums(areas, n)
        share = room / room.sum(axis=1, keepdims=True)
        found += weights @ inside
        expected += weights @ (inside.sum(axis=1, keepdims=True) * share)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = np.where(expected > 0, found / expected, np.nan)
    low, high = _interval(ratios[1:])
    edges = (np.arange(n) - 0.5) * 360 / n
    return pd.DataFrame(
        {
            "from_deg": edges,
            "to_deg": edges + 360 / n,
            "concentration": ratios[0],
            "low": low,
            "high": high,
        }
    )


def _interval(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.isfinite(samples).all(axis=0) & bool(len(samples))
    ends = np.full((2, samples.shape[1]), np.nan)
    if known.any():
        ends[:, known] = np.quantile(samples[:, known], [0.025, 0.975], axis=0)
    return ends


def draw_roses(roses: pd.DataFrame, sectors: int) -> Figure:
    """Draw the roses of `measure_roses`, the reference up, at most `MOST_ROSES`."""
    groups = list(roses.groupby(KEYS, sort=False))[:MOST_ROSES]
    names = group_names(pd.DataFrame([key for key, _ in groups], columns=KEYS))
    across = min(4, len(groups))
    down = -(-len(groups) // across)
    figure = new_figure(max(5.0, 2.45 * across), 2.75 * down + 0.15)
    reach = 1.08 * float(roses[["concentration", "high"]].max().max())
    for place, (_, petals) in enumerate(groups):
        axes = figure.add_subplot(down, across, place + 1, projection="polar")
        _draw_rose(axes, petals, sectors, max(reach, 1.5))
        title = f"{names[place]}\n{petals['n_cells'].iloc[0]:,} cells"
        axes.set_title(title, fontsize=9.5, color=INK, pad=13)
    return figure


def _draw_rose(axes: object, petals: pd.DataFrame, sectors: int, reach: float) -> None:
    from matplotlib.projections.polar import PolarAxes

    if not isinstance(axes, PolarAxes):  # as add_subplot was asked for
        return
    axes.set_theta_zero_location("N")
    middle = np.radians((petals["from_deg"] + petals["to_deg"]) / 2)
    width = np.radians(petals["to_deg"] - petals["from_deg"])
    toward = np.abs(np.angle(np.exp(1j * middle))) < np.pi / sectors
    colours = np.where(toward, BLUE, SKY)
    axes.bar(middle, petals["concentration"], width * 0.92, color=colours, zorder=2)
    known = petals["low"].notna()
    low, high = petals.loc[known, "low"], petals.loc[known, "high"]
    axes.vlines(middle[known], low, high, color=INK, linewidth=1, zorder=3)
    circle = np.linspace(0, 2 * np.pi, 181)
    axes.plot(circle, np.ones(181), color="#D55E00", linewidth=1.3, zorder=4)
    axes.set_ylim(0, reach)
    axes.set_yticks([])
    axes.set_xticks([0.0], ["reference"], fontsize=8, color=INK)
    axes.tick_params(axis="x", pad=-3)
    axes.spines["polar"].set_color("#d1d5db")
    axes.grid(visible=False)
