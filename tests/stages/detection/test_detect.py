from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from dask_image import ndmeasure
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import cKDTree

from deepspot_scale.blockwise.answers import IMAGE
from deepspot_scale.blockwise.contract import Pixels
from deepspot_scale.blockwise.geometry import plan_blocks, whole_box
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.blockwise.spots import DETECTED
from deepspot_scale.errors import FieldError, SettingsError
from deepspot_scale.evaluation.matching import match_one_to_one
from deepspot_scale.kernels import peaks, wavelet
from deepspot_scale.kernels.thresholds import IcyThreshold, ProductThreshold
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.detection.detect import (
    LEFT_OUT,
    detector_work,
    find_detector,
)
from deepspot_scale.stages.detection.points import PointDetector
from deepspot_scale.stages.detection.wavelet import (
    PRESETS,
    FieldSums,
    Levels,
    Survey,
    WaveletDetector,
)
from deepspot_scale.verbs.images import detect
from deepspot_scale.vocabulary import SPOTS

few = settings(max_examples=25, deadline=None)
EIGHT = np.ones((3, 3))
# Small reach and small objects, so that small images have many blocks and objects
# that are too large.
RAW = WaveletDetector((1, 2), IcyThreshold((250.0, 250.0)), on="raw", largest=8)
ENHANCED = WaveletDetector((2,), IcyThreshold((np.inf,)), floor=0.3, largest=8)
PRODUCT = WaveletDetector((1, 2), ProductThreshold(2.0), on="raw", largest=8)
CROWDED = replace(RAW, threshold=IcyThreshold((20.0, 20.0)), clear_snr=2.0)
"""A threshold that hardly a spot passes, so that most are kept as clear ones."""
splits = st.sampled_from(["peaks", "components"])
shapes = st.tuples(st.integers(20, 90), st.integers(20, 90))
cores = st.integers(12, 60)


def counts(shape, seed):
    """Camera counts: noise, spots of many sizes, ridges that rise, a plateau."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(0, 1 + shape[0] * shape[1] // 60))
    points = rng.uniform(0, np.array(shape) - 1, (n, 2))
    light = render_spots(shape, points, rng.uniform(30, 600, n), rng.uniform(0.7, 3, n))
    for _ in range(shape[0] * shape[1] // 900):
        # One peak and a long way up to it: an object that is too large.
        along = np.linspace(0, rng.integers(6, 20), 40)[:, None]
        angle = rng.uniform(0, 2 * np.pi)
        ridge = rng.uniform(0, shape) + along * [np.sin(angle), np.cos(angle)]
        ridge = ridge.clip(0, np.array(shape) - 1)
        light += render_spots(shape, ridge, np.linspace(40, 160, 40), np.ones(40))
    image = np.rint(rng.normal(200, rng.uniform(0, 20), shape) + light)
    top, left = rng.integers(0, shape)
    image[top : top + 9, left : left + 13] += 800
    return image.clip(0, 4095).astype(np.uint16)


def certainties(shape, seed):
    """An enhanced image: stamps of a few equal values on black, and rising bars."""
    rng = np.random.default_rng(seed)
    image = np.zeros(shape, np.float32)
    for y, x in rng.integers(0, shape, (shape[0] * shape[1] // 60, 2)):
        height, width = rng.integers(1, 4, 2)
        image[y : y + height, x : x + width] = rng.choice([0.25, 0.5, 0.75, 1.0])
    for y, x in rng.integers(0, shape, (shape[0] * shape[1] // 900, 2)):
        bar = image[y : y + 3, x : x + int(rng.integers(6, 14))]
        bar[:] = np.linspace(0.4, 1, bar.shape[1])
    return image


def as_image(plane, **attrs):
    return xr.DataArray(plane, dims=("y", "x"), attrs=attrs)


def find(plane, detector, block):
    """The detector's rounds on one plane, to see the numbers of those left out."""
    works = {"brightness": Normalisation().work()}
    works["detect"] = detector_work(detector, IMAGE)
    pipeline = plan_pipeline(works, block=block)
    blocks = pipeline.blocks(plane.shape)
    assert blocks == plan_blocks(plane.shape, block=block, halo=detector.halo)
    answers = reduce_rounds(pipeline, blocks, read_whole({IMAGE: plane}))
    spots, left_out = answers[DETECTED], answers[LEFT_OUT]
    assert left_out == (spots.n_dropped, spots.n_faint, spots.n_crowded)
    return spots


