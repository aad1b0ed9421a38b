"""The shape of a pixel: its area stays, and rounding makes no square oblong."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.kernels.pixel_shape import PixelShape, pixel_shape, voxel_height

LENGTHS = st.floats(0.01, 10)


@given(LENGTHS, LENGTHS)
def test_the_area_is_that_of_a_square_pixel(height: float, width: float) -> None:
    shape = pixel_shape((height, width))
    assert shape.y * shape.x == pytest.approx(1)
    if shape != PixelShape():
        assert shape.y / shape.x == pytest.approx(height / width)


def test_pixels_that_are_square_up_to_rounding_or_unknown_are_square() -> None:
    for size in (None, (0.3, 0.3), (0.10833, 0.108333), (0.1 * 3, 0.3)):
        assert pixel_shape(size) == PixelShape(1.0, 1.0)
    assert pixel_shape((0.101, 0.1)) != PixelShape()


def test_the_height_of_a_voxel_is_in_sides_of_a_square_pixel() -> None:
    assert voxel_height((0.2, 0.05), 0.3) == pytest.approx(3)
    for size, step in ((None, 0.3), ((0.1, 0.1), None), ((0.1, 0.1), -0.3)):
        assert math.isnan(voxel_height(size, step))
