r"""What chance alone would give: bins of cells in, indices of the two nulls out.

*Uniform*: the spots of each cell are thrown again; every pixel of the cell's own
cytoplasm is equally likely. *Rotation*: spots and mask stay as they are, and each
cell's reference turns by its own multiple of ten degrees, so clusters of spots stay
clusters.

Both give a **pool**: for each cell some answers that chance could have given; the first
one is the measured answer::

            answer 0   answer 1   answer 2 ...     a draw takes one answer of each
    cell 0  measured   [thrown]    thrown          cell, here those in brackets, and
    cell 1  measured    thrown    [thrown]         the index of a draw is that of any
    cell 2 [measured]   thrown     thrown          group of cells

Under chance alone, each choice of answers is as likely as the measured one. So the
share of draws that lie as far out as the measured index, which counts as one more draw,
is a p value that is valid for any number of cells and draws: p is at most a with
probability at most a. It never falls below ``1 / (draws + 1)``. The index of n cells
moves in steps of 2 / n, so with few cells it has few values, and p is then too large
rather than too small.

What each null assumes. Uniform: spots are placed independently of each other; a cell
whose spots are all in one place leaves most sectors empty, which lowers the index by
itself (by 0.3) and makes this p small; two or more clusters in a cell hardly do.
Rotation: a cell's shape does not depend on its reference, and cells turn independently
of each other; it is wrong where nuclei lie off the middle in the same way, seen from
the reference. This explains where the two disagree. Neither accounts for the likeness
of cells of one well: compare wells for that. Nothing here knows tables or wells.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.sectors import (
    polarity_index,
    relative_concentration,
    sector_sums,
    sums_from_each_bin,
)
from deepspot_scale.vocabulary import N_BINS

Rotation = Literal["fixed", "published"]
Bins = NDArray[np.integer]
Concentrations = NDArray[np.float32]
"""Single precision, so that quotients that are equal on paper are equal here."""

STEP_DEG: Final = 10
"""Step of the rotation null. Turns by a multiple of it form a group, as the test needs;
36 answers a cell give more combinations than anyone can draw."""
_LARGEST: Final = 1 << 18
"""Most concentrations that draws hold at once: 1 MiB, which fits a cache."""


def measured_sectors(
    spots: Bins, areas: Bins, n_sectors: int, rotation: Rotation
) -> Concentrations:
    """Return each cell's concentrations, (n, n_sectors), the reference sector first.

    Parameters
    ----------
    spots, areas
        (n, 360) counts per degree from the reference.
    n_sectors
        Divisor of 180.
    rotation
        ``fixed``: the reference sector is centred on the reference. ``published``: of
        all whole-degree rotations whose reference sector holds the reference, each cell
        keeps the densest (DypFISH).
    """
    return rotation_pool(spots, areas, n_sectors, rotation, step_deg=N_BINS)[:, 0]


def rotation_pool(
    spots: Bins,
    areas: Bins,
    n_sectors: int,
    rotation: Rotation,
    *,
    step_deg: int = STEP_DEG,
) -> Concentrations:
    """Return the concentrations for each turn of the reference over fixed spots.

    The reference turns by `step_deg`, a divisor of 360; the rest is as in
    `measured_sectors`. The answer is (n, 360 / step_deg, n_sectors), and turn 0 is what
    was measured.
    """
    references = np.arange(0, N_BINS, step_deg)
    width = N_BINS // n_sectors
    inside = sums_from_each_bin(spots, n_sectors)
    area = sums_from_each_bin(areas, n_sectors)
    if rotation == "fixed":
        starts = np.tile(references - width // 2, (len(inside), 1))
    else:
        starts = _densest_starts(inside, area, references, width)
    bins = (starts[:, :, None] + width * np.arange(n_sectors)) % N_BINS
    cell = np.arange(len(inside))[:, None, None]
    return _concentration(inside[cell, bins], area[cell, bins])


def _densest_starts(
    inside: Bins, area: Bins, references: NDArray[np.int64], width: int
) -> NDArray[np.int64]:
    """Return where the densest sector starts that holds each reference bin.

    Of equally dense sectors it is the first one on the way to the reference.
    """
    empty = np.full(np.shape(area), -1.0)  # below any density
    density = np.divide(inside, area, out=empty, where=area > 0)
    around = np.concatenate([density[:, N_BINS - width + 1 :], density], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(around, width, axis=1)
    best = windows[:, references].argmax(axis=2)
    return np.asarray(references - width + 1 + best)


def uniform_pool(
    spots: Bins,
    areas: Bins,
    n_sectors: int,
    rotation: Rotation,
    throws: tuple[int, np.random.Generator],
) -> Concentrations:
    """Return the measured concentrations and those of spots thrown again.

    `throws` says how often the spots of each cell are thrown, and gives the random
    numbers; the rest is as in `measured_sectors`. The answer is (n, 1 + number of
    throws, n_sectors), and the first is what was measured.
    """
    n_throws, rng = throws
    pool = np.empty((len(spots), 1 + n_throws, n_sectors), np.float32)
    pool[:, 0] = measured_sectors(spots, areas, n_sectors, rotation)
    n_spots = spots.sum(axis=1)
    if rotation == "published":
        for column in range(1, 1 + n_throws):
            thrown = _throw(n_spots, areas, rng)
            pool[:, column] = measured_sectors(thrown, areas, n_sectors, rotation)
        return pool
    sectors = sector_sums(areas, n_sectors)
    shares = sectors / sectors.sum(axis=1, keepdims=True)
    for column in range(1, 1 + n_throws):
        pool[:, column] = _concentration(rng.multinomial(n_spots, shares), sectors)
    return pool


def _throw(
    n_spots: NDArray[np.int64], areas: Bins, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Throw spots onto cytoplasm pixels; return how many fall into each bin.

    A multinomial draw of 360 bins would give the same, ten times as slowly.
    """
    pixels = np.repeat(np.arange(areas.size), areas.ravel())
    n_pixels = areas.sum(axis=1)
    first = np.cumsum(n_pixels) - n_pixels
    at = np.repeat(first, n_spots) + rng.integers(0, np.repeat(n_pixels, n_spots))
    return np.bincount(pixels[at], minlength=areas.size).reshape(areas.shape)


