"""From the spots of a stack to its molecules: dense regions are taken apart.

Spots as a block found them come in. The field agrees on what one molecule looks like,
then on the molecules of the regions that are brighter; each block keeps its ordinary
spots, and those molecules that lie in its core. The regions of a field are solved in
one place, from the voxels that blocks send, so a region that a block cuts is solved
once and whole. Nothing here knows how spots are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS, IMAGE, WIDTHS
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    Step,
    everything,
)
from deepspot_scale.blockwise.spots import (
    DETECTED,
    Spots,
    nearest_pixel,
    order_spots,
)
from deepspot_scale.kernels.dense_regions import (
    Crop,
    find_regions,
    region_reach,
    take_apart,
)
from deepspot_scale.kernels.single_spot import Sample, SingleSpot, single_spot
from deepspot_scale.kernels.spot_fit import FittedSpots, seen_widths
from deepspot_scale.kernels.volumes import MOST_SIGMA_YX, MOST_SIGMA_Z, SpotWidths

HEIGHT, ALONE, PEAK = "height", "alone", "peak"
"""Columns that the spots of a block have beside those of the table: height of the
fit, whether no other light reaches it, and number of the peak's voxel in the field."""


class FoundSpots(NamedTuple):
    """The spots of one block's core."""

    spots: Spots
    """With the columns above."""
    sample: Sample
    """Of them."""
    fits: pd.DataFrame | None = None
    """A Gaussian for each, where they are asked for."""


FOUND: Key[FoundSpots] = Key("found_in_stack")
SINGLE: Key[SingleSpot] = Key("single_spot")
_REACH: Final = dict(
    zip(
        "zyx",
        region_reach(seen_widths(SpotWidths(MOST_SIGMA_Z, MOST_SIGMA_YX))),
        strict=True,
    )
)


class _Bright(NamedTuple):
    """What a block sends of its spots: all of them, and voxels about the bright."""

    table: pd.DataFrame
    crops: dict[int, Crop]
    """By the number of the peak's voxel."""

    def __add__(self, other: Any) -> Any:
        both = pd.concat([self.table, other.table], ignore_index=True)
        return _Bright(both, self.crops | other.crops)


class RegionCounts(NamedTuple):
    """How many dense regions a field has."""

    n_apart: int
    n_whole: int
    n_unknown: int
    """Spots of a field that has too few of them to tell one molecule."""


class Regions(NamedTuple):
    """The dense regions of a field, taken apart."""

    taken: NDArray[np.int64]
    """Peaks of the spots that are replaced, ascending."""
    molecules: pd.DataFrame
    """In their place: columns of a block's table."""
    counts: RegionCounts


_BRIGHT: Key[_Bright] = Key("bright_spots")
REGIONS: Key[Regions] = Key("dense_regions")


def settle_single(sample: Sample, agreed: Answers) -> SingleSpot:
    """Return what one molecule of the field looks like."""
    return single_spot(sample, agreed[WIDTHS])


@dataclass(frozen=True)
class Decomposition:
    """Takes the dense regions of a stack apart, or tells only how bright spots are."""

    apart: bool = True

    def steps(self) -> tuple[Step, ...]:
        """Return the steps from `FOUND` and `SINGLE` to `DETECTED`."""
        bright = Step(
            _BRIGHT,
            _send,
            {IMAGE: _REACH},
            uses=(FOUND,),
            agreed=(SINGLE, BRIGHTNESS),
            settles=REGIONS,
            finalize=_solve,
        )
        keep = Step(
            DETECTED,
            _keep,
            uses=(FOUND,),
            agreed=(SINGLE, REGIONS) if self.apart else (SINGLE,),
            share=everything,
            finalize=order_spots,
        )
        return (bright, keep) if self.apart else (keep,)

    def gives(self) -> tuple[Count, ...]:
        """Return what leaves the field."""
        if not self.apart:
            return ()
        apart = "dense regions of a stack that were taken apart into molecules"
        whole = "bright regions of a stack left whole: single molecules fit no better"
        unknown = "spots of stacks with too few to tell one molecule from a site"
        return (
            Count("n_apart", apart, REGIONS, _n_apart),
            Count("n_whole", whole, REGIONS, _n_whole),
            Count("n_single_unknown", unknown, REGIONS, _n_unknown),
        )


def _n_apart(regions: Regions) -> int:
    return regions.counts.n_apart


