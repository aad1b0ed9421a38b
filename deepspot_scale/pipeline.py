"""The order of stages, as data: the only file that knows it.

Settings come in, rounds of steps go out, ready for one worker or many blocks. Steps
of one line need nothing but their own block and the lines above. A new stage is one
file in ``stages`` and one word here.
"""

from __future__ import annotations

from dataclasses import replace

from deepspot_scale.blockwise.rounds import Pipeline, Step
from deepspot_scale.blockwise.spots import Detector
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.networks.engines import AUTO, Device, EngineChoice, find_loader
from deepspot_scale.settings import Settings
from deepspot_scale.stages.assignment import assignment_step
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.detection.detect import find_detector, read_pixels
from deepspot_scale.stages.detection.wavelet import PRESETS
from deepspot_scale.stages.enhancement import Enhancement, keep_enhanced
from deepspot_scale.stages.polarity.measure import PolarityMeasure

ORDER = (
    ("range",),
    ("brightness", "cells"),
    ("pixels", "enhanced_image", "survey"),
    ("candidates",),
    ("spots", "assigned", "polarity"),
)

STAGES = {
    "scale": ("range", "brightness"),
    "enhance": ("pixels", "enhanced_image"),
    "detect": ("survey", "candidates", "spots"),
    "cells": ("cells", "assigned", "polarity"),
}
"""What steps belong to in the table of fields: its columns ``seconds_<stage>``."""


def assemble(
    settings: Settings, *, device: Device = "auto", threads: int = 0
) -> Pipeline:
    """Return the pipeline that the settings ask for.

    Parameters
    ----------
    settings
        What to measure and how.
    device
        Where the network must run.
    threads
        Processor threads for the network; 0: all.

    Raises
    ------
    SettingsError
        No such engine or detector, or a detector that is not for such images.
    WeightsError
        No such model.
    """
    binning = binning_for(settings.spot_sigma)
    detector = find_detector(
        settings.detector_name, floor=settings.floor, faint=settings.faint
    ).binned(binning)
    _check_detector(detector, settings)
    steps: list[Step] = [
        step for each in _brightness(settings).steps() for step in each
    ]
    halo, grid = detector.halo, 1
    if settings.enhance:
        engine = choose_engine(settings, device=device, threads=threads)
        if engine.engine != AUTO:
            find_loader(engine.engine)
        enhancement = Enhancement.of(engine, binning)
        steps.append(enhancement.step(detector.halo))
        halo, grid = halo + enhancement.halo, enhancement.grid
    else:
        steps.append(read_pixels(detector.halo))
    if settings.keep_enhanced and settings.enhance:
        steps.append(keep_enhanced())
    *others, spots = detector.steps()
    # Spots leave their block only once they know their cells.
    steps += [*others, replace(spots, share=None), assignment_step()]
    if settings.cells is not None:
        steps += PolarityMeasure(settings.nucleus_margin).steps()
    named = {step.name: step for step in steps}
    lines = [tuple(named[name] for name in names if name in named) for names in ORDER]
    rounds = tuple(line for line in lines if line)
    return Pipeline(rounds, halo, grid, settings.block)


def _check_detector(detector: Detector, settings: Settings) -> None:
    """Refuse a detector of raw images on enhanced ones or the reverse: no spot passes.

    Its range would be that of other pixels.
    """
    if (detector.on == "enhanced") == settings.enhance:
        return
    fit = [name for name, each in PRESETS.items() if each.on != detector.on]
    raise SettingsError(
        f"detector {settings.detector_name!r} is for {detector.on} images, but the run "
        f"is {'with' if settings.enhance else 'without'} enhancement; use one of "
        f"{', '.join(fit)}"
    )


def choose_engine(
    settings: Settings, *, device: Device = "auto", threads: int = 0
) -> EngineChoice:
    """Return how the network is run, as `assemble` uses it."""
    return EngineChoice(
        settings.model, settings.engine, settings.precision, device, threads
    )


def _brightness(settings: Settings) -> Normalisation:
    return Normalisation(settings.normalisation)
