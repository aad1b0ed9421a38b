"""Levels of an image: stored pieces tile it, and halving them halves the whole."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.errors import SettingsError
from deepspot_scale.io.ome_zarr.layout import ImageLayout
from deepspot_scale.io.ome_zarr.metadata import ImageListing, Level
from deepspot_scale.io.ome_zarr.pyramid import (
    create_arrays,
    fill_levels,
    halve_by_mean,
    halve_by_nearest,
    iter_pieces,
    open_array,
)

SIZES = st.integers(1, 13)


@given(shape=st.tuples(SIZES, SIZES), chunk=st.tuples(SIZES, SIZES))
def test_stored_pieces_hold_each_pixel_exactly_once(
    shape: tuple[int, int], chunk: tuple[int, int]
) -> None:
    array = zarr.create_array({}, shape=shape, chunks=chunk, dtype="uint8")
    seen = np.zeros(shape, int)
    for piece in iter_pieces(array):
        seen[piece] += 1
    assert (seen == 1).all()


@given(n_y=SIZES, n_x=SIZES, dtype=st.sampled_from(["uint8", "int16", "float32"]))
def test_a_mean_level_is_the_mean_of_the_pixels_that_it_covers(
    n_y: int, n_x: int, dtype: str
) -> None:
    block = np.random.default_rng(n_y * 100 + n_x).integers(0, 200, (n_y, n_x))
    block = block.astype(dtype)
    halved = halve_by_mean(block)
    assert halved.shape == (-(-n_y // 2), -(-n_x // 2))
    assert halved.dtype == block.dtype
    for y, x in np.ndindex(halved.shape):
        mean = block[2 * y : 2 * y + 2, 2 * x : 2 * x + 2].astype(float).mean()
        assert abs(halved[y, x] - mean) <= (0 if dtype == "float32" else 0.5)


@pytest.mark.parametrize("halve", [halve_by_mean, halve_by_nearest])
@pytest.mark.parametrize(("chunk", "shard"), [(4, None), (64, None), (4, 8)])
def test_levels_filled_by_pieces_are_those_of_the_whole_image(
    tmp_path: Path, halve: Callable[[Any], Any], chunk: int, shard: int | None
) -> None:
    image = np.random.default_rng(3).integers(0, 60000, (2, 21, 30), "uint16")
    layout = ImageLayout(
        "cyx", image.shape, "uint16", chunk=chunk, shard=shard, n_levels=4
    )
    create_arrays(str(tmp_path), layout, {}, "0.5")
    open_array(str(tmp_path / "0"))[...] = image
    levels = tuple(Level(str(number), None) for number in range(4))
    listing = ImageListing("cyx", (None,) * 3, levels, ())
    fill_levels(str(tmp_path), listing, halve)
    for level in range(4):
        stored = open_array(str(tmp_path / str(level)))[...]
        np.testing.assert_array_equal(stored, image)
        image = halve(image)


def test_shards_need_version_05(tmp_path: Path) -> None:
    layout = ImageLayout("yx", (16, 16), "uint8", chunk=4, shard=8)
    with pytest.raises(SettingsError, match="no shards"):
        create_arrays(str(tmp_path / "image"), layout, {}, "0.4")
    assert not (tmp_path / "image").exists()
