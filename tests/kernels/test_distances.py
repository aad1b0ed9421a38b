import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from deepspot_scale.kernels.distances import PARTS, REACH, measure_distances


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
