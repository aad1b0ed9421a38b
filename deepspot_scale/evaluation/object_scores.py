"""Models that find objects, on images whose objects are known.

Every image goes through the pipeline that `assemble` makes for a run with
``--segment``, so what is scored is what a run gives: its binning, its tiles, its
suppression. Labels stay on the image's own grid. Nothing here writes, or knows other
kinds of models.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import NUCLEI, PIXEL, PIXEL_UM, REFERENCE, STEP
from deepspot_scale.blockwise.contract import Answers
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.evaluation.quality_figures import draw_objects
from deepspot_scale.evaluation.quality_kinds import (
    Measure,
    QualityKind,
    Scored,
    Scorer,
    ShownImage,
)
from deepspot_scale.io.image_files.paired_files import FilePair
from deepspot_scale.kernels.label_matching import (
    THRESHOLDS,
    boundary_f,
    count_error,
    match_objects,
    overlap_labels,
    panoptic_quality,
)
from deepspot_scale.kernels.pixel_shape import PixelShape
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.settings import assemble, make_settings
from deepspot_scale.statistics.image_bootstrap import (
    Estimate,
    estimate_mean,
    estimate_ratio,
)
from deepspot_scale.vocabulary import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOLERANCE_PX: Final = 2.0
"""Distance within which two outlines agree."""
_CHANNEL: Final = "0"
_OFF: Final = ("enhance", "detect", "quality", "clusters", "polarity")
_PERCENT: Final = {each: f"ap_{round(100 * each)}" for each in THRESHOLDS}

COLUMNS: Final = (
    Column("height", "int64", "pixels along y"),
    Column("width", "int64", "pixels along x"),
    Column("n_true", "int64", "true objects"),
    Column("n_found", "int64", "found objects"),
    *(
        Column(
            f"matched_{round(100 * each)}", "int64", f"pairs of IoU {each:g} or more"
        )
        for each in THRESHOLDS
    ),
    *(
        Column(name, "float64", f"TP / (TP + FP + FN) at IoU {each:g}; 1: no object")
        for each, name in _PERCENT.items()
    ),
    Column("ap", "float64", "the mean of these"),
    Column("count_error", "float64", "found minus true objects, over the true ones"),
    Column(
        "boundary_f",
        "float64",
        f"F of boundary pixels within {TOLERANCE_PX:g} px of one another",
    ),
    Column("panoptic", "float64", "panoptic quality at IoU 0.5"),
    Column("mean_iou", "float64", "mean IoU of the pairs of 0.5 or more; 0: no pair"),
)


def segmentation_pipeline(model: str, device: Device = "auto") -> Pipeline:
    """Return the pipeline of a run that finds objects and does nothing else."""
    settings = make_settings(
        channels=(_CHANNEL,),
        segment={"segments": (f"nuclei:{_CHANNEL}",), "nuclei_model": model},
        **{name: {"use": False} for name in _OFF},
    )
    return assemble(settings, device=device)


def segment_array(
    image: NDArray[Any], pipeline: Pipeline
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the labels of a plane (y, x) of counts, and the image that was searched.

    The latter is scaled and may be reduced. Raises FieldError if pixels are not finite.
    """
    given = Answers({REFERENCE.name: None, PIXEL.name: PixelShape()})
    given[STEP], given[PIXEL_UM] = None, None
    read = read_whole(dict.fromkeys(pipeline.reads, image))
    answers = reduce_rounds(pipeline, pipeline.blocks(image.shape), read, given)
    return answers.by_name[NUCLEI.name], answers.by_name[f"{NUCLEI.name}_plane"].image


def open_objects(model: str, device: Device, _: Path) -> Scorer:
    """Return what scores an image of a data set with a model."""
    return partial(_score_pair, pipeline=segmentation_pipeline(model, device))


