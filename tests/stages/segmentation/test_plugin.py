"""Objects by a plug-in: whole, each once, whatever the tiles and blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.blockwise.contract import Answers, BlockContext, Key
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.kernels.objects import draw_labels
from deepspot_scale.networks.segmenters import Segmenter
from deepspot_scale.stages.segmentation.found import Found
from deepspot_scale.stages.segmentation.planes import Plane
from deepspot_scale.stages.segmentation.plugin import Owned, PluginObjects

PLANE: Key[Plane] = Key("plane")
SHAPE = (150, 131)


def bright(image: NDArray[np.float32]) -> Any:
    return ndimage.label(image > 0.5)[0]


def segment(image: Any, segmenter: Segmenter, block: int = 1000) -> Found:
    method = PluginObjects(
        "own", segmenter, PLANE, Key[Owned]("owned"), Key[Found]("found")
    )
    agreed = Answers({"plane": Plane(image, 1, image.shape, None)})
    blocks = plan_blocks(image.shape, block=block, halo=0).blocks
    shares = [
        method.chunk(
            BlockContext(each, image.shape, lambda *_: None, Answers(), each.core),  # type: ignore[arg-type,return-value]
            agreed,
        )
        for each in blocks
    ]
    total = shares[-1]
    for share in reversed(shares[:-1]):
        total += share
    return method.settle(total, agreed)


def labels_of(found: Found, shape: tuple[int, ...] = SHAPE) -> Any:
    return draw_labels(found.objects, [0] * len(shape), shape)


@pytest.fixture
def image() -> Any:
    """Squares everywhere, so also on each side and corner of tiles."""
    rng = np.random.default_rng(3)
    image = np.zeros(SHAPE, np.float32)
    for y in range(2, SHAPE[0], 14):
        for x in range(2, SHAPE[1], 14):
            height, width = rng.integers(2, 12, 2)
            image[y : y + height, x : x + width] = 1
    return image


@pytest.mark.parametrize(("tile", "block"), [(40, 1000), (40, 33), (57, 20), (64, 7)])
def test_tiles_and_blocks_give_the_objects_of_the_whole_plane(
    image: Any, tile: int, block: int
) -> None:
    found = segment(image, Segmenter(bright, largest=12, tile=tile), block)
    labels = labels_of(found)
    np.testing.assert_array_equal(labels > 0, image > 0.5)
    expected = bright(image)
    assert len(found.objects.masks) == expected.max()
    pairs = np.unique(np.stack([labels.ravel(), expected.ravel()]), axis=1)
    assert pairs.shape[1] == expected.max() + 1
    assert found.n_cut == 0


def test_an_object_larger_than_declared_is_found_whole_in_a_wider_window() -> None:
    image = np.zeros(SHAPE, np.float32)
    image[60:64, 20:60] = 1
    found = segment(image, Segmenter(bright, largest=12, tile=40))
    np.testing.assert_array_equal(labels_of(found), image.astype(int))
    assert found.n_cut == 0


def test_an_object_too_large_for_any_window_is_counted() -> None:
    image = np.zeros(SHAPE, np.float32)
    image[60:64, 4:127] = 1
    assert segment(image, Segmenter(bright, largest=12, tile=40)).n_cut >= 1
    assert segment(image, Segmenter(bright, largest=124, tile=300)).n_cut == 0


def test_objects_at_the_planes_own_side_are_not_cut() -> None:
    image = np.zeros(SHAPE, np.float32)
    image[:5, :5] = image[-3:, -4:] = image[70:75, :3] = 1
    found = segment(image, Segmenter(bright, largest=12, tile=40))
    assert (len(found.objects.masks), found.n_cut) == (3, 0)


def test_an_empty_plane_has_no_objects() -> None:
    found = segment(np.zeros(SHAPE, np.float32), Segmenter(bright, 12, tile=40))
    assert (len(found.objects.masks), found.n_cut, found.n_claimed) == (0, 0, 0)
