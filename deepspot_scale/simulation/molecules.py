"""Blinking molecules: where they lie, when they shine and how brightly.

Numbers and a generator come in; positions, frames and photons go out as arrays.
Positions are pixels, y and x, the centre of the first pixel is (0, 0). Nothing here
knows point spread functions or cameras.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.simulation.drawing import Points

Floats = NDArray[np.float64]
_STEP: Final = 0.2
"""Pixels between the points that stand for a filament."""
_CANDIDATES: Final = 4
"""Positions drawn for each one that is kept, so that a gradient has a choice."""


@dataclass(frozen=True)
class Photons:
    """How many photons a molecule sends while it shines through one whole frame."""

    mean: float = 2000.0
    """Mean of the distribution."""
    spread: float = 0.3
    """Standard deviation over the mean; without meaning for exponential (1)."""
    kind: Literal["normal", "gamma", "lognormal", "exponential"] = "gamma"
    """The distribution; negative draws of a normal one become 0."""

    def draw(self, rng: np.random.Generator, n: int) -> Floats:
        """Return the photons of `n` molecules, (n,)."""
        if self.kind == "exponential":
            return rng.exponential(self.mean, n)
        if self.spread == 0:
            return np.full(n, float(self.mean))
        if self.kind == "normal":
            return np.maximum(rng.normal(self.mean, self.spread * self.mean, n), 0.0)
        if self.kind == "gamma":
            shape = self.spread**-2
            return rng.gamma(shape, self.mean / shape, n)
        variance = np.log1p(self.spread**2)
        return rng.lognormal(np.log(self.mean) - variance / 2, np.sqrt(variance), n)


@dataclass(frozen=True)
class Structure:
    """Where molecules can lie: around points, or everywhere.

    A molecule lies at a point, moved along the point's normal by the projection of a
    ring of `radius`, and by normal noise of `jitter`.
    """

    shape: tuple[int, int]
    """Pixels of the frame, y and x."""
    margin: float
    """Molecules lie up to so many pixels outside the frame."""
    points: Points | None = None
    """(m, 2), pixels; None: everywhere alike."""
    normals: Points | None = None
    """(m, 2), unit vectors across the filament at each point; None: no ring."""
    radius: float = 0.0
    """Radius of a tube, pixels."""
    jitter: float = 0.0
    """Standard deviation around the point, pixels."""

    def draw(self, rng: np.random.Generator, n: int) -> Points:
        """Return `n` positions, (n, 2)."""
        low = -0.5 - self.margin
        if self.points is None or len(self.points) == 0:
            high = np.array(self.shape) - 0.5 + self.margin
            return rng.uniform(low, high, (n, 2))
        chosen = rng.integers(0, len(self.points), n)
        places = self.points[chosen] + self.jitter * rng.standard_normal((n, 2))
        if self.normals is not None:
            across = self.radius * np.cos(rng.uniform(0, 2 * np.pi, n))
            places = places + across[:, None] * self.normals[chosen]
        return np.asarray(places)


def draw_molecules(
    rng: np.random.Generator, structure: Structure, n: int, gradient: float = 0.0
) -> Points:
    """Return `n` positions (n, 2), rarer toward the bottom of the frame.

    `gradient` is the share of the density that is lost from the first to the last row:
    0 is even, 1 leaves none at the bottom.
    """
    if gradient == 0 or n == 0:
        return structure.draw(rng, n)
    many = structure.draw(rng, _CANDIDATES * n)
    depth = np.clip(many[:, 0] / max(1, structure.shape[0] - 1), 0, 1)
    weight = 1 - gradient * depth + 1e-9
    chosen = rng.choice(len(many), n, replace=False, p=weight / weight.sum())
    return many[chosen]


def random_structure(
    rng: np.random.Generator, shape: tuple[int, int], margin: float
) -> Structure:
    """Return no structure: every place is as likely."""
    del rng  # every structure has the same arguments
    return Structure(shape, margin)


def filaments(
    rng: np.random.Generator,
    shape: tuple[int, int],
    margin: float,
    *,
    n: int | None = None,
    radius: float = 0.0,
    bend: float | None = None,
) -> Structure:
    """Return thin curved lines across the frame, 1 to 8 of them unless `n` is given.

    `bend` is the standard deviation of a line's angle per square root of a pixel;
    `radius` makes them tubes.
    """
    count = int(rng.integers(1, 9)) if n is None else n
    bent = float(np.exp(rng.uniform(-5, -2))) if bend is None else bend
    length = 1.5 * (max(shape) + 2 * margin)
    steps = int(2 * length / _STEP)
    turns = bent * np.sqrt(_STEP) * rng.standard_normal((count, steps))
    turns = np.cumsum(turns, axis=1) - np.cumsum(turns, axis=1)[:, steps // 2, None]
    angles = rng.uniform(0, np.pi, (count, 1)) + turns
    along = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
    lines = np.cumsum(_STEP * along, axis=1)
    middle = rng.uniform(0, np.array(shape), (count, 1, 2))
    lines = lines - lines[:, steps // 2, None] + middle
    points, along = lines.reshape(-1, 2), along.reshape(-1, 2)
    limit = np.array(shape) - 0.5 + margin
    inside = ((points > -0.5 - margin) & (points < limit)).all(axis=1)
    normals = np.stack([along[:, 1], -along[:, 0]], axis=1)[inside]
    jitter = float(rng.uniform(0.0, 0.15))
    return Structure(shape, margin, points[inside], normals, radius, jitter)


def tubes(rng: np.random.Generator, shape: tuple[int, int], margin: float) -> Structure:
    """Return hollow tubes of 0.1 to 1 pixels radius in bundles: two bright walls."""
    return filaments(rng, shape, margin, radius=float(np.exp(rng.uniform(-2.3, 0.0))))


def grid(rng: np.random.Generator, shape: tuple[int, int], margin: float) -> Structure:
    """Return a turned lattice of small sites, 2 to 10 pixels apart."""
    pitch, turn = rng.uniform(2, 10), rng.uniform(0, np.pi / 2)
    reach = int(1.5 * (max(shape) + 2 * margin) / pitch) + 1
    sites = pitch * np.stack(
        np.meshgrid(*[np.arange(-reach, reach + 1)] * 2, indexing="ij"), axis=-1
    ).reshape(-1, 2)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    sites = sites @ rotation + np.array(shape) / 2 + rng.uniform(0, pitch, 2)
    limit = np.array(shape) - 0.5 + margin
    inside = ((sites > -0.5 - margin) & (sites < limit)).all(axis=1)
    return Structure(shape, margin, sites[inside], jitter=float(rng.uniform(0.02, 0.3)))


def clusters(
    rng: np.random.Generator, shape: tuple[int, int], margin: float
) -> Structure:
    """Return round clusters of 0.3 to 3 pixels, 1 to 40 in the frame."""
    count = int(np.exp(rng.uniform(0, np.log(40)))) + 1
    centres = rng.uniform(-0.5 - margin, np.array(shape) + margin, (count, 2))
    spread = float(np.exp(rng.uniform(np.log(0.3), np.log(3))))
    return Structure(shape, margin, centres, jitter=spread)


STRUCTURES: Final[dict[str, Callable[..., Structure]]] = {
    "random": random_structure,
    "filaments": filaments,
    "tubes": tubes,
    "grid": grid,
    "clusters": clusters,
}
"""Structures by name; each takes a generator, the shape and the margin."""


def blink(
    rng: np.random.Generator, n_frames: int, per_frame: float, on_time: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Return who shines when: molecule, frame and the shining share of the frame.

    Each shines once, from a uniform time on, for an exponential time of mean `on_time`
    frames; 0: for one whole frame. On average `per_frame` molecules shine at any
    moment. Molecules are numbered from 0; the arrays are (m,), sorted by molecule.
    """
    if on_time == 0:
        n = int(rng.poisson(per_frame * n_frames))
        frames = rng.integers(0, n_frames, n)
        return np.arange(n), frames, np.ones(n)
    # Molecules that began up to ten mean times earlier still shine.
    before = 10 * on_time
    n = int(rng.poisson(per_frame / on_time * (n_frames + before)))
    start = rng.uniform(-before, n_frames, n)
    end = np.minimum(start + rng.exponential(on_time, n), n_frames)
    first = np.maximum(np.floor(start), 0).astype(np.int64)
    length = np.maximum(np.ceil(end).astype(np.int64) - first, 0)
    molecule = np.repeat(np.arange(n), length)
    begin = np.cumsum(length) - length
    frame = first[molecule] + np.arange(len(molecule)) - begin[molecule]
    share = np.minimum(end[molecule], frame + 1) - np.maximum(start[molecule], frame)
    return molecule, frame, share
