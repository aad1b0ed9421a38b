"""The wells of a plate for a drawing: a position and a value for each.

Rows of `RunState.snapshot` come in, columns of numbers go out. Nothing here draws.

Wells are placed on the smallest standard plate format that contains them all, so that
users recognise the position. Names that fit no format are placed in sorted order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import nan
from typing import Any, Literal

from deepspot_scale.dashboard.state import Snapshot
from deepspot_scale.vocabulary import row_letters

Panel = Literal["progress", "spots per cell", "spots per field", "score"]
"""What the wells' colours say; the score only where images are rated."""
FORMATS = ((2, 3), (3, 4), (4, 6), (6, 8), (8, 12), (16, 24), (32, 48))
"""Rows and columns of plates of 6 to 1536 wells."""


@dataclass(frozen=True)
class PlateShape:
    """Names of the rows and columns, in the order of drawing."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]


def plate_shape(wells: list[Snapshot]) -> PlateShape | None:
    """Return the plate of these wells; None for images outside a plate."""
    if not any(well["row"] or well["column"] for well in wells):
        return None
    rows = {well["row"] for well in wells}
    columns = {short_column(well["column"]) for well in wells}
    for n_rows, n_columns in FORMATS:
        names = tuple(row_letters(i + 1) for i in range(n_rows))
        numbers = tuple(str(i + 1) for i in range(n_columns))
        if rows <= set(names) and columns <= set(numbers):
            return PlateShape(names, numbers)
    in_order = sorted(columns, key=lambda c: (not c.isdecimal(), c.zfill(4)))
    return PlateShape(tuple(sorted(rows)), tuple(in_order))


def short_column(column: str) -> str:
    """Return a column's name without leading zeros: 3 for 03."""
    return str(int(column)) if re.fullmatch(r"[0-9]{1,4}", column) else column


def well_columns(
    wells: list[Snapshot], shape: PlateShape, shown: Panel
) -> dict[str, list[Any]]:
    """Return the wells of `RunState.snapshot` as columns for a drawing.

    x and y (position, 0 for the first column and row), well, value (the quantity that
    is shown; NaN: unknown), and the counts total, done, failed, spots, cells, low
    (fields that score too low to count) and quality (that in words).
    """
    row_place = {name: i for i, name in enumerate(shape.rows)}
    column_place = {name: i for i, name in enumerate(shape.columns)}
    placed: dict[str, list[Any]] = {
        "x": [column_place[short_column(well["column"])] for well in wells],
        "y": [row_place[well["row"]] for well in wells],
        "well": [f"{well['row']}{well['column']}" for well in wells],
        "value": [_value(well, shown) for well in wells],
    }
    for name in ("total", "done", "failed", "spots", "cells", "low"):
        placed[name] = [well[name] for well in wells]
    placed["quality"] = [_quality(well) for well in wells]
    return placed


def _quality(well: Snapshot) -> str:
    if well["score"] is None:
        return "not rated"
    low = f", {well['low']:,} left out" if well["low"] else ""
    return f"score {well['score']:.2f}{low}"


def _value(well: Snapshot, shown: Panel) -> float:
    if shown == "progress":
        settled: float = (well["done"] + well["failed"]) / max(well["total"], 1)
        return settled
    if shown == "score":
        return nan if well["score"] is None else float(well["score"])
    among = well["cells"] if shown == "spots per cell" else well["done"]
    return well["spots"] / among if among else nan
