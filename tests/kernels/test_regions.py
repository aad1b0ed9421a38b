import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.kernels.regions import (
    DENSE_LABELS,
    LabelSums,
    find_boxes,
    find_runs,
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
def test_regions_are_the_least_boxes_of_each_label(image):
    found = find_runs(image).regions()
    assert [label for label, _ in found] == [k for k in np.unique(image) if k]
    for label, box in found:
        mask = image[box] == label
        assert mask.sum() == (image == label).sum()
        assert mask.any(axis=0)[[0, -1]].all()
        assert mask.any(axis=1)[[0, -1]].all()


@few
@given(images)
def test_runs_have_the_pixels_of_each_label_in_order(image):
    runs = find_runs(image)
    for place, label in enumerate(runs.labels):
        rows, columns = np.nonzero(image == label)
        np.testing.assert_array_equal(runs.pixels(place), (rows, columns))
    lengths = runs.stop - runs.start
    sums = runs.sums([lengths, lengths * runs.row])
    expected = [
        ((image == label).sum(), np.nonzero(image == label)[0].sum())
        for label in runs.labels
    ]
    np.testing.assert_array_equal(sums, np.reshape(expected, (-1, 2)))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.uint64, np.int8])
def test_every_dtype_of_labels_gives_the_same_regions(dtype):
    runs = find_runs(np.array([[3, 0], [3, 7]], dtype))
    assert runs.regions() == [
        (3, (slice(0, 2), slice(0, 1))),
        (7, (slice(1, 2), slice(1, 2))),
    ]


@pytest.mark.parametrize("shape", [(4, 5), (0, 5), (4, 0)])
def test_an_image_without_labels_has_no_regions(shape):
    runs = find_runs(np.zeros(shape, np.uint16))
    assert runs.regions() == []
    assert runs.sums([runs.row, runs.start]).shape == (0, 2)


def test_a_run_ends_with_its_row():
    runs = find_runs(np.full((2, 3), 5))
    assert (runs.row.tolist(), runs.start.tolist()) == ([0, 1], [0, 0])
    assert runs.stop.tolist() == [3, 3]


@few
@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=3, max_dims=3), elements=labels))
def test_boxes_are_the_least_ones_of_each_label_in_a_stack(stack):
    expected = []
    for label in np.unique(stack[stack > 0]).tolist():
        places = np.argwhere(stack == label)
        ends = zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)
        expected.append((label, tuple(slice(*side) for side in ends)))
    assert find_boxes(stack) == expected
