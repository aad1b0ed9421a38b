"""A small plate and what a whole run on it comes to."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PATHS = ("B/03/0", "B/03/1", "C/04/0")


@pytest.fixture(scope="session")
def pristine(
    tmp_path_factory: pytest.TempPathFactory,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
) -> str:
    """Three fields, drawn from the seeds 0 to 2; never changed."""
    scenes = {path: draw_scene(seed) for seed, path in enumerate(PATHS)}
    return write_plate(tmp_path_factory.mktemp("screen") / "plate.zarr", scenes)


@pytest.fixture
def plate(pristine: str, tmp_path: Path) -> Path:
    """A copy of it that a test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "plate.zarr"))


@pytest.fixture(scope="session")
def complete(
    pristine: str,
    tmp_path_factory: pytest.TempPathFactory,
    run_quickly: Callable[..., Any],
) -> Any:
    """What one uninterrupted run on the plate comes to."""
    return run_quickly(pristine, tmp_path_factory.mktemp("complete") / "run")
