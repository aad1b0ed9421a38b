"""Over-fitting is seen where it is, by a rule that is stated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.evaluation.training_curves import judge_curves, read_curves
from deepspot_scale.io.tables import Folder
from deepspot_scale.training.log import Row, append_row, begin_log

EVERY = 10


def _log(validation: np.ndarray, learning: np.ndarray | None = None) -> pd.DataFrame:
    """Return a log with a validation at every tenth step."""
    steps = np.arange(1, EVERY * len(validation) + 1)
    tried = np.full(len(steps), np.nan)
    tried[EVERY - 1 :: EVERY] = validation
    fall = np.exp(-np.arange(len(validation)) / 8) if learning is None else learning
    return pd.DataFrame(
        {"step": steps, "loss": np.repeat(fall, EVERY), "validation": tried}
    )


FALL = np.exp(-np.arange(30) / 5)
RISE = np.where(np.arange(30) < 12, FALL, FALL[12] + 0.02 * (np.arange(30) - 12))


def test_a_loss_that_falls_to_its_end_is_no_over_fitting() -> None:
    curves = judge_curves(_log(FALL))
    assert curves.sign == "none"
    assert "step 290 of 300" in curves.words


def test_a_validation_that_rises_while_learning_falls_is_over_fitting() -> None:
    curves = judge_curves(_log(RISE))
    assert curves.sign == "over-fitting"
    assert "lowest at about step 130" in curves.words


def test_a_rise_of_both_is_a_training_that_went_wrong_not_over_fitting() -> None:
    assert judge_curves(_log(RISE, RISE)).sign == "none"


def test_a_single_bad_validation_is_no_sign() -> None:
    once = FALL.copy()
    once[-1] += 0.2
    assert judge_curves(_log(once)).sign == "none"


def test_a_constant_on_all_losses_changes_nothing() -> None:
    for shift in (-5.0, 3.0):
        assert judge_curves(_log(RISE + shift)).sign == "over-fitting"


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_validations_give_no_verdict(n: int) -> None:
    curves = judge_curves(_log(RISE[:n]))
    assert curves.sign == "unknown"
    assert len(curves.rows) == n


def test_a_validation_that_never_falls_gives_no_verdict() -> None:
    assert judge_curves(_log(np.arange(10.0))).sign == "unknown"


def test_rows_hold_the_mean_loss_since_the_last_validation() -> None:
    log = _log(np.array([3.0, 2.0]), np.array([5.0, 4.0]))
    log.loc[0, "loss"] = 15.0
    rows = judge_curves(pd.concat([log, log.tail(3).assign(validation=np.nan)])).rows
    np.testing.assert_allclose(rows["learning"], [6.0, 4.0])
    np.testing.assert_allclose(rows["validation"], [3.0, 2.0])
    assert rows["step"].tolist() == [10, 20]


def test_the_log_beside_the_weights_is_read(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    begin_log(folder, 0)
    for step in range(1, 21):
        tried = 1 / step if step % 10 == 0 else None
        append_row(folder, Row(step, 2.0, tried, 1e-3, 1.0))
    curves = read_curves(tmp_path / "weights.safetensors")
    assert curves is not None
    np.testing.assert_allclose(curves.rows["validation"], [0.1, 0.05])
    assert read_curves(tmp_path / "other" / "weights.safetensors") is None
