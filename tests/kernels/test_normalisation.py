from functools import reduce
from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.kernels import normalisation as kernel
from deepspot_scale.kernels.background import tile_medians
from deepspot_scale.kernels.normalisation import (
    BINS,
    CLIP,
    Range,
    Scale,
    count_values,
    exact_range,
    measure_spread,
    quantile,
    quantile_scale,
)
from deepspot_scale.simulation import wound_assay

few = settings(max_examples=50, deadline=None)
counts_of_cameras = st.floats(-1e4, 1e6, width=32, allow_subnormal=False)
dtypes = [bool, np.uint8, np.int8, np.uint16, np.int16, np.int32, np.uint32]
whole_numbers = st.sampled_from(dtypes).flatmap(
    lambda dtype: hnp.arrays(dtype, st.integers(1, 60))
)
real_numbers = hnp.arrays(np.float32, st.integers(1, 60), elements=counts_of_cameras)
ranges = st.builds(
    Range, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.integers(0, 1000)
)


def measure_range(values):
    """Return the range of the bins: that of a narrow dtype, or that of the pixels."""
    return exact_range(values.dtype) or measure_spread(values).range


def cut(values, data):
    """Split an array at random positions; pieces may be empty."""
    places = data.draw(st.lists(st.integers(0, len(values)), max_size=4))
    edges = [0, *sorted(places), len(values)]
    return [values[a:b] for a, b in pairwise(edges)]


@given(ranges, ranges, ranges)
def test_ranges_merge_in_any_order_and_grouping(a, b, c):
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + Range() == a


@few
@given(st.one_of(whole_numbers, real_numbers), st.data())
def test_pieces_give_the_counts_of_the_whole(values, data):
    span = measure_range(values)
    pieces = cut(values, data)
    assert reduce(lambda a, b: a + b, map(measure_range, pieces)) == span
    together = sum(count_values(piece, span) for piece in pieces if piece.size)
    np.testing.assert_array_equal(together, count_values(values, span))
    assert together.sum() == values.size
    assert together.size == BINS


@few
@given(st.one_of(whole_numbers, real_numbers), st.floats(0, 1))
def test_a_quantile_is_the_least_value_that_reaches_the_share(values, q):
    span = measure_range(values)
    got = quantile(count_values(values, span), span, q)
    rank = max(1, int(np.ceil(q * values.size)))
    exact = float(np.sort(values.astype(np.float64))[rank - 1])
    step = (span.high - span.low) / (BINS - 1)
    if exact_range(values.dtype) is not None:
        assert got == exact
    else:
        assert abs(got - exact) <= 0.5 * step * (1 + 1e-6) + 1e-9 * abs(exact)


@few
@given(
    hnp.arrays(np.uint16, (9, 11), elements=st.integers(0, 4000)),
    st.integers(1, 10),
    st.integers(0, 500),
)
def test_gain_and_offset_of_the_camera_do_not_matter(image, gain, offset):
    changed = image * gain + offset
    before, after = quantile_scale(image)(image), quantile_scale(changed)(changed)
    np.testing.assert_allclose(before, after, atol=1e-5)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float32])
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5)])
def test_a_constant_image_becomes_zero(dtype, value, shape):
    image = np.full(shape, value, dtype)
    scaled = quantile_scale(image)(image)
    assert scaled.dtype == np.float32
    assert not scaled.any()


def test_the_brightest_pixels_are_cut():
    scale = Scale(100.0, 200.0)
    values = np.array([-1000.0, 100, 150, 200, 1e6])
    np.testing.assert_array_equal(scale(values), [CLIP[0], 0, 0.5, 1, CLIP[1]])


def test_pixels_that_are_not_finite_are_counted_and_left_out_of_the_range():
    values = np.array([np.nan, 1.0, np.inf, 3.0, -np.inf])
    assert measure_range(values) == Range(1.0, 3.0, 3)
    assert measure_range(values[[0, 2]]) == Range(n_not_finite=2)


WILD = np.random.default_rng(0).normal(100, 5, (64, 64))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("wild", [1e8, -1e8, 1e6])
def test_one_wild_pixel_does_not_make_the_others_black(dtype, wild):
    values = WILD.astype(dtype)
    expected = quantile_scale(values)
    values[3, 5] = wild
    got = quantile_scale(values)
    assert got.low == pytest.approx(expected.low, abs=2)
    assert got.high == pytest.approx(expected.high, abs=2)


