import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.spatial import cKDTree

from deepspot_scale.blockwise.answers import ENHANCED, SCALED
from deepspot_scale.blockwise.geometry import plan_blocks
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.errors import FieldError, SettingsError, WeightsError
from deepspot_scale.kernels.normalisation import quantile_scale
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine, predict_images
from deepspot_scale.simulation import render_spots, smooth_noise
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.enhancement import KEPT, Enhancement
from deepspot_scale.verbs.images import detect, enhance

FLOAT = EngineChoice("deepspot", precision="float32")


def field(shape, n, seed=0):
    """Camera counts of clear spots over an uneven background, and their places."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(2, np.array(shape) - 3, (n, 2))
    light = render_spots(shape, points, rng.uniform(80, 300, n), rng.uniform(1, 1.6, n))
    light += 100 + 60 * smooth_noise(rng, shape, 60.0)
    return rng.poisson(light).astype(np.uint16), points


def as_image(planes, dims=(), **attrs):
    return xr.DataArray(planes, dims=(*dims, "y", "x"), attrs=attrs)


def test_the_answer_is_an_image_like_the_input():
    plane, _ = field((40, 56), 9)
    image = xr.DataArray(
        plane[None],
        dims=("c", "y", "x"),
        coords={"c": ["FISH"], "y": np.arange(40) * 0.1},
        attrs={"pixel_size_um": (0.1, 0.1)},
        name="image",
    )
    enhanced = enhance(image, engine=FLOAT)
    assert enhanced.dtype == np.float32
    assert enhanced.dims == image.dims
    assert enhanced.attrs == {**image.attrs, "enhanced_by": "deepspot"}
    assert detect(enhanced).columns.tolist() == detect(enhanced, image).columns.tolist()
    assert enhanced.name == "image"
    xr.testing.assert_equal(enhanced.coords.to_dataset(), image.coords.to_dataset())
    assert ((enhanced >= 0) & (enhanced <= 1)).all()
    turned = enhance(image.transpose("x", "c", "y"), engine=FLOAT)
    xr.testing.assert_identical(turned, enhanced)


def test_a_field_on_the_grid_is_the_networks_own_answer():
    plane, _ = field((40, 56), 9)
    scaled = quantile_scale(plane)(plane)[..., None]
    expected = predict_images(get_engine(FLOAT), [scaled])[0][..., 0]
    np.testing.assert_array_equal(enhance(as_image(plane), engine=FLOAT), expected)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (64, 64), (41, 50)])
def test_fields_smaller_than_the_halo_or_off_the_grid_are_enhanced(shape):
    plane = np.random.default_rng(0).integers(0, 999, shape).astype(np.uint16)
    enhanced = enhance(as_image(plane), engine=FLOAT)
    assert enhanced.shape == shape
    assert np.isfinite(enhanced).all()
    # They are padded on the right and at the bottom, by their last pixels.
    padded = np.pad(plane, [(0, -n % 8) for n in shape], mode="edge")
    scaled = quantile_scale(plane)(padded)
    answer = get_engine(FLOAT).predict(scaled[None, ..., None])[0, ..., 0]
    np.testing.assert_array_equal(enhanced, answer[: shape[0], : shape[1]])


@pytest.mark.parametrize(
    "plane",
    [
        np.zeros((40, 56), np.uint16),
        np.full((40, 56), 65535, np.uint16),
        np.full((40, 56), 0.5, np.float64),
        np.zeros((40, 56), bool),
    ],
    ids=["zero", "saturated", "constant", "bool"],
)
def test_a_flat_field_has_no_spots(plane):
    raw = as_image(plane)
    for method in ("quantile", "max"):
        enhanced = enhance(raw, normalisation=Normalisation(method), engine=FLOAT)
        assert np.isfinite(enhanced).all()
    assert detect(enhance(raw, engine=FLOAT), raw).empty


def test_a_mask_of_truth_values_is_an_image_too():
    plane = np.zeros((40, 56), bool)
    plane[20:23, 30:33] = True
    as_bool, as_bytes = (
        enhance(as_image(image), engine=FLOAT) for image in (plane, plane.astype("u1"))
    )
    xr.testing.assert_equal(as_bool, as_bytes)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("lazy", [False, True])
def test_pixels_that_are_not_finite_are_a_named_error(value, lazy, here_and_now):
    plane = np.ones((40, 56), np.float32)
    plane[3, 4] = value
    image = as_image(plane).chunk(y=13) if lazy else as_image(plane)
    with pytest.raises(FieldError, match="1 pixels that are NaN or infinite"):
        enhance(image, engine=FLOAT).compute()


def test_gain_and_offset_of_the_camera_do_not_matter():
    plane, _ = field((40, 56), 9)
    one, other = (
        enhance(as_image(image), engine=FLOAT)
        for image in (plane, plane.astype(np.int32) * 7 + 1000)
    )
    np.testing.assert_allclose(one, other, atol=1e-3)


def test_unfit_requests_are_named_errors():
    image = as_image(field((40, 56), 3)[0])
    with pytest.raises(SettingsError, match="leaves no core inside a halo of 128 px"):
        enhance(image, engine=FLOAT, block=256)
    with pytest.raises(WeightsError, match="no model"):
        enhance(image, model="best")
    with pytest.raises(FieldError, match="DataArray"):
        enhance(image.to_numpy())
    with pytest.raises(FieldError, match="dimensions y and x"):
        enhance(image.rename(y="rows"))


@pytest.mark.parametrize("dims", ["", "t", "tcz"])
def test_a_lazy_image_gives_the_same_answer_and_computes_nothing_before(
    dims, forbid_computing, here_and_now
):
    planes = np.stack([field((40, 56), 9, seed)[0] for seed in range(2 ** len(dims))])
    image = as_image(planes.reshape(*[2] * len(dims), 40, 56), dims, address="B/03/0")
    eager = enhance(image, engine=FLOAT)
    chunked = image.chunk({"y": (7, 1, 32), "x": 19} | dict.fromkeys(dims, 1))
    with forbid_computing:
        lazy = enhance(chunked, engine=FLOAT)
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), eager)
    # Each plane is a field of its own.
    first = dict.fromkeys(dims, 0)
    alone = enhance(image.isel(first), engine=FLOAT)
    xr.testing.assert_identical(eager.isel(first), alone)


LARGE = (700, 900)


@pytest.fixture(scope="module")
def large():
    """A field of six blocks of at most 512 px, its truth, and it enhanced at once."""
    plane, points = field(LARGE, 900)
    raw = as_image(plane, pixel_size_um=(0.1, 0.1))
    return raw, points, enhance(raw, engine=FLOAT)


def test_blocks_with_their_halo_give_the_answer_of_the_whole(
    large, forbid_computing, here_and_now
):
    raw, _, whole = large
    assert len(plan_blocks(LARGE, block=512, halo=128, grid=8).blocks) == 6
    cut = enhance(raw, engine=FLOAT, block=512)
    # Equal but for the order in which float32 sums run in another shape.
    np.testing.assert_allclose(cut, whole, atol=2e-4)
    with forbid_computing:
        lazy = enhance(raw.chunk(y=(300, 33, 367), x=411), engine=FLOAT, block=512)
        spots = detect(lazy, raw, block=300)
    now = detect(cut, raw, block=300)
    image, later = dask.compute(lazy, *spots.to_delayed())  # enhanced once for both
    xr.testing.assert_identical(image, cut)
    pd.testing.assert_frame_equal(later, now, check_exact=True)
    # What is measured on the raw image is the same to the last bit.
    once = detect(whole, raw)
    measured = ["y", "x", "intensity", "snr"]
    pd.testing.assert_frame_equal(once[measured], now[measured], check_exact=True)


def test_planted_spots_are_found(large):
    raw, points, whole = large
    spots = detect(whole, raw)
    found, truth = cKDTree(spots[["y", "x"]]), cKDTree(points)
    recall = (found.query(points)[0] < 2).mean()
    precision = (truth.query(spots[["y", "x"]])[0] < 2).mean()
    # A few spots lie on top of each other.
    assert recall > 0.95
    assert precision > 0.98


def test_a_shift_by_the_grid_moves_the_answer_and_nothing_else():
    plane, _ = field((320, 336), 200)
    raw = as_image(plane)
    scale = Normalisation("max")  # the same for both, whatever is cut off
    plane[150, 150] = 2000
    before = enhance(raw, normalisation=scale, engine=FLOAT).to_numpy()
    after = enhance(raw[8:, 16:], normalisation=scale, engine=FLOAT).to_numpy()
    inside = np.s_[136:176, 144:184]  # 128 px from the edges of either
    np.testing.assert_allclose(after[128:168, 128:168], before[inside], atol=2e-4)


def test_kept_images_are_put_together_from_the_cores():
    plane, _ = field((330, 350), 60)
    method = Enhancement.of(FLOAT)
    works = {"brightness": Normalisation().work(), "enhance": method.work(keep=True)}
    pipeline = plan_pipeline(works, block=320)
    blocks = pipeline.blocks(plane.shape)
    assert blocks == plan_blocks(
        plane.shape, block=320, halo=method.halo, grid=method.grid
    )
    answers = reduce_rounds(pipeline, blocks, read_whole({"image": plane}))
    kept = answers.by_name[KEPT.name]
    assert len(blocks.blocks) > 1
    assert kept.dtype == np.uint8
    enhanced = enhance(as_image(plane), engine=FLOAT, block=320)
    np.testing.assert_array_equal(kept, np.rint(enhanced * 255))


def test_the_scaled_image_that_stages_share_changes_nothing():
    plane, _ = field((330, 350), 60)
    engine = EngineChoice("deepspot-fast", precision="float32")
    enhanced = []
    for in_volume in (False, True):
        method = Enhancement.of(engine, in_volume=in_volume)
        works = {"brightness": Normalisation().work(), "enhance": method.work()}
        pipeline = plan_pipeline(works, wanted=(ENHANCED,), block=256)
        made = {p.step.gives.name for r in pipeline.rounds for p in r.steps}
        assert (SCALED.name in made) != in_volume
        blocks = pipeline.blocks(plane.shape)
        assert len(blocks.blocks) > 1
        answers = reduce_rounds(pipeline, blocks, read_whole({"image": plane}))
        enhanced.append(answers.by_name[ENHANCED.name])
    np.testing.assert_array_equal(*enhanced)


def count_moved(one, other):
    """Spots of either table that the other does not have at the same place."""
    places = [set(zip(t["y"], t["x"], strict=True)) for t in (one, other)]
    return len(places[0] ^ places[1])


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "auto"])
def test_another_block_size_changes_at_most_one_spot_in_100_000(precision):
    plane, _ = field((2048, 2048), 12_000)
    raw = as_image(plane)
    engine = EngineChoice(precision=precision)
    small, large = (
        detect(enhance(raw, engine=engine, block=block), raw, block=block)
        for block in (512, 1024)
    )
    assert len(small) > 10_000
    assert count_moved(small, large) <= len(small) / 1e5


# -- what must not decide about a field's scale ----------------------------------------

FAST = EngineChoice("deepspot-fast", precision="float32")


def clean(n, height, shape=(320, 400), *, seed=0):
    """Counts of `n` equal spots on a clean background, and their places."""
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*(np.arange(20, m - 20, 24) for m in shape)), -1)
    points = rng.permutation(places.reshape(-1, 2))[:n] + rng.uniform(-2, 2, (n, 2))
    heights, sigmas = np.full(n, float(height)), np.full(n, 1.4)
    light = render_spots(shape, points, heights, sigmas) + rng.normal(100, 10, shape)
    return np.rint(light).clip(0).astype(np.uint16), points


def find_spots(plane, **options):
    image = as_image(plane)
    return detect(enhance(image, engine=FAST, **options), raw=image, **options)


@pytest.mark.parametrize("n", [0, 1, 3, 20])
@pytest.mark.parametrize("height", [500, 5000, 20_000])
def test_a_few_bright_spots_are_as_many_as_they_are(n, height):
    plane, points = clean(n, height, seed=n)
    found = find_spots(plane)
    assert len(found) == n
    if n:
        near = cKDTree(found[["y", "x"]].to_numpy()).query(points)[0]
        assert near.max() < 1


def test_blocks_agree_on_the_scale_of_a_few_bright_spots():
    plane, _ = clean(12, 5000)
    blocks = find_spots(plane, block=312)
    pd.testing.assert_frame_equal(blocks, find_spots(plane), check_exact=True)
    plane[:40] = 0
    blocks = find_spots(plane, block=312)
    pd.testing.assert_frame_equal(blocks, find_spots(plane), check_exact=True)


def test_sites_do_not_hide_the_single_molecules():
    plane, points = clean(30, 300)
    sites = np.array([[90.0, 90.0], [130.0, 300.0], [250.0, 170.0], [280.0, 333.0]])
    light = render_spots(plane.shape, sites, np.full(4, 3000.0), np.full(4, 1.6))
    found = find_spots(np.rint(plane + light).astype(np.uint16))
    near = cKDTree(found[["y", "x"]].to_numpy()).query(points)[0]
    assert (near < 2).sum() >= 28
    assert len(found) <= 36


def hide(plane, kind):
    hidden = np.zeros(plane.shape, bool)
    if kind == "rim":
        hidden[:5] = hidden[-5:] = hidden[:, :5] = hidden[:, -5:] = True
    elif kind == "tile":
        hidden[200:, 240:] = True
    else:
        rows, columns = np.indices(plane.shape)
        hidden = np.hypot(rows - 160, columns - 200) > 140
    return np.where(hidden, 0, plane).astype(plane.dtype), hidden


@pytest.mark.parametrize("kind", ["rim", "tile", "round"])
@pytest.mark.parametrize("method", ["enhanced", "raw"])
def test_pixels_that_were_not_imaged_neither_hide_nor_make_spots(kind, method):
    plane, points = clean(60, 60)
    spoilt, hidden = hide(plane, kind)

    def find_places(counts):
        image = as_image(counts)
        if method == "raw":
            found = detect(image, method="raw")
        else:
            found = detect(enhance(image, engine=FAST), raw=image)
        return found[["y", "x"]].to_numpy()

    def imaged(places):
        return places[~hidden[tuple(np.round(places).astype(int).T)]]

    found = find_places(spoilt)
    assert len(imaged(found)) == len(found)
    expected = imaged(find_places(plane))
    lost = cKDTree(found).query(expected)[0] > 1
    assert lost.mean() < 0.1
    assert abs(len(found) - len(expected)) < 0.1 * len(expected)
    near = cKDTree(found).query(imaged(points))[0]
    assert (near > 2).sum() <= 3


def test_a_scale_that_a_model_does_not_use_is_refused_by_the_verb_too():
    image = as_image(np.full((64, 64), 7, np.uint16))
    with pytest.raises(SettingsError, match="would change nothing"):
        enhance(image, model="deepspot-fast", normalisation=Normalisation("max"))
