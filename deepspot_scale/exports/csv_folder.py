"""A folder of CSV files, one for each table, and one that says what columns mean.

A run comes in; tables of parts go out field by field, so that a plate of any size
fits. Positions and areas are in pixels unless their name ends in ``_um`` or ``_um2``.
Nothing here reads images.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pandas as pd

from deepspot_scale.exports.measures import measure_cells, measure_columns
from deepspot_scale.runs.results import RunResults
from deepspot_scale.vocabulary import SUMMARIES, Column

SIGN = ("columns.csv", "table,column,type,meaning")
"""By which an earlier export is known."""


def write_csv(results: RunResults, folder: Path) -> None:
    """Write ``spots.csv``, ``cells.csv`` and every other table of the run as CSV.

    Numbers keep all their digits; NaN is an empty place. In ``cells.csv`` the counts
    in one-degree bins are summed up to the run's sectors.

    Parameters
    ----------
    results
        The run; of tables written part by part, and of fields, its chosen fields.
    folder
        Where to; made here.
    """
    folder.mkdir()
    columns = {
        **results.contents.tables,
        "cells": measure_columns(results.index.sectors),
    }
    _write_parts(results, folder, columns)
    for name, table in {"fields": results.fields, **results.summaries}.items():
        columns[name] = SUMMARIES.get(name, results.contents.fields)
        _to_csv(table, folder / f"{name}.csv")
    _to_csv(_describe(columns), folder / SIGN[0])


def _write_parts(
    results: RunResults, folder: Path, columns: dict[str, tuple[Column, ...]]
) -> None:
    """Write the tables of fields, one field after the other."""
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
            wells = results.plate_map, results.index.sectors
            tables = found.tables | {"cells": measure_cells(found["cells"], *wells)}
            for kind, table in tables.items():
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
