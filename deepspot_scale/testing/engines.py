"""The rules of any engine: an image's answer is its own, whatever its companions.

Nothing here knows what the engine computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import ContractError
from deepspot_scale.networks.caso_resnet import GRID
from deepspot_scale.networks.engines import (
    Engine,
    EngineChoice,
    batch_size,
    predict_images,
)

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
        It lacks a part, changes shapes, leaves [0, 1], alters what it is given, or an
        image's answer depends on its companions or its place in the batch.
    """
    engine = load(choice)
    for part in ("name", "pixels_per_call", "predict"):
        if not hasattr(engine, part):
            raise ContractError(f"the engine has no {part!r}; see `engines.Engine`")
    rng = np.random.default_rng(0)
    for shape in ((8 * GRID, 8 * GRID), (2 * GRID, 5 * GRID)):
        n = batch_size(engine, shape) + 1
        images = [rng.random(shape, np.float32) for _ in range(n)]
        kept = [image.copy() for image in images]
        answers = predict_images(engine, images)
        _check_answers(answers, shape)
        _require_same(images, kept, "it alters the images it is given; copy them first")
        alone = [predict_images(engine, [image])[0] for image in images]
        _require_same(
            alone,
            answers,
            "an image's answer depends on what else is in the batch, or on its place "
            "there; run batches of one (pixels_per_call = 1), or fix the number format",
        )


def _check_answers(answers: list[Any], shape: tuple[int, int]) -> None:
    for answer in answers:
        if np.shape(answer) != shape or np.asarray(answer).dtype != np.float32:
            raise ContractError(
                f"images of {shape} gave {np.asarray(answer).dtype} of "
                f"{np.shape(answer)}; an answer is float32 of the image's own shape"
            )
        if not ((answer >= 0) & (answer <= 1)).all():
            raise ContractError(
                f"answers go from {np.min(answer):g} to {np.max(answer):g}; they lie "
                "in [0, 1]"
            )


def _require_same(one: Images, other: Images, reason: str) -> None:
    if not all(map(np.array_equal, one, other)):
        raise ContractError(reason)
