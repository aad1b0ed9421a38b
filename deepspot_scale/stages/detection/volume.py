"""Detection in z-stacks: every spot once, with its depth between planes.

A spot is a voxel where certainty, averaged along z, times the bump of the averaged
stack is higher than at its 26 neighbours; it belongs to the block whose core has that
voxel. Intensity and SNR are those of the averaged stack's plane at the peak, the place
is that of a Gaussian fitted to the raw stack. Dense regions are then taken apart, see
`decomposition`. Nothing here knows networks, files or plates.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import (
    AVERAGED,
    BRIGHTNESS,
    IMAGE,
    WIDTHS,
    Brightness,
)
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    Step,
    Table,
)
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.spots import Spots, spot_table
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels import peaks, spot_fit, volumes, wavelet
from deepspot_scale.kernels.gaussian_fit import (
    GaussianFits,
    Neighbours,
    fit_gaussians,
)
from deepspot_scale.kernels.single_spot import SAMPLE, Sample, draw_lots
from deepspot_scale.kernels.volumes import (
    MOST_SIGMA_YX,
    MOST_SIGMA_Z,
    SpotWidths,
)
from deepspot_scale.stages.detection.decomposition import (
    ALONE,
    FOUND,
    HEIGHT,
    PEAK,
    SINGLE,
    Decomposition,
    FoundSpots,
    settle_single,
)
from deepspot_scale.vocabulary import FITS, PlaneIdentity

CERTAINTY: Final = 0.8
"""Standard deviation of the certainty's average along z, as a share of the spot's."""
BUMP: Final = 0.33
"""The same of the average before the bump, beside that which the stack has."""
_RING: Final = peaks.RING_REACH
_DOUBLE: Final = math.ceil(MOST_SIGMA_Z + 2 * spot_fit.FARTHEST)
"""Voxels around a peak in which another may be of the same spot."""
_LIGHT: Final = dict(
    zip(
        "zyx",
        spot_fit.light_reach(SpotWidths(MOST_SIGMA_Z, MOST_SIGMA_YX)),
        strict=True,
    )
)
_FOUND: Final = {axis: _DOUBLE + reach for axis, reach in _LIGHT.items()}
"""Voxels around a core in which spots decide about its own."""
_AROUND: Final = {axis: reach + 1 for axis, reach in _FOUND.items()}
_FIT: Final = {axis: reach + spot_fit.FIT_REACH for axis, reach in _FOUND.items()}

Whole = NDArray[np.float32]


@dataclass(frozen=True)
class VolumeDetector:
    """Finds the spots of a stack on its enhanced planes."""

    floor: float = 0.2
    """Least certainty of a spot, averaged along z."""
    decompose: bool = True
    """Whether dense regions are taken apart into single molecules."""
    fit: bool = False
    """Whether a Gaussian of its own width is fitted to each spot."""
    on: Literal["enhanced"] = "enhanced"

    def __post_init__(self) -> None:
        """Check the range."""
        if not 0 <= self.floor <= 1:
            raise SettingsError(f"floor lies in 0..1, got {self.floor}")

    @property
    def halo(self) -> int:
        """Pixels around a block's core that decide about the core's spots."""
        return _RING

    def binned(self, binning: int) -> VolumeDetector:
        """Return the detector itself; SettingsError for wide spots."""
        if binning > 1:
            raise SettingsError("wide spots (spot_sigma) are not found in volumes")
        return self

    def adjusted(
        self, floor: float | None, *, decompose: bool = True, fit: bool = False
    ) -> VolumeDetector:
        """Return the detector with a user's own numbers, where there are some."""
        own = replace(self, decompose=decompose, fit=fit)
        return own if floor is None else replace(own, floor=floor)

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the steps that give `DETECTED`, by the enhanced planes in `layer`."""
        around = _AROUND["z"]
        z = around + volumes.planes_reach(CERTAINTY * MOST_SIGMA_Z)
        z_bump = around + volumes.planes_reach(BUMP * MOST_SIGMA_Z)
        near, ring = _AROUND["y"], max(_RING, _AROUND["y"] + volumes.BUMP_REACH)
        find = Step(
            FOUND,
            _Find(self.floor, layer, self.fit),
            {
                layer: {"z": z, "y": near, "x": near},
                AVERAGED.name: {"z": z_bump, "y": ring, "x": ring},
                IMAGE: _FIT,
            },
            agreed=(BRIGHTNESS, WIDTHS),
            settles=SINGLE,
            share=_sample_of,
            finalize=settle_single,
        )
        fits = (Step(_FITS, _fits_of, uses=(FOUND,), combine=_join),)
        return (
            find,
            *(fits if self.fit else ()),
            *Decomposition(self.decompose).steps(),
        )

    def gives(self) -> tuple[Count | Table, ...]:
        """Return what leaves the field beside spots."""
        fits = (Table("fits", FITS, (_FITS,), _fit_table),) if self.fit else ()
        return (*Decomposition(self.decompose).gives(), *fits)


_FITS: Key[pd.DataFrame] = Key("gaussian_fits")


def _fits_of(here: BlockContext, _: Answers) -> pd.DataFrame | None:
    return here.answers[FOUND].fits


def _join(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([one, other], ignore_index=True)


def _fit_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    table = agreed[_FITS]
    order = np.lexsort([table[axis] for axis in "xyz"])
    return identify(table.iloc[order], plane, FITS)


class _Peaks(NamedTuple):
    """Peaks of a block's core."""

    at: NDArray[np.int64]
    """(n, 3) voxels of the field."""
    fitted: spot_fit.FittedSpots
    """(n,) between voxels."""
    certainty: NDArray[np.float32]
    """(n,), of 65535."""
    area: NDArray[np.int64]
    """(n,) pixels of the 3 x 3 in the peak's plane that are certain."""
    fits: pd.DataFrame | None = None
    """A row each, where Gaussians were fitted."""

    def only(self, chosen: NDArray[np.bool_]) -> _Peaks:
        """Return some of them."""
        return _Peaks(
            self.at[chosen],
            self.fitted.only(chosen),
            self.certainty[chosen],
            self.area[chosen],
            None if self.fits is None else self.fits[chosen],
        )


