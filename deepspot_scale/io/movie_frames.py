"""Frames of a movie: along which axis they are, and some of them as an image.

Stored images come in, and go out with their frames along t. Nothing here knows plates
or what is in the frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.image_files.movie_files import join_frames
from deepspot_scale.io.stored_image import StoredImage


class Segment(NamedTuple):
    """A run of frames of a movie, which is done and kept as a field is."""

    movie: str
    """Name of the movie as a field."""
    start: int
    stop: int
    """First frame, and the one after the last."""
    n_frames: int
    """Of the whole movie."""
    files: tuple[str, ...] = ()
    """Paths of the files that continue the first one."""


def as_movie(image: StoredImage) -> StoredImage:
    """Return an image whose frames are along t.

    Stacks without t are movies too: many programs save frames as planes.

    Raises
    ------
    FieldError
        It has time points and planes.
    """
    if image.size("t") > 1 and image.size("z") > 1:
        raise FieldError(
            f"{image.source} has {image.size('t')} time points of {image.size('z')} "
            "planes; frames of a movie are along one axis. Give each plane as a movie "
            "of its own"
        )
    if image.size("z") == 1:
        return image
    place = image.axes.index("z")
    if "t" not in image.axes:
        kept, channels = image.axes[:place], image.axes[place + 1 :]
        if "c" not in kept:
            return replace(image, axes=f"{kept}t{channels}", **_no_depth(image))
    return _reordered(image, place)


def _no_depth(image: StoredImage) -> dict[str, Any]:
    spacing = {a: v for a, v in image.spacing_um.items() if a != "z"}
    return {
        "spacing_um": spacing,
        "begin_um": {a: v for a, v in image.begin_um.items() if a != "z"},
    }


def _reordered(image: StoredImage, place: int) -> StoredImage:
    """Return (t of 1, c, z, y, x) as (t, c, y, x): z is the new t, put first."""
    others = [i for i, axis in enumerate(image.axes) if axis not in "tz"]
    order = [place, *others]
    axes = "t" + "".join(image.axes[i] for i in others)
    return replace(
        image,
        axes=axes,
        shape=tuple(image.shape[i] for i in order),
        chunks=tuple(image.chunks[i] for i in order),
        reader=_Reordered(image.reader, tuple(order), image.ndim),
        files=None,
        **_no_depth(image),
    )


@dataclass(frozen=True)
class _Reordered:
    reader: Callable[[tuple[slice, ...]], Any]
    order: tuple[int, ...]
    """Which stored axis each axis is."""
    ndim: int

    def __call__(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        stored = [slice(0, 1)] * self.ndim
        for axis, part in zip(self.order, selection, strict=True):
            stored[axis] = part
        values = self.reader(tuple(stored))
        lone = [i for i in range(self.ndim) if i not in self.order]
        values = values.transpose(*lone, *self.order)
        return values[(0,) * len(lone)]  # type: ignore[no-any-return]


def cut_frames(image: StoredImage, start: int, stop: int) -> StoredImage:
    """Return some frames of a movie; `start` lies at the beginning of a stored file."""
    if "t" not in image.axes:
        return image
    at = image.axes.index("t")
    shape = (*image.shape[:at], stop - start, *image.shape[at + 1 :])
    files = image.files
    if files is not None:
        first = start // files.file[at]
        files = files._replace(name=_ShiftedName(files.name, at, first))
    reader = _Shifted(image.reader, at, start, stop)
    return replace(image, shape=shape, reader=reader, files=files)


@dataclass(frozen=True)
class _ShiftedName:
    name: Callable[[tuple[int, ...]], str]
    axis: int
    by: int

    def __call__(self, at: tuple[int, ...]) -> str:
        moved = (*at[: self.axis], at[self.axis] + self.by, *at[self.axis + 1 :])
        return self.name(moved)


@dataclass(frozen=True)
class _Shifted:
    reader: Callable[[tuple[slice, ...]], Any]
    axis: int
    start: int
    stop: int

    def __call__(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        part = selection[self.axis]
        inside = range(self.start, self.stop)[part]
        ahead = slice(inside.start, inside.stop, inside.step)
        selection = (*selection[: self.axis], ahead, *selection[self.axis + 1 :])
        return self.reader(selection)  # type: ignore[no-any-return]


def open_segment(
    image: StoredImage, further: list[StoredImage], segment: Segment
) -> StoredImage:
    """Return the frames of a segment, given the images of all files of its movie.

    Raises
    ------
    FieldError
        The movie is shorter than it was, or its files do not go together.
    """
    whole = as_movie(join_frames([image, *further]) if further else image)
    if whole.size("t") != segment.n_frames:
        raise FieldError(
            f"{image.source} has {whole.size('t')} frames, and had {segment.n_frames} "
            "when the run was prepared"
        )
    return cut_frames(whole, segment.start, segment.stop)
