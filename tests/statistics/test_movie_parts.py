"""Parts of a movie's table: in order, of one movie, on its frames, with drift off."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics.movie_parts import (
    MovieSize,
    check_drift,
    checked_parts,
    in_frame_order,
    middle_of,
)
from deepspot_scale.tables import table_of
from deepspot_scale.vocabulary import LOCALISATIONS

MOVIE = MovieSize(640.0, 800.0, 10)


@pytest.fixture
def table() -> pd.DataFrame:
    rng, n = np.random.default_rng(1), 40
    values: dict[str, Any] = {c.name: np.full(n, np.nan) for c in LOCALISATIONS}
    for name in ("row", "column", "field", "channel"):
        values[name] = np.full(n, "m", object)
    values |= {"frame": np.arange(n) // 4, "n_frames": np.ones(n)}
    values |= {"x_nm": rng.uniform(0, 800, n), "y_nm": rng.uniform(0, 640, n)}
    return table_of(values, LOCALISATIONS)


def test_rows_come_out_in_order_of_frames_and_empty_parts_not_at_all(
    table: pd.DataFrame,
) -> None:
    parts = [table[:0], table[:20][::-1], table[:0], table[20:]]
    found = list(checked_parts(parts, MOVIE, None))
    assert [len(part) for part in found] == [20, 20]
    assert pd.concat(found)["frame"].is_monotonic_increasing


def test_drift_is_taken_off_frame_by_frame(table: pd.DataFrame) -> None:
    drift = np.column_stack([np.arange(10), -2.0 * np.arange(10)])
    (found,) = checked_parts([table], MOVIE, drift)
    np.testing.assert_allclose(found["y_nm"], table["y_nm"] - table["frame"])
    np.testing.assert_allclose(found["x_nm"], table["x_nm"] + 2 * table["frame"])


def test_parts_out_of_order_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(SettingsError, match="whole frames in order"):
        list(checked_parts([table[20:], table[:20]], MOVIE, None))
    with pytest.raises(SettingsError, match="frame 4 comes after frame 4"):
        list(checked_parts([table[:18], table[18:]], MOVIE, None))


def test_frames_beyond_the_movie_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(SettingsError, match="has 9 frames"):
        list(checked_parts([table], MovieSize(640.0, 800.0, 9), None))


def test_several_movies_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(SettingsError, match="one movie and channel"):
        in_frame_order(table.assign(channel=["a", "b"] * 20), before=-1)
    parts = [table[:20], table[20:].assign(channel="b")]
    with pytest.raises(SettingsError, match="one movie and channel"):
        list(checked_parts(parts, MOVIE, None))


def test_places_of_nowhere_are_refused(table: pd.DataFrame) -> None:
    with pytest.raises(SettingsError, match="finite"):
        in_frame_order(table.assign(x_nm=np.inf), before=-1)


@pytest.mark.parametrize("drift", [np.zeros((9, 2)), np.full((10, 2), np.nan)])
def test_a_drift_that_is_not_known_is_refused(drift: np.ndarray) -> None:
    with pytest.raises(SettingsError, match="expected a drift"):
        check_drift(drift, MOVIE)


def test_the_middle_of_a_small_field_is_all_of_it() -> None:
    canvas, corner = middle_of(MOVIE, 10.0)
    assert canvas.shape == (64, 80)
    assert corner.tolist() == [0, 0]
    canvas, corner = middle_of(MovieSize(640.0, 6000 * 10.0, 1), 10.0)
    assert canvas.shape == (64, 4096)
    assert corner.tolist() == [0, 9520]
