"""A plan drawn without Keras is that of the Keras model, for every family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks import caso_resnet, deepstorm3d, dye_classifier
from deepspot_scale.networks.families import FAMILIES, Family
from deepspot_scale.networks.layer_plan import (
    Plan,
    plan_network,
    plan_of_model,
    split_arrays,
)
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.openvino.translate import translate
from deepspot_scale.networks.weights import (
    find_weights,
    fitting_arrays,
    load_weights,
    shipped_models,
)

FURTHER = [
    ("caso_resnet", {"blocks": 1, "stems": (3, 4, 5), "up": ((4, 3, 2),)}),
    ("caso_fast", {"dilations": (1,), "entry": 3}),
    ("subpixel_cnn", {"layers": 9}),
    ("deep_storm", {"maps": (2, 3, 4, 5)}),
    ("deepstorm3d", {"unfold": "subpixel", "factor": 3}),
    ("deepstorm3d", {"dilations": (1, 2), "factor": 8}),
    ("dye_classifier", {"filters": (2,)}),
    ("star_convex", {"maps": (2, 3, 4, 5), "head": 6}),
    ("denoiser", {"filters": 5}),
    ("rater", {"stride": 1, "dense": 7}),
    ("rating_cnn", {"maps": (2, 3, 4, 5, 6, 7), "outputs": ("recall", "precision")}),
]


@pytest.mark.parametrize(
    ("name", "numbers"), [*((name, {}) for name in FAMILIES), *FURTHER]
)
def test_both_ways_to_build_a_family_give_one_plan(
    name: str, numbers: dict[str, Any]
) -> None:
    family = FAMILIES[name]
    architecture = replace(family.architecture(), **numbers)
    drawn = plan_network(family.build, architecture)
    model = family.build(architecture)
    assert drawn == plan_of_model(model)
    assert drawn.shapes == [array.shape for array in model.get_weights()]


def test_a_further_parameter_of_a_family_reaches_the_plan() -> None:
    def build(architecture: Any, *, library: Any) -> Plan:
        return dye_classifier.build(architecture, library=library, window=5)

    plan = plan_network(build, dye_classifier.Architecture())
    assert plan.shapes[-2] == (5, 5, 32, 2)


@pytest.mark.parametrize("name", sorted({*shipped_models()} - {"deepspot"}))
def test_shipped_models_answer_as_by_keras(name: str) -> None:
    openvino = pytest.importorskip("openvino")
    assert openvino is import_openvino()
    weights = find_weights(name)
    family: Family = weights.family
    plan = plan_network(family.build, weights.architecture)
    network = translate(plan, fitting_arrays(weights, plan.shapes))
    model = family.build(weights.architecture)
    load_weights(model, weights)
    image = np.random.default_rng(0).random(
        (1, 4 * family.grid, 6 * family.grid, family.channels_in), np.float32
    )
    expected = np.asarray(model(image, training=False))
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(network, "CPU", exact)
    answer = np.moveaxis(compiled([np.moveaxis(image, -1, 1)])[0], 1, -1)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(answer, expected, atol=1e-4 * np.abs(expected).max())


def test_arrays_of_another_architecture_are_refused() -> None:
    other = replace(find_weights("deepspot").architecture, blocks=3)
    plan = plan_network(caso_resnet.build, other)
    with pytest.raises(WeightsError, match="does not fit its architecture"):
        fitting_arrays(find_weights("deepspot"), plan.shapes)


def test_each_layer_gets_its_own_arrays() -> None:
    plan = plan_network(deepstorm3d.build, deepstorm3d.Architecture())
    split = split_arrays(plan, plan.shapes)
    assert [tuple(each) for each in split] == [layer.shapes for layer in plan.layers]


def test_a_word_that_plans_do_not_know_is_an_error() -> None:
    def build(_: Any, *, library: Any) -> Any:
        return library.layers.GELU()

    with pytest.raises(AttributeError, match="GELU"):
        plan_network(build, None)