def _score_pair(pair: FilePair, *, pipeline: Pipeline) -> Scored:
    image, labels = pair.read()
    if labels.dtype.kind not in "ui":
        raise FieldError(f"{pair.second} holds {labels.dtype}, not whole numbers")
    began = time.monotonic()
    found, seen = segment_array(image, pipeline)
    seconds = time.monotonic() - began
    true = labels.astype(np.int64)
    try:
        row = score_labels(true, found) | {"seconds": seconds}
    except SettingsError as error:  # of this image alone
        raise FieldError(f"{pair.second}: {error}") from error
    return Scored(row, seen, (image, true, found))


def score_labels(
    true: NDArray[np.integer[Any]], found: NDArray[np.integer[Any]]
) -> dict[str, Any]:
    """Return `COLUMNS` of one image, from label images of one shape."""
    overlaps = overlap_labels(true, found)
    n, m = len(overlaps.true_ids), len(overlaps.found_ids)
    matched = [len(match_objects(overlaps, each).true) for each in THRESHOLDS]
    precision = [k / (n + m - k) if n + m else 1.0 for k in matched]
    quality = panoptic_quality(overlaps)
    row: dict[str, Any] = {"height": true.shape[0], "width": true.shape[1]}
    row |= {"n_true": n, "n_found": m}
    for threshold, k, share in zip(THRESHOLDS, matched, precision, strict=True):
        row |= {f"matched_{round(100 * threshold)}": k, _PERCENT[threshold]: share}
    return row | {
        "ap": float(np.mean(precision)),
        "count_error": count_error(overlaps),
        "boundary_f": boundary_f(true, found, TOLERANCE_PX),
        "panoptic": quality.panoptic,
        "mean_iou": quality.segmentation,
    }


# -- over all images -------------------------------------------------------------------


def _mean(images: pd.DataFrame, *, of: str) -> Estimate:
    return estimate_mean(images[of])


def _pooled(images: pd.DataFrame, *, threshold: int) -> Estimate:
    matched = images[f"matched_{threshold}"]
    return estimate_ratio(matched, images["n_true"] + images["n_found"] - matched)


def _counts(images: pd.DataFrame) -> Estimate:
    return estimate_ratio(images["n_found"] - images["n_true"], images["n_true"])


def _count_errors(images: pd.DataFrame) -> Estimate:
    return estimate_mean(images["count_error"].abs())


MEASURES: Final = (
    Measure(
        "ap_50",
        partial(_mean, of="ap_50"),
        "AP at IoU 0.5: TP / (TP + FP + FN), mean over images",
        headline=True,
    ),
    Measure(
        "ap",
        partial(_mean, of="ap"),
        "AP, mean of IoU 0.5, 0.6 ... 0.9",
        headline=True,
    ),
    *(
        Measure(name, partial(_mean, of=name), f"AP at IoU {each:g}, mean over images")
        for each, name in _PERCENT.items()
        if each > 0.5
    ),
    Measure(
        "ap_50_pooled",
        partial(_pooled, threshold=50),
        "AP at IoU 0.5 of all objects together",
    ),
    Measure(
        "count_error",
        _counts,
        "count error: found minus true objects over the true ones, all images together",
        headline=True,
    ),
    Measure(
        "count_error_per_image",
        _count_errors,
        "mean over images of the absolute count error, images without objects left out",
    ),
    Measure(
        "boundary_f",
        partial(_mean, of="boundary_f"),
        f"boundary F within {TOLERANCE_PX:g} px",
        headline=True,
    ),
    Measure("panoptic", partial(_mean, of="panoptic"), "panoptic quality at IoU 0.5"),
    Measure("mean_iou", partial(_mean, of="mean_iou"), "mean IoU of matched objects"),
)


def _draw(shown: Sequence[ShownImage]) -> Figure:
    return draw_objects(shown)


OBJECTS: Final = QualityKind(
    "Objects found and true",
    ("images", "labels"),
    COLUMNS,
    MEASURES,
    "ap_50",
    open_objects,
    _draw,
    "The image is stretched from its 1st to its 99.8th percentile. Outlines of true "
    "objects are orange, those of found ones blue, and both where they agree to the "
    "pixel are white.",
)
