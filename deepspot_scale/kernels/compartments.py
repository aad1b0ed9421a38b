"""Nucleus and cytoplasm of every cell as runs of voxels, and any voxel of them by rank.

Label planes come in one after the other; what is kept are the runs of voxels along x,
some hundred bytes for each row of a cell, so whole stacks fit. A compartment is what of
a cell lies in a nucleus, or outside all nuclei. Nothing here knows spots.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.regions import find_runs

Integers = NDArray[np.int64]
_LARGEST = 1 << 62
"""Labels from here on leave no room for the bit that says nucleus."""


@dataclass(frozen=True)
class Compartments:
    """Voxels of compartments, ordered by plane, row and column within each."""

    codes: Integers
    """(n,), ascending: twice the cell's label, and 1 more in a nucleus."""
    n_voxels: Integers
    """(n,)."""
    first: Integers
    """(n + 1,), where each compartment's voxels begin among all."""
    begins: Integers
    """(n_runs,), where each run's voxels begin among all."""
    plane: Integers
    """(n_runs,)."""
    row: Integers
    start: Integers
    """Column of its first voxel."""

    @property
    def cells(self) -> Integers:
        """The labels of all cells, ascending."""
        return np.unique(self.codes // 2)

    def find(self, cell: Integers, in_nucleus: NDArray[np.bool_]) -> Integers:
        """Return the number of each compartment asked for; -1: there is none."""
        codes = 2 * cell + in_nucleus
        if len(self.codes) == 0:
            return np.full(len(codes), -1, np.int64)
        place = np.searchsorted(self.codes, codes).clip(max=len(self.codes) - 1)
        return np.where(self.codes[place] == codes, place, -1)

    def voxels(self, compartment: Integers, rank: Integers) -> Integers:
        """Return plane, row and column of the rank-th voxel of each compartment.

        Both have one shape, and the answer that shape and 3.
        """
        place = self.first[compartment] + rank
        run = np.searchsorted(self.begins, place, side="right") - 1
        column = self.start[run] + (place - self.begins[run])
        return np.stack([self.plane[run], self.row[run], column], axis=-1)


def find_compartments(
    planes: Iterable[tuple[NDArray[Any], NDArray[Any] | None]],
) -> Compartments:
    """Return the compartments of label planes of cells, and of nuclei if there are any.

    Raises
    ------
    FieldError
        A label of 2**62 or more.
    """
    parts = []
    for plane, (cells, nuclei) in enumerate(planes):
        if cells.size and int(cells.max()) >= _LARGEST:
            raise FieldError(
                f"cells have labels up to {int(cells.max())}; number them again, below "
                f"{_LARGEST}"
            )
        code = 2 * cells.astype(np.int64)
        if nuclei is not None:
            code += (nuclei > 0) & (code > 0)
        runs = find_runs(code)
        of_run = np.repeat(runs.labels, np.diff(runs.first))
        length = runs.stop - runs.start
        where = np.full(len(length), plane, np.int64)
        parts.append((of_run, where, runs.row, runs.start, length))
    none = (np.zeros(0, np.int64),) * 5
    columns = [np.concatenate(each) for each in zip(none, *parts, strict=True)]
    order = np.argsort(columns[0], kind="stable")
    code, plane_of, row, start, length = (each[order] for each in columns)
    ends = np.cumsum(length)
    codes, at = np.unique(code, return_index=True)
    first = np.append((ends - length)[at], ends[-1:] if len(ends) else 0)
    first = first.astype(np.int64)
    return Compartments(
        codes, np.diff(first), first, ends - length, plane_of, row, start
    )
