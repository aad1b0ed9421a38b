"""An engine and a detector that do no work, so that only our own plumbing is left.

    --engine benchmarks.throughput.standins:identity
    --detector benchmarks.throughput.standins:nothing

They go in by the same doors as a user's own. Nothing here is part of the product.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale import PointDetector
from deepspot_scale.networks.engines import Batch, EngineChoice


@dataclass
class Resting:
    """An engine that takes a fixed time for each image and leaves it as it is."""

    seconds: float
    pixels_per_call: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def name(self) -> str:
        """Say how long an image takes."""
        return f"resting {self.seconds:g} s"

    def predict(self, batch: Batch) -> Batch:
        """Return the batch, one after the other as a real engine would."""
        if self.seconds:
            with self.lock:
                time.sleep(self.seconds * len(batch))
        return batch


def _rest(seconds: float, choice: EngineChoice) -> Resting:
    return Resting(seconds)


identity = partial(_rest, 0.0)
rest_100ms = partial(_rest, 0.1)
rest_1s = partial(_rest, 1.0)


def _find_nothing(image: NDArray[Any]) -> NDArray[Any]:
    return np.zeros((0, 2))


nothing = PointDetector(_find_nothing, halo=8)
