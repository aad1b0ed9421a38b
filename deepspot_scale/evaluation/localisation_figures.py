"""Drawings of an evaluation of localised molecules: tables in, figures out.

Plain `matplotlib.figure.Figure` objects, with the colours of `figures`. Nothing here
reads files or computes scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepspot_scale.evaluation.figures import LINES, MARKERS
from deepspot_scale.report.figures import BLUE, GREY, ORANGE

_CLOUD: Final = 5000
"""Most points of an error cloud; more make a file slow to open and show no more."""


def draw_sweep(sweeps: Mapping[str, pd.DataFrame]) -> Figure:
    """Draw Jaccard and lateral RMSE over the tolerance, a line for each named sweep.

    The tables are those of `localisation_matching.sweep`. If one has depth, its axial
    RMSE is a dashed line.
    """
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    for i, (name, table) in enumerate(sweeps.items()):
        style = {"color": LINES[i % len(LINES)], "linewidth": 1.4, "markersize": 4}
        place, marker = table["tolerance_nm"], MARKERS[i % len(MARKERS)]
        left.plot(place, table["jaccard"], marker=marker, label=name, **style)
        right.plot(place, table["rmse_lateral_nm"], marker=marker, label=name, **style)
        if table["rmse_axial_nm"].notna().any():
            axial = table["rmse_axial_nm"]
            right.plot(place, axial, linestyle="--", label=f"{name}, axial", **style)
    left.set_ylabel("Jaccard index")
    left.set_ylim(-0.02, 1.02)
    right.set_ylabel("RMSE of the pairs, nm")
    right.set_ylim(bottom=0)
    for axes in (left, right):
        axes.set_xlabel("tolerance, nm")
        _quiet(axes)
    right.legend(fontsize=8, frameon=False)
    return figure


def draw_errors(pairs: pd.DataFrame, tolerance_nm: float) -> Figure:
    """Draw the errors of pairs, found minus true, as clouds with their mean.

    `pairs` has the columns dx_nm, dy_nm and dz_nm; with depth there is a second cloud.
    Of many pairs, evenly spaced ones are drawn.
    """
    deep = bool(pairs["dz_nm"].notna().any())
    figure = Figure(figsize=(8.4 if deep else 4.4, 4.2), layout="constrained")
    panels = figure.subplots(1, 1 + deep, squeeze=False)[0]
    for axes, name in zip(panels, ("dy_nm", "dz_nm"), strict=False):
        step = max(1, -(-len(pairs) // _CLOUD))
        shown = pairs.iloc[::step]
        axes.scatter(shown["dx_nm"], shown[name], 3, c=BLUE, alpha=0.4, linewidths=0)
        if len(pairs):
            mean = pairs["dx_nm"].mean(), pairs[name].mean()
            label = f"mean {mean[0]:+.1f}, {mean[1]:+.1f} nm"
            axes.scatter(*mean, 60, c=ORANGE, marker="+", label=label)
            axes.legend(fontsize=8, frameon=False, loc="upper right")
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.axvline(0, color=GREY, linewidth=0.6)
        axes.set_xlabel("error along x, nm")
        axes.set_ylabel(f"error along {name[1]}, nm")
        if name == "dy_nm":
            axes.set_aspect("equal")
            axes.set_xlim(-tolerance_nm, tolerance_nm)
            axes.set_ylim(-tolerance_nm, tolerance_nm)
            turn = np.linspace(0, 2 * np.pi, 181)
            circle = tolerance_nm * np.cos(turn), tolerance_nm * np.sin(turn)
            axes.plot(*circle, color=GREY, linewidth=0.6)
        _quiet(axes)
    return figure


def _quiet(axes: Any) -> None:
    axes.grid(color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
