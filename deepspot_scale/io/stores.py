"""Opens Zarr hierarchies in local folders and at fsspec URLs for reading.

A path or URL comes in; a zarr Group or Array goes out, whose reads detect truncated
chunk files. Nothing here knows OME metadata, plates or images.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import fsspec
import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.metadata import ArrayV2Metadata
from zarr.storage import FsspecStore, LocalStore, StorePath, WrapperStore

from deepspot_scale.errors import DeepspotError, FieldError
from deepspot_scale.io.inflation import bound_chunks, largest_file
from deepspot_scale.io.retry import FULL, is_transient, retry, retry_async
from deepspot_scale.io.trust import MAX_DOCUMENT_BYTES, NO_TRUST, Trust, check_file

Source = str | os.PathLike[str]
Node = zarr.Group | zarr.Array[Any]
ZarrFormat = Literal[2, 3]
_BLOSC_HEADER = 16
_DEEPEST = 8
"""Folders of an image's chunks below one another; five axes need six."""
_GAP = 0
"""Bytes between two inner chunks of a shard that are read along with them, so that one
request serves both. Zarr takes 1 MiB, on which a column of small chunks costs its whole
shard; here only chunks that touch share a request, on disks and object stores alike."""
ZARR_DOCUMENTS = ("zarr.json", ".zarray", ".zgroup", ".zattrs")


def is_url(source: str) -> bool:
    """Return whether this is a URL that fsspec opens, such as ``s3://...``."""
    return "://" in source


def source_text(source: Source) -> str:
    """Return a path or URL as text without a trailing slash."""
    text = os.fspath(source)
    return text.rstrip("/") or text


def join(source: str, *parts: str) -> str:
    """Return the path or URL of an item below `source`.

    Of a chained URL the path is that of the first store that has one.

    Examples
    --------
    >>> join("zip://::file:///p.zip", "B/03"), join("simplecache::s3://p", "B/03")
    ('zip://B/03::file:///p.zip', 'simplecache::s3://p/B/03')
    >>> join("/a::b.zarr", "B/03")
    '/a::b.zarr/B/03'
    """
    links = source.split("::") if is_url(source) else [source]
    at = next((i for i, link in enumerate(links) if is_url(link)), len(links) - 1)
    below = [part for part in parts if part]
    root = links[at] if links[at].endswith("://") else links[at].rstrip("/")
    glue = "" if root.endswith("://") else "/"
    links[at] = glue.join((root, "/".join(below))) if below else root
    return "::".join(links)


def is_safe_path(path: object) -> bool:
    """Return whether a path from metadata stays below the folder of the metadata."""
    if not isinstance(path, str) or "\\" in path or "\0" in path or ":" in path:
        return False
    return all(part not in {"", ".", ".."} for part in path.split("/"))


class CheckedStore(WrapperStore[Store]):
    """A store that raises an error for truncated chunk files.

    Zarr treats an empty shard as a missing one, and Blosc reads past the end of a
    truncated chunk and returns arbitrary memory. Both would silently give wrong pixels.
    """

    def __init__(
        self, store: Store, trust: Trust = NO_TRUST, *, blosc: bool = False
    ) -> None:
        super().__init__(store)
        self.trust, self.blosc = trust, blosc
        self.largest: int | None = None
        """Most bytes that a chunk's file may have; None: any number."""
        self.known: set[str] = set()
        """Folders that do not lead out of the plate."""

    def _with_store(self, store: Store) -> CheckedStore:
        made = type(self)(store, self.trust, blosc=self.blosc)
        made.largest = self.largest
        return made

    def _check_file(self, key: str, *, whole: bool) -> None:
        """Raise FieldError if a local file is not to be opened."""
        if isinstance(self._store, LocalStore):
            root, is_document = self._store.root, key.endswith(ZARR_DOCUMENTS)
            if not (os.path.isdir(root) or os.path.islink(root)):
                return  # nothing is there, which the reader says
            path = os.path.join(root, key)
            largest = MAX_DOCUMENT_BYTES if is_document else self.largest
            check_file(
                path,
                self.trust.within,
                largest=largest if whole else None,
                known=self.known,
            )

    def _is_known(self, key: str) -> bool:
        """Return whether a file is in a folder that has been looked at."""
        root = getattr(self._store, "root", "")
        return os.path.dirname(os.path.join(root, key)) in self.known

    async def get(
        self,
        key: str,
        prototype: BufferPrototype,
        byte_range: ByteRequest | None = None,
    ) -> Buffer | None:
        """Return the stored bytes; OSError if there are fewer than required."""
        whole = byte_range is None
        if self._is_known(key):  # one look, for which a thread takes too long
            self._check_file(key, whole=whole)
        else:
            await asyncio.to_thread(self._check_file, key, whole=whole)
        value = await retry_async(partial(super().get, key, prototype, byte_range))
        return self._check(key, value, byte_range)

    async def get_ranges(
        self,
        key: str,
        byte_ranges: Sequence[ByteRequest | None],
        *,
        prototype: BufferPrototype,
        **limits: int,
    ) -> AsyncIterator[Sequence[tuple[int, Buffer | None]]]:
        """Yield inner chunks of a shard, each read by `get` and so checked.

        Zarr 3.3 and newer call this, and their wrapper would go past `get`.
        """
        limits["max_gap_bytes"] = _GAP
        ranges = super(WrapperStore, self).get_ranges  # type: ignore[misc]
        try:
            async for found in ranges(key, byte_ranges, prototype=prototype, **limits):
                yield found
        except ExceptionGroup as errors:
            # A shard that is gone is told apart from one that cannot be read by zarr.
            if errors.subgroup(FileNotFoundError) is not None:
                raise
            raise _first(errors) from errors

    @property
    def _supports_sync_io(self) -> bool:
        # Zarr 3.4 has a pipeline that reads past `get`, without retries.
        return False

    def _check(
        self, key: str, value: Buffer | None, byte_range: ByteRequest | None
    ) -> Buffer | None:
        """Return the bytes; OSError if there are fewer than required."""
        if value is None or key.endswith(ZARR_DOCUMENTS):
            return value
        needed = 1
        if isinstance(byte_range, RangeByteRequest):
            needed = byte_range.end - byte_range.start
        elif byte_range is None and self.blosc:
            header = bytes(value[:_BLOSC_HEADER].to_bytes())
            needed = max(_BLOSC_HEADER, int.from_bytes(header[12:16], "little"))
        if len(value) < needed:
            raise OSError(f"{key} holds {len(value)} bytes instead of {needed}")
        return value


