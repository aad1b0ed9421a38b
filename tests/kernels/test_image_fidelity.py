"""PSNR, its scale-invariant kin and SSIM, against their equations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize
from skimage.metrics import peak_signal_noise_ratio

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.image_fidelity import (
    range_of,
    scale_invariant_signal_to_noise,
    signal_to_noise,
    structural_similarity,
)

_SCORES: list[Callable[..., Any]] = [
    lambda clean, image: signal_to_noise(clean, image, 1.0),
    scale_invariant_signal_to_noise,
    lambda clean, image: structural_similarity(clean, image, 1.0),
]


def _pair(seed: int, shape: tuple[int, ...] = (24, 30)) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    clean = 100 + 50 * rng.random(shape)
    return clean, clean + rng.normal(0, 5, shape)


@pytest.mark.parametrize("seed", range(3))
def test_psnr_is_that_of_scikit_image(seed: int) -> None:
    clean, noisy = _pair(seed)
    span = range_of(clean)
    expected = peak_signal_noise_ratio(clean, noisy, data_range=span)
    assert signal_to_noise(clean, noisy, span) == pytest.approx(expected)
    # Ten times the range is 20 dB.
    assert signal_to_noise(clean, noisy, 10 * span) == pytest.approx(expected + 20)


@pytest.mark.parametrize("seed", range(3))
def test_scale_invariant_psnr_is_the_best_of_all_gains_and_offsets(seed: int) -> None:
    clean, noisy = _pair(seed)
    wrong = 0.01 * noisy - 3

    def lost(fit: Any) -> float:
        return -signal_to_noise(clean, fit[0] * wrong + fit[1], range_of(clean))

    start = (90.0, 280.0)
    best = minimize(lost, start, method="Nelder-Mead", options={"maxiter": 2000})
    score = scale_invariant_signal_to_noise(clean, wrong)
    assert score == pytest.approx(-best.fun, abs=1e-4)
    assert score > signal_to_noise(clean, wrong, range_of(clean)) + 10


@pytest.mark.parametrize(("gain", "offset"), [(3.0, 0.0), (0.01, -7.0), (-2.0, 5.0)])
def test_gain_and_offset_do_not_change_the_scale_invariant_psnr(
    gain: float, offset: float
) -> None:
    clean, noisy = _pair(0)
    score = scale_invariant_signal_to_noise(clean, gain * noisy + offset)
    assert score == pytest.approx(scale_invariant_signal_to_noise(clean, noisy))


def test_ssim_is_the_mean_over_windows_of_the_paper() -> None:
    clean, noisy = _pair(1, (17, 19))
    line = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    span = range_of(clean)
    first, second = (0.01 * span) ** 2, (0.03 * span) ** 2
    values = []
    for y in range(5, 12):
        for x in range(5, 14):
            one, other = (each[y - 5 : y + 6, x - 5 : x + 6] for each in (clean, noisy))
            a, b = (window * one).sum(), (window * other).sum()
            aa, bb = (window * one**2).sum() - a**2, (window * other**2).sum() - b**2
            ab = (window * one * other).sum() - a * b
            values.append(
                (2 * a * b + first)
                * (2 * ab + second)
                / ((a**2 + b**2 + first) * (aa + bb + second))
            )
    assert structural_similarity(clean, noisy, span) == pytest.approx(np.mean(values))


def test_equal_images_have_the_highest_scores() -> None:
    clean, _ = _pair(2, (12, 13, 14))
    assert signal_to_noise(clean, clean, 1.0) == np.inf
    assert scale_invariant_signal_to_noise(clean, clean) > 100
    assert structural_similarity(clean, clean, 50.0) == pytest.approx(1.0)


def test_constant_images_have_the_stated_scores() -> None:
    clean, flat = _pair(0)[0], np.full((24, 30), 7.0)
    assert np.isnan(scale_invariant_signal_to_noise(flat, clean))
    spread = 10 * np.log10(range_of(clean) ** 2 / clean.var())
    assert scale_invariant_signal_to_noise(clean, flat) == pytest.approx(spread)
    assert structural_similarity(flat, flat, 1.0) == pytest.approx(1.0)
    assert structural_similarity(flat, flat + 7, 1.0) == pytest.approx(0.8, abs=1e-3)


def test_whole_numbers_do_not_wrap_around() -> None:
    clean, image = np.full((12, 12), 3, np.uint8), np.full((12, 12), 33, np.uint8)
    assert signal_to_noise(image, clean, 30.0) == 0.0
    assert signal_to_noise(clean, image, 30.0) == 0.0


@pytest.mark.parametrize("score", _SCORES)
@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("which", [0, 1])
def test_pixels_that_are_no_numbers_are_an_error(
    score: Callable[..., Any], value: float, which: int
) -> None:
    pair = _pair(0)
    pair[which][3, 4] = value
    with pytest.raises(SettingsError, match=r"1 pixels of the (clean|other) image"):
        score(*pair)


@pytest.mark.parametrize("score", _SCORES)
@pytest.mark.parametrize("shape", [(24, 29), (24,), (24, 1)])
def test_other_shapes_are_an_error(
    score: Callable[..., Any], shape: tuple[int, ...]
) -> None:
    with pytest.raises(SettingsError, match="one shape"):
        score(np.ones((24, 30)), np.ones(shape))


@pytest.mark.parametrize("score", [signal_to_noise, structural_similarity])
@pytest.mark.parametrize("span", [0.0, -1.0, np.nan, np.inf])
def test_a_range_that_is_none_is_an_error(
    score: Callable[..., Any], span: float
) -> None:
    with pytest.raises(SettingsError, match="range of values"):
        score(*_pair(0), span)


def test_an_image_smaller_than_the_window_is_an_error() -> None:
    with pytest.raises(SettingsError, match="at least 11 px"):
        structural_similarity(np.ones((30, 10)), np.ones((30, 10)), 1.0)
