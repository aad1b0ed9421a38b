"""Labels with a depth: the same objects and voxels, however the stack is cut."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.blockwise.answers import PIXEL_UM
from deepspot_scale.blockwise.contract import Answers, Pixels, RunContext
from deepspot_scale.blockwise.geometry import Box, Span, whole_box
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.object_size import scale_plane
from deepspot_scale.kernels.objects import arrange, draw_labels, find_objects
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.stages.segmentation.segment import SEGMENT, SegmentOptions
from deepspot_scale.stages.segmentation.stacks import Stack, put_stack

SHAPE = (150, 90, 110)
"""Three blocks along z."""
PLUGIN = """
import numpy as np
from scipy import ndimage
from deepspot_scale import Segmenter

def apart(image):
    return ndimage.label(image > 0.25)[0]

def by_height(image):
    '''Objects that touch have each their own brightness.'''
    labels, n = np.zeros(image.shape, int), 0
    for height in np.unique(image[image > 0.25]):
        own, more = ndimage.label(image == height)
        labels[own > 0] = own[own > 0] + n
        n += more
    return labels

def voxels(image):
    labels = np.zeros(image.shape, int)
    bright = image > 0.25
    labels[bright] = np.arange(bright.sum()) + 1
    return labels

def one_plane(image):
    return apart(image)[:1]

