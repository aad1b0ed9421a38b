"""Which cells belong together: tables and a plate map in, joined tables out.

Nothing here measures anything.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.vocabulary import row_column_key

WELL: Final = ["row", "column"]
FIELD: Final = [*WELL, "field"]
MAP: Final = ["condition", "gene", "replicate"]
"""Words that a plate map has for a well."""


def with_plate_map(table: pd.DataFrame, plate_map: pd.DataFrame) -> pd.DataFrame:
    """Return a table with row and column, and the columns `MAP` from a plate map.

    The plate map has the columns row, column and any of `MAP`; B and 3 means the same
    well as B and 03. It may be empty; wells that it leaves out get empty words.

    Raises
    ------
    SettingsError
        The plate map lacks row or column, or names a well twice.
    """
    words = _map_words(plate_map)
    wells = table[WELL].drop_duplicates().reset_index(drop=True)
    pairs = zip(wells["row"], wells["column"], strict=True)
    keys = (row_column_key(str(row), str(column)) for row, column in pairs)
    found = [words.get(key, {}) for key in keys]
    named = wells.assign(**{name: [w.get(name, "") for w in found] for name in MAP})
    bare = table.drop(columns=MAP, errors="ignore")
    return bare.merge(named, how="left", on=WELL)


def map_of_wells(wells: pd.DataFrame) -> pd.DataFrame:
    """Return the plate map that `vocabulary.WELLS` holds, one line for each well."""
    kept: pd.DataFrame = wells[[*WELL, *MAP]]
    return kept.drop_duplicates(WELL, ignore_index=True)


def with_reference(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells whose bins count from a known reference."""
    return cells[cells["reference_deg"].notna() & cells["spot_bins"].notna()]


def number_wells(cells: pd.DataFrame) -> NDArray[np.int64]:
    """Return the number of each cell's well, from 0, in any order."""
    return np.asarray(cells.groupby(WELL, sort=False).ngroup(), np.int64)


def merge_planes(cells: pd.DataFrame) -> pd.DataFrame:
    """Add up the planes of a stack, so that a cell is one cell and not one per z."""
    if cells["z"].nunique() < 2:
        return cells
    rules: dict[Hashable, Any] = {
        name: "sum" if str(name).startswith("n_spots") else "first" for name in cells
    }
    rules["spot_bins"] = lambda planes: np.sum(np.stack(list(planes)), axis=0)
    keys = [*FIELD, "t", "channel", "cell"]
    return cells.groupby(keys, as_index=False).agg(
        {name: rule for name, rule in rules.items() if name not in keys}
    )


def _map_words(plate_map: pd.DataFrame) -> dict[tuple[str, str], dict[str, str]]:
    if plate_map.empty:
        return {}
    if not set(WELL) <= set(plate_map.columns):
        raise SettingsError(
            "the plate map needs the columns row and column; it has "
            f"{', '.join(map(str, plate_map.columns))}"
        )
    words: dict[tuple[str, str], dict[str, str]] = {}
    for line in plate_map.to_dict("records"):
        key = row_column_key(str(line["row"]), str(line["column"]))
        if key in words:
            raise SettingsError(
                f"the plate map names well {''.join(key)} twice; keep one line"
            )
        given = {name: line.get(name) for name in MAP}
        words[key] = {
            n: "" if pd.isna(value) else str(value) for n, value in given.items()
        }
    return words


def natural_order(names: pd.Series) -> pd.Series:
    """Right-align names of rows and columns: 2 before 10, Z before AA."""
    return names.str.rjust(8) if names.name in WELL else names
