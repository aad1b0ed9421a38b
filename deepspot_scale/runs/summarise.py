"""The end of a run: the summaries of all its parts, measured once and written.

A run folder comes in; ``fields`` and the tables of `vocabulary.SUMMARIES` are written
into it. Cells are read part by part and kept as compact records, some 500 bytes per
cell instead of 5000, which give every number to the last bit. Nothing here draws, and
no image is read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
import pandas as pd

from deepspot_scale.io.plate import Plate
from deepspot_scale.io.tables import Folder, read_columns, write_table
from deepspot_scale.runs.colocalise import Each, compare_channels
from deepspot_scale.runs.compared_channels import resolve_pairs, warn_of_others
from deepspot_scale.runs.left_out import (
    count_left_out,
    find_left_out,
    read_least,
    with_least,
    write_least,
)
from deepspot_scale.runs.manifest import ADDRESS, read_fields
from deepspot_scale.runs.progress import Tell, counted
from deepspot_scale.runs.results import RunResults
from deepspot_scale.settings import Settings
from deepspot_scale.statistics.compact_bins import fold_bins
from deepspot_scale.statistics.condition_tests import compare_conditions
from deepspot_scale.statistics.groups import map_of_wells
from deepspot_scale.statistics.left_out import without_left_out
from deepspot_scale.statistics.polarity_tests import polarity_statistics
from deepspot_scale.statistics.roses import measure_roses
from deepspot_scale.statistics.sector_index import SectorIndex
from deepspot_scale.statistics.summaries import summarise_fields, summarise_groups
from deepspot_scale.tables import empty_table, join_tables
from deepspot_scale.vocabulary import CELLS, OCCASION, SUMMARIES

MOST_COMPARED: Final = 12
"""Most conditions that are compared in pairs; with more, a control is needed."""
STATISTICS: Final = ("polarity", "comparisons", "roses", "field_polarity")
"""Tables that runs of earlier versions left to the report."""
COMPARED: Final = ("colocalisation", "chromatic_shifts")
"""Tables of compared channels, which earlier versions could not compare."""
LATER: Final = (*COMPARED, "left_out")
"""Tables of what earlier versions could not do: without rows in their runs."""
_BINS: Final = ("spot_bins", "area_bins")
_RECORD: Final = (
    *("channel", *OCCASION, "cell", "touches_border", "n_spots", "reference_deg"),
    *_BINS,
)
"""The columns of a cell that summaries and statistics need besides its address."""


def summarise_run(  # noqa: PLR0913 - a run, what it is compared with, who is told
    out: Folder,
    settings: Settings,
    plate_map: pd.DataFrame,
    channels: Sequence[str],
    *,
    plate: Plate | None = None,
    each: Each = map,
    tell: Tell | None = None,
) -> None:
    """Write ``fields`` and all summary tables from the parts that count.

    Each of `channels`, in the order of the settings, has its rows, also where nothing
    was found. `plate` is the input, and `each` how parts are done, of a run that
    compares channels; `tell` is called as `progress.counted` does.
    """
    results = RunResults(out, settings, {}, read_fields(out), opened=plate)
    least = read_least(results)
    left_out = find_left_out(results, least)
    pairs = resolve_pairs(settings, channels)
    records = _read_records(results, tell)
    # Random draws depend on the order of cells. As always, it is by the name of the
    # part for these two tables, and by its first field for the statistics.
    cells = _join({part: records[part] for part in sorted(records)})
    spots = results.count_spots()
    found = (*spots["channel"].unique(), *cells["channel"].unique())
    if pairs:
        warn_of_others({*found} - {*channels})
    channels = list(dict.fromkeys((*channels, *found)))
    fields, index = results.fields, results.index
    groups = summarise_groups(
        fields,
        cells,
        plate_map,
        channels=channels,
        spots=spots,
        index=index,
        left_out=left_out,
    )
    del cells
    for part in list(records):  # one by one: the cells of a plate are large
        records[part] = without_left_out(records[part], left_out)
    statistics = _measure(records, map_of_wells(groups["wells"]), index, tell)
    # Written with the others, because they tell of the same fields.
    wells = map_of_wells(groups["wells"])
    compared = compare_channels(results, pairs, wells, left_out=left_out, each=each)
    write_least(out, least)
    counted = count_left_out(fields, left_out)
    write_table(out, "fields.parquet", counted, results.contents.fields)
    _write(out, groups | statistics | compared | {"left_out": left_out})


def with_statistics(
    results: RunResults, *, min_quality: float | None = None, tell: Tell | None = None
) -> RunResults:
    """Return a finished run that has every summary table.

    Tables that an earlier version did not write are measured and written here; all
    are, if it put the time points of the same cells together, or if `min_quality` is
    another least score of images that count than the summaries were made with.

    Raises
    ------
    RunError
        The images were not rated, and `min_quality` is given.
    """
    lacking = set(SUMMARIES) - set(results.summaries)
    least = min_quality or None  # no score is below 0
    if min_quality is not None and least != read_least(results):
        find_left_out(results, least)  # an error leaves the folder as it is
        results, lacking = with_least(results, least), set(SUMMARIES)
    if not lacking:
        return results
    if lacking <= {*STATISTICS, *LATER} and not results.settings.colocalise:
        tables = {name: empty_table(SUMMARIES[name]) for name in LATER}
        if not lacking <= set(LATER):
            records = _read_records(results, tell)
            tables |= _measure(records, results.plate_map, results.index, tell)
        _write(results.folder, tables)
    else:
        known = read_columns(results.folder, "wells.parquet", ["channel"])
        channels = known["channel"].unique().tolist()
        given = (results.settings, results.plate_map, channels)
        plate = results.plate if results.settings.colocalise else None
        summarise_run(results.folder, *given, plate=plate, tell=tell)
    return replace(results)  # a copy that has read nothing yet


def _read_records(
    results: RunResults, tell: Tell | None = None
) -> dict[str, pd.DataFrame]:
    """Return a record of each cell by part, with its bins folded for the index."""
    return {
        part: _record(cells, results.index.edges)
        for part, cells in results.iter_parts("cells", _RECORD, tell)
    }


def _record(cells: pd.DataFrame, edges: np.ndarray) -> pd.DataFrame:
    columns = {name: cells[name].to_list() for name in cells}
    for name in _BINS if len(cells) else ():
        columns[name] = list(fold_bins(np.stack(columns[name]), edges))
    # A new table: pandas keeps the memory of a replaced column with the other columns.
    return pd.DataFrame(columns, index=cells.index)


def _join(records: dict[str, pd.DataFrame]) -> pd.DataFrame:
    named = {*ADDRESS, *_RECORD}
    columns = tuple(c for c in CELLS if c.name in named)
    return join_tables(records.values(), columns)


def _measure(
    records: dict[str, pd.DataFrame],
    plate_map: pd.DataFrame,
    index: SectorIndex,
    tell: Tell | None,
) -> dict[str, pd.DataFrame]:
    """Return the tables of `STATISTICS`, without rows where there is no reference."""
    tables = {name: empty_table(SUMMARIES[name]) for name in STATISTICS}
    cells = _join(records)
    if cells["reference_deg"].isna().all():
        return tables
    several = 2 <= plate_map["condition"].nunique() <= MOST_COMPARED
    steps: dict[str, Callable[[], pd.DataFrame]] = {
        "polarity": partial(polarity_statistics, cells, plate_map, index=index),
        "comparisons": partial(compare_conditions, cells, plate_map, index=index),
        "roses": partial(measure_roses, cells, plate_map, index),
        "field_polarity": partial(summarise_fields, cells, index),
    }
    chosen = {name: steps[name] for name in steps if several or name != "comparisons"}
    for name, measure in counted(chosen.items(), "statistics", len(chosen), tell):
        tables[name] = measure()
    return tables


def _write(folder: Folder, tables: dict[str, pd.DataFrame]) -> None:
    for name, table in tables.items():
        write_table(folder, f"{name}.parquet", table, SUMMARIES[name])
