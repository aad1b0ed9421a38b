"""Molecules in CSV files, of ThunderSTORM, of the challenge or of their relatives.

A file comes in; a table with the columns frame (from 0), x_nm, y_nm, z_nm and photons
goes out. Headers are recognised with or without quotes and units; places in other units
than nanometres, or headers that are not known, are errors and never a guess. Frames in
these files count from 1. Places are from the outer corner of the first pixel. Nothing
here knows images or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from deepspot_scale.errors import SettingsError, did_you_mean

COLUMNS: Final = ("frame", "x_nm", "y_nm", "z_nm", "photons")
_NAMES: Final = {
    "frame": "frame",
    "frames": "frame",
    "x": "x_nm",
    "xnano": "x_nm",
    "y": "y_nm",
    "ynano": "y_nm",
    "z": "z_nm",
    "znano": "z_nm",
    "intensity": "photons",
    "photons": "photons",
}
"""Ours for each name in a file, without its unit and in lower case."""
_LENGTHS: Final = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3}
_LIGHT: Final = {"photon", "photons"}
_HEADER: Final = re.compile(r"^\s*([^\[(]*?)\s*(?:[\[(]\s*([^\])]*?)\s*[\])])?\s*$")
_NEEDED: Final = ("frame", "x_nm", "y_nm")


def read_molecules(file: str | Path) -> pd.DataFrame:
    """Read molecules from a CSV file.

    Returns
    -------
    DataFrame
        frame int64 from 0; x_nm, y_nm, z_nm, photons float64, NaN where the file has no
        such column (or has light in other units than photons).

    Raises
    ------
    SettingsError
        The file is missing or no table, lacks frame, x or y, has a length in an unknown
        unit, two columns of one meaning, a number that is none, or a frame below 1.
    """
    path = Path(file)
    try:
        raw = pd.read_csv(path, skipinitialspace=True)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        raise SettingsError(f"{path} cannot be read as CSV: {error}") from error
    columns = _recognise(raw.columns, path)
    table = pd.DataFrame(index=raw.index)
    for own, (header, factor) in columns.items():
        table[own] = _numbers(raw[header], path) * factor
    frames = table["frame"].to_numpy()
    if len(frames) and (frames.min() < 1 or (frames != np.floor(frames)).any()):
        raise SettingsError(
            f"{path}: expected whole numbers of frames that count from 1, found "
            f"{frames.min():g} as the least. Add 1 if they count from 0."
        )
    table = table.reindex(columns=list(COLUMNS)).astype(np.float64)
    return table.assign(frame=table["frame"].astype(np.int64) - 1)


def _recognise(headers: Iterable[str], path: Path) -> dict[str, tuple[str, float]]:
    """Return header and factor of each of our columns that the file has."""
    found: dict[str, tuple[str, float]] = {}
    for header in headers:
        matched = _HEADER.match(str(header))
        word, unit = matched.groups() if matched else (str(header), None)
        own = _NAMES.get(word.lower())
        if own is None or (own == "photons" and unit not in {None, *_LIGHT}):
            continue  # counts are not photons
        if own in found:
            raise SettingsError(
                f"{path}: the columns {found[own][0]!r} and {header!r} both mean {own}"
            )
        found[own] = (header, _factor(own, unit, header, path))
    lacking = [own for own in _NEEDED if own not in found]
    if lacking:
        listed = [str(header) for header in headers]
        wanted = {"frame": "frame", "x_nm": "x [nm]", "y_nm": "y [nm]"}[lacking[0]]
        raise SettingsError(
            f"{path}: expected the columns frame, x [nm], y [nm] and, if known, z [nm] "
            f"and intensity [photon]; {wanted} is missing, there are "
            f"{', '.join(listed)}.{did_you_mean(wanted, listed)}"
        )
    return found


def _factor(own: str, unit: str | None, header: str, path: Path) -> float:
    if own in {"frame", "photons"} or unit is None:
        return 1.0
    if unit not in _LENGTHS:
        raise SettingsError(
            f"{path}: the column {header!r} is in {unit!r}; expected nm or um. Convert "
            "it with the size of a pixel."
        )
    return _LENGTHS[unit]


def _numbers(column: pd.Series, path: Path) -> pd.Series:
    numbers = pd.to_numeric(column, errors="coerce").astype(np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.flatnonzero(~np.isfinite(numbers))[0])
        raise SettingsError(
            f"{path}: line {row + 2}, column {column.name!r} holds "
            f"{column.iloc[row]!r}; expected a number"
        )
    return numbers
