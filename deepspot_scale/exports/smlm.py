"""Localisations as an SMLM file (.smlm), the format of ShareLoc.

A table and the geometry of its movie come in, one file goes out: a ZIP archive of a
manifest and of a binary table. Places are in nanometres from the outer corner of the
first pixel. The format does not say where frames begin; they count from 1, as in the
files of ThunderSTORM that it was made for, and the manifest says so.

Source: the specification of the format, version 0.2 (imodpasteur/smlm-file-format);
Ouyang et al. 2022 (doi:10.1038/s41592-022-01659-0).
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.exports.localised_movies import (
    MovieGeometry,
    check_table,
    is_known,
    numbers,
    write_movies,
)
from deepspot_scale.runs.results import RunResults

_FORMAT, _DATA = "smlm-table(binary)", "table-0.bin"
_WHEN: Final = (1980, 1, 1, 0, 0, 0)
"""The same table gives the same bytes."""


class _Column(NamedTuple):
    """One column of the file."""

    header: str
    """As the specification names it."""
    own: str
    """In `vocabulary.LOCALISATIONS`."""
    dtype: str
    unit: str


_ALWAYS: Final = (
    _Column("frame", "frame", "uint32", "frame"),
    _Column("x", "x_nm", "float64", "nm"),
    _Column("y", "y_nm", "float64", "nm"),
)
_IN_COUNTS: Final = (
    _Column("intensity", "intensity", "float32", "count"),
    _Column("background", "background", "float32", "count"),
)
_IN_PHOTONS: Final = (
    _Column("intensity", "photons", "float32", "photon"),
    _Column("background", "background_photons", "float32", "photon"),
)
_IF_KNOWN: Final = (
    _Column("z", "z_nm", "float64", "nm"),
    _Column("x_precision", "uncertainty_nm", "float32", "nm"),
    _Column("y_precision", "uncertainty_nm", "float32", "nm"),
    _Column("z_precision", "uncertainty_z_nm", "float32", "nm"),
)


def write_run(results: RunResults, folder: Path) -> None:
    """Write one SMLM file for each movie of a run."""
    write_movies(results, folder, ".smlm", write_smlm)


def write_smlm(table: pd.DataFrame, geometry: MovieGeometry, file: Path) -> None:
    """Write a table with the columns of `vocabulary.LOCALISATIONS`.

    Raises SettingsError if its frames are not those of the movie.
    """
    check_table(table, geometry)
    light = _IN_PHOTONS if is_known(table, "photons") else _IN_COUNTS
    known = [column for column in _IF_KNOWN if is_known(table, column.own)]
    columns = [*_ALWAYS, *light, *known]
    manifest = _manifest(columns, table, geometry, file.stem)
    with zipfile.ZipFile(file, "w") as archive:
        _add(archive, "manifest.json", json.dumps(manifest, indent=1).encode())
        _add(archive, _DATA, _rows(columns, table).tobytes())


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    about = zipfile.ZipInfo(name, _WHEN)
    about.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(about, content)


def _rows(columns: list[_Column], table: pd.DataFrame) -> NDArray[Any]:
    dtype = [
        (column.header, f"<{np.dtype(column.dtype).str[1:]}") for column in columns
    ]
    rows = np.empty(len(table), dtype)
    for column in columns:
        rows[column.header] = numbers(table, column.own)
    rows["frame"] += 1
    return rows


def _manifest(
    columns: list[_Column], table: pd.DataFrame, geometry: MovieGeometry, name: str
) -> dict[str, Any]:
    layout = {
        "name": _FORMAT,
        "type": "table",
        "mode": "binary",
        "extension": ".bin",
        "columns": len(columns),
        "headers": [column.header for column in columns],
        "dtype": [column.dtype for column in columns],
        "shape": [1] * len(columns),
        "units": [column.unit for column in columns],
        "description": "frames count from 1; places from the corner of the first pixel",
    }
    channel = str(table["channel"].iloc[0]) if len(table) else ""
    stored = {
        "name": _DATA,
        "type": "table",
        "format": _FORMAT,
        "channel": channel or "default",
        "rows": len(table),
        "offset": {},
    }
    return {
        "format_version": "0.2",
        "formats": {_FORMAT: layout},
        "files": [stored],
        "name": name,
        "description": "localisations by deepspot_scale",
        "tags": [],
        "movie": vars(geometry),
    }
