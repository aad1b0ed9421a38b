"""Star-convex objects: from labels to what a network learns, and from its answer back.

An object is seen from one of its pixels: how far its border is along 32 rays, and how
central the pixel is. On a grid of 2, so that a network that begins with a halving can
answer; beside that, at full resolution, which pixels are of any object. A polygon alone
would round off what the rays miss, so an object is what of the foreground lies nearest
to its polygon. Nothing here knows networks, tiles or plates.

    labels  -> star_targets -> (y / 2, x / 2, 1 + 32 + 4) -> network
    network -> decode -> candidates of all tiles -> suppress -> draw_stars -> labels

Source: Schmidt et al. 2018, https://doi.org/10.1007/978-3-030-00934-2_30 (object
probability and distances).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from deepspot_scale.kernels.object_size import bin_plane

GRID: Final = 2
"""Pixels of the image for one of the answer, along each axis."""
RAYS: Final = 32
CHANNELS: Final = 1 + RAYS + GRID**2
"""Of an answer: probability, distances, and the foreground of GRID x GRID pixels."""
LONGEST: Final = 128
"""Pixels after which a ray ends."""
_ANGLES = 2 * np.pi * np.arange(RAYS) / RAYS
DIRECTIONS: Final = np.stack([np.sin(_ANGLES), np.cos(_ANGLES)], axis=1)
"""(32, 2), along y and x, of each ray."""
_RINGS = (np.arange(6) + 0.5) / 6
"""Where a polygon is sampled: at these shares of each ray."""
_BEYOND = 1.6
"""Foreground belongs to a polygon up to this share of its ray."""
_CHUNK = 2048
"""Stars, or pairs of them, that are compared at once."""
_ROOM = 3.0
"""Pixels beyond a polygon that are its own at least, where there is foreground."""


_AS_IT_IS = Fraction(1)
_ABOVE = 140
"""Of 255: what is more likely is foreground. Chosen on images that are learned from."""


class Candidates(NamedTuple):
    """Pixels that may each stand for an object."""

    places: NDArray[np.int64]
    """(n, 2), pixels (y, x) of the network's image."""
    probability: NDArray[np.float32]
    """(n,)."""
    distances: NDArray[np.float32]
    """(n, 32), pixels of the network's image, at least 1/2."""

    def take(self, which: NDArray[Any]) -> Candidates:
        """Return some of them."""
        return Candidates(*(each[which] for each in self))

    def __add__(self, other: object) -> Candidates:
        if not isinstance(other, Candidates):
            return NotImplemented
        return Candidates(
            np.concatenate([self.places, other.places]),
            np.concatenate([self.probability, other.probability]),
            np.concatenate([self.distances, other.distances]),
        )


def no_candidates() -> Candidates:
    """Return an empty list."""
    return Candidates(
        np.zeros((0, 2), np.int64),
        np.zeros(0, np.float32),
        np.zeros((0, RAYS), np.float32),
    )


