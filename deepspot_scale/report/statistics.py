"""What wells and conditions say together: tables of cells and fields in, summaries out.

Takes the tables of a run (`vocabulary.CELLS`, `vocabulary.FIELDS`) and a plate map,
returns `vocabulary.WELLS` and `vocabulary.CONDITIONS`. Nothing here reads images or
files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from deepspot_scale.errors import SettingsError
from deepspot_scale.report.grouping import (
    FIELD,
    MAP,
    WELL,
    merge_planes,
    natural_order,
    with_plate_map,
    with_reference,
)
from deepspot_scale.report.polarity import SectorIndex, measure_group
from deepspot_scale.vocabulary import CONDITIONS, DONE, FAILED, WELLS, as_table


def summarise_wells(
    fields: pd.DataFrame,
    cells: pd.DataFrame,
    plate_map: pd.DataFrame,
    *,
    channels: Sequence[str],
    spots: pd.DataFrame | None = None,
    index: SectorIndex | None = None,
) -> pd.DataFrame:
    """Summarise each well and channel.

    Parameters
    ----------
    fields
        `vocabulary.FIELDS`, one row per field, done or failed.
    cells
        `vocabulary.CELLS`; may be empty.
    plate_map
        Columns row, column and any of condition, gene, replicate; B and 3 means the
        same well as B and 03. May be empty; wells that it leaves out get empty words.
    channels
        The run's channels; each well has a row for each.
    spots
        Columns row, column, field, channel, n_spots: how many spots each channel of a
        field has. Needed with several channels only, since `fields` counts them
        together.
    index
        How polarity is measured; `SectorIndex()` when None.

    Returns
    -------
    DataFrame
        `vocabulary.WELLS`, wells in plate order.

    Raises
    ------
    SettingsError
        The plate map lacks row or column, or names a well twice; `spots` is missing
        with several channels.
    """
    index = index or SectorIndex()
    prepared = _prepare(fields, cells, plate_map, channels, spots)
    keys = [*WELL, "channel", *MAP]
    return as_table(_summarise(*prepared, keys, index), WELLS)


def summarise_conditions(
    fields: pd.DataFrame,
    cells: pd.DataFrame,
    plate_map: pd.DataFrame,
    *,
    channels: Sequence[str],
    spots: pd.DataFrame | None = None,
    index: SectorIndex | None = None,
) -> pd.DataFrame:
    """Summarise each condition, gene and channel over the pooled cells of its wells.

    Parameters, errors: as for `summarise_wells`.

    Returns
    -------
    DataFrame
        `vocabulary.CONDITIONS`, in order of channel, condition, gene.
    """
    index = index or SectorIndex()
    prepared = _prepare(fields, cells, plate_map, channels, spots)
    keys = ["channel", "condition", "gene"]
    return as_table(_summarise(*prepared, keys, index), CONDITIONS)


def _prepare(
    fields: pd.DataFrame,
    cells: pd.DataFrame,
    plate_map: pd.DataFrame,
    channels: Sequence[str],
    spots: pd.DataFrame | None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return fields (one row per field and channel) and cells, both with the map."""
    per_channel = _fields_by_channel(fields, channels, spots)
    return (
        with_plate_map(per_channel, plate_map),
        with_plate_map(merge_planes(cells), plate_map),
    )


def _fields_by_channel(
    fields: pd.DataFrame, channels: Sequence[str], spots: pd.DataFrame | None
) -> pd.DataFrame:
    names = pd.DataFrame({"channel": list(channels)})
    crossed = fields[[*FIELD, "status", "n_spots"]].merge(names, how="cross")
    if spots is None:
        if len(names) > 1:
            raise SettingsError(
                f"with several channels ({', '.join(channels)}) the spots of each are "
                "needed: pass spots= with row, column, field, channel, n_spots"
            )
        return crossed
    counts = spots.groupby([*FIELD, "channel"], as_index=False)["n_spots"].sum()
    crossed = crossed.drop(columns="n_spots").merge(counts, how="left")
    return crossed.fillna({"n_spots": 0})


def _summarise(
    fields: pd.DataFrame, cells: pd.DataFrame, keys: list[str], index: SectorIndex
) -> pd.DataFrame:
    """Return one row per group of `keys`, with every column that summaries have."""
    groups = dict(iter(cells.groupby(keys, sort=False)))
    none = cells.iloc[:0]
    rows = []
    for key, group in fields.groupby(keys, sort=False):
        names = dict(zip(keys, key, strict=True))
        members = groups.get(key, none)
        rows.append(names | _counts(group, members) | _measure(members, index, key))
    columns = [c.name for c in (*WELLS, *CONDITIONS)]
    table = pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))
    return table.sort_values(keys, key=natural_order, ignore_index=True)


def _counts(fields: pd.DataFrame, cells: pd.DataFrame) -> dict[str, float]:
    done = fields[fields["status"] == DONE]
    return {
        "n_wells": len(fields[WELL].drop_duplicates()),
        "n_fields": len(done),
        "n_failed": int((fields["status"] == FAILED).sum()),
        "n_spots": int(done["n_spots"].sum()),
        "n_cells": len(cells),
        "spots_per_cell": float(cells["n_spots"].mean()) if len(cells) else np.nan,
    }


def _measure(
    cells: pd.DataFrame, index: SectorIndex, key: Iterable[object]
) -> dict[str, float]:
    known = with_reference(cells)
    if index.exclude_border:
        known = known[~known["touches_border"].astype(bool)]
    bins = (known["spot_bins"].tolist(), known["area_bins"].tolist())
    return vars(measure_group(*bins, index, key))
