"""Molecules in depth to learn from: frames, volumes, loss and recipe."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.volume_maxima import volume_maxima
from deepspot_scale.simulation.optics import make_pupil
from deepspot_scale.training.patches import BatchShare, PatchSettings, draw_batch
from deepspot_scale.training.recipe import make_recipe, read_recipe, recipe_text
from deepspot_scale.training.tasks import find_task
from deepspot_scale.training.trainer import train
from deepspot_scale.training.volume_recipe import VolumeRanges
from deepspot_scale.training.volume_scenes import (
    VolumeGrid,
    draw_counts,
    volume_target,
)

GRID = VolumeGrid(factor=2, n_planes=22, first=-0.025, plane=0.05, pixel=0.11)
few = settings(max_examples=30, deadline=None)


def recipe_of(**values):
    given = {
        "family": "deepstorm3d",
        "architecture": {
            "maps": 3,
            "depth": 22,
            "dilations": (1,),
            "factor": 2,
            "unfold": "subpixel",
        },
        "mixture": [{"source": "volumes", "patches": 2}],
        "patch": 24,
        "steps": 2,
        "dtype": "float32",
        "validation": {"every": 2, "patches": 2},
    }
    return make_recipe(**given | values)


@few
@given(st.tuples(st.floats(0, 1), st.floats(0.3, 2), st.floats(0.3, 2)))
def test_one_molecule_comes_back_where_it_was(place):
    # The one convention of the product: the centre of the first camera pixel is 0.
    point = np.array([place])
    target = volume_target(GRID.voxels(point), (22, 48, 48))
    found = volume_maxima(np.moveaxis(target, -1, 0), 0.1, (2, 2))
    np.testing.assert_allclose(GRID.micrometres(found[:, :3]), point, atol=1e-6)
    assert target.sum() == pytest.approx(1)


def test_the_centre_of_the_first_camera_pixel_lies_between_its_fine_pixels():
    np.testing.assert_allclose(GRID.voxels(np.array([[0.0, 0, 0]])), [[0.5, 0.5, 0.5]])
    fine = VolumeGrid(4, 121, 0.0, 0.033, 0.11)
    np.testing.assert_allclose(fine.voxels(np.array([[0.0, 0, 0]])), [[0, 1.5, 1.5]])


def test_what_is_outside_the_volume_is_no_target():
    voxels = np.array([[-3.0, 5, 5], [5, -2, 5], [5, 5, 40.0]])
    assert not volume_target(voxels, (22, 10, 12)).any()
    assert volume_target(np.zeros((0, 3)), (3, 4, 5)).shape == (4, 5, 3)


def test_molecules_shine_where_they_are():
    ranges = VolumeRanges(emitters=(1, 1), photons=(5e4, 5e4))
    pupil = make_pupil(ranges.optics(), ranges.phases())
    seen = 0
    for seed in range(6):
        counts, points, _ = draw_counts(np.random.default_rng(seed), ranges, pupil, 40)
        inside = ((points[:, 1:] > 0.6) & (points[:, 1:] < 3.7)).all(axis=1)
        smooth = ndimage.gaussian_filter(counts, 1.5)
        for _, y, x in points[inside] / pupil.optics.pixel:
            middle = smooth[round(y) - 2 : round(y) + 3, round(x) - 2 : round(x) + 3]
            assert middle.max() > np.median(smooth) + 100
            seen += 1
    assert seen >= 2


def test_a_batch_has_frames_and_volumes_and_belongs_to_seed_and_step():
    recipe = recipe_of()
    source = find_task("deepstorm3d").scenes(recipe).learn[0]
    shares = (BatchShare(source, 3, PatchSettings(24)),)
    images, targets = draw_batch(shares, seed=0, step=4)
    assert images.shape == (3, 24, 24, 1)
    assert targets.shape == (3, 48, 48, 22)
    np.testing.assert_array_equal(draw_batch(shares, seed=0, step=4)[1], targets)


def test_other_sources_are_refused():
    recipe = recipe_of(mixture=[{"source": "paper", "patches": 1}])
    with pytest.raises(SettingsError, match='expected source = "volumes"'):
        find_task("deepstorm3d").scenes(recipe)


def test_the_ends_of_the_depth_lie_inside_the_planes():
    ranges = VolumeRanges()
    first = ranges.first_plane(22)
    assert first - 0.025 < 0 < first + 0.05
    assert first + 21 * ranges.plane == pytest.approx(1 - first)


def test_a_recipe_of_volumes_survives_being_written_and_read(tmp_path):
    recipe = recipe_of(volumes={"photons": (1000.0, 2000.0), "depth": (0.2, 0.7)})
    path = tmp_path / "recipe.toml"
    path.write_text(recipe_text(recipe))
    assert read_recipe(path) == recipe


def test_ranges_that_run_backwards_are_refused():
    with pytest.raises(SettingsError, match="least, greatest"):
        recipe_of(volumes={"depth": (1.0, 0.0)})


def test_a_network_of_volumes_trains(tmp_path):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    pytest.importorskip("keras")
    weights = train(recipe_of(), tmp_path / "out", threads=1)
    assert weights.is_file()
