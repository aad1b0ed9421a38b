"""Cells around nuclei, on a reduced plane.

Labels of nuclei and the light of a stain, or of a channel's own background in cells,
come in; cells with the nuclei's numbers go out, or, where the channel does not tell
cells from what is beside them, nuclei grown by a distance. Nothing here knows blocks or
where the labels come from.

    stain -- median, so that spots are nothing -- cells or background -- watershed from
    the nuclei over the stain's height and the distance from the nuclei
"""

from __future__ import annotations

from typing import Any, Final, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.kernels.object_size import fill_holes

RING: Final = 3
"""Pixels around nuclei in which a stain must be brighter than the background."""
LEAST_CONTRAST: Final = 4.0
"""Spreads of the background by which it must be: a slope of the light alone makes up to
3.7, the dimmest of 108 simulated fields with cells 8."""
_QUARTER: Final = 0.3186
"""Standard deviations to both sides that hold a quarter of normal numbers."""
_CLOSE: Final = 2
_CROSS: Final = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)
_RIM: Final = 0.25
"""Between the background and the light near nuclei: where cells end."""
_GROWN: Final = 1 / 6
"""Share of that distance by which nuclei grow where no stain shows cells."""
_ROUNDING: Final = 1e-5
"""Contrast below this share of the light is that of rounded numbers."""
_FAR_SHARE: Final = 0.3
"""Share of the landscape that is the distance from the nuclei."""


class Cells(NamedTuple):
    """Cells of a reduced plane."""

    labels: NDArray[np.int32]
    """(y, x), cell i around nucleus i."""
    source: Literal["stain", "grown"]
    """What drew their borders: the channel's light, or a distance from the nuclei."""


def grow_cells(
    nuclei: NDArray[np.integer[Any]],
    stain: NDArray[np.floating[Any]] | None,
    *,
    far: float,
) -> Cells:
    """Return one cell for each nucleus.

    Parameters
    ----------
    nuclei
        (y, x), labels of nuclei; 0 elsewhere.
    stain
        (y, x), counts of the channel that shows cells; None: there is none.
    far
        Largest distance of a cell's pixel from its nucleus with a stain, in pixels;
        without, a sixth of it.

    Returns
    -------
    Cells
        A cell is in one piece and has all pixels of its nucleus.
    """
    from skimage.segmentation import expand_labels

    labels: NDArray[np.int32] = nuclei.astype(np.int32)
    if not labels.any():
        return Cells(labels, "grown" if stain is None else "stain")
    smooth = None if stain is None else smooth_stain(stain)
    inside = None if smooth is None else _foreground(labels, smooth)
    if inside is None or smooth is None:
        grown: NDArray[np.int32] = expand_labels(labels, far * _GROWN).astype(np.int32)
        return Cells(_in_one_piece(grown, labels), "grown")
    return Cells(_flood(labels, smooth, inside, far), "stain")


