"""Molecules of a fine volume."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.volume_maxima import volume_maxima

few = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def by_looking(volume, threshold, radius):
    """The slow twin: every voxel against every voxel of its window."""
    found = {}
    for place in np.ndindex(volume.shape):
        height = volume[place]
        lows = [max(0, p - radius) for p in place]
        highs = [p + radius + 1 for p in place]
        window = volume[tuple(slice(a, b) for a, b in zip(lows, highs, strict=True))]
        places = np.indices(window.shape).reshape(3, -1).T + lows
        equal = places[window.ravel() == height].tolist()
        if height <= threshold or window.max() > height or list(place) != equal[0]:
            continue
        centroid = window.ravel() @ places / window.sum()
        column = place[1:]
        if column not in found or found[column][3] < height:
            found[column] = (*centroid, height)
    return np.array([found[key] for key in sorted(found)]).reshape(-1, 4)


@few
@given(seeds, st.integers(0, 2), st.sampled_from([2, 5, 1000]))
def test_maxima_are_those_of_every_voxel_looked_at(seed, radius, levels):
    rng = np.random.default_rng(seed)
    volume = rng.integers(0, levels, (5, 7, 6)) / levels
    found = volume_maxima(volume, 0.3, radius)
    np.testing.assert_allclose(found, by_looking(volume, 0.3, radius))


@few
@given(seeds, st.sampled_from([3, 1000]))
def test_a_block_with_its_halo_gives_what_the_whole_gives(seed, levels):
    rng = np.random.default_rng(seed)
    radius, halo = 2, 2
    volume = rng.integers(0, levels, (4, 20, 11)) / levels
    whole = volume_maxima(volume, 0.5, radius)
    # The owner of a maximum is the block with its voxel, which a huge weight shows.
    start, stop = 8, 14
    block = volume_maxima(volume[:, start - halo : stop + halo], 0.5, radius)
    block[:, 1] += start - halo
    near = (block[:, 1] > start + radius) & (block[:, 1] < stop - 1 - radius)
    inside = (whole[:, 1] > start + radius) & (whole[:, 1] < stop - 1 - radius)
    np.testing.assert_allclose(block[near], whole[inside])


def test_a_place_is_the_centroid_of_its_window():
    volume = np.zeros((5, 9, 9))
    volume[2, 4, 4:6] = 0.6, 0.2
    volume[3, 4, 4] = 0.2
    found = volume_maxima(volume, 0.5, 1)
    np.testing.assert_allclose(found, [[2.2, 4.0, 4.2, 0.6]])


def test_one_depth_of_a_column_counts():
    volume = np.zeros((12, 3, 3))
    volume[1, 1, 1], volume[9, 1, 1] = 0.7, 0.8
    assert volume_maxima(volume, 0.1, 2)[:, 0].tolist() == [9.0]


def test_of_two_equal_neighbours_the_first_counts():
    volume = np.zeros((3, 8, 8))
    volume[1, 3, 3:5] = 1.0
    assert len(volume_maxima(volume, 0.1, 2)) == 1


def test_windows_may_be_flatter_than_wide():
    volume = np.zeros((9, 5, 5))
    volume[2, 2, 2], volume[5, 2, 3] = 0.8, 0.9
    assert len(volume_maxima(volume, 0.1, (2, 2))) == 2
    assert len(volume_maxima(volume, 0.1, (3, 2))) == 1


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan])
def test_an_empty_volume_has_no_molecules(value):
    assert volume_maxima(np.full((3, 4, 5), value), 0.1).shape == (0, 4)


def test_nan_has_no_weight():
    volume = np.zeros((3, 5, 5))
    volume[1, 2, 2], volume[1, 2, 3] = 0.5, np.nan
    np.testing.assert_allclose(volume_maxima(volume, 0.1, 1), [[1, 2, 2, 0.5]])
