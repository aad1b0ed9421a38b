"""Tiles of rated images and ladders: what a judge learns from, and that it learns."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from deepspot_scale.errors import SettingsError
from deepspot_scale.kernels.binning import bin_pixels
from deepspot_scale.networks.weights import find_weights, read_arrays
from deepspot_scale.training.losses import rating_loss
from deepspot_scale.training.optimiser import compile_network
from deepspot_scale.training.rating_ladders import LadderSet
from deepspot_scale.training.rating_scenes import LadderTiles, open_rated
from deepspot_scale.training.recipe import Recipe, make_recipe
from deepspot_scale.training.trainer import train

LADDERS_ALONE = [{"source": "ladders", "patches": 4}]
SMALL = {"maps": [4, 4, 6, 6, 6, 6], "dense": 8}


@pytest.fixture
def rated(tmp_path: Path) -> Path:
    """Twenty images with scores: the less noise, the better."""
    folder = tmp_path / "rated"
    (folder / "images").mkdir(parents=True)
    with (folder / "scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "expert", "score"])
        for number in range(20):
            rng = np.random.default_rng(number)
            image = rng.poisson(100 + 20 * number, (270, 260)).astype(np.uint16)
            image[::16, ::16] += 400
            tifffile.imwrite(folder / "images" / f"{number:02d}.tif", image)
            for expert, more in (("ann", 0), ("ben", 10)):
                table.writerow([f"{number:02d}", expert, 80 - 4 * number + more])
    return folder


def recipe_of(source: Path | str, **values: Any) -> Recipe:
    given = {
        "family": "rater",
        "architecture": {**SMALL, "outputs": ["score"]},
        "mixture": [{"source": str(source), "patches": 4}],
        "patch": 128,
        "dtype": "float32",
    }
    return make_recipe(**given | values)


def test_a_tile_has_the_mean_score_of_its_experts(rated: Path) -> None:
    sources = open_rated(recipe_of(rated))
    (learn,) = sources.learn
    pairs = list(learn.draw_pairs(np.random.default_rng(0), 40))
    assert {tile.shape for tile, _ in pairs} == {(128, 128, 2)}
    scores = {round(float(answer[0, 0, 0]), 4) for _, answer in pairs}
    assert scores <= {round((85 - 4 * n) / 100, 4) for n in range(20)}
    assert len(scores) > 5


def test_the_papers_network_learns_from_tiles_of_its_own(rated: Path) -> None:
    recipe = recipe_of(rated, family="rating_cnn", patch=224)
    (learn,) = open_rated(recipe).learn
    images, answers = zip(*learn.draw_pairs(np.random.default_rng(0), 2), strict=True)
    model = compile_network(recipe)
    assert np.isfinite(model.train_on_batch(np.stack(images), np.stack(answers)))


def test_images_are_learned_from_validated_on_or_left_out(rated: Path) -> None:
    split = open_rated(recipe_of(rated)).split
    rows = list(csv.DictReader(split.splitlines()))
    uses = [row["use"] for row in rows]
    assert [uses.count(use) for use in ("learn", "validate", "left out")] == [16, 2, 2]
    assert len({row["image"] for row in rows}) == 20
    assert open_rated(recipe_of(rated)).split == split
    assert open_rated(recipe_of(rated, seed=1)).split != split


def test_a_small_image_is_mirrored_up_to_a_tile(rated: Path) -> None:
    for file in (rated / "images").iterdir():
        tifffile.imwrite(file, tifffile.imread(file)[:100, :200])
    (learn,) = open_rated(recipe_of(rated)).learn
    ((tile, _),) = learn.draw_pairs(np.random.default_rng(0), 1)
    assert tile.shape == (128, 128, 2)
    assert np.ptp(tile, axis=(0, 1)).min() > 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architecture": SMALL}, "experts give one score"),
        (
            {"patch": 256, "mixture": LADDERS_ALONE, "rating": {"size": 256}},
            "write size = 512",
        ),
        ({"augmentation": {"gain": 0.3}}, "turns and flips only"),
    ],
)
def test_recipes_that_cannot_be_meant_are_refused(
    values: dict[str, Any], message: str, rated: Path
) -> None:
    with pytest.raises(SettingsError, match=message):
        open_rated(recipe_of(rated, **values))


def test_a_judge_learns_scores_and_another_one_goes_on_from_it(
    rated: Path, tmp_path: Path
) -> None:
    first = recipe_of(rated, steps=2, validation={"patches": 4})
    file = train(first, tmp_path / "one")
    weights = find_weights(file)
    assert weights.architecture.outputs == ("score",)
    both = {**SMALL, "outputs": ["recall", "precision"]}
    given = {"start_from": str(file), "take": "leading"}
    second = recipe_of(rated, architecture=both, **given)
    arrays = [np.asarray(each) for each in compile_network(second).get_weights()]
    before = read_arrays(weights)
    same = [
        one.shape == two.shape and np.array_equal(one, two)
        for one, two in zip(arrays, before, strict=True)
    ]
    assert all(same[:-2])  # all but the layer of the answer
    assert not same[-2]


def test_steps_of_a_ladder_have_one_name_and_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(LadderSet, "folder", tmp_path)
    ranges = {"size": 256, "steps": 3, "ladders": 10}
    both = {**SMALL, "outputs": ["recall", "precision"]}
    recipe = recipe_of("ladders", architecture=both, rating=ranges)
    (learn,) = open_rated(recipe).learn
    assert isinstance(learn, LadderTiles)
    answers = [
        answer[0, 0] for _, answer in learn.draw_pairs(np.random.default_rng(2), 3)
    ]
    assert len({float(each[2]) for each in answers}) == 1
    steps = sorted(float(each[3]) for each in answers)
    assert steps in ([1, 2, 3], [0, 0, 0])


def loss_of(truth: list[list[float]], told: list[list[float]], **how: float) -> float:
    shapes = [np.array(each, np.float32)[:, None, None] for each in (truth, told)]
    return float(rating_loss(*shapes, **how))


def test_scores_that_are_not_known_cost_nothing() -> None:
    nan = float("nan")
    assert loss_of([[nan, 0, 0]], [[0.9]]) == 0
    assert loss_of([[nan, 0, 0], [0.5, 0, 0]], [[0.9], [0.7]]) == pytest.approx(0.04)


def test_f1_is_a_third_score_beside_recall_and_precision() -> None:
    error = loss_of([[1.0, 1.0, 0, 0]], [[0.5, 1.0]])
    assert error == pytest.approx((0.25 + 0 + (1 / 3) ** 2) / 3, abs=1e-5)


def test_the_score_of_an_image_is_the_mean_of_its_tiles() -> None:
    truth = np.array([[[[0.5, 0, 0]]]], np.float32)
    told = np.array([[[[0.2], [0.6]], [[0.9], [0.7]]]], np.float32)
    assert float(rating_loss(truth, told)) == pytest.approx(0.01)
    shares = np.array([[[[0.5, 1.0], [1.0, 1.0]]]], np.float32)
    whole = np.array([[[[0.75, 1.0, 0, 0]]]], np.float32)
    # The mean of F1 of tiles, not F1 of means.
    f1, mean = 6 / 7, (2 / 3 + 1) / 2
    expected = (f1 - mean) ** 2 / 3
    assert float(rating_loss(whole, shares)) == pytest.approx(expected, abs=1e-6)


def test_images_of_several_tiles_have_the_shares_of_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setattr(LadderSet, "folder", tmp_path)
    both = {**SMALL, "outputs": ["recall", "precision"]}
    ranges = {"size": 512, "steps": 2, "ladders": 10}
    recipe = recipe_of("ladders", architecture=both, rating=ranges, patch=256)
    (learn,) = open_rated(recipe).learn
    assert isinstance(learn, LadderTiles)
    rng = np.random.default_rng(1)
    numbers = np.random.default_rng(1)
    for image, answer in learn.draw_pairs(rng, 1):
        ladder = learn.ladders.take(int(numbers.choice(learn.numbers)))
        step = int(numbers.permutation(2)[0])
        assert image.shape == (256, 256, 2)
        seen = bin_pixels(np.float32(ladder.images[step]), 2)
        told = (image[..., 0], seen)
        one, other = (np.sort(each, axis=None) for each in told)
        np.testing.assert_allclose(one, other, atol=1e-6)
        if ladder.marks is None:
            assert np.isnan(answer[0, 0, :2]).all()
        else:
            expected = ladder.marks[step].shares((0, 0), 512)
            assert answer[0, 0, :2] == pytest.approx(expected)


def test_tiles_of_one_ladder_in_the_wrong_order_cost_more() -> None:
    nan = float("nan")
    right = loss_of([[nan, 7, 1], [nan, 7, 2]], [[0.8], [0.4]], order=1)
    wrong = loss_of([[nan, 7, 1], [nan, 7, 2]], [[0.4], [0.8]], order=1)
    assert right == 0
    assert wrong > 1
    assert loss_of([[nan, 7, 1], [nan, 8, 2]], [[0.4], [0.8]], order=1) == 0
    told = [[0.02], [0.03]]
    dead = loss_of([[0.02, 7, 1], [0.03, 7, 2]], told, order=1)
    assert dead == pytest.approx(0)
    alive = loss_of([[0.12, 7, 1], [0.13, 7, 2]], [[0.12], [0.13]], order=1)
    assert alive > 0.1
    assert loss_of([[nan, 7, 0], [nan, 7, 0]], [[0.4], [0.8]], order=1) == 0
