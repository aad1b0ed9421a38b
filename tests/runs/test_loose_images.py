"""Spots of loose image files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
import tifffile

from deepspot_scale.errors import InputWarning, SettingsError
from deepspot_scale.runs.loose_images import detect_images
from deepspot_scale.settings import make_settings

RAW = make_settings(channels=("0",), enhance=False)


@pytest.fixture
def folder(tmp_path: Path, draw_scene: Callable[..., Any]) -> Path:
    """One image as TIFF and PNG, a stack of two planes, and what is no image."""
    image = draw_scene().image[1]
    tifffile.imwrite(tmp_path / "a.tif", image)
    cv2.imwrite(str(tmp_path / "b.png"), (image // 4).astype(np.uint8))
    planes = np.stack([image, image[::-1]])
    tifffile.imwrite(tmp_path / "stack.ome.tif", planes, metadata={"axes": "ZYX"})
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_every_image_has_its_rows(folder: Path) -> None:
    found = detect_images([folder / "a.tif", folder / "b.png"], RAW)
    assert (found.n_images, found.failed) == (2, {})
    assert list(found.table)[:3] == ["image", "y", "x"]
    assert not {"row", "column", "field", "cell", "nucleus"} & set(found.table)
    counts = found.table["image"].value_counts()
    assert set(counts.index) == {"a", "b"}
    assert counts.between(33, 45).all()


def test_rows_come_image_by_image_too(folder: Path) -> None:
    rows: list[pd.DataFrame] = []
    found = detect_images(
        [folder / "a.tif", folder / "b.png"], RAW, on_image=rows.append
    )
    assert [set(table["image"]) for table in rows] == [{"a"}, {"b"}]
    pd.testing.assert_frame_equal(pd.concat(rows, ignore_index=True), found.table)


def test_a_folder_stands_for_its_images(folder: Path) -> None:
    found = detect_images([folder], RAW)
    assert found.n_images == 3
    assert set(found.table["image"]) == {"a", "b", "stack"}


def test_planes_of_a_stack_are_told_apart(folder: Path) -> None:
    settings = make_settings(channels=("0",), enhance=False, project="none")
    found = detect_images([folder / "stack.ome.tif"], settings)
    single = detect_images([folder / "a.tif"], settings)
    first = found.table.query("z == 0").drop(columns="image").reset_index(drop=True)
    pd.testing.assert_frame_equal(first, single.table.drop(columns="image"))
    assert set(found.table["z"]) == {0, 1}


def test_files_of_one_name_in_two_folders_are_told_apart(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more/a.tif").write_bytes((folder / "a.tif").read_bytes())
    found = detect_images([folder / "a.tif", folder / "more/a.tif"], RAW)
    assert set(found.table["image"]) == {"a", str(folder / "more/a.tif")}


@pytest.mark.parametrize("by_name", [False, True])
def test_thumbnails_and_calibration_images_are_left_out_and_counted(
    tmp_path: Path, draw_scene: Callable[..., Any], by_name: bool
) -> None:
    voyager = "W1_A01_T0001F001L01A01Z01C01"
    beside = ("DC_DCAM#1_CAM3", "SC_BP445-45_20x v2_M01_CH01", f"{voyager}_thumb")
    for name in (voyager, *beside):
        tifffile.imwrite(tmp_path / f"{name}.tif", draw_scene().image[1])
    paths = sorted(tmp_path.iterdir()) if by_name else [tmp_path]
    with pytest.warns(InputWarning, match="left out 3 of 4 files, such as .*DC_DCAM"):
        found = detect_images(paths, RAW)
    assert found.n_images == 1
    assert set(found.table["image"]) == {voyager}
    # A file that is asked for alone is an image, whatever its name.
    assert detect_images([tmp_path / f"{beside[0]}.tif"], RAW).n_images == 1


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("absent.tif", None, "no file or folder"),
        ("notes.txt", b"no image", "is no image file"),
        ("broken.tif", b"II*\x00 broken", "opening .*broken.tif failed"),
        ("broken.png", b"\x89PNG broken", "opening .*broken.png failed"),
        ("empty.tif", b"", "opening .*empty.tif failed"),
    ],
)
def test_a_bad_file_is_named_and_the_others_go_on(
    folder: Path, name: str, content: bytes | None, reason: str
) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    found = detect_images([folder / name, folder / "a.tif"], RAW)
    assert found.n_images == 1
    assert len(found.table) > 30
    ((path, why),) = found.failed.items()
    assert path == str(folder / name)
    assert re.search(reason, why)


def test_a_channel_that_an_image_has_not_is_that_images_failure(folder: Path) -> None:
    settings = make_settings(channels=("1",), enhance=False)
    found = detect_images([folder / "a.tif"], settings)
    assert found.n_images == 0
    assert "has no channel '1'" in found.failed[str(folder / "a.tif")]
    assert list(found.table)[:3] == ["image", "y", "x"]


def test_what_every_image_would_meet_ends_at_once(folder: Path) -> None:
    with pytest.raises(SettingsError, match="no detector"):
        detect_images([folder], make_settings(channels=("0",), detector="best"))
