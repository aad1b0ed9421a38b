"""Cells as one flat table: what was measured of each, without lists in a column.

The run's cells come in, whose spots and area are counted in 360 one-degree bins;
sums over the run's sectors go out in their place, beside what the well holds. Other
tools read plain numbers only. Nothing here reads or writes files.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from deepspot_scale.kernels.sectors import relative_concentration, sector_sums
from deepspot_scale.statistics.groups import MAP
from deepspot_scale.tables import as_table
from deepspot_scale.vocabulary import CELLS, VOLUMES, WELLS, Column

KEYS = ("row", "column", "field", "acquisition", "t", "channel", "z", "cell")
"""Columns that say which cell, in which channel and plane, a row is about."""


def measure_columns(n_sectors: int) -> tuple[Column, ...]:
    """Return the columns of `measure_cells`."""
    kept = tuple(column for column in CELLS if column.dtype != "bins")
    wells = tuple(column for column in WELLS if column.name in MAP)
    return kept + wells + _sector_columns(n_sectors)


def _sector_columns(n_sectors: int) -> tuple[Column, ...]:
    width = 360 // n_sectors
    columns = []
    for k in range(n_sectors):
        where = f"{width} degree sector about the reference"
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


def measure_cells(
    cells: pd.DataFrame, plate_map: pd.DataFrame, n_sectors: int
) -> pd.DataFrame:
    """Return one row for each row of `cells`, with the columns of `measure_columns`.

    `plate_map` is that of `RunResults`. Sectors count counter-clockwise; sector 0 is
    centred on the reference, on +x where none was given.
    """
    table = cells.merge(plate_map, how="left", on=["row", "column"])
    table = table.fillna(dict.fromkeys(MAP, ""))
    # Runs of an earlier version have flat cells only.
    unknown = dict.fromkeys(set(VOLUMES) - set(table), np.nan)
    table = table.assign(**unknown | {"touches_ends": table.get("touches_ends", False)})
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
    """Return the columns that are measured numbers."""
    return [
        column.name
        for column in measure_columns(n_sectors)
        if column.name not in KEYS and column.dtype not in {"string", "bool"}
    ]
