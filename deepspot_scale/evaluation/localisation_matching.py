"""How well localised molecules match true ones: two tables in, scores out.

Places are nanometres, frames are numbers, and molecules match within their frame only.
The cut-off is inside the assignment: pairs farther apart than the tolerance do not
exist, so a far pair can never displace a near one. Of all assignments, one to one, the
one with the most pairs counts, and of these the one with the least sum of squared
distances. (Optimal assignment first and the cut-off afterwards, as in some published
code, loses near pairs in crowded frames.) The reach is a cylinder, as in the challenge:
Sage et al. 2019, https://doi.org/10.1038/s41592-019-0364-4.

Molecules at the border or too dim to count are set aside *after* the matching: a
localisation that belongs to one of them is neither right nor wrong. Nothing here knows
files.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.pairing import choose_pairs, find_neighbours

TOLERANCES_NM: Final = tuple(float(nm) for nm in range(10, 251, 10))
"""Tolerances of a sweep, as in the papers."""
_PLACES: Final = ("x_nm", "y_nm", "z_nm")


@dataclass(frozen=True)
class MatchTerms:
    """What counts as a match, and which molecules count."""

    tolerance_nm: float = 100.0
    """Largest lateral distance of a pair, itself included."""
    axial_nm: float | None = None
    """Largest axial distance of a pair; None: depth does not matter."""
    border_nm: float = 0.0
    """Width of the border whose molecules do not count; needs `extent_nm`."""
    extent_nm: tuple[float, float] | None = None
    """Size of a frame along (y, x)."""
    least_photons: float = 0.0
    """True molecules with fewer photons do not count."""

    def __post_init__(self) -> None:
        """Raise SettingsError if a value is out of range."""
        reaches = [self.tolerance_nm, 1.0 if self.axial_nm is None else self.axial_nm]
        least = [self.border_nm, self.least_photons]
        if not (all(0 < r < math.inf for r in reaches) and all(n >= 0 for n in least)):
            raise SettingsError(
                "expected tolerances above 0 and a border and photons of at least 0; "
                f"got {self}"
            )
        if self.border_nm and self.extent_nm is None:
            raise SettingsError(
                f"a border of {self.border_nm:g} nm needs the size of a frame: give "
                "extent_nm, (y, x) in nanometres"
            )


@dataclass(frozen=True)
class MoleculeScore:
    """Counts and errors of one comparison."""

    n_true: int
    """True molecules that count."""
    n_found: int
    """Localisations that count: all but those that match a molecule set aside."""
    pairs: pd.DataFrame
    """Columns found, true (rows of the tables), dx_nm, dy_nm, dz_nm (found - true)."""

    @property
    def n_matched(self) -> int:
        """Pairs."""
        return len(self.pairs)

    @property
    def jaccard(self) -> float:
        """Pairs over all molecules, true or found; 1 if all is empty."""
        return _share(self.n_matched, self.n_true + self.n_found - self.n_matched)

    @property
    def precision(self) -> float:
        """Share of the localisations that match; 1 if there are none."""
        return _share(self.n_matched, self.n_found)

    @property
    def recall(self) -> float:
        """Share of the true molecules that match; 1 if there are none."""
        return _share(self.n_matched, self.n_true)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if all is empty."""
        return _share(2 * self.n_matched, self.n_true + self.n_found)

    @property
    def rmse_lateral_nm(self) -> float:
        """Root of the mean squared distance in the plane; NaN without pairs.

        Both axes together, so sqrt(2) times the error of one axis.
        """
        square = self.pairs["dx_nm"] ** 2 + self.pairs["dy_nm"] ** 2
        return math.sqrt(square.mean()) if len(square) else math.nan

    @property
    def rmse_axial_nm(self) -> float:
        """Root of the mean squared difference in depth; NaN: no pairs or no depth."""
        square = self.pairs["dz_nm"] ** 2
        return math.sqrt(square.mean()) if len(square) else math.nan

    def as_row(self) -> dict[str, float]:
        """Return the numbers as one row of a table."""
        shift = self.pairs[["dx_nm", "dy_nm", "dz_nm"]].mean()
        return {
            "n_true": self.n_true,
            "n_found": self.n_found,
            "n_matched": self.n_matched,
            "jaccard": self.jaccard,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "rmse_lateral_nm": self.rmse_lateral_nm,
            "rmse_axial_nm": self.rmse_axial_nm,
            "shift_x_nm": float(shift["dx_nm"]),
            "shift_y_nm": float(shift["dy_nm"]),
            "shift_z_nm": float(shift["dz_nm"]),
        }


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0


class _Candidates(NamedTuple):
    """Two sets of molecules and all pairs of them that could match."""

    found: NDArray[np.float64]
    """(n, 3), x, y, z."""
    true: NDArray[np.float64]
    near: NDArray[Any]
    """As `find_neighbours` returns them; v is the lateral distance."""
    true_counts: NDArray[np.bool_]
    found_counts: NDArray[np.bool_]


def match_molecules(
    found: pd.DataFrame, true: pd.DataFrame, terms: MatchTerms | None = None
) -> MoleculeScore:
    """Score localised molecules against true ones.

    Parameters
    ----------
    found, true
        Columns frame, x_nm, y_nm, and z_nm if there is depth; others are not read,
        but photons of `true` if there is a least number.
    terms
        What matches and what counts; None: within 100 nm in the plane, and all.

    Raises
    ------
    SettingsError
        A column is missing or not finite, or no frame is in both tables.

    Examples
    --------
    >>> true = pd.DataFrame({"frame": [0, 0], "x_nm": [0.0, 90.0], "y_nm": [0.0, 0.0]})
    >>> match_molecules(true.iloc[:1], true).jaccard
    0.5
    """
    terms = terms or MatchTerms()
    return _score(_candidates(found, true, terms), terms)


