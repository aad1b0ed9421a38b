import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from deepspot_scale.kernels.background import (
    TILE,
    complete_tiles,
    first_tile,
    surface,
    tile_medians,
)

few = settings(max_examples=30, deadline=None)
sizes = st.integers(1, 150)


def some(shape, seed=0, dtype="uint16"):
    return np.random.default_rng(seed).integers(0, 4000, shape).astype(dtype)


@few
@given(sizes, sizes, st.sampled_from(["uint8", "uint16", "int32", "float32"]))
def test_each_tile_has_the_median_of_every_second_of_its_pixels(height, width, dtype):
    image = some((height, width), dtype=dtype)
    medians = tile_medians(image)
    assert medians.shape == (-(-height // TILE), -(-width // TILE))
    assert medians.dtype == np.float32
    for row, column in np.ndindex(medians.shape):
        y, x = row * TILE, column * TILE
        tile = np.sort(image[y : y + TILE : 2, x : x + TILE : 2].ravel())
        assert medians[row, column] == tile[tile.size // 2]


def test_planes_of_a_stack_have_their_own():
    stack = some((3, 70, 90))
    medians = tile_medians(stack)
    for plane, own in zip(stack, medians, strict=True):
        np.testing.assert_array_equal(tile_medians(plane), own)
    whole = surface(medians, (5, 7), (40, 50))
    np.testing.assert_array_equal(whole[1], surface(medians[1], (5, 7), (40, 50)))


@few
@given(st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_the_surface_is_linear_between_the_centres(rows, columns, seed):
    medians = some((rows, columns), seed).astype(np.float32)
    shape = (rows * TILE, columns * TILE)
    got = surface(medians, (0, 0), shape)
    assert got.dtype == np.float32
    centre = TILE / 2 - 0.5
    at = [np.arange(n) * TILE + centre for n in (rows, columns)]
    if min(rows, columns) > 1:
        pixels = np.stack(np.mgrid[: shape[0], : shape[1]], -1).astype(float)
        for axis in range(2):
            pixels[..., axis] = pixels[..., axis].clip(at[axis][0], at[axis][-1])
        expected = RegularGridInterpolator(at, medians)(pixels)
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-2)
    else:
        assert got.min() >= medians.min()
        assert got.max() <= medians.max()


@few
@given(sizes, sizes, st.integers(1, 90), st.integers(1, 90), st.integers(0, 99))
def test_a_window_has_the_surface_of_the_whole_field(y, x, height, width, seed):
    medians = some((8, 8), seed).astype(np.float32) / 3
    whole = surface(medians, (0, 0), (256, 256))
    got = surface(medians, (y, x), (height, width))
    np.testing.assert_array_equal(got, whole[y : y + height, x : x + width])


def test_pixels_that_were_not_imaged_do_not_count():
    image = np.full((96, 96), 100, np.uint16)
    image[:, 50:] = 0
    image[:32, 50:60] = 40
    medians = tile_medians(image, fill=0)
    # The second tile of each row is half imaged; the third not at all.
    assert medians[:, :2].tolist() == [[100, 100]] * 3
    assert np.isnan(medians[:, 2]).all()
    assert (complete_tiles(medians, 7) == 100).all()
    assert (complete_tiles(np.full((2, 3), np.nan, np.float32), 7) == 7).all()


def test_wider_tiles_have_the_medians_of_thinner_samples():
    image = some((256, 192))
    wide = tile_medians(image, tile=64)
    np.testing.assert_array_equal(wide, tile_medians(image[::2, ::2]))
    whole = surface(wide, (0, 0), image.shape, tile=64)
    part = surface(wide, (17, 33), (100, 90), tile=64)
    np.testing.assert_array_equal(part, whole[17:117, 33:123])


@pytest.mark.parametrize(("pixel", "tile"), [(0, 0), (1, 1), (32, 1), (33, 2)])
def test_a_tile_belongs_to_the_block_in_which_it_begins(pixel, tile):
    assert first_tile(pixel) == tile
