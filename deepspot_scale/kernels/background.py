"""The background of a field: medians of tiles, and a smooth surface through them.

A spot on a bright cell is as high above the cell as another is above dark glass; so
what is above the background is scaled, not the image. Tiles lie on the field's own
grid and their medians are values of its pixels, so blocks agree exactly; between the
tiles' centres the surface is linear along y, then along x, each pixel by itself. Arrays
of a field's pixels come in; nothing here knows blocks or files.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float32]

TILE: Final = 32
"""Edge of a tile in pixels: several spots wide, and less than most cells."""
_STEP: Final = 2
"""Every second pixel along y and x stands for its neighbours."""


def first_tile(pixel: int) -> int:
    """Return the first tile that begins at a pixel or after it."""
    return -(-pixel // TILE)


def tile_medians(values: NDArray[Any]) -> Real:
    """Return the median of each tile.

    Parameters
    ----------
    values
        (..., y, x), from a tile's first pixel on; the last tiles may be cut off, as
        they are at the field's far edges.

    Returns
    -------
    ndarray
        (..., rows, columns), float32; of an even number of pixels the larger middle
        one.
    """
    thin = values[..., ::_STEP, ::_STEP]
    edge = TILE // _STEP
    rows, columns = (-(-n // edge) for n in thin.shape[-2:])
    medians = np.empty((*values.shape[:-2], rows, columns), np.float32)
    whole_rows, whole_columns = (n // edge for n in thin.shape[-2:])
    cut = thin[..., : whole_rows * edge, : whole_columns * edge]
    parts = cut.reshape(*cut.shape[:-2], whole_rows, edge, whole_columns, edge)
    tiles = parts.swapaxes(-3, -2)
    if tiles.size:
        flat = tiles.reshape(*tiles.shape[:-2], edge * edge)
        medians[..., :whole_rows, :whole_columns] = _median(flat)
    for row in range(rows):
        for column in range(columns):
            if row < whole_rows and column < whole_columns:
                continue
            y, x = (slice(n * edge, (n + 1) * edge) for n in (row, column))
            part = thin[..., y, x]
            medians[..., row, column] = _median(part.reshape(*part.shape[:-2], -1))
    return medians


def _median(values: NDArray[Any]) -> NDArray[Any]:
    middle = values.shape[-1] // 2
    return np.asarray(np.partition(values, middle, axis=-1)[..., middle])


def surface(medians: Real, start: tuple[int, int], shape: tuple[int, int]) -> Real:
    """Return the background of a window of a field.

    Parameters
    ----------
    medians
        (..., rows, columns), of all tiles of the field.
    start
        Row and column of the window's first pixel in the field.
    shape
        Height and width of the window.

    Returns
    -------
    ndarray
        (..., *shape), float32. Beyond the outermost tiles' centres it is theirs.
    """
    off = np.arange(start[0], start[0] + shape[0]) - TILE // 2
    above, share = off // TILE, _SHARES[off % TILE]
    upper, lower = (
        medians[..., np.clip(above + k, 0, medians.shape[-2] - 1), :] for k in (0, 1)
    )
    rows = upper + (lower - upper) * share[:, None]
    # Along x whole segments between two centres are made, and then cut.
    first = (start[1] - TILE // 2) // TILE
    last = (start[1] + shape[1] - 1 - TILE // 2) // TILE
    tiles = np.arange(first, last + 1)
    left, right = (
        rows[..., np.clip(tiles + k, 0, medians.shape[-1] - 1)] for k in (0, 1)
    )
    slope = right - left
    segments = slope[..., None] * _SHARES
    segments += left[..., None]
    whole = segments.reshape(*segments.shape[:-2], -1)
    begin = start[1] - (first * TILE + TILE // 2)
    return np.asarray(whole[..., begin : begin + shape[1]])


_SHARES: Final = ((np.arange(TILE) + 0.5) / TILE).astype(np.float32)
