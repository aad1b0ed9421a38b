"""The differentiable microscope is that of the simulation, and its slope is right."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.networks.phase_optics import (
    dye_optics,
    phase_mask_layer,
    shares,
)
from deepspot_scale.simulation.dyes import PupilSpread, dye_pupil
from deepspot_scale.simulation.optics import Optics

PAIR = tuple(
    Optics(wavelength=each, slm_pixel=120.0, focal_plane=1.0) for each in (0.58, 0.67)
)
SET_FOR = 0.625
ARRAYS = dye_optics(PAIR, SET_FOR)
RNG = np.random.default_rng(0)
MASK = RNG.normal(0, 2, (ARRAYS.edge,) * 2).astype(np.float32)
PLACES = np.array(
    [[0.7, 5.0, 5.0], [0.2, 4.6, 5.3], [1.3, 5.4, 4.8], [0.7, 5.1, 5.2]], np.float32
)
DYE = np.array([0, 1, 0, 1], np.int32)


def numbers(tensor: object) -> np.ndarray:
    """Return a tensor of any backend, also one that has a slope, as an array."""
    import keras

    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("mask", [np.zeros_like(MASK), MASK], ids=["flat", "rough"])
def test_it_gives_the_light_that_the_simulation_gives(mask) -> None:
    found = numbers(shares(mask, ARRAYS, DYE, PLACES, 11))
    for number, optics in enumerate(PAIR):
        spread = PupilSpread(dye_pupil(optics, mask, SET_FOR), 11)
        own = number == DYE
        expected = spread(PLACES[own].astype(np.float64))
        np.testing.assert_allclose(found[own], expected, atol=2e-6, rtol=1e-4)


def test_the_slope_of_the_mask_is_that_of_finite_differences() -> None:
    import keras

    layer = phase_mask_layer(ARRAYS, 11)
    inputs = keras.Input((), dtype="int32"), keras.Input((3,))
    model = keras.Model(inputs, layer(*inputs))
    layer.mask.assign(MASK)
    weights = RNG.normal(0, 1000, (len(DYE), 11, 11)).astype(np.float32)
    model.compile(
        keras.optimizers.SGD(1.0), loss=lambda t, p: keras.ops.sum(t * p, axis=(1, 2))
    )
    model.train_on_batch([DYE, PLACES], weights)
    slope = MASK - layer.mask.numpy()  # a step of rate 1

    def loss(mask: np.ndarray) -> float:
        total = 0.0
        for number, optics in enumerate(PAIR):
            own = number == DYE
            spread = PupilSpread(dye_pupil(optics, mask, SET_FOR), 11)
            total += (spread(PLACES[own].astype(np.float64)) * weights[own]).sum()
        return total / len(DYE)

    assert np.abs(slope).max() > 0.1
    middle = ARRAYS.edge // 2
    for row, column in ((middle, middle), (middle - 3, middle + 2), (middle, 3)):
        step = np.zeros_like(MASK)
        step[row, column] = 0.05
        finite = (loss(MASK + step) - loss(MASK - step)) / 0.1
        assert slope[row, column] == pytest.approx(finite, rel=0.02, abs=1e-3)


def test_a_mask_in_other_units_is_the_same_mask() -> None:
    fast, slow = (
        phase_mask_layer(ARRAYS, 11, radians=10.0),
        phase_mask_layer(ARRAYS, 11),
    )
    fast.mask.assign(MASK / 10)
    slow.mask.assign(MASK)
    one, other = (numbers(each(DYE, PLACES)) for each in (fast, slow))
    np.testing.assert_allclose(one, other, atol=1e-6)
