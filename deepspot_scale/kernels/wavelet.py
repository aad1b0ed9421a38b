"""The a trous wavelet transform, exact to the last bit for any division into blocks.

An image of whole numbers 0..65535 comes in, wavelet planes of whole numbers go out.
The sixteen bits of the image plus eight of one separable filter fit into float32, so no
sum is rounded, and neither order of instructions nor blocks nor threads change a plane.
Between scales the smooth image is rounded to whole numbers again; this is the only
difference from the real-valued transform, at most half of a 65535th. Nothing here knows
thresholds or spots.

Source: Olivo-Marin 2002, https://doi.org/10.1016/S0031-3203(01)00127-3.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 65535
"""Largest whole number of a quantised image."""
_ROWS = 32
TAPS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


def reach(scale: int) -> int:
    """Return the pixels to each side on which plane `scale` depends: 2, 6, 14, 30."""
    return 2 * ((1 << scale) - 1)


def quantise(
    image: NDArray[np.generic], low: float, high: float
) -> NDArray[np.float32]:
    """Map `low`..`high` to whole numbers 0..65535, as float32; others are clipped.

    Integer images are only shifted, not scaled, if the range is at most 65535.
    """
    if image.dtype.kind in "ui" and high - low <= LEVELS:
        return (image.astype(np.int64) - int(low)).clip(0, LEVELS).astype(np.float32)
    factor = LEVELS / (high - low) if high > low else 0.0
    answer = np.empty(image.shape, np.float32)
    # A few rows at a time fit in the cache: twice as fast as the whole image.
    for start in range(0, len(image), _ROWS):
        scaled = image[start : start + _ROWS].astype(np.float64)
        scaled -= low
        scaled *= factor
        np.rint(scaled, out=scaled)
        answer[start : start + _ROWS] = scaled.clip(0, LEVELS, out=scaled)
    return answer


def smooth(image: NDArray[np.float32], scale: int) -> NDArray[np.float32]:
    """Filter with the B3 spline, taps 2^(scale-1) apart; round to whole numbers.

    The border is half-sample symmetric (``d c b a | a b c d``), as in Icy and in
    scipy's ``mode="reflect"``.
    """
    import cv2

    gap = 2 ** (scale - 1)
    kernel = np.zeros(4 * gap + 1, np.float32)
    kernel[::gap] = TAPS
    border = cv2.BORDER_REFLECT
    filtered = cv2.sepFilter2D(image, cv2.CV_32F, kernel, kernel, borderType=border)
    return np.rint(filtered, out=filtered)


def planes(image: NDArray[np.float32], n_scales: int) -> list[NDArray[np.float32]]:
    """Return ``[w_1, ..., w_J, c_J]``; their sum is exactly the image.

    The (y, x) image has whole numbers 0..65535, see `quantise`; J is at least 1.
    """
    answer = []
    for scale in range(1, n_scales + 1):
        smoother = smooth(image, scale)
        answer.append(image - smoother)
        image = smoother
    return [*answer, image]
