"""Light of molecules at known places: recovery, and that only what is near counts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import erf

from deepspot_scale.kernels.local_photometry import measure_light, reach

SIGMA = 1.1


def draw(
    shape: tuple[int, int, int], places: np.ndarray, light: np.ndarray, ground: float
) -> np.ndarray:
    """Draw pixel-integrated Gaussians one after the other."""
    frames = np.full(shape, ground)
    for (t, y, x), counts in zip(places, light, strict=True):
        along = []
        for centre, n in zip((y, x), shape[1:], strict=True):
            edges = (np.arange(n + 1) - 0.5 - centre) / SIGMA / 2**0.5
            along.append(np.diff(erf(edges)) / 2)
        frames[int(t)] += counts * np.outer(*along)
    return frames


def dense(seed: int, n: int, shape: tuple[int, int, int]) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    t = rng.integers(0, shape[0], n)
    places = np.column_stack([t, rng.uniform((0, 0), np.array(shape[1:]) - 1, (n, 2))])
    light = rng.normal(2250, 250, n)
    return places, light, rng.poisson(draw(shape, places, light, 50.0)) + 100.0


def test_pairs_at_one_sigma_are_told_apart_without_noise() -> None:
    places = np.array([[0, 12.3, 11.8], [0, 12.3, 11.8 + SIGMA], [0, 22.0, 21.5]])
    light = np.array([2000.0, 500.0, 900.0])
    found = measure_light(draw((1, 32, 32), places, light, 70.0), places, SIGMA)
    np.testing.assert_allclose(found.intensity, light, rtol=0.01)
    np.testing.assert_allclose(found.background, 70, atol=0.2)


def test_noisy_pairs_at_one_sigma_are_right_on_average() -> None:
    rng = np.random.default_rng(4)
    y, x = rng.uniform(10, 21, (2, 200))
    turn, t = rng.uniform(0, 2 * np.pi, 200), np.arange(200)
    one = np.column_stack([t, y, x])
    other = one + SIGMA * np.column_stack([0 * t, np.sin(turn), np.cos(turn)])
    light = np.tile([3000.0, 1500.0], 200)
    places = np.stack([one, other], axis=1).reshape(-1, 3)
    frames = rng.poisson(draw((200, 32, 32), places, light, 20.0))
    found = measure_light(frames, places, SIGMA).intensity.reshape(200, 2)
    np.testing.assert_allclose(found.mean(axis=0), [3000, 1500], rtol=0.02)
    assert np.all(found.std(axis=0) < 250)


def test_a_crowd_is_measured_without_bias() -> None:
    shape = (8, 64, 64)
    places, light, frames = dense(1, 8 * 120, shape)
    found = measure_light(frames, places, SIGMA)
    assert np.mean(found.intensity - light) == pytest.approx(0, abs=20)
    assert np.median(np.abs(found.intensity - light)) < 80
    assert np.mean(found.background) == pytest.approx(150, abs=1)


def test_two_on_one_place_have_half_of_the_light_each() -> None:
    places = np.array([[0, 9.2, 10.7], [0, 9.2, 10.7]])
    frames = draw((1, 20, 20), places, np.array([900.0, 100.0]), 5.0)
    found = measure_light(frames, places, SIGMA)
    np.testing.assert_allclose(found.intensity, 500, rtol=1e-3)


def test_noise_is_that_of_the_pixels() -> None:
    rng = np.random.default_rng(5)
    places = np.column_stack([np.arange(300), rng.uniform(8, 12, (300, 2))])
    frames = draw((300, 21, 21), places, np.full(300, 500.0), 30.0)
    frames += rng.normal(0, 4, frames.shape)
    noise = measure_light(frames, places, SIGMA).noise
    assert np.sqrt(np.mean(noise**2)) == pytest.approx(4, rel=0.03)


def test_at_the_edge_of_a_frame_what_is_seen_counts() -> None:
    places = np.array([[0, 0.0, 0.0], [0, 19.0, 7.0]])
    light = np.array([800.0, 1200.0])
    found = measure_light(draw((1, 20, 15), places, light, 11.0), places, SIGMA)
    np.testing.assert_allclose(found.intensity, light, rtol=1e-3)


@given(
    seed=st.integers(0, 50),
    corner=st.tuples(st.integers(0, 30), st.integers(0, 40)),
    size=st.tuples(st.integers(1, 33), st.integers(1, 29)),
)
@settings(max_examples=25, deadline=None)
def test_a_part_of_a_movie_gives_the_same_bits(
    seed: int, corner: tuple[int, int], size: tuple[int, int]
) -> None:
    shape = (2, 64, 70)
    places, _, frames = dense(seed, 300, shape)
    whole = measure_light(frames, places, SIGMA)
    low = np.maximum(np.array(corner) - reach(SIGMA), 0)
    high = np.minimum(np.array(corner) + size + reach(SIGMA), shape[1:])
    part = frames[1:, low[0] : high[0], low[1] : high[1]]
    yx = places[:, 1:]
    on = (places[:, 0] == 1) & ((yx >= low - 0.5) & (yx < high - 0.5)).all(axis=1)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(on))
    found = measure_light(part, places[order], SIGMA, origin=(1, *low))
    asked = ((yx >= corner) & (yx < np.array(corner) + size)).all(axis=1)[order]
    for one, other in zip(found, whole, strict=True):
        np.testing.assert_array_equal(one[asked], other[order[asked]])


def test_other_frames_change_nothing() -> None:
    places, _, frames = dense(3, 200, (3, 40, 40))
    whole = measure_light(frames, places, SIGMA)
    own = places[:, 0] == 2
    alone = measure_light(frames[2:], places[own], SIGMA, origin=(2, 0, 0))
    np.testing.assert_array_equal(alone.intensity, whole.intensity[own])


def test_no_places_no_light() -> None:
    found = measure_light(np.zeros((1, 9, 9)), np.zeros((0, 3)), SIGMA)
    assert [each.size for each in found] == [0, 0, 0]
