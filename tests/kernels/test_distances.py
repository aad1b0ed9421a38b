import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from deepspot_scale.kernels.distances import PARTS, REACH, measure_distances
from deepspot_scale.kernels.regions import find_regions


def scene(seed, shape=(30, 41)):
    """Touching cells of any shape, some with a nucleus."""
    rng = np.random.default_rng(seed)
    cells = np.kron(rng.integers(0, 5, (10, 21)), np.ones((3, 2), int))
    cells = cells[: shape[0], : shape[1]]
    return cells, (rng.random(cells.shape) < 0.05) * cells


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 999))
def test_distances_are_scipy_s_cell_by_cell(seed):
    cells, nuclei = scene(seed)
    got = measure_distances(cells, nuclei, find_regions(cells))
    for label in set(np.unique(cells)) - {0}:
        own = cells == label
        for targets, found in (
            (~own, got.to_edge),
            (own & (nuclei > 0), got.to_nucleus),
        ):
            expected = np.full(cells.shape, float(REACH))
            if targets.any():
                expected = distance_transform_edt(~targets)
            np.testing.assert_array_equal(found[own], np.rint(expected * PARTS)[own])
    assert not got.to_edge[cells == 0].any()


def test_cells_that_are_not_wanted_are_left_out():
    cells, nuclei = scene(1)
    got = measure_distances(cells, nuclei, find_regions(cells)[1:2])
    assert (got.to_edge > 0).tolist() == (cells == 2).tolist()


def test_a_distance_is_cut_at_the_reach():
    cells = np.ones((3, REACH + 200), int)
    nuclei = np.zeros_like(cells)
    nuclei[:, 0] = 1
    cells[:, -1] = 0
    got = measure_distances(cells, nuclei, find_regions(cells)[:1])
    expected = np.minimum(np.arange(cells.shape[1] - 1), REACH) * PARTS
    assert got.to_nucleus[1, :-1].tolist() == expected.tolist()
    assert got.to_edge[1, 0] == REACH * PARTS


@pytest.mark.parametrize("nuclei", [None, np.zeros((5, 5), int)])
def test_without_a_nucleus_or_an_edge_all_is_as_far_as_can_be(nuclei):
    cells = np.ones((5, 5), int)
    got = measure_distances(cells, nuclei, find_regions(cells))
    assert (np.stack(got) == REACH * PARTS).all()


def test_labels_far_beyond_the_usual_are_measured():
    cells, nuclei = scene(2)
    far = np.where(cells > 0, cells + (1 << 40), 0)
    expected = measure_distances(cells, nuclei, find_regions(cells))
    got = measure_distances(far, nuclei, find_regions(far))
    np.testing.assert_array_equal(got, expected)
