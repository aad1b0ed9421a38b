"""Two folders with files of the same names are pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import FieldError, PlateError
from deepspot_scale.io.image_files.paired_files import list_pairs, read_plane


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        import cv2

        cv2.imwrite(str(path), image)
    else:
        tifffile.imwrite(path, image)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in "ba":
        image = np.full((6, 7), ord(name), np.uint8)
        _write(tmp_path / "images" / f"{name}.png", image)
        _write(tmp_path / "labels" / f"{name}.tif", image.astype(np.int32) * 1000)
    return tmp_path


def test_pairs_come_in_the_order_of_names_whatever_their_endings(folder: Path) -> None:
    pairs = list_pairs(folder, "images", "labels")
    assert [pair.name for pair in pairs] == ["a", "b"]
    image, labels = pairs[1].read()
    assert (image == ord("b")).all()
    assert (labels == ord("b") * 1000).all()
    assert labels.dtype == np.int32


def test_other_files_are_left_out(folder: Path) -> None:
    (folder / "images" / "notes.txt").write_text("none")
    (folder / "images" / ".a.png").write_text("none")
    assert len(list_pairs(folder, "images", "labels")) == 2


def test_a_file_without_its_partner_is_an_error(folder: Path) -> None:
    _write(folder / "images" / "c.png", np.zeros((6, 7), np.uint8))
    with pytest.raises(PlateError, match="alone, such as c"):
        list_pairs(folder, "images", "labels")


def test_two_files_of_one_name_are_an_error(folder: Path) -> None:
    _write(folder / "images" / "a.tif", np.zeros((6, 7), np.uint8))
    with pytest.raises(PlateError, match="one name"):
        list_pairs(folder, "images", "labels")


def test_missing_or_empty_folders_are_an_error(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PlateError, match="noisy/ and clean/"):
        list_pairs(folder, "noisy", "clean")
    for name in ("noisy", "clean"):
        (tmp_path / name).mkdir()
    with pytest.raises(PlateError, match="no image files"):
        list_pairs(tmp_path, "noisy", "clean")


def test_pairs_of_other_shapes_are_an_error(folder: Path) -> None:
    _write(folder / "labels" / "a.tif", np.zeros((6, 8), np.int32))
    with pytest.raises(FieldError, match="expected two images of one place"):
        list_pairs(folder, "images", "labels")[0].read()


def test_a_stack_is_no_plane(tmp_path: Path) -> None:
    file = tmp_path / "stack.tif"
    stack = np.zeros((5, 8, 8), np.uint16)
    tifffile.imwrite(file, stack, photometric="minisblack", metadata={"axes": "ZYX"})
    with pytest.raises(FieldError, match="expected one plane"):
        read_plane(file)
