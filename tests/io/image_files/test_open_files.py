"""Files stay open between reads, and only while they are the same."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files import open_files
from deepspot_scale.io.image_files.open_files import close_idle, lend
from deepspot_scale.io.plate import open_plate

FRAMES = np.arange(7 * 5 * 6, dtype=np.uint16).reshape(7, 5, 6)


@pytest.fixture(autouse=True)
def _none_idle() -> Iterator[None]:
    close_idle()
    yield
    close_idle()


@contextmanager
def opened(log: list[str], name: str) -> Iterator[str]:
    """Note when a file is opened and closed."""
    log.append(f"open {name}")
    yield name
    log.append(f"close {name}")


def test_a_file_is_opened_once_for_many_reads(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(b"1")
    log: list[str] = []
    for _ in range(3):
        with lend(str(path), "x", partial(opened, log, "a")) as value:
            assert value == "a"
    assert log == ["open a"]


def test_two_readers_at_once_have_a_file_each(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(b"1")
    log: list[str] = []
    opener = partial(opened, log, "a")
    with lend(str(path), "x", opener), lend(str(path), "x", opener):
        assert log == ["open a", "open a"]


def test_a_changed_file_and_another_way_are_opened_anew(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(b"1")
    log: list[str] = []
    opener = partial(opened, log, "a")
    for content, way in ((b"1", "x"), (b"22", "x"), (b"22", "y")):
        path.write_bytes(content)
        with lend(str(path), way, opener):
            pass
    assert log.count("open a") == 3


def test_the_longest_idle_file_is_closed_first(tmp_path: Path) -> None:
    log: list[str] = []
    for number in range(open_files.MAX_IDLE + 1):
        (path := tmp_path / str(number)).write_bytes(b"1")
        with lend(str(path), "x", partial(opened, log, str(number))):
            pass
    assert [words for words in log if words.startswith("close")] == ["close 0"]


def test_an_error_while_reading_closes_the_file(tmp_path: Path) -> None:
    (path := tmp_path / "a").write_bytes(b"1")
    tiff = tmp_path / "b.tif"
    tifffile.imwrite(tiff, FRAMES)
    with (
        pytest.raises(RuntimeError),
        lend(str(path), "x", partial(tifffile.TiffFile, tiff)) as file,
    ):
        raise RuntimeError
    assert file.filehandle.closed


def test_frames_are_read_without_listing_the_pages_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "movie.tif"
    with tifffile.TiffWriter(path) as writer:
        for frame in FRAMES:
            writer.write(frame, contiguous=False, metadata=None, compression="zlib")
    field = open_plate(path).open("movie")
    field.read(z=0)
    monkeypatch.setattr(tifffile, "TiffFile", None)  # opening again would fail
    for number in (6, 2, 2, 5):
        np.testing.assert_array_equal(field.read(z=number), FRAMES[number])


def test_a_movie_that_is_replaced_or_removed_is_not_read_from_memory(
    tmp_path: Path,
) -> None:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES, metadata=None)
    field = open_plate(path).open("movie")
    field.read(z=1)
    tifffile.imwrite(tmp_path / "new.tif", FRAMES + 1, metadata=None)
    (tmp_path / "new.tif").replace(path)
    np.testing.assert_array_equal(field.read(z=1), FRAMES[1] + 1)
    path.unlink()
    with pytest.raises(FieldError):
        field.read(z=1)


def test_threads_that_read_one_movie_get_their_own_frames(tmp_path: Path) -> None:
    movie = np.repeat(np.arange(200, dtype=np.uint16), 32 * 32).reshape(200, 32, 32)
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, movie, metadata=None, compression="zlib")
    field = open_plate(path).open("movie")

    def is_own(number: int) -> bool:
        return bool((field.read(z=number) == number).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(is_own, [*range(200)] * 2))


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_frames_land_on_the_axis_that_the_file_names(
    tmp_path: Path, axes: str, kind: str
) -> None:
    path = tmp_path / "movie.ome.tif"
    path = path if kind == "ome" else tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES, metadata={"axes": axes}, **{kind: True})
    field = open_plate(path).open("movie")
    assert field.axes == axes.lower()
    np.testing.assert_array_equal(field.read(**{axes[0].lower(): 4}), FRAMES[4])


@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("metadata", [{}, None])
def test_frames_without_a_named_axis_are_planes(
    tmp_path: Path, metadata: dict[str, str] | None, bigtiff: bool
) -> None:
    path = tmp_path / "movie.tif"
    tifffile.imwrite(path, FRAMES, metadata=metadata, bigtiff=bigtiff)
    field = open_plate(path).open("movie")
    assert field.axes == "zyx"
    np.testing.assert_array_equal(field.read(z=4), FRAMES[4])