def same_spots(got, expected):
    pd.testing.assert_frame_equal(got.table, expected.table, check_exact=True)
    assert got.n_dropped == expected.n_dropped
    assert got.n_faint == expected.n_faint
    assert got.n_crowded == expected.n_crowded


@few
@given(shapes, st.integers(0, 999), cores, splits)
def test_blocks_of_any_size_give_the_spots_of_the_whole_raw_field(
    shape, seed, core, split
):
    detector = replace(RAW, split=split)
    plane = counts(shape, seed)
    block = 2 * detector.halo + core
    same_spots(find(plane, detector, block), find(plane, detector, 4096))


@few
@given(shapes, st.integers(0, 999), cores, splits)
def test_blocks_of_any_size_give_the_spots_of_the_whole_enhanced_field(
    shape, seed, core, split
):
    detector = replace(ENHANCED, split=split)
    plane, raw = certainties(shape, seed), as_image(counts(shape, seed))
    block = 2 * detector.halo + core
    same_spots(find(plane, detector, block), find(plane, detector, 4096))
    tables = [
        detect(as_image(plane), raw, method=detector, block=size)
        for size in (block, 4096)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


@few
@given(shapes, st.integers(0, 999), cores)
def test_a_block_surveys_what_the_whole_field_does(shape, seed, core):
    plane = counts(shape, seed)
    whole = whole_box(shape)
    expected = RAW.survey(Pixels(whole, plane), whole, low=0, high=4095)
    total = FieldSums(0, 0)
    for block in plan_blocks(shape, block=core).blocks:
        box = block.core.grow(RAW.halo, shape)
        pixels = Pixels(box, plane[box.slices])
        got = RAW.survey(pixels, block.core, low=0, high=4095)
        assert got.box == block.core.grow(RAW.rim, shape)
        total += FieldSums(got.state, got.finest_sums)
        for name in ("planes", "response", "values", "finest"):
            np.testing.assert_array_equal(
                spread(got, name), spread(expected, name)[..., *got.box.slices]
            )
    np.testing.assert_array_equal(total.state, expected.state)
    np.testing.assert_array_equal(total.finest, expected.finest_sums)


def spread(survey, name):
    """One of a survey's lists of pixels as an image of its box."""
    values = getattr(survey, name)
    image = np.zeros((*values.shape[:-1], np.prod(survey.box.shape)), np.float32)
    image[..., survey.places] = values
    return image.reshape(*values.shape[:-1], *survey.box.shape)


@settings(max_examples=100, deadline=None)
@given(shapes, st.integers(0, 999), st.integers(5, 40), splits)
def test_a_block_finds_the_objects_of_its_core_whatever_their_size(
    shape, seed, core, split
):
    # Smooth hills on wide ground: objects of all sizes about the largest allowed.
    rng = np.random.default_rng(seed)
    hills = ndimage.gaussian_filter(rng.normal(size=shape), rng.uniform(1, 5))
    response = np.rint(hills / hills.std() * 20).astype(np.float32)
    mask = response > rng.uniform(-40, 20)
    detector = replace(RAW, split=split)

    def find_in(block):
        box = block.grow(detector.rim, shape)
        index = np.flatnonzero(mask[box.slices])
        planes = np.ones((2, index.size), np.float32)
        values = response[box.slices].ravel()[index]
        none = np.zeros(0, int)
        survey = Survey(none, box, index, planes, values, values, values, none)
        found = detector.find(survey, Levels([1.0, 1.0], np.inf), block)
        places = (found.y, found.x) if found.centre is None else found.centre
        rows = zip(*places, found.area, strict=True)
        return list(rows), found.n_dropped

    parts = [find_in(block.core) for block in plan_blocks(shape, block=core).blocks]
    rows, n_dropped = find_in(whole_box(shape))
    assert sorted(row for part, _ in parts for row in part) == sorted(rows)
    assert sum(n for _, n in parts) == n_dropped


@pytest.mark.parametrize("split", ["peaks", "components"])
def test_blocks_give_the_spots_of_the_whole_field_by_the_product_of_scales(split):
    detector = replace(PRODUCT, split=split)
    plane = counts((90, 120), 3)
    whole = find(plane, detector, 4096)
    assert len(whole.table) > 20
    assert whole.n_dropped > 0
    same_spots(find(plane, detector, 71), whole)


def test_the_images_of_these_tests_have_spots_and_objects_that_are_too_large():
    for split in ("peaks", "components"):
        for make, base in ((counts, RAW), (certainties, ENHANCED)):
            found = find(make((100, 100), 0), replace(base, split=split), 4096)
            assert len(found.table) > 10
            assert found.n_dropped > 0


@few
@given(shapes, st.integers(0, 999), cores, splits)
def test_blocks_keep_the_clear_spots_of_the_whole_field(shape, seed, core, split):
    detector = replace(CROWDED, split=split)
    plane = counts(shape, seed)
    whole = find(plane, detector, 4096)
    same_spots(find(plane, detector, 2 * detector.halo + core), whole)
    enhanced = replace(detector, on="enhanced", threshold=CROWDED.threshold)
    tables = [
        detect(
            as_image(certainties(shape, seed)),
            as_image(plane),
            method=enhanced,
            block=size,
        )
        for size in (2 * detector.halo + core, 4096)
    ]
    pd.testing.assert_frame_equal(*tables, check_exact=True)


def test_the_crowded_images_of_these_tests_have_clear_spots():
    for split in ("peaks", "components"):
        found = find(counts((100, 100), 0), replace(CROWDED, split=split), 4096)
        assert found.n_crowded > 10


def grid_of_spots(step, sigma, height, *, noise, size=480, seed=1):
    """Camera counts of spots on a grid, and where they are."""
    rng = np.random.default_rng(seed)
    places = np.arange(step / 2, size - step / 2 + 1, step)
    grid = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)
    points = grid + rng.uniform(-0.5, 0.5, grid.shape)
    n = len(points)
    light = render_spots((size, size), points, np.full(n, height), np.full(n, sigma))
    plane = np.rint(rng.normal(200, noise, light.shape) + light)
    return plane.clip(0, 65535).astype(np.uint16), points


