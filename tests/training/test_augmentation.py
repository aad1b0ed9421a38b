"""The list of random changes: what follows an image, and what decides."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.training.augmentation import (
    OBJECTS,
    TURNED,
    UNCHANGED,
    Augmentation,
    Example,
    Turn,
    augment,
    draw_map,
    relight,
    turn,
)
from deepspot_scale.training.patches import (
    BatchShare,
    PatchSettings,
    black_target,
    cut_patches,
    draw_batch,
    stamp_target,
)
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.scenes import Simulated
from deepspot_scale.training.tasks import open_scenes

_ALL = OBJECTS.model_copy(update={"gain": 0.5})
_EACH = [
    {"turns": True},
    {"flips": True},
    {"any_angle": True},
    {"scale": (0.5, 2.0)},
    {"stretch": 0.3},
    {"elastic": 4.0},
    {"blur": 2.0},
    {"gamma": (0.5, 2.0)},
    {"gradient": 0.3},
    {"gain": 0.5},
    {"offset": 0.1},
    {"noise": 0.1},
]
_SHAPE = (70, 80)


def _whole(seed: int = 0) -> Example:
    """Return an image, its labels in columns of 8 px, and a paired image."""
    rng = np.random.default_rng(seed)
    labels = np.broadcast_to(1 + np.arange(80) // 8, _SHAPE).astype(np.int32)
    image = labels[..., None] / 10 + 0.1 * rng.random((*_SHAPE, 1))
    points = rng.uniform(5, 60, (20, 2))
    return Example(image.astype(np.float32), points, labels, image.astype(np.float32))


def _changed(**values: Any) -> Augmentation:
    return UNCHANGED.model_copy(update=values)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_turns_and_flips_commute_with_targets(turns: int, mirrored: bool) -> None:
    rng = np.random.default_rng(turns)
    by = Turn(40, turns, mirrored)
    points = rng.integers(-2, 42, (30, 2)).astype(float)
    target = stamp_target(points, (40, 40))[..., None]
    np.testing.assert_array_equal(
        by.image(target)[..., 0], stamp_target(by.points(points), (40, 40))
    )


def test_all_that_is_known_is_turned_alike() -> None:
    numbers = np.arange(400).reshape(20, 20)
    places = np.argwhere(numbers >= 0).astype(float)
    image = numbers[..., None].astype(np.float32)
    for turns in range(4):
        patch = turn(Example(image, places, numbers, -image), Turn(20, turns, True))
        assert patch.labels is not None
        assert patch.points is not None
        y, x = patch.points.astype(int).T
        np.testing.assert_array_equal(patch.image[y, x, 0], numbers.ravel())
        np.testing.assert_array_equal(patch.labels[y, x], numbers.ravel())
        np.testing.assert_array_equal(patch.paired, -patch.image)


@pytest.mark.parametrize("seed", range(5))
def test_labels_and_points_follow_the_image(seed: int) -> None:
    how = _ALL.model_copy(update={"gain": 0, "offset": 0, "noise": 0, "blur": 0})
    how = how.model_copy(update={"gamma": (1.0, 1.0), "gradient": 0.0})
    labels = _whole().labels
    assert labels is not None
    whole = Example((labels[..., None] / 10).astype(np.float32), labels=labels)
    patch = augment(whole, how, 48, np.random.default_rng(seed))
    assert patch.labels is not None
    gap = np.abs(patch.image[..., 0] * 10 - patch.labels)
    # Between two labels the image is interpolated, and half a step off at most.
    assert gap.max() <= 0.52
    assert (gap < 0.01).mean() > 0.6


def test_a_paired_image_has_the_same_brightness_but_no_noise_or_blur() -> None:
    lit = _ALL.model_copy(update={"noise": 0.0, "blur": 0.0})
    patch = augment(_whole(), lit, 32, np.random.default_rng(0))
    np.testing.assert_array_equal(patch.image, patch.paired)
    noisy = _changed(noise=0.5)
    patch = augment(_whole(), noisy, 32, np.random.default_rng(1))
    assert patch.paired is not None
    assert np.std(patch.image - patch.paired) > 0.01
    blurred = _changed(blur=3.0)
    pairs = [augment(_whole(), blurred, 32, np.random.default_rng(s)) for s in range(9)]
    assert any(not np.array_equal(pair.image, pair.paired) for pair in pairs)


@pytest.mark.parametrize("change", _EACH, ids=lambda change: next(iter(change)))
def test_each_change_alters_patches_and_seeds_decide(change: dict[str, Any]) -> None:
    how = _changed(**change)
    square = Example(_whole().image[:64, :64])
    patches = [augment(square, how, 64, np.random.default_rng(s)) for s in range(9)]
    again = [augment(square, how, 64, np.random.default_rng(s)) for s in range(9)]
    for one, other in zip(patches, again, strict=True):
        np.testing.assert_array_equal(one.image, other.image)
    assert len({patch.image.tobytes() for patch in patches}) > 1
    assert any(not np.array_equal(p.image, square.image) for p in patches)


def test_nothing_on_is_nothing_changed() -> None:
    square = Example(_whole().image[:64, :64])
    patch = augment(square, UNCHANGED, 64, np.random.default_rng(0))
    np.testing.assert_array_equal(patch.image, square.image)


def test_changes_that_are_off_take_no_random_numbers() -> None:
    rng, twin = np.random.default_rng(3), np.random.default_rng(3)
    relight(_whole(), TURNED, rng)
    twin.uniform(size=2)  # gain and offset have always been drawn
    assert rng.random() == twin.random()


def test_scales_stay_in_their_range_and_patches_in_the_image() -> None:
    rng = np.random.default_rng(0)
    how = _changed(scale=(0.8, 2.0))
    maps = [draw_map(how, 40, (70, 80), rng) for _ in range(300)]
    scales = [each.scale for each in maps]
    assert 0.8 <= min(scales) < 0.85
    assert 1.9 < max(scales) <= 2.0
    places = np.array([each.places() for each in maps])
    assert places.min() >= -0.51
    assert places[:, 0].max() <= 69.51


def _old_batch(share: BatchShare, how: Augmentation, seed: int, step: int) -> Any:
    """Draw patches as they were before the list had scale, elastic and others."""
    rng, pairs = np.random.default_rng((seed, step)), []
    assert isinstance(share.source, Simulated)
    while len(pairs) < share.n:
        n = min(share.source.cuts, share.n - len(pairs))
        scene = share.source.draw(rng)
        pixels = np.round(scene.points)
        for _ in range(n):
            top, left = (int(rng.integers(0, m - 16 + 1)) for m in scene.image.shape)
            window = scene.image[top : top + 16, left : left + 16, None]
            patch = scene.scaled(window, [top, left])
            patch = patch * np.exp(rng.uniform(-how.gain, how.gain))
            patch = patch + rng.uniform(-how.offset, how.offset)
            if how.noise:
                spread = rng.uniform(0, how.noise)
                patch = patch + spread * rng.standard_normal(patch.shape)
            turned = Turn(16, int(rng.integers(4)), bool(rng.choice([-1, 1]) < 0))
            target = stamp_target(turned.points(pixels - [top, left]), (16, 16))
            pairs.append((turned.image(patch), target[..., None]))
    return [np.stack(each).astype(np.float32) for each in zip(*pairs, strict=True)]


@pytest.mark.parametrize("noise", [0.0, 0.02])
@pytest.mark.parametrize("name", ["var", "broad"])
def test_recipes_of_before_give_the_same_batches_to_the_bit(
    name: str, noise: float
) -> None:
    how = Augmentation(noise=noise)
    share = BatchShare(Simulated(name, (3, 9), 32), 5, PatchSettings(16, how=how))
    batch = draw_batch([share], seed=2, step=4)
    for now, before in zip(batch, _old_batch(share, how, 2, 4), strict=True):
        np.testing.assert_array_equal(now, before, strict=True)


def test_stamps_follow_spots_that_are_scaled_and_bent() -> None:
    how = _changed(scale=(0.7, 1.5), elastic=2.0, any_angle=True, turns=True)
    source = Simulated("paper", (20, 20), 128)
    cut = PatchSettings(64, black_target, how)
    hits = []
    for image, target in cut_patches(BatchShare(source, 1, cut), _rng(), 8):
        stamped = target[..., 0] > 0
        hits.append(image[stamped].mean() - image[~stamped].mean())
    assert min(hits) > 0.1


def _rng() -> np.random.Generator:
    return np.random.default_rng(5)


# -- in a recipe -----------------------------------------------------------------------


def test_what_a_table_leaves_out_is_usual_for_the_family() -> None:
    objects = {"family": "star_convex", "mixture": [{"source": "nuclei", "patches": 1}]}
    assert make_recipe(**objects).augmentation == OBJECTS
    given = make_recipe(**objects, augmentation={"noise": 0.3})
    assert given.augmentation == OBJECTS.model_copy(update={"noise": 0.3})
    assert make_recipe(augmentation={"gain": 0.1}).augmentation == Augmentation(
        gain=0.1
    )
    assert make_recipe().augmentation == Augmentation()


@pytest.mark.parametrize(
    "table",
    [
        {"scale": [2.0, 1.0]},
        {"gamma": [0.0, 1.0]},
        {"stretch": 1.0},
        {"noise": -1},
        {"turn": True},
    ],
)
def test_a_table_that_makes_no_sense_is_an_error(table: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(table))):
        make_recipe(augmentation=table)


def test_a_table_that_a_task_does_not_use_is_an_error() -> None:
    movies = {"family": "subpixel_cnn", "mixture": [{"source": "movies", "patches": 1}]}
    open_scenes(make_recipe(**movies))
    open_scenes(make_recipe(augmentation={"elastic": 2.0}))
    with pytest.raises(SettingsError, match="subpixel_cnn do not use"):
        open_scenes(make_recipe(**movies, augmentation={"elastic": 2.0}))
