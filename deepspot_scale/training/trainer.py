"""Training: a recipe comes in, a folder with weights, log and checkpoint goes out.

A training that was killed goes on at its last checkpoint and takes the same steps as
it would have: every batch depends on the seed and the step alone, everything else is
in the checkpoint. `saving` says what lies in the folder. Nothing here knows plates or
Dask.
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
from deepspot_scale.simulation import SIMULATORS
from deepspot_scale.training.artifacts import (
    WEIGHTS,
    Averages,
    TrainingProgress,
    begin,
    diverged,
    publish,
    save,
    take_up,
)
from deepspot_scale.training.log import Row, append_row
from deepspot_scale.training.optimiser import (
    blend,
    compile_network,
    learning_rate,
    put_state,
    take_state,
    take_step,
    take_weights,
    validation_loss,
)
from deepspot_scale.training.patches import (
    Batch,
    BatchShare,
    PatchSettings,
    draw_batch,
    draw_validation,
    iter_ahead,
)
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources
from deepspot_scale.training.tasks import find_task


def train(
    recipe: Recipe,
    out: str | Path,
    *,
    resume: bool = False,
    on_step: Callable[[Row], None] | None = None,
    threads: int | None = None,
) -> Path:
    """Train a network.

    Parameters
    ----------
    recipe
        What to train on and how.
    out
        Folder on a local disk to write to; made if absent.
    resume
        Go on with the training in `out`; without one, begin. A finished training is
        left as it is.
    on_step
        Called after each step; what it raises ends the training, which can be gone on
        with later.
    threads
        Threads that draw patches beside the optimiser; None: one for every two
        processors, eight at most. They do not change the answer.

    Returns
    -------
    Path
        The weights file: the moving average over the steps, float32; with
        ``validation.patience`` the average that had the lowest validation loss.

    Raises
    ------
    RunError
        `out` holds a training and `resume` was not given, a training of another
        recipe, or one whose images have changed; or the loss is no finite number.
    SettingsError, PlateError, FieldError
        The recipe's images cannot be used.
    WeightsError
        The weights to start from cannot be used.
    """
    folder = Folder(str(out))
    course, arrays = take_up(folder, recipe, resume=resume)
    best = arrays.pop("best", None)
    if course.is_over(recipe):
        return publish(folder, recipe, course, Averages(arrays["average"], best))
    sources = find_task(recipe.family).scenes(recipe)
    model = compile_network(recipe)
    averages = Averages(arrays.pop("average", []) or take_weights(model), best)
    if arrays:
        put_state(model, arrays)
    begin(folder, recipe, sources.split, course)
    learn, held = _shares(recipe, sources)
    training = _Training(recipe, model, course, averages, _tried_on(recipe, held))
    batches = iter_ahead(
        lambda step: draw_batch(learn, seed=recipe.seed, step=step),
        range(course.step, recipe.steps),
        threads=threads or max(1, min(8, (os.cpu_count() or 1) // 2)),
    )
    began = time.monotonic() - course.seconds
    with closing(batches):
        for batch in batches:
            row = _advance(training, batch, began)
            append_row(folder, row)
            if course.step % recipe.save_every == 0 or course.is_over(recipe):
                save(folder, recipe, course, take_state(model), averages)
            if on_step is not None:
                on_step(row)
            if course.is_over(recipe):
                break
    return folder.local_path / WEIGHTS


@dataclass
class _Training:
    recipe: Recipe
    model: Any
    course: TrainingProgress
    averages: Averages
    tried_on: Batch | None


def _advance(training: _Training, batch: Batch, began: float) -> Row:
    """Take one step, with its average and, when it is time, its validation."""
    recipe, model, course = training.recipe, training.model, training.course
    rate = learning_rate(model)
    loss = take_step(model, batch)
    if not math.isfinite(loss):
        raise diverged(f"loss is {loss}", recipe, course.step)
    course.step, course.loss = course.step + 1, loss
    averages = training.averages
    averages.now = blend(averages.now, take_weights(model), course.step, recipe.average)
    validation = None
    last = course.step == recipe.steps
    every = recipe.validation.every
    if training.tried_on is not None and (course.step % every == 0 or last):
        validation = _validate(training, training.tried_on)
    course.seconds = time.monotonic() - began
    return Row(course.step, loss, validation, rate, course.seconds)


def _validate(training: _Training, tried_on: Batch) -> float:
    recipe, course, averages = training.recipe, training.course, training.averages
    loss = validation_loss(training.model, averages.now, tried_on, recipe)
    if not math.isfinite(loss):
        raise diverged(f"validation loss is {loss}", recipe, course.step)
    course.validation = loss
    course.waited += 1
    if course.best is None or loss < course.best:
        course.best, course.best_step, course.waited = loss, course.step, 0
        if recipe.validation.patience is not None:
            averages.best = averages.now
    return loss


def _shares(
    recipe: Recipe, sources: Sources
) -> tuple[list[BatchShare], list[BatchShare]]:
    """Return the parts of a batch, and those of the validation patches."""
    learn, held = [], []
    given = recipe.augmentation
    target = find_task(recipe.family).target(recipe)
    plain = PatchSettings(recipe.patch, target, gain=0, offset=0)
    for part, source, kept in zip(recipe.mixture, *sources[:2], strict=True):
        noise = 0.0 if part.source in SIMULATORS else given.noise
        cut = replace(plain, gain=given.gain, offset=given.offset, noise=noise)
        learn.append(BatchShare(source, part.patches, cut))
        if kept is not None:
            n = round(recipe.validation.patches * part.patches / recipe.batch)
            held.append(BatchShare(kept, max(1, n), plain))
    return learn, held


def _tried_on(recipe: Recipe, held: list[BatchShare]) -> Batch | None:
    if not recipe.validation.every:
        return None
    return draw_validation(held, seed=recipe.seed)