def hits(table, points):
    score = match_one_to_one(table[["y", "x"]], points, radius=2)
    return score.precision, score.recall


@pytest.mark.parametrize("method", ["raw", "product", "paper"])
@pytest.mark.parametrize(("step", "n"), [(24, 400), (16, 900), (12, 1600), (8, 3600)])
def test_crowded_spots_are_found_one_by_one(method, step, n):
    plane, points = grid_of_spots(step, 1.0, 1500.0, noise=12)
    assert len(points) == n
    image = as_image(plane)
    if method == "paper":
        # As the network gives it: a bump of the same height for every spot.
        heights, sigmas = np.full(n, 1.6), np.full(n, 0.9)
        bumps = render_spots(plane.shape, points, heights, sigmas)
        image = as_image(np.minimum(bumps, 1).astype(np.float32))
    table = detect(image, as_image(plane) if method == "paper" else None, method=method)
    assert hits(table, points) == (1, 1)


def test_spots_below_a_threshold_that_crowding_raised_are_counted():
    crowded, points = grid_of_spots(8, 1.0, 1500.0, noise=12)
    found = find(crowded, PRESETS["raw"], 4096)
    assert len(found.table) == len(points)
    assert found.n_crowded > len(points) // 2
    by_name = replace(PRESETS["raw"], clear_snr=0.0)
    assert len(find(crowded, by_name, 4096).table) == len(points) - found.n_crowded
    # Where as many pass, the threshold holds, and those below are only counted.
    uneven, points = grid_of_spots(16, 1.0, 450.0, noise=12)
    bright, n = points[::2], len(points) // 2
    heights, sigmas = np.full(n, 3e4), np.ones(n)
    light = render_spots(uneven.shape, bright, heights, sigmas)
    held = find((uneven + np.rint(light)).astype(np.uint16), PRESETS["product"], 4096)
    assert (len(held.table), held.n_crowded) == (n, n)
    sparse, points = grid_of_spots(24, 1.0, 300.0, noise=12)
    alone = find(sparse, PRESETS["raw"], 4096)
    assert (len(alone.table), alone.n_crowded) == (len(points), 0)


@pytest.mark.parametrize("method", ["raw", "product"])
@pytest.mark.parametrize("smoothing", [0, 0.7, 1.5])
def test_noise_of_any_grain_gives_no_clear_spot(method, smoothing):
    noise = np.random.default_rng(2).normal(size=(512, 512))
    smooth = ndimage.gaussian_filter(noise, smoothing) if smoothing else noise
    plane = np.rint(1000 + 50 * smooth / smooth.std()).astype(np.uint16)
    assert find(plane, PRESETS[method], 4096).n_crowded == 0


