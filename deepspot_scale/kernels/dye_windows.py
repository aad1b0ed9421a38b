"""Windows around molecules of a movie, cut and scaled for the recognition of dyes.

Frames and places come in; windows, each around the pixel nearest to its molecule, go
out. Nothing here knows tables, dyes or networks.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

BRIGHTNESS: Final = 20.0
"""Sum of a scaled window's light, which makes a typical peak about 3."""


def cut_windows(
    movie: NDArray[Any],
    frames: NDArray[np.integer[Any]],
    places: NDArray[np.floating[Any]],
    side: int,
) -> NDArray[np.float32]:
    """Return the window around each molecule, (n, side, side).

    Parameters
    ----------
    movie
        (t, y, x), in any counts.
    frames
        (n,) frame of each molecule, from 0.
    places
        (n, 2) y and x in pixels; the centre of the first pixel is (0, 0).
    side
        Edge of a window in pixels, odd.

    Returns
    -------
    A window that is not wholly inside the frame, or whose place is not known, is NaN:
    its dye cannot be known.
    """
    reach = side // 2
    middle = np.round(np.nan_to_num(places, nan=-1.0)).astype(np.int64).reshape(-1, 2)
    size = np.array(movie.shape[1:])
    # Also a window of one pixel: a place that is not known is at -1.
    inside = ((middle >= reach) & (middle < size - reach)).all(axis=1)
    offsets = np.arange(-reach, reach + 1)
    rows, columns = (middle[inside, axis, None] + offsets for axis in (0, 1))
    windows = np.full((len(middle), side, side), np.nan, np.float32)
    chosen = np.asarray(frames)[inside, None, None]
    windows[inside] = movie[chosen, rows[:, :, None], columns[:, None, :]]
    return windows


def scale_windows(windows: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return windows as the network takes them: without background, of equal light.

    The background is the mean of a window's rim. A gain and an offset of the camera do
    not change the answer; a window without light above its rim is divided by its noise
    only as far as one count.
    """
    pixels = np.asarray(windows, np.float64)
    rim = np.ones(pixels.shape[1:], np.bool_)
    rim[1:-1, 1:-1] = False
    above = pixels - pixels[:, rim].mean(axis=1)[:, None, None]
    light = np.maximum(above.sum(axis=(1, 2), keepdims=True), 1.0)
    return np.asarray(BRIGHTNESS * above / light, np.float32)
