"""The scores of one field's tiles over its picture: a plane and its tiles in, SVG out.

The whole plane is shown, made smaller, with a colour for each tile. Nothing here rates
an image or knows the rest of the report.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.io.field import Field
from deepspot_scale.report.figures import stretch
from deepspot_scale.report.html import number
from deepspot_scale.report.shown_plane import ShownPlane, jpeg_text
from deepspot_scale.runs.results import RunResults
from deepspot_scale.tables import rows_with
from deepspot_scale.vocabulary import PROJECTED

EDGE: Final = 420
"""Longest edge of the picture in pixels."""
_MOST_WRITTEN: Final = 150
"""Most tiles whose scores are written onto them."""
_SMALL: Final = 96
"""Longest edge of a map without a picture, in pixels."""


def draw_score_map(run: RunResults, field: Field) -> str:
    """Return the scores of a field's tiles over its image as HTML; empty: none.

    Of several images the one that scores least is shown.

    Raises
    ------
    FieldError
        The image cannot be read.
    """
    if "tile_ratings" not in run.contents.tables:
        return ""
    found = run.of_field(field.address)
    ratings = found["ratings"].dropna(subset=["score"])
    if ratings.empty:
        return ""
    worst = ratings.sort_values("score", kind="stable").iloc[0]
    tiles = found["tile_ratings"]
    same = {"t": worst["t"], "channel": worst["channel"]}
    own = tiles[rows_with(tiles, same)]
    # Of a stack whose planes were taken together the middle one.
    planes = sorted(own["plane"].unique())
    z = int(worst["z"]) if worst["z"] in planes else int(planes[len(planes) // 2])
    plane = ShownPlane(int(worst["t"]), str(worst["channel"]), z)
    image = _read_small(run, field, plane)
    shape = field.shape_yx
    svg = map_svg(own[own["plane"] == z], shape, image)
    expected = ""
    if not np.isnan(worst["expected_recall"]):
        expected = (
            f" (expected recall {number(float(worst['expected_recall']))}, precision "
            f"{number(float(worst['expected_precision']))})"
        )
    when = f"t {plane.t}, " * (field.n_t > 1) + f"plane {z}, " * (z != PROJECTED)
    caption = (
        f"{escape(plane.channel)}, {when if field.n_z > 1 or field.n_t > 1 else ''}"
        f"score <b>{number(float(worst['score']))}</b>{expected}: the whole image, and "
        "the score of each tile, from dark (0) to yellow (1)."
    )
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def map_svg(
    tiles: pd.DataFrame,
    shape: tuple[int, int],
    image: NDArray[np.generic] | None = None,
) -> str:
    """Return tiles in the colours of their scores as SVG, beside and over an image.

    `tiles` are rows of `vocabulary.TILE_RATINGS` of one plane of this shape; `image` is
    the plane, made smaller. Tiles that overlap those before them are drawn behind.
    """
    height, width = shape
    longest = EDGE if image is not None else _SMALL
    scale = longest / max(shape)
    wide, tall = width * scale, height * scale
    written = image is not None and len(tiles) <= _MOST_WRITTEN
    columns = ["y", "x", "height", "width", "score"]
    rows = tiles[columns].sort_values(["y", "x"], ascending=False)
    marks = [
        _tile(line, scale, over=image is not None, written=written)
        for line in rows.itertuples(index=False)
    ]
    photograph = second = ""
    if image is not None:
        data = jpeg_text(stretch(image))
        place = f'width="{wide:.1f}" height="{tall:.1f}" preserveAspectRatio="none"'
        photograph = (
            f'<image {place} href="data:image/jpeg;base64,{data}"/>'
            f'<image {place} x="{wide + 10:.1f}" href="data:image/jpeg;base64,{data}"/>'
        )
        second = f' transform="translate({wide + 10:.1f} 0)"'
    whole = 2 * wide + 10 if image is not None else wide
    return (
        f'<svg class="scores" viewBox="0 0 {whole:.1f} {tall:.1f}" role="img" '
        f'aria-label="scores of {len(tiles)} tiles" width="{whole:.0f}" '
        f'style="max-width:100%;height:auto">{photograph}'
        f'<g{second} font-size="11" text-anchor="middle">{"".join(marks)}</g></svg>'
    )


def small_maps(run: RunResults, ratings: pd.DataFrame) -> str:
    """Return the maps of these images without pictures, as HTML."""
    parts = []
    for line in ratings.to_dict("records"):
        place = {name: line[name] for name in ("row", "column", "field")}
        path = "/".join(part for part in place.values() if part)
        tiles = run.only([path]).read("tile_ratings")
        same = {"t": line["t"], "channel": line["channel"]}
        own = tiles[rows_with(tiles, same)]
        own = own[own["plane"] == _shown(own, int(line["z"]))]
        ends = own["y"] + own["height"], own["x"] + own["width"]
        shape = (int(ends[0].max()), int(ends[1].max()))
        parts.append(
            f"<figure>{map_svg(own, shape)}<figcaption>{escape(path)}<br>"
            f"{number(float(line['score']))}</figcaption></figure>"
        )
    return f"<div class='side'>{''.join(parts)}</div>" if parts else ""


def _shown(tiles: pd.DataFrame, z: int) -> int:
    planes = sorted(tiles["plane"].unique())
    return z if z in planes else int(planes[len(planes) // 2])


def _tile(line: Any, scale: float, *, over: bool, written: bool) -> str:
    y, x, height, width = (float(value) * scale for value in line[:4])
    score = float(line.score)
    opacity = 0.45 if over else 1
    words = f"<title>score {number(score)}</title>"
    box = (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{_colour(score)}" fill-opacity="{opacity}" stroke="#fff" '
        f'stroke-width=".6">{words}</rect>'
    )
    if not written:
        return box
    text = "-" if np.isnan(score) else f"{score:.2f}"
    return box + (
        f'<text x="{x + width / 2:.1f}" y="{y + height / 2 + 4:.1f}" fill="#fff" '
        f'stroke="#000" stroke-width="2.5" paint-order="stroke">{text}</text>'
    )


def _colour(score: float) -> str:
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    return "#9ca3af" if np.isnan(score) else to_hex(mpl.colormaps["viridis"](score))


def _read_small(run: RunResults, field: Field, plane: ShownPlane) -> NDArray[Any]:
    """Return the whole plane with at most `EDGE` pixels along an axis."""
    import cv2

    projected: Literal["mean", "max"] = (
        "mean" if run.settings.project == "mean" else "max"
    )
    z = projected if plane.z == PROJECTED else plane.z
    channel = field.channel_index(plane.channel)
    pixels = field.read(t=plane.t, channel=channel, z=z)
    scale = EDGE / max(pixels.shape)
    if scale >= 1:
        return pixels
    size = tuple(max(1, round(n * scale)) for n in pixels.shape[::-1])
    return np.asarray(
        cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    )
