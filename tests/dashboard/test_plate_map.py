"""Wells are at their positions on the plate, and have the chosen value."""

from __future__ import annotations

from math import isnan
from typing import Any

import pytest

from deepspot_scale.dashboard.plate_map import plate_shape, well_columns


def well(row: str, column: str, **numbers: float) -> dict[str, Any]:
    zeros = dict.fromkeys(("done", "failed", "spots", "cells", "low"), 0)
    known = {"row": row, "column": column, "total": 4, "score": None}
    return known | zeros | numbers


@pytest.mark.parametrize(
    ("names", "size"),
    [
        ([("A", "1"), ("B", "3")], (2, 3)),
        ([("A", "01"), ("H", "12")], (8, 12)),
        ([("B", "03"), ("C", "04")], (3, 4)),
        ([("P", "24")], (16, 24)),
        ([("AF", "48")], (32, 48)),
        ([("A", "99"), ("B", "1")], (2, 2)),
        ([("left", "a"), ("right", "b"), ("right", "10")], (2, 3)),
    ],
)
def test_wells_stand_on_the_smallest_plate_that_holds_them(
    names: list[tuple[str, str]], size: tuple[int, int]
) -> None:
    wells = [well(*name) for name in names]
    shape = plate_shape(wells)
    assert shape is not None
    assert (len(shape.rows), len(shape.columns)) == size
    placed = well_columns(wells, shape, "progress")
    for (row, column), x, y in zip(names, placed["x"], placed["y"], strict=True):
        assert shape.rows[y] == row
        assert shape.columns[x] == column.lstrip("0")


def test_columns_that_are_numbers_are_in_their_order() -> None:
    shape = plate_shape([well("x", column) for column in ("10", "9", "b", "a")])
    assert shape is not None
    assert shape.columns == ("9", "10", "a", "b")


def test_images_outside_a_plate_have_no_map() -> None:
    assert plate_shape([well("", "")]) is None
    assert plate_shape([]) is None


def test_the_value_is_what_was_chosen() -> None:
    wells = [well("A", "1", done=2, failed=1, spots=60, cells=5), well("A", "2")]
    shape = plate_shape(wells)
    assert shape is not None
    values = {
        shown: well_columns(wells, shape, shown)["value"]
        for shown in ("progress", "spots per cell", "spots per field")
    }
    assert values["progress"] == [0.75, 0.0]
    for shown, value in {"spots per cell": 12.0, "spots per field": 30.0}.items():
        assert values[shown][0] == value
        assert isnan(values[shown][1])


def test_wells_have_their_score_and_say_what_is_left_out() -> None:
    wells = [well("A", "1", score=0.25, low=2), well("A", "2"), well("B", "1", score=1)]
    shape = plate_shape(wells)
    assert shape is not None
    placed = well_columns(wells, shape, "score")
    assert placed["value"][::2] == [0.25, 1.0]
    assert isnan(placed["value"][1])
    assert placed["quality"] == ["score 0.25, 2 left out", "not rated", "score 1.00"]
