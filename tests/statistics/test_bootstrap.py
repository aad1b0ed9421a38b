import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.sectors import polarity_index
from deepspot_scale.statistics.bootstrap import (
    Ranked,
    interval_over_cells,
    interval_over_wells,
    weighted_index,
)

few = settings(max_examples=50, deadline=None)


@few
@given(st.integers(0, 9999), st.integers(1, 9), st.integers(2, 4))
def test_a_weighted_index_is_that_of_repeated_cells(seed, n, n_sectors):
    rng = np.random.default_rng(seed)
    # Few values, so that there are ties; some missing.
    values = rng.integers(0, 5, (n, n_sectors)).astype(np.float32)
    values[rng.random(values.shape) < 0.15] = np.nan
    weights = rng.integers(0, 4, (3, n))
    expected = [polarity_index(np.repeat(values, row, axis=0)) for row in weights]
    np.testing.assert_array_equal(weighted_index(Ranked.of(values), weights), expected)


def group(n, share, seed=0):
    """Cells of which this share has its reference sector above all others."""
    rng = np.random.default_rng(seed)
    values = rng.random((n, 3)).astype(np.float32)
    values[:, 0] += np.where(np.arange(n) < share * n, 2, -2)
    return values


def test_clear_cells_have_the_interval_of_a_share():
    # Nothing near the median: only the share varies, and Wilson's interval is known.
    low, high = interval_over_cells(group(100, 0.8), 4000, np.random.default_rng(0))
    assert (low + 1) / 2 == pytest.approx(0.7112, abs=0.004)
    assert (high + 1) / 2 == pytest.approx(0.8666, abs=0.004)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_cells_that_all_agree_are_not_certain(share):
    low, high = interval_over_cells(group(20, share), 99, np.random.default_rng(0))
    assert -1 <= low < high <= 1
    assert high - low == pytest.approx(0.322, abs=0.01)  # 2 t / (n + t), t = 1.96**2


def test_more_cells_narrow_the_interval():
    widths = [
        np.diff(interval_over_cells(group(n, 0.7), 199, np.random.default_rng(1)))
        for n in (10, 100, 1000)
    ]
    assert widths == sorted(widths, reverse=True)


def test_wells_that_differ_widen_the_interval():
    values = np.concatenate([group(50, share, 1) for share in (0.3, 0.9, 0.5, 0.7)])
    wells = np.repeat(np.arange(4), 50)
    rng = np.random.default_rng(2)
    over_cells = interval_over_cells(values, 199, rng)
    over_wells = interval_over_wells(values, wells, 199, rng)
    assert over_wells.low < over_cells.low < over_cells.high < over_wells.high


def test_one_well_or_no_samples_have_no_interval():
    rng = np.random.default_rng(3)
    values = group(30, 0.5)
    assert np.isnan(interval_over_wells(values, np.zeros(30, int), 99, rng)).all()
    assert np.isnan(interval_over_cells(values, 0, rng)).all()
    assert np.isnan(interval_over_cells(values * np.nan, 99, rng)).all()


def test_a_shift_moves_both_ends():
    interval = interval_over_cells(group(30, 0.5), 99, np.random.default_rng(4))
    assert interval.shifted(0.1) == (interval.low + 0.1, interval.high + 0.1)
