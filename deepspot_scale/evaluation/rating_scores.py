"""Models that rate images, on images whose quality is known.

The truth is what experts scored, where the data is a study or a folder with
``images/`` and ``scores.csv``; or, for a model that foretells detection, the F1 that
the default detector really has, where the data has ``spots.csv``. Every image is rated
as a run rates it. Nothing here writes, or knows other kinds of models.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.evaluation.matching import match_one_to_one
from deepspot_scale.evaluation.quality_figures import draw_rows
from deepspot_scale.evaluation.quality_kinds import (
    Measure,
    QualityKind,
    Scored,
    Scorer,
    ShownImage,
)
from deepspot_scale.io.image_files.annotated_images import read_annotated
from deepspot_scale.io.image_files.annotated_table import SPOTS_FILE
from deepspot_scale.io.image_files.paired_files import FilePair
from deepspot_scale.io.study_folder import (
    MAX_SCORE,
    SCORES_FILE,
    list_images,
    read_image,
    read_ratings,
)
from deepspot_scale.kernels.normalisation import noise_scale
from deepspot_scale.networks.engine_types import Device, EngineChoice
from deepspot_scale.networks.rater import PRECISION
from deepspot_scale.networks.rater_models import find_rater
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.statistics.image_bootstrap import (
    Estimate,
    estimate_mean,
    estimate_rank_correlation,
    estimate_rms,
)
from deepspot_scale.training.rating_ladders import RADIUS, SpotFinder
from deepspot_scale.verbs.rating import rate
from deepspot_scale.vocabulary import Column

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS: Final = (
    Column("height", "int64", "pixels along y"),
    Column("width", "int64", "pixels along x"),
    Column("n_experts", "int64", "experts who scored it; 0: the truth is measured F1"),
    Column("target", "float64", "mean score of experts, or measured F1, 0 to 1"),
    Column("score", "float64", "the model's, 0 to 1"),
    Column("error", "float64", "score minus target"),
    Column("closeness", "float64", "1 minus the absolute error"),
)


def list_rated(folder: Path) -> tuple[FilePair, ...]:
    """Return the images of a data set whose quality is known.

    Raises
    ------
    StudyError, PlateError
        It is no such folder, or a score cannot be used.
    SettingsError
        No image has a score.
    """
    if _is_annotated(folder):
        truth = folder / SPOTS_FILE
        images = read_annotated(folder).images
        return tuple(FilePair(each.name, each.path, truth) for each in images)
    files, names = list_images(folder), sorted(set(read_ratings(folder)["image"]))
    if not names:
        raise SettingsError(f"{folder}: no image has a score to compare with")
    truth = folder / SCORES_FILE
    return tuple(FilePair(name, files[name], truth) for name in names)


def _is_annotated(folder: Path) -> bool:
    return (folder / SPOTS_FILE).is_file() and not (folder / SCORES_FILE).is_file()


@dataclass(frozen=True)
class _OfExperts:
    """Scores of experts, by image."""

    scores: Mapping[str, tuple[int, float]]

    def target(self, name: str, _: NDArray[Any]) -> tuple[int, float]:
        """Return experts and their mean score."""
        return self.scores[name]


@dataclass(frozen=True)
class _OfSpots:
    """True spots (n, 2), by image."""

    points: Mapping[str, NDArray[np.float64]]
    finder: SpotFinder

    def target(self, name: str, image: NDArray[Any]) -> tuple[int, float]:
        """Return 0 experts and the F1 that detection has."""
        true = self.points[name]
        if true.shape[1:] != (2,) or not len(true):
            raise FieldError(f"{name} has no true spots in a plane: F1 says nothing")
        marks = self.finder.look(image).mark(true)
        return 0, match_one_to_one(marks.found, true, RADIUS).f1


def open_rater(model: str, device: Device, folder: Path) -> Scorer:
    """Return what scores an image of a data set.

    Raises SettingsError for a judge of experts on images with spots alone.
    """
    truth: _OfExperts | _OfSpots
    if _is_annotated(folder):
        if not find_rater(find_weights(model)).foretells_detection:
            raise SettingsError(
                f"{model} tells an expert's score, and {folder} has true spots: give "
                f"a study, or images/ with {SCORES_FILE} (image, score)"
            )
        images = read_annotated(folder).images
        truth = _OfSpots({each.name: each.points for each in images}, SpotFinder.of())
    else:
        groups = read_ratings(folder).groupby("image")["score"]
        truth = _OfExperts(
            {
                str(name): (len(given), float(given.mean()) / MAX_SCORE)
                for name, given in groups
            }
        )
    engine = EngineChoice(model, precision=PRECISION, device=device)

    def score(pair: FilePair) -> Scored:
        return _score(pair, engine, truth)

    return score


def _score(
    pair: FilePair, engine: EngineChoice, truth: _OfExperts | _OfSpots
) -> Scored:
    import xarray as xr

    image = read_image(pair.first)
    n_experts, target = truth.target(pair.name, image)
    began = time.monotonic()
    table = rate(xr.DataArray(image, dims=("y", "x")), engine=engine)
    seconds = time.monotonic() - began
    told = float(table["score"].iloc[0])
    if not np.isfinite(told):
        raise FieldError(f"{pair.first}: too few of its pixels were imaged to rate it")
    row = {
        "seconds": seconds,
        "height": image.shape[0],
        "width": image.shape[1],
        "n_experts": n_experts,
        "target": target,
        "score": told,
        "error": told - target,
        "closeness": 1 - abs(told - target),
    }
    seen = noise_scale(image)(image)
    return Scored(row, seen, (image, seen))


# -- over all images -------------------------------------------------------------------


def _rmse(images: pd.DataFrame) -> Estimate:
    return estimate_rms(images["error"])


def _ranks(images: pd.DataFrame) -> Estimate:
    return estimate_rank_correlation(images["score"], images["target"])


def _bias(images: pd.DataFrame) -> Estimate:
    return estimate_mean(images["error"])


def _distance(images: pd.DataFrame) -> Estimate:
    return estimate_mean(images["error"].abs())


def _spread(images: pd.DataFrame) -> Estimate:
    return estimate_rms(images["target"] - images["target"].mean())


MEASURES: Final = (
    Measure("rmse", _rmse, "root mean square error of the score", headline=True),
    Measure("rank_correlation", _ranks, "Spearman's rank correlation", headline=True),
    Measure("bias", _bias, "mean of score minus target", headline=True),
    Measure("absolute_error", _distance, "mean absolute error"),
    Measure("spread", _spread, "the error of who gives the targets' mean each time"),
)


def _draw(shown: Sequence[ShownImage]) -> Figure:
    return draw_rows(shown, ("as stored", "scaled by noise"), each_alone=True)


RATINGS: Final = QualityKind(
    "Scores given and true",
    ("images", ""),
    COLUMNS,
    MEASURES,
    "closeness",
    open_rater,
    _draw,
    "Each image as it is stored, and below it as the network sees it, scaled by its "
    "noise; each from its 1st to its 99.8th percentile.",
    list_rated,
)
