"""Ring correlation: a resolution that is known, noise, and equal halves."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.kernels.rendering import Canvas, render
from deepspot_scale.kernels.ring_correlation import (
    correlate_rings,
    half_of_blocks,
    resolution_nm,
)

PIXEL, SIZE = 8.0, 3200.0


def two_halves(seed: int, sigma: float, looks: float) -> list[np.ndarray]:
    """Draw pictures of emitters anywhere, each seen `looks` times on average in each.

    Each is seen to `sigma` nm along each axis.
    """
    rng = np.random.default_rng(seed)
    emitters = rng.uniform(0, SIZE, (3000, 2))
    canvas, made = Canvas((400, 400), PIXEL), []
    for _ in range(2):
        seen = np.repeat(emitters, rng.poisson(looks, len(emitters)), axis=0)
        seen = seen + rng.normal(0, sigma, seen.shape)
        ones = np.ones(len(seen))
        made.append(render("sum", seen, ones, ones, canvas))
    return made


@pytest.mark.parametrize(("sigma", "looks"), [(10.0, 4.0), (20.0, 4.0), (20.0, 1.0)])
def test_the_resolution_of_emitters_anywhere_is_as_expected(
    sigma: float, looks: float
) -> None:
    # n H^2 / (1 + n H^2) = 1 / 7 with H = exp(-2 pi^2 sigma^2 q^2)
    expected = 2 * np.pi * sigma / np.log(6 * looks) ** 0.5
    rings = correlate_rings(*two_halves(1, sigma, looks))
    assert resolution_nm(rings, PIXEL) == pytest.approx(expected, rel=0.06)


def test_pictures_of_nothing_in_common_have_no_resolution() -> None:
    one, other = two_halves(1, 10.0, 2.0)[0], two_halves(2, 10.0, 2.0)[0]
    # Both fade at their edges, which is all that they share.
    smooth = correlate_rings(one - one.mean(), other - other.mean()).smooth
    assert np.abs(smooth[10:]).max() < 1 / 7


def test_a_picture_agrees_with_itself_at_all_frequencies() -> None:
    one = two_halves(3, 10.0, 2.0)[0]
    rings = correlate_rings(one, one)
    np.testing.assert_allclose(rings.correlation, 1)
    assert np.isnan(resolution_nm(rings, PIXEL))


def test_a_picture_that_is_not_square_has_the_same_resolution() -> None:
    one, other = two_halves(4, 15.0, 4.0)
    whole = resolution_nm(correlate_rings(one, other), PIXEL)
    part = resolution_nm(correlate_rings(one[:301], other[:301]), PIXEL)
    assert part == pytest.approx(whole, rel=0.08)


def test_black_pictures_have_no_resolution() -> None:
    black = np.zeros((30, 40), np.int64)
    assert np.isnan(resolution_nm(correlate_rings(black, black), PIXEL))


def test_halves_are_equal_drawn_by_lot_and_the_same_for_a_seed() -> None:
    half = half_of_blocks(50, 7)
    assert half.sum() == 25
    assert np.array_equal(half, half_of_blocks(50, 7))
    assert not np.array_equal(half, half_of_blocks(50, 8))
    assert np.any(np.diff(np.flatnonzero(half)) != 2)


def test_the_correlation_is_that_of_a_sum_over_all_frequencies() -> None:
    one, other = (each[:63, :50].astype(float) for each in two_halves(5, 10.0, 3.0))
    from scipy.signal.windows import tukey

    window = np.outer(tukey(63, 0.25), tukey(50, 0.25))
    first, second = np.fft.fft2(one * window), np.fft.fft2(other * window)
    y, x = np.fft.fftfreq(63)[:, None], np.fft.fftfreq(50)[None]
    ring = np.rint(np.hypot(y, x) * 63)
    rings = correlate_rings(one, other)
    for i in (1, 5, 20, 31):
        own = ring == i
        cross = (first * second.conj())[own].sum().real
        power = (np.abs(first[own]) ** 2).sum() * (np.abs(second[own]) ** 2).sum()
        assert rings.correlation[i] == pytest.approx(cross / power**0.5)


def test_picasso_finds_the_same_resolution_for_the_same_halves() -> None:
    pytest.importorskip("picasso", reason="picassosr is not installed")
    import pandas as pd
    from picasso.postprocess import _frc

    rng = np.random.default_rng(9)
    emitters, tables, made = rng.uniform(0, SIZE, (3000, 2)), [], []
    for _ in range(2):
        seen = np.repeat(emitters, rng.poisson(4.0, 3000), axis=0)
        seen = seen + rng.normal(0, 15.0, seen.shape)
        y, x = (seen / 100).T
        lp = np.full(len(x), 0.15, np.float32)
        table = {"frame": 0, "x": x, "y": y, "photons": 1.0, "lpx": lp, "lpy": lp}
        tables.append(pd.DataFrame(table))
        ones = np.ones(len(seen))
        made.append(render("sum", seen, ones, ones, Canvas((400, 400), PIXEL)))
    view = ((0, 0), (SIZE / 100, SIZE / 100))
    theirs = _frc(*tables, 100.0, 2 * PIXEL / 100, view)[3]
    ours = resolution_nm(correlate_rings(*made), PIXEL)
    assert ours == pytest.approx(theirs, rel=0.05)


@pytest.mark.filterwarnings("ignore")
def test_nanopyx_finds_the_same_resolution() -> None:
    frc = pytest.importorskip("nanopyx.core.analysis.frc", reason="not installed")
    pictures = two_halves(6, 15.0, 4.0)
    ours = resolution_nm(correlate_rings(*pictures), PIXEL)
    light = (np.float32(each / 2**20) for each in pictures)
    theirs = frc.FIRECalculator(pixel_size=PIXEL, units="nm")
    assert theirs.calculate_fire_number(*light) == pytest.approx(ours, rel=0.06)
