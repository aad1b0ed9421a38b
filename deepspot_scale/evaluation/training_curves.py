"""The training of a model, as its log shows it: a weights file in, a verdict out.

The log is `log.csv` beside the weights, as `train` writes it. The sign of over-fitting
is a rule, not a test: the network goes on to learn its own images while it gets worse
on those that it does not learn from. Nothing here draws or knows networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pandas as pd

from deepspot_scale.io.tables import Folder
from deepspot_scale.training.log import NAME, read_log

_SMOOTHED: Final = 3
"""Validations that are averaged."""
_FEWEST: Final = 6
"""Fewest validations with a verdict: two averages that share none."""
GIVEN_BACK: Final = 0.1
"""Share of what validation had gained that may be lost again by chance."""
RULE: Final = (
    "Over-fitting is suspected where the validation loss (mean of "
    f"{_SMOOTHED} validations) rises again by more than {GIVEN_BACK:.0%} of what it "
    "had fallen, while the loss of the batches goes on falling."
)

Sign = Literal["over-fitting", "none", "unknown"]


@dataclass(frozen=True)
class TrainingCurves:
    """What the log of a training says."""

    rows: pd.DataFrame
    """step, learning (mean loss of the batches since the last row), validation; one
    row for each validation."""
    sign: Sign
    """Whether the training shows over-fitting."""
    words: str
    """Why, in a sentence."""


def read_curves(weights: Path) -> TrainingCurves | None:
    """Return the curves of the training that made a weights file; None: no log."""
    if not (weights.parent / NAME).is_file():
        return None
    log = read_log(Folder(str(weights.parent)))
    return judge_curves(
        pd.DataFrame(
            {
                "step": [row.step for row in log],
                "loss": [row.loss for row in log],
                "validation": [
                    np.nan if row.validation is None else row.validation for row in log
                ],
            }
        )
    )


def judge_curves(log: pd.DataFrame) -> TrainingCurves:
    """Return the curves of a log with the columns step, loss and validation.

    The validation is NaN at steps without one.
    """
    known = log["validation"].notna()
    # Rows up to a validation belong to it; those after the last one to none.
    part = known.shift(fill_value=False).cumsum()
    rows = pd.DataFrame(
        {
            "step": log.loc[known, "step"].to_numpy(),
            "learning": log.groupby(part)["loss"].mean().to_numpy()[: int(known.sum())],
            "validation": log.loc[known, "validation"].to_numpy(),
        }
    )
    if len(rows) < _FEWEST:
        words = f"There are {len(rows)} validations; a verdict needs {_FEWEST} or more."
        return TrainingCurves(rows, "unknown", words)
    return TrainingCurves(rows, *_judge(rows))


def _judge(rows: pd.DataFrame) -> tuple[Sign, str]:
    smooth = rows.rolling(_SMOOTHED).mean().dropna()
    validation, learning = smooth["validation"], smooth["learning"]
    best = int(validation.to_numpy().argmin())
    gained = float(validation.iloc[0] - validation.iloc[best])
    lost = float(validation.iloc[-1] - validation.iloc[best])
    falls_on = float(learning.iloc[-1]) < float(learning.iloc[best])
    step = int(rows["step"].iloc[best + _SMOOTHED // 2])
    if gained <= 0:
        return "unknown", (
            "The validation loss never fell below that of the first validations."
        )
    if lost > GIVEN_BACK * gained and falls_on:
        return "over-fitting", (
            f"The validation loss was lowest at about step {step} and has since risen "
            f"by {lost / gained:.0%} of what it had fallen, while the loss of the "
            "batches went on falling."
        )
    return "none", (
        f"The validation loss was lowest at about step {step} of "
        f"{int(rows['step'].iloc[-1])} and ended {lost / gained:.0%} of its fall "
        "above that."
    )
