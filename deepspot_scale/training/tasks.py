"""What networks of a family are trained for: scenes, target, loss and score.

The name of a family comes in, its `Task` goes out; each part of it is made from a
recipe. Nothing here takes steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.families import CASO_RESNET
from deepspot_scale.training.losses import deepspot_loss
from deepspot_scale.training.patches import Target, black_target, image_target
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources, open_sources

Loss = Callable[[Any, Any], Any]
"""From targets and answers, both (n, *space, channels), to one number; any backend."""


@dataclass(frozen=True)
class Task:
    """What the networks of one family learn."""

    scenes: Callable[[Recipe], Sources]
    """Opens what a recipe's mixture draws from, held-out images apart."""
    target: Callable[[Recipe], Target]
    """Gives what a network should answer to a patch."""
    loss: Callable[[Recipe], Loss]
    """Gives what a step lowers."""
    score: Callable[[Recipe], Loss]
    """Gives what validations compare; the least is the best."""


def _stamps(recipe: Recipe) -> Target:
    return image_target if recipe.target == "image" else black_target


def _deepspot_loss(recipe: Recipe) -> Loss:
    return partial(
        deepspot_loss, cross_entropy=recipe.cross_entropy, maximum=recipe.maximum
    )


ENHANCE: Final = Task(open_sources, _stamps, _deepspot_loss, score=_deepspot_loss)
"""Every spot equally bright, all else black or as it was."""
TASKS: Final[dict[str, Task]] = {CASO_RESNET.name: ENHANCE}
"""By the name of the family."""


def find_task(family: str) -> Task:
    """Return what the networks of a family are trained for.

    Raises
    ------
    SettingsError
        There is no training of this family.
    """
    if family in TASKS:
        return TASKS[family]
    raise SettingsError(
        f"there is no training of the family {family!r}, only of {', '.join(TASKS)}"
    )
