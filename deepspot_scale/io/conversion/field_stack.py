"""The files of one field as one image (t, c, z, y, x) and its labels.

The plan of a field comes in; planes and labels go out, read on request, one plane at a
time. The headers of the files are checked for equal shape, dtype and pixel size.
Nothing here knows how a plate is stored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.conversion.field_files import FieldFiles, ImageFile
from deepspot_scale.io.conversion.plan import Conversion
from deepspot_scale.io.image_files.planes import OpenImage, Plane, open_image
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.stored_image import StoredImage
from deepspot_scale.vocabulary import AXES

# Relative tolerance: tags store pixel sizes as rounded fractions.
_SAME_SIZE = 1e-3
_HARMONY_CHANNEL = re.compile(r"ch\d+")
_WORDS = {"t": "time points", "c": "channels", "z": "planes"}


@dataclass(frozen=True)
class FieldStack:
    """One field's files; `read_stack` creates one and checks that they fit."""

    field: FieldFiles
    conversion: Conversion
    headers: dict[tuple[str, int, int], StoredImage]
    """By channel, time point and plane as in the names; all have the same shape."""
    sizes: dict[str, int]
    """Sizes along t, c and z, before projection."""

    @property
    def shape_yx(self) -> tuple[int, ...]:
        """(y, x) in pixels."""
        return self._header.shape[-2:]

    @property
    def axes(self) -> str:
        """Axes of the stored image: always c; t and z if there are several."""
        projected = self.conversion.project != "none"
        several_t, several_z = self.sizes["t"] > 1, self.sizes["z"] > 1
        return ("t" * several_t) + "c" + "z" * (several_z and not projected) + "yx"

    @property
    def layout(self) -> ImageLayout:
        """Layout of the stored image."""
        conversion = self.conversion
        size = conversion.pixel_size_um
        sizes = (header.pixel_size_um for header in self.headers.values())
        return ImageLayout(
            axes=self.axes,
            shape=(*(self.sizes[axis] for axis in self.axes[:-2]), *self.shape_yx),
            dtype=np.float32 if conversion.project == "mean" else self._header.dtype,
            channels=self._channels(),
            pixel_size_um=(size, size) if size else next(filter(None, sizes), None),
            chunk=conversion.chunk,
            shard=conversion.shard,
            z_step_um=self._header.spacing_um.get("z") if "z" in self.axes else None,
        )

    def planes(self) -> Iterator[tuple[dict[str, int], Plane]]:
        """Yield every plane to store, and its index along the axes before y, x.

        Raises FieldError if a file is damaged.
        """
        planes = self._iter_planes()
        if self.conversion.project == "none":
            for index, plane in planes:
                yield {axis: index[axis] for axis in self.axes[:-2]}, plane
            return
        for (t, c), group in groupby(planes, lambda item: (item[0]["t"], item[0]["c"])):
            index = {"t": t, "c": c}
            plane = _project((plane for _, plane in group), self.conversion.project)
            yield {axis: index[axis] for axis in self.axes[:-2]}, plane

    def read_labels(self, label: str) -> tuple[NDArray[Any], str]:
        """Read one label image from all its files: integers on the image's grid.

        Its axes come second: ``yx``, and t or z if there are several masks along it.
        Raises FieldError if a mask is damaged, is not an image of labels, or does not
        fit the image.
        """
        masks = [mask for mask in self.field.masks if mask.label == label]
        masks.sort(key=lambda mask: (mask.t or 0, mask.z or 0))
        named = "".join(a for a in "tz" if getattr(masks[0], a) is not None)
        folder = self.conversion.masks or Path()
        stored, arrays = "", []
        for mask in masks:
            with open_image(folder / mask.path, pages=self.conversion.pages) as image:
                self._check_mask(image.header, named)
                stored = image.header.axes
                arrays.append(image.read_block())
            _check_labels(folder / mask.path, arrays[-1], arrays[0])
        sizes = [self.sizes[axis] for axis in named]
        labels = np.stack(arrays).reshape(*sizes, *arrays[0].shape)
        axes = "".join(axis for axis in AXES if axis in named + stored)
        return labels.transpose([(named + stored).index(axis) for axis in axes]), axes

    @property
    def _header(self) -> StoredImage:
        return next(iter(self.headers.values()))

    def _channels(self) -> tuple[str, ...]:
        """Return channel names from the file names, else the files, else numbers."""
        named = self.field.channels
        if len(named) == self.sizes["c"] and any(named):
            known = {place[0]: h.channels for place, h in self.headers.items()}
            # Harmony's names have a number, and its index the name.
            if all(map(_HARMONY_CHANNEL.fullmatch, named)):
                texts = [known[name][0] if known[name] else "" for name in named]
                if all(texts) and len(set(texts)) == len(texts):
                    return tuple(texts)
            return tuple(name or "0" for name in named)
        numbers, stored = map(str, range(self.sizes["c"])), self._header.channels
        n_names = len(set(stored) - {""})
        return stored if n_names == self.sizes["c"] == len(stored) else tuple(numbers)

    def _iter_planes(self) -> Iterator[tuple[dict[str, int], Plane]]:
        """Yield all planes, z fastest; only one file is open at a time."""
        opened: OpenImage | None = None
        with ExitStack() as files:
            for t, c, z in product(*(range(self.sizes[axis]) for axis in "tcz")):
                index = {"t": t, "c": c, "z": z}
                if z >= self._depth(c):
                    continue
                header, inside = self._locate(index)
                if opened is None or opened.header.source != header.source:
                    files.close()
                    opened = files.enter_context(
                        open_image(Path(header.source), pages=self.conversion.pages)
                    )
                yield index, opened.read(inside)

    def _depth(self, c: int) -> int:
        """Return the number of planes of a channel; they differ only if projected."""
        channels = self.field.channels
        if len(self.field.planes) == 1 or len(channels) == 1:
            return self.sizes["z"]
        return len(self.field.planes_of(channels[c]))

    def _locate(self, index: dict[str, int]) -> tuple[StoredImage, dict[str, int]]:
        """Return the file with a plane, and the plane's index in it."""
        field = self.field
        channels, times = field.channels, field.times
        channel = channels[index["c"] if len(channels) > 1 else 0]
        planes = field.planes_of(channel)
        key = (
            channel,
            times[index["t"] if len(times) > 1 else 0],
            planes[index["z"] if len(planes) > 1 else 0],
        )
        # Along an axis that is not in the names, the index is inside the file.
        counted = dict(zip("ctz", (channels, times, planes), strict=True))
        inside = {a: 0 if len(counted[a]) > 1 else index[a] for a in "tcz"}
        return self.headers[key], inside

    def _check_mask(self, header: StoredImage, named: str) -> None:
        """Raise FieldError unless a mask has the image's grid along its axes."""
        expected = {axis: self.sizes[axis] for axis in self.axes if axis in "tz"}
        inside = dict(zip(header.axes[:-2], header.shape[:-2], strict=True))
        fits = all(
            axis not in named and size == expected.get(axis)
            for axis, size in inside.items()
        )
        if header.shape[-2:] != self.shape_yx or not fits:
            raise FieldError(
                f"The mask {header.source} has shape {header.shape} ({header.axes}), "
                f"but its image {self._header.source} has {self.shape_yx} (yx) and is "
                f"stored as {self.axes}. Give a mask on the grid of its image."
            )
        if header.dtype.kind not in "ui":
            raise FieldError(
                f"The mask {header.source} has pixels of {header.dtype}; expected "
                f"integer labels, 0 for background."
            )


