"""Tables with declared columns: made, joined, checked; as pandas, Arrow and CSV.

Columns come in from `vocabulary`, frames with exactly these columns and dtypes go out.
Nothing here reads files or knows what a table means.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.vocabulary import N_BINS, Column

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


def arrow_schema(columns: tuple[Column, ...]) -> pa.Schema:
    """Return the Arrow schema of a table, each column's meaning as its metadata."""
    import pyarrow as pa

    def arrow_type(dtype: str) -> pa.DataType:
        if dtype == "bins":
            return pa.list_(pa.int32(), N_BINS)
        return pa.bool_() if dtype == "bool" else getattr(pa, dtype)()

    return pa.schema(
        [
            pa.field(c.name, arrow_type(c.dtype), metadata={"meaning": c.meaning})
            for c in columns
        ]
    )


def _pandas_dtype(dtype: str) -> Any:
    return "object" if dtype in {"bins", "string"} else dtype


def empty_table(columns: tuple[Column, ...]) -> pd.DataFrame:
    """Return a table with these columns and dtypes and no rows."""
    return _empty_table(columns).copy()


@lru_cache(maxsize=32)
def _empty_table(columns: tuple[Column, ...]) -> pd.DataFrame:
    return make_table([], columns)


def join_tables(
    tables: Iterable[pd.DataFrame], columns: tuple[Column, ...]
) -> pd.DataFrame:
    """Return the rows of all tables; without any, an empty table with these columns."""
    import pandas as pd

    kept = [table for table in tables if len(table)]
    return pd.concat(kept, ignore_index=True) if kept else empty_table(columns)


def make_table(rows: list[dict[str, Any]], columns: tuple[Column, ...]) -> pd.DataFrame:
    """Return a table of these rows, each of which has a value for every column."""
    made: dict[str, Any] = {}
    for column in columns:
        # Ten times as fast as a Series of a list.
        values = np.empty(len(rows), _pandas_dtype(column.dtype))
        for at, row in enumerate(rows):
            values[at] = row[column.name]
        made[column.name] = values
    return table_of(made, columns)


def table_of(
    values: Mapping[str, NDArray[Any]], columns: tuple[Column, ...]
) -> pd.DataFrame:
    """Return a table of arrays of one length; arrays of objects stay objects."""
    import pandas as pd

    made: dict[str, Any] = {}
    for name, dtype in ((c.name, _pandas_dtype(c.dtype)) for c in columns):
        array = np.asarray(values[name], dtype)
        made[name] = pd.Series(array, dtype=dtype) if dtype == "object" else array
    return pd.DataFrame(made)


def rows_with(table: pd.DataFrame, values: Mapping[str, Any]) -> NDArray[np.bool_]:
    """Return which rows have all of these values, by column."""
    # To compare a table with a tuple means another thing from one pandas to the next.
    same = np.ones(len(table), bool)
    for name, value in values.items():
        same &= (table[name] == value).to_numpy(bool)
    return same


def as_table(frame: pd.DataFrame, columns: tuple[Column, ...]) -> pd.DataFrame:
    """Return `frame` with exactly these columns, in this order and these dtypes."""
    import pandas as pd

    ordered = {}
    for column in columns:
        values, dtype = frame[column.name], _pandas_dtype(column.dtype)
        # pandas' own conversion of a whole table takes as long as small fields do.
        ordered[column.name] = values if values.dtype == dtype else values.astype(dtype)
    return pd.DataFrame(ordered, index=frame.index)


_FORMULA = re.compile(r"(^|[;\t\r\n])('*)(?=[=+@\t\r\uff1d\uff0b\uff0d\uff20-])")
"""Where a spreadsheet begins a formula: in front of a cell, also if it takes semicolons
or tabs for the ends of cells."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def guard_word(word: Any) -> Any:
    """Return a word that no spreadsheet runs: an apostrophe in front makes it text.

    Plain numbers, and what is no text, stay as they are; `read_word` is the way back.

    Examples
    --------
    >>> guard_word("=1+1"), guard_word("-ctrl"), guard_word("-5"), guard_word("a-b")
    ("'=1+1", "'-ctrl", '-5', 'a-b')
    """
    if not isinstance(word, str) or _NUMBER.fullmatch(word):
        return word
    return _FORMULA.sub(r"\1'\2", word)


def read_word(word: str) -> str:
    """Return the word that `guard_word` was given.

    Examples
    --------
    >>> read_word("'=1+1"), read_word("'quoted'")
    ('=1+1', "'quoted'")
    """
    return _FORMULA.sub(lambda found: found[1] + found[2][1:], word)


def guard_words(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table for CSV, whose words and names of columns no spreadsheet runs."""
    guarded = table.rename(columns=guard_word)
    for at, dtype in enumerate(guarded.dtypes):
        if getattr(dtype, "kind", "O") not in "biufc":
            words = guarded.iloc[:, at].astype(object).map(guard_word)
            guarded.isetitem(at, words.to_numpy(object))
    return guarded
