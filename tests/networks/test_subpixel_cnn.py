"""The sub-pixel network's layers; they load Keras, which takes seconds."""

import os

import numpy as np
import pytest

from deepspot_scale.networks.families import SUBPIXEL_CNN, SUBPIXEL_CNN8
from deepspot_scale.networks.subpixel_cnn import (
    Architecture,
    Architecture8,
    build,
    reach,
)

SMALL = Architecture(layers=3, maps=4, exit_maps=2)
SMALL8 = Architecture8(layers=3, maps=4, exit_maps=3)
BOTH = pytest.mark.parametrize(
    ("architecture", "family"),
    [(SMALL, SUBPIXEL_CNN), (SMALL8, SUBPIXEL_CNN8)],
    ids=["7", "2x2x2"],
)


@pytest.fixture(scope="module", autouse=True)
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def filled(architecture, draw):
    model = build(architecture)
    model.set_weights([draw(weights.shape) for weights in model.get_weights()])
    return model


def predict(model, image):
    return np.asarray(model.predict_on_batch(image[None, ..., None]))[0, ..., 0]


def test_the_halo_is_one_pixel_for_each_layer():
    assert SUBPIXEL_CNN.halo(Architecture()) == 11
    assert SUBPIXEL_CNN.halo(Architecture(layers=9)) == 9


def test_an_architecture_survives_being_written_and_read():
    for kind, one in ((Architecture, SMALL), (Architecture8, SMALL8)):
        assert kind.from_dict(one.to_dict()) == one


def test_factors_that_make_another_grid_than_the_family_are_refused():
    with pytest.raises(ValueError, match="product of factors must be 7"):
        Architecture(factors=(2, 2, 2))
    with pytest.raises(ValueError, match="product of factors must be 8"):
        Architecture8(factors=(2, 2))
    with pytest.raises(ValueError, match="1 or more"):
        Architecture(maps=0)


@BOTH
def test_any_frame_gives_a_map_on_the_finer_grid(architecture, family):
    answer = predict(build(architecture), np.ones((5, 9), np.float32))
    assert answer.shape == family.answer_shape((5, 9))[:2]


@BOTH
def test_an_impulse_reaches_exactly_as_far_as_declared(architecture, family):
    rng = np.random.default_rng(0)
    # Weights above 0: no impulse is cancelled, and no unit is ever off.
    model = filled(
        architecture,
        lambda shape: rng.uniform(0.5, 1.5, shape) / max(1, np.prod(shape[:-1])),
    )
    base = np.ones((15, 15), np.float32)
    lit = base.copy()
    lit[7, 7] += 1e6
    changed = predict(model, base) != predict(model, lit)
    for felt in (changed.any(axis=1), changed.any(axis=0)):
        pixels = np.flatnonzero(felt) // family.scale - 7
        assert pixels.min() == -reach(architecture)
        assert pixels.max() == reach(architecture)


@BOTH
def test_blocks_with_their_halo_answer_as_the_whole_frame(architecture, family):
    rng = np.random.default_rng(1)
    model = filled(architecture, lambda shape: rng.normal(0, 0.4, shape))
    image, rim = rng.random((24, 20), np.float32), family.halo(architecture)
    whole, part = predict(model, image), predict(model, image[5:])
    fine = family.scale
    np.testing.assert_allclose(
        part[rim * fine :], whole[(5 + rim) * fine :], rtol=1e-4, atol=1e-5
    )


@BOTH
def test_openvino_answers_as_keras_does(architecture, family):
    openvino = pytest.importorskip("openvino")
    from deepspot_scale.networks.openvino.translate import translate_model

    rng = np.random.default_rng(2)
    model = filled(architecture, lambda shape: rng.normal(0, 0.4, shape))
    image = rng.normal(0, 1, (17, 21)).astype(np.float32)
    compiled = openvino.Core().compile_model(
        translate_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    answer = np.asarray(compiled(image[None, None])[0])[0, 0]
    expected = predict(model, image)
    assert expected.std() > 0.01
    np.testing.assert_allclose(answer, expected, atol=1e-5 * np.abs(expected).max())
