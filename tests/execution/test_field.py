"""A field on one worker: which planes it has, and what each of them answers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.blockwise.geometry import Box, Span
from deepspot_scale.errors import FieldError
from deepspot_scale.execution.field import run_field
from deepspot_scale.execution.planes import (
    FieldTask,
    LoadedReader,
    PlaneIndex,
    iter_field_planes,
    plane_reader,
)
from deepspot_scale.io.plate import FieldEntry, open_plate
from deepspot_scale.pipeline import STAGES
from deepspot_scale.runs.process import stage_seconds
from deepspot_scale.settings import Settings, assemble, make_settings
from deepspot_scale.vocabulary import CELLS, SPOTS

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
        assert list(answer.spots) == [column.name for column in SPOTS]
        assert list(answer.cells) == [column.name for column in CELLS]
        for table in (answer.spots, answer.cells):
            assert (table["t"] == t).all()
            assert (table["z"] == z).all()
        assert answer.enhanced is None
    numbers = ["y", "x", "intensity", "snr", "cell", "nucleus"]
    # The second time point is one count brighter everywhere.
    pd.testing.assert_frame_equal(answers[0].spots[numbers], answers[3].spots[numbers])


@pytest.mark.parametrize(("plane", "axis"), [(1, "y"), (2, "x")])
def test_a_flipped_plane_has_flipped_spots(
    entry: FieldEntry, plane: int, axis: str
) -> None:
    settings = _settings(project="none")
    answers = run_field(FieldTask(entry), settings, assemble(settings))
    first, flipped = (answers[z].spots.round(9) for z in (0, plane))
    flipped[axis] = {"y": DRAWN[0], "x": DRAWN[1]}[axis] - 1 - flipped[axis]
    numbers = ["y", "x"]  # two equal pixels are told apart by their order alone
    pd.testing.assert_frame_equal(
        first[numbers].sort_values(numbers, ignore_index=True),
        flipped[numbers].round(9).sort_values(numbers, ignore_index=True),
    )


def test_a_loaded_reader_reads_each_plane_once(entry: FieldEntry) -> None:
    settings = _settings(cells="cells")
    asked = []
    reader = plane_reader(entry, PlaneIndex(0, 1, "max"), settings)

    class Counting:
        dtype, has = reader.dtype, reader.has

        def __call__(self, name: str, box: Box) -> Any:
            asked.append(name)
            return reader(name, box)

    loaded = LoadedReader(Counting(), DRAWN)
    box = Box(Span(3, 50), Span(100, 170))
    for name in ("image", "cells", "image", "cells"):
        np.testing.assert_array_equal(loaded(name, box), reader(name, box))
    assert asked == ["image", "cells"]
    assert loaded.has("cells")
    assert not loaded.has("nuclei")
    assert (loaded.dtype("image"), loaded.dtype("cells")) == (np.uint16, np.int64)


def test_each_stage_of_a_field_has_its_time(entry: FieldEntry) -> None:
    settings = _settings()
    began = time.perf_counter()
    answers = run_field(FieldTask(entry), settings, assemble(settings))
    whole = time.perf_counter() - began
    seconds = stage_seconds(answers)
    assert set(seconds) == {f"seconds_{stage}" for stage in STAGES}
    assert seconds["seconds_detect"] > 0
    assert 0 < sum(seconds.values()) <= whole


def test_every_step_belongs_to_one_stage() -> None:
    settings = _settings(cells="cells", nuclei="nuclei")
    steps = {step.name for steps in assemble(settings).rounds for step in steps}
    named = [name for names in STAGES.values() for name in names]
    assert len(named) == len(set(named))
    assert steps <= set(named)
