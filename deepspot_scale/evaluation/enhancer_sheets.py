"""The quality sheets of models that enhance spots: their scores in, sheets out.

The tables of `evaluate` say everything about spots; here they are summed up as the
other kinds of models are, with the training and the domain beside them. Nothing here
runs a model or writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.evaluation import figures, tables
from deepspot_scale.evaluation.domain_check import DomainCheck, DomainRows
from deepspot_scale.evaluation.quality_kinds import FAILURES, SUMMARY
from deepspot_scale.evaluation.quality_page import Sheet
from deepspot_scale.evaluation.report import panel_of
from deepspot_scale.evaluation.tables import KEYS, Scores
from deepspot_scale.evaluation.training_curves import read_curves
from deepspot_scale.kernels.normalisation import SCALES
from deepspot_scale.networks.domains import find_domain
from deepspot_scale.networks.weights import Weights
from deepspot_scale.report.html import Plot
from deepspot_scale.statistics.image_bootstrap import estimate_mean

_MEANINGS: Final = {
    "f1_one_to_one": "F1, a detection serves one spot at most, mean over images",
    "f1_nearest": "F1, each true spot takes its nearest detection",
    "precision_one_to_one": "precision, one to one",
    "recall_one_to_one": "recall, one to one",
    "f1_integrated": "F1 one to one, mean over radii up to the match's",
    "error_px": "median distance of found and true spots in an image, pixels",
    "false_density": "false detections per 512 x 512 px",
}
_HEADLINES: Final = ("f1_one_to_one", "precision_one_to_one", "recall_one_to_one")
_WORST: Final = "f1_one_to_one"
_MOST_COLUMNS: Final = (
    "image",
    "n_true",
    "n_found",
    "precision_one_to_one",
    "recall_one_to_one",
    "f1_one_to_one",
    "f1_nearest",
    "error_px",
    "seconds",
)
_KEY: Final = (
    "Rings: found spots; diamonds: missed; crosses: detections without a true spot. Of "
    "a large image the part with the most errors is shown."
)


def name_of(line: Mapping[Any, Any]) -> str:
    """Return the name of an image on a sheet: data, set and image, each once."""
    parts = dict.fromkeys(str(line[key]) for key in ("data", "set", "image"))
    return "/".join(parts)


def compare_domain(weights: Weights) -> DomainRows:
    """Return what compares images with those that a model was trained on."""
    known = weights.family.normalisation in SCALES
    return DomainRows(find_domain(weights) if known else None)


def seen_by(weights: Weights) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
    """Return how a plane (y, x), or the middle one of a stack, reaches the network."""
    return partial(_scale, normalisation=weights.family.normalisation)


def _scale(pixels: NDArray[Any], *, normalisation: str) -> NDArray[np.float32]:
    plane = pixels if pixels.ndim == 2 else pixels[len(pixels) // 2]
    return np.asarray(SCALES[normalisation](plane)(plane), np.float32)


def make_sheets(
    scores: Scores,
    weights: Mapping[str, Weights],
    pixels: Mapping[tuple[str, str, str], NDArray[Any]],
) -> list[Sheet]:
    """Return a sheet for each model that scored an image.

    `weights` are the models by their names in the tables; `pixels` are the images to
    show, as `report.write_accuracy` takes them.
    """
    return [
        _sheet(scores, name, weights[name], pixels, scores.domains[name])
        for name in weights
        if (scores.images["model"] == name).any()
    ]


def _sheet(
    scores: Scores,
    name: str,
    weights: Weights,
    pixels: Mapping[tuple[str, str, str], NDArray[Any]],
    domain: DomainCheck,
) -> Sheet:
    images = scores.images[scores.images["model"] == name]
    shown = images.assign(image=[name_of(line) for line in images.to_dict("records")])
    shown = shown.sort_values([_WORST, "image"], kind="stable")
    failed = scores.failed[scores.failed["model"] == name]
    lost = failed.assign(image=[name_of(line) for line in failed.to_dict("records")])
    return Sheet(
        name,
        "Spots found and true",
        _summarise(images),
        _HEADLINES,
        shown[list(_MOST_COLUMNS)].reset_index(drop=True),
        lost[[column.name for column in FAILURES]].reset_index(drop=True),
        _pictures(scores, images, pixels),
        _WORST,
        domain,
        read_curves(weights.path),
        scores.provenance,
    )


def _summarise(images: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for measure, meaning in _MEANINGS.items():
        estimate = estimate_mean(images[measure])
        if estimate.n:
            rows.append((measure, *estimate, meaning))
    return pd.DataFrame(rows, columns=[column.name for column in SUMMARY])


def _pictures(
    scores: Scores,
    images: pd.DataFrame,
    pixels: Mapping[tuple[str, str, str], NDArray[Any]],
) -> tuple[Plot, ...]:
    worst = tables.worst_images(images).nsmallest(3, _WORST)
    lines = [
        line
        for line in worst.to_dict("records")
        if (line["data"], line["set"], line["image"]) in pixels
    ]
    if not lines:
        return ()
    panels = [panel_of(scores, line, pixels) for line in lines]
    numbers = worst[[*KEYS, "n_true", "n_found", _WORST]]
    figure = figures.draw_images(panels)
    return (Plot("worst", figure, numbers, "the worst images", _KEY),)
