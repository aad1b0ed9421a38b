"""What wells and conditions say together: tables of cells and fields in, summaries out.

Takes the tables of a run (`vocabulary.CELLS`, `vocabulary.FIELDS`) and a plate map,
returns `vocabulary.WELLS` and `vocabulary.CONDITIONS`. Nothing here reads images or
files.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from deepspot_scale.errors import SettingsError
from deepspot_scale.report.polarity import Polarity, SectorIndex, measure_group
from deepspot_scale.vocabulary import CONDITIONS, DONE, FAILED, WELLS, as_table

_WELL: Final = ["row", "column"]
_FIELD: Final = [*_WELL, "field"]
_MAP: Final = ["condition", "gene", "replicate"]


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
    keys = [*_WELL, "channel", *_MAP]
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
    words = _map_words(plate_map)
    return _with_words(per_channel, words), _with_words(_merge_planes(cells), words)


def _fields_by_channel(
    fields: pd.DataFrame, channels: Sequence[str], spots: pd.DataFrame | None
) -> pd.DataFrame:
    names = pd.DataFrame({"channel": list(channels)})
    crossed = fields[[*_FIELD, "status", "n_spots"]].merge(names, how="cross")
    if spots is None:
        if len(names) > 1:
            raise SettingsError(
                f"with several channels ({', '.join(channels)}) the spots of each are "
                "needed: pass spots= with row, column, field, channel, n_spots"
            )
        return crossed
    counts = spots.groupby([*_FIELD, "channel"], as_index=False)["n_spots"].sum()
    crossed = crossed.drop(columns="n_spots").merge(counts, how="left")
    return crossed.fillna({"n_spots": 0})


def _merge_planes(cells: pd.DataFrame) -> pd.DataFrame:
    """Add up the planes of a stack, so that a cell is one cell and not one per z."""
    if cells["z"].nunique() < 2:
        return cells
    counted = ["n_spots", "n_spots_nucleus", "n_spots_cytoplasm"]
    rules: dict[Hashable, Any] = dict.fromkeys(cells.columns, "first")
    rules |= dict.fromkeys(counted, "sum")
    rules["spot_bins"] = lambda planes: np.sum(np.stack(list(planes)), axis=0)
    keys = [*_FIELD, "t", "channel", "cell"]
    return cells.groupby(keys, as_index=False).agg(
        {name: rule for name, rule in rules.items() if name not in keys}
    )


def _well_key(row: object, column: object) -> tuple[str, str]:
    """B and 3, b and 03: one well."""
    return str(row).strip().upper(), str(column).strip().lstrip("0") or "0"


def _map_words(plate_map: pd.DataFrame) -> dict[tuple[str, str], dict[str, str]]:
    if plate_map.empty:
        return {}
    if not set(_WELL) <= set(plate_map.columns):
        raise SettingsError(
            "the plate map needs the columns row and column; it has "
            f"{', '.join(map(str, plate_map.columns))}"
        )
    words: dict[tuple[str, str], dict[str, str]] = {}
    for line in plate_map.to_dict("records"):
        key = _well_key(line["row"], line["column"])
        if key in words:
            raise SettingsError(
                f"the plate map names well {''.join(key)} twice; keep one line"
            )
        words[key] = {name: _word(line.get(name)) for name in _MAP}
    return words


def _word(value: Any) -> str:
    return "" if pd.isna(value) else str(value)


def _with_words(
    table: pd.DataFrame, words: dict[tuple[str, str], dict[str, str]]
) -> pd.DataFrame:
    pairs = zip(table["row"], table["column"], strict=True)
    found = [words.get(_well_key(*pair), {}) for pair in pairs]
    return table.assign(**{name: [w.get(name, "") for w in found] for name in _MAP})


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
    return table.sort_values(keys, key=_natural, ignore_index=True)


def _natural(names: pd.Series) -> pd.Series:
    """Right-align names of rows and columns: 2 before 10, Z before AA."""
    return names.str.rjust(8) if names.name in _WELL else names


def _counts(fields: pd.DataFrame, cells: pd.DataFrame) -> dict[str, float]:
    done = fields[fields["status"] == DONE]
    return {
        "n_wells": len(fields[_WELL].drop_duplicates()),
        "n_fields": len(done),
        "n_failed": int((fields["status"] == FAILED).sum()),
        "n_spots": int(done["n_spots"].sum()),
        "n_cells": len(cells),
        "spots_per_cell": float(cells["n_spots"].mean()) if len(cells) else np.nan,
    }


def _measure(
    cells: pd.DataFrame, index: SectorIndex, key: Iterable[object]
) -> dict[str, float]:
    known = cells[cells["reference_deg"].notna() & cells["spot_bins"].notna()]
    if len(known) == 0:
        return vars(Polarity(0))
    spot_bins = np.stack(list(known["spot_bins"]))
    area_bins = np.stack(list(known["area_bins"]))
    return vars(measure_group(spot_bins, area_bins, index, key))
