"""The stage *volume*: the stack is one image, and its spots have a depth.

The width of the spots along z is measured on the brightest bumps, or given; the stack
is averaged along z by half of it, and later stages take the averaged stack for their
image. A dim spot gains half its brightness over the noise by that, and brightness,
background and noise are those of the stack, never of a plane. Nothing here knows
networks or how spots are found.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import AVERAGED, IMAGE, STEP, WIDTHS
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels import peaks, volumes
from deepspot_scale.kernels.volumes import MOST_SIGMA_YX, MOST_SIGMA_Z, SpotWidths

AVERAGE = 0.5
"""Standard deviation of the average over planes, as a share of the spot's."""
_LEAST_SIGMA_Z = 0.5
_SAMPLE = 256
"""Bumps whose width is measured: the highest of the field."""
_VOXELS = 10 * _SAMPLE
"""Highest voxels among which their peaks are looked for."""
_FIRST, _SHARE = 16, 0.5
"""Of these, bumps that are lower than this share of the sixteenth are noise."""
_CLEAR_SNR, _LEAST_LIGHT = 8.0, 0.25
"""The width is known from bumps of this SNR, or from those that have this share of
their light one plane away: noise has none there."""
_USUAL_UM = 0.35
"""Standard deviation of a spot along z in a usual microscope, micrometres."""
_USUAL = SpotWidths(1.0, 1.4)
_RING = peaks.RING_REACH
_AROUND = {"z": volumes.PROFILE_REACH, "y": _RING, "x": _RING}


class Bumps(NamedTuple):
    """The highest bumps of some voxels."""

    rows: NDArray[np.float64]
    """(n, 6 + 17): height, z, y, x, SNR, width in the plane, profile along z."""
    n_planes: int

    def __add__(self, other: object) -> Bumps:
        """Keep the highest of both."""
        if not isinstance(other, Bumps):
            return NotImplemented
        rows = np.concatenate([self.rows, other.rows])
        return Bumps(_highest(rows), max(self.n_planes, other.n_planes))


_BUMPS: Key[Bumps] = Key("bumps")


