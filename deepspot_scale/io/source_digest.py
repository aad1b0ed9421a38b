"""A digest of what is read of a field, to see later whether it has changed.

An open field and the names of its labels in use come in; a listing of its files goes
out, and of this a short text. It covers the metadata that are used, and name, size and
time (or etag) of each file with pixels of the image or labels. No pixel is read, and
one request or directory listing serves many chunks. Nothing here knows runs.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

import fsspec

from deepspot_scale.io.field import Field
from deepspot_scale.io.image_files.bioio_files import split_scene
from deepspot_scale.io.stored_image import IMAGE, Listing, StoredFile
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


def list_source(field: Field, labels: Iterable[str]) -> Listing:
    """Return the files of a field's image at full resolution and of some labels.

    What cannot be looked at counts as absent: reading it says why.
    """
    places = {name: join(field.group, "labels", name) for name in labels}
    places, within = {IMAGE: field.image.source, **places}, field.trust.within
    found = {name: _list_files(place, within) for name, place in places.items()}
    for path in field.further:
        own, more = found[IMAGE], _list_files(path, within)
        found[IMAGE] = None if own is None or more is None else [*own, *more]
    return found


def digest_source(field: Field, listing: Listing) -> str:
    """Return the digest of a field, given its files by `list_source`.

    It does not depend on where the plate is. Behind the last ``-`` stands what times
    and etags come to, before it all else, see `differ_in_time_only`.
    """
    image = field.image
    facts = [
        *(image.axes, image.shape, image.dtype.str, image.chunks),
        *(field.channels, sorted(image.spacing_um.items())),
    ]
    known = [files or [] for files in listing.values()]
    content = _hash(facts, [[file[:2] for file in files] for files in known])
    stamps = [[file.stamp for file in files] for files in known]
    whole = all(listing.values()) and all(all(each) for each in stamps)
    return f"{'' if whole else UNLISTED}{content}-{_hash(stamps)}"


def differ_in_time_only(one: str, other: str) -> bool:
    """Return whether two digests are of files that are equal but for time or etag."""
    return one != other and one.rpartition("-")[0] == other.rpartition("-")[0] != ""


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:32]


def _list_files(place: str, within: str) -> list[StoredFile] | None:
    """Return the files of an image, by name; None if the store does not tell them."""
    if is_url(place):
        return _list_url(place)
    path = split_scene(place)[0]
    if os.path.isfile(path):
        return list(_iter_file("", partial(os.stat, path)))
    try:
        return sorted(_walk(path, "", _DEEPEST, within))
    except OSError:  # no right to look: reading says why
        return None


def _walk(folder: str, prefix: str, depth: int, within: str) -> Iterator[StoredFile]:
    # Links are followed as zarr does; a limit of depth ends those that go in circles.
    # Those that lead out of `within` are not: reading them is an error.
    for entry in list(os.scandir(folder)) if os.path.isdir(folder) else ():
        name = prefix + entry.name
        if not entry.is_dir():
            yield from _iter_file(name, entry.stat)
        elif entry.is_symlink() and within and not is_within(entry.path, within):
            raise PermissionError(f"{entry.path} leads out of {within}")
        elif depth:
            yield from _walk(entry.path, f"{name}/", depth - 1, within)


def _iter_file(name: str, look: Callable[[], os.stat_result]) -> Iterator[StoredFile]:
    with suppress(OSError):
        state = look()
        yield StoredFile(name, state.st_size, str(state.st_mtime_ns))


def _list_url(url: str) -> list[StoredFile] | None:
    try:
        fs, path = fsspec.core.url_to_fs(url)
        fs.invalidate_cache()
        found: dict[str, dict[str, Any]] = fs.find(path, detail=True)
    except Exception:  # stores that list nothing raise many kinds; reading may work
        return None
    files = [
        StoredFile(name.removeprefix(path).lstrip("/"), _size(info), _stamp(info))
        for name, info in found.items()
    ]
    return sorted(files) or None


def _size(info: Mapping[str, Any]) -> int:
    return int(info.get("size") or 0)


def _stamp(info: dict[str, Any]) -> str:
    return next((str(info[name]) for name in _STAMPS if info.get(name)), "")
