"""A network in whole numbers of eight bits, for engines on CPUs.

An OpenVINO file comes in, another one goes out. NNCF measures what flows between the
layers on simulated images, of the set that the family names, and chooses the ranges
that 256 steps are to cover; no image of a user decides about it, so all fields are run
by one network. Nothing here knows Keras, or how a network is run.
"""

from __future__ import annotations

import sys
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.networks.openvino.library import import_nncf, import_openvino
from deepspot_scale.simulation.sets import simulate_image

CALIBRATION: Final = 1
"""Counts the ways in which networks were quantised here."""
N_IMAGES: Final = 24
EDGE: Final = 256
SEED: Final = 0


def quantise(source: str, simulator: str, target: str) -> None:
    """Write the quantised twin of an OpenVINO network, of any image size like it.

    Parameters
    ----------
    source
        An ``.xml`` file with its ``.bin`` file beside it; images ``(n, 1, y, x)``.
    simulator
        Name of the simulated set.
    target
        The file to write.
    """
    openvino, nncf = import_openvino(), import_nncf()
    network = openvino.Core().read_model(source)
    network.reshape([1, 1, EDGE, EDGE])
    images = nncf.Dataset([_image(simulator, number) for number in range(N_IMAGES)])
    # Negative values are few after most layers: their range has its own middle.
    mixed = nncf.QuantizationPreset.MIXED
    quantised = nncf.quantize(network, images, subset_size=N_IMAGES, preset=mixed)
    quantised.reshape([-1, 1, -1, -1])
    openvino.save_model(quantised, target, compress_to_fp16=False)


def _image(simulator: str, number: int) -> NDArray[np.float32]:
    counts = simulate_image(simulator, SEED, number, size=EDGE).image
    return quantile_scale(counts)(counts)[None, None]


if __name__ == "__main__":
    quantise(*sys.argv[1:])
