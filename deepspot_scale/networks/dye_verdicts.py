"""Dyes of single molecules by a trained network: windows in, dyes out.

Any engine runs the network. Nothing here knows movies, tables or training.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.dye_likelihood import Verdicts
from deepspot_scale.kernels.dye_windows import scale_windows
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine, predict_images
from deepspot_scale.networks.families import DYE_CLASSIFIER
from deepspot_scale.networks.weights import find_weights

DYE_MODEL = "dyes-580-670"
"""The shipped network of dyes."""


def classify_by_network(
    windows: NDArray[np.floating[Any]],
    choice: EngineChoice = EngineChoice(DYE_MODEL, precision="float32"),
) -> Verdicts:
    """Return the dye of each molecule as a network sees it.

    Windows are (n, 11, 11) in any counts. One that has a value that is not finite is
    given no dye.

    Raises
    ------
    SettingsError
        The model tells no dyes apart, or windows are of another size.
    """
    family = find_weights(choice.model).family
    if family is not DYE_CLASSIFIER:
        raise SettingsError(
            f"the model {choice.model} is of the family {family.name}, which tells no "
            f"dyes apart: expected one of {DYE_CLASSIFIER.name}, such as {DYE_MODEL}"
        )
    if windows.shape[1:] != (family.grid, family.grid):
        raise SettingsError(
            f"expected windows of {family.grid} x {family.grid} pixels, got "
            f"{windows.shape}"
        )
    dye = np.full(len(windows), -1)
    probability = np.full(len(windows), np.nan)
    known = np.isfinite(windows).all(axis=(1, 2))
    if known.any():
        scaled = scale_windows(windows[known])[..., None]
        answers = predict_images(get_engine(choice), list(scaled))
        chances = np.stack(answers)[:, 0, 0].astype(np.float64)
        dye[known], probability[known] = chances.argmax(1), chances.max(1)
    return Verdicts(dye, probability)
