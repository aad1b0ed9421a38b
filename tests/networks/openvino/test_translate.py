"""The translated network answers as Keras does."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks.caso_resnet import Architecture, build
from deepspot_scale.networks.layer_plan import plan_network
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.openvino.translate import (
    LAYERS,
    translate,
    translate_model,
)

SMALL = Architecture(2, (3, 4, 5), 6, ((8, 7, 6), (5, 4, 3), (4, 3, 2)), 0.1)


def test_it_answers_as_keras_does() -> None:
    network = build(SMALL)
    rng = np.random.default_rng(0)
    # Statistics and shifts that no layer could leave out unseen.
    arrays = [rng.uniform(0.2, 0.9, a.shape) for a in network.get_weights()]
    network.set_weights([a - 0.5 if a.ndim == 4 else a for a in arrays])
    image = rng.random((2, 48, 40, 1), np.float32)
    expected = np.asarray(network(image, training=False))[..., 0]
    assert expected.std() > 0.01
    translated = translate_model(network)
    compiled = (
        import_openvino()
        .Core()
        .compile_model(translated, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    )
    answer = compiled(image.transpose(0, 3, 1, 2))[0][:, 0]
    np.testing.assert_allclose(answer, expected, atol=2e-6)


def test_a_layer_without_translation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(LAYERS, "MaxPooling2D")
    plan = plan_network(build, SMALL)
    with pytest.raises(WeightsError, match="MaxPooling2D"):
        translate(plan, [np.zeros(shape) for shape in plan.shapes])
