"""Wells and conditions in numbers: tables of cells and fields in, summaries out.

The tables of a run (`vocabulary.CELLS`, `vocabulary.FIELDS`) and a plate map come in;
`vocabulary.WELLS` and `vocabulary.CONDITIONS` go out. Nothing here reads images or
files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics import groups
from deepspot_scale.statistics.groups import FIELD, MAP, WELL
from deepspot_scale.statistics.sector_index import SectorIndex, measure_group
from deepspot_scale.tables import as_table, make_table
from deepspot_scale.vocabulary import CONDITIONS, DONE, FAILED, FIELD_POLARITY, WELLS

FEWEST_CELLS = 5
"""Usable cells that a field needs to be called polarised."""


def summarise_groups(
    fields: pd.DataFrame,
    cells: pd.DataFrame,
    plate_map: pd.DataFrame,
    *,
    channels: Sequence[str],
    spots: pd.DataFrame | None = None,
    index: SectorIndex | None = None,
) -> dict[str, pd.DataFrame]:
    """Summarise each well and channel, and each condition, gene and channel.

    Parameters
    ----------
    fields
        `vocabulary.FIELDS`, one row per field, done or failed.
    cells
        `vocabulary.CELLS`; may be empty.
    plate_map
        As in `groups.with_plate_map`; its words are condition, gene and replicate.
    channels
        The run's channels; each well has a row for each.
    spots
        Columns row, column, field, channel, n_spots: how many spots each channel of a
        field has. Needed only with several channels, since `fields` counts them
        together.
    index
        How polarity is measured; `SectorIndex()` when None.

    Returns
    -------
    dict
        ``wells``: `vocabulary.WELLS`, in plate order. ``conditions``:
        `vocabulary.CONDITIONS`, over the pooled cells of their wells, in order of
        channel, condition, gene.

    Raises
    ------
    SettingsError
        The plate map lacks row or column, or names a well twice; or there are several
        channels but no `spots`.
    """
    index = index or SectorIndex()
    tables = (
        groups.with_plate_map(_fields_by_channel(fields, channels, spots), plate_map),
        groups.with_plate_map(groups.merge_planes(cells), plate_map),
    )
    wells = _summarise(*tables, [*WELL, "channel", *MAP], index)
    conditions = _summarise(*tables, ["channel", "condition", "gene"], index)
    return {
        "wells": as_table(wells, WELLS),
        "conditions": as_table(conditions, CONDITIONS),
    }


def summarise_fields(cells: pd.DataFrame, index: SectorIndex) -> pd.DataFrame:
    """Return `vocabulary.FIELD_POLARITY`, by which fields can be sorted.

    If there are several channels, the first by name is measured. Fields with fewer
    usable cells than `FEWEST_CELLS` have no line.
    """
    bare = SectorIndex(index.sectors, index.min_spots, n_boot=0, n_null=0)
    channel = cells["channel"].min()
    rows = []
    own = groups.merge_planes(cells[cells["channel"] == channel])
    for key, group in own.groupby(FIELD):
        known = groups.with_reference(group)
        spots, areas = (known[n].tolist() for n in ("spot_bins", "area_bins"))
        measured = measure_group(spots, areas, bare, key)
        if measured.n_cells_used >= FEWEST_CELLS:
            names = dict(zip(FIELD, key, strict=True)) | {"channel": channel}
            rows.append(names | vars(measured))
    return make_table(rows, FIELD_POLARITY)


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
    known = groups.with_reference(cells)
    if index.exclude_border:
        known = known[~known["touches_border"].astype(bool)]
    of_cells, of_known = _places(cells, keys), _places(known, keys)
    # Columns are arrays here: pandas takes milliseconds for each of hundreds of wells.
    field, cell, bins = (
        {name: table[name].to_numpy() for name in table}
        for table in (fields, cells, known)
    )
    rows = []
    for key, group in _places(fields, keys).items():
        members, measured = (of.get(key, _NO_CELLS) for of in (of_cells, of_known))
        spots, areas = (bins[n][measured].tolist() for n in ("spot_bins", "area_bins"))
        rows.append(
            dict(zip(keys, key, strict=True))
            | _counts(field, group, cell["n_spots"][members])
            | vars(measure_group(spots, areas, index, key))
        )
    columns = [c.name for c in (*WELLS, *CONDITIONS)]
    table = pd.DataFrame(rows, columns=list(dict.fromkeys(columns)))
    return table.sort_values(keys, key=groups.natural_order, ignore_index=True)


_NO_CELLS = np.zeros(0, np.int64)


def _places(table: pd.DataFrame, keys: list[str]) -> dict[Any, Any]:
    """Return the places of each group's rows."""
    return dict(table.groupby(keys, sort=False).indices) if len(table) else {}


def _counts(
    fields: dict[Any, Any], group: NDArray[np.int64], of_cells: NDArray[np.int64]
) -> dict[str, float]:
    done = group[fields["status"][group] == DONE]
    wells = zip(*(fields[name][group] for name in WELL), strict=True)
    return {
        "n_wells": len(set(wells)),
        "n_fields": len(done),
        "n_failed": int((fields["status"][group] == FAILED).sum()),
        "n_spots": int(fields["n_spots"][done].sum()),
        "n_cells": len(of_cells),
        "spots_per_cell": float(of_cells.mean()) if len(of_cells) else np.nan,
    }
