"""Scores of a study's images that no expert gave: by a file, or by a trained judge.

A study folder comes in, predicted scores go out. A judge that learned from the study's
images knows their scores, so by default only images that were left out of its training
are taken; what is known of that is told. Nothing here knows experts' choices.
"""

from __future__ import annotations

import csv
import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deepspot_scale.errors import StudyError
from deepspot_scale.expert_study.comparing import Predicted
from deepspot_scale.io.study_folder import (
    MAX_SCORE,
    list_images,
    read_image,
    read_ratings,
    read_scores,
)

if TYPE_CHECKING:
    from deepspot_scale.networks.weights import Weights

_WEIGHTS, _SPLIT = "weights.safetensors", "split.csv"
"""Files of a training, see `training.artifacts`."""
_LEFT_OUT: Final = "left out"
"""Use of images that a training neither learned from nor validated on."""
_SIMULATED: Final = "ladders"
"""Source of simulated images in `_SPLIT`, whose names are numbers."""


def read_predicted(file: Path) -> Predicted:
    """Read scores from a CSV with the columns image and score, 0 to 100.

    Raises StudyError if it cannot be read, or an image has two scores.
    """
    table = read_scores(file)
    twice = table.loc[table["image"].duplicated(), "image"].tolist()
    if twice:
        raise StudyError(f"{file}: {twice[0]} has two scores")
    scores = dict(zip(table["image"], table["score"], strict=True))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Predicted(scores, file.name, digest)


def predict_images(folder: Path, model: str, *, every: bool = False) -> Predicted:
    """Return the scores that a judge gives to the images that experts rated.

    Parameters
    ----------
    folder
        Of the study.
    model
        Name of a shipped judge, a weights file, or the folder of a training.
    every
        Also images that the judge learned from or was validated on.

    Raises
    ------
    StudyError
        No image is left, or no rated one.
    WeightsError, SettingsError
        There is no such model, or it rates no images.
    FieldError
        An image cannot be read.
    """
    from deepspot_scale.networks.weights import find_weights

    path = Path(model)
    weights = find_weights(path / _WEIGHTS if path.is_dir() else model)
    rated = sorted(set(read_ratings(folder)["image"]))
    uses = _read_split(weights.path.parent / _SPLIT)
    seen = {n for n in rated if (uses or {}).get(n, _LEFT_OUT) != _LEFT_OUT}
    kept = rated if every else [name for name in rated if name not in seen]
    if rated and not kept:
        raise StudyError(
            f"{model} learned from all {len(rated)} images that experts rated, so its "
            "scores of them prove nothing. Rate further images, train with a share "
            "left_out, or add --every"
        )
    scores = dict(_predict(folder, weights, kept))
    known = {name: score for name, score in scores.items() if not math.isnan(score)}
    notes = list(_notes(weights, len(seen), known=uses is not None, every=every))
    if len(known) < len(scores):
        n = len(scores) - len(known)
        notes.append(f"{n} images have no score: hardly imaged, or of one value.")
    return Predicted(known, model, weights.sha256, " ".join(notes), every)


def _predict(
    folder: Path, weights: Weights, names: Iterable[str]
) -> Iterable[tuple[str, float]]:
    """Yield the score of each image, 0 to 100; NaN: it has none."""
    import dask
    import xarray as xr

    from deepspot_scale.networks.engine_types import EngineChoice
    from deepspot_scale.verbs.rating import rate

    engine = EngineChoice(str(weights.path), precision="float32")
    paths = list_images(folder)
    with dask.config.set(scheduler="synchronous"):
        for name in names:
            image = xr.DataArray(read_image(paths[name]), dims=("y", "x"))
            (score,) = rate(image, engine=engine)["score"]
            yield name, float(score) * MAX_SCORE


def _read_split(file: Path) -> dict[str, str] | None:
    """Return the use of each image in a training; None: it is not known."""
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    return {row["image"]: row["use"] for row in rows if row["source"] != _SIMULATED}


def _notes(weights: Weights, n_seen: int, *, known: bool, every: bool) -> Iterable[str]:
    """Yield what is to be known of a judge's scores."""
    from deepspot_scale.networks.rater_models import find_rater

    if find_rater(weights).foretells_detection:
        yield (
            "This judge foretells how well spots are detected; it has not learned from "
            "experts."
        )
        return
    if not known:
        yield (
            f"There is no {_SPLIT} beside the weights, so it is not known whether the "
            "judge learned from these images."
        )
    elif n_seen and every:
        yield f"The judge learned from {n_seen} of these images, which flatters it."
    elif n_seen:
        yield f"{n_seen} images that the judge learned from are left out."
