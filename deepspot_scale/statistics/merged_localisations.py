"""One row for each molecule that stayed on, from its rows in following frames.

Parts of a table of localisations come in, in the order of frames; rows of molecules go
out as soon as no further frame can add to them. Only rows of molecules that may go on
are kept between parts, and each molecule is summed up once, from all of its rows: so
parts give the same bits as the whole. Nothing here knows runs or files.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.linking import Links, link, no_links, still_open
from deepspot_scale.statistics.movie_parts import MOVIE
from deepspot_scale.tables import empty_table, table_of
from deepspot_scale.vocabulary import LOCALISATIONS

Real = NDArray[np.float64]
_SUMS: Final = ("intensity", "photons")
_MEANS: Final = ("background", "background_photons", "sigma_nm")
_PLACES: Final = ("x_nm", "y_nm", "z_nm")
_UNCERTAIN: Final = ("uncertainty_nm", "uncertainty_z_nm")


class Merging(NamedTuple):
    """How localisations become molecules. Checked by `check_merging`."""

    distance_nm: float = 20.0
    """Greatest distance of a molecule in frames that follow; 0: nothing is merged."""
    dark: int = 1
    """Frames in a row in which it may not be seen."""


class OpenMolecules(NamedTuple):
    """What is kept between two parts."""

    links: Links
    rows: pd.DataFrame
    """Those of molecules that may go on, in order of frames."""
    numbers: NDArray[np.int64]
    """(n,) molecule of each row."""


def check_merging(merging: Merging) -> None:
    """Raise SettingsError unless the distance and the dark frames make sense."""
    if not (0 <= merging.distance_nm < np.inf and merging.dark >= 0):
        raise SettingsError(
            "merging needs a distance of 0 nm or more and 0 or more dark frames, got "
            f"{merging.distance_nm} and {merging.dark}"
        )


def no_molecules() -> OpenMolecules:
    """Return the state before the first part."""
    none = np.zeros(0, np.int64)
    return OpenMolecules(no_links(), empty_table(LOCALISATIONS), none)


def merge_part(
    state: OpenMolecules, part: pd.DataFrame, merging: Merging
) -> tuple[OpenMolecules, pd.DataFrame, NDArray[np.int64]]:
    """Return the new state, rows of molecules that have ended, and their numbers.

    `part` is as `movie_parts.in_frame_order` returns it. Numbers count molecules from 0
    in the order in which they were first seen; rows are in this order.
    """
    if not len(part):
        return state, empty_table(LOCALISATIONS), np.zeros(0, np.int64)
    frames = part["frame"].to_numpy(np.int64)
    places = part[["y_nm", "x_nm"]].to_numpy(np.float64)
    own = state.links, frames, places, merging.distance_nm, merging.dark
    if not merging.distance_nm:
        return _apart(state, part)
    links, numbers = link(*own)
    rows = pd.concat([each for each in (state.rows, part) if len(each)])
    numbers = np.concatenate([state.numbers, numbers])
    last = int(frames[-1])
    goes_on = np.isin(numbers, still_open(links, last, merging.dark))
    ended = sum_up(rows[~goes_on], numbers[~goes_on])
    kept = rows[goes_on].reset_index(drop=True)
    return OpenMolecules(links, kept, numbers[goes_on]), *ended


def _apart(
    state: OpenMolecules, part: pd.DataFrame
) -> tuple[OpenMolecules, pd.DataFrame, NDArray[np.int64]]:
    numbers = state.links.n + np.arange(len(part))
    links = state.links._replace(n=state.links.n + len(part))
    return state._replace(links=links), *sum_up(part, numbers)


def merge_rest(state: OpenMolecules) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return the rows of molecules that were open after the last part."""
    return sum_up(state.rows, state.numbers)


def sum_up(
    rows: pd.DataFrame, numbers: NDArray[np.int64]
) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """Return one row for each molecule, and their numbers, ascending.

    Light adds up; places are means weighted by photons, or by counts where photons are
    not known, or plain where neither is above 0; uncertainties u give
    1 / sqrt(sum 1 / u^2); the frame is the first. A number that one row lacks is NaN.
    """
    molecules, first, own = np.unique(numbers, return_index=True, return_inverse=True)
    groups = _Groups(own, len(molecules))
    made: dict[str, Any] = {
        name: rows[name].to_numpy(object)[first] for name in MOVIE
    } | {"frame": rows["frame"].to_numpy(np.int64)[first]}
    weights = groups.weights(rows)
    for name in _PLACES:
        made[name] = groups.mean(_numbers(rows, name), weights)
    for name in _SUMS:
        made[name] = groups.sum(_numbers(rows, name))
    for name in _MEANS:
        made[name] = groups.mean(_numbers(rows, name), np.ones(len(rows)))
    with np.errstate(divide="ignore"):
        for name in _UNCERTAIN:
            inverse = groups.sum(_numbers(rows, name) ** -2.0)
            made[name] = np.sqrt(1 / inverse)
    made["certainty"] = groups.largest(_numbers(rows, "certainty"))
    made["n_frames"] = groups.sum(_numbers(rows, "n_frames"))
    return table_of(made, LOCALISATIONS), molecules


def _numbers(rows: pd.DataFrame, name: str) -> Real:
    return rows[name].to_numpy(np.float64)


class _Groups(NamedTuple):
    """Rows by molecule; sums go row by row, so other molecules change no bit."""

    own: NDArray[np.intp]
    n: int

    def sum(self, values: NDArray[Any]) -> Real:
        return np.bincount(self.own, values, self.n).astype(np.float64)

    def mean(self, values: Real, weights: Real) -> Real:
        # From the first value on: places far from the corner lose no digits, and a
        # molecule of one row keeps its place to the last bit.
        first = np.full(self.n, np.nan)
        first[self.own[::-1]] = values[::-1]
        away = self.sum((values - first[self.own]) * weights)
        return np.asarray(first + away / self.sum(weights))

    def largest(self, values: Real) -> Real:
        largest = np.full(self.n, -np.inf)
        with np.errstate(invalid="ignore"):  # NaN is meant to stay
            np.maximum.at(largest, self.own, values)
        return largest

    def weights(self, rows: pd.DataFrame) -> Real:
        weights = np.ones(len(rows))
        for name in _SUMS:
            light = _numbers(rows, name)
            known = self.sum(~(light > 0) * 1.0)[self.own] == 0
            weights = np.where(known, light, weights)
        return weights
