"""The chaos benchmark in small: every kind of process is killed, and nothing shows."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def chaos(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The benchmark, as a module."""
    place = Path(__file__).parents[2] / "benchmarks/chaos.py"
    spec = importlib.util.spec_from_file_location("chaos", place)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "chaos", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "WORKERS", 2)
    monkeypatch.setitem(module.PACES, "PACED_INFER", "0.2")
    return module


@pytest.mark.cluster
def test_kills_of_every_kind_leave_the_tables_of_a_quiet_run(
    chaos: Any, tmp_path: Path
) -> None:
    row = chaos.play(tmp_path, 24, 6, seed=1, mean=0.5)
    assert chaos.passed(row, 6), row
    assert set(row["killed"]) == {"worker", "nanny", "client", "scheduler"}
    assert row["executed"] > 24
