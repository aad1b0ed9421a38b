"""Noise thresholds of wavelet coefficients, from sums over a field.

Whole-number coefficients come in and are counted; the counts of two pieces are merged
by addition. One threshold per scale goes out. Nothing here knows pixel positions.

Sources: Olivo-Marin 2002, https://doi.org/10.1016/S0031-3203(01)00127-3, and the spot
detector of Icy, https://icy.bioimageanalysis.org/plugin/spot-detector/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels import wavelet

Planes = NDArray[np.float32]


class Threshold(Protocol):
    """How a detector derives one threshold per scale from sums over the field."""

    def count(self, planes: Planes) -> NDArray[np.int64]:
        """Return mergeable sums of ``(scales, n)`` wavelet coefficients."""

    def levels(self, state: NDArray[np.int64], scales: tuple[int, ...]) -> list[float]:
        """Return the least accepted coefficient of each scale."""


@dataclass(frozen=True)
class IcyThreshold:
    """Icy's threshold: sqrt(2 ln(N / 4^s)) * MAD_s / (sensitivity_s / 100).

    MAD is the **mean** absolute deviation; the mean of a wavelet plane is zero, so
    the sum of absolute values over the field suffices.
    """

    sensitivities: tuple[float, ...]
    """In per cent, one per scale."""

    def count(self, planes: Planes) -> NDArray[np.int64]:
        """Return [n, sum |w| of each scale]."""
        import cv2

        sums = [int(cv2.norm(plane, cv2.NORM_L1)) for plane in planes]
        return np.array([planes.shape[1], *sums], np.int64)

    def levels(self, state: NDArray[np.int64], scales: tuple[int, ...]) -> list[float]:
        """Return the least accepted coefficient of each scale."""
        n, answer = int(state[0]), []
        for scale, total, s in zip(scales, state[1:], self.sensitivities, strict=True):
            factor = float(np.sqrt(2 * np.log(max(n / 4**scale, 1.0))))
            answer.append(factor * int(total) / n * 100 / s)
        return answer


@dataclass(frozen=True)
class ProductThreshold:
    """Olivo-Marin's threshold: k * sigma_s, sigma_s = median |w - median| / 0.67."""

    n_sigma: float = 3.0
    """k."""

    def count(self, planes: Planes) -> NDArray[np.int64]:
        """Return the histogram of each plane's coefficients, -65535 to 65535."""
        bins = 2 * wavelet.LEVELS + 1
        shifted = planes.astype(np.int64) + wavelet.LEVELS
        return np.stack([np.bincount(plane, minlength=bins) for plane in shifted])

    def levels(self, state: NDArray[np.int64], scales: tuple[int, ...]) -> list[float]:
        """Return the least accepted coefficient of each scale."""
        values = np.arange(-wavelet.LEVELS, wavelet.LEVELS + 1)
        answer = []
        for counts in state:
            middle = _median(counts, values)
            folded = np.bincount(np.abs(values - middle), counts).astype(np.int64)
            deviation = _median(folded, np.arange(folded.size))
            answer.append(self.n_sigma * deviation / 0.67)
        return answer


def _median(counts: NDArray[np.int64], values: NDArray[np.int64]) -> int:
    """Return the lower median of a histogram."""
    running = np.cumsum(counts)
    return int(values[np.searchsorted(running, (running[-1] + 1) // 2)])
