"""What cannot be written is refused before the work, and trying leaves nothing."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepspot_scale.demo import run_demo
from deepspot_scale.errors import SettingsError
from deepspot_scale.evaluation.evaluate import evaluate
from deepspot_scale.io.conversion.convert import convert
from deepspot_scale.outputs import check_output_file, check_output_folder

NOWHERE = Path("/proc/self/out")
"""Not even root can write there."""
needs_proc = pytest.mark.skipif(not NOWHERE.parent.is_dir(), reason="no /proc here")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a file, a folder and a pipe in it."""
    (tmp_path / "file").write_text("kept")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.parametrize("name", ["new", "file", "folder/new"])
def test_a_file_can_be_new_or_replaced(place: Path, name: str) -> None:
    before = sorted(place.rglob("*"))
    check_output_file(place / name, "--out")
    assert sorted(place.rglob("*")) == before
    assert (place / "file").read_text() == "kept"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent/new", "there is no folder"),
        ("file/new", "there is no folder"),
        ("folder", "is a folder"),
        ("pipe", "no file but a device or a pipe"),
        pytest.param(str(NOWHERE), "cannot be written", marks=needs_proc),
    ],
)
def test_a_file_that_cannot_be_written_is_refused(
    place: Path, name: str, reason: str
) -> None:
    with pytest.raises(SettingsError, match=f"^--out: .*{reason}"):
        check_output_file(place / name, "--out")


@pytest.mark.parametrize("name", ["new", "folder", "a/b/c"])
def test_a_folder_can_be_new_or_there(place: Path, name: str) -> None:
    before = sorted(place.rglob("*"))
    check_output_folder(place / name, "--out")
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize("name", ["file", "file/new", "pipe/new/new"])
def test_a_folder_that_cannot_be_made_is_refused(place: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=r"^--out: .*cannot be written"):
        check_output_folder(place / name, "--out")


def test_a_full_disk_is_told_with_its_reason(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(SettingsError, match="No space left"):
        check_output_folder(place, "--out")


def test_a_conversion_is_refused_before_an_image_is_read(place: Path) -> None:
    tifffile.imwrite(place / "folder/A01_f1_FISH.tif", np.zeros((8, 8), np.uint16))
    with pytest.raises(SettingsError, match=r"the plate: .*cannot be written"):
        convert(place / "folder", place / "file/p.zarr")


def test_an_evaluation_is_refused_before_data_are_looked_for(place: Path) -> None:
    with pytest.raises(SettingsError, match=r"out: .*cannot be written"):
        evaluate(["deepspot"], ["no such data"], place / "file/out")


def test_the_demo_is_refused_before_it_simulates(place: Path) -> None:
    with pytest.raises(SettingsError, match=r"--out: .*cannot be written"):
        run_demo(place / "file/demo")


@pytest.mark.parametrize("name", ["pipe", "file/x.csv"])
def test_the_command_leaves_what_is_no_file_as_it_was(
    place: Path, command: Callable[..., Any], name: str
) -> None:
    end = command("detect", place / "none.tif", "--out", place / name)
    assert end.code == 2
    assert "--out: " in end.err
    assert (place / "pipe").is_fifo()


def test_the_command_run_refuses_the_memory_of_its_process(
    place: Path, command: Callable[..., Any]
) -> None:
    plate = place / "none.zarr"
    end = command("run", plate, "-c", "0", "--no-enhance", "--out", "memory://run")
    assert (end.code, end.out) == (2, "")
    assert "memory of this process alone" in end.err
