"""Zarr hierarchies are opened as zarr does, and unsafe paths are found."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import ClassVar

import fsspec
import numpy as np
import pytest
import zarr
from fsspec.implementations.local import LocalFileSystem
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.io.stores import field_errors, is_safe_path, join, open_node
from deepspot_scale.io.trust import Trust


@given(st.text(alphabet="ab./\\:", max_size=9))
def test_a_safe_path_never_leaves_its_folder(path: str) -> None:
    root = Path("/plate")
    if is_safe_path(path):
        inside = Path(join(str(root), path)).resolve()
        assert inside != root
        assert inside.is_relative_to(root)


@pytest.mark.parametrize("path", [None, 3, "", "/a", "a//b", "a/..", "C:", "a\0b"])
def test_other_paths_are_not_safe(path: object) -> None:
    assert not is_safe_path(path)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_node_opened_by_its_document_is_that_of_zarr(
    tmp_path: Path, zarr_format: int
) -> None:
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4)
    group = zarr.create_group(
        tmp_path, zarr_format=zarr_format, attributes={"name": "a plate"}
    )
    group.create_array("0", data=pixels, chunks=(2, 2))
    opened = open_node(str(tmp_path))
    assert isinstance(opened, zarr.Group)
    assert dict(opened.attrs) == {"name": "a plate"}
    array = open_node(str(tmp_path / "0"))
    assert isinstance(array, zarr.Array)
    plain = open_node(str(tmp_path / "0"), trust=Trust(frozenset({"sizes"})))
    expected = zarr.open_array(tmp_path / "0", mode="r").metadata
    assert plain.metadata == expected
    np.testing.assert_array_equal(array[...], pixels)


def test_nothing_is_opened_where_nothing_is(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("absent", "file"):
        with pytest.raises(FileNotFoundError):
            open_node(str(tmp_path / name))


def test_a_document_that_is_no_metadata_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps(["node_type"]))
    with pytest.raises(ValueError, match="holds list instead of metadata"):
        open_node(str(tmp_path))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(errno.EACCES, "denied"), "ask its owner"),
        (OSError(errno.ELOOP, "loop"), "leads to itself"),
        (OSError(errno.ENOSPC, "full"), "Make room"),
        (TimeoutError("slow"), "try the field again later"),
        (ValueError("first line\nsecond"), "first line. Copy or convert"),
        (KeyError(), "KeyError. Copy or convert"),
    ],
)
def test_an_error_says_the_action_and_what_to_do(error: Exception, advice: str) -> None:
    with (
        pytest.raises(FieldError, match=rf"^reading a failed: .*{advice}") as caught,
        field_errors("reading a"),
    ):
        raise error
    assert caught.value.__cause__ is error


def test_our_own_errors_pass_unchanged() -> None:
    with pytest.raises(SettingsError, match=r"^as it was$"), field_errors("reading"):
        raise SettingsError("as it was")


@pytest.mark.parametrize(
    ("source", "below"),
    [
        ("/p.zarr/", "/p.zarr/B/03"),
        ("/data/a::b.zarr", "/data/a::b.zarr/B/03"),
        ("s3://bucket", "s3://bucket/B/03"),
        ("zip://::file:///p.zip", "zip://B/03::file:///p.zip"),
        ("zip://p.zarr::s3://b/p.zip", "zip://p.zarr/B/03::s3://b/p.zip"),
        ("simplecache::s3://b/p.zarr", "simplecache::s3://b/p.zarr/B/03"),
        (
            "simplecache::zip://::file:///p.zip",
            "simplecache::zip://B/03::file:///p.zip",
        ),
    ],
)
def test_a_path_goes_to_that_part_of_a_url_that_has_paths(
    source: str, below: str
) -> None:
    assert join(source, "B", "", "03") == below
    assert join(source.rstrip("/")) == source.rstrip("/")


class CountingFileSystem(LocalFileSystem):
    """A store that keeps note of the bytes of chunks that it was asked for."""

    protocol = ("counting",)
    asked: ClassVar[list[int]] = []
    faults: ClassVar[list[Exception | None]] = []
    """What the next reads of chunks raise."""

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.removeprefix("counting://")))

    def cat_file(self, path: str, *args: object, **kwargs: object) -> bytes:
        """Read, and note the size of what is not metadata."""
        content: bytes = super().cat_file(path, *args, **kwargs)
        if not path.endswith("zarr.json"):
            self.asked.append(len(content))
            if self.faults and (fault := self.faults.pop(0)) is not None:
                raise fault
        return content


fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
SHARD = np.random.default_rng(0).integers(0, 60000, (256, 256), "uint16")
INNER = 16
INDEX_BYTES = 16 * 16 * 16 + 4
"""Of a shard of 16 x 16 chunks: offset and length of each, and a checksum."""


def _shard(folder: Path) -> str:
    zarr.create_array(
        folder,
        data=SHARD,
        chunks=(INNER, INNER),
        shards=SHARD.shape,
        compressors=None,
    )
    return str(folder)


@pytest.mark.parametrize("scheme", ["counting://", ""])
@pytest.mark.parametrize(
    ("window", "n_chunks"),
    [
        ((slice(0, 16), slice(0, 16)), 1),
        ((slice(None), slice(3, 9)), 16),
        ((slice(20, 30), slice(None)), 16),
        ((slice(10, 100), slice(10, 100)), 49),
        ((slice(None), slice(None)), 256),
    ],
)
def test_a_window_of_a_shard_costs_the_bytes_of_its_chunks(
    tmp_path: Path,
    scheme: str,
    window: tuple[slice, slice],
    n_chunks: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(CountingFileSystem, "asked", asked)
    array = open_node(f"{scheme}{_shard(tmp_path / 's')}")
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(array[window], SHARD[window])
    if scheme:
        needed = n_chunks * INNER**2 * 2
        assert needed < sum(asked) <= needed + INDEX_BYTES


@pytest.mark.parametrize("scheme", ["counting://", ""])
def test_a_shard_that_is_cut_short_is_an_error_with_its_reason(
    tmp_path: Path, scheme: str
) -> None:
    path = _shard(tmp_path / "s")
    os.truncate(f"{path}/c/0/0", 5000)
    with (
        pytest.raises(FieldError, match=r"failed: (?!unhandled errors)"),
        field_errors("reading"),
    ):
        np.asarray(open_node(f"{scheme}{path}")[:, :16])


def test_a_chunk_in_a_shard_is_read_again_after_a_lost_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = ConnectionResetError(errno.ECONNRESET, "connection lost")
    faults = [None, lost]  # the shard's index comes, the first chunk does not
    monkeypatch.setattr(CountingFileSystem, "faults", faults)
    array = open_node(f"counting://{_shard(tmp_path / 's')}")
    np.testing.assert_array_equal(np.asarray(array[:, :16]), SHARD[:, :16])
    assert not faults
