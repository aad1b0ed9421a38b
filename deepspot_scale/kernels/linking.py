"""Which localisations of following frames are one molecule that stayed on.

Frames and places come in, in the order of frames and in parts as they arrive; the
number of each one's molecule goes out. What is still open at the end of a part is a
value that the next part takes, so that parts give the same numbers as the whole.
Nothing here knows tables.

A molecule goes on with the nearest localisation that is at most `distance` away from
its last one, after at most `dark` frames without any. Pairs are taken nearest first;
each localisation belongs to one molecule.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

Real = NDArray[np.float64]
Index = NDArray[np.int64]


class Links(NamedTuple):
    """Molecules that may go on."""

    molecule: Index
    """(m,) their numbers, ascending."""
    frame: Index
    """(m,) in which each was last seen."""
    place: Real
    """(m, d) where that was."""
    n: int
    """Molecules so far."""


def no_links(dimensions: int = 2) -> Links:
    """Return the state before the first frame."""
    none = np.zeros(0, np.int64)
    return Links(none, none, np.zeros((0, dimensions)), 0)


def link(
    links: Links, frames: Index, places: Real, distance: float, dark: int
) -> tuple[Links, Index]:
    """Return the new state, and the number (n,) of each localisation's molecule.

    Parameters
    ----------
    links
        State after the frames before.
    frames
        (n,) ascending, all after those of earlier parts: a part has whole frames.
    places
        (n, d) finite, in the unit of `distance`.
    distance
        Greatest distance of a molecule's localisations in frames that follow.
    dark
        Frames without a localisation that a molecule may have between two of them.
    """
    numbers = np.empty(len(frames), np.int64)
    starts = np.flatnonzero(np.diff(frames, prepend=-1))
    for first, last in pairwise([*starts, len(frames)]):
        own = slice(first, last)
        links, numbers[own] = _next(
            links, int(frames[first]), places[own], distance, dark
        )
    return links, numbers


def still_open(links: Links, frame: int, dark: int) -> Index:
    """Return the numbers, ascending, of molecules that may be seen after `frame`."""
    return links.molecule[links.frame + dark >= frame]


def _next(
    links: Links, frame: int, places: Real, distance: float, dark: int
) -> tuple[Links, Index]:
    """Take one frame."""
    left = links.frame + dark + 1 >= frame
    molecule, seen, last = links.molecule[left], links.frame[left], links.place[left]
    numbers = np.full(len(places), -1)
    for one, other in _nearest_pairs(last, places, distance):
        numbers[other] = molecule[one]
    gone_on = np.isin(molecule, numbers)
    new = numbers < 0
    numbers[new] = links.n + np.arange(np.count_nonzero(new))
    waiting = ~gone_on
    together = np.concatenate([molecule[waiting], numbers])
    order = np.argsort(together, kind="stable")
    frames = np.concatenate([seen[waiting], np.full(len(places), frame)])
    at = np.concatenate([last[waiting], places])
    n = links.n + int(np.count_nonzero(new))
    return Links(together[order], frames[order], at[order], n), numbers


def _nearest_pairs(one: Real, other: Real, distance: float) -> list[tuple[Any, Any]]:
    """Return pairs within the distance, nearest first, each index once a side."""
    if not (len(one) and len(other)):
        return []
    near = KDTree(one).sparse_distance_matrix(
        KDTree(other), distance, output_type="ndarray"
    )
    pairs, free_one, free_other = [], np.ones(len(one), bool), np.ones(len(other), bool)
    for row in near[np.lexsort((near["j"], near["i"], near["v"]))]:
        i, j = row["i"], row["j"]
        if free_one[i] and free_other[j]:
            free_one[i] = free_other[j] = False
            pairs.append((i, j))
    return pairs
