"""The polarity of a group of cells: their bins in, index, interval and null out.

Each index comes with an interval over cells and with its own null: the same cells with
their spots thrown again, uniformly over their cytoplasm. Nothing here knows tables,
wells or images.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, get_args

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.sectors import polarity_index
from deepspot_scale.statistics import null_models
from deepspot_scale.statistics.bootstrap import interval_over_cells
from deepspot_scale.statistics.compact_bins import bin_edges, unfold_bins
from deepspot_scale.statistics.null_models import Bins, Concentrations, Rotation

_CHUNK: Final = 2048
"""Cells whose bins are stacked at once: some 50 MB, with all that is made of them."""
ROTATION_NOTES: Final[dict[Rotation, str]] = {
    "fixed": "The reference sector is centred on the reference direction.",
    "published": (
        "As published for DypFISH, each cell keeps the rotation whose reference sector "
        "is densest. That alone raises the index: spots spread uniformly give 0.9 "
        "to 1, not 0. Read the index minus its uniform null, which is treated the same "
        "way; little is left between the two to tell strong from weak polarity."
    ),
}
"""Text beside an index, by `SectorIndex.rotation`."""


@dataclass(frozen=True)
class SectorIndex:
    """How the polarity of a group of cells is measured."""

    sectors: int = 3
    """Equal sectors about the nucleus: a divisor of 180, at least 2."""
    min_spots: int = 10
    """Cells with fewer spots in the cytoplasm are left out."""
    rotation: Rotation = "fixed"
    """``published``: DypFISH's densest rotation; see `ROTATION_NOTES`."""
    exclude_border: bool = False
    """Whether cells that touch the edge of their field are left out of the index."""
    n_boot: int = 199
    """Bootstrap samples for an interval; 0: no interval."""
    n_null: int = 63
    """How often each cell's spots are thrown again; 0: no uniform null."""
    n_draws: int = 999
    """Draws and permutations of a p value, which is then at least 1 / (draws + 1)."""
    seed: int = 0
    """Each well and condition draws from a random stream of its own."""

    def __post_init__(self) -> None:
        if self.sectors < 2 or 180 % self.sectors:
            raise SettingsError(
                "sectors must be a divisor of 180 and at least 2 (2, 3, 4, 5, 6, 9 "
                f"...), so that the reference sector is centred; got {self.sectors}"
            )
        if self.rotation not in get_args(Rotation):
            raise SettingsError(
                f"rotation must be {' or '.join(get_args(Rotation))}; "
                f"got {self.rotation!r}"
            )
        for name in ("min_spots", "n_boot", "n_null", "n_draws", "seed"):
            if getattr(self, name) < 0:
                raise SettingsError(
                    f"{name} must be 0 or more; got {getattr(self, name)}"
                )

    @property
    def edges(self) -> NDArray[np.int64]:
        """Bins at which a sum begins that this index, its nulls or a rose reads."""
        return bin_edges(self.sectors, self.rotation)


@dataclass(frozen=True)
class Polarity:
    """The polarity of one group of cells; NaN where it is not known."""

    n_cells_used: int
    polarity_index: float = np.nan
    polarity_low: float = np.nan
    polarity_high: float = np.nan
    polarity_null: float = np.nan
    polarity_corrected: float = np.nan
    p_value: float = np.nan


