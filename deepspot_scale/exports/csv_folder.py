"""A folder of CSV files: one per table, and one that explains the columns.

A run comes in; spots and cells are written field by field, so that a plate of any size
fits in memory. Positions and areas are in pixels unless their name ends in ``_um`` or
``_um2``. Nothing here reads images.
"""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from deepspot_scale.exports.measures import measure_cells, measure_columns
from deepspot_scale.exports.results import RunResults
from deepspot_scale.io.tables import Folder
from deepspot_scale.stages.polarity.measure import PolarityOptions
from deepspot_scale.vocabulary import SPOTS, Column

SIGN = ("columns.csv", "table,column,type,meaning")
"""A file, and its first line, that identify an earlier export."""
_OTHER_NAMES = {"double": "float64", "float": "float32"}
"""Arrow's names of types, and those of `vocabulary`."""


def write_csv(results: RunResults, folder: Path) -> None:
    """Write ``spots.csv``, ``cells.csv`` and every other table of the run as CSV.

    Numbers keep all digits; NaN is an empty cell. In ``cells.csv`` the counts in
    one-degree bins are summed to the run's sectors.

    Parameters
    ----------
    results
        The run; only spots, cells and rows of its chosen fields are written.
    folder
        Folder to create.
    """
    folder.mkdir()
    columns = {
        "spots": SPOTS,
        "cells": measure_columns(results.settings.of(PolarityOptions).sectors),
    }
    _write_parts(results, folder, columns)
    for name in results.folder.names(""):
        stem, _, ending = name.rpartition(".")
        if ending == "parquet":
            table, columns[stem] = _read_described(results.folder, name)
            chosen = results.fields if stem == "fields" else table
            _to_csv(chosen, folder / f"{stem}.csv")
    _to_csv(_describe(columns), folder / SIGN[0])


def _read_described(
    folder: Folder, name: str
) -> tuple[pd.DataFrame, tuple[Column, ...]]:
    """Read a table and its columns with their meaning, as `write_table` stored them."""
    data = pq.read_table(io.BytesIO(folder.read(name)))
    columns = []
    for field in data.schema:
        dtype = _OTHER_NAMES.get(str(field.type), str(field.type))
        meaning = (field.metadata or {}).get(b"meaning", b"").decode()
        columns.append(Column(field.name, dtype, meaning))
    return data.to_pandas(), tuple(columns)


def _write_parts(
    results: RunResults, folder: Path, columns: dict[str, tuple[Column, ...]]
) -> None:
    """Write spots and cells, field by field."""
    with ExitStack() as stack:
        files = {}
        for kind, declared in columns.items():
            path = folder / f"{kind}.csv"
            files[kind] = stack.enter_context(
                path.open("w", encoding="utf-8", newline="")
            )
            names = pd.DataFrame(columns=[column.name for column in declared])
            names.to_csv(files[kind], index=False, lineterminator="\n")
        for found in results.iter_fields():
            cells = measure_cells(results, found.cells)
            for kind, table in (("spots", found.spots), ("cells", cells)):
                table.to_csv(
                    files[kind], index=False, header=False, lineterminator="\n"
                )


def _to_csv(table: pd.DataFrame, path: Path) -> None:
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def _describe(tables: dict[str, tuple[Column, ...]]) -> pd.DataFrame:
    rows = [
        (name, column.name, column.dtype, column.meaning)
        for name, columns in tables.items()
        for column in columns
    ]
    return pd.DataFrame(rows, columns=SIGN[1].split(","))
