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
from deepspot_scale.networks.families import CASO_FAST, CASO_RESNET
from deepspot_scale.training.losses import deepspot_loss
from deepspot_scale.training.patches import TARGETS, Target
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.scenes import Sources, open_sources

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


def _stamps(recipe: Recipe) -> Target:
    return TARGETS[recipe.target]


def _deepspot_loss(recipe: Recipe) -> Loss:
    return partial(
        deepspot_loss, cross_entropy=recipe.cross_entropy, maximum=recipe.maximum
    )


ENHANCE: Final = Task(open_sources, _stamps, _deepspot_loss, score=_deepspot_loss)
"""Every spot becomes equally bright, and the rest black or unchanged."""
TASKS: Final[dict[str, Task]] = {CASO_RESNET.name: ENHANCE, CASO_FAST.name: ENHANCE}
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
