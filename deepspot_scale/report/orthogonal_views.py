"""One field of a volume from above and from two sides: stack and spots in, SVG out.

    from above (y down, x right)  | from the right (y down, z right)
    from the front (z down, x right)

Each view is the maximum along the axis that it looks along, over one window of the
field; planes are as far apart as they are in the specimen. Rings have the colour of
their depth, so that a spot is known again in each view. Nothing here knows the rest of
the report.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.io.field import Field
from deepspot_scale.report.figures import GREY, stretch
from deepspot_scale.report.shown_plane import (
    ShownPlane,
    first_plane,
    jpeg_text,
    rows_on,
    window_about,
)
from deepspot_scale.runs.results import RunResults
from deepspot_scale.words import plural

EDGE: Final = 200
"""Largest edge of the window in pixels; seen from the side, more would hide spots."""
UNKNOWN_STEP: Final = 3.0
"""Pixels between planes in the picture where the distance is not known."""
_MOST_DEEP: Final = 400.0
"""Most pixels that the depth takes; of thicker stacks planes are moved together."""
_GAP, _ROOM, _FONT = 6, 10, 6
"""Units between views, for the words above them, and of these words."""
_MAX_MARKS: Final = 2000
_LOW, _HIGH = (86, 180, 233), (240, 228, 66)
"""Colours of the first and the last spot along z: Okabe and Ito's sky blue and yellow;
both stand out of grey, and the mixtures differ also for colour-blind readers."""


class Views(NamedTuple):
    """Maxima of a stack along each axis, and the spots in it."""

    above: NDArray[Any]
    """(y, x), along z."""
    front: NDArray[Any]
    """(z, x), along y."""
    right: NDArray[Any]
    """(y, z), along x."""
    spots: NDArray[np.float64]
    """(n, 3), z in planes, y and x in pixels of the views."""


def draw_views(run: RunResults, field: Field) -> str:
    """Return one field of a run on volumes from three sides, as HTML.

    Raises
    ------
    FieldError
        The image cannot be read.
    """
    spots = run.of_field(field.address)["spots"]
    plane = first_plane(spots, field, run.settings)
    places = spots.loc[rows_on(spots, plane), [*"zyx"]].to_numpy(np.float64)
    window = window_about(places[:, 1:], field.shape_yx, EDGE)
    views = take_views(field, plane, window, places)
    step = field.image.spacing_um.get("z")
    known = step is not None and field.pixel_size_um is not None
    apart = (UNKNOWN_STEP, UNKNOWN_STEP)
    if step is not None and field.pixel_size_um is not None:
        apart = (step / field.pixel_size_um[0], step / field.pixel_size_um[1])
    scale = (
        f"Planes are {step:g} µm apart, drawn to scale."
        if known
        else f"The distance of planes is not known: {UNKNOWN_STEP:g} pixels are drawn."
    )
    rows, columns = (f"{part.start} to {part.stop - 1}" for part in window)
    when = f"t {plane.t}, " if field.n_t > 1 else ""
    depths = views.spots[:, 0]
    marked = plural(len(depths), "spot")
    if len(depths):
        marked += f", from blue at z {depths.min():.1f} to yellow at {depths.max():.1f}"
    caption = (
        f"{escape(plane.channel)}, {when}rows {rows}, columns {columns} from three "
        f"sides, each the maximum along the line of sight; {marked}. {scale}"
    )
    svg = views_svg(views, apart)
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def take_views(
    field: Field,
    plane: ShownPlane,
    window: tuple[slice, slice],
    places: NDArray[np.float64],
) -> Views:
    """Return the three views of a window, read plane by plane.

    `places` are (n, 3) z, y, x of spots in the field; those in the window are kept.
    """
    channel = field.channel_index(plane.channel)
    above: NDArray[Any] | None = None
    front, right = [], []
    for z in range(field.n_z):
        pixels = field.read(t=plane.t, channel=channel, z=z, window=window)
        above = pixels if above is None else np.maximum(above, pixels)
        front.append(pixels.max(axis=0))
        right.append(pixels.max(axis=1))
    if above is None:
        above = np.zeros((0, 0))
    own = places - [0, window[0].start, window[1].start]
    inside = ((own[:, 1:] >= -0.5) & (own[:, 1:] < np.array(above.shape) - 0.5)).all(1)
    return Views(above, np.stack(front), np.stack(right, axis=1), own[inside])


def views_svg(views: Views, apart: tuple[float, float]) -> str:
    """Return the three views as SVG.

    `apart` is the distance of planes in pixels along y and along x. A pixel's centre is
    at half a unit in SVG, and at a whole number in our coordinates.
    """
    n_planes, (height, width) = len(views.front), views.above.shape
    fit = min(1.0, _MOST_DEEP / (n_planes * max(apart)))
    wide, tall = (n_planes * each * fit for each in apart)  # from the right, the front
    z, y, x = (views.spots[:_MAX_MARKS] + 0.5).T
    colours = _colours(z)
    right, below = width + _GAP, height + _GAP + _ROOM
    z_x, z_y = z * wide / n_planes, z * tall / n_planes
    body = "".join(
        (
            _panel(views.above, (0, 0, width, height), (x, y), colours),
            _panel(views.right, (right, 0, wide, height), (z_x, y), colours),
            _panel(views.front, (0, below, width, tall), (x, z_y), colours),
            _word(0, -4, "from above"),
            _word(right, -4, "from the right"),
            _word(0, below - 4, "from the front"),
            _word(right, below + _FONT - 1, "plane 0"),
            _word(right, below + max(tall, 2 * _FONT) - 1, f"plane {n_planes - 1}"),
        )
    )
    size = (right + max(wide, 9 * _FONT), _ROOM + below + max(tall, 2 * _FONT))
    return (
        f'<svg class="overlay" viewBox="0 {-_ROOM} {size[0]:.1f} {size[1]:.1f}" '
        f'role="img" aria-label="one field from above and from two sides, with '
        f'{plural(len(views.spots), "spot")}" '
        f'style="max-width:{size[0] / 6:.0f}rem">{body}</svg>'
    )


def _panel(
    image: NDArray[Any],
    place: tuple[float, float, float, float],
    marks: tuple[NDArray[np.float64], NDArray[np.float64]],
    colours: list[str],
) -> str:
    left, top, width, height = place
    rings = "".join(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.8" stroke="{colour}"/>'
        for x, y, colour in zip(*marks, colours, strict=True)
    )
    return (
        f'<svg x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" '
        f'height="{height:.1f}" fill="none" stroke-width=".8"><image '
        f'width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'href="data:image/jpeg;base64,{jpeg_text(stretch(image))}"/>{rings}</svg>'
    )


def _word(x: float, y: float, word: str) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{_FONT}" fill="{GREY}">{word}</text>'
    )


def _colours(depths: NDArray[np.float64]) -> list[str]:
    """Return the colour of each depth, between the least and the largest."""
    if len(depths) == 0:
        return []
    span = float(np.ptp(depths)) or 1.0
    shares = (depths - depths.min()) / span
    mixed = np.rint(np.outer(1 - shares, _LOW) + np.outer(shares, _HIGH)).astype(int)
    return ["#" + "".join(f"{part:02x}" for part in row) for row in mixed.tolist()]
