"""How many pairs there are by chance: spots of the one channel stay, the others move.

    one channel    stays where it was found
    other channel  each spot goes to a random voxel of its own compartment of its own
                   cell; a spot outside all cells stays

Then the most one-to-one pairs are counted again, by the same rule as the measured ones,
and again for each draw. A spot keeps its place inside its voxel, so positions on whole
pixels stay on whole pixels. In a stack with flat labels it also keeps its depth, since
these do not say how deep a cell is. The random numbers of a cell depend on a key and on
its own label alone. Nothing here knows tables or files.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.compartments import Compartments
from deepspot_scale.kernels.pairing import Points, match_most

Integers = NDArray[np.int64]
_TOGETHER: Final = 1 << 20
"""Moved spots that are held at once."""
_HALF: Final = 0.5
"""A place is this far from the centre of its pixel at most, along each axis."""


@dataclass(frozen=True)
class Movable:
    """Spots of the other channel, and the compartments that they move in."""

    places: Points
    """(n, 2) or (n, 3)."""
    cell: Integers
    """(n,), label; 0: it stays."""
    compartment: Integers
    """(n,), number in `Compartments`; -1: it stays."""


def count_chance_pairs(  # noqa: PLR0913 - two sets of spots, where, how, how often
    one: Points,
    cell: Integers,
    other: Movable,
    compartments: Compartments,
    *,
    undo: Callable[[Points], Points],
    reach: Sequence[float],
    n_draws: int,
    key: Sequence[int],
    flat: bool = True,
) -> tuple[Integers, Integers]:
    """Return how many spots of each cell have a partner in each draw.

    Parameters
    ----------
    one
        (n, d) spots of the one channel, y and x last.
    cell
        (n,) labels of their cells; 0: outside, not counted.
    other
        Spots of the other channel.
    compartments
        Where they move.
    undo
        Takes places of the other channel to where the one channel has them.
    reach
        Half axes of the ellipsoid in which spots are partners, for each axis.
    n_draws, key
        Number of draws, and the numbers that choose them.
    flat
        Whether the labels have no depth, and spots keep theirs.

    Returns
    -------
    labels, counts
        (n_cells,) the cells that have spots of the one channel, and (n_cells, n_draws).
    """
    labels = np.unique(cell[cell != 0])
    counts = np.zeros((len(labels), n_draws), np.int64)
    if len(labels) == 0 or len(other.places) == 0:
        return labels, counts
    ranks = _draw_ranks(other, compartments, n_draws, key)
    near = _PixelNeighbours.of(one, reach)
    of_one = np.where(cell != 0, np.searchsorted(labels, cell), -1)
    size = max(1, _TOGETHER // len(other.places))
    for begin in range(0, n_draws, size):
        drawn = range(begin, min(begin + size, n_draws))
        moved = _move(other, compartments, ranks[drawn.start : drawn.stop], flat)
        matched = near.match(undo(moved), len(drawn))
        draw, spot = np.nonzero(matched)
        inside = of_one[spot] >= 0
        np.add.at(counts, (of_one[spot[inside]], begin + draw[inside]), 1)
    return labels, counts


def _draw_ranks(
    other: Movable, compartments: Compartments, n_draws: int, key: Sequence[int]
) -> Integers:
    """Return the rank of the voxel that each spot moves to, (n_draws, n)."""
    ranks = np.zeros((n_draws, len(other.places)), np.int64)
    movable = np.flatnonzero(other.compartment >= 0)
    order = movable[np.argsort(other.cell[movable], kind="stable")]
    begins = np.flatnonzero(np.diff(other.cell[order], prepend=0))
    for own in np.split(order, begins[1:]) if len(order) else ():
        rng = np.random.default_rng([*key, int(other.cell[own[0]])])
        sizes = compartments.n_voxels[other.compartment[own]]
        ranks[:, own] = rng.integers(0, sizes, (n_draws, len(own)))
    return ranks


def _move(
    other: Movable, compartments: Compartments, ranks: Integers, flat: bool
) -> Points:
    """Return the places of all spots in some draws, one draw after the other."""
    places = np.repeat(other.places[None], len(ranks), axis=0)
    moves = np.flatnonzero(other.compartment >= 0)
    axes = 2 if flat else other.places.shape[1]
    own = other.places[moves, -axes:]
    within = own - np.floor(own + _HALF)
    compartment = np.broadcast_to(other.compartment[moves], (len(ranks), len(moves)))
    voxels = compartments.voxels(compartment, ranks[:, moves])
    places[:, moves, -axes:] = voxels[..., -axes:] + within
    return places.reshape(-1, places.shape[2])


@dataclass(frozen=True)
class _PixelNeighbours:
    """For each pixel the spots that may be partners of a place in it.

    A table in place of a tree: millions of places are asked for few spots.
    """

    one: Points
    reach: Points
    corner: Integers
    """(2,), the first pixel of the table."""
    shape: tuple[int, int]
    first: Integers
    """(n_pixels + 1,), where each pixel's spots begin."""
    spots: Integers

    @classmethod
    def of(cls, one: Points, reach: Sequence[float]) -> _PixelNeighbours:
        """Make the table for spots (n, d) and the half axes of a pair."""
        half = np.array(reach, np.float64)
        margin = np.ceil(half[-2:] + _HALF).astype(np.int64)
        pixel = np.floor(one[:, -2:] + _HALF).astype(np.int64)
        corner = pixel.min(axis=0) - margin
        shape = pixel.max(axis=0) + margin + 1 - corner
        # A place is up to half a pixel from its own centre, and so is a spot.
        offsets = np.stack(
            np.meshgrid(*(np.arange(-m, m + 1) for m in margin), indexing="ij"), axis=-1
        ).reshape(-1, 2)
        around = pixel[:, None] + offsets - corner
        gap = np.maximum(np.abs(around + corner - one[:, None, -2:]) - _HALF, 0.0)
        spot, at = np.nonzero(((gap / half[-2:]) ** 2).sum(axis=-1) <= 1.0 + 1e-9)
        y, x = around[spot, at].T
        pixels = y * shape[1] + x
        order = np.argsort(pixels, kind="stable")
        counts = np.bincount(pixels, minlength=int(shape[0] * shape[1]))
        first = np.concatenate([[0], np.cumsum(counts)])
        size = int(shape[0]), int(shape[1])
        return cls(one, half, corner, size, first, spot[order])

    def match(self, places: Points, n_draws: int) -> NDArray[np.bool_]:
        """Return which spots have a partner in each draw, (n_draws, n).

        `places` are those of all draws, one draw after the other.
        """
        n, each = len(self.one), len(places) // n_draws
        spot, place = self._candidates(places)
        gaps = (places[place] - self.one[spot]) / self.reach
        near = np.sqrt((gaps**2).sum(axis=1)) <= 1.0
        spot, place = spot[near], place[near]
        row, i = np.unique(place // each * n + spot, return_inverse=True)
        column, j = np.unique(place, return_inverse=True)
        matched = np.zeros(n_draws * n, bool)
        matched[row[match_most(i, j, (len(row), len(column))) >= 0]] = True
        return matched.reshape(n_draws, n)

    def _candidates(self, places: Points) -> tuple[Integers, Integers]:
        """Return spots and places that may be near each other."""
        pixel = np.floor(places[:, -2:] + _HALF).astype(np.int64) - self.corner
        inside = np.flatnonzero(((pixel >= 0) & (pixel < self.shape)).all(axis=1))
        y, x = pixel[inside].T
        pixels = y * self.shape[1] + x
        begin, count = self.first[pixels], np.diff(self.first)[pixels]
        some = count > 0
        inside, begin, count = inside[some], begin[some], count[some]
        place = np.repeat(inside, count)
        before = np.repeat(np.cumsum(count) - count - begin, count)
        return self.spots[np.arange(len(place)) - before], place


def seed_words(words: Iterable[object]) -> list[int]:
    """Return numbers that choose random draws, from what names them."""
    return [zlib.crc32(str(word).encode()) for word in words]
