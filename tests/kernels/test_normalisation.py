from functools import reduce
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.kernels.normalisation import (
    BINS,
    CLIP,
    Range,
    Scale,
    count_values,
    exact_range,
    measure_spread,
    quantile,
    quantile_scale,
)

few = settings(max_examples=50, deadline=None)
counts_of_cameras = st.floats(-1e4, 1e6, width=32, allow_subnormal=False)
dtypes = [bool, np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32]
whole_numbers = st.sampled_from(dtypes).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(1, 60))
)
real_numbers = hnp.arrays(np.float32, st.integers(1, 60), elements=counts_of_cameras)
ranges = st.builds(
    Range, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.integers(0, 1000)
)


def measure_range(values):
    """Return the range of the bins: that of a narrow dtype, or that of the pixels."""
    return exact_range(values.dtype) or measure_spread(values).range


def cut(values, data):
    """Split an array at random positions; pieces may be empty."""
    places = data.draw(st.lists(st.integers(0, len(values)), max_size=4))
    edges = [0, *sorted(places), len(values)]
    return [values[a:b] for a, b in pairwise(edges)]


@given(ranges, ranges, ranges)
def test_ranges_merge_in_any_order_and_grouping(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Range() == a


@few
@given(st.one_of(whole_numbers, real_numbers), st.data())
def test_pieces_give_the_counts_of_the_whole(values, data):
    span = measure_range(values)
    pieces = cut(values, data)
    assert reduce(lambda a, b: a + b, map(measure_range, pieces)) == span
    together = sum(count_values(piece, span) for piece in pieces if piece.size)
    np.testing.assert_array_equal(together, count_values(values, span))
    assert together.sum() == values.size
    assert together.size == BINS


@few
@given(st.one_of(whole_numbers, real_numbers), st.floats(0, 1))
def test_a_quantile_is_the_least_value_that_reaches_the_share(values, q):
    span = measure_range(values)
    got = quantile(count_values(values, span), span, q)
    rank = max(1, int(np.ceil(q * values.size)))
    exact = float(np.sort(values.astype(np.float64))[rank - 1])
    step = (span.high - span.low) / (BINS - 1)
    if exact_range(values.dtype) is not None:
        assert got == exact
    else:
        assert abs(got - exact) <= 0.5 * step * (1 + 1e-6) + 1e-9 * abs(exact)


@few
@given(
    hnp.arrays(np.uint16, (9, 11), elements=st.integers(0, 4000)),
    st.integers(1, 10),
    st.integers(0, 500),
)
def test_gain_and_offset_of_the_camera_do_not_matter(image, gain, offset):
    changed = image * gain + offset
    before, after = quantile_scale(image)(image), quantile_scale(changed)(changed)
    np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
def test_a_constant_image_becomes_zero(dtype, value, shape):
    image = np.full(shape, value, dtype)
    scaled = quantile_scale(image)(image)
    assert scaled.dtype == np.float32
    assert not scaled.any()


def test_the_brightest_pixels_are_cut():
    scale = Scale(100.0, 200.0)
    values = np.array([-1000.0, 100, 150, 200, 1e6])
    np.testing.assert_array_equal(scale(values), [CLIP[0], 0, 0.5, 1, CLIP[1]])


def test_pixels_that_are_not_finite_are_counted_and_left_out_of_the_range():
    values = np.array([np.nan, 1.0, np.inf, 3.0, -np.inf])
    assert measure_range(values) == Range(1.0, 3.0, 3)
    assert measure_range(values[[0, 2]]) == Range(n_not_finite=2)


WILD = np.random.default_rng(0).normal(100, 5, (64, 64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wild", [1e8, -1e8, 1e6])
def test_one_wild_pixel_does_not_make_the_others_black(dtype, wild):
    values = WILD.astype(dtype)
    expected = quantile_scale(values)
    values[3, 5] = wild
    got = quantile_scale(values)
    assert got.low == pytest.approx(expected.low, abs=2)
    assert got.high == pytest.approx(expected.high, abs=2)


@few
@given(real_numbers, st.data())
def test_pieces_give_the_spread_of_the_whole(values, data):
    whole = measure_spread(values)
    parts = [measure_spread(piece) for piece in cut(values, data)]
    merged = reduce(lambda a, b: a + b, parts)
    assert merged.range == whole.range
    np.testing.assert_array_equal(merged.counts, whole.counts)
    span = whole.without_wild()
    assert values.min() <= span.low <= span.high <= values.max()


def test_what_is_bright_on_a_constant_is_not_wild():
    values = np.zeros(10_000, np.float32)
    values[:3] = 4000
    assert measure_spread(values).without_wild() == Range(0.0, 4000.0)


def test_narrow_dtypes_need_no_first_look():
    assert exact_range(np.dtype(np.uint16)) == Range(0, BINS - 1)
    assert exact_range(np.dtype(np.int16)) == Range(-(1 << 15), (1 << 15) - 1)
    assert exact_range(np.dtype(np.uint32)) is None
