"""Patches of noisy images: what is hidden, what is wanted, what is held out."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepspot_scale.errors import FieldError, PlateError, SettingsError
from deepspot_scale.kernels.denoising import ABOUT, Denoising
from deepspot_scale.networks.weights import find_weights, read_arrays
from deepspot_scale.training.denoising_recipe import BlindSpots
from deepspot_scale.training.denoising_scenes import hide_pixels, open_noisy
from deepspot_scale.training.losses import hidden_loss
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.trainer import train


def write(folder: Path, n: int, level: float = 100, name: str = "im") -> Path:
    rng = np.random.default_rng(n)
    folder.mkdir(parents=True)
    for number in range(n):
        image = rng.poisson(level, (40, 48)).astype(np.uint16)
        assert cv2.imwrite(str(folder / f"{name}{number}.png"), image)
    return folder


def recipe(folder: Path, **values: object):
    usual = {
        "family": "denoiser",
        "architecture": {"filters": 2},
        "mixture": [{"source": str(folder), "patches": 2}],
        "patch": 32,
        "steps": 3,
        "dtype": "float32",
        "validation": {"every": 2, "patches": 4},
    }
    return make_recipe(**{**usual, **values})


@pytest.mark.parametrize("replacement", ["uniform", "median"])
def test_hidden_pixels_are_spread_and_all_others_stay(replacement: str) -> None:
    rng = np.random.default_rng(0)
    patch = rng.permutation(64 * 64).reshape(64, 64).astype(np.float32)
    blind = BlindSpots(share=1 / 64, replacement=replacement)
    seen, hidden = hide_pixels(rng, patch, blind)
    squares = hidden.reshape(8, 8, 8, 8).sum(axis=(1, 3))
    np.testing.assert_array_equal(squares, 1)  # one in each square
    np.testing.assert_array_equal(seen[hidden == 0], patch[hidden == 0])
    # All values differ, so a hidden pixel that kept its own would be seen.
    assert (seen[hidden == 1] != patch[hidden == 1]).all()


def test_a_replacement_is_a_neighbour_also_at_the_edge() -> None:
    rng = np.random.default_rng(1)
    rows, columns = np.indices((32, 32))
    patch = (100 * rows + columns).astype(np.float32)
    blind = BlindSpots(share=0.25, radius=2)
    for _ in range(20):
        seen, hidden = hide_pixels(rng, patch, blind)
        places = np.argwhere(hidden)
        values = seen[hidden == 1].astype(int)
        apart = np.abs(np.column_stack([values // 100, values % 100]) - places)
        assert apart.max() <= 2
        assert (apart.max(axis=1) > 0).all()


def test_a_median_is_that_of_the_neighbours_without_the_pixel() -> None:
    patch = np.zeros((32, 32), np.float32)
    patch[::2] = 10
    patch[16, 16] = 500
    blind = BlindSpots(share=0.25, radius=1, replacement="median")
    for seed in range(9):
        seen, hidden = hide_pixels(np.random.default_rng(seed), patch, blind)
        if hidden[16, 16]:
            assert seen[16, 16] == 0  # six zeros above and below, two tens beside
            return
    pytest.fail("the pixel was never hidden")


def test_images_are_held_out_whole_and_the_scale_is_of_the_others(
    tmp_path: Path,
) -> None:
    sources = open_noisy(recipe(write(tmp_path / "own", 6)))
    learn, held = (group[0] for group in (sources.learn, sources.validate))
    assert [len(group.images) for group in (learn, held)] == [5, 1]
    assert not {i.path for i in learn.images} & {i.path for i in held.images}
    scale = Denoising.from_text(sources.about[ABOUT])
    pixels = np.concatenate([image.pixels.ravel() for image in learn.images])
    assert scale.mean == pytest.approx(pixels.mean())
    assert scale.sd == pytest.approx(pixels.std())
    assert scale.variance + 100 * scale.slope == pytest.approx(100, rel=0.2)
    pairs = list(held.draw_pairs(np.random.default_rng(0), 3))
    again = list(held.draw_pairs(np.random.default_rng(0), 3))
    for (seen, target), (same, wanted) in zip(pairs, again, strict=True):
        assert (seen.shape, target.shape) == ((32, 32, 1), (32, 32, 2))
        np.testing.assert_array_equal(seen, same)
        np.testing.assert_array_equal(target, wanted)
        changed = seen[..., 0] != target[..., 0]
        assert (target[..., 1][changed] == 1).all()


def test_clean_images_beside_noisy_ones_are_the_target(tmp_path: Path) -> None:
    write(tmp_path / "pairs/noisy", 3)
    write(tmp_path / "pairs/clean", 3, level=5000)
    sources = open_noisy(recipe(tmp_path / "pairs"))
    scale = Denoising.from_text(sources.about[ABOUT])
    assert scale.doubt is None
    assert scale.mean == pytest.approx(100, rel=0.02)
    seen, target = next(sources.learn[0].draw_pairs(np.random.default_rng(0), 1))
    np.testing.assert_array_equal(target[..., 1], 1)
    assert abs(seen.mean()) < 0.5
    assert scale.counts(target[..., 0]).mean() == pytest.approx(5000, rel=0.02)


def test_only_hidden_pixels_count_in_the_loss() -> None:
    target = np.zeros((1, 4, 4, 2), np.float32)
    target[0, 1, 2] = 3, 1
    predicted = np.full((1, 4, 4, 1), 9, np.float32)
    predicted[0, 1, 2] = 1
    assert float(hidden_loss(target, predicted)) == 4


@pytest.mark.usefixtures("eager")
def test_a_training_stores_the_scale_and_gives_the_same_weights_again(
    tmp_path: Path,
) -> None:
    own = recipe(write(tmp_path / "own", 4))
    one, other = (train(own, tmp_path / name) for name in "ab")
    found = find_weights(one)
    assert found.family.name == "denoiser"
    assert json.loads(found.about[ABOUT])["mean"] == pytest.approx(100, rel=0.05)
    for array, same in zip(
        *map(read_arrays, (found, find_weights(other))), strict=True
    ):
        np.testing.assert_array_equal(array, same)
    # A training that is taken up when it is over keeps the text.
    assert find_weights(train(own, tmp_path / "a", resume=True)).about == found.about


def test_unfit_folders_are_named_errors(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no folder"):
        open_noisy(recipe(tmp_path / "none"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(PlateError, match="has no images"):
        open_noisy(recipe(tmp_path / "empty"))
    with pytest.raises(FieldError, match="all 1 images have the value 0"):
        open_noisy(recipe(write(tmp_path / "flat", 2, level=0)))
    write(tmp_path / "odd/noisy", 3)
    write(tmp_path / "odd/clean", 2)
    with pytest.raises(PlateError, match="alone, such as im2"):
        open_noisy(recipe(tmp_path / "odd"))
    with pytest.raises(SettingsError, match=r"is small beside blind\.radius 5"):
        open_noisy(recipe(tmp_path / "flat", patch=16))
    own = recipe(write(tmp_path / "own", 4), validation={"every": 2, "held_out": 0})
    with pytest.raises(SettingsError, match="nothing to validate on"):
        open_noisy(own)


def _pairs_folder(place: Path) -> Path:
    """Clean images that fall from left to right, and noisy ones that are twice that."""
    ramp = np.tile(np.arange(48, dtype=np.uint16), (40, 1))
    for kind, factor in (("clean", 100), ("noisy", 200)):
        (place / kind).mkdir(parents=True)
        for number in range(3):
            assert cv2.imwrite(str(place / kind / f"{number}.png"), ramp * factor)
    return place


def test_a_clean_image_follows_the_changes_of_the_noisy_one(tmp_path: Path) -> None:
    place = _pairs_folder(tmp_path / "pairs")
    table = {"scale": [0.8, 1.5], "elastic": 2.0, "gain": 0.3, "any_angle": True}
    sources = open_noisy(recipe(place, augmentation=table))
    scale = Denoising.from_text(sources.about[ABOUT])
    zero = float(scale.normalise(np.zeros(1))[0])
    for noisy, target in sources.learn[0].draw_pairs(np.random.default_rng(0), 6):
        clean = target[..., :1]
        # Where there are no counts both are `zero`, before and after any map; so twice
        # the counts stay twice as far from it, but for the gain's own shift.
        slope, shift = np.polyfit(clean.ravel(), noisy.ravel(), 1)
        assert slope == pytest.approx(2, abs=1e-3)
        gain = shift / -zero
        assert np.exp(-0.3) - 1e-3 <= gain <= np.exp(0.3) + 1e-3
        assert (target[..., 1] == 1).all()


@pytest.mark.parametrize(
    "table", [{"blur": 1.0}, {"scale": [0.5, 2.0]}, {"elastic": 1.0}]
)
def test_noise_that_neighbours_would_foretell_is_refused(
    tmp_path: Path, table: dict[str, object]
) -> None:
    alone = write(tmp_path / "alone", 3)
    with pytest.raises(SettingsError, match="independent from pixel to pixel"):
        open_noisy(recipe(alone, augmentation=table))
    open_noisy(recipe(_pairs_folder(tmp_path / "pairs"), augmentation=table))


def test_gain_changes_noisy_images_alone_too(tmp_path: Path) -> None:
    alone = write(tmp_path / "alone", 3)
    plain, loud = (
        open_noisy(recipe(alone, augmentation={"gain": gain})).learn[0]
        for gain in (0.0, 1.0)
    )
    spreads = [
        [np.std(seen) for seen, _ in each.draw_pairs(np.random.default_rng(0), 12)]
        for each in (plain, loud)
    ]
    assert np.ptp(spreads[1]) > 3 * np.ptp(spreads[0])
