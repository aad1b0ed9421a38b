"""Plug-ins that give labels: found by name, refused with words, never trusted."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.networks.segmenters import (
    Segmenter,
    find_segmenter,
    hash_files,
    run_segmenter,
)

Image = NDArray[np.float32]
IMAGE = np.zeros((6, 7), np.float32)
IMAGE[2:4, 3:5] = 1


def bright(image: Image) -> Any:
    return ndimage.label(image > 0.5)[0]


BRIGHT = Segmenter(bright, largest=4)


def test_a_segmenter_is_found_by_module_and_attribute() -> None:
    assert find_segmenter(f"{__name__}:BRIGHT") is BRIGHT


def test_a_plain_function_is_told_what_to_add() -> None:
    with pytest.raises(
        SettingsError, match=r"is of type function, no Segmenter.*large"
    ):
        find_segmenter(f"{__name__}:bright")


def test_an_unknown_segmenter_is_named() -> None:
    with pytest.raises(SettingsError, match="no segmenter 'brite': expected module:"):
        find_segmenter("brite")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"largest": 0}, "largest is 1 or more"),
        ({"largest": 5, "reach": -1}, "reach 0 or more"),
        ({"largest": 50, "reach": 14, "tile": 128}, "no core.*more than 128"),
        ({"largest": 5, "segment": "bright"}, "cannot be called: 'bright'"),
        ({"largest": 5, "files": "weights.h5"}, "tuple of paths, got .*weights.h5"),
    ],
)
def test_declarations_that_make_no_sense_are_refused(
    options: dict[str, Any], reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        Segmenter(**{"segment": bright, **options})


def test_the_halo_holds_an_object_and_what_decides_about_it() -> None:
    assert Segmenter(bright, largest=50, reach=14, tile=129).halo == 64


def test_files_are_told_by_name_and_content_not_by_place(tmp_path: Path) -> None:
    def hashes(*contents: str) -> dict[str, str]:
        files = []
        for number, content in enumerate(contents):
            folder = tmp_path / f"{number}{content}"
            folder.mkdir(exist_ok=True)
            (folder / "net.h5").write_text(content)
            files.append(str(folder / "net.h5"))
        return hash_files(Segmenter(bright, largest=4, files=tuple(files)))

    one = hashes("weights")
    assert one == {"net.h5": hashlib.sha256(b"weights").hexdigest()}
    found = [hashes(*each)["net.h5"] for each in ("a", "b", "ab", "ba", "aa")]
    assert len(set(found)) == 5
    assert hash_files(BRIGHT) == {}


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    gone = Segmenter(bright, largest=4, files=(str(tmp_path / "gone.h5"),))
    with pytest.raises(SettingsError, match=r"gone\.h5', which cannot be read: No"):
        hash_files(gone)


def test_labels_of_any_whole_type_are_those_of_the_function() -> None:
    for dtype in (bool, np.uint8, np.int32, np.uint64):
        segmenter = Segmenter(lambda image, to=dtype: bright(image).astype(to), 4)
        labels = run_segmenter(segmenter, IMAGE, "own")
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, IMAGE)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (np.zeros((6, 8), int), r"own gave labels of shape \(6, 8\)"),
        (np.zeros((6, 7)), "own gave float64; labels are whole numbers"),
        (np.full((6, 7), np.nan), "own gave float64"),
        (np.full((6, 7), -1), "own gave labels below 0"),
        (None, r"own gave labels of shape \(\)"),
    ],
)
def test_what_is_no_label_image_is_refused(given: Any, reason: str) -> None:
    with pytest.raises(FieldError, match=reason):
        run_segmenter(Segmenter(lambda _: given, 4), IMAGE, "own")


def test_a_plugin_that_fails_is_named_with_its_reason() -> None:
    def fail(image: Image) -> Any:
        raise ZeroDivisionError("no pixels")

    with pytest.raises(FieldError, match=r"own fails on .*6, 7.*no pixels") as caught:
        run_segmenter(Segmenter(fail, 4), IMAGE, "own")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_plugin_that_alters_its_image_does_not_alter_the_plane() -> None:
    def blacken(image: Image) -> Any:
        labels = bright(image)
        image[:] = 0
        return labels

    before = IMAGE.copy()
    run_segmenter(Segmenter(blacken, 4), IMAGE, "own")
    np.testing.assert_array_equal(IMAGE, before)
