"""One field of a run as a picture: images, spots and cells in, SVG text out.

    raw | without noise and enhanced, where kept | raw with spots, cells, sectors

Reads one window of one plane, so that the page stays small whatever the field's size.
Nothing here knows the rest of the report.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import DeepspotError
from deepspot_scale.io.field import Field
from deepspot_scale.kernels.pixel_shape import PixelShape, pixel_shape
from deepspot_scale.report.figures import ORANGE, SKY, stretch
from deepspot_scale.report.shown_plane import (
    ShownPlane,
    first_plane,
    jpeg_text,
    rows_on,
    window_about,
)
from deepspot_scale.runs.kept_layers import open_layer
from deepspot_scale.runs.made_labels import label_names, made_layers, with_made
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import Settings
from deepspot_scale.stages import denoising, enhancement
from deepspot_scale.vocabulary import PROJECTED
from deepspot_scale.words import plural

_LAYERS: Final = {
    "without noise": denoising.KEPT.stored_name,
    "enhanced": enhancement.KEPT.stored_name,
}
"""Plates of images in a run folder that are shown, by what they show."""
EDGE: Final = 640
"""Largest edge of the window in pixels; with more, spots could not be seen."""
_MAX_MARKS: Final = 4000
"""Most spots that are drawn."""
_GAP: Final = 12
_YELLOW: Final = "#F0E442"


class Overlay(NamedTuple):
    """What is drawn onto a photograph, in its pixels."""

    spots: NDArray[np.float64]
    """(n, 2), y and x."""
    labels: NDArray[Any] | None = None
    """(y, x), 0 outside cells."""
    cells: pd.DataFrame | None = None
    """cell, nucleus_y, nucleus_x, reference_deg."""
    sectors: int = 3
    """Equal sectors about the nucleus."""
    pixel: PixelShape = PixelShape()
    nuclei: NDArray[Any] | None = None
    """(y, x), 0 outside nuclei."""


def draw_field(run: RunResults, field: Field, number: int = 0) -> str:
    """Return a field as HTML: its image plain, enhanced if kept, and with marks.

    `number` makes the names in the picture unique on its page.

    Raises
    ------
    FieldError
        The image cannot be read.
    """
    found, settings = run.of_field(field.address), run.settings
    spots, cells = found["spots"], found["cells"]
    plane = first_plane(spots, field, settings)
    points = spots.loc[rows_on(spots, plane), ["y", "x"]].to_numpy(np.float64)
    window = window_about(points, field.shape_yx, EDGE)
    corner = np.array([part.start for part in window])
    inside = _inside(points - corner, window)
    cells = cells[rows_on(cells, plane)].copy()
    cells["nucleus_y"] -= corner[0]
    cells["nucleus_x"] -= corner[1]
    cell_labels, nuclei = _read_labels(run, field, plane, window)
    pixel = pixel_shape(field.pixel_size_um)
    marks = Overlay(inside, cell_labels, cells, run.index.sectors, pixel, nuclei)
    raw = _read_image(field, plane, settings, window)
    kept = _kept_layers(run, field, plane, window)
    svg = panels_svg([raw, *kept.values()], marks, number)
    rows, columns = (f"{part.start} to {part.stop - 1}" for part in window)
    when = f"t {plane.t}, " if field.n_t > 1 else ""
    if settings.in_volume:
        when += f"the maximum of {field.n_z} planes, "
    seen = ", ".join(["as stored", *kept, "with what was found"])
    caption = (
        f"{escape(plane.channel)}, {when}rows {rows}, columns {columns}: {seen}. "
        f"{_counts(run, inside, points, cell_labels)}"
    )
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def _counts(
    run: RunResults,
    inside: NDArray[np.float64],
    points: NDArray[np.float64],
    labels: NDArray[Any] | None,
) -> str:
    """Return a sentence: what lies in the window."""
    parts = []
    if "seconds_detect" in run.fields:
        here = plural(len(inside), "spot")
        parts.append(f"{here} here, {len(points):,} in the field")
    if labels is not None:
        parts.append(f"{plural(len(np.unique(labels[labels > 0])), 'cell')} here")
    return "; ".join(parts) + "." if parts else ""


def panels_svg(
    images: list[NDArray[np.generic]], marks: Overlay, number: int = 0
) -> str:
    """Return photographs side by side, then the first again with marks, as SVG.

    Images are (y, x), of one shape and any dtype; each is stretched from its 1st to
    its 99.8th percentile. At most 4000 spots are drawn. `number` makes the names in the
    SVG unique on a page. A pixel's centre is at half a unit in SVG, and at a whole
    number in our coordinates, so marks are shifted by 0.5.
    """
    height, width = images[0].shape
    step, name = width + _GAP, f"raw{number}"
    photographs = "".join(
        f'<image id="{name}-{i}" x="{i * step}" '
        f'width="{width}" height="{height}" '
        f'href="data:image/jpeg;base64,{jpeg_text(stretch(image))}"/>'
        for i, image in enumerate(images)
    )
    last = len(images) * step
    rings = "".join(
        f'<circle cx="{x + 0.5:.1f}" cy="{y + 0.5:.1f}" r="4.5"/>'
        for y, x in marks.spots[:_MAX_MARKS]
    )
    outlines, inner = (
        "" if labels is None else _outlines(labels)
        for labels in (marks.labels, marks.nuclei)
    )
    borders = _sector_borders(marks)
    return (
        f'<svg class="overlay" viewBox="0 0 {last + width} {height}" role="img" '
        f'aria-label="one field with {plural(len(marks.spots), "spot")} found" '
        f'style="max-width:{(len(images) + 1) * 34}rem">'
        f'{photographs}<use href="#{name}-0" x="{last}"/>'
        f'<svg x="{last}" width="{width}" height="{height}" fill="none">'
        f'<path stroke="{SKY}" stroke-width="1.6" d="{outlines}"/>'
        f'<path stroke="{SKY}" stroke-width=".8" stroke-dasharray="2 2" d="{inner}"/>'
        f'<path stroke="{_YELLOW}" stroke-width="1.4" d="{borders[0]}"/>'
        f'<path stroke="{_YELLOW}" stroke-width=".7" stroke-dasharray="4 4" '
        f'd="{borders[1]}"/>'
        f'<g stroke="{ORANGE}" stroke-width="1.2">{rings}</g></svg></svg>'
    )


def _sector_borders(marks: Overlay) -> tuple[str, str]:
    """Return SVG paths: the borders of reference sectors, and those of the others."""
    parts: tuple[list[str], list[str]] = ([], [])
    if marks.labels is None or marks.cells is None:
        return "", ""
    known = marks.cells.dropna(subset=["nucleus_y", "nucleus_x", "reference_deg"])
    columns = ["cell", "nucleus_y", "nucleus_x", "reference_deg"]
    for cell, y, x, reference in known[columns].itertuples(index=False):
        if not (marks.labels == cell).any():
            continue
        for border in range(marks.sectors):
            angle = reference + (border + 0.5) * 360 / marks.sectors
            # The first and the last border enclose the reference sector.
            kind = 0 if border in {0, marks.sectors - 1} else 1
            # A step of the specimen's direction, in pixels.
            step = (
                -np.sin(np.radians(angle)) / marks.pixel.y,
                np.cos(np.radians(angle)) / marks.pixel.x,
            )
            parts[kind].append(_ray(marks.labels, int(cell), (y, x), step))
    return "".join(parts[0]), "".join(parts[1])


def _ray(
    labels: NDArray[Any],
    cell: int,
    start: tuple[float, float],
    step: tuple[float, float],
) -> str:
    """Return the line from a nucleus in a direction to the last pixel of its cell."""
    steps = np.arange(0, sum(labels.shape), 1.0) / np.hypot(*step)
    y, x = start[0] + steps * step[0], start[1] + steps * step[1]
    rows, columns = np.rint(y).astype(int), np.rint(x).astype(int)
    height, width = labels.shape
    there = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    own = there.copy()
    own[there] = labels[rows[there], columns[there]] == cell
    if not own.any():
        return ""
    first, last = np.flatnonzero(own)[[0, -1]]
    ends = (f"{x[i] + 0.5:.1f},{y[i] + 0.5:.1f}" for i in (first, last))
    return "M" + "L".join(ends)


def _outlines(cells: NDArray[Any]) -> str:
    """Return an SVG path along the border of every cell."""
    import cv2

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


def _inside(
    points: NDArray[np.float64], window: tuple[slice, slice]
) -> NDArray[np.float64]:
    size = np.array([part.stop - part.start for part in window])
    return points[((points >= -0.5) & (points < size - 0.5)).all(axis=1)]


def _read_image(
    field: Field, plane: ShownPlane, settings: Settings, window: tuple[slice, slice]
) -> NDArray[Any]:
    channel = field.channel_index(plane.channel)
    projected: Literal["mean", "max"] = "mean" if settings.project == "mean" else "max"
    z = projected if plane.z == PROJECTED else plane.z
    return field.read(t=plane.t, channel=channel, z=z, window=window)


def _read_labels(
    run: RunResults, field: Field, plane: ShownPlane, window: tuple[slice, slice]
) -> tuple[NDArray[Any] | None, NDArray[Any] | None]:
    """Return the labels of cells and of nuclei, as far as the run has them."""
    names, made, field = label_names(run), made_layers(run), with_made(run, field)
    z: int | Literal["max"] = plane.z if plane.z != PROJECTED else "max"
    found = [
        field.read_labels(names[use], t=plane.t, z=z, window=window)
        if use in names and (names[use] in field.label_names or use not in made)
        else None
        for use in ("cells", "nuclei")
    ]
    return found[0], found[1]


def _kept_layers(
    run: RunResults, field: Field, plane: ShownPlane, window: tuple[slice, slice]
) -> dict[str, NDArray[Any]]:
    """Return the windows that the run kept without noise and enhanced, by these words.

    What cannot be read is left out: the picture is still useful without it.
    """
    found = {}
    for word, folder in _LAYERS.items():
        try:
            layer = open_layer(run.folder, folder, field.address)
            if layer is None:
                continue
            channel = layer.channel_index(plane.channel)
            z: int | Literal["max"] = "max" if plane.z == PROJECTED else plane.z
            found[word] = layer.read(t=plane.t, channel=channel, z=z, window=window)
        except DeepspotError:
            continue
    return found
