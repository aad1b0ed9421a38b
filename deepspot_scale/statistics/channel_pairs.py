"""Spots of two channels compared, image by image: tables of spots in, pairs out.

An image is one field at one occasion. Its spots of the one channel are paired with
those of the other, one to one, once the chromatic shift is undone; a cell's share of
spots with a partner stands beside the shares that chance gives, see
`kernels.chance_pairs`. Rows may come in any order. Nothing here reads files or images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.chance_pairs import (
    Movable,
    count_chance_pairs,
    seed_words,
)
from deepspot_scale.kernels.chromatic import Shift
from deepspot_scale.kernels.compartments import Compartments
from deepspot_scale.kernels.pairing import Points, pair_one_to_one
from deepspot_scale.tables import empty_table, table_of
from deepspot_scale.vocabulary import CELL_PAIRS, CHROMATIC_SHIFTS, PAIRS

Pair = tuple[str, str]
"""Names of two channels; the spots of the first are asked for partners."""
IMAGE: Final = ("row", "column", "field", "acquisition", "t", "plane")
"""What the spots of one image have in common, whatever their channel."""
NEEDED: Final = (*IMAGE, "channel", "z", "y", "x", "cell", "nucleus")
"""Columns of spots that are used here."""


@dataclass(frozen=True)
class PairRule:
    """When two spots of two channels are partners."""

    distance: float = 2.0
    """Largest distance in the plane, in pixels, once the shift is undone."""
    planes: float = 1.5
    """Largest distance along z, in planes; the two make an ellipsoid."""
    shift: Shift = field(default_factory=Shift)
    """Of the other channel against the one."""
    n_draws: int = 100
    """How often spots are moved to learn what chance gives."""

    def reach(self, d: int) -> Points:
        """Return the half axes of the ellipsoid along `d` axes."""
        return np.array([self.planes, self.distance, self.distance][-d:])


@dataclass(frozen=True)
class ImageSpots:
    """The spots of two channels in one image, each ordered by their place."""

    names: Mapping[str, Any]
    """The values of `IMAGE`, ``channel`` and ``other``."""
    one: pd.DataFrame
    """Columns `NEEDED`."""
    other: pd.DataFrame
    depth: bool = False
    """Whether z is a depth: a stack was taken as one image."""

    @classmethod
    def of(
        cls,
        names: Mapping[str, Any],
        one: pd.DataFrame,
        other: pd.DataFrame,
        *,
        depth: bool,
    ) -> ImageSpots:
        """Order the spots by their place, so that the order of rows does not matter."""
        one, other = (
            table.sort_values(["z", "y", "x"], kind="stable", ignore_index=True)
            for table in (one, other)
        )
        return cls(names, one, other, depth)

    @property
    def axes(self) -> list[str]:
        """The columns of a place."""
        return ["z", "y", "x"] if self.depth else ["y", "x"]

    @property
    def places(self) -> tuple[Points, Points]:
        """Where the spots of both channels are, (n, d) and (m, d)."""
        one, other = (t[self.axes].to_numpy(np.float64) for t in (self.one, self.other))
        return one, other

    def seed(self, purpose: str) -> list[int]:
        """Return numbers that choose this image's random draws."""
        words = [*(self.names[n] for n in (*IMAGE, "channel", "other")), purpose]
        return seed_words(words)


def pair_spots(
    spots: ImageSpots, rule: PairRule, voxel_um: Sequence[float | None] = ()
) -> pd.DataFrame:
    """Return the pairs of one image, columns `vocabulary.PAIRS`.

    `voxel_um` are the distances of planes, rows and columns in micrometres, as far as
    they are known.
    """
    one, other = spots.places
    reach = rule.reach(one.shape[1])
    moved = rule.shift.undo(other)
    pairs = pair_one_to_one(one / reach, moved / reach, 1.0)
    if len(pairs) == 0:
        return empty_table(PAIRS)
    left, right = pairs.T
    gaps = np.zeros((len(pairs), 3))
    gaps[:, -one.shape[1] :] = moved[right] - one[left]
    sizes = np.array([*(voxel_um or (None,) * 3)], np.float64)
    if not spots.depth:
        sizes[0] = 0.0
    own, partner = spots.one.iloc[left], spots.other.iloc[right]
    columns = {n: np.full(len(pairs), value) for n, value in spots.names.items()}
    columns |= {n: own[n].to_numpy() for n in ("z", "y", "x", "cell", "nucleus")}
    columns |= {f"other_{n}": partner[n].to_numpy() for n in ("z", "y", "x")}
    columns["distance"] = np.hypot(gaps[:, 1], gaps[:, 2])
    columns["distance_z"] = np.abs(gaps[:, 0])
    columns["distance_um"] = np.sqrt(((gaps * sizes) ** 2).sum(axis=1))
    return table_of(columns, PAIRS)


