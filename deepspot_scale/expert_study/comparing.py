"""Makes what experts compare: ratings and predicted scores in, a comparison out.

Nothing here predicts, or shows anything.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from deepspot_scale.errors import StudyError
from deepspot_scale.io.study_comparisons import (
    Comparison,
    Shown,
    Target,
    list_comparisons,
    write_comparison,
)
from deepspot_scale.io.study_folder import read_ratings, read_study

_NAME_DIGITS: Final = 12
_MOST_NAMED: Final = 5


@dataclass(frozen=True)
class Predicted:
    """Scores that were not given by experts."""

    scores: Mapping[str, float]
    """By image, 0 to 100."""
    model: str
    """What predicted, for people."""
    digest: str
    """SHA-256 of its weights, or of its file of scores."""
    note: str = ""
    """What is to be known of the images that were taken."""
    every: bool = False
    """Whether images were taken that the model learned from."""


@dataclass(frozen=True)
class Choosing:
    """What is the target, and against what."""

    target: Target = "label"
    """See `Comparison.target`."""
    labeller: str | None = None
    """The expert whose scores are targets; None: of each image one who rated it."""
    baseline: bool = False
    """Ask every image a second time, with a random score in place of the predicted."""
    seed: int = 0


def make_comparison(
    folder: Path, predicted: Predicted, choosing: Choosing
) -> Comparison:
    """Write a comparison into a study's folder, or take up the one that is there.

    Only images that have a predicted score and one of an expert are compared. Random
    scores are drawn uniformly from all scores that experts gave.

    Raises
    ------
    StudyError
        No image has both, the labelling expert is unknown, or a score is out of range.
    """
    name = _name(predicted, choosing)
    known = list_comparisons(folder)
    if name in known:
        return known[name]
    ratings = read_ratings(folder)
    given = _by_image(ratings)
    _check(folder, predicted, given, choosing)
    rng = np.random.default_rng((choosing.seed, 2))
    labels = ratings["score"].to_list() if choosing.baseline else []
    images = {}
    for image in sorted(predicted.scores.keys() & given.keys()):
        own = given[image]
        label = choosing.labeller or str(rng.choice(sorted(own)))
        if label in own:
            images[image] = Shown(own, label, float(predicted.scores[image]))
    if not images:
        raise StudyError(
            f"{folder}: no image has a predicted score and one of {choosing.labeller}"
        )
    made = Comparison(
        name,
        predicted.model,
        predicted.digest,
        choosing.target,
        images,
        tuple(map(float, labels)),
        predicted.note,
        choosing.seed,
    )
    write_comparison(folder, made)
    return made


def _name(predicted: Predicted, choosing: Choosing) -> str:
    words = (predicted.digest, predicted.every, choosing.target, choosing.labeller)
    text = repr((*words, choosing.baseline, choosing.seed)).encode()
    return hashlib.sha256(text).hexdigest()[:_NAME_DIGITS]


def _by_image(ratings: pd.DataFrame) -> dict[str, dict[str, float]]:
    given: dict[str, dict[str, float]] = {}
    for row in ratings.itertuples(index=False):
        given.setdefault(str(row.image), {})[str(row.expert)] = float(row.score)  # type: ignore[arg-type]  # columns of read_ratings
    return given


def _check(
    folder: Path,
    predicted: Predicted,
    given: Mapping[str, Mapping[str, float]],
    choosing: Choosing,
) -> None:
    if not given:
        raise StudyError(
            f"{folder} has no scores of experts yet: rate images first ('rate serve'), "
            "or put them into scores.csv"
        )
    experts = sorted({expert for own in given.values() for expert in own})
    if choosing.labeller is not None and choosing.labeller not in experts:
        raise StudyError(
            f"--labeller: {choosing.labeller} has rated no image; {', '.join(experts)} "
            "have"
        )
    unknown = sorted(predicted.scores.keys() - read_study(folder).images.keys())
    if unknown:
        raise StudyError(
            f"{predicted.model} has scores of {len(unknown)} images that the study has "
            f"not, such as {', '.join(unknown[:_MOST_NAMED])}"
        )
    if not predicted.scores.keys() & given.keys():
        raise StudyError(
            f"{folder}: no image has a score of {predicted.model} and of an expert"
        )
    for image, score in predicted.scores.items():
        if not 0 <= score <= 100:
            raise StudyError(
                f"{predicted.model}: the score of {image}, {score}, is not 0 to 100"
            )


def find_comparison(folder: Path, name: str | None) -> Comparison:
    """Return a study's comparison by name; without one, the one begun last.

    Raises StudyError if there is none.
    """
    known = list_comparisons(folder)
    if name is not None and name in known:
        return known[name]
    if name is not None or not known:
        raise StudyError(
            f"{folder} has no comparison{f' {name}' if name else ''}; it has "
            f"{', '.join(known) or 'none'}. Begin one: rate compare --model"
        )
    return list(known.values())[-1]
