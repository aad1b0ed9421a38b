"""Stages of volumes: blocks have a depth, and its cut shows in no answer."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy import ndimage

from deepspot_scale.blockwise.answers import BRIGHTNESS, ENHANCED
from deepspot_scale.blockwise.contract import (
    Key,
    Layer,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.geometry import MOST_PLANES
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.field import run_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.plate import FieldEntry, open_plate
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.stages.brightness import MEASURE_BRIGHTNESS, BrightnessOptions
from deepspot_scale.stages.detection.detect import DETECT, DetectOptions
from deepspot_scale.stages.enhancement import ENHANCE, EnhanceOptions
from deepspot_scale.verbs.images import apply
from deepspot_scale.vocabulary import Column

SHAPE = (150, 40, 52)
REACH = {"z": 2, "y": 1, "x": 1}
SIZE = (5, 3, 3)
COLUMNS = (
    Column("channel", "object", "The channel."),
    *(Column(f"at_{axis}", "int64", "Where it is.") for axis in "zyx"),
)
MAXIMA: Key[list[tuple[int, ...]]] = Key("maxima")
HIGHEST = Layer("highest", "float32", keep=True)
PeakList = list[tuple[int, ...]]


class PeaksOptions(StageOptions):
    layer: str = "image"


@dataclass(frozen=True)
class Peaks:
    """Voxels that are the largest about them, along z too, and not dark."""

    layer: str

    def highest(self, here: Any, _: Any) -> Pixels:
        box = here.wanted.grow(REACH, here.shape)
        values = here.read(self.layer, box).astype(np.float32)
        top = ndimage.maximum_filter(values, SIZE, mode="constant", cval=-1)
        return Pixels(here.wanted, top[here.wanted.within(box)])

    def find(self, here: Any, agreed: Any) -> PeakList:
        core = here.block.core
        values = here.read(self.layer, core).astype(np.float32)
        least = 0.5
        if self.layer == "image":
            least = agreed[BRIGHTNESS].low + agreed[BRIGHTNESS].high / 2
        peaks = (values == here.read(HIGHEST.name, core)) & (values > least)
        start = [span.start for span in core.spans]
        return [tuple(place) for place in (np.argwhere(peaks) + start).tolist()]


def _sorted(places: PeakList, _: Any) -> PeakList:
    return sorted(places)


def _table(agreed: Any, plane: Any) -> pd.DataFrame:
    places = np.reshape(agreed[MAXIMA], (-1, 3)).astype(np.int64)
    columns = {f"at_{axis}": places[:, i] for i, axis in enumerate("zyx")}
    return pd.DataFrame({"channel": plane.channel, **columns})


def _plan(options: PeaksOptions, _: RunContext) -> Work:
    peaks = Peaks(options.layer)
    steps = (
        Step(HIGHEST, peaks.highest, {options.layer: REACH}),
        Step(
            MAXIMA,
            peaks.find,
            {HIGHEST.name: 0, options.layer: 0},
            agreed=(BRIGHTNESS,),
            finalize=_sorted,
        ),
    )
    return Work(steps, (Table("maxima", COLUMNS, (MAXIMA,), _table),), axes="zyx")


PEAKS = Stage("peaks", PeaksOptions, _plan)


def _volume(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.random(SHAPE), (1.5, 1, 1))
    return np.rint(4000 * (smooth - smooth.min())).astype(np.uint16)


def _truth(volume: np.ndarray) -> list[list[int]]:
    """Find them in the whole volume at once."""
    top = ndimage.maximum_filter(volume.astype(np.float32), SIZE, mode="constant")
    least = float(volume.min()) + float(volume.max()) / 2
    return np.argwhere((volume == top) & (volume > least)).tolist()


def _places(table: pd.DataFrame) -> list[list[int]]:
    return table[["at_z", "at_y", "at_x"]].to_numpy().tolist()


def _pipeline(block: int = 2560) -> Pipeline:
    choices = {MEASURE_BRIGHTNESS: BrightnessOptions(), PEAKS: PeaksOptions()}
    return assemble_stages(choices, RunContext(), block=block)


def test_a_stack_is_cut_along_all_three_axes() -> None:
    pipeline = _pipeline(24)
    assert pipeline.axes == "zyx"
    assert pipeline.halo == REACH
    assert SHAPE[0] > 2 * MOST_PLANES
    blocks = pipeline.blocks(SHAPE).blocks
    starts = [{b.core.along(axis).start for b in blocks} for axis in "zyx"]
    assert [len(each) for each in starts] == [3, 2, 3]


@pytest.mark.parametrize("block", [24, 2560])
def test_volumes_in_memory_have_the_answer_of_the_whole(block: int) -> None:
    volume = _volume()
    image = xr.DataArray(volume, dims=("z", "y", "x"))
    found = apply({PEAKS: PeaksOptions()}, image, block=block)
    assert len(found["maxima"]) > 30
    assert _places(found["maxima"]) == _truth(volume)
    top = ndimage.maximum_filter(volume, SIZE, mode="constant")
    np.testing.assert_array_equal(found["highest"], top)
    assert found["highest"].dims == image.dims


def test_lazy_volumes_have_the_same_answer_and_compute_nothing_before(
    forbid_computing: AbstractContextManager[None],
) -> None:
    volumes = np.stack([_volume(0), _volume(1)])
    image = xr.DataArray(
        volumes, dims=("c", "z", "y", "x"), coords={"c": ["DAPI", "FISH"]}
    )
    chunked = image.chunk({"c": 1, "z": 33, "y": 40, "x": 17})
    with forbid_computing:
        lazy = apply({PEAKS: PeaksOptions()}, chunked, block=32)
    tables = lazy["maxima"].compute(scheduler="synchronous")
    top = lazy["highest"].compute(scheduler="synchronous")
    for volume, channel in zip(volumes, ("DAPI", "FISH"), strict=True):
        own = tables[tables["channel"] == channel]
        assert _places(own) == _truth(volume)
        whole = ndimage.maximum_filter(volume, SIZE, mode="constant")
        np.testing.assert_array_equal(top.sel(c=channel), whole)


@dataclass(frozen=True)
class _Stack:
    image: np.ndarray
    """(c, z, y, x)."""


@pytest.fixture(scope="module")
def entry(
    tmp_path_factory: pytest.TempPathFactory, write_plate: Callable[..., str]
) -> FieldEntry:
    """A field of two channels of 150 planes."""
    stack = _Stack(np.stack([_volume(0), _volume(1)]))
    target = tmp_path_factory.mktemp("volumes") / "p.zarr"
    plate = write_plate(target, {"B/03/0": stack}, masks=())
    return open_plate(plate).entries[0]


@pytest.mark.parametrize("block", [24, 2560])
def test_a_stored_stack_has_the_answer_of_the_whole_on_one_worker_and_spread(
    entry: FieldEntry, block: int
) -> None:
    settings = make_settings(channels=("FISH", "DAPI"))
    pipeline = _pipeline(block)
    here = run_field(FieldTask(entry), settings, pipeline)
    spread = dask.compute(
        *defer_field(FieldTask(entry), settings, pipeline), scheduler="synchronous"
    )
    assert len(here) == len(spread) == 2
    for results in (here, spread):
        for result, seed, channel in zip(
            results, (1, 0), ("FISH", "DAPI"), strict=True
        ):
            table = result.tables["maxima"]
            assert set(table["channel"]) == {channel}
            assert _places(table) == _truth(_volume(seed))
            top = ndimage.maximum_filter(_volume(seed), SIZE, mode="constant")
            np.testing.assert_array_equal(result.layers["highest"], top)


def test_the_settings_of_a_run_may_ask_for_a_stage_of_volumes(
    entry: FieldEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("volumes_of_mine")
    module.peaks = PEAKS  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "volumes_of_mine", module)
    named = {"channels": ("FISH",), "stages": ("volumes_of_mine:peaks",)}
    without = {"enhance": False, "detect": False, "quality": False}
    settings = make_settings(**named, **without)
    pipeline = assemble(settings)
    assert pipeline.stages == ("peaks", "brightness")
    (result,) = run_field(FieldTask(entry), settings, pipeline)
    assert _places(result.tables["maxima"]) == _truth(_volume(1))
    assert set(result.seconds or ()) == {"brightness", "peaks"}
    with pytest.raises(SettingsError, match="works on yx, another one on zyx"):
        assemble(make_settings(**named, **without | {"detect": True}))


ENGINE = """
class Copy:
    name = "copy"
    pixels_per_call = 1 << 16

    def predict(self, batch):
        return batch.copy()

