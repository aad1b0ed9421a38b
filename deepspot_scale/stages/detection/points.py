"""A plain function as a detector: an image in, points out, block by block.

Anything that finds points in one NumPy image becomes a method of *detect* and of runs:
it is given each block's core with a halo around it, and the block keeps the points
whose pixel lies in the core. Photometry and the place between pixels follow as for
the built-in detectors. Nothing here knows how points are found.

    field    |. . . . . . . . . . . . .|
    given    |# # # # # # #|                   the function sees core and halo
    core     |0 0 0 0 0|1 1 1 1 1 1 1 1|       each point has one owner
                  given  |# # # # # # # #|
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS, IMAGE
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    Step,
)
from deepspot_scale.blockwise.spots import (
    DETECTED,
    Candidates,
    Spots,
    inside,
    measure_spots,
    nearest_pixel,
    order_spots,
    reach,
)
from deepspot_scale.errors import FieldError, SettingsError

_STEPS_PER_PIXEL = 1024
"""Fractions are kept to a 1024th of a pixel: exact in binary, so that a block's origin
changes no digit, and finer than any spot can be placed."""


POINTS: Key[tuple[Candidates, Any]] = Key("points")
"""Points before photometry, and the image in use at each, 0 to 1."""


@dataclass(frozen=True)
class PointDetector:
    """Spots are the points that a function finds.

    `testing.check_detector` tells whether the halo is wide enough.

    Examples
    --------
    >>> from functools import partial
    >>> from skimage.feature import peak_local_max
    >>> find = partial(peak_local_max, threshold_abs=0.5, exclude_border=False)
    >>> PointDetector(find, halo=16).on
    'enhanced'
    """

    find: Callable[[NDArray[np.float32]], ArrayLike]
    """Gives (n, 2) points (y, x) in pixels of the (y, x) image it is handed; further
    columns are passed over. The image is float32: an enhanced one lies in [0, 1]; of a
    raw one, the field's own dark is 0 and its brightest thousandth 1. Thresholds must
    be absolute: one taken from the image it is handed would differ from block to
    block."""
    halo: int
    """Pixels around a point that `find` looks at."""
    on: Literal["enhanced", "raw"] = "enhanced"
    """The image that is handed over."""
    refine: bool = True
    """Whether places are refined on the raw image; else the points' own are kept."""
    binning: int = 1
    """Pixels between the points that make a spot's place, intensity and SNR."""
    files: tuple[str, ...] = ()
    """Files that decide about the answer, such as weights: a run that was begun with
    them does not go on with others."""

    def __post_init__(self) -> None:
        """Check the parts."""
        if not callable(self.find):
            raise SettingsError(f"find is a function, got {type(self.find).__name__}")
        if self.halo < 0:
            raise SettingsError(f"the halo is at least 0 px, got {self.halo}")
        if self.on not in {"enhanced", "raw"}:
            raise SettingsError(f"a detector is on enhanced or raw, not {self.on!r}")

    def binned(self, binning: int) -> PointDetector:
        """Return the detector that measures spots wider by a factor.

        How wide the spots are that it finds is the function's own affair.
        """
        if binning == 1:
            return self
        wider = self.binning * binning
        return replace(self, halo=max(self.halo, reach(wider)), binning=wider)

    def steps(self, layer: str) -> tuple[Step, Step]:
        """Return the step that finds points and the one that measures spots there."""
        raw = self.on == "raw"
        find = Step(
            POINTS,
            _FindPoints(self, layer),
            {layer: self.halo},
            agreed=(BRIGHTNESS,) if raw else (),
        )
        return find, measure_points(self.binning)

    def points(self, image: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the (n, 2) points of one image, to a 1024th of a pixel.

        Raises
        ------
        SettingsError
            The function gave something else.
        FieldError
            Points of this image are no finite numbers.
        """
        answer = np.asarray(self.find(image), np.float64)
        if answer.size == 0:
            return np.zeros((0, 2))
        # A mask or a score map instead of points is the likely slip.
        unfit = answer.ndim != 2 or answer.shape[1] < 2 or answer.shape == image.shape
        if unfit:
            raise SettingsError(
                "the detector's function must give (n, 2) points (y, x) in pixels, "
                f"got shape {answer.shape} for an image of {image.shape}"
            )
        if not np.isfinite(answer[:, :2]).all():
            raise FieldError(
                "the detector's function gave points that are NaN or infinite"
            )
        return np.rint(answer[:, :2] * _STEPS_PER_PIXEL) / _STEPS_PER_PIXEL


@dataclass(frozen=True)
class _FindPoints:
    detector: PointDetector
    layer: str

    def __call__(self, here: BlockContext, agreed: Answers) -> tuple[Candidates, Any]:
        pixels = here.pixels(self.layer, self.detector.halo)
        # A copy of the block's own: a function that alters it spoils no other block.
        image = np.array(pixels.values, np.float32)
        if self.detector.on == "raw":
            brightness = agreed[BRIGHTNESS]
            image = brightness.scale(brightness.fill_in(pixels.values))
        places = self.detector.points(image).T
        return own_points(here, places, Pixels(pixels.box, image), self.detector.refine)


def own_points(
    here: BlockContext, places: NDArray[np.float64], image: Pixels, refine: bool
) -> tuple[Candidates, Any]:
    """Return those points that the block owns, and the image at each, cut to [0, 1].

    Parameters
    ----------
    here
        The block.
    places
        (2, n) points (y, x) in pixels of the image.
    image
        Pixels in which they lie.
    refine
        Whether places will be refined on the raw image; else they are kept.
    """
    start = image.box.y.start, image.box.x.start
    y, x = nearest_pixel(places)
    own = inside(here.block.core, y + start[0], x + start[1])
    y, x, places = y[own], x[own], places[:, own]
    found = Candidates(
        y + start[0],
        x + start[1],
        None if refine else places + np.array(start)[:, None],
        np.zeros(y.size, np.int64),
        n_dropped=0,
    )
    return found, np.clip(image.values[y, x], 0, 1)


def measure_points(binning: int = 1) -> Step:
    """Return the step from `POINTS` to spots, with photometry on the raw image."""
    return Step(
        DETECTED,
        _Measure(binning),
        {IMAGE: reach(binning)},
        uses=(POINTS,),
        agreed=(BRIGHTNESS,),
        finalize=order_spots,
    )


@dataclass(frozen=True)
class _Measure:
    binning: int

    def __call__(self, here: BlockContext, agreed: Answers) -> Spots:
        found, value = here.answers[POINTS]
        return measure_spots(found, value, here, agreed, step=self.binning)