@dataclass(frozen=True)
class _Find:
    """Finds the spots of one block."""

    floor: float
    layer: str
    fit: bool = False

    def __call__(self, here: BlockContext, agreed: Answers) -> FoundSpots:
        found = self._find_peaks(here, agreed)
        box, stack = here.pixels(AVERAGED.name, {"y": _RING, "x": _RING})
        brightness, at = agreed[BRIGHTNESS], found.at - _corner(box)
        n_cut = 0
        if brightness.fill is not None:
            beside = partial(peaks.beside, value=brightness.fill)
            cut = volumes.by_plane(beside, stack, at) > 0
            found, at, n_cut = found.only(~cut), at[~cut], int(cut.sum())
        measure = partial(peaks.photometry, least_noise=brightness.least_noise)
        intensity, snr = volumes.by_plane(measure, stack, at)
        value = found.certainty / np.float32(wavelet.LEVELS)
        fitted = found.fitted
        table = spot_table(found.area, (*fitted.places.T,), value, intensity, snr)
        peak = np.ravel_multi_index(tuple(found.at.T), here.shape)
        own = {HEIGHT: fitted.heights, ALONE: fitted.alone, PEAK: peak}
        sample = _draw(here, found, peak, agreed[WIDTHS])
        fits = found.fits if self.fit else None
        return FoundSpots(Spots(table.assign(**own), 0, n_cut), sample, fits)

    def _find_peaks(self, here: BlockContext, agreed: Answers) -> _Peaks:
        """Return the voxels of the core that are spots."""
        widths, core = agreed[WIDTHS], here.block.core
        near = core.grow(_AROUND, here.shape)
        certain = self._certainty(here, near, CERTAINTY * widths.z)
        bump = _bumps(here, near, agreed[BRIGHTNESS], BUMP * widths.z)
        response = np.sqrt(bump, out=bump)
        response *= certain
        least = max(self.floor * wavelet.LEVELS, 1.0)
        could = np.zeros(certain.shape, bool)
        own = core.grow(_FOUND, here.shape).within(near)
        could[own] = certain[own] >= least
        at = volumes.find_peaks(response, could)
        around, raw = here.pixels(IMAGE, _FIT)
        to_raw = _corner(near) - _corner(around)
        fitted = spot_fit.fit_spots(raw, at + to_raw, _corner(around), widths)
        # What is seen at the end of a stack is placed in its last voxel, not beyond.
        np.clip(fitted.places, -0.5, np.array(here.shape) - 0.5, out=fitted.places)
        rank = response[tuple(at.T)]
        keep = ~volumes.are_double(fitted.places, rank, widths)
        inner = np.array([[s.start, s.stop] for s in core.spans]).T - _corner(near)
        keep &= ((at >= inner[0]) & (at < inner[1])).all(axis=1)
        fits = None
        if self.fit:
            which = np.flatnonzero(keep)
            spots = Neighbours(at + _corner(near), fitted.places, fitted.heights, which)
            gaussians = fit_gaussians(raw, (at + to_raw)[keep], widths, spots)
            fits = _fit_rows(gaussians, fitted.only(keep), spots.voxels[which])
        at, fitted = at[keep], fitted.only(keep)
        area = np.zeros(len(at), np.int64)
        padded = np.pad(certain >= least, [(0, 0), (1, 1), (1, 1)])
        for dy, dx in np.ndindex(3, 3):
            area += padded[at[:, 0], at[:, 1] + dy, at[:, 2] + dx]
        return _Peaks(at + _corner(near), fitted, certain[tuple(at.T)], area, fits)

    def _certainty(self, here: BlockContext, near: Box, sigma: float) -> Whole:
        """Return certainty averaged along z, of 65535."""
        box = near.grow({"z": volumes.planes_reach(sigma)}, here.shape)
        levels = _quantised(here.read(self.layer, box), 0.0, 1.0)
        return volumes.average_planes(levels, sigma, near.within(box)[0])


