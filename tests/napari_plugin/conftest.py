"""A plate whose spots are of every brightness, so that numbers decide about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.simulation import render_spots

PATHS = ("B/03/0", "B/03/1")


def _draw_varied(draw_scene: Callable[..., Any], seed: int) -> Any:
    """Return a scene of sixty spots, the faintest a tenth of the brightest."""
    scene, n = draw_scene(seed, n=60), 60
    shape = scene.image.shape[1:]
    light = render_spots(shape, scene.points, np.geomspace(30, 300, n), np.full(n, 1.3))
    fish = np.random.default_rng(seed).poisson(100 + light)
    return replace(scene, image=np.stack([scene.image[0], fish]).astype(np.uint16))


@pytest.fixture(scope="session")
def draw_varied(draw_scene: Callable[..., Any]) -> Callable[[int], Any]:
    """Draw such a field from a seed."""
    return lambda seed: _draw_varied(draw_scene, seed)


@pytest.fixture(scope="session")
def plate(
    tmp_path_factory: pytest.TempPathFactory,
    draw_varied: Callable[[int], Any],
    write_plate: Callable[..., str],
) -> Path:
    """Two such fields with cells and nuclei."""
    scenes = {path: draw_varied(seed) for seed, path in enumerate(PATHS)}
    target = tmp_path_factory.mktemp("tuned") / "plate.zarr"
    write_plate(target, scenes)
    return target


@pytest.fixture(scope="session")
def run(plate: Path, run_quickly: Callable[..., Any]) -> Path:
    """A run on it, beside it, that kept its enhanced images; never changed."""
    folder = plate.parent / "run"
    given = {"enhance": True, "model": "deepspot-fast", "keep_enhanced": True}
    run_quickly(str(plate), folder, **given)
    return folder
