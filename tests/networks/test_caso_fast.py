"""The layers of the cheap network; they load Keras, which takes seconds."""

import os

import numpy as np
import pytest

from deepspot_scale.networks.caso_fast import GRID, Architecture, build, reach
from deepspot_scale.networks.families import CASO_FAST

# How far the network reaches depends on its layers, not on how wide they are.
NARROW = Architecture(entry=2, filters=3, exit=2)
SMALL = Architecture(entry=2, filters=3, exit=2, dilations=(1, 2))


@pytest.fixture(scope="module")
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def filled(architecture, draw):
    """A network of drawn weights, without its sigmoid, which hides differences."""
    import keras

    model = build(architecture)
    model.set_weights([draw(weights.shape) for weights in model.get_weights()])
    return keras.Model(model.input, model.layers[-1].input)


def predict(model, image):
    return np.asarray(model.predict_on_batch(image[None, ..., None]))[0, ..., 0]


def test_reach_and_halo_follow_from_the_dilations():
    assert reach(Architecture()) == 85
    assert CASO_FAST.halo(Architecture()) == 88
    assert reach(NARROW) == 85
    # Each block reaches its dilation and one more pixel of a quarter of the size.
    assert reach(SMALL) == 85 - 4 * (2 + 3 + 5 + 2 + 3 + 2) + 4 * (2 + 3)


def test_an_architecture_survives_being_written_and_read():
    for architecture in (Architecture(), SMALL):
        assert Architecture.from_dict(architecture.to_dict()) == architecture
    with pytest.raises(ValueError, match="1 or more"):
        Architecture(filters=0)


def test_any_image_on_the_grid_gives_an_image_of_its_size_in_0_to_1(keras):
    model = build(SMALL)
    for shape in ((4, 4), (16, 20)):
        answer = predict(model, np.random.default_rng(1).random(shape, np.float32))
        assert answer.shape == shape
        assert answer.dtype == np.float32
        assert ((answer >= 0) & (answer <= 1)).all()


@pytest.mark.parametrize("architecture", [SMALL, NARROW], ids=["two", "six"])
@pytest.mark.parametrize("axis", [0, 1])
def test_an_impulse_never_reaches_beyond_the_declared_reach(keras, architecture, axis):
    rng = np.random.default_rng(2)
    # Weights above 0: no impulse is cancelled, and no unit is ever off.
    model = filled(
        architecture,
        lambda shape: rng.uniform(0.5, 1.5, shape) / max(1, np.prod(shape[:-1])),
    )
    far, length = reach(architecture), 2 * CASO_FAST.halo(architecture) + 10 * GRID
    base = np.ones((length, GRID), np.float32)
    attained = 0
    for place in range(length // 2, length // 2 + GRID):
        lit = base.copy()
        lit[place] += 1e15  # what arrives from afar is a small share of it
        planes = [plane if axis == 0 else plane.T for plane in (base, lit)]
        before, after = (predict(model, plane) for plane in planes)
        felt = np.flatnonzero((before != after).any(axis=1 - axis)) - place
        attained = max(attained, np.abs(felt).max())
    assert attained == far


def test_a_shift_by_the_grid_moves_the_answer_and_nothing_else(keras):
    rng = np.random.default_rng(3)
    model = filled(SMALL, lambda shape: rng.normal(0, 0.3, shape))
    image = rng.random((96, 96), np.float32)
    whole = predict(model, image)
    part = predict(model, np.ascontiguousarray(image[GRID:, 2 * GRID :]))
    rim = CASO_FAST.halo(SMALL)
    inner = (slice(rim, -rim or None),) * 2
    np.testing.assert_allclose(
        part[inner], whole[GRID:, 2 * GRID :][inner], rtol=1e-5, atol=1e-5
    )


def test_openvino_answers_as_keras_does(keras):
    openvino = pytest.importorskip("openvino")
    from deepspot_scale.networks.openvino.translate import translate_model

    rng = np.random.default_rng(4)
    model = build(SMALL)
    model.set_weights([rng.normal(0, 0.3, w.shape) for w in model.get_weights()])
    image = rng.normal(0, 1, (40, 52)).astype(np.float32)
    compiled = openvino.Core().compile_model(
        translate_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    answer = np.asarray(compiled(image[None, None])[0])[0, 0]
    np.testing.assert_allclose(answer, predict(model, image), atol=2e-6)
