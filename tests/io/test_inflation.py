"""Chunks that unpack to more than is declared are errors, and take no memory.

The stand-ins are zeros, a few times as many as are declared; that they are refused
before the memory is taken is seen in what the process has taken at most.
"""

from __future__ import annotations

import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr import codecs

from deepspot_scale.errors import FieldError
from deepspot_scale.io.inflation import SPARE_BYTES, check_size
from deepspot_scale.io.plate import open_plate

SHAPE = (128, 128)
MANY = 1 << 27
"""Bytes that a chunk of 32 KiB unpacks to."""

KINDS: dict[str, dict[str, Any]] = {
    "gzip": {"compressors": codecs.GzipCodec()},
    "zstd": {"compressors": codecs.ZstdCodec()},
    "blosc": {"compressors": codecs.BloscCodec()},
    "none": {"compressors": None},
    "two": {"compressors": [codecs.ZstdCodec(), codecs.GzipCodec()]},
    "shard": {"compressors": codecs.ZstdCodec(), "chunks": (32, 32), "shards": SHAPE},
    "blosc 2": {"zarr_format": 2, "compressors": numcodecs.Blosc()},
    "zlib 2": {"zarr_format": 2, "compressors": numcodecs.Zlib()},
    "bz2 2": {"zarr_format": 2, "compressors": numcodecs.BZ2()},
    "lzma 2": {"zarr_format": 2, "compressors": numcodecs.LZMA()},
    "lz4 2": {"zarr_format": 2, "compressors": numcodecs.LZ4()},
    "delta 2": {
        "zarr_format": 2,
        "compressors": numcodecs.Zstd(),
        "filters": [numcodecs.Delta("u2")],
    },
}


def _write(place: Path, **options: Any) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 4000, SHAPE).astype(np.uint16)
    zarr.create_array(str(place), data=image, **{"chunks": SHAPE, **options})
    return image


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_as_large_as_declared_is_read_also_elsewhere(
    tmp_path: Path, kind: str
) -> None:
    image = _write(tmp_path / "a", **KINDS[kind])
    stored = open_plate(tmp_path / "a").open("a").image
    elsewhere = pickle.loads(pickle.dumps(stored))
    for read in (stored, elsewhere):
        np.testing.assert_array_equal(read[:, :], image)
        np.testing.assert_array_equal(read[3:70, 5:9], image[3:70, 5:9])


def _pack(kind: str, n: int) -> bytes:
    zeros = bytes(n)
    packs: dict[str, Callable[[bytes], Any]] = {
        "gzip": numcodecs.GZip().encode,
        "zstd": numcodecs.Zstd().encode,
        "blosc": numcodecs.Blosc().encode,
        "blosc 2": numcodecs.Blosc().encode,
        "zlib 2": numcodecs.Zlib().encode,
        "bz2 2": numcodecs.BZ2().encode,
        "lzma 2": numcodecs.LZMA().encode,
        "lz4 2": numcodecs.LZ4().encode,
        "delta 2": numcodecs.Zstd().encode,
    }
    return bytes(packs[kind](zeros))


@pytest.mark.parametrize("kind", ["gzip", "zstd", "blosc", *list(KINDS)[6:]])
def test_what_is_larger_than_declared_is_refused(tmp_path: Path, kind: str) -> None:
    _write(tmp_path / "a", **KINDS[kind])
    key = "0.0" if kind.endswith("2") else "c/0/0"
    packed = _pack(kind, MANY)
    (tmp_path / "a" / key).write_bytes(packed)
    image = open_plate(tmp_path / "a").open("a").image
    # LZ4 packs to no less than a 255th, and the file itself is refused.
    words = "unpacks to more than the 32768 |bytes, more than the"
    tracemalloc.start()
    with pytest.raises(FieldError, match=words):
        image[:, :]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MANY / 4
    # Trusted, it is unpacked, and does not fit.
    with pytest.raises(FieldError, match="failed: "):
        open_plate(tmp_path / "a", trust=["sizes"]).open("a").image[:, :]


def test_a_second_compression_is_bounded_too(tmp_path: Path) -> None:
    _write(tmp_path / "a", **KINDS["two"])
    inner = _pack("zstd", MANY)
    assert len(inner) < 1 << 15
    (tmp_path / "a/c/0/0").write_bytes(numcodecs.GZip().encode(inner))
    with pytest.raises(FieldError, match="unpacks to more than the 32768 "):
        open_plate(tmp_path / "a").open("a").image[:, :]


@pytest.mark.parametrize("window", [(slice(None),) * 2, (slice(0, 9),) * 2])
def test_a_chunk_within_a_shard_is_bounded_too_also_elsewhere(
    tmp_path: Path, window: tuple[slice, slice]
) -> None:
    _write(tmp_path / "a", **KINDS["shard"])
    shard = tmp_path / "a/c/0/0"
    whole = shard.read_bytes()
    index = np.frombuffer(whole[-4 - 16 * 16 : -4], "<u8").copy()
    packed = _pack("zstd", MANY)
    index[:2] = len(whole), len(packed)
    body = whole[:-4] + bytes(4) + packed + index.tobytes()
    body = body[: len(whole)] + packed + index.tobytes()
    crc = numcodecs.CRC32C(location="end").encode(index.tobytes())[-4:]
    shard.write_bytes(body + bytes(crc))
    image = open_plate(tmp_path / "a").open("a").image
    for read in (image, pickle.loads(pickle.dumps(image))):
        with pytest.raises(FieldError, match="unpacks to more than the 2048 "):
            read[window]


@pytest.mark.parametrize("kind", ["gzip", "zstd", "zlib 2", "bz2 2", "lzma 2"])
def test_several_members_of_one_chunk_are_added_up(kind: str) -> None:
    name, part = kind.split(maxsplit=1)[0], 1 << 15
    packed = _pack(kind, part)
    check_size(name, packed * 2, 2 * part)
    with pytest.raises(ValueError, match=f"more than the {2 * part} "):
        check_size(name, packed * 2 + _pack(kind, SPARE_BYTES + 1), 2 * part)
