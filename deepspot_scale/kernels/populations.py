"""Which dots of a field are its spots: a small fitted decision with a probability.

A dot is bright or faint only beside the others of its field: dim dots alone are RNAs,
the same dots among a hundred bright ones are grains, and below four that are brighter
still they are RNAs beside sites. So a dot is judged by its own numbers and by how many
others are how much brighter or fainter. Numbers of dots come in, probabilities go out;
nothing here knows images, blocks, networks or files.

The field is known by counts alone, which merge exactly in any order. A judge's numbers
are multiples of a power of two, and small enough that all its sums are exact in
float64; so a probability depends neither on the other dots that are judged with it, nor
on the order in which a library adds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]

CERTAINTIES = (0.15, 0.3, 0.5, 0.7)
"""Certainties at which classes of dots begin, beside the first at 0."""
_PER_OCTAVE = 4
_LOWEST, _HIGHEST = -2, 22
"""Octaves of contrast that are told apart: more than 16 bits without noise have."""
_CLEAR = 8
"""Octaves of contrast and SNR from which on a dot is as clear as can be."""
N_CLASSES = len(CERTAINTIES) + 1
N_BINS = _PER_OCTAVE * (_HIGHEST - _LOWEST)
_EDGES = (-64, -20, -15, -11, -8, -5, -3, -1, 2, 4, 6, 9, 12, 16, 21, 64)
"""Differences of contrast, in steps of a bin, at which groups of other dots begin."""
SMALLEST, LARGEST = 1 << 16, 1 << 22
"""Pixels: smaller and larger fields are judged as one of so many, made up alike."""
_FINE = 256.0
"""Features and hidden numbers are multiples of one part in so many."""
_FINE_WEIGHT = 4096.0
"""The same of weights."""
_MOST, _MOST_WEIGHT = 64.0, 64.0
"""Largest feature or hidden number, and largest weight."""
_EXACT_DIGITS = 9
_SURE = 12.0
"""Logits beyond this, of either sign, are all the same."""


class Dots(NamedTuple):
    """What is measured of each of n dots."""

    certainty: NDArray[np.floating[Any]]
    """(n,), enhanced value, 0 to 1."""
    contrast: NDArray[np.floating[Any]]
    """(n,), intensity above the surroundings, in standard deviations of the field's
    noise."""
    snr: NDArray[np.floating[Any]]
    """(n,), intensity in standard deviations of the noise around it."""
    area: NDArray[Any]
    """(n,), pixels of the object."""

    @property
    def _class(self) -> NDArray[np.int64]:
        edges = np.array(CERTAINTIES, np.float32)
        return np.searchsorted(edges, self.certainty.astype(np.float32), "right")

    @property
    def _bin(self) -> NDArray[np.int64]:
        octaves = _octaves(self.contrast, _LOWEST, _HIGHEST)
        place = np.floor((octaves - _LOWEST) * _PER_OCTAVE).astype(np.int64)
        return np.clip(place, 0, N_BINS - 1)

    def counts(self) -> NDArray[np.int64]:
        """Return the (`N_CLASSES`, `N_BINS`) counts of the dots."""
        places = self._class * N_BINS + self._bin
        counts = np.bincount(places, minlength=N_CLASSES * N_BINS)
        return counts.astype(np.int64).reshape(N_CLASSES, N_BINS)

    def features(self, counts: NDArray[np.int64], n_pixels: float) -> Real:
        """Return the (n, `N_FEATURES`) numbers that a judge sees.

        Parameters
        ----------
        counts
            Of all dots of the field, these among them, as from `counts`.
        n_pixels
            Pixels of the field.
        """
        share = np.clip(self.certainty.astype(np.float64), 1e-4, 1 - 1e-4)
        own = np.stack(
            [
                np.log(share / (1 - share)),
                _octaves(self.snr, _LOWEST, _CLEAR),
                _octaves(self.contrast, _LOWEST, _CLEAR),
                _octaves(self.area, 0, _CLEAR),
            ],
            axis=1,
        )
        # Counts of the groups around each bin, for all bins there can be.
        sums = np.zeros((N_CLASSES, N_BINS + 1), np.int64)
        np.cumsum(counts, axis=1, out=sums[:, 1:])
        ends = np.clip(np.arange(N_BINS)[:, None] + np.array(_EDGES), 0, N_BINS)
        groups = np.diff(sums[:, ends], axis=2).transpose(1, 0, 2)
        part = min(max(n_pixels, SMALLEST), LARGEST) / n_pixels
        others = np.log2(1.0 + part * groups.reshape(N_BINS, -1))[self._bin]
        totals = np.log2(1.0 + part * counts.sum(axis=1))
        field = np.append(totals, np.log2(part * n_pixels))
        together = [own, others, np.broadcast_to(field, (len(own), field.size))]
        return _rounded(np.concatenate(together, axis=1))


N_OWN = 4
N_FEATURES = N_OWN + N_CLASSES * (len(_EDGES) - 1) + N_CLASSES + 1


def _octaves(values: NDArray[Any], low: float, high: float) -> Real:
    with np.errstate(divide="ignore", invalid="ignore"):
        octaves = np.log2(np.maximum(values.astype(np.float64), 0))
    # A power of two is a whole number whichever loop of a library computes it.
    return np.asarray(np.clip(np.round(octaves, _EXACT_DIGITS), low, high))


def _rounded(values: Real, fine: float = _FINE, most: float = _MOST) -> Real:
    return np.asarray(np.clip(np.rint(values * fine) / fine, -most, most))


@dataclass(frozen=True, eq=False)
class Judge:
    """A fitted decision: layers of weights with rectifiers between them."""

    weights: tuple[Real, ...]
    """Matrices (inputs, outputs), the last with one output."""
    biases: tuple[Real, ...]
    """Vectors (outputs,)."""

    @classmethod
    def of(cls, weights: Sequence[Any], biases: Sequence[Any]) -> Judge:
        """Return a judge whose numbers are rounded so that its sums are exact.

        Raises ValueError for layers that do not fit together, and for numbers too large
        for exact sums.
        """
        sizes = [N_FEATURES, *(np.shape(bias)[0] for bias in biases)]
        expected = list(pairwise(sizes))
        if [np.shape(matrix) for matrix in weights] != expected or sizes[-1] != 1:
            raise ValueError(
                f"a judge has layers from {N_FEATURES} numbers to one, not "
                f"{[np.shape(matrix) for matrix in weights]}"
            )
        most = max(float(np.abs(each).max()) for each in (*weights, *biases))
        if not most <= _MOST_WEIGHT:
            raise ValueError(f"a judge's numbers reach {_MOST_WEIGHT:g}, not {most:g}")
        return cls(
            tuple(_weights(matrix) for matrix in weights),
            tuple(_weights(bias) for bias in biases),
        )

    def logit(self, features: Real) -> Real:
        """Return the (n,) log odds, in steps of one part in 256."""
        hidden = features
        for number, (matrix, bias) in enumerate(
            zip(self.weights, self.biases, strict=True)
        ):
            if number:
                hidden = np.maximum(hidden, 0)
            # Products have 32 bits, and a hundred of them fewer than 53.
            hidden = _rounded(hidden @ matrix + bias)
        return hidden[:, 0]

    def probability(self, features: Real) -> NDArray[np.float32]:
        """Return the (n,) probabilities that dots are spots of their field."""
        steps = np.rint(np.clip(self.logit(features), -_SURE, _SURE) * _FINE)
        return _LOGISTIC[(steps + _SURE * _FINE).astype(np.int64)]

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the numbers by name, for a file."""
        named: dict[str, Real] = {}
        for number, matrix in enumerate(self.weights):
            named[f"weights{number}"] = matrix
        for number, bias in enumerate(self.biases):
            named[f"biases{number}"] = bias
        return {name: values.astype(np.float32) for name, values in named.items()}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> Judge:
        """Return the judge whose `arrays` these are."""
        n = len(arrays) // 2
        return cls.of(
            [arrays[f"weights{i}"] for i in range(n)],
            [arrays[f"biases{i}"] for i in range(n)],
        )


def _weights(values: Any) -> Real:
    return _rounded(np.asarray(values, np.float64), _FINE_WEIGHT, _MOST_WEIGHT)


_STEPS = np.arange(-_SURE * _FINE, _SURE * _FINE + 1) / _FINE
_LOGISTIC: NDArray[np.float32] = (1 / (1 + np.exp(-_STEPS))).astype(np.float32)
