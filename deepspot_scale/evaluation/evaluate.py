"""Models on images whose spots are known: what they find, scored image by image.

Models and data by name come in; tables and a report on them go out. Each image runs
through the pipeline that `assemble` makes for every command, once for its spots and
its enhanced pixels. Nothing here knows how scores are summed up or drawn.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.evaluation import tables
from deepspot_scale.evaluation.datasets import Case, KnownImage, Sample, list_cases
from deepspot_scale.evaluation.report import write_accuracy
from deepspot_scale.evaluation.scores import detect_array, rescale_counts, score_image
from deepspot_scale.evaluation.tables import Scores, worst_images
from deepspot_scale.networks.engine_types import Device
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.outputs import check_output_folder
from deepspot_scale.plugins import installed_versions
from deepspot_scale.runs.process import FATAL, explain
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


class Evaluation(NamedTuple):
    """The results of an evaluation."""

    scores: Scores
    """The tables."""
    report: Path
    """The Markdown report; CSV and PNG files are beside it."""


def evaluate(
    models: Sequence[str],
    data: Sequence[str | Path],
    out: str | Path,
    terms: Terms | None = None,
    *,
    on_image: Callable[[str], None] = lambda _: None,
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
    on_image
        Called with the name of each image when all models have seen it.

    Raises
    ------
    SettingsError
        There is no model or no data, settings contradict each other, or `out` cannot
        be written to.
    PlateError, WeightsError, DeviceError
        Data, a model or a device cannot be used.
    RunError
        No image could be measured.
    """
    check_output_folder(Path(out), "out")
    terms = terms or Terms()
    cases = list_cases(data, terms.sample)
    scores = score_models(models, cases, terms, on_image=on_image)
    if scores.images.empty:
        first = scores.failed.iloc[0]
        raise RunError(
            f"none of {len(cases)} images could be measured; the first, "
            f"{first['image']} of {first['set']}: {first['reason']}"
        )
    shown = worst_images(scores.images)[["data", "set", "image"]]
    wanted = set(shown.itertuples(index=False, name=None))
    pixels = {case.key: case.load().pixels for case in cases if case.key in wanted}
    return Evaluation(scores, write_accuracy(scores, Path(out), pixels))


def score_models(
    models: Sequence[str],
    cases: Sequence[Case],
    terms: Terms,
    *,
    on_image: Callable[[str], None] = lambda _: None,
) -> Scores:
    """Find the spots of every image with every model and score them.

    Parameters are as in `evaluate`; of `terms` the sample is only recorded. An image
    that cannot be measured becomes a row of ``failed``.
    """
    pipelines = _pipelines(models, terms)
    images: list[dict[str, Any]] = []
    spots: list[pd.DataFrame] = []
    failed: list[dict[str, Any]] = []
    for case in cases:
        known: KnownImage | None = None
        for model, pipeline in pipelines.items():
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
            spots += [table.assign(**names)] if len(table) else []
        on_image("/".join(dict.fromkeys(case.key)))
    return Scores(
        _as_rows(pd.DataFrame(images), tables.IMAGE_SCORES),
        _as_rows(pd.concat(spots) if spots else pd.DataFrame(), tables.SPOT_SCORES),
        _as_rows(pd.DataFrame(failed), tables.FAILURES),
        _provenance(pipelines, models, cases, terms),
    )


def _as_rows(table: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    if table.empty:
        return empty_table(columns)
    return as_table(table.reset_index(drop=True), columns)


def _identify(model: str, case: Case) -> dict[str, str]:
    own = {"data": case.data, "set": case.set_name, "group": case.group}
    return {"model": model, **own, "image": case.image}


def _pipelines(models: Sequence[str], terms: Terms) -> dict[str, Pipeline]:
    """Return each model's pipeline by the model's name in tables."""
    if not models:
        raise SettingsError("no model: name a shipped one or a weights file")
    pipelines: dict[str, Pipeline] = {}
    for model in dict.fromkeys(models):
        name = find_weights(model).name
        given = terms.settings.to_dict()
        kept = given["enhance"]["use"]
        given["enhance"] |= {"model": model, "keep_enhanced": kept}
        given["quality"]["use"] = False
        settings = make_settings(**given)
        label = model if name in pipelines else name
        pipelines[label] = assemble(settings, device=terms.device)
    return pipelines


def _score_case(
    known: KnownImage, pipeline: Pipeline, terms: Terms
) -> tuple[dict[str, Any], pd.DataFrame]:
    began = time.monotonic()
    found = detect_array(known.pixels, pipeline)
    seconds = time.monotonic() - began
    row, spots = score_image(found, known)
    row |= {"seconds": seconds, "f1_change": np.nan}
    if terms.rescaled:
        again = detect_array(rescale_counts(known.pixels), pipeline)
        other, _ = score_image(again, known)
        row["f1_change"] = other["f1_one_to_one"] - row["f1_one_to_one"]
    return row, spots


def _provenance(
    pipelines: Mapping[str, Pipeline],
    models: Sequence[str],
    cases: Sequence[Case],
    terms: Terms,
) -> dict[str, Any]:
    settings = terms.settings
    enhance = settings.of(EnhanceOptions)
    chosen = dict(zip(pipelines, dict.fromkeys(models), strict=True))
    return {
        "SHA-256 of the weights": {
            label: find_weights(model).sha256 for label, model in chosen.items()
        },
        "data": list(dict.fromkeys(case.data for case in cases)),
        "images of a set": terms.sample.images or "all, or 20 simulated ones",
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
