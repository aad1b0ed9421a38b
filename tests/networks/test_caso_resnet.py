"""The only tests of the network's layers; they load Keras, which takes seconds."""

import os

import numpy as np
import pytest

from deepspot_scale.networks.caso_resnet import (
    GRID,
    Architecture,
    build,
    reach,
)
from deepspot_scale.networks.families import CASO_RESNET

# How far the network reaches depends on its layers, not on how wide they are.
NARROW = Architecture(stems=(2, 2, 2), filters=3, up=((3, 2, 2),) * 3)
SMALL = Architecture(blocks=1, stems=(2, 2, 2), filters=3, up=((3, 2, 2),) * 3)


def positive(model, rng):
    """Random weights above 0: no impulse is cancelled, no unit is ever off."""
    scaled = []
    for weights in model.get_weights():
        inputs = np.prod(weights.shape[:-1]) if weights.ndim > 1 else 1
        scaled.append(rng.uniform(0.5, 1.5, weights.shape) / inputs)
    model.set_weights(scaled)


def signed(model, rng):
    """Random weights of both signs, of He's size, so that answers vary."""
    model.set_weights(
        [
            rng.normal(0, np.sqrt(2 / np.prod(weights.shape[:-1])), weights.shape)
            if weights.ndim == 4
            else rng.uniform(0.5, 1.5, weights.shape)
            for weights in model.get_weights()
        ]
    )


def logits(model):
    """The network without its sigmoid, which could hide small differences."""
    import keras

    return keras.Model(model.input, model.layers[-1].input)


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def small(keras):
    model = build(SMALL)
    signed(model, np.random.default_rng(0))
    return logits(model)


def predict(model, image):
    return np.asarray(model.predict_on_batch(image[None, ..., None]))[0, ..., 0]


def test_reach_and_halo_are_those_of_the_published_networks():
    assert reach(Architecture()) == 122
    assert reach(Architecture(blocks=13)) == 146
    assert CASO_RESNET.halo(Architecture()) == 128
    assert CASO_RESNET.halo(Architecture(blocks=13)) == 152
    assert reach(NARROW) == reach(Architecture())


def test_an_architecture_survives_being_written_and_read():
    for architecture in (Architecture(), SMALL):
        assert Architecture.from_dict(architecture.to_dict()) == architecture


def test_the_published_network_has_its_number_of_parameters(keras):
    assert build(Architecture()).count_params() == 3_490_305


def test_any_image_on_the_grid_gives_an_image_of_its_size_in_0_to_1(keras):
    model = build(SMALL)
    for shape in ((8, 8), (16, 40)):
        answer = predict(model, np.random.default_rng(1).random(shape, np.float32))
        assert answer.shape == shape
        assert answer.dtype == np.float32
        assert ((answer >= 0) & (answer <= 1)).all()


@pytest.mark.parametrize("architecture", [SMALL, NARROW], ids=["one", "ten"])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_impulse_never_reaches_beyond_the_declared_reach(keras, architecture, axis):
    rng = np.random.default_rng(2)
    model = build(architecture)
    positive(model, rng)
    model = logits(model)
    far, length = reach(architecture), 2 * CASO_RESNET.halo(architecture) + 10 * GRID
    # On slopes max-pooling looks to the far side: the reach is then attained.
    slope = np.linspace(1, 2, length, dtype=np.float32)
    attained = 0
    for image in (slope, slope[::-1]):
        base = np.ascontiguousarray(np.repeat(image[:, None], GRID, axis=1))
        for place in range(length // 2, length // 2 + GRID):
            lit = base.copy()
            lit[place] += 1e15  # what arrives from afar is a 1e-11th of it
            planes = [plane if axis == 0 else plane.T for plane in (base, lit)]
            before, after = (predict(model, plane) for plane in planes)
            felt = np.flatnonzero((before != after).any(axis=1 - axis)) - place
            assert np.abs(felt).max() <= far
            attained = max(attained, np.abs(felt).max())
    assert attained == far


def test_gradients_of_the_published_network_end_at_its_reach(keras):
    tensorflow = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("gradients are taken by TensorFlow")
    rng = np.random.default_rng(3)
    model = build(Architecture())
    signed(model, rng)
    model = logits(model)
    length = 2 * CASO_RESNET.halo(Architecture()) + 8 * GRID
    image = rng.random((1, GRID, length, 1), np.float32)
    middle = length // 2
    farthest = 0
    for place in range(middle, middle + GRID):
        with tensorflow.GradientTape() as tape:
            pixels = tensorflow.constant(image)
            tape.watch(pixels)
            answer = tensorflow.reduce_sum(model(pixels)[:, :, place])
        gradient = np.asarray(tape.gradient(answer, pixels))[0, ..., 0]
        felt = np.flatnonzero((gradient != 0).any(axis=0)) - place
        farthest = max(farthest, np.abs(felt).max())
    assert 0.8 * reach(Architecture()) < farthest <= reach(Architecture())


@pytest.mark.parametrize("shift", [(8, 0), (0, 16), (-8, 24)])
def test_a_shift_by_the_grid_moves_the_answer_and_nothing_else(small, shift):
    image = np.random.default_rng(4).random((208, 208), np.float32)
    moved = np.roll(image, shift, (0, 1))
    rim = CASO_RESNET.halo(SMALL) + 24
    inside = np.s_[rim:-rim, rim:-rim]
    expected = np.roll(predict(small, image), shift, (0, 1))[inside]
    np.testing.assert_allclose(predict(small, moved)[inside], expected, atol=1e-4)


def test_a_shift_off_the_grid_changes_the_answer(small):
    image = np.random.default_rng(4).random((208, 208), np.float32)
    rim = CASO_RESNET.halo(SMALL) + 24
    inside = np.s_[rim:-rim, rim:-rim]
    expected = np.roll(predict(small, image), 4, 1)[inside]
    moved = predict(small, np.roll(image, 4, 1))[inside]
    assert np.abs(moved - expected).max() > 1e-2


def test_a_window_on_the_grid_with_its_halo_gives_the_answer_of_the_whole(small):
    image = np.random.default_rng(5).random((240, 240), np.float32)
    whole, far = predict(small, image), CASO_RESNET.halo(SMALL)
    top, left, core = 72, 80, 40
    window = image[top - far : top + core + far, left - far : left + core + far]
    answer = predict(small, window)[far:-far, far:-far]
    expected = whole[top : top + core, left : left + core]
    np.testing.assert_allclose(answer, expected, atol=1e-4)
    off = image[top - far + 4 : top + core + far + 4, left - far : left + core + far]
    answer = predict(small, off)[far:-far, far:-far]
    expected = whole[top + 4 : top + 4 + core, left : left + core]
    assert np.abs(answer - expected).max() > 1e-2
