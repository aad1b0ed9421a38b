"""What a network learns from: scenes in, batches of patches with their targets out.

Each step's batch depends only on the seed and the step, so a training that is continued
after an interruption sees the same batches. Nothing here knows networks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import (
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context, parent_process
from typing import Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.simulation import Image, Points
from deepspot_scale.training.augmentation import (
    Augmentation,
    Example,
    draw_map,
    draw_turn,
    move,
    relight,
)
from deepspot_scale.training.scenes import PairSource, Scene, Source

STAMP = np.array([[200, 230, 200], [230, 255, 230], [200, 230, 200]]) / 255
SHARP_STAMP = np.array([[0.3, 0.55, 0.3], [0.55, 1.0, 0.55], [0.3, 0.55, 0.3]])
"""A normal distribution of sigma 0.9 px: spots two pixels apart stay apart."""
_NO_NOISE: Final = Augmentation(noise=0)
T = TypeVar("T")
Batch = tuple[Image, Image]
"""Images (n, *space, channels) and their targets."""


class Patch(NamedTuple):
    """A piece of a scene, turned and mirrored, before gain, offset and noise."""

    image: Image
    """(*space, channels), scaled as its scene is."""
    points: Points
    """(n, d), the scene's true spots in pixels of the patch, also those outside it."""
    pixels: Points
    """(n, d), the nearest whole pixels of the points."""


Target = Callable[[Patch], Image]
"""Gives the right answer to a patch: (*space times scale, channels)."""


def stamp_target(
    points: Points,
    shape: tuple[int, ...],
    image: Image | None = None,
    *,
    stamp: NDArray[np.float64] = STAMP,
) -> Image:
    """Return the training target: a 3x3 stamp at every true spot.

    Points are (n, 2), in pixels; of a spot outside, the part inside is drawn. `image`
    is the background under the stamps, of the same shape (y, x), cut to [0, 1], as in
    the paper's target e(X); without it the background is black.
    """
    target = np.zeros((shape[0] + 4, shape[1] + 4), np.float32)
    centres = np.round(points).astype(np.int64).reshape(-1, 2)
    near = ((centres >= -1) & (centres <= np.array(shape))).all(axis=1)
    for row, column in centres[near]:
        window = target[row + 1 : row + 4, column + 1 : column + 4]
        np.maximum(window, stamp, out=window)
    target = target[2:-2, 2:-2]
    if image is None:
        return target
    return np.where(target > 0, target, np.clip(image, 0, 1))


def black_target(patch: Patch) -> Image:
    """Return stamps on black."""
    return stamp_target(patch.pixels, patch.image.shape[:2])[..., None]


def image_target(patch: Patch) -> Image:
    """Return stamps on the patch itself."""
    image = patch.image[..., 0]
    return stamp_target(patch.pixels, image.shape, image)[..., None]


def sharp_target(patch: Patch) -> Image:
    """Return sharp stamps on black."""
    shape = patch.image.shape[:2]
    return stamp_target(patch.pixels, shape, stamp=SHARP_STAMP)[..., None]


TARGETS: Final[dict[str, Target]] = {
    "black": black_target,
    "image": image_target,
    "sharp": sharp_target,
}
"""Targets of enhancement by the word in a recipe."""


@dataclass(frozen=True)
class PatchSettings:
    """How patches are cut out of an image and altered by chance."""

    edge: int
    """Edge of a patch in pixels."""
    target: Target = black_target
    """Gives the target of a patch."""
    how: Augmentation = _NO_NOISE
    """How they are altered."""


class BatchShare(NamedTuple):
    """One source's share of a batch."""

    source: Source | PairSource
    """Where the images come from."""
    n: int
    """Patches from this source."""
    cut: PatchSettings
    """How they are cut."""


