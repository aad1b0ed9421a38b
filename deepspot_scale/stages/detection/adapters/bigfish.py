"""Big-FISH's detection by a Laplacian of Gaussian, block by block, exact.

The library filters each block and finds its local maxima; the whole plane agrees on
the threshold and on which pixel stands for maxima that touch, so spots are those that
``bigfish.detection.detect_spots`` gives for the whole plane, pixel for pixel. The
library is called, not rewritten: another version may answer otherwise. Source: Imbert
et al. 2022, doi:10.1261/rna.079073.121.

    block    LoG -> local maxima, largest values of the LoG
             |
    -------- plane: threshold, one pixel for each plateau --------
             |
    block    spots of its core -> photometry
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import BRIGHTNESS
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Pixels,
    Step,
)
from deepspot_scale.blockwise.spots import Candidates, inside
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.plateaus import plateau_centres
from deepspot_scale.kernels.top_values import largest_values, n_above, stand_in
from deepspot_scale.plugins import module_files
from deepspot_scale.stages.detection.points import POINTS, measure_points, own_points

_TRUNCATE = 4.0
"""Standard deviations at which SciPy cuts a Gaussian, and Big-FISH with it."""
_TOP = 0.999999
"""Quantile of the filtered plane up to which Big-FISH tries thresholds."""
_FEWEST = 100
"""Thresholds that it tries at least."""
_SMOOTHED, _LEAST_LOG = 5, 2
"""Thresholds over which it averages the logarithm of the spots' number, and the least
such logarithm that it looks at."""
_FILES = (
    "detection/spot_detection.py",
    "detection/utils.py",
    "stack/filter.py",
    "stack/preprocess.py",
)
"""Of the library, those that decide about spots."""
_DTYPES = ("uint8", "uint16", "float32", "float64")
"""Which the library takes."""


class Peaks(NamedTuple):
    """Local maxima of some blocks, and the largest filtered values."""

    places: NDArray[np.int64]
    """(n, 2) rows and columns in the plane."""
    values: NDArray[Any]
    """(n,) filtered."""
    top: NDArray[Any]
    """Largest filtered values; empty where the threshold is given."""
    n_pixels: int
    """All pixels."""


_PEAKS: Key[Peaks] = Key("bigfish_peaks")
_SPOTS: Key[NDArray[np.int64]] = Key("bigfish_spots")


@dataclass(frozen=True)
class BigFishDetector:
    """Spots are what Big-FISH finds with the same numbers.

    Pixels that were not imaged have the median of the others, so the rim of what was
    imaged is no spot.

    Examples
    --------
    >>> BigFishDetector(sigma=1.5, distance=1.5).halo
    8
    >>> BigFishDetector.of_nm(voxel=103, radius=150, threshold=60).sigma.__round__(3)
    1.456
    """

    on: ClassVar[Literal["raw"]] = "raw"

    sigma: float = 1.5
    """Standard deviation of the Gaussian in pixels: Big-FISH's spot radius over its
    voxel size, or ``log_kernel_size``."""
    distance: float | None = None
    """Least distance of two spots in pixels, rounded up; None: `sigma`."""
    threshold: float | None = None
    """Least filtered value of a spot (above it); None: Big-FISH's own choice, for each
    plane."""
    refine: bool = False
    """Whether places are refined on the raw image; else they are Big-FISH's pixels."""
    binning: int = 1
    """Pixels between the points that make intensity and SNR."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("sigma", "distance", "threshold"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise SettingsError(f"Big-FISH's {name} is 0 or more, got {value}")
        if self.sigma <= 0 or self.distance == 0:
            raise SettingsError("Big-FISH's sigma and distance are above 0 pixels")

    @classmethod
    def of_nm(
        cls, voxel: float, radius: float, threshold: float | None = None
    ) -> BigFishDetector:
        """Return the detector of spots of a radius, by the size of a pixel, both nm."""
        if not (voxel > 0 and radius > 0):
            raise SettingsError(
                f"voxel and radius are above 0 nm, got {voxel} and {radius}"
            )
        return cls(radius / voxel, threshold=threshold)

    @property
    def halo(self) -> int:
        """Pixels around a spot that decide about it."""
        return int(_TRUNCATE * self.sigma + 0.5) + math.ceil(self.least_distance)

    @property
    def least_distance(self) -> float:
        """Least distance of two spots in pixels."""
        return self.sigma if self.distance is None else self.distance

    @property
    def files(self) -> tuple[str, ...]:
        """The library's own files that decide about spots."""
        return module_files("bigfish", _FILES, "big-fish")

    def binned(self, binning: int) -> BigFishDetector:
        """Return the detector of spots that are wider by a factor."""
        distance = None if self.distance is None else self.distance * binning
        return replace(
            self,
            sigma=self.sigma * binning,
            distance=distance,
            binning=self.binning * binning,
        )

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the steps: maxima, then the spots that the plane agreed on."""
        peaks = Step(
            _PEAKS,
            _FindPeaks(self, layer),
            {layer: self.halo},
            agreed=(BRIGHTNESS,),
            settles=_SPOTS,
            combine=_join,
            finalize=_Choose(self.threshold),
        )
        own = Step(
            POINTS,
            _TakeOwn(layer, self.refine),
            {layer: 0},
            agreed=(_SPOTS, BRIGHTNESS),
        )
        return peaks, own, measure_points(self.binning)


@dataclass(frozen=True)
class _FindPeaks:
    detector: BigFishDetector
    layer: str

    def __call__(self, here: BlockContext, agreed: Answers) -> Peaks:
        own, core = self.detector, here.block.core
        pixels = here.pixels(self.layer, own.halo)
        image = agreed[BRIGHTNESS].fill_in(pixels.values)
        if str(image.dtype) not in _DTYPES:
            raise FieldError(
                f"Big-FISH takes images of {', '.join(_DTYPES)}, got {image.dtype}; "
                "convert the plate to one of them"
            )
        library = _library()
        filtered = library.stack.log_filter(image, (own.sigma, own.sigma))
        distance = (own.least_distance, own.least_distance)
        maxima = library.detection.local_maximum_detection(filtered, distance)
        cut = core.within(pixels.box)
        filtered, maxima = filtered[cut], maxima[cut]
        found = np.argwhere(maxima & (filtered > (own.threshold or 0)))
        values = filtered[tuple(found.T)]
        top = filtered[:0, 0]
        if own.threshold is None:
            n = n_above(here.shape[-2] * here.shape[-1], _TOP)
            top = largest_values(filtered, n)
        places = np.add(found, (core.y.start, core.x.start))
        return Peaks(places, values, top, filtered.size)


def _join(one: Peaks, other: Peaks) -> Peaks:
    places, values, top = (
        np.concatenate(pair) for pair in zip(one[:3], other[:3], strict=True)
    )
    return Peaks(places, values, top, one.n_pixels + other.n_pixels)


@dataclass(frozen=True)
class _Choose:
    """Chooses the spots of a plane among its maxima."""

    threshold: float | None

    def __call__(self, peaks: Peaks, _: Answers) -> NDArray[np.int64]:
        threshold = _elbow(peaks) if self.threshold is None else self.threshold
        if threshold is None:  # the library then gives no spots, and so is it here
            return np.zeros((0, 2), np.int64)
        return plateau_centres(peaks.places[peaks.values > threshold])


def _elbow(peaks: Peaks) -> float | None:
    """Return Big-FISH's own threshold for a plane; None: it has too few maxima.

    What it tries, counts and smooths is that of ``detection.get_elbow_values``, which
    wants the whole plane at once.
    """
    plane = stand_in(
        largest_values(peaks.top, n_above(peaks.n_pixels, _TOP)), peaks.n_pixels
    )
    largest = int(np.percentile(plane, 100 * _TOP))
    few = largest < _FEWEST
    tried = np.linspace(0, largest, _FEWEST) if few else np.arange(largest + 1)
    values = np.sort(peaks.values)
    counts = values.size - np.searchsorted(values, tried, side="right")
    library = _library()
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = library.stack.centered_moving_average(np.log(counts), n=_SMOOTHED)
        logs = logs[logs > _LEAST_LOG]
    if logs.size == 0:
        return None
    try:
        threshold, _, _ = library.detection.get_breaking_point(tried[: logs.size], logs)
    except ValueError as error:
        raise FieldError(
            f"Big-FISH finds no threshold for a plane with {values.size} local maxima, "
            f"whose number does not fall off ({error}); give one, such as "
            "bigfish:threshold=50"
        ) from error
    return float(threshold)


@dataclass(frozen=True)
class _TakeOwn:
    """Takes those spots of the plane that lie in the block's core."""

    layer: str
    refine: bool

    def __call__(self, here: BlockContext, agreed: Answers) -> tuple[Candidates, Any]:
        brightness, pixels = agreed[BRIGHTNESS], here.pixels(self.layer)
        core = here.block.core
        spots = agreed[_SPOTS]
        own = spots[inside(core, spots[:, 0], spots[:, 1])]
        image = brightness.scale(brightness.fill_in(pixels.values))
        places = (own - (core.y.start, core.x.start)).T.astype(np.float64)
        return own_points(here, places, Pixels(pixels.box, image), self.refine)


class _Library(NamedTuple):
    detection: Any
    stack: Any


def _library() -> _Library:
    try:
        detection = import_module("bigfish.detection")
        return _Library(detection, import_module("bigfish.stack"))
    except ImportError as error:
        raise SettingsError(
            f"the detector bigfish needs big-fish, which cannot be imported: {error}. "
            "Run: pip install big-fish"
        ) from error
