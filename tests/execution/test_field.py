"""A field on one worker: which planes it has, and what each of them answers."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest

from deepspot_scale.blockwise.geometry import Box, Span, whole_box
from deepspot_scale.errors import FieldError
from deepspot_scale.execution import field as field_module
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.field import run_field, run_fields
from deepspot_scale.execution.planes import (
    FieldReader,
    FieldTask,
    LoadedReader,
    PlaneIndex,
    iter_field_planes,
    labels_in_use,
)
from deepspot_scale.io.plate import FieldEntry, open_plate
from deepspot_scale.kernels.references import Reference
from deepspot_scale.runs.process import stage_seconds
from deepspot_scale.settings import Settings, assemble, make_settings
from deepspot_scale.vocabulary import CELLS, CLUSTERS, QUALITY, RADIAL, SPOTS

DRAWN = (150, 170)


@pytest.fixture(scope="module")
def entry(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> FieldEntry:
    """A field of two time points, two channels and three planes."""
    scene = draw_scene(0, DRAWN)
    planes = [scene.image, scene.image[:, ::-1], scene.image[:, :, ::-1]]
    stack = np.stack(planes, axis=1)
    scene = replace(scene, image=np.stack([stack, stack + np.uint16(1)]))
    target = tmp_path_factory.mktemp("field") / "p.zarr"
    return open_plate(write_plate(target, {"B/03/0": scene})).entries[0]


def _settings(**values: Any) -> Settings:
    return make_settings(**{"channels": ("FISH",), "enhance": False, **values})


def _planes(entry: FieldEntry, **values: Any) -> list[PlaneIndex]:
    plate = open_plate(Path(entry.source).parents[2])
    return list(iter_field_planes(plate.open("B/03/0"), _settings(**values)))


def test_planes_come_by_time_then_channel_then_depth(entry: FieldEntry) -> None:
    both = {"channels": ("FISH", "0")}
    assert _planes(entry, **both) == [
        (0, 1, "max"),
        (0, 0, "max"),
        (1, 1, "max"),
        (1, 0, "max"),
    ]
    kept = _planes(entry, project="none")
    assert kept == [(t, 1, z) for t in range(2) for z in range(3)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"channels": ("GFP",)}, "no channel 'GFP'"),
        ({"cells": "cytoplasm"}, "no labels 'cytoplasm': the field has cells, nuclei"),
    ],
)
def test_what_the_field_does_not_have_is_an_error(
    entry: FieldEntry, values: dict[str, Any], reason: str
) -> None:
    settings = _settings(**values)
    with pytest.raises(FieldError, match=reason):
        run_field(FieldTask(entry), settings, assemble(settings))


def test_each_plane_has_its_own_tables(entry: FieldEntry) -> None:
    settings = _settings(cells="cells", nuclei="nuclei", project="none")
    answers = run_field(FieldTask(entry), settings, assemble(settings))
    assert len(answers) == 6
    for answer, (t, _, z) in zip(answers, _planes(entry, project="none"), strict=True):
        declared = {"spots": SPOTS, "clusters": CLUSTERS, "cells": CELLS}
        declared |= {"quality": QUALITY, "radial": RADIAL}
        assert set(answer.tables) == set(declared)
        for name, table in answer.tables.items():
            assert list(table) == [column.name for column in declared[name]]
            assert (table["t"] == t).all()
            assert (table["z"] == z).all()
        assert answer.layers == {}
    numbers = ["y", "x", "intensity", "snr", "cell", "nucleus"]
    # The second time point is one count brighter everywhere.
    spots = [answers[i].tables["spots"][numbers] for i in (0, 3)]
    pd.testing.assert_frame_equal(*spots)


def test_each_time_point_has_its_own_reference(entry: FieldEntry) -> None:
    settings = _settings(cells="cells", nuclei="nuclei")
    pipeline = assemble(settings)
    angles = {0: Reference(angle_deg=90), 1: Reference(angle_deg=200)}
    task = FieldTask(entry, angles)
    with dask.config.set(scheduler="synchronous"):
        spread = dask.compute(*defer_field(task, settings, pipeline))
    for planes in (run_field(task, settings, pipeline), spread):
        found = [set(plane.tables["cells"]["reference_deg"]) for plane in planes]
        assert found == [{90.0}, {200.0}]


@pytest.mark.parametrize("times", [(0,), (0, 1, 2), (1, 2)])
def test_a_reference_of_other_time_points_is_an_error(
    entry: FieldEntry, times: tuple[int, ...]
) -> None:
    settings = _settings()
    task = FieldTask(entry, dict.fromkeys(times, Reference(angle_deg=90)))
    with pytest.raises(
        FieldError, match=r"time points .*, but the field has 2, from 0"
    ):
        run_field(task, settings, assemble(settings))


@pytest.mark.parametrize(("plane", "axis"), [(1, "y"), (2, "x")])
def test_a_flipped_plane_has_flipped_spots(
    entry: FieldEntry, plane: int, axis: str
) -> None:
    settings = _settings(project="none")
    answers = run_field(FieldTask(entry), settings, assemble(settings))
    first, flipped = (answers[z].tables["spots"].round(9) for z in (0, plane))
    flipped[axis] = {"y": DRAWN[0], "x": DRAWN[1]}[axis] - 1 - flipped[axis]
    numbers = ["y", "x"]  # two equal pixels are told apart by their order alone
    pd.testing.assert_frame_equal(
        first[numbers].sort_values(numbers, ignore_index=True),
        flipped[numbers].round(9).sort_values(numbers, ignore_index=True),
    )


def test_a_loaded_reader_reads_each_plane_once(entry: FieldEntry) -> None:
    settings = _settings(cells="cells")
    asked = []
    reader = FieldReader(entry, PlaneIndex(0, 1, "max"), labels_in_use(settings), "")

    class Counting:
        dtype, has = reader.dtype, reader.has

        def __call__(self, name: str, box: Box) -> Any:
            asked.append(name)
            return reader(name, box)

    loaded = LoadedReader(Counting(), whole_box(DRAWN))
    box = Box((Span(3, 50), Span(100, 170)))
    for name in ("image", "cells", "image", "cells"):
        np.testing.assert_array_equal(loaded(name, box), reader(name, box))
    assert asked == ["image", "cells"]
    assert loaded.has("cells")
    assert not loaded.has("nuclei")
    assert (loaded.dtype("image"), loaded.dtype("cells")) == (np.uint16, np.int64)


def test_each_stage_of_a_field_has_its_time(entry: FieldEntry) -> None:
    settings = _settings()
    pipeline = assemble(settings)
    began = time.perf_counter()
    answers = run_field(FieldTask(entry), settings, pipeline)
    whole = time.perf_counter() - began
    seconds = stage_seconds(answers, pipeline.stages)
    assert pipeline.stages == ("brightness", "detect", "assign", "clusters", "quality")
    assert set(seconds) == {f"seconds_{stage}" for stage in pipeline.stages}
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) <= whole


def test_every_step_belongs_to_one_stage() -> None:
    pipeline = assemble(_settings(cells="cells", nuclei="nuclei"))
    steps = [each for round_ in pipeline.rounds for each in round_.steps]
    names = [each.step.gives.name for each in steps]
    assert len(names) == len(set(names))
    assert {each.stage for each in steps} == set(pipeline.stages)


# --- small planes side by side ----------------------------------------------------

ENGINE = """
CALLS = []