@few
@given(real_numbers, st.data())
def test_pieces_give_the_spread_of_the_whole(values, data):
    whole = measure_spread(values)
    parts = [measure_spread(piece) for piece in cut(values, data)]
    merged = reduce(lambda a, b: a + b, parts)
    assert merged.range == whole.range
    np.testing.assert_array_equal(merged.counts, whole.counts)
    span = whole.without_wild()
    assert values.min() <= span.low <= span.high <= values.max()


def test_what_is_bright_on_a_constant_is_not_wild():
    values = np.zeros(10_000, np.float32)
    values[:3] = 4000
    assert measure_spread(values).without_wild() == Range(0.0, 4000.0)


def test_narrow_dtypes_need_no_first_look():
    assert exact_range(np.dtype(np.uint16)) == Range(0, BINS - 1)
    assert exact_range(np.dtype(np.int16)) == Range(-(1 << 15), (1 << 15) - 1)
    assert exact_range(np.dtype(np.uint32)) is None


# -- noise -----------------------------------------------------------------------------


def noisy(sigma, dtype, *, shape=(256, 300), seed=5):
    values = np.random.default_rng(seed).normal(1000, sigma, shape)
    whole = np.dtype(dtype).kind in "ui"
    return (np.rint(values) if whole else values).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint16", "int16", "int32", "float32"])
@pytest.mark.parametrize("sigma", [2.0, 30.0])
def test_noise_is_that_of_the_camera_whatever_the_dtype(sigma, dtype):
    found = kernel.noise_scale(noisy(sigma, dtype))
    assert found.sigma == pytest.approx(sigma, rel=0.03)
    assert found.medians.shape == (8, 10)
    np.testing.assert_allclose(found.medians, 1000, atol=0.4 * sigma)


def test_noise_below_one_count_is_known_to_a_fraction_of_it():
    assert kernel.noise_scale(noisy(0.5, "uint16")).sigma == pytest.approx(0.5, rel=0.1)
    assert kernel.noise_scale(np.full((9, 9), 7, np.uint16)).sigma == 1.0


def spoil(image, kind):
    image = image.copy()
    if kind == "sites":
        image[20:180:40, 20:180:40] = 60000
    elif kind == "dead cell":
        image[100:150, 100:150] += 20000
    elif kind == "rim":
        image[:30] = image[:, -60:] = 0
    elif kind == "subtracted":
        image = np.maximum(image.astype(np.int64) - 1000, 0).astype(np.uint16)
    return image


@pytest.mark.parametrize("kind", ["sites", "dead cell", "rim"])
def test_neither_bright_nor_absent_pixels_move_the_noise(kind):
    plain = noisy(30, "uint16")
    expected, found = (kernel.noise_scale(each) for each in (plain, spoil(plain, kind)))
    assert found.sigma == pytest.approx(expected.sigma, rel=0.03)
    # Tiles of the dead cell and of what was not imaged are others, and no more.
    alike = np.abs(found.medians - expected.medians) < 6
    assert alike.mean() > 0.6


def test_an_image_scaled_by_noise_is_linear_in_it_and_logarithmic_above():
    scale = kernel.NoiseScale(np.full((1, 1), 100, np.float32), 10.0)
    values = scale(np.array([[100, 130, 70, 3100]], np.uint16))
    expected = np.arcsinh([[0, 1, -1, 100]]) / 2
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-7)


