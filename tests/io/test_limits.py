"""Limits of arrays and paths, checked before anything is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from deepspot_scale.errors import FieldError
from deepspot_scale.io import limits
from deepspot_scale.io.limits import check_array, check_within
from deepspot_scale.io.plate import FieldEntry, open_field
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


def test_links_may_lead_about_in_a_plate_and_not_out_of_it(tmp_path: Path) -> None:
    plate, other = tmp_path / "plate", tmp_path / "plate-2"
    for place in (plate / "A/1", plate / "B", other):
        place.mkdir(parents=True)
    (plate / "B/1").symlink_to(plate / "A/1")
    (plate / "B/2").symlink_to(other)
    (tmp_path / "by another name").symlink_to(plate)
    check_within(str(plate / "B/1"), str(plate))
    check_within(str(tmp_path / "by another name/A/1"), str(plate))
    check_within("s3://bucket/plate/A/1", "s3://bucket/plate")
    # Its name begins as the plate's does, but it is another folder.
    with pytest.raises(FieldError, match="leads out of"):
        check_within(str(plate / "B/2"), str(plate))
    with pytest.raises(FieldError, match="leads out of"):
        check_within(f"{plate}/A/../../plate-2", str(plate))
