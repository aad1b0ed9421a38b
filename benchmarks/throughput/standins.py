"""An engine and a detector that do no work, so that only our overhead is left.

    --engine benchmarks.throughput.standins:identity
    --detector benchmarks.throughput.standins:nothing

They are named by the same options as a user's own. Nothing here is part of the product.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale import PointDetector
from deepspot_scale.networks.engine_types import Batch, EngineChoice


@dataclass
class Resting:
    """An engine that takes a fixed time for each image and returns it unchanged.

    Threads do not wait for each other, so one process can simulate many workers.
    """

    seconds: float
    pixels_per_call: int = 1

    @property
    def name(self) -> str:
        """Name with the time of an image."""
        return f"resting {self.seconds:g} s"

    def predict(self, batch: Batch) -> Batch:
        """Return the batch after a fixed time."""
        time.sleep(self.seconds * len(batch))
        return batch


def _rest(seconds: float, choice: EngineChoice) -> Resting:
    return Resting(seconds)


identity = partial(_rest, 0.0)
rest_1s = partial(_rest, 1.0)


def _find_nothing(image: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((0, 2))


nothing = PointDetector(_find_nothing, halo=8)
