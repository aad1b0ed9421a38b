"""Ladders: one image at growing severity of one degradation, and its true spots.

A generator comes in, a `Ladder` goes out; each step shows the same place, and is worse
than the one before where the degradation is one that worsens every part. What is on the
images is broad: scenes of smFISH, images of the other simulated sets whose photons
nobody knows any more, nuclei. Nothing here knows detectors or scores.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.degradations import (
    KINDS,
    Degradation,
    photograph,
    spoil,
)
from deepspot_scale.simulation.drawing import Points
from deepspot_scale.simulation.fish_scenes import draw_fish_scene
from deepspot_scale.simulation.nuclei import draw_nuclei
from deepspot_scale.simulation.sets import SIMULATORS

OF_COUNTS: Final = tuple(name for name, kind in KINDS.items() if kind.of_counts)
"""Kinds that need no scene."""
_SETS: Final = ("fields", "paper", "decades")
_FROM_SCENES, _FROM_SETS = 0.75, 0.9
"""Shares of ladders of scenes, and of these or images of the other sets; the rest shows
nuclei."""
_LEAST_SPOTS: Final = 20
"""Images with fewer spots have no share of them that is worth a number."""
_LEAST_STEP: Final = 0.07
"""Least severity between two steps."""
_LEAST_TOP: Final = 0.3
"""Least severity of the last step."""


class Ladder(NamedTuple):
    """One place, worse and worse."""

    images: NDArray[np.unsignedinteger[Any]]
    """(steps, y, x), stored counts."""
    severities: NDArray[np.float64]
    """(steps,), growing."""
    kind: str
    """What makes it worse, of `degradations.KINDS`."""
    before: tuple[Degradation, ...]
    """What is bad in all steps alike."""
    points: Points | None
    """(n, 2), all spots in pixels; None: they do not say how good the images are, which
    have but a few here and there, or none."""

    @property
    def is_ordered(self) -> bool:
        """Whether every part of an image is worse than in the step before."""
        return KINDS[self.kind].everywhere


def draw_ladder(rng: np.random.Generator, *, steps: int = 5, size: int = 512) -> Ladder:
    """Draw a ladder of square images of `size` pixels."""
    chance = rng.random()
    if chance < _FROM_SCENES:
        return _of_scene(rng, steps, size)
    if chance < _FROM_SETS:
        simulator = SIMULATORS[str(rng.choice(_SETS))]
        counts = simulator.draw(rng, int(rng.integers(30, 150)), size).image
    else:
        counts = _nuclei(rng, size)
    top = 255.0 if counts.max() <= 255 else 65535.0
    clean = np.clip(np.round(counts - min(0.0, float(counts.min()))), 0, top)
    kind, before, severities = _plan(rng, OF_COUNTS, steps)
    each = [
        spoil(clean.astype(np.float32), [*before, kind.worse(float(now))], top=top)
        for now in severities
    ]
    return Ladder(_whole(each, top), severities, kind.kind, before, None)


def _of_scene(rng: np.random.Generator, steps: int, size: int) -> Ladder:
    scene = draw_fish_scene(rng, size)
    kind, before, severities = _plan(rng, tuple(KINDS), steps)
    if KINDS[kind.kind].of_counts:  # the same photograph each time
        seed = int(rng.integers(1 << 31))
        noises = [np.random.default_rng(seed) for _ in severities]
    else:
        noises = list(rng.spawn(steps))
    each = [
        photograph(scene, [*before, kind.worse(float(now))], noise)
        for now, noise in zip(severities, noises, strict=True)
    ]
    images = _whole(each, scene.file.top)
    enough = len(scene.points) >= _LEAST_SPOTS
    points = scene.points if enough else None
    return Ladder(images, severities, kind.kind, before, points)


def _plan(
    rng: np.random.Generator, kinds: tuple[str, ...], steps: int
) -> tuple[Degradation, tuple[Degradation, ...], NDArray[np.float64]]:
    """Return what grows, what is bad already, and the severities of the steps."""
    n_before = int(rng.choice(3, p=(0.45, 0.35, 0.2)))
    before = tuple(
        Degradation(str(rng.choice(kinds)), float(rng.random() ** 2), _seed(rng))
        for _ in range(n_before)
    )
    kind = Degradation(str(rng.choice(kinds)), 0.0, _seed(rng))
    first = 0.0 if rng.random() < 0.6 else float(rng.uniform(0, 0.4))
    least = max(_LEAST_TOP, first + _LEAST_STEP * (steps - 1))
    last = float(rng.uniform(least, 1.0))
    gaps = rng.uniform(0.3, 1.0, steps - 1)
    spare = last - first - _LEAST_STEP * (steps - 1)
    ways = np.cumsum(_LEAST_STEP + spare * gaps / gaps.sum())
    severities = np.minimum(np.concatenate([[first], first + ways]), 1.0)
    return kind, before, severities


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))


def _nuclei(rng: np.random.Generator, size: int) -> NDArray[np.floating[Any]]:
    diameter = float(np.exp(rng.uniform(np.log(8), np.log(60))))
    made = draw_nuclei(
        rng,
        (size, size),
        diameter=diameter,
        cover=float(rng.uniform(0.05, 0.5)),
        touching=float(rng.uniform(0, 0.8)),
    )
    return np.asarray(made.counts, np.float32)


def _whole(images: list[Any], top: float) -> NDArray[np.unsignedinteger[Any]]:
    return np.stack(images).astype(np.uint8 if top <= 255 else np.uint16)
