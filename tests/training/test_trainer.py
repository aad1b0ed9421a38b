import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from deepspot_scale.errors import RunError, SettingsError, WeightsError
from deepspot_scale.io.tables import Folder
from deepspot_scale.networks.caso_resnet import Architecture, build
from deepspot_scale.networks.weights import find_weights, load_weights, write_weights
from deepspot_scale.training.artifacts import (
    Averages,
    TrainingProgress,
    publish,
    save,
    take_up,
)
from deepspot_scale.training.log import read_log
from deepspot_scale.training.losses import deepspot_loss
from deepspot_scale.training.optimiser import (
    blend,
    compile_network,
    put_state,
    take_state,
    take_step,
    take_weights,
    validation_loss,
)
from deepspot_scale.training.recipe import make_recipe, read_recipe, recipe_text
from deepspot_scale.training.trainer import train

pytestmark = pytest.mark.usefixtures("eager")


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def kill_at(step):
    def on_step(row):
        if row.step == step:
            raise Killed

    return on_step


def rows(folder):
    return [row._replace(seconds=0) for row in read_log(Folder(str(folder)))]


def arrays(path):
    model = build(find_weights(path).architecture)
    load_weights(model, find_weights(path))
    return take_weights(model)


def assert_same_weights(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-6)


def flat_batch(n=2, edge=16):
    rng = np.random.default_rng(0)
    return tuple(rng.uniform(0, 1, (2, n, edge, edge, 1)).astype(np.float32))


# -- a whole training ------------------------------------------------------------------


def test_a_few_steps_lower_the_loss_and_write_weights_that_load(make_quick, tmp_path):
    recipe = make_quick(steps=5, learning_rate=3e-2, save_every=9)
    path = train(recipe, tmp_path)
    course = rows(tmp_path)
    assert [row.step for row in course] == [1, 2, 3, 4, 5]
    assert course[-1].loss < 0.9 * course[0].loss
    assert [row.step for row in course if row.validation is not None] == [2, 4, 5]
    about = find_weights(path).about
    assert make_recipe(**json.loads(about["recipe"])) == recipe
    assert (about["steps"], about["seed"]) == ("5", "0")
    metrics = json.loads(about["metrics"])
    assert metrics["validation"] == pytest.approx(course[-1].validation, rel=1e-6)
    assert metrics["loss"] == pytest.approx(course[-1].loss, rel=1e-6)
    assert {"deepspot-scale", "keras", "numpy"} < json.loads(about["versions"]).keys()
    assert read_recipe(tmp_path / "recipe.toml") == recipe
    assert (tmp_path / "log.png").read_bytes().startswith(b"\x89PNG")
    assert all(np.isfinite(array).all() for array in arrays(path))


def test_a_killed_training_takes_the_steps_it_would_have_taken(
    make_quick, tmp_path, tiny
):
    dropping = {**tiny, "dropout": 0.5}  # its random generator must go on too
    recipe = make_quick(steps=4, save_every=2, architecture=dropping)
    whole = train(recipe, tmp_path / "whole")
    for step in (1, 3):  # before the first checkpoint, and one step after it
        with pytest.raises(Killed):
            train(recipe, tmp_path / "cut", resume=True, on_step=kill_at(step))
    # Later rows than the checkpoint's are there, and must not be there twice.
    assert rows(tmp_path / "cut")[-1].step == 3
    cut = train(recipe, tmp_path / "cut", resume=True)
    assert_same_weights(whole, cut)
    assert [row.step for row in rows(tmp_path / "cut")] == [1, 2, 3, 4]
    for one, other in zip(
        rows(tmp_path / "whole"), rows(tmp_path / "cut"), strict=True
    ):
        assert one[:2] == pytest.approx(other[:2], rel=1e-5)
        assert (one.validation or 0) == pytest.approx(other.validation or 0, rel=1e-5)
        assert one.rate == other.rate
    left = {path.name for path in (tmp_path / "cut").rglob("*")}
    assert left == {path.name for path in (tmp_path / "whole").rglob("*")}


