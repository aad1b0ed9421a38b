"""A network, layer by layer, in OpenVINO's operations.

A plan of the layers in `LAYERS` and its arrays come in, an OpenVINO model with the
channels before y and x, `(n, channels, y, x)`, goes out. Keras' own export uses
TensorFlow's graph: there a dilated convolution copies the image into pieces, and a
cropped one moves the channels twice; on two AVX2 cores that took 2.3 times as long for
a field of 2048 px. Nothing here knows Keras, weights files or how a network is run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.errors import WeightsError
from deepspot_scale.networks.layer_plan import Plan, plan_of_model, split_arrays
from deepspot_scale.networks.openvino.library import import_openvino
from deepspot_scale.networks.rater import LEAST

Node = Any
"""OpenVINO's; its package has no types."""
Array = NDArray[Any]


@dataclass(frozen=True)
class FilledLayer:
    """A layer with its arrays."""

    options: Mapping[str, Any]
    """As in the plan."""
    arrays: Sequence[Array]
    """In the order of Keras' ``layer.weights``."""


def translate(plan: Plan, arrays: Sequence[Array]) -> Any:
    """Return the `openvino.Model` of a network, float32.

    `arrays` are those of the plan, in its order.

    Raises
    ------
    WeightsError
        The network has a layer that is not in `LAYERS`.
    """
    openvino = import_openvino()
    ops = openvino.opset13
    shape = openvino.PartialShape([-1, plan.channels, -1, -1])
    image = ops.parameter(shape, np.float32, name="image")
    nodes: list[Node] = []
    for layer, own in zip(plan.layers, split_arrays(plan, arrays), strict=True):
        if layer.kind == "InputLayer":
            nodes.append(image)
        elif layer.kind in LAYERS:
            given = [nodes[place] for place in layer.inputs]
            nodes.append(
                LAYERS[layer.kind](ops, FilledLayer(layer.options, own), *given)
            )
        else:
            raise WeightsError(f"there is no translation of {layer.kind} for OpenVINO")
    return openvino.Model([nodes[-1]], [image], plan.name)


def translate_model(model: Any) -> Any:
    """Return the `openvino.Model` of a functional Keras model, as `translate` does."""
    return translate(plan_of_model(model), model.get_weights())


def _convolution(ops: Any, layer: FilledLayer, x: Node) -> Node:
    kernel, bias = _weights(ops, layer)
    options = layer.options
    strides, dilations = list(options["strides"]), list(options["dilation_rate"])
    pads, pad = [0, 0], "same_upper" if options["padding"] == "same" else "valid"
    x = ops.convolution(x, kernel, strides, pads, pads, dilations, auto_pad=pad)
    return ops.add(x, bias)


def _transposed(ops: Any, layer: FilledLayer, x: Node) -> Node:
    """Translate with its crop: the last row and column are cut after stride 2.

    So the answer has two pixels for each one with stride 2, and one with stride 1. The
    latter is the same as a convolution with the reversed kernel, and written as such:
    on processors without VNNI, OpenVINO multiplies integers only in convolutions.
    """
    strides = list(layer.options["strides"])
    if strides == list(layer.options["kernel_size"]):
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


def _unfolded(ops: Any, layer: FilledLayer, x: Node) -> Node:
    """Translate where stride and kernel are equal: each pixel becomes a square of them.

    A 1x1 convolution whose channels are moved into the square is as exact, and is
    faster than OpenVINO's transposed convolution.
    """
    (edge, _), (kernel, bias) = layer.options["strides"], layer.arrays
    kernel = np.asarray(kernel, np.float32).reshape(-1, kernel.shape[-1], 1, 1)
    ones, no_pads = [1, 1], [0, 0]
    x = ops.convolution(x, ops.constant(kernel), ones, no_pads, no_pads, ones)
    return ops.add(ops.depth_to_space(x, "blocks_first", edge), _by_channel(ops, bias))


def _normalisation(ops: Any, layer: FilledLayer, x: Node) -> Node:
    gamma, beta, mean, variance = (
        np.asarray(array, np.float64) for array in layer.arrays
    )
    factor = gamma / np.sqrt(variance + layer.options["epsilon"])
    scaled = ops.multiply(x, _by_channel(ops, factor))
    return ops.add(scaled, _by_channel(ops, beta - mean * factor))


def _pooling(ops: Any, layer: FilledLayer, x: Node) -> Node:
    options = layer.options
    pads, pad = [0, 0], "same_upper" if options["padding"] == "same" else "valid"
    edges = list(options["strides"]), [1, 1], pads, pads, list(options["pool_size"])
    pooled = ops.max_pool(x, *edges, auto_pad=pad)
    return pooled.output(0)  # the other output holds the place of each maximum


