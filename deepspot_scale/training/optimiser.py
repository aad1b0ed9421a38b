"""A network in training: its optimiser, averages and state, as plain arrays.

A recipe comes in, a compiled Keras model on any backend goes out. Everything that a
step changes can be taken out and put back, including the random generators of dropout.
Nothing here knows files, or where batches come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import RunError, WeightsError
from deepspot_scale.networks import weights as weights_files
from deepspot_scale.networks.families import find_family
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.networks.layer_plan import Plan, plan_network, plan_of_model
from deepspot_scale.networks.weights import Weights
from deepspot_scale.plugins import installed_versions
from deepspot_scale.training.patches import Batch
from deepspot_scale.training.recipe import Recipe
from deepspot_scale.training.tasks import find_task

Array = NDArray[Any]


def compile_network(recipe: Recipe) -> Any:
    """Return the network of a recipe before its first step.

    The seed is set for all of Keras, which also sets Python's and NumPy's.

    Raises
    ------
    WeightsError
        The weights to start from are missing, damaged, or of another architecture.
    SettingsError
        Networks of the recipe's family cannot be trained, or Keras is not installed.
    RunError
        This Keras builds the network otherwise than it is read from its weights.
    """
    keras = import_keras("training")

    start = recipe.start_from and _start(recipe, recipe.start_from)
    keras.utils.set_random_seed(recipe.seed)
    family = find_family(recipe.family)
    model = family.build(recipe.architecture, dtype=recipe.dtype)
    if family.has_plan:
        _require_planned(model, plan_network(family.build, recipe.architecture))
    if start and recipe.take == "leading":
        take_leading(model, weights_files.read_arrays(start))
    elif start:
        weights_files.load_weights(model, start)
    optimiser = keras.optimizers.AdamW(
        _schedule(recipe), weight_decay=recipe.weight_decay, clipnorm=recipe.clip
    )
    if recipe.dtype == "mixed_float16":
        # Keras adds it by itself only if the whole model has this policy.
        optimiser = keras.optimizers.LossScaleOptimizer(optimiser)
    model.compile(optimiser, loss=find_task(recipe.family).loss(recipe))
    optimiser.build(model.trainable_variables)
    return model


def _require_planned(model: Any, plan: Plan) -> None:
    """Raise RunError unless weights of a Keras model are in the order of its plan."""
    if plan_of_model(model) != plan:
        raise RunError(
            f"Keras {installed_versions(['keras'])['keras']} builds {plan.name} "
            "otherwise than this version of deepspot_scale reads its weights; install "
            "an older Keras (3.15 was tried) or a newer deepspot_scale"
        )


def _start(recipe: Recipe, name: str) -> Weights:
    weights = weights_files.find_weights(name)
    # Dropout has no weights, so it may differ.
    given, wanted = (
        each.architecture.to_dict() | {"dropout": 0} for each in (weights, recipe)
    )
    fits = weights.family.name == recipe.family and given == wanted
    if recipe.take == "all" and not fits:
        raise WeightsError(
            f"start_from {name} has another architecture: {weights.family.name} "
            f"{weights.architecture}, the recipe has {recipe.family} "
            f"{recipe.architecture}. Write those numbers in [architecture], or take "
            'only what fits with take = "leading".'
        )
    return weights


def take_leading(model: Any, arrays: Sequence[Array]) -> int:
    """Fill a network with another one's arrays, up to the first that does not fit.

    Weights are in the order of the layers, so two networks with equal stems share the
    stems and the residual blocks that both have. The answer is the number of arrays.

    Raises
    ------
    WeightsError
        Even the first array does not fit.
    """
    pairs = list(zip(model.weights, arrays, strict=False))
    fits = [tuple(own.shape) == other.shape for own, other in pairs]
    n = fits.index(False) if False in fits else len(fits)
    if n == 0:
        raise WeightsError(
            "start_from has no weights that fit: the first stem of the recipe's "
            "architecture is of another width"
        )
    for own, other in pairs[:n]:
        own.assign(other)
    return n


def _schedule(recipe: Recipe) -> Any:
    from keras.optimizers.schedules import CosineDecay

    warm = round(recipe.warm_up * recipe.steps)
    if warm == 0:
        return CosineDecay(recipe.learning_rate, recipe.steps)
    return CosineDecay(
        recipe.learning_rate / 100,
        max(1, recipe.steps - warm),
        warmup_target=recipe.learning_rate,
        warmup_steps=warm,
    )


def learning_rate(model: Any) -> float:
    """Return the rate of the next step."""
    from keras import ops

    rate = ops.convert_to_tensor(model.optimizer.learning_rate)
    return float(ops.convert_to_numpy(rate))


def take_step(model: Any, batch: Batch) -> float:
    """Train on one batch and return its loss before the step."""
    model.reset_metrics()  # without this, older Keras returns the mean over all steps
    return float(model.train_on_batch(*batch))


def blend(
    average: Sequence[Array], now: Sequence[Array], step: int, keep: float
) -> list[Array]:
    """Return the average moved toward the weights after step number `step`.

    Early averages follow the weights fast, so that the random start is soon forgotten.
    """
    keep = min(keep, step / (step + 10))
    pairs = zip(average, now, strict=True)
    return [keep * old + (1 - keep) * new for old, new in pairs]


def validation_loss(
    model: Any, weights: Sequence[Array], batch: Batch, recipe: Recipe
) -> float:
    """Return the task's score of `weights` on `batch`; the model keeps its own."""
    own, score = take_weights(model), find_task(recipe.family).score(recipe)
    model.set_weights(weights)
    losses = []
    try:
        for start in range(0, len(batch[0]), recipe.batch):
            images, targets = (each[start : start + recipe.batch] for each in batch)
            loss = float(score(targets, model.predict_on_batch(images)))
            losses.append(len(images) * loss)
    finally:
        model.set_weights(own)
    return float(np.sum(losses)) / len(batch[0])


def take_weights(model: Any) -> list[Array]:
    """Return copies of the weights; on torch they would share the model's memory."""
    return [_array(variable) for variable in model.weights]


def take_state(model: Any) -> dict[str, list[Array]]:
    """Return copies of all that a step changes: weights, generators, optimiser."""
    return {
        "model": [_array(variable) for variable in model.variables],
        "optimiser": [_array(variable) for variable in model.optimizer.variables],
    }


def _array(variable: Any) -> Array:
    return np.array(variable.numpy())


def put_state(model: Any, state: dict[str, list[Array]]) -> None:
    """Put back what `take_state` took.

    Raises
    ------
    RunError
        The state belongs to another network, or to another version of Keras.
    """
    pairs = (
        (model.variables, state.get("model", [])),
        (model.optimizer.variables, state.get("optimiser", [])),
    )
    for variables, arrays in pairs:
        if [tuple(each.shape) for each in variables] != [each.shape for each in arrays]:
            raise RunError(
                f"the checkpoint holds {len(arrays)} arrays where this version of "
                f"Keras has {len(variables)} or other shapes: continue with the "
                "version it was written with, or train again with its weights as "
                "start_from"
            )
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
