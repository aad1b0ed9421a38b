"""One open field: planes, projections and windows of its image, and its labels.

A FieldEntry, small enough to be part of a task, comes in; NumPy arrays and lazy xarray
datasets go out. Only metadata are kept; pixels are read on request. Nothing here knows
the other fields of a plate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, Literal

import dask.array as da
import numpy as np
import xarray as xr
import zarr
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, did_you_mean
from deepspot_scale.io.image_files.tiff_png import is_image_file, open_file
from deepspot_scale.io.labels import LabelImage, open_labels
from deepspot_scale.io.movie_frames import Segment, open_segment
from deepspot_scale.io.ome_zarr import zarr_images
from deepspot_scale.io.ome_zarr.metadata import ImageListing, parse_image, read_about
from deepspot_scale.io.stored_image import Projection, StoredImage, Window
from deepspot_scale.io.stores import is_url, join
from deepspot_scale.io.trust import NO_TRUST, Trust
from deepspot_scale.vocabulary import FieldAddress

MAX_CHUNKS = 10**7
"""Most chunks of an image for which a Dask graph is built."""


@dataclass(frozen=True)
class FieldEntry:
    """Where the image of one field is; small and picklable, to be part of a task."""

    address: FieldAddress
    source: str
    """Path or URL of the group, array or file with the image."""
    acquisition: int = 0
    """Number of the acquisition; 0 if not stated."""
    trust: frozenset[str] = frozenset()
    """What the user trusts of its files, see `trust.TrustWord`."""
    segment: Segment | None = None
    """Which frames, if the field is a part of a movie."""


@dataclass(frozen=True)
class Field:
    """An open image. Its methods read pixels; only metadata are cached."""

    address: FieldAddress
    image: StoredImage
    channels: tuple[str, ...]
    """One name per channel, or its number if it has none; without c axis one name."""
    label_names: tuple[str, ...] = ()
    """Names of the label images listed in the image's metadata."""
    listing: ImageListing | None = None
    """OME metadata; None: there are none."""
    group: str = ""
    """Path or URL of the OME-Zarr group; empty: there is none."""
    trust: Trust = NO_TRUST
    """How far its files are trusted."""
    acquisition: int = 0
    """As in `FieldEntry`."""
    first_frame: int = 0
    """Of a segment of a movie: its first frame in the movie."""
    further: tuple[str, ...] = ()
    """Paths of the files that continue a movie's first one."""
    made: Mapping[str, LabelImage] = dataclass_field(default_factory=dict)
    """Labels by name that stand elsewhere than with the image, see `with_labels`."""
    _labels: dict[tuple[str, bool], LabelImage] = dataclass_field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Labels that were opened; as with the image, only metadata are kept."""

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what another process opens itself."""
        return {**self.__dict__, "_labels": {}}

    @property
    def axes(self) -> str:
        """Axes of the image, such as ``czyx``."""
        return self.image.axes

    @property
    def shape(self) -> tuple[int, ...]:
        """Size along each of `axes`."""
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the pixels, in native byte order."""
        return self.image.dtype

    @property
    def chunks(self) -> tuple[int, ...]:
        """Size of one stored piece: a shard where there are shards, else a chunk."""
        return self.image.chunks

    @property
    def n_t(self) -> int:
        """Time points; 1 without a t axis."""
        return self.image.size("t")

    @property
    def n_z(self) -> int:
        """Planes; 1 without a z axis."""
        return self.image.size("z")

    @property
    def shape_yx(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.size("y"), self.image.size("x")

    @property
    def pixel_size_um(self) -> tuple[float, float] | None:
        """(y, x) in micrometres; None if the metadata have no size with a unit."""
        return self.image.pixel_size_um

    def with_labels(self, made: Mapping[str, LabelImage]) -> Field:
        """Return the field with further labels by name, on the image's grid.

        They hide stored ones of the same name.
        """
        names = dict.fromkeys((*self.label_names, *made))
        return replace(self, made={**self.made, **made}, label_names=tuple(names))

    def channel_index(self, name: str) -> int:
        """Return the number of a channel from its name, or from the number as text.

        Raises
        ------
        FieldError
            There is no such channel, or several have this name.
        """
        if self.channels.count(name) == 1:
            return self.channels.index(name)
        if name in self.channels:
            raise FieldError(
                f"field {self.address.path} has {self.channels.count(name)} channels "
                f"named {name!r}. Give the channel's number, counted from 0, instead."
            )
        if name.isdecimal() and int(name) < len(self.channels):
            return int(name)
        near = did_you_mean(name, self.channels) or (
            " Give one of these names, or a number from 0."
        )
        raise FieldError(
            f"field {self.address.path} has no channel {name!r}; it has "
            f"{', '.join(self.channels)}.{near}"
        )

    def read(
        self,
        *,
        t: int = 0,
        channel: int = 0,
        z: int | Projection = 0,
        window: Window | None = None,
    ) -> NDArray[Any]:
        """Read one plane, a projection of all planes, or a window of either.

        Parameters
        ----------
        t, channel
            Positions from 0; 0 if the image has no such axis.
        z
            Plane from 0, or ``"max"`` or ``"mean"`` over all planes.
        window
            Slices (y, x) in pixels without steps; None: the whole field.

        Returns
        -------
        ndarray
            (y, x), of the image's dtype; float32 for the mean.

        Raises
        ------
        FieldError
            A position is out of range, or the stored data are damaged.
        """
        self._check_position("t", t)
        self._check_position("c", channel)
        if z not in {"max", "mean"}:
            self._check_position("z", z)
        index = {"t": t, "c": channel}
        return self.image.plane(index, z, self._check_window(window))

    def read_labels(
        self,
        name: str,
        *,
        t: int = 0,
        z: int | Literal["max"] = "max",
        window: Window | None = None,
    ) -> NDArray[Any]:
        """Read labels on the image's grid, each from the nearest stored label pixel.

        Parameters
        ----------
        name
            One of `label_names`.
        t
            Time point from 0; labels without t hold for all of them.
        z
            Plane of the image from 0, of which the labels have the plane that holds its
            centre (one plane holds for all), or ``"max"``, the largest label over all
            planes.
        window
            Slices (y, x) in pixels of the image without steps; None: the whole field.

        Returns
        -------
        ndarray
            (y, x), integers, 0 for background.

        Raises
        ------
        FieldError
            There are no such labels, they are damaged, they are not integers, or they
            do not cover the image.
        """
        self._check_position("t", t)
        if z != "max":
            self._check_position("z", z)
        return self.open_labels(name).read(t, self._check_window(window), z)

    def open_labels(self, name: str, *, coarser: bool = False) -> LabelImage:
        """Open labels without reading them; raises FieldError as `read_labels` does.

        `coarser` means the next level after the one in use; FieldError if there is
        none.
        """
        if name in self.made and not coarser:
            return self.made[name]
        if name not in self.label_names or self.listing is None or name in self.made:
            raise FieldError(
                f"field {self.address.path} has no labels {name!r}; it has "
                f"{', '.join(self.label_names) or 'none'}."
            )
        key = (name, coarser)
        if key not in self._labels:
            group, of = join(self.group, "labels", name), (self.image, self.listing)
            self._labels[key] = open_labels(
                group, name, of, self.trust, coarser=coarser
            )
        return self._labels[key]

    def about_labels(self, name: str) -> dict[str, Any]:
        """Return what this package said of stored labels; empty: nothing.

        Raises FieldError if their group cannot be opened.
        """
        group = join(self.group, "labels", name)
        return read_about(zarr_images.open_image_node(group, trust=self.trust))

    def to_datasets(self) -> dict[str, xr.Dataset]:
        """Return the image under ``/`` and each label image under its path, lazily."""
        datasets = {"/": self._image_dataset()}
        for name in self.label_names:
            labels = _lazy_labels(self.open_labels(name), self.image)
            datasets[f"labels/{name}"] = xr.Dataset({"labels": labels})
        return datasets

    def _image_dataset(self) -> xr.Dataset:
        attrs: dict[str, Any] = {"address": self.address.path}
        if self.acquisition:
            attrs["acquisition"] = self.acquisition
        if self.pixel_size_um is not None:
            attrs["pixel_size_um"] = self.pixel_size_um
        coords: dict[str, Any] = {}
        for axis, size in zip(self.axes, self.shape, strict=True):
            step = self.image.spacing_um.get(axis)
            coords[axis] = (axis, np.arange(size))
            if step is not None:
                places = np.arange(size) * step + self.image.begin_um.get(axis, 0.0)
                coords[axis] = (axis, places, {"units": "micrometer"})
        if "c" in coords:
            coords["c"] = list(self.channels)
        image = (tuple(self.axes), _lazy(self.image), attrs)
        return xr.Dataset({"image": image}, coords=coords, attrs=attrs)

    def _check_position(self, axis: str, position: object) -> None:
        n = self.image.size(axis)
        if not isinstance(position, int | np.integer) or not 0 <= position < n:
            raise FieldError(
                f"field {self.address.path} has {n} positions along {axis}, counted "
                f"from 0; {position!r} is not one of them."
            )

    def _check_window(self, window: Window | None) -> Window:
        bounds = []
        for part, size in zip(window or (slice(None),) * 2, self.shape_yx, strict=True):
            start, stop, step = part.indices(size)
            if step != 1:
                raise FieldError(f"a window's slices have no steps, but {part} has")
            bounds.append(slice(start, max(start, stop)))
        return bounds[0], bounds[1]


def _lazy(image: StoredImage) -> da.Array:
    """Return a Dask array with one chunk per stored piece."""
    pieces = zip(image.shape, image.chunks, strict=True)
    n_chunks = math.prod(math.ceil(size / chunk) for size, chunk in pieces)
    if n_chunks > MAX_CHUNKS:
        raise FieldError(
            f"{image.source} has {n_chunks} chunks, more than {MAX_CHUNKS}. Store it "
            "in larger chunks."
        )
    meta = np.empty((0,) * image.ndim, image.dtype)
    lazy: da.Array = da.from_array(
        image, chunks=image.chunks, name=False, fancy=False, meta=meta
    )
    return lazy


def _lazy_labels(labels: LabelImage, image: StoredImage) -> xr.DataArray:
    """Return labels on the image's grid; axes t and z of size 1 are dropped."""
    stored, planes = labels.stored, labels.planes
    data = _lazy(stored)
    kept = [axis for axis in stored.axes if axis in "yx" or stored.size(axis) > 1]
    fixed = [axis for axis in kept if axis not in ("yx" if planes is None else "zyx")]
    if labels.misfit or not all(stored.size(a) == image.size(a) for a in fixed):
        raise FieldError(
            labels.misfit
            or f"labels at {stored.source} have the shape {stored.shape} along "
            f"{stored.axes}, but the image has {image.shape} along {image.axes}. Write "
            "labels with the image's t and z, or without them."
        )
    data = data[tuple(slice(None) if axis in kept else 0 for axis in stored.axes)]
    if planes is not None and not np.array_equal(planes, np.arange(labels.n_z)):
        data = data[..., planes.clip(0), :, :]
        if planes.min() < 0:
            data = data * (planes >= 0)[:, None, None]
    if not labels.is_aligned:
        rows, columns = labels.rows, labels.columns
        data = data[..., rows.clip(0), :][..., columns.clip(0)]
        if min(rows.min(), columns.min()) < 0:
            data = data * ((rows >= 0)[:, None] & (columns >= 0))
    return xr.DataArray(data, dims=kept)


