"""Strips and tiles that unpack to more than they cover are errors.

The stand-ins are zeros: 9 megapixels in a strip of 256 pixels.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.segments import check_expansion
from deepspot_scale.io.image_files.tiff_png import open_file

EDGE = 16
LARGE = np.zeros((3000, 3000), np.uint8)


def _tiff(path: Path, compression: int, data: bytes, edge: int = EDGE) -> Path:
    """Write a page of one strip by hand, since no writer gives wrong sizes."""
    tags = {256: edge, 257: edge, 258: 8, 259: compression, 262: 1, 273: 512}
    tags |= {277: 1, 278: edge, 279: len(data)}
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    entries = (struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags.items())
    path.write_bytes((head + b"".join(entries) + bytes(4)).ljust(512, b"\0") + data)
    return path


IMAGES: dict[str, tuple[int, Any]] = {
    "jpeg": (7, imagecodecs.jpeg_encode),
    "jpeg 2000": (34712, imagecodecs.jpeg2k_encode),
    "png": (34933, imagecodecs.png_encode),
}


@pytest.mark.parametrize("kind", IMAGES)
def test_an_image_in_a_strip_is_as_large_as_the_strip_or_refused(
    tmp_path: Path, kind: str
) -> None:
    number, encode = IMAGES[kind]
    whole = np.full((EDGE, EDGE), 7, np.uint8)
    good = open_file(str(_tiff(tmp_path / "good.tif", number, encode(whole))))
    np.testing.assert_array_equal(good[:, :], whole)
    bad = open_file(str(_tiff(tmp_path / "bad.tif", number, encode(LARGE))))
    with pytest.raises(FieldError, match="of 16 x 16 pixels holds an image of 3000 x"):
        bad[:, :]
    none = open_file(str(_tiff(tmp_path / "none.tif", number, bytes(99))))
    with pytest.raises(FieldError, match="holds an image of no size"):
        none[:, :]


def test_a_compression_that_tells_no_size_is_refused(tmp_path: Path) -> None:
    data = imagecodecs.lerc_encode(LARGE)
    image = open_file(str(_tiff(tmp_path / "a.tif", 34887, data)))
    with pytest.raises(
        FieldError, match=r"LERC.*save it with LZW, Deflate or Zstandar"
    ):
        image[:, :]


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits", None])
def test_usual_compressions_are_read(tmp_path: Path, compression: str | None) -> None:
    image = np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, image, compression=compression, rowsperstrip=16)
    np.testing.assert_array_equal(open_file(str(path))[:, :], image)


def test_a_strip_that_unpacks_to_more_is_refused_or_cut_at_its_size(
    tmp_path: Path,
) -> None:
    path = _tiff(tmp_path / "a.tif", 8, zlib.compress(LARGE.tobytes()))
    with pytest.raises(FieldError, match="INSUFFICIENT_SPACE"):
        open_file(str(path))[:, :]


def test_a_size_that_no_packing_reaches_is_refused(tmp_path: Path) -> None:
    path = _tiff(tmp_path / "a.tif", 8, zlib.compress(bytes(99)), 40_000)
    with pytest.raises(FieldError, match=r"declares 1600000000 bytes .* piece of "):
        open_file(str(path))[:9, :9]
    header = struct.pack(">I4sIIBB", 13, b"IHDR", 40_000, 40_000, 8, 0)
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header)
    with pytest.raises(FieldError, match="declares 1600000000 bytes"):
        open_file(str(tmp_path / "a.png"))
    check_expansion("a", 1 << 26, 9)


def test_far_more_planes_than_pages_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    plain: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
    axes = {**plain, "metadata": {"axes": "TYX"}}
    tifffile.imwrite(path, np.ones((3, 8, 8), np.uint8), **axes)
    with tifffile.TiffFile(path) as file:
        xml = file.ome_metadata or ""
    assert xml.count('SizeT="3"') == 1
    many = xml.replace('SizeT="3"', 'SizeT="30000000"').encode()
    tifffile.imwrite(path, np.ones((3, 8, 8), np.uint8), description=many, **plain)
    with pytest.raises(FieldError, match="declares 30000000 planes, but it has 3 page"):
        open_file(str(path))
