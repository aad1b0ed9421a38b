"""Closed forms of the measures agree with enumeration and with simulated experts."""

from itertools import product
from math import comb, prod

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.simulation.experts import Expert
from deepspot_scale.statistics.expected_choices import (
    chance_of_nearer,
    chances_of_choice,
    expect_measures,
    expect_unequal,
)
from deepspot_scale.statistics.expert_choices import (
    ALL,
    average_experts,
    count_choices,
)

N_EXPERTS, N_IMAGES = 40, 60


@pytest.mark.parametrize(("t", "p"), [(0.5, 0.5), (0.2, 0.5), (0.0, 0.3), (0.1, 0.9)])
def test_expectations_are_those_of_all_sequences_of_choices(t: float, p: float) -> None:
    n, chance = 5, {"t": t, "p": p, "e": 1 - t - p}
    confusion, domination, decided = 0.0, 0.0, 0.0
    for letters in product("tpe", repeat=n):
        weight = prod(chance[letter] for letter in letters)
        n_t, n_p = letters.count("t"), letters.count("p")
        confusion += weight * (1 - abs(n_p - n_t) / n)
        if n_t + n_p:
            domination += weight * n_p / (n_t + n_p)
            decided += weight
    expected = expect_measures(n, t, p)
    assert expected.confusion == pytest.approx(confusion, abs=1e-12)
    assert expected.domination == pytest.approx(domination / decided, abs=1e-12)
    assert expected.win_share == p


@pytest.mark.parametrize("n", [1, 2, 3, 20, 51])
def test_what_cannot_be_told_apart_has_de_moivres_confusion(n: int) -> None:
    mean = n * comb(n - 1, (n - 1) // 2) / 2 ** (n - 1)
    assert expect_measures(n, 0.5, 0.5).confusion == pytest.approx(1 - mean / n)


def test_without_choices_nothing_is_known() -> None:
    assert np.isnan(expect_measures(0, 0.5, 0.5).confusion)
    assert np.isnan(expect_measures(3, 0.0, 0.0).domination)
    assert expect_measures(3, 0.0, 0.0).confusion == 1


def test_questions_of_unequal_probabilities_are_those_of_all_sequences() -> None:
    chances = [(0.5, 0.2), (0.1, 0.9), (0.3, 0.3), (0.0, 0.6)]
    confusion, domination, decided = 0.0, 0.0, 0.0
    for letters in product("tpe", repeat=4):
        each = ({"t": t, "p": p, "e": 1 - t - p} for t, p in chances)
        weight = prod(own[letter] for own, letter in zip(each, letters, strict=True))
        n_t, n_p = letters.count("t"), letters.count("p")
        confusion += weight * (1 - abs(n_p - n_t) / 4)
        if n_t + n_p:
            domination += weight * n_p / (n_t + n_p)
            decided += weight
    expected = expect_unequal(*np.array(chances).T)
    assert expected.confusion == pytest.approx(confusion)
    assert expected.domination == pytest.approx(domination / decided)
    assert expected.win_share == pytest.approx(0.5)
    assert np.isnan(expect_unequal(np.zeros(0), np.zeros(0)).confusion)
    assert np.isnan(expect_unequal(np.zeros(2), np.zeros(2)).domination)


@pytest.mark.parametrize("indifference", [0.0, 4.0, 30.0])
def test_a_simulated_expert_chooses_as_often_as_the_integral_says(
    indifference: float,
) -> None:
    rng, expert = np.random.default_rng(0), Expert(7, indifference=indifference)
    true, target, predicted = 50.0, 44.0, 61.0
    many = [np.full(100_000, score) for score in (true, target, predicted)]
    for shown in ((many[1], many[2]), (many[2], many[1])):
        chosen = expert.choose(rng, many[0], shown)
        t, p = chances_of_choice(many[0], shown, 7, indifference)
        assert (chosen == "target").mean() == pytest.approx(t[0], abs=0.005)
        assert (chosen == "predicted").mean() == pytest.approx(p[0], abs=0.005)


def study(network_error: float, *, indifference: float = 0.0, seed: int = 0):
    """Choices of experts between labels of error 10 and a network of some error."""
    rng = np.random.default_rng(seed)
    expert, parts = Expert(error=8, indifference=indifference), []
    for number in range(N_EXPERTS):
        true = rng.uniform(30, 70, N_IMAGES)
        target = true + rng.normal(0, 10, N_IMAGES)
        predicted = true + rng.normal(0, network_error, N_IMAGES)
        choice = expert.choose(rng, true, (target, predicted))
        columns = {"arm": "network", "expert": f"e{number}", "choice": choice}
        parts.append(pd.DataFrame({**columns, "target": target}))
    return average_experts(count_choices(pd.concat(parts)), seed=seed)


@pytest.mark.parametrize("network_error", [10.0, 4.0, 25.0])
def test_experts_find_a_network_as_good_better_and_worse_by_the_closed_form(
    network_error: float,
) -> None:
    rows = study(network_error)
    p = chance_of_nearer(8, 10, network_error)
    expected = expect_measures(N_IMAGES, 1 - p, p)
    assert (p > 0.5, p < 0.5) == (network_error < 10, network_error > 10)
    whole = rows[rows["bin"] == ALL].set_index("measure")
    for name, value in expected._asdict().items():
        assert whole.loc[name, "low"] <= value <= whole.loc[name, "high"], name
        assert whole.loc[name, "high"] - whole.loc[name, "low"] < 0.09


def test_the_closed_form_with_equivalents_is_that_of_the_experts_who_say_so() -> None:
    rng, rows = np.random.default_rng(1), []
    t, p, n = 0.3, 0.45, 25
    for number in range(60):
        drawn = rng.choice(
            ["target", "predicted", "equivalent"], n, p=[t, p, 1 - t - p]
        )
        rows += [("network", f"e{number}", choice, 50.0) for choice in drawn]
    table = pd.DataFrame(rows, columns=["arm", "expert", "choice", "target"])
    whole = average_experts(count_choices(table))
    whole = whole[whole["bin"] == ALL].set_index("measure")
    for name, value in expect_measures(n, t, p)._asdict().items():
        assert whole.loc[name, "low"] <= value <= whole.loc[name, "high"], name


def test_intervals_hold_the_closed_form_in_95_of_100_studies() -> None:
    p = chance_of_nearer(8, 10, 4)
    expected = expect_measures(N_IMAGES, 1 - p, p)._asdict()
    held = dict.fromkeys(expected, 0)
    for seed in range(40):
        rows = study(4, seed=seed)
        whole = rows[rows["bin"] == ALL].set_index("measure")
        for name, value in expected.items():
            held[name] += whole.loc[name, "low"] <= value <= whole.loc[name, "high"]
    assert all(34 <= times <= 40 for times in held.values()), held
