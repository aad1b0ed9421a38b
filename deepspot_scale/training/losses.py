"""Losses of training, each of answers against targets.

Images ``(n, y, x, 1)`` come in, one number goes out, on any Keras backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np


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


def distance_loss(truth: Any, predicted: Any) -> Any:
    """Return the mean squared error of distance transforms, in thousandths.

    Almost all of a map is 0, so its errors are small numbers.
    """
    from keras import ops

    return 1000 * ops.mean(ops.square(truth - predicted))


def heat_loss(
    truth: Any, predicted: Any, *, sigma: float = 1.0, sparse: float = 0.01
) -> Any:
    """Return Deep-STORM's loss: squared error of heat maps, and how little is empty.

    The answer is blurred by a Gaussian of height 1 and `sigma` fine pixels before it is
    compared, so it may be a single pixel for each molecule; its mean absolute value,
    times `sparse`, makes it so (1 / 100, since the paper's molecules are 100 high).
    In thousandths (Nehme et al. 2018, https://doi.org/10.1364/OPTICA.5.000458).
    """
    from keras import ops

    reach = int(np.ceil(3 * sigma))
    line = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    column = ops.reshape(ops.cast(line, "float32"), (-1, 1, 1, 1))
    row = ops.transpose(column, (1, 0, 2, 3))
    heat = ops.conv(ops.conv(predicted, column, padding="same"), row, padding="same")
    error = ops.mean(ops.square(heat - truth))
    return 1000 * (error + sparse * ops.mean(ops.abs(predicted)))


def dye_loss(truth: Any, predicted: Any) -> Any:
    """Return the mean cross-entropy of dyes, (n, y, x, dyes) that sum to 1."""
    from keras import losses, ops

    return ops.mean(losses.categorical_crossentropy(truth, predicted))


def hidden_loss(truth: Any, predicted: Any) -> Any:
    """Return the mean squared error of those pixels that count.

    `truth` is (n, y, x, 2): the wanted value, and 1 where it counts, else 0. A square,
    unlike the absolute value, makes the mean of all that could stand there the
    best answer, so a spot that is rare is not taken for noise altogether.
    """
    from keras import ops

    truth = ops.cast(truth, predicted.dtype)
    wanted, counts = truth[..., :1], truth[..., 1:]
    error = ops.sum(counts * ops.square(wanted - predicted))
    return error / ops.maximum(ops.sum(counts), 1)


def volume_loss(
    truth: Any, predicted: Any, *, factor: float = 100.0, sigma: float = 1.0
) -> Any:
    """Return DeepSTORM3D's loss: squared error of blurred volumes, and their overlap.

    Volumes are (n, y, x, z) in [0, 1]. Both are blurred by a Gaussian of height 1 and
    `sigma` voxels over 7x7x7 voxels, so an answer one voxel off is almost right, and
    compared in units of 1 / `factor`; z goes on with zeros, and the outer 3 voxels of
    y and x are not compared. The overlap, 1 - (2 sum pt + 1) / (sum pt + sum t^2 + 1),
    alone does not punish false positives
    (Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5).
    """
    from keras import ops

    truth = ops.cast(truth, predicted.dtype)
    # The blur is linear, so the difference is blurred, once along each axis: as banded
    # matrices, which are faster than convolutions of one channel.
    blurred = predicted - truth
    _, height, width, depth = blurred.shape
    y, x = _bands(height, sigma)[3:-3], _bands(width, sigma)[3:-3]
    blurred = ops.einsum("ij,njxz->nixz", y, blurred)
    blurred = ops.einsum("kx,nixz->nikz", x, blurred)
    blurred = ops.einsum("nikz,lz->nikl", blurred, _bands(depth, sigma))
    error = factor**2 * ops.mean(ops.square(blurred))
    both, own = ops.sum(predicted * truth), ops.sum(ops.square(truth))
    return error + 1 - (2 * both + 1) / (both + own + 1)


def _bands(length: int, sigma: float) -> Any:
    """Return the matrix (length, length) that blurs along an axis, zeros around."""
    apart = np.subtract.outer(np.arange(length), np.arange(length))
    taps = np.exp(-(apart**2) / (2 * sigma**2))
    return np.where(np.abs(apart) <= 3, taps, 0).astype(np.float32)


def star_loss(truth: Any, predicted: Any) -> Any:
    """Return StarDist's loss, and the cross-entropy of the foreground.

    Answers are (n, y, x, 37), see `kernels.star_convex`. The absolute error of a
    distance counts a fifth, by how central its pixel is; on the background distances
    are pulled to 0
    (Schmidt et al. 2018, https://doi.org/10.1007/978-3-030-00934-2_30).
    """
    from keras import losses, ops

    truth = ops.cast(truth, predicted.dtype)
    central, distances, above = truth[..., :1], truth[..., 1:33], truth[..., 33:]
    entropy = ops.mean(losses.binary_crossentropy(central, predicted[..., :1]))
    error = ops.abs(distances - predicted[..., 1:33])
    inside = ops.mean(central * error)
    outside = 1e-4 * ops.mean(ops.where(central > 0, 0.0, error))
    covered = ops.mean(losses.binary_crossentropy(above, predicted[..., 33:]))
    return entropy + 0.2 * inside + outside + 0.5 * covered


def rating_loss(
    truth: Any,
    predicted: Any,
    *,
    order: float = 0.0,
    margin: float = 0.15,
    dead: float = 0.1,
) -> Any:
    """Return the squared error of scores, and how far images are out of order.

    Answers are (n, y, x, c), a pixel for each tile of an image, whose score is the mean
    of its tiles'; the truth is (n, 1, 1, c + 2): scores, of which NaN is not known,
    then an image's ladder and its step, 0 without an order. Of recall and precision, F1
    counts as a third score. Of two images of one ladder the later one's log-odds lie
    `margin` below for each step, or what lacks is added, `order` times: so a score goes
    on to fall where nearly all spots are found. Where the earlier one scores less than
    `dead`, nothing is asked for: hardly a spot is found, and there is no worse.
    """
    from keras import ops

    c = predicted.shape[-1]
    truth = ops.reshape(ops.cast(truth, predicted.dtype), (-1, c + 2))
    known, ladder, step = truth[:, :c], truth[:, c], truth[:, c + 1]
    is_known = ops.logical_not(ops.isnan(known))
    known = ops.where(is_known, known, 0.0)
    if c > 1:
        predicted, known = (_with_f1(each) for each in (predicted, known))
        is_known = ops.concatenate([is_known, is_known[:, :1]], axis=1)
    answers = ops.mean(predicted, axis=(1, 2))
    counts = ops.cast(is_known, predicted.dtype)
    squares = ops.sum(counts * ops.square(known - answers))
    error = squares / ops.maximum(ops.sum(counts), 1.0)
    if not order:
        return error
    odds = _log_odds(answers[:, -1])
    apart = step[None, :] - step[:, None]
    alive = ops.logical_or(ops.logical_not(is_known[:, -1]), known[:, -1] >= dead)
    first = ops.logical_and(step > 0, alive)
    both = (ladder[None, :] == ladder[:, None]) & first[:, None] & (apart > 0)
    pairs = ops.cast(both, predicted.dtype)
    lacks = ops.relu(margin * apart - (odds[:, None] - odds[None, :]))
    return error + order * ops.sum(pairs * lacks) / ops.maximum(ops.sum(pairs), 1.0)


def _with_f1(shares: Any) -> Any:
    """Return recall and precision (..., 2) with F1 as a third channel."""
    from keras import ops

    both = ops.maximum(ops.sum(shares, axis=-1, keepdims=True), 1e-6)
    f1 = 2 * shares[..., :1] * shares[..., 1:] / both
    return ops.concatenate([shares, f1], axis=-1)


def _log_odds(scores: Any) -> Any:
    from keras import ops

    cut = ops.clip(scores, 1e-6, 1 - 1e-6)
    return ops.log(cut) - ops.log(1 - cut)