def _concentration(spots: Bins, areas: Bins) -> Concentrations:
    return relative_concentration(spots, areas).astype(np.float32)


def throw_indices(pool: Concentrations) -> NDArray[np.float64]:
    """Return the index of each answer of a pool except the measured one."""
    columns = range(1, pool.shape[1])
    return np.array([float(polarity_index(pool[:, column])) for column in columns])


def draw_indices(
    pool: Concentrations, n_draws: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Return the index, (n_draws,), of draws that take any answer of each cell."""
    n, size, n_sectors = pool.shape
    answers = pool.reshape(n * size, n_sectors)
    first = np.arange(n) * size
    indices = [
        polarity_index(answers.take(first + rng.integers(0, size, (rows, n)), axis=0))
        for rows in batches(n_draws, n * n_sectors)
    ]
    return np.concatenate([np.empty(0), *indices])


def batches(n: int, size: int) -> Iterator[int]:
    """Cut n draws of `size` numbers into batches that fit in memory."""
    rows = max(1, _LARGEST // max(size, 1))
    return (min(rows, n - start) for start in range(0, n, rows))


def two_sided(measured: float, drawn: NDArray[np.float64]) -> float:
    """Return the share of draws as far from the middle as the measured index.

    It is a two-sided p value above 0, or NaN without draws: the measured index counts
    as one more draw, also for the middle, so that all draws are treated alike.
    """
    if len(drawn) == 0 or not np.isfinite(measured):
        return np.nan
    both = np.append(drawn[np.isfinite(drawn)], measured)
    distance = np.abs(both - both.mean())
    # Equal distances must count as equal even where their last bits differ.
    return float((distance >= distance[-1] - 1e-9).mean())