def load(choice):
    return Copy()
"""


def test_a_stage_of_volumes_reads_what_the_network_makes_plane_by_plane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "copying_planes.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    image = xr.DataArray(_volume(), dims=("z", "y", "x"))
    stages = {
        ENHANCE: EnhanceOptions(engine="copying_planes:load", model="deepspot"),
        PEAKS: PeaksOptions(layer=ENHANCED.name),
    }
    found = apply(stages, image)
    enhanced = found["enhanced"].to_numpy()
    assert enhanced.shape == SHAPE
    top = ndimage.maximum_filter(enhanced, SIZE, mode="constant")
    np.testing.assert_array_equal(found["highest"], top)
    truth = np.argwhere((enhanced == top) & (enhanced > 0.5)).tolist()
    assert _places(found["maxima"]) == truth
    assert len(truth) > 30


BRIGHTEST: Key[dict[int, int]] = Key("brightest")


class BrightestOptions(StageOptions):
    axes: str = "zyx"


def _brightest(here: Any, _: Any) -> dict[int, int]:
    """Return the brightest voxel of each cell in a block."""
    pixels, cells = (here.read(name, here.block.core) for name in ("image", "cells"))
    return {int(n): int(pixels[cells == n].max()) for n in np.unique(cells) if n}


def _larger(one: dict[int, int], two: dict[int, int]) -> dict[int, int]:
    return {n: max(one.get(n, 0), two.get(n, 0)) for n in {*one, *two}}


def _rows(agreed: Any, _: Any) -> pd.DataFrame:
    return pd.DataFrame(sorted(agreed[BRIGHTEST].items()), columns=["cell", "most"])


def _plan_brightest(options: BrightestOptions, _: RunContext) -> Work:
    step = Step(BRIGHTEST, _brightest, {"image": 0, "cells": 0}, combine=_larger)
    columns = (Column("cell", "int64", "A cell."), Column("most", "int64", "Its most."))
    table = Table("brightest", columns, (BRIGHTEST,), _rows)
    return Work((step,), (table,), axes=options.axes)


BRIGHTEST_STAGE = Stage("brightest", BrightestOptions, _plan_brightest)


def _cells() -> np.ndarray:
    cells = np.zeros(SHAPE[1:], np.int32)
    cells[:30, :20], cells[5:, 25:] = 3, 8
    return cells


@pytest.mark.parametrize("lazy", [False, True])
def test_flat_labels_go_with_each_plane_of_a_stack_as_in_a_run(
    tmp_path: Path, write_plate: Callable[..., str], lazy: bool
) -> None:
    volume, flat = _volume(), _cells()
    truth = [[n, int(volume[:, flat == n].max())] for n in (3, 8)]

    @dataclass(frozen=True)
    class Labelled:
        image: np.ndarray
        cells: np.ndarray

    plate = write_plate(
        tmp_path / "p.zarr",
        {"B/03/0": Labelled(np.stack([volume] * 2), flat)},
        masks=("cells",),
    )
    settings = make_settings(channels=("FISH",), cells="cells")
    context = RunContext(frozenset({"image", "cells"}))
    choices = {BRIGHTEST_STAGE: BrightestOptions()}
    pipeline = assemble_stages(choices, context, block=24)
    (result,) = run_field(FieldTask(open_plate(plate).entries[0]), settings, pipeline)
    assert result.tables["brightest"].to_numpy().tolist() == truth

    image = xr.DataArray(volume, dims=("z", "y", "x"))
    # Coordinates of labels are not those of the image to the last bit, and need not be.
    cells = xr.DataArray(flat, dims=("y", "x"), coords={"x": np.arange(52) + 1e-9})
    if lazy:
        image, cells = image.chunk(z=40, y=17), cells.chunk(x=20)
    found = apply(choices, image, cells=cells, block=24)["brightest"]
    table = found.compute(scheduler="synchronous") if lazy else found
    assert table.to_numpy().tolist() == truth


@pytest.mark.parametrize("lazy", [False, True])
def test_label_volumes_go_with_their_stack_or_with_each_of_its_planes(
    lazy: bool,
) -> None:
    volume, cells = _volume()[:12], np.zeros((12, *SHAPE[1:]), np.int32)
    cells[2:7, :30, :20], cells[5:, 5:, 25:] = 3, 8
    image = xr.DataArray(volume, dims=("z", "y", "x"))
    labels = xr.DataArray(cells, dims=("z", "y", "x")).transpose("x", "z", "y")
    if lazy:
        image, labels = image.chunk(z=5, y=17), labels.chunk(x=20, z=3)

    def rows(axes: str) -> list[list[int]]:
        choices = {BRIGHTEST_STAGE: BrightestOptions(axes=axes)}
        found = apply(choices, image, cells=labels, block=24)["brightest"]
        table = found.compute(scheduler="synchronous") if lazy else found
        return table.to_numpy().tolist()

    assert rows("zyx") == [[n, int(volume[cells == n].max())] for n in (3, 8)]
    assert rows("yx") == [
        [n, int(volume[z][cells[z] == n].max())]
        for z in range(12)
        for n in (3, 8)
        if (cells[z] == n).any()
    ]


def test_labels_of_each_time_point_go_with_blocks_that_hold_all_of_them() -> None:
    movie = np.zeros((2, 4, 6), np.uint8)
    movie[0], movie[1] = 5, 7
    image = xr.DataArray(movie, dims=("t", "y", "x"))
    labels = np.zeros_like(movie)
    labels[0, :, :2], labels[1, :, 3:] = 1, 2
    choices = {BRIGHTEST_STAGE: BrightestOptions(axes="tyx")}

    def rows(cells: np.ndarray, dims: tuple[str, ...]) -> list[list[int]]:
        cells_of = xr.DataArray(cells, dims=dims)
        found = apply(choices, image, cells=cells_of)["brightest"]
        return found.to_numpy().tolist()

    assert rows(labels, ("t", "y", "x")) == [[1, 5], [2, 7]]
    assert rows(labels[:1], ("t", "y", "x")) == [[1, 7]]
    assert rows(labels[0], ("y", "x")) == [[1, 7]]
    with pytest.raises(FieldError, match="3 time points, the image has 2"):
        rows(np.ones((3, 4, 6), np.uint8), ("t", "y", "x"))


def test_stages_of_planes_and_of_volumes_are_not_mixed_silently() -> None:
    image = xr.DataArray(_volume()[:5], dims=("z", "y", "x"))
    stages = {PEAKS: PeaksOptions(), DETECT: DetectOptions(detector="raw")}
    with pytest.raises(SettingsError, match="detect works on yx, another one on zyx"):
        apply(stages, image)
