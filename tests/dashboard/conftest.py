"""Rows of fields as a run publishes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pandas as pd
import pytest

from deepspot_scale.tables import as_table
from deepspot_scale.vocabulary import FIELDS, Column, FieldAddress

STAGES = ("brightness", "enhance", "detect")
COLUMNS = (*FIELDS, *(Column(f"seconds_{stage}", "float64", "") for stage in STAGES))


@cache
def _draw_rows(*paths: str, **values: Any) -> pd.DataFrame:
    zeros = {c.name: "" if c.dtype == "string" else 0 for c in COLUMNS}
    known = {"status": "done", "n_planes": 1, "n_spots": 10, "n_cells": 2}
    lines = []
    for path in paths:
        address = FieldAddress.from_path(path)
        place = {"row": address.row, "column": address.column, "field": address.field}
        lines.append(zeros | known | {"seconds": 1.0, "worker": "a:1"} | place | values)
    return as_table(pd.DataFrame(lines), COLUMNS)


def _draw_failed(*paths: str, reason: str = "a chunk is damaged") -> pd.DataFrame:
    nothing = {"n_planes": 0, "n_spots": 0, "n_cells": 0}
    return _draw_rows(*paths, status="failed", reason=reason, **nothing)


@pytest.fixture(scope="session")
def rows() -> Callable[..., pd.DataFrame]:
    """Rows of fields that are done, ten spots and two cells each."""
    return _draw_rows


@pytest.fixture(scope="session")
def failed() -> Callable[..., pd.DataFrame]:
    """Rows of fields that failed."""
    return _draw_failed
