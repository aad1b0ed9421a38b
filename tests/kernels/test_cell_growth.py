"""Cells around nuclei: what holds for every cell, and what the stain says."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from deepspot_scale.kernels.cell_growth import cells_at, grow_cells, smooth_stain
from deepspot_scale.kernels.object_size import bin_plane
from deepspot_scale.simulation import wound_assay

CENTRES = ((30, 30), (30, 90), (95, 40), (100, 52), (92, 104))
"""Of five nuclei; the third and the fourth touch."""
FAR = 45.0


def _discs(radius: float, shape: tuple[int, int] = (130, 137)) -> NDArray[np.int32]:
    """Return discs around the centres, nearest centre first."""
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    away = np.stack([np.hypot(yy - y, xx - x) for y, x in CENTRES])
    nearest: NDArray[np.int32] = (away.argmin(0) + 1).astype(np.int32)
    return np.where(away.min(0) <= radius, nearest, 0).astype(np.int32)


def _stain(
    cells: NDArray[np.int32], *, light: float = 60.0, seed: int = 3
) -> NDArray[np.float64]:
    """Return counts: noise on a background, more light in cells, and bright spots."""
    rng = np.random.default_rng(seed)
    counts = 100 + light * ndimage.gaussian_filter((cells > 0) * 1.0, 1.5)
    counts += rng.normal(0, 4, cells.shape)
    rows, columns = (rng.integers(0, n, 40) for n in cells.shape)
    counts[rows, columns] += 400
    return np.asarray(counts)


NUCLEI, CELLS = _discs(8), _discs(22)
STAINS = {"stained": _stain(CELLS), "blank": _stain(CELLS, light=0), "none": None}


@pytest.mark.parametrize("name", STAINS)
def test_a_cell_has_its_nucleus_and_its_number(name: str) -> None:
    labels = grow_cells(NUCLEI, STAINS[name], far=FAR).labels
    np.testing.assert_array_equal(labels[NUCLEI > 0], NUCLEI[NUCLEI > 0])
    assert set(np.unique(labels)) == set(range(len(CENTRES) + 1))


@pytest.mark.parametrize("name", STAINS)
def test_a_cell_is_in_one_piece(name: str) -> None:
    labels = grow_cells(NUCLEI, STAINS[name], far=FAR).labels
    pieces = [ndimage.label(labels == n, np.ones((3, 3)))[1] for n in range(1, 6)]
    assert pieces == [1] * 5


def test_a_stain_draws_the_borders() -> None:
    found = grow_cells(NUCLEI, STAINS["stained"], far=FAR)
    assert found.source == "stain"
    for number in range(1, 6):
        one, true = found.labels == number, number == CELLS
        assert (one & true).sum() / (one | true).sum() > 0.8


@pytest.mark.parametrize("name", ["blank", "none"])
def test_without_light_of_cells_nuclei_grow_by_a_distance(name: str) -> None:
    found = grow_cells(NUCLEI, STAINS[name], far=FAR)
    assert found.source == "grown"
    away = ndimage.distance_transform_edt(NUCLEI == 0)
    np.testing.assert_array_equal(found.labels > 0, away <= FAR / 6)


def test_a_cell_ends_at_the_largest_distance() -> None:
    labels = grow_cells(NUCLEI, STAINS["stained"], far=6).labels
    away = ndimage.distance_transform_edt(NUCLEI == 0)
    assert away[labels > 0].max() <= 6


def test_stained_places_without_a_nucleus_are_no_cell() -> None:
    alone = np.where(CELLS == 1, 0, NUCLEI)
    labels = grow_cells(alone, STAINS["stained"], far=FAR).labels
    assert not labels[CELLS == 1].any()


def test_spots_make_no_holes_and_no_cells() -> None:
    clean = np.where(CELLS > 0, 160.0, 100.0)
    clean += np.random.default_rng(0).normal(0, 4, clean.shape)
    spotted = clean.copy()
    spotted[5::11, 4::11] += 3000
    labels = grow_cells(NUCLEI, spotted, far=FAR).labels
    usual = grow_cells(NUCLEI, clean, far=FAR).labels
    assert (labels != usual).mean() < 0.02


def test_smoothing_removes_a_spot() -> None:
    plane = np.full((20, 20), 100.0)
    plane[10, 10] = 5000
    np.testing.assert_allclose(smooth_stain(plane), 100)


@pytest.mark.parametrize("name", ["stained", "blank"])
@pytest.mark.parametrize("turns", [1, 2, 3])
def test_cells_turn_with_the_plane(name: str, turns: int) -> None:
    here = grow_cells(NUCLEI, STAINS[name], far=FAR).labels
    there = grow_cells(
        np.rot90(NUCLEI, turns), np.rot90(STAINS[name], turns), far=FAR
    ).labels
    # Pixels as far from two nuclei go to either.
    assert (np.rot90(there, -turns) != here).mean() < 0.005


def test_the_numbers_of_nuclei_do_not_matter_to_the_shapes() -> None:
    order = np.array([0, 4, 2, 5, 1, 3])
    here = grow_cells(NUCLEI, STAINS["stained"], far=FAR).labels
    there = grow_cells(order[NUCLEI], STAINS["stained"], far=FAR).labels
    assert (order[here] != there).mean() < 0.005


@pytest.mark.parametrize("name", STAINS)
def test_no_nuclei_give_no_cells(name: str) -> None:
    assert not grow_cells(0 * NUCLEI, STAINS[name], far=FAR).labels.any()


def test_one_nucleus_gives_one_cell() -> None:
    one = np.where(NUCLEI == 1, NUCLEI, 0)
    labels = grow_cells(one, _stain(np.where(CELLS == 1, 1, 0)), far=FAR).labels
    assert 0.8 < (labels == 1).sum() / (CELLS == 1).sum() < 1.2


def test_an_even_plane_is_no_stain() -> None:
    assert grow_cells(NUCLEI, np.full(NUCLEI.shape, 7.0), far=FAR).source == "grown"


def test_a_part_of_the_plane_has_the_pixels_of_the_whole() -> None:
    small = grow_cells(NUCLEI, STAINS["stained"], far=FAR).labels
    nuclei = np.kron(NUCLEI, np.ones((3, 3), np.int32))
    whole = cells_at(small, 3, nuclei, (0, 0))
    part = cells_at(small, 3, nuclei[37:200, 50:301], (37, 50))
    np.testing.assert_array_equal(part, whole[37:200, 50:301])


def test_pixels_beyond_the_last_whole_bin_are_the_last_bins() -> None:
    small = np.array([[0, 2]], np.int32)
    labels = cells_at(small, 2, np.zeros((3, 5), np.int32), (0, 0))
    np.testing.assert_array_equal(labels, [[0, 0, 2, 2, 2]] * 3)


@pytest.mark.parametrize(("radius", "filled"), [(3, True), (14, False)])
def test_a_dark_place_is_a_gap_between_cells_if_it_is_larger_than_a_nucleus(
    radius: float, *, filled: bool
) -> None:
    yy, xx = np.mgrid[:130, :137]
    sheet = np.ones(NUCLEI.shape, np.int32)
    sheet[:6] = sheet[-6:] = 0
    dark = np.hypot(yy - 62, xx - 72) <= radius
    sheet[dark] = 0
    found = grow_cells(NUCLEI, _stain(sheet), far=FAR)
    assert found.source == "stain"
    centre = found.labels[np.hypot(yy - 62, xx - 72) <= radius / 2]
    assert (centre > 0).all() == filled
    assert filled or not centre.any()


def test_dim_rims_of_cells_do_not_hide_the_stain() -> None:
    # Much of what is darker than Otsu's threshold belongs to cells here.
    rng, k = np.random.default_rng(3), 5
    scene = wound_assay.draw_scene(rng)
    spots = wound_assay.plant_spots(rng, scene, 1.0).sample(frac=0.3, random_state=0)
    stain = bin_plane(wound_assay.photograph(rng, scene, spots)[1], k)
    nuclei = scene.nuclei[k // 2 :: k, k // 2 :: k]
    rows, columns = nuclei.shape
    found = grow_cells(nuclei, stain[:rows, :columns], far=42)
    assert found.source == "stain"


def _without_cytoplasm(nuclei: NDArray[np.int32], light: str) -> NDArray[np.float32]:
    rng = np.random.default_rng(8)
    yy, xx = (2 * n / (len(nuclei) - 1) - 1 for n in np.indices(nuclei.shape))
    slope = {"lamp": -0.2 * (yy**2 + xx**2), "slope": 0.4 * xx}
    photons = 30 * (1 + slope[light])
    noise = np.sqrt(photons + 3) / 5 * rng.normal(size=nuclei.shape)
    return (104 + 2.1 * (photons + noise)).astype(np.float32)


@pytest.fixture(scope="module")
def crowded() -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return nuclei and stain of a field in which most dark pixels are dim cells."""
    rng, k = np.random.default_rng([2, 9]), 5
    scene = wound_assay.draw_scene(rng)
    spots = wound_assay.plant_spots(rng, scene, 1.0)
    stain = bin_plane(wound_assay.photograph(rng, scene, spots)[1], k)
    nuclei = scene.nuclei[k // 2 :: k, k // 2 :: k]
    rows, columns = nuclei.shape
    return nuclei, np.asarray(stain[:rows, :columns], np.float32)


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_dim_cells_that_outnumber_the_background_do_not_hide_the_stain(
    crowded: tuple[NDArray[np.int32], NDArray[np.float32]], strength: float
) -> None:
    nuclei, stain = crowded
    found = grow_cells(nuclei, 140 + strength * (stain - 140), far=42)
    assert found.source == "stain"
    assert 0.5 < (found.labels > 0).mean() < 0.9


@pytest.mark.parametrize("light", ["lamp", "slope"])
def test_uneven_light_is_no_cytoplasm(
    crowded: tuple[NDArray[np.int32], NDArray[np.float32]], light: str
) -> None:
    plane = _without_cytoplasm(crowded[0], light)
    assert grow_cells(crowded[0], plane, far=42).source == "grown"