def _highest(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.lexsort((*rows[:, 3:0:-1].T, -rows[:, 0]))
    return rows[order[:_SAMPLE]]


def measure_bumps(here: BlockContext, _: Answers) -> Bumps:
    """Return the highest bumps of a block's core, with their widths."""
    box, stack = here.pixels(IMAGE, _AROUND)
    core = here.block.core.within(box)
    near = here.block.core.grow({"z": 1, "y": 1, "x": 1}, here.shape).within(box)
    shape = tuple(side.stop - side.start for side in near)
    heights = np.empty(shape, np.float32)
    inner = tuple(
        slice(own.start - around.start, own.stop - around.start)
        for own, around in zip(core, near, strict=True)
    )
    highest = np.zeros(0, np.float32)
    for place, plane in enumerate(stack[near[0]]):
        bump = volumes.bumps(np.asarray(plane, np.float32))
        heights[place] = bump[near[1], near[2]]
        if inner[0].start <= place < inner[0].stop:
            own = heights[place][inner[1:]]
            # The highest peaks are among the highest voxels: ten for each are enough.
            full = highest.size == _VOXELS
            own = np.append(own[own > highest.min()] if full else own, highest)
            highest = np.partition(own, max(own.size - _VOXELS, 0))[-_VOXELS:]
    could = np.zeros(shape, bool)
    # Heights are whole numbers of whole counts, but floats may have any unit.
    least = max(highest.min(), np.finfo(np.float32).tiny)
    could[inner] = heights[inner] >= least
    found = volumes.find_peaks(heights, could)
    height = heights[tuple(found.T)].astype(np.float64)
    found = found + [side.start for side in near]
    photometry = partial(peaks.photometry, least_noise=0.3)
    intensity, snr = volumes.by_plane(photometry, stack, found)
    ground = volumes.by_plane(peaks.mean_near, stack, found) - intensity
    profile = volumes.profile_along_z(stack, found, ground)
    width = volumes.width_in_plane(stack, found, ground)
    places = found + [span.start for span in box.spans]
    rows = np.column_stack([height, places, snr, width, profile])
    return Bumps(_highest(rows), here.shape[0])


@dataclass(frozen=True)
class StackAverage:
    """Measures how wide spots are along z, and averages the planes."""

    sigma_z: float | None = None
    """Standard deviation of a spot in planes; None: measured."""

    def __post_init__(self) -> None:
        """Check the range."""
        if self.sigma_z is not None and not 0 < self.sigma_z <= MOST_SIGMA_Z:
            raise SettingsError(
                f"sigma_z is above 0 and at most {MOST_SIGMA_Z:g} planes, got "
                f"{self.sigma_z}; average planes of finer stacks first"
            )

    def settle(self, found: Bumps, agreed: Answers) -> SpotWidths:
        """Return the widths of the field's spots.

        Raises FieldError if the field has one plane only.
        """
        if found.n_planes < 3:
            raise FieldError(
                f"a volume needs a z-stack of 3 planes or more, and the field has "
                f"{found.n_planes}; leave --volume out"
            )
        rows, usual = found.rows, _usual(agreed[STEP])
        if not len(rows):  # not a single bump: any width will do
            return self._given(usual.z, usual.yx)
        rows = rows[rows[:, 0] >= _SHARE * rows[min(_FIRST, len(rows)) - 1, 0]]
        clear = float(np.median(rows[:, 4])) >= _CLEAR_SNR
        z, light = volumes.width_along_z(rows[:, 6:], with_peak=clear)
        known = rows[np.isfinite(rows[:, 5]), 5]
        if clear and known.size:
            yx = float(np.median(known))
            usual = usual._replace(
                yx=min(float(np.sqrt(max(yx**2 - 1 / 12, 0.25))), MOST_SIGMA_YX)
            )
        if not clear and light < _LEAST_LIGHT:
            z = usual.z
        return self._given(z, usual.yx)

    def _given(self, z: float, yx: float) -> SpotWidths:
        """Return widths, along z the user's where there is one."""
        z = z if self.sigma_z is None else self.sigma_z
        return SpotWidths(min(max(z, _LEAST_SIGMA_Z), MOST_SIGMA_Z), yx)

    def average(self, here: BlockContext, agreed: Answers) -> Pixels:
        """Return the averaged planes."""
        sigma = AVERAGE * agreed[WIDTHS].z
        box = here.wanted.grow({"z": volumes.planes_reach(sigma)}, here.shape)
        stack = here.read(IMAGE, box)
        own = here.wanted.within(box)[0]
        return Pixels(here.wanted, volumes.average_planes(stack, sigma, own))

    def work(self) -> Work:
        """Return the steps to `answers.WIDTHS` and `answers.AVERAGED`."""
        reach = volumes.planes_reach(AVERAGE * MOST_SIGMA_Z)
        widths = Step(
            _BUMPS,
            measure_bumps,
            {IMAGE: _AROUND},
            agreed=(STEP,),
            settles=WIDTHS,
            finalize=self.settle,
        )
        average = Step(AVERAGED, self.average, {IMAGE: {"z": reach}}, agreed=(WIDTHS,))
        return Work((widths, average), axes="zyx", image=AVERAGED.name)


def _usual(step: Any) -> SpotWidths:
    if step is None or not np.isfinite(step) or step <= 0:
        return _USUAL
    return _USUAL._replace(z=_USUAL_UM / float(step))


class VolumeOptions(StageOptions):
    """Whether a z-stack is taken as a volume, every spot once and with its depth."""

    use: bool = Field(
        default=False, description="Find spots in the z-stack, not in one plane of it."
    )
    sigma_z: float | None = Field(
        default=None,
        gt=0,
        le=MOST_SIGMA_Z,
        description="Standard deviation of a spot along z in planes; none: measured.",
    )


def plan_volume(options: VolumeOptions, _: RunContext) -> Work:
    """Return the stage's work."""
    return StackAverage(options.sigma_z).work()


VOLUME = Stage("volume", VolumeOptions, plan_volume)
