"""Bad fields among good ones; what each damage says is in test_corrupt_plate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.prepare import Selection
from deepspot_scale.runs.status import read_status

PATHS = ("B/03/0", "B/03/1", "C/04/0")


def test_a_bad_field_leaves_the_answers_of_the_others_as_they_are(
    plate: Path, tmp_path: Path, complete: Any, run_quickly: Callable[..., Any]
) -> None:
    chunk = plate / "B/03/1/0/c/1/1/1"
    chunk.write_bytes(chunk.read_bytes()[:-40])
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert (outcome.progress.done, outcome.progress.failed) == (2, 1)
    assert list(outcome.reasons) == ["B/03/1"]
    good = complete.spots.query("row == 'C' or field == '0'").reset_index(drop=True)
    pd.testing.assert_frame_equal(outcome.spots, good)
    assert outcome.wells["n_failed"].tolist() == [1, 0]


@pytest.mark.parametrize("path", ["B/03/0", "C/04/0"])
def test_the_first_or_last_field_may_be_the_bad_one(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any], path: str
) -> None:
    shutil.rmtree(plate / path)
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert outcome.progress.done == 2
    assert list(outcome.reasons) == [path]


def test_a_plate_of_bad_fields_only_ends_in_rows(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    for path in PATHS:
        shutil.rmtree(plate / path)
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert list(outcome.reasons) == list(PATHS)
    assert outcome.wells["n_fields"].tolist() == [0, 0]


def test_masks_that_nobody_asked_for_may_be_absent(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    shutil.rmtree(plate / "B/03/1/labels")
    outcome = run_quickly(str(plate), tmp_path / "run", cells=None, nuclei=None)
    assert outcome.progress.done == 3


def test_a_listed_well_that_is_absent_is_a_failed_row(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    shutil.rmtree(plate / "C/04")
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert (outcome.progress.total, outcome.progress.failed) == (3, 1)
    assert outcome.reasons == {
        "C/04/": "the plate lists this well, but it does not exist"
    }
    again = run_quickly(str(plate), tmp_path / "run")
    assert (again.progress.total, again.progress.skipped) == (0, 3)


@pytest.mark.parametrize("failed", [False, True])
def test_a_well_that_comes_back_is_as_if_it_had_been_there(
    plate: Path,
    tmp_path: Path,
    complete: Any,
    run_quickly: Callable[..., Any],
    *,
    failed: bool,
) -> None:
    (plate / "C/04").rename(tmp_path / "away")
    assert run_quickly(str(plate), tmp_path / "run").progress.failed == 1
    assert read_status(Folder(str(tmp_path / "run"))).left == 0
    (tmp_path / "away").rename(plate / "C/04")
    selection = Selection(failed=failed)
    outcome = run_quickly(str(plate), tmp_path / "run", selection=selection)
    assert outcome.progress.done == 1
    assert outcome.reasons == {}
    pd.testing.assert_frame_equal(outcome.wells, complete.wells)
    assert read_status(Folder(str(tmp_path / "run"))).failed == 0


def test_the_command_goes_on_after_a_damaged_first_field(
    plate: Path, tmp_path: Path, command: Callable[..., Any]
) -> None:
    (plate / "B/03/0/zarr.json").write_text("{")
    words = ("run", plate, "--channel", "FISH", "--no-enhance", "--out", tmp_path / "r")
    assert command(*words).code == 3
    assert "B/03/0" in command("status", tmp_path / "r").out
