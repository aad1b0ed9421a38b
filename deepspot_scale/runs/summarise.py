"""The end of a run: what its parts hold together, measured once and written.

A run folder comes in; ``fields`` and the tables of `vocabulary.SUMMARIES` are written
into it. Cells are read part by part and kept as compact records, some 500 bytes a cell
instead of 5000, from which every number follows to the last bit. Nothing here draws,
and no image is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pandas as pd

from deepspot_scale.io.tables import Folder, write_table
from deepspot_scale.runs.manifest import ADDRESS, read_fields
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import Settings
from deepspot_scale.statistics.compact_bins import fold_bins
from deepspot_scale.statistics.condition_tests import compare_conditions
from deepspot_scale.statistics.groups import map_of_wells
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.roses import measure_roses
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.statistics.summaries import summarise_fields, summarise_groups
from deepspot_scale.tables import empty_table, join_tables
from deepspot_scale.vocabulary import CELLS, SUMMARIES

MOST_COMPARED: Final = 12
"""With more conditions all pairs are too many to read; a control is then needed."""
STATISTICS: Final = ("polarity", "comparisons", "roses", "field_polarity")
"""Tables that runs of earlier versions left to the report."""
_BINS: Final = ("spot_bins", "area_bins")
_RECORD: Final = (
    *("t", "channel", "z", "cell", "touches_border", "n_spots", "reference_deg"),
    *_BINS,
)
"""What of a cell, beside its address, summaries and statistics are made of."""


def summarise_run(
    out: Folder, settings: Settings, plate_map: pd.DataFrame, channels: Sequence[str]
) -> None:
    """Write ``fields`` and all summary tables from the parts that count.

    Each of `channels` has its rows, also where nothing was found.
    """
    results = RunResults(out, settings, {}, read_fields(out))
    records = _read_records(results)
    # Draws follow the order of cells: for these two tables by name of the part, for
    # the statistics by its first field, as they were always drawn.
    cells = _join({part: records[part] for part in sorted(records)})
    spots = results.count_spots()
    found = (*spots["channel"].unique(), *cells["channel"].unique())
    channels = list(dict.fromkeys((*channels, *found)))
    fields, index = results.fields, results.index
    groups = summarise_groups(
        fields, cells, plate_map, channels=channels, spots=spots, index=index
    )
    del cells
    statistics = _measure(records, map_of_wells(groups["wells"]), index)
    write_table(out, "fields.parquet", fields, results.contents.fields)
    _write(out, groups | statistics)


def with_statistics(results: RunResults) -> RunResults:
    """Return a finished run that has every summary table.

    Those that an earlier version did not write are measured and written here.
    """
    if set(STATISTICS) <= set(results.summaries):
        return results
    records = _read_records(results)
    _write(results.folder, _measure(records, results.plate_map, results.index))
    return replace(results)  # which has read nothing yet


def _read_records(results: RunResults) -> dict[str, pd.DataFrame]:
    """Return a record of each cell by part, its bins folded to what the index reads."""
    return {
        part: _record(cells, results.index.edges)
        for part, cells in results.iter_parts("cells", _RECORD)
    }


def _record(cells: pd.DataFrame, edges: np.ndarray) -> pd.DataFrame:
    columns = {name: cells[name].to_list() for name in cells}
    for name in _BINS if len(cells) else ():
        columns[name] = list(fold_bins(np.stack(columns[name]), edges))
    # A table of its own: pandas keeps what a replaced column held as long as others.
    return pd.DataFrame(columns, index=cells.index)


def _join(records: dict[str, pd.DataFrame]) -> pd.DataFrame:
    named = {*ADDRESS, *_RECORD}
    columns = tuple(c for c in CELLS if c.name in named)
    return join_tables(records.values(), columns)


def _measure(
    records: dict[str, pd.DataFrame], plate_map: pd.DataFrame, index: SectorIndex
) -> dict[str, pd.DataFrame]:
    """Return the tables of `STATISTICS`, without rows where there is no reference."""
    tables = {name: empty_table(SUMMARIES[name]) for name in STATISTICS}
    cells = _join(records)
    if cells["reference_deg"].isna().all():
        return tables
    tables["polarity"] = polarity_statistics(cells, plate_map, index=index)
    if 2 <= plate_map["condition"].nunique() <= MOST_COMPARED:
        tables["comparisons"] = compare_conditions(cells, plate_map, index=index)
    tables["roses"] = measure_roses(cells, plate_map, index)
    tables["field_polarity"] = summarise_fields(cells, index)
    return tables


def _write(folder: Folder, tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        write_table(folder, f"{name}.parquet", table, SUMMARIES[name])
