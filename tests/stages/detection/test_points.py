"""A function from an image to points as a detector, block by block."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.detection.points import PointDetector
from deepspot_scale.verbs.images import detect

few = settings(max_examples=25, deadline=None)
SHAPE = (70, 83)


def _find(image: Any) -> Any:
    """Return the pixels that are the largest of 5 x 5, moved by a fraction."""
    top = image == ndimage.maximum_filter(image, 5)
    return np.add(np.argwhere(top & (image > 0.3)), [0.2501, -0.125])


def _counts(seed: int) -> xr.DataArray:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 60))
    points = rng.uniform(0, np.array(SHAPE) - 1, (n, 2))
    light = render_spots(SHAPE, points, rng.uniform(200, 900, n), np.full(n, 1.3))
    counts = rng.poisson(light + 100).astype(np.uint16)
    return xr.DataArray(counts, dims=("y", "x"))


RAW = PointDetector(_find, halo=8, on="raw", refine=False)


@few
@given(st.integers(0, 999), st.integers(34, 60), st.booleans(), st.booleans())
def test_blocks_of_any_size_give_the_spots_of_the_whole_field(
    seed: int, block: int, refine: bool, lazy: bool
) -> None:
    image, detector = _counts(seed), replace(RAW, refine=refine)
    whole = detect(image, method=detector)
    given_ = image.chunk(y=31, x=19) if lazy else image
    cut: Any = detect(given_, method=detector, block=block)
    if lazy:
        cut = cut.compute(scheduler="synchronous").reset_index(drop=True)
    pd.testing.assert_frame_equal(cut, whole, check_exact=True)


def test_places_are_kept_to_a_1024th_of_a_pixel_where_they_are_not_refined() -> None:
    found = detect(_counts(1), method=RAW)
    assert len(found) > 5
    fractions = found[["y", "x"]].to_numpy() % 1
    np.testing.assert_array_equal(fractions, [[256 / 1024, 0.875]] * len(found))


def test_a_raw_image_is_handed_over_by_the_fields_own_brightness() -> None:
    seen = []

    def look(image: Any) -> Any:
        seen.append(image)
        return np.empty((0, 2))

    image = _counts(2)
    assert detect(image, method=replace(RAW, find=look)).empty
    (scaled,) = seen
    assert scaled.dtype == np.float32
    dark, bright = np.quantile(image, [0.01, 0.999], method="inverted_cdf")
    expected = (image.to_numpy() - float(dark)) / (float(bright) - dark)
    np.testing.assert_allclose(scaled, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("points", "error", "reason"),
    [
        (np.zeros(SHAPE), SettingsError, r"must give \(n, 2\) points"),
        ([3.0, 4.0], SettingsError, r"must give \(n, 2\) points"),
        ([[1.0], [2.0]], SettingsError, r"must give \(n, 2\) points"),
        ([[1.0, np.inf]], FieldError, "NaN or infinite"),
    ],
)
def test_what_is_no_points_is_a_named_error(
    points: Any, error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        detect(_counts(0), method=replace(RAW, find=lambda _: points))


def test_further_columns_are_passed_over() -> None:
    found = detect(_counts(3), method=RAW)
    more = replace(RAW, find=lambda image: np.c_[_find(image), np.ones(_n(image))])
    pd.testing.assert_frame_equal(detect(_counts(3), method=more), found)


def _n(image: Any) -> int:
    return len(_find(image))


def test_a_binned_detector_measures_wider_spots_and_reads_as_far() -> None:
    wide = RAW.binned(4)
    assert wide.binning == 4
    assert wide.halo > RAW.halo
    assert wide.binned(2).binning == 8
    assert RAW.binned(1) == RAW
