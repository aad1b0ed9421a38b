import numpy as np
import pytest

from deepspot_scale.simulation import SIMULATORS, Truth, simulate_image


def assert_same(first: Truth, second: Truth) -> None:
    for a, b in zip(vars(first).values(), vars(second).values(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", SIMULATORS)
def test_an_image_depends_on_the_set_seed_and_number_alone(name):
    forward = [simulate_image(name, 3, number, size=48) for number in range(3)]
    backward = [simulate_image(name, 3, number, size=48) for number in (2, 1, 0)]
    for first, second in zip(forward, reversed(backward), strict=True):
        assert_same(first, second)


@pytest.mark.parametrize("name", SIMULATORS)
def test_other_seeds_and_numbers_give_other_images(name):
    images = [
        simulate_image(name, seed, number, size=48).image
        for seed, number in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert len({image.tobytes() for image in images}) == 4


def test_sets_of_one_seed_share_no_spot():
    sets = [
        simulate_image(name, 7, 0, spots=spots, size=64).points
        for name in ("fixed", "var", "paper")
        for spots in (10, 20)
    ]
    places = np.concatenate([points.ravel() for points in sets])
    assert len(np.unique(places)) == len(places)


def test_images_are_not_those_of_a_training_with_the_same_seed():
    trained = SIMULATORS["var"].draw(np.random.default_rng((7, 0)), 10, 64)
    simulated = simulate_image("var", 7, 0, spots=10, size=64)
    assert not np.isin(trained.points, simulated.points).any()


def test_the_papers_sets_take_10_to_100_spots_in_turn():
    n = [len(simulate_image("var", 0, i, size=32).points) for i in range(12)]
    assert n == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 10, 20]


@pytest.mark.parametrize("name", ["fixed", "var", "paper"])
def test_the_papers_sets_have_the_number_of_spots_that_is_asked_for(name):
    assert len(simulate_image(name, 0, 4, spots=17, size=32).points) == 17


def test_the_set_paper_holds_images_of_both_kinds():
    light = [
        truth.snr * truth.sigma**2
        for truth in (simulate_image("paper", 0, i, size=32) for i in range(20))
    ]
    fixed = [bool(np.allclose(each, each[0])) for each in light]
    assert {True, False} == set(fixed)
