"""Simulated experts judge as they are told to."""

import numpy as np
import pytest

from deepspot_scale.simulation.experts import Expert, nearer_of
from deepspot_scale.statistics.expected_choices import chance_of_nearer


def test_ratings_are_whole_scores_with_the_error_and_bias_of_the_expert() -> None:
    true = np.full(20_000, 50.0)
    rated = Expert(error=6, bias=3).rate(np.random.default_rng(0), true)
    np.testing.assert_array_equal(rated, np.round(rated))
    assert rated.mean() == pytest.approx(53, abs=0.2)
    assert rated.std() == pytest.approx(6, abs=0.2)


def test_ratings_stay_within_0_and_100() -> None:
    rated = Expert(error=50).rate(np.random.default_rng(0), np.full(1000, 50.0))
    assert (rated.min(), rated.max()) == (0, 100)


@pytest.mark.parametrize("errors", [(5, 10, 10), (5, 10, 3), (12, 4, 20), (0, 7, 2)])
def test_the_nearer_score_is_taken_as_often_as_the_closed_form_says(errors) -> None:
    rng, n = np.random.default_rng(0), 200_000
    judged, target, predicted = (rng.normal(50, error, n) for error in errors)
    share = (nearer_of(judged, target, predicted) == "predicted").mean()
    assert share == pytest.approx(chance_of_nearer(*errors), abs=0.005)


def test_a_careless_expert_discards_and_an_unsure_one_finds_both_alike() -> None:
    rng, true = np.random.default_rng(0), np.full(5000, 50.0)
    chosen = Expert(discards=0.2).choose(rng, true, (true - 10, true + 10))
    assert (chosen == "discard").mean() == pytest.approx(0.2, abs=0.02)
    unsure = Expert(indifference=100).choose(rng, true, (true - 10, true + 10))
    assert set(unsure) == {"equivalent"}
