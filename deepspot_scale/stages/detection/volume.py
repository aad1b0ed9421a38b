"""Detection in z-stacks: every spot once, with its depth between planes.

A spot is a voxel where certainty, averaged along z, times the bump of the averaged
stack is higher than at its 26 neighbours; it belongs to the block whose core has that
voxel. Intensity and SNR are those of the averaged stack's plane at the peak, the place
is that of a Gaussian fitted to the raw stack. Nothing here knows networks, files or
plates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import (
    AVERAGED,
    BRIGHTNESS,
    IMAGE,
    WIDTHS,
    Brightness,
)
from deepspot_scale.blockwise.contract import Answers, BlockContext, Step
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.spots import DETECTED, Spots, order_spots, spot_table
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels import peaks, volumes, wavelet
from deepspot_scale.stages.volume import MOST_SIGMA_Z

CERTAINTY: Final = 0.8
"""Standard deviation of the certainty's average along z, as a share of the spot's."""
BUMP: Final = 0.33
"""The same of the average before the bump, beside that which the stack has."""
_RING: Final = peaks.RING_REACH
_AROUND: Final = dict.fromkeys("zyx", 1)

Whole = NDArray[np.float32]


@dataclass(frozen=True)
class VolumeDetector:
    """Finds the spots of a stack on its enhanced planes."""

    floor: float = 0.2
    """Least certainty of a spot, averaged along z."""
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

    def adjusted(self, floor: float | None) -> VolumeDetector:
        """Return the detector with a user's own floor, where there is one."""
        return self if floor is None else replace(self, floor=floor)

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the step that gives `DETECTED`, by the enhanced planes in `layer`."""
        z = 1 + volumes.planes_reach(CERTAINTY * MOST_SIGMA_Z)
        z_bump = 1 + volumes.planes_reach(BUMP * MOST_SIGMA_Z)
        find = Step(
            DETECTED,
            _Find(self.floor, layer),
            {
                layer: {"z": z, "y": 1, "x": 1},
                AVERAGED.name: {"z": z_bump, "y": _RING, "x": _RING},
                IMAGE: dict.fromkeys("zyx", volumes.FIT_REACH),
            },
            agreed=(BRIGHTNESS, WIDTHS),
            finalize=order_spots,
        )
        return (find,)


@dataclass(frozen=True)
class _Find:
    """Finds the spots of one block."""

    floor: float
    layer: str

    def __call__(self, here: BlockContext, agreed: Answers) -> Spots:
        at, certainty, area = self._find_peaks(here, agreed)
        box, stack = here.pixels(AVERAGED.name, {"y": _RING, "x": _RING})
        brightness, n_cut = agreed[BRIGHTNESS], 0
        if brightness.fill is not None:
            beside = partial(_beside, value=brightness.fill)
            cut = _by_plane(beside, stack, at - _corner(box))[0] > 0
            at, certainty, area = at[~cut], certainty[~cut], area[~cut]
            n_cut = int(cut.sum())
        measure = partial(peaks.photometry, least_noise=brightness.least_noise)
        intensity, snr = _by_plane(measure, stack, at - _corner(box))
        around, raw = here.pixels(IMAGE, dict.fromkeys("zyx", volumes.FIT_REACH))
        corner = _corner(around)
        places = volumes.fit_places(raw, at - corner, corner, agreed[WIDTHS])
        return Spots(spot_table(area, places, certainty, intensity, snr), 0, n_cut)

    def _find_peaks(self, here: BlockContext, agreed: Answers) -> tuple[Any, Any, Any]:
        """Return voxels of the core that are spots, certainties, and pixels of each."""
        sigma, core = agreed[WIDTHS].z, here.block.core
        near = core.grow(_AROUND, here.shape)
        certain = self._certainty(here, near, CERTAINTY * sigma)
        bump = _bumps(here, near, agreed[BRIGHTNESS], BUMP * sigma)
        least = max(self.floor * wavelet.LEVELS, 1.0)
        could, own = np.zeros(certain.shape, bool), core.within(near)
        could[own] = certain[own] >= least
        at = volumes.find_peaks(certain * np.sqrt(bump, out=bump), could)
        value = certain[tuple(at.T)] / np.float32(wavelet.LEVELS)
        area = np.zeros(len(at), np.int64)
        for off in np.ndindex(3, 3):
            y, x = at[:, 1] + off[0] - 1, at[:, 2] + off[1] - 1
            inside = (y >= 0) & (y < certain.shape[1]) & (x >= 0)
            inside &= x < certain.shape[2]
            y, x = y.clip(0, certain.shape[1] - 1), x.clip(0, certain.shape[2] - 1)
            area += inside & (certain[at[:, 0], y, x] >= least)
        return at + _corner(near), value, area

    def _certainty(self, here: BlockContext, near: Box, sigma: float) -> Whole:
        """Return certainty averaged along z, of 65535."""
        box = near.grow({"z": volumes.planes_reach(sigma)}, here.shape)
        levels = _quantised(here.read(self.layer, box), 0.0, 1.0)
        return volumes.average_planes(levels, sigma, near.within(box)[0])


def _bumps(
    here: BlockContext, near: Box, brightness: Brightness, sigma: float
) -> Whole:
    """Return how far the voxels of a box stand out in their planes."""
    margin = volumes.BUMP_REACH
    box = near.grow({"y": margin, "x": margin}, here.shape)
    around = box.grow({"z": volumes.planes_reach(sigma)}, here.shape)
    counts = brightness.fill_in(here.read(AVERAGED.name, around))
    levels = _quantised(counts, brightness.low, brightness.high)
    planes = volumes.average_planes(levels, sigma, box.within(around)[0])
    cut = near.within(box)[1:]
    return np.stack([volumes.bumps(plane)[cut] for plane in planes])


def _quantised(stack: NDArray[Any], low: float, high: float) -> Whole:
    return np.stack([wavelet.quantise(plane, low, high) for plane in stack])


def _corner(box: Box) -> NDArray[np.int64]:
    return np.array([span.start for span in box.spans])


def _beside(image: NDArray[Any], y: Any, x: Any, *, value: float) -> tuple[Any]:
    return (peaks.beside(image, y, x, value),)


def _by_plane(
    measure: Callable[..., tuple[Any, ...]], stack: NDArray[Any], at: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the (2, n) measures of pixels, each taken in its own plane."""
    answer = np.zeros((2, len(at)))
    for z in np.unique(at[:, 0]):
        here = np.flatnonzero(at[:, 0] == z)
        for row, values in enumerate(measure(stack[z], at[here, 1], at[here, 2])):
            answer[row, here] = values
    return answer
