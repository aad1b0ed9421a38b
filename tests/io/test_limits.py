"""Limits of arrays and paths, checked before anything is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numcodecs import PackBits

from deepspot_scale.errors import FieldError
from deepspot_scale.io import limits
from deepspot_scale.io.limits import check_array, check_stored
from deepspot_scale.io.plate import FieldEntry, open_field
from deepspot_scale.io.stores import iter_files
from deepspot_scale.io.trust import Trust
from deepspot_scale.vocabulary import FieldAddress


def _say(place: Path, **facts: Any) -> zarr.Array[Any]:
    """Return an empty array with arbitrary metadata."""
    zarr.create_array(str(place), shape=(8, 8), chunks=(8, 8), dtype="u2")
    file = place / "zarr.json"
    document = json.loads(file.read_text())
    if "chunk" in facts:
        document["chunk_grid"]["configuration"]["chunk_shape"] = facts.pop("chunk")
    file.write_text(json.dumps(document | facts))
    return zarr.open_array(str(place), mode="r")


@pytest.mark.parametrize(
    ("shape", "chunk"),
    [
        ([2160, 2560], [2160, 2560]),
        ([30, 2048, 2048], [30, 2048, 2048]),
        ([100_000, 200_000], [1024, 1024]),
        ([100, 100], [4096, 4096]),
    ],
)
def test_what_microscopes_write_is_let_through(
    tmp_path: Path, shape: list[int], chunk: list[int]
) -> None:
    check_array(_say(tmp_path / "a", shape=shape, chunk=chunk), "a")


@pytest.mark.parametrize(
    ("shape", "chunk", "words"),
    [
        ([1 << 20, 1 << 20], [64, 64], "no microscope gives that"),
        ([2, 1 << 40], [2, 64], "no microscope gives that"),
        ([1 << 30, 1 << 8, 1 << 8], [1, 256, 256], "no microscope gives that"),
        ([1 << 17, 1 << 17], [1 << 17, 1 << 17], "one of its chunks"),
        ([64, 64], [1 << 14, 1 << 14], "one of its chunks"),
    ],
)
def test_what_would_fill_the_memory_is_refused_without_reading(
    tmp_path: Path, shape: list[int], chunk: list[int], words: str
) -> None:
    _say(tmp_path / "a", shape=shape, chunk=chunk)
    with pytest.raises(FieldError, match=words):
        open_field(FieldEntry(FieldAddress("", "", "a"), str(tmp_path / "a")))


def test_a_shard_may_be_large_as_its_chunks_are_unpacked_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_CHUNK_BYTES", 1 << 12)
    sizes = {"shape": (64, 64), "chunks": (16, 16), "shards": (64, 64)}
    array = zarr.create_array(str(tmp_path / "a"), dtype=np.uint16, **sizes)
    check_array(array, "a")


def test_an_image_of_which_hardly_any_chunk_is_stored_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "FREE_PIECES", 10)
    array = _say(tmp_path / "a", shape=[2008, 8], chunk=[8, 8])
    source = str(tmp_path / "a")
    array = zarr.open_array(source, mode="r+")
    (tmp_path / "a/zarr.json").touch()
    entry = FieldEntry(FieldAddress("", "", "a"), source)
    array[:8] = 1
    # 251 chunks need 3 files; there are zarr.json and one chunk.
    with pytest.raises(FieldError, match="has 251 chunks, but no more than 2 are st"):
        open_field(entry)
    assert open_field(replace(entry, trust=frozenset({"holes"}))).shape == (2008, 8)
    array[8:16] = 1
    assert open_field(entry).shape == (2008, 8)
    check_stored("a", array.shape, array.chunks, iter_files(f"file://{source}"))
    (tmp_path / "a/c/1/0").unlink()
    with pytest.raises(FieldError, match="but no more than 2 are stored"):
        check_stored("a", array.shape, array.chunks, iter_files(f"file://{source}"))


def test_a_codec_whose_sizes_cannot_be_checked_is_read_only_if_trusted(
    tmp_path: Path,
) -> None:
    image = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2 == 0
    options: Any = {"zarr_format": 2, "filters": [PackBits()], "compressors": None}
    zarr.create_array(str(tmp_path / "a"), data=image, chunks=(8, 8), **options)
    array = zarr.open_array(str(tmp_path / "a"), mode="r")
    with pytest.raises(FieldError, match="is stored with packbits; how much memory"):
        check_array(array, "a")
    check_array(array, "a", Trust(frozenset({"sizes"})))
