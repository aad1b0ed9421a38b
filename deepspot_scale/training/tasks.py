"""The training task of a family of networks: scenes, target, loss and score.

The name of a family comes in, its `Task` goes out; each part of it is made from a
recipe. Nothing here takes steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.families import (
    CASO_FAST,
    CASO_RESNET,
    DEEP_STORM,
    DEEPSTORM3D,
    DENOISER,
    DYE_CLASSIFIER,
    RATER,
    RATING_CNN,
    STAR_CONVEX,
    SUBPIXEL_CNN,
    SUBPIXEL_CNN8,
    find_family,
)
from deepspot_scale.simulation.drawing import Image
from deepspot_scale.training.augmentation import DEFAULTS, Augmentation
from deepspot_scale.training.denoising_scenes import open_noisy
from deepspot_scale.training.dye_scenes import open_dyes
from deepspot_scale.training.localisation_scenes import FineTarget, open_movies
from deepspot_scale.training.localisation_targets import distance_target, heat_target
from deepspot_scale.training.losses import (
    deepspot_loss,
    distance_loss,
    dye_loss,
    heat_loss,
    hidden_loss,
    rating_loss,
    star_loss,
    volume_loss,
)
from deepspot_scale.training.nuclei_scenes import open_nuclei
from deepspot_scale.training.patches import TARGETS, Patch, Target
from deepspot_scale.training.rating_scenes import open_rated
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources, open_sources
from deepspot_scale.training.volume_scenes import open_volumes

Loss = Callable[[Any, Any], Any]
"""Gives one number for targets and answers, both (n, *space, channels), on any
backend."""


@dataclass(frozen=True)
class Task:
    """What the networks of one family are trained for."""

    scenes: Callable[[Recipe], Sources]
    """Opens the sources of a recipe's mixture, with held-out images separate."""
    target: Callable[[Recipe], Target]
    """Gives the right answers to patches."""
    loss: Callable[[Recipe], Loss]
    """Gives the number that steps lower."""
    score: Callable[[Recipe], Loss]
    """Gives the number that validations compare; the lowest is the best."""
    augmented: bool = False
    """Whether patches are changed as the recipe's table [augmentation] says; else the
    scenes draw all of their variety themselves."""


def _stamps(recipe: Recipe) -> Target:
    return TARGETS[recipe.target]


def _deepspot_loss(recipe: Recipe) -> Loss:
    return partial(
        deepspot_loss, cross_entropy=recipe.cross_entropy, maximum=recipe.maximum
    )


ENHANCE: Final = Task(
    open_sources, _stamps, _deepspot_loss, score=_deepspot_loss, augmented=True
)
"""Every spot becomes equally bright, and the rest black or unchanged."""


def _distances(recipe: Recipe) -> FineTarget:
    return partial(
        distance_target,
        scale=int(find_family(recipe.family).scale),
        alpha=recipe.movies.alpha,
        d_max=recipe.movies.d_max,
    )


def _heat(recipe: Recipe) -> FineTarget:
    return partial(heat_target, scale=int(find_family(recipe.family).scale))


def _from_movies(fine: Callable[[Recipe], FineTarget], loss: Loss) -> Task:
    """Return the task of a network that learns a fine map from simulated movies."""

    def scenes(recipe: Recipe) -> Sources:
        return open_movies(recipe, fine(recipe))

    def target(recipe: Recipe) -> Target:
        return partial(_map_of_patch, fine(recipe))

    return Task(scenes, target, lambda _: loss, score=lambda _: loss)


def _map_of_patch(fine: FineTarget, patch: Patch) -> Image:
    height, width = patch.image.shape[:2]
    return fine(patch.points, (height, width))[..., None]


DISTANCES: Final = _from_movies(_distances, distance_loss)
"""Every molecule becomes a sharp peak of the distance transform."""
HEAT: Final = _from_movies(_heat, heat_loss)
"""Every molecule becomes one bright fine pixel."""
COLOUR: Final = Task(open_dyes, _stamps, lambda _: dye_loss, score=lambda _: dye_loss)
"""Every window gets the probabilities of its dyes; there are no patches to stamp."""
VOLUMES: Final = Task(
    lambda recipe: open_volumes(recipe, recipe.architecture.factor),
    _stamps,  # the source makes its own targets
    lambda _: volume_loss,
    score=lambda _: volume_loss,
)
"""Every molecule becomes one in the voxels around its place and depth."""
OBJECTS: Final = Task(
    open_nuclei,
    _stamps,  # the source makes its own targets
    lambda _: star_loss,
    score=lambda _: star_loss,
    augmented=True,
)
"""Every pixel says how far the border of its object is, and how central it is."""
CLEAN: Final = Task(
    open_noisy,
    _stamps,  # the source makes its own targets
    lambda _: hidden_loss,
    score=lambda _: hidden_loss,
    augmented=True,
)
"""Every pixel becomes what it would be without noise."""


def _rating_loss(recipe: Recipe) -> Loss:
    ranges = recipe.rating
    return partial(rating_loss, order=ranges.order, margin=ranges.margin)


RATE: Final = Task(
    open_rated,
    _stamps,  # the source makes its own targets
    _rating_loss,
    score=_rating_loss,
    augmented=True,
)
"""Every tile gets its score, and of two of a ladder the better one the higher."""
TASKS: Final[dict[str, Task]] = {
    CASO_RESNET.name: ENHANCE,
    CASO_FAST.name: ENHANCE,
    SUBPIXEL_CNN.name: DISTANCES,
    SUBPIXEL_CNN8.name: DISTANCES,
    DEEP_STORM.name: HEAT,
    DYE_CLASSIFIER.name: COLOUR,
    DEEPSTORM3D.name: VOLUMES,
    STAR_CONVEX.name: OBJECTS,
    DENOISER.name: CLEAN,
    RATER.name: RATE,
    RATING_CNN.name: RATE,
}
"""Tasks by the name of the family."""


def find_task(family: str) -> Task:
    """Return what the networks of a family are trained for.

    Raises
    ------
    SettingsError
        Networks of this family cannot be trained.
    """
    if family in TASKS:
        return TASKS[family]
    raise SettingsError(
        f"there is no training of the family {family!r}, only of {', '.join(TASKS)}"
    )


def open_scenes(recipe: Recipe) -> Sources:
    """Open the sources of a recipe.

    Raises
    ------
    SettingsError
        They cannot be used, or the recipe asks for changes that its task does not make.
    PlateError, FieldError
        Images cannot be used.
    """
    task = find_task(recipe.family)
    usual = DEFAULTS.get(recipe.family, Augmentation())
    if not task.augmented and recipe.augmentation != usual:
        raise SettingsError(
            f"networks of the family {recipe.family} do not use the table "
            "[augmentation]: their scenes draw what differs between images. Leave the "
            "table out"
        )
    return task.scenes(recipe)
