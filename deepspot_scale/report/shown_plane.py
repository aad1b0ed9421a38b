"""Which plane and which part of a field is shown, and how: rows in, a choice out.

The pictures of a field agree on these, so that they show the same spots. Nothing here
draws.
"""

from __future__ import annotations

import base64
from typing import Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.io.field import Field
from deepspot_scale.settings import Settings
from deepspot_scale.tables import rows_with
from deepspot_scale.vocabulary import PROJECTED

_MAX_BYTES: Final = 300_000
"""Most that one photograph may take, so that a report can be mailed."""


class ShownPlane(NamedTuple):
    """Of which plane of a field the picture is, see `vocabulary.PLANE`."""

    t: int
    channel: str
    z: int


def rows_on(table: pd.DataFrame, plane: ShownPlane) -> NDArray[np.bool_]:
    """Return which rows of spots or cells are of a plane; (n,)."""
    own = plane._asdict()
    if "plane" in table:  # spots, whose z is a depth
        own["plane"] = own.pop("z")
    return rows_with(table, own)


def first_plane(spots: pd.DataFrame, field: Field, settings: Settings) -> ShownPlane:
    """Return the plane with the most spots in the first channel."""
    if spots.empty:
        channel = settings.channels[0]
        return ShownPlane(0, field.channels[field.channel_index(channel)], PROJECTED)
    channels = list(dict.fromkeys(spots["channel"]))
    of_channel = spots[spots["channel"] == channels[0]]
    t, z = of_channel.groupby(["t", "plane"]).size().idxmax()
    return ShownPlane(int(t), channels[0], int(z))


def window_about(
    points: NDArray[np.float64], shape: tuple[int, int], edge: int
) -> tuple[slice, slice]:
    """Return a window about the median spot, or the middle, inside the field.

    Points are (n, 2), y and x; the window has `edge` pixels, fewer in smaller fields.
    """
    middle = np.median(points, axis=0) if len(points) else np.array(shape) / 2
    starts = (
        int(np.clip(centre - edge / 2, 0, max(0, size - edge)))
        for centre, size in zip(middle, shape, strict=True)
    )
    rows, columns = (
        slice(start, min(start + edge, size))
        for start, size in zip(starts, shape, strict=True)
    )
    return rows, columns


def jpeg_text(picture: NDArray[np.uint8]) -> str:
    """Return base64 JPEG, of the best quality that the size limit allows."""
    import cv2

    for quality in (88, 75, 60, 40, 20):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if data.nbytes <= _MAX_BYTES:
            break
    return base64.b64encode(data.tobytes()).decode()
