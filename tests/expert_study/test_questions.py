"""Each expert has an order of their own, and either score stands left equally often."""

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.expert_study.questions import (
    Asked,
    Pair,
    order_pairs,
    order_ratings,
)
from deepspot_scale.io.study_answers import CHOICE, Question
from deepspot_scale.statistics.expert_choices import bin_of

IMAGES = [f"image{k}" for k in range(50)]


def pairs(targets, *, arms=("network",)):
    return [
        Pair(Question(CHOICE, f"i{k}", "judge", arm), float(target), 50.0)
        for k, target in enumerate(targets)
        for arm in arms
    ]


def test_each_expert_is_asked_everything_once_in_an_order_of_their_own() -> None:
    orders = [order_ratings(IMAGES, 0, expert) for expert in ("anna", "ben")]
    names = [[asked.question.image for asked in order] for order in orders]
    assert sorted(names[0]) == sorted(names[1]) == sorted(IMAGES)
    assert names[0] != names[1]
    assert order_ratings(IMAGES, 1, "anna") != orders[0]


def test_the_order_is_the_same_at_each_start_whatever_the_folder_lists_first() -> None:
    assert order_ratings(IMAGES[::-1], 0, "anna") == order_ratings(IMAGES, 0, "anna")
    known = pairs(range(30))
    again = order_pairs(known[::-1], 0, "anna", "judge")
    assert again == order_pairs(known, 0, "anna", "judge")


@settings(deadline=None, max_examples=40)
@given(
    targets=st.lists(st.floats(0, 100), min_size=1, max_size=60),
    seed=st.integers(0, 100),
    both=st.booleans(),
)
def test_sides_are_balanced_in_all_and_within_each_arm_and_bin(
    targets: list[float], seed: int, both: bool
) -> None:
    arms = ("network", "random") if both else ("network",)
    known = pairs(targets, arms=arms)
    asked = order_pairs(known, seed, "anna", "judge")
    assert sorted(a.question for a in asked) == sorted(p.question for p in known)
    sides = Counter(a.stands_left for a in asked)
    assert abs(sides["target"] - sides["predicted"]) == len(asked) % 2
    strata: dict[object, int] = Counter()
    for each in asked:
        (number,) = bin_of([each.target])
        strata[each.question.arm, number] += 1 if each.stands_left == "target" else -1
    assert all(abs(count) <= 1 for count in strata.values())


def test_what_stands_left_says_nothing_of_the_next_one() -> None:
    asked = order_pairs(pairs([50.0] * 400), 0, "anna", "judge")
    sides = [each.stands_left == "target" for each in asked]
    same = sum(a == b for a, b in itertools.pairwise(sides))
    assert 160 <= same <= 240


@pytest.mark.parametrize("seed", range(5))
def test_an_image_in_two_arms_is_not_asked_twice_in_a_row(seed: int) -> None:
    known = pairs(range(40), arms=("network", "random"))
    names = [a.question.image for a in order_pairs(known, seed, "anna", "judge")]
    assert len(names) == 80
    assert all(a != b for a, b in itertools.pairwise(names))


def test_left_and_right_are_the_two_scores() -> None:
    question = Question(CHOICE, "i", "judge", "network")
    first = Asked(question, "target", 10.0, 70.0)
    assert (first.left, first.right) == (10.0, 70.0)
    second = Asked(question, "predicted", 10.0, 70.0)
    assert (second.left, second.right) == (70.0, 10.0)
