"""Intervals over images hold the truth about as often as they say."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.statistics.image_bootstrap import (
    estimate_mean,
    estimate_ratio,
)


def test_means_of_skewed_scores_are_held_by_most_intervals() -> None:
    rng = np.random.default_rng(0)
    held = []
    for _ in range(150):
        of = estimate_mean(rng.beta(8, 1, 40))  # near 1, with a tail
        held.append(of.low <= 8 / 9 <= of.high)
    assert 0.89 <= np.mean(held) <= 0.99


def test_a_ratio_is_that_of_the_sums() -> None:
    rng = np.random.default_rng(1)
    whole = rng.integers(1, 60, 30)
    part = rng.binomial(whole, 0.8)
    of = estimate_ratio(part, whole)
    assert of.value == part.sum() / whole.sum()
    assert of.low < of.value < of.high
    assert of.high - of.low < 0.15
    assert of.n == 30


def test_images_weigh_by_their_objects_in_a_ratio() -> None:
    of = estimate_ratio([9, 0, 1], [90, 5, 5])
    assert of.value == 0.1
    assert estimate_mean([9 / 90, 0 / 5, 1 / 5]).value == pytest.approx(0.1)
    assert estimate_ratio([90, 0], [90, 10]).value == 0.9


def test_values_that_are_not_known_are_left_out() -> None:
    of = estimate_mean([1.0, np.nan, 0.5, np.inf, 0.0])
    assert (of.value, of.n) == (0.5, 3)
    assert np.isfinite(of.low)


@pytest.mark.parametrize("values", [[0.3], [0.3, 0.5], [0.5] * 9])
def test_few_or_equal_images_have_no_interval(values: list[float]) -> None:
    of = estimate_mean(values)
    assert of.value == pytest.approx(np.mean(values))
    assert np.isnan([of.low, of.high]).all()


def test_nothing_known_is_nan() -> None:
    assert np.isnan(estimate_mean([]).value)
    assert np.isnan(estimate_mean([np.nan]).value)
    assert np.isnan(estimate_ratio([1, 2], [0, 0]).value)


def test_draws_without_any_whole_give_no_interval_and_no_warning() -> None:
    of = estimate_ratio([1, 0, 0], [1, 0, 0])
    assert of.value == 1.0
    assert np.isnan(of.low)


def test_the_seed_decides() -> None:
    values = np.random.default_rng(0).random(20)
    assert estimate_mean(values, 1) == estimate_mean(values, 1)
    assert estimate_mean(values, 1) != estimate_mean(values, 2)