class Counting:
    name = "counting"
    pixels_per_call = 16 * 128 * 128

    def predict(self, batch):
        CALLS.append(len(batch))
        return batch.copy()

def load(choice):
    return Counting()
"""
N_FRAMES = 75
TOGETHER = 64
ALONE = ("0", "17", "63", "64", "74")


@pytest.fixture(scope="module")
def frames(
    tmp_path_factory: pytest.TempPathFactory, write_plate: Callable[..., str]
) -> dict[str, FieldEntry]:
    """A field of 75 frames of 128 px, and some of them as fields of their own."""
    rng = np.random.default_rng(0)
    light = rng.poisson(20, (1, N_FRAMES, 128, 128))
    for z in range(N_FRAMES):
        y, x = rng.integers(4, 124, (2, 9))
        light[0, z, y, x] += rng.integers(200, 900, 9)
    scene = _Frames(light.astype(np.uint16))
    fields = {f"B/03/{z}": _Frames(scene.image[:, [int(z)]]) for z in ALONE}
    plate = write_plate(
        tmp_path_factory.mktemp("frames") / "p.zarr",
        {"A/01/0": scene, **fields},
        channels=("FISH",),
        chunk=128,
        masks=(),
    )
    return {str(each.address.path): each for each in open_plate(plate).entries}


@dataclass(frozen=True)
class _Frames:
    image: np.ndarray
    """(c, z, y, x)."""


def test_small_frames_share_calls_and_answer_as_each_alone(
    frames: dict[str, FieldEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "counting_frames.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(field_module, "PIXELS_TOGETHER", TOGETHER * 128 * 128)
    settings = make_settings(
        channels=("FISH",), project="none", engine="counting_frames:load"
    )
    pipeline = assemble(settings)
    together = run_field(FieldTask(frames["A/01/0"]), settings, pipeline)
    calls = importlib.import_module("counting_frames").CALLS
    assert len(together) == N_FRAMES
    assert len(calls) <= 6
    assert all(n == 16 for n in calls)  # one size, the last ones filled up
    calls.clear()
    tasks = [FieldTask(frames[f"B/03/{z}"]) for z in ALONE]
    alone = [run_field(task, settings, pipeline) for task in tasks]
    assert len(calls) == len(ALONE)
    side_by_side = run_fields(tasks, settings, pipeline)
    assert len(calls) == len(ALONE) + 1
    where = ["row", "column", "field", "z", "plane"]
    for z, (own,), end in zip(ALONE, alone, side_by_side, strict=True):
        frame = together[int(z)]
        assert len(own.tables["spots"]) > 3
        for name, table in own.tables.items():
            for other in (frame, end.answer[0]):
                pd.testing.assert_frame_equal(
                    other.tables[name].drop(columns=where, errors="ignore"),
                    table.drop(columns=where, errors="ignore"),
                    check_exact=True,
                )
        assert own.counts == frame.counts
