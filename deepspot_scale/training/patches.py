"""What a network learns from: images with points in, batches of patches out.

Each step's batch depends on the seed and the step alone, so a training that goes on
after an interruption sees what it would have seen. Nothing here knows networks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.artificial import SETS
from deepspot_scale.kernels.normalisation import quantile_scale

STAMP = np.array([[200, 230, 200], [230, 255, 230], [200, 230, 200]]) / 255
Image = NDArray[np.float32]
Points = NDArray[np.float64]
Batch = tuple[Image, Image]
Target = Literal["black", "image"]


class Source(Protocol):
    """Where images and their true spots come from."""

    def draw(self, rng: np.random.Generator) -> tuple[Image, Points]:
        """Return one image (y, x) in any counts, and its true spots (n, 2)."""
        ...


@dataclass(frozen=True)
class Simulated:
    """Images simulated as they are needed."""

    name: str
    """A name of `artificial.SETS`."""
    spots: tuple[int, int] = (10, 150)
    """Fewest and most spots of an image of the paper's sets."""
    size: int = 256
    """Edge of an image in pixels."""

    def draw(self, rng: np.random.Generator) -> tuple[Image, Points]:
        """Simulate one image."""
        n_spots = int(rng.integers(self.spots[0], self.spots[1] + 1))
        truth = SETS[self.name](rng, n_spots, self.size)
        return truth.image, truth.points


def stamp_target(
    points: Points, shape: tuple[int, int], image: Image | None = None
) -> Image:
    """Return the training target: a 3x3 stamp at every true spot.

    Parameters
    ----------
    points
        (n, 2), spots in pixels, inside the image.
    shape
        (y, x) of the target.
    image
        (y, x), what stamps are written on, cut to [0, 1]: the paper's target e(X)
        keeps the background; black if not given.
    """
    target = np.zeros((shape[0] + 2, shape[1] + 2), np.float32)
    for row, column in np.round(points).astype(np.int64):
        window = target[row : row + 3, column : column + 3]
        np.maximum(window, STAMP, out=window)
    target = target[1:-1, 1:-1]
    if image is None:
        return target
    return np.where(target > 0, target, np.clip(image, 0, 1))


def cut_patches(
    source: Source, rng: np.random.Generator, n: int, edge: int, target: Target
) -> Iterator[Batch]:
    """Draw one image and yield `n` patches of it with their targets, (edge, edge).

    A patch is scaled as its whole image is, then turned, mirrored, and given a gain
    and an offset of its own: at work a field's scale comes from a larger area.
    """
    image, points = source.draw(rng)
    scaled = quantile_scale(image)(image)
    wanted = stamp_target(points, image.shape, scaled if target == "image" else None)
    for _ in range(n):
        top, left = (int(rng.integers(0, m - edge + 1)) for m in image.shape)
        cut = np.s_[top : top + edge, left : left + edge]
        gain, offset = np.exp(rng.uniform(-0.5, 0.5)), rng.uniform(-0.05, 0.05)
        turns, mirror = int(rng.integers(4)), int(rng.choice([-1, 1]))
        pair = (scaled[cut] * gain + offset, wanted[cut])
        yield tuple(np.rot90(x, turns)[::mirror] for x in pair)  # type: ignore[misc]


def draw_batch(
    mixture: Sequence[tuple[Source, int]],
    edge: int,
    *,
    target: Target = "black",
    seed: int,
    step: int,
) -> Batch:
    """Return the patches and targets of one step, each (n, edge, edge, 1).

    Parameters
    ----------
    mixture
        Sources, and how many patches of each a batch holds.
    edge
        Edge of a patch in pixels.
    target
        What the stamps are written on.
    seed, step
        Decide everything by chance.
    """
    rng = np.random.default_rng((seed, step))
    pairs: list[Batch] = []
    for source, n in mixture:
        wanted = len(pairs) + n
        while len(pairs) < wanted:
            # Two or three patches an image: drawing one costs more than cutting it.
            take = min(3 if n % 3 == 0 else 2, wanted - len(pairs))
            pairs.extend(cut_patches(source, rng, take, edge, target))
    images, targets = zip(*pairs, strict=True)
    return (
        np.stack(images)[..., None].astype(np.float32),
        np.stack(targets)[..., None].astype(np.float32),
    )


def iter_ahead(
    draw: Callable[[int], Batch], steps: range, *, ahead: int = 3
) -> Iterator[Batch]:
    """Yield ``draw(step)`` in the order of the steps, drawn a few ahead in a thread."""
    with ThreadPoolExecutor(1) as pool:
        pending: list[Future[Batch]] = []
        for position in range(len(steps)):
            while len(pending) < ahead and position + len(pending) < len(steps):
                pending.append(
                    pool.submit(partial(draw, steps[position + len(pending)]))
                )
            yield pending.pop(0).result()
