"""Big-FISH in blocks: the spots that the library itself finds on the whole plane.

The library is the real one; where it is not installed, only refusals are tested.
"""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import xarray as xr

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.detection.adapters.bigfish import BigFishDetector
from deepspot_scale.testing import check_detector
from deepspot_scale.verbs.images import detect

needs_bigfish = pytest.mark.skipif(
    importlib.util.find_spec("bigfish") is None, reason="big-fish is not installed"
)


def draw_counts(
    seed: int, shape: tuple[int, int], dtype: str, n: int = 200
) -> np.ndarray:
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, np.array(shape) - 1, (n, 2))
    light = 60 + render_spots(shape, places, rng.uniform(5, 120, n), np.full(n, 1.3))
    most = 255 if dtype == "uint8" else 65535
    return rng.poisson(light).clip(0, most).astype(dtype)


def find_by_library(counts: np.ndarray, own: BigFishDetector) -> list[tuple[int, int]]:
    from bigfish.detection import detect_spots

    # The library takes the logarithm of 0, and warns where it finds nothing.
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        spots = detect_spots(
            counts,
            threshold=own.threshold,
            log_kernel_size=own.sigma,
            minimum_distance=own.least_distance,
        )
    return sorted((int(y), int(x)) for y, x in spots)


def find_in_blocks(
    counts: np.ndarray, own: BigFishDetector, block: int
) -> list[tuple[float, float]]:
    table: Any = detect(xr.DataArray(counts, dims=("y", "x")), method=own, block=block)
    return sorted(zip(table["y"], table["x"], strict=True))


@needs_bigfish
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("threshold", [None, 2.0])
def test_spots_are_those_of_the_library_on_the_whole_plane(
    dtype: str, threshold: float | None
) -> None:
    own = BigFishDetector(sigma=1.5, threshold=threshold)
    for seed, shape in enumerate(((211, 190), (130, 301))):
        counts = draw_counts(seed, shape, dtype)
        expected = find_by_library(counts, own)
        assert len(expected) > 50
        for block in (96, 2560):
            assert find_in_blocks(counts, own, block) == expected


@needs_bigfish
def test_other_widths_and_distances_are_those_of_the_library_too() -> None:
    counts = draw_counts(5, (180, 170), "uint16", n=80)
    for own in (
        BigFishDetector(sigma=1.0, distance=3.2),
        BigFishDetector(sigma=2.6, distance=1.0),
        BigFishDetector.of_nm(voxel=103, radius=150),
    ):
        expected = find_by_library(counts, own)
        assert len(expected) > 20
        assert find_in_blocks(counts, own, 96) == expected


@needs_bigfish
def test_a_plateau_across_blocks_is_one_spot_at_the_library_s_pixel() -> None:
    counts = np.full((160, 200), 10, np.uint16)
    counts[70:76, 20:180] = 4000  # a ridge, whose maxima are a line of equal pixels
    own = BigFishDetector(sigma=1.5, threshold=1.0)
    expected = find_by_library(counts, own)
    assert len(expected) < 10
    assert find_in_blocks(counts, own, 64) == expected


@needs_bigfish
def test_a_plane_with_too_few_maxima_for_a_threshold_has_no_spots() -> None:
    own = BigFishDetector()
    counts = np.zeros((64, 70), np.uint16)
    counts[30, 30] = 900
    assert find_by_library(counts, own) == []
    assert find_in_blocks(counts, own, 64) == []


@needs_bigfish
def test_a_plane_without_a_bend_in_its_curve_is_a_named_error() -> None:
    """The library ends in a ValueError of NumPy's there."""
    counts = np.zeros((300, 300), np.uint16)
    counts[4:58:9, 4::9] = 16  # filtered to 1: one threshold only has many spots
    counts[4, 4], counts[40, 40], counts[85, 85] = 32, 48, 9000
    own = BigFishDetector()
    with pytest.raises(ValueError, match="too small"):
        find_by_library(counts, own)
    with pytest.raises(FieldError, match="give one, such as bigfish:threshold"):
        find_in_blocks(counts, own, 2560)


@needs_bigfish
def test_pixels_that_were_not_imaged_are_no_rim_of_spots() -> None:
    counts = draw_counts(7, (150, 160), "uint16", n=60)
    counts[:, 110:] = 0
    own = BigFishDetector(sigma=1.5, threshold=2.0)
    assert any(abs(x - 110) < 4 for _, x in find_by_library(counts, own))
    spots = find_in_blocks(counts, own, 96)
    assert len(spots) > 20
    assert not [x for _, x in spots if x > 109]


@needs_bigfish
def test_images_of_a_dtype_that_the_library_refuses_are_a_named_error() -> None:
    with pytest.raises(FieldError, match="Big-FISH takes images of uint8"):
        find_in_blocks(draw_counts(1, (64, 64), "int32"), BigFishDetector(), 2560)


@needs_bigfish
def test_with_a_threshold_it_keeps_the_contract_of_detectors() -> None:
    check_detector(BigFishDetector(threshold=300.0))


def test_wider_spots_have_a_wider_filter() -> None:
    wide = BigFishDetector(sigma=1.5, distance=2.0).binned(4)
    assert (wide.sigma, wide.distance, wide.binning) == (6.0, 8.0, 4)
    assert wide.halo == 24 + 8
    assert BigFishDetector(sigma=1.5).halo == 6 + 2
    assert replace(wide, binning=1).binned(1).sigma == 6.0


@pytest.mark.parametrize(
    "options", [{"sigma": 0}, {"distance": 0}, {"threshold": -1.0}, {"sigma": np.inf}]
)
def test_numbers_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=r"sigma|distance|threshold"):
        BigFishDetector(**options)
