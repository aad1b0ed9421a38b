"""The stage *detect*: images in, spots out.

A detector is found by its name and told which layer it works on. Nothing here knows how
spots are found, networks or plates.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
from pydantic import Field

from deepspot_scale.blockwise.answers import AVERAGED, ENHANCED
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Count,
    Key,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.spots import DETECTED, Detector, require_detector
from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.networks.weights import find_weights, read_judge
from deepspot_scale.plugins import DETECTORS, hash_files, hash_plugin
from deepspot_scale.stages.detection.adapters.ufish import UFishDetector
from deepspot_scale.stages.detection.detector_names import (
    named_detector,
    read_detector_name,
)
from deepspot_scale.stages.detection.volume import VolumeDetector
from deepspot_scale.stages.detection.wavelet import (
    PRESETS,
    WaveletDetector,
    judged_detector,
)
from deepspot_scale.vocabulary import SPOTS, PlaneIdentity


def find_detector(
    method: str | Detector,
    *,
    floor: float | None = None,
    min_relative_intensity: float | None = None,
    model: str | None = None,
) -> Detector:
    """Return a detector by the name of its preset or plug-in, or as it is.

    Parameters
    ----------
    method
        Name or detector.
    floor, min_relative_intensity
        Instead of its own, see `DetectOptions`.
    model
        Name or path of the model that gave the enhanced image. Where it brings a judge
        of spots, the preset ``enhanced`` asks it.

    Raises
    ------
    WeightsError
        No such model.
    SettingsError
        No preset or plug-in of that name, an object that is no detector, or numbers
        for one that has none.
    """
    detector: Detector
    if not isinstance(method, str):
        detector = require_detector(method)
    elif method in PRESETS:
        detector = PRESETS[method]
        judge = None
        if model is not None and method == "enhanced":
            judge = read_judge(find_weights(model))
        if judge is not None:
            detector = judged_detector(judge)
    else:
        detector = named_detector(method)
    if floor is None and min_relative_intensity is None:
        return detector
    if not isinstance(detector, WaveletDetector):
        raise SettingsError(
            "floor and min_relative_intensity are numbers of the built-in detectors; "
            "one of your own has its own"
        )
    return detector.adjusted(floor=floor, least_share=min_relative_intensity)


class LeftOut(NamedTuple):
    """How many spots of a field are not in its table, or nearly were not."""

    n_dropped: int
    n_faint: int
    n_crowded: int

    def __add__(self, other: object) -> LeftOut:
        """Add what other blocks left out."""
        if not isinstance(other, LeftOut):
            return NotImplemented
        return LeftOut(*(a + b for a, b in zip(self, other, strict=True)))


LEFT_OUT: Key[LeftOut] = Key("left_out")


def _count_left_out(here: BlockContext, _: Answers) -> LeftOut:
    spots = here.answers[DETECTED]
    return LeftOut(spots.n_dropped, spots.n_faint, spots.n_crowded)


def _n_dropped(left_out: LeftOut) -> int:
    return left_out.n_dropped


def _n_faint(left_out: LeftOut) -> int:
    return left_out.n_faint


def _n_crowded(left_out: LeftOut) -> int:
    return left_out.n_crowded


def _spot_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    return identify(agreed[DETECTED].table, plane, SPOTS)


def detector_work(detector: Detector, layer: str, axes: str = "yx") -> Work:
    """Return the work of a detector on a layer, and what it gives."""
    count = Step(LEFT_OUT, _count_left_out, uses=(DETECTED,))
    large = "peaks dropped because their object is too large"
    faint = "spots left out: far too faint for their field, doubtful, or cut off"
    crowded = "clear spots below the threshold; kept if more than those above"
    further = detector.gives() if isinstance(detector, VolumeDetector) else ()
    grid: int = getattr(detector, "grid", 1)
    return Work(
        (*detector.steps(layer), count),
        (
            Table("spots", SPOTS, (DETECTED,), _spot_table),
            Count("n_dropped", large, LEFT_OUT, _n_dropped),
            Count("n_faint", faint, LEFT_OUT, _n_faint),
            Count("n_crowded", crowded, LEFT_OUT, _n_crowded),
            *further,
        ),
        grid=grid,
        axes=axes,
    )


class DetectOptions(StageOptions):
    """How spots are found."""

    detector: str | None = Field(
        default=None,
        description="Preset (enhanced, paper, raw, product), another library's "
        "(bigfish, ufish, spotiflow, skimage-log, skimage-dog, skimage-doh), or "
        "module:attribute of your own; options follow, bigfish:sigma=1.3,threshold=40.",
    )
    floor: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Least probability of a spot, or where the model judges none its "
        "least certainty: lower finds more.",
    )
    min_relative_intensity: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="Spots below this share of the field's typical intensity are left "
        "out; 0: none is.",
        json_schema_extra={"formerly": "faint"},
    )
    decompose: bool = Field(
        default=True,
        description="In a volume, take dense regions apart into single molecules.",
    )
    fit: bool = Field(
        default=False,
        description="In a volume, fit a Gaussian to each spot: width, height (fits).",
    )


def plan_detect(options: DetectOptions, context: RunContext) -> Work:
    """Return the stage's work.

    Raises
    ------
    SettingsError
        No such detector, or one that is not for such images.
    """
    enhanced = ENHANCED.name in context.layers
    if context.image == AVERAGED.name:
        return _plan_volume(options, context)
    name = options.detector or ("enhanced" if enhanced else "raw")
    detector = find_detector(
        name,
        floor=options.floor,
        min_relative_intensity=options.min_relative_intensity,
        model=context.enhanced_by if enhanced else None,
    ).binned(binning_for(context.spot_sigma))
    if isinstance(detector, UFishDetector):
        detector = replace(detector, threads=context.threads)
    if (detector.on == "enhanced") != enhanced:
        # No spot would pass: the range would be that of other pixels.
        fit = [name for name, each in PRESETS.items() if each.on != detector.on]
        raise SettingsError(
            f"detector {name!r} is for {detector.on} images, but the run is "
            f"{'with' if enhanced else 'without'} enhancement; use one of "
            f"{', '.join(fit)}"
        )
    return detector_work(detector, ENHANCED.name if enhanced else context.image)


def _plan_volume(options: DetectOptions, context: RunContext) -> Work:
    """Return the work on a stack."""
    if options.detector not in (None, "enhanced"):
        raise SettingsError(
            f"the detector {options.detector!r} works on planes; leave it out, or "
            "leave --volume out"
        )
    if ENHANCED.name not in context.layers:
        raise SettingsError(
            "spots of a volume are found on enhanced planes; leave --no-enhance out"
        )
    if options.min_relative_intensity:
        raise SettingsError(
            "in a volume no spot is left out for its intensity; leave "
            "min_relative_intensity out"
        )
    detector = VolumeDetector().adjusted(
        options.floor, decompose=options.decompose, fit=options.fit
    )
    detector = detector.binned(binning_for(context.spot_sigma))
    return detector_work(detector, ENHANCED.name, "zyx")


def find_sources(options: DetectOptions) -> Mapping[str, Mapping[str, str]]:
    """Return a plug-in's own file, and the files that a named detector names."""
    if options.detector is None or options.detector in PRESETS:
        return {}
    found = {}
    word = options.detector
    digest = hash_plugin(read_detector_name(word).name, DETECTORS)
    if digest is not None:
        found["detector"] = {"name": word, "sha256": digest}
    files = getattr(named_detector(word), "files", ())
    for file, digest in hash_files(files).items():
        found[f"detector, {file}"] = {"name": file, "sha256": digest}
    return found


DETECT = Stage("detect", DetectOptions, plan_detect, find_sources)
