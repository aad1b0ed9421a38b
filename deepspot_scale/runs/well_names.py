"""Which wells a line of a user's table means: words in, wells of the plate out.

Nothing here reads files.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from deepspot_scale.errors import SettingsError
from deepspot_scale.vocabulary import (
    FieldAddress,
    plain_number,
    row_column_key,
    same_well,
    well_key,
)

Wells = Mapping[tuple[str, str], Sequence[FieldAddress]]
"""The addresses of each well, by `vocabulary.well_key`."""
WELL = ("well", "row", "column")
"""Columns that say which well a line means."""
_RANGE = re.compile(
    r"([A-Za-z]+)[-_/ ]?(\d+) ?([-:\u2013]) ?(?:([A-Za-z]+)[-_/ ]?)?(\d+)"
)
"""A01-A03, A1-3 or A01:B03; a spreadsheet may make a long dash of the hyphen."""


def group_by_well(addresses: Iterable[FieldAddress]) -> Wells:
    """Return the addresses of each well, by its key."""
    wells = defaultdict(list)
    for each in addresses:
        wells[row_column_key(each.row, each.column)].append(each)
    return wells


def find_wells(line: Mapping[str, str], wells: Wells) -> list[tuple[str, str]]:
    """Return the wells that the columns well, row and column of a line mean.

    Without any of them a line means all wells.

    Raises
    ------
    SettingsError
        The columns contradict each other, or a range can be read in two ways.
    """
    row, column = line.get("row"), line.get("column")
    meant = []
    if "well" in line:
        meant.append(_find_word(line["well"], wells))
    if row is not None and column is not None:
        meant.append(_find_word(f"{row}/{column}", wells))
    elif row is not None:
        meant.append([key for key in wells if key[0] == row.upper()])
    elif column is not None:
        meant.append([key for key in wells if key[1] == plain_number(column)])
    if any(not set(meant[0]) <= set(each) for each in meant):
        raise SettingsError(
            f"well says {line['well']}, but row and column say "
            f"{row or ''}{column or ''}; keep one of them"
        )
    return meant[0] if meant else list(wells)


def _find_word(word: str, wells: Wells) -> list[tuple[str, str]]:
    """Return the wells that a word means: one, a range such as A01-A03, or none."""
    key = well_key(word)
    if key is not None:
        return [key] if key in wells else []
    if match := _RANGE.fullmatch(word):
        return _find_range(match, wells)
    return [key for key in wells if same_well(word, wells[key][0])]


def _find_range(match: re.Match[str], wells: Wells) -> list[tuple[str, str]]:
    row, column, sign, last_row, last_column = match.groups()
    rows = sorted(
        (len(each), each) for each in (row.upper(), (last_row or row).upper())
    )
    columns = sorted((int(column), int(last_column)))
    if sign != ":" and rows[0] != rows[1] and columns[0] != columns[1]:
        raise SettingsError(
            f"{match[0]} may mean a block or wells one after the other; write "
            f"{row}{column}:{last_row}{last_column} for the block, or a line a row"
        )
    return [
        (row, column)
        for row, column in wells
        if rows[0] <= (len(row), row) <= rows[1]
        and column.isdigit()
        and columns[0] <= int(column) <= columns[1]
    ]
