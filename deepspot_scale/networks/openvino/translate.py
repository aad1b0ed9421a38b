"""A Keras network, layer by layer, in OpenVINO's operations.

A functional Keras model of the layers in `LAYERS` comes in, an OpenVINO model with the
channels before y and x, `(n, channels, y, x)`, goes out. Keras' own export uses
TensorFlow's graph: there a dilated convolution copies the image into pieces, and a
cropped one moves the channels twice; on two AVX2 cores that took 2.3 times as long for
a field of 2048 px. Nothing here knows weights files or how a network is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.rater import LEAST

if TYPE_CHECKING:
    import keras

Node = Any
"""OpenVINO's; its package has no types."""


def translate(model: keras.Model) -> Any:
    """Return the `openvino.Model` of a functional Keras model, float32.

    Raises
    ------
    WeightsError
        The model has a layer that is not in `LAYERS`.
    """
    import keras

    openvino = import_openvino()
    ops = openvino.opset13
    shape = openvino.PartialShape([-1, model.inputs[0].shape[-1], -1, -1])
    image = ops.parameter(shape, np.float32, name="image")
    nodes = {id(model.inputs[0]): image}
    for layer in model.operations:
        kind = type(layer).__name__
        if kind == "InputLayer":
            continue
        if kind not in LAYERS:
            raise WeightsError(f"there is no translation of {kind} for OpenVINO")
        given = [nodes[id(tensor)] for tensor in keras.tree.flatten(layer.input)]
        nodes[id(layer.output)] = LAYERS[kind](ops, layer, *given)
    return openvino.Model([nodes[id(model.outputs[0])]], [image], model.name)


def _convolution(ops: Any, layer: Any, x: Node) -> Node:
    kernel, bias = _weights(ops, layer)
    strides, dilations = list(layer.strides), list(layer.dilation_rate)
    pads, pad = [0, 0], "same_upper" if layer.padding == "same" else "valid"
    x = ops.convolution(x, kernel, strides, pads, pads, dilations, auto_pad=pad)
    return ops.add(x, bias)


def _transposed(ops: Any, layer: Any, x: Node) -> Node:
    """Translate with its crop: the last row and column are cut after stride 2.

    So the answer has two pixels for each one with stride 2, and one with stride 1. The
    latter is the same as a convolution with the reversed kernel, and written as such:
    on processors without VNNI, OpenVINO multiplies integers only in convolutions.
    """
    strides = list(layer.strides)
    if strides == list(layer.kernel_size):
        return _unfolded(ops, layer, x)
    if strides == [1, 1]:
        kernel, bias = _weights(ops, layer, turned=True)
        x = ops.convolution(x, kernel, strides, [1, 1], [1, 1], [1, 1])
    else:
        kernel, bias = _weights(ops, layer)
        x = ops.convolution_backprop_data(
            x, kernel, strides, pads_begin=[0, 0], pads_end=[1, 1]
        )
    return ops.add(x, bias)


def _unfolded(ops: Any, layer: Any, x: Node) -> Node:
    """Translate where stride and kernel are equal: each pixel becomes a square of them.

    A 1x1 convolution whose channels are moved into the square is as exact, and is
    faster than OpenVINO's transposed convolution.
    """
    (edge, _), (kernel, bias) = layer.strides, layer.get_weights()
    kernel = np.asarray(kernel, np.float32).reshape(-1, kernel.shape[-1], 1, 1)
    ones, no_pads = [1, 1], [0, 0]
    x = ops.convolution(x, ops.constant(kernel), ones, no_pads, no_pads, ones)
    return ops.add(ops.depth_to_space(x, "blocks_first", edge), _by_channel(ops, bias))


def _normalisation(ops: Any, layer: Any, x: Node) -> Node:
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    gamma, beta, mean, variance = (
        np.asarray(getattr(layer, name), np.float64) for name in names
    )
    factor = gamma / np.sqrt(variance + layer.epsilon)
    scaled = ops.multiply(x, _by_channel(ops, factor))
    return ops.add(scaled, _by_channel(ops, beta - mean * factor))


def _pooling(ops: Any, layer: Any, x: Node) -> Node:
    pads, pad = [0, 0], "same_upper" if layer.padding == "same" else "valid"
    edges = list(layer.strides), [1, 1], pads, pads, list(layer.pool_size)
    pooled = ops.max_pool(x, *edges, auto_pad=pad)
    return pooled.output(0)  # the other output holds the place of each maximum