def _fit_rows(
    fits: GaussianFits, spots: spot_fit.FittedSpots, voxels: NDArray[np.int64]
) -> pd.DataFrame:
    """Return the rows of Gaussians; where a fit did not converge, the spot's place."""
    known = np.isfinite(fits.height)
    places = np.where(known[:, None], voxels + fits.off, spots.places)
    return pd.DataFrame(
        {
            **dict(zip("zyx", places.T, strict=True)),
            "amplitude": fits.height,
            "background": fits.background,
            "sigma_z": fits.sigma_z,
            "sigma_yx": fits.sigma_yx,
            "residual": fits.residual,
            "alone": spots.alone,
            "converged": known,
        }
    )


def _draw(
    here: BlockContext, found: _Peaks, voxels: NDArray[np.int64], width: SpotWidths
) -> Sample:
    """Return the block's sample; Gaussians are fitted to those that stand alone."""
    rank = draw_lots(voxels, found.fitted.alone)
    chosen = np.argsort(rank, kind="stable")[:SAMPLE]
    alone = chosen[found.fitted.alone[chosen]]
    box, stack = here.pixels(IMAGE, _FIT)
    fits = fit_gaussians(stack, found.at[alone] - _corner(box), width)
    own = np.full((3, rank.size), np.nan)
    own[:, alone] = fits.height, fits.sigma_z, fits.sigma_yx
    return Sample(rank[chosen], found.fitted.heights[chosen], *own[:, chosen])


def _sample_of(found: FoundSpots) -> Sample:
    return found.sample


def _bumps(
    here: BlockContext, near: Box, brightness: Brightness, sigma: float
) -> Whole:
    """Return how far the voxels of a box stand out in their planes."""
    margin = volumes.BUMP_REACH
    box = near.grow({"y": margin, "x": margin}, here.shape)
    around = box.grow({"z": volumes.planes_reach(sigma)}, here.shape)
    counts = brightness.fill_in(here.read(AVERAGED.name, around))
    levels = _quantised(counts, brightness.low, brightness.high)
    first, cut = box.within(around)[0].start, near.within(box)[1:]
    answer = np.empty(near.shape, np.float32)
    for place in range(len(answer)):  # one plane at a time takes less memory
        own = slice(first + place, first + place + 1)
        (plane,) = volumes.average_planes(levels, sigma, own)
        answer[place] = volumes.bumps(plane)[cut]
    return answer


def _quantised(stack: NDArray[Any], low: float, high: float) -> Whole:
    answer = np.empty(stack.shape, np.float32)
    for place, plane in enumerate(stack):
        answer[place] = wavelet.quantise(plane, low, high)
    return answer


def _corner(box: Box) -> NDArray[np.int64]:
    return np.array([span.start for span in box.spans])