def _repeated(ops: Any, layer: FilledLayer, x: Node) -> Node:
    """Translate nearest up-sampling: channels repeated, then moved into a square.

    OpenVINO's interpolation would ask how a pixel is rounded; this cannot.
    """
    edge, _ = layer.options["size"]
    copies = ops.concat([x] * edge**2, 1)
    return ops.depth_to_space(copies, "blocks_first", edge)


def _rectified(ops: Any, layer: FilledLayer, x: Node) -> Node:
    """Translate a rectifier, which may have a ceiling, but neither slope nor step."""
    if layer.options["negative_slope"] or layer.options["threshold"]:
        raise WeightsError(
            "there is no translation for OpenVINO of a rectifier with a slope below 0 "
            "or a threshold; LeakyReLU has one"
        )
    ceiling = layer.options["max_value"]
    return ops.relu(x) if ceiling is None else ops.clamp(x, 0, ceiling)


def _log_averaged(ops: Any, layer: FilledLayer, x: Node) -> Node:
    """Translate the logarithm of the average of 1 + maps over all places."""
    mean = ops.reduce_mean(x, np.array([2, 3], np.int64), True)
    return ops.log(ops.add(mean, ops.constant(np.float32(1 + LEAST))))


def _tiles_folded(ops: Any, layer: FilledLayer, x: Node) -> Node:
    """Translate tiles side by side that become images of their own."""
    n, channels, height, width = _lengths(ops, x)
    edge = ops.constant(np.array([layer.options["tile"]], np.int64))
    rows, columns = ops.divide(height, edge), ops.divide(width, edge)
    cut = ops.concat([n, channels, rows, edge, columns, edge], 0)
    x = ops.transpose(
        ops.reshape(x, cut, False), np.array([0, 2, 4, 1, 3, 5], np.int64)
    )
    all_tiles = ops.constant(np.array([-1], np.int64))
    return ops.reshape(x, ops.concat([all_tiles, channels, edge, edge], 0), False)


def _tiles_unfolded(ops: Any, layer: FilledLayer, answers: Node, image: Node) -> Node:
    """Translate the answers of tiles that become the pixels of an image."""
    n, _, height, width = _lengths(ops, image)
    edge = ops.constant(np.array([layer.options["tile"]], np.int64))
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


def _leaky(ops: Any, layer: FilledLayer, x: Node) -> Node:
    return ops.prelu(x, ops.constant(np.float32(layer.options["negative_slope"])))


LAYERS: dict[str, Callable[..., Node]] = {
    "Conv2D": _convolution,
    "Conv2DTranspose": _transposed,
    "Cropping2D": lambda ops, layer, x: x,  # done by `_transposed`
    "BatchNormalization": _normalisation,
    "ReLU": _rectified,
    "LeakyReLU": _leaky,
    "ELU": lambda ops, layer, x: ops.elu(x, layer.options["alpha"]),
    "LogAverage": _log_averaged,
    "FoldTiles": _tiles_folded,
    "UnfoldTiles": _tiles_unfolded,
    "Softmax": lambda ops, layer, x: ops.softmax(x, 1),  # over the channels
    "MaxPooling2D": _pooling,
    "UpSampling2D": _repeated,
    "Concatenate": lambda ops, layer, *parts: ops.concat(list(parts), 1),
    "Add": lambda ops, layer, one, other: ops.add(one, other),
    "SpatialDropout2D": lambda ops, layer, x: x,  # in training only
    "Activation": lambda ops, layer, x: getattr(ops, layer.options["activation"])(x),
}
"""The layers of families; each takes OpenVINO's operations, the layer and its inputs.
They are translated as our families use them; of a family without a plan
`cache.export` compares the answers of both networks before it keeps one."""


def _weights(
    ops: Any, layer: FilledLayer, *, turned: bool = False
) -> tuple[Node, Node]:
    """Return kernel and bias of a convolution; the kernel's channels come first.

    `turned` makes the kernel of a transposed convolution that of a plain one.
    """
    kernel, bias = (np.asarray(array, np.float32) for array in layer.arrays)
    if turned:
        kernel = kernel[::-1, ::-1].swapaxes(2, 3)
    kernel = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    return ops.constant(kernel), _by_channel(ops, bias)


def _by_channel(ops: Any, values: NDArray[Any]) -> Node:
    return ops.constant(values.astype(np.float32).reshape(1, -1, 1, 1))
