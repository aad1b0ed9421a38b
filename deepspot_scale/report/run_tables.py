"""The tables of a run as its report needs them: a run's folder in, tables out.

Reads what stands in the folder and measures polarity once, for all sections of the
page. Nothing here draws, and no image is read.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pandas as pd

from deepspot_scale.errors import RunError
from deepspot_scale.settings import Settings, read_settings
from deepspot_scale.statistics.condition_tests import compare_conditions
from deepspot_scale.statistics.groups import FIELD, MAP, WELL
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.tables import empty_table, join_tables
from deepspot_scale.vocabulary import (
    CELLS,
    COMPARISONS,
    DONE,
    FAILED,
    FIELDS,
    POLARITY,
    SPOTS,
    Column,
    FieldAddress,
)

MOST_COMPARED: Final = 12
"""With more conditions all pairs are too many to read; a control is then needed."""


@dataclass(frozen=True)
class RunTables:
    """What stands in the folder of a run."""

    folder: Path
    fields: pd.DataFrame
    """`vocabulary.FIELDS`."""
    wells: pd.DataFrame
    """`vocabulary.WELLS`."""
    conditions: pd.DataFrame
    """`vocabulary.CONDITIONS`."""
    cells: pd.DataFrame
    """`vocabulary.CELLS`, each cell once; no rows where no cells were measured."""
    settings: Settings | None
    """None when the folder does not say."""
    provenance: dict[str, Any]
    """Input, versions, weights; empty when the folder does not say."""

    @property
    def done(self) -> pd.DataFrame:
        """The fields that are done."""
        return self.fields[self.fields["status"] == DONE]

    @property
    def failed(self) -> pd.DataFrame:
        """The fields that failed."""
        return self.fields[self.fields["status"] == FAILED]

    @property
    def plate_map(self) -> pd.DataFrame:
        """row, column, condition, gene, replicate; one line for each well."""
        kept = self.wells[[*WELL, *MAP]]
        return kept.drop_duplicates(WELL, ignore_index=True)

    @property
    def index(self) -> SectorIndex:
        """How the run's settings say that polarity is measured."""
        if self.settings is None:
            return SectorIndex()
        known = {field.name for field in dataclasses.fields(SectorIndex)}
        given = self.settings.model_dump()
        return SectorIndex(**{k: v for k, v in given.items() if k in known})

    def spots_of(self, address: FieldAddress) -> pd.DataFrame:
        """Return the spots of one field, `vocabulary.SPOTS`."""
        own = self.done[(self.done[FIELD] == list(_names(address))).all(axis=1)]
        return _read_parts(self.folder, "spots", own, SPOTS)

    def cells_of(self, address: FieldAddress) -> pd.DataFrame:
        """Return the cells of one field."""
        return self.cells[(self.cells[FIELD] == list(_names(address))).all(axis=1)]


@dataclass(frozen=True)
class Findings:
    """What the statistics say, measured once."""

    index: SectorIndex
    polarity: pd.DataFrame
    """`inference.polarity_statistics` by condition and gene."""
    comparisons: pd.DataFrame
    """`comparison.compare_conditions`; no rows with one condition or too many."""


def read_run(folder: Path) -> RunTables:
    """Read the tables of a run.

    Raises
    ------
    RunError
        The folder lacks one of fields, wells, conditions.
    """
    fields, wells, conditions = (
        _read_table(folder, name) for name in ("fields", "wells", "conditions")
    )
    for column in FIELDS:  # runs of earlier versions counted less
        if column.name not in fields:
            fields[column.name] = "" if column.dtype == "string" else 0
    settings, facts = folder / "settings.toml", folder / "provenance.json"
    return RunTables(
        folder,
        fields,
        wells,
        conditions,
        _read_parts(folder, "cells", fields[fields["status"] == DONE], CELLS),
        read_settings(settings.read_text("utf-8")) if settings.is_file() else None,
        dict(json.loads(facts.read_text("utf-8"))) if facts.is_file() else {},
    )


def measure_findings(run: RunTables) -> Findings:
    """Measure the polarity of each condition, and which pairs of them differ."""
    index, plate_map = run.index, run.plate_map
    if run.cells.empty or run.cells["reference_deg"].isna().all():
        return Findings(index, _no_polarity(), empty_table(COMPARISONS))
    polarity = polarity_statistics(run.cells, plate_map, index=index)
    compared = empty_table(COMPARISONS)
    if 2 <= plate_map["condition"].nunique() <= MOST_COMPARED:
        compared = compare_conditions(run.cells, plate_map, index=index)
    return Findings(index, polarity, compared)


def _no_polarity() -> pd.DataFrame:
    group = (Column(name, "string", "") for name in ("channel", "condition", "gene"))
    return empty_table((*group, *POLARITY))


def _names(address: FieldAddress) -> Iterable[str]:
    return address.row, address.column, address.field


def _read_table(folder: Path, name: str) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise RunError(
            f"a report needs {name}.parquet in {folder}, which is not there; let the "
            "run finish first, or name its folder"
        )
    return pd.read_parquet(path)


def _read_parts(
    folder: Path, kind: str, fields: pd.DataFrame, columns: tuple[Column, ...]
) -> pd.DataFrame:
    """Return the rows of these fields, each from the part that counts for it."""
    tables = []
    for part, own in fields.groupby("part", sort=False):
        path = folder / kind / f"{part}.parquet"
        if path.is_file():
            table = pd.read_parquet(path)
            known = pd.MultiIndex.from_frame(own[FIELD])
            tables.append(table[pd.MultiIndex.from_frame(table[FIELD]).isin(known)])
    return join_tables(tables, columns)
