"""One small picture of a field: its image in, a data URI out.

At most `MIDDLE` pixels are read along an edge and `EDGE` are shown, and a picture takes
at most `MOST_BYTES`. Nothing here knows a run.
"""

from __future__ import annotations

import base64
from typing import Final

import numpy as np

from deepspot_scale.io.field import Field
from deepspot_scale.report.figures import stretch

EDGE: Final = 128
"""Longest edge of a picture in pixels."""
MIDDLE: Final = 2048
"""Longest edge of what is read of a field, its middle."""
MOST_BYTES: Final = 9000
"""Most that one picture may take."""


def draw_thumbnail(field: Field, channel: str | int) -> str:
    """Return the first time point of a field, of a stack the middle plane, as JPEG.

    Raises
    ------
    FieldError
        The image cannot be read.
    """
    import cv2

    window = tuple(
        slice((n - min(n, MIDDLE)) // 2, (n + min(n, MIDDLE)) // 2)
        for n in field.shape_yx
    )
    pixels = field.read(
        t=0,
        channel=field.channel_index(str(channel)),
        z=field.n_z // 2,
        window=(window[0], window[1]),
    )
    scale = min(1.0, EDGE / max(pixels.shape))
    size = tuple(max(1, round(n * scale)) for n in pixels.shape[::-1])
    small = cv2.resize(pixels.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    picture = stretch(np.asarray(small))
    for quality in (75, 60, 45, 30, 15):
        data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        if data.nbytes <= MOST_BYTES:
            break
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()
