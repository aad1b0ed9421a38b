"""DeepSTORM3D's layers; they load Keras, which takes seconds."""

from __future__ import annotations

import os

import numpy as np
import pytest

from deepspot_scale.networks.deepstorm3d import Architecture, answer, build, reach
from deepspot_scale.networks.families import DEEPSTORM3D
from deepspot_scale.networks.weights import find_weights, write_weights

NEAREST = Architecture(maps=3, depth=4, dilations=(1, 2))
SUBPIXEL = Architecture(3, 5, (2, 1), factor=2, unfold="subpixel")


@pytest.fixture(scope="module", autouse=True)
def keras():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("keras")


def filled(architecture):
    """Weights above 0: no impulse is cancelled, and no unit is ever off."""
    rng = np.random.default_rng(0)
    model = build(architecture)
    model.set_weights(
        [
            rng.uniform(0.5, 1.0, array.shape) / max(1, np.prod(array.shape[:-1]))
            for array in model.get_weights()
        ]
    )
    return model


def test_the_halo_of_the_authors_networks_is_34_pixels_or_12_without_dilation():
    assert reach(Architecture()) == 34
    assert DEEPSTORM3D.halo(Architecture(dilations=(1, 2, 4, 1, 1))) == 12


@pytest.mark.parametrize(("depth", "parameters"), [(81, 437_255), (121, 614_455)])
def test_the_authors_networks_have_their_parameters(depth, parameters):
    # The authors' count has 12 more: the number of batches that each statistic saw.
    assert build(Architecture(depth=depth)).count_params() == parameters


@pytest.mark.parametrize("architecture", [NEAREST, SUBPIXEL], ids=["nearest", "sub"])
def test_an_impulse_reaches_exactly_as_far_as_declared(architecture):
    edge, far = 33, reach(architecture)
    lit = np.zeros((edge, edge))
    lit[16, 16] = 1e6
    base, model = np.zeros((edge, edge)), filled(architecture)
    arrays = model.get_weights()
    # Without the ceiling of 1, which would hide what is above it.
    model.set_weights([*arrays[:-2], arrays[-2] * 1e-9, arrays[-1] * 1e-3])
    dark, bright = (
        np.asarray(model(each[None, ..., None], training=False))[0].sum(axis=-1)
        for each in (base, lit)
    )
    assert bright.max() < architecture.depth, "an answer reached the ceiling"
    changed = dark != bright
    for felt in (changed.any(axis=1), changed.any(axis=0)):
        pixels = np.flatnonzero(felt) // architecture.factor - 16
        assert max(-pixels.min(), pixels.max()) == far


@pytest.mark.parametrize("architecture", [NEAREST, SUBPIXEL], ids=["nearest", "sub"])
def test_openvino_answers_as_keras_does(architecture):
    pytest.importorskip("openvino")
    from deepspot_scale.networks.openvino.library import import_openvino
    from deepspot_scale.networks.openvino.translate import translate_model

    rng = np.random.default_rng(1)
    model = build(architecture)
    # Convolutions of both signs, statistics and shifts that no layer could leave out.
    arrays = [rng.uniform(0.2, 0.9, array.shape) for array in model.get_weights()]
    arrays = [a - 0.5 if a.ndim == 4 else a for a in arrays]
    # The ceiling and the floor cut some answers, but not all.
    ends = np.linspace(-0.5, 1.5, arrays[-1].size)
    model.set_weights([*arrays[:-2], arrays[-2] / 200, ends])
    image = rng.random((2, 14, 9, 1), np.float32)
    expected = np.asarray(model(image, training=False))
    # Values below, between and at the ends of the range.
    assert (expected.min(), expected.max()) == (0.0, 1.0)
    assert ((expected > 0) & (expected < 1)).any()
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = (
        import_openvino().Core().compile_model(translate_model(model), "CPU", exact)
    )
    found = compiled(image.transpose(0, 3, 1, 2))[0].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_each_network_s_own_grid_and_planes_come_with_its_weights(tmp_path):
    path = tmp_path / "small.safetensors"
    arrays = build(SUBPIXEL).get_weights()
    write_weights(path, arrays, SUBPIXEL, family=DEEPSTORM3D)
    family = find_weights(path).family
    assert family.answer_shape((6, 7)) == (12, 14, 5)
    assert answer(SUBPIXEL) == (2, 5)
    assert DEEPSTORM3D.answer_shape((6, 7)) == (24, 28, 81)


def test_an_architecture_survives_being_written_and_read():
    assert Architecture.from_dict(SUBPIXEL.to_dict()) == SUBPIXEL


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"depth": 0}, "1 or more"),
        ({"factor": 3}, "power of 2"),
        ({"unfold": "linear"}, "nearest or subpixel"),
    ],
)
def test_numbers_that_make_no_network_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        Architecture(**values)
