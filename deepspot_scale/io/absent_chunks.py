"""Chunks that are not stored: a measured zero, or pixels that were lost.

Zarr reads a chunk without a file as the fill value, so that a half copied image looks
black. An open field and the listing of its files come in; how many chunks in use are
absent goes out, or an error where they must have been lost:

    image    no camera gives zeros over a whole chunk: any absent chunk is an error
    labels   writers leave out places without cells: an error only with a sign of a
             loss, see `lost_labels`; else they are counted

Nothing here knows runs, or lists files.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Final, Literal

import fsspec
import numpy as np

from deepspot_scale.errors import AbsentError, FieldError
from deepspot_scale.io.field import MAX_CHUNKS, Field
from deepspot_scale.io.labels import LabelImage
from deepspot_scale.io.lost_labels import Absent, sign_of_loss
from deepspot_scale.io.retry import retry
from deepspot_scale.io.stored_image import (
    IMAGE,
    ChunkFiles,
    Listing,
    StoredFile,
    StoredImage,
)
from deepspot_scale.io.stores import field_errors, is_url, join
from deepspot_scale.io.trust import check_file
from deepspot_scale.vocabulary import UNKNOWN

Allowed = Literal["none", "labels", "all"]
"""Which absent chunks are taken for zeros, whatever speaks for a loss."""
_ABSENT: Final = (1 << 64) - 1
"""In the index of a shard, offset and size of a chunk that is not stored."""

_Files = Mapping[str, StoredFile]


def check_chunks(
    source: Field,
    listing: Listing,
    channels: Collection[int],
    allowed: Allowed = "none",
) -> int:
    """Return how many chunks of a field are in use and not stored.

    Parameters
    ----------
    source
        The field.
    listing
        Files of its image and of the labels in use, from `source_digest.list_source`.
    channels
        Numbers of the channels in use.
    allowed
        Absent chunks that are no error: none, those of labels, or all.

    Returns
    -------
    int
        0 or more; `UNKNOWN` if a store does not list its files.

    Raises
    ------
    AbsentError
        Chunks of the image are absent, or chunks of labels that must have been lost.
    FieldError
        There are no such labels, or the index of a shard cannot be read.
    """
    found = find_absent(source, listing, channels)
    known = {name: absent for name, absent in found.items() if absent is not None}
    for name, absent in known.items():
        if not absent.n or allowed == "all":
            continue
        if name == IMAGE:
            black = "and would count as black"
            raise _error("the image", source.image, absent, black, "all")
        if allowed == "none":
            labels = source.open_labels(name)
            sign = sign_of_loss(labels, _others(source, listing, name), absent)
            if sign:
                what = f"the labels {name}"
                raise _error(what, labels.stored, absent, sign, "labels")
    total = sum(absent.n for absent in known.values())
    return total if total or len(known) == len(found) else UNKNOWN


def _others(source: Field, listing: Listing, name: str) -> dict[str, LabelImage]:
    """Return the other labels in use, and the labels `name` at a coarser level."""
    names = [each for each in listing if each not in {IMAGE, name}]
    others = {each: source.open_labels(each) for each in names}
    with suppress(FieldError):  # most have one level, or the others do not fit
        others[f"{name} at a coarser level"] = source.open_labels(name, coarser=True)
    return others


def _error(
    what: str, stored: StoredImage, absent: Absent, why: str, allow: str
) -> AbsentError:
    return AbsentError(
        f"{absent.n} of the {absent.n_used} chunks of {what} are not stored, {why}: "
        f"copy or write {stored.source} again; or, if they are empty, run with "
        f"--allow-absent {allow}",
        absent.n,
    )


def describe_absent(n_absent: int) -> str:
    """Return a number of absent chunks in words; empty: there are none."""
    if n_absent == UNKNOWN:
        return "whether chunks are absent is not known: the store does not list files"
    return f"{n_absent} chunks are not stored, and count as black" if n_absent else ""


def name_absent(found: Mapping[str, Absent | None]) -> str:
    """Return what `find_absent` found in words; empty: nothing is known to lack."""
    what = {name: f"labels {name}" if name else "image" for name in found}
    return ", ".join(
        f"{absent.n} of {absent.n_used} chunks of {what[name]}"
        for name, absent in found.items()
        if absent is not None and absent.n
    )


def find_absent(
    source: Field, listing: Listing, channels: Collection[int]
) -> dict[str, Absent | None]:
    """Return the absent chunks of the image and of labels; None: they are not known.

    Parameters and errors are those of `check_chunks`; the keys are those of `listing`.
    """
    found: dict[str, Absent | None] = {}
    for name, files in listing.items():
        place, stored = source.image.source, source.image
        used: Mapping[str, Collection[int]] = {"c": channels}
        if name != IMAGE:
            place, used = join(source.group, "labels", name), {}
            stored = source.open_labels(name).stored
        below = stored.source.removeprefix(place).lstrip("/")
        prefix = below and f"{below}/"
        if stored.files is None:
            found[name] = Absent(np.zeros(0, bool), (), 0)
        elif files is None:
            found[name] = None
        else:
            own = {
                file.name.removeprefix(prefix): file
                for file in files
                if file.name.startswith(prefix)
            }
            found[name] = _absent(stored, stored.files, own, used, source.trust.within)
    return found


def _absent(
    stored: StoredImage,
    kind: ChunkFiles,
    files: _Files,
    used: Mapping[str, Collection[int]],
    within: str,
) -> Absent | None:
    sizes = zip(stored.shape, kind.chunk, strict=True)
    grid = tuple(math.ceil(n / size) for n, size in sizes)
    if math.prod(grid) > MAX_CHUNKS:
        raise FieldError(
            f"{stored.source} has {math.prod(grid)} chunks, more than {MAX_CHUNKS}. "
            "Store it in larger chunks."
        )
    wanted = [
        sorted({at // size for at in used[axis]}) if axis in used else list(range(n))
        for axis, n, size in zip(stored.axes, grid, kind.chunk, strict=True)
    ]
    ratio = [a // b for a, b in zip(kind.file, kind.chunk, strict=True)]
    mask, shards = np.zeros(grid, dtype=bool), {}
    pairs = zip(wanted, ratio, strict=True)
    for at in product(*(sorted({i // n for i in own}) for own, n in pairs)):
        name, places = kind.name(at), zip(at, ratio, strict=True)
        chunks = tuple(slice(i * n, (i + 1) * n) for i, n in places)
        if name in files:
            shards[name] = chunks
        else:
            mask[chunks] = True
    if kind.index_bytes != 0:
        if kind.index_bytes is None or not all(files[name].size for name in shards):
            return None
        with field_errors(f"reading the shards of {stored.source}"):
            names = list(shards)
            for name in [] if is_url(stored.source) else names:
                check_file(join(stored.source, name), within)
            parts = _read_indices(stored.source, kind.index_bytes, files, names)
        for name, part in zip(names, parts, strict=True):
            index = np.frombuffer(part, "<u8", 2 * math.prod(ratio))
            own = mask[shards[name]]
            lost = (index.reshape(*ratio, 2) == _ABSENT).all(axis=-1)
            own[...] = lost[tuple(map(slice, own.shape))]
    chosen = np.zeros(grid, dtype=bool)
    chosen[np.ix_(*wanted)] = True
    return Absent(mask & chosen, kind.chunk, int(np.count_nonzero(chosen)))


def _read_indices(
    place: str, size: int, files: _Files, names: list[str]
) -> list[bytes]:
    """Return the index of each shard: `size` bytes at its end, or below 0 its start."""
    lengths = [files[name].size for name in names]
    if min(lengths, default=abs(size)) < abs(size):
        raise OSError(f"{names[lengths.index(min(lengths))]} is too short for a shard")
    starts = [n - size if size > 0 else 0 for n in lengths]
    ends = [start + abs(size) for start in starts]
    if not is_url(place):
        spans = zip(names, starts, ends, strict=True)
        return [retry(partial(_read_span, place, *span)) for span in spans]
    fs, path = fsspec.core.url_to_fs(place)
    paths = ["/".join(filter(None, (path, name))) for name in names]
    parts: list[bytes] = retry(
        lambda: fs.cat_ranges(paths, starts, ends, on_error="raise")
    )
    return parts


def _read_span(place: str, name: str, start: int, end: int) -> bytes:
    with open(join(place, name), "rb") as file:
        file.seek(start)
        return file.read(end - start)
