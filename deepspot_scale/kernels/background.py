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
_SAMPLES: Final = 16
"""Pixels along each edge of a tile that stand for their neighbours."""
_LEAST: Final = 16
"""Of fewer pixels that were imaged nothing is known of a tile."""


def first_tile(pixel: int, tile: int = TILE) -> int:
    """Return the first tile that begins at a pixel or after it."""
    return -(-pixel // tile)


def tile_medians(
    values: NDArray[Any], *, tile: int = TILE, fill: float | None = None
) -> Real:
    """Return the median of each tile.

    Parameters
    ----------
    values
        (..., y, x), from a tile's first pixel on; the last tiles may be cut off, as
        they are at the field's far edges.
    tile
        Edge of a tile in pixels, a multiple of 16.
    fill
        Value of pixels that were not imaged, and do not count.

    Returns
    -------
    ndarray
        (..., rows, columns), float32; of an even number of pixels the larger middle
        one. NaN where hardly any pixel was imaged, see `complete_tiles`.
    """
    if values.ndim > 2:  # plane by plane: copies of a stack would fill the memory
        return np.stack([tile_medians(v, tile=tile, fill=fill) for v in values])
    step = tile // _SAMPLES
    thin = values[..., ::step, ::step]
    rows, columns = (-(-n // _SAMPLES) for n in thin.shape[-2:])
    medians = np.empty((*values.shape[:-2], rows, columns), np.float32)
    whole_rows, whole_columns = (n // _SAMPLES for n in thin.shape[-2:])
    cut = thin[..., : whole_rows * _SAMPLES, : whole_columns * _SAMPLES]
    parts = cut.reshape(*cut.shape[:-2], whole_rows, _SAMPLES, whole_columns, _SAMPLES)
    tiles = parts.swapaxes(-3, -2)
    if tiles.size:
        flat = tiles.reshape(*tiles.shape[:-2], _SAMPLES**2)
        medians[..., :whole_rows, :whole_columns] = _medians(flat, fill)
    for row in range(rows):
        for column in range(columns):
            if row < whole_rows and column < whole_columns:
                continue
            y, x = (slice(n * _SAMPLES, (n + 1) * _SAMPLES) for n in (row, column))
            part = thin[..., y, x]
            flat = part.reshape(*part.shape[:-2], -1)
            medians[..., row, column] = _medians(flat, fill)
    return medians


def _medians(values: NDArray[Any], fill: float | None) -> Real:
    """Return the medians along the last axis, without the value `fill`."""
    middle = values.shape[-1] // 2
    found = np.partition(values, middle, axis=-1)[..., middle].astype(np.float32)
    if fill is None:
        return np.asarray(found)
    absent = values == fill
    for place in np.argwhere(absent.any(axis=-1)):
        at = tuple(place)
        seen = np.sort(values[at][~absent[at]])
        known = seen.size >= min(_LEAST, values.shape[-1])
        found[at] = seen[seen.size // 2] if known else np.nan
    return np.asarray(found)


def complete_tiles(medians: Real, otherwise: float) -> Real:
    """Return medians of all tiles of a field, NaN replaced by that of the nearest tile.

    `medians` are (..., rows, columns); `otherwise` is taken in a plane of only NaN.
    """
    lacking = np.isnan(medians)
    if not lacking.any():
        return medians
    from scipy import ndimage

    whole = medians.reshape(-1, *medians.shape[-2:]).copy()
    for plane, absent in zip(whole, lacking.reshape(whole.shape), strict=True):
        if absent.all():
            plane[:] = otherwise
        elif absent.any():
            rows, columns = ndimage.distance_transform_edt(
                absent, return_distances=False, return_indices=True
            )
            plane[:] = plane[rows, columns]
    return whole.reshape(medians.shape)


def surface(
    medians: Real, start: tuple[int, int], shape: tuple[int, int], *, tile: int = TILE
) -> Real:
    """Return the background of a window of a field.

    Parameters
    ----------
    medians
        (..., rows, columns), of all tiles of the field.
    start
        Row and column of the window's first pixel in the field.
    shape
        Height and width of the window.
    tile
        Edge of a tile in pixels.

    Returns
    -------
    ndarray
        (..., *shape), float32. Beyond the outermost tiles' centres it is theirs.
    """
    shares = ((np.arange(tile) + 0.5) / tile).astype(np.float32)
    off = np.arange(start[0], start[0] + shape[0]) - tile // 2
    above, share = off // tile, shares[off % tile]
    upper, lower = (
        medians[..., np.clip(above + k, 0, medians.shape[-2] - 1), :] for k in (0, 1)
    )
    rows = upper + (lower - upper) * share[:, None]
    # Along x whole segments between two centres are made, and then cut.
    first = (start[1] - tile // 2) // tile
    last = (start[1] + shape[1] - 1 - tile // 2) // tile
    tiles = np.arange(first, last + 1)
    left, right = (
        rows[..., np.clip(tiles + k, 0, medians.shape[-1] - 1)] for k in (0, 1)
    )
    segments = (right - left)[..., None] * shares
    segments += left[..., None]
    whole = segments.reshape(*segments.shape[:-2], -1)
    begin = start[1] - (first * tile + tile // 2)
    return np.asarray(whole[..., begin : begin + shape[1]])
