import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.kernels.sectors import (
    angle_bins,
    angle_deg,
    nearest_on_line,
    polarity_index,
    relative_concentration,
    resultant,
    sector_sums,
    sums_from_each_bin,
)

DIVISORS = [2, 3, 4, 5, 6, 9, 10, 12, 180]
offsets = st.floats(-2000, 2000, allow_subnormal=False)


def test_bins_run_counter_clockwise_on_the_screen_from_the_reference():
    up, right = [0, -1, 0, 1], [1, 0, -1, 0]
    np.testing.assert_array_equal(angle_bins(up, right, 0.0), [0, 90, 180, 270])
    np.testing.assert_array_equal(angle_bins(up, right, 90.0), [270, 0, 90, 180])
    np.testing.assert_array_equal(angle_bins(up, right, -270.0), [270, 0, 90, 180])


def test_the_reference_direction_itself_is_in_bin_0():
    dy, dx = np.random.default_rng(0).normal(size=(2, 1000))
    assert (angle_bins(dy, dx, angle_deg(dy, dx)) == 0).all()


@given(offsets, offsets, st.floats(-720, 720))
def test_every_direction_has_a_bin(dy, dx, reference):
    assert 0 <= angle_bins(dy, dx, reference) < 360


@given(st.lists(st.tuples(offsets, offsets), min_size=1, max_size=40), st.data())
def test_a_bin_depends_on_its_own_offset_only(points, data):
    dy, dx = np.array(points).T
    i = data.draw(st.integers(0, len(points) - 1))
    whole = angle_bins(np.repeat(dy, 3)[::3], dx, 33.3)
    assert whole[i] == angle_bins(dy[i], dx[i], 33.3)


@given(st.integers(-300, 300), st.integers(-300, 300), st.integers(0, 359))
def test_a_quarter_turn_of_everything_changes_no_bin(dy, dx, reference):
    turned = angle_bins(-dx, dy, reference + 90.0)
    assert angle_bins(dy, dx, float(reference)) == turned or (dy, dx) == (0, 0)


@pytest.mark.parametrize("n_sectors", DIVISORS)
def test_one_more_spot_changes_one_sector_by_one(n_sectors):
    bins = np.random.default_rng(1).integers(0, 4, 360)
    before = sector_sums(bins, n_sectors)
    for b in range(360):
        more = bins.copy()
        more[b] += 1
        change = sector_sums(more, n_sectors) - before
        assert sorted(change) == [0] * (n_sectors - 1) + [1]


def test_the_reference_sector_is_centred():
    for n_sectors, half in ((3, 60), (4, 45)):
        in_reference = [
            b for b in range(360) if sector_sums(np.eye(360)[b], n_sectors)[0]
        ]
        assert in_reference == [*range(half), *range(360 - half, 360)]


@given(st.integers(0, 2))
def test_turning_the_bins_by_a_sector_moves_the_sectors(turns):
    bins = np.random.default_rng(2).integers(0, 9, 360)
    turned = sector_sums(np.roll(bins, 120 * turns), 3)
    np.testing.assert_array_equal(turned, np.roll(sector_sums(bins, 3), turns))


@pytest.mark.parametrize("n_sectors", DIVISORS)
def test_a_sum_from_each_bin_goes_around_the_circle(n_sectors):
    bins = np.random.default_rng(4).integers(0, 9, (2, 360))
    width = 360 // n_sectors
    got = sums_from_each_bin(bins, n_sectors)
    for start in range(360):
        around = (start + np.arange(width)) % 360
        np.testing.assert_array_equal(got[:, start], bins[:, around].sum(axis=1))


def test_equal_density_is_a_concentration_of_one():
    areas = np.array([[100, 300, 200]])
    np.testing.assert_allclose(relative_concentration(areas // 10, areas), 1)
    twice = relative_concentration([[20, 30, 20]], areas)
    assert twice[0, 0] > 1 > twice[0, 1]


def test_a_sector_without_area_and_a_cell_without_spots_have_no_concentration():
    got = relative_concentration([[5, 5, 0], [0, 0, 0]], [[10, 10, 0], [5, 5, 5]])
    np.testing.assert_array_equal(np.isnan(got), [[False, False, True], [True] * 3])


@given(
    st.lists(
        st.tuples(*[st.one_of(st.just(np.nan), st.floats(0, 9))] * 3),
        min_size=1,
        max_size=9,
    )
)
def test_the_index_agrees_with_its_formula(cells):
    values = np.array(cells)
    m = values[:, 0][~np.isnan(values[:, 0])]
    q = values[:, 1:][~np.isnan(values[:, 1:])]
    got = polarity_index(values)
    if len(m) == 0 or len(q) == 0:
        assert np.isnan(got)
    else:
        assert got == 2 * np.sum(m > np.median(q)) / len(m) - 1


@pytest.mark.parametrize(
    ("others", "between"), [([1, 2, 3, 10], (2.4, 2.6)), ([1, 5, 6], (4.9, 5.1))]
)
def test_the_index_turns_at_the_median_of_the_others(others, between):
    values = np.full((2, 1 + len(others)), np.nan)
    values[0, 1:] = others
    for reference, expected in zip(between, (-1, 1), strict=True):
        values[0, 0] = reference
        assert polarity_index(values) == polarity_index(values[:1]) == expected


def test_the_index_maps_over_leading_dimensions():
    values = np.random.default_rng(3).random((4, 20, 3))
    each = [polarity_index(group) for group in values]
    np.testing.assert_array_equal(polarity_index(values), each)


@given(st.lists(st.floats(0, 360), min_size=1, max_size=20))
def test_the_resultant_turns_with_the_vectors(angles):
    def of(degrees):
        radians = np.radians(degrees)
        return resultant(np.cos(radians).sum(), np.sin(radians).sum(), len(degrees))

    length, direction = of(np.array(angles))
    turned_length, turned = of(np.array(angles) + 90)
    assert 0 <= length <= 1
    assert turned_length == pytest.approx(length, abs=1e-9)
    if length > 1e-3:
        assert np.cos(np.radians(turned - direction - 90)) == pytest.approx(1)


def test_no_vectors_have_no_resultant():
    length, direction = resultant([0.0, 2.0, 0.0], [0.0, 0.0, 0.0], [0, 2, 2])
    np.testing.assert_array_equal(length, [np.nan, 1, 0])
    np.testing.assert_array_equal(direction, [np.nan, 0, np.nan])


def test_the_nearest_point_of_a_line_may_be_a_corner_or_between_corners():
    line = [(0, 0), (0, 10), (10, 10)]
    got = nearest_on_line([(3, 4), (-2, -5), (20, 12), (5, 9)], line)
    np.testing.assert_allclose(got, [(0, 4), (0, 0), (10, 10), (5, 10)])
    np.testing.assert_allclose(
        nearest_on_line([(3, 4), (1, 1)], [(7, 7)]), [(7, 7)] * 2
    )
