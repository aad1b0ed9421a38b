"""A folder of CSV files, one for each table, and one that says what columns mean.

A run comes in; tables of parts go out field by field, so that a plate of any size
fits. Positions and areas are in pixels unless their name ends in ``_um`` or ``_um2``.
Nothing here reads images.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pandas as pd

from deepspot_scale.exports.measures import measure_cells, measure_columns
from deepspot_scale.runs.left_out import count_left_out
from deepspot_scale.runs.results import RunResults
from deepspot_scale.tables import empty_table, guard_words
from deepspot_scale.vocabulary import LEFT_OUT, SUMMARIES, Column

SIGN = ("columns.csv", "table,column,type,meaning")
"""By which an earlier export is known."""


def write_csv(results: RunResults, folder: Path) -> None:
    """Write ``spots.csv``, ``cells.csv`` and every other table of the run as CSV.

    Numbers keep all their digits; NaN is an empty place. Words that a spreadsheet would
    run as a formula have an apostrophe in front, see `tables.guard_word`. In
    ``cells.csv`` the counts in one-degree bins are summed up to the run's sectors.
    Tables written part by part, and that of fields, have the chosen fields only. The
    folder is made here.
    """
    folder.mkdir()
    cells = measure_columns(results.index.sectors)
    columns = {**results.contents.tables, "cells": cells}
    _write_parts(results, folder, columns)
    summaries = results.summaries
    # Their least score may have been changed after the run.
    left_out = summaries.get("left_out", empty_table(LEFT_OUT))
    fields = count_left_out(results.fields, left_out)
    for name, table in {"fields": fields, **summaries}.items():
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
            file = (folder / f"{kind}.csv").open("w", encoding="utf-8", newline="")
            files[kind] = stack.enter_context(file)
            names = pd.DataFrame(columns=[column.name for column in declared])
            _to_csv(names, file)
        for found in results.iter_fields():
            wells = results.plate_map, results.index.sectors
            tables = found.tables | {"cells": measure_cells(found["cells"], *wells)}
            for kind, table in tables.items():
                _to_csv(table, files[kind], header=False)


def _to_csv(table: pd.DataFrame, file: Any, *, header: bool = True) -> None:
    guard_words(table).to_csv(
        file, header=header, index=False, lineterminator="\n", encoding="utf-8"
    )


def _describe(tables: dict[str, tuple[Column, ...]]) -> pd.DataFrame:
    rows = [
        (name, column.name, column.dtype, column.meaning)
        for name, columns in tables.items()
        for column in columns
    ]
    return pd.DataFrame(rows, columns=SIGN[1].split(","))
