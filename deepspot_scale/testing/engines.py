"""The rules of any engine: an image's answer is its own, whatever its companions.

Shapes, channels and range of an answer are those of the model's family. Nothing here
knows what the engine computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import ContractError
from deepspot_scale.networks.engine_types import Engine, EngineChoice
from deepspot_scale.networks.engines import batch_size, predict_images
from deepspot_scale.networks.families import Family
from deepspot_scale.networks.weights import find_weights

Images = list[NDArray[np.float32]]


def check_engine(
    load: Callable[[EngineChoice], Engine], choice: EngineChoice = EngineChoice()
) -> None:
    """Check that an engine may run in place of the built-in ones.

    Parameters
    ----------
    load
        What the plug-in's name stands for: makes the engine.
    choice
        What it is made for.

    Raises
    ------
    ContractError
        It lacks a part, gives answers of another shape or range than the model's
        family says, alters what it is given, or an image's answer depends on its
        companions or its place in the batch.
    """
    engine = load(choice)
    for part in ("name", "pixels_per_call", "predict"):
        if not hasattr(engine, part):
            raise ContractError(f"the engine has no {part!r}; see `Engine`")
    rng, family = np.random.default_rng(0), find_weights(choice.model).family
    for steps in ((8, 8), (2, 5)):
        space = tuple(n * family.grid for n in steps)
        n, shape = batch_size(engine, space) + 1, (*space, family.channels_in)
        images = [rng.random(shape, np.float32) for _ in range(n)]
        kept = [image.copy() for image in images]
        answers = predict_images(engine, images)
        _check_answers(answers, family, space)
        _require_same(images, kept, "it alters the images it is given; copy them first")
        alone = [predict_images(engine, [image])[0] for image in images]
        _require_same(
            alone,
            answers,
            "an image's answer depends on what else is in the batch, or on its place "
            "there; run batches of one (pixels_per_call = 1), or fix the number format",
        )


def _check_answers(answers: list[Any], family: Family, space: tuple[int, ...]) -> None:
    shape = family.answer_shape(space)
    low, high = family.answer_range or (-np.inf, np.inf)
    for answer in answers:
        if np.shape(answer) != shape or np.asarray(answer).dtype != np.float32:
            raise ContractError(
                f"images of {space} pixels gave {np.asarray(answer).dtype} of "
                f"{np.shape(answer)}; answers of {family.name} are float32 of {shape}"
            )
        if not ((answer >= low) & (answer <= high)).all():
            raise ContractError(
                f"answers go from {np.min(answer):g} to {np.max(answer):g}; those of "
                f"{family.name} lie in [{low:g}, {high:g}]"
            )


def _require_same(one: Images, other: Images, reason: str) -> None:
    if not all(map(np.array_equal, one, other)):
        raise ContractError(reason)
