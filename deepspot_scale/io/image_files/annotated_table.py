"""The table of true spots beside annotated images: a path in, checked rows out.

What is no number, or not there, is an error that names file, line and column. Nothing
here looks for images.
"""

from __future__ import annotations

import difflib
import math
from pathlib import Path

import pandas as pd

from deepspot_scale.errors import PlateError
from deepspot_scale.tables import read_word

SPOTS_FILE = "spots.csv"


def read_points(path: Path) -> pd.DataFrame:
    """Return the rows, indexed by line number, with points and sizes as numbers.

    Columns are as in the file, and ``dataset`` and ``group``, empty if it lacks them. A
    blank z, snr or sigma is NaN. Raises PlateError if the table, a column or a number
    is missing.
    """
    if not path.is_file():
        raise PlateError(
            f"{path.parent} has no {SPOTS_FILE}: expected a table of true spots with "
            "the columns y, x and image. If a program writes the set, it has not "
            "finished yet."
        )
    table = _read_texts(path)
    _check_columns(table, path)
    for name in {*"zyx", "snr", "sigma"} & set(table):
        blank = name in {"z", "snr", "sigma"}
        table[name] = _read_numbers(table[name], path, blank=blank)
    if "image" in table and (table["image"] == "").any():
        line = table.index[table["image"] == ""][0]
        raise PlateError(f"{path}, line {line}: expected an image's name, found none")
    return table.assign(dataset=table.get("dataset", ""), group=table.get("group", ""))


def _read_texts(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skip_blank_lines=False,
        )
    except (ValueError, OSError) as error:
        raise PlateError(f"{path} is no CSV table in UTF-8: {error}") from error
    if not isinstance(table.index, pd.RangeIndex):
        raise PlateError(f"{path}: its rows have more values than it has columns")
    table.index += 2  # the header is line 1
    table.columns = [str(name).strip().lower() for name in table.columns]
    table = table.apply(lambda column: column.str.strip().map(read_word))
    kept: pd.DataFrame = table[(table != "").any(axis=1)].copy()
    return kept


def _check_columns(table: pd.DataFrame, path: Path) -> None:
    columns = [str(name) for name in table.columns]
    twice = sorted({name for name in columns if columns.count(name) > 1})
    if twice:
        raise PlateError(f"{path} has the column {twice[0]!r} twice. Remove one.")
    for name in ("y", "x", *(["image"] if "dataset" in columns else [])):
        if name not in columns:
            near = difflib.get_close_matches(name, columns, 1, 0.1)
            hint = f"Is it {near[0]!r}? Then rename that." if near else "Add it."
            raise PlateError(
                f"{path} has no column {name!r}; its columns are "
                f"{', '.join(columns)}. {hint}"
            )


def _read_numbers(texts: pd.Series[str], path: Path, *, blank: bool) -> list[float]:
    """Return finite numbers; NaN for blank ones if these are allowed."""
    values = [_read_number(text) for text in texts]
    unknown = {"", "nan"} if blank else set[str]()
    for line, text, value in zip(texts.index, texts, values, strict=True):
        if not (math.isfinite(value) or text.lower() in unknown):
            raise PlateError(
                f"{path}, line {line}: expected a number for {texts.name}, found "
                f"{text!r}. Correct or remove the row."
            )
    return values


def _read_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
