"""Noise of a camera, and how far a network's image without noise is believed.

Images come in; a noise model measured from them, or an image without noise, goes out.
A network that learned from noisy images alone smooths what is as small as a pixel, so
spots suffer. What it took away (the residual) tells where: noise alone has a known
variance, and where the residual has more, part of it was signal and goes back. Nothing
here knows networks or files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

ABOUT: Final = "denoising"
"""Name of a `Denoising` in the text of a weights file."""
REACH: Final = 1
"""How far around a pixel its residuals are compared, pixels."""
_CLASSES: Final = 24
"""Most classes of brightness for which the noise is measured."""
_LEAST: Final = 2000
"""Fewest pixels of one class, but for the smallest images."""
_PLAIN: Final = np.outer([1, -2, 1], [1, -2, 1]) / 6
"""A filter of noise: blind for planes, of norm 1 (Immerkaer 1996,
https://doi.org/10.1006/cviu.1996.0060)."""
_TO_SIGMA: Final = 1.4826
"""Standard deviation of normal noise over its median absolute value."""


@dataclass(frozen=True)
class Denoising:
    """What a denoiser knows of its training images; all in their counts."""

    mean: float
    """Mean of the training images: 0 for the network."""
    sd: float
    """Their standard deviation: 1 for the network."""
    least: float = 0.0
    """Smallest variance of the noise."""
    variance: float = 0.0
    """Variance of the noise at 0 counts, by the line that fits; may be below 0."""
    slope: float = 0.0
    """Variance that a further count brings: photons come at random."""
    doubt: float | None = None
    """How many times its own variance noise may seem to have, before a residual is
    taken for signal; None: the network is always believed."""
    darkest: float | None = None
    """Smallest count of the training images; None: not known."""
    brightest: float | None = None
    """Largest count of the training images; None: not known."""

    def to_text(self) -> str:
        """Return it as the text that is stored with weights."""
        return json.dumps(asdict(self))

    @classmethod
    def from_text(cls, text: str) -> Denoising:
        """Read what `to_text` gave; ValueError or TypeError where it is none."""
        return cls(**json.loads(text))

    def normalise(self, counts: NDArray[Any]) -> NDArray[np.float32]:
        """Return counts as the network sees them."""
        scaled = (counts.astype(np.float64) - self.mean) / self.sd
        return np.asarray(scaled, np.float32)

    def count_beyond(self, counts: NDArray[Any]) -> int:
        """Return how many pixels are darker or brighter than any that was learned."""
        if self.darkest is None or self.brightest is None:
            return 0
        beyond = (counts < self.darkest) | (counts > self.brightest)
        return int(np.count_nonzero(beyond))

    def counts(self, answer: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's answer in counts; the inverse of `normalise`."""
        counts = answer.astype(np.float64) * self.sd + self.mean
        return np.asarray(counts, np.float32)

    def combine(
        self, noisy: NDArray[Any], clean: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Return the clean image (y, x), with the signal back that it lost.

        Both are in counts. A residual is given back to the share 1 - d v / m, at least
        0, where m is the mean of its square over 3x3 pixels, v the variance of the
        noise, and d `doubt`: Wiener's filter of the residual (Lee 1980,
        https://doi.org/10.1109/TPAMI.1980.4766994).
        """
        if self.doubt is None:
            return clean
        residual = noisy.astype(np.float64) - clean
        expected = np.maximum(self.variance + self.slope * clean, self.least)
        found = np.maximum(_near_mean(residual**2), np.finfo(np.float32).tiny)
        share = np.maximum(1 - self.doubt * expected / found, 0)
        return np.asarray(clean + share * residual, np.float32)


def _near_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of 3x3 pixels, summed in one order wherever a block begins."""
    height, width = values.shape
    padded = np.pad(values, REACH, mode="edge")
    edge = range(2 * REACH + 1)
    near = [padded[i : i + height, j : j + width] for i in edge for j in edge]
    total = np.zeros_like(values)
    for each in near:
        total += each
    return total / len(near)


def measure_noise(images: Iterable[NDArray[Any]]) -> tuple[float, float, float]:
    """Return the least variance of the noise, and the line of variance on counts.

    This is a photon transfer curve of the images themselves: pixels (y, x) are sorted
    by the mean around them, and in each class of brightness the noise is the median
    absolute answer to a filter that sees no plane. Texture as fine as pixels counts as
    noise. The line is ``variance + slope * counts``.
    """
    means, answers = [], []
    for image in images:
        counts = image.astype(np.float64)
        mean = ndimage.uniform_filter(counts, 5, mode="reflect")
        noise = np.abs(ndimage.convolve(counts, _PLAIN, mode="reflect"))
        # Pixels of the edge, which are their own neighbours there, differ less.
        means.append(mean[1:-1, 1:-1].ravel())
        answers.append(noise[1:-1, 1:-1].ravel())
    around, answer = np.concatenate(means), np.concatenate(answers)
    n_classes = int(np.clip(answer.size // _LEAST, 2, _CLASSES))
    classes = np.array_split(np.argsort(around, kind="stable"), n_classes)
    levels = np.array([around[own].mean() for own in classes if own.size])
    spread = [_TO_SIGMA * np.median(answer[own]) for own in classes if own.size]
    variances = np.maximum(np.square(spread), np.finfo(np.float32).tiny)
    slope, variance = np.polyfit(levels, variances, 1)
    # A class's variance is known to a share of itself; of the first line, since a class
    # that is low by chance would have more weight for it.
    first = np.maximum(variance + slope * levels, variances.min())
    slope, variance = np.polyfit(levels, variances, 1, w=1 / first)
    if slope <= 0:
        slope, variance = 0.0, float(np.median(variances))
    return float(variances.min()), float(variance), float(slope)
