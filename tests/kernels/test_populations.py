import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.kernels.populations import (
    LARGEST,
    N_BINS,
    N_CLASSES,
    N_FEATURES,
    SMALLEST,
    Dots,
    Judge,
)

few = settings(max_examples=25, deadline=None)


def some_dots(n, seed=0):
    rng = np.random.default_rng(seed)
    return Dots(
        rng.random(n, dtype=np.float32),
        np.exp(rng.normal(3, 3, n)).astype(np.float32) - 0.5,
        np.exp(rng.normal(2, 2, n)).astype(np.float32) - 0.5,
        rng.integers(0, 300, n).astype(np.int32),
    )


def only(dots, chosen):
    return Dots(*(values[chosen] for values in dots))


def some_judge(seed=0, hidden=(20, 7)):
    rng = np.random.default_rng(seed)
    sizes = (N_FEATURES, *hidden, 1)
    pairs = list(itertools.pairwise(sizes))
    return Judge.of(
        [rng.normal(0, (2 / a) ** 0.5, (a, b)) for a, b in pairs],
        [rng.normal(0, 0.3, b) for _, b in pairs],
    )


@few
@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 99))
def test_counts_of_parts_are_those_of_the_whole(n, m, seed):
    dots = some_dots(n + m, seed)
    parts = only(dots, slice(n)).counts() + only(dots, slice(n, None)).counts()
    assert parts.shape == (N_CLASSES, N_BINS)
    assert parts.sum() == n + m
    np.testing.assert_array_equal(parts, dots.counts())


@few
@given(st.integers(1, 200), st.integers(0, 99))
def test_a_probability_does_not_depend_on_what_is_judged_with_it(n, seed):
    dots, judge = some_dots(200, seed), some_judge(seed)
    counts = dots.counts()
    whole = judge.probability(dots.features(counts, 1 << 18))
    order = np.random.default_rng(seed).permutation(200)[:n]
    part = judge.probability(only(dots, order).features(counts, 1 << 18))
    np.testing.assert_array_equal(part, whole[order])
    assert whole.dtype == np.float32
    assert ((whole > 0) & (whole < 1)).all()


def test_the_sums_of_a_judge_are_exact():
    dots, judge = some_dots(40), some_judge()
    features = dots.features(dots.counts(), 512**2)
    for row, logit in zip(features, judge.logit(features), strict=True):
        hidden = [Fraction(value) for value in row]
        for number, (matrix, bias) in enumerate(
            zip(judge.weights, judge.biases, strict=True)
        ):
            if number:
                hidden = [max(value, Fraction(0)) for value in hidden]
            hidden = [
                Fraction(round((sum(map(_times, hidden, column)) + own) * 256), 256)
                for column, own in zip(matrix.T, map(Fraction, bias), strict=True)
            ]
        assert hidden == [Fraction(logit)]


def _times(one, other):
    return one * Fraction(other)


def test_a_dot_is_known_by_how_many_are_how_much_brighter():
    # Eleven dots of 8 noises, and one that is sixteen times as bright.
    contrast = np.r_[np.full(11, 8.0), 128.0]
    sure = np.full(12, 0.9, np.float32)
    dots = Dots(sure, contrast, contrast, np.full(12, 9))
    features = dots.features(dots.counts(), 1 << 16)
    assert features.shape == (12, N_FEATURES)
    own, others, field = np.split(features, [4, -N_CLASSES - 1], axis=1)
    assert own[-1].tolist() == pytest.approx([np.log(9), 7, 7, np.log2(9)], abs=1 / 256)
    assert field[0].tolist() == pytest.approx([0] * 4 + [np.log2(13), 16], abs=1 / 256)
    of_class = others.reshape(12, N_CLASSES, -1)
    assert (of_class[:, :-1] == 0).all()
    n_groups = of_class.shape[2]
    near, above, below = n_groups // 2, n_groups - 2, 1
    for row, at, n in ((0, near, 11), (0, above, 1), (-1, near, 1), (-1, below, 11)):
        assert of_class[row, -1, at] == pytest.approx(np.log2(1 + n), abs=1 / 256)
        assert (of_class[row, -1] > 0).sum() == 2


def test_a_field_of_any_size_is_judged_as_a_large_one_of_its_kind():
    dots = some_dots(500)
    counts = dots.counts()
    large = dots.features(64 * counts, LARGEST)
    larger = dots.features(64 * 256 * counts, 256 * LARGEST)
    np.testing.assert_array_equal(large, larger)
    small = dots.features(16 * counts, SMALLEST)
    np.testing.assert_array_equal(small, dots.features(counts, SMALLEST / 16))


def test_numbers_that_have_no_exact_sums_are_refused():
    matrix = np.zeros((N_FEATURES, 1))
    matrix[3] = 65
    with pytest.raises(ValueError, match="numbers reach 64, not 65"):
        Judge.of([matrix], [np.zeros(1)])
    matrix[3] = np.nan
    with pytest.raises(ValueError, match="not nan"):
        Judge.of([matrix], [np.zeros(1)])


def test_dots_without_light_or_noise_have_finite_numbers():
    odd = np.array([0.0, -3.0, np.inf, 1e30], np.float32)
    dots = Dots(np.array([0, 1, 0.5, 0.5], np.float32), odd, odd, np.zeros(4, np.int32))
    features = dots.features(dots.counts(), 1)
    assert np.isfinite(features).all()
    assert np.isfinite(some_judge().logit(features)).all()


def test_a_judge_is_kept_as_arrays_and_read_back_the_same():
    judge = some_judge(3)
    again = Judge.from_arrays(judge.arrays())
    for one, other in zip(judge.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    features = some_dots(50).features(some_dots(50).counts(), 9999)
    np.testing.assert_array_equal(judge.logit(features), again.logit(features))


@pytest.mark.parametrize("sizes", [(N_FEATURES - 1, 4, 1), (N_FEATURES, 4, 2)])
def test_layers_that_do_not_fit_are_refused(sizes):
    matrices = [np.zeros(pair) for pair in itertools.pairwise(sizes)]
    with pytest.raises(ValueError, match=f"from {N_FEATURES} numbers to one"):
        Judge.of(matrices, [np.zeros(n) for n in sizes[1:]])
