"""evaluate-localisations calls what Python users call."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from deepspot_scale.evaluation.localisation_report import evaluate_localisations

USAGE = 2
Command = Callable[..., Any]
ROWS = "1,100,200\n1,900,200\n2,100,200\n"


def written(path: Path, rows: str = ROWS) -> Path:
    """Return a new CSV of molecules."""
    path.write_text(f'"frame","x [nm]","y [nm]"\n{rows}', "utf-8")
    return path


def test_command_and_function_write_the_same(command: Command, tmp_path: Path) -> None:
    true = written(tmp_path / "true.csv")
    found = written(tmp_path / "found.csv", "1,130,200\n2,400,200\n")
    words = ("--out", tmp_path / "one", "--tolerance", 50)
    ended = command("evaluate-localisations", found, true, *words)
    assert (ended.code, ended.out) == (0, f"{tmp_path / 'one' / 'report.md'}\n")
    result = evaluate_localisations(found, true)
    stored = pd.read_parquet(tmp_path / "one" / "sweep.parquet")
    pd.testing.assert_frame_equal(stored, result.sweep)
    assert "Jaccard 0.250" in (tmp_path / "one" / "report.md").read_text("utf-8")


def test_a_border_without_the_size_of_a_frame_is_bad_usage(
    command: Command, tmp_path: Path
) -> None:
    true = written(tmp_path / "true.csv")
    words = ("--out", tmp_path / "one", "--border", 50)
    ended = command("evaluate-localisations", true, true, *words)
    assert ended.code == USAGE
    assert "extent" in ended.err
    assert not (tmp_path / "one").exists()
