import csv
import json
import os
import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.networks.deepspot import Architecture, build
from deepspot_scale.networks.weights import find_weights, load_weights
from deepspot_scale.training.losses import deepspot_loss
from deepspot_scale.training.trainer import (
    STAMP,
    Recipe,
    iter_batches,
    simulate_batch,
    stamp_target,
    train,
)

TINY = Architecture(
    blocks=1, stems=(4, 4, 4), filters=4, up=((4, 4, 4),) * 3, dropout=0.0
)
RECIPE = Recipe(
    steps=6,
    batch=3,
    patch=32,
    image=64,
    learning_rate=3e-2,
    dtype="float32",
    architecture=TINY,
)


@pytest.fixture
def eager():
    """TensorFlow without graphs: tracing one takes longer than these trainings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    tensorflow = pytest.importorskip("tensorflow")
    tensorflow.config.run_functions_eagerly(True)
    yield
    tensorflow.config.run_functions_eagerly(False)


def losses(folder):
    with (folder / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


def test_a_few_steps_lower_the_loss_and_write_weights_that_load(eager, tmp_path):
    path = train(RECIPE, tmp_path)
    course = losses(tmp_path)
    assert len(course) == RECIPE.steps
    assert course[-1] < 0.8 * course[0]
    weights = find_weights(path)
    assert weights.architecture == TINY
    assert weights.about["steps"] == str(RECIPE.steps)
    assert json.loads(weights.about["recipe"])["patch"] == 32
    assert json.loads((tmp_path / "recipe.json").read_text())["seed"] == 0
    model = build(TINY)
    load_weights(model, weights)
    assert all(np.isfinite(array).all() for array in model.get_weights())


def test_the_same_recipe_takes_the_same_steps(eager, tmp_path):
    courses = []
    for name in ("one", "two"):
        train(replace(RECIPE, steps=2), tmp_path / name)
        courses.append(losses(tmp_path / name))
    assert courses[0] == pytest.approx(courses[1], rel=1e-4)


def test_a_training_can_go_on_from_weights(eager, tmp_path):
    recipe = replace(RECIPE, steps=1)
    first = find_weights(train(recipe, tmp_path / "first"))
    other = replace(recipe, seed=1)  # other initial weights, if they were used
    second = train(other, tmp_path / "second", start_from=first.path)
    before, after = build(TINY), build(TINY)
    load_weights(before, first)
    load_weights(after, find_weights(second))
    for old, new in zip(before.get_weights(), after.get_weights(), strict=True):
        # One step of the warm-up moves a weight by a hundredth of the rate.
        np.testing.assert_allclose(new, old, atol=0.05)


def test_the_loss_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    truth, guess = rng.uniform(0.01, 0.99, (2, 3, 8, 8, 1)).astype(np.float32)
    entropy = -(truth * np.log(guess) + (1 - truth) * np.log(1 - guess)).mean()
    brightest = [array.max(axis=(1, 2, 3)) for array in (truth, guess)]
    maximum = np.square(brightest[0] - brightest[1]).mean()
    got = deepspot_loss(truth, guess, cross_entropy=2.0, maximum=3.0)
    assert float(got) == pytest.approx(2 * entropy + 3 * maximum, rel=1e-4)
    # The brightest pixel is that of each image, not of the batch.
    assert maximum != pytest.approx(np.square(truth.max() - guess.max()), rel=0.01)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 19), st.floats(0, 19)), max_size=12))
def test_the_target_has_a_stamp_at_every_spot_and_is_black_elsewhere(points):
    target = stamp_target(np.reshape(points, (-1, 2)), 20)
    expected = np.zeros((20, 20), np.float32)
    for row, column in np.round(np.reshape(points, (-1, 2))).astype(int):
        for (i, j), value in np.ndenumerate(STAMP.astype(np.float32)):
            y, x = row + i - 1, column + j - 1
            if 0 <= y < 20 and 0 <= x < 20:
                expected[y, x] = max(expected[y, x], value)
    np.testing.assert_array_equal(target, expected)
    assert target.dtype == np.float32


def test_the_target_of_no_spots_is_black():
    assert not stamp_target(np.zeros((0, 2)), 16).any()


def test_a_batch_depends_on_the_seed_and_the_step_alone():
    np.random.seed(1)  # noqa: NPY002 - the global generator must not matter
    images, targets = simulate_batch(RECIPE, 7)
    assert images.shape == targets.shape == (3, 32, 32, 1)
    assert images.dtype == targets.dtype == np.float32
    assert np.isfinite(images).all()
    np.random.seed(2)  # noqa: NPY002 - as above
    simulate_batch(RECIPE, 6)
    others = replace(RECIPE, steps=9, learning_rate=1.0, dtype="mixed_bfloat16")
    for a, b in zip(simulate_batch(others, 7), (images, targets), strict=True):
        np.testing.assert_array_equal(a, b)
    for changed in (
        simulate_batch(RECIPE, 8),
        simulate_batch(replace(RECIPE, seed=1), 7),
    ):
        assert not np.array_equal(changed[0], images)


def test_batches_come_in_the_order_of_their_steps():
    recipe = replace(RECIPE, steps=6, batch=2)
    for start in (0, 4):
        batches = list(iter_batches(recipe, start))
        assert len(batches) == 6 - start
        for step, batch in enumerate(batches, start):
            np.testing.assert_array_equal(batch[0], simulate_batch(recipe, step)[0])


def test_batches_that_are_given_up_leave_no_thread():
    before = threading.active_count()
    batches = iter_batches(RECIPE)
    next(batches)
    batches.close()
    assert threading.active_count() == before


def test_spots_too_faint_to_ask_for_are_not_in_the_target():
    asked = [
        simulate_batch(replace(RECIPE, least_snr=snr, batch=8), 0)[1].sum()
        for snr in (0.0, 5.0, np.inf)
    ]
    assert asked[0] > asked[1] > asked[2] == 0