def read_stack(field: FieldFiles, folder: Path, conversion: Conversion) -> FieldStack:
    """Read the headers of a field's files below a folder; check that they are alike.

    Raises FieldError if a file is unreadable, differs from the others in axes, shape,
    dtype or pixel size, or has several positions along an axis that is also in the
    names.
    """
    headers, stated = {}, {}
    for image in field.images:
        with open_image(folder / image.path, pages=conversion.pages) as opened:
            headers[image.channel, image.t, image.z] = opened.header
            stated[image] = opened.plane
    first = next(iter(headers.values()))
    for header in headers.values():
        _check_alike(first, header, conversion)
    sizes = {}
    names = (field.times, field.channels, field.planes)
    for axis, values in zip("tcz", names, strict=True):
        if len(values) > 1 < first.size(axis):
            raise FieldError(
                f"{first.source} holds {first.size(axis)} {_WORDS[axis]}, but the "
                f"names of the field's files already have {len(values)}. Give a "
                f"pattern without {axis if axis != 'c' else 'channel'}, or single "
                f"images."
            )
        sizes[axis] = max(len(values), first.size(axis))
    if conversion.project != "max":
        _check_stacks(field, stated)
    return FieldStack(field, conversion, headers, sizes)


def _check_stacks(field: FieldFiles, stated: dict[ImageFile, int | None]) -> None:
    """Raise FieldError for planes that are projections, or one plane again and again.

    MetaXpress exports a channel of one plane into the folder of each plane.
    """
    for channel in field.channels:
        stack = {i: plane for i, plane in stated.items() if i.channel == channel}
        if len(field.planes_of(channel)) == 1 or None in stack.values():
            continue
        projected = [image.path for image, plane in stack.items() if plane == 0]
        again = [image.path for image in stack] if len(set(stack.values())) == 1 else []
        if projected or again:
            raise FieldError(
                f"{(projected or again)[-1]}, one of the planes of channel {channel}, "
                f"says that it is {'a projection' if projected else 'the same as all'}."
                " Convert with the projection (--project max), or only other files "
                "with --pattern."
            )


def _check_alike(first: StoredImage, other: StoredImage, given: Conversion) -> None:
    """Raise FieldError unless two files of a field can be planes of one image."""
    mine = (first.axes, first.shape, first.dtype)
    its = (other.axes, other.shape, other.dtype)
    if mine != its:
        raise FieldError(
            f"{first.source} has {mine[2]} of shape {mine[1]}, but {other.source} of "
            f"the same field has {its[2]} of shape {its[1]}. Convert them to one kind, "
            f"or give a pattern that puts them into different fields."
        )
    sizes = first.pixel_size_um, other.pixel_size_um
    if given.pixel_size_um or sizes[0] is None or sizes[1] is None:
        return
    if not np.allclose(sizes[0], sizes[1], rtol=_SAME_SIZE, atol=0):
        raise FieldError(
            f"{first.source} and {other.source} of the same field give different pixel "
            f"sizes: {sizes[0]} and {sizes[1]} um. State the pixel size."
        )


def _project(planes: Iterator[Plane], how: str) -> Plane:
    """Project planes one by one, so that at most two are in memory."""
    total = next(planes)
    if how == "max":
        for plane in planes:
            total = np.maximum(total, plane)
        return total
    n, total = 1, total.astype(np.float64)
    for plane in planes:
        total += plane
        n += 1
    return (total / n).astype(np.float32)


def _check_labels(path: Path, labels: NDArray[Any], others: NDArray[Any]) -> None:
    """Raise FieldError unless labels are valid and shaped like others of the name."""
    if labels.shape != others.shape:
        raise FieldError(
            f"The mask {path} has shape {labels.shape}, but others of the same labels "
            f"have {others.shape}."
        )
    if labels.dtype.kind == "i" and labels.min(initial=0) < 0:
        raise FieldError(
            f"The mask {path} has negative labels; expected 0 for background and "
            f"numbers above it."
        )
