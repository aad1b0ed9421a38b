"""Label images on the grid of their field's image, at any stored resolution.

The group of labels and the image's grid come in; integer labels go out, one per pixel
of the image, each from the nearest stored label pixel. Nothing here knows plates, or
what the labels mean.

Which one is nearest, and what does not fit, is told by `label_grid`. Labels of one
plane hold for all planes of a stack. Planes that do not fit are an error as soon as one
of them is read; projected labels need no places.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.label_grid import axis_index, grids_along, plane_index
from deepspot_scale.io.ome_zarr.layout import covers_evenly
from deepspot_scale.io.ome_zarr.metadata import ImageListing, parse_image
from deepspot_scale.io.ome_zarr.zarr_images import open_image_node, open_level
from deepspot_scale.io.stored_image import StoredImage, Window
from deepspot_scale.io.trust import NO_TRUST, Trust
from deepspot_scale.kernels.regions import check_label_values


@dataclass(frozen=True)
class LabelImage:
    """One label image, with the label row and column of every image pixel."""

    stored: StoredImage
    rows: NDArray[np.int64]
    """(height of the image,), row of the stored labels; -1: beyond them."""
    columns: NDArray[np.int64]
    """(width of the image,), column of the stored labels; -1: beyond them."""
    planes: NDArray[np.int64] | None = None
    """(planes of the image,), plane of the labels; -1: beyond them. None: plane number
    0 is number 0, and so on."""
    misfit: str = ""
    """Why no plane of the labels is that of one of the image; empty: all are known."""

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
        """Read (y, x) labels in a window of the image.

        `z` is a plane of the image, or "max", the largest label of all planes.
        """
        plane = z if z == "max" or self.n_z == 1 else self._plane_at(z)
        if plane == -1:
            shape = self.rows[window[0]].size, self.columns[window[1]].size
            return np.zeros(shape, self.stored.dtype)
        return self.read_plane(t, window, plane)

    def _plane_at(self, z: int) -> int:
        """Return the plane of the labels at one of the image; -1: beyond them."""
        planes = np.arange(self.n_z) if self.planes is None else self.planes
        if self.misfit or z >= len(planes):
            raise FieldError(
                self.misfit
                or f"labels at {self.stored.source} have {self.n_z} planes, and none "
                f"for plane {z} of the image. Write labels for every plane, or one for "
                "all."
            )
        return int(planes[z])

    def read_plane(
        self, t: int, window: Window, plane: int | Literal["max"]
    ) -> NDArray[Any]:
        """Read (y, x) labels as `read` does, in a plane of the labels themselves."""
        index, z = {"t": t if self.stored.size("t") > 1 else 0}, plane
        z = z if self.n_z > 1 else "max"
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
    silent = grids_along("x", of[1], found, level) is None
    if silent and not covers_evenly(stored.shape, image.shape):
        raise FieldError(
            f"labels {name} have {stored.shape[-2:]} pixels and the image "
            f"{image.shape[-2:]}, which do not fit at one resolution, and no metadata "
            "say otherwise. Write labels of the whole image."
        )
    index = [axis_index(name, axis, *both) for axis in "yx"]
    planes, misfit = plane_index(name, *both)
    return LabelImage(stored, index[0], index[1], planes, misfit)


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
