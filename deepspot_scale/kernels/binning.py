"""Binning of wide spots for the network, and interpolation of its output.

Arrays in, arrays out. Every output pixel is computed from the same few input pixels by
the same operations at any position, so blocks give the same values as the whole field.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError

WIDEST_SIGMA = 3.5
"""Widest spots of the network's training images: standard deviation in pixels."""
LARGEST_BINNING = 4
Image = NDArray[np.float32]


def binning_for(spot_sigma: float | None) -> int:
    """Return the binning, 1, 2 or 4 pixels along each axis, for spots of this width.

    Raises SettingsError if the width is not above 0, or too large for any binning.

    Examples
    --------
    >>> [binning_for(sigma) for sigma in (None, 3.5, 3.6, 14)]
    [1, 1, 2, 4]
    """
    if spot_sigma is None:
        return 1
    widest = WIDEST_SIGMA * LARGEST_BINNING
    if not 0 < spot_sigma <= widest:
        raise SettingsError(
            f"the spots' standard deviation must be above 0 and at most {widest:g} "
            f"px, got {spot_sigma:g}; downsample images with wider spots"
        )
    binning = 1
    while spot_sigma > WIDEST_SIGMA * binning:
        binning *= 2
    return binning


def bin_pixels(image: Image, binning: int) -> Image:
    """Return the means of `binning` x `binning` pixels; both edges are multiples."""
    if binning == 1:
        return image
    # A fixed order of sums: in numpy's mean it depends on the array's shape.
    total = np.zeros((image.shape[0] // binning, image.shape[1] // binning), np.float32)
    for dy, dx in np.ndindex(binning, binning):
        total += image[dy::binning, dx::binning]
    total *= np.float32(1 / binning**2)
    return total


def bin_window(window: Image, binning: int) -> Image:
    """Return what `bin_pixels` does but for the order of sums, in a fifth of the time.

    The order is the same in all windows of one shape, and need not be in others.
    """
    if binning == 1:
        return window
    import cv2

    height, width = (length // binning for length in window.shape)
    means = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32)


def unbin_pixels(image: Image, binning: int) -> Image:
    """Return the image with `binning` times as many pixels along each axis.

    Values are interpolated linearly between the centres of the large pixels, and
    constant beyond the outermost centres.
    """
    if binning == 1:
        return image
    return _spread(_spread(image, binning).T, binning).T


def _spread(image: Image, binning: int) -> Image:
    """Interpolate along the first axis."""
    before = np.concatenate([image[:1], image[:-1]])
    after = np.concatenate([image[1:], image[-1:]])
    fine = np.empty((image.shape[0] * binning, image.shape[1]), np.float32)
    for place in range(binning):
        away = np.float32((place + 0.5) / binning - 0.5)
        other = after if away > 0 else before
        fine[place::binning] = image + np.abs(away) * (other - image)
    return fine
