"""Localisations as ThunderSTORM's CSV, which most tools of the field read.

A table and the geometry of its movie come in, one file goes out. Headers are quoted and
have units, frames count from 1, and places are in nanometres from the outer corner of
the first pixel: as in our own tables. Columns that are not known are left out; without
a camera's figures light is in counts, and its unit says so.

Source: Ovesny, Krizek, Borkovec, Svindrych, Hagen 2014
(doi:10.1093/bioinformatics/btu202).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from deepspot_scale.exports.localised_movies import (
    MovieGeometry,
    check_table,
    is_known,
    numbers,
    write_movies,
)
from deepspot_scale.runs.results import RunResults

_DIGITS: Final = 4
"""Behind the point: a ten thousandth of a nanometre."""


def write_run(results: RunResults, folder: Path) -> None:
    """Write one CSV for each movie of a run."""
    write_movies(results, folder, ".csv", write_thunderstorm)


def write_thunderstorm(
    table: pd.DataFrame, geometry: MovieGeometry, file: Path
) -> None:
    """Write a table with the columns of `vocabulary.LOCALISATIONS`.

    Raises SettingsError if its frames are not those of the movie.
    """
    check_table(table, geometry)
    columns = _columns(table)
    made = pd.DataFrame(columns).round(_DIGITS)
    with file.open("w", encoding="utf-8", newline="") as out:
        out.write(",".join(f'"{name}"' for name in columns) + "\n")
        made.to_csv(out, header=False, index=False, lineterminator="\n")


def _columns(table: pd.DataFrame) -> dict[str, Any]:
    depth = is_known(table, "z_nm")
    columns: dict[str, Any] = {
        "id": np.arange(1, len(table) + 1),
        "frame": table["frame"].to_numpy() + 1,
        "x [nm]": numbers(table, "x_nm"),
        "y [nm]": numbers(table, "y_nm"),
    }
    if depth:
        columns["z [nm]"] = numbers(table, "z_nm")
    if is_known(table, "sigma_nm"):
        names = ("sigma1 [nm]", "sigma2 [nm]") if depth else ("sigma [nm]",)
        columns |= dict.fromkeys(names, numbers(table, "sigma_nm"))
    return columns | _light(table) | _precision(table)


def _light(table: pd.DataFrame) -> dict[str, Any]:
    if is_known(table, "photons"):
        return {
            "intensity [photon]": numbers(table, "photons"),
            "offset [photon]": numbers(table, "background_photons"),
        }
    return {
        "intensity [ADU]": numbers(table, "intensity"),
        "offset [ADU]": numbers(table, "background"),
    }


def _precision(table: pd.DataFrame) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    if is_known(table, "uncertainty_nm"):
        columns["uncertainty_xy [nm]"] = numbers(table, "uncertainty_nm")
    if is_known(table, "uncertainty_z_nm"):
        columns["uncertainty_z [nm]"] = numbers(table, "uncertainty_z_nm")
    if (table["n_frames"] > 1).any():
        columns["detections"] = table["n_frames"].to_numpy()
    return columns
