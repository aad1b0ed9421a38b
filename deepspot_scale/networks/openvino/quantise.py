"""A network in 8-bit integers, for engines on CPUs.

An OpenVINO file comes in, another one goes out. NNCF measures the values between the
layers on simulated images of the set that the family names, and chooses the ranges that
256 steps must cover. A user's images have no influence on it, so the same network runs
on all fields. Nothing here knows Keras.

Processors with AVX2 and without VNNI add pairs of products in 16 bits, where large
weights saturate; so weights have 7 bits, and the result is compared once with the
floating-point network, on the processor that quantised it. Sums are still grouped as
each processor does it: answers differ between processors in the last step.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.openvino.library import import_nncf, import_openvino
from deepspot_scale.simulation.sets import simulate_image

CALIBRATION: Final = 3
"""Version of `quantise`; raised when the same network is quantised otherwise."""
N_IMAGES: Final = 24
EDGE: Final = 256
SEED: Final = 0
N_COMPARED: Final = 4
"""Further images, on which both networks must agree."""
BRIGHT: Final = 0.99
"""Quantile of the answers from which on they are compared: most are dark."""
MOST_DIFFERENCE: Final = 0.1
"""Largest mean difference of bright answers, as a share of the range in use."""


def quantise(source: str, simulator: str, scale: str, target: str) -> None:
    """Quantise an OpenVINO network for images ``(n, 1, y, x)`` of any size.

    `source` and `target` are ``.xml`` files with ``.bin`` files beside them;
    `simulator` is the name of the simulated set, `scale` that of its normalisation.
    """
    openvino, nncf = import_openvino(), import_nncf()
    network = openvino.Core().read_model(source)
    network.reshape([1, 1, EDGE, EDGE])
    images = nncf.Dataset([_image(simulator, scale, n) for n in range(N_IMAGES)])
    # After most layers few values are negative, so the range needs its own middle.
    mixed = nncf.QuantizationPreset.MIXED
    guarded = nncf.AdvancedQuantizationParameters(overflow_fix=nncf.OverflowFix.ENABLE)
    quantised = nncf.quantize(
        network,
        images,
        subset_size=N_IMAGES,
        preset=mixed,
        advanced_parameters=guarded,
    )
    compared = [_image(simulator, scale, N_IMAGES + n) for n in range(N_COMPARED)]
    require_alike(openvino.Core(), network, quantised, compared)
    quantised.reshape([-1, 1, -1, -1])
    openvino.save_model(quantised, target, compress_to_fp16=False)


def require_alike(
    core: Any, network: Any, quantised: Any, images: Sequence[NDArray[np.float32]]
) -> None:
    """Raise ValueError if a quantised network answers otherwise than the network.

    Both are OpenVINO models for images of one shape, and run on this processor.
    """
    exact, found = (_answers(core, model, images) for model in (network, quantised))
    span = float(np.ptp(exact))
    bright = exact >= np.quantile(exact, BRIGHT)
    difference = float(np.abs(found - exact)[bright].mean())
    if not difference <= MOST_DIFFERENCE * span:
        raise ValueError(
            f"in whole numbers its bright answers differ by {difference:.3g} on "
            f"average, of {span:.3g}, on this processor"
        )


def _answers(core: Any, model: Any, images: Sequence[NDArray[np.float32]]) -> Any:
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.stack([compiled(image)[0].copy() for image in images])


def _image(simulator: str, scale: str, number: int) -> NDArray[np.float32]:
    counts = simulate_image(simulator, SEED, number, size=EDGE).image
    return SCALES[scale](counts)(counts)[None, None]


if __name__ == "__main__":
    quantise(*sys.argv[1:])
