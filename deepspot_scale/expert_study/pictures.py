"""Images of a study as PNG: grey values between two quantiles are spread to 256.

Pixels come in, bytes go out; the last pictures are kept. Calls may come from several
threads at once. Nothing here knows who looks.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import StudyError
from deepspot_scale.io.study_folder import read_image

QUANTILES: Final = (0.001, 0.999)
"""Of an image's pixels: shown black and white."""
_KEPT: Final = 256
"""Pictures in memory, some 50 KB each."""


class Picture(NamedTuple):
    """One image as it is shown."""

    png: bytes
    low: float
    """Grey value that is shown black."""
    high: float
    """Grey value that is shown white."""


def draw_picture(pixels: NDArray[Any]) -> Picture:
    """Return an image (y, x) as an 8-bit PNG; NaN is shown black.

    Raises StudyError if it cannot be encoded.
    """
    import cv2

    values = pixels.astype(np.float64)
    finite = values[np.isfinite(values)]
    low, high = np.quantile(finite, QUANTILES) if finite.size else (0.0, 0.0)
    span = high - low if high > low else 1.0
    grey = np.clip(np.nan_to_num((values - low) / span, nan=0.0), 0, 1)
    done, encoded = cv2.imencode(".png", np.round(255 * grey).astype(np.uint8))
    if not done:
        raise StudyError(f"an image of {pixels.shape} pixels cannot be shown as PNG")
    return Picture(encoded.tobytes(), float(low), float(high))


@dataclass
class Pictures:
    """Pictures of files, the last ones kept in memory."""

    _drawn: OrderedDict[Path, Picture] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def draw(self, path: Path) -> Picture:
        """Return the picture of an image file.

        Raises StudyError or FieldError if it cannot be read.
        """
        with self._lock:
            if path in self._drawn:
                self._drawn.move_to_end(path)
                return self._drawn[path]
        picture = draw_picture(read_image(path))
        with self._lock:
            self._drawn[path] = picture
            while len(self._drawn) > _KEPT:
                self._drawn.popitem(last=False)
        return picture
