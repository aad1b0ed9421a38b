"""Simulated ladders with what the default detector finds on them, drawn once and kept.

A ladder's seed and number come in; its images, scaled by noise, the same enhanced, and
marks go out: which true spots are found and which found ones are true, by the product's
own network, judge and detector with default settings. So any window of an image has a
recall and a precision. Files are kept in a folder, and are only a shortcut: a ladder
that is missing is drawn again, the same. Nothing here knows the network that learns.

    FOLDER/00012.npy            float16 (steps, y, x)
    FOLDER/00012.enhanced.npy   uint8 (steps, y, x), 255 the brightest
    FOLDER/00012.npz            marks, kind, severities
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import ENHANCED, IMAGE
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import Pipeline, plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import DETECTED
from deepspot_scale.kernels.normalisation import noise_scale
from deepspot_scale.kernels.pairing import pair_one_to_one
from deepspot_scale.networks.engine_types import DEFAULT_MODEL, EngineChoice
from deepspot_scale.networks.openvino.cache import cache_folder
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.simulation.drawing import Image, Points
from deepspot_scale.simulation.quality_ladders import draw_ladder
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.detection.detect import detector_work, find_detector
from deepspot_scale.stages.enhancement import Enhancement
from deepspot_scale.training.rating_recipe import RatingRanges

RADIUS: Final = 3.0
"""Largest distance in pixels between a true spot and the one that was found."""
VERSION: Final = 3
"""Of what is drawn; raised when the same seed gives other ladders."""
_ENDS: Final = (".npy", ".enhanced.npy", ".npz")
"""Of a ladder's files, in the order in which they are written."""
_LEAST_SPOTS: Final = 8.0
"""A window's shares lean on those of its whole image as if by so many spots."""


class Marks(NamedTuple):
    """Spots of one image: true ones and found ones."""

    true: Points
    """(n, 2), pixels."""
    is_found: NDArray[np.bool_]
    """(n,), whether a true spot was found."""
    found: Points
    """(m, 2), pixels."""
    is_true: NDArray[np.bool_]
    """(m,), whether a found spot is true."""

    def shares(
        self, corner: tuple[int, int] = (0, 0), edge: float = np.inf
    ) -> tuple[float, float]:
        """Return recall and precision in a square window of an image.

        Few spots are few throws of a coin: the shares of the window are drawn toward
        those of the image. Where nothing is found in all of it, a found spot is as
        likely true as not.
        """
        hits, right = float(self.is_found.sum()), float(self.is_true.sum())
        recall = hits / max(len(self.true), 1)
        precision = (right + 1) / (len(self.found) + 2)
        here = _inside(self.true, corner, edge)
        there = _inside(self.found, corner, edge)
        lean = _LEAST_SPOTS
        return (
            (self.is_found[here].sum() + lean * recall) / (here.sum() + lean),
            (self.is_true[there].sum() + lean * precision) / (there.sum() + lean),
        )


def _inside(points: Points, corner: tuple[int, int], edge: float) -> NDArray[np.bool_]:
    away = np.reshape(points, (-1, 2)) + 0.5 - np.asarray(corner)
    return np.asarray(((away >= 0) & (away < edge)).all(axis=1))


class Looked(NamedTuple):
    """What a run makes of one image."""

    found: Points
    """(m, 2), the spots that it finds, pixels."""
    enhanced: NDArray[np.float32]
    """(y, x), in [0, 1]."""

    def mark(self, true: Points) -> Marks:
        """Return the spots of the image, whose (n, 2) true ones are known."""
        pairs = pair_one_to_one(self.found, np.asarray(true, np.float64), RADIUS)
        is_found, is_true = np.zeros(len(true), bool), np.zeros(len(self.found), bool)
        is_true[pairs[:, 0]], is_found[pairs[:, 1]] = True, True
        return Marks(true, is_found, self.found, is_true)


@dataclass(frozen=True)
class SpotFinder:
    """What a run finds with default settings on an image."""

    pipeline: Pipeline

    @classmethod
    def of(cls, model: str = DEFAULT_MODEL) -> SpotFinder:
        """Return the finder of a model, in float32: other formats round differently."""
        enhance = Enhancement.of(EngineChoice(model, precision="float32", threads=1))
        detector = find_detector("enhanced", model=model)
        works = {
            "brightness": Normalisation().work(),
            "enhance": enhance.work(),
            "detect": detector_work(detector, ENHANCED.name),
        }
        return cls(plan_pipeline(works, wanted=(ENHANCED,)))

    def look(self, image: NDArray[np.generic]) -> Looked:
        """Return what a run makes of an image (y, x)."""
        blocks = self.pipeline.blocks((image.shape[0], image.shape[1]))
        answers = reduce_rounds(self.pipeline, blocks, read_whole({IMAGE: image}))
        found = answers[DETECTED].table[["y", "x"]].to_numpy(np.float64)
        return Looked(found, answers.by_name[ENHANCED.name])


