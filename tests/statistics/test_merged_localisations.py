"""Molecules from localisations: sums by hand, and parts that give the whole."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.statistics.merged_localisations import (
    Merging,
    check_merging,
    merge_part,
    merge_rest,
    no_molecules,
)
from deepspot_scale.tables import table_of
from deepspot_scale.vocabulary import LOCALISATIONS


def make(**columns: Any) -> pd.DataFrame:
    n = len(columns["frame"])
    values: dict[str, Any] = {c.name: np.full(n, np.nan) for c in LOCALISATIONS}
    words = dict.fromkeys(
        ("row", "column", "field", "channel"), np.full(n, "m", object)
    )
    values |= words | {"n_frames": np.ones(n), "certainty": np.ones(n)}
    given = {name: np.asarray(each) for name, each in columns.items()}
    return table_of(values | given, LOCALISATIONS)


def draw(seed: int, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return make(
        frame=np.sort(rng.integers(0, 15, n)),
        x_nm=rng.uniform(0, 600, n),
        y_nm=rng.uniform(0, 600, n),
        photons=rng.lognormal(6, 1, n),
        intensity=rng.lognormal(6, 1, n),
        uncertainty_nm=rng.uniform(5, 30, n),
    )


def merge(parts: list[pd.DataFrame], merging: Merging) -> pd.DataFrame:
    state, made, numbers = no_molecules(), [], []
    for part in parts:
        state, rows, own = merge_part(state, part, merging)
        made.append(rows)
        numbers.append(own)
    rest, own = merge_rest(state)
    whole = pd.concat([*made, rest], ignore_index=True)
    order = np.argsort(np.concatenate([*numbers, own]))
    return whole.iloc[order].reset_index(drop=True)


def test_a_molecule_is_the_sum_of_its_rows() -> None:
    table = make(
        frame=[3, 4, 6],
        x_nm=[10.0, 20.0, 14.0],
        y_nm=[5.0, 5.0, 5.0],
        photons=[100.0, 300.0, 100.0],
        background_photons=[10.0, 20.0, 30.0],
        uncertainty_nm=[10.0, 5.0, 10.0],
        certainty=[0.2, 0.9, 0.5],
    )
    merged = merge([table], Merging(20.0, 1))
    row = merged.iloc[0]
    assert len(merged) == 1
    assert row["frame"] == 3
    assert row["n_frames"] == 3
    assert row["photons"] == 500
    assert row["x_nm"] == pytest.approx((1000 + 6000 + 1400) / 500)
    assert row["background_photons"] == 20
    assert row["uncertainty_nm"] == pytest.approx((1 / (0.01 + 0.04 + 0.01)) ** 0.5)
    assert row["certainty"] == pytest.approx(0.9)
    assert np.isnan(row["z_nm"])


def test_counts_weigh_where_photons_are_not_known() -> None:
    table = make(frame=[0, 1], x_nm=[0.0, 10], y_nm=[0.0, 0], intensity=[30.0, 10])
    assert merge([table], Merging())["x_nm"][0] == pytest.approx(2.5)
    dark = table.assign(intensity=[30.0, -10])
    assert merge([dark], Merging())["x_nm"][0] == pytest.approx(5)


@given(seed=st.integers(0, 300), cuts=st.lists(st.integers(0, 15), max_size=4))
@settings(max_examples=20, deadline=None)
def test_parts_give_the_molecules_of_the_whole_bit_for_bit(
    seed: int, cuts: list[int]
) -> None:
    table, edges = draw(seed), [0, *sorted(cuts), 99]
    parts = [
        table[(table["frame"] >= low) & (table["frame"] < high)]
        for low, high in pairwise(edges)
    ]
    parts = [part.reset_index(drop=True) for part in parts]
    whole = merge([table], Merging(40.0, 2))
    pd.testing.assert_frame_equal(merge(parts, Merging(40.0, 2)), whole)
    assert len(whole) < len(table)
    assert whole["photons"].sum() == pytest.approx(table["photons"].sum())
    assert whole["n_frames"].sum() == len(table)


def test_without_a_distance_nothing_is_merged() -> None:
    table = draw(1)
    merged = merge([table], Merging(distance_nm=0.0))
    pd.testing.assert_frame_equal(merged, table, rtol=1e-12)


def test_only_molecules_that_may_go_on_are_kept() -> None:
    state, ended, _ = merge_part(no_molecules(), draw(2), Merging(40.0, 1))
    assert set(state.rows["frame"]) <= set(range(15))
    assert len(state.rows) + ended["n_frames"].sum() == 200
    state, ended, _ = merge_part(
        state, make(frame=[90], x_nm=[0.0], y_nm=[0.0]), Merging(40.0, 1)
    )
    assert len(state.rows) == 1


@pytest.mark.parametrize("merging", [Merging(-1.0), Merging(np.nan), Merging(5.0, -1)])
def test_a_distance_below_zero_is_refused(merging: Merging) -> None:
    with pytest.raises(SettingsError, match="merging needs"):
        check_merging(merging)
