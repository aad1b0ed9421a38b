"""How a movie's sample moved, from its own localisations.

Parts of a table come in, one movie and channel, in the order of frames; the shift of
each frame goes out. Only pictures of runs of frames are kept. Nothing here knows files.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.kernels.drift import (
    drift_curve,
    segment_middles,
    segment_of,
    segment_shifts,
)
from deepspot_scale.statistics.movie_parts import (
    MovieSize,
    checked_parts,
    draw_ones,
    middle_of,
    places,
)

Real = NDArray[np.float64]


def find_drift(
    parts: Iterable[pd.DataFrame],
    movie: MovieSize,
    *,
    pixel_nm: float = 20.0,
    n_segments: int = 10,
) -> Real:
    """Return (n_frames, 2) how far each frame lies off, y and x in nm.

    By pictures of runs of frames, see `kernels.drift`; 0 at the middle of the first.
    NaN if no two runs have a picture in common. Parts are as in
    `localisation_summary.summarise_localisations`.
    """
    canvas, corner = middle_of(movie, pixel_nm)
    pictures = np.zeros((n_segments, *canvas.shape), np.int64)
    for part in checked_parts(parts, movie, None):
        run = segment_of(part["frame"].to_numpy(), movie.n_frames, n_segments)
        yx = places(part) - corner
        for i in np.unique(run):
            draw_ones(pictures[i], yx[run == i], pixel_nm)
    shifts = segment_shifts(pictures) * pixel_nm
    middles = segment_middles(movie.n_frames, n_segments)
    return drift_curve(middles, shifts, movie.n_frames)
