"""One movie in several files, as cameras write it when a file reaches its largest size.

File names, or open images, come in; the names that belong together, or one image with
all frames, go out. Only the names of programs that are known to cut movies count:
Micro-Manager (``_MMStack_Pos0.ome.tif``, ``_MMStack_Pos0_1.ome.tif``, ...), NDTiff
(``_NDTiffStack.tif``, ``_NDTiffStack_1.tif``) and Andor's (``a.tif``, ``a_X2.tif``).
Nothing here reads pixels by itself, or knows plates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.stored_image import StoredImage

_SUFFIX: Final = re.compile(r"(\.ome)?\.tiff?$", re.IGNORECASE)
_NUMBERED: Final = (
    (re.compile(r"^(.*_(?:MMStack|NDTiffStack).*?)_([1-9]\d*)$"), 1),
    (re.compile(r"^(.+)_X([1-9]\d*)$"), 2),
)
"""Names of all files but the first, and the number of the second."""


def group_files(paths: Iterable[str]) -> tuple[tuple[str, ...], ...]:
    """Return the paths of each movie, its parts in order; movies in order of paths.

    Numbers must follow each other and the first file must be there: what does not fit
    is a movie of its own.

    Examples
    --------
    >>> group_files(["a.tif", "b_X2.tif", "b.tif", "c_MMStack_1.tif"])
    (('a.tif',), ('b.tif', 'b_X2.tif'), ('c_MMStack_1.tif',))
    """
    listed = sorted(paths)
    there, later = set(listed), set[str]()
    groups: dict[str, tuple[str, ...]] = {}
    for path in listed:
        parts = _parts(path, there)
        later |= set(parts[1:])
        groups[path] = parts
    return tuple(parts for path, parts in groups.items() if path not in later)


def _parts(path: str, there: set[str]) -> tuple[str, ...]:
    suffix = _SUFFIX.search(path)
    if suffix is None:
        return (path,)
    start, end = path[: suffix.start()], suffix.group()
    for pattern, first in _NUMBERED:
        parts, number = [path], first
        name = f"{start}_X{number}" if first == 2 else f"{start}_{number}"
        while name + end in there and pattern.match(Path(name).name):
            parts.append(name + end)
            number += 1
            name = f"{start}_X{number}" if first == 2 else f"{start}_{number}"
        if len(parts) > 1:
            return tuple(parts)
    return (path,)


def join_frames(images: Sequence[StoredImage]) -> StoredImage:
    """Return the frames of several images, in their order, as those of one image.

    Frames are along t; along z if no image has t and the images have z.

    Raises
    ------
    FieldError
        Frames, channels or types of the images differ.
    """
    first = images[0]
    axes = [image.axes for image in images]
    along = "t" if any("t" in own for own in axes) or "z" not in "".join(axes) else "z"
    rest = [_without(image, along) for image in images]
    kinds = {(*own, image.dtype) for own, image in zip(rest, images, strict=True)}
    if len(kinds) > 1:
        found = "; ".join(f"{i.source}: {i.axes} {i.shape} {i.dtype}" for i in images)
        raise FieldError(
            f"expected files of one movie to have frames of one kind, found {found}. "
            "Put files of other movies into another folder."
        )
    others, sizes = rest[0]
    place = 0 if along == "t" else others.index("y")
    n_frames = [image.size(along) for image in images]
    joined = _Joined(tuple(images), along, tuple(np.cumsum([0, *n_frames]).tolist()))
    pieces = _without(replace(first, shape=first.chunks), along)[1]
    return replace(
        first,
        axes=others[:place] + along + others[place:],
        shape=(*sizes[:place], sum(n_frames), *sizes[place:]),
        chunks=(*pieces[:place], 1, *pieces[place:]),
        reader=joined,
    )


def _without(image: StoredImage, axis: str) -> tuple[str, tuple[int, ...]]:
    """Return axes and shape without one of the axes."""
    kept = [(a, n) for a, n in zip(image.axes, image.shape, strict=True) if a != axis]
    return "".join(a for a, _ in kept), tuple(n for _, n in kept)


@dataclass(frozen=True)
class _Joined:
    """Reads slices of frames that lie in several images."""

    images: tuple[StoredImage, ...]
    along: str
    begins: tuple[int, ...]
    """First frame of each image, and the number of all."""

    def __call__(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        others, _ = _without(self.images[0], self.along)
        place = 0 if self.along == "t" else others.index("y")
        frames = range(self.begins[-1])[selection[place]]
        rest = (*selection[:place], *selection[place + 1 :])
        owner = np.searchsorted(self.begins, list(frames), side="right") - 1
        parts = []
        cuts = np.flatnonzero(np.diff(owner)) + 1
        for own in np.split(np.arange(len(frames)), cuts):
            if len(own):
                image = self.images[owner[own[0]]]
                begin = self.begins[owner[own[0]]]
                inside = [frames[int(k)] - begin for k in own]
                parts.append(self._read(image, inside, rest, place))
        if not parts:
            parts = [self._read(self.images[0], [], rest, place)]
        return np.concatenate(parts, axis=place)

    def _read(
        self,
        image: StoredImage,
        frames: list[int],
        rest: tuple[slice, ...],
        place: int,
    ) -> NDArray[Any]:
        if self.along not in image.axes:
            block = np.expand_dims(image[rest], place)
            return block if frames else block.take([], axis=place)
        start = frames[0] if frames else 0
        step = frames[1] - frames[0] if len(frames) > 1 else 1
        stop: int | None = frames[-1] + (1 if step > 0 else -1) if frames else start
        stop = None if stop is not None and stop < 0 else stop
        return image[(*rest[:place], slice(start, stop, step), *rest[place:])]
