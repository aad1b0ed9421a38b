"""The verb *segment*: labels of nuclei and cells of an image.

Nothing here knows plates or files.
"""

from __future__ import annotations

from typing import Any

import xarray as xr

from deepspot_scale.blockwise.answers import IMAGE, PIXEL_UM, channel_layer
from deepspot_scale.blockwise.contract import Answers, RunContext
from deepspot_scale.blockwise.geometry import DEFAULT_BLOCK
from deepspot_scale.blockwise.identity import plane_identity
from deepspot_scale.blockwise.lifting import (
    check_image,
    iter_planes,
    lift_plane,
    stack_planes,
)
from deepspot_scale.errors import FieldError, SettingsError, did_you_mean
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.stages.segmentation.segment import (
    KINDS,
    SEGMENT,
    Segment,
    SegmentOptions,
)


def segment(
    image: xr.DataArray,
    *,
    nuclei: str | None = None,
    cells: str | None = None,
    block: int = DEFAULT_BLOCK,
    **options: Any,
) -> xr.Dataset:
    """Label the nuclei and cells of an image.

    Parameters
    ----------
    image
        Raw counts with dimensions y, x and c, whose coordinate names the channels;
        other leading dimensions are mapped over, planes of a stack too. Where a
        `Segmenter` takes volumes, z is not: all else then sees the brightest pixel
        along z, and its labels are the same in all planes.
    nuclei, cells
        Channels in which they are looked for, or ``module:attribute@CHANNEL`` for a
        `Segmenter`, or ``NAME@CHANNEL`` for one of an installed package. Cells are
        grown from the nuclei, unless by a plug-in.
    block
        Largest edge of a block in pixels; the labels do not depend on it.
    **options
        Others of the table ``[segment]``: ``nucleus_um``, ``cell_um``,
        ``nuclei_model`` and so on.

    Returns
    -------
    xarray.Dataset
        ``nuclei`` and ``cells``, as far as they were asked for, whole numbers without
        c, 0 for background; a cell has the number of its nucleus where it was grown
        from it. Lazy when `image` is.

    Raises
    ------
    FieldError
        No image, or no such channel.
    SettingsError
        Nothing was asked for, or options that do not exist or do not fit.
    """
    named = {"nuclei": nuclei, "cells": cells}
    words = tuple(f"{kind}:{word}" for kind, word in named.items() if word is not None)
    if not words:
        raise SettingsError("say what to label: nuclei='DAPI', cells='FISH'")
    chosen = _read_options({"segments": words, **options})
    image = check_image(image)
    channels = {kind: _channel_of(one) for kind, one in chosen.made.items()}
    images = {name: _take(image, name) for name in channels.values()}
    context = RunContext(
        frozenset({IMAGE}), in_volume="z" in image.dims, channel=next(iter(images))
    )
    layers = [KINDS[kind] for kind in chosen.made]
    pipeline = assemble_stages({SEGMENT: chosen}, context, wanted=layers, block=block)
    like = next(iter(images.values()))
    planes = []
    for index, _ in iter_planes(like, pipeline.axes):
        own = {channel_layer(name): each.isel(index) for name, each in images.items()}
        known = Answers()
        known[PIXEL_UM] = plane_identity(like, index).pixel_size_um
        planes.append(lift_plane(pipeline, own, known))
    made = {
        layer.name: stack_planes(
            [plane.layers[layer.name] for plane in planes], like, pipeline.axes
        )
        for layer in layers
    }
    return xr.Dataset({name: labels.rename(None) for name, labels in made.items()})


def _read_options(values: dict[str, Any]) -> SegmentOptions:
    from deepspot_scale.config import checked

    return checked(SegmentOptions, values, noun="option", table=SEGMENT.name)


def _channel_of(wanted: Segment) -> str:
    if wanted.channel is None:
        raise SettingsError(f"say in which channel: {wanted.plugin}@CHANNEL")
    return wanted.channel


def _take(image: xr.DataArray, name: str) -> xr.DataArray:
    """Return one channel, by its name or its number."""
    if "c" not in image.dims:
        raise FieldError(
            f"image: expected a dimension c, whose channels are named; got {image.dims}"
        )
    names = [str(each) for each in image["c"].values]
    if names.count(name) == 1:
        return image.isel(c=names.index(name), drop=True)
    if name.isdecimal() and int(name) < len(names):
        return image.isel(c=int(name), drop=True)
    raise FieldError(
        f"image: there is no channel {name!r}, but {', '.join(names)}."
        + did_you_mean(name, names)
    )
