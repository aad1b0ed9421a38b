"""The verb *measure quality*: how saturated, empty and sharp a plane is.

Images come in, one row a plane goes out. Built on dask-image, so that a lazy image is
read piece by piece. Nothing here decides what is good enough.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from deepspot_scale.blockwise.identity import (
    PlaneIdentity,
    gather_tables,
    identify,
    plane_identity,
)
from deepspot_scale.blockwise.lifting import check_image, is_lazy, iter_planes
from deepspot_scale.vocabulary import QUALITY


def measure_quality(image: xr.DataArray) -> Any:
    """Measure saturation, emptiness and focus of each plane.

    Focus is the variance of the image's Laplacian over the square of its mean
    (Pertuz et al. 2013, https://doi.org/10.1016/j.patcog.2012.11.011): compare it
    between fields of one screen, since it has no absolute meaning.

    Parameters
    ----------
    image
        Raw counts with dimensions y and x; leading dimensions are mapped over.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The columns `vocabulary.QUALITY`; lazy when `image` is.
    """
    from dask.delayed import delayed

    image = check_image(image)
    rows = []
    for index, plane in iter_planes(image):
        values = delayed(_together, pure=False)(*_measures(plane))
        answer = values if is_lazy(image) else values.compute(scheduler="synchronous")
        rows.append((answer, plane_identity(image, index)))
    return gather_tables(rows, _row, QUALITY)


def _measures(plane: xr.DataArray) -> list[Any]:
    """Return lazy values: saturated and zero share, mean, Laplacian's variance."""
    import dask.array as da
    from dask_image.ndfilters import laplace

    pixels = plane.data if is_lazy(plane) else da.from_array(plane.data)
    limit = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "ui" else pixels.max()
    bumps = laplace(pixels.astype(np.float64))
    return [(pixels == limit).mean(), (pixels == 0).mean(), pixels.mean(), bumps.var()]


def _together(*values: float) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _row(values: tuple[float, ...], plane: PlaneIdentity) -> pd.DataFrame:
    saturated, zero, mean, bumps = values
    focus = bumps / mean**2 if mean > 0 else np.nan
    row = {"saturated": saturated, "zero": zero, "mean": mean, "focus": focus}
    return identify(pd.DataFrame([row]), plane, QUALITY)
