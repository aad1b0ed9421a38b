"""The stage *enhance*: raw images in, images in which every spot is equally bright out.

`Enhancement` runs the network on one block of a field whose brightness is known.
Windows start on the network's grid; at the right and bottom edge a window may reach
past the field, where the last row and column are repeated. Nothing here knows
spots, files or plates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import (
    BACKGROUND,
    BRIGHTNESS,
    ENHANCED,
    IMAGE,
    JOINT_NOISE,
    NOISE,
    SCALED,
    noise_scale_at,
)
from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Layer,
    Pixels,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Work,
)
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels import contrasts, wavelet
from deepspot_scale.kernels.background import TILE
from deepspot_scale.kernels.binning import bin_pixels, binning_for, unbin_pixels
from deepspot_scale.kernels.normalisation import Scale
from deepspot_scale.networks.caso_resnet import GRID
from deepspot_scale.networks.engine_types import (
    AUTO,
    DEFAULT_MODEL,
    EngineChoice,
    Precision,
)
from deepspot_scale.networks.engines import (
    find_loader,
    get_engine,
    iter_predictions,
    network_sources,
)
from deepspot_scale.networks.weights import find_weights

_CONTRASTS: Key[NDArray[np.int64]] = Key("contrasts")
_WIDE_SCALE: Key[Scale] = Key("wide_scale")
KEPT = Layer("enhanced_image", "uint8", keep=True, folder="enhanced")
"""The enhanced plane as it is kept: 255 the brightest."""


@dataclass(frozen=True)
class Enhancement:
    """The network on one block."""

    engine: EngineChoice = EngineChoice()
    """Which network, and how it is run."""
    halo: int = 128
    """Pixels of true neighbours the network needs, a multiple of `grid`."""
    grid: int = GRID
    """Stride of the network in pixels."""
    binning: int = 1
    """Pixels along each axis that the network sees as one: for wide spots."""
    by_noise: bool = False
    """Whether images are scaled by their noise, else by their brightness."""
    layer: str = IMAGE
    """The image that is enhanced."""
    reads_scaled: bool = False
    """Whether it reads the image that *brightness* scales by noise, which other stages
    then read too, or scales its own windows. A stack scales its own: it is enhanced in
    place."""

    @classmethod
    def of(
        cls,
        engine: EngineChoice,
        binning: int = 1,
        layer: str = IMAGE,
        *,
        in_volume: bool = True,
    ) -> Enhancement:
        """Return the enhancement whose halo is that of the model's own layers."""
        weights = find_weights(engine.model)
        family = weights.family
        gives = (family.channels_in, family.channels_out, family.scale)
        if (*gives, family.answer_range) != (1, 1, 1, (0.0, 1.0)):
            raise SettingsError(
                f"{engine.model} is of the family {family.name}, whose answer is no "
                "enhanced image of one channel; name another model"
            )
        reach = family.halo(weights.architecture)
        # Between the centres of large pixels, one neighbour more decides.
        rim = reach if binning == 1 else reach + family.grid
        by_noise = family.normalisation == "noise"
        grid = family.grid * binning
        reads_scaled = by_noise and not in_volume
        return cls(engine, rim * binning, grid, binning, by_noise, layer, reads_scaled)

    def prepare(self, here: BlockContext, agreed: Answers) -> NDArray[np.float32]:
        """Return the normalised window, padded where it reaches past what decides.

        That is the halo around the wanted pixels, and the field.
        """
        window = _window(here)
        near = here.wanted.grow(self.halo, here.shape).overlap(window)
        if self.reads_scaled:
            pixels = here.read(SCALED.name, near)
        else:
            pixels = self._scale(here.read(self.layer, near), near, agreed)
        lacking = [
            (own.start - all_.start, all_.stop - own.stop)
            for own, all_ in zip(near.spans, window.spans, strict=True)
        ]
        if np.any(lacking):
            pixels = np.pad(pixels, lacking, mode="edge")
        windows: NDArray[np.float32] = _by_plane(bin_pixels, pixels, self.binning)
        return windows

    def _scale(
        self, counts: NDArray[np.generic], near: Box, agreed: Answers
    ) -> NDArray[np.float32]:
        if not self.by_noise:
            return agreed[_WIDE_SCALE](agreed[BRIGHTNESS].fill_in(counts))
        scale = noise_scale_at(agreed, near, TILE * self.binning)
        return scale(counts, (near.y.start, near.x.start))

    def predict(self, windows: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return the enhanced windows of prepared ones of one shape.

        Those of stacks are written over the prepared ones.
        """
        shape = windows[0].shape
        images = [image[..., None] for window in windows for image in _planes(window)]
        answers = iter_predictions(get_engine(self.engine), images)
        if len(shape) == 2:
            return [answer[..., 0] for answer in answers]
        for image, answer in zip(images, answers, strict=True):
            image[...] = answer  # in place: a second stack would take as much memory
        return list(windows)

    def cut(
        self, here: BlockContext, _: Answers, enhanced: NDArray[np.float32]
    ) -> Pixels:
        """Return those pixels of an enhanced window that are wanted."""
        pixels = _by_plane(unbin_pixels, enhanced, self.binning)
        return Pixels(here.wanted, pixels[here.wanted.within(_window(here))])

    def work(self, *, keep: bool = False) -> Work:
        """Return the step to `answers.ENHANCED`, and one that keeps it as bytes."""
        batched = BatchedWork(self.prepare, self.predict, self.cut)
        scale = (JOINT_NOISE, BACKGROUND) if self.by_noise else (_WIDE_SCALE,)
        agreed: tuple[Key[Any], ...] = (BRIGHTNESS, *scale)
        reads = {SCALED.name if self.reads_scaled else self.layer: self.halo}
        enhance = Step(
            ENHANCED, batched, reads, agreed=() if self.reads_scaled else agreed
        )
        steps = (enhance,) if self.by_noise else (_widening(self.layer), enhance)
        kept = (Step(KEPT, _as_bytes, {ENHANCED.name: 0}),) if keep else ()
        return Work(
            (*steps, *kept), grid=self.grid, stacks=True, networks=(self.engine,)
        )


def _count_contrasts(
    here: BlockContext, agreed: Answers, *, layer: str
) -> NDArray[np.int64]:
    brightness, core = agreed[BRIGHTNESS], here.block.core
    around = here.pixels(layer, contrasts.REACH)
    counts = np.zeros(wavelet.LEVELS + 1, np.int64)
    cut = core.within(around.box)[-2:]
    for plane in _planes(brightness.fill_in(around.values)):
        # As float32, so that the unit is the same for all dtypes.
        floats = plane.astype(np.float32)
        image = wavelet.quantise(floats, brightness.low, brightness.high)
        counts += contrasts.count_contrasts(image, cut)
    return counts


def _widen(counts: NDArray[np.int64], agreed: Answers) -> Scale:
    """Return the field's scale, wide enough for spots that are no thousandth of it."""
    brightness, scale = agreed[BRIGHTNESS], agreed[BRIGHTNESS].scale
    unit = (brightness.high - brightness.low) / wavelet.LEVELS
    if unit == 0:
        return scale
    typical = unit * contrasts.typical_contrast(counts, agreed[NOISE] / unit)
    return Scale(scale.low, max(scale.high, scale.low + typical))


def _widening(layer: str) -> Step:
    return Step(
        _CONTRASTS,
        partial(_count_contrasts, layer=layer),
        {layer: contrasts.REACH},
        agreed=(BRIGHTNESS, NOISE),
        settles=_WIDE_SCALE,
        finalize=_widen,
    )


def _window(here: BlockContext) -> Box:
    """Return the block's window, of the planes that are wanted."""
    window = here.block.window
    return Box((*here.wanted.spans[:-2], *window.spans[-2:]), window.axes)


def _planes(window: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the planes (n, y, x) of a window with any axes in front of y and x."""
    return window.reshape(-1, *window.shape[-2:])


def _by_plane(function: Any, pixels: NDArray[np.float32], binning: int) -> Any:
    """Change each plane of an array with any axes in front of y and x."""
    if binning == 1:
        return pixels
    planes = np.stack([function(plane, binning) for plane in _planes(pixels)])
    return planes.reshape(*pixels.shape[:-2], *planes.shape[-2:])


def _as_bytes(here: BlockContext, _: Answers) -> Pixels:
    pixels = here.pixels(ENHANCED.name)
    return Pixels(pixels.box, np.rint(pixels.values * 255).astype(np.uint8))


class EnhanceOptions(StageOptions):
    """Which network enhances the image, and how it is run."""

    use: bool = Field(default=True, description="Use the network.")
    model: str = Field(
        default=DEFAULT_MODEL, description="Name of a shipped model, or a weights file."
    )
    engine: str = Field(
        default=AUTO,
        description="What runs the network: auto, keras, openvino, or module:attribute "
        "of your own.",
    )
    precision: Precision = Field(
        default="auto", description="Number format of the network."
    )
    keep_enhanced: bool = Field(
        default=False, description="Write the enhanced images beside the tables."
    )


def check_normalisation(model: str, usual: bool) -> None:
    """Raise SettingsError where a brightness scale would have no effect on a model.

    `usual` says whether the scale is the one that nobody asked for.
    """
    if not usual and find_weights(model).family.normalisation == "noise":
        raise SettingsError(
            f"{model} scales an image by its noise, so another brightness scale would "
            "change nothing; leave normalisation out, or use the model deepspot"
        )


def choose_engine(options: EnhanceOptions, context: RunContext) -> EngineChoice:
    """Return how the network is run."""
    return EngineChoice(
        options.model,
        options.engine,
        options.precision,
        context.device,
        context.threads,
    )


def plan_enhance(options: EnhanceOptions, context: RunContext) -> Work:
    """Return the stage's work.

    Raises
    ------
    SettingsError
        No such engine, or spots too wide.
    WeightsError
        No such model.
    """
    engine = choose_engine(options, context)
    if engine.engine != AUTO:
        find_loader(engine.engine)
    enhancement = Enhancement.of(
        engine,
        binning_for(context.spot_sigma),
        context.image,
        in_volume=context.in_volume,
    )
    return enhancement.work(keep=options.keep_enhanced)


def find_sources(options: EnhanceOptions) -> Mapping[str, Mapping[str, str]]:
    """Return the weights, and the engine where it is a plug-in."""
    roles = ("weights", "engine")
    return network_sources(options.model, options.engine, roles=roles)


ENHANCE = Stage("enhance", EnhanceOptions, plan_enhance, find_sources)