def star_targets(labels: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Return the right answer (y / 2, x / 2, 37) to an image with these labels.

    `labels` is (y, x), both even. The probability of a pixel is its distance from the
    background or another object, over the largest of its object; a ray is walked in
    steps of a pixel until the label changes, which is then half a step back.
    """
    central = _centrality(labels)[::GRID, ::GRID]
    distances = _walk(labels)
    above = labels > 0
    folded = [above[y::GRID, x::GRID] for y in range(GRID) for x in range(GRID)]
    parts = [central[..., None], distances, np.stack(folded, axis=-1)]
    return np.concatenate(parts, axis=-1).astype(np.float32)


def _centrality(labels: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    central = np.zeros(labels.shape, np.float32)
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is None:
            continue
        mask = labels[box] == number
        # Where the object goes on beyond the image, the image's side is no border.
        padding = [
            (int(side.start > 0), int(side.stop < length))
            for side, length in zip(box, labels.shape, strict=True)
        ]
        padded = np.pad(mask, padding)
        if padded.all():
            central[box] = 1  # it fills the image
            continue
        inner = tuple(
            slice(before, before + n)
            for (before, _), n in zip(padding, mask.shape, strict=True)
        )
        depth = ndimage.distance_transform_edt(padded)[inner]
        central[box][mask] = (depth / depth.max())[mask]
    return central


def _walk(labels: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Return how far (y / 2, x / 2, 32) the border is along each ray."""
    small = labels[::GRID, ::GRID]
    distances = np.zeros((*small.shape, RAYS), np.float32)
    at = np.argwhere(small > 0)
    if not len(at):
        return distances
    own = small[at[:, 0], at[:, 1]]
    place, ray = (each.ravel() for each in np.indices((len(at), RAYS)))
    walked = np.full(place.size, np.float32(LONGEST))
    going = np.arange(place.size)
    for step in range(1, LONGEST):
        by = DIRECTIONS[ray[going]] * step
        y, x = np.rint(at[place[going]] * GRID + by).astype(np.int64).T
        inside = (y >= 0) & (y < labels.shape[0]) & (x >= 0) & (x < labels.shape[1])
        same = inside.copy()
        same[inside] = labels[y[inside], x[inside]] == own[place[going[inside]]]
        walked[going[~same]] = step - 0.5
        going = going[same]
        if not len(going):
            break
    distances[at[:, 0], at[:, 1]] = walked.reshape(-1, RAYS)
    return distances


def decode(answer: NDArray[np.float32], threshold: float) -> Candidates:
    """Return the candidates of an answer (y, x, 37).

    Those are pixels above `threshold` that no neighbour exceeds; of equal neighbours
    the first is taken.
    """
    probability = np.ascontiguousarray(answer[..., 0])
    around = np.array([[1, 1, 1], [1, 0, 0], [0, 0, 0]], np.uint8)
    before = cv2.dilate(probability, around)
    after = cv2.dilate(probability, around[::-1, ::-1].copy())
    # Strictly above those before it, not below those after it.
    highest = (probability > before) & (probability >= after)
    at = np.argwhere(highest & (probability > threshold))
    y, x = at.T
    distances = np.maximum(answer[y, x, 1 : 1 + RAYS], 0.5)
    return Candidates(at * GRID, probability[y, x], distances)


def foreground(answer: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return how likely (2 y, 2 x) a pixel is of any object, in 255ths."""
    height, width = answer.shape[:2]
    folded = answer[..., 1 + RAYS :].reshape(height, width, GRID, GRID)
    unfolded = folded.transpose(0, 2, 1, 3).reshape(height * GRID, width * GRID)
    return np.asarray(np.rint(255 * unfolded.clip(0, 1)), np.uint8)


class _Directions(NamedTuple):
    """Where places lie about a star's pixel."""

    lower: NDArray[np.int64]
    """The ray before."""
    share: NDArray[np.float32]
    """Of the way to the ray after it."""
    length: NDArray[np.float32]
    """Distance in pixels."""

    def ratio(self, distances: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return where places lie on the rays of a star: 0 its pixel, 1 its border.

        `distances` is (..., 32) or (32,). Between two rays the border is taken between
        both.
        """
        # One ray more, so that the last one has a neighbour too.
        closed = np.concatenate([distances, distances[..., :1]], axis=-1)
        if distances.ndim == 1:
            near, far = closed[self.lower], closed[self.lower + 1]
        else:
            near = np.take_along_axis(closed, self.lower, -1)
            far = np.take_along_axis(closed, self.lower + 1, -1)
        border = near + (far - near) * self.share
        return np.asarray(self.length / border, np.float32)


def _directions(y: NDArray[np.float32], x: NDArray[np.float32]) -> _Directions:
    """Return the directions of places, given as offsets from the star's pixel."""
    angle = np.arctan2(y, x) * np.float32(RAYS / (2 * np.pi))
    angle = np.where(angle < 0, angle + np.float32(RAYS), angle)
    lower = np.minimum(angle.astype(np.int64), RAYS - 1)
    return _Directions(lower, angle - lower.astype(np.float32), np.hypot(y, x))


def suppress(candidates: Candidates, overlap: float) -> NDArray[np.int64]:
    """Return the numbers of those candidates that stand for an object of their own.

    From the most likely on, a candidate is taken unless it and one taken before share
    more than `overlap` of the smaller one's area. The answer does not depend on the
    order in which they are given, and comes in the order of places, row by row.
    """
    if not len(candidates.probability):
        return np.zeros(0, np.int64)
    y, x = candidates.places.T
    # In this order each star has only earlier rivals, and sums are the same bits
    # however the candidates came.
    order = np.lexsort((x, y, -candidates.probability))
    rivals = _rivals(candidates.take(order), overlap)
    taken = np.zeros(len(order), bool)
    for number, earlier in enumerate(rivals):
        taken[number] = not taken[earlier].any()
    kept = order[taken]
    return kept[np.lexsort((x[kept], y[kept]))]


def _rivals(candidates: Candidates, overlap: float) -> list[NDArray[np.int64]]:
    """Return for each candidate the earlier ones that overlap with it too much."""
    n = len(candidates.probability)
    places, widest = candidates.places, candidates.distances.max(axis=1)
    tree = cKDTree(places)
    pairs: list[NDArray[np.int64]] = [np.zeros((0, 2), np.int64)]
    for first in range(0, n, _CHUNK):
        wide = np.arange(first, min(first + _CHUNK, n))
        # The wider star of a pair looks for the other, no farther than both reach.
        near = tree.query_ball_point(places[wide], 2 * widest[wide])
        one = np.repeat(wide, [len(others) for others in near])
        other = np.concatenate([np.array(others, np.int64) for others in near])
        narrower = (widest[other] < widest[one]) | (
            (widest[other] == widest[one]) & (other < one)
        )
        apart = np.hypot(*(places[one] - places[other]).T)
        both = narrower & (apart < widest[one] + widest[other])
        found = np.sort(np.stack([one[both], other[both]], axis=1), axis=1)
        pairs.append(found[_shared(candidates, found) > overlap])
    early, late = np.concatenate(pairs).T
    by = np.lexsort((early, late))
    return np.split(early[by], np.searchsorted(late[by], np.arange(1, n)))


def _shared(candidates: Candidates, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the shared area over the smaller area, of pairs (n, 2) of stars."""
    shared = np.zeros(len(pairs))
    for first in range(0, len(pairs), _CHUNK):
        one, other = pairs[first : first + _CHUNK].T
        shares = [
            _inside(candidates.take(a), candidates.take(b))
            for a, b in ((one, other), (other, one))
        ]
        shared[first : first + _CHUNK] = np.maximum(*shares)
    return shared


def _inside(stars: Candidates, others: Candidates) -> NDArray[np.float64]:
    """Return which share (n,) of each star's area lies inside its partner."""
    rays = stars.distances[:, :, None] * _RINGS.astype(np.float32)
    weights = (stars.distances[:, :, None] ** 2 * _RINGS).reshape(len(rays), -1)
    apart = (stars.places - others.places)[:, None, None, :]
    offsets = apart + rays[..., None] * DIRECTIONS[:, None, :]
    flat = offsets.reshape(len(rays), -1, 2).astype(np.float32)
    inside = _directions(flat[..., 0], flat[..., 1]).ratio(others.distances) < 1
    share = (inside * weights).sum(axis=1) / weights.sum(axis=1)
    return np.asarray(share, np.float64)


class Drawn(NamedTuple):
    """Labels of a plane's stars."""

    labels: NDArray[np.int32]
    """(y, x), number i + 1 for candidate i."""
    n_claimed: int
    """Pixels inside more than one polygon."""


def draw_stars(
    candidates: Candidates,
    above: NDArray[np.uint8],
    shape: tuple[int, int],
    *,
    step: Fraction = _AS_IT_IS,
) -> Drawn:
    """Return the labels of a plane.

    Parameters
    ----------
    candidates
        Those that stand for an object, in pixels of the network's image.
    above
        The foreground of the network's image, see `foreground`.
    shape
        Pixels of the plane along y and x.
    step
        Pixels of the plane for one of the network's image, along each axis: a whole
        number where the plane was reduced, one over it where it was enlarged.

    Each pixel of the foreground goes to the star whose border is relatively farthest
    from it, of those that reach it.
    """
    labels = np.zeros(shape, np.int32)
    nearest = np.full(shape, np.inf, np.float32)
    times = np.zeros(shape, np.uint8)
    whole = _on_plane(above, step, shape)
    pixels = float(step)
    # The centre of a pixel of the network's image, in pixels of the plane.
    centres = candidates.places * pixels + (pixels - 1) / 2
    for number, centre in enumerate(centres):
        distances = candidates.distances[number] * np.float32(pixels)
        most = np.maximum(distances * _BEYOND, distances + _ROOM * pixels)
        reach = float(most.max()) + 1
        low = np.maximum(np.floor(centre - reach), 0).astype(int)
        high = np.minimum(np.ceil(centre + reach) + 1, shape).astype(int)
        box = (slice(low[0], high[0]), slice(low[1], high[1]))
        y, x = np.ogrid[box]
        about = _directions(
            (y - centre[0]).astype(np.float32), (x - centre[1]).astype(np.float32)
        )
        ratio = about.ratio(distances)
        reached = (about.ratio(most) <= 1) & whole[box]
        times[box] += ((ratio < 1) & (times[box] < 255)).astype(np.uint8)
        better = reached & (ratio < nearest[box])
        labels[box][better] = number + 1
        nearest[box][better] = ratio[better]
    return Drawn(labels, int((times > 1).sum()))


def _on_plane(
    above: NDArray[np.uint8], step: Fraction, shape: tuple[int, int]
) -> NDArray[np.bool_]:
    """Return the foreground of the plane.

    Where the plane was reduced, it is interpolated between pixels of the network's
    image; where it was enlarged, it is their mean.
    """
    if step < 1:
        return bin_plane(above, step.denominator)[: shape[0], : shape[1]] > _ABOVE
    if step > 1:
        height, width = above.shape
        size = (width * step.numerator, height * step.numerator)
        resized = cv2.resize(above, size, interpolation=cv2.INTER_LINEAR)
        above = np.asarray(resized, np.uint8)
    return np.asarray(above[: shape[0], : shape[1]] > _ABOVE)
