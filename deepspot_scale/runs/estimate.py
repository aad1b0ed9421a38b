"""What a run will need, estimated before it starts: blocks, bytes, minutes.

Shapes and a pipeline's numbers come in, estimates go out, as plain integers. Nothing
here reads images or runs a network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepspot_scale.blockwise.geometry import Blocks

NETWORK_BYTES_PER_PIXEL = 500
"""For OpenVINO in float32, from the peak of a worker on 2048 x 2048 px, 2.64 GB;
bfloat16 and int8 take less."""
PROCESS_BYTES = 500_000_000
"""A worker with its libraries and the network loaded."""
TABLE_BYTES_PER_SPOT = 60
ENHANCED_BYTES, DENOISED_BYTES = 0.7, 2.7
"""On disk of a pixel of an enhanced image, and of one without noise, both measured on
the simulated wound assay."""
REST_SECONDS_PER_PIXEL = 1.3e-7
"""Of a pixel of a plane: all stages but the network, and reading and writing. Measured
on one core, on the simulated wound assay with cells; twice or half of it is usual."""
RATING_SHARE = 0.06
"""Of the network's time, what rating the images adds, by `benchmarks/rating.py`."""
SPOTS_PER_PIXEL = 1e-3
"""A well-filled field: four thousand spots on 2048 x 2048 pixels."""


@dataclass(frozen=True)
class Plan:
    """Estimates for one run."""

    n_fields: int
    """Fields to process."""
    n_planes: int
    """Planes of each: time points x channels x planes."""
    shape: tuple[int, ...]
    """Pixels of a plane, as in the first field."""
    n_blocks: int
    """Blocks of each plane."""
    window: tuple[int, ...]
    """Pixels of a block's window."""
    halo: int
    """Pixels that a block reads around its core."""
    useful: float
    """Share of the computed pixels that are not halo or padding."""
    memory_bytes: int
    """Peak of one worker."""
    disk_bytes: int
    """Tables, and enhanced or denoised images if they are kept."""
    seconds: float | None
    """Time at the network's rate measured on this machine; None: not known."""

    def describe_time(self, workers: int | None = None) -> str:
        """Return how long the run takes on this machine, and on so many like it."""
        if self.seconds is None:
            return ""
        text = f"about {_duration(self.seconds)} on this machine"
        if workers is not None and workers > 1:
            # No field is cut in two, so more workers than fields do not help.
            share = min(workers, max(self.n_fields, 1))
            text += f", {_duration(self.seconds / share)} on {workers} workers like it"
        return text


def _duration(seconds: float) -> str:
    minutes = max(seconds / 60, 0.1)
    return f"{minutes:.1f} minutes" if minutes < 120 else f"{minutes / 60:.1f} hours"


def plan_run(
    blocks: Blocks,
    *,
    halo: int,
    n_fields: int,
    n_planes: int,
    layer_bytes: float = 0.0,
    pixels_per_second: float | None = None,
) -> Plan:
    """Estimate what a run of equal fields needs.

    `blocks` are those of one plane, `halo` the pixels read around a core, `n_planes`
    the planes of each field, `layer_bytes` what a pixel of the images that are kept
    takes on disk, and `pixels_per_second` the speed of the network on this
    machine; None: not known.
    """
    pixels = math.prod(blocks.shape)
    rest = n_fields * n_planes * pixels * REST_SECONDS_PER_PIXEL
    window = blocks.window_shape
    computed = len(blocks.blocks) * math.prod(window)
    planes = n_fields * n_planes
    tables = SPOTS_PER_PIXEL * TABLE_BYTES_PER_SPOT
    return Plan(
        n_fields,
        n_planes,
        blocks.shape,
        len(blocks.blocks),
        window,
        halo if len(blocks.blocks) > 1 else 0,
        min(1.0, pixels / computed),
        PROCESS_BYTES + NETWORK_BYTES_PER_PIXEL * math.prod(window) + 12 * pixels,
        int(planes * pixels * (tables + layer_bytes)),
        planes * computed / pixels_per_second + rest if pixels_per_second else None,
    )