def _first(errors: ExceptionGroup[Exception]) -> Exception:
    """Return the first error in a group of groups: the others were cancelled."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _checked_store(source: str, trust: Trust) -> CheckedStore:
    if is_url(source):
        return CheckedStore(FsspecStore.from_url(source, read_only=True), trust)
    return CheckedStore(LocalStore(Path(source), read_only=True), trust)


def _has_blosc_chunks(array: zarr.Array[Any]) -> bool:
    metadata = array.metadata
    if isinstance(metadata, ArrayV2Metadata):
        return getattr(metadata.compressor, "codec_id", "") == "blosc"
    return any(isinstance(codec, BloscCodec) for codec in metadata.codecs)


def open_node(
    source: str, zarr_format: ZarrFormat | None = None, trust: Trust = NO_TRUST
) -> Node:
    """Open the Zarr group or array at a path or URL for reading.

    Unless the format is known, 3 is tried first, then 2. Raises FileNotFoundError if
    there is no group or array, FieldError if its files are not to be opened (`trust`),
    and ValueError (zarr raises other kinds too) if its metadata are damaged.
    """
    formats: tuple[ZarrFormat, ...] = (3, 2)
    for candidate in formats if zarr_format is None else (zarr_format,):
        store = _checked_store(source, trust)
        try:
            node = (
                _open_local_v3(source, store)
                if candidate == 3 and not is_url(source)
                else zarr.open(store, mode="r", zarr_format=candidate)
            )
        except FileNotFoundError:
            continue
        return _checked_array(node, store) if isinstance(node, zarr.Array) else node
    raise FileNotFoundError(f"no Zarr group or array at {source}")


def _checked_array(array: zarr.Array[Any], store: CheckedStore) -> zarr.Array[Any]:
    """Return an array whose chunks are checked as they are read."""
    store = store._with_store(store._store)
    store.blosc, metadata = _has_blosc_chunks(array), array.metadata
    if "sizes" not in store.trust.words:
        metadata = bound_chunks(array)
        store.largest = largest_file(array)
    return zarr.Array(zarr.AsyncArray(metadata, StorePath(store)))


def _open_local_v3(source: str, store: CheckedStore) -> Node:
    """Open a local Zarr v3 node from its ``zarr.json``.

    `zarr.open` reads the document twice, each time in another thread, which takes
    longer than the pixels of a small image.
    """
    store._check_file("zarr.json", whole=True)
    try:
        document = retry((Path(source) / "zarr.json").read_bytes)
    except NotADirectoryError as error:
        raise FileNotFoundError(source) from error
    data = json.loads(document)
    if not isinstance(data, dict):
        raise ValueError(f"zarr.json holds {type(data).__name__} instead of metadata")
    place = StorePath(store)
    if data.get("node_type") == "array":
        return zarr.Array(zarr.AsyncArray.from_dict(place, data))
    return zarr.Group(zarr.AsyncGroup.from_dict(place, data))


def iter_files(source: str) -> Iterator[str]:
    """Yield the names of files below a path or URL."""
    if is_url(source):
        fs, path = fsspec.core.url_to_fs(source)
        yield from fs.find(path)
        return
    for folder, folders, names in os.walk(source):
        if folder.count(os.sep) - source.count(os.sep) >= _DEEPEST:
            folders.clear()
        yield from names


@contextmanager
def field_errors(action: str) -> Iterator[None]:
    """Turn any error inside into a FieldError that names the action."""
    try:
        yield
    except (DeepspotError, MemoryError):
        raise
    # Every codec, file format and remote store raises its own kinds of errors.
    except Exception as error:
        reason = str(error).split("\n", maxsplit=1)[0] or type(error).__name__
        raise FieldError(f"{action} failed: {reason}. {_advise(error)}") from error


def _advise(error: Exception) -> str:
    """Return advice on an error."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, PermissionError):
        return "You have no right to read it: ask its owner, or change its mode."
    if "object_codec_id" in str(error):
        return "It does not hold numbers and may hide a program; it was not read."
    if number == errno.ELOOP:
        return "A link there leads to itself: replace it by a copy of the images."
    if number in FULL:
        return "Make room on that disk, then try the field again."
    if is_transient(error):
        return "The disk or the network failed: try the field again later."
    return "Copy or convert the file again."