def open_field(entry: FieldEntry) -> Field:
    """Open the image of one field: metadata only, no pixels.

    Raises FieldError if image or metadata are missing, damaged or invalid.
    """
    if entry.segment is None:
        return _open_image(entry)
    opened = _open_image(replace(entry, segment=None))
    further = [open_file(path) for path in entry.segment.files]
    image = open_segment(opened.image, further, entry.segment)
    return replace(
        opened,
        image=image,
        first_frame=entry.segment.start,
        further=entry.segment.files,
        label_names=(),
    )


def _open_image(entry: FieldEntry) -> Field:
    source = entry.source
    if not is_url(source) and is_image_file(source):
        return _field(entry, open_file(source))
    trust = Trust(entry.trust, _root(source, entry.address))
    node = zarr_images.open_image_node(source, trust=trust)
    if isinstance(node, zarr.Array):
        return _field(entry, zarr_images.open_plain_array(node, source, trust))
    listing, zarr_format = parse_image(node, source), node.metadata.zarr_format
    names = zarr_images.read_label_names(source, zarr_format, trust)
    image = zarr_images.open_level(
        source, listing, zarr_format=zarr_format, trust=trust
    )
    field = _field(entry, image)
    return replace(field, label_names=names, listing=listing, group=source, trust=trust)


def _root(source: str, address: FieldAddress) -> str:
    """Return the folder that must contain the files: the plate, or the image."""
    if is_url(source):
        return ""
    return source.removesuffix(f"/{address.path}") if address.row else source


def _field(entry: FieldEntry, image: StoredImage) -> Field:
    numbers = [str(number) for number in range(image.size("c"))]
    names = (*image.channels, *[""] * len(numbers))
    if "c" not in image.axes and len(image.channels) != 1:
        names = ("",)
    channels = (name or n for name, n in zip(names, numbers, strict=False))
    names = tuple(channels)
    return Field(entry.address, image, names, acquisition=entry.acquisition)
