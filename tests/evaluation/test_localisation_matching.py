"""Molecules match within their frame and the cut-off, one to one, as many as can be."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.evaluation.localisation_matching import (
    MatchTerms,
    match_molecules,
    sweep,
)

TERMS = MatchTerms(tolerance_nm=100.0)


def molecules(*rows: tuple[float, ...]) -> pd.DataFrame:
    """Return a table from rows (frame, x, y) or (frame, x, y, z)."""
    names = ["frame", "x_nm", "y_nm", "z_nm"]
    table = pd.DataFrame(rows, columns=names[: len(rows[0])] if rows else names)
    return table.astype({"frame": np.int64})


def drawn(rng: np.random.Generator, n: int, n_frames: int, edge: float) -> pd.DataFrame:
    """Return molecules at random."""
    places = rng.uniform(0, edge, (n, 3))
    table = pd.DataFrame(places, columns=["x_nm", "y_nm", "z_nm"])
    return table.assign(frame=rng.integers(0, n_frames, n))


def best_by_trying(
    found: pd.DataFrame, true: pd.DataFrame, reach: float
) -> tuple[int, float]:
    """Return most pairs and their least squared distance, by trying all assignments."""
    n, total = 0, 0.0
    for _, own in found.groupby("frame"):
        other = true[true["frame"] == own["frame"].iloc[0]]
        one, two = (t[["x_nm", "y_nm"]].to_numpy() for t in (own, other))
        if len(one) > len(two):
            one, two = two, one
        square = ((one[:, None] - two[None]) ** 2).sum(axis=2)
        best = (0, 0.0)
        for order in permutations(range(len(two)), len(one)):
            taken = square[np.arange(len(one)), order]
            taken = taken[taken <= reach**2]
            best = min(best, (-len(taken), float(taken.sum())))
        n, total = n - best[0], total + best[1]
    return n, total


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(1, 5))
def test_no_assignment_has_more_pairs_or_as_many_that_are_closer(
    seed: int, n_found: int, n_true: int
) -> None:
    rng = np.random.default_rng(seed)
    found, true = (drawn(rng, n, 1, 250.0) for n in (n_found, n_true))
    score = match_molecules(found, true, TERMS)
    total = (score.pairs["dx_nm"] ** 2 + score.pairs["dy_nm"] ** 2).sum()
    n, least = best_by_trying(found, true, 100.0)
    assert score.n_matched == n
    assert total == pytest.approx(least, abs=1e-6)


def test_a_far_pair_never_displaces_a_near_one() -> None:
    # Without the cut-off, pairing across (120 + 130) beats near plus far (10 + 260).
    found = molecules((0, 0.0, 0.0), (0, 130.0, 0.0))
    true = molecules((0, 10.0, 0.0), (0, -120.0, 0.0))
    pairs = match_molecules(found, true, TERMS).pairs
    assert pairs[["found", "true"]].to_numpy().tolist() == [[0, 0]]


def test_molecules_of_other_frames_never_match() -> None:
    true = molecules((0, 5.0, 5.0), (1, 500.0, 5.0))
    found = molecules((1, 5.0, 5.0), (0, 500.0, 5.0))
    assert match_molecules(found, true).n_matched == 0


def test_frames_pool_as_if_each_were_scored_alone() -> None:
    rng = np.random.default_rng(3)
    found, true = drawn(rng, 200, 8, 800.0), drawn(rng, 220, 8, 800.0)
    whole = match_molecules(found, true)
    alone = [
        match_molecules(found[found["frame"] == k], true[true["frame"] == k])
        for k in range(8)
    ]
    assert whole.n_matched == sum(score.n_matched for score in alone)


def test_numbers_of_one_comparison_are_those_of_the_formulas() -> None:
    true = molecules((0, 0.0, 0.0, 0.0), (0, 900.0, 0.0, 0.0), (0, 0.0, 900.0, 0.0))
    found = molecules((0, 30.0, 40.0, 12.0), (0, 900.0, 10.0, -12.0))
    row = match_molecules(found, true).as_row()
    assert row["jaccard"] == pytest.approx(2 / 3)
    assert (row["precision"], row["recall"]) == (1.0, pytest.approx(2 / 3))
    assert row["f1"] == pytest.approx(0.8)
    assert row["rmse_lateral_nm"] == pytest.approx(np.sqrt((2500 + 100) / 2))
    assert row["rmse_axial_nm"] == pytest.approx(12.0)
    assert (row["shift_x_nm"], row["shift_y_nm"]) == (15.0, 25.0)
    assert row["shift_z_nm"] == 0.0


def test_depth_without_numbers_gives_no_axial_error() -> None:
    score = match_molecules(molecules((0, 1.0, 1.0)), molecules((0, 1.0, 2.0)))
    assert np.isnan(score.rmse_axial_nm)
    assert score.rmse_lateral_nm == pytest.approx(1.0)


def test_the_tolerance_itself_counts_and_more_does_not() -> None:
    true = molecules((7, 0.0, 0.0))
    assert match_molecules(molecules((7, 100.0, 0.0)), true, TERMS).n_matched == 1
    assert match_molecules(molecules((7, 100.001, 0.0)), true, TERMS).n_matched == 0


def test_reach_is_a_cylinder_if_depth_matters() -> None:
    terms = MatchTerms(tolerance_nm=100.0, axial_nm=50.0)
    true = molecules((0, 0.0, 0.0, 0.0))
    corner = molecules((0, 99.0, 0.0, 49.0))
    assert match_molecules(corner, true, terms).n_matched == 1
    above = molecules((0, 0.0, 0.0, 51.0))
    assert match_molecules(above, true, terms).n_matched == 0
    assert match_molecules(above, true, TERMS).n_matched == 1


def test_molecules_in_the_border_are_neither_right_nor_wrong() -> None:
    terms = MatchTerms(border_nm=200.0, extent_nm=(2000.0, 1000.0))
    true = molecules((0, 190.0, 900.0), (0, 500.0, 1900.0), (0, 500.0, 900.0))
    # The first lies inside, but is of a molecule in the border.
    found = molecules((0, 210.0, 900.0), (0, 10.0, 900.0), (0, 500.0, 900.0))
    score = match_molecules(found, true, terms)
    assert (score.n_true, score.n_found, score.n_matched) == (1, 1, 1)


def test_dim_molecules_do_not_count_and_finding_them_is_no_error() -> None:
    true = molecules((0, 0.0, 0.0), (0, 500.0, 0.0)).assign(photons=[50.0, 900.0])
    found = molecules((0, 0.0, 0.0), (0, 500.0, 0.0), (0, 900.0, 900.0))
    score = match_molecules(found, true, MatchTerms(least_photons=100.0))
    assert (score.n_true, score.n_found, score.n_matched) == (1, 2, 1)


def test_a_sweep_gives_what_each_tolerance_gives_alone() -> None:
    rng = np.random.default_rng(0)
    found, true = drawn(rng, 300, 5, 1500.0), drawn(rng, 300, 5, 1500.0)
    table = sweep(found, true, (200.0, 20.0, 90.0))
    assert table["tolerance_nm"].tolist() == [20.0, 90.0, 200.0]
    for row in table.to_dict("records"):
        own = MatchTerms(tolerance_nm=row.pop("tolerance_nm"))
        assert row == match_molecules(found, true, own).as_row()
    assert table["n_matched"].is_monotonic_increasing


def test_nothing_found_of_nothing_is_right() -> None:
    nothing = molecules()
    score = match_molecules(nothing, nothing)
    assert (score.jaccard, score.precision, score.recall, score.f1) == (1, 1, 1, 1)
    assert match_molecules(nothing, molecules((0, 1.0, 1.0))).recall == 0.0


def test_far_frames_do_not_blur_places() -> None:
    true = molecules((10**7, 123.4, 0.0))
    score = match_molecules(molecules((10**7, 223.4, 0.0)), true, TERMS)
    assert score.n_matched == 1


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (molecules((5, 0.0, 0.0)), "no frame is in both"),
        (molecules((0, np.nan, 0.0)), "not finite"),
        (pd.DataFrame({"frame": [0], "x": [0.0], "y_nm": [0.0]}), "x_nm is missing"),
    ],
)
def test_tables_that_cannot_be_compared_are_refused(
    found: pd.DataFrame, reason: str
) -> None:
    with pytest.raises(SettingsError, match=reason):
        match_molecules(found, molecules((0, 0.0, 0.0)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tolerance_nm": 0.0},
        {"axial_nm": -1.0},
        {"border_nm": 100.0},
        {"tolerance_nm": float("nan")},
    ],
)
def test_terms_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(SettingsError):
        MatchTerms(**wrong)


def test_a_least_number_of_photons_needs_photons() -> None:
    one = molecules((0, 0.0, 0.0))
    with pytest.raises(SettingsError, match="photons"):
        match_molecules(one, one, MatchTerms(least_photons=5.0))
