"""The verb *assign*: each spot gets the cell and the nucleus it lies in.

Spots and label images come in, the same spots with labels go out; 0 means none. A
spot lies in the pixel whose centre is nearest. Nothing here knows how spots or labels
were made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from deepspot_scale.blockwise.geometry import Box, Span
from deepspot_scale.blockwise.lifting import check_labels, labels_at
from deepspot_scale.blockwise.rounds import (
    BlockContext,
    PlaneAnswers,
    Reader,
    Step,
    everything,
)
from deepspot_scale.blockwise.spots import nearest_pixel, order_spots
from deepspot_scale.errors import FieldError

LABELS = {"cell": "cells", "nucleus": "nuclei"}
"""Column of the spot table, and the label image it is read from."""


def nearest_pixels(positions: NDArray[np.float64], length: int) -> NDArray[np.int64]:
    """Return the pixel that holds each position, along one axis of `length`."""
    return np.clip(nearest_pixel(positions), 0, length - 1)


def look_up(table: pd.DataFrame, read: Reader, shape: tuple[int, int]) -> pd.DataFrame:
    """Return `table` with the columns cell and nucleus read from label images.

    Parameters
    ----------
    table
        Spots with y and x in pixels of the field.
    read
        Gives ``cells`` and ``nuclei``, as far as there are any.
    shape
        The field's pixels along y and x.
    """
    if table.empty:
        return table
    y = nearest_pixels(table["y"].to_numpy(), shape[0])
    x = nearest_pixels(table["x"].to_numpy(), shape[1])
    box = Box(
        Span(int(y.min()), int(y.max()) + 1), Span(int(x.min()), int(x.max()) + 1)
    )
    found = {
        column: read(name, box)[y - box.y.start, x - box.x.start].astype(np.int64)
        for column, name in LABELS.items()
        if read.has(name)
    }
    return table.assign(**found)


def _chunk(here: BlockContext, _: PlaneAnswers) -> Any:
    spots = here.answers["spots"]
    return spots._replace(table=look_up(spots.table, here.read, here.shape))


def assignment_step() -> Step:
    """Return the step ``assigned``: the block's ``spots`` with their labels."""
    return Step("assigned", _chunk, share=everything, finalize=order_spots)


class _PlaneReader:
    """Reads windows of label planes that DataArrays hold, lazy or not."""

    def __init__(self, labels: dict[str, xr.DataArray]) -> None:
        self.labels = labels

    def __call__(self, name: str, box: Box) -> NDArray[np.generic]:
        return np.asarray(self.labels[name].data[box.slices])

    def has(self, name: str) -> bool:
        return name in self.labels

    def dtype(self, name: str) -> np.dtype[Any]:
        return self.labels[name].dtype


def _assign_table(spots: pd.DataFrame, labels: dict[str, xr.DataArray]) -> pd.DataFrame:
    shape = next(iter(labels.values())).shape[-2:]
    # The index may repeat, as that of computed partitions does: rows go by place.
    rows = spots.reset_index(drop=True)
    parts = [
        look_up(
            rows[rows["t"] == t],
            _PlaneReader(labels_at(labels, t)),
            (shape[0], shape[1]),
        )
        for t in rows["t"].unique().tolist()
    ]
    return pd.concat(parts).sort_index().set_axis(spots.index) if parts else spots


def assign(
    spots: Any,
    *,
    cells: xr.DataArray | None = None,
    nuclei: xr.DataArray | None = None,
) -> Any:
    """Tell each spot its cell and its nucleus.

    Parameters
    ----------
    spots
        Table from `detect`, lazy or not.
    cells, nuclei
        Label images (y, x) or (t, y, x) on the image's grid; 0 is background.

    Returns
    -------
    pandas.DataFrame or dask.dataframe.DataFrame
        The same table with the columns cell and nucleus filled; lazy when `spots` is.

    Raises
    ------
    FieldError
        No label image, or unfit ones.
    """
    labels = check_labels(cells, nuclei)
    if not labels:
        raise FieldError("assign needs cells or nuclei, got neither")
    if isinstance(spots, pd.DataFrame):
        return _assign_table(spots, labels)
    from dask.delayed import delayed

    # A dictionary of DataArrays goes into the graph as one delayed value, so that
    # lazy labels are read once, by the tasks that need them.
    return spots.map_partitions(
        _assign_table, delayed(dict)(labels), meta=spots._meta, align_dataframes=False
    )
