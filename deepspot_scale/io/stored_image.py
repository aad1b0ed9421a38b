"""One stored image as an array: axes, sizes, and reads whose errors name the image.

A function that reads slices comes in, for any kind of file; planes and windows go out
as NumPy arrays in native byte order. Pixels are read only on request. Nothing here
knows plates, labels or metadata.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.limits import MAX_AXIS, MAX_PIXELS, MAX_PLANE
from deepspot_scale.io.stores import field_errors
from deepspot_scale.vocabulary import AXES

Projection = Literal["max", "mean"]
Window = tuple[slice, slice]
Reader = Callable[[tuple[slice, ...]], Any]
IMAGE: Final = ""
"""Name of the image in a listing, where labels have names of their own."""


def check_axes(axes: str) -> None:
    """Raise FieldError unless these are OME axes in OME's order that end with yx."""
    in_order = "".join(axis for axis in AXES if axis in axes)
    if axes != in_order or not axes.endswith("yx"):
        raise FieldError(
            f"expected a subset of the axes {AXES} in this order, ending with yx, but "
            f"found {axes!r}. Convert the image first."
        )


def colour_error(source: object) -> FieldError:
    """Return the error of an image whose pixels are colours."""
    return FieldError(
        f"{source} is a colour image (RGB, palette or alpha); expected one grey value "
        f"per pixel and channel. Export the channels as separate grey images: colours "
        f"for display do not keep the measured values."
    )


class StoredFile(NamedTuple):
    """One file of an image or of labels."""

    name: str
    """Path below the image, or below the group of the labels."""
    size: int
    """Bytes; 0 where the store does not say."""
    stamp: str
    """Time or etag; empty where the store does not say."""


Listing = Mapping[str, list[StoredFile] | None]
"""Files of `IMAGE` and of each label image in use; None: the store does not list."""


class ChunkFiles(NamedTuple):
    """How an image is cut into files; a file that is absent reads as the fill value."""

    name: Callable[[tuple[int, ...]], str]
    """Given the position of a file among the others, its path below the image."""
    file: tuple[int, ...]
    """Pixels of a file along each axis: a shard if there are shards, else a chunk."""
    chunk: tuple[int, ...]
    """Pixels of a chunk; a shard holds several and an index of them."""
    index_bytes: int | None = 0
    """Size of a shard's index, at the end, or below 0 at the start; 0: no shards; None:
    an index that cannot be read here."""


@dataclass(frozen=True)
class StoredImage:
    """An image that can be read piece by piece; invalid values raise FieldError."""

    source: str
    """Path or URL, for messages."""
    axes: str
    """A subset of ``tczyx`` in this order."""
    shape: tuple[int, ...]
    """Size along each axis."""
    dtype: np.dtype[Any]
    """Integers or floats, in native byte order."""
    chunks: tuple[int, ...]
    """Size of one stored piece: a shard where there are shards, else a chunk."""
    reader: Reader
    """Given one slice per axis, reads those pixels as an array. Picklable."""
    channels: tuple[str, ...] = ()
    """Stored names, empty for an unnamed one; may be fewer than the channels."""
    spacing_um: Mapping[str, float] = field(default_factory=dict)
    """Pixel size in micrometres by axis, for those of z, y, x where it is known."""
    begin_um: Mapping[str, float] = field(default_factory=dict)
    """Where the first pixel's centre is, likewise; 0 where it is not stated."""
    files: ChunkFiles | None = None
    """How it is cut into files; None: it is one file, or part of one."""

    def __post_init__(self) -> None:
        """Check the values before anything is read."""
        check_axes(self.axes)
        if len(self.shape) != len(self.axes):
            raise FieldError(
                f"{self.source}: expected an array with the axes {self.axes}, found "
                f"the shape {self.shape}. Correct the image's metadata."
            )
        if not all(1 <= size <= MAX_AXIS for size in self.shape):
            raise FieldError(
                f"{self.source}: expected 1 to {MAX_AXIS} pixels along each axis, "
                f"found the shape {self.shape}. The metadata are damaged."
            )
        # Planning the blocks of such a plane would take all memory.
        n_plane, n_all = math.prod(self.shape[-2:]), math.prod(self.shape)
        if n_plane > MAX_PLANE or n_all > MAX_PIXELS:
            raise FieldError(
                f"{self.source} says that it has the shape {self.shape}, "
                f"{n_all:.3g} pixels; no microscope gives that. It is damaged."
            )
        if self.dtype.kind not in "uif":
            raise FieldError(
                f"{self.source}: expected integers or floats, found {self.dtype}. "
                "Convert the image first."
            )
        object.__setattr__(self, "dtype", self.dtype.newbyteorder("="))
        chunks = zip(self.chunks, self.shape, strict=True)
        object.__setattr__(
            self, "chunks", tuple(max(1, min(chunk, size)) for chunk, size in chunks)
        )

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """(y, x) in micrometres; None: unknown."""
        sizes = self.spacing_um
        return (sizes["y"], sizes["x"]) if {"y", "x"} <= set(sizes) else None

    @property
    def origin_um(self) -> tuple[float, float]:
        """(y, x) of the first pixel's centre; (0, 0) without pixel size."""
        if self.pixel_size_um is None:
            return 0.0, 0.0
        return self.begin_um.get("y", 0.0), self.begin_um.get("x", 0.0)

    def size(self, axis: str) -> int:
        """Return the size along an axis; 1 if the image does not have it."""
        return self.shape[self.axes.index(axis)] if axis in self.axes else 1

    def __getitem__(self, selection: tuple[slice | int, ...]) -> NDArray[Any]:
        """Read the selection of one slice or index per axis, with NumPy's meaning."""
        slices = tuple(
            part if isinstance(part, slice) else slice(int(part), int(part) + 1)
            for part in selection
        )
        with field_errors(f"reading {self.source}"):
            data = np.asarray(self.reader(slices))
            expected = tuple(
                len(range(*part.indices(size)))
                for part, size in zip(slices, self.shape, strict=True)
            )
            if data.shape != expected:
                raise ValueError(f"got {data.shape} pixels instead of {expected}")
        kept = tuple(0 if not isinstance(s, slice) else slice(None) for s in selection)
        return data[kept].astype(self.dtype, copy=False)

    def plane(
        self, index: Mapping[str, int], z: int | Projection, window: Window
    ) -> NDArray[Any]:
        """Read one (y, x) window at `index` of t and c, in plane z or projected over z.

        It has the image's dtype, or float32 for the mean.
        """
        if not isinstance(z, str):
            return self._planes({**index, "z": z}, window)
        if "z" not in self.axes:
            plane = self._planes(index, window)
            return plane.astype(np.float32) if z == "mean" else plane
        depth, step = self.size("z"), self.chunks[self.axes.index("z")]
        total: NDArray[Any] | None = None
        for start in range(0, depth, step):
            planes = self._planes({**index, "z": slice(start, start + step)}, window)
            if z == "max":
                top = planes.max(axis=0)
                total = top if total is None else np.maximum(total, top)
            else:
                part = planes.sum(axis=0, dtype=np.float64)
                total = part if total is None else total + part
        if total is None or z == "max":
            return np.asarray(total)
        return np.asarray(total / depth, np.float32)

    def _planes(self, index: Mapping[str, int | slice], window: Window) -> NDArray[Any]:
        leading = tuple(index.get(axis, 0) for axis in self.axes[:-2])
        return self[(*leading, *window)]
