"""Drawings of a quality sheet: arrays and tables in, figures out.

Colours are those of `report.figures`, which colour-blind readers can tell apart.
Figures are plain `matplotlib.figure.Figure` objects. Nothing here reads files or
scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.segmentation import find_boundaries

from deepspot_scale.evaluation.quality_kinds import ShownImage
from deepspot_scale.report.figures import BLUE, GREY, INK, ORANGE, SKY, stretch

WINDOW: Final = 320
"""Largest edge of the part of an image that is shown."""
_TRUE: Final = (230, 159, 0)
_FOUND: Final = (86, 180, 233)
_BOTH: Final = (255, 255, 255)


def draw_objects(shown: Sequence[ShownImage]) -> Figure:
    """Draw images with the outlines of true and of found objects.

    Layers are image, true labels and found labels. Of a large image the window with the
    most pixels is shown that only one of both gives to an object.
    """
    figure, panels = _panels(len(shown), 1)
    for axes, each in zip(panels[0], shown, strict=True):
        image, true, found = each.layers
        window = _worst_window((true > 0) != (found > 0))
        picture = np.repeat(stretch(image[window])[..., None], 3, axis=2)
        outlines = [_outline(labels[window]) for labels in (true, found)]
        picture[outlines[0]], picture[outlines[1]] = _TRUE, _FOUND
        picture[outlines[0] & outlines[1]] = _BOTH
        _show(axes, picture, window, each.title)
    return figure


def _outline(labels: NDArray[Any]) -> NDArray[np.bool_]:
    outline = find_boundaries(labels, 1, "inner")
    return np.asarray(outline, bool)


def draw_rows(
    shown: Sequence[ShownImage], names: Sequence[str], *, each_alone: bool = False
) -> Figure:
    """Draw each image as one column of its layers, all with the grey values of one.

    `names` are those of the layers; the last one decides about the grey values, unless
    each layer has its own, which `each_alone` says.
    """
    figure, panels = _panels(len(shown), len(names))
    for column, each in enumerate(shown):
        *_, last = each.layers
        window = _worst_window(np.abs(each.layers[1].astype(float) - last) > 0)
        for row, (name, layer) in enumerate(zip(names, each.layers, strict=True)):
            greys = layer if each_alone else last
            low, high = np.percentile(greys[window], [1, 99.8])
            title = f"{each.title}\n{name}" if row == 0 else name
            grey = {"cmap": "gray", "vmin": low, "vmax": max(high, low + 1e-9)}
            _show(panels[row][column], layer[window], window, title, **grey)
    return figure


def _panels(columns: int, rows: int) -> tuple[Figure, Any]:
    size = (3.4 * max(columns, 1), 3.75 * rows)
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(
    axes: Any,
    picture: NDArray[Any],
    window: tuple[slice, slice],
    title: str,
    **how: Any,
) -> None:
    y, x = window
    # Rows and columns keep their numbers, so that a place can be looked up.
    extent = (x.start - 0.5, x.stop - 0.5, y.stop - 0.5, y.start - 0.5)
    axes.imshow(picture, extent=extent, interpolation="nearest", **how)
    axes.set_title(title.replace("$", r"\$"), fontsize=8, color=INK)
    axes.tick_params(labelsize=6, colors=GREY)


def _worst_window(wrong: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Return the window with the most wrong pixels; windows tile the image."""
    best, most = (0, 0), -1
    starts = [range(0, max(1, n - WINDOW // 2), WINDOW) for n in wrong.shape]
    for top in starts[0]:
        for left in starts[1]:
            n = int(wrong[top : top + WINDOW, left : left + WINDOW].sum())
            if n > most:
                best, most = (top, left), n
    height, width = wrong.shape
    y, x = (
        max(0, min(start, n - WINDOW))
        for start, n in zip(best, (height, width), strict=True)
    )
    return slice(y, min(y + WINDOW, height)), slice(x, min(x + WINDOW, width))


def draw_training(rows: pd.DataFrame) -> Figure:
    """Draw the losses of a training; `rows` are those of `TrainingCurves`."""
    figure = Figure(figsize=(6.6, 2.9), layout="constrained")
    axes = figure.subplots()
    axes.plot(rows["step"], rows["learning"], color=SKY, lw=1.6, label="learning")
    axes.plot(
        rows["step"], rows["validation"], "o-", color=ORANGE, ms=3, label="validation"
    )
    losses = rows[["learning", "validation"]]
    if (losses > 0).all(axis=None):
        axes.set_yscale("log")
    axes.set_xlabel("step", color=INK)
    axes.set_ylabel("loss", color=INK)
    axes.legend(fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def draw_domain(table: pd.DataFrame, worst: pd.Series | None) -> Figure:
    """Draw images by their distance from the training, against their score.

    `table` has the columns `domain_check.COLUMNS`; `worst` is the score of each row.
    """
    figure = Figure(figsize=(6.6, 2.6), layout="constrained")
    axes = figure.subplots()
    known = table[table["distance"].notna()]
    score = np.zeros(len(known)) if worst is None else worst[known.index]
    colours = np.where(known["outside"].astype(bool), ORANGE, BLUE)
    axes.scatter(known["distance"], score, 18, c=colours, alpha=0.8)
    axes.axvline(1, color=GREY, lw=1, ls="--")
    axes.set_xlim(left=0)
    axes.set_xlabel("distance from the training images; 1: the limit", color=INK)
    if worst is None:
        axes.set_yticks([])
    else:
        axes.set_ylabel(str(worst.name).replace("_", " "), color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