def _repeated(ops: Any, layer: Any, x: Node) -> Node:
    """Translate nearest up-sampling: channels repeated, then moved into a square.

    OpenVINO's interpolation would ask how a pixel is rounded; this cannot.
    """
    edge, _ = layer.size
    copies = ops.concat([x] * edge**2, 1)
    return ops.depth_to_space(copies, "blocks_first", edge)


def _rectified(ops: Any, layer: Any, x: Node) -> Node:
    """Translate a rectifier, which may have a ceiling, but neither slope nor step."""
    if layer.negative_slope or layer.threshold:
        raise WeightsError(
            f"there is no translation for OpenVINO of {layer.name}, a rectifier with "
            "a slope below 0 or a threshold; LeakyReLU has one"
        )
    return ops.relu(x) if layer.max_value is None else ops.clamp(x, 0, layer.max_value)


def _log_averaged(ops: Any, layer: Any, x: Node) -> Node:
    """Translate the logarithm of the average of 1 + maps over all places."""
    mean = ops.reduce_mean(x, np.array([2, 3], np.int64), True)
    return ops.log(ops.add(mean, ops.constant(np.float32(1 + LEAST))))


def _tiles_folded(ops: Any, layer: Any, x: Node) -> Node:
    """Translate tiles side by side that become images of their own."""
    n, channels, height, width = _lengths(ops, x)
    edge = ops.constant(np.array([layer.tile], np.int64))
    rows, columns = ops.divide(height, edge), ops.divide(width, edge)
    cut = ops.concat([n, channels, rows, edge, columns, edge], 0)
    x = ops.transpose(
        ops.reshape(x, cut, False), np.array([0, 2, 4, 1, 3, 5], np.int64)
    )
    all_tiles = ops.constant(np.array([-1], np.int64))
    return ops.reshape(x, ops.concat([all_tiles, channels, edge, edge], 0), False)


def _tiles_unfolded(ops: Any, layer: Any, answers: Node, image: Node) -> Node:
    """Translate the answers of tiles that become the pixels of an image."""
    n, _, height, width = _lengths(ops, image)
    edge = ops.constant(np.array([layer.tile], np.int64))
    rows, columns = ops.divide(height, edge), ops.divide(width, edge)
    channels = _lengths(ops, answers)[1]
    side = ops.reshape(answers, ops.concat([n, rows, columns, channels], 0), False)
    return ops.transpose(side, np.array([0, 3, 1, 2], np.int64))


def _lengths(ops: Any, x: Node) -> list[Node]:
    """Return the lengths of the four axes, each as an array of one number."""
    shape = ops.shape_of(x)
    return [
        ops.gather(shape, np.array([axis], np.int64), np.int64(0)) for axis in range(4)
    ]


def _leaky(ops: Any, layer: Any, x: Node) -> Node:
    return ops.prelu(x, ops.constant(np.float32(layer.negative_slope)))


LAYERS: dict[str, Callable[..., Node]] = {
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "Cropping2D": lambda ops, layer, x: x,  # done by `_transposed`
    "BatchNormalization": _normalisation,
    "ReLU": _rectified,
    "LeakyReLU": _leaky,
    "ELU": lambda ops, layer, x: ops.elu(x, layer.alpha),
    "LogAverage": _log_averaged,
    "FoldTiles": _tiles_folded,
    "UnfoldTiles": _tiles_unfolded,
    "Softmax": lambda ops, layer, x: ops.softmax(x, 1),  # over the channels
    "MaxPooling2D": _pooling,
    "UpSampling2D": _repeated,
    "Concatenate": lambda ops, layer, *parts: ops.concat(list(parts), 1),
    "Add": lambda ops, layer, one, other: ops.add(one, other),
    "SpatialDropout2D": lambda ops, layer, x: x,  # in training only
    "Activation": lambda ops, layer, x: getattr(ops, layer.activation.__name__)(x),
}
"""The layers of families; each takes OpenVINO's operations, the layer and its inputs.
They are translated as `caso_resnet` uses them: `cache.export` compares the answers of
both networks before it keeps one."""


def _weights(ops: Any, layer: Any, *, turned: bool = False) -> tuple[Node, Node]:
    """Return kernel and bias of a convolution; the kernel's channels come first.

    `turned` makes the kernel of a transposed convolution that of a plain one.
    """
    kernel, bias = (np.asarray(array, np.float32) for array in layer.get_weights())
    if turned:
        kernel = kernel[::-1, ::-1].swapaxes(2, 3)
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return ops.constant(kernel), _by_channel(ops, bias)


def _by_channel(ops: Any, values: NDArray[Any]) -> Node:
    return ops.constant(values.astype(np.float32).reshape(1, -1, 1, 1))