def cut_patches(
    share: BatchShare, rng: np.random.Generator, n: int
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Draw one image and yield `n` patches of it with their targets.

    A source of pairs is asked for `n` of them, and nothing is cut. Else a patch is
    scaled as its whole image is, then changed by the list of `augmentation`: in a run,
    a field's scale comes from a larger area.
    """
    if isinstance(share.source, PairSource):
        yield from share.source.draw_pairs(rng, n)
        return
    scene, cut = share.source.draw(rng), share.cut
    d = scene.points.shape[1]
    if cut.how.is_map:
        if d != 2:
            raise SettingsError(
                "the table [augmentation] scales, bends or turns by any angle, which "
                "is for images, not for stacks"
            )
        yield from _map_patches(scene, cut, rng, n)
        return
    image = scene.image if scene.image.ndim > d else scene.image[..., None]
    # Rounded before they are shifted: halves round to even numbers.
    pixels = np.round(scene.points)
    for _ in range(n):
        corner = [int(rng.integers(0, m - cut.edge + 1)) for m in image.shape[:d]]
        window = tuple(slice(start, start + cut.edge) for start in corner)
        plain = scene.scaled(image[window], corner)
        patch = relight(Example(plain), cut.how, rng).image
        turn = draw_turn(cut.how, cut.edge, rng)
        places = [turn.points(each - corner) for each in (scene.points, pixels)]
        yield turn.image(patch), cut.target(Patch(turn.image(plain), *places))


def _map_patches(
    scene: Scene, cut: PatchSettings, rng: np.random.Generator, n: int
) -> Iterator[Batch]:
    """Yield patches that are more than turned, with their targets."""
    whole = scene.image if scene.image.ndim == 3 else scene.image[..., None]
    known = Example(scene.scaled(whole, (0, 0)), scene.points)
    shape = (whole.shape[0], whole.shape[1])
    for _ in range(n):
        plain = move(known, draw_map(cut.how, cut.edge, shape, rng))
        points = np.zeros((0, 2)) if plain.points is None else plain.points
        target = cut.target(Patch(plain.image, points, np.round(points)))
        yield relight(plain, cut.how, rng).image, target


def draw_patches(shares: Sequence[BatchShare], rng: np.random.Generator) -> Batch:
    """Return patches of all shares and their targets."""
    pairs: list[Batch] = []
    for share in shares:
        wanted = len(pairs) + share.n
        while len(pairs) < wanted:
            take = min(share.source.cuts, wanted - len(pairs))
            pairs.extend(cut_patches(share, rng, take))
    images, targets = zip(*pairs, strict=True)
    return np.stack(images).astype(np.float32), np.stack(targets).astype(np.float32)


def draw_batch(shares: Sequence[BatchShare], *, seed: int, step: int) -> Batch:
    """Return the batch of one step, at random by `seed` and `step`."""
    return draw_patches(shares, np.random.default_rng((seed, step)))


def draw_validation(shares: Sequence[BatchShare], *, seed: int) -> Batch:
    """Return the patches of every validation, from random numbers that no step uses."""
    # A spawned sequence: (seed, a) and (seed, a, 0) would give the same numbers.
    apart = np.random.SeedSequence(seed, spawn_key=(1,))
    return draw_patches(shares, np.random.default_rng(apart))


_own: list[Callable[[int], Batch]] = []
"""How a process draws a step's batch; it is sent once, not with each step."""


def _take(draw: Callable[[int], Batch]) -> None:
    import cv2

    cv2.setNumThreads(1)
    _own[:] = [draw]
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process once the training has ended, also if it was killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _draw_own(step: int) -> Batch:
    return _own[0](step)


def _draw_step(shares: Sequence[BatchShare], seed: int, step: int) -> Batch:
    return draw_batch(shares, seed=seed, step=step)


def iter_batches(
    shares: Sequence[BatchShare],
    steps: range,
    *,
    seed: int,
    threads: int = 1,
    processes: int = 0,
) -> Generator[Batch]:
    """Yield the batches of some steps, drawn ahead in threads, or in processes.

    They are the same either way. Close the generator; otherwise it waits for batches
    that nobody takes.
    """
    draw = partial(_draw_step, shares, seed)
    if not processes:
        yield from iter_ahead(draw, steps, ThreadPoolExecutor(threads), threads)
        return
    pool = ProcessPoolExecutor(
        processes,
        mp_context=get_context("spawn"),
        initializer=_take,
        initargs=(draw,),
    )
    yield from iter_ahead(_draw_own, steps, pool, processes)


def iter_ahead(
    draw: Callable[[int], T], steps: range, pool: Executor, workers: int
) -> Generator[T]:
    """Yield ``draw(step)`` in the order of the steps, drawn ahead by a pool.

    Close the generator, which ends the pool.
    """
    pending: list[Future[T]] = []
    try:
        for position in range(len(steps)):
            ahead = min(len(steps), position + workers + 2)
            while position + len(pending) < ahead:
                pending.append(pool.submit(draw, steps[position + len(pending)]))
            yield pending.pop(0).result()
    finally:
        pool.shutdown(cancel_futures=True)
