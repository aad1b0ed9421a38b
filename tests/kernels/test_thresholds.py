import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.kernels.thresholds import IcyThreshold, ProductThreshold
from deepspot_scale.kernels.wavelet import LEVELS

few = settings(max_examples=25, deadline=None)
coefficients = hnp.arrays(
    np.float32,
    st.tuples(st.just(2), st.integers(1, 60)),
    elements=st.integers(-LEVELS, LEVELS).map(float),
)
ICY, PRODUCT = IcyThreshold((50.0, 100.0)), ProductThreshold(3.0)
both = st.sampled_from([ICY, PRODUCT])


@few
@given(coefficients, both, st.data())
def test_sums_merge_exactly_in_any_order(planes, threshold, data):
    cut = data.draw(st.integers(0, planes.shape[1]))
    a, b = threshold.count(planes[:, :cut]), threshold.count(planes[:, cut:])
    np.testing.assert_array_equal(a + b, threshold.count(planes))
    np.testing.assert_array_equal(a + b, b + a)
    np.testing.assert_array_equal(a + threshold.count(planes[:, :0]), a)


@few
@given(coefficients)
def test_icys_threshold_is_its_formula(planes):
    n = planes.shape[1]
    expected = [
        np.sqrt(2 * np.log(max(n / 4**scale, 1))) * np.abs(plane).mean() * 100 / s
        for plane, scale, s in zip(
            planes.astype(float), (1, 2), (50.0, 100.0), strict=True
        )
    ]
    assert ICY.levels(ICY.count(planes), (1, 2)) == pytest.approx(expected)


@few
@given(coefficients)
def test_the_products_threshold_is_three_robust_deviations(planes):
    expected = []
    for plane in planes.astype(float):
        middle = np.sort(plane)[(plane.size - 1) // 2]
        deviations = np.sort(np.abs(plane - middle))
        expected.append(3 * deviations[(plane.size - 1) // 2] / 0.67)
    assert PRODUCT.levels(PRODUCT.count(planes), (1, 2)) == pytest.approx(expected)


def test_infinite_sensitivity_asks_for_nothing():
    threshold = IcyThreshold((np.inf,))
    state = threshold.count(np.full((1, 99), 1000, np.float32))
    assert threshold.levels(state, (2,)) == [0.0]


def test_many_bright_pixels_are_counted_without_overflow():
    planes = np.full((2, 1 << 20), LEVELS, np.float32)
    state = ICY.count(planes)
    assert state.dtype == np.int64
    assert state.tolist() == [1 << 20, LEVELS << 20, LEVELS << 20]