@pytest.mark.parametrize("sigma", [1.3, 1.8, 2.5, 3.2])
def test_a_dim_wide_spot_is_one_spot(sigma):
    plane, points = grid_of_spots(24, sigma, 200.0, noise=20)
    table = detect(as_image(plane), method="raw")
    assert len(points) == 400
    assert hits(table, points) == (1, 1)


@pytest.mark.parametrize("method", ["raw", "product"])
def test_a_hot_pixel_is_at_most_one_spot(method):
    plane = np.full((64, 64), 100, np.uint16)
    plane[30, 30] = 65535
    assert len(detect(as_image(plane), method=method)) <= 1


def slow_mask(plane, detector):
    """Pixels that pass in the whole field, by the formula."""
    image = wavelet.quantise(plane, plane.min(), plane.max())
    details = wavelet.planes(image, max(detector.scales))
    mask = np.ones(plane.shape, bool)
    for scale, sensitivity in zip(
        detector.scales, detector.threshold.sensitivities, strict=True
    ):
        w = details[scale - 1].astype(np.float64)
        deviation = np.abs(w).mean()
        factor = np.sqrt(2 * np.log(max(plane.size / 4**scale, 1)))
        mask &= (w > 0) & (w >= factor * deviation / (sensitivity / 100))
    coarse = sum(details[scale - 1] for scale in detector.scales[-2:])
    return mask, np.maximum(coarse, 0) + 1.0


@few
@given(shapes, st.integers(0, 999), cores)
def test_peaks_are_those_of_the_mask_of_the_whole_field(shape, seed, core):
    detector = replace(RAW, min_area=2)
    plane = counts(shape, seed)
    mask, _ = slow_mask(plane, detector)
    image = wavelet.quantise(plane, plane.min(), plane.max())
    objects = peaks.climb(mask, sum(wavelet.planes(image, 2)[:2]))
    large = objects.extent >= detector.largest
    big_enough = objects.area >= detector.min_area
    found = find(plane, detector, 2 * detector.halo + core)
    assert found.n_dropped == (large & big_enough).sum()
    kept = big_enough & ~large
    assert sorted(found.table["area"]) == sorted(objects.area[kept])
    places = peaks.refine(plane, objects.y[kept], objects.x[kept])
    rows = found.table[["y", "x"]].itertuples(index=False, name=None)
    assert sorted(rows) == sorted(zip(*places, strict=True))


def slow_components(labels, weight, detector):
    """Centre and area of each component small enough, and whether any is too large."""
    expected, too_large = [], False
    for number, cut in enumerate(ndimage.find_objects(labels), start=1):
        area = int((labels == number).sum())
        if max(s.stop - s.start for s in cut) > detector.largest:
            too_large = True
        elif area >= detector.min_area:
            centre = ndimage.center_of_mass(weight, labels, number)
            expected.append((*np.round(centre, 9), area))
    return sorted(expected), too_large


def sorted_components(found):
    rows = found.table[["y", "x", "area"]].round(9).itertuples(index=False)
    return sorted(map(tuple, rows)), found.n_dropped > 0


@few
@given(shapes, st.integers(0, 999), cores)
def test_components_are_those_that_scipy_labels_in_the_whole_field(shape, seed, core):
    detector = replace(RAW, split="components", min_area=2)
    plane = counts(shape, seed)
    mask, weight = slow_mask(plane, detector)
    found = find(plane, detector, 2 * detector.halo + core)
    expected = slow_components(ndimage.label(mask, EIGHT)[0], weight, detector)
    assert sorted_components(found) == expected


def test_components_are_those_that_dask_image_labels_across_chunks(here_and_now):
    detector = replace(RAW, split="components")
    plane = counts((90, 80), 4)
    mask, weight = slow_mask(plane, detector)
    labels, n = ndmeasure.label(da.from_array(mask, chunks=(31, 43)), EIGHT)
    expected = slow_components(labels.compute(), weight, detector)
    assert n.compute() > 20
    assert sorted_components(find(plane, detector, 61)) == expected


def test_a_spot_on_a_seam_is_counted_once():
    image = 100 + render_spots(
        (90, 90), np.array([[40.5, 44.5]]), np.array([900.0]), np.array([1.5])
    )
    plane = np.rint(image).astype(np.uint16)
    for detector in (RAW, replace(RAW, split="components")):
        for block in range(2 * detector.halo + 1, 90, 5):
            found = find(plane, replace(detector, largest=12), block + 16)
            assert len(found.table) == 1
            assert abs(found.table["y"][0] - 40.5) < 0.1


