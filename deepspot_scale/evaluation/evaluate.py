"""Models on images whose spots are known: what they find, scored image by image.

Models and data by name come in; tables and a report on them go out. Each image, or each
z-stack as a volume, runs
through the pipeline that `assemble` makes for every command, once for its spots and
its enhanced pixels. Nothing here knows how scores are summed up or drawn.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation import tables
from deepspot_scale.evaluation.datasets import Case, KnownImage, Sample, list_cases
from deepspot_scale.evaluation.enhancer_sheets import (
    compare_domain,
    make_sheets,
    name_of,
    seen_by,
)
from deepspot_scale.evaluation.matching import REACH, Reach
from deepspot_scale.evaluation.quality import name_models
from deepspot_scale.evaluation.quality_page import Sheet, check_no_sheet, write_sheets
from deepspot_scale.evaluation.report import write_accuracy
from deepspot_scale.evaluation.scores import detect_array, rescale_counts, score_image
from deepspot_scale.evaluation.tables import Scores, worst_images
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.outputs import check_output_folder
from deepspot_scale.plugins import installed_versions
from deepspot_scale.runs.process import FATAL, explain
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.settings import Settings, assemble, make_settings
from deepspot_scale.stages.brightness import BrightnessOptions
from deepspot_scale.stages.enhancement import EnhanceOptions
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import Column

_PACKAGES = ("deepspot-scale", "keras", "tensorflow", "openvino", "numpy", "scipy")


@dataclass(frozen=True)
class Terms:
    """How models are compared: the same for all of them and all images."""

    settings: Settings = field(default_factory=lambda: make_settings(channels=("0",)))
    """Detector, normalisation, engine and number format; each model is put in."""
    device: Device = "auto"
    """Where the network runs."""
    sample: Sample = field(default_factory=Sample)
    """Which images of each set."""
    rescaled: bool = False
    """Whether spots are also searched in image x 3 + 500, which doubles the time."""
    reach: Reach = REACH
    """Largest distance of a match."""

    def __post_init__(self) -> None:
        """Check the distances."""
        for name, value in self.reach._asdict().items():
            if not 0 < value < math.inf:
                raise SettingsError(f"a match needs {name} above 0, got {value}")


class Evaluation(NamedTuple):
    """The results of an evaluation."""

    scores: Scores
    """The tables."""
    report: Path
    """The Markdown report; CSV and PNG files are beside it."""
    sheet: Path
    """The quality sheet, one HTML page; scores.csv and scores.json are beside it."""
    sheets: tuple[Sheet, ...]
    """What the page shows, for each model."""


def evaluate(
    models: Sequence[str],
    data: Sequence[str | Path],
    out: str | Path,
    terms: Terms | None = None,
    *,
    overwrite: bool = False,
    progress: Tell | None = None,
) -> Evaluation:
    """Score models on images with known spots and write the report.

    Parameters
    ----------
    models
        Names of shipped models or paths of weights files.
    data
        Folders of annotated images, or words; see `datasets.list_cases`.
    out
        Folder for report.md, CSV and PNG.
    terms
        Settings and sample; `Terms()` when None.
    overwrite
        Replace the sheet that an earlier evaluation wrote there.
    progress
        Called with "images", how many of them all models have seen, and how many there
        are.

    Raises
    ------
    SettingsError
        There is no model or no data, settings contradict each other, or `out` cannot
        be written to.
    PlateError, WeightsError, DeviceError
        Data, a model or a device cannot be used.
    RunError
        No image could be measured, or there is something in `out` already.
    """
    check_output_folder(Path(out), "out")
    check_no_sheet(Path(out), overwrite=overwrite, with_report=True)
    terms = terms or Terms()
    cases = list_cases(data, terms.sample)
    scores = score_models(models, cases, terms, tell=progress)
    if scores.images.empty:
        first = scores.failed.iloc[0]
        raise RunError(
            f"none of {len(cases)} images could be measured; the first, "
            f"{first['image']} of {first['set']}: {first['reason']}"
        )
    shown = worst_images(scores.images)[["data", "set", "image"]]
    wanted = set(shown.itertuples(index=False, name=None))
    pixels = {
        case.key: _from_above(case.load().pixels)
        for case in cases
        if case.key in wanted
    }
    report = write_accuracy(scores, Path(out), pixels)
    known = {name: find_weights(of) for name, of in name_models(models).items()}
    sheets = make_sheets(scores, known, pixels)
    page = write_sheets(sheets, Path(out))
    return Evaluation(scores, report, page, tuple(sheets))


def _from_above(pixels: NDArray[Any]) -> NDArray[Any]:
    """Return a plane as it is, and of a stack the maximum along z."""
    return pixels if pixels.ndim == 2 else np.asarray(pixels.max(axis=0))


def score_models(
    models: Sequence[str],
    cases: Sequence[Case],
    terms: Terms,
    *,
    tell: Tell | None = None,
) -> Scores:
    """Find the spots of every image with every model and score them.

    Parameters are as in `evaluate`, `tell` as its `progress`; of `terms` the sample is
    only recorded. An image that cannot be measured becomes a row of ``failed``.
    """
    kinds = {case.is_stack for case in cases}
    pipelines = {stack: _pipelines(models, terms, volume=stack) for stack in kinds}
    labels = name_models(models)
    weights = {name: find_weights(of) for name, of in labels.items()}
    far = {name: compare_domain(of) for name, of in weights.items()}
    images: list[dict[str, Any]] = []
    spots: list[pd.DataFrame] = []
    failed: list[dict[str, Any]] = []
    for case in counted(cases, "images", len(cases), tell):
        known: KnownImage | None = None
        for model, pipeline in zip(labels, pipelines[case.is_stack], strict=True):
            names = _identify(model, case)
            try:
                known = known or case.load()
                row, table = _score_case(known, pipeline, terms)
            except FATAL:
                raise
            except Exception as error:  # reported; the other images are still scored
                failed.append(names | {"reason": explain(error)})
                continue
            images.append(names | row)
            if far[model].domain is not None:
                far[model].add(name_of(names), seen_by(weights[model])(known.pixels))
            spots += [table.assign(**names)] if len(table) else []
    return Scores(
        _as_rows(pd.DataFrame(images), tables.IMAGE_SCORES),
        _as_rows(pd.concat(spots) if spots else pd.DataFrame(), tables.SPOT_SCORES),
        _as_rows(pd.DataFrame(failed), tables.FAILURES),
        _provenance(labels, cases, terms),
        {name: rows.check() for name, rows in far.items()},
    )


def _as_rows(table: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    if table.empty:
        return empty_table(columns)
    return as_table(table.reset_index(drop=True), columns)


def _identify(model: str, case: Case) -> dict[str, str]:
    own = {"data": case.data, "set": case.set_name, "group": case.group}
    return {"model": model, **own, "image": case.image}


def _pipelines(models: Sequence[str], terms: Terms, *, volume: bool) -> list[Pipeline]:
    """Return each model's pipeline, for planes or for stacks."""
    pipelines = []
    for model in name_models(models).values():
        given = terms.settings.to_dict()
        kept = given["enhance"]["use"]
        given["enhance"] |= {"model": model, "keep_enhanced": kept}
        given["quality"]["use"] = given["clusters"]["use"] = False
        given["volume"]["use"] = volume
        settings = make_settings(**given)
        pipelines.append(assemble(settings, device=terms.device))
    return pipelines


