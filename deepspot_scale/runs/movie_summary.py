"""The end of a run over movies: drift, merged molecules, resolution and pictures.

Results of a run come in; ``movies``, ``movie_frames``, ``rings``, the molecules and
one picture for each movie are written into its folder. Tables are read segment by
segment, so memory does not grow with the frames. Nothing here finds molecules.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.io.ome_zarr.pictures import PicturePixels, write_picture
from deepspot_scale.io.stores import join
from deepspot_scale.io.tables import Folder, write_table
from deepspot_scale.kernels.rendering import as_light
from deepspot_scale.runs.movie_parts import (
    RunMovie,
    frames_done,
    iter_segments,
    list_movies,
)
from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.localisation import LocaliseOptions
from deepspot_scale.statistics.localisation_drift import find_drift
from deepspot_scale.statistics.localisation_summary import (
    LocalisationSummary,
    PictureOptions,
    summarise_localisations,
)
from deepspot_scale.statistics.merged_localisations import Merging
from deepspot_scale.tables import join_tables, make_table
from deepspot_scale.vocabulary import LOCALISATIONS, MOVIE_SUMMARIES

PICTURES: Final = "pictures"
MOLECULES: Final = "molecules"
_ROWS: Final = 500_000
"""Molecules of one file."""
_DRIFT_FRAMES: Final = 100
"""Frames of one picture from which drift is told, at least; there are three to ten."""


def picture_options(options: LocaliseOptions) -> PictureOptions:
    """Return how a run's settings draw molecules."""
    merging = Merging(options.merge_nm)
    return PictureOptions(options.picture_nm, options.picture, merging=merging)


def summarise_movies(
    results: RunResults, options: PictureOptions | None = None
) -> list[str]:
    """Write tables, molecules and pictures of every movie; return the pictures' paths.

    Parameters
    ----------
    results
        Of a finished run.
    options
        How molecules are merged and drawn; None: as the run's settings say.

    Raises
    ------
    RunError
        The run has no localisations, or pixels of unknown size.
    """
    settings = results.settings.of(LocaliseOptions)
    chosen = options or picture_options(settings)
    rows: list[dict[str, Any]] = []
    frames, rings, names = [], [], set[str]()
    for movie in list_movies(results):
        stem = _stem(movie, names)
        drift = _drift(results, movie) if settings.drift else None
        molecules = _Molecules(results.folder, stem)
        found = summarise_localisations(
            iter_segments(results, movie),
            movie.size,
            chosen,
            drift_nm=drift,
            write=molecules.take,
        )
        molecules.end()
        picture = f"{PICTURES}/{stem}.zarr"
        _write_picture(results.folder, picture, movie, found)
        rows.append(_row(results, movie, found, drift) | {"picture": picture})
        frames.append(_frames(movie, found, drift))
        rings.append(_rings(movie, found))
    tables = {"movie_frames": frames, "rings": rings}
    for name, parts in tables.items():
        columns = MOVIE_SUMMARIES[name]
        whole = join_tables(parts, columns)
        write_table(results.folder, f"{name}.parquet", whole, columns)
    columns = MOVIE_SUMMARIES["movies"]
    table = make_table(rows, columns)
    write_table(results.folder, "movies.parquet", table, columns)
    return [str(row["picture"]) for row in rows]


def _stem(movie: RunMovie, taken: set[str]) -> str:
    """Return a file name for a movie that no other one has."""
    words = [movie.address.row + movie.address.column, movie.address.field]
    words.append(movie.channel)
    plain = "_".join(re.sub(r"[^\w.-]+", "_", word) for word in words if word)
    name, number = plain, 2
    while name.lower() in taken:
        name, number = f"{plain}-{number}", number + 1
    taken.add(name.lower())
    return name


def _drift(results: RunResults, movie: RunMovie) -> NDArray[np.float64] | None:
    """Return the drift of each frame, or None where it is not to be told."""
    n_pictures = min(movie.n_frames // _DRIFT_FRAMES, 10)
    if n_pictures < 3:
        return None
    segments = iter_segments(results, movie)
    drift = find_drift(segments, movie.size, n_segments=n_pictures)
    return drift if np.isfinite(drift).all() else None


@dataclass
class _Molecules:
    """Writes molecules as they end, some hundred thousand to a file."""

    folder: Folder
    stem: str
    held: list[pd.DataFrame] = field(default_factory=list)
    n_files: int = 0

    def take(self, rows: pd.DataFrame) -> None:
        self.held.append(rows)
        if sum(map(len, self.held)) >= _ROWS:
            self.flush()

    def flush(self) -> None:
        whole = join_tables(self.held, LOCALISATIONS)
        name = f"{MOLECULES}/{self.stem}-{self.n_files:04d}.parquet"
        write_table(self.folder, name, whole, LOCALISATIONS)
        self.held, self.n_files = [], self.n_files + 1

    def end(self) -> None:
        if self.held or not self.n_files:
            self.flush()
        self._remove_older()

    def _remove_older(self) -> None:
        """Remove files of an earlier summary that had more of them."""
        pattern = re.compile(re.escape(self.stem) + r"-(\d{4,})\.parquet")
        for name in self.folder.names(MOLECULES):
            match = pattern.fullmatch(PurePosixPath(name).name)
            if match and int(match[1]) >= self.n_files:
                self.folder.remove(f"{MOLECULES}/{name}")


def _write_picture(
    folder: Folder, path: str, movie: RunMovie, found: LocalisationSummary
) -> None:
    target = join(folder.url, *path.split("/"))
    picture = as_light(found.picture).astype(np.float32)
    pixels = PicturePixels(found.pixel_nm, movie.pixel_nm)
    about = {"movie": movie.address.path, "channel": movie.channel}
    write_picture(
        target, picture, pixels, name=movie.address.field, about=about, overwrite=True
    )


def _row(
    results: RunResults,
    movie: RunMovie,
    found: LocalisationSummary,
    drift: NDArray[np.float64] | None,
) -> dict[str, Any]:
    done = frames_done(results, movie)
    n_done = int(done.sum())
    off = np.nan if drift is None else float(np.hypot(*drift[done].T).max())
    return {
        **movie.key,
        "n_frames": movie.n_frames,
        "n_failed": movie.n_frames - n_done,
        "height": movie.height,
        "width": movie.width,
        "pixel_nm": movie.pixel_nm,
        "n_localisations": int(found.counts.sum()),
        "n_molecules": found.n_molecules,
        "density": found.density * movie.n_frames / max(n_done, 1),
        "precision_nm": found.precision_nm,
        "resolution_nm": found.resolution_nm,
        "drift_nm": off,
        "picture_nm": found.pixel_nm,
    }


def _frames(
    movie: RunMovie, found: LocalisationSummary, drift: NDArray[np.float64] | None
) -> pd.DataFrame:
    off = np.full((movie.n_frames, 2), np.nan) if drift is None else drift
    return pd.DataFrame(
        {
            **movie.key,
            "frame": np.arange(movie.n_frames),
            "n_localisations": found.counts,
            "drift_y_nm": off[:, 0],
            "drift_x_nm": off[:, 1],
        }
    )


def _rings(movie: RunMovie, found: LocalisationSummary) -> pd.DataFrame:
    rings = found.rings
    return pd.DataFrame(
        {
            **movie.key,
            "frequency": rings.frequency / found.pixel_nm * 1000,
            "correlation": rings.correlation,
            "smooth": rings.smooth,
        }
    )
