"""The one reader of a run folder: its settings, its fields and every table it holds.

A run folder comes in. Tables come out part by part, field by field or whole, each row
from the part that counts for its field (`manifest.read_fields`). The folder's
`contents` and `vocabulary.SUMMARIES` say which tables there are; only the name of the
spots, which are counted, is known here. Nothing here writes or measures.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from deepspot_scale.errors import PlateError, RunError, SettingsError, did_you_mean
from deepspot_scale.io.plate import Plate, open_plate
from deepspot_scale.io.stores import Source
from deepspot_scale.io.tables import Folder, read_columns, read_table
from deepspot_scale.runs import manifest
from deepspot_scale.runs.contents import OLD, Contents, read_contents
from deepspot_scale.runs.manifest import ADDRESS, addresses_of, rows_of
from deepspot_scale.runs.notebook_summary import summarise_html
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.settings import Settings, read_settings
from deepspot_scale.stages.polarity.measure import PolarityOptions
from deepspot_scale.statistics.groups import DOSE, MAP, WELL, map_of_wells
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.tables import as_table, empty_table, join_tables
from deepspot_scale.vocabulary import (
    DONE,
    FAILED,
    MOVIE_SUMMARIES,
    SPOTS,
    SUMMARIES,
    Column,
    FieldAddress,
    same_well,
)

_PLANE_OF_SPOTS = ("acquisition", "t", "plane")
"""The columns `OCCASION` as spots have them, whose z is a depth."""
_SPOT_COUNTS = (
    *(c for c in SPOTS if c.name in {*ADDRESS, *_PLANE_OF_SPOTS, "channel"}),
    Column("n_spots", "int64", "spots found"),
)


@dataclass(frozen=True)
class FieldResult:
    """The tables of one field that is done."""

    address: FieldAddress
    tables: dict[str, pd.DataFrame]
    """The field's own rows by the name of the table."""

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]


