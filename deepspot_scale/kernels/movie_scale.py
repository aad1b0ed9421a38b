"""The brightness scale of a movie: from its frames' floors and tops to one divisor.

Frames come in, normalised frames go out. The floor belongs to the frame, since
background drifts and bleaches; the scale belongs to the movie, so that a dark frame
does not become a bright one. Both are measured on whole frames, before any block is
cut. Nothing here knows files or networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FLOOR: Final = 0.05
"""Share of a frame's pixels at or below its floor."""
SAMPLED: Final = 100
"""Frames that are looked at for the scale of a movie."""
TOP: Final = 0.75
"""Share of a movie's frames whose brightest place is at or below its scale."""


def sampled_frames(n_frames: int) -> NDArray[np.int64]:
    """Return the frames on which a movie is measured, evenly spread over it."""
    chosen = np.linspace(0, n_frames - 1, min(n_frames, SAMPLED)).round()
    return np.unique(chosen.astype(np.int64))


def frame_floor(frame: NDArray[Any]) -> float:
    """Return the background of a frame (y, x) in counts: its 5 % quantile."""
    return float(np.quantile(frame.astype(np.float64), FLOOR))


def frame_top(frame: NDArray[Any]) -> float:
    """Return how far the brightest 3x3 pixels of a frame (y, x) are above its floor.

    In counts. Of nine pixels, a hot one is a ninth.
    """
    means = ndimage.uniform_filter(frame.astype(np.float64), 3, mode="nearest")
    return float(means.max()) - frame_floor(frame)


def movie_scale(tops: Sequence[float]) -> float:
    """Return the counts that become 1, from the tops of some frames of a movie.

    1 for a movie without any light. Frames with pixels that are not finite do not
    count: they fail by themselves, and must not change the others.
    """
    known = np.asarray(tops, np.float64)
    known = known[np.isfinite(known)]
    scale = float(np.quantile(known, TOP)) if known.size else 1.0
    return scale if scale > 0 else 1.0


def normalise(frame: NDArray[Any], floor: float, scale: float) -> NDArray[np.float32]:
    """Return a frame, or a window of it, with its floor at 0 and the scale at 1."""
    return ((frame.astype(np.float64) - floor) / scale).astype(np.float32)