volumes = Segmenter(apart, largest=24, tile=64, volume=True)
touching = Segmenter(by_height, largest=24, tile=64, volume=True)
many = Segmenter(voxels, largest=1, tile=40, volume=True)
narrow = Segmenter(apart, largest=3, tile=20, volume=True)
wrong = Segmenter(one_plane, largest=24, volume=True)
flat = Segmenter(apart, largest=24, tile=64)
"""


class Made(NamedTuple):
    labels: NDArray[Any]
    counts: dict[str, int]


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_volumes.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_volumes", raising=False)
    return "own_volumes"


def assemble(*words: str, block: int = 2560, in_volume: bool = True) -> Pipeline:
    context = RunContext(in_volume=in_volume)
    chosen = SegmentOptions(segments=words)
    return assemble_stages({SEGMENT: chosen}, context, block=block)


def segment(stack: NDArray[Any], word: str, block: int = 2560) -> Made:
    pipeline = assemble(f"nuclei:{word}@DAPI", block=block)
    layers: Mapping[str, NDArray[Any]] = {"channel:DAPI": stack}
    given = Answers({PIXEL_UM.name: None})
    blocks = pipeline.blocks(stack.shape)
    answers = reduce_rounds(pipeline, blocks, read_whole(layers), given)
    counts = {c.name: c.count(answers[c.of]) for c in pipeline.counts}
    return Made(answers.by_name["nuclei"], counts)


def numbered(labels: NDArray[Any]) -> NDArray[np.int32]:
    """The labels of one look at the whole stack, numbered by place."""
    objects = arrange(find_objects(labels), labels.shape).objects
    return draw_labels(objects, [0] * labels.ndim, labels.shape)


def balls(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint16]:
    """Balls everywhere, above one another and on the seams of blocks and tiles."""
    rng = np.random.default_rng(4)
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    stack = np.full(shape, 100, np.uint16)
    for at in np.stack(np.indices([5, 4, 5]), -1).reshape(-1, 3):
        centre = (at + 0.5) * np.array(shape) / [5, 4, 5] + rng.uniform(-2, 2, 3)
        radius = rng.uniform(4, 8)
        far = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2
        stack[far <= radius**2] = 1000
    return stack


@pytest.mark.parametrize("block", [2560, 77, 64, 33])
def test_blocks_change_no_voxel(plugin: str, block: int) -> None:
    stack = balls()
    blocks = assemble(f"nuclei:{plugin}:volumes@DAPI", block=block).blocks(SHAPE)
    assert len({each.core.spans[0] for each in blocks.blocks}) == 3
    made = segment(stack, f"{plugin}:volumes", block)
    expected = numbered(ndimage.label(stack > 500)[0])
    np.testing.assert_array_equal(made.labels, expected)
    assert made.labels.dtype == np.int32
    assert made.counts == {
        "n_segmented_nuclei": 100,
        "n_claimed_nuclei": 0,
        "n_cut_nuclei": 0,
    }


@pytest.mark.parametrize("block", [2560, 40])
def test_objects_that_touch_stay_apart(plugin: str, block: int) -> None:
    """Boxes without gaps, eight of which meet in one corner, also between blocks."""
    grid = np.stack(np.indices((140, 64, 60)), -1) // [20, 16, 20]
    stack = (1000 + 100 * (grid % 2 * [1, 2, 4]).sum(-1)).astype(np.uint16)
    truth = np.ravel_multi_index(tuple(np.moveaxis(grid, -1, 0)), (7, 4, 3)) + 1
    for image, dark in ((stack, 100), (truth, 0)):
        image[:, [0, 1, -2, -1]] = image[:, :, [0, 1, -2, -1]] = dark
    made = segment(stack, f"{plugin}:touching", block)
    np.testing.assert_array_equal(made.labels, numbered(truth))
    assert made.labels.max() == 7 * 4 * 3


@pytest.mark.parametrize("block", [2560, 40])
def test_objects_of_one_voxel_thickness_are_whole(plugin: str, block: int) -> None:
    stack = np.zeros((140, 70, 70), np.uint16)
    stack[3:137, 35, 31] = 1000  # through all blocks along z
    stack[70, 10:30, 12] = stack[72, 10, 31:50] = stack[64, 50:60, 5:25] = 1000
    stack[5:9, 0, 0] = 1000
    made = segment(stack, f"{plugin}:volumes", block)
    np.testing.assert_array_equal(made.labels, numbered(ndimage.label(stack)[0]))
    assert (made.labels.max(), made.counts["n_cut_nuclei"]) == (5, 0)


def test_more_objects_than_16_bits_count(plugin: str) -> None:
    stack = np.zeros((70, 35, 36), np.uint16)
    stack[1:69, 2:33, 2:34] = 1000
    made = segment(stack, f"{plugin}:many", block=30)
    assert made.labels.max() == 68 * 31 * 32 > 65_535
    np.testing.assert_array_equal(made.labels, numbered_in_order(stack))


def numbered_in_order(stack: NDArray[Any]) -> NDArray[Any]:
    """Each bright voxel by its place in reading order."""
    bright = stack > 0
    return np.where(bright, np.cumsum(bright).reshape(stack.shape), 0)


@pytest.mark.parametrize("block", [2560, 40])
def test_an_empty_stack_has_no_objects(plugin: str, block: int) -> None:
    made = segment(np.full((80, 70, 60), 7, np.uint16), f"{plugin}:volumes", block)
    assert made.labels.shape == (80, 70, 60)
    assert not made.labels.any()
    assert set(made.counts.values()) == {0}


def test_an_object_too_wide_is_counted_but_never_one_too_high(plugin: str) -> None:
    stack = np.zeros((90, 70, 70), np.uint16)
    stack[:, 30, 30] = 1000
    assert segment(stack, f"{plugin}:narrow").counts["n_cut_nuclei"] == 0
    stack[40, 30, :] = 1000
    assert segment(stack, f"{plugin}:narrow").counts["n_cut_nuclei"] > 0


def test_the_scale_is_that_of_the_whole_stack() -> None:
    stack = np.random.default_rng(2).gamma(2, 100, (6, 40, 30)).astype(np.float32)
    pieces = [
        Pixels(Box((Span(a, b), Span(0, 40), Span(0, 30)), "zyx"), stack[a:b])
        for a, b in ((4, 6), (0, 4))
    ]
    whole = put_stack(pieces, Answers())
    assert whole.shape == stack.shape
    expected = scale_plane(stack)(stack)
    everything = whole_box(stack.shape, "zyx")
    np.testing.assert_array_equal(whole.cut(everything), expected)
    window = Box((Span(0, 6), Span(3, 20), Span(5, 9)), "zyx")
    np.testing.assert_array_equal(whole.cut(window), expected[:, 3:20, 5:9])
    np.testing.assert_array_equal(Stack(stack, None).cut(everything), stack)


def test_pixels_that_are_not_numbers_are_an_error(plugin: str) -> None:
    stack = np.ones((5, 40, 40), np.float32)
    stack[3, 4, 5] = np.nan
    with pytest.raises(FieldError, match="NaN"):
        segment(stack, f"{plugin}:volumes")


def test_labels_of_another_depth_are_refused(plugin: str) -> None:
    with pytest.raises(FieldError, match=r"labels of shape \(1, 40, 40\)"):
        segment(np.ones((5, 40, 40), np.uint16), f"{plugin}:wrong")


def test_planes_are_refused_with_the_remedy(plugin: str) -> None:
    with pytest.raises(SettingsError, match=r"volumes takes stacks.*--volume"):
        assemble(f"cells:{plugin}:volumes@DAPI", in_volume=False)


def test_cells_are_not_grown_from_nuclei_with_a_depth(plugin: str) -> None:
    with pytest.raises(SettingsError, match="grown around flat nuclei only"):
        assemble(f"nuclei:{plugin}:volumes@DAPI", "cells:FISH")


def test_flat_nuclei_go_with_cells_that_have_a_depth(plugin: str) -> None:
    both = (f"nuclei:{plugin}:flat@DAPI", f"cells:{plugin}:volumes@DAPI")
    pipeline = assemble(*both)
    assert pipeline.makes_volumes
    assert not assemble(both[0]).makes_volumes
    stack = balls((12, 90, 110))
    layers = read_whole({"channel:DAPI": stack})
    given = Answers({PIXEL_UM.name: None})
    answers = reduce_rounds(pipeline, pipeline.blocks(stack.shape), layers, given)
    nuclei, cells = (answers.by_name[name] for name in ("nuclei", "cells"))
    assert (nuclei == nuclei[0]).all()
    np.testing.assert_array_equal(nuclei[0] > 0, (stack > 500).any(axis=0))
    np.testing.assert_array_equal(cells, numbered(ndimage.label(stack > 500)[0]))
