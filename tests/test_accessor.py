"""The accessor is there from the start, and is the functions."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.errors import FieldError
from deepspot_scale.simulation import render_spots

POINTS = np.array([[10.0, 12.0], [30.0, 50.0], [45.0, 20.0]])


@pytest.fixture
def image() -> xr.DataArray:
    """Three spots on (c, y, x)."""
    rng = np.random.default_rng(0)
    light = 100 + render_spots((64, 72), POINTS, np.full(3, 400.0), np.full(3, 1.3))
    return xr.DataArray(
        rng.poisson(light).astype(np.uint16)[None],
        dims=("c", "y", "x"),
        coords={"c": ["FISH"]},
        attrs={"pixel_size_um": (0.1, 0.1)},
    )


def test_the_accessor_calls_the_functions(image: xr.DataArray) -> None:
    enhanced = image.deepspot.enhance()
    xr.testing.assert_identical(enhanced, ds.enhance(image))
    spots = enhanced.deepspot.detect(raw=image)
    pd.testing.assert_frame_equal(spots, ds.detect(enhanced, image))
    assert spots["channel"].tolist() == ["FISH"] * 3
    np.testing.assert_allclose(spots[["y", "x"]], POINTS, atol=0.5)


def test_options_reach_the_functions(image: xr.DataArray) -> None:
    spots = image.deepspot.detect(method="raw")
    pd.testing.assert_frame_equal(spots, ds.detect(image, method="raw"))
    assert len(spots) == 3


def test_the_accessor_of_a_lazy_image_computes_nothing(
    image: xr.DataArray, forbid_computing: AbstractContextManager[None]
) -> None:
    lazy = image.chunk()
    with forbid_computing:
        spots = lazy.deepspot.enhance().deepspot.detect(raw=lazy)
    assert len(spots.compute(scheduler="synchronous")) == 3


def test_raw_counts_are_refused_where_an_enhanced_image_is_expected(
    image: xr.DataArray,
) -> None:
    with pytest.raises(FieldError, match=r"enhance the image first.*method='raw'"):
        image.deepspot.detect()


def test_an_image_without_y_and_x_is_refused() -> None:
    with pytest.raises(FieldError, match="dimensions y and x"):
        xr.DataArray(np.zeros((3, 3))).deepspot.enhance()
