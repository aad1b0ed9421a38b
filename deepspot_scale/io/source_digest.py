"""A digest of what is read of a field, to see later whether it has changed.

An open field and the names of its labels in use come in, a short text goes out. It
covers the metadata that are used, and name, size and time (or etag) of each file with
pixels of the image or labels. No pixel is read, and one request or directory listing
serves many chunks. Nothing here knows runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, Final

import fsspec

from deepspot_scale.io.field import Field
from deepspot_scale.io.image_files.bioio_files import split_scene
from deepspot_scale.io.stores import is_url, join
from deepspot_scale.io.trust import is_within

UNLISTED: Final = "metadata:"
"""Start of a digest of metadata alone: the store does not list its files."""
_DEEPEST: Final = 8
"""Folders of an image's chunks below one another; five axes need six."""
_STAMPS: Final = (
    *("ETag", "etag", "md5Hash", "generation", "CRC", "mtime"),
    *("LastModified", "last_modified", "created"),
)
"""What file systems call a mark that changes with the content, best first."""

_File = tuple[str, int, str]
"""Name, size, and time or etag."""


def digest_source(field: Field, labels: Iterable[str]) -> str:
    """Return the digest of a field's image at full resolution and of some labels.

    It does not depend on where the plate is. What cannot be looked at counts as absent:
    reading it says why.
    """
    image = field.image
    facts = [
        *(image.axes, image.shape, image.dtype.str, image.chunks),
        *(field.channels, sorted(image.spacing_um.items())),
    ]
    places = [image.source, *(join(field.group, "labels", name) for name in labels)]
    listings = [_list_files(place, field.trust.within) for place in places]
    digest = hashlib.sha256(repr((facts, listings)).encode()).hexdigest()[:32]
    return digest if all(found is not None for found in listings) else UNLISTED + digest


def _list_files(place: str, within: str) -> list[_File] | None:
    """Return the files of an image; None if the store does not tell them."""
    if is_url(place):
        return _list_url(place)
    path = split_scene(place)[0]
    if os.path.isfile(path):
        return list(_iter_file("", partial(os.stat, path)))
    return sorted(_walk(path, "", _DEEPEST, within))


def _walk(folder: str, prefix: str, depth: int, within: str) -> Iterator[_File]:
    # Links are followed as zarr does; a limit of depth ends those that go in circles.
    # Those that lead out of `within` are not: reading them is an error.
    try:
        entries = list(os.scandir(folder))
    except OSError:
        return
    for entry in entries:
        name = prefix + entry.name
        if not entry.is_dir():
            yield from _iter_file(name, entry.stat)
        elif entry.is_symlink() and within and not is_within(entry.path, within):
            continue
        elif depth:
            yield from _walk(entry.path, f"{name}/", depth - 1, within)


def _iter_file(name: str, look: Callable[[], os.stat_result]) -> Iterator[_File]:
    with suppress(OSError):
        state = look()
        yield name, state.st_size, str(state.st_mtime_ns)


def _list_url(url: str) -> list[_File] | None:
    try:
        fs, path = fsspec.core.url_to_fs(url)
        fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = fs.find(path, detail=True)
    except Exception:  # stores that list nothing raise many kinds; reading may work
        return None
    files = [
        (name.removeprefix(path), int(info.get("size") or 0), _stamp(info))
        for name, info in found.items()
    ]
    return sorted(files) if files and all(stamp for *_, stamp in files) else None


def _stamp(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _STAMPS if info.get(name)), "")
