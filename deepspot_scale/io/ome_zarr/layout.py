"""The layout of one stored image: axes, shape, chunks, shards, levels.

Plain values come in and are checked once; the layout and the metadata derived from it
go out. Nothing here opens files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import zarr
from numpy.typing import DTypeLike, NDArray

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.io.limits import MAX_AXIS
from deepspot_scale.io.ome_zarr.metadata import ImageListing, Level
from deepspot_scale.io.stored_image import check_axes


@dataclass(frozen=True)
class ImageLayout:
    """How one image is stored. Invalid values raise SettingsError."""

    axes: str
    """A subset of ``tczyx`` in this order, ending with ``yx``."""
    shape: tuple[int, ...]
    """Size along each of `axes`."""
    dtype: DTypeLike
    """Integers or floats."""
    channels: tuple[str, ...] = ()
    """One name per channel; empty: their numbers."""
    pixel_size_um: tuple[float, float] | None = None
    """(y, x) in micrometres; None: unknown."""
    chunk: int = 512
    """Pixels along y and x in one chunk; 1 along the other axes."""
    shard: int | None = None
    """Pixels along y and x in one shard, a multiple of `chunk`; needs version 0.5."""
    n_levels: int = 1
    """Number of resolutions, each with half as many pixels along y and x."""
    z_step_um: float | None = None
    """Distance of planes in micrometres; None: unknown."""
    begin_um: Mapping[str, float] = field(default_factory=dict)
    """Where the first pixel is along axes whose size is known, micrometres."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "channels", tuple(self.channels))
        problem = _layout_problem(self)
        if problem:
            raise SettingsError(f"an image cannot be stored like this: {problem}")

    @property
    def n_channels(self) -> int:
        """Number of channels; 1 without c axis."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    def level_shape(self, level: int) -> tuple[int, ...]:
        """Return the shape of a level: y and x halved `level` times, rounded up."""
        halved = (math.ceil(size / 2**level) for size in self.shape[-2:])
        return (*self.shape[:-2], *halved)


def _layout_problem(layout: ImageLayout) -> str | None:
    """Return the first problem of a layout; None: it is valid."""
    sizes = [*(layout.pixel_size_um or ()), layout.z_step_um or 1.0]
    try:
        check_axes(layout.axes)
    except FieldError as error:
        return str(error)
    if len(layout.shape) != len(layout.axes):
        return f"axes {layout.axes} have the shape {layout.shape}"
    named = len(layout.channels) in {0, layout.n_channels}
    shard, chunk = layout.shard, layout.chunk
    rules = {
        f"sizes must be 1 to {MAX_AXIS}, not {layout.shape}": (
            all(1 <= size <= MAX_AXIS for size in layout.shape)
        ),
        f"the dtype must be of integers or floats, not {layout.dtype}": (
            np.dtype(layout.dtype).kind in "uif"
        ),
        f"{layout.n_channels} channels have the names {layout.channels}": named,
        f"channel names repeat: {layout.channels}": (
            len(set(layout.channels)) == len(layout.channels)
        ),
        f"pixel sizes must be above 0, not {sizes}": (
            all(0 < size < math.inf for size in sizes)
        ),
        f"chunk must be 1 or more, not {chunk}": chunk >= 1,
        f"shard {shard} is no multiple of chunk {chunk}": (
            shard is None or (shard >= chunk >= 1 and shard % chunk == 0)
        ),
        f"{layout.n_levels} levels are too many or too few for {layout.shape}": (
            1 <= layout.n_levels <= max_levels(layout.shape)
        ),
    }
    return next((problem for problem, holds in rules.items() if not holds), None)


def listing_of(layout: ImageLayout) -> ImageListing:
    """Return the metadata of an image with this layout; lengths in micrometres."""
    spacing: dict[str, float] = {}
    if layout.pixel_size_um is not None:
        spacing |= dict(zip("yx", map(float, layout.pixel_size_um), strict=True))
    if layout.z_step_um is not None:
        spacing["z"] = float(layout.z_step_um)
    begin = None
    if layout.begin_um:
        begin = tuple(float(layout.begin_um.get(a, 0.0)) for a in layout.axes)
    levels = []
    for level in range(layout.n_levels):
        factor = {"y": 2.0**level, "x": 2.0**level}
        scale = (spacing.get(a, 1.0) * factor.get(a, 1.0) for a in layout.axes)
        levels.append(Level(str(level), tuple(scale), begin))
    return ImageListing(
        axes=layout.axes,
        units_um=tuple(1.0 if axis in spacing else None for axis in layout.axes),
        levels=tuple(levels),
        channels=layout.channels or tuple(map(str, range(layout.n_channels))),
    )


def label_layout(
    listing: ImageListing, image: zarr.Array[Any], labels: NDArray[Any], axes: str
) -> ImageLayout:
    """Return the layout of labels, with the chunks and shards of their image."""
    chunk = max(image.chunks[-2:])
    shard = max(image.shards[-2:]) if image.shards else None
    return ImageLayout(
        axes=axes,
        shape=labels.shape,
        dtype=labels.dtype,
        chunk=chunk,
        shard=shard if shard and shard % chunk == 0 else None,
        n_levels=min(len(listing.levels), max_levels(labels.shape)),
    )


def covers_evenly(labels: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Return whether labels (..., y, x) can cover an image at one resolution.

    Odd sizes that were halved may be one coarse pixel longer or shorter.
    """
    coarser = image[-1] / labels[-1]
    return abs(image[-2] - coarser * labels[-2]) <= max(1.0, coarser)


def label_listing(
    listing: ImageListing, image: zarr.Array[Any], layout: ImageLayout
) -> ImageListing:
    """Return the metadata of labels, scaled and placed so that they cover the image."""
    scale = dict(zip(listing.axes, listing.levels[0].scale or (), strict=False))
    units = dict(zip(listing.axes, listing.units_um, strict=True))
    n_image = dict(zip(listing.axes, image.shape, strict=True))
    for axis, n_labels in zip(layout.axes, layout.shape, strict=True):
        # Labels of one plane hold for all of them, wherever they are said to be.
        if axis in "yx" or (axis == "z" and min(n_labels, n_image.get("z", 1)) > 1):
            scale[axis] = scale.get(axis, 1.0) * n_image[axis] / n_labels
    begin = listing.levels[0].translation
    at = None if begin is None else dict(zip(listing.axes, begin, strict=True))
    return listing_of(layout).with_scale(scale, units, at)


def max_levels(shape: tuple[int, ...]) -> int:
    """Return the number of levels until y and x are one pixel."""
    return max(shape[-2:], default=1).bit_length()
