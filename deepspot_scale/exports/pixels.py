"""A field's image and labels as the run saw them, lazily: planes projected alike.

A run and a field come in; Dask-backed DataArrays go out, whose axes t and z are there
only where the run kept several. No pixel is read here.
"""

from __future__ import annotations

from typing import Literal

import xarray as xr

from deepspot_scale.io.field import Field

Projection = Literal["max", "mean", "none"]


def lazy_image(field: Field, project: Projection) -> xr.DataArray:
    """Return the image, axes c, then those of t and z that are kept, y, x.

    Parameters
    ----------
    field
        An open field.
    project
        How the planes of a stack become one; none: they are kept.
    """
    image = field.to_datasets()["/"]["image"]
    if "c" not in image.dims:
        image = image.expand_dims("c")
    return _fold(image, project).transpose("c", ...)


def lazy_labels(field: Field, name: str, like: xr.DataArray) -> xr.DataArray:
    """Return labels with the axes of `like` but c.

    Parameters
    ----------
    field
        An open field.
    name
        Of the label image.
    like
        From `lazy_image`. Labels that lack an axis of it hold along all of it.
    """
    labels = field.to_datasets()[f"labels/{name}"]["labels"]
    labels = _fold(labels, "none" if "z" in like.dims else "max")
    lacking = {
        str(axis): like.sizes[axis]
        for axis in like.dims
        if axis != "c" and axis not in labels.dims
    }
    axes = [axis for axis in like.dims if axis != "c"]
    return labels.expand_dims(lacking).transpose(*axes)


def _fold(image: xr.DataArray, project: Projection) -> xr.DataArray:
    """Drop t of size 1, and z of size 1 or by projection."""
    for axis in "tz":
        if axis in image.dims and image.sizes[axis] == 1:
            image = image.isel({axis: 0}, drop=True)
    if "z" not in image.dims or project == "none":
        return image
    return image.max("z") if project == "max" else image.mean("z")