def measure_cells(
    spots: ImageSpots,
    pairs: pd.DataFrame,
    rule: PairRule,
    cells: NDArray[np.int64],
    compartments: Compartments | None,
    *,
    flat: bool = True,
) -> pd.DataFrame:
    """Return a row for each cell of one image, columns `vocabulary.CELL_PAIRS`.

    Parameters
    ----------
    spots, pairs, rule
        The image's spots and what `pair_spots` says of them.
    cells
        (n,) labels of all cells, ascending.
    compartments
        Where spots move; None: it is not needed, as one channel has no spots in cells.
    flat
        Whether the labels have no depth.

    Raises
    ------
    FieldError
        A spot is in a cell or nucleus that the labels do not have.
    """
    n_spots, n_other, n_pairs = (
        _count(table["cell"].to_numpy(), cells, spots)
        for table in (spots.one, spots.other, pairs)
    )
    drawn = np.zeros((len(cells), rule.n_draws), np.int64)
    if compartments is not None:
        labels, counts = _draw(spots, rule, compartments, flat)
        drawn[np.searchsorted(cells, labels)] = counts
    known = np.where(n_spots > 0, n_spots, np.nan)
    shares = drawn / known[:, None]
    low, high = _ends(shares)
    as_many = (drawn >= n_pairs[:, None]).sum(axis=1)
    names = dict(spots.names)
    names["z"] = names.pop("plane")
    columns = {n: np.full(len(cells), value) for n, value in names.items()}
    columns |= {"cell": cells, "n_spots": n_spots, "n_other": n_other}
    columns |= {"n_pairs": n_pairs, "share": n_pairs / known}
    columns |= {"chance": shares.mean(axis=1), "chance_sd": shares.std(axis=1)}
    columns |= {"chance_low": low, "chance_high": high}
    p_value = np.where(n_spots > 0, (as_many + 1) / (rule.n_draws + 1), np.nan)
    return table_of({**columns, "p_value": p_value}, CELL_PAIRS)


def _ends(shares: Points) -> tuple[Points, Points]:
    """Return the 2.5 and 97.5 % of draws that have been seen, not values between."""
    if not shares.size:
        return np.zeros(0), np.zeros(0)
    low = np.quantile(shares, 0.025, axis=1, method="inverted_cdf")
    high = np.quantile(shares, 0.975, axis=1, method="inverted_cdf")
    return low, high


def _count(
    labels: NDArray[np.int64], cells: NDArray[np.int64], spots: ImageSpots
) -> NDArray[np.int64]:
    """Return how many of the labels are each cell's; 0 is none."""
    inside = labels[labels != 0]
    unknown = np.setdiff1d(inside, cells)
    if len(unknown):
        raise FieldError(_other_labels(spots, unknown))
    return np.bincount(np.searchsorted(cells, inside), minlength=len(cells))


def _other_labels(spots: ImageSpots, unknown: NDArray[np.int64]) -> str:
    words = (spots.names[name] for name in ("row", "column", "field"))
    return (
        f"field {'/'.join(filter(None, map(str, words)))} has spots in the cells "
        f"{', '.join(map(str, unknown[:6].tolist()))}, or in their nuclei, and the "
        "labels do not; give the labels that the spots were assigned with"
    )


def _draw(
    spots: ImageSpots, rule: PairRule, compartments: Compartments, flat: bool
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    one, other = spots.places
    cell = spots.other["cell"].to_numpy(np.int64)
    own = compartments.find(cell, spots.other["nucleus"].to_numpy() != 0)
    lost = (own < 0) & (cell != 0)
    if lost.any():
        raise FieldError(_other_labels(spots, np.unique(cell[lost])))
    own = np.where(cell == 0, -1, own)
    return count_chance_pairs(
        one,
        spots.one["cell"].to_numpy(np.int64),
        Movable(other, cell, own),
        compartments,
        undo=rule.shift.undo,
        reach=rule.reach(one.shape[1]).tolist(),
        n_draws=rule.n_draws,
        key=spots.seed("chance"),
        flat=flat,
    )


def shift_table(shifts: Mapping[tuple[str, str], Shift]) -> pd.DataFrame:
    """Return the shifts of pairs of channels, columns `vocabulary.CHROMATIC_SHIFTS`."""
    rows = [
        {"channel": one, "other": other, **vars(shift)}
        for (one, other), shift in shifts.items()
    ]
    columns = {c.name: [row[c.name] for row in rows] for c in CHROMATIC_SHIFTS}
    arrays = {
        name: np.array(values, object if name in _WORDS else np.float64)
        for name, values in columns.items()
    }
    return table_of(arrays, CHROMATIC_SHIFTS)


_WORDS: Final = {"channel", "other", "how"}
