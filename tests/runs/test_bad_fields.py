"""Bad fields: each becomes a row with its reason, and the run goes on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

PATHS = ("B/03/0", "B/03/1", "C/04/0")


SHAPE = (128, 160)


def _one_pixel(value: complex, dtype: type) -> np.ndarray:
    """Return an image of ones with one pixel of another value in FISH."""
    image = np.ones((2, *SHAPE), dtype)
    image[1, 3, 4] = value
    return image


ARRAYS = {
    "label dtype": ("labels/cells/0", np.ones(SHAPE, np.float32)),
    "label shape": ("labels/nuclei/0", np.ones((100, 160), np.uint16)),
    "label values": ("labels/cells/0", np.full(SHAPE, -1, np.int32)),
    "label too large": ("labels/cells/0", np.full(SHAPE, 2**63 + 1, np.uint64)),
    "NaN": ("0", _one_pixel(np.nan, np.float64)),
    "infinite": ("0", _one_pixel(-np.inf, np.float32)),
    "huge": ("0", _one_pixel(1e300, np.float64)),
    "complex": ("0", _one_pixel(1j, np.complex64)),
    "channels": ("0", np.ones((1, *SHAPE), np.uint8)),
    "axes": ("0", np.ones(SHAPE, np.uint8)),
}
REMOVED = {"group": "", "no cells": "labels/cells", "no labels": "labels"}
CHUNK = "0/c/1/1/1"


def _spoil(plate: Path, kind: str) -> None:
    """Damage the field B/03/1 of a plate."""
    field = plate / "B/03/1"
    if kind in REMOVED:
        shutil.rmtree(field / REMOVED[kind])
    elif kind in ARRAYS:
        path, values = ARRAYS[kind]
        shutil.rmtree(field / path)
        zarr.create_array(str(field / path), data=values, chunks=values.shape)
    elif kind == "metadata":
        (field / "zarr.json").write_text("{")
    elif kind == "truncated chunk":
        (field / CHUNK).write_bytes((field / CHUNK).read_bytes()[:-40])
    elif kind == "empty chunk":
        (field / CHUNK).write_bytes(b"")


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("group", "B/03/1 failed: no Zarr group"),
        ("metadata", "B/03/1 failed: "),
        ("truncated chunk", "B/03/1/0 failed: "),
        ("empty chunk", "B/03/1/0 failed: c/1/1/1 holds 0 bytes"),
        ("no cells", "labels/cells"),
        ("no labels", "no labels 'cells': the field has no labels at all"),
        ("label dtype", "labels cells must be integers, .*float32"),
        ("label shape", "labels nuclei can not match the image"),
        ("label values", "go from -1 to -1; expected 0 for background"),
        ("label too large", "Number them anew"),
        ("NaN", "1 pixels that are NaN or infinite; replace them"),
        ("infinite", "1 pixels that are NaN or infinite; replace them"),
        ("huge", "beyond what can be measured .*; rescale it"),
        ("complex", "expected integers or floats, found complex64"),
        ("channels", "has no channel 'FISH'"),
        ("axes", "expected an array with the axes cyx"),
    ],
)
def test_a_bad_field_is_a_row_with_its_reason_and_the_run_goes_on(
    plate: Path,
    tmp_path: Path,
    complete: Any,
    run_quickly: Callable[..., Any],
    kind: str,
    reason: str,
) -> None:
    _spoil(plate, kind)
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert (outcome.progress.done, outcome.progress.failed) == (2, 1)
    assert list(outcome.reasons) == ["B/03/1"]
    assert re.search(reason, outcome.reasons["B/03/1"])
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
    _spoil(plate, "no labels")
    outcome = run_quickly(str(plate), tmp_path / "run", cells=None, nuclei=None)
    assert outcome.progress.done == 3


def test_a_listed_well_that_is_absent_is_a_failed_row(
    plate: Path, tmp_path: Path, run_quickly: Callable[..., Any]
) -> None:
    shutil.rmtree(plate / "C/04")
    outcome = run_quickly(str(plate), tmp_path / "run")
    assert (outcome.progress.total, outcome.progress.failed) == (3, 1)
    assert outcome.reasons == {
        "C/04/": "the plate lists this well, but it is not there"
    }
    again = run_quickly(str(plate), tmp_path / "run")
    assert (again.progress.total, again.progress.skipped) == (0, 3)