@dataclass(frozen=True)
class RunResults:
    """The content of a run folder, for all or some of its fields."""

    folder: Folder
    settings: Settings
    provenance: dict[str, Any]
    """Input, versions, weights."""
    fields: pd.DataFrame
    """`Contents.fields` of the selected fields that were tried, in order of address."""
    moved_to: str = ""
    """Where the input is now; empty: where it was."""
    opened: Plate | None = None
    """The input, if the user has opened it; None: it is opened when it is needed."""
    on_field: Callable[[int, int], None] | None = None
    """Called with the numbers of finished and all fields by what goes through them."""

    @property
    def begun_on(self) -> str:
        """Path or URL of the run's input when the run began."""
        return str(self.provenance.get("input", {}).get("source", ""))

    @property
    def source(self) -> str:
        """Path or URL of the run's input."""
        return self.moved_to or self.begun_on

    @property
    def plate_name(self) -> str:
        """Name of the input."""
        return str(self.provenance.get("input", {}).get("name", ""))

    @cached_property
    def contents(self) -> Contents:
        """Tables and layers of the run."""
        return read_contents(self.folder)

    @cached_property
    def plate(self) -> Plate:
        """The run's input; PlateError if it is no longer there."""
        if self.opened is not None:
            return self.opened
        try:
            return open_plate(self.source)
        except PlateError as error:
            raise PlateError(
                f"the input of the run {self.folder.url} cannot be opened: {error} "
                "If it was moved, say where it is now (plate)."
            ) from error

    @property
    def index(self) -> SectorIndex:
        """How polarity is measured, by the settings."""
        own = self.settings.of(PolarityOptions)
        return SectorIndex(own.sectors, own.min_spots, own.rotation, own.exclude_border)

    @property
    def done(self) -> pd.DataFrame:
        """The fields that are done."""
        return self.fields[self.fields["status"] == DONE]

    @property
    def failed(self) -> pd.DataFrame:
        """The fields that failed."""
        return self.fields[self.fields["status"] == FAILED]

    @cached_property
    def summaries(self) -> dict[str, pd.DataFrame]:
        """The tables of `vocabulary.SUMMARIES` that the run has written, by name.

        Those of an earlier version, which put the time points of a cell together, are
        left out.
        """
        there, found = set(self.folder.names("")), {}
        for name, columns in SUMMARIES.items():
            if f"{name}.parquet" in there:
                with suppress(KeyError):
                    found[name] = _read_summary(self.folder, name, columns)
        return found

    @cached_property
    def movie_tables(self) -> dict[str, pd.DataFrame]:
        """The tables of `vocabulary.MOVIE_SUMMARIES` that the run has, by name."""
        there = set(self.folder.names(""))
        return {
            name: read_table(self.folder, f"{name}.parquet", columns)
            for name, columns in MOVIE_SUMMARIES.items()
            if f"{name}.parquet" in there
        }

    @property
    def wells(self) -> pd.DataFrame:
        """`vocabulary.WELLS`; RunError if an earlier version wrote them."""
        if "wells" not in self.summaries:
            raise RunError(
                f"the summaries in {self.folder.url} are of an earlier version; make "
                "them again: deepspot-scale report"
            )
        return self.summaries["wells"]

    @cached_property
    def plate_map(self) -> pd.DataFrame:
        """row, column, condition, gene, replicate; one line for each well.

        If wells have doses, dose (NaN: none) and dose_unit too.
        """
        # Columns that an earlier version did not write are left out here.
        names = [*WELL, *MAP, *DOSE]
        return map_of_wells(read_columns(self.folder, "wells.parquet", names))

    def _repr_html_(self) -> str:
        """Return a compact summary, as a notebook shows it."""
        facts = {
            "run": self.folder.url,
            "plate": self.source,
            "channels": ", ".join(self.settings.channels),
            "fields": f"{len(self.done)} done, {len(self.failed)} failed",
            "spots": int(self.done["n_spots"].sum()),
            "cells": int(self.done["n_cells"].sum()),
            "tables": ", ".join([*self.contents.tables, *self.summaries]),
        }
        return summarise_html(facts, self.summaries.get("conditions"))

    def iter_parts(
        self, name: str, columns: Sequence[str] = (), tell: Tell | None = None
    ) -> Iterator[tuple[str, pd.DataFrame]]:
        """Yield each part that has rows of a table, with the rows that count.

        `name` is one of `contents.tables`. If `columns` are given, only these and the
        address are decoded. `tell` is called as `progress.counted` does.
        """
        declared, there = self._columns(name, columns), set(self.folder.names(name))
        parts = [
            (str(part), rows)
            for part, rows in self.done.groupby("part", sort=False)
            if f"{part}.parquet" in there  # a table without rows has no file
        ]
        for part, rows in counted(parts, f"parts of {name}", len(parts), tell):
            yield part, self._read_part(name, part, rows, declared)

    def read_part(
        self, name: str, part: str, columns: Sequence[str] = ()
    ) -> pd.DataFrame:
        """Return the rows of one part that count; parameters are as in `iter_parts`."""
        declared = self._columns(name, columns)
        if not self.folder.exists(f"{name}/{part}.parquet"):
            return empty_table(declared)
        return self._read_part(
            name, part, self.done[self.done["part"] == part], declared
        )

    def _read_part(
        self, name: str, part: str, fields: pd.DataFrame, columns: tuple[Column, ...]
    ) -> pd.DataFrame:
        path, names = f"{name}/{part}.parquet", [column.name for column in columns]
        table = as_table(read_columns(self.folder, path, names), columns)
        own = manifest.own_rows(table, fields)
        if name in OLD.tables and "acquisition" not in self._declared(name):
            numbers = fields[[*ADDRESS, "acquisition"]]
            own = own.merge(numbers, how="left", on=ADDRESS)
        return own

    def _columns(self, name: str, wanted: Sequence[str]) -> tuple[Column, ...]:
        """Return the wanted columns of a table; all if none is named."""
        kept = {*ADDRESS, *wanted}
        declared = self.contents.tables[name]
        return tuple(c for c in declared if not wanted or c.name in kept)

    def _declared(self, name: str) -> set[str]:
        return {column.name for column in self.contents.tables[name]}

    def read(
        self, name: str, columns: Sequence[str] = (), tell: Tell | None = None
    ) -> pd.DataFrame:
        """Return all rows of a table that count; parameters are as in `iter_parts`."""
        parts = (table for _, table in self.iter_parts(name, columns, tell))
        return join_tables(parts, self._columns(name, columns))

    def count_spots(self) -> pd.DataFrame:
        """Return address, plane, channel and n_spots of each image with spots."""
        own = [*_PLANE_OF_SPOTS, "channel"]
        keys = [*ADDRESS, *own]
        counts = [
            table.groupby(keys, as_index=False).size()
            for _, table in self.iter_parts("spots", own)
        ]
        if not counts:
            return empty_table(_SPOT_COUNTS)
        whole = pd.concat(counts, ignore_index=True).rename(columns={"size": "n_spots"})
        return as_table(whole, _SPOT_COUNTS)

    def iter_fields(self) -> Iterator[FieldResult]:
        """Yield the fields that are done, each with its rows of every table."""
        declared = self.contents.tables
        there = {name: set(self.folder.names(name)) for name in declared}
        told = 0
        for part, rows in self.done.groupby("part", sort=False):
            found = {
                name: _by_field(self._read_part(name, str(part), rows, declared[name]))
                if f"{part}.parquet" in parts
                else {}
                for name, parts in there.items()
            }
            for address in addresses_of(rows):
                tables = {
                    name: found[name].get(address, empty_table(columns))
                    for name, columns in declared.items()
                }
                yield FieldResult(address, tables)
                told += 1
                self._tell(told)

    def iter_done(self) -> Iterator[FieldAddress]:
        """Yield the addresses of the fields that are done."""
        for told, address in enumerate(addresses_of(self.done), start=1):
            yield address
            self._tell(told)

    def _tell(self, n: int) -> None:
        if self.on_field is not None:
            self.on_field(n, len(self.done))

    def of_field(self, address: FieldAddress) -> FieldResult:
        """Return the tables of one field; they are empty if it failed."""
        declared = self.contents.tables.items()
        nothing = {name: empty_table(columns) for name, columns in declared}
        own = replace(self, fields=rows_of(self.fields, {address}))
        return next(own.iter_fields(), FieldResult(address, nothing))

    def only(self, words: Sequence[str]) -> RunResults:
        """Return the same run with fewer fields; SettingsError if it lacks one.

        Words are paths such as ``B/03/0`` or wells such as ``B03``; no words: all
        fields.
        """
        addresses = addresses_of(self.fields)
        for word in words:
            if not any(_means(word, address) for address in addresses):
                near = did_you_mean(word, [address.path for address in addresses])
                raise SettingsError(f"the run has no field or well {word!r}." + near)
        meant = {a for a in addresses if not words or any(_means(w, a) for w in words)}
        chosen = rows_of(self.fields, meant).reset_index(drop=True)
        return replace(self, fields=chosen)