@dataclass(frozen=True)
class CellBins:
    """The bins of some cells, which stay where they are and are stacked in chunks."""

    spots: Sequence[Any] | Bins
    """Cytoplasmic spots per degree from a known reference: 360 numbers a cell, or
    their sums from `compact_bins.fold_bins`."""
    areas: Sequence[Any] | Bins
    """Cytoplasm pixels, likewise."""
    edges: NDArray[np.int64]
    """Where such sums begin."""

    def __len__(self) -> int:
        return len(self.spots)

    def chunks(self) -> Iterator[tuple[slice, NDArray[np.int64], NDArray[np.int64]]]:
        """Yield the places of some cells, their spots and areas, (n, 360) each."""
        for start in range(0, len(self), _CHUNK):
            chunk = slice(start, min(start + _CHUNK, len(self)))
            spots, areas = self.spots[chunk], self.areas[chunk]
            yield chunk, unfold_bins(spots, self.edges), unfold_bins(areas, self.edges)

    def usable(self, index: SectorIndex) -> NDArray[np.int64]:
        """Return which cells have enough spots, and a cytoplasm, in ascending order."""
        found = [np.zeros(0, np.int64)]
        for chunk, spots, areas in self.chunks():
            enough = spots.sum(axis=1) >= max(index.min_spots, 1)
            found.append(chunk.start + np.flatnonzero(enough & areas.any(axis=1)))
        return np.concatenate(found)

    def only(self, which: NDArray[np.int64]) -> CellBins:
        """Return the bins of these cells."""
        spots, areas = ([of[i] for i in which] for of in (self.spots, self.areas))
        return CellBins(spots, areas, self.edges)

    def pool(
        self, size: int, n_sectors: int, fill: Callable[[Bins, Bins], Concentrations]
    ) -> Concentrations:
        """Return what `fill` makes of spots and areas, (n, size, n_sectors)."""
        made = np.empty((len(self), size, n_sectors), np.float32)
        for chunk, spots, areas in self.chunks():
            made[chunk] = fill(spots, areas)
        return made


def measure_group(
    spot_bins: Sequence[Any] | Bins,
    area_bins: Sequence[Any] | Bins,
    index: SectorIndex,
    key: Iterable[object] = (),
) -> Polarity:
    """Measure the polarity of a group of cells.

    Parameters
    ----------
    spot_bins, area_bins
        For each of n cells the cytoplasmic spots and pixels per degree from a known
        reference: an (n, 360) array, or a list of n arrays, folded or not.
    index
        How it is measured.
    key
        The group's name: it chooses the stream of random numbers, so that a group's
        answer does not depend on the other groups.

    Returns
    -------
    Polarity
        All NaN with fewer than two cells that have enough spots.
    """
    bins = CellBins(spot_bins, area_bins, index.edges)
    used = bins.only(bins.usable(index))
    if len(used) < 2:
        return Polarity(len(used))
    key = tuple(key)
    pool = thrown_pool(used, index, key)
    concentrations = pool[:, 0]
    measured = float(polarity_index(concentrations))
    thrown = null_models.throw_indices(pool)
    n_draws = index.n_draws * bool(index.n_null)
    drawn = null_models.draw_indices(pool, n_draws, stream(index, key))
    low, high = interval_over_cells(
        concentrations, index.n_boot, stream(index, key, "cells")
    )
    null = float(thrown.mean()) if len(thrown) else np.nan
    return Polarity(
        n_cells_used=len(used),
        polarity_index=measured,
        polarity_low=low,
        polarity_high=high,
        polarity_null=null,
        polarity_corrected=measured - null,
        p_value=null_models.two_sided(measured, drawn),
    )


def thrown_pool(
    bins: CellBins, index: SectorIndex, key: Iterable[object] = ()
) -> Concentrations:
    """Return the pool of the uniform null: (n, 1 + n_null, sectors)."""
    throws, how = (index.n_null, stream(index, key, "throws")), index.rotation

    def fill(spots: Bins, areas: Bins) -> Concentrations:
        return null_models.uniform_pool(spots, areas, index.sectors, how, throws)

    return bins.pool(1 + index.n_null, index.sectors, fill)


def stream(
    index: SectorIndex, key: Iterable[object], purpose: str = ""
) -> np.random.Generator:
    """Return the random numbers of one group for one purpose."""
    words = ("\x1f".join(map(str, key)), purpose)
    return np.random.default_rng([index.seed, *(zlib.crc32(w.encode()) for w in words)])
