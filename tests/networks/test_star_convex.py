"""The star-convex network's layers; they load Keras, which takes seconds."""

from __future__ import annotations

import os

import numpy as np
import pytest

from deepspot_scale.kernels.star_convex import CHANNELS, RAYS
from deepspot_scale.networks.families import STAR_CONVEX
from deepspot_scale.networks.star_convex import GRID, Architecture, build, reach

SMALL = Architecture(maps=(3, 2, 3, 4), head=3)
FOLD = 2
"""Pixels of the image for one of the answer."""


@pytest.fixture(scope="module", autouse=True)
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def filled(draw):
    model = build(SMALL)
    model.set_weights([draw(weights.shape) for weights in model.get_weights()])
    return model


def predict(model, image):
    return np.asarray(model.predict_on_batch(image[None, ..., None]))[0]


def test_an_architecture_survives_being_written_and_read():
    assert Architecture.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(ValueError, match="4 numbers"):
        Architecture(maps=(2, 2, 2))


def test_an_answer_has_half_the_size_and_a_channel_for_each_ray():
    answer = predict(build(SMALL), np.zeros((48, 32), np.float32))
    assert answer.shape == (24, 16, CHANNELS)
    assert STAR_CONVEX.answer_shape((48, 32)) == answer.shape


def test_probabilities_are_shares_and_distances_not_negative():
    rng = np.random.default_rng(0)
    model = filled(lambda shape: rng.normal(0, 1, shape))
    answer = predict(model, rng.normal(0, 3, (64, 64)).astype(np.float32))
    distances = answer[..., 1 : 1 + RAYS]
    shares = answer[..., [0, *range(1 + RAYS, CHANNELS)]]
    assert distances.min() == 0 < distances.max()
    assert 0 <= shares.min() < shares.max() <= 1


def test_an_impulse_reaches_exactly_as_far_as_declared():
    rng = np.random.default_rng(0)

    def positive(shape):
        # Weights above 0: no impulse is cancelled, and no unit is ever off.
        return rng.uniform(0.5, 1.5, shape) / max(1, np.prod(shape[:-1]))

    model = filled(positive)
    edge = 16 * GRID
    felt_by = []
    for place in range(edge // 2, edge // 2 + GRID):
        base = np.ones((edge, edge), np.float32)
        lit = base.copy()
        lit[place, edge // 2] += 1e9
        changed = (predict(model, base) != predict(model, lit)).any(axis=-1)
        rows = np.flatnonzero(changed.any(axis=1)) * FOLD
        # A pixel of the answer stands for two of the image.
        felt_by += [place - rows.min(), rows.max() + FOLD - 1 - place]
    assert max(felt_by) == reach(SMALL)


def test_the_halo_also_holds_the_neighbours_of_a_candidate():
    assert STAR_CONVEX.halo(Architecture()) >= reach(Architecture()) + FOLD


def test_a_window_on_the_grid_answers_as_the_whole_image_inside_its_halo():
    rng = np.random.default_rng(1)
    model = filled(lambda shape: np.abs(rng.normal(0.1, 0.15, shape)))
    image = rng.random((20 * GRID, 32), np.float32)
    halo, start = STAR_CONVEX.halo(SMALL), 3 * GRID
    whole, part = predict(model, image), predict(model, image[start:])
    assert part[..., 1].std() > 0
    inner = part[halo // FOLD :]
    expected = whole[(start + halo) // FOLD :]
    np.testing.assert_allclose(inner, expected, rtol=1e-4, atol=1e-5)


def test_openvino_answers_as_keras_does():
    openvino = pytest.importorskip("openvino")
    from deepspot_scale.networks.openvino.translate import translate_model

    rng = np.random.default_rng(2)
    model = filled(lambda shape: rng.normal(0, 0.5, shape))
    image = rng.normal(0, 1, (48, 32)).astype(np.float32)
    compiled = openvino.Core().compile_model(
        translate_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    answer = np.asarray(compiled(image[None, None])[0])[0].transpose(1, 2, 0)
    expected = predict(model, image)
    assert (expected.std(axis=(0, 1)) > 1e-3).any()
    np.testing.assert_allclose(answer, expected, atol=1e-5 * np.abs(expected).max())
