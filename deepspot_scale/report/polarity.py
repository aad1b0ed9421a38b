"""The polarity of a group of cells: their bins in, index, interval and null out.

Each index comes with a bootstrap interval over cells and with its own null: the same
cells, their spots thrown anew, uniformly over their cytoplasm. Nothing here knows
tables, wells or images.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.sectors import (
    polarity_index,
    relative_concentration,
    sector_sums,
)

_LARGEST: Final = 1 << 22
"""Concentrations held at once, 32 MiB: a condition of 10^5 cells needs no more."""


@dataclass(frozen=True)
class SectorIndex:
    """How the polarity of a group of cells is measured."""

    sectors: int = 3
    """Equal sectors about the nucleus, a divisor of 180 from 2 on."""
    min_spots: int = 10
    """Cells with fewer spots in the cytoplasm are left out."""
    n_boot: int = 1000
    """Bootstrap samples for the interval; 0: no interval."""
    n_null: int = 200
    """Draws of the uniform null; 0: no null and no p value."""
    seed: int = 0
    """Seed; each well and condition draws from a stream of its own."""

    def __post_init__(self) -> None:
        if self.sectors < 2 or 180 % self.sectors:
            raise SettingsError(
                "sectors must be a divisor of 180 and at least 2 (2, 3, 4, 5, 6, 9 "
                f"...), so that the reference sector is centred; got {self.sectors}"
            )
        for name in ("min_spots", "n_boot", "n_null", "seed"):
            if getattr(self, name) < 0:
                raise SettingsError(
                    f"{name} must be 0 or more; got {getattr(self, name)}"
                )


@dataclass(frozen=True)
class Polarity:
    """The polarity of one group of cells; NaN where it can not be told."""

    n_cells_used: int
    polarity_index: float = np.nan
    polarity_low: float = np.nan
    polarity_high: float = np.nan
    polarity_null: float = np.nan
    polarity_corrected: float = np.nan
    p_value: float = np.nan


def measure_group(
    spot_bins: NDArray[np.integer],
    area_bins: NDArray[np.integer],
    index: SectorIndex,
    key: Iterable[object] = (),
) -> Polarity:
    """Measure the polarity of a group of cells.

    Parameters
    ----------
    spot_bins, area_bins
        (n, 360) cytoplasmic spots and pixels per degree from a known reference.
    index
        How it is measured.
    key
        The group's name: it chooses the stream of random numbers, so that a group's
        answer does not depend on which other groups there are.

    Returns
    -------
    Polarity
        All NaN with fewer than two cells that have enough spots.
    """
    spots = sector_sums(spot_bins, index.sectors)
    areas = sector_sums(area_bins, index.sectors)
    n_spots = spots.sum(axis=1)
    used = (n_spots >= max(index.min_spots, 1)) & (areas.sum(axis=1) > 0)
    spots, areas = spots[used], areas[used]
    if len(spots) < 2:
        return Polarity(len(spots))
    name = "\x1f".join(map(str, key)).encode()
    rng = np.random.default_rng([index.seed, zlib.crc32(name)])
    concentrations = relative_concentration(spots, areas)
    measured = float(polarity_index(concentrations))
    low, high = _bootstrap(concentrations, index.n_boot, rng)
    null = _null_indices(n_spots[used], areas, index.n_null, rng)
    centre = float(null.mean()) if len(null) else np.nan
    return Polarity(
        n_cells_used=len(spots),
        polarity_index=measured,
        polarity_low=low,
        polarity_high=high,
        polarity_null=centre,
        polarity_corrected=measured - centre,
        p_value=_two_sided(measured, null),
    )


def _bootstrap(
    concentrations: NDArray[np.float64], n_boot: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the 95 % percentile interval of the index over cells drawn anew."""
    n = len(concentrations)
    indices = [
        polarity_index(concentrations[rng.integers(0, n, (rows, n))])
        for rows in _batches(n_boot, concentrations.size)
    ]
    drawn = np.concatenate([np.empty(0), *indices])
    drawn = drawn[np.isfinite(drawn)]
    if len(drawn) == 0:
        return np.nan, np.nan
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _null_indices(
    n_spots: NDArray[np.int64],
    areas: NDArray[np.int64],
    n_null: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Return indices of the same cells with their spots uniform in the cytoplasm."""
    shares = areas / areas.sum(axis=1, keepdims=True)
    indices = [
        polarity_index(
            relative_concentration(
                rng.multinomial(n_spots, shares, size=(rows, len(n_spots))), areas
            )
        )
        for rows in _batches(n_null, areas.size)
    ]
    drawn = np.concatenate([np.empty(0), *indices])
    return np.asarray(drawn[np.isfinite(drawn)])


def _batches(n: int, size: int) -> list[int]:
    """Cut n draws of `size` numbers into batches that fit in memory."""
    rows = max(1, _LARGEST // max(size, 1))
    return [min(rows, n - start) for start in range(0, n, rows)]


def _two_sided(measured: float, null: NDArray[np.float64]) -> float:
    """Return the two-sided p value, which is never 0: the data are one more draw."""
    if len(null) == 0 or not np.isfinite(measured):
        return np.nan
    centre = null.mean()
    # Equal distances must count as equal whatever their last bits say.
    as_far = np.abs(null - centre) >= abs(measured - centre) - 1e-9
    return float((1 + as_far.sum()) / (len(null) + 1))
