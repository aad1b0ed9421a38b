"""What a training leaves on disk, and how it is taken up again.

    OUT/recipe.toml             what was asked for
    OUT/split.csv               which annotated image serves for what
    OUT/log.csv, log.png        loss, validation loss, rate and seconds of each step
    OUT/weights.safetensors     averaged weights, with recipe, metrics and versions
    OUT/checkpoint/             all that the next step depends on

Everything but the log and the checkpoint can be made from the checkpoint. Nothing here
takes steps.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from deepspot_scale.config import difference, read_toml
from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.families import find_family
from deepspot_scale.networks.weights import write_weights
from deepspot_scale.plugins import installed_versions
from deepspot_scale.training.checkpoint import PLACE, read_checkpoint, write_checkpoint
from deepspot_scale.training.log import begin_log, draw_log, figure_png, read_log
from deepspot_scale.training.optimiser import Array
from deepspot_scale.training.recipe import Recipe, make_recipe, recipe_json, recipe_text

RECIPE, SPLIT = "recipe.toml", "split.csv"
WEIGHTS, PLOT = "weights.safetensors", "log.png"


@dataclass
class TrainingProgress:
    """How far a training has come."""

    step: int = 0
    """Steps taken."""
    seconds: float = 0.0
    """Time they took."""
    loss: float | None = None
    """Of the last step's batch."""
    validation: float | None = None
    """Last validation loss."""
    best: float | None = None
    """Lowest validation loss."""
    best_step: int | None = None
    """Where it was."""
    waited: int = 0
    """Validations since then."""

    def is_over(self, recipe: Recipe) -> bool:
        """Return whether there is nothing left to do."""
        patience = recipe.validation.patience
        stopped = patience is not None and self.waited >= patience
        return stopped or self.step >= recipe.steps


@dataclass
class Averages:
    """The weights that a training is for."""

    now: list[Array]
    """Moving average over the steps."""
    best: list[Array] | None = None
    """The one with the lowest validation loss; None: not asked for, or not yet."""


def take_up(
    folder: Folder, recipe: Recipe, *, resume: bool
) -> tuple[TrainingProgress, dict[str, list[Array]]]:
    """Return how far the training in `folder` has come, and its arrays if it has.

    Raises
    ------
    RunError
        There is a training although `resume` is not given, or one of another recipe,
        or its checkpoint is damaged.
    """
    if not folder.is_local:
        raise RunError(f"a training needs a folder on a local disk, got {folder.url}")
    if not folder.exists(RECIPE):
        return TrainingProgress(), {}
    if not resume:
        raise RunError(
            f"{folder.url} holds a training: go on with it by resume (--resume), or "
            "give another folder"
        )
    changes = difference(make_recipe(**read_toml(folder.local_path / RECIPE)), recipe)
    if changes:
        raise RunError(
            f"{folder.url} holds a training of another recipe: {'; '.join(changes)}. "
            "Use that recipe, or give another folder."
        )
    numbers, arrays = read_checkpoint(folder) or ({}, {})
    return TrainingProgress(**numbers), arrays


def begin(folder: Folder, recipe: Recipe, split: str, course: TrainingProgress) -> None:
    """Write what was asked for, and clear away what a killed training left.

    Raises
    ------
    RunError
        The annotated images are not those that the training began with.
    """
    if folder.exists(SPLIT):
        old = folder.read(SPLIT).decode()
        if old != split:
            before, now = (
                {line.rpartition(",")[0] for line in each.splitlines()}
                for each in (old, split)
            )
            raise RunError(
                f"the annotated images are not those that the training in "
                f"{folder.url} began with: {len(before - now)} are gone, "
                f"{len(now - before)} are new, such as "
                f"{min(before ^ now, default='none')}. Put them back, or give "
                "another folder."
            )
    folder.write(RECIPE, recipe_text(recipe).encode())
    folder.write(SPLIT, split.encode())
    for place in ("", PLACE):
        folder.sweep(place)
    begin_log(folder, course.step)


def save(
    folder: Folder,
    recipe: Recipe,
    course: TrainingProgress,
    state: Mapping[str, list[Array]],
    averages: Averages,
) -> None:
    """Write a checkpoint and what users look at.

    Raises
    ------
    RunError
        The weights are no finite numbers; the last checkpoint stays.
    """
    if not all(np.isfinite(array).all() for array in averages.now):
        raise diverged("weights are no finite numbers", recipe, course.step)
    arrays = {**state, "average": averages.now}
    if averages.best is not None:
        arrays["best"] = averages.best
    write_checkpoint(folder, asdict(course), arrays)
    publish(folder, recipe, course, averages)


def diverged(what: str, recipe: Recipe, step: int) -> RunError:
    """Return the error of a training that went out of bounds."""
    cure = (
        "dtype float32 or mixed_bfloat16, " if recipe.dtype == "mixed_float16" else ""
    )
    return RunError(
        f"the {what} after step {step}: try {cure}a lower learning_rate (now "
        f"{recipe.learning_rate:g}), a longer warm_up (now {recipe.warm_up:g}) or a "
        f"smaller clip (now {recipe.clip:g}), in a new folder. The last checkpoint's "
        "weights can be its start_from."
    )


def publish(
    folder: Folder, recipe: Recipe, course: TrainingProgress, averages: Averages
) -> Path:
    """Write weights and plot as of a checkpoint, and return the path of the weights."""
    best = None if recipe.validation.patience is None else averages.best
    kept = averages.now if best is None else best
    about = _about(recipe, course, is_best=best is not None)
    with tempfile.TemporaryDirectory() as scratch:
        partial = Path(scratch) / WEIGHTS
        family = find_family(recipe.family)
        write_weights(partial, kept, recipe.architecture, family=family, about=about)
        folder.write(WEIGHTS, partial.read_bytes())
    folder.write(PLOT, figure_png(draw_log(read_log(folder))))
    return folder.local_path / WEIGHTS


def _about(
    recipe: Recipe, course: TrainingProgress, *, is_best: bool
) -> dict[str, str]:
    """Return the text stored with the weights: enough to train them again."""
    import keras

    backend = keras.backend.backend()
    packages = ("deepspot-scale", "keras", backend, "numpy")
    metrics = {
        "loss": course.loss,
        "validation": course.best if is_best else course.validation,
    }
    about = {
        "recipe": recipe_json(recipe),
        "seed": str(recipe.seed),
        "steps": str(course.best_step if is_best else course.step),
        "metrics": json.dumps(metrics),
        "backend": backend,
        "versions": json.dumps(installed_versions(packages)),
    }
    if recipe.start_from is not None:
        about["start_from"] = recipe.start_from
    return about
