"""What a network of objects learns from, and that it learns."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import tifffile
from scipy import ndimage
from skimage.io import imsave

from deepspot_scale.errors import FieldError, PlateError, SettingsError
from deepspot_scale.kernels.object_size import scale_plane
from deepspot_scale.kernels.star_convex import CHANNELS, foreground, star_targets
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.training.augmentation import (
    OBJECTS,
    UNCHANGED,
    Augmentation,
    Example,
    augment,
)
from deepspot_scale.training.nuclei_recipe import NUCLEI, NucleiRanges
from deepspot_scale.training.nuclei_scenes import (
    FolderNuclei,
    LabelledImage,
    SimulatedNuclei,
    labelled_diameter,
    open_nuclei,
    read_labelled,
)
from deepspot_scale.training.recipe import make_recipe
from deepspot_scale.training.trainer import train


def scene(seed=0, shape=(64, 72)):
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint16)
    for number, centre in enumerate([(14, 15), (20, 45), (48, 30), (50, 60)], start=1):
        labels[np.hypot(y - centre[0], x - centre[1]) < 9] = number
    image = 100 + 200 * (labels > 0) * (1 + labels / 8) + rng.normal(0, 4, shape)
    return image.astype(np.uint16), labels


@pytest.fixture
def folder(tmp_path):
    """Eleven images with labels; the name says the order."""
    root = tmp_path / "data"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for number in range(11):
        image, labels = scene(number)
        imsave(root / "images" / f"n{number:02}.png", image, check_contrast=False)
        imsave(root / "labels" / f"n{number:02}.png", labels, check_contrast=False)
    return root


def recipe_of(*sources, **values):
    mixture = [{"source": str(source), "patches": 2} for source in sources]
    values = {"family": "star_convex", "patch": 32, "mixture": mixture} | values
    return make_recipe(**values)


# Reading folders.


def test_an_image_is_read_with_its_labels_and_scaled_by_its_own_percentiles(folder):
    read = read_labelled(folder)
    assert [each.name for each in read] == [f"n{n:02}" for n in range(11)]
    image, labels = scene(3)
    np.testing.assert_array_equal(read[3].labels, labels)
    np.testing.assert_array_equal(read[3].image, scale_plane(image)(image))


def test_numbers_of_labels_may_have_gaps_and_leave_no_background(folder):
    _, labels = scene(0)
    gaps = (labels.astype(np.uint16) * 7 + 3).astype(np.uint16)
    imsave(folder / "labels" / "n00.png", gaps, check_contrast=False)
    numbers = read_labelled(folder)[0].labels
    assert np.unique(numbers).tolist() == [1, 2, 3, 4, 5]


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(PlateError, match="images/ and labels/"):
        read_labelled(tmp_path)


def test_a_file_without_a_partner_is_named(folder):
    (folder / "labels" / "n04.png").unlink()
    with pytest.raises(PlateError, match="n04"):
        read_labelled(folder)


def test_labels_of_another_size_are_refused(folder):
    imsave(folder / "labels" / "n02.png", scene(2)[1][:-4], check_contrast=False)
    with pytest.raises(FieldError, match=r"n02.*\(60, 72\)"):
        read_labelled(folder)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (np.ones((64, 72), np.float32), "whole numbers"),
        (np.full((64, 72), -1, np.int16), "below 0"),
    ],
)
def test_labels_that_are_none_are_refused(folder, labels, told):
    (folder / "labels" / "n01.png").unlink()
    tifffile.imwrite(folder / "labels" / "n01.tif", labels)
    with pytest.raises(FieldError, match=told):
        read_labelled(folder)


def test_a_stack_is_refused(folder):
    (folder / "images" / "n01.png").unlink()
    stack = np.zeros((3, 64, 72), np.uint16)
    path = folder / "images" / "n01.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(FieldError, match="expected one plane"):
        read_labelled(folder)


# Changing images.


def test_a_mapped_patch_of_the_whole_image_is_the_whole_image_turned():
    labels = np.arange(1, 33 * 33 + 1).reshape(33, 33).astype(np.int32)
    # A map that scales by next to nothing: no pixel moves to another one.
    how = Augmentation(scale=(1.0, 1.0 + 1e-9), gain=0, offset=0, noise=0)
    rng = np.random.default_rng(1)
    whole = Example(labels[..., None].astype(np.float32), labels=labels)
    turned = {
        np.rot90(each, k).tobytes() for each in (labels, labels.T) for k in range(4)
    }
    seen = {augment(whole, how, 33, rng).labels.tobytes() for _ in range(80)}
    assert seen == turned


# Sources.


def sources():
    image, labels = scene()
    one = LabelledImage("a", scale_plane(image)(image), labels.astype(np.int32))
    return {
        "folder": FolderNuclei((one,), OBJECTS, 32),
        "simulated": SimulatedNuclei(NucleiRanges(diameter=(10, 20)), OBJECTS, 32),
    }


@pytest.mark.parametrize("name", ["folder", "simulated"])
def test_pairs_depend_on_the_seed_alone_and_are_right_answers(name):
    source = sources()[name]
    pairs = list(source.draw_pairs(np.random.default_rng(3), 6))
    again = list(source.draw_pairs(np.random.default_rng(3), 6))
    for (image, answer), (image_, answer_) in zip(pairs, again, strict=True):
        assert (image.shape, answer.shape) == ((32, 32, 1), (16, 16, CHANNELS))
        np.testing.assert_array_equal(image, image_)
        np.testing.assert_array_equal(answer, answer_)
        assert np.isfinite(image).all()
    # Nuclei are where the answer says.
    lights = [
        (image[above > 0].mean(), image[above == 0].mean())
        for image, above in ((i[..., 0], foreground(a)) for i, a in pairs)
        if 0 < (above > 0).mean() < 1
    ]
    assert np.mean([on > off for on, off in lights]) > 0.8


def test_answers_are_made_of_the_altered_labels():
    image, labels = scene()
    scaled = scale_plane(image)(image)
    one = LabelledImage("a", scaled, labels.astype(np.int32))
    source = FolderNuclei((one,), OBJECTS, 48)
    ((patch, answer),) = source.draw_pairs(np.random.default_rng(7), 1)
    rng = np.random.default_rng(7)
    rng.integers(1)  # the choice of the image
    whole = Example(scaled[..., None], labels=one.labels)
    expected = augment(whole, OBJECTS, 48, rng)
    np.testing.assert_array_equal(patch, expected.image.astype(np.float32))
    np.testing.assert_array_equal(answer, star_targets(expected.labels))


@pytest.mark.parametrize("typical", [9.0, 24.0])
def test_images_are_brought_to_one_typical_size_before_they_are_altered(typical):
    labels = np.zeros((120, 120), np.int32)
    y, x = np.indices(labels.shape)
    for number, (row, column, radius) in enumerate(
        [(30, 30, 6), (80, 40, 6), (40, 90, 6), (90, 90, 2)], start=1
    ):
        labels[np.hypot(y - row, x - column) <= radius] = number
    one = LabelledImage("a", (labels > 0).astype(np.float32), labels)
    assert labelled_diameter(labels) == pytest.approx(12, abs=0.6)
    how = UNCHANGED.model_copy(update={"scale": (1.0, 1.0001)})
    source = FolderNuclei((one,), how, 240, typical)
    ((patch, _),) = source.draw_pairs(np.random.default_rng(1), 1)
    seen, n = ndimage.label(patch[..., 0] > 0.5)
    sizes = np.sqrt(4 / np.pi * np.bincount(seen.ravel())[1:])
    assert n >= 3
    assert np.sort(sizes)[n // 2] == pytest.approx(typical, rel=0.08)


def test_no_object_has_no_size():
    assert labelled_diameter(np.zeros((9, 9), np.int32)) is None


def uses(text):
    return {row["image"]: row["use"] for row in csv.DictReader(text.splitlines())}


def test_every_fifth_image_is_neither_learned_from_nor_validated_on(folder):
    opened = open_nuclei(recipe_of(folder, validation={"held_out": 0.3}))
    use = uses(opened.split)
    assert [name for name, as_ in use.items() if as_ == "left out"] == ["n04", "n09"]
    learned = {each.name for each in opened.learn[0].images}
    validated = {each.name for each in opened.validate[0].images}
    assert len(validated) == 3
    assert learned | validated == set(use) - {"n04", "n09"}
    assert not learned & validated
    assert {n for n, as_ in use.items() if as_ == "learn"} == learned


def test_simulated_nuclei_need_no_folder():
    opened = open_nuclei(recipe_of(NUCLEI))
    assert isinstance(opened.learn[0], SimulatedNuclei)
    assert opened.split == "source,image,use\n"


def test_a_folder_of_which_nothing_is_left_is_refused(folder):
    for path in [*folder.glob("*/n*.png")]:
        if path.stem != "n00":
            path.unlink()
    with pytest.raises(SettingsError, match="no image is left"):
        open_nuclei(recipe_of(folder, nuclei={"left_out": 1}))


def test_a_recipe_trains_weights_of_its_family(folder, tmp_path):
    pytest.importorskip("keras")
    recipe = recipe_of(
        folder,
        NUCLEI,
        architecture={"maps": [2, 2, 3, 4], "head": 3},
        steps=3,
        dtype="float32",
        validation={"every": 3, "patches": 4, "held_out": 0.2},
    )
    weights = find_weights(train(recipe, tmp_path / "out"))
    assert weights.family.name == "star_convex"
    assert weights.architecture.maps == (2, 2, 3, 4)
