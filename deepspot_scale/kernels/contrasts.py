"""How bright the spots of an image are before any are found: contrasts of its maxima.

An image of whole numbers comes in, counts of its maxima by their contrast go out, which
add up over the blocks of a field. Few bright spots on a clean background are less than
a thousandth of the pixels, so that quantiles of pixels say nothing of them; their
maxima are as many as they. Nothing here knows what the contrast is used for.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels import wavelet

SCALES: Final = 3
"""The contrast is what smoothings 2 to this one take away: structures of 2 to 8 px."""
REACH: Final = wavelet.reach(SCALES) + 1
"""Pixels around a maximum that decide about it and its contrast."""
LEAST: Final = 1.5
"""Contrast of a maximum that is not noise, in standard deviations of the noise."""
SHARE: Final = 0.6
"""Share of the maxima whose contrast is at most the typical one."""


def count_contrasts(
    image: NDArray[np.float32], core: tuple[slice, ...]
) -> NDArray[np.int64]:
    """Count the maxima in `core` by contrast, in bins 0..65535.

    The (y, x) image has whole numbers, as `wavelet.quantise` gives them, and `REACH`
    pixels around the core where the field has them. The contrast of a spot of sigma
    1.4 px is half of its height.
    """
    import cv2

    first, second, third, _ = wavelet.planes(image, SCALES)
    smooth = image - first
    around = cv2.dilate(smooth, np.ones((3, 3), np.uint8))
    contrast = (second + third)[core]
    peak = (smooth == around)[core] & (contrast > 0)
    return np.bincount(contrast[peak].astype(np.int64), minlength=wavelet.LEVELS + 1)


def typical_contrast(counts: NDArray[np.int64], noise: float) -> float:
    """Return the contrast of a typical spot; 0: all maxima are noise.

    The counts and the standard deviation of the noise are in the same units.
    """
    least = int(np.ceil(LEAST * noise))
    signal = counts[least:]
    total = int(signal.sum())
    if total == 0:
        return 0.0
    return float(least + np.searchsorted(np.cumsum(signal), np.ceil(SHARE * total)))
