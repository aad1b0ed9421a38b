"""A judge for a network: simulated fields go through it, and a judge learns from them.

What a network answers to a spot, and how sure it is of a grain, is its own; so each
model has its own judge, fitted to fields whose spots are known and kept in the model's
file. The fields are of the set *fields*. Nothing here knows how a judge decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import ENHANCED, IMAGE, NOISE
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import DETECTED
from deepspot_scale.evaluation.matching import pair_one_to_one
from deepspot_scale.kernels.populations import Dots, Judge
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.judge_fit import calibrate, fit_layers
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.networks.weights import (
    find_weights,
    read_arrays,
    stored_dtype,
    write_weights,
)
from deepspot_scale.outputs import check_output_file
from deepspot_scale.simulation import Points, Truth, simulate_image
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.detection.decisions import dots_of
from deepspot_scale.stages.detection.detect import detector_work
from deepspot_scale.stages.detection.wavelet import CANDIDATE_DETECTOR
from deepspot_scale.stages.enhancement import Enhancement

SET = "fields"
SIZES = (256, 384, 512)
"""Edges of the fields in pixels."""
SPOTS = (10, 150)
"""Fewest and most spots of fields of the paper's kind."""
MOST_DOTS = 250
"""Dots taken from one field: others would learn little from a field of thousands."""
LARGER = (1, 4, 16)
"""Each field also stands for larger ones, whose counts are up to so many times its
own."""
HELD_OUT = 10
"""One field of so many calibrates the judge."""
_FEWER = 0.6
"""A field's dots together count as the power 1 - `_FEWER` of their number."""


class KnownDots(NamedTuple):
    """The dots of one field, and which of them are its spots."""

    dots: Dots
    n_pixels: int
    is_spot: NDArray[np.bool_]
    n_missed: int
    """Spots that are no dot."""


@dataclass(frozen=True)
class CandidateFinder:
    """Finds all dots of an image that a judge is asked about."""

    pipeline: Pipeline

    @classmethod
    def of(cls, model: str) -> CandidateFinder:
        """Return the finder of a model, in float32: other formats round differently."""
        enhance = Enhancement.of(EngineChoice(model, precision="float32"))
        works = {
            "brightness": Normalisation().work(),
            "enhance": enhance.work(),
            "detect": detector_work(CANDIDATE_DETECTOR, ENHANCED.name),
        }
        return cls(plan_pipeline(works, wanted=(NOISE,)))

    def find(self, image: NDArray[np.generic]) -> tuple[Dots, Points]:
        """Return the dots of a (y, x) image, and their (n, 2) places in pixels."""
        blocks = self.pipeline.blocks((image.shape[0], image.shape[1]))
        answers = reduce_rounds(self.pipeline, blocks, read_whole({IMAGE: image}))
        table = answers[DETECTED].table
        return dots_of(table, answers[NOISE]), table[["y", "x"]].to_numpy(np.float64)


def know_dots(
    finder: CandidateFinder, image: NDArray[np.generic], points: Points
) -> KnownDots:
    """Return the dots of an image with true spots at (n, 2) points."""
    dots, places = finder.find(image)
    is_spot = np.zeros(len(places), bool)
    is_spot[pair_one_to_one(places, points)[:, 0]] = True
    return KnownDots(dots, image.size, is_spot, len(points) - int(is_spot.sum()))


def draw_field(seed: int, number: int) -> Truth:
    """Simulate one field of the kinds that judges are fitted to."""
    rng = np.random.default_rng((seed, number))
    n_spots, size = int(rng.integers(*SPOTS)), int(rng.choice(SIZES))
    return simulate_image(SET, seed, number, spots=n_spots, size=size)


def learn_judge(fields: Sequence[KnownDots], *, seed: int = 0) -> Judge:
    """Return the judge that is fitted to the dots of some fields, and calibrated.

    Every tenth field is left out of the fit; it says how often a probability is right.
    """
    rng = np.random.default_rng(seed)
    apart = list(fields[HELD_OUT - 1 :: HELD_OUT])
    own = [f for n, f in enumerate(fields, 1) if n % HELD_OUT] if apart else fields
    features, labels, weights = [], [], []
    for field in own:
        n = len(field.is_spot)
        for low, high in zip((1, *LARGER[:-1]), LARGER, strict=True):
            factor = int(np.exp(rng.uniform(np.log(low), np.log(high))))
            chosen = rng.permutation(n)[:MOST_DOTS]
            features.append(_features(field, factor)[chosen].astype(np.float32))
            labels.append(field.is_spot[chosen])
            weights.append(np.full(len(chosen), max(len(chosen), 1) ** -_FEWER))
    judge = fit_layers(
        np.concatenate(features),
        np.concatenate(labels),
        np.concatenate(weights).astype(np.float32),
        seed=seed,
    )
    if not apart:
        return judge
    unseen = np.concatenate([_features(field, 1) for field in apart])
    return calibrate(judge, unseen, np.concatenate([each.is_spot for each in apart]))


def _features(field: KnownDots, factor: int) -> NDArray[np.float64]:
    """Return the features of the dots in a field that is larger by a factor."""
    counts = field.dots.counts() * factor
    return field.dots.features(counts, field.n_pixels * factor)


def fit_judge(
    model: str,
    out: str | Path,
    *,
    fields: int = 3000,
    seed: int = 0,
    on_field: Callable[[int], None] = lambda _: None,
) -> Path:
    """Fit a judge to a model, and write both to a new weights file.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a weights file; a judge that it has is not
        used.
    out
        Weights file to write.
    fields
        Simulated fields to learn from.
    seed
        Of all randomness.
    on_field
        Called with the number of fields that are done.

    Raises
    ------
    SettingsError
        The model enhances no images, `out` cannot be written, or there is no Keras.
    WeightsError
        No such model.
    """
    import_keras("fitting a judge")  # before the hours that the fields take
    check_output_file(Path(out), "out")
    weights, finder = find_weights(model), CandidateFinder.of(model)
    known = []
    for number in range(fields):
        truth = draw_field(seed, number)
        known.append(know_dots(finder, truth.image, truth.points))
        on_field(number + 1)
    judge = learn_judge(known, seed=seed)
    about = weights.about | {"judge": f"fitted to {fields} fields, seed {seed}"}
    arrays = read_arrays(weights)
    write_weights(
        Path(out),
        arrays,
        weights.architecture,
        family=weights.family,
        dtype=stored_dtype(weights),
        about=about,
        judge=judge,
    )
    return Path(out)
