"""Models of the library StarDist as segmenters.

A folder with a model of one's own comes in, a `Segmenter` goes out. Nothing is
downloaded, and nothing is imported before the first image. Source: Schmidt et al. 2018,
doi:10.1007/978-3-030-00934-2_30.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.segmenters import Segmenter

REACH = 96
"""Pixels around an object that decide about it: StarDist's usual U-Net, of depth 3 on a
grid of 2, reaches 94, measured by its own impulse."""
_STRIDE = 16
"""Of that network: tiles begin on multiples of it, or pooling falls elsewhere."""
_CONFIG = "config.json"
_READ = (".json", ".h5", ".hdf5")


@dataclass(frozen=True)
class StarDistModel:
    """A function from image to labels; the model is loaded at the first image."""

    folder: str
    """Has config.json and weights, as StarDist writes them."""

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Return the labels (y, x) of an image (y, x), scaled by percentiles."""
        labels, _ = _load(self.folder).predict_instances(image)
        return np.asarray(labels)


def stardist_segmenter(
    folder: str | Path, *, largest: int, reach: int = REACH, tile: int = 1024
) -> Segmenter:
    """Return a StarDist model as a segmenter.

    Parameters
    ----------
    folder
        The model's: config.json, thresholds.json and weights.
    largest
        Longest side of an object's box in pixels.
    reach
        Pixels around an object that decide about it; the default is that of StarDist's
        usual configuration.
    tile
        Edge of a tile in pixels, rounded up to a multiple of 16.

    Raises
    ------
    SettingsError
        The folder has no model.

    Examples
    --------
    In a module ``own_nuclei.py``, for ``run --segment nuclei:own_nuclei:find@DAPI``::

        find = stardist_segmenter("MODELS/nuclei", largest=60)
    """
    place = Path(folder).absolute()
    if not (place / _CONFIG).is_file():
        raise SettingsError(
            f"{str(folder)!r} has no {_CONFIG}, so it is no StarDist model; give the "
            "folder that StarDist wrote, published models are not downloaded"
        )
    halo = _up(largest + reach)
    return Segmenter(
        StarDistModel(str(place)),
        largest,
        reach=halo - largest,
        tile=_up(tile),
        files=_files(place),
    )


def _files(place: Path) -> tuple[str, ...]:
    """Return what StarDist reads of a model: settings, thresholds and weights."""
    read = (file for file in place.iterdir() if file.suffix in _READ)
    return tuple(sorted(map(str, read)))


def _up(pixels: int) -> int:
    return -(-pixels // _STRIDE) * _STRIDE


@lru_cache(maxsize=2)
def _load(folder: str) -> Any:
    """Return the model, loaded once in a process."""
    try:
        library = import_module("stardist.models")
    except ImportError as error:
        raise SettingsError(
            f"this segmenter needs stardist, which cannot be imported: {error}. Run: "
            "pip install stardist tensorflow"
        ) from error
    place = Path(folder)
    # It prints what it loads.
    with contextlib.redirect_stdout(io.StringIO()):
        model = library.StarDist2D(None, name=place.name, basedir=str(place.parent))
    if model.config.n_channel_in != 1 or model.config.n_dim != 2:
        raise SettingsError(
            f"{folder!r} is a model of {model.config.n_channel_in} channels and "
            f"{model.config.n_dim} axes; expected one channel, and y and x"
        )
    return model
