"""Movies as plates of segments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from deepspot_scale.errors import FieldError, InputWarning, PlateError
from deepspot_scale.io import movies
from deepspot_scale.io.absent_chunks import check_chunks
from deepspot_scale.io.field import FieldEntry, open_field
from deepspot_scale.io.movie_brightness import measure_movie
from deepspot_scale.io.movie_frames import as_movie, cut_frames
from deepspot_scale.io.movies import cut_movies
from deepspot_scale.io.plate import open_plate
from deepspot_scale.io.source_digest import list_source
from deepspot_scale.io.stored_image import StoredImage
from deepspot_scale.kernels.movie_scale import frame_top, movie_scale
from deepspot_scale.vocabulary import FieldAddress

FRAMES = np.random.default_rng(2).integers(90, 4000, (23, 16, 20), np.uint16)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of five frames."""
    monkeypatch.setattr(movies, "SEGMENT_PIXELS", 5 * 16 * 20)


def read_all(plate: Any) -> np.ndarray:
    frames = []
    for entry in plate.entries:
        field = open_field(entry)
        assert field.first_frame == sum(map(len, frames))
        frames.append(np.stack([field.read(t=t) for t in range(field.n_t)]))
    return np.concatenate(frames)


@pytest.mark.parametrize("axes", ["TYX", "ZYX", "QYX"])
def test_segments_have_every_frame_once_whatever_the_file_calls_them(
    tmp_path: Path, axes: str, short: None
) -> None:
    path = tmp_path / "tubes.tif"
    imagej = axes != "QYX"
    tifffile.imwrite(path, FRAMES, imagej=imagej, metadata={"axes": axes})
    plate = cut_movies(open_plate(path))
    assert [e.address.field for e in plate.entries] == [
        f"tubes@{n}" for n in (0, 5, 10, 15, 20)
    ]
    np.testing.assert_array_equal(read_all(plate), FRAMES)
    assert cut_movies(plate) is plate


def test_files_that_continue_a_movie_are_its_frames(tmp_path: Path) -> None:
    for name, part in (
        ("a_MMStack_Pos0", FRAMES[:9]),
        ("a_MMStack_Pos0_1", FRAMES[9:]),
    ):
        tifffile.imwrite(
            tmp_path / f"{name}.tif", part, imagej=True, metadata={"axes": "TYX"}
        )
    np.testing.assert_array_equal(read_all(cut_movies(open_plate(tmp_path))), FRAMES)
    first = tmp_path / "a_MMStack_Pos0.tif"
    with pytest.warns(InputWarning, match="continued by 1 files"):
        plate = cut_movies(open_plate(first))
    np.testing.assert_array_equal(read_all(plate), FRAMES)
    with pytest.raises(PlateError, match="continues the movie"):
        cut_movies(open_plate(tmp_path / "a_MMStack_Pos0_1.tif"))


@pytest.mark.parametrize("shards", [None, (6, 16, 20)])
def test_segments_of_zarr_keep_to_its_files(
    tmp_path: Path, short: None, shards: Any
) -> None:
    path = str(tmp_path / "movie.zarr")
    array = zarr.create_array(
        path, shape=FRAMES.shape, chunks=(3, 16, 20), shards=shards, dtype="uint16",
        dimension_names=("t", "y", "x"), zarr_format=3,
    )  # fmt: skip
    array[:] = FRAMES
    plate = cut_movies(open_plate(path))
    assert {e.segment.start % 6 for e in plate.entries if e.segment} == {0}
    np.testing.assert_array_equal(read_all(plate), FRAMES)
    for entry in plate.entries:
        field = open_field(entry)
        assert check_chunks(field, list_source(field, ()), [0], "none") == 0


def test_a_lost_chunk_is_found_in_its_segment(tmp_path: Path, short: None) -> None:
    path = tmp_path / "movie.zarr"
    array = zarr.create_array(
        str(path), shape=FRAMES.shape, chunks=(3, 16, 20), dtype="uint16",
        dimension_names=("t", "y", "x"), zarr_format=3,
    )  # fmt: skip
    array[:] = FRAMES
    (path / "c" / "4" / "0" / "0").unlink()
    lost = []
    for entry in cut_movies(open_plate(path)).entries:
        field = open_field(entry)
        n = check_chunks(field, list_source(field, ()), [0], "all")
        lost.append((field.first_frame, n))
    assert [n for _, n in lost] == [0, 0, 1, 0]


def test_time_points_of_stacks_are_no_movie() -> None:
    image = StoredImage("a", "tzyx", (3, 4, 5, 6), np.dtype("u1"), (1, 1, 5, 6), len)
    with pytest.raises(FieldError, match="one axis"):
        as_movie(image)


@pytest.mark.parametrize("axes", ["zyx", "czyx", "tczyx", "tzyx"])
def test_planes_become_frames(axes: str) -> None:
    sizes = {"t": 1, "c": 2, "z": 7, "y": 5, "x": 6}
    shape = tuple(sizes[axis] for axis in axes)
    values = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    image = StoredImage("a", axes, shape, values.dtype, shape, values.__getitem__)
    movie = cut_frames(as_movie(image), 2, 6)
    assert (movie.size("t"), movie.size("z"), movie.size("c")) == (
        4, 1, image.size("c"),
    )  # fmt: skip
    for frame in range(4):
        for channel in range(image.size("c")):
            at = {"t": frame, "c": channel}
            whole = (slice(None), slice(None))
            expected = image.plane({"t": 0, "c": channel}, frame + 2, whole)
            np.testing.assert_array_equal(movie.plane(at, 0, whole), expected)


def test_a_damaged_movie_stays_one_field(tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_bytes(b"II*\0 this is no image")
    tifffile.imwrite(tmp_path / "good.tif", FRAMES, imagej=True)
    names = [e.address.field for e in cut_movies(open_plate(tmp_path)).entries]
    assert names == ["bad", "good@0"]


def test_all_segments_have_the_scale_of_the_whole_movie(
    tmp_path: Path, short: None
) -> None:
    path = tmp_path / "tubes.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "TYX"})
    expected = movie_scale([frame_top(frame) for frame in FRAMES])
    entries = cut_movies(open_plate(path)).entries
    assert {measure_movie(entry, 0) for entry in entries} == {expected}
    whole = FieldEntry(FieldAddress("", "", "tubes"), str(path))
    assert measure_movie(whole, 0) == expected


def test_a_movie_that_has_become_shorter_is_no_longer_read(tmp_path: Path) -> None:
    path = tmp_path / "tubes.tif"
    tifffile.imwrite(path, FRAMES, imagej=True, metadata={"axes": "TYX"})
    (entry,) = cut_movies(open_plate(path)).entries
    tifffile.imwrite(path, FRAMES[:7], imagej=True, metadata={"axes": "TYX"})
    with pytest.raises(FieldError, match="has 7 frames, and had 23"):
        open_field(entry)
