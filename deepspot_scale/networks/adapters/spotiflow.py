"""Models of the library Spotiflow: a folder and an image in, points out.

The image is scaled already; the library's own tiles are not used. Nothing is
downloaded, and nothing is imported before the first image. Nothing here knows blocks.
Source: https://github.com/weigertlab/spotiflow, BSD-3.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError, WeightsError

_CONFIG: Final = "config.yaml"
_WEIGHTS: Final = "best.pt"
_THRESHOLDS: Final = "thresholds.yaml"
_HEAD: Final = 16
"""Pixels that the last layers, the flow and the search for maxima add."""
_BACKGROUND: Final = 25
"""Pixels that its filter of the background reaches, where a model has it."""


class SpotiflowShape(NamedTuple):
    """What a model's configuration says of its layers."""

    grid: int
    """Stride in pixels."""
    reach: int
    """Pixels around one that decide about it, and a stride to align them; a multiple of
    the stride."""


def model_files(folder: str) -> tuple[str, ...]:
    """Return what is read of a model; SettingsError if the folder holds none."""
    place = Path(folder).absolute()
    lacking = [name for name in (_CONFIG, _WEIGHTS) if not (place / name).is_file()]
    if lacking:
        raise SettingsError(
            f"{folder!r} has no {lacking[0]}, so it is no Spotiflow model; give the "
            "folder that Spotiflow wrote: spotiflow:model=FOLDER. Published models are "
            "not downloaded"
        )
    names = (_CONFIG, _WEIGHTS, _THRESHOLDS)
    return tuple(str(place / name) for name in names if (place / name).is_file())


def read_shape(folder: str) -> SpotiflowShape:
    """Return stride and reach of a model by its configuration.

    Raises
    ------
    SettingsError
        The folder holds no model, or one of several channels or of volumes.
    """
    model_files(folder)
    text = (Path(folder) / _CONFIG).read_text("utf-8")
    values: dict[str, Any] = import_module("yaml").safe_load(text)
    if values.get("is_3d") or values.get("in_channels") != 1:
        raise SettingsError(
            f"{folder!r} is a Spotiflow model of volumes or of several channels; "
            "expected one of planes of one channel"
        )
    levels, convolutions = int(values["levels"]), int(values["n_convs_per_level"])
    factors = {int(f) for pair in values["downsample_factors"] for f in pair}
    if len(factors) != 1:
        raise SettingsError(
            f"{folder!r} reduces images by different factors, {sorted(factors)}; "
            "expected one factor at every level"
        )
    factor = factors.pop()
    half = max(int(k) for pair in values["kernel_sizes"] for k in pair) // 2
    pixels = [factor**level for level in range(levels)]
    grid = factor**levels
    reach = half * convolutions * (2 * sum(pixels) + grid) + 2 * grid + _HEAD
    if values.get("background_remover"):
        reach += _BACKGROUND
    return SpotiflowShape(grid, -(-reach // grid) * grid)


def find_points(
    folder: str, image: NDArray[np.float32], *, threshold: float | None, distance: int
) -> NDArray[np.float64]:
    """Return the (n, 2) points of a scaled image (y, x), between pixels.

    Parameters
    ----------
    folder
        The model's.
    image
        Scaled by the percentiles that the library takes.
    threshold
        Least probability; None: that of the model.
    distance
        Least distance of two points in pixels.
    """
    points, _ = _load(folder).predict(
        image,
        prob_thresh=threshold,
        min_distance=distance,
        n_tiles=(1, 1),
        normalizer=None,
        verbose=False,
    )
    return np.asarray(points, np.float64).reshape(-1, 2)


@lru_cache(maxsize=2)
def _load(folder: str) -> Any:
    """Return the model, loaded once in a process."""
    try:
        library = import_module("spotiflow.model")
    except (ImportError, RuntimeError) as error:  # torchvision of another torch
        raise SettingsError(
            f"the detector spotiflow needs spotiflow, which cannot be imported: "
            f"{error}. Run: pip install spotiflow"
        ) from error
    try:
        return library.Spotiflow.from_folder(folder, map_location="cpu")
    except (OSError, KeyError, RuntimeError) as error:
        raise WeightsError(
            f"the Spotiflow model {folder!r} is damaged: {error}"
        ) from error
