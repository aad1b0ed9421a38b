"""Objects apart from the label image that they were found in, and labels of them again.

An object is whole wherever it lies: a place that names it, a mask in a box, and how
certain it is. Pieces of a plane give objects, each given by one piece alone; labels are
drawn from the list of all of them, for any part of the plane, and are the same however
the plane is cut. Two objects are never merged, and none is split. Nothing here knows
how objects were found.

    labels of a window -> find_objects -> keep those whose anchor is in the core
    all pieces' objects -> arrange (ids by place) -> draw_labels, part by part
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
_STRIP = 1 << 22
"""Pixels that are drawn at once where a whole plane is looked at."""


class Objects(NamedTuple):
    """Objects of a plane or a stack with `d` axes."""

    anchors: NDArray[np.int64]
    """(n, d), the pixel of the object nearest its centroid; the first in reading order
    of those that are equally near."""
    starts: NDArray[np.int64]
    """(n, d), first pixel of the object's box."""
    masks: tuple[Mask, ...]
    """Which pixels of each box are the object's."""
    certainty: NDArray[np.float64]
    """(n,), where objects overlap the pixel goes to the most certain."""

    @property
    def stops(self) -> NDArray[np.int64]:
        """(n, d), the pixels after the boxes."""
        shapes = [mask.shape for mask in self.masks]
        sizes = np.array(shapes, np.int64).reshape(self.starts.shape)
        return self.starts + sizes

    def __add__(self, other: object) -> Objects:
        if not isinstance(other, Objects):
            return NotImplemented
        return Objects(
            np.concatenate([self.anchors, other.anchors]),
            np.concatenate([self.starts, other.starts]),
            self.masks + other.masks,
            np.concatenate([self.certainty, other.certainty]),
        )

    def take(self, which: NDArray[Any]) -> Objects:
        """Return some of them, by number or by a mask."""
        numbers = np.arange(len(self.anchors))[which]
        masks = tuple(self.masks[number] for number in numbers)
        return Objects(
            self.anchors[numbers], self.starts[numbers], masks, self.certainty[numbers]
        )

    def moved(self, by: Sequence[int]) -> Objects:
        """Return them elsewhere."""
        return self._replace(anchors=self.anchors + by, starts=self.starts + by)

    def anchored_in(self, start: Sequence[int], stop: Sequence[int]) -> Objects:
        """Return those whose anchor lies in a box."""
        inside = (self.anchors >= start) & (self.anchors < stop)
        return self.take(np.asarray(inside.all(axis=1)))


def no_objects(d: int = 2) -> Objects:
    """Return an empty list of objects of `d` axes."""
    places = np.zeros((0, d), np.int64)
    return Objects(places, places, (), np.zeros(0))


def anchor_of(mask: Mask) -> NDArray[np.int64]:
    """Return the pixel (d,) of a mask nearest its centroid, in the mask's pixels.

    Distances are compared as whole numbers, so that ties are ties.
    """
    pixels = np.argwhere(mask)
    n = len(pixels)
    apart = ((n * pixels - pixels.sum(axis=0)) ** 2).sum(axis=1)
    nearest: NDArray[np.int64] = pixels[int(np.argmin(apart))]
    return nearest


def make_objects(
    starts: Sequence[Sequence[int]], masks: Sequence[Mask], certainty: Any
) -> Objects:
    """Return objects of masks, each with at least one pixel, in their boxes.

    Boxes are cut to the pixels of the object.
    """
    if not len(masks):
        return no_objects(len(starts[0]) if len(starts) else 2)
    places, anchors, cut = [], [], []
    for start, mask in zip(starts, masks, strict=True):
        (box,) = ndimage.find_objects(mask.astype(np.int8))
        place = np.array([side.start for side in box]) + start
        cut.append(mask[box])
        places.append(place)
        anchors.append(anchor_of(mask[box]) + place)
    return Objects(
        np.array(anchors, np.int64),
        np.array(places, np.int64),
        tuple(cut),
        np.array(certainty, np.float64),
    )


def find_objects(
    labels: NDArray[np.integer[Any]], certainty: NDArray[np.float64] | None = None
) -> Objects:
    """Return the objects of a label image.

    Parameters
    ----------
    labels
        Of any number of axes; 0 is no object, and each other number is one object, also
        where it has several parts.
    certainty
        (n,) of the objects in the order of their numbers; None: the more pixels, the
        more certain.
    """
    if not labels.size:
        return no_objects(labels.ndim)
    numbered = _numbered(labels)
    names = np.arange(1, int(numbered.max()) + 1)
    return take_objects(numbered, names, certainty)


