"""The spots on which a chromatic shift is measured: few of many, the same each time.

Images with spots of both channels come in, by name; what is chosen goes out. Images are
chosen by a hash of their names and spots by random numbers that the name seeds, so the
choice depends neither on the order of images nor on how a run was cut into parts, and
its size is bounded. Nothing here reads files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from deepspot_scale.kernels.chromatic import Shift, measure_shift, near_points
from deepspot_scale.statistics.channel_pairs import ImageSpots

Key = tuple[Any, ...]
"""The values of `channel_pairs.IMAGE`."""
MOST_IMAGES: Final = 1000
"""Most images in the sample."""
MOST_SPOTS: Final = 2000
"""Most spots of an image in the sample."""
_ALL_SPOTS: Final = 100_000
"""Spots of the sample that are aimed at; each image gives `_FEWEST` at least."""
_FEWEST: Final = 100


def choose_images(keys: Iterable[Key]) -> list[Key]:
    """Return the images to measure on, in an order of their own."""
    return sorted(keys, key=lambda key: (_rank(key), key))[:MOST_IMAGES]


def _rank(key: Key) -> bytes:
    """Return what chooses images: as good as random, and always the same."""
    return hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()


def measure_on(chosen: list[Key], images: Iterable[tuple[Key, ImageSpots]]) -> Shift:
    """Return the shift, measured on a sample of the spots of chosen images.

    Parameters
    ----------
    chosen
        From `choose_images`.
    images
        These images and maybe others, in any order; one is held at a time.
    """
    points: dict[Key, Any] = dict.fromkeys(chosen)
    most = int(np.clip(_ALL_SPOTS // max(len(chosen), 1), _FEWEST, MOST_SPOTS))
    for key, image in images:
        if key in points:
            rng = np.random.default_rng(image.seed("sample"))
            points[key] = near_points(*image.places, most, rng)
    return measure_shift(found for found in points.values() if found is not None)
