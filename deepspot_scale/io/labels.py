"""Label images on the grid of their field's image, at any stored resolution.

The group of labels and the image's grid come in; integer labels go out, one per pixel
of the image, each from the nearest stored label pixel. Nothing here knows plates, or
what the labels mean.

    image   |  0  |  1  |  2  |  3  |      image pixel i covers [i, i + 1) * image scale
    labels  |     0     |     1     |      and takes the label at its centre:
                                           floor((i + 0.5) * image scale / label scale)

Labels may begin a whole number of image pixels elsewhere, by the translations of both;
image pixels beyond them have label 0. A translation means the centre of the first
pixel, but is often written for its corner: labels whose pixels are larger begin with
the image if they do by one of the two. Labels that do not fit are an error.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.ome_zarr.layout import covers_evenly
from deepspot_scale.io.ome_zarr.metadata import ImageListing, parse_image
from deepspot_scale.io.ome_zarr.zarr_images import open_image_node, open_level
from deepspot_scale.io.stored_image import StoredImage, Window
from deepspot_scale.io.trust import NO_TRUST, Trust
from deepspot_scale.kernels.regions import check_label_values

_NEAR = 0.01
"""In pixels: what decimal translations may be off whole pixels."""
_ALIKE = 1e-3
"""What the sizes of pixels that are alike may differ, as a share."""
_ROUNDING = 1e-6
"""In pixels. A centre on the edge of two label pixels must always get the same one,
although the ratio of two decimal pixel sizes is not exact in binary."""


@dataclass(frozen=True)
class LabelImage:
    """One label image, with the label row and column of every image pixel."""

    stored: StoredImage
    rows: NDArray[np.int64]
    """(height of the image,), row of the stored labels; -1: beyond them."""
    columns: NDArray[np.int64]
    """(width of the image,), column of the stored labels; -1: beyond them."""
    misfit: str = ""
    """Why planes of the labels are not those of the image; empty: they are."""

    @property
    def n_z(self) -> int:
        """Planes of the labels."""
        return self.stored.size("z")

    @property
    def is_aligned(self) -> bool:
        """Whether the stored labels have the image's grid."""
        return all(
            np.array_equal(index, np.arange(size))
            for index, size in zip(
                (self.rows, self.columns), self.stored.shape[-2:], strict=True
            )
        )

    def read(
        self, t: int, window: Window, z: int | Literal["max"] = "max"
    ) -> NDArray[Any]:
        """Read (y, x) labels in a window of the image, in plane z or the maximum."""
        index = {"t": t if self.stored.size("t") > 1 else 0}
        z = z if self.n_z > 1 else "max"
        if z != "max" and (self.misfit or z >= self.n_z):
            raise FieldError(
                f"labels at {self.stored.source} have "
                f"{self.misfit or f'{self.n_z} planes, fewer than the image'}. Write "
                "labels for every plane, or one for all."
            )
        rows, columns = self.rows[window[0]], self.columns[window[1]]
        answer = np.zeros((rows.size, columns.size), self.stored.dtype)
        there = rows >= 0, columns >= 0
        rows, columns = rows[there[0]], columns[there[1]]
        if rows.size == 0 or columns.size == 0:
            return answer
        span = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        labels = self.stored.plane(index, z, span)
        labels = check_label_values(labels, f"labels at {self.stored.source}")
        if not (_are_consecutive(rows) and _are_consecutive(columns)):
            labels = labels[np.ix_(rows - rows[0], columns - columns[0])]
        if labels.shape == answer.shape:
            return labels
        answer[np.ix_(*there)] = labels
        return answer


def _are_consecutive(index: NDArray[np.int64]) -> bool:
    return bool((np.diff(index) == 1).all())


def nearest_index(n_image: int, n_labels: int, ratio: float) -> NDArray[np.int64]:
    """Return for each of `n_image` pixels the label pixel that contains its centre.

    The result is (n_image,), 0 to ``n_labels - 1``, ascending. `ratio` is the size of
    an image pixel divided by that of a label pixel, above 0.

    Examples
    --------
    >>> nearest_index(4, 2, 0.5)
    array([0, 0, 1, 1])
    """
    centres = (np.arange(n_image) + 0.5) * ratio
    index: NDArray[np.int64] = np.floor(centres + _ROUNDING).astype(np.int64)
    index = index.clip(max=n_labels - 1)
    return index


