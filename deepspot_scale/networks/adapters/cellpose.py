"""Models of the library Cellpose, version 4, as segmenters.

A file of weights of one's own comes in, a `Segmenter` goes out. Nothing is downloaded,
and nothing is imported before the first image. Source: Stringer et al. 2021,
doi:10.1038/s41592-020-01018-x; of version 4: Pachitariu et al. 2025,
doi:10.1101/2025.04.28.651001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.segmenters import Segmenter

_WINDOW = 256
"""Edge of the window that the network sees at once, all of which decides about each of
its pixels; in pixels of an image where objects span 30."""
_SPAN = 30.0
"""Diameter of objects in pixels to which Cellpose brings an image."""


@dataclass(frozen=True)
class CellposeWeights:
    """A function from image to labels; the model is loaded at the first image."""

    file: str
    diameter: float | None
    """Of objects in pixels; None: the image is not resized."""

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Return the labels (y, x) of an image (y, x), scaled by percentiles."""
        labels, _, _ = _load(self.file).eval(
            image,
            diameter=self.diameter,
            normalize=False,  # the plane is scaled as a whole, not each tile
            max_size_fraction=1.0,  # a share of the tile, which says nothing of objects
        )
        return np.reshape(labels, image.shape)


def cellpose_segmenter(
    model: str | Path,
    *,
    largest: int,
    diameter: float | None = None,
    reach: int | None = None,
    tile: int = 2048,
) -> Segmenter:
    """Return a model of Cellpose 4 as a segmenter.

    The network sees windows, which the library lays over the image that it is given,
    so that the same object in another tile may differ in some pixels, or be missed, and
    `deepspot_scale.testing.check_segmenter` may say so. Tiles are fixed to the plane:
    blocks, workers and repeated runs give the same objects all the same. A graphics
    card is used where there is one.

    Parameters
    ----------
    model
        File of weights, as Cellpose 4 saves it.
    largest
        Longest side of an object's box in pixels.
    diameter
        Of usual objects in pixels: the image is resized so that it is 30; None: the
        image is taken as it is.
    reach
        Pixels around an object that decide about it; None: the network's window, 256
        pixels of the resized image.
    tile
        Edge of a tile in pixels.

    Raises
    ------
    SettingsError
        There is no such file, or the diameter is not above 0.

    Examples
    --------
    In a module ``own_cells.py``, for ``run --segment cells:own_cells:find@FISH``::

        find = cellpose_segmenter("MODELS/cpsam", largest=150, diameter=80)
    """
    file = str(Path(model).absolute())
    _check_file(file)
    if diameter is not None and not diameter > 0:
        raise SettingsError(f"expected a diameter above 0 px, got {diameter}")
    if reach is None:
        reach = math.ceil(_WINDOW * (diameter or _SPAN) / _SPAN)
    return Segmenter(
        CellposeWeights(file, diameter), largest, reach, tile, files=(file,)
    )


def _check_file(file: str) -> None:
    """Check that there is one; the library would download another one in its place."""
    if not Path(file).is_file():
        raise SettingsError(
            f"there is no file {file!r}. Give the file of a Cellpose model, not its "
            "name: published models are not downloaded"
        )


@lru_cache(maxsize=2)
def _load(file: str) -> Any:
    """Return the model, loaded once in a process."""
    try:
        library = import_module("cellpose.models")
        torch = import_module("torch")
    except ImportError as error:
        raise SettingsError(
            f"this segmenter needs cellpose, which cannot be imported: {error}. Run: "
            "pip install 'cellpose>=4'"
        ) from error
    _check_file(file)
    model = library.CellposeModel(gpu=True, pretrained_model=file)
    # The library leaves at random what the file lacks.
    stored = torch.load(file, map_location="cpu", mmap=True, weights_only=True)
    known = {name.removeprefix("module.") for name in stored}
    needed = (n for n in model.net.state_dict() if not n.startswith("diam_"))
    lacks = [name for name in needed if name not in known]
    if lacks:
        raise SettingsError(
            f"{file!r} is no whole Cellpose model: it lacks {len(lacks)} of the "
            f"network's arrays, such as {lacks[0]}"
        )
    return model
