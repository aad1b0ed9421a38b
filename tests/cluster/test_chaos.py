"""The chaos benchmark in small: processes are killed, and nothing shows."""

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
    monkeypatch.setitem(module.PACES, "PACED_INFER", "0.3")
    return module


@pytest.mark.cluster
def test_kills_leave_the_tables_of_a_quiet_run(chaos: Any, tmp_path: Path) -> None:
    row = chaos.play(tmp_path, 42, 6, seed=1, mean=0.5)
    # So small a run may be over before its last kill is due.
    assert row["kills"] >= 3, row
    assert chaos.passed(row, row["kills"]), row
    assert row["executed"] > 42
