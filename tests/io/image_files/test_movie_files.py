"""Files of one movie are found by name, and their frames are those of one image."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.movie_files import group_files, join_frames
from deepspot_scale.io.image_files.tiff_png import open_file
from deepspot_scale.io.stored_image import StoredImage

MOVIE = np.arange(11 * 5 * 6, dtype=np.uint16).reshape(11, 5, 6)


@pytest.mark.parametrize(
    ("names", "groups"),
    [
        (
            [f"r_MMStack_Pos0{k}.ome.tif" for k in ("", "_1", "_10", "_2")],
            [["r_MMStack_Pos0.ome.tif", "r_MMStack_Pos0_1.ome.tif",
              "r_MMStack_Pos0_2.ome.tif"], ["r_MMStack_Pos0_10.ome.tif"]],
        ),
        (
            ["r_MMStack_Pos0.ome.tif", "r_MMStack_Pos1.ome.tif"],
            [["r_MMStack_Pos0.ome.tif"], ["r_MMStack_Pos1.ome.tif"]],
        ),
        (
            ["r_MMStack_1-Pos_000_000.ome.tif", "r_MMStack_1-Pos_000_001.ome.tif"],
            [["r_MMStack_1-Pos_000_000.ome.tif"], ["r_MMStack_1-Pos_000_001.ome.tif"]],
        ),
        (
            ["a_NDTiffStack.tif", "a_NDTiffStack_1.tif"],
            [["a_NDTiffStack.tif", "a_NDTiffStack_1.tif"]],
        ),
        (["a.tif", "a_X2.tif", "a_X3.tif"], [["a.tif", "a_X2.tif", "a_X3.tif"]]),
        (["a.tif", "a_1.tif", "a_2.tif"], [["a.tif"], ["a_1.tif"], ["a_2.tif"]]),
        (["a_X2.tif", "a_X3.tif"], [["a_X2.tif"], ["a_X3.tif"]]),
    ],
)  # fmt: skip
def test_parts_are_those_that_programs_write(
    names: list[str], groups: list[list[str]]
) -> None:
    assert [list(group) for group in group_files(names)] == groups


def saved(folder: Path, cuts: list[int]) -> list[StoredImage]:
    """Save the movie cut into files, and open them."""
    images = []
    for number, part in enumerate(np.split(MOVIE, cuts)):
        path = folder / f"{number}.tif"
        tifffile.imwrite(path, part, imagej=True, metadata={"axes": "TYX"})
        images.append(open_file(str(path)))
    return images


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> StoredImage:
    """The movie in files of 4, 1 and 6 frames."""
    return join_frames(saved(tmp_path_factory.mktemp("movie"), [4, 5]))


@given(
    st.integers(0, 12) | st.none(),
    st.integers(0, 12) | st.none(),
    st.sampled_from([1, 2, 5, -1, -3]),
)
def test_any_run_of_frames_is_that_of_the_whole_movie(
    joined: StoredImage, start: int | None, stop: int | None, step: int
) -> None:
    part = (slice(start, stop, step), slice(1, 4), slice(None))
    np.testing.assert_array_equal(joined[part], MOVIE[part])


def test_joined_frames_travel_to_other_processes(joined: StoredImage) -> None:
    assert (joined.axes, joined.shape, joined.chunks[0]) == ("tyx", MOVIE.shape, 1)
    again = pickle.loads(pickle.dumps(joined))
    np.testing.assert_array_equal(again[:, :, :], MOVIE)


def test_frames_of_another_size_are_refused(tmp_path: Path) -> None:
    images = saved(tmp_path, [4])
    tifffile.imwrite(tmp_path / "o.tif", MOVIE[:, :4], imagej=True)
    with pytest.raises(FieldError, match="frames of one kind"):
        join_frames([images[0], open_file(str(tmp_path / "o.tif"))])


def test_planes_without_a_named_axis_are_joined_as_such(tmp_path: Path) -> None:
    parts = [MOVIE[:5], MOVIE[5:]]
    for name, part in zip("ab", parts, strict=True):
        tifffile.imwrite(tmp_path / f"{name}.tif", part, metadata=None,
                         photometric="minisblack")  # fmt: skip
    image = join_frames([open_file(str(tmp_path / f"{name}.tif")) for name in "ab"])
    assert image.axes == "zyx"
    np.testing.assert_array_equal(image[3:8, :, 2:], MOVIE[3:8, :, 2:])
