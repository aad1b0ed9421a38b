"""A network in 8-bit integers, for engines on CPUs.

An OpenVINO file comes in, another one goes out. NNCF measures the values between the
layers on simulated images of the set that the family names, and chooses the ranges that
256 steps must cover. A user's images have no influence on it, so the same network runs
on all fields. Nothing here knows Keras, or how a network is run.
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.openvino.library import import_nncf, import_openvino
from deepspot_scale.simulation.sets import simulate_image

CALIBRATION: Final = 1
"""Version of `quantise`; raised when the same network is quantised otherwise."""
N_IMAGES: Final = 24
EDGE: Final = 256
SEED: Final = 0


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
    quantised = nncf.quantize(network, images, subset_size=N_IMAGES, preset=mixed)
    quantised.reshape([-1, 1, -1, -1])
    openvino.save_model(quantised, target, compress_to_fp16=False)


def _image(simulator: str, scale: str, number: int) -> NDArray[np.float32]:
    counts = simulate_image(simulator, SEED, number, size=EDGE).image
    return SCALES[scale](counts)(counts)[None, None]


if __name__ == "__main__":
    quantise(*sys.argv[1:])