def sweep(
    found: pd.DataFrame,
    true: pd.DataFrame,
    tolerances_nm: Sequence[float] = TOLERANCES_NM,
    terms: MatchTerms | None = None,
) -> pd.DataFrame:
    """Score at each of several tolerances; the tolerance of `terms` does not count.

    Returns a table with the column tolerance_nm and those of `MoleculeScore.as_row`,
    a row for each tolerance in rising order. Raises as `match_molecules` does.
    """
    if len(tolerances_nm) == 0:
        raise SettingsError("expected at least one tolerance, got none")
    each = [
        replace(terms or MatchTerms(), tolerance_nm=nm) for nm in sorted(tolerances_nm)
    ]
    all_near = _candidates(found, true, each[-1])
    rows = []
    for own in each:
        within = all_near.near["v"] <= own.tolerance_nm
        near = all_near._replace(near=all_near.near[within])
        row = _score(near, own).as_row()
        rows.append({"tolerance_nm": own.tolerance_nm, **row})
    return pd.DataFrame(rows)


def _candidates(
    found: pd.DataFrame, true: pd.DataFrame, terms: MatchTerms
) -> _Candidates:
    places = [_places(found, "localisations", terms), _places(true, "truth", terms)]
    frames = [table["frame"].to_numpy(np.int64) for table in (found, true)]
    if len(found) and len(true) and not np.isin(frames[0], frames[1]).any():
        ranges = [f"{own.min()} to {own.max()}" for own in frames]
        raise SettingsError(
            f"no frame is in both tables: localisations have {ranges[0]}, the truth "
            f"{ranges[1]}. Frames count from 0 in both; is this the truth of the movie?"
        )
    # Frames are layers that no tolerance bridges, so one search serves all of them.
    step = 4.0 * terms.tolerance_nm
    layers = [
        np.column_stack([xyz[:, :2], step * own])
        for xyz, own in zip(places, frames, strict=True)
    ]
    near = find_neighbours(layers[0], layers[1], terms.tolerance_nm)
    if terms.axial_nm is not None:
        deep = places[0][near["i"], 2] - places[1][near["j"], 2]
        near = near[np.abs(deep) <= terms.axial_nm]
    bright = np.ones(len(true), np.bool_)
    if terms.least_photons:
        bright = _photons(true) >= terms.least_photons
    inside = [_inside(xyz, terms) for xyz in places]
    return _Candidates(places[0], places[1], near, inside[1] & bright, inside[0])


def _places(table: pd.DataFrame, name: str, terms: MatchTerms) -> NDArray[np.float64]:
    needed = ["frame", *_PLACES[: 2 if terms.axial_nm is None else 3]]
    lacking = [column for column in needed if column not in table]
    if lacking:
        raise SettingsError(
            f"{name}: expected the columns {', '.join(needed)}; {', '.join(lacking)} "
            f"is missing, there are {', '.join(map(str, table.columns))}"
        )
    if not np.isfinite(table[needed].to_numpy(np.float64)).all():
        raise SettingsError(
            f"{name}: a number in the columns {', '.join(needed)} is not finite. "
            "Remove such rows, or leave the axial tolerance out if there is no depth."
        )
    return table.reindex(columns=list(_PLACES)).to_numpy(np.float64)


def _photons(true: pd.DataFrame) -> NDArray[np.float64]:
    if "photons" not in true or true["photons"].isna().any():
        raise SettingsError(
            "a least number of photons needs those of every true molecule, which the "
            "truth does not have"
        )
    return true["photons"].to_numpy(np.float64)


def _inside(xyz: NDArray[np.float64], terms: MatchTerms) -> NDArray[np.bool_]:
    if terms.extent_nm is None or not terms.border_nm:
        return np.ones(len(xyz), np.bool_)
    extent_xy = np.array(terms.extent_nm[::-1])
    low = xyz[:, :2] >= terms.border_nm
    high = xyz[:, :2] <= extent_xy - terms.border_nm
    return np.asarray((low & high).all(axis=1), np.bool_)


def _score(sets: _Candidates, terms: MatchTerms) -> MoleculeScore:
    difference = sets.found[sets.near["i"]] - sets.true[sets.near["j"]]
    priced = sets.near.copy()
    priced["v"] = (difference[:, : 2 if terms.axial_nm is None else 3] ** 2).sum(axis=1)
    pairs = choose_pairs(priced)
    counts = sets.true_counts[pairs[:, 1]]
    # What matches decides by its true molecule; what does not, by its own place.
    found_counts = sets.found_counts.copy()
    found_counts[pairs[:, 0]] = counts
    pairs = pairs[counts]
    error = sets.found[pairs[:, 0]] - sets.true[pairs[:, 1]]
    table = pd.DataFrame(
        {
            "found": pairs[:, 0],
            "true": pairs[:, 1],
            "dx_nm": error[:, 0],
            "dy_nm": error[:, 1],
            "dz_nm": error[:, 2],
        }
    )
    n_true, n_found = int(sets.true_counts.sum()), int(found_counts.sum())
    return MoleculeScore(n_true, n_found, table)
