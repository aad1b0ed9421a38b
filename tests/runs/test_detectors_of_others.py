"""A plate run with detectors of others: the spots that the libraries find themselves.

The libraries are the real ones; where one is not installed its test is skipped.
"""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deepspot_scale.runs.execute import run
from deepspot_scale.runs.results import open_run
from deepspot_scale.settings import make_settings

SHAPE = (203, 190)


def _bigfish(counts: np.ndarray) -> set[tuple[int, int]]:
    from bigfish.detection import detect_spots

    with warnings.catch_warnings():  # it takes the logarithm of 0
        warnings.simplefilter("ignore", RuntimeWarning)
        spots = detect_spots(counts, log_kernel_size=1.5, minimum_distance=1.5)
    return {(int(y), int(x)) for y, x in spots}


def _ufish(counts: np.ndarray) -> set[tuple[int, int]]:
    from loguru import logger
    from ufish.api import UFish

    logger.disable("ufish")
    table, _ = UFish(cuda=False).load_weights().predict(counts, axes="yx")
    return {(int(y), int(x)) for y, x in table.to_numpy()}


OTHERS: dict[str, tuple[Callable[[np.ndarray], Any], tuple[str, ...], int]] = {
    "bigfish": (_bigfish, ("bigfish",), 96),
    "ufish": (_ufish, ("ufish", "onnxruntime", "loguru"), 152),
}
"""What the library finds, what it needs, and the edge of blocks in pixels."""


@pytest.mark.parametrize("name", ["bigfish", "ufish"])
def test_a_run_finds_the_spots_of_the_library_on_the_field(
    tmp_path: Path,
    draw_scene: Callable[..., Any],
    write_plate: Callable[..., str],
    name: str,
) -> None:
    library, needs, block = OTHERS[name]
    lacking = [each for each in needs if importlib.util.find_spec(each) is None]
    if lacking:
        pytest.skip(f"{', '.join(lacking)} not installed")
    scene = draw_scene(3, SHAPE, n=70)
    plate = write_plate(tmp_path / "plate.zarr", {"B/03/0": scene})
    settings = make_settings(
        channels=["FISH"], cells="cells", detector=name, block=block
    )
    assert run(plate, str(tmp_path / "run"), settings).failed == 0
    done = open_run(str(tmp_path / "run"))
    spots = done.read("spots")
    expected = library(scene.image[1])
    assert len(expected) > 50
    assert set(zip(spots["y"], spots["x"], strict=True)) == expected
    assert (spots["cell"] > 0).mean() > 0.5
    files = [role for role in done.provenance if role.startswith("detector, ")]
    assert files
    assert "weights" not in done.provenance  # no network of ours