def smooth_stain(stain: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return a stain without spots: the median of 5 x 5 pixels, slightly blurred."""
    counts = np.ascontiguousarray(stain, np.float32)
    still = np.asarray(cv2.medianBlur(counts, 5), np.float32)
    return _blurred(still)


def _blurred(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a plane blurred by a Gaussian of one pixel."""
    blurred = cv2.GaussianBlur(plane, (9, 9), 1.0, borderType=cv2.BORDER_REFLECT)
    return np.asarray(blurred, np.float32)


def _foreground(
    nuclei: NDArray[np.int32], smooth: NDArray[np.float32]
) -> NDArray[np.bool_] | None:
    """Return where cells are by the smooth stain; None where it does not say."""
    from skimage.filters import threshold_otsu

    near = _spread(nuclei > 0, RING)
    ring = near & (nuclei == 0)
    if not ring.any():
        return None
    bright = float(np.median(smooth[ring]))
    low, high = np.percentile(smooth, [0.5, 99.5])
    if high - low <= _ROUNDING * abs(high):
        return None
    cut = threshold_otsu(np.clip(smooth, low, high))
    dark = smooth[(smooth < cut) & ~near]
    if dark.size < max(50, 0.002 * smooth.size):
        # Cells everywhere: there is no background to compare with.
        return np.ones(nuclei.shape, bool) if bright > low else None
    level, spread = _background(dark)
    if bright - level < LEAST_CONTRAST * spread:
        return None
    # Halfway between background and the cells' rims near their nuclei, but not higher
    # than what divides the plane best.
    inside = smooth > min(cut, level + _RIM * (bright - level))
    opened = cv2.morphologyEx(
        inside.astype(np.uint8), cv2.MORPH_OPEN, _CROSS, iterations=_CLOSE
    )
    # A dark place as large as a nucleus is a gap between cells.
    sizes = np.bincount(nuclei.ravel())[1:]
    gap = float(np.median(sizes[sizes > 0]))
    return fill_holes((opened > 0) | (nuclei > 0), largest=gap)


def _background(dark: NDArray[np.float32]) -> tuple[float, float]:
    """Return the level and the spread of the background among dark pixels.

    The level is amid the quarter of them that are most alike: the others may be dim
    cells, and more than half of them. The spread is that of a normal distribution with
    such a quarter, or with what is darker than the level, whichever is wider.
    """
    ordered = np.sort(dark).astype(np.float64)
    n = len(ordered) // 4
    widths = ordered[n:] - ordered[:-n]
    first = int(widths.argmin())
    level = float(ordered[first] + ordered[first + n]) / 2
    darker = 1.4826 * float(np.median(level - ordered[ordered <= level]))
    return level, max(float(widths[first]) / 2 / _QUARTER, darker)


def _spread(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    """Return a mask with all pixels that are so many steps from it."""
    wide = cv2.dilate(mask.astype(np.uint8), _CROSS, iterations=pixels)
    return np.asarray(wide > 0)


def _flood(
    nuclei: NDArray[np.int32],
    smooth: NDArray[np.float32],
    inside: NDArray[np.bool_],
    far: float,
) -> NDArray[np.int32]:
    from skimage.segmentation import watershed

    smooth = _blurred(smooth)
    low, high = np.percentile(smooth[inside], [1, 99])
    height = np.clip((smooth - low) / max(high - low, 1e-6), 0, 1)
    away = cv2.distanceTransform(
        (nuclei == 0).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    landscape = (1 - _FAR_SHARE) * (1 - height) + _FAR_SHARE * np.minimum(away / far, 1)
    allowed = (inside & (away <= far)) | (nuclei > 0)
    cells: NDArray[np.int32] = watershed(
        landscape.astype(np.float32), nuclei, mask=allowed
    ).astype(np.int32)
    return _in_one_piece(cells, nuclei)


def _in_one_piece(
    cells: NDArray[np.int32], nuclei: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return cells without pieces that do not touch their nucleus."""
    kept = np.zeros_like(cells)
    for number, box in enumerate(ndimage.find_objects(cells), start=1):
        if box is None:
            continue
        own = cells[box] == number
        pieces, n = ndimage.label(own, np.ones((3, 3)))
        if n > 1:
            held = np.unique(pieces[(nuclei[box] == number) & own])
            own = np.isin(pieces, held[held > 0])
        kept[box][own] = number
    return kept


def cells_at(
    cells: NDArray[np.int32],
    binning: int,
    nuclei: NDArray[np.int32],
    start: tuple[int, int],
) -> NDArray[np.int32]:
    """Return the cells of a part of the whole plane.

    Parameters
    ----------
    cells
        Of the reduced plane.
    binning
        Pixels of the plane for one of the reduced plane, along each axis.
    nuclei
        (y, x), the nuclei of that part; their pixels are their cells'.
    start
        Its first pixel in the plane.
    """
    rows, columns = (
        np.minimum((np.arange(n) + at) // binning, length - 1)
        for n, at, length in zip(nuclei.shape, start, cells.shape, strict=True)
    )
    return np.where(nuclei > 0, nuclei, cells[np.ix_(rows, columns)]).astype(np.int32)
