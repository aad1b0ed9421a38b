"""A batch of fields: each ends as one row, and tables come before rows."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepspot_scale.errors import FieldError, WeightsError
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.runs import process
from deepspot_scale.runs.dispatch import BATCH_PIXELS
from deepspot_scale.runs.job import Job
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.runs.process import describe_field, explain, run_batch
from deepspot_scale.runs.results import RunResults
from deepspot_scale.runs.run_folder import begin_run
from deepspot_scale.settings import assemble, make_settings

SETTINGS = make_settings(
    channels=("FISH", "DAPI"), cells="cells", nuclei="nuclei", enhance=False
)


@pytest.fixture
def batch(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> tuple[list[FieldTask], Job]:
    """Three fields, the second one without image."""
    scenes = {f"B/03/{field}": draw_scene(field, (70, 70)) for field in range(3)}
    plate = write_plate(tmp_path / "plate.zarr", scenes)
    shutil.rmtree(Path(plate) / "B/03/1")
    tasks = [FieldTask(entry) for entry in open_plate(plate).entries]
    return tasks, _begin(
        Job(SETTINGS, assemble(SETTINGS), Folder(str(tmp_path / "run")))
    )


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches end with their last field, however busy the machine is."""
    monkeypatch.setattr(process, "BATCH_SECONDS", float("inf"))


def _begin(job: Job) -> Job:
    begin_run(job.out, job.settings, job.contents)
    return job


def _read(job: Job, kind: str) -> pd.DataFrame:
    return RunResults(job.out, job.settings, {}, read_fields(job.out)).read(kind)


def test_each_field_of_a_batch_has_its_row_and_its_tables(
    batch: tuple[list[FieldTask], Job],
) -> None:
    tasks, job = batch
    rows = run_batch(tasks, job)
    assert rows["status"].tolist() == ["done", "failed", "done"]
    assert rows["n_planes"].tolist() == [2, 0, 2]
    assert rows["part"].nunique() == 1
    assert (rows["seconds"] > 0).all()
    stored = read_fields(job.out)
    assert stored.equals(rows)
    spots, cells, quality = (_read(job, kind) for kind in ("spots", "cells", "quality"))
    assert len(spots) == rows["n_spots"].sum() > 0
    assert set(spots["field"]) == set(cells["field"]) == {"0", "2"}
    assert len(quality) == rows["n_planes"].sum()
    # Each cell has a row for each channel and counts once.
    assert len(cells) == 2 * rows["n_cells"].sum() > 0


def test_a_batch_does_not_change_the_answer_of_its_fields(
    batch: tuple[list[FieldTask], Job], tmp_path: Path
) -> None:
    tasks, job = batch
    run_batch(tasks, job)
    alone = _begin(Job(job.settings, job.pipeline, Folder(str(tmp_path / "alone"))))
    for task in reversed(tasks):
        run_batch([task], alone)
    for kind in ("spots", "cells", "quality"):
        one, many = (_read(each, kind) for each in (job, alone))
        pd.testing.assert_frame_equal(one, many)


def test_fields_together_take_no_more_memory_than_one_large_field(
    batch: tuple[list[FieldTask], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    (first, *_), job = batch
    sizes: list[int] = []

    def run_fields(group: list[FieldTask], *rest: Any) -> list[Any]:
        sizes.append(len(group))
        return real(group, *rest)

    real = process.run_fields
    monkeypatch.setattr(process, "run_fields", run_fields)
    run_batch([first] * 8, job)
    assert sizes == [1, 2, 2, 2, 1]
    assert max(sizes) * (BATCH_PIXELS // 8) <= 2048**2


def test_fields_that_a_batch_has_no_more_time_for_are_left_to_another(
    batch: tuple[list[FieldTask], Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks, job = batch
    monkeypatch.setattr(process, "BATCH_SECONDS", 0.0)
    assert run_batch(tasks, job)["field"].tolist() == ["0"]
    assert read_fields(job.out)["field"].tolist() == ["0"]


def test_what_every_field_would_meet_ends_the_run(
    batch: tuple[list[FieldTask], Job], tmp_path: Path
) -> None:
    tasks, job = batch
    model = tmp_path / "model.safetensors"
    shutil.copy(find_weights().path, model)
    settings = make_settings(channels=("FISH",), model=str(model))
    job = replace(job, settings=settings, pipeline=assemble(settings))
    model.unlink()
    with pytest.raises(WeightsError, match="no model"):
        run_batch(tasks, job)
    assert job.out.names("manifest") == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FieldError("no labels\n  here"), "no labels here"),
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero"),
        (MemoryError(), "MemoryError: MemoryError"),
    ],
)
def test_a_reason_is_one_line_and_names_the_kind_of_foreign_errors(
    batch: tuple[list[FieldTask], Job], error: Exception, reason: str
) -> None:
    assert explain(error) == reason
    (task, *_), job = batch
    row = describe_field(task, error, 1.5, job.pipeline)
    assert (row["status"], row["reason"], row["n_spots"]) == ("failed", reason, 0)