def test_spots_that_are_refined_to_one_place_stand_in_one_order():
    # The enhanced image has two peaks, the raw image between them only one.
    enhanced, raw = np.zeros((2, 30, 80), np.float32)
    enhanced[14, 41] = enhanced[16, 39] = 1
    raw[15, 40] = 1000
    raw[11, 47] = 50
    detector = replace(ENHANCED, threshold=IcyThreshold((np.inf,)), scales=(1,))
    tables = [
        detect(as_image(enhanced), as_image(raw), method=detector, block=block)
        for block in (4096, *range(37, 61, 3))
    ]
    assert len(tables[0]) == 2
    assert tables[0]["y"].nunique() == tables[0]["x"].nunique() == 1
    for table in tables[1:]:
        pd.testing.assert_frame_equal(table, tables[0], check_exact=True)


def test_touching_spots_are_parted_by_peaks_and_are_one_component():
    stamp = np.array([[0.8, 0.9, 0.8], [0.9, 1.0, 0.9], [0.8, 0.9, 0.8]])
    plane = np.zeros((40, 45), np.float32)
    plane[19:22, 19:22] = plane[19:22, 22:25] = stamp
    points = np.array([[20.0, 20.0], [20.0, 23.0]])
    raw = as_image(render_spots(plane.shape, points, np.full(2, 99.0), np.full(2, 0.7)))
    detector = replace(ENHANCED, largest=12)
    parted = detect(as_image(plane), raw, method=detector)
    # Refinement smooths by a pixel, which draws near neighbours together.
    np.testing.assert_allclose(parted[["y", "x"]], points, atol=0.5)
    one = detect(as_image(plane), raw, method=replace(detector, split="components"))
    np.testing.assert_allclose(one[["y", "x"]], [[20, 21.5]], atol=1e-6)
    assert one["area"].sum() == parted["area"].sum() == 18


def test_planted_spots_are_found_where_they_are():
    rng = np.random.default_rng(5)
    rows, columns = np.mgrid[20:400:20, 20:400:20]
    points = np.stack([rows.ravel(), columns.ravel()], 1) + rng.uniform(-2, 2, (361, 2))
    light = render_spots((420, 420), points, np.full(361, 200.0), np.full(361, 1.3))
    plane = np.rint(rng.normal(100, 5, light.shape) + light).astype(np.uint16)
    table = detect(as_image(plane, pixel_size_um=(0.1, 0.2)), method="raw")
    near = np.hypot(*(points[:, None] - table[["y", "x"]].to_numpy()).T).min(axis=0)
    assert len(table) == len(points)
    assert near.max() < 1
    np.testing.assert_allclose(table["x_um"], table["x"] * 0.2)
    assert (table["snr"] > 5).all()


FLAT = {
    "all zero": np.zeros((30, 40), np.uint16),
    "saturated": np.full((30, 40), 65535, np.uint16),
    "one pixel": np.full((1, 1), 7, np.uint8),
    "constant float": np.full((3, 5), 0.5, np.float32),
    "bool": np.zeros((3, 5), bool),
}


@pytest.mark.parametrize("method", PRESETS)
@pytest.mark.parametrize("split", ["peaks", "components"])
@pytest.mark.parametrize("plane", FLAT.values(), ids=FLAT)
def test_a_flat_field_has_no_spots(method, split, plane):
    detector = replace(PRESETS[method], split=split)
    raw = as_image(plane)
    if detector.on == "enhanced":
        enhanced = raw.astype(np.float32)
        table = detect(enhanced / max(1.0, float(raw.max())), raw, method=detector)
    else:
        table = detect(raw, method=detector)
    assert list(table.columns) == [column.name for column in SPOTS]
    assert table.empty


