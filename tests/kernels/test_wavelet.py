import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from deepspot_scale.kernels.wavelet import LEVELS, planes, quantise, reach

few = settings(max_examples=50, deadline=None)
images = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.integers(0, LEVELS).map(float),
)
scales = st.integers(1, 4)


def random_image(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, LEVELS + 1, shape).astype(np.float32)


def slow_planes(image, n_scales):
    """The same transform by scipy, in float64."""
    current, answer = image.astype(np.float64), []
    for scale in range(1, n_scales + 1):
        gap = 2 ** (scale - 1)
        kernel = np.zeros(4 * gap + 1)
        kernel[::gap] = np.array([1, 4, 6, 4, 1]) / 16
        smoother = current
        for axis in (0, 1):
            smoother = ndimage.correlate1d(smoother, kernel, axis, mode="reflect")
        smoother = np.rint(smoother)
        answer.append(current - smoother)
        current = smoother
    return [*answer, current]


@few
@given(images, scales)
def test_planes_are_those_of_scipy_in_double_precision(image, n_scales):
    for ours, theirs in zip(
        planes(image, n_scales), slow_planes(image, n_scales), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("value", [0, 1, LEVELS])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 5), (64, 48)])
def test_a_constant_or_saturated_image_has_no_detail(value, shape):
    *details, smooth = planes(np.full(shape, value, np.float32), 4)
    assert not any(plane.any() for plane in details)
    assert (smooth == value).all()


@few
@given(images, scales)
def test_the_planes_add_up_to_the_image(image, n_scales):
    np.testing.assert_array_equal(sum(planes(image, n_scales)), image)


@few
@given(st.data(), scales)
def test_a_block_with_its_halo_gives_the_planes_of_the_whole(data, n_scales):
    shape = (data.draw(st.integers(1, 150)), data.draw(st.integers(1, 150)))
    image = random_image(shape, data.draw(st.integers(0, 99)))
    core, window, inside = [], [], []
    for length in shape:
        start = data.draw(st.integers(0, length - 1))
        stop = data.draw(st.integers(start + 1, length))
        low = max(0, start - reach(n_scales))
        core.append(slice(start, stop))
        window.append(slice(low, stop + reach(n_scales)))
        inside.append(slice(start - low, stop - low))
    block = planes(np.ascontiguousarray(image[tuple(window)]), n_scales)
    for piece, whole in zip(block, planes(image, n_scales), strict=True):
        np.testing.assert_array_equal(piece[tuple(inside)], whole[tuple(core)])


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
def test_an_impulse_is_felt_as_far_as_the_reach_and_no_farther(scale):
    middle = 80
    image = np.zeros((161, 161), np.float32)
    image[middle, middle] = LEVELS
    felt = planes(image, scale)[scale - 1] != 0
    rows, columns = np.nonzero(felt)
    assert np.abs([rows - middle, columns - middle]).max() <= reach(scale)
    line = np.zeros((161, 161), np.float32)
    line[:, middle] = LEVELS  # brighter than a point: its farthest tap is not rounded
    felt = np.flatnonzero((planes(line, scale)[scale - 1] != 0).any(axis=0)) - middle
    assert np.abs(felt).max() <= reach(scale)
    if scale <= 3:  # beyond, one part in 16^4 of an impulse is rounded away
        assert np.abs(felt).max() == reach(scale)


@few
@given(images, scales, st.integers(0, 3), st.booleans())
def test_planes_flip_and_turn_with_the_image(image, n_scales, turns, flip):
    def moved(plane):
        turned = np.rot90(plane[::-1] if flip else plane, turns)
        return np.ascontiguousarray(turned)

    for before, after in zip(
        planes(image, n_scales), planes(moved(image), n_scales), strict=True
    ):
        np.testing.assert_array_equal(moved(before), after)


@few
@given(images)
def test_each_detail_plane_has_a_sum_near_zero(image):
    # Exactly zero before rounding; a pixel is rounded by half a level at most.
    for plane in planes(image, 3)[:-1]:
        assert abs(plane.sum(dtype=np.float64)) <= image.size / 2


@few
@given(hnp.arrays(np.uint16, (5, 7)), st.integers(0, 60_000), st.integers(1, LEVELS))
def test_whole_numbers_keep_their_steps(image, low, width):
    got = quantise(image, low, low + width)
    expected = np.clip(image.astype(np.int64) - low, 0, LEVELS)
    np.testing.assert_array_equal(got, expected)


@few
@given(hnp.arrays(np.float32, (5, 7), elements=st.floats(-2, 3, width=32)))
def test_real_numbers_map_to_the_nearest_level(image):
    got = quantise(image, 0.0, 1.0)
    np.testing.assert_array_equal(got, np.rint(got))
    assert np.abs(got / LEVELS - np.clip(image, 0, 1)).max() <= 0.5 / LEVELS + 1e-7


def test_an_image_without_range_becomes_zero():
    assert not quantise(np.full((3, 5), 0.7), 0.7, 0.7).any()
    assert not quantise(np.full((3, 5), 65535, np.uint16), 65535, 65535).any()
