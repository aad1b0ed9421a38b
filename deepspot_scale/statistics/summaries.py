"""Wells and conditions in numbers: tables of cells and fields in, summaries out.

The tables of a run (`vocabulary.CELLS`, `vocabulary.FIELDS`) and a plate map come in;
`vocabulary.WELLS` and `vocabulary.CONDITIONS` go out, with a row for each occasion at
which the same cells may have been measured, see `statistics.groups`. Nothing here reads
images or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics import groups
from deepspot_scale.statistics.groups import FIELD, MAP, WELL, draw_key, group_keys
from deepspot_scale.statistics.left_out import is_left_out, without_left_out
from deepspot_scale.statistics.sector_index import SectorIndex, measure_group
from deepspot_scale.tables import as_table, make_table
from deepspot_scale.vocabulary import (
    CONDITIONS,
    DONE,
    FAILED,
    FIELD_POLARITY,
    OCCASION,
    WELLS,
)

FEWEST_CELLS = 5
"""Usable cells that a field needs to be called polarised."""


def summarise_groups(  # noqa: PLR0913 - tables of a run, and how they are measured
    fields: pd.DataFrame,
    cells: pd.DataFrame,
    plate_map: pd.DataFrame,
    *,
    channels: Sequence[str],
    spots: pd.DataFrame | None = None,
    index: SectorIndex | None = None,
    left_out: pd.DataFrame | None = None,
) -> dict[str, pd.DataFrame]:
    """Summarise each well and channel, and each condition, gene and channel.

    Parameters
    ----------
    fields
        `vocabulary.FIELDS`, one row per field, done or failed. A failed one counts at
        all time points and planes of its acquisition.
    cells
        `vocabulary.CELLS`; may be empty.
    plate_map
        As in `groups.with_plate_map`; its words are condition, gene and replicate. It
        may have `groups.DOSE`, which wells keep and which groups nothing.
    channels
        The run's channels; each well has a row for each, at each time point.
    spots
        Columns row, column, field, acquisition, t, plane, channel, n_spots: how many
        spots each image of a field has. Needed only where fields have several, since
        `fields` counts them together.
    index
        How polarity is measured; `SectorIndex()` when None.
    left_out
        `vocabulary.LEFT_OUT`: images that count in no number but ``n_left_out``; None:
        all count.

    Returns
    -------
    dict
        ``wells``: `vocabulary.WELLS`, in plate order. ``conditions``:
        `vocabulary.CONDITIONS`, over the pooled cells of their wells, in order of
        channel, condition, gene.

    Raises
    ------
    SettingsError
        The plate map lacks row or column, or names a well twice; there are several
        channels, time points or planes but no `spots`; or cells of one that no field
        has.
    """
    index = index or SectorIndex()
    images = _fields_by_image(fields, channels, spots).assign(left_out=False)
    if left_out is not None:
        images["left_out"] = is_left_out(images, left_out)
        cells = without_left_out(cells, left_out)
    tables = (
        groups.with_plate_map(images, plate_map),
        groups.with_plate_map(groups.by_occasion(cells), plate_map),
    )
    wells = _summarise(*tables, group_keys([*WELL, "channel", *MAP]), index)
    conditions = _summarise(*tables, group_keys(["condition", "gene"]), index)
    return {
        "wells": as_table(groups.with_doses(wells, plate_map), WELLS),
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
    for group in groups.iter_groups(cells[cells["channel"] == channel], None, FIELD):
        known = groups.with_reference(group.cells)
        spots, areas = (known[n].tolist() for n in ("spot_bins", "area_bins"))
        measured = measure_group(spots, areas, bare, group.key)
        if measured.n_cells_used >= FEWEST_CELLS:
            rows.append(group.names | vars(measured))
    return make_table(rows, FIELD_POLARITY)


def _fields_by_image(
    fields: pd.DataFrame, channels: Sequence[str], spots: pd.DataFrame | None
) -> pd.DataFrame:
    """Return a row for each field, occasion and channel, with its own spots."""
    names = pd.DataFrame({"channel": list(channels)})
    crossed = _fields_by_occasion(fields).merge(names, how="cross")
    keys = [*FIELD, *OCCASION, "channel"]
    if spots is None:
        if crossed.duplicated(FIELD).any():
            raise SettingsError(
                "with several channels, time points or planes of a field the spots of "
                f"each are needed: pass spots= with {', '.join(keys)}, n_spots"
            )
        return crossed
    known = groups.by_occasion(spots)
    counts = known.groupby(keys, as_index=False)["n_spots"].sum()
    crossed = crossed.drop(columns="n_spots").merge(counts, how="left", on=keys)
    return crossed.fillna({"n_spots": 0})


def _fields_by_occasion(fields: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each field and each time point and plane at which it counts."""
    kept = fields[[*FIELD, "acquisition", "status", "n_spots"]]
    # Runs of earlier versions do not tell: one of each.
    n_t, n_z = (fields[n].clip(lower=1).to_numpy() for n in ("n_t", "n_z"))
    each = np.repeat(np.arange(len(fields)), n_t * n_z)
    number = np.arange(len(each)) - np.searchsorted(each, each)
    rows = kept.iloc[each].assign(t=number // n_z[each], z=number % n_z[each])
    done = rows["status"] == DONE
    occasions = rows.loc[done, [*OCCASION]].drop_duplicates()
    failed = kept[kept["status"] != DONE].merge(occasions, how="left", on="acquisition")
    return pd.concat([rows[done], failed], ignore_index=True).fillna({"t": 0, "z": 0})


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
    of_fields = _places(fields, keys)
    if lost := of_cells.keys() - of_fields.keys():
        raise SettingsError(
            f"there are cells of {dict(zip(keys, min(lost), strict=True))}, and no "
            "field has that time point, plane or channel; give the fields of the same "
            "run, or run again what an earlier version made"
        )
    for key, group in of_fields.items():
        names = dict(zip(keys, key, strict=True))
        members, measured = (of.get(key, _NO_CELLS) for of in (of_cells, of_known))
        spots, areas = (bins[n][measured].tolist() for n in ("spot_bins", "area_bins"))
        rows.append(
            names
            | _counts(field, group, cell["n_spots"][members])
            | vars(measure_group(spots, areas, index, draw_key(names)))
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
    ended = group[fields["status"][group] == DONE]
    counted = group[~fields["left_out"][group]]
    done = counted[fields["status"][counted] == DONE]
    # As `left_out.why_empty`: a well without an image that counts is none of them.
    wells = zip(*(fields[name][done] for name in WELL), strict=True)
    return {
        "n_wells": len(set(wells)),
        "n_fields": len(done),
        "n_failed": int((fields["status"][group] == FAILED).sum()),
        "n_left_out": len(ended) - len(done),
        "n_spots": int(fields["n_spots"][done].sum()),
        "n_cells": len(of_cells),
        "spots_per_cell": float(of_cells.mean()) if len(of_cells) else np.nan,
    }
