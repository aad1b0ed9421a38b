"""Deep-STORM's layers; they load Keras, which takes seconds."""

import os

import numpy as np
import pytest

from deepspot_scale.networks.deep_storm import SCALE, Architecture, build, reach
from deepspot_scale.networks.families import DEEP_STORM

SMALL = Architecture(maps=(2, 2, 3, 4))


@pytest.fixture(scope="module", autouse=True)
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def filled(draw):
    model = build(SMALL)
    model.set_weights([draw(weights.shape) for weights in model.get_weights()])
    return model


def predict(model, image):
    return np.asarray(model.predict_on_batch(image[None, ..., None]))[0, ..., 0]


def test_the_halo_is_three_camera_pixels_whatever_the_width():
    assert DEEP_STORM.halo(Architecture()) == 3
    assert reach(SMALL) == 3


def test_an_architecture_survives_being_written_and_read():
    assert Architecture.from_dict(SMALL.to_dict()) == SMALL
    with pytest.raises(ValueError, match="four numbers"):
        Architecture(maps=(2, 2, 2))


def test_the_paper_s_network_has_its_layers():
    widths = [w.shape[-1] for w in build(Architecture()).weights if w.ndim == 4]
    assert widths == [32, 64, 128, 512, 128, 64, 32, 1]


def test_an_impulse_reaches_exactly_as_far_as_declared():
    rng = np.random.default_rng(0)
    # Weights above 0: no impulse is cancelled, and no unit is ever off.
    model = filled(lambda s: rng.uniform(0.5, 1.5, s) / max(1, np.prod(s[:-1])))
    base = np.ones((13, 13), np.float32)
    lit = base.copy()
    lit[6, 6] += 1e6
    changed = predict(model, base) != predict(model, lit)
    for felt in (changed.any(axis=1), changed.any(axis=0)):
        pixels = np.flatnonzero(felt) // SCALE - 6
        assert (pixels.min(), pixels.max()) == (-3, 3)


@pytest.mark.parametrize("start", [1, 2, 5])
def test_blocks_begin_at_any_camera_pixel(start):
    rng = np.random.default_rng(1)
    model = filled(lambda shape: np.abs(rng.normal(0.2, 0.3, shape)))
    image = rng.random((18, 10), np.float32)
    whole, part = predict(model, image), predict(model, image[start:])
    np.testing.assert_allclose(
        part[3 * SCALE :], whole[(start + 3) * SCALE :], rtol=1e-4, atol=1e-5
    )


def test_openvino_answers_as_keras_does():
    openvino = pytest.importorskip("openvino")
    from deepspot_scale.networks.openvino.translate import translate_model

    rng = np.random.default_rng(2)
    model = filled(lambda shape: np.abs(rng.normal(0.2, 0.3, shape)))
    image = rng.normal(0, 1, (6, 7)).astype(np.float32)
    compiled = openvino.Core().compile_model(
        translate_model(model), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    answer = np.asarray(compiled(image[None, None])[0])[0, 0]
    expected = predict(model, image)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(answer, expected, atol=1e-5 * np.abs(expected).max())
