"""Drawings of a report: tables or one image in, figures or SVG text out.

Colours can be told apart by everyone: viridis for amounts, Okabe and Ito's palette
for kinds. Figures are plain `matplotlib.figure.Figure` objects, without pyplot and
its global state. Nothing here reads files, and no value is altered to look better.
"""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

BLUE, ORANGE, SKY, GREY = "#0072B2", "#E69F00", "#56B4E9", "#6b7280"
_INK: Final = "#1f2937"
_MAX_BYTES: Final = 550_000
"""Of the photograph, so that a report can be mailed."""
_MAX_MARKS: Final = 6000
_MAX_WELLS_WITH_NUMBERS: Final = 96


def draw_plate(wells: pd.DataFrame, values: pd.Series, title: str) -> Figure:
    """Draw a heat map of a plate, one square per well.

    Parameters
    ----------
    wells
        Columns row and column, one line per well.
    values
        One value per line; NaN is left white.
    title
        What the values are, for the colour bar.
    """
    rows = sorted(set(wells["row"]), key=lambda name: (len(name), name))
    columns = sorted(set(wells["column"]), key=lambda name: (name.rjust(8), name))
    grid = np.full((len(rows), len(columns)), np.nan)
    at = [wells["row"].map(rows.index), wells["column"].map(columns.index)]
    grid[at[0], at[1]] = values
    size = (1.9 + max(3.2, 0.46 * len(columns)), 1.1 + max(1.2, 0.46 * len(rows)))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    # Colours start at 0, so that a plate of equal wells does not look uneven.
    picture = axes.imshow(grid, cmap="viridis", vmin=0.0, vmax=_largest(grid))
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.set_xticks(np.arange(len(columns)) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(rows)) - 0.5, minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)
    _write_numbers(axes, grid)
    bar = figure.colorbar(picture, ax=axes, shrink=0.9, pad=0.03)
    bar.outline.set_visible(False)
    bar.set_label(title, color=_INK)
    return figure


def _largest(grid: NDArray[np.float64]) -> float:
    known = grid[np.isfinite(grid)]
    return float(known.max()) if known.any() else 1.0


def _write_numbers(axes: Any, grid: NDArray[np.float64]) -> None:
    if grid.size > _MAX_WELLS_WITH_NUMBERS:
        return
    middle = _largest(grid) / 2
    for (y, x), value in np.ndenumerate(grid):
        known = bool(np.isfinite(value))
        text = f"{value:.3g}" if known else "-"
        colour = GREY if not known else "white" if value < middle else "black"
        axes.text(x, y, text, ha="center", va="center", fontsize=8.5, color=colour)


def draw_polarity(conditions: pd.DataFrame, wells: pd.DataFrame) -> Figure:
    """Draw each condition's polarity index with its interval, null and wells.

    Parameters
    ----------
    conditions, wells
        `vocabulary.CONDITIONS` and `vocabulary.WELLS`; lines without an index are
        left out.
    """
    shown = conditions[conditions["polarity_index"].notna()].iloc[::-1]
    figure = Figure(figsize=(7.6, 1.3 + 0.62 * len(shown)), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color="#d1d5db", linewidth=1, zorder=0)
    labels = []
    several = shown["channel"].nunique() > 1
    for y, (_, line) in enumerate(shown.iterrows()):
        same = (
            wells[["channel", "condition", "gene"]]
            == line[["channel", "condition", "gene"]]
        ).all(axis=1)
        dots = wells.loc[same, "polarity_index"].dropna()
        index, low, high = line[["polarity_index", "polarity_low", "polarity_high"]]
        axes.plot([low, high], [y, y], color=BLUE, linewidth=3, solid_capstyle="round")
        axes.plot(index, y, "o", color=BLUE, markersize=9, zorder=3)
        axes.plot(line["polarity_null"], y, "D", color=GREY, mfc="white", zorder=2)
        axes.plot(dots, [y - 0.26] * len(dots), "o", color=ORANGE, markersize=4.5)
        labels.append(_condition_name(line, with_channel=several))
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(-0.6, len(labels) - 0.4)
    axes.set_xlim(-1.04, 1.04)
    axes.set_xlabel("away from the reference   ←   polarity index   →   towards it")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def _condition_name(line: pd.Series, *, with_channel: bool) -> str:
    words = [line["condition"] or "all wells", line["gene"]]
    words += [line["channel"]] if with_channel else []
    return f"{' · '.join(filter(None, words))}\n{line['n_cells_used']:,} cells"


def figure_tag(figure: Figure, description: str) -> str:
    """Return an HTML image that holds the figure as SVG; text says what it shows."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    data = base64.b64encode(buffer.getvalue()).decode()
    width = round(figure.get_figwidth() * 96)
    return (
        f'<img class="figure" width="{width}" alt="{escape(description)}" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def overlay_svg(
    image: NDArray[np.generic],
    spots: NDArray[np.float64],
    cells: NDArray[np.integer] | None = None,
) -> str:
    """Return a photograph with rings around spots and outlines of cells, as SVG.

    Parameters
    ----------
    image
        (y, x), any dtype; stretched from its 1st to its 99.8th percentile.
    spots
        (n, 2), y and x in pixels of `image`.
    cells
        (y, x), 0 outside cells.

    Notes
    -----
    A pixel's centre is at half a unit in SVG, at a whole number in ours: marks are
    shifted by 0.5. Rings and outlines are in a group of class ``marks``.
    """
    height, width = image.shape
    rings = "".join(
        f'<circle cx="{x + 0.5:.1f}" cy="{y + 0.5:.1f}" r="4.5"/>'
        for y, x in spots[:_MAX_MARKS]
    )
    paths = "" if cells is None else _outlines(cells)
    return (
        f'<svg class="overlay" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="one field with {len(spots)} spots found">'
        f'<image width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{_jpeg(stretch(image))}"/>'
        f'<g class="marks" fill="none"><path stroke="{SKY}" stroke-width="1.6" '
        f'd="{paths}"/><g stroke="{ORANGE}" stroke-width="1.2">{rings}</g></g></svg>'
    )


def stretch(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map the 1st to the 99.8th percentile of the finite pixels to 0 to 255."""
    values = np.asarray(image, np.float32)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(finite, [1, 99.8])
    scaled = (np.nan_to_num(values) - low) / (high - low if high > low else 1.0)
    return np.asarray(np.clip(scaled, 0, 1) * 255, np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> str:
    """Return base64 JPEG, as good as the size limit allows."""
    for quality in (90, 80, 65, 45, 25):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if data.nbytes <= _MAX_BYTES:
            break
    return base64.b64encode(data.tobytes()).decode()


def _outlines(cells: NDArray[np.integer]) -> str:
    """Return an SVG path along the border of every cell."""
    parts = []
    for number in np.unique(cells[cells > 0]):
        rows, columns = np.nonzero(cells == number)
        top, left = rows.min(), columns.min()
        window = cells[top : rows.max() + 1, left : columns.max() + 1] == number
        contours = cv2.findContours(
            window.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1
        )[0]
        for contour in contours:
            points = contour[:, 0] + (left + 0.5, top + 0.5)
            parts.append("M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points) + "Z")
    return "".join(parts)
