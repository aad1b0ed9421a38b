"""Steps of the usual shapes, made of a plain function on arrays.

    map_pixels     pixels -> pixels, on the same, a finer or a coarser grid
    label_pixels   pixels -> labels of connected regions, joined across blocks
    find_rows      pixels -> rows, each owned by the block whose core holds it

The function is given a NumPy array: the pixels it answers for and, where the field goes
on, `margin` pixels more on each side. It must not care where in the field they lie.
Nothing here knows what it computes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Layer,
    Pixels,
    Step,
    Table,
)
from deepspot_scale.blockwise.geometry import Box, Margin
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.rounds import put_together
from deepspot_scale.tables import join_tables
from deepspot_scale.vocabulary import PLANE, Column, PlaneIdentity

OnPixels = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True)
class _Reading:
    """A function on a stored layer, or on a made one of the image's grid."""

    function: Callable[[NDArray[Any]], Any]
    source: str
    margin: Margin

    def around(self, box: Box, here: BlockContext) -> tuple[Box, Any]:
        """Return what the function gives on a box and its margin, and where that is."""
        wide = box.grow(self.margin, here.shape)
        return wide, self.function(here.read(self.source, wide))


@dataclass(frozen=True)
class _MapPixels:
    reading: _Reading
    layer: Layer

    def __call__(self, here: BlockContext, _: Answers) -> Pixels:
        scale = Fraction(self.layer.scale)
        wide, values = self.reading.around(here.wanted.scaled(1 / scale), here)
        cut = here.wanted.within(wide.scaled(scale))
        return Pixels(here.wanted, np.asarray(values[cut], self.layer.dtype))


def map_pixels(
    layer: Layer, source: str, function: OnPixels, *, margin: Margin
) -> Step:
    """Return the step that makes a layer of another one.

    Parameters
    ----------
    layer
        What is made.
    source
        Name of the layer that is read; of the image's grid.
    function
        Gives pixels of the same extent, `layer.scale` times as many along y and x.
    margin
        How far around a pixel the function looks.
    """
    reading = _Reading(function, source, margin)
    return Step(layer, _MapPixels(reading, layer), {source: margin})


def label_pixels(
    layer: Layer, source: str, function: OnPixels, *, margin: Margin
) -> Step:
    """Return the step that labels the connected regions of a mask.

    Parameters
    ----------
    layer
        What is made; `joined`, since a region may reach over blocks.
    source, margin
        As in `map_pixels`.
    function
        Gives a mask of the same shape.
    """
    joined = partial(_label, dtype=layer.dtype)
    chunk = _Mask(_Reading(function, source, margin))
    return Step(layer, chunk, {source: margin}, share=_listed, finalize=joined)


@dataclass(frozen=True)
class _Mask:
    reading: _Reading

    def __call__(self, here: BlockContext, _: Answers) -> Pixels:
        wide, mask = self.reading.around(here.block.core, here)
        return Pixels(here.block.core, mask[here.block.core.within(wide)])


def _listed(pixels: Pixels) -> list[Pixels]:
    return [pixels]


def _label(pieces: list[Pixels], _: Answers, dtype: str) -> NDArray[Any]:
    """Label the whole plane: regions in reading order of their first pixels."""
    labels, _n = ndimage.label(put_together(pieces, "bool"))
    return np.asarray(labels, dtype)


def find_rows(
    key: Key[pd.DataFrame],
    source: str,
    function: Callable[[NDArray[Any]], pd.DataFrame],
    *,
    margin: Margin,
) -> Step:
    """Return the step that finds rows, such as points, in a layer.

    Parameters
    ----------
    key
        Of the answer.
    source, margin
        As in `map_pixels`.
    function
        Gives a table whose columns y and x (and z, where blocks have it) are places in
        pixels of the array that it is given.
    """
    chunk = _FindRows(_Reading(function, source, margin))
    return Step(key, chunk, {source: margin}, combine=_join, finalize=_in_order)


@dataclass(frozen=True)
class _FindRows:
    reading: _Reading

    def __call__(self, here: BlockContext, _: Answers) -> pd.DataFrame:
        core = here.block.core
        wide, rows = self.reading.around(core, here)
        starts = {axis: wide.along(axis).start for axis in core.axes}
        rows = rows.assign(**{axis: rows[axis] + at for axis, at in starts.items()})
        own = np.ones(len(rows), bool)
        for axis in core.axes:
            pixel = np.floor(rows[axis] + 0.5)
            own &= (core.along(axis).start <= pixel) & (pixel < core.along(axis).stop)
        kept: pd.DataFrame = rows[own].reset_index(drop=True)
        return kept


def _join(one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([one, other], ignore_index=True)


def _in_order(rows: pd.DataFrame, _: Answers) -> pd.DataFrame:
    """Return rows by place, whatever the order of blocks."""
    axes = [axis for axis in "zyx" if axis in rows]
    others = [str(name) for name in rows if name not in axes]
    return rows.sort_values([*axes, *others], ignore_index=True)


def row_table(name: str, columns: tuple[Column, ...], key: Key[pd.DataFrame]) -> Table:
    """Return the table of an answer's rows.

    Parameters
    ----------
    name
        Its folder in a run.
    columns
        Those that the rows have; the plane's (row, column, field, t, channel, z) come
        first by themselves.
    key
        Of the answer.
    """
    own = {column.name for column in columns}
    known = tuple(column for column in PLANE if column.name not in own)
    whole = (*known, *columns)
    return Table(name, whole, (key,), partial(_rows, key=key, columns=whole))


def _rows(
    agreed: Answers,
    plane: PlaneIdentity,
    *,
    key: Key[pd.DataFrame],
    columns: tuple[Column, ...],
) -> pd.DataFrame:
    rows = agreed[key]
    own = {axis: rows[axis] for axis in "z" if axis in rows}
    return join_tables([identify(rows, plane, columns).assign(**own)], columns)