def take_objects(
    labels: NDArray[np.integer[Any]],
    names: NDArray[np.integer[Any]],
    certainty: NDArray[np.float64] | None = None,
) -> Objects:
    """Return the objects of a label image that have certain numbers.

    `names` are (n,) numbers that are there, above 0 and not much larger than there are
    objects; `certainty` is theirs, as in `find_objects`.
    """
    boxes = ndimage.find_objects(labels)
    pairs = [(boxes[name - 1], name) for name in names]
    if not pairs:
        return no_objects(labels.ndim)
    starts = [[side.start for side in box] for box, _ in pairs]
    masks = [labels[box] == name for box, name in pairs]
    if certainty is None:
        certainty = np.array([mask.sum() for mask in masks], np.float64)
    return make_objects(starts, masks, certainty)


def _numbered(labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return labels, not empty, with the numbers 1 to n in their order; 0 stays."""
    if labels.min() < 0 or labels.max() > labels.size:  # too many to be counted
        names, places = np.unique(labels, return_inverse=True)
        return np.asarray(places.reshape(labels.shape) + (names[0] != 0), np.int64)
    labels = labels.astype(np.int64, copy=False)
    there = np.bincount(labels.ravel()) > 0
    there[0] = False
    numbers = np.cumsum(there, dtype=np.int64)
    return np.asarray(numbers[labels], np.int64)


def touches_edge(
    objects: Objects, start: Sequence[int], stop: Sequence[int], shape: Sequence[int]
) -> NDArray[np.bool_]:
    """Return which objects (n,) touch a side of a window that is none of the plane's.

    There they may have been cut.
    """
    inner = (objects.starts <= start) & (np.asarray(start) > 0)
    outer = (objects.stops >= stop) & (np.asarray(stop) < np.asarray(shape))
    return np.asarray((inner | outer).any(axis=1))


def in_order(objects: Objects) -> Objects:
    """Return objects that do not overlap in the order of their anchors, row by row."""
    return objects.take(np.lexsort(objects.anchors.T[::-1]))


class Arranged(NamedTuple):
    """All objects of a plane in their order, and what that took."""

    objects: Objects
    """Object i has the label i + 1."""
    n_claimed: int
    """Pixels that more than one object claimed."""


def arrange(objects: Objects, shape: Sequence[int]) -> Arranged:
    """Return objects in the order of their anchors, row by row.

    Those of which no pixel would be seen, since more certain ones cover them, are left
    out. The answer does not depend on the order of the given objects.
    """
    order = np.lexsort((objects.certainty, *objects.anchors.T[::-1]))
    objects = objects.take(order)
    seen = np.zeros(len(objects.anchors), bool)
    claimed = 0
    rows = max(1, _STRIP // max(1, int(np.prod(shape[1:]))))
    for top in range(0, shape[0], rows):
        start = [top, *[0] * (len(shape) - 1)]
        stop = [min(top + rows, shape[0]), *shape[1:]]
        labels, times = _draw(objects, start, stop)
        seen |= np.bincount(labels.ravel(), minlength=len(seen) + 1)[1:] > 0
        claimed += int((times > 1).sum())
    return Arranged(objects.take(seen), claimed)


def draw_labels(
    objects: Objects, start: Sequence[int], stop: Sequence[int]
) -> NDArray[np.int32]:
    """Return the labels of the pixels `start` to `stop` (exclusive) of the plane.

    A pixel that several objects claim goes to the most certain; of equally certain ones
    to the first.
    """
    return _draw(objects, start, stop)[0]


def _draw(
    objects: Objects, start: Sequence[int], stop: Sequence[int]
) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Return labels of a box, and how many objects claim each pixel (up to 255)."""
    shape = tuple(np.subtract(stop, start))
    labels, times = np.zeros(shape, np.int32), np.zeros(shape, np.uint8)
    stops = objects.stops
    there = ((objects.starts < stop) & (stops > start)).all(axis=1)
    numbers = np.flatnonzero(there)
    # The most certain comes last and is drawn over the others.
    last = np.lexsort((-numbers, objects.certainty[numbers]))
    for number in numbers[last]:
        low = np.maximum(objects.starts[number], start)
        high = np.minimum(stops[number], stop)
        box = tuple(
            slice(*pair) for pair in zip(low - start, high - start, strict=True)
        )
        own = objects.starts[number]
        part = tuple(slice(*pair) for pair in zip(low - own, high - own, strict=True))
        mask = objects.masks[number][part]
        labels[box][mask] = number + 1
        times[box][mask] = np.minimum(times[box][mask], 254) + 1
    return labels, times
