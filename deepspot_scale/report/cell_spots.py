"""How many spots the cells of every well have: a run in, figures and tables out.

Every cell counts, and every well is drawn: no bar stands for a mean alone. Nothing here
counts spots.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.report.figures import INK, group_names, new_figure
from deepspot_scale.report.html import Plot, occasions, without_lone
from deepspot_scale.report.page_folder import PageFiles
from deepspot_scale.report.sections import MOST_SHOWN
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.groups import WELL, natural_order, with_plate_map
from deepspot_scale.statistics.left_out import without_left_out
from deepspot_scale.statistics.roses import KEYS
from deepspot_scale.statistics.spot_counts import add_counts, count_cells, spread
from deepspot_scale.vocabulary import OCCASION
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS: Final = (
    *("#0072B2", "#E69F00", "#009E73", "#CC79A7"),
    *("#D55E00", "#56B4E9", "#6b7280"),
)
"""Okabe and Ito's palette, in an order in which neighbours differ."""
_MOST_WELLS_NAMED: Final = 48
_MOST_POOLED: Final = 16
"""Most conditions whose distribution is drawn; all are in the table."""
_STEPS: Final = 40
"""Most steps of a distribution's outline."""


def read_counts(run: RunResults) -> pd.DataFrame:
    """Return `spot_counts.count_cells` of a run, with condition, gene and replicate."""
    if "cells" not in run.contents.tables:
        return pd.DataFrame()
    names = ["channel", *OCCASION, "n_spots"]
    left_out = run.summaries["left_out"]
    parts = [
        count_cells(without_left_out(part, left_out))
        for _, part in run.iter_parts("cells", names)
    ]
    parts = [part for part in parts if len(part)]
    if not parts:
        return pd.DataFrame()
    named = with_plate_map(add_counts(parts), run.plate_map)
    order = ["channel", *OCCASION, "condition", "gene", *WELL, "n_spots"]
    return named.sort_values(order, key=natural_order, ignore_index=True)


def spread_section(run: RunResults, files: PageFiles) -> str:
    """Return figures and numbers of spots per cell as HTML; empty: no cells."""
    counts = read_counts(run)
    if counts.empty:
        return ""
    drawn = "".join(map(files.figure, spread_figures(counts)))
    table = spread_table(counts)
    numbers = files.table("spots_per_cell_by_condition", table, table)
    return (
        f"<h3>Spots per cell</h3>{drawn}<details><summary>Numbers of the conditions"
        f"</summary>{numbers}</details>"
    )


