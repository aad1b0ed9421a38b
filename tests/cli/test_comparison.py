"""The command compare, as the site gives it: a page, tables, and exit codes."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

PAGE = Path(__file__).parents[2] / "docs/detectors.md"


def test_the_command_of_the_site_compares_and_prints_the_page(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    command: Callable[..., Any],
) -> None:
    lines = PAGE.read_text("utf-8").splitlines()
    (line,) = (each for each in lines if each.startswith("deepspot-scale compare"))
    words = shlex.split(line)[1:]
    paths = ("B/03/0", "B/03/1")
    write_plate(tmp_path / "PLATE.zarr", {p: draw_scene(1) for p in paths})
    for chunk in Path(tmp_path, "PLATE.zarr", paths[1], "0", "c").rglob("*"):
        if chunk.is_file():
            chunk.write_bytes(b"damaged")
    monkeypatch.chdir(tmp_path)
    ended = command(*words, "--workers", "1", "--radius", "2")
    assert ended.code == 3  # one field failed
    assert ended.out.strip() == "COMPARED/compared.html"
    assert "default and skimage-log:threshold=0.1: F1 " in ended.err
    assert "left_out.csv" in ended.err
    assert set(pd.read_csv("COMPARED/fields.csv")["field"]) == {0}
    refused = command(*words[: words.index("--detector") + 2])
    assert refused.code == 2
    assert "two detectors or more" in refused.err
