"""Training: a recipe comes in, a folder with weights, log and checkpoint goes out.

A training that was killed continues at its last checkpoint and takes the same steps as
without the interruption: every batch depends only on the seed and the step, and
everything else is in the checkpoint. `artifacts` lists the files in the folder. Nothing
here knows plates or Dask.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepspot_scale.io.tables import Folder
from deepspot_scale.networks import domains
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.simulation import SIMULATORS
from deepspot_scale.training import artifacts, optimiser, patches
from deepspot_scale.training.artifacts import Averages, TrainingProgress, diverged
from deepspot_scale.training.augmentation import TURNED
from deepspot_scale.training.log import Row, append_row
from deepspot_scale.training.patches import Batch, BatchShare, PatchSettings
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources
from deepspot_scale.training.tasks import find_task, open_scenes
from deepspot_scale.training.training_domain import measure_domain


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    on_step: Callable[[Row], None] | None = None,
    threads: int | None = None,
    processes: int = 0,
) -> Path:
    """Train a network.

    Parameters
    ----------
    recipe
        The network, its images and how it is trained.
    out
        Folder on a local disk to write to; made if absent.
    resume
        Continue the training in `out`, or begin one if there is none. A finished
        training is not changed.
    on_step
        Called after each step; an error that it raises ends the training, which can be
        continued later.
    threads
        Threads that draw patches beside the optimiser; None: one for every two
        processors, eight at most. They do not change the answer.
    processes
        Processes that draw patches instead of threads, of which one alone draws at a
        time: for networks that learn faster than a core draws.

    Returns
    -------
    Path
        The weights file: the moving average over the steps, float32; with
        ``validation.patience``, the average with the lowest validation loss.

    Raises
    ------
    RunError
        `out` holds a training and `resume` was not given, or its recipe or images are
        different; or the loss is not a finite number.
    SettingsError, PlateError, FieldError
        The recipe's images cannot be used, or Keras is not installed.
    WeightsError
        The weights to start from cannot be used.
    """
    import_keras("training")
    folder = Folder(str(out))
    progress, arrays = artifacts.take_up(folder, recipe, resume=resume)
    best = arrays.pop("best", None)
    if progress.is_over(recipe):
        averages = Averages(arrays["average"], best)
        return artifacts.publish(folder, recipe, progress, averages)
    sources = open_scenes(recipe)
    progress.about |= sources.about
    model = optimiser.compile_network(recipe)
    start = arrays.pop("average", []) or optimiser.take_weights(model)
    averages = Averages(start, best)
    if arrays:
        optimiser.put_state(model, arrays)
    artifacts.begin(folder, recipe, sources.split, progress)
    learn, held = batch_shares(recipe, sources)
    progress.about |= _measure(recipe, learn, progress.about)
    training = _Training(recipe, model, progress, averages, _draw_held(recipe, held))
    batches = patches.iter_batches(
        learn,
        range(progress.step, recipe.steps),
        seed=recipe.seed,
        threads=threads or max(1, min(8, (os.cpu_count() or 1) // 2)),
        processes=processes,
    )
    began = time.monotonic() - progress.seconds
    with closing(batches):
        for batch in batches:
            row = _advance(training, batch, began)
            append_row(folder, row)
            if progress.step % recipe.save_every == 0 or progress.is_over(recipe):
                state = optimiser.take_state(model)
                artifacts.save(folder, recipe, progress, state, averages)
            if on_step is not None:
                on_step(row)
            if progress.is_over(recipe):
                break
    return folder.local_path / artifacts.WEIGHTS


def _draw_held(recipe: Recipe, held: list[BatchShare]) -> Batch | None:
    if recipe.validation.every == 0:
        return None
    return patches.draw_validation(held, seed=recipe.seed)


def _measure(
    recipe: Recipe, learn: list[BatchShare], known: dict[str, str]
) -> dict[str, str]:
    """Return the domain of the training images, unless it is known."""
    if domains.TEXT in known:
        return {}
    # No more patches than the training itself sees.
    n = min(domains.PATCHES, recipe.steps * recipe.batch)
    edge = find_task(recipe.family).domain_edge
    domain = measure_domain(learn, seed=recipe.seed, patches=n, edge=edge)
    return {} if domain is None else {domains.TEXT: domain.to_text()}


@dataclass
class _Training:
    recipe: Recipe
    model: Any
    progress: TrainingProgress
    averages: Averages
    validated_on: Batch | None


def _advance(training: _Training, batch: Batch, began: float) -> Row:
    """Take one step, with its average and, if it is due, its validation."""
    recipe, model, progress = training.recipe, training.model, training.progress
    rate = optimiser.learning_rate(model)
    loss = optimiser.take_step(model, batch)
    if not math.isfinite(loss):
        raise diverged(f"loss is {loss}", recipe, progress.step)
    progress.step, progress.loss = progress.step + 1, loss
    averages, now = training.averages, optimiser.take_weights(model)
    averages.now = optimiser.blend(averages.now, now, progress.step, recipe.average)
    validation, last = None, progress.step == recipe.steps
    held = training.validated_on
    if held is not None and (last or progress.step % recipe.validation.every == 0):
        validation = _validate(training, held)
    progress.seconds = time.monotonic() - began
    return Row(progress.step, loss, validation, rate, progress.seconds)


def _validate(training: _Training, batch: Batch) -> float:
    recipe, progress, averages = training.recipe, training.progress, training.averages
    loss = optimiser.validation_loss(training.model, averages.now, batch, recipe)
    if not math.isfinite(loss):
        raise diverged(f"validation loss is {loss}", recipe, progress.step)
    progress.validation = loss
    progress.waited += 1
    if progress.best is None or loss < progress.best:
        progress.best, progress.best_step, progress.waited = loss, progress.step, 0
        if recipe.validation.patience is not None:
            averages.best = averages.now
    return loss


def batch_shares(
    recipe: Recipe, sources: Sources
) -> tuple[list[BatchShare], list[BatchShare]]:
    """Return the shares of a batch, and those of the validation patches."""
    learn, held = [], []
    given = recipe.augmentation
    target = find_task(recipe.family).target(recipe)
    plain = PatchSettings(recipe.patch, target, TURNED)
    for part, source, kept in zip(recipe.mixture, *sources[:2], strict=True):
        quiet = given.model_copy(update={"noise": 0.0})
        cut = replace(plain, how=quiet if part.source in SIMULATORS else given)
        learn.append(BatchShare(source, part.patches, cut))
        if kept is not None:
            n = round(recipe.validation.patches * part.patches / recipe.batch)
            held.append(BatchShare(kept, max(1, n), plain))
    return learn, held
