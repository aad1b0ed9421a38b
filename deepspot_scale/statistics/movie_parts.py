"""Parts of a movie's table of localisations: in order, checked, on the field.

Parts come in as they are stored or measured; the same rows go out in order of frames,
with drift taken off, or an error. Nothing here knows what they are looked at for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.rendering import Canvas, Picture, canvas_of, draw_onto
from deepspot_scale.tables import as_table
from deepspot_scale.vocabulary import LOCALISATIONS

Real = NDArray[np.float64]
MOVIE: Final = ["row", "column", "field", "channel"]
"""Columns that name a movie and its channel."""
_MOST: Final = 4096
"""Pixels along y and x in which the resolution is measured, about the middle of the
field; and in which drift is."""


@dataclass(frozen=True)
class MovieSize:
    """The field and the length of a movie."""

    height_nm: float
    width_nm: float
    n_frames: int


def in_frame_order(part: pd.DataFrame, before: int) -> pd.DataFrame:
    """Return the rows of a part in order of frames.

    Raises SettingsError if a frame is not after `before`, there are several movies or
    channels, or a place is not finite.
    """
    ordered = part.sort_values("frame", kind="stable", ignore_index=True)
    if not len(ordered):
        return ordered
    if ordered["frame"].iloc[0] <= before:
        raise SettingsError(
            f"parts must have whole frames in order, but frame "
            f"{ordered['frame'].iloc[0]} comes after frame {before}. Sort the parts"
        )
    if len(ordered[MOVIE].drop_duplicates()) > 1:
        raise SettingsError(
            "expected localisations of one movie and channel, found several. Give "
            "those of each by themselves"
        )
    if not np.isfinite(ordered[["x_nm", "y_nm"]].to_numpy(np.float64)).all():
        raise SettingsError("places of molecules must be finite; leave others out")
    return ordered


def checked_parts(
    parts: Iterable[pd.DataFrame], movie: MovieSize, drift_nm: Real | None
) -> Iterator[pd.DataFrame]:
    """Yield the parts of one movie and channel that have rows.

    In order of frames, with the columns of `vocabulary.LOCALISATIONS`.

    Raises SettingsError as `in_frame_order` does, for a frame beyond the movie, and if
    a part is of another movie.
    """
    before, first = -1, None
    for part in parts:
        ordered = in_frame_order(part, before)
        if not len(ordered):
            continue
        before = int(ordered["frame"].iloc[-1])
        if before >= movie.n_frames:
            raise SettingsError(
                f"the movie has {movie.n_frames} frames, but there is a localisation "
                f"in frame {before}"
            )
        named = ordered[MOVIE].iloc[0].tolist()
        first = first or named
        if named != first:
            raise SettingsError(
                f"expected localisations of one movie and channel, found {first} and "
                f"{named}. Give those of each by themselves"
            )
        yield _without(as_table(ordered, LOCALISATIONS), drift_nm)


def check_drift(drift_nm: Real, movie: MovieSize) -> None:
    """Raise SettingsError unless there is a finite drift for each frame."""
    if drift_nm.shape != (movie.n_frames, 2) or not np.isfinite(drift_nm).all():
        raise SettingsError(
            f"expected a drift (y, x) in nm for each of {movie.n_frames} frames, got "
            f"the shape {drift_nm.shape}, or it is not known; then give none"
        )


def _without(part: pd.DataFrame, drift_nm: Real | None) -> pd.DataFrame:
    if drift_nm is None:
        return part
    y, x = drift_nm[part["frame"].to_numpy()].T
    return part.assign(y_nm=part["y_nm"] - y, x_nm=part["x_nm"] - x)


def places(part: pd.DataFrame) -> Real:
    """Return (n, 2) y and x in nm."""
    return part[["y_nm", "x_nm"]].to_numpy(np.float64)


def draw_ones(picture: Picture, yx_nm: Real, pixel_nm: float) -> None:
    """Add one for each place to its pixel."""
    ones = np.ones(len(yx_nm))
    draw_onto(picture, "sum", yx_nm, ones, ones, pixel_nm=pixel_nm)


def middle_of(movie: MovieSize, pixel_nm: float) -> tuple[Canvas, Real]:
    """Return pixels about the middle of the field, and their corner in nm."""
    size = movie.height_nm, movie.width_nm
    whole = canvas_of(size, pixel_nm)
    shape = tuple(min(n, _MOST) for n in whole.shape)
    skipped = [(n - m) // 2 for n, m in zip(whole.shape, shape, strict=True)]
    return Canvas((shape[0], shape[1]), pixel_nm), np.array(skipped) * pixel_nm
