"""The rate of a machine is measured once and kept; damage only costs a measurement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.machine_speed import kept_rate, measure_rate


class Idle:
    name = "idle"
    pixels_per_call = 1

    def __init__(self, choice: EngineChoice) -> None:
        self.choice = choice

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return batch


CHOICE = EngineChoice(engine=f"{__name__}:Idle")


def test_a_rate_is_kept_once_it_was_measured(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    assert kept_rate(CHOICE, folder) is None
    rate = measure_rate(CHOICE, folder)
    assert kept_rate(CHOICE, folder) == round(rate)
    assert kept_rate(EngineChoice(engine=CHOICE.engine, threads=3), folder) is None
    assert [path.name for path in folder.iterdir()] == ["rates.json"]


def test_damaged_rates_are_measured_anew(tmp_path: Path) -> None:
    for damage in ("{", "[1]", '{"a": null}'):
        (tmp_path / "rates.json").write_text(damage)
        assert kept_rate(CHOICE, tmp_path) is None
        measure_rate(CHOICE, tmp_path)
        assert kept_rate(CHOICE, tmp_path)
