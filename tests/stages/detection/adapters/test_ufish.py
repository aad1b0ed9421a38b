"""U-FISH in blocks: the spots that the library itself finds on the whole plane.

Library and weights are the real ones; the library runs the file by ONNX Runtime, we by
OpenVINO.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import xarray as xr

from deepspot_scale.errors import SettingsError
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.detection.adapters.ufish import UFishDetector
from deepspot_scale.verbs.images import detect

LACKING = [
    name
    for name in ("ufish", "onnxruntime", "loguru")
    if importlib.util.find_spec(name) is None
]
needs_library = pytest.mark.skipif(
    bool(LACKING), reason=f"{', '.join(LACKING)} not installed"
)


def draw_counts(seed: int, shape: tuple[int, int], n: int, least: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, np.array(shape) - 1, (n, 2))
    heights = rng.uniform(least, 250, n)
    light = 100 + render_spots(shape, places, heights, np.full(n, 1.3))
    return rng.poisson(light).astype(np.uint16)


@lru_cache
def _library() -> Any:
    from loguru import logger
    from ufish.api import UFish

    logger.disable("ufish")
    return UFish(cuda=False).load_weights()


def find_by_library(counts: np.ndarray) -> set[tuple[int, int]]:
    table, _ = _library().predict(counts, axes="yx")
    return {(int(y), int(x)) for y, x in table.to_numpy()}


def find_in_blocks(counts: np.ndarray, block: int) -> set[tuple[float, float]]:
    image = xr.DataArray(counts, dims=("y", "x"))
    table: Any = detect(image, method="ufish", block=block)
    return set(zip(table["y"], table["x"], strict=True))


@needs_library
@pytest.mark.parametrize(
    ("shape", "n", "least", "hot"),
    [((208, 260), 90, 40.0, 0), ((197, 183), 120, 5.0, 60000)],
    ids=["plain", "of an odd size, crowded, with a hot pixel"],
)
def test_spots_are_those_of_the_library_on_the_whole_plane(
    shape: tuple[int, int], n: int, least: float, hot: int
) -> None:
    counts = draw_counts(1, shape, n, least)
    if hot:
        counts[50, 50] = hot
    expected = find_by_library(counts)
    assert len(expected) > 60
    # No spot of these differs; in general one within 1e-5 of the threshold may.
    assert find_in_blocks(counts, 2560) == expected
    assert find_in_blocks(counts, 152) == expected


@needs_library
def test_the_librarys_own_chunks_give_other_spots_than_its_whole_plane() -> None:
    """Why it is not its chunks that a run goes by."""
    counts = draw_counts(2, (256, 256), 120, 5.0)
    table, _ = _library().predict_chunks(counts, axes="yx", chunk_size=(128, 128))
    chunks = {(int(y), int(x)) for y, x in table.to_numpy()}
    whole = find_by_library(counts)
    assert len(chunks ^ whole) > 0.05 * len(whole)
    assert find_in_blocks(counts, 152) == whole


def test_a_threshold_or_a_file_that_does_not_fit_is_refused(tmp_path: Any) -> None:
    with pytest.raises(SettingsError, match="threshold is above 0"):
        UFishDetector(threshold=0)
    with pytest.raises(SettingsError, match="there is no file"):
        _ = UFishDetector(weights=str(tmp_path / "none.onnx")).files
