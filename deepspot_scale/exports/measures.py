"""Cells as one flat table: the measures of each, without lists in a column.

The run's cells come in, with spots and area in 360 one-degree bins; a table goes out
with sums over the run's sectors instead, because other tools read plain numbers only,
and with the content of the well. Nothing here reads or writes files.
"""

from __future__ import annotations

import pandas as pd

from deepspot_scale.exports.results import WELL_WORDS, RunResults
from deepspot_scale.kernels.sectors import relative_concentration, sector_sums
from deepspot_scale.stages.polarity.measure import PolarityOptions
from deepspot_scale.tables import as_table
from deepspot_scale.vocabulary import CELLS, WELLS, Column

KEYS = ("row", "column", "field", "t", "channel", "z", "cell")
"""Columns that identify the cell, channel and plane of a row."""


def measure_columns(n_sectors: int) -> tuple[Column, ...]:
    """Return the columns of `measure_cells`."""
    kept = tuple(column for column in CELLS if column.dtype != "bins")
    wells = tuple(column for column in WELLS if column.name in WELL_WORDS)
    return kept + wells + _sector_columns(n_sectors)


def _sector_columns(n_sectors: int) -> tuple[Column, ...]:
    width = 360 // n_sectors
    columns = []
    for k in range(n_sectors):
        where = f"{width} degree sector around the reference"
        if k:
            where = f"sector {k * width} degrees counter-clockwise of it"
        columns += [
            Column(f"area_sector_{k}", "int64", f"cytoplasm pixels in the {where}"),
            Column(f"spots_sector_{k}", "int64", f"cytoplasm spots in the {where}"),
            Column(
                f"concentration_sector_{k}",
                "float64",
                f"spot density of sector {k} over the whole cytoplasm's, 1: uniform; "
                "NaN: no area, or no spots in the cell",
            ),
        ]
    return tuple(columns)


def measure_cells(results: RunResults, cells: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each row of `cells`, with numbers and texts only.

    Parameters
    ----------
    results
        The run, with its number of sectors and the content of each well.
    cells
        The columns `vocabulary.CELLS`.

    Returns
    -------
    pandas.DataFrame
        Columns as in `measure_columns`. Sectors are numbered counter-clockwise; sector
        0 is centred on the reference, or on +x without a reference.
    """
    n_sectors = results.settings.of(PolarityOptions).sectors
    table = cells.merge(results.wells, how="left", on=["row", "column"])
    table = table.fillna(dict.fromkeys(WELL_WORDS, ""))
    bins = {name: cells[name].to_list() for name in ("area_bins", "spot_bins")}
    if len(cells):
        areas, spots = (sector_sums(bins[name], n_sectors) for name in bins)
    else:
        areas = spots = sector_sums([[0] * 360], n_sectors)[:0]
    relative = relative_concentration(spots, areas)
    for k in range(n_sectors):
        table[f"area_sector_{k}"] = areas[:, k]
        table[f"spots_sector_{k}"] = spots[:, k]
        table[f"concentration_sector_{k}"] = relative[:, k]
    return as_table(table, measure_columns(n_sectors))


def feature_names(n_sectors: int) -> list[str]:
    """Return the names of the columns with measured numbers."""
    return [
        column.name
        for column in measure_columns(n_sectors)
        if column.name not in KEYS and column.dtype not in {"string", "bool"}
    ]
