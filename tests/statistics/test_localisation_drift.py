"""Drift from a table: a planted one, whatever the parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from deepspot_scale.statistics.localisation_drift import find_drift
from deepspot_scale.statistics.movie_parts import MovieSize
from deepspot_scale.tables import table_of
from deepspot_scale.vocabulary import LOCALISATIONS

N_FRAMES, SIZE = 400, 3000.0
MOVIE = MovieSize(SIZE, SIZE, N_FRAMES)
T = np.arange(N_FRAMES) / N_FRAMES
DRIFT = np.column_stack([150 * T, 80 * T**2])


def draw(seed: int) -> pd.DataFrame:
    """Draw 300 sites, each seen in 40 frames to 12 nm."""
    rng, n = np.random.default_rng(seed), 12000
    frames = np.sort(rng.integers(0, N_FRAMES, n))
    sites = rng.uniform(200, SIZE - 200, (300, 2))[rng.integers(0, 300, n)]
    yx = sites + rng.normal(0, 12, (n, 2)) + DRIFT[frames]
    values: dict[str, Any] = {c.name: np.full(n, np.nan) for c in LOCALISATIONS}
    for name in ("row", "column", "field", "channel"):
        values[name] = np.full(n, "m", object)
    values |= {"frame": frames, "n_frames": np.ones(n)}
    return table_of(values | {"y_nm": yx[:, 0], "x_nm": yx[:, 1]}, LOCALISATIONS)


def test_a_planted_drift_is_found_within_a_few_nanometres() -> None:
    left = find_drift([draw(1)], MOVIE) - DRIFT
    assert np.abs(left - left.mean(axis=0)).max() < 8


def test_parts_give_the_drift_of_the_whole_bit_for_bit() -> None:
    table = draw(2)
    parts = [table[table["frame"] < 77], table[table["frame"] >= 77]]
    np.testing.assert_array_equal(find_drift(parts, MOVIE), find_drift([table], MOVIE))


def test_a_movie_without_molecules_has_no_drift() -> None:
    assert np.isnan(find_drift([], MOVIE)).all()