def test_a_texture_far_above_the_noise_counts_as_noise():
    rng = np.random.default_rng(1)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (256, 256)), (0, 0), 3.0)
    for strength, least, most in ((3, 2, 2.5), (100, 40, 60)):
        texture = strength / smooth.std() * smooth
        image = np.rint(1000 + texture + rng.normal(0, 2, (256, 256)))
        assert least < kernel.noise_scale(image.astype(np.uint16)).sigma < most


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32"])
def test_blocks_count_the_deviations_of_the_whole(dtype):
    image = noisy(20, "float32", shape=(90, 70)).clip(0, 250).astype(dtype)
    medians = tile_medians(image)
    image[40:, 50:] = 0  # not imaged
    scale = kernel.NoiseScale(medians, 9.0, fill=0.0)
    whole = scale.count_deviations(image, (0, 0))
    assert whole.sum() == 45 * 35 - 25 * 10
    total = np.zeros(kernel.BINS, np.int64)
    for top in range(0, 90, 31):
        for left in range(0, 70, 47):
            window = image[top : top + 31, left : left + 47]
            total += scale.count_deviations(window, (top, left))
    np.testing.assert_array_equal(total, whole)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_what_was_not_imaged_is_background_and_moves_no_scale(share):
    rng = np.random.default_rng(2)
    smooth = cv2.GaussianBlur(rng.normal(0, 1, (320, 320)), (0, 0), 3.0)
    ramp = np.linspace(3000, 3500, 320)[:, None]
    image = np.rint(ramp + 80 / smooth.std() * smooth + rng.normal(0, 5, (320, 320)))
    whole, hidden = image.astype(np.uint16), image.astype(np.uint16)
    hidden[:, : round(share * 320)] = 0
    expected, found = kernel.noise_scale(whole), kernel.noise_scale(hidden)
    assert found.fill == 0
    assert found.sigma == pytest.approx(expected.sigma, rel=0.1)
    scaled = found(hidden)
    assert (scaled[hidden == 0] == 0).all()
    # Beside the rim, as far as half a tile, the background is that of what is there.
    beside = np.s_[:, round(share * 320) :]
    off = scaled[beside] - expected(whole)[beside]
    assert np.abs(off[:, :32].mean(axis=1)).max() < 0.6
    assert np.abs(off[:, 80:]).max(initial=0) < 0.2


def test_on_a_bright_cell_a_spot_is_as_high_as_beside_it():
    medians = np.repeat([[50, 50, 900, 900]], 3, axis=0).astype(np.float32)
    scale = kernel.NoiseScale(medians, 10.0)
    image = np.repeat([50.0, 900.0], 64)[None].repeat(96, axis=0)
    image[48, [10, 110]] += 60
    scaled = scale(image)
    assert scaled[48, 10] == scaled[48, 110] == pytest.approx(np.arcsinh(2) / 2)
    window = scale(image[30:80, 20:100], (30, 20))
    np.testing.assert_array_equal(window, scaled[30:80, 20:100])


@pytest.mark.parametrize("dtype", ["int16", "uint16", "float32"])
def test_blocks_count_the_differences_of_the_whole(dtype):
    image = noisy(20, dtype, shape=(90, 70))
    image[:5] = 0
    total = np.zeros(kernel.BINS, np.int64)
    for top in range(0, 90, 32):
        for left in range(0, 70, 48):
            window = image[top : top + 32 + kernel.LAG, left : left + 48 + kernel.LAG]
            core = (min(32, 90 - top), min(48, 70 - left))
            total += kernel.count_differences(window, core, 0.0)
    whole = kernel.count_differences(image, image.shape, 0.0)
    np.testing.assert_array_equal(total, whole)
    assert whole.sum() == 2 * 90 * 70 - 2 * (90 + 70) - (3 * 70 + 5 * 68)


def fill_of(image):
    span = kernel.exact_range(image.dtype) or kernel.measure_spread(image).range
    return kernel.find_fill(kernel.count_values(image, span), span)


def test_pixels_that_were_not_imaged_are_found_by_their_gap():
    plain = noisy(30, "uint16")
    assert fill_of(spoil(plain, "rim")) == 0
    assert fill_of(spoil(plain, "rim").astype(np.float32)) == 0
    assert fill_of(spoil(plain, "rim") + 100) == 100


@pytest.fixture(scope="module")
def assay():
    """Return half of the demonstration's second field: cells brighter than the rest."""
    rng = np.random.default_rng([0, 1])
    scene = wound_assay.draw_scene(rng)
    spots = wound_assay.plant_spots(rng, scene, 1.0)
    return wound_assay.photograph(rng, scene, spots)[1, :512]


