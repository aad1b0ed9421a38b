"""How the answer of a network that rates images is read, by its weights.

Weights come in; a `RaterModel` goes out. Nothing here runs a network.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.ratings import STEPS
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.image_features import FEATURES, measure_features
from deepspot_scale.networks.domains import Domain, find_domain
from deepspot_scale.networks.families import RATER, RATING_CNN
from deepspot_scale.networks.rater import CHANNELS, RECALL_PRECISION, scores
from deepspot_scale.networks.weights import Weights

DEFAULT_RATER: Final = "rater"
"""The shipped one: it foretells the F1 of the detector."""


@dataclass(frozen=True)
class RaterModel:
    """What a network's answer says."""

    tile: int
    """Edge of what is rated by itself, in pixels as the network sees them."""
    outputs: tuple[str, ...]
    """What the channels of an answer are."""
    domain: Domain | None = None
    """What the network was trained on; None: not known."""
    binning: int = 1
    """Pixels of an image along each axis that the network sees as one."""
    sees_enhanced: bool = False
    """Whether the enhanced image is a second channel beside the image."""

    @property
    def foretells_detection(self) -> bool:
        """Whether a score is the F1 of expected recall and precision."""
        return self.outputs == RECALL_PRECISION

    def score(self, answers: NDArray[Any]) -> NDArray[np.int64]:
        """Return the scores of answers (n, channels), and the answers, in steps.

        The columns of (n, 1 + channels) are the score and the outputs. These are
        rounded first, so a score is that of the numbers beside it.
        """
        whole = np.rint(np.asarray(answers, np.float64).clip(0, 1) * STEPS)
        score = np.rint(scores(whole / STEPS, self.outputs) * STEPS)
        return np.column_stack([score, whole]).astype(np.int64)

    def features(self, tile: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return what a tile looks like, for `Domain.distance_of`; NaN: not known."""
        edge = 0 if self.domain is None else min(self.domain.edge, self.tile)
        if not edge:
            return np.full(len(FEATURES), np.nan)
        start = (self.tile - edge) // 2
        middle = slice(start, start + edge)
        return np.array(measure_features(tile[middle, middle]))


def find_rater(weights: Weights) -> RaterModel:
    """Return how the answers of a model are read.

    Raises
    ------
    SettingsError
        The model rates no images.
    """
    family = weights.family
    known = (RATER.name, RATING_CNN.name)
    if family.name not in known:
        raise SettingsError(
            f"{weights.name} is of the family {family.name}, which rates no images; "
            f"expected {' or '.join(known)}"
        )
    outputs = tuple(weights.architecture.outputs)
    return RaterModel(
        family.grid,
        outputs,
        find_domain(weights),
        family.binning,
        sees_enhanced=family.channels_in == CHANNELS,
    )
