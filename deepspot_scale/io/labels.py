"""Label images on the grid of their field's image, at any stored resolution.

The group of labels and the image's grid come in; integer labels go out, one per pixel
of the image, each from the nearest stored label pixel. Nothing here knows plates, or
what the labels mean.

    image   |  0  |  1  |  2  |  3  |      image pixel i covers [i, i + 1) * image scale
    labels  |     0     |     1     |      and takes the label at its centre:
                                           floor((i + 0.5) * image scale / label scale)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.ome_zarr.metadata import ImageListing, parse_image
from deepspot_scale.io.ome_zarr.zarr_images import open_image_node, open_level
from deepspot_scale.io.stored_image import StoredImage, Window
from deepspot_scale.io.trust import NO_TRUST, Trust
from deepspot_scale.kernels.regions import check_label_values

_ROUNDING = 1e-6
"""In pixels. A centre on the edge of two label pixels must always get the same one,
although the ratio of two decimal pixel sizes is not exact in binary."""


@dataclass(frozen=True)
class LabelImage:
    """One label image, with the label row and column of every image pixel."""

    stored: StoredImage
    rows: NDArray[np.int64]
    """(height of the image,), row of the stored labels."""
    columns: NDArray[np.int64]
    """(width of the image,), column of the stored labels."""

    @property
    def n_z(self) -> int:
        """Planes of the labels."""
        return self.stored.size("z")

    @property
    def is_aligned(self) -> bool:
        """Whether the stored labels have the image's grid."""
        return (len(self.rows), len(self.columns)) == self.stored.shape[-2:]

    def read(
        self, t: int, window: Window, z: int | Literal["max"] = "max"
    ) -> NDArray[Any]:
        """Read (y, x) labels in a window of the image, in plane z or the maximum."""
        index = {"t": t if self.stored.size("t") > 1 else 0}
        z = z if self.n_z > 1 else "max"
        if z != "max" and z >= self.n_z:
            raise FieldError(
                f"labels at {self.stored.source} have {self.n_z} planes, fewer than "
                "the image. Write labels for every plane, or one for all."
            )
        rows, columns = self.rows[window[0]], self.columns[window[1]]
        if rows.size == 0 or columns.size == 0:
            return np.zeros((rows.size, columns.size), self.stored.dtype)
        span = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        labels = self.stored.plane(index, z, span)
        labels = check_label_values(labels, f"labels at {self.stored.source}")
        return labels[np.ix_(rows - rows[0], columns - columns[0])]


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
    index = [_axis_index(name, axis, of, (stored, found, level)) for axis in "yx"]
    return LabelImage(stored, *index)


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
    if image[0].shape[-2:] == stored.shape[-2:]:
        return np.arange(n_image)
    sizes = _pixel_sizes(axis, image[1], found, level)
    if sizes is None:
        return nearest_index(n_image, n_labels, n_labels / n_image)
    covered = (n_image * sizes[0], n_labels * sizes[1])
    # Some writers halve odd sizes and lose up to one coarse pixel.
    if abs(covered[0] - covered[1]) > max(sizes) * (1 + _ROUNDING):
        raise FieldError(
            f"labels {name} cannot match the image: along {axis} they cover "
            f"{covered[1]:g} ({n_labels} pixels of {sizes[1]:g}) and the image "
            f"{covered[0]:g} ({n_image} pixels of {sizes[0]:g}). Correct the labels or "
            "their coordinateTransformations."
        )
    return nearest_index(n_image, n_labels, sizes[0] / sizes[1])


def _pixel_sizes(
    axis: str, listing: ImageListing, found: ImageListing, level: int
) -> tuple[float, float] | None:
    """Return the pixel sizes of image and labels in one unit; None if not stated."""
    spacings = (listing.spacing_um(), found.spacing_um(level))
    if all(axis in spacing for spacing in spacings):
        return spacings[0][axis], spacings[1][axis]
    scales = (listing.levels[0].scale, found.levels[level].scale)
    if scales[0] is None or scales[1] is None:
        return None
    return scales[0][listing.axes.index(axis)], scales[1][found.axes.index(axis)]
