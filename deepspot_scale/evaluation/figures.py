"""Drawings of an evaluation: its tables, or one image and its spots, in; figures out.

Colour-blind readers can tell the colours apart: viridis for amounts, Okabe and Ito's
palette for kinds, which also differ in shape. Figures are plain
`matplotlib.figure.Figure` objects, without pyplot and its global state. Nothing here
reads files or computes scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from deepspot_scale.evaluation.tables import EDGES, FALSE, FOUND, MISSED
from deepspot_scale.report.figures import BLUE, GREY, ORANGE, SKY, stretch

GREEN, VERMILION, PURPLE = "#009E73", "#D55E00", "#CC79A7"
LINES: Final = (BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION)
MARKERS: Final = "osD^vP"
_MARKS: Final = {FOUND: ("o", SKY), MISSED: ("D", ORANGE), FALSE: ("x", PURPLE)}
_NAMES: Final = {
    "snr": "SNR",
    "sigma": "spot sigma, pixels",
    "spacing": "distance to the nearest spot, in sigma",
    "density": "spots per 512 x 512 px",
}
_LEAST: Final = 0.5
"""F1 of the darkest colour: a detector below it is broken, and comparing is no use."""
_WINDOW: Final = 256
"""Largest edge of the part of an image that is shown; with more, marks hide spots."""


class Panel(NamedTuple):
    """One image and its spots, as shown."""

    title: str
    pixels: NDArray[Any]
    """(y, x), any counts."""
    spots: pd.DataFrame
    """Columns kind, y, x."""


def draw_heat_map(sets: pd.DataFrame, value: str, title: str) -> Figure:
    """Draw one number for each model and set, as the paper's figure 5 does.

    `sets` has the columns model, data, set and `value`, which is from 0 to 1; missing
    pairs stay white.
    """
    both = sets["data"] + " " + sets["set"]
    label = sets["set"].where(sets["data"] == sets["set"], both)
    models, names = list(dict.fromkeys(sets["model"])), list(dict.fromkeys(label))
    grid = np.full((len(names), len(models)), np.nan)
    grid[label.map(names.index), sets["model"].map(models.index)] = sets[value]
    size = (2.9 + 1.1 * len(models), 1.3 + 0.34 * len(names))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    _fill(axes, grid, models, names)
    axes.set_title(title, fontsize=10)
    return figure


def draw_cross(cross: pd.DataFrame) -> Figure:
    """Draw F1 and the number of images by density and sigma, a panel for each model.

    `cross` comes from `tables.cross_scores` and holds one data set.
    """
    models = list(dict.fromkeys(cross["model"]))
    figure = Figure(figsize=(1.2 + 5.4 * len(models), 4.3), layout="constrained")
    panels = figure.subplots(1, len(models), squeeze=False)[0]
    rows, columns = (EDGES[name][:-1] for name in ("density", "sigma"))
    for axes, model in zip(panels, models, strict=True):
        grid = np.full((len(rows), len(columns)), np.nan)
        counts = np.zeros(grid.shape, np.int64)
        own = cross[cross["model"] == model]
        at = own["density_low"].map(rows.index), own["sigma_low"].map(columns.index)
        grid[at], counts[at] = own["mean"], own["n_images"]
        _fill(axes, grid, _ranges("sigma"), _ranges("density"), counts)
        axes.set_title(f"{model}: F1, and number of images", fontsize=10)
        axes.set_xlabel(_NAMES["sigma"])
        axes.set_ylabel(_NAMES["density"])
    return figure


def _fill(
    axes: Any,
    grid: NDArray[np.float64],
    columns: Sequence[str],
    rows: Sequence[str],
    counts: NDArray[np.int64] | None = None,
) -> None:
    axes.imshow(grid, cmap="viridis", vmin=_LEAST, vmax=1.0, aspect="auto")
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for (y, x), value in np.ndenumerate(grid):
        if np.isnan(value):
            continue
        text = f"{value:.3f}" + ("" if counts is None else f"\n{counts[y, x]}")
        ink = "white" if value < (1 + _LEAST) / 2 else "black"
        axes.text(x, y, text, ha="center", va="center", fontsize=8, color=ink)


def _ranges(name: str) -> list[str]:
    edges = EDGES[name]
    names = [f"{low:g}-{high:g}" for low, high in pairwise(edges[:-1])]
    return [*names, f"≥{edges[-2]:g}"]


def draw_curves(bins: pd.DataFrame) -> Figure:
    """Draw F1 and recall against SNR, sigma, spacing and density with intervals.

    `bins` comes from `tables.bin_scores` and holds one data set.
    """
    names = [name for name in EDGES if (bins["by"] == name).any()]
    models = list(dict.fromkeys(bins["model"]))
    figure = Figure(figsize=(1 + 3.3 * len(names), 5.6), layout="constrained")
    panels = figure.subplots(2, len(names), squeeze=False, sharey=True)
    for column, name in enumerate(names):
        for row, measure in enumerate(("f1", "recall")):
            axes = panels[row, column]
            of = bins[(bins["by"] == name) & (bins["measure"] == measure)]
            if of.empty:
                axes.set_axis_off()
            else:
                _curves(axes, of, models, name)
    panels[0, 0].set_ylabel("F1, images")
    panels[1, 0].set_ylabel("recall, spots")
    panels[0, 0].legend(fontsize=8, frameon=False)
    return figure


def _curves(axes: Any, bins: pd.DataFrame, models: Sequence[str], name: str) -> None:
    for i, model in enumerate(models):
        own = bins[bins["model"] == model]
        place = own["low"].map(EDGES[name].index) + 0.12 * (i - (len(models) - 1) / 2)
        reach = [own["mean"] - own["mean_low"], own["mean_high"] - own["mean"]]
        axes.errorbar(
            place,
            own["mean"],
            np.nan_to_num(np.array(reach)),
            color=LINES[i % len(LINES)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=5,
            linewidth=1.4,
            capsize=2,
            label=model,
        )
    axes.set_xticks(range(len(EDGES[name]) - 1), _ranges(name), fontsize=7, rotation=45)
    axes.set_xlabel(_NAMES[name], fontsize=9)
    axes.set_xlim(-0.5, len(EDGES[name]) - 1.5)
    axes.set_ylim(-0.02, 1.04)
    axes.grid(axis="y", color="#e5e7eb", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_images(shown: Sequence[Panel]) -> Figure:
    """Draw images with rings on found, diamonds on missed, crosses on false spots.

    For a large image, the part with the most errors is shown.
    """
    figure = Figure(figsize=(5.2 * len(shown), 5.9), layout="constrained")
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    for axes, image in zip(panels, shown, strict=True):
        top, left = _place_of_errors(image)
        bottom, right = np.minimum((top + _WINDOW, left + _WINDOW), image.pixels.shape)
        # Rows and columns keep their numbers, so that errors can be looked up.
        extent = (left - 0.5, right - 0.5, bottom - 0.5, top - 0.5)
        grey = stretch(image.pixels[top:bottom, left:right])
        axes.imshow(grey, cmap="gray", extent=extent, vmin=0, vmax=255)
        for kind, (marker, colour) in _MARKS.items():
            own = image.spots[image.spots["kind"] == kind]
            hollow = {"facecolors": "none", "edgecolors": colour}
            style = {"c": colour} if marker == "x" else hollow
            name = f"{kind} ({len(own)})"
            axes.scatter(own["x"], own["y"], 42, marker=marker, label=name, **style)
        axes.set_xlim(extent[:2])
        axes.set_ylim(extent[2:])
        axes.set_title(image.title, fontsize=9)
        axes.tick_params(labelsize=7, colors=GREY)
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.05)}
        axes.legend(**below, ncols=3, fontsize=8)
    return figure


def _place_of_errors(image: Panel) -> tuple[int, int]:
    """Return the corner of the window with the most errors; windows tile the image."""
    wrong = image.spots[image.spots["kind"] != FOUND]
    corners = [np.arange(0, max(n, 1), _WINDOW) for n in image.pixels.shape]
    edges = [np.append(corner, corner[-1] + _WINDOW) - 0.5 for corner in corners]
    counts = np.histogram2d(wrong["y"], wrong["x"], bins=edges)[0]
    i, j = np.unravel_index(int(np.argmax(counts)), counts.shape)
    height, width = image.pixels.shape
    top = min(int(corners[0][i]), max(0, height - _WINDOW))
    left = min(int(corners[1][j]), max(0, width - _WINDOW))
    return top, left
