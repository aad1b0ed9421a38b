"""Which stages there are, and the pipeline that some of them make.

A new stage is one file in ``stages`` and one word in `STAGES`; a stage of another
package is named by its entry point or as ``module:attribute``. Their order, rounds and
halos follow from what they declare. Nothing here knows settings or what a stage does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from deepspot_scale.blockwise.answers import (
    ENHANCED,
    IMAGE,
    LABEL_HEIGHT,
    LABELS,
    MOVIE_SCALE,
    PIXEL,
    PIXEL_UM,
    REFERENCE,
    STEP,
    channel_of,
)
from deepspot_scale.blockwise.contract import (
    Key,
    Layer,
    RunContext,
    Stage,
    StageOptions,
    Work,
)
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import STAGES as GROUP
from deepspot_scale.plugins import load_plugin
from deepspot_scale.stages.assignment import ASSIGN
from deepspot_scale.stages.brightness import MEASURE_BRIGHTNESS, BrightnessOptions
from deepspot_scale.stages.clusters import FIND_CLUSTERS
from deepspot_scale.stages.denoising import DENOISE
from deepspot_scale.stages.detection.detect import DETECT
from deepspot_scale.stages.enhancement import (
    ENHANCE,
    EnhanceOptions,
    check_normalisation,
)
from deepspot_scale.stages.localisation import LOCALISE
from deepspot_scale.stages.polarity.measure import POLARITY
from deepspot_scale.stages.quality import MEASURE_QUALITY
from deepspot_scale.stages.rating import RATE
from deepspot_scale.stages.segmentation.segment import SEGMENT
from deepspot_scale.stages.volume import VOLUME

STAGES: tuple[Stage, ...] = (
    SEGMENT,
    VOLUME,
    DENOISE,
    MEASURE_BRIGHTNESS,
    ENHANCE,
    DETECT,
    ASSIGN,
    FIND_CLUSTERS,
    POLARITY,
    MEASURE_QUALITY,
    RATE,
    LOCALISE,
)
"""The built-in stages. A stage is told of the layers that those before it give."""


def find_stages(names: Iterable[str] = ()) -> tuple[Stage, ...]:
    """Return the stages that are named, then the built-in ones.

    Raises
    ------
    SettingsError
        No such plug-in, one that is no stage, or a name that is taken.
    """
    further = [_load_stage(name) for name in names]
    stages = (*further, *STAGES)
    known: set[str] = set()
    for stage in stages:
        if stage.name in known:
            raise SettingsError(
                f"two stages are called {stage.name!r}; name one of them"
            )
        known.add(stage.name)
    return stages


def _load_stage(name: str) -> Stage:
    stage = load_plugin(name, GROUP)
    if not isinstance(stage, Stage):
        raise SettingsError(
            f"{name!r} is of type {type(stage).__name__}, not a Stage; see "
            "deepspot_scale.Stage"
        )
    return stage


def _enhanced_by(work: Work) -> str | None:
    """Return the model of the work that gives the enhanced image."""
    if all(step.gives.name != ENHANCED.name for step in work.steps):
        return None
    models = (getattr(engine, "model", None) for engine in work.networks)
    return next((model for model in models if isinstance(model, str)), None)


def _check_scale(choices: Mapping[Stage, StageOptions]) -> None:
    """Raise SettingsError for a brightness scale that the model does not use."""
    enhance, brightness = choices.get(ENHANCE), choices.get(MEASURE_BRIGHTNESS)
    if isinstance(enhance, EnhanceOptions) and enhance.use and brightness is not None:
        check_normalisation(enhance.model, brightness == BrightnessOptions())


def assemble_stages(
    choices: Mapping[Stage, StageOptions],
    context: RunContext,
    *,
    wanted: Iterable[Key[Any]] = (),
    block: int = DEFAULT_BLOCK,
) -> Pipeline:
    """Return the pipeline of those stages whose options say that they are used.

    Parameters
    ----------
    choices
        Stages and their options.
    context
        What stages are told beside; its layers are those that are stored.
    wanted
        Layers and answers that are wanted beside what stages give.
    block
        Largest edge of a block in pixels.

    Raises
    ------
    SettingsError, WeightsError
        Options that do not fit, or stages that do not go together.
    """
    _check_scale(choices)
    works: dict[str, Work] = {}
    told = context
    for stage, options in choices.items():
        work = stage.plan(options, told) if options.use else None
        if work is not None:
            works[stage.name] = work
            made = (s.gives.name for s in work.steps if isinstance(s.gives, Layer))
            given = (step.gives.name for step in work.steps)
            told = replace(
                told,
                layers=told.layers.union(made),
                answers=told.answers.union(given),
                enhanced_by=_enhanced_by(work) or told.enhanced_by,
                image=work.image or told.image,
            )
    labels = [name for name in LABELS.values() if name in context.layers]
    reads = {layer for w in works.values() for s in w.steps for layer in s.reads}
    if ENHANCED.name in reads - told.layers:
        # A rater looks at the enhanced image also where no stage before it does.
        options = choices.get(ENHANCE, ENHANCE.options())
        enhance = ENHANCE.plan(options, told)
        works = {ENHANCE.name: enhance} | works if enhance else works
    channels = sorted(layer for layer in reads if channel_of(layer) is not None)
    return plan_pipeline(
        works,
        images=(IMAGE, *channels),
        labels=labels,
        given=(REFERENCE, PIXEL, PIXEL_UM, STEP, LABEL_HEIGHT, MOVIE_SCALE),
        wanted=wanted,
        block=block,
    )