@pytest.mark.parametrize("method", PRESETS)
@pytest.mark.parametrize("shape", [(1, 3), (3, 5), (16, 1)])
@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.float64])
def test_images_smaller_than_a_spot_get_an_answer(method, shape, dtype):
    plane = np.zeros(shape, dtype)
    plane[shape[0] // 2, shape[1] // 2] = 1
    raw = as_image(plane)
    if PRESETS[method].on == "enhanced":
        table = detect(raw.astype(np.float32), raw, method=method)
    else:
        table = detect(raw, method=method)
    assert len(table) <= 1
    assert table.notna()[["y", "x", "intensity", "snr"]].all(axis=None)


@pytest.mark.parametrize("dtype", [np.int32, np.float32, np.float64])
def test_the_number_format_does_not_change_the_spots(dtype):
    plane = counts((60, 70), 8)
    # 0 and 4095 make the range a whole number of levels in every format.
    plane[0, 0], plane[-1, -1] = 0, 4095
    expected = find(plane, RAW, 4096).table
    got = find(plane.astype(dtype), RAW, 4096).table
    columns = ["y", "x", "area"]
    if np.dtype(dtype).kind == "i":
        pd.testing.assert_frame_equal(got[columns], expected[columns])
    else:
        # Real numbers are spread over all levels: where whole numbers were equal,
        # on plateaus, the way up may now be another one.
        near = cKDTree(got[["y", "x"]]).query(expected[["y", "x"]])[0]
        assert len(got) == len(expected)
        assert (near < 1e-6).mean() > 0.97


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("lazy", [False, True])
def test_pixels_that_are_not_finite_are_a_named_error(value, lazy, here_and_now):
    plane = np.zeros((40, 40), np.float32)
    broken = plane.copy()
    broken[3, 4] = value
    for image, raw, method in (
        (broken, None, "raw"),
        (broken, None, "enhanced"),
        (broken, plane, "enhanced"),
        (plane, broken, "enhanced"),
    ):
        given = [None if part is None else as_image(part) for part in (image, raw)]
        if lazy:
            given = [None if part is None else part.chunk(y=13) for part in given]
        with pytest.raises(FieldError, match="NaN or infinite"):
            len(detect(*given, method=method))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("method", ["enhanced", "paper"])
def test_raw_floats_are_not_taken_for_an_enhanced_image(
    dtype, lazy, method, here_and_now
):
    raw = as_image(counts((70, 83), 1).astype(dtype))
    below = as_image(np.full((40, 40), -0.1, dtype))
    for whole in (raw, below):
        image = whole.chunk(y=33) if lazy else whole
        with pytest.raises(FieldError, match=r"in \[0, 1\], got pixels .*method='raw'"):
            len(detect(image, method=method))
    assert len(detect(raw.astype(np.float64), method="raw")) > 0


@pytest.mark.parametrize("lazy", [False, True])
def test_an_image_in_the_unit_range_has_to_say_what_it_is(lazy):
    """Raw pixels from 0 to 1 have the range of an enhanced image, and other spots."""
    raw = counts((70, 83), 1)
    image = as_image((raw / raw.max()).astype(np.float32))
    enhanced = as_image(certainties((70, 83), 1))
    if lazy:
        image, enhanced = image.chunk(y=33), enhanced.chunk(y=33)
    for unnamed in (image, enhanced):
        with pytest.raises(FieldError, match=r"does not say .* method='raw'"):
            detect(unnamed)
    truth = len(detect(enhanced, method="enhanced"))
    assert truth > 0
    assert len(detect(image, method="raw")) > 0
    assert len(detect(enhanced, as_image(raw))) > 0  # a raw image beside it says it
    named = enhanced.assign_attrs(enhanced_by="deepspot")
    assert len(detect(named)) == truth
    # It is still said of parts and of other orders of the axes.
    assert len(detect(named.transpose("x", "y")[:, :])) == truth


def test_what_rounding_adds_to_an_enhanced_image_is_no_error():
    enhanced = certainties((70, 83), 1)
    assert enhanced.max() <= 1
    rounded = enhanced.copy()
    rounded[:2] = (-5e-4,)
    rounded[rounded.argmax() // 83, rounded.argmax() % 83] = 1.0005
    assert len(detect(as_image(rounded), method="enhanced")) > 0


def stack(dims, sizes, seed=0):
    """Planes of different spots along leading dimensions."""
    planes = [counts((70, 83), seed + i) for i in range(int(np.prod(sizes)))]
    return xr.DataArray(
        np.stack(planes).reshape(*sizes, 70, 83),
        dims=(*dims, "y", "x"),
        coords={"c": ["DAPI", "FISH"]} if "c" in dims else {},
        attrs={"address": "B/03/0", "pixel_size_um": (0.1, 0.1)},
    )


@pytest.mark.parametrize("dims", ["", "t", "cz", "tcz"])
@pytest.mark.parametrize("split", ["peaks", "components"])
def test_lazy_images_give_the_same_table_and_compute_nothing_before(
    dims, split, forbid_computing, here_and_now
):
    image = stack(dims, [2] * len(dims))
    detector = replace(RAW, split=split)
    chunks = {"y": (31, 1, 38), "x": (50, 33)} | dict.fromkeys(dims, 1)
    with forbid_computing:
        lazy = detect(image.chunk(chunks), method=detector, block=50)
        again = detect(image.chunk(y=9), method=detector)
    eager = detect(image, method=detector)
    assert len(eager) > 10 * 2 ** len(dims)
    for table in (lazy, again):
        assert table.npartitions == 2 ** len(dims)
        got = table.compute().reset_index(drop=True)
        pd.testing.assert_frame_equal(got, eager, check_exact=True)


def test_a_lazy_image_may_come_with_raw_counts_in_memory(here_and_now):
    enhanced, raw = certainties((60, 60), 1), counts((60, 60), 1)
    eager = detect(as_image(enhanced), as_image(raw), method=ENHANCED)
    for image, other in (
        (as_image(enhanced).chunk(y=17), as_image(raw)),
        (as_image(enhanced), as_image(raw).chunk(x=23)),
    ):
        lazy = detect(image, other, method=ENHANCED, block=45)
        got = lazy.compute().reset_index(drop=True)
        pd.testing.assert_frame_equal(got, eager, check_exact=True)


def test_each_plane_is_a_field_of_its_own():
    image = stack("tc", [2, 2])
    image[0] = image[0] // 8  # a dim time point keeps its own thresholds
    table = detect(image, method=RAW)
    for t in range(2):
        for c in ("DAPI", "FISH"):
            alone = detect(image.isel(t=t).sel(c=c), method=RAW)
            own = table[(table["t"] == t) & (table["channel"] == c)]
            own = own.reset_index(drop=True)
            own["t"] = alone["t"]
            pd.testing.assert_frame_equal(own, alone)


def test_unfit_requests_are_named_errors():
    image = as_image(counts((40, 40), 0))
    with pytest.raises(SettingsError, match="no detector 'best'"):
        detect(image, method="best")
    with pytest.raises(SettingsError, match="leaves no core"):
        detect(image, method="raw", block=32)
    with pytest.raises(SettingsError, match="raw counts alone"):
        detect(image, image, method="raw")
    with pytest.raises(FieldError, match="got uint16; enhance the image first"):
        detect(image)
    with pytest.raises(FieldError, match="raw image has shape"):
        detect(image.astype(float), image[:30])
    with pytest.raises(FieldError, match="DataArray"):
        detect(image.to_numpy())
    with pytest.raises(FieldError, match="no pixels"):
        detect(image[:0])
    with pytest.raises(FieldError, match="real numbers"):
        detect(image.astype(complex))


@pytest.mark.parametrize(
    "wrong",
    [
        {"scales": ()},
        {"scales": (0,)},
        {"scales": (7,)},
        {"split": "watershed"},
        {"largest": 1},
        {"min_area": 0},
    ],
)
def test_a_detector_out_of_range_is_refused(wrong):
    with pytest.raises(SettingsError):
        replace(RAW, **wrong)


def test_detectors_are_found_by_name_or_given():
    assert find_detector("paper") is PRESETS["paper"]
    assert find_detector(RAW) is RAW


def two_populations(n_faint, seed=0, noise=8):
    """An image of 30 spots and `n_faint` of a tenth of their height, and its twin."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(12, 240, 16), np.arange(12, 240, 16)), -1)
    points = rng.permutation(places.reshape(-1, 2))[: 30 + n_faint].astype(float)
    heights = np.r_[np.full(30, 400.0), np.full(n_faint, 40.0)]
    light = render_spots((256, 256), points, heights, np.full(len(points), 1.3))
    raw = (light + rng.normal(100, noise, light.shape)).astype(np.float32)
    enhanced = np.zeros((256, 256), np.float32)
    for y, x in points.astype(int):
        enhanced[y - 1 : y + 2, x - 1 : x + 2] = 0.6
        enhanced[y, x] = 0.95
    return xr.DataArray(enhanced, dims=("y", "x")), xr.DataArray(raw, dims=("y", "x"))


@pytest.mark.parametrize("n_faint", [0, 5, 25])
def test_spots_far_fainter_than_the_fields_typical_one_are_left_out(n_faint):
    enhanced, raw = two_populations(n_faint)
    everything = replace(PRESETS["enhanced"], least_share=0.0)
    assert len(detect(enhanced, raw, method=everything)) == 30 + n_faint
    found = detect(enhanced, raw)
    assert len(found) == 30
    assert found["intensity"].min() > 0.3 * found["intensity"].median()


@pytest.mark.parametrize(("n_faint", "n_found"), [(90, 30), (91, 121), (150, 180)])
def test_clear_spots_are_not_too_faint_where_few_outshine_them(n_faint, n_found):
    """As single molecules beside a few transcription sites do."""
    enhanced, raw = two_populations(n_faint, noise=1)
    for block in (2560, 112):
        assert len(detect(enhanced, raw, block=block)) == n_found


def test_many_faint_spots_do_not_become_typical():
    enhanced, raw = two_populations(150)
    assert len(detect(enhanced, raw)) == 30


def test_a_field_of_faint_spots_alone_keeps_them():
    enhanced, raw = two_populations(0)
    dim = raw * 0.02 + 100
    assert len(detect(enhanced, dim)) == 30


def test_few_sure_spots_do_not_say_what_is_typical():
    enhanced, raw = two_populations(25)
    unsure = enhanced.where(enhanced < 0.9, 0.89)
    assert len(detect(unsure.astype(np.float32), raw)) == 55


def unsure(n_sure, n_unsure):
    """An image of spots that the network is sure of or not, and its counts."""
    enhanced, raw = two_populations(0)
    n_spots = n_sure + n_unsure
    points = np.argwhere(enhanced.to_numpy() > 0.9)[:n_spots]
    enhanced = xr.zeros_like(enhanced)
    for number, (y, x) in enumerate(points):
        enhanced[y - 1 : y + 2, x - 1 : x + 2] = 0.3
        enhanced[y, x] = 0.95 if number < n_sure else 0.4
    return enhanced, raw


@pytest.mark.parametrize(
    ("n_sure", "n_unsure", "n_found"), [(5, 10, 15), (5, 11, 5), (0, 3, 0), (3, 0, 3)]
)
def test_where_hardly_a_spot_is_sure_the_doubtful_are_left_out(
    n_sure, n_unsure, n_found
):
    enhanced, raw = unsure(n_sure, n_unsure)
    for block in (2560, 112):
        assert len(detect(enhanced, raw, block=block)) == n_found
    counted = find(enhanced.to_numpy(), PRESETS["enhanced"], 112)
    assert counted.n_faint == n_sure + n_unsure - n_found


def test_a_users_own_floor_and_share_hold():
    enhanced, raw = unsure(5, 11)
    assert len(detect(enhanced, raw, floor=0.3)) == 16
    assert len(detect(enhanced, raw, floor=0.5)) == 5
    enhanced, raw = two_populations(25)
    assert len(detect(enhanced, raw, min_relative_intensity=0)) == 55
    assert len(detect(enhanced, raw, min_relative_intensity=0.3, method="paper")) == 30
    with pytest.raises(SettingsError, match="one of your own"):
        detect(enhanced, raw, floor=0.5, method=PointDetector(np.argwhere, halo=8))
    with pytest.raises(SettingsError, match="floor lies in"):
        detect(enhanced, raw, floor=2)


def test_blocks_agree_on_what_is_too_faint():
    enhanced, raw = two_populations(25)
    whole, blocks = (detect(enhanced, raw, block=block) for block in (2560, 112))
    pd.testing.assert_frame_equal(blocks, whole, check_exact=True)
    # Counted, not lost: here on the raw image itself, where all look alike sure.
    detector = replace(RAW, least_share=0.3)
    counted = find(raw.to_numpy(), detector, 112)
    assert counted.n_faint == find(raw.to_numpy(), detector, 2560).n_faint
    kept = find(raw.to_numpy(), replace(detector, least_share=0.0), 2560)
    assert counted.n_faint == len(kept.table) - len(counted.table)


@pytest.mark.parametrize(("gain", "offset"), [(3, 500), (16, 0)])
def test_counts_in_larger_steps_have_the_same_snr(gain, offset):
    """As 12 bits that are stored as 16; the ring of most spots has no noise at all."""
    enhanced, raw = two_populations(20, noise=0.2)
    whole = raw.round().astype(np.uint16)
    once, more = (
        detect(enhanced, counts.astype(np.uint16), min_relative_intensity=0)
        for counts in (whole, whole * gain + offset)
    )
    np.testing.assert_allclose(more["snr"], once["snr"], rtol=1e-5)
    np.testing.assert_allclose(more["intensity"], gain * once["intensity"], rtol=1e-5)
