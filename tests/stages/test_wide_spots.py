import numpy as np
import pandas as pd
import pytest
import xarray as xr

from deepspot_scale.evaluation.matching import match_one_to_one
from deepspot_scale.simulation import render_spots
from deepspot_scale.stages.detection.wavelet import PRESETS
from deepspot_scale.verbs.images import detect, enhance


def image_of(sigma, size=512):
    rng = np.random.default_rng(3)
    places = np.arange(5 * sigma, size - 5 * sigma, 9 * sigma)
    grid = np.stack(np.meshgrid(places, places), axis=-1).reshape(-1, 2)
    points = grid + rng.uniform(-sigma / 2, sigma / 2, grid.shape)
    n = len(points)
    light = render_spots((size, size), points, np.full(n, 300.0), np.full(n, sigma))
    counts = rng.poisson(light + 200) + rng.normal(0, 3, light.shape)
    return xr.DataArray(np.round(counts).astype(np.uint16), dims=("y", "x")), points


@pytest.mark.parametrize("sigma", [6.0, 10.0])
def test_spots_wider_than_the_network_learnt_are_found_when_their_width_is_told(sigma):
    image, points = image_of(sigma)
    enhanced = enhance(image, spot_sigma=sigma)
    told = detect(enhanced, image, spot_sigma=sigma)
    score = match_one_to_one(told[["y", "x"]], points, radius=sigma / 2)
    assert score.precision == 1
    assert score.recall > 0.9
    untold = detect(enhance(image), image)
    assert match_one_to_one(untold[["y", "x"]], points).recall < 0.5


def test_blocks_of_binned_pixels_give_the_spots_of_the_whole_field():
    image, _ = image_of(6.0, 900)
    found = [
        detect(
            enhance(image, spot_sigma=6.0, block=block),
            image,
            spot_sigma=6.0,
            block=block,
        )
        for block in (640, 2560)
    ]
    assert len(found[1]) > 20
    pd.testing.assert_frame_equal(*found)


@pytest.mark.parametrize("preset", ["raw", "product"])
def test_raw_presets_find_wide_spots_too(preset):
    image, points = image_of(6.0)
    found = detect(image, method=preset, spot_sigma=6.0)
    score = match_one_to_one(found[["y", "x"]], points, radius=3)
    assert score.recall > 0.9


def test_a_detector_binned_once_is_the_detector():
    assert PRESETS["enhanced"].binned(1) == PRESETS["enhanced"]
