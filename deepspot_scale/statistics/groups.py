"""Which cells belong together: tables and a plate map in, groups of rows out.

The same cells are often measured again: at each time point, in each acquisition, in
each plane of a stack that is not projected. They do not become more cells by that, so
every group lies within one *occasion* (`vocabulary.OCCASION`), whatever it is asked to
be named by. Nothing here measures anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError, did_you_mean
from deepspot_scale.vocabulary import OCCASION, row_column_key

WELL: Final = ["row", "column"]
FIELD: Final = [*WELL, "field"]
MAP: Final = ["condition", "gene", "replicate"]
"""Words that a plate map has for a well."""
DOSE: Final = {"dose": np.nan, "dose_unit": ""}
"""What a plate map may say of a well's dose, and what stands where it does not."""


class Group(NamedTuple):
    """Rows of one occasion that share the words they are grouped by."""

    names: dict[str, Any]
    """The value of each column of `group_keys`."""
    cells: pd.DataFrame

    @property
    def key(self) -> tuple[Any, ...]:
        """What chooses the group's random numbers, see `draw_key`."""
        return draw_key(self.names)


def group_keys(keys: Sequence[str]) -> list[str]:
    """Return the columns that name groups: `keys`, and always channel and occasion.

    Examples
    --------
    >>> group_keys(["channel", "gene"])
    ['channel', 'acquisition', 't', 'z', 'gene']
    """
    named = [name for name in keys if name not in OCCASION]
    named = named if "channel" in named else ["channel", *named]
    behind = named.index("channel") + 1
    return [*named[:behind], *OCCASION, *named[behind:]]


def draw_key(names: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what chooses a group's random numbers: its names without the occasion.

    So the very same cells have the very same interval and p value each time.
    """
    return tuple(value for name, value in names.items() if name not in OCCASION)


def by_occasion(table: pd.DataFrame) -> pd.DataFrame:
    """Return rows of planes with their occasion; a projection is one with plane 0.

    Fields of one plane, which need no projection, then go with projected ones.

    Raises
    ------
    SettingsError
        The table does not say of which acquisition, time point or plane a row is.
    """
    if "plane" in table:  # spots, whose z is a depth
        table = table.assign(z=table["plane"])
    missing = [name for name in OCCASION if name not in table]
    if missing:
        raise SettingsError(
            f"the table lacks the columns {', '.join(missing)}, so measures of the "
            "same cells cannot be told apart; give the tables as a run has them"
        )
    return table.assign(z=table["z"].clip(lower=0))


def iter_groups(
    cells: pd.DataFrame, plate_map: pd.DataFrame | None, keys: Sequence[str]
) -> Iterator[Group]:
    """Yield the groups of cells that `group_keys` names, in natural order.

    Raises
    ------
    SettingsError
        A key that the cells do not have.
    """
    named = by_occasion(cells)
    if plate_map is not None:
        named = with_plate_map(named, plate_map)
    columns = group_keys(keys)
    for name in columns:
        if name not in named:
            raise SettingsError(
                f"cells have no column {name!r} to group by."
                + did_you_mean(name, named.columns)
                + " Pass a plate map for condition, gene and replicate."
            )
    ordered = named.sort_values(columns, key=natural_order, kind="stable")
    for values, group in ordered.groupby(columns, sort=False):
        yield Group(dict(zip(columns, values, strict=True)), group)


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
    """Return the plate map that `vocabulary.WELLS` holds, one line for each well.

    The columns `DOSE` are there if a well has a dose.
    """
    dosed = "dose" in wells and bool(wells["dose"].notna().any())
    kept: pd.DataFrame = wells[[*WELL, *MAP, *(DOSE if dosed else ())]]
    return kept.drop_duplicates(WELL, ignore_index=True)


def with_doses(wells: pd.DataFrame, plate_map: pd.DataFrame) -> pd.DataFrame:
    """Return wells with the columns `DOSE` of a plate map that may have none."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    if "dose" in plate_map:
        for line in plate_map.to_dict("records"):
            if pd.notna(line["dose"]):
                key = row_column_key(str(line["row"]), str(line["column"]))
                found[key] = {name: line.get(name, DOSE[name]) for name in DOSE}
    pairs = zip(wells["row"], wells["column"], strict=True)
    own = [found.get(row_column_key(str(r), str(c)), DOSE) for r, c in pairs]
    return wells.assign(**{name: [line[name] for line in own] for name in DOSE})


def with_reference(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the cells whose bins count from a known reference."""
    return cells[cells["reference_deg"].notna() & cells["spot_bins"].notna()]


def number_wells(cells: pd.DataFrame) -> NDArray[np.int64]:
    """Return the number of each cell's well, from 0, in any order."""
    return np.asarray(cells.groupby(WELL, sort=False).ngroup(), np.int64)


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