def _read_summary(
    folder: Folder, name: str, columns: tuple[Column, ...]
) -> pd.DataFrame:
    """Read a summary; those of earlier versions lack some columns of `_LATER`."""
    path, lacking = f"{name}.parquet", dict[str, Any]()
    for later in ({}, DOSE, {"n_left_out": 0}):
        lacking |= later
        earlier = tuple(column for column in columns if column.name not in lacking)
        try:
            table = read_table(folder, path, earlier)
        except KeyError:
            continue
        return as_table(table.assign(**lacking), columns)
    raise KeyError(path)


def _by_field(table: pd.DataFrame) -> dict[FieldAddress, pd.DataFrame]:
    return {
        FieldAddress(*map(str, key)): rows.reset_index(drop=True)
        for key, rows in table.groupby(ADDRESS, sort=False)
    }


def _means(word: str, address: FieldAddress) -> bool:
    if word.strip("/") == address.path:
        return True
    return bool(address.row) and same_well(word, address)


def read_run(folder: Folder) -> tuple[Settings, dict[str, Any]]:
    """Return a run's settings and provenance; RunError if the folder holds none."""
    try:
        settings = read_settings(folder.read("settings.toml").decode())
        facts: dict[str, Any] = json.loads(folder.read("provenance.json"))
    except (OSError, ValueError, ImportError) as error:
        raise RunError(
            f"{folder.url} holds no run: {error}; give the folder that run --out made"
        ) from error
    return settings, facts


def open_results(run: Source, *, plate: Source | Plate | None = None) -> RunResults:
    """Open a run folder for reading, however far the run is.

    `run` is the folder that `run` wrote, or its fsspec URL; `plate` is the run's input
    or where it is now, None: where it was.

    Raises
    ------
    RunError
        There is no run.
    """
    folder = Folder(str(run))
    settings, facts = read_run(folder)
    fields = manifest.read_fields(folder)
    opened = plate if isinstance(plate, Plate) else None
    moved_to = str(opened.source if opened else plate or "")
    return RunResults(folder, settings, facts, fields, moved_to, opened)


def open_run(run: Source, *, plate: Source | Plate | None = None) -> RunResults:
    """Open a finished run; RunError if it is not finished."""
    there = set(Folder(str(run)).names(""))
    needed = ("fields.parquet", "wells.parquet", "conditions.parquet")
    wanted = ("settings.toml", "provenance.json", *needed)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise RunError(
            f"{run} has no {', '.join(missing)}, which a run writes; name the "
            "folder of a run, and let it finish first"
        )
    return open_results(run, plate=plate)
