"""The stage segment: the same objects and pixels, however the plane is cut."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy import ndimage

from deepspot_scale.blockwise.answers import PIXEL_UM, STEP
from deepspot_scale.blockwise.contract import Answers, Layer, RunContext
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.plugins import _entry_points
from deepspot_scale.simulation.nuclei import draw_nuclei
from deepspot_scale.stages.segmentation.segment import (
    SEGMENT,
    SegmentOptions,
    read_segment,
)
from deepspot_scale.stages.volume import VOLUME, VolumeOptions

SHAPE = (430, 500)
BOTH = ("nuclei:DAPI", "cells:FISH")
PLUGIN = """
import numpy as np
from scipy import ndimage
from deepspot_scale import Segmenter

def bright(image):
    return ndimage.label(image > 0.5)[0]

def wrong(image):
    return ndimage.label(image > 0.5)[0][1:]

def fractions(image):
    return image

objects = Segmenter(bright, largest=40, tile=160)
small = Segmenter(bright, largest=3, tile=100)
shifted = Segmenter(wrong, largest=40)
floats = Segmenter(fractions, largest=40)
"""


class Stored(NamedTuple):
    """Layers in memory."""

    layers: Mapping[str, NDArray[Any]]

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        return self.layers[name][box.slices]

    def has(self, name: str) -> bool:
        return name in self.layers

    def dtype(self, name: str) -> np.dtype[Any]:
        return self.layers[name].dtype


class Made(NamedTuple):
    labels: dict[str, NDArray[Any]]
    counts: dict[str, int]


def segment(
    layers: Mapping[str, NDArray[Any]],
    *words: str,
    block: int = 2560,
    pixel_um: tuple[float, float] | None = None,
    **options: Any,
) -> Made:
    chosen = SegmentOptions(segments=words, **options)
    pipeline = assemble_stages({SEGMENT: chosen}, RunContext(), block=block)
    shape = next(iter(layers.values())).shape
    given = Answers({PIXEL_UM.name: pixel_um})
    answers = reduce_rounds(pipeline, pipeline.blocks(shape), Stored(layers), given)
    return Made(
        {layer.name: answers.by_name[layer.name] for layer in pipeline.layers},
        {c.name: c.count(answers[c.of]) for c in pipeline.counts},
    )


@pytest.fixture(scope="module")
def field() -> dict[str, NDArray[Any]]:
    """Nuclei of 52 px, reduced by 2; cells brighter than what is beside them."""
    rng = np.random.default_rng(5)
    made = draw_nuclei(rng, SHAPE, diameter=52, cover=0.25, touching=0.5)
    cells = ndimage.binary_dilation(made.labels > 0, iterations=12)
    stain = 100 + 60 * ndimage.gaussian_filter(cells.astype(float), 2)
    counts = rng.poisson(np.maximum(made.counts, 0)).astype(np.uint16)
    return {
        "channel:DAPI": counts,
        "channel:FISH": rng.poisson(stain).astype(np.uint16),
        "truth": made.labels,
    }


@pytest.fixture(scope="module")
def at_once(field: dict[str, NDArray[Any]]) -> Made:
    return segment(images(field), *BOTH)


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_segmenters.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "own_segmenters", raising=False)
    return "own_segmenters"


def images(field: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {name: each for name, each in field.items() if name != "truth"}


def test_nuclei_are_found(field: dict[str, NDArray[Any]], at_once: Made) -> None:
    nuclei, truth = at_once.labels["nuclei"], field["truth"]
    assert nuclei.dtype == np.int32
    found = 0
    numbers = np.unique(truth)[1:]
    for number in numbers:
        own = truth == number
        other = np.bincount(nuclei[own]).argmax()
        same = nuclei == other
        found += bool(other) and (own & same).sum() / (own | same).sum() > 0.5
    assert found >= 0.7 * len(numbers)
    assert at_once.counts["n_segmented_nuclei"] == nuclei.max()


@pytest.mark.parametrize("block", [64, 131, 256])
def test_blocks_change_no_pixel(
    field: dict[str, NDArray[Any]], at_once: Made, block: int
) -> None:
    cut = segment(images(field), *BOTH, block=block)
    for kind, labels in at_once.labels.items():
        np.testing.assert_array_equal(cut.labels[kind], labels, err_msg=kind)
    assert cut.counts == at_once.counts


def test_small_nuclei_are_enlarged_and_blocks_change_no_pixel() -> None:
    rng = np.random.default_rng(6)
    made = draw_nuclei(rng, (170, 190), diameter=11, cover=0.2, touching=0.3)
    counts = rng.poisson(np.maximum(made.counts, 0)).astype(np.uint16)
    layers = {"channel:DAPI": counts}
    whole = segment(layers, BOTH[0])
    found = whole.labels["nuclei"]
    assert found.shape == counts.shape
    true = len(np.unique(made.labels)) - 1
    assert whole.counts["n_segmented_nuclei"] == pytest.approx(true, rel=0.25)
    covered = (found > 0) & (made.labels > 0)
    assert covered.sum() > 0.75 * ((found > 0) | (made.labels > 0)).sum()
    for block in (64, 101):
        cut = segment(layers, BOTH[0], block=block)
        np.testing.assert_array_equal(cut.labels["nuclei"], found)


def test_labels_are_numbered_by_place_without_gaps(at_once: Made) -> None:
    nuclei = at_once.labels["nuclei"]
    np.testing.assert_array_equal(np.unique(nuclei), np.arange(nuclei.max() + 1))
    rows = [place[0].start for place in ndimage.find_objects(nuclei)]
    assert np.mean(np.diff(rows) >= -60) > 0.9


def test_cell_holds_its_nucleus(at_once: Made) -> None:
    nuclei, cells = at_once.labels["nuclei"], at_once.labels["cells"]
    inside = nuclei > 0
    np.testing.assert_array_equal(cells[inside], nuclei[inside])
    assert (cells > 0).sum() > 1.3 * inside.sum()
    assert at_once.counts["n_cells_grown"] == 0


def test_channel_without_cytoplasm_says_that_nuclei_were_grown(
    field: dict[str, NDArray[Any]],
) -> None:
    dark = np.random.default_rng(1).poisson(100, SHAPE).astype(np.uint16)
    made = segment({**images(field), "channel:FISH": dark}, *BOTH)
    assert made.counts["n_cells_grown"] == made.counts["n_segmented_nuclei"] > 0


def test_labels_of_a_stack_are_those_of_its_brightest_pixels(
    field: dict[str, NDArray[Any]], at_once: Made
) -> None:
    chosen = SegmentOptions(segments=BOTH)
    choices = {SEGMENT: chosen, VOLUME: VolumeOptions(use=True)}
    wanted = (Layer("averaged"),)
    pipeline = assemble_stages(choices, RunContext(), wanted=wanted)
    dim = {name: each // 2 for name, each in images(field).items()}
    stack = {
        name: np.stack([dim[name], each, dim[name], dim[name]])
        for name, each in images(field).items()
    }
    layers = Stored({**stack, "image": stack["channel:FISH"]})
    given = Answers({PIXEL_UM.name: None, STEP.name: None})
    shape = stack["channel:FISH"].shape
    answers = reduce_rounds(pipeline, pipeline.blocks(shape), layers, given)
    for kind, labels in at_once.labels.items():
        made = answers.by_name[kind]
        np.testing.assert_array_equal(made, np.broadcast_to(labels, shape))


def test_empty_plane_has_no_objects() -> None:
    empty = np.full((90, 70), 100, np.uint16)
    made = segment({"channel:DAPI": empty, "channel:FISH": empty}, *BOTH)
    assert not made.labels["nuclei"].any()
    assert not made.labels["cells"].any()
    assert made.counts["n_unsized"] == 1


def test_planes_unlike_the_training_are_counted(
    field: dict[str, NDArray[Any]], at_once: Made
) -> None:
    counts = images(field)
    inverted = counts["channel:DAPI"].max() - counts["channel:DAPI"]
    made = segment({**counts, "channel:DAPI": inverted}, *BOTH)
    assert at_once.counts["n_unlike"] == 0
    assert made.counts["n_unlike"] == 1


def test_given_size_decides_how_much_the_plane_is_reduced(
    field: dict[str, NDArray[Any]], at_once: Made
) -> None:
    given = segment(images(field), *BOTH, pixel_um=(0.2, 0.2), nucleus_um=52 * 0.2)
    np.testing.assert_array_equal(given.labels["nuclei"], at_once.labels["nuclei"])
    assert given.counts["n_unsized"] == 0
    with pytest.raises(FieldError, match="size of a pixel is not known"):
        segment(images(field), *BOTH, nucleus_um=10.0)


def test_pixels_that_are_not_numbers_are_an_error() -> None:
    image = np.ones((64, 64), np.float32)
    image[3, 3] = np.nan
    with pytest.raises(FieldError, match="NaN"):
        segment({"channel:DAPI": image}, "nuclei:DAPI")


@pytest.mark.parametrize("block", [64, 200, 2560])
def test_plugin_gives_whole_objects(
    field: dict[str, NDArray[Any]], plugin: str, block: int
) -> None:
    blobs = np.zeros((300, 280), np.uint16)
    for y, x in [(40, 40), (159, 159), (150, 30), (250, 141), (299, 279)]:
        blobs[max(y - 9, 0) : y + 9, max(x - 15, 0) : x + 15] = 1000
    made = segment(
        {"channel:DAPI": blobs}, f"nuclei:{plugin}:objects@DAPI", block=block
    )
    expected = ndimage.label(blobs)[0]
    got = made.labels["nuclei"]
    assert got.max() == expected.max() == 5
    for number in range(1, 6):
        assert len(np.unique(got[expected == number])) == 1
    assert made.counts["n_cut_nuclei"] == 0


def test_object_larger_than_declared_is_looked_for_again_and_then_counted(
    plugin: str,
) -> None:
    image = np.zeros((400, 400), np.uint16)
    image[95:103, 95:107] = 1000
    word = f"cells:{plugin}:small@0"
    made = segment({"channel:0": image}, word)
    assert (made.labels["cells"] > 0).sum() == 8 * 12
    assert made.counts["n_cut_cells"] == 0
    image[100, :] = 1000
    made = segment({"channel:0": image}, word)
    assert made.counts["n_cut_cells"] > 0


def test_plugin_that_gives_no_labels_is_named(plugin: str) -> None:
    image = np.zeros((50, 50), np.uint16)
    image[10:20, 10:20] = 9
    for name, told in (("shifted", "shape"), ("floats", "whole numbers")):
        with pytest.raises(FieldError, match=told):
            segment({"channel:0": image}, f"cells:{plugin}:{name}@0")
    with pytest.raises(SettingsError, match="no Segmenter"):
        segment({"channel:0": image}, f"cells:{plugin}:bright@0")


def test_words_are_read() -> None:
    assert read_segment("nuclei:DAPI")[1:] == ("DAPI", None)
    assert read_segment("cells:a.b:c")[1:] == (None, "a.b:c")
    assert read_segment("cells:a.b:c@FISH")[1:] == ("FISH", "a.b:c")
    assert read_segment("cells:own-cells@FISH")[1:] == ("FISH", "own-cells")
    for word in ("cells", "cells:", "mitochondria:DAPI", ":x", "cells:@FISH"):
        with pytest.raises(ValueError, match=r"segment (reads|names no)"):
            read_segment(word)
    with pytest.raises(ValidationError, match="twice"):
        SegmentOptions(segments=("nuclei:A", "nuclei:B"))
    with pytest.raises(ValidationError, match="grown from nuclei"):
        SegmentOptions(segments=("cells:A",))


def test_plugin_of_an_installed_package_is_named_without_a_module(
    plugin: str, tmp_path: Path
) -> None:
    image = np.zeros((50, 50), np.uint16)
    image[10:20, 10:20] = 9
    with pytest.raises(
        SettingsError, match=r"no segmenter 'own-cells'.*own-cells@0 is the name of a c"
    ):
        segment({"channel:0": image}, "cells:own-cells@0")
    entry = tmp_path / "own-1.0.dist-info"
    entry.mkdir()
    (entry / "METADATA").write_text("Metadata-Version: 2.1\nName: own\nVersion: 1\n")
    (entry / "entry_points.txt").write_text(
        f"[deepspot_scale.segmenters]\nown-cells = {plugin}:objects\n"
    )
    _entry_points.cache_clear()
    made = segment({"channel:0": image}, "cells:own-cells@0")
    np.testing.assert_array_equal(made.labels["cells"], image > 0)
    with pytest.raises(SettingsError, match=r"Did you mean 'own-cells'"):
        segment({"channel:0": image}, "cells:own-cell@0")
    sources = SEGMENT.sources(SegmentOptions(segments=("cells:own-cells@0",)))
    assert sources["segmenter of cells"]["name"] == "own-cells"


def test_stored_and_made_labels_of_one_name_are_an_error() -> None:
    context = RunContext(frozenset({"image", "nuclei"}))
    with pytest.raises(SettingsError, match="use one of them"):
        SEGMENT.plan(SegmentOptions(segments=("nuclei:DAPI",)), context)


def test_nothing_to_segment_is_no_work() -> None:
    assert SEGMENT.plan(SegmentOptions(), RunContext()) is None
    assert dict(SEGMENT.sources(SegmentOptions())) == {}
