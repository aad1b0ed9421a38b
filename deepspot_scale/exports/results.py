"""A finished run, read field by field: what every export and the viewer start from.

A run folder comes in; its settings, the fields that were asked for, and for each of
them its own spots and cells go out. Only the tables of one part, a handful of fields,
are held at a time. Nothing here writes, and nothing knows another tool's format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import pandas as pd

from deepspot_scale.errors import PlateError, RunError, SettingsError, did_you_mean
from deepspot_scale.io.plate import Field, Plate, open_plate
from deepspot_scale.io.stores import Source
from deepspot_scale.io.tables import Folder, read_table
from deepspot_scale.runs.manifest import PARTS, read_fields
from deepspot_scale.settings import Settings, read_settings
from deepspot_scale.tables import empty_table
from deepspot_scale.vocabulary import DONE, FAILED, WELLS, FieldAddress, same_well

_ADDRESS = ["row", "column", "field"]
WELL_WORDS = ["condition", "gene", "replicate"]
"""What the plate map says about a well."""


class FieldResult(NamedTuple):
    """What was found in one field that is done."""

    address: FieldAddress
    spots: pd.DataFrame
    """The columns `vocabulary.SPOTS`."""
    cells: pd.DataFrame
    """The columns `vocabulary.CELLS`; one row for each cell, channel and plane."""


@dataclass(frozen=True)
class RunResults:
    """A run that has been summed up, and which of its fields are meant."""

    folder: Folder
    settings: Settings
    provenance: str
    """Text of provenance.json."""
    fields: pd.DataFrame
    """The columns `vocabulary.FIELDS`; those asked for, in order of address."""
    wells: pd.DataFrame
    """row, column, condition, gene, replicate; one row for each well."""
    source: str
    """Where the input of the run is."""
    plate_name: str
    """Of the input."""

    @cached_property
    def plate(self) -> Plate:
        """The run's input; PlateError when it is not where it was."""
        try:
            return open_plate(self.source)
        except PlateError as error:
            raise PlateError(
                f"the input of the run {self.folder.url} cannot be opened: {error} "
                "If it was moved, say where it is now (plate)."
            ) from error

    def check_cells(self, why: str) -> None:
        """Raise RunError unless the run measured cells; `why` says who needs them."""
        if self.settings.cells is None:
            raise RunError(
                f"{why}, and the run {self.folder.url} has none: it was started "
                "without --cells. Run again with it, or export csv, spatialdata or "
                "napari"
            )

    def open_stored(self, address: FieldAddress) -> Field:
        """Open a field of the input; RunError when nothing can be added to it."""
        field = self.plate.open(address.path)
        if field.group:
            return field
        raise RunError(
            f"{field.image.source} is no OME-Zarr image, so nothing can be added to "
            "it; convert the images to a plate and run on that, or choose another "
            "export"
        )

    @property
    def done(self) -> pd.DataFrame:
        """The fields that are done."""
        return self.fields[self.fields["status"] == DONE]

    @property
    def failures(self) -> dict[str, str]:
        """Path and reason of each field that failed."""
        failed = self.fields[self.fields["status"] == FAILED]
        paths = (address.path for address in addresses_of(failed))
        return dict(zip(paths, failed["reason"], strict=True))

    def iter_fields(self) -> Iterator[FieldResult]:
        """Yield the fields that are done, each with its own rows."""
        for part, rows in self.done.groupby("part", sort=False):
            found = {kind: self._read_part(kind, str(part)) for kind in PARTS}
            for address in addresses_of(rows):
                own = {kind: found[kind].get(address) for kind in PARTS}
                tables = (
                    empty_table(PARTS[kind]) if table is None else table
                    for kind, table in own.items()
                )
                yield FieldResult(address, *tables)

    def _read_part(self, kind: str, part: str) -> dict[FieldAddress, pd.DataFrame]:
        """Return the rows of each field of one part."""
        name = f"{kind}/{part}.parquet"
        if not self.folder.exists(name):  # a table without rows has no file
            return {}
        table = read_table(self.folder, name, PARTS[kind])
        return {
            FieldAddress(*map(str, key)): rows.reset_index(drop=True)
            for key, rows in table.groupby(_ADDRESS, sort=False)
        }


def addresses_of(fields: pd.DataFrame) -> list[FieldAddress]:
    """Return the address of each row."""
    columns = (fields[name] for name in _ADDRESS)
    return [FieldAddress(*row) for row in zip(*columns, strict=True)]


def open_results(
    run: Source, *, fields: Sequence[str] = (), plate: Source | None = None
) -> RunResults:
    """Open a run folder for reading.

    Parameters
    ----------
    run
        The folder that `run` wrote, or its fsspec URL.
    fields
        Paths such as ``B/03/0`` or wells such as ``B03``; none means all.
    plate
        Where the run's input is now; None: where it was.

    Raises
    ------
    RunError
        There is no run, or it has not come to its end yet.
    SettingsError
        A field or well that the run does not have.
    """
    folder = Folder(str(run))
    for name in ("settings.toml", "provenance.json", "wells.parquet"):
        if not folder.exists(name):
            raise RunError(
                f"{run} has no {name}, which a run writes; name the folder of a run, "
                "and let it finish first"
            )
    provenance = folder.read("provenance.json").decode()
    facts: Mapping[str, str] = json.loads(provenance)["input"]
    tried = read_fields(folder)
    return RunResults(
        folder,
        read_settings(folder.read("settings.toml").decode()),
        provenance,
        _choose(tried, fields),
        _what_wells_hold(folder),
        str(plate or facts["source"]),
        str(facts["name"]),
    )


def _what_wells_hold(folder: Folder) -> pd.DataFrame:
    wells = read_table(folder, "wells.parquet", WELLS)
    kept: pd.DataFrame = wells[["row", "column", *WELL_WORDS]]
    return kept.drop_duplicates(["row", "column"], ignore_index=True)


def _choose(tried: pd.DataFrame, words: Sequence[str]) -> pd.DataFrame:
    """Return the rows that the words mean, in the order of `tried`."""
    if not words:
        return tried
    addresses = addresses_of(tried)
    for word in words:
        if not any(_means(word, address) for address in addresses):
            paths = [address.path for address in addresses]
            raise SettingsError(
                f"the run has no field or well {word!r}." + did_you_mean(word, paths)
            )
    chosen = [any(_means(word, a) for word in words) for a in addresses]
    return tried[chosen].reset_index(drop=True)


def _means(word: str, address: FieldAddress) -> bool:
    if word.strip("/") == address.path:
        return True
    return bool(address.row) and same_well(word, address)


def safe_names(words: Iterable[str]) -> dict[str, str]:
    """Return for each word a name of letters, digits, ``_``, ``-`` and ``.`` only.

    Such a name is good as the name of a file, and no two are alike when the case of
    letters does not count: ``B/03/0`` becomes ``B_03_0``.
    """
    names: dict[str, str] = {}
    taken: set[str] = set()
    for word in words:
        plain = re.sub(r"[^A-Za-z0-9._-]", "_", word).lstrip("._") or "field"
        name, number = plain, 1
        while name.lower() in taken:
            number += 1
            name = f"{plain}_{number}"
        taken.add(name.lower())
        names[word] = name
    return names