def open_labels(
    group: str,
    name: str,
    of: tuple[StoredImage, ImageListing],
    trust: Trust = NO_TRUST,
    *,
    coarser: bool = False,
) -> LabelImage:
    """Open the labels in a group, for an image at its finest level and its listing.

    `coarser` means the next level after that with the image's grid.

    Raises FieldError if the labels are missing or damaged, are not integers, or do not
    cover the image, or have no coarser level.
    """
    image = of[0]
    node = open_image_node(group, trust=trust)
    found, zarr_format = parse_image(node, group), node.metadata.zarr_format
    stored_at = partial(open_level, group, found, zarr_format=zarr_format, trust=trust)
    level, stored = _choose_level(len(found.levels), stored_at, image)
    if coarser:
        if level + 1 == len(found.levels):
            raise FieldError(f"labels {name} have no coarser level")
        level, stored = level + 1, stored_at(level + 1)
    if stored.dtype.kind not in "ui":
        raise FieldError(
            f"labels {name} must be integers, but {group} holds {stored.dtype}. "
            "Write them as integers."
        )
    n_t = stored.size("t")
    if stored.size("c") != 1 or n_t not in {1, image.size("t")}:
        raise FieldError(
            f"labels {name} have the shape {stored.shape} along {stored.axes}, which "
            f"does not fit an image of shape {image.shape} along {image.axes}. "
            "Write labels without c, and with t as in the image."
        )
    both = of, (stored, found, level)
    silent = _grids("x", of[1], found, level) is None
    if silent and not covers_evenly(stored.shape, image.shape):
        raise FieldError(
            f"labels {name} have {stored.shape[-2:]} pixels and the image "
            f"{image.shape[-2:]}, which do not fit at one resolution, and no metadata "
            "say otherwise. Write labels of the whole image."
        )
    index = [_axis_index(name, axis, *both) for axis in "yx"]
    misfit = _misfit(*both) if image.size("z") > 1 and stored.size("z") > 1 else ""
    return LabelImage(stored, index[0], index[1], misfit)


def _choose_level(
    n_levels: int, stored_at: Callable[[int], StoredImage], image: StoredImage
) -> tuple[int, StoredImage]:
    """Return the level with the image's grid, or else the finest one."""
    finest = stored_at(0)
    for level in range(n_levels):
        stored = stored_at(level) if level else finest
        if stored.shape[-2:] == image.shape[-2:]:
            return level, stored
    return 0, finest


def _axis_index(
    name: str,
    axis: str,
    image: tuple[StoredImage, ImageListing],
    labels: tuple[StoredImage, ImageListing, int],
) -> NDArray[np.int64]:
    stored, found, level = labels
    n_image, n_labels = image[0].size(axis), stored.size(axis)
    grids = _grids(axis, image[1], found, level)
    if grids is None:  # nobody says: they cover the same area
        return nearest_index(n_image, n_labels, n_labels / n_image)
    shift = _shift(name, axis, *grids)
    size, label_size = (each.size for each in grids)
    ratio = size / label_size
    if image[0].shape[-2:] == stored.shape[-2:]:
        if grids[0].unit_um is not None and abs(ratio - 1) > _ALIKE:
            raise FieldError(
                f"labels {name} have the image's shape, but along {axis} a pixel of "
                f"theirs is {label_size:g} micrometres and one of the image {size:g}. "
                "Correct the labels' coordinateTransformations."
            )
        ratio = 1.0
    elif shift == 0:
        _check_cover(name, axis, (n_image, size), (n_labels, label_size))
        return nearest_index(n_image, n_labels, ratio)
    centres = (np.arange(n_image) - shift + 0.5) * ratio
    index: NDArray[np.int64] = np.floor(centres + _ROUNDING).astype(np.int64)
    index[(index < 0) | (index >= n_labels)] = -1
    if (index < 0).all():
        raise FieldError(
            f"labels {name} lie beside the image: along {axis} they begin {shift} of "
            f"its {n_image} pixels from it, by the translations of both. Correct them."
        )
    return index