@pytest.mark.slow
def test_a_training_ended_by_a_signal_goes_on(make_quick, tmp_path):
    recipe = make_quick(steps=4, save_every=1)
    whole = train(recipe, tmp_path / "whole")
    (tmp_path / "train.toml").write_text(recipe_text(recipe))
    script = (
        "import sys, tensorflow\n"
        "from deepspot_scale.training.recipe import read_recipe\n"
        "from deepspot_scale.training.trainer import train\n"
        "tensorflow.config.run_functions_eagerly(True)\n"
        "train(read_recipe(sys.argv[1]), sys.argv[2], on_step=lambda row: "
        "print(row.step, flush=True))\n"
    )
    command = [sys.executable, "-c", script, tmp_path / "train.toml", tmp_path / "cut"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if line.strip() == "2":
                os.kill(process.pid, signal.SIGKILL)
                break
    assert_same_weights(whole, train(recipe, tmp_path / "cut", resume=True))


def test_a_finished_training_is_left_as_it_is(make_quick, tmp_path):
    recipe = make_quick(steps=1)
    path = train(recipe, tmp_path)
    before, about = arrays(path), find_weights(path).about
    path.unlink()  # killed after the last checkpoint, before the weights were written
    steps = []
    assert train(recipe, tmp_path, resume=True, on_step=steps.append) == path
    assert find_weights(path).about == about
    for a, b in zip(arrays(path), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert not steps


def test_training_stops_early_and_keeps_the_best_average(make_quick, tmp_path):
    # So large a rate makes things worse, now or soon.
    recipe = make_quick(
        steps=9,
        learning_rate=0.5,
        warm_up=0,
        save_every=2,
        validation={"every": 1, "patches": 2, "patience": 1},
    )
    path = train(recipe, tmp_path)
    tried = [row.validation for row in rows(tmp_path)]
    assert len(tried) < 9
    best = int(np.argmin(tried))
    assert len(tried) == best + 2
    about = find_weights(path).about
    assert about["steps"] == str(best + 1)
    assert json.loads(about["metrics"])["validation"] == pytest.approx(tried[best])
    # Stopped is finished: nothing more happens.
    assert train(recipe, tmp_path, resume=True) == path
    assert len(rows(tmp_path)) == len(tried)


def test_a_training_learns_from_a_folder_and_simulated_images_together(
    make_quick, annotated_folder, tmp_path
):
    folder = annotated_folder("real", [(20, 20), (12, 30), (40, 40)])
    mixture = [
        {"source": str(folder), "patches": 3},
        {"source": "var", "patches": 1, "spots": (3, 9), "size": 32},
    ]
    recipe = make_quick(steps=1, mixture=mixture)
    train(recipe, tmp_path / "out")
    split = (tmp_path / "out" / "split.csv").read_text()
    assert split.count(",learn") == 2
    assert split.count(",validate") == 1
    assert rows(tmp_path / "out")[0].validation is not None


def test_a_training_starts_from_weights(make_quick, tmp_path, tiny):
    first = train(make_quick(steps=1), tmp_path / "first")
    # Another seed would have other initial weights, and the rate moves none far.
    recipe = make_quick(steps=1, seed=1, learning_rate=1e-6, start_from=str(first))
    second = train(recipe, tmp_path / "second")
    for name, old, new in zip(
        [variable.path for variable in build(Architecture(**tiny)).weights],
        arrays(first),
        arrays(second),
        strict=True,
    ):
        if "moving" not in name:
            np.testing.assert_allclose(new, old, atol=1e-4)
    assert find_weights(second).about["start_from"] == str(first)


def after_block(model, number, image):
    """Return what a residual block makes of an image; 0 is the first."""
    import keras

    sums = [layer for layer in model.layers if isinstance(layer, keras.layers.Add)]
    return np.array(keras.Model(model.input, sums[number].output)(image))


def test_a_smaller_network_starts_with_the_stems_and_first_blocks_of_a_larger(
    make_quick, tmp_path, tiny
):
    wide = Architecture(**{**tiny, "blocks": 3, "up": ((8, 8, 8),) * 3})
    large = build(wide)
    path = tmp_path / "large.safetensors"
    write_weights(path, large.get_weights(), wide)
    narrow = {**tiny, "blocks": 2}
    recipe = make_quick(architecture=narrow, start_from=str(path), take="leading")
    small = compile_network(recipe)
    image = np.random.default_rng(0).random((1, 32, 32, 1), np.float32)
    for number in (0, 1):
        ours, theirs = (after_block(each, number, image) for each in (small, large))
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


# -- refusals --------------------------------------------------------------------------


def test_a_folder_with_a_training_is_not_overwritten(make_quick, tmp_path):
    recipe = make_quick(steps=1)
    (tmp_path / "recipe.toml").write_text(recipe_text(recipe))
    with pytest.raises(RunError, match="--resume"):
        train(recipe, tmp_path)


def test_a_training_of_another_recipe_is_refused_with_what_differs(
    make_quick, tmp_path
):
    (tmp_path / "recipe.toml").write_text(recipe_text(make_quick(steps=7)))
    with pytest.raises(RunError, match="steps: 7 there, now 8; seed: 0 there, now 1"):
        train(make_quick(steps=8, seed=1), tmp_path, resume=True)


def test_images_that_changed_since_the_beginning_are_refused(
    make_quick, annotated_folder, tmp_path
):
    folder = annotated_folder("real", [(20, 20)] * 3)
    recipe = make_quick(mixture=[{"source": str(folder), "patches": 1}])
    with pytest.raises(Killed):
        train(recipe, tmp_path / "out", on_step=kill_at(1))
    (folder / "im2.png").unlink()
    table = (folder / "spots.csv").read_text().splitlines()
    kept = [line for line in table if "im2" not in line]
    (folder / "spots.csv").write_text("\n".join(kept))
    with pytest.raises(RunError, match=r"1 are gone, 0 are new.*im2\.png"):
        train(recipe, tmp_path / "out", resume=True)


def test_a_recipe_that_can_not_be_used_leaves_the_folder_free(make_quick, tmp_path):
    recipe = make_quick(mixture=[{"source": "brod", "patches": 1}])
    with pytest.raises(SettingsError, match="Did you mean 'broad'"):
        train(recipe, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_of_another_architecture_are_no_start(make_quick, tmp_path, tiny):
    other = Architecture(**{**tiny, "filters": 8})
    path = tmp_path / "other.safetensors"
    write_weights(path, build(other).get_weights(), other)
    with pytest.raises(WeightsError, match="filters=8"):
        compile_network(make_quick(start_from=str(path)))


def test_weights_of_which_not_even_the_first_fits_are_no_start(
    make_quick, tmp_path, tiny
):
    other = Architecture(**{**tiny, "stems": (8, 4, 4)})
    path = tmp_path / "other.safetensors"
    write_weights(path, build(other).get_weights(), other)
    with pytest.raises(WeightsError, match="no weights that fit"):
        compile_network(make_quick(start_from=str(path), take="leading"))


def test_a_loss_that_is_no_number_ends_the_training_and_says_what_to_try(
    make_quick, tmp_path, tiny
):
    architecture = Architecture(**tiny)
    bad = [np.full_like(array, np.nan) for array in build(architecture).get_weights()]
    write_weights(tmp_path / "bad.safetensors", bad, architecture)
    recipe = make_quick(start_from=str(tmp_path / "bad.safetensors"))
    with pytest.raises(RunError, match=r"loss is nan after step 0.*learning_rate"):
        train(recipe, tmp_path / "out")


def test_weights_that_are_no_numbers_never_become_a_checkpoint(make_quick, tmp_path):
    folder = Folder(str(tmp_path))
    averages = Averages([np.array([1.0, np.nan])])
    with pytest.raises(RunError, match="after step 3"):
        save(folder, make_quick(), TrainingProgress(step=3), {}, averages)
    assert not (tmp_path / "checkpoint").exists()


# -- pieces ----------------------------------------------------------------------------


def test_state_put_back_makes_the_same_step(make_quick, tiny):
    recipe = make_quick(architecture={**tiny, "dropout": 0.5})
    model = compile_network(recipe)
    batch = flat_batch()
    take_step(model, batch)
    state = take_state(model)
    losses = [take_step(model, batch)]
    after = take_weights(model)
    put_state(model, state)
    losses.append(take_step(model, batch))
    assert losses[0] == losses[1]
    for a, b in zip(after, take_weights(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_state_of_another_network_is_refused(make_quick, tiny):
    state = take_state(compile_network(make_quick()))
    other = compile_network(make_quick(architecture={**tiny, "filters": 8}))
    with pytest.raises(RunError, match="version of Keras"):
        put_state(other, state)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_learns_with_weights_in_full_precision(dtype, make_quick):
    model = compile_network(make_quick(dtype=dtype))
    before = take_weights(model)
    loss = take_step(model, flat_batch())
    assert np.isfinite(loss)
    after = take_weights(model)
    assert {array.dtype for array in after} == {np.dtype(np.float32)}
    assert any((a != b).any() for a, b in zip(before, after, strict=True))
    scaled = hasattr(model.optimizer, "dynamic_scale")
    assert scaled == (dtype == "mixed_float16")
    put_state(model, take_state(model))


def test_the_rate_warms_up_then_falls_to_nothing(make_quick):
    recipe = make_quick(steps=100, warm_up=0.1, learning_rate=0.2)
    schedule = compile_network(recipe).optimizer._learning_rate
    rates = [float(schedule(step)) for step in range(101)]
    assert rates[0] == pytest.approx(0.002)
    assert np.argmax(rates) == 10
    assert max(rates) == pytest.approx(0.2)
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[100] == pytest.approx(0, abs=1e-6)


def test_averages_are_those_of_the_formula():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(60, 4))
    average = [np.zeros(4)]
    expected = np.zeros(4)
    for number, now in enumerate(steps, start=1):
        average = blend(average, [now], number, 0.8)
        keep = min(0.8, number / (number + 10))
        expected = keep * expected + (1 - keep) * now
    np.testing.assert_allclose(average[0], expected)


def test_validation_tries_other_weights_and_leaves_the_models_own(make_quick):
    recipe = make_quick()
    model = compile_network(recipe)
    own = take_weights(model)
    other = take_weights(compile_network(replace_seed(recipe)))
    images, targets = flat_batch(n=3)  # no whole number of batches
    got = validation_loss(model, other, (images, targets), recipe)
    for a, b in zip(own, take_weights(model), strict=True):
        np.testing.assert_array_equal(a, b)
    model.set_weights(other)
    expected = deepspot_loss(
        targets, model.predict_on_batch(images), cross_entropy=10.0, maximum=0.1
    )
    assert got == pytest.approx(float(expected), rel=1e-5)


def replace_seed(recipe):
    return recipe.model_copy(update={"seed": recipe.seed + 1})


def test_a_course_is_over_at_the_last_step_or_when_patience_is():
    recipe = make_recipe(steps=5, validation={"patience": 2})
    assert TrainingProgress(step=5).is_over(recipe)
    assert TrainingProgress(step=1, waited=2).is_over(recipe)
    assert not TrainingProgress(step=4, waited=1).is_over(recipe)
    assert not TrainingProgress(step=4, waited=9).is_over(make_recipe(steps=5))


def test_weights_without_patience_are_the_last_ones(make_quick, tmp_path):
    recipe = make_quick()
    now = take_weights(compile_network(recipe))
    best = [array + 1 for array in now]
    path = publish(
        Folder(str(tmp_path)), recipe, TrainingProgress(step=1), Averages(now, best)
    )
    np.testing.assert_array_equal(arrays(path)[0], now[0])


def test_only_a_local_folder_takes_a_training(make_quick):
    with pytest.raises(RunError, match="local disk"):
        take_up(Folder("memory://model"), make_quick(), resume=False)