def _score_case(
    known: KnownImage, pipeline: Pipeline, terms: Terms
) -> tuple[dict[str, Any], pd.DataFrame]:
    began = time.monotonic()
    found = detect_array(known.pixels, pipeline, known.z_step_um)
    seconds = time.monotonic() - began
    row, spots = score_image(found, known, terms.reach)
    row |= {"seconds": seconds, "f1_change": np.nan}
    if terms.rescaled:
        rescaled = rescale_counts(known.pixels)
        again = detect_array(rescaled, pipeline, known.z_step_um)
        other, _ = score_image(again, known, terms.reach)
        row["f1_change"] = other["f1_one_to_one"] - row["f1_one_to_one"]
    return row, spots


def _provenance(
    labels: Mapping[str, str], cases: Sequence[Case], terms: Terms
) -> dict[str, Any]:
    settings = terms.settings
    enhance = settings.of(EnhanceOptions)
    return {
        "SHA-256 of the weights": {
            label: find_weights(model).sha256 for label, model in labels.items()
        },
        "data": list(dict.fromkeys(case.data for case in cases)),
        "images of a set": terms.sample.images or "all, or 20 simulated ones",
        tables.MATCH: terms.reach.words,
        "seed": terms.sample.seed,
        "size": terms.sample.size,
        "enhancement": enhance.use,
        "detector": settings.detector_name,
        "normalisation": settings.of(BrightnessOptions).normalisation,
        "engine": enhance.engine,
        "precision": enhance.precision,
        "versions": installed_versions(_PACKAGES),
        "machine": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }
