import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from deepspot_scale.kernels.distances import PARTS, REACH, measure_distances
from deepspot_scale.kernels.pixel_shape import PixelShape


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999))
def test_distances_are_scipy_s(seed):
    rng = np.random.default_rng(seed)
    inside = np.kron(rng.random((10, 21)) < 0.7, np.ones((3, 2), bool))
    nucleus = inside & (rng.random(inside.shape) < 0.05)
    got = measure_distances(inside, nucleus)
    for free, found in ((inside, got.to_edge), (~nucleus, got.to_nucleus)):
        expected = np.full(inside.shape, float(REACH))
        if not free.all():
            expected = distance_transform_edt(free)
        np.testing.assert_array_equal(found[inside], np.rint(expected * PARTS)[inside])
    assert not got.to_edge[~inside].any()


def test_a_distance_is_cut_at_the_reach():
    inside = np.ones((3, REACH + 200), bool)
    nucleus = np.zeros_like(inside)
    nucleus[:, 0] = True
    inside[:, -1] = False
    got = measure_distances(inside, nucleus)
    expected = np.minimum(np.arange(inside.shape[1] - 1), REACH) * PARTS
    assert got.to_nucleus[1, :-1].tolist() == expected.tolist()
    assert got.to_edge[1, 0] == REACH * PARTS


@pytest.mark.parametrize("nucleus", [None, np.zeros((5, 5), bool)])
def test_without_a_nucleus_or_an_edge_all_is_as_far_as_can_be(nucleus):
    got = measure_distances(np.ones((5, 5), bool), nucleus)
    assert (np.stack(got) == REACH * PARTS).all()


def test_a_part_of_a_larger_mask_is_measured_in_place():
    whole = np.ones((9, 12), bool)
    whole[4, 3] = False
    part = whole[2:7, 1:9]
    same = np.ascontiguousarray(part)
    for got, expected in zip(
        measure_distances(part, ~part), measure_distances(same, ~same), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def slow_distances(free, sides):
    """Of each free voxel from the nearest that is not, one by one, in parts."""
    targets = np.argwhere(~free) * sides
    answer = np.zeros(free.shape, int)
    for place in np.argwhere(free):
        away = np.sqrt(((targets - place * sides) ** 2).sum(axis=1).min())
        answer[tuple(place)] = round(round(away * PARTS, 6))
    return answer


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([0.4, 1.0, 2.9, 7.0]),
    st.sampled_from([PixelShape(), PixelShape(1.25, 0.8)]),
)
def test_distances_in_a_stack_are_those_of_a_loop_over_voxels(seed, height, pixel):
    rng = np.random.default_rng(seed)
    inside = np.kron(rng.random((3, 4, 5)) < 0.7, np.ones((2, 2, 2), bool))
    inside[0, 0, 0] = False
    nucleus = inside & (rng.random(inside.shape) < 0.05)
    nucleus[4] = False  # a plane without one
    got = measure_distances(inside, nucleus, pixel, height)
    sides = np.array([height, *pixel])
    np.testing.assert_array_equal(got.to_edge, slow_distances(inside, sides))
    if nucleus.any():
        expected = slow_distances(~nucleus, sides)
        np.testing.assert_array_equal(got.to_nucleus, expected)


@pytest.mark.parametrize("slab", [1, 1 << 18])
def test_a_window_of_the_reach_gives_the_distances_of_the_whole_stack(slab):
    rng = np.random.default_rng(4)
    free = rng.random((30, 40, 44)) > 0.0005
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deepspot_scale.kernels.distances.REACH", 6)
        patch.setattr("deepspot_scale.kernels.distances._SLAB_VOXELS", slab)
        for pixel in (PixelShape(), PixelShape(1.25, 0.8)):
            for height in (0.5, 1.7):
                whole = measure_distances(free, None, pixel, height).to_edge
                part = (slice(5, 27), slice(9, 33), slice(7, 37))
                cut = measure_distances(free[part], None, pixel, height).to_edge
                inner = (slice(6, -6),) * 3
                np.testing.assert_array_equal(cut[inner], whole[part][inner])
                assert whole.max() == int(6 * PARTS * min(*pixel, height))
