"""What is done in a run folder: parts of whole fields, each with its entry.

    RUN/spots/PART.parquet  cells/PART.parquet      written first
    RUN/manifest/PART.parquet                       written last: now the part counts
    RUN/settings.toml  provenance.json ...          see `run_folder`
    RUN/fields.parquet  wells.parquet ...           made of the parts, see `summarise`
    RUN/lease/NUMBER.json                           who works on it, see `lease`

A part without an entry comes from a killed writer and is removed. Nothing here knows
how a field is processed; `results` reads the parts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

import numpy as np
import pandas as pd

from deepspot_scale.io.tables import (
    PARTIAL,
    Folder,
    read_columns,
    read_table,
    read_tables,
    write_table,
)
from deepspot_scale.runs.contents import Contents, read_contents
from deepspot_scale.tables import as_table, empty_table
from deepspot_scale.vocabulary import DONE, UNKNOWN, Column, FieldAddress

LONGEST = 150
"""Most bytes of a field's name in a part's name; file systems allow 255 in all."""
_JOINING = frozenset("-/+")
"""Where a field's words have one of these, the joined name cannot be taken apart."""
ENTRIES = "manifest"
ADDRESS = ["row", "column", "field"]


def part_name(addresses: list[FieldAddress]) -> str:
    """Return the file name of the part that holds these fields, without ending.

    Lists of fields that differ have names that differ, also on file systems that know
    no case of letters, or write accents in another way.

    Examples
    --------
    >>> part_name([FieldAddress("B", "03", "0")])
    'B-03-0'
    """
    first = addresses[0]
    words = (first.row, first.column, first.field)
    name = "-".join(word.replace("/", "_") for word in words if word)
    # A complete file never has the mark of partial ones.
    short = name.encode()[:LONGEST].decode(errors="ignore").replace(PARTIAL, "_")
    plain = short == name and not _JOINING & set("".join(words))
    # Of the names that differ in case alone, as B-03-a and b-03-A, one is plain.
    plain = plain and name.isascii()
    plain = plain and (first.row.upper(), *map(str.lower, words[1:])) == words
    if len(addresses) == 1 and plain and bool(first.row) == bool(first.column):
        return name
    # Another batch may later start with the same field; it must not overwrite this one.
    members = json.dumps([(a.row, a.column, a.field) for a in addresses])
    digest = hashlib.sha256(members.encode()).hexdigest()[:16]
    return f"{short}+{len(addresses) - 1}-{digest}"


def commit_part(
    folder: Folder,
    name: str,
    tables: dict[str, pd.DataFrame],
    fields: pd.DataFrame,
    contents: Contents,
) -> None:
    """Write the tables of some whole fields, then the entry that makes them count.

    `name` comes from `part_name`. `tables` have their names in `contents`, and a table
    without rows gets no file. `fields` has one row for each field and the columns
    `Contents.fields`.
    """
    for kind, columns in contents.tables.items():
        _write_part(folder, f"{kind}/{name}.parquet", tables[kind], columns)
    write_table(folder, f"{ENTRIES}/{name}.parquet", fields, contents.fields)
    for kind, columns in contents.tables.items():
        path = f"{kind}/{name}.parquet"
        # Another client that ends its run may just have removed the part, which had no
        # entry yet.
        if len(tables[kind]) and not folder.exists(path):
            _write_part(folder, path, tables[kind], columns)


def _write_part(
    folder: Folder, path: str, table: pd.DataFrame, columns: tuple[Column, ...]
) -> None:
    if len(table):
        write_table(folder, path, table, columns)
    else:
        folder.remove(path)


def read_fields(folder: Folder) -> pd.DataFrame:
    """Return one row for each field that was tried, columns `Contents.fields`."""
    fields = _read_entries(folder)
    # A field that failed in one part and was done in another is done.
    fields = fields.sort_values([*ADDRESS, "status"], kind="stable")
    fields = fields.drop_duplicates(ADDRESS, ignore_index=True)
    # A well that was absent as a whole, and exists now, has rows of its fields.
    absent = fields["field"] == ""
    wells = pd.MultiIndex.from_frame(fields[["row", "column"]])
    exists = wells.isin(wells[~absent])
    return fields[~(absent & exists)].reset_index(drop=True)


