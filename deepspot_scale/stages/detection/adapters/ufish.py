"""U-FISH: a network that makes spots alike, then local maxima; block by block.

U-FISH scales an image by its own least and largest pixel, and its network looks at
means and largest values of the whole image. Here the plane agrees on all of these, so
that blocks answer as the whole plane does but for the rounding of float32: a spot whose
value lies within some millionths of the threshold may be found in one cut and not in
another. (The library's own cutting, ``predict_chunks``, scales each tile by itself.)

    block    largest pixels -> plane: scale
    block    encoder        -> plane: mean and maximum of each channel
    block    decoder        -> plane: the same
    block    whole network  -> local maxima of its core -> photometry
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from deepspot_scale.blockwise.spots import Candidates
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.top_values import largest_values, n_above, stand_in
from deepspot_scale.networks.adapters.ufish import (
    GRID,
    N_POOLS,
    REACH,
    Pools,
    load_network,
    weights_file,
)
from deepspot_scale.stages.detection.points import POINTS, measure_points, own_points

_BRIGHT = 0.9999
"""Quantile above which U-FISH looks for outliers."""
_TOP: Key[Top] = Key("ufish_top")
_SCALE: Key[tuple[float, float]] = Key("ufish_scale")
_POOLS: tuple[Key[Pools | None], ...] = tuple(
    Key(f"ufish_pools_{n}") for n in range(N_POOLS)
)
"""None: the plane is one block, which the network sees as a whole."""


class Top(NamedTuple):
    """Brightest pixels of some blocks."""

    least: float
    """Darkest pixel, counts."""
    values: NDArray[np.float32]
    n_pixels: int
    """All pixels."""


@dataclass(frozen=True)
class UFishDetector:
    """Spots are what U-FISH finds by its defaults.

    Pixels that were not imaged have the median of the others.

    Examples
    --------
    >>> UFishDetector(weights="ufish.onnx").halo
    56
    """

    on: ClassVar[Literal["raw"]] = "raw"
    halo: ClassVar[int] = REACH
    grid: ClassVar[int] = GRID

    threshold: float = 0.5
    """Least value of a local maximum, U-FISH's ``intensity_threshold``."""
    weights: str | None = None
    """ONNX file; None: that of the installed package ufish."""
    refine: bool = False
    """Whether places are refined on the raw image; else they are U-FISH's pixels."""
    threads: int = 0
    """Processor threads of the network; 0: all."""
    binning: int = 1
    """Pixels between the points that make intensity and SNR."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not self.threshold > 0:
            raise SettingsError(f"U-FISH's threshold is above 0, got {self.threshold}")

    @property
    def files(self) -> tuple[str, ...]:
        """The ONNX file."""
        return (str(weights_file(self.weights)),)

    def binned(self, binning: int) -> UFishDetector:
        """Return the detector that measures spots wider by a factor.

        Which spots it finds is up to the network, which sees all pixels.
        """
        return replace(self, binning=self.binning * binning)

    def steps(self, layer: str) -> tuple[Step, ...]:
        """Return the steps: scale, two looks at the whole plane, spots."""
        network = _Network(self, layer)
        scale = Step(
            _TOP,
            _FindTop(layer),
            {layer: 0},
            agreed=(BRIGHTNESS,),
            settles=_SCALE,
            combine=_join,
            finalize=_scale,
        )
        looks = tuple(
            Step(
                key,
                _Look(network, place),
                {layer: REACH},
                agreed=(BRIGHTNESS, _SCALE, *_POOLS[:place]),
            )
            for place, key in enumerate(_POOLS)
        )
        find = Step(
            POINTS,
            _Find(network),
            {layer: REACH},
            agreed=(BRIGHTNESS, _SCALE, *_POOLS),
        )
        return scale, *looks, find, measure_points(self.binning)


@dataclass(frozen=True)
class _FindTop:
    layer: str

    def __call__(self, here: BlockContext, agreed: Answers) -> Top:
        pixels = agreed[BRIGHTNESS].fill_in(here.pixels(self.layer).values)
        n = n_above(here.shape[-2] * here.shape[-1], _BRIGHT)
        brightest = largest_values(pixels, n).astype(np.float32)
        return Top(float(pixels.min()), brightest, pixels.size)


def _join(one: Top, other: Top) -> Top:
    values = np.concatenate([one.values, other.values])
    return Top(min(one.least, other.least), values, one.n_pixels + other.n_pixels)


def _scale(top: Top, _: Answers) -> tuple[float, float]:
    """Return the counts that become 0 and 255, as U-FISH chooses them for a plane.

    That is the least and the largest pixel; but 0 and a high quantile where the largest
    is more than twice that.
    """
    n = top.n_pixels
    plane = stand_in(largest_values(top.values, n_above(n, _BRIGHT)), n)
    bright, largest = np.quantile(plane, _BRIGHT), plane[-1]
    if largest - bright > bright:
        return 0.0, float(bright)
    return top.least, float(largest)


@dataclass(frozen=True)
class _Network:
    """The network on the window of a block."""

    detector: UFishDetector
    layer: str

    def load(self) -> Any:
        own = self.detector
        return load_network(str(weights_file(own.weights)), own.threads)

    def window(self, here: BlockContext, agreed: Answers) -> Pixels:
        """Return the window, scaled as U-FISH scales the whole plane."""
        from skimage.exposure import rescale_intensity

        pixels = here.pixels(self.layer, REACH)
        counts = agreed[BRIGHTNESS].fill_in(pixels.values).astype(np.float32)
        scaled = rescale_intensity(counts, in_range=agreed[_SCALE], out_range=(0, 255))
        return Pixels(pixels.box, scaled.astype(np.float32))


def _known(agreed: Answers, n: int) -> tuple[Pools, ...] | None:
    """Return what was agreed on in the first n places; None: the plane is not cut."""
    pools = tuple(agreed[key] for key in _POOLS[:n])
    known = tuple(each for each in pools if each is not None)
    return known if len(known) == len(pools) else None


@dataclass(frozen=True)
class _Look:
    """Measures what the network looks at in one place, on a block's core."""

    network: _Network
    place: int

    def __call__(self, here: BlockContext, agreed: Answers) -> Pools | None:
        if here.block.core.shape == here.shape:
            return None
        box, image = self.network.window(here, agreed)
        own = here.block.core.within(box)
        known = _known(agreed, self.place) or ()
        pools: Pools = self.network.load().measure(image, own, known)
        return pools


@dataclass(frozen=True)
class _Find:
    """Finds the local maxima of a block's core in the enhanced window."""

    network: _Network

    def __call__(self, here: BlockContext, agreed: Answers) -> tuple[Candidates, Any]:
        from skimage.filters import laplace
        from skimage.morphology import local_maxima

        box, image = self.network.window(here, agreed)
        known = _known(agreed, N_POOLS)
        sharp = laplace(self.network.load().enhance(image, known))
        found = local_maxima(sharp, connectivity=2)
        places = np.argwhere(found & (sharp > self.network.detector.threshold))
        brightness = agreed[BRIGHTNESS]
        counts = here.pixels(self.network.layer, REACH).values
        shown = Pixels(box, brightness.scale(brightness.fill_in(counts)))
        refine = self.network.detector.refine
        return own_points(here, places.T.astype(np.float64), shown, refine)
