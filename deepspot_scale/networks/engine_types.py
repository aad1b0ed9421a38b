"""What an engine is and how one is chosen: the types that all engines share.

Nothing here runs a network or knows which engines there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Precision = Literal["auto", "float32", "bfloat16", "float16", "int8"]
Device = Literal["auto", "cpu", "gpu"]
Batch = NDArray[np.float32]
AUTO = "auto"
DEFAULT_MODEL = "deepspot-fast"


@dataclass(frozen=True)
class EngineChoice:
    """Which network runs and how; small, hashable, and safe to send to a worker."""

    model: str = DEFAULT_MODEL
    """Name of a shipped model or path of a weights file."""
    engine: str = AUTO
    """keras, openvino, a plug-in's name or ``module:attribute``; auto: Keras if it sees
    a GPU, else OpenVINO if installed, else Keras."""
    precision: Precision = "auto"
    """auto: bfloat16 if the processor multiplies it natively, else float32. int8: the
    quantised network, only with OpenVINO on CPUs."""
    device: Device = "auto"
    """gpu: refuse to run without one."""
    threads: int = 0
    """Processor threads for OpenVINO; 0: all that the process may use."""


class Engine(Protocol):
    """Anything that runs a network on batches."""

    @property
    def name(self) -> str:
        """Engine, number format and device, as a text for people."""

    @property
    def pixels_per_call(self) -> int:
        """Pixels that fill the device; smaller images are put into one batch."""

    def predict(self, batch: Batch) -> Batch:
        """Return the answers (n, *space, channels) to images (n, *space, channels).

        Each axis of space is a multiple of the family's grid. The family says how many
        pixels and channels an answer has, and in what range it is.
        """


Loader = Callable[[EngineChoice], Engine]
"""Makes an engine. An engine plug-in is one; `testing.check_engine` checks it."""
