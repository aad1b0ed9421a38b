"""Every voxel of a compartment is found once, by its rank."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.compartments import find_compartments


def test_each_voxel_of_each_compartment_is_found_once() -> None:
    rng = np.random.default_rng(0)
    cells = rng.integers(0, 4, (3, 12, 15)) * 1000
    nuclei = rng.integers(0, 2, cells.shape) * 7
    found = find_compartments(zip(cells, nuclei, strict=True))
    assert found.cells.tolist() == [1000, 2000, 3000]
    for cell in (1000, 2000, 3000):
        for inside in (False, True):
            (place,) = found.find(np.array([cell]), np.array([inside]))
            ranks = np.arange(found.n_voxels[place])
            voxels = found.voxels(np.full_like(ranks, place), ranks)
            expected = np.argwhere((cells == cell) & ((nuclei > 0) == inside))
            assert sorted(map(tuple, voxels)) == sorted(map(tuple, expected))


def test_without_nuclei_all_of_a_cell_is_outside_them() -> None:
    found = find_compartments([(np.array([[0, 5], [5, 5]], np.uint8), None)])
    assert found.n_voxels.tolist() == [3]
    assert found.find(np.array([5, 5, 9]), np.array([False, True, False])).tolist() == [
        0,
        -1,
        -1,
    ]


def test_no_cells_have_no_compartments() -> None:
    for planes in ([], [(np.zeros((4, 4), int), None)]):
        found = find_compartments(planes)
        assert len(found.cells) == 0
        assert found.find(np.array([1]), np.array([False])).tolist() == [-1]


def test_labels_without_room_for_the_nucleus_are_refused() -> None:
    with pytest.raises(FieldError, match="number them again"):
        find_compartments([(np.array([[2**62]]), None)])
