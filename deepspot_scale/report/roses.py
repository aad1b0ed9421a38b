"""Drawings of roses: petals in, a figure out. Nothing here measures or reads files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd

from deepspot_scale.report.figures import BLUE, INK, SKY, group_names, new_figure
from deepspot_scale.statistics.roses import KEYS
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_ROSES: Final = 24
"""More roses could not be told apart on a page; all are in the table."""


def draw_roses(roses: pd.DataFrame, sectors: int) -> Figure:
    """Draw `vocabulary.ROSES`, at most `MOST_ROSES`, with the reference at the top."""
    groups = list(roses.groupby(KEYS, sort=False))[:MOST_ROSES]
    names = group_names(pd.DataFrame([key for key, _ in groups], columns=KEYS))
    across = min(4, len(groups))
    down = -(-len(groups) // across)
    figure = new_figure(max(5.0, 2.45 * across), 2.75 * down + 0.15)
    reach = 1.08 * float(roses[["concentration", "high"]].max().max())
    for place, (_, petals) in enumerate(groups):
        axes = figure.add_subplot(down, across, place + 1, projection="polar")
        _draw_rose(axes, petals, sectors, max(reach, 1.5))
        title = f"{names[place]}\n{plural(int(petals['n_cells'].iloc[0]), 'cell')}"
        axes.set_title(title, fontsize=9.5, color=INK, pad=13)
    return figure


def _draw_rose(axes: object, petals: pd.DataFrame, sectors: int, reach: float) -> None:
    from matplotlib.projections.polar import PolarAxes

    if not isinstance(axes, PolarAxes):  # never true: it tells mypy the type
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
