"""A CSV file as people and spreadsheets write it: a file in, a table of words out.

Understood are a byte order mark, UTF-16, Excel's first line ``sep=;``, commas,
semicolons or tabs between cells, quotes, comment lines, spaces about words, an
apostrophe in front of words like formulas, and empty columns and lines at the end. A
line that does not fit the header is an error that names it. Nothing here knows what a
column means.
"""

from __future__ import annotations

import csv
import re
import warnings
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Final

import pandas as pd

from deepspot_scale.errors import InputWarning, SettingsError
from deepspot_scale.tables import read_word
from deepspot_scale.words import plural

SEPARATORS: Final = (",", ";", "\t")
_THOUSANDS: Final = re.compile(r"[+-]?\d{1,3}(,\d{3})+")


@dataclass(frozen=True)
class Sheet:
    """The words of a file."""

    path: str
    table: pd.DataFrame
    """All text, trimmed; columns in lower case; the index is the line in the file."""
    separator: str
    """One of `SEPARATORS`."""

    @property
    def names(self) -> list[str]:
        """The columns."""
        return [str(name) for name in self.table.columns]

    def check_decimals(self, columns: list[str]) -> None:
        """Refuse a file that has both 1,5 and 1.5: one of them may mean thousands."""
        cells = self.table[columns].to_numpy().ravel()
        marks = [next((c for c in cells if mark in c), None) for mark in ",."]
        if None not in marks:
            raise SettingsError(
                f"{self.path}: numbers with a decimal comma and with a point, "
                f"{marks[0]} and {marks[1]}; use one of them"
            )

    def numbers(self, rows: pd.DataFrame, columns: list[str]) -> list[list[float]]:
        """Return the numbers of some rows; a decimal comma is understood.

        Raises
        ------
        SettingsError
            A cell that is no number, or that can be read as two numbers: 1,234.
        """
        found = []
        for line, cells in zip(rows.index, rows[columns].to_numpy(), strict=True):
            try:
                found.append([self._number(cell) for cell in cells])
            except ValueError as error:
                raise SettingsError(
                    f"{self.path}: line {line}: {' and '.join(columns)} must be "
                    f"numbers such as 1234.5: {error}"
                ) from error
        return found

    def _number(self, cell: str) -> float:
        # Between semicolons 1,234 is a decimal; in quotes it may also mean 1234.
        if self.separator != "," or not _THOUSANDS.fullmatch(cell):
            cell = cell.replace(",", ".")
        return float(cell)

    def warn(self, text: str) -> None:
        """Tell the user what of the file is not used."""
        warnings.warn(f"{self.path}: {text}", InputWarning, stacklevel=3)


def some(words: Iterable[object], most: int = 5) -> str:
    """Return the first few words, and dots if there are more.

    Examples
    --------
    >>> some("abc", 2)
    'a, b, ...'
    """
    named = list(map(str, words))
    return ", ".join([*named[:most], *(["..."] if len(named) > most else [])])


def read_sheet(path: str, what: str, known: Collection[str]) -> Sheet:
    """Read a CSV file.

    Parameters
    ----------
    path
        The file.
    what
        What it is to the user, for messages.
    known
        Names of columns, by which the separator is found.

    Raises
    ------
    SettingsError
        There is no file, it is no CSV table, or a line does not fit the header.
    """
    if not Path(path).is_file():
        raise SettingsError(f"{what}: no file {path}")
    try:
        data = Path(path).read_bytes()
        wide = data.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        text = data.decode("utf-16" if wide else "utf-8-sig")
        separator, lines = _prepare(text, known)
        reader = csv.reader(
            lines, delimiter=separator, skipinitialspace=True, strict=True
        )
        rows = [
            (reader.line_num, [read_word(" ".join(c.split())) for c in row])
            for row in reader
        ]
    except (ValueError, OSError, csv.Error) as error:
        raise SettingsError(
            f"{what}: {path} is no CSV table: {error}; save it as CSV UTF-8"
        ) from error
    rows = [(line, cells) for line, cells in rows if any(cells)]
    if not rows:
        raise SettingsError(f"{what}: {path} is no CSV table: it is empty")
    (_, header), *rows = rows
    sheet = Sheet(path, _table(path, header, rows), separator)
    n = len(header) - _n_empty_at_end(header)
    if short := [line for line, cells in rows if len(cells) < n]:
        sheet.warn(
            f"{len(short)} lines have fewer cells than the {n} columns, and what they "
            f"lack is taken as empty: lines {some(short)}"
        )
    return sheet


def _prepare(text: str, known: Collection[str]) -> tuple[str, list[str]]:
    """Return the separator and all lines, those that are no cells left empty."""
    lines = ["\n" if line.startswith("#") else line for line in StringIO(text, None)]
    first = next((n for n, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return ",", []
    stated = re.fullmatch(r'"?sep=(.)"?[\s,;]*', lines[first])
    if stated:
        lines[first] = "\n"
        return stated[1], lines

    def fit(separator: str) -> tuple[int, int]:
        names = next(csv.reader([lines[first]], delimiter=separator))
        return sum(name.strip().lower() in known for name in names), len(names)

    return max(SEPARATORS, key=fit), lines


def _n_empty_at_end(cells: Sequence[str]) -> int:
    return next((n for n, cell in enumerate(reversed(cells)) if cell), len(cells))


def _table(
    path: str, header: list[str], rows: list[tuple[int, list[str]]]
) -> pd.DataFrame:
    n = len(header) - _n_empty_at_end(header)
    # An empty cell too many shifts the others, unless every line has it.
    alike = len({len(cells) for _, cells in rows}) == 1
    for line, cells in rows:
        if any(cells[n:]) or (len(cells) > len(header) and not alike):
            raise SettingsError(
                f"{path}: line {line} has {plural(len(cells), 'cell')}, but the header "
                f"names {n} columns; is there a separator too many, or one in words "
                "that need quotes?"
            )
    names = [name.lower() or f"(column {k})" for k, name in enumerate(header[:n], 1)]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(
            f"{path}: the column {some(twice)} is there twice; keep one"
        )
    filled = [(cells + [""] * n)[:n] for _, cells in rows]
    index = [line for line, _ in rows]
    table = pd.DataFrame(filled, index=index, columns=names, dtype=object)
    unnamed = [name for name in names if name.startswith("(") and not any(table[name])]
    return table.drop(columns=unnamed)
