"""The verb *detect*: images in, tables of spots out.

A detector is found by its name, given as many pixels as it reads around each block,
and run over every plane. Nothing here knows how spots are found, networks or plates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK, plan_blocks
from deepspot_scale.blockwise.identity import (
    PlaneIdentity,
    gather_tables,
    identify,
    plane_identity,
)
from deepspot_scale.blockwise.lifting import check_image, iter_planes, reduce_plane
from deepspot_scale.blockwise.rounds import BlockContext, Pixels, PlaneAnswers, Step
from deepspot_scale.blockwise.spots import Detector, require_detector
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.binning import binning_for
from deepspot_scale.plugins import DETECTORS, load_plugin
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.detection.wavelet import PRESETS, WaveletDetector
from deepspot_scale.vocabulary import SPOTS


def find_detector(
    method: str | Detector, *, floor: float | None = None, faint: float | None = None
) -> Detector:
    """Return a detector by the name of its preset or plug-in, or as it is.

    Parameters
    ----------
    method
        Name or detector.
    floor, faint
        Instead of its own, see `Settings`.

    Raises
    ------
    SettingsError
        No preset or plug-in of that name, an object that is no detector, or numbers
        for one that has none.
    """
    detector: Detector
    if not isinstance(method, str):
        detector = require_detector(method)
    elif method in PRESETS:
        detector = PRESETS[method]
    else:
        detector = require_detector(load_plugin(method, DETECTORS, known=PRESETS))
    if floor is None and faint is None:
        return detector
    if not isinstance(detector, WaveletDetector):
        raise SettingsError(
            "floor and faint are numbers of the built-in detectors; one of your own "
            "has its own"
        )
    return detector.adjusted(floor=floor, least_share=faint)


def read_pixels(margin: int) -> Step:
    """Return the step ``pixels`` of an image that needs no enhancement."""
    return Step("pixels", _ReadPixels("image", margin))


@dataclass(frozen=True)
class _ReadPixels:
    name: str
    margin: int

    def __call__(self, here: BlockContext, _: PlaneAnswers) -> Pixels:
        box = here.block.core.grow(self.margin, here.shape)
        pixels = here.read(self.name, box)
        if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
            raise FieldError(
                "the image to detect on has pixels that are NaN or infinite; replace "
                "them first"
            )
        return Pixels(box, pixels)


def detect(  # noqa: PLR0913 - what, how, and with which numbers
    image: xr.DataArray,
    raw: xr.DataArray | None = None,
    *,
    method: str | Detector = "enhanced",
    block: int = DEFAULT_BLOCK,
    floor: float | None = None,
    faint: float | None = None,
    spot_sigma: float | None = None,
) -> Any:
    """Find every spot.

    Parameters
    ----------
    image
        Enhanced image in [0, 1], or a raw one for ``method="raw"``; dimensions y and
        x, leading dimensions are mapped over.
    raw
        Raw counts of the same shape, on which positions are refined and intensity
        and SNR measured; `image` itself when not given.
    method
        Preset (enhanced, paper, raw, product), plug-in, or a detector.
    block
        Largest edge of a block in pixels; the answer does not depend on it.
    floor
        Least certainty of a spot (its column ``enhanced``), 0 to 1; None: the
        detector's own.
    faint
        Least intensity of a spot as a share of the field's typical one, 0: none is
        too faint; None: the detector's own.
    spot_sigma
        Standard deviation of the spots in pixels, as given to `enhance`.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.SPOTS`; lazy, one partition a plane, when an image is.

    Raises
    ------
    FieldError
        Images of different shapes, raw counts where an enhanced image is expected,
        or pixels that are not finite (when computed).
    SettingsError
        No such method, a block too small for it, `raw` beside a method for raw
        images, or numbers out of range.
    """
    detector = find_detector(method, floor=floor, faint=faint)
    detector = detector.binned(binning_for(spot_sigma))
    if raw is not None and detector.on == "raw":
        # The range that is measured in raw counts would not be that of `image`.
        raise SettingsError(
            "this method works on raw counts alone; give them as the image, without raw"
        )
    image = check_image(image)
    if detector.on == "enhanced" and image.dtype.kind != "f":
        raise FieldError(
            f"this method expects an enhanced image in [0, 1], got {image.dtype}; "
            "enhance the image first, or detect with method='raw'"
        )
    raw = image if raw is None else check_image(raw, "raw image")
    if raw.shape != image.shape:
        raise FieldError(
            f"raw image has shape {raw.shape}, the image to detect on {image.shape}"
        )
    shape = (image.sizes["y"], image.sizes["x"])
    blocks = plan_blocks(shape, block=block, halo=detector.halo)
    survey, *others = detector.steps()
    pixels = Step("pixels", _ReadPixels("surveyed", detector.halo))
    rounds = (*Normalisation().steps(), (pixels, survey), *((s,) for s in others))
    tables = []
    for (index, plane), (_, counts) in zip(
        iter_planes(image), iter_planes(raw), strict=True
    ):
        images = {"image": counts, "surveyed": plane}
        answers = reduce_plane(rounds, images, blocks)
        tables.append((answers, plane_identity(image, index)))
    return gather_tables(tables, _spot_table, SPOTS)


def _spot_table(answers: PlaneAnswers, identity: PlaneIdentity) -> pd.DataFrame:
    return identify(answers["spots"].table, identity, SPOTS)
