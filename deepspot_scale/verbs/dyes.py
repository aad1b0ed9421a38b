"""The verb that tells the dyes of localised molecules apart.

A table of localisations and their movie come in, the table with the dye of each
molecule goes out. Nothing here knows files or runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.dye_likelihood import (
    Real,
    Spread,
    Verdicts,
    classify_by_likelihood,
)
from deepspot_scale.kernels.dye_windows import cut_windows
from deepspot_scale.networks.dye_classifier import WINDOW
from deepspot_scale.networks.dye_verdicts import DYE_MODEL, classify_by_network
from deepspot_scale.networks.engine_types import EngineChoice


def classify_dyes(
    table: pd.DataFrame,
    movie: NDArray[Any],
    *,
    pixel_nm: float,
    spreads: Sequence[Spread] | None = None,
    starts: Real | None = None,
    model: str = DYE_MODEL,
) -> pd.DataFrame:
    """Return a table of localisations with the dye of each molecule.

    Parameters
    ----------
    table
        With the columns frame, x_nm and y_nm of `vocabulary.LOCALISATIONS`.
    movie
        (t, y, x); in photons where `spreads` is given, else in any counts.
    pixel_nm
        Edge of a pixel in the sample.
    spreads
        The PSF of each dye, such as two of `simulation.dyes.gaussian_spread`: the dye
        is the likelier one. None: a network says it.
    starts
        Places in a window from which fits begin, see `classify_by_likelihood`.
    model
        Shipped network or weights file, where there are no `spreads`.

    Returns
    -------
    pandas.DataFrame
        A copy with the columns dye, int64: the number of the dye in the order of the
        PSFs, -1: not known, too near to the border; and dye_probability, float64, NaN
        where it is not known.

    Raises
    ------
    SettingsError
        A column is missing, the movie has other axes or too few frames, fewer than two
        PSFs or PSFs of different windows are given, or the network tells no dyes apart.
    """
    _check(table, movie, spreads)
    places = table[["y_nm", "x_nm"]].to_numpy(np.float64) / pixel_nm - 0.5
    side = spreads[0].side if spreads else WINDOW
    windows = cut_windows(movie, table["frame"].to_numpy(), places, side)
    verdicts: Verdicts
    if spreads:
        verdicts = classify_by_likelihood(windows, spreads, starts)
    else:
        choice = EngineChoice(model, precision="float32")
        verdicts = classify_by_network(windows, choice)
    return table.assign(dye=verdicts.dye, dye_probability=verdicts.probability)


def _check(
    table: pd.DataFrame, movie: NDArray[Any], spreads: Sequence[Spread] | None
) -> None:
    missing = {"frame", "x_nm", "y_nm"} - set(table.columns)
    if missing:
        raise SettingsError(
            "expected a table of localisations with frame, x_nm and y_nm; this one has "
            f"no {', '.join(sorted(missing))}, only "
            f"{', '.join(map(str, table.columns))}"
        )
    if movie.ndim != 3:
        raise SettingsError(f"a movie is (t, y, x), got an array of {movie.shape}")
    frames = table["frame"]
    if len(table) and not 0 <= frames.min() <= frames.max() < len(movie):
        raise SettingsError(
            f"the table names frames {frames.min()} to {frames.max()}, the movie has "
            f"0 to {len(movie) - 1}: is it the movie of this table?"
        )
    if spreads is not None and (
        len(spreads) < 2 or len({each.side for each in spreads}) != 1
    ):
        raise SettingsError(
            f"expected the PSFs of two or more dyes in equal windows, got {spreads}"
        )
