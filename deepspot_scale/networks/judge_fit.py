"""The fit of a judge: features of dots and whether they are spots in, a judge out.

Nothing here knows how dots were found, or what their features mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.populations import Judge

HIDDEN = (48, 24)
"""Numbers of the two hidden layers."""
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
    epochs: int = 25,
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
    import keras

    keras.utils.set_random_seed(seed)
    mean, spread = features.mean(axis=0), features.std(axis=0) + _LEAST_SPREAD
    layers = keras.layers
    decay = keras.regularizers.L2(_DECAY)
    network = keras.Sequential(
        [
            keras.Input((features.shape[1],)),
            *(layers.Dense(n, "relu", kernel_regularizer=decay) for n in HIDDEN),
            layers.Dense(1),
        ]
    )
    n_steps = max(1, epochs * -(-len(features) // _BATCH))
    rate = keras.optimizers.schedules.CosineDecay(_RATE, n_steps)
    loss = keras.losses.BinaryCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(rate), loss)
    network.fit(
        (features - mean) / spread,
        labels.astype(np.float32),
        sample_weight=weights / weights.mean(),
        epochs=epochs,
        batch_size=_BATCH,
        verbose=0,
    )
    pairs = [layer.get_weights() for layer in network.layers if layer.get_weights()]
    matrices, biases = (list(part) for part in zip(*pairs, strict=True))
    # The first layer takes features as they are.
    biases[0] = biases[0] - (mean / spread) @ matrices[0]
    matrices[0] = matrices[0] / spread[:, None]
    judge = Judge.of(matrices, biases)
    _require_same(judge, network, features[:_COMPARED], mean, spread)
    return judge


def _require_same(
    judge: Judge,
    network: Any,
    features: NDArray[np.float32],
    mean: NDArray[np.float32],
    spread: NDArray[np.float32],
) -> None:
    """Raise ValueError if the judge's rounded numbers decide otherwise."""
    exact = network.predict((features - mean) / spread, verbose=0)[:, 0]
    far = np.abs(judge.logit(features.astype(np.float64)) - exact).max()
    if not far <= _MOST_ROUNDING:
        raise ValueError(
            f"rounded to exact sums, a judge's log odds differ by {far:.2g}; fit it "
            "to more fields"
        )
