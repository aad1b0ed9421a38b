"""The fit of a judge: features of dots and whether they are spots in, a judge out.

Some small networks are fitted from different beginnings and put side by side, so that
their mean is one judge.

Nothing here knows how dots were found, or what their features mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from deepspot_scale.kernels.populations import Judge
from deepspot_scale.networks.keras_library import import_keras

HIDDEN = (48, 24)
"""Numbers of the two hidden layers."""
N_NETWORKS = 3
"""Networks whose mean is the judge: alone each is too sure of what it has not seen."""
_NEWTON_STEPS = 20
_BATCH = 2048
_RATE = 3e-3
_DECAY = 1e-5
_COMPARED, _MOST_ROUNDING = 2000, 0.25
"""Dots on which rounded numbers are compared, and their largest difference in log
odds."""
_LEAST_SPREAD = 0.1
"""Features that hardly differ are not blown up."""


def fit_layers(
    features: NDArray[np.float32],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float32],
    *,
    epochs: int = 12,
    seed: int = 0,
) -> Judge:
    """Fit by logistic loss.

    Parameters
    ----------
    features
        (n, `populations.N_FEATURES`).
    labels
        (n,), whether each dot is a spot.
    weights
        (n,), what each dot counts, above 0.
    epochs
        Times that each dot is seen.
    seed
        Of first weights and order.

    Raises
    ------
    ValueError
        The fit has numbers too large for exact sums.
    """
    mean, spread = features.mean(axis=0), features.std(axis=0) + _LEAST_SPREAD
    scaled = (features - mean) / spread
    parts = [
        _fit_one(scaled, labels, weights, epochs=epochs, seed=seed + number)
        for number in range(N_NETWORKS)
    ]
    matrices, biases = _side_by_side(parts)
    # The first layer takes features as they are.
    biases[0] = biases[0] - (mean / spread) @ matrices[0]
    matrices[0] = matrices[0] / spread[:, None]
    judge = Judge.of(matrices, biases)
    _require_same(judge, parts, features[:_COMPARED], mean, spread)
    return judge


def calibrate(
    judge: Judge, features: NDArray[np.float64], labels: NDArray[np.bool_]
) -> Judge:
    """Return the judge, its log odds stretched and shifted to how often it is right.

    Features (n, `populations.N_FEATURES`) and labels (n,) are of dots that the judge
    was not fitted to, each of which counts alike. Platt 1999, "Probabilistic outputs
    for support vector machines".
    """
    logit = judge.logit(features)
    inputs = np.stack([logit, np.ones_like(logit)], axis=1)
    factors = np.array([1.0, 0.0])
    for _ in range(_NEWTON_STEPS):
        given = 1 / (1 + np.exp(-inputs @ factors))
        slope = inputs.T @ (given - labels)
        bend = (inputs * (given * (1 - given))[:, None]).T @ inputs
        factors = factors - np.linalg.solve(bend + 1e-6 * np.eye(2), slope)
    stretch, shift = factors
    last, bias = judge.weights[-1], judge.biases[-1]
    return Judge.of(
        [*judge.weights[:-1], stretch * last],
        [*judge.biases[:-1], stretch * bias + shift],
    )


def _fit_one(
    scaled: NDArray[np.float32],
    labels: NDArray[np.bool_],
    weights: NDArray[np.float32],
    *,
    epochs: int,
    seed: int,
) -> list[tuple[Any, Any]]:
    """Return matrix and bias of each layer of one network."""
    keras = import_keras("fitting a judge")
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    decay = keras.regularizers.L2(_DECAY)
    network = keras.Sequential(
        [
            keras.Input((scaled.shape[1],)),
            *(layers.Dense(n, "relu", kernel_regularizer=decay) for n in HIDDEN),
            layers.Dense(1),
        ]
    )
    n_steps = max(1, epochs * -(-len(scaled) // _BATCH))
    rate = keras.optimizers.schedules.CosineDecay(_RATE, n_steps)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(rate), loss)
    network.fit(
        scaled,
        labels.astype(np.float32),
        sample_weight=weights / weights.mean(),
        epochs=epochs,
        batch_size=_BATCH,
        verbose=0,
    )
    return [tuple(layer.get_weights()) for layer in network.layers if layer.weights]


def _side_by_side(parts: list[list[tuple[Any, Any]]]) -> tuple[list[Any], list[Any]]:
    """Return the layers of one network whose answer is the mean of some networks'."""
    matrices, biases = [], []
    last = len(HIDDEN)
    for number in range(last + 1):
        own = [part[number] for part in parts]
        if number == 0:
            matrix = np.concatenate([each for each, _ in own], axis=1)
        elif number == last:
            matrix = np.concatenate([each for each, _ in own]) / len(own)
        else:
            matrix = linalg.block_diag(*(each for each, _ in own))
        join = np.concatenate if number < last else np.mean
        matrices.append(matrix.astype(np.float64))
        biases.append(np.reshape(join([bias for _, bias in own], axis=0), -1))
    return matrices, biases


def _require_same(
    judge: Judge,
    parts: list[list[tuple[Any, Any]]],
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    spread: NDArray[np.float32],
) -> None:
    """Raise ValueError if the judge's rounded numbers decide otherwise."""
    answers = []
    for part in parts:
        hidden = (features - mean) / spread
        for number, (matrix, bias) in enumerate(part):
            hidden = np.maximum(hidden, 0) if number else hidden
            hidden = hidden @ matrix + bias
        answers.append(hidden[:, 0])
    far = np.abs(judge.logit(features.astype(np.float64)) - np.mean(answers, axis=0))
    if not far.max() <= _MOST_ROUNDING:
        raise ValueError(
            f"rounded to exact sums, a judge's log odds differ by {far.max():.2g}; fit "
            "it to more fields"
        )
