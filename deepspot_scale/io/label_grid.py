"""Which stored label pixel each pixel of an image takes, along one axis.

Sizes and metadata of image and labels come in, indices go out. Nothing here reads
pixels.

    image   |  0  |  1  |  2  |  3  |      image pixel i covers [i, i + 1) * image scale
    labels  |     0     |     1     |      and takes the label at its centre:
                                           floor((i + 0.5) * image scale / label scale)

Labels may begin a whole number of image pixels elsewhere, by the translations of both;
image pixels beyond them have label 0. A translation means the centre of the first
pixel, but is often written for its corner: labels whose pixels are larger begin with
the image if they do by one of the two. Labels that do not fit are an error.

Planes of labels go by the same rule along z, and may also end before the image does
where both are in micrometres. Where metadata do not say, as many planes are the same
planes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.io.ome_zarr.metadata import ImageListing
from deepspot_scale.io.stored_image import StoredImage

_NEAR = 0.01
"""In pixels: what decimal translations may be off whole pixels."""
_ALIKE = 1e-3
"""What the sizes of pixels that are alike may differ, as a share."""
_ROUNDING = 1e-6
"""In pixels. A centre on the edge of two label pixels must always get the same one,
although the ratio of two decimal pixel sizes is not exact in binary."""


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


def axis_index(
    name: str,
    axis: str,
    image: tuple[StoredImage, ImageListing],
    labels: tuple[StoredImage, ImageListing, int],
) -> NDArray[np.int64]:
    """Return the label pixel of each image pixel along an axis; -1: beyond them.

    Parameters
    ----------
    name
        Of the labels, for errors.
    axis
        x, y or z.
    image
        The image and its listing.
    labels
        The labels, their listing, and which of its levels they are.

    Raises
    ------
    FieldError
        The labels do not fit.
    """
    stored, found, level = labels
    n_image, n_labels = image[0].size(axis), stored.size(axis)
    grids = grids_along(axis, image[1], found, level)
    if grids is None:  # nobody says: they cover the same area
        return nearest_index(n_image, n_labels, n_labels / n_image)
    shift = _shift(name, axis, *grids)
    size, label_size = (each.size for each in grids)
    ratio = size / label_size
    alike = image[0].shape[-2:] == stored.shape[-2:]
    if n_image == n_labels if axis == "z" else alike:
        if grids[0].unit_um is not None and abs(ratio - 1) > _ALIKE:
            raise FieldError(
                f"labels {name} have the image's shape, but along {axis} a pixel of "
                f"theirs is {label_size:g} micrometres and one of the image {size:g}. "
                "Correct the labels' coordinateTransformations."
            )
        ratio = 1.0
    elif shift == 0:
        both = (n_image, size), (n_labels, label_size)
        if axis != "z" or (ratio < 1 - _ALIKE and _cover_alike(*both)):
            _check_cover(name, axis, *both)
            return nearest_index(n_image, n_labels, ratio)
        if grids[0].unit_um is None:
            raise FieldError(_cover_apart(name, axis, *both))
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
    if not _cover_alike(image, labels):
        raise FieldError(_cover_apart(name, axis, image, labels))


def _cover_apart(
    name: str, axis: str, image: tuple[int, float], labels: tuple[int, float]
) -> str:
    return (
        f"labels {name} cannot match the image: along {axis} they cover "
        f"{labels[0] * labels[1]:g} ({labels[0]} pixels of {labels[1]:g}) and the "
        f"image {image[0] * image[1]:g} ({image[0]} pixels of {image[1]:g}). Correct "
        "the labels or their coordinateTransformations."
    )


def _cover_alike(image: tuple[int, float], labels: tuple[int, float]) -> bool:
    """Return whether both, given as pixels and their size, are as long."""
    apart = abs(image[0] * image[1] - labels[0] * labels[1])
    # Some writers halve odd sizes and lose up to one coarse pixel.
    return apart <= max(image[1], labels[1]) * (1 + _ROUNDING)


class Along(NamedTuple):
    """What metadata say of one axis."""

    size: float
    """Of a pixel."""
    begin: float | None
    """Translation; None: not stated, which means 0."""
    unit_um: float | None = None
    """Micrometres per unit; None: unknown."""

    def times(self, unit: float) -> Along:
        """Return the same in another unit."""
        begin = None if self.begin is None else self.begin * unit
        return Along(self.size * unit, begin, 1.0)


Grids = tuple[Along, Along]
"""Image and labels along an axis."""


def _along(axis: str, listing: ImageListing, level: int = 0) -> Along | None:
    stated = listing.levels[level]
    if stated.scale is None or axis not in listing.axes:
        return None
    place = listing.axes.index(axis)
    begin = None if stated.translation is None else stated.translation[place]
    return Along(stated.scale[place], begin, listing.units_um[place])


def grids_along(
    axis: str, listing: ImageListing, found: ImageListing, level: int
) -> Grids | None:
    """Return image and labels, in micrometres where both have units; None: unknown."""
    image, labels = _along(axis, listing), _along(axis, found, level)
    if image is None or labels is None:
        return None
    if image.unit_um is None or labels.unit_um is None:
        return image._replace(unit_um=None), labels._replace(unit_um=None)
    return image.times(image.unit_um), labels.times(labels.unit_um)


def _shift(name: str, axis: str, image: Along, labels: Along) -> int:
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


def plane_index(
    name: str,
    image: tuple[StoredImage, ImageListing],
    labels: tuple[StoredImage, ImageListing, int],
) -> tuple[NDArray[np.int64] | None, str]:
    """Return `labels.LabelImage.planes` and its `misfit`; parameters as above."""
    n_image, n_labels = image[0].size("z"), labels[0].size("z")
    if n_image == 1 or n_labels == 1:
        return None, ""
    grids = grids_along("z", image[1], *labels[1:])
    if n_image == n_labels and (grids is None or grids[0].unit_um is None):
        return None, ""
    if grids is None:
        return None, (
            f"labels {name} have {n_labels} planes and the image {n_image}, and no "
            "metadata say which belong together. Write labels for every plane, or one "
            "for all, or the places of planes."
        )
    try:
        return axis_index(name, "z", image, labels), ""
    except FieldError as error:  # of no account to labels that are projected
        return None, str(error)