def _read_entries(folder: Folder) -> pd.DataFrame:
    names = [f"{ENTRIES}/{name}" for name in folder.names(ENTRIES)]
    declared = read_contents(folder).fields
    try:
        return read_tables(folder, names, declared)
    except (KeyError, ValueError):  # earlier versions had fewer counts: one by one
        columns = [column.name for column in declared]
        tables = [read_columns(folder, name, columns) for name in names]
    blank = {c.name: "" if c.dtype == "string" else 0 for c in declared}
    blank |= {"n_absent": UNKNOWN} if "n_absent" in blank else {}
    whole = [table.assign(**{**blank, **table}) for table in tables]
    return as_table(pd.concat(whole, ignore_index=True), declared)


def settled(fields: pd.DataFrame, *, retry_failed: bool) -> set[FieldAddress]:
    """Return the fields that need no work; failed ones need it if they are retried."""
    kept = fields[fields["status"] == DONE] if retry_failed else fields
    return set(addresses_of(kept))


def addresses_of(table: pd.DataFrame) -> list[FieldAddress]:
    """Return the address of each row."""
    columns = (table[name] for name in ADDRESS)
    return [FieldAddress(*row) for row in zip(*columns, strict=True)]


def rows_of(fields: pd.DataFrame, addresses: set[FieldAddress]) -> pd.DataFrame:
    """Return the rows of these fields."""
    meant = [address in addresses for address in addresses_of(fields)]
    kept: pd.DataFrame = fields[np.array(meant, dtype=bool)]
    return kept


def remove_parts(folder: Folder, parts: Iterable[str]) -> None:
    """Remove whole parts, so that their fields are left to do.

    The entry goes first: tables without one do not count, and `sweep` removes them.
    """
    kinds = (ENTRIES, *read_contents(folder).tables)
    for part in parts:
        for kind in kinds:
            folder.remove(f"{kind}/{part}.parquet")


def sweep(folder: Folder) -> int:
    """Remove what killed writers left, so that each field is in one part only.

    Partial files and parts without an entry are removed, and so are rows of fields that
    were done twice. Call it at a run's end, not at its start: workers of a client that
    died a moment ago may have written a part but not yet its entry.
    """
    known = set(folder.names(ENTRIES))
    removed = folder.sweep(ENTRIES) + folder.sweep("")
    for kind in read_contents(folder).tables:
        removed += folder.sweep(kind)
        for name in folder.names(kind):
            # Check again just before deleting: the writer may have finished.
            if name not in known and not folder.exists(f"{ENTRIES}/{name}"):
                folder.remove(f"{kind}/{name}")
                removed += 1
    return removed + _drop_superseded(folder)


def _drop_superseded(folder: Folder) -> int:
    """Rewrite or remove parts with rows of fields that are taken from another part."""
    fields, contents = read_fields(folder), read_contents(folder)
    changed = 0
    for entry in folder.names(ENTRIES):
        part = entry.removesuffix(".parquet")
        own = fields[fields["part"] == part]
        if len(own) == len(read_columns(folder, f"{ENTRIES}/{entry}", ADDRESS)):
            continue
        changed += 1
        if own.empty:
            remove_parts(folder, [part])
            continue
        tables = {
            kind: own_rows(read_table(folder, f"{kind}/{entry}", columns), own)
            if entry in folder.names(kind)
            else empty_table(columns)
            for kind, columns in contents.tables.items()
        }
        commit_part(folder, part, tables, own, contents)
    return changed


def own_rows(table: pd.DataFrame, fields: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of a part's table that count: those of the fields taken from it.

    A field that two clients did is in two parts and is taken from one of them.
    """
    own = pd.MultiIndex.from_frame(fields[ADDRESS])
    kept: pd.DataFrame = table[pd.MultiIndex.from_frame(table[ADDRESS]).isin(own)]
    return kept
