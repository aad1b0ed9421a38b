"""The loss of DeepSpot: binary cross-entropy and the brightest pixel's error.

Images ``(n, y, x, 1)`` come in, one number goes out, on any Keras backend.
"""

from __future__ import annotations

from typing import Any


def deepspot_loss(
    truth: Any, predicted: Any, *, cross_entropy: float = 1.0, maximum: float = 1.0
) -> Any:
    """Return the weighted sum of both terms, averaged over the batch.

    The second term, (max(y) - max(y_hat))^2 **per image**, makes every spot reach the
    same brightness. Both weights are 1 in the paper
    (Bouilhol et al. 2021, section 4.3).
    """
    from keras import losses, ops

    entropy = ops.mean(losses.binary_crossentropy(truth, predicted))
    axes = (1, 2, 3)
    error = ops.max(truth, axis=axes) - ops.max(predicted, axis=axes)
    return cross_entropy * entropy + maximum * ops.mean(ops.square(error))
