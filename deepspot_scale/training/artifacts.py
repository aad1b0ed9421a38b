"""The files of a training on disk, and how it is continued from them.

    OUT/recipe.toml             the recipe
    OUT/split.csv               the use of each annotated image
    OUT/log.csv, log.png        loss, validation loss, rate and seconds of each step
    OUT/weights.safetensors     averaged weights, with recipe, metrics and versions
    OUT/checkpoint/             everything that the next step depends on

Everything except the log can be made from the checkpoint. Nothing here takes steps.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
    """Loss of the last step's batch."""
    validation: float | None = None
    """Last validation loss."""
    best: float | None = None
    """Lowest validation loss."""
    best_step: int | None = None
    """Step of the lowest validation loss."""
    waited: int = 0
    """Validations since then."""
    about: dict[str, str] = field(default_factory=dict)
    """What was measured of the images, for the weights' text."""

    def is_over(self, recipe: Recipe) -> bool:
        """Return whether there is nothing left to do."""
        patience = recipe.validation.patience
        stopped = patience is not None and self.waited >= patience
        return stopped or self.step >= recipe.steps


@dataclass
class Averages:
    """The averaged weights, which are the result of a training."""

    now: list[Array]
    """Moving average over the steps."""
    best: list[Array] | None = None
    """The average with the lowest validation loss; None: not wanted, or not yet."""


def take_up(
    folder: Folder, recipe: Recipe, *, resume: bool
) -> tuple[TrainingProgress, dict[str, list[Array]]]:
    """Return how far the training in `folder` has come, and its arrays, if any.

    Raises
    ------
    RunError
        There is a training although `resume` is not given, or it has another recipe, or
        its checkpoint is damaged.
    """
    if not folder.is_local:
        raise RunError(f"a training needs a folder on a local disk, got {folder.url}")
    if not folder.exists(RECIPE):
        return TrainingProgress(), {}
    if not resume:
        raise RunError(
            f"{folder.url} holds a training: continue it with resume (--resume), or "
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


def begin(
    folder: Folder, recipe: Recipe, split: str, progress: TrainingProgress
) -> None:
    """Write recipe and split, and remove the partial files of a killed training.

    Raises
    ------
    RunError
        The annotated images are not those that the training began with.
    """
    old = folder.read(SPLIT).decode() if folder.exists(SPLIT) else split
    if old != split:
        before, now = (
            {line.rpartition(",")[0] for line in each.splitlines()}
            for each in (old, split)
        )
        raise RunError(
            f"the annotated images are not those that the training in {folder.url} "
            f"began with: {len(before - now)} are gone, {len(now - before)} are new, "
            f"such as {min(before ^ now, default='none')}. Put them back, or give "
            "another folder."
        )
    folder.write(RECIPE, recipe_text(recipe).encode())
    folder.write(SPLIT, split.encode())
    for place in ("", PLACE):
        folder.sweep(place)
    begin_log(folder, progress.step)


def save(
    folder: Folder,
    recipe: Recipe,
    progress: TrainingProgress,
    state: Mapping[str, list[Array]],
    averages: Averages,
) -> None:
    """Write a checkpoint, the weights and the plot.

    Raises
    ------
    RunError
        The weights are not finite numbers; the last checkpoint stays.
    """
    if not all(np.isfinite(array).all() for array in averages.now):
        raise diverged("weights are not finite numbers", recipe, progress.step)
    arrays = {**state, "average": averages.now}
    if averages.best is not None:
        arrays["best"] = averages.best
    write_checkpoint(folder, asdict(progress), arrays)
    publish(folder, recipe, progress, averages)


def diverged(what: str, recipe: Recipe, step: int) -> RunError:
    """Return the error of a training whose numbers are no longer finite."""
    half = recipe.dtype == "mixed_float16"
    dtypes = "dtype float32 or mixed_bfloat16, " if half else ""
    return RunError(
        f"the {what} after step {step}: try {dtypes}a lower learning_rate (now "
        f"{recipe.learning_rate:g}), a longer warm_up (now {recipe.warm_up:g}) or a "
        f"smaller clip (now {recipe.clip:g}), in a new folder. The last checkpoint's "
        "weights can be its start_from."
    )


def publish(
    folder: Folder, recipe: Recipe, progress: TrainingProgress, averages: Averages
) -> Path:
    """Write weights and plot of a checkpoint; return the path of the weights."""
    best = None if recipe.validation.patience is None else averages.best
    kept = averages.now if best is None else best
    about = _about(recipe, progress, is_best=best is not None)
    with tempfile.TemporaryDirectory() as scratch:
        partial = Path(scratch) / WEIGHTS
        family = find_family(recipe.family)
        write_weights(partial, kept, recipe.architecture, family=family, about=about)
        folder.write(WEIGHTS, partial.read_bytes())
    folder.write(PLOT, figure_png(draw_log(read_log(folder))))
    return folder.local_path / WEIGHTS


def _about(
    recipe: Recipe, progress: TrainingProgress, *, is_best: bool
) -> dict[str, str]:
    """Return the text stored with the weights: enough to train them again."""
    import keras

    backend = keras.backend.backend()
    packages = ("deepspot-scale", "keras", backend, "numpy")
    metrics = {
        "loss": progress.loss,
        "validation": progress.best if is_best else progress.validation,
    }
    about = {
        **progress.about,
        "recipe": recipe_json(recipe),
        "seed": str(recipe.seed),
        "steps": str(progress.best_step if is_best else progress.step),
        "metrics": json.dumps(metrics),
        "backend": backend,
        "versions": json.dumps(installed_versions(packages)),
    }
    if recipe.start_from is not None:
        about["start_from"] = recipe.start_from
    return about
