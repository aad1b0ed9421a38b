"""Models of the library InstanSeg as segmenters.

A TorchScript file comes in, a `Segmenter` goes out. Nothing is downloaded, and nothing
is imported before the first image. Source: Goldsborough et al. 2024,
doi:10.48550/arXiv.2408.15954.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.segmenters import Segmenter

REACH_UM = 48.0
"""Micrometres around an object that decide about it: InstanSeg's usual U-Net reaches 95
pixels, measured by its own impulse, of usually 0.5 micrometres."""
_WINDOW = 32
"""Pixels of the model on each side of an object's centre in which it looks for the
object's, by its own default."""

Target = Literal["nuclei", "cells"]


@dataclass(frozen=True)
class InstanSegModel:
    """A function from image to labels; the model is loaded at the first image."""

    file: str
    """TorchScript."""
    pixel_um: float
    """Of the image, micrometres."""
    largest: int
    """Longest side of an object's box in pixels of the image."""
    target: Target | None
    """Which of two kinds; None: a model of one kind."""

    def __call__(self, image: NDArray[np.float32]) -> NDArray[Any]:
        """Return the labels (y, x) of an image (y, x), scaled by percentiles."""
        model = _load(self.file)
        scale = self.pixel_um / _check_model(model.instanseg, self)
        window = max(_WINDOW, math.ceil(self.largest * scale))
        # Objects' windows reach round to the other side of images that are smaller.
        least = math.ceil((2 * window + 1) / scale)
        missing = [(0, max(0, least - side)) for side in image.shape]
        labels = model.eval_small_image(
            np.pad(image, missing)[None],
            pixel_size=self.pixel_um,
            normalise=False,  # the plane is scaled as a whole, not each tile
            return_image_tensor=False,
            target=self.target or "all_outputs",
            window_size=window,
        )
        height, width = image.shape
        found: NDArray[Any] = labels[0, 0, :height, :width].cpu().numpy()
        return found.astype(np.int64)


def instanseg_segmenter(
    model: str | Path,
    *,
    largest: int,
    pixel_um: float,
    target: Target | None = None,
    reach: int | None = None,
    tile: int = 1024,
) -> Segmenter:
    """Return an InstanSeg model as a segmenter.

    Parameters
    ----------
    model
        TorchScript file (``instanseg.pt``), which is code as well: take it only from
        whom you trust.
    largest
        Longest side of an object's box in pixels.
    pixel_um
        Size of the images' pixels in micrometres: a model works at one size, to which
        images are brought.
    target
        Which of them, where the model finds nuclei and cells.
    reach
        Pixels around an object that decide about it; None: 48 micrometres, for
        InstanSeg's usual network. Where a network has instance normalisation, the whole
        tile decides a little; `deepspot_scale.testing.check_segmenter` says how much.
    tile
        Edge of a tile in pixels.

    Raises
    ------
    SettingsError
        There is no such file, or a pixel's size is not above 0.

    Examples
    --------
    In a module ``own_nuclei.py``, for ``run --segment nuclei:own_nuclei:find@DAPI``::

        find = instanseg_segmenter("MODELS/instanseg.pt", largest=60, pixel_um=0.32)
    """
    place = Path(model).absolute()
    if not place.is_file():
        raise SettingsError(
            f"there is no file {str(model)!r}. Give the TorchScript file of an "
            "InstanSeg model, not its name: published models are not downloaded"
        )
    if not 0 < pixel_um < math.inf:
        raise SettingsError(f"expected pixels above 0 micrometres, got {pixel_um}")
    if reach is None:
        reach = math.ceil(REACH_UM / pixel_um)
    function = InstanSegModel(str(place), pixel_um, largest, target)
    return Segmenter(function, largest, reach, tile, files=(str(place),))


def _check_model(model: Any, asked: InstanSegModel) -> float:
    """Return the size of the model's pixels, if it can give what is asked for."""
    both = bool(model.cells_and_nuclei)
    if both and asked.target is None:
        raise SettingsError(
            f"{asked.file!r} finds nuclei and cells: say target='nuclei' or "
            "target='cells'"
        )
    if asked.target is not None and not both:
        raise SettingsError(
            f"{asked.file!r} finds objects of one kind, and does not say which: leave "
            f"target={asked.target!r} out, if they are {asked.target}"
        )
    pixel_um = float(model.pixel_size)
    if not 0 < pixel_um < math.inf:
        raise SettingsError(
            f"{asked.file!r} does not say at which size of a pixel it works "
            f"({pixel_um}); export it again with its pixel_size"
        )
    return pixel_um


@lru_cache(maxsize=2)
def _load(file: str) -> Any:
    """Return the library's own runner of the model, loaded once in a process."""
    try:
        library = import_module("instanseg")
        torch = import_module("torch")
    except ImportError as error:
        raise SettingsError(
            f"this segmenter needs instanseg-torch, which cannot be imported: {error}. "
            "Run: pip install instanseg-torch"
        ) from error
    return library.InstanSeg(torch.jit.load(file, map_location="cpu"), verbosity=0)
