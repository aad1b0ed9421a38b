import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.sectors import (
    polarity_index,
    relative_concentration,
    sector_sums,
)
from deepspot_scale.statistics.null_models import (
    draw_indices,
    measured_sectors,
    rotation_pool,
    throw_indices,
    two_sided,
    uniform_pool,
)

SECTORS = [2, 3, 4, 9, 180]
few = settings(max_examples=25, deadline=None)


def cells(seed, n=5, n_spots=30):
    rng = np.random.default_rng(seed)
    areas = rng.integers(0, 9, (n, 360))
    areas[0, 40:200] = 0  # a wide side without cytoplasm
    chance = areas / areas.sum(axis=1, keepdims=True)
    return rng.multinomial(n_spots, chance), areas


@pytest.mark.parametrize("n_sectors", SECTORS)
def test_fixed_sectors_are_those_of_the_kernel(n_sectors):
    spots, areas = cells(0)
    expected = relative_concentration(
        sector_sums(spots, n_sectors), sector_sums(areas, n_sectors)
    )
    got = measured_sectors(spots, areas, n_sectors, "fixed")
    np.testing.assert_array_equal(got, expected.astype(np.float32))


@few
@given(st.integers(0, 99), st.sampled_from(SECTORS), st.booleans())
def test_a_turned_reference_is_the_same_as_bins_turned_back(seed, n_sectors, fixed):
    rotation = "fixed" if fixed else "published"
    spots, areas = cells(seed)
    pool = rotation_pool(spots, areas, n_sectors, rotation, step_deg=30)
    for turn in range(12):
        bins = [np.roll(each, -30 * turn, axis=1) for each in (spots, areas)]
        expected = measured_sectors(*bins, n_sectors, rotation)
        np.testing.assert_array_equal(pool[:, turn], expected)


def test_the_published_rotation_is_the_densest_that_holds_the_reference():
    spots, areas = cells(1)
    got = measured_sectors(spots, areas, 4, "published")
    for cell in range(len(spots)):
        tried = []
        for start in range(-89, 1):  # a quarter that starts here holds bin 0
            here = np.arange(start, start + 360) % 360
            inside = spots[cell, here].reshape(4, 90).sum(axis=1)
            area = areas[cell, here].reshape(4, 90).sum(axis=1)
            tried.append(relative_concentration(inside, area).astype(np.float32))
        densest = np.nanmax([each[0] for each in tried])
        assert got[cell, 0] == densest
        assert any(np.array_equal(got[cell], t, equal_nan=True) for t in tried)


@few
@given(st.integers(0, 99), st.sampled_from(["fixed", "published"]))
def test_thrown_spots_keep_to_the_cell_s_cytoplasm(seed, rotation):
    spots, areas = cells(seed)
    rng = np.random.default_rng(seed)
    pool = uniform_pool(spots, areas, 3, rotation, (4, rng))
    np.testing.assert_array_equal(
        pool[:, 0], measured_sectors(spots, areas, 3, rotation)
    )
    if rotation == "fixed":
        shares = sector_sums(areas, 3) / areas.sum(axis=1, keepdims=True)
        # Concentrations weighted by area are 1 whatever was thrown.
        np.testing.assert_allclose(
            np.nansum(pool * shares[:, None], axis=2), 1, rtol=1e-6
        )


@pytest.mark.parametrize("rotation", ["fixed", "published"])
def test_throws_are_uniform_over_pixels(rotation):
    areas = np.zeros((4000, 360), int)
    areas[:, [10, 130, 250]] = [3, 2, 1]  # one bin in each of three sectors
    spots = np.zeros_like(areas)
    spots[:, 10] = 12
    rng = np.random.default_rng(0)
    pool = uniform_pool(spots, areas, 3, "fixed", (1, rng))[:, 1]
    np.testing.assert_allclose(pool.mean(axis=0), 1, atol=0.05)
    if rotation == "published":
        # Any rotation that holds bin 0 holds one of the bins: the densest is taken.
        best = uniform_pool(spots, areas, 3, rotation, (1, rng))[:, 1, 0]
        assert best.mean() > 1.05


def test_throw_indices_leave_the_measured_answer_out():
    pool = np.zeros((6, 3, 3), np.float32)
    pool[:, 0, 0], pool[:, 1, 0], pool[:3, 2, 0] = 9, -9, 9
    assert throw_indices(pool).tolist() == [-1, 0]


def test_draws_take_one_answer_of_each_cell():
    rng = np.random.default_rng(0)
    pool = np.zeros((1, 4, 2), np.float32)
    pool[0, :, 0] = [1, 1, 1, -1]
    drawn = draw_indices(pool, 4000, rng)
    assert set(drawn) == {-1.0, 1.0}
    assert drawn.mean() == pytest.approx(0.5, abs=0.06)


def test_draws_of_a_pool_of_throws_spread_like_new_throws():
    spots, areas = cells(2, n=60)
    rng = np.random.default_rng(1)
    pool = uniform_pool(spots, areas, 3, "fixed", (200, rng))
    thrown, drawn = throw_indices(pool), draw_indices(pool, 2000, rng)
    assert drawn.mean() == pytest.approx(thrown.mean(), abs=0.04)
    assert drawn.std() == pytest.approx(thrown.std(), rel=0.2)


def test_two_sided_counts_what_was_measured_and_never_gives_0():
    drawn = np.array([-0.2, 0.0, 0.2, 0.0])
    assert two_sided(5.0, drawn) == 1 / 5
    assert two_sided(0.0, drawn) == 1
    assert two_sided(0.2, drawn) == pytest.approx(3 / 5)  # the middle is 0.04
    assert np.isnan(two_sided(0.1, np.empty(0)))
    assert np.isnan(two_sided(np.nan, drawn))


def test_a_p_value_is_at_most_a_with_probability_a_even_for_two_cells():
    rng = np.random.default_rng(3)
    found = []
    for _ in range(400):
        pool = rng.random((2, 20, 3)).astype(np.float32)
        measured = float(polarity_index(pool[:, 0]))
        found.append(two_sided(measured, draw_indices(pool, 39, rng)))
    found = np.array(found)
    for a in (0.05, 0.1, 0.25, 0.5):
        assert (found <= a).mean() <= a + 3 * np.sqrt(a * (1 - a) / len(found))
