import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.regions import (
    DENSE_LABELS,
    LabelSums,
    no_labels,
    number_labels,
    sum_by_label,
)

few = settings(max_examples=50, deadline=None)
# Small labels, labels beyond the dense table, and both in one image.
labels = st.one_of(
    st.integers(0, 9), st.integers(DENSE_LABELS - 2, DENSE_LABELS + 2), st.just(1 << 40)
)
rows = st.lists(st.tuples(labels, st.integers(-99, 99), st.integers(0, 1 << 40)))


def sums_of(table):
    keys, first, second = (np.array([row[i] for row in table], int) for i in range(3))
    return sum_by_label(keys, [first, second])


def same(a, b):
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.sums, b.sums)


@few
@given(rows)
def test_sums_are_those_of_a_loop(table):
    expected = {}
    for label, first, second in table:
        old = expected.get(label, (0, 0))
        expected[label] = (old[0] + first, old[1] + second)
    got = sums_of(table)
    assert got.labels.tolist() == sorted(expected)
    assert [tuple(row) for row in got.sums] == [expected[k] for k in sorted(expected)]


@few
@given(rows, rows, rows)
def test_sums_merge_in_any_order_and_grouping(one, two, three):
    a, b, c = map(sums_of, (one, two, three))
    same((a + b) + c, a + (b + c))
    same(a + b, b + a)
    same(a + no_labels(2), a)
    same(a + b + c, sums_of([*one, *two, *three]))


@few
@given(st.lists(labels, min_size=1))
def test_numbers_lead_back_to_the_labels(values):
    keys, place = number_labels(np.array(values))
    np.testing.assert_array_equal(keys[place], values)
    np.testing.assert_array_equal(keys, np.unique(values))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int8])
def test_every_dtype_of_labels_gives_the_same_sums(dtype):
    keys = np.array([3, 0, 3, 7], dtype)
    same(
        sum_by_label(keys, [np.array([1, 2, 3, 4])]),
        LabelSums(np.array([0, 3, 7]), np.array([[2], [4], [4]])),
    )


def test_no_pixels_have_no_labels():
    same(sum_by_label(np.zeros(0, np.uint16), [np.zeros(0, int)] * 2), no_labels(2))