def _n_whole(regions: Regions) -> int:
    return regions.counts.n_whole


def _n_unknown(regions: Regions) -> int:
    return regions.counts.n_unknown


def _send(here: BlockContext, agreed: Answers) -> _Bright:
    """Return the block's spots, and the voxels about those that are several."""
    table, single = here.answers[FOUND].spots.table, agreed[SINGLE]
    bright = table[table[HEIGHT] >= single.limit]
    if bright.empty:
        return _Bright(table, {})
    box, stack = here.pixels(IMAGE, _REACH)
    corner = np.array([span.start for span in box.spans])
    reach = np.array(region_reach(seen_widths(single.width)))
    crops = {}
    for peak in bright[PEAK].tolist():
        at = np.array(np.unravel_index(peak, here.shape))
        first = np.maximum(at - reach, 0)
        last = np.minimum(at + reach + 1, here.shape)
        cut = tuple(map(slice, first - corner, last - corner))
        crops[peak] = Crop(first, agreed[BRIGHTNESS].fill_in(stack[cut]).copy())
    return _Bright(table, crops)


def _solve(total: _Bright, agreed: Answers) -> Regions:
    """Take the regions of the field apart."""
    single = agreed[SINGLE]
    sigmas = seen_widths(single.width)
    table = order_spots(Spots(total.table, 0), agreed).table
    heights, peaks = table[HEIGHT].to_numpy(), table[PEAK].to_numpy()
    places = table[["z", "y", "x"]].to_numpy()
    bright = heights >= single.limit
    fitted = FittedSpots(places, heights, table[ALONE].to_numpy())
    parts, taken, n_whole = [table.iloc[:0]], [np.zeros(0, np.int64)], 0
    for region in find_regions(places, bright, sigmas):
        crops = [total.crops[peak] for peak in peaks[region[bright[region]]].tolist()]
        found = take_apart(fitted, region, crops, single)
        if found is None:
            n_whole += 1
            continue
        taken.append(peaks[region])
        parts.append(_rows_of(found.places, found.light, table.iloc[region], single))
    molecules = pd.concat(parts, ignore_index=True)
    n_unknown = len(table) if np.isnan(single.height) else 0
    counts = RegionCounts(len(parts) - 1, n_whole, n_unknown)
    return Regions(np.sort(np.concatenate(taken)), molecules, counts)


def _rows_of(
    places: NDArray[np.float64], light: float, spots: pd.DataFrame, single: SingleSpot
) -> pd.DataFrame:
    """Return the rows of a region's molecules.

    What was measured of a molecule is that of the nearest spot, and its intensity as
    much less as it is lower.
    """
    away = places[:, None] - spots[["z", "y", "x"]].to_numpy()
    nearest = (away**2).sum(axis=2).argmin(axis=1)
    rows = spots.iloc[nearest].reset_index(drop=True)
    share = single.height / np.maximum(rows[HEIGHT].to_numpy(), single.height)
    own = {
        "intensity": (rows["intensity"].to_numpy() * share).astype(np.float32),
        "molecules": np.full(len(rows), light / len(rows), np.float32),
        "site": np.ones(len(rows), bool),
    }
    at = dict(zip("zyx", places.T, strict=True))
    molecules: pd.DataFrame = rows.assign(**at, **own)
    return molecules


def _keep(here: BlockContext, agreed: Answers) -> Spots:
    """Return the block's ordinary spots, and the molecules in its core."""
    spots, single = here.answers[FOUND].spots, agreed[SINGLE]
    table = spots.table
    molecules = (table[HEIGHT] / single.height).astype(np.float32)
    table = table.assign(molecules=molecules, site=table[HEIGHT] >= single.limit)
    if REGIONS in agreed:
        regions, core = agreed[REGIONS], here.block.core
        table = table[~np.isin(table[PEAK], regions.taken)]
        voxels = nearest_pixel(regions.molecules[["z", "y", "x"]].to_numpy())
        voxels = np.clip(voxels, 0, np.array(here.shape) - 1)
        first, last = np.array([[s.start, s.stop] for s in core.spans]).T
        own = ((voxels >= first) & (voxels < last)).all(axis=1)
        table = pd.concat([table, regions.molecules[own]], ignore_index=True)
    return spots._replace(table=table.drop(columns=[HEIGHT, ALONE, PEAK]))
