"""Quality of planes: what saturated, empty and blurred images look like in numbers."""

from __future__ import annotations

import dask
import numpy as np
import pandas as pd
import xarray as xr
from scipy import ndimage

from deepspot_scale.simulation import broad_image
from deepspot_scale.verbs import measure_quality


def image(values: np.ndarray) -> xr.DataArray:
    return xr.DataArray(values, dims=("z", "y", "x")[-values.ndim :])


def test_shares_of_saturated_and_empty_pixels_are_exact() -> None:
    values = np.full((10, 10), 7, np.uint8)
    values[:2] = 255
    values[2] = 0
    row = measure_quality(image(values)).iloc[0]
    assert (row["saturated"], row["zero"]) == (0.2, 0.1)
    assert row["mean"] == values.mean()


def test_focus_is_the_variance_of_the_laplacian_over_the_squared_mean() -> None:
    values = np.random.default_rng(0).random((33, 41))
    expected = ndimage.laplace(values).var() / values.mean() ** 2
    np.testing.assert_allclose(measure_quality(image(values))["focus"], expected)


def test_a_blurred_image_is_less_in_focus() -> None:
    sharp = broad_image(np.random.default_rng(1), 128).image.astype(np.float64)
    both = np.stack([sharp, ndimage.gaussian_filter(sharp, 3)])
    first, second = measure_quality(image(both))["focus"]
    assert first > 10 * second


def test_a_lazy_image_gives_the_same_and_building_computes_nothing() -> None:
    values = np.random.default_rng(2).integers(0, 99, (2, 30, 50)).astype(np.uint16)
    eager = measure_quality(image(values))

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("computed while building")

    with dask.config.set(scheduler=refuse):
        lazy = measure_quality(image(values).chunk({"y": 7, "x": 13}))
    # Each partition of a Dask table counts its rows from 0.
    answer = lazy.compute(scheduler="synchronous").reset_index(drop=True)
    pd.testing.assert_frame_equal(answer, eager)


def test_an_image_of_zeros_has_no_focus() -> None:
    row = measure_quality(image(np.zeros((5, 6), np.float32))).iloc[0]
    assert np.isnan(row["focus"])
    assert row["zero"] == 1
