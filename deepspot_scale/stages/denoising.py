"""The stage *denoise*: an image comes in, the same image without its noise goes out.

`Denoiser` runs the network on one block, plane by plane, and gives back the signal
that it lost (see `kernels.denoising`). Later stages take its layer for the image;
intensities of spots are still measured on the stored one. Windows start on the
network's grid; where one reaches past the field, the last row and column are repeated.
Nothing here knows spots, files or how a network is trained.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deepspot_scale.blockwise.answers import DENOISED, IMAGE
from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
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
from deepspot_scale.errors import FieldError, SettingsError, WeightsError
from deepspot_scale.kernels import denoising
from deepspot_scale.kernels.denoising import Denoising
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine, iter_predictions
from deepspot_scale.networks.families import DENOISER
from deepspot_scale.networks.weights import find_weights

_BEYOND: Key[int] = Key("beyond_denoiser")
KEPT = Layer("denoised_image", "float32", keep=True, folder="denoised")
"""The image without noise as it is kept, in counts: not rounded, since steps of whole
counts would be larger than the noise that is left."""
_TOLD = (
    "pixels darker or brighter than all training images of the denoiser; where there "
    "are many, train one on images of this exposure"
)


@dataclass(frozen=True)
class Denoiser:
    """The network on one block, and what it knows of its training images."""

    engine: EngineChoice
    """Which network, and how it is run."""
    scale: Denoising
    """How counts become the network's, and noise is told from signal."""
    halo: int
    """Pixels of true neighbours that decide about a pixel, a multiple of `grid`."""
    grid: int = DENOISER.grid
    """Stride of the network in pixels."""

    @classmethod
    def of(cls, engine: EngineChoice) -> Denoiser:
        """Return the denoiser of a model.

        Raises
        ------
        WeightsError
            No such model, or one without the brightness of its training images.
        SettingsError
            The model is of another family.
        """
        weights = find_weights(engine.model)
        family = weights.family
        if family.name != DENOISER.name:
            raise SettingsError(
                f"{engine.model} is of the family {family.name} and removes no noise; "
                f"train one of the family {DENOISER.name}"
            )
        try:
            scale = Denoising.from_text(weights.about[denoising.ABOUT])
        except (KeyError, TypeError, ValueError) as error:
            raise WeightsError(
                f"{weights.path} does not say how bright its training images were; was "
                "it written by a training of deepspot_scale?"
            ) from error
        far = family.reach(weights.architecture) + denoising.REACH
        halo = -(-far // family.grid) * family.grid
        return cls(engine, scale, halo, family.grid)

    def prepare(self, here: BlockContext, _: Answers) -> NDArray[np.float32]:
        """Return the normalised window, padded where it reaches past the field."""
        window = _window(here)
        near = here.wanted.grow(self.halo, here.shape).overlap(window)
        counts = here.read(IMAGE, near)
        if not np.isfinite(counts).all():
            raise FieldError(
                "image has pixels that are NaN or infinite; replace them before noise "
                "is removed"
            )
        pixels = self.scale.normalise(counts)
        lacking = [
            (own.start - all_.start, all_.stop - own.stop)
            for own, all_ in zip(near.spans, window.spans, strict=True)
        ]
        return np.pad(pixels, lacking, mode="edge") if np.any(lacking) else pixels

    def predict(self, windows: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return the network's answers to prepared windows of one shape."""
        images = [image[..., None] for window in windows for image in _planes(window)]
        answers = iter_predictions(get_engine(self.engine), images)
        return [
            np.stack([next(answers)[..., 0] for _ in _planes(window)]).reshape(
                window.shape
            )
            for window in windows
        ]

    def cut(
        self, here: BlockContext, _: Answers, answer: NDArray[np.float32]
    ) -> Pixels:
        """Return the wanted pixels, in counts, with the lost signal back."""
        margin = {"y": denoising.REACH, "x": denoising.REACH}
        near = here.wanted.grow(margin, here.shape)
        clean = self.scale.counts(answer[near.within(_window(here))])
        noisy = here.read(IMAGE, near)
        planes = zip(_planes(noisy), _planes(clean), strict=True)
        joined = np.stack([self.scale.combine(*plane) for plane in planes])
        return Pixels(
            here.wanted, joined.reshape(clean.shape)[here.wanted.within(near)]
        )

    def count_beyond(self, here: BlockContext, _: Answers) -> int:
        """Return the core's pixels that no training image prepared the network for."""
        return self.scale.count_beyond(here.pixels(IMAGE).values)

    def work(self, *, keep: bool = False) -> Work:
        """Return the step to `answers.DENOISED`, and one that keeps it."""
        batched = BatchedWork(self.prepare, self.predict, self.cut)
        step = Step(DENOISED, batched, {IMAGE: self.halo})
        count = Step(_BEYOND, self.count_beyond, {IMAGE: 0})
        kept = (Step(KEPT, _as_it_is, {DENOISED.name: 0}),) if keep else ()
        return Work(
            (step, count, *kept),
            (Count("n_beyond_denoiser", _TOLD, _BEYOND, int),),
            grid=self.grid,
            stacks=True,
            networks=(self.engine,),
            image=DENOISED.name,
        )


def _as_it_is(here: BlockContext, _: Answers) -> Pixels:
    return here.pixels(DENOISED.name)


def _window(here: BlockContext) -> Box:
    """Return the block's window, of the planes that are wanted."""
    window = here.block.window
    return Box((*here.wanted.spans[:-2], *window.spans[-2:]), window.axes)


def _planes(window: NDArray[Any]) -> NDArray[Any]:
    """Return the planes (n, y, x) of a window with any axes in front of y and x."""
    return window.reshape(-1, *window.shape[-2:])


class DenoiseOptions(StageOptions):
    """Whether noise is removed before spots are looked for, and by which network."""

    use: bool = Field(default=False, description="Remove noise first, by a network.")
    denoiser: str | None = Field(
        default=None,
        description="Weights file of the family denoiser, trained on such images.",
    )
    keep_denoised: bool = Field(
        default=False, description="Write the images without noise beside the tables."
    )


def _model(options: DenoiseOptions) -> str:
    if options.denoiser is None:
        raise SettingsError(
            "there is no denoiser for every camera: train one on images of yours "
            f"(family {DENOISER.name}) and name its weights file as denoiser"
        )
    return options.denoiser


def plan_denoise(options: DenoiseOptions, context: RunContext) -> Work:
    """Return the stage's work.

    Raises
    ------
    SettingsError
        No model is named, it is none that removes noise, or the image is not the stored
        one.
    WeightsError
        No such model.
    """
    if context.image != IMAGE:
        raise SettingsError(
            f"denoising works on stored images, and here the image is {context.image}; "
            "leave denoise out, or what makes that image"
        )
    device, threads = context.device, context.threads
    choice = EngineChoice(_model(options), device=device, threads=threads)
    return Denoiser.of(choice).work(keep=options.keep_denoised)


def find_sources(options: DenoiseOptions) -> Mapping[str, Mapping[str, str]]:
    """Return the weights."""
    found = find_weights(_model(options))
    return {"denoiser": {"name": found.name, "sha256": found.sha256}}


DENOISE = Stage("denoise", DenoiseOptions, plan_denoise, find_sources)
