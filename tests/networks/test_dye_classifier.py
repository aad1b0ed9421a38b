"""The network of dyes: shapes, probabilities, and what reaches its answer."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.networks.dye_classifier import (
    WINDOW,
    Architecture,
    build,
    reach,
)
from deepspot_scale.networks.families import DYE_CLASSIFIER

SMALL = Architecture(filters=(4, 6))


def test_every_window_gets_probabilities_that_sum_to_one() -> None:
    image = np.random.default_rng(0).random((2, 2 * WINDOW, 3 * WINDOW, 1), np.float32)
    answer = np.asarray(build(SMALL)(image))
    assert answer.shape == (2, *DYE_CLASSIFIER.answer_shape(image.shape[1:3]))
    np.testing.assert_allclose(answer.sum(axis=-1), 1, atol=1e-6)


def test_nothing_beyond_the_reach_changes_a_window() -> None:
    model = build(SMALL)
    image = np.random.default_rng(1).random((1, 3 * WINDOW, 3 * WINDOW, 1), np.float32)
    other = image.copy()
    near = slice(WINDOW - reach(SMALL), 2 * WINDOW + reach(SMALL))
    other[:] = 9
    other[:, near, near] = image[:, near, near]
    one, two = (np.asarray(model(each))[0, 1, 1] for each in (image, other))
    np.testing.assert_allclose(one, two, atol=1e-6)
    other[:, near.start, near.start] += 100
    assert not np.allclose(np.asarray(model(other))[0, 1, 1], one, atol=1e-6)


def test_an_architecture_is_read_back_from_plain_values() -> None:
    assert Architecture.from_dict(SMALL.to_dict() | {"filters": [4, 6]}) == SMALL
    with pytest.raises(ValueError, match="at least once"):
        Architecture(filters=())