class RatedLadder(NamedTuple):
    """A ladder and how good its images are."""

    images: NDArray[np.float16]
    """(steps, y, x), scaled by noise."""
    enhanced: NDArray[np.uint8]
    """(steps, y, x), 255 the brightest."""
    marks: tuple[Marks, ...] | None
    """Of each step; None: its spots do not say how good it is."""
    is_ordered: bool
    """Whether each step is worse everywhere than the one before."""
    kind: str
    """What makes it worse."""

    def window(
        self, step: int, corner: tuple[int, int], edge: int, channels: int
    ) -> Image:
        """Return a square window (edge, edge, channels) of the image of a step.

        The second channel, if there are two, is the enhanced image.
        """
        y, x = corner
        at = (step, slice(y, y + edge), slice(x, x + edge))
        seen = (self.images[at], self.enhanced[at] / np.float32(255))[:channels]
        return np.stack(seen, axis=-1).astype(np.float32)


@dataclass(frozen=True)
class LadderSet:
    """Ladders by number, in a folder."""

    ranges: RatingRanges
    """Seed, steps and size; the number of ladders does not matter."""
    place: Path | None = None
    """Where ladders are kept; None: in the user's cache."""

    @cached_property
    def folder(self) -> Path:
        """Where ladders are kept."""
        if self.place is not None:
            return self.place
        what = {
            "version": VERSION,
            "seed": self.ranges.seed,
            "steps": self.ranges.steps,
            "size": self.ranges.size,
            "model": find_weights(DEFAULT_MODEL).sha256,
        }
        digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
        return cache_folder() / f"ladders-{digest[:16]}"

    @cached_property
    def _finder(self) -> SpotFinder:
        return SpotFinder.of()

    def take(self, number: int) -> RatedLadder:
        """Return a ladder, drawn if it is not there yet."""
        places = [self.folder / f"{number:05d}{end}" for end in _ENDS]
        if not all(place.exists() for place in places):
            self._draw(number)
        images, enhanced, rest = places
        with np.load(rest) as file:
            return RatedLadder(
                np.load(images, mmap_mode="r"),
                np.load(enhanced, mmap_mode="r"),
                _unpack(file) if bool(file["measured"]) else None,
                bool(file["ordered"]),
                str(file["kind"]),
            )

    def _draw(self, number: int) -> None:
        ranges = self.ranges
        rng = np.random.default_rng((ranges.seed, number, VERSION))
        ladder = draw_ladder(rng, steps=ranges.steps, size=ranges.size)
        scaled = [noise_scale(image)(image) for image in ladder.images]
        known: dict[str, Any] = {
            "measured": ladder.points is not None,
            "ordered": ladder.is_ordered,
            "kind": ladder.kind,
            "severities": ladder.severities,
        }
        looks = [self._finder.look(image) for image in ladder.images]
        true = np.zeros((0, 2)) if ladder.points is None else ladder.points
        known |= _pack([look.mark(true) for look in looks])
        enhanced = np.stack([np.rint(look.enhanced * 255) for look in looks])
        self.folder.mkdir(parents=True, exist_ok=True)
        # The images first: the last file says that all are whole.
        with self._part(number, 0) as part:
            np.save(part, np.stack(scaled).astype(np.float16))
        with self._part(number, 1) as part:
            np.save(part, enhanced.astype(np.uint8))
        with self._part(number, 2) as part:
            np.savez(part, **known)

    def _part(self, number: int, which: int) -> _whole_file:
        return _whole_file(self.folder / f"{number:05d}{_ENDS[which]}")


class _whole_file:  # noqa: N801 - used as a function
    """A file that is there whole or not at all."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __enter__(self) -> Any:
        self.part = tempfile.NamedTemporaryFile(
            dir=self.place.parent, suffix=".part", delete=False
        )
        return self.part

    def __exit__(self, kind: Any, *_: Any) -> None:
        self.part.close()
        if kind is None:
            os.replace(self.part.name, self.place)
        else:
            os.unlink(self.part.name)


def _pack(marks: list[Marks]) -> dict[str, Any]:
    """Return marks as flat arrays; true spots are those of all steps."""
    return {
        "true": marks[0].true.astype(np.float32),
        "is_found": np.stack([each.is_found for each in marks]),
        "found": np.concatenate([each.found for each in marks]).astype(np.float32),
        "is_true": np.concatenate([each.is_true for each in marks]),
        "n_found": np.array([len(each.found) for each in marks]),
    }


def _unpack(file: Any) -> tuple[Marks, ...]:
    ends = np.cumsum(file["n_found"])[:-1]
    parts = zip(
        file["is_found"],
        np.split(file["found"], ends),
        np.split(file["is_true"], ends),
        strict=True,
    )
    return tuple(Marks(file["true"], *each) for each in parts)
