"""Training: a recipe and a seed in, a weights file and a log out.

Images are simulated as they are needed, in threads beside the optimiser, and each
step's images depend on the seed and the step alone. Backend-free Keras 3. Nothing
here knows plates or Dask.
"""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.artificial import broad_image
from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.networks.deepspot import Architecture, build
from deepspot_scale.networks.weights import (
    find_weights,
    load_weights,
    write_weights,
)

STAMP = np.array([[200, 230, 200], [230, 255, 230], [200, 230, 200]]) / 255
Batch = tuple[NDArray[np.float32], NDArray[np.float32]]


@dataclass(frozen=True)
class Recipe:
    """Everything that a training run depends on."""

    steps: int = 2000
    """Optimiser steps in all."""
    batch: int = 16
    """Patches a step."""
    patch: int = 128
    """Edge of a patch in pixels, a multiple of 8."""
    image: int = 256
    """Edge of the simulated image that patches are cut from and scaled with."""
    learning_rate: float = 1e-3
    """Peak of the schedule: warm-up over 5 % of the steps, then cosine to zero."""
    cross_entropy: float = 10.0
    """Weight of the binary cross-entropy."""
    maximum: float = 0.1
    """Weight of the squared error of each patch's brightest pixel."""
    least_snr: float = 2.5
    """Spots fainter than this are drawn but not asked for."""
    average: float = 0.99
    """Share of the old value when weights are averaged after each step."""
    seed: int = 0
    """Seed of simulation and initial weights."""
    dtype: str = "mixed_bfloat16"
    """Keras dtype policy of the optimisation."""
    architecture: Architecture = Architecture()
    """The network to train."""


def stamp_target(points: NDArray[np.float64], size: int) -> NDArray[np.float32]:
    """Return the training target: a 3x3 stamp on black at every true spot."""
    target = np.zeros((size + 2, size + 2), np.float32)
    for row, column in np.round(points).astype(np.int64):
        window = target[row : row + 3, column : column + 3]
        np.maximum(window, STAMP, out=window)
    return target[1:-1, 1:-1]


def simulate_batch(recipe: Recipe, step: int) -> Batch:
    """Return the images and targets of one step, each (batch, patch, patch, 1)."""
    rng = np.random.default_rng((recipe.seed, step))
    images, targets = [], []
    for _ in range((recipe.batch + 1) // 2):
        truth = broad_image(rng, recipe.image)
        image = quantile_scale(truth.image)(truth.image)
        target = stamp_target(truth.points[truth.snr >= recipe.least_snr], recipe.image)
        for _ in range(2):
            top, left = rng.integers(0, recipe.image - recipe.patch + 1, 2)
            cut = np.s_[top : top + recipe.patch, left : left + recipe.patch]
            images.append(image[cut] * rng.uniform(0.8, 1.25))
            targets.append(target[cut])
    batch = slice(recipe.batch)
    return (
        np.stack(images[batch])[..., None].astype(np.float32),
        np.stack(targets[batch])[..., None],
    )


def iter_batches(recipe: Recipe, start: int = 0) -> Iterator[Batch]:
    """Yield the batches of all steps from `start` on, simulated a few steps ahead."""
    with ThreadPoolExecutor(1) as pool:
        ahead: list[Future[Batch]] = []
        for step in range(start, recipe.steps):
            while len(ahead) < 3:
                ahead.append(pool.submit(simulate_batch, recipe, step + len(ahead)))
            yield ahead.pop(0).result()


def _compiled(recipe: Recipe) -> Any:
    import keras

    from deepspot_scale.training.losses import deepspot_loss

    keras.utils.set_random_seed(recipe.seed)
    model = build(recipe.architecture, dtype=recipe.dtype)
    warm = max(1, recipe.steps // 20)
    rate = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate / 100,
        max(1, recipe.steps - warm),
        warmup_target=recipe.learning_rate,
        warmup_steps=warm,
    )
    loss = partial(
        deepspot_loss, cross_entropy=recipe.cross_entropy, maximum=recipe.maximum
    )
    optimiser = keras.optimizers.AdamW(rate, weight_decay=1e-4, clipnorm=1.0)
    model.compile(optimiser, loss=loss)
    return model


def train(
    recipe: Recipe, out: Path, *, start_from: Path | None = None, save_every: int = 100
) -> Path:
    """Train a network and write ``weights.safetensors``, ``log.csv``, ``recipe.json``.

    Parameters
    ----------
    recipe
        What to train on and how.
    out
        Folder to write to; made if absent.
    start_from
        Weights of the same architecture to go on from instead of chance.
    save_every
        Steps between two writings of the averaged weights.

    Returns
    -------
    Path
        The weights file: the moving average over the steps, float32.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "recipe.json").write_text(json.dumps(asdict(recipe), indent=1))
    model = _compiled(recipe)
    if start_from is not None:
        load_weights(model, find_weights(start_from))
    average = model.get_weights()
    target = out / "weights.safetensors"
    with (out / "log.csv").open("w", newline="") as file:
        log = csv.writer(file)
        log.writerow(["step", "loss", "seconds"])
        began = time.monotonic()
        for step, (images, targets) in enumerate(iter_batches(recipe), start=1):
            loss = float(model.train_on_batch(images, targets))
            # Early averages follow fast, or the random start would linger.
            keep = min(recipe.average, step / (step + 10))
            now = model.get_weights()
            pairs = zip(average, now, strict=True)
            average = [keep * a + (1 - keep) * b for a, b in pairs]
            log.writerow([step, f"{loss:.6f}", f"{time.monotonic() - began:.1f}"])
            if step % save_every == 0 or step == recipe.steps:
                file.flush()
                about = {"recipe": json.dumps(asdict(recipe)), "steps": str(step)}
                write_weights(target, average, recipe.architecture, about=about)
    return target
