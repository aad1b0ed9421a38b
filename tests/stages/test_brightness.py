import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deepspot_scale.blockwise.answers import BACKGROUND, BRIGHTNESS, JOINT_NOISE
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.graphs import defer_rounds
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.kernels.normalisation import noise_scale, quantile_scale
from deepspot_scale.stages.brightness import Normalisation

few = settings(max_examples=25, deadline=None)
shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
images = st.one_of(
    hnp.arrays(bool, shapes),
    hnp.arrays(np.uint8, shapes),
    hnp.arrays(np.uint16, shapes),
    hnp.arrays(np.int32, shapes, elements=st.integers(-100_000, 100_000)),
    hnp.arrays(np.float32, shapes, elements=st.integers(-1000, 100_000)),
)


def measure(image, *, block=64, method=None, lazy=False):
    works = {"brightness": (method or Normalisation()).work()}
    pipeline = plan_pipeline(works, wanted=(BRIGHTNESS,))
    blocks = plan_blocks(image.shape, block=block, halo=1)
    read = read_whole({"image": image})
    if lazy:
        deferred, _ = defer_rounds(pipeline, blocks, lambda _: read)
        return deferred.compute(scheduler="synchronous")[BRIGHTNESS]
    return reduce_rounds(pipeline, blocks, read)[BRIGHTNESS]


@few
@given(images, st.integers(3, 12))
def test_blocks_agree_on_the_brightness_of_the_whole_field(image, block):
    # Quantiles in the middle: in these small fields the others are the extremes.
    method = Normalisation(low=0.3, high=0.6)
    whole = measure(image, method=method)
    assert measure(image, method=method, block=block) == whole
    assert measure(image, method=method, block=block, lazy=True) == whole


@few
@given(
    st.tuples(st.integers(1, 110), st.integers(1, 110)),
    st.sampled_from(["uint8", "uint16", "int32", "float32"]),
    st.sampled_from([(5,), (20, 7), (33, 40), (64, 128)]),
    st.booleans(),
)
def test_blocks_agree_on_background_and_noise(shape, dtype, block, lazy):
    values = np.random.default_rng(shape).normal(120, 20, shape)
    image = np.rint(values).clip(1, 250).astype(dtype)
    image[: shape[0] // 3, : shape[1] // 2] = 0  # at times not imaged
    wanted = (BACKGROUND, JOINT_NOISE)
    works = {"brightness": Normalisation().work()}
    pipeline = plan_pipeline(works, wanted=wanted)
    blocks = plan_blocks(image.shape, block=max(block), halo=1)
    read = read_whole({"image": image})
    if lazy:
        deferred, _ = defer_rounds(pipeline, blocks, lambda _: read)
        answers = deferred.compute(scheduler="synchronous")
    else:
        answers = reduce_rounds(pipeline, blocks, read)
    alone = noise_scale(image)
    np.testing.assert_array_equal(answers[BACKGROUND], alone.medians)
    assert answers[JOINT_NOISE] == alone.sigma


@few
@given(images)
def test_the_scale_is_that_of_all_pixels_at_once(image):
    bright = measure(image)
    alone = quantile_scale(image)
    if alone.high > alone.low:
        assert bright.scale == alone
    step = np.ptp(image.astype(float)) / 65535
    assert bright.low == image.min()
    assert bright.high == pytest.approx(float(image.max()), abs=step)
    assert bright.least_noise > 0 or np.ptp(image.astype(float)) == 0


def test_a_few_bright_pixels_on_black_set_the_scale_themselves():
    image = np.zeros((100, 100), np.uint16)
    image[5, 5] = 800  # fewer than one in a thousand
    bright = measure(image)
    assert (bright.scale.low, bright.scale.high) == (0, 800)


def test_one_hot_pixel_moves_the_maximum_but_not_the_quantiles():
    image = np.random.default_rng(0).integers(100, 400, (100, 100)).astype(np.uint16)
    hot = image.copy()
    hot[50, 50] = 60_000
    paper = Normalisation("max")
    assert measure(hot).scale.high == pytest.approx(measure(image).scale.high, rel=0.01)
    assert measure(image, method=paper).scale.high == image.max()
    assert measure(hot, method=paper).scale.high == 60_000
    assert measure(hot, method=paper).scale.low == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("lazy", [False, True])
def test_pixels_that_are_not_finite_are_a_named_error(value, lazy):
    image = np.ones((20, 20), np.float32)
    image[3, 4] = image[15, 2] = value
    with pytest.raises(FieldError, match="2 pixels that are NaN or infinite"):
        measure(image, block=7, lazy=lazy)


def test_a_field_of_nothing_but_nan_is_a_named_error():
    with pytest.raises(FieldError, match="NaN"):
        measure(np.full((3, 5), np.nan))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.int32, np.float64])
@pytest.mark.parametrize("value", [0, 1])
@pytest.mark.parametrize("method", ["quantile", "max"])
def test_a_constant_image_has_a_brightness(dtype, value, method):
    image = np.full((3, 5), value, dtype)
    bright = measure(image, method=Normalisation(method))
    assert bright.low == bright.high == value
    assert np.isfinite(bright.scale(image)).all()


@pytest.mark.parametrize(
    "wrong", [{"method": "median"}, {"low": 0.5, "high": 0.5}, {"high": 1.5}]
)
def test_unfit_settings_are_refused(wrong):
    with pytest.raises(SettingsError):
        Normalisation(**wrong)