@pytest.mark.parametrize("share", [0.02, 0.32, 0.6])
@pytest.mark.parametrize("dark", [0, 50])
@pytest.mark.parametrize("form", ["uint16", "float32", "12 of 16 bits", "8 bits"])
def test_a_rim_is_found_though_cells_are_far_brighter_than_the_rest(
    assay, form, dark, share
):
    assert np.ptp(np.quantile(assay, [0.01, 0.75])) > 2 * assay.min()
    image = assay.astype(np.int64)
    image[:, : round(share * image.shape[1])] = dark
    if form == "8 bits":
        image = np.rint(image * (255 / image.max())).astype(np.uint8)
    elif form == "12 of 16 bits":
        image = (16 * image).astype(np.uint16)
    else:
        image = image.astype(form)
    assert fill_of(image) == image[0, 0]


@pytest.mark.parametrize("size", [64, 128, 400])
def test_a_rim_of_a_small_image_with_dead_pixels_is_found(assay, size):
    image = assay[50 : 50 + size, 50 : 50 + size].copy()
    image[:, : size // 3] = 0
    dead = np.linspace(0, size - 1, min(12, image.size // 2000)).astype(int)
    image[dead, -3] = 20
    assert fill_of(image) == 0


def test_the_rim_is_that_of_the_whole_field_whatever_the_blocks(assay):
    image = assay.copy()
    image[:100] = 0
    span = exact_range(image.dtype)
    pieces = [count_values(part, span) for part in np.array_split(image, 7)]
    assert kernel.find_fill(sum(pieces), span) == 0


@pytest.mark.parametrize("share", [0.02, 0.15])
@pytest.mark.parametrize(
    "change",
    [
        lambda image, cut: np.maximum(image - cut, 0).astype(np.uint16),
        lambda image, cut: np.maximum(image - cut, 0).astype(np.float32),
        lambda image, cut: np.rint(3.7 * np.maximum(image - cut, 0)).astype(np.uint16),
        lambda image, cut: np.maximum(image, cut).astype(np.uint16),
        lambda image, cut: np.where(image > cut, image, 0).astype(np.uint16),
        lambda image, cut: np.rint(
            255 * np.sqrt(np.maximum(image - cut, 0) / image.max())
        ).astype(np.uint8),
    ],
    ids=["subtracted", "real", "gain", "dark offset", "threshold", "8 bits, root"],
)
def test_an_image_with_cut_off_background_was_imaged(assay, change, share):
    image = assay.astype(np.float64)
    assert fill_of(change(image, np.quantile(image, share))) is None


@pytest.mark.parametrize("photons", [0.001, 0.01, 0.1, 1.0])
@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.astype(np.uint8),
        lambda n: n.astype(np.uint16) + 100,
        lambda n: (17 * n).astype(np.uint16),
        lambda n: (0.37 * n).astype(np.float32),
        lambda n: np.rint(1000 * np.sqrt(n)).astype(np.uint16),
        lambda n: np.rint(5000 * np.log1p(n)).astype(np.uint16),
        lambda n: (n * np.linspace(1, 1.3, n.shape[1])).astype(np.float32),
    ],
    ids=["8 bits", "offset", "gain", "real", "root", "logarithm", "flat field"],
)
def test_an_image_of_few_photons_was_imaged(assay, change, photons):
    light = np.maximum(assay - 110.0, 0) * photons
    counts = np.random.default_rng(4).poisson(light + 0.02).clip(0, 255)
    assert fill_of(change(counts)) is None


@pytest.mark.parametrize(
    "image",
    [
        noisy(30, "uint16"),
        spoil(noisy(30, "uint16"), "subtracted"),
        np.random.default_rng(0).integers(0, 3, (99, 99), np.uint8),
        np.random.default_rng(0).poisson(0.3, (99, 99)).astype(np.uint16),
        np.zeros((9, 9), np.uint16),
        np.where(np.eye(20), 900, 0).astype(np.uint16),
        np.where(noisy(30, "uint16") > 1030, noisy(30, "uint16"), 0),
        np.where(np.eye(99), 1, np.arange(99) % 2 * 65535).astype(np.uint16),
    ],
    ids=[
        "plain",
        "subtracted",
        "three values",
        "poisson",
        "black",
        "few bright",
        "cleaned",
        "mask",
    ],
)
def test_dark_images_were_imaged(image):
    assert fill_of(image) is None
