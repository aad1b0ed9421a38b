"""The largest values of a plane, and a plane that stands in for the whole one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.top_values import largest_values, n_above, stand_in

few = settings(max_examples=40, deadline=None)


@few
@given(st.integers(0, 999), st.integers(1, 60))
def test_largest_values_are_the_last_of_all_sorted(seed: int, n: int) -> None:
    values = np.random.default_rng(seed).integers(0, 9, (5, 7))
    np.testing.assert_array_equal(
        largest_values(values, n), np.sort(values.ravel())[-n:]
    )


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("share", [0.998, 0.9999, 0.999999])
def test_a_quantile_of_the_top_is_that_of_the_plane_to_the_last_bit(
    dtype: str, share: float
) -> None:
    rng = np.random.default_rng(3)
    for shape in ((701, 830), (1, 2), (64, 64)):
        plane = rng.gamma(2, 20, shape).astype(dtype)
        n = plane.size
        pieces = [
            largest_values(p, n_above(n, share)) for p in np.array_split(plane, 3)
        ]
        top = largest_values(np.concatenate(pieces), n_above(n, share))
        stand = stand_in(top, n)
        assert stand.dtype == plane.dtype
        assert np.quantile(stand, share) == np.quantile(plane, share)
        assert np.percentile(stand, 100 * share) == np.percentile(plane, 100 * share)
