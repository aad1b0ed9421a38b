"""Frames to learn localisation from: normalised, with their targets, trainable."""

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.training.localisation_recipe import MovieRanges
from deepspot_scale.training.localisation_scenes import draw_recipe, draw_training_frame
from deepspot_scale.training.patches import BatchShare, PatchSettings, draw_batch
from deepspot_scale.training.recipe import make_recipe, read_recipe, recipe_text
from deepspot_scale.training.scenes import PairSource
from deepspot_scale.training.tasks import find_task
from deepspot_scale.training.trainer import train

TINY = {
    "subpixel_cnn": {"layers": 2, "maps": 4, "exit_maps": 2, "factors": (7,)},
    "subpixel_cnn8": {"layers": 2, "maps": 4, "exit_maps": 2, "factors": (2, 2, 2)},
    "deep_storm": {"maps": (2, 2, 2, 2)},
}


def recipe_of(family, **values):
    defaults = {
        "family": family,
        "architecture": TINY[family],
        "mixture": [{"source": "movies", "patches": 2}],
        "patch": 24,
        "steps": 2,
        "dtype": "float32",
        "validation": {"every": 2, "patches": 2},
    }
    return make_recipe(**{**defaults, **values})


@pytest.mark.parametrize("family", TINY)
def test_a_batch_has_frames_and_targets_on_the_grid_of_the_family(family):
    recipe = recipe_of(family)
    source = find_task(family).scenes(recipe).learn[0]
    assert isinstance(source, PairSource)
    shares = (BatchShare(source, 3, PatchSettings(24)),)
    images, targets = draw_batch(shares, seed=0, step=4)
    fine = 24 * (7 if family == "subpixel_cnn" else 8)
    assert images.shape == (3, 24, 24, 1)
    assert targets.shape == (3, fine, fine, 1)
    np.testing.assert_array_equal(draw_batch(shares, seed=0, step=4)[1], targets)


def test_a_frame_is_bright_where_its_positions_are():
    rng = np.random.default_rng(1)
    ranges = MovieRanges(
        photons=(5000, 5000), background=(2, 2), density=(0.5, 0.5), on_time=(1, 1)
    )
    at, everywhere = [], []
    for _ in range(30):
        frame, points = draw_training_frame(rng, ranges, 40)
        assert frame.shape == (40, 40)
        pixels = np.round(points).astype(int)
        pixels = pixels[((pixels >= 0) & (pixels < 40)).all(axis=1)]
        at.extend(frame[tuple(pixels.T)])
        everywhere.append(frame.mean())
    assert np.median(at) > 5 * np.mean(everywhere)


def test_frames_without_molecules_are_frames_too():
    rng = np.random.default_rng(2)
    ranges = MovieRanges(density=(1e-6, 1e-6))
    frames = [draw_training_frame(rng, ranges, 16) for _ in range(20)]
    assert all(np.isfinite(frame).all() for frame, _ in frames)
    assert sum(len(points) for _, points in frames) == 0


def test_every_number_stays_in_its_range():
    rng, ranges = np.random.default_rng(3), MovieRanges()
    for _ in range(100):
        recipe = draw_recipe(rng, ranges, (32, 32))
        assert 0.85 <= recipe.psf.sigma <= 1.6
        assert 200 <= recipe.photons.mean <= 6000
        assert 2 <= recipe.background <= 200
        assert 0.05 <= recipe.density <= 12


def test_a_recipe_of_a_microscope_survives_being_written_and_read(tmp_path):
    recipe = recipe_of(
        "subpixel_cnn",
        movies={
            "pixel_nm": 108,
            "sigma": (1.0, 1.2),
            "cameras": [{"em": True, "read_noise": (0.1, 0.2)}],
            "structures": ["tubes"],
        },
    )
    path = tmp_path / "localise.toml"
    path.write_text(recipe_text(recipe))
    assert read_recipe(path) == recipe


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"sigma": (1.2, 1.0)}, "least, greatest"),
        ({"structures": ["tube"]}, "there is no 'tube'"),
        ({"sigmas": (1, 2)}, "sigmas"),
    ],
)
def test_unfit_ranges_are_refused(wrong, says):
    with pytest.raises(SettingsError, match=says):
        recipe_of("subpixel_cnn", movies=wrong)


def test_another_source_than_movies_is_refused():
    recipe = recipe_of("subpixel_cnn", mixture=[{"source": "broad", "patches": 2}])
    with pytest.raises(SettingsError, match='source = "movies"'):
        find_task("subpixel_cnn").scenes(recipe)


@pytest.mark.parametrize("family", ["subpixel_cnn", "deep_storm"])
def test_a_training_ends_with_weights(family, tmp_path, eager):
    path = train(recipe_of(family), tmp_path / "out", threads=1)
    assert path.is_file()
