"""What stages beyond the built-in ones gave: any table and layer, in numbers.

A run comes in; a summary of each declared table that has no section of its own goes
out, and a list of the layers that are kept. All that is known here about a column is
its declaration.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepspot_scale.runs.kept_layers import plate_name
from deepspot_scale.runs.results import RunResults
from deepspot_scale.vocabulary import PLANE, Column

KNOWN = frozenset(
    {
        *("spots", "cells", "clusters", "quality", "pairs", "cell_pairs"),
        *("ratings", "tile_ratings", "radial"),
    }
)
"""Tables that have sections of their own."""
_PLACE = frozenset(column.name for column in PLANE)
_NUMBERS = ("float64", "float32", "int64", "int32", "bool")


def summarise_tables(run: RunResults) -> dict[str, tuple[int, pd.DataFrame]]:
    """Return the number of rows of each further table, and a line for each column.

    A line holds column, meaning, n (values that are not NaN), mean, least, largest.
    Tables are read part by part.
    """
    return {
        name: _summarise(run, name, columns)
        for name, columns in run.contents.tables.items()
        if name not in KNOWN
    }


def _summarise(
    run: RunResults, name: str, columns: tuple[Column, ...]
) -> tuple[int, pd.DataFrame]:
    own = [c for c in columns if c.dtype in _NUMBERS and c.name not in _PLACE]
    names = [column.name for column in own]
    n_rows, n, total = 0, np.zeros(len(own), np.int64), np.zeros(len(own))
    least, largest = np.full(len(own), np.nan), np.full(len(own), np.nan)
    for _, part in run.iter_parts(name, names):
        values = part[names].to_numpy(np.float64)
        n_rows += len(values)
        n += np.isfinite(values).sum(axis=0)
        total += np.nansum(values, axis=0)
        least = np.fmin(least, np.fmin.reduce(values, axis=0, initial=np.nan))
        largest = np.fmax(largest, np.fmax.reduce(values, axis=0, initial=np.nan))
    mean = np.divide(total, n, out=np.full(len(own), np.nan), where=n > 0)
    meanings = [column.meaning for column in own]
    lines = {"column": names, "meaning": meanings, "n": n, "mean": mean}
    return n_rows, pd.DataFrame({**lines, "least": least, "largest": largest})


def list_layers(run: RunResults) -> pd.DataFrame:
    """Return a line for each layer that the run keeps: name, plate, kind, scale."""
    lines = [
        {
            "layer": name,
            "plate": plate_name(layer.folder),
            "kind": "labels" if layer.labels else layer.dtype,
            "pixels_per_pixel": layer.scale[0] / layer.scale[1],
        }
        for name, layer in run.contents.layers.items()
    ]
    return pd.DataFrame(lines)
