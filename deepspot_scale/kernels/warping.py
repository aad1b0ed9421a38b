"""Patches cut from an image by one map: turned, mirrored, scaled, stretched and bent.

      image                              patch, E x E px
    +------------------+                 +---------+
    |      ,--,        |   turn, mirror  |  o      |   an image by linear interpolation,
    |     / o  `--,    |  ------------>  |      +  |   labels by the nearest pixel,
    |     `--, +  /    |   scale, bend   |         |   points by the inverse map
    +---------`--'-----+                 +---------+

Beyond the image its pixels, its labels and its points are mirrored. Nothing here draws
random numbers or knows what images show.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from deepspot_scale.errors import SettingsError

Real = NDArray[np.float64]
_CLOSE: Final = 1e-6
"""Pixels between two rounds of the inverse after which it is good."""
_MOST_ROUNDS: Final = 200
_WRONG: Final = 0.01
"""Pixels by which the inverse is not allowed to be wrong."""


@dataclass(frozen=True, eq=False)
class PatchMap:
    """Where each pixel of a patch comes from."""

    edge: int
    """Edge of the patch in pixels."""
    middle: tuple[float, float]
    """The pixel of the image, along y and x, that becomes the middle of the patch."""
    scale: float = 1.0
    """Pixels of the patch for one of the image."""
    stretch: float = 1.0
    """Divides the size along the patch's y, and multiplies that along its x."""
    turn: float = 0.0
    """Angle in radians."""
    mirrored: bool = False
    """Whether the patch's x is mirrored, before it is turned."""
    bend: tuple[Real, Real] | None = None
    """Shifts (edge, edge) along the image's y and x in pixels of the image."""

    def image(self, image: NDArray[Any]) -> NDArray[np.float32]:
        """Return the patch (..., edge, edge) of an image (..., y, x)."""
        return self._moved(np.asarray(image, np.float32), cv2.INTER_LINEAR)

    def labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Return the patch of labels or of a mask (..., y, x); labels below 2^24."""
        moved = self._moved(labels.astype(np.float32), cv2.INTER_NEAREST)
        return moved.astype(labels.dtype)

    def points(self, points: Real, shape: tuple[int, int]) -> Real:
        """Return points (n, d), whose last axes are y and x, in pixels of the patch.

        `shape` is that of the image along y and x. Points outside the patch are
        returned too, and mirrored copies where the patch shows them: the first n are
        the points themselves, in their order.

        Raises
        ------
        SettingsError
            The patch is bent so strongly that a point may have several places.
        """
        copies = self._with_copies(points, shape)
        return np.concatenate([copies[:, :-2], self._inverse(copies[:, -2:])], axis=1)

    def places(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return where (edge, edge) each pixel comes from, along y and x."""
        steps = np.arange(self.edge) - (self.edge - 1) / 2
        mirror = -1.0 if self.mirrored else 1.0
        v, u = np.meshgrid(
            steps / self.scale * self.stretch,
            mirror * steps / self.scale / self.stretch,
            indexing="ij",
        )
        y = v * np.cos(self.turn) + u * np.sin(self.turn)
        x = u * np.cos(self.turn) - v * np.sin(self.turn)
        if self.bend is not None:
            y, x = y + self.bend[0], x + self.bend[1]
        top, left = self.middle
        return (y + top).astype(np.float32), (x + left).astype(np.float32)

    def _moved(self, image: NDArray[np.float32], how: int) -> NDArray[np.float32]:
        planes = image.reshape(-1, *image.shape[-2:])
        y, x = self.places()
        mirror = cv2.BORDER_REFLECT_101
        moved = [cv2.remap(plane, x, y, how, borderMode=mirror) for plane in planes]
        return np.reshape(moved, (*image.shape[:-2], self.edge, self.edge))

    def _with_copies(self, points: Real, shape: tuple[int, int]) -> Real:
        """Return points, then the mirrored copies that the patch may show."""
        y, x = self.places()
        copies = [points]
        tiles = []
        for place, length in zip((y, x), shape, strict=True):
            period = max(length - 1, 1)
            first, last = np.floor([place.min() / period, place.max() / period])
            tiles.append(range(int(min(first, 0)), int(max(last, 0)) + 1))
        for rows, columns in product(*tiles):
            if rows == columns == 0:
                continue
            copy = points.copy()
            new = np.ones(len(points), bool)
            pairs = zip((-2, -1), (rows, columns), shape, strict=True)
            for axis, tile, length in pairs:
                last_px = length - 1
                at = points[:, axis]
                # The mirror stands on the centre of the outermost pixels.
                within = last_px - at if tile % 2 else at
                copy[:, axis] = tile * last_px + within
                # A point on the mirror is its own copy.
                new &= (tile == 0) | ((at > 0) & (at < last_px))
            copies.append(copy[new])
        return np.concatenate(copies)

    def _inverse(self, points: Real) -> Real:
        """Return where points (n, 2) of the image lie in the patch."""
        place = self._unbent(points)
        if self.bend is None or not len(points):
            return place
        for _ in range(_MOST_ROUNDS):
            shift = np.stack(
                [
                    map_coordinates(b, place.T, order=1, mode="nearest")
                    for b in self.bend
                ],
                axis=1,
            )
            last, place = place, self._unbent(points - shift)
            change = float(np.abs(place - last).max())
            if change < _CLOSE:
                break
        if change > _WRONG:
            raise SettingsError(
                "a patch is bent so strongly that points have no place of their own; "
                "lower elastic or scale in [augmentation]"
            )
        return place

    def _unbent(self, points: Real) -> Real:
        y, x = (points - self.middle).T
        v = y * np.cos(self.turn) - x * np.sin(self.turn)
        u = y * np.sin(self.turn) + x * np.cos(self.turn)
        u = -u if self.mirrored else u
        steps = np.stack([v * self.scale / self.stretch, u * self.scale * self.stretch])
        return np.asarray(steps.T + (self.edge - 1) / 2)


def bend_of(knots: Real, edge: int) -> Real:
    """Return a smooth field (edge, edge) through the shifts (k, k) of some knots."""
    bend = cv2.resize(knots, (edge, edge), interpolation=cv2.INTER_CUBIC)
    return np.asarray(bend, np.float64)
