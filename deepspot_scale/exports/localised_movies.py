"""The movies of a run whose molecules were localised, each written as one file.

A run comes in; a folder with one file for each movie and channel goes out, and a list
of them, ``movies.csv``, which says what else a reader must know: size of the frames,
their number and the size of a pixel. Nothing here knows a format.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.exports.targets import safe_names
from deepspot_scale.runs.movie_parts import iter_segments, list_movies
from deepspot_scale.runs.results import RunResults
from deepspot_scale.tables import guard_words, join_tables
from deepspot_scale.vocabulary import LOCALISATIONS

_LISTED: Final = ("file", "row", "column", "field", "channel", "n")
SIGN: Final = ("movies.csv", ",".join(_LISTED))
"""By which an earlier export is known."""


@dataclass(frozen=True)
class MovieGeometry:
    """What a reader of localisations must know of their movie."""

    width: int
    """Pixels along x."""
    height: int
    """Pixels along y."""
    n_frames: int
    pixel_nm: float
    """Side of a camera pixel in the sample."""


WriteMovie = Callable[[pd.DataFrame, MovieGeometry, Path], None]


def write_movies(
    results: RunResults, folder: Path, suffix: str, write: WriteMovie
) -> None:
    """Write one file for each movie and channel that is done; the folder is made here.

    Raises RunError if the run has no localisations, or the size of a movie's pixels is
    not known or not the same along y and x.
    """
    movies = list_movies(results)
    names = safe_names(f"{movie.address.path}_{movie.channel}" for movie in movies)
    folder.mkdir()
    rows: list[dict[str, Any]] = []
    for movie in movies:
        address, channel = movie.address, movie.channel
        geometry = MovieGeometry(
            movie.width, movie.height, movie.n_frames, movie.pixel_nm
        )
        file = folder / f"{names[f'{address.path}_{channel}']}{suffix}"
        table = join_tables(iter_segments(results, movie), LOCALISATIONS)
        write(table, geometry, file)
        words = (file.name, address.row, address.column, address.field, channel)
        listed = dict(zip(_LISTED, (*words, len(table)), strict=True))
        rows.append({**listed, **vars(geometry)})
    columns = [*_LISTED, *MovieGeometry.__dataclass_fields__]
    listing = guard_words(pd.DataFrame(rows, columns=columns))
    listing.to_csv(folder / SIGN[0], index=False, lineterminator="\n")


def check_table(table: pd.DataFrame, geometry: MovieGeometry) -> None:
    """Raise SettingsError unless places and frames can be those of the movie."""
    if not geometry.pixel_nm > 0:
        raise SettingsError(f"pixels must be larger than 0 nm, not {geometry.pixel_nm}")
    if not len(table):
        return
    frames = table["frame"]
    if frames.min() < 0 or frames.max() >= geometry.n_frames:
        raise SettingsError(
            f"expected frames 0 to {geometry.n_frames - 1}, found {frames.min()} to "
            f"{frames.max()}. Give the number of frames of the movie"
        )
    if not np.isfinite(table[["x_nm", "y_nm"]].to_numpy()).all():
        raise SettingsError(
            "places of molecules must be finite; leave those without out"
        )


def is_known(table: pd.DataFrame, name: str) -> bool:
    """Return whether a column has any number."""
    return bool(table[name].notna().any())


def numbers(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return a column as numbers."""
    return table[name].to_numpy(np.float64)
