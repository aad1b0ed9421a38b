"""Dense regions of stacks: molecules are counted, once, wherever blocks are cut."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.simulation.drawing import render_spots
from deepspot_scale.stages.detection.volume import VolumeDetector

SHAPE = (16, 192, 320)
SIGMA = np.array([1.17, 1.46, 1.46])
CENTRES = np.array([[7.0, 60.0, 128.0], [8.0, 127.5, 255.5], [6.0, 40.0, 60.0]])


def draw(n_molecules, n_singles=60, seed=3):
    """Return a stack with sites about `CENTRES`, two of them on faces of blocks."""
    rng = np.random.default_rng(seed)
    sites = [c + rng.uniform(-1.2, 1.2, (n_molecules, 3)) * SIGMA for c in CENTRES]
    singles = rng.uniform(4, np.array(SHAPE) - 5, (4 * n_singles, 3))
    far = [np.abs((singles - c) / SIGMA).max(axis=1) > 9 for c in CENTRES]
    singles = singles[np.all(far, axis=0)][:n_singles]
    points = np.concatenate([*sites, singles])
    heights = 300 * rng.uniform(0.9, 1.1, len(points))
    sigmas = np.broadcast_to(SIGMA, points.shape)
    light = 100 + render_spots(SHAPE, points, heights, sigmas)
    counts = rng.poisson(light).astype(np.uint16)
    return xr.DataArray(counts, dims=("z", "y", "x")), points


def enhance(image):
    return ds.enhance(image, model="deepspot-fast", volume=True)


def detect(enhanced, image, **values):
    return ds.detect(enhanced, raw=image, volume=True, **values)


def find(image):
    return detect(enhance(image), image)


@pytest.fixture(scope="module")
def stack():
    return draw(8)


@pytest.fixture(scope="module")
def enhanced(stack):
    return enhance(stack[0])


@pytest.fixture(scope="module")
def spots(stack, enhanced):
    return detect(enhanced, stack[0])


def near(spots, centre):
    away = (spots[["z", "y", "x"]].to_numpy() - centre) / SIGMA
    return spots[np.abs(away).max(axis=1) < 4]


def test_the_molecules_of_a_site_are_counted(stack, spots):
    assert abs(len(spots) - len(stack[1])) <= 2
    for centre in CENTRES:
        own = near(spots, centre)
        assert abs(len(own) - 8) <= 1
        assert own["site"].all()
        assert own["molecules"].sum() == pytest.approx(8, abs=1)


def test_ordinary_spots_are_one_molecule_each(spots):
    ordinary = spots[~spots["site"]]
    assert len(ordinary) >= 50
    assert ordinary["molecules"].median() == pytest.approx(1, abs=0.05)
    assert ordinary["molecules"].between(0.6, 1.4).mean() > 0.9


def test_without_taking_apart_a_site_is_a_few_bright_spots(stack, enhanced):
    whole = detect(enhanced, stack[0], decompose=False)
    for centre in CENTRES:
        own = near(whole, centre)
        assert 1 <= len(own) <= 4
        assert own["molecules"].max() > 2.5
        assert own["site"].any()


def test_a_region_that_blocks_cut_is_taken_apart_once(stack, enhanced, spots):
    image = stack[0]
    for block in (96, 128):
        cut = detect(enhanced, image, block=block)
        pd.testing.assert_frame_equal(cut, spots, check_exact=True)


def test_lazy_stacks_give_the_same_molecules(stack, enhanced, spots):
    image = stack[0]
    lazy = detect(
        enhanced.chunk({"y": 100, "x": 90}),
        image.chunk({"z": 5, "y": 64, "x": 320}),
        block=128,
    )
    computed = lazy.compute().reset_index(drop=True)
    pd.testing.assert_frame_equal(computed, spots, check_exact=True)


def test_of_too_few_spots_nothing_is_known_of_one_molecule():
    image, _ = draw(3, n_singles=2)
    few = find(image)
    assert len(few) < 10
    assert few["molecules"].isna().all()
    assert not few["site"].any()


def test_the_regions_of_a_field_are_counted():
    counts = VolumeDetector().gives()
    names = ["n_apart", "n_whole", "n_single_unknown"]
    assert [count.name for count in counts] == names
    assert VolumeDetector(decompose=False).gives() == ()


def test_dirt_is_left_as_it_was_found_and_in_bounded_time():
    image, _ = draw(0, n_singles=40)
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    away = ((grid - [8, 100, 200]) / [2.5, 4.0, 4.0]) ** 2
    dirt = 15000 * np.exp(-0.5 * away.sum(axis=-1))
    flash = np.zeros(SHAPE, np.uint16)
    flash[5] = 60000
    for light in (dirt.astype(np.uint16), flash):
        spoiled = image + light
        enhanced = enhance(spoiled)
        whole = detect(enhanced, spoiled, decompose=False)
        apart = detect(enhanced, spoiled)
        assert len(apart) <= len(whole) + 2


def test_single_spots_of_uneven_brightness_are_not_taken_apart():
    rng = np.random.default_rng(7)
    points = rng.uniform(2, np.array(SHAPE) - 3, (150, 3))
    heights = 300 * np.exp(rng.normal(0, 0.4, 150))
    sigmas = np.broadcast_to(SIGMA, points.shape)
    light = 100 + render_spots(SHAPE, points, heights, sigmas)
    image = xr.DataArray(rng.poisson(light).astype(np.uint16), dims=("z", "y", "x"))
    enhanced = enhance(image)
    whole = detect(enhanced, image, decompose=False)
    assert abs(len(detect(enhanced, image)) - len(whole)) <= 2
