"""How near an image comes to the clean one: two images of one shape in, a number out.

Images have any number of axes and any units, the same for both. PSNR and SSIM depend on
a *range*, the distance of the values that stand for black and white. It is always
declared, because every library guesses another one: `range_of` gives that of the clean
image, which is what microscopy papers use. Pixels that are not finite numbers are an
error: a mean over the others would look like a score of the whole image. Nothing here
knows how an image was cleaned.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError

Real = NDArray[np.float64]
SSIM_EDGE: Final = 11
"""Fewest pixels of an image along each axis: the window of the paper."""


def range_of(clean: NDArray[Any]) -> float:
    """Return the largest minus the smallest value of an image; 0: it is constant."""
    values = np.asarray(clean, np.float64)
    return float(values.max() - values.min())


def signal_to_noise(
    clean: NDArray[Any], image: NDArray[Any], data_range: float
) -> float:
    """Return the PSNR in dB: 10 log10(range^2 / mean squared error).

    Infinite if the images are equal. Another gain or offset of `image` counts as error.

    Raises
    ------
    SettingsError
        The shapes differ, there are no pixels, a pixel is not finite, or `data_range`
        is not above 0.

    Examples
    --------
    >>> round(signal_to_noise(np.zeros((4, 4)), np.full((4, 4), 0.1), 1.0), 6)
    20.0
    """
    truth, values = _checked(clean, image, data_range)
    return _decibel(data_range**2, float(((truth - values) ** 2).mean()))


def scale_invariant_signal_to_noise(clean: NDArray[Any], image: NDArray[Any]) -> float:
    """Return the PSNR in dB of the gain and offset of `image` that fit best.

    Both are found by least squares, and the range is that of the clean image; Weigert
    et al. 2018, doi:10.1038/s41592-018-0216-7. A constant `image` is compared as its
    best offset. NaN if the clean image is constant: no gain is better than another.
    Raises SettingsError as `signal_to_noise` does.
    """
    truth, values = _checked(clean, image, 1.0)
    span = range_of(truth)
    if span == 0:
        return float("nan")
    truth, values = truth - truth.mean(), values - values.mean()
    power = float((values**2).sum())
    gain = float((truth * values).sum()) / power if power > 0 else 0.0
    return _decibel(span**2, float(((truth - gain * values) ** 2).mean()))


def structural_similarity(
    clean: NDArray[Any], image: NDArray[Any], data_range: float
) -> float:
    """Return the mean structural similarity (SSIM), at most 1.

    It is Wang et al. 2004, doi:10.1109/TIP.2003.819861, as scikit-image computes it: a
    Gaussian window of sigma 1.5 (11 pixels), K1 = .01, K2 = .03, population covariance,
    and a mean that leaves out the border of 5 pixels. Two constant images compare by
    their brightness alone.

    Raises
    ------
    SettingsError
        As `signal_to_noise`; or an axis has fewer than 11 pixels.
    """
    from skimage import metrics

    truth, values = _checked(clean, image, data_range)
    if min(truth.shape) < SSIM_EDGE:
        raise SettingsError(
            f"SSIM needs images of at least {SSIM_EDGE} px along each axis, got "
            f"{truth.shape}"
        )
    similarity = metrics.structural_similarity(
        truth,
        values,
        data_range=data_range,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(similarity)


def _decibel(power: float, error: float) -> float:
    return float("inf") if error == 0 else float(10 * np.log10(power / error))


def _checked(
    clean: NDArray[Any], image: NDArray[Any], data_range: float
) -> tuple[Real, Real]:
    truth, values = np.asarray(clean, np.float64), np.asarray(image, np.float64)
    if truth.shape != values.shape or truth.size == 0:
        raise SettingsError(
            f"expected two images of one shape, got {truth.shape} and {values.shape}"
        )
    for name, pixels in (("clean", truth), ("other", values)):
        bad = int(np.count_nonzero(~np.isfinite(pixels)))
        if bad:
            raise SettingsError(f"{bad} pixels of the {name} image are not finite")
    if not 0 < data_range < np.inf:
        raise SettingsError(f"the range of values must be above 0, got {data_range}")
    return truth, values