def spread_table(counts: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each condition: wells, cells, and how their spots spread."""
    table = spread(counts, KEYS)
    wells = counts.drop_duplicates([*KEYS, *WELL]).groupby(KEYS, sort=False).size()
    table.insert(len(KEYS), "n_wells", wells.loc[[*wells.index]].to_numpy())
    return without_lone(table)


def spread_figures(counts: pd.DataFrame) -> Iterator[Plot]:
    """Yield, for each channel and occasion, every well and every condition."""
    named = counts.assign(occasion=occasions(counts))
    several = named["channel"].nunique() > 1
    for channel, of_channel in named.groupby("channel", sort=False):
        for when, own in [*of_channel.groupby("occasion", sort=False)][:MOST_SHOWN]:
            words = ", ".join(filter(None, (str(channel), str(when))))
            plain = re.sub("[^A-Za-z0-9]+", "_", words if several else str(when))
            n_cells = plural(int(own["n_cells"].sum()), "cell")
            columns = [*WELL, *KEYS, "replicate", "n_spots", "n_cells"]
            left = own.drop_duplicates(KEYS).shape[0] - _MOST_POOLED
            more = f" {left} further conditions are in the table." if left > 0 else ""
            yield Plot(
                f"spots_per_cell_{plain}".rstrip("_"),
                draw_spread(own),
                own[columns],
                f"Spots per cell of every well and condition, {words}",
                f"{escape(words)}, {n_cells}. Left: each well, by condition; dot: "
                "median, thick: half of its cells, thin: 90 %, faint: all. Right: the "
                "pooled cells of each condition; line: median. The CSV has the number "
                f"of cells at each count of spots.{more}",
            )


def draw_spread(counts: pd.DataFrame) -> Figure:
    """Draw the cells of one channel and occasion, by well and pooled by condition.

    `counts` are of `read_counts`, at least one line.
    """
    wells = spread(counts, [*KEYS, *WELL])
    groups = wells[KEYS].drop_duplicates().reset_index(drop=True)
    place = groups.assign(group=np.arange(len(groups)))
    wells = wells.merge(place, on=KEYS)
    figure = new_figure(9.6, 3.5)
    n_pooled = min(len(groups), _MOST_POOLED)
    ratios = (2.2, float(np.clip(0.28 * n_pooled, 0.7, 2.2)))
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=ratios)
    _set_scale(left, wells)
    _draw_wells(left, wells)
    names = group_names(groups)
    for number in range(n_pooled):
        own = counts.merge(groups.iloc[[number]], on=KEYS)
        _draw_pooled(right, own, number, float(wells["most"].max()))
    cells = wells.groupby("group")["n_cells"].sum()
    labels = [f"{names[k]}\nn = {cells[k]:,}" for k in range(n_pooled)]
    turned = n_pooled > 4 or any(len(name) > 14 for name in names[:n_pooled])
    right.set_xticks(range(n_pooled), labels, fontsize=8, rotation=90 * turned)
    right.set_xlim(-0.6, n_pooled - 0.4)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color="#d1d5db", linewidth=0.5)
        axes.set_axisbelow(True)
        axes.tick_params(axis="x", length=0)
    return figure


def _set_scale(axes: Axes, wells: pd.DataFrame) -> None:
    """Keep most cells visible where a few have far more spots than others."""
    most, usual = wells["most"].max(), max(float(wells["high"].max()), 1.0)
    if most > 2 * usual:
        axes.set_yscale("function", functions=(_root, np.square))
        axes.set_ylabel("spots per cell (square-root scale)", color=INK)
    else:
        axes.set_ylabel("spots per cell", color=INK)
    axes.set_ylim(0, 1.05 * max(float(most), 1.0))


def _root(values: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.sqrt(np.maximum(values, 0)))


def _draw_wells(axes: Axes, wells: pd.DataFrame) -> None:
    # A gap of one between conditions.
    at = np.arange(len(wells)) + wells["group"].to_numpy()
    width = float(np.clip(300 / len(at), 0.8, 6.0))
    for group in range(int(wells["group"].max()) + 1):
        own = wells[wells["group"] == group]
        here, colour = at[wells["group"] == group], COLOURS[group % len(COLOURS)]
        for low, high, thick, shade in (
            ("least", "most", 0.5, "#b6bcc6"),
            ("low", "high", 0.25 * width, colour),
            ("quarter", "three_quarters", width, colour),
        ):
            axes.vlines(here, own[low], own[high], color=shade, lw=thick)
        size = float(np.clip(width * 0.9, 1.6, 4.5))
        axes.plot(here, own["median"], "o", color=colour, mec=INK, ms=size, mew=0.6)
    names = (wells["row"] + wells["column"]).tolist()
    named = len(wells) <= _MOST_WELLS_NAMED
    axes.set_xticks(
        at if named else [], names if named else [], fontsize=7, rotation=90
    )
    axes.set_xlabel("wells" if any(names) else "all images", color=INK)
    axes.set_xlim(-1, at[-1] + 1)


def _draw_pooled(axes: Axes, counts: pd.DataFrame, number: int, most: float) -> None:
    n_spots, n_cells = counts["n_spots"].to_numpy(), counts["n_cells"].to_numpy()
    step = max(1, int(np.ceil((most + 1) / _STEPS)))
    # Steps of roots where the axis has them, so that each looks alike.
    edges = np.arange(0, most + 1 + step, step) - 0.5
    if axes.get_yscale() == "function":
        edges = np.unique(np.round(np.linspace(0, np.sqrt(most + 1), _STEPS) ** 2))
        edges = edges - 0.5
    heights = np.histogram(n_spots, edges, weights=n_cells)[0] / np.diff(edges)
    half = 0.42 * heights / max(float(heights.max()), 1e-12)
    y = np.repeat(np.maximum(edges, 0), 2)[1:-1]
    x = np.repeat(half, 2)
    colour = COLOURS[number % len(COLOURS)]
    axes.fill_betweenx(y, number - x, number + x, color=colour, alpha=0.75, lw=0)
    order = np.argsort(n_spots, kind="stable")
    up_to = np.cumsum(n_cells[order])
    middle = n_spots[order][np.searchsorted(up_to, up_to[-1] / 2)]
    axes.hlines(middle, number - 0.3, number + 0.3, color=INK, lw=1.6)
