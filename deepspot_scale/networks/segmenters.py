"""Segmenters of others: a function from image to labels, and what it promises.

A plug-in is a `Segmenter` value, named as ``module:attribute`` or by an entry point
of the group ``deepspot_scale.segmenters``. It is given tiles of a plane, or of a stack
if it takes volumes; only objects whose anchor lies in a tile's core are taken of it,
whole, so it must say how large its objects are. Nothing here knows tiles or plates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale import plugins
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.plugins import SEGMENTERS, load_plugin


@dataclass(frozen=True)
class Segmenter:
    """A function that finds objects in an image.

    Examples
    --------
    >>> import numpy as np
    >>> from scipy import ndimage
    >>> from deepspot_scale import Segmenter
    >>> def bright(image):
    ...     return ndimage.label(image > 0.5)[0]
    >>> segmenter = Segmenter(bright, largest=80)
    """

    segment: Callable[[NDArray[np.float32]], NDArray[Any]]
    """Gives labels (y, x) of an image (y, x): whole numbers, 0 where no object is. The
    image's percentiles 1 and 99.8 over the whole plane are 0 and 1. With `volume`
    labels and image are (z, y, x), and the percentiles are those of the whole stack."""
    largest: int
    """Longest side of an object's box along y and x in pixels."""
    reach: int = 0
    """Pixels along y and x beyond an object that decide about it."""
    tile: int = 1024
    """Edge of a tile in pixels along y and x, with what surrounds its core. A tile of a
    stack has all its planes: 60 planes of 1024 px take 0.25 GB as float32."""
    volume: bool = False
    """Whether it takes stacks (z, y, x), and its labels have a depth."""
    files: tuple[str, ...] = ()
    """Files that decide about the answer, such as weights: a run that was begun with
    them does not go on with others."""

    def __post_init__(self) -> None:
        """Check that tiles have a core."""
        if not callable(self.segment):
            raise SettingsError(
                f"a segmenter's function cannot be called: {self.segment!r}"
            )
        if self.largest < 1 or self.reach < 0:
            raise SettingsError(
                f"largest is 1 or more and reach 0 or more, got {self.largest} and "
                f"{self.reach}"
            )
        if isinstance(self.files, str):
            raise SettingsError(
                f"files are a tuple of paths, got the text {self.files!r}"
            )
        if self.tile <= 2 * self.halo:
            raise SettingsError(
                f"a tile of {self.tile} px has no core inside {self.halo} px on each "
                f"side (largest and reach); expected more than {2 * self.halo}"
            )

    @property
    def axes(self) -> str:
        """Axes of the image and of the labels."""
        return "zyx" if self.volume else "yx"

    @property
    def halo(self) -> int:
        """Pixels around a tile's core."""
        return self.largest + self.reach


def find_segmenter(name: str) -> Segmenter:
    """Return the plug-in of this name.

    Raises
    ------
    SettingsError
        There is none, or it is no `Segmenter`.
    """
    found = load_plugin(name, SEGMENTERS)
    if not isinstance(found, Segmenter):
        raise SettingsError(
            f"{name!r} is of type {type(found).__name__}, no Segmenter. Say how large "
            "its objects are: Segmenter(function, largest=80), from deepspot_scale"
        )
    return found


def hash_files(segmenter: Segmenter) -> dict[str, str]:
    """Return the SHA-256 of the files that a segmenter names, by the files' names.

    Where they lie does not matter; files of one name are hashed together, in their
    order.

    Raises
    ------
    SettingsError
        A file is not there, or cannot be read.
    """
    return plugins.hash_files(segmenter.files)


def run_segmenter(
    segmenter: Segmenter, image: NDArray[np.float32], name: str
) -> NDArray[np.int64]:
    """Return the labels of an image, checked.

    Raises
    ------
    FieldError
        The plug-in fails, or what it gave are not labels of the image.
    """
    try:
        # A copy: a tile is part of a plane that other tiles read.
        labels = np.asarray(segmenter.segment(image.copy()))
    except Exception as error:  # whatever a function of somebody else raises
        raise FieldError(
            f"the segmenter {name} fails on an image of {image.shape}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if labels.shape != image.shape:
        raise FieldError(
            f"the segmenter {name} gave labels of shape {labels.shape} for an image of "
            f"{image.shape}"
        )
    if labels.dtype.kind not in "uib":
        raise FieldError(
            f"the segmenter {name} gave {labels.dtype}; labels are whole numbers"
        )
    if labels.size and labels.min() < 0:
        raise FieldError(f"the segmenter {name} gave labels below 0")
    return labels.astype(np.int64)
