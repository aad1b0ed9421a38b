import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.kernels.regions import (
    DENSE_LABELS,
    LabelSums,
    count_along,
    iter_regions,
    no_labels,
    number_labels,
)

few = settings(max_examples=50, deadline=None)
# Small labels, labels beyond the dense table, and both in one image.
labels = st.one_of(
    st.integers(0, 9), st.integers(DENSE_LABELS - 2, DENSE_LABELS + 2), st.just(1 << 40)
)
rows = st.lists(st.tuples(labels, st.integers(-99, 99), st.integers(0, 1 << 40)))
images = hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2), elements=labels)


def sums_of(table):
    total = {}
    for label, first, second in table:
        old = total.get(label, (0, 0))
        total[label] = (old[0] + first, old[1] + second)
    keys = sorted(total)
    sums = np.array([total[key] for key in keys], np.int64).reshape(-1, 2)
    return LabelSums(np.array(keys, np.int64), sums)


def same(a, b):
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.sums, b.sums)


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


@few
@given(images)
def test_regions_are_the_pixels_of_each_label_in_the_least_box(image):
    found = list(iter_regions(image))
    assert [label for label, _, _ in found] == [k for k in np.unique(image) if k]
    for label, box, mask in found:
        np.testing.assert_array_equal(mask, image[box] == label)
        assert mask.sum() == (image == label).sum()
        assert mask.any(axis=0)[[0, -1]].all()
        assert mask.any(axis=1)[[0, -1]].all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int8])
def test_every_dtype_of_labels_gives_the_same_regions(dtype):
    found = list(iter_regions(np.array([[3, 0], [3, 7]], dtype)))
    assert [(label, mask.tolist()) for label, _, mask in found] == [
        (3, [[True], [True]]),
        (7, [[True]]),
    ]


def test_an_image_without_labels_has_no_regions():
    assert list(iter_regions(np.zeros((4, 5), np.uint16))) == []


@few
@given(hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2)))
def test_pixels_are_counted_along_rows_and_columns(mask):
    for n, axis in zip(count_along(mask), (1, 0), strict=True):
        np.testing.assert_array_equal(n, mask.sum(axis=axis))


def test_rows_longer_than_a_byte_counts_are_counted():
    in_rows, in_columns = count_along(np.ones((2, 70_000), bool))
    assert in_rows.tolist() == [70_000, 70_000]
    assert set(in_columns.tolist()) == {2}
