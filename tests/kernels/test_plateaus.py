"""Pixels that touch, put together, against labels of the whole mask."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label, regionprops

from deepspot_scale.kernels.plateaus import plateau_centres


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9999), st.floats(0, 0.5))
def test_centres_are_those_of_the_labels_of_the_mask(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((13, 17)) < share
    regions = regionprops(label(mask))
    expected = np.array([r.centroid for r in regions]).reshape(-1, 2).astype(np.int64)
    places = rng.permutation(np.argwhere(mask))
    np.testing.assert_array_equal(plateau_centres(places), expected)