def _check_cover(
    name: str, axis: str, image: tuple[int, float], labels: tuple[int, float]
) -> None:
    """Raise FieldError unless both, given as pixels and their size, are as long."""
    covered = (image[0] * image[1], labels[0] * labels[1])
    # Some writers halve odd sizes and lose up to one coarse pixel.
    if abs(covered[0] - covered[1]) > max(image[1], labels[1]) * (1 + _ROUNDING):
        raise FieldError(
            f"labels {name} cannot match the image: along {axis} they cover "
            f"{covered[1]:g} ({labels[0]} pixels of {labels[1]:g}) and the image "
            f"{covered[0]:g} ({image[0]} pixels of {image[1]:g}). Correct the labels "
            "or their coordinateTransformations."
        )


class _Along(NamedTuple):
    """What metadata say of one axis."""

    size: float
    """Of a pixel."""
    begin: float | None
    """Translation; None: not stated, which means 0."""
    unit_um: float | None = None
    """Micrometres per unit; None: unknown."""

    def times(self, unit: float) -> _Along:
        """Return the same in another unit."""
        begin = None if self.begin is None else self.begin * unit
        return _Along(self.size * unit, begin, 1.0)


Grids = tuple[_Along, _Along]
"""Image and labels along an axis."""


def _along(axis: str, listing: ImageListing, level: int = 0) -> _Along | None:
    stated = listing.levels[level]
    if stated.scale is None or axis not in listing.axes:
        return None
    place = listing.axes.index(axis)
    begin = None if stated.translation is None else stated.translation[place]
    return _Along(stated.scale[place], begin, listing.units_um[place])


def _grids(
    axis: str, listing: ImageListing, found: ImageListing, level: int
) -> Grids | None:
    """Return image and labels, in micrometres where both have units; None: unknown."""
    image, labels = _along(axis, listing), _along(axis, found, level)
    if image is None or labels is None:
        return None
    if image.unit_um is None or labels.unit_um is None:
        return image._replace(unit_um=None), labels._replace(unit_um=None)
    return image.times(image.unit_um), labels.times(labels.unit_um)


def _shift(name: str, axis: str, image: _Along, labels: _Along) -> int:
    """Return how many image pixels after the image the labels begin."""
    begin = image.begin or 0.0
    if labels.begin is None and abs(begin) > _NEAR * image.size:
        raise FieldError(
            f"the image begins at {begin:g} along {axis} (a translation), and labels "
            f"{name} do not say where they begin. Write their translation."
        )
    corner = ((labels.begin or 0.0) - begin) / image.size
    centre = corner - (labels.size / image.size - 1) / 2
    if min(abs(corner), abs(centre)) <= _NEAR:
        return 0
    for shift in (centre, corner):
        if abs(shift - round(shift)) <= _NEAR:
            return round(shift)
    raise FieldError(
        f"labels {name} begin {corner:g} pixels from the image's first along {axis}, "
        "by the translations of both; expected whole pixels. Write labels on the "
        "image's grid."
    )


def _misfit(
    image: tuple[StoredImage, ImageListing],
    labels: tuple[StoredImage, ImageListing, int],
) -> str:
    """Return what is wrong with the planes of a stack of labels; empty: nothing."""
    n_z, n_labels = image[0].size("z"), labels[0].size("z")
    if n_z != n_labels:
        word = "fewer" if n_labels < n_z else "more"
        return f"{n_labels} planes, {word} than the image"
    grids = _grids("z", image[1], *labels[1:])
    if grids is None or grids[0].unit_um is None:
        return ""
    step, apart = grids[0].size, (grids[1].begin or 0.0) - (grids[0].begin or 0.0)
    if abs(apart) > _NEAR * step or abs(grids[1].size / step - 1) > _ALIKE:
        return "planes at other places than the image, by the metadata of both"
    return ""
