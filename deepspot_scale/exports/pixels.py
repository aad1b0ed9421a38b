"""A field's image and labels as in the run: lazy, with the same projection.

A field and a projection come in; Dask-backed DataArrays go out, with axes t and z only
if the run kept several. No pixel is read here.
"""

from __future__ import annotations

from typing import Literal

import xarray as xr

from deepspot_scale.io.field import Field

Projection = Literal["max", "mean", "none"]


def lazy_image(field: Field, project: Projection) -> xr.DataArray:
    """Return the image with the axes c, t and z if kept, y, x.

    Planes of a stack are projected; none: they are kept.
    """
    image = field.to_datasets()["/"]["image"]
    if "c" not in image.dims:
        image = image.expand_dims("c")
    return _fold(image, project).transpose("c", ...)


def lazy_labels(field: Field, name: str, like: xr.DataArray) -> xr.DataArray:
    """Return labels with the axes of `like`, from `lazy_image`, except c.

    Labels are repeated along axes that they lack.
    """
    labels = folded_labels(field, name, like)
    axes = [str(axis) for axis in like.dims if axis != "c"]
    lacking = {axis: like.sizes[axis] for axis in axes if axis not in labels.dims}
    return labels.expand_dims(lacking).transpose(*axes)


def folded_labels(field: Field, name: str, like: xr.DataArray) -> xr.DataArray:
    """Return labels with those axes of `like` that they have; z as in `like`."""
    labels = field.to_datasets()[f"labels/{name}"]["labels"]
    return _fold(labels, "none" if "z" in like.dims else "max")


def _fold(image: xr.DataArray, project: Projection) -> xr.DataArray:
    """Drop t and z of size 1; project z if asked to."""
    for axis in "tz":
        if axis in image.dims and image.sizes[axis] == 1:
            image = image.isel({axis: 0}, drop=True)
    if "z" not in image.dims or project == "none":
        return image
    return (image.max if project == "max" else image.mean)("z", keep_attrs=True)
