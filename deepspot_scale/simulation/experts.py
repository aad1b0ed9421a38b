"""Simulated experts, who rate images of known quality and choose between two scores.

True scores in, 0 to 100; ratings and choices out. An expert judges with a normal error
and takes the score that is nearer to the own judgement; two that are as good as equally
near are equivalent. Nothing here knows images, pages or tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Expert:
    """How one expert judges."""

    error: float = 10.0
    """Standard deviation of a judgement about the true score."""
    bias: float = 0.0
    """Mean of judgements less the true score."""
    indifference: float = 0.0
    """Two scores are equivalent if their distances differ by no more than this."""
    discards: float = 0.0
    """Probability that an image is discarded."""

    def rate(self, rng: np.random.Generator, true: Scores) -> Scores:
        """Return whole scores (n,) of images with true scores (n,), 0 to 100."""
        judged = self._judge(rng, true)
        return np.clip(np.round(judged), 0.0, 100.0)

    def choose(
        self, rng: np.random.Generator, true: Scores, shown: tuple[Scores, Scores]
    ) -> NDArray[np.object_]:
        """Return what is chosen (n,), of `study_answers.CHOICES`.

        `shown` are target and predicted score, (n,) each, 0 to 100.
        """
        judged = self._judge(rng, true)
        nearer = nearer_of(judged, *shown, indifference=self.indifference)
        gone = rng.random(len(true)) < self.discards
        return np.where(gone, "discard", nearer).astype(object)

    def _judge(self, rng: np.random.Generator, true: Scores) -> Scores:
        return true + self.bias + rng.normal(0, self.error, len(true))


def nearer_of(
    judged: Scores, target: Scores, predicted: Scores, *, indifference: float = 0.0
) -> NDArray[np.object_]:
    """Return which of two scores is nearer to a judgement, all (n,).

    Examples
    --------
    >>> judged, other = np.array([50.0, 50, 50]), np.array([45.0, 60, 55])
    >>> nearer_of(judged, np.full(3, 45.0), other).tolist()
    ['equivalent', 'target', 'equivalent']
    """
    further = np.abs(judged - target) - np.abs(judged - predicted)
    sides = [further > indifference, further < -indifference]
    return np.select(sides, ["predicted", "target"], "equivalent").astype(object)
