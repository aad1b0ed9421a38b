"""Pictures of molecules: sums of parts, light that stays, and where it lies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.rendering import (
    UNIT,
    Canvas,
    as_light,
    canvas_of,
    render,
)

METHODS = ("sum", "ash", "gaussian")
CANVAS = Canvas((40, 50), 10.0)


def draw(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    yx = rng.uniform((-20, -20), (420, 520), (n, 2))
    return yx, rng.lognormal(6, 1, n), rng.uniform(1, 40, n)


@pytest.mark.parametrize("method", METHODS)
@given(seed=st.integers(0, 99), cut=st.integers(0, 300))
@settings(max_examples=10, deadline=None)
def test_pictures_of_parts_add_up_to_the_whole_bit_for_bit(
    method: str, seed: int, cut: int
) -> None:
    whole = draw(seed)
    order = np.random.default_rng(seed).permutation(len(whole[0]))
    parts = [
        render(method, *(each[own] for each in whole), CANVAS)
        for own in (order[cut:], order[:cut])
    ]
    np.testing.assert_array_equal(parts[0] + parts[1], render(method, *whole, CANVAS))


@pytest.mark.parametrize("method", METHODS)
def test_all_light_of_a_molecule_amid_the_picture_is_in_it(method: str) -> None:
    yx, weights, sigma = np.array([[203.0, 255.5]]), np.array([777.0]), np.array([30.0])
    light = as_light(render(method, yx, weights, sigma, CANVAS))
    assert light.sum() == pytest.approx(777, abs=1e-3)


def test_a_sum_is_numpys_histogram() -> None:
    yx, weights, sigma = draw(1)
    edges = [np.arange(n + 1) * 10.0 for n in CANVAS.shape]
    expected, _, _ = np.histogram2d(*yx.T, edges, weights=weights)
    light = as_light(render("sum", yx, weights, sigma, CANVAS))
    np.testing.assert_allclose(light, expected, atol=1e-4)


def test_an_averaged_shifted_histogram_is_the_mean_of_shifted_histograms() -> None:
    yx = np.random.default_rng(2).uniform((50, 50), (350, 450), (100, 2))
    fine = as_light(render("ash", yx, np.ones(100), np.ones(100), CANVAS))
    mean = np.zeros(CANVAS.shape)
    for y in (0, 1):
        for x in (0, 1):
            edges = [np.arange(-1 + s, n + 2, 2) * 10.0 for s, n in
                     zip((y, x), CANVAS.shape, strict=True)]  # fmt: skip
            counts, _, _ = np.histogram2d(*yx.T, edges)
            wide = np.repeat(np.repeat(counts, 2, 0), 2, 1)
            rows, columns = CANVAS.shape
            mean += wide[1 - y :, 1 - x :][:rows, :columns] / 4 / 4
    np.testing.assert_allclose(fine[3:-3, 3:-3], mean[3:-3, 3:-3], atol=1e-6)


def test_a_gaussian_has_its_centre_and_width() -> None:
    yx, sigma = np.array([[203.0, 255.5]]), np.array([30.0])
    light = as_light(render("gaussian", yx, np.ones(1), sigma, CANVAS))
    y, x = ((np.arange(n) + 0.5) * 10 for n in CANVAS.shape)
    assert light.sum(1) @ y == pytest.approx(203, abs=0.01)
    assert light.sum(0) @ x == pytest.approx(255.5, abs=0.01)
    # Cut at three sigmas a Gaussian has a variance of 0.9733; a pixel adds 1 / 12.
    spread = light.sum(1) @ (y - 203) ** 2
    assert spread == pytest.approx(0.9733 * 900 + 100 / 12, rel=2e-3)


def test_a_gaussian_narrower_than_a_pixel_is_in_it() -> None:
    yx = np.array([[205.0, 255.0]])
    light = as_light(render("gaussian", yx, np.ones(1), np.array([0.1]), CANVAS))
    assert light[20, 25] == pytest.approx(1, abs=2 * UNIT)


def test_molecules_outside_are_left_out() -> None:
    yx = np.array([[-1.0, 5], [5, -0.1], [400, 5], [5, 500]])
    for method in METHODS:
        assert not render(method, yx, np.ones(4), np.full(4, 5.0), CANVAS).any()


def test_a_field_of_whole_pixels_gets_no_further_one() -> None:
    assert canvas_of((64 * 100.0, 0.3 * 100), 0.1 * 100).shape == (640, 3)


def test_nothing_gives_a_black_picture() -> None:
    none = np.zeros(0)
    for method in METHODS:
        picture = render(method, np.zeros((0, 2)), none, none, CANVAS)
        assert picture.shape == CANVAS.shape
        assert not picture.any()
