"""Rating networks: one answer for each tile, which nothing beside the tile changes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.networks import rater, rating_cnn
from deepspot_scale.networks.families import RATER, RATING_CNN, Family
from deepspot_scale.networks.openvino.cache import openvino_file
from deepspot_scale.networks.openvino.translate import translate_model
from deepspot_scale.networks.rater import RECALL_PRECISION, SCORE, scores
from deepspot_scale.networks.weights import find_weights, write_weights

SMALL = rater.Architecture((4, 4, 6, 6, 6, 6), dense=8)
PAPER = rating_cnn.Architecture((4, 4, 6, 6, 6, 6), dense=8)
FAMILIES = [(RATER, SMALL), (RATING_CNN, PAPER)]


def tiles_of(family: Family, rows: int, columns: int) -> Any:
    shape = (1, rows * family.grid, columns * family.grid, family.channels_in)
    return np.random.default_rng(0).normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize(("family", "network"), FAMILIES)
def test_each_tile_gets_an_answer_of_its_own(family: Family, network: Any) -> None:
    model, image = family.build(network), tiles_of(family, 2, 3)
    answer = np.asarray(model(image))
    family = family.of(network)
    assert answer.shape == (1, *family.answer_shape(image.shape[1:3]))
    assert (answer > 0).all()
    assert (answer < 1).all()
    edge = family.grid
    for row in range(2):
        for column in range(3):
            down, across = (slice(n * edge, (n + 1) * edge) for n in (row, column))
            tile = image[:, down, across]
            alone = np.asarray(model(tile))[0, 0, 0]
            np.testing.assert_allclose(alone, answer[0, row, column], atol=1e-5)


@pytest.mark.parametrize(("family", "network"), FAMILIES)
def test_neither_a_neighbour_nor_another_image_changes_a_tile(
    family: Family, network: Any
) -> None:
    model, image = family.build(network), tiles_of(family, 1, 2)
    other = image.copy()
    other[:, :, family.grid :] += 3
    one, two = (np.asarray(model(each))[0, 0] for each in (image, other))
    np.testing.assert_array_equal(one[0], two[0])
    assert not np.allclose(one[1], two[1])
    both = np.asarray(model(np.concatenate([other, image])))
    np.testing.assert_allclose(both[1, 0], one, atol=1e-5)
    assert family.halo(network) == 0


@pytest.mark.parametrize(("family", "network"), FAMILIES)
def test_openvino_gives_what_keras_gives(family: Family, network: Any) -> None:
    openvino = pytest.importorskip("openvino")
    model, image = family.build(network), tiles_of(family, 2, 3)
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(translate_model(model), "CPU", exact)
    answer = np.moveaxis(compiled([np.moveaxis(image, -1, 1)])[0], 1, -1)
    np.testing.assert_allclose(answer, model(image), atol=1e-4)


def test_weights_say_what_their_channels_are(tmp_path: Path) -> None:
    file = tmp_path / "judge.safetensors"
    write_weights(file, [], PAPER, family=RATING_CNN)
    read = find_weights(file)
    assert read.architecture == PAPER
    assert read.family.channels_out == len(PAPER.outputs) == 1


def test_a_score_is_f1_of_recall_and_precision_or_the_one_channel() -> None:
    answer = np.array([[[0.5, 1.0], [0.0, 0.0]], [[1.0, 1.0], [0.2, 0.6]]])
    expected = [[2 / 3, 0.0], [1.0, 0.3]]
    np.testing.assert_allclose(scores(answer, RECALL_PRECISION), expected)
    np.testing.assert_array_equal(scores(answer[..., :1], SCORE), answer[..., 0])


def test_architectures_are_read_back_from_plain_values() -> None:
    for kind, network in ((rater, SMALL), (rating_cnn, PAPER)):
        values = network.to_dict() | {"maps": list(network.maps)}
        assert kind.Architecture.from_dict(values) == network


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"maps": (8, 8)}, "6 numbers of maps"),
        ({"outputs": ("beauty",)}, "outputs are"),
        ({"stride": 3}, "stride is 1 or 2"),
    ],
)
def test_an_impossible_network_is_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        rater.Architecture(**values)


def test_a_network_that_is_built_otherwise_now_is_not_read_from_the_cache(
    tmp_path: Path,
) -> None:
    pytest.importorskip("openvino")
    file = tmp_path / "judge.safetensors"
    arrays = RATER.build(SMALL).get_weights()
    write_weights(file, arrays, SMALL, family=RATER)
    weights, cache = find_weights(file), tmp_path / "cache"
    kept = openvino_file(weights, cache)
    assert openvino_file(weights, cache) == kept
    other = replace(RATER, build=partial(built_for_smaller_tiles, RATER.build))
    changed = openvino_file(replace(weights, family=other), cache)
    assert changed != kept
    assert changed.exists()


def built_for_smaller_tiles(build: Any, *given: Any, **how: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rater, "TILE", 64)
        return build(*given, **how)
