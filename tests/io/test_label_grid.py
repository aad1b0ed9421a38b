"""Each image pixel gets the label pixel at its centre; stored ones in test_labels."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.io.label_grid import nearest_index


@given(n=st.integers(1, 300), factor=st.integers(1, 9), unit=st.floats(1e-3, 10))
def test_nearest_index_is_exact_for_whole_factors(
    n: int, factor: int, unit: float
) -> None:
    coarse = nearest_index(n * factor, n, unit / (unit * factor))
    np.testing.assert_array_equal(coarse, np.arange(n * factor) // factor)
    fine = nearest_index(n, n * factor, unit * factor / unit)
    np.testing.assert_array_equal(fine, np.arange(n) * factor + factor // 2)


@given(n_image=st.integers(1, 60), n_labels=st.integers(1, 60))
def test_nearest_index_is_that_of_exact_fractions(n_image: int, n_labels: int) -> None:
    ratio = Fraction(n_labels, n_image)
    centres = [(Fraction(2 * i + 1, 2)) * ratio for i in range(n_image)]
    found = nearest_index(n_image, n_labels, n_labels / n_image)
    assert found.tolist() == [int(centre) for centre in centres]
