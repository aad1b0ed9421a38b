"""A planted shift is found, and where there is none, none is claimed."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest

from deepspot_scale.kernels.chromatic import (
    Shift,
    measure_shift,
    near_points,
)

Points = np.ndarray
SLOPES = np.array([[0.004, 0.0005], [-0.003, 0.004]])


def _translate(points: Points) -> Points:
    return points + np.array([0.7, 1.3, -4.2])[-points.shape[1] :]


def _stretch(points: Points) -> Points:
    return _translate(points) + (points - 512) @ SLOPES


def _image(
    rng: np.random.Generator,
    n: int,
    share: float,
    move: Callable[[Points], Points] = _translate,
    side: tuple[float, ...] = (1024.0, 1024.0),
) -> tuple[Points, Points]:
    """Throw points of two channels, of which a share are the same ones."""
    one, other = (rng.uniform(0, side, (n, len(side))) for _ in range(2))
    k = int(n * share)
    other[:k] = move(one[:k]) + rng.normal(0, 0.15, (k, len(side)))
    return one, other[rng.permutation(n)]


@pytest.mark.parametrize(("n", "share"), [(60, 0.9), (800, 0.3), (3000, 0.1)])
def test_a_planted_translation_is_found(n: int, share: float) -> None:
    shift = measure_shift([_image(np.random.default_rng(n), n, share)])
    assert shift.how == "measured"
    assert not shift.is_affine
    assert abs(shift.dy - 1.3) < 0.1
    assert abs(shift.dx + 4.2) < 0.1
    assert shift.dz == 0.0
    assert shift.n_pairs >= 0.9 * share * n
    assert shift.residual_before > 4.0
    assert shift.residual_after < 1.5


@pytest.mark.parametrize("whole", [False, True])
def test_a_planted_affine_shift_is_found_also_between_whole_pixels(whole: bool) -> None:
    rng = np.random.default_rng(3)
    images = [_image(rng, 700, 0.4, _stretch) for _ in range(3)]
    if whole:
        images = [(np.round(one), np.round(other)) for one, other in images]
    shift = measure_shift(images)
    probe = rng.uniform(0, 1024, (100, 2))
    assert shift.is_affine
    assert np.abs(shift.undo(_stretch(probe)) - probe).max() < (0.15 if whole else 0.08)


def test_a_planted_shift_of_stacks_is_found_along_z_too() -> None:
    side = (30.0, 512.0, 512.0)
    shift = measure_shift([_image(np.random.default_rng(4), 800, 0.5, side=side)])
    assert shift.how == "measured"
    np.testing.assert_allclose(
        [shift.dz, shift.dy, shift.dx], [0.7, 1.3, -4.2], atol=0.1
    )
    moved = shift.undo(np.array([[5.0, 10.0, 20.0]]))
    np.testing.assert_allclose(moved, [[4.3, 8.7, 24.2]], atol=0.1)


@pytest.mark.parametrize("n", [5, 100, 1000, 6000])
def test_independent_channels_have_no_shift(n: int) -> None:
    rng = np.random.default_rng(n)
    found = [measure_shift([_image(rng, n, 0.0)]).how for _ in range(12)]
    assert set(found) == {"not measurable"}


@pytest.mark.parametrize(("n_clusters", "spread"), [(3, 1.0), (50, 1.0), (40, 20.0)])
def test_clusters_that_happen_to_be_near_others_are_no_shift(
    n_clusters: int, spread: float
) -> None:
    rng = np.random.default_rng(n_clusters)

    def gathered() -> Points:
        centres = rng.uniform(0, 1024, (n_clusters, 2))
        own = centres[rng.integers(0, n_clusters, 1000)]
        return own + rng.normal(0, spread, own.shape)

    found = [measure_shift([(gathered(), gathered())]).how for _ in range(12)]
    assert set(found) == {"not measurable"}


def test_a_translation_is_not_taken_for_more() -> None:
    rng = np.random.default_rng(6)
    found = [measure_shift([_image(rng, 300, 0.6)]) for _ in range(30)]
    assert not any(shift.is_affine for shift in found)


@pytest.mark.parametrize("n", [150, 1000])
def test_a_shift_that_turns_over_a_large_sensor_is_right_or_not_measured(
    n: int,
) -> None:
    rng, turn = np.random.default_rng(n), np.array([[0.001, 0.005], [-0.005, 0.001]])
    probe = rng.uniform(0, 2048, (100, 2))
    found = 0
    for _ in range(10):
        one = rng.uniform(0, 2048, (n, 2))
        moved = (_translate(each) + (each - 1024) @ turn for each in (one, probe))
        other, expected = moved
        shift = measure_shift([(one, other + rng.normal(0, 0.1, (n, 2)))])
        if shift.how == "measured":
            found += 1
            assert np.abs(shift.undo(expected) - probe).max() < 0.2
    assert found >= 8


def test_too_few_pairs_are_not_measurable() -> None:
    one = np.random.default_rng(7).uniform(0, 300, (20, 2))
    assert measure_shift([(one, _translate(one))]).how == "not measurable"


def test_order_of_images_and_points_does_not_matter() -> None:
    rng = np.random.default_rng(8)
    images = [_image(rng, 300, 0.4, _stretch) for _ in range(4)]
    shuffled = [(a[::-1], b[rng.permutation(len(b))]) for a, b in images[::-1]]
    assert measure_shift(shuffled) == measure_shift(images)


def test_pairs_of_several_images_add_up_and_none_are_across() -> None:
    rng = np.random.default_rng(9)
    images = [_image(rng, 30, 0.9) for _ in range(5)]
    assert measure_shift(images).how == "measured"
    across = [(a, b) for (a, _), (_, b) in pairwise(images)]
    assert measure_shift(across).how == "not measurable"


def test_nothing_has_no_shift() -> None:
    nothing = np.empty((0, 2))
    assert measure_shift([]).how == "not measurable"
    assert measure_shift([(nothing, nothing), (nothing, np.ones((3, 2)))]) == Shift(
        "not measurable"
    )


def test_a_sample_keeps_the_surroundings_of_its_points() -> None:
    rng = np.random.default_rng(10)
    one, other = _image(rng, 4000, 0.5)
    few, near = near_points(one, other, 500, np.random.default_rng(0))
    assert len(few) == 500
    gaps = np.abs(other[:, None] - few[None]).max(axis=2).min(axis=1)
    assert {*map(tuple, other[gaps <= 10])} <= {*map(tuple, near)}
    assert abs(measure_shift([(few, near)]).dx + 4.2) < 0.1
