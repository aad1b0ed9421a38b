"""A network as a list of layers that needs no Keras: what kind each is, what it takes.

The functions that build networks are written with Keras' words. Given `LIBRARY` instead
of Keras they draw a `Plan`, so a machine that only runs networks needs no Keras and no
backend of it. `plan_of_model` gives the plan of a Keras model, and both are equal: also
in the order of the layers, in which a weights file has its arrays. Nothing here knows
weights files, or how a network is run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Final

Shape = tuple[int, ...]
OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "InputLayer": (),
    "Conv2D": ("kernel_size", "strides", "padding", "dilation_rate"),
    "Conv2DTranspose": ("kernel_size", "strides", "padding"),
    "Cropping2D": ("cropping",),
    "BatchNormalization": ("epsilon",),
    "ReLU": ("max_value", "negative_slope", "threshold"),
    "LeakyReLU": ("negative_slope",),
    "ELU": ("alpha",),
    "Softmax": ("axis",),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "UpSampling2D": ("size", "interpolation"),
    "Concatenate": ("axis",),
    "Add": (),
    "SpatialDropout2D": (),
    "Activation": ("activation",),
    "FoldTiles": ("tile",),
    "UnfoldTiles": ("tile",),
    "LogAverage": (),
}
"""Kinds of layers, by Keras' names, and those of their options that decide about an
answer. Layers of other kinds have none in a plan."""


@dataclass(frozen=True)
class Layer:
    """One layer of a plan."""

    kind: str
    """Name of the class of Keras, or of `networks.rater`."""
    options: Mapping[str, Any]
    """Values of `OPTIONS`."""
    inputs: tuple[int, ...]
    """Places in the plan of the layers whose answers it takes."""
    shapes: tuple[Shape, ...]
    """Shapes of its arrays, in the order of Keras' ``layer.weights``."""


@dataclass(frozen=True)
class Plan:
    """The layers of a network with one input and one output."""

    name: str
    """Name of the network."""
    channels: int
    """Channels of its input."""
    layers: tuple[Layer, ...]
    """In the order of Keras' ``model.layers``: the input first, the output last."""

    @property
    def shapes(self) -> list[Shape]:
        """Shapes of all arrays, in the order of Keras' ``model.weights``."""
        return [shape for layer in self.layers for shape in layer.shapes]


def plan_network(build: Callable[..., Any], architecture: Any) -> Plan:
    """Return the plan that a function with the parameter `library` draws."""
    plan: Plan = build(architecture, library=LIBRARY)
    return plan


def plan_of_model(model: Any) -> Plan:
    """Return the plan of a functional Keras model."""
    places = {id(layer.output): n for n, layer in enumerate(model.layers)}

    def layer_of(layer: Any) -> Layer:
        kind = type(layer).__name__
        given = [] if kind == "InputLayer" else layer.input
        given = given if isinstance(given, list) else [given]
        options = {name: _plain(layer, name) for name in OPTIONS.get(kind, ())}
        shapes = tuple(tuple(array.shape) for array in layer.weights)
        return Layer(kind, options, tuple(places[id(each)] for each in given), shapes)

    channels = int(model.inputs[0].shape[-1])
    return Plan(model.name, channels, tuple(map(layer_of, model.layers)))


def _plain(layer: Any, name: str) -> Any:
    value = getattr(layer, name)
    return value.__name__ if callable(value) else value


@dataclass(frozen=True, eq=False)
class _Answer:
    """The answer of one layer while a plan is drawn, and what it was made of."""

    kind: str
    channels: int
    options: Mapping[str, Any] = field(default_factory=dict)
    inputs: tuple[_Answer, ...] = ()
    shapes: tuple[Shape, ...] = ()


_Call = Callable[[Any], _Answer]
"""A layer: called with an answer, or a list of them, it gives its own."""


def _input(shape: tuple[int | None, ...], name: str | None = None) -> _Answer:
    return _Answer("InputLayer", shape[-1] or 0)


def _model(given: _Answer, answer: _Answer, name: str) -> Plan:
    ordered = _in_order(answer)
    places = {id(each): n for n, each in enumerate(ordered)}
    layers = (
        Layer(
            each.kind,
            each.options,
            tuple(places[id(one)] for one in each.inputs),
            each.shapes,
        )
        for each in ordered
    )
    return Plan(name, given.channels, tuple(layers))


def _in_order(answer: _Answer) -> list[_Answer]:
    """Return all answers that make one, in Keras' order, from the input on.

    That is by the longest way to the end, the farthest first; of equal ways first what
    is met first, from the end on, each layer's inputs in their order.
    """
    met: dict[int, _Answer] = {}
    finished: list[_Answer] = []
    waiting: list[tuple[_Answer, Iterator[_Answer]]] = [(answer, iter(answer.inputs))]
    met[id(answer)] = answer
    while waiting:
        each, inputs = waiting[-1]
        one = next((one for one in inputs if id(one) not in met), None)
        if one is None:
            finished.append(waiting.pop()[0])
        else:
            met[id(one)] = one
            waiting.append((one, iter(one.inputs)))
    ways = dict.fromkeys(met, 0)
    for each in reversed(finished):
        for one in each.inputs:
            ways[id(one)] = max(ways[id(one)], ways[id(each)] + 1)
    return sorted(met.values(), key=lambda each: -ways[id(each)])


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def _convolution(
    filters: int,
    kernel_size: int,
    *,
    strides: int = 1,
    padding: str = "valid",
    dilation_rate: int = 1,
    **_: Any,
) -> _Call:
    options = {
        "kernel_size": _pair(kernel_size),
        "strides": _pair(strides),
        "padding": padding,
        "dilation_rate": _pair(dilation_rate),
    }

    def call(x: _Answer) -> _Answer:
        shapes = (*_pair(kernel_size), x.channels, filters), (filters,)
        return _Answer("Conv2D", filters, options, (x,), shapes)

    return call


def _transposed(
    filters: int,
    kernel_size: int,
    *,
    strides: int = 1,
    padding: str = "valid",
    **_: Any,
) -> _Call:
    options = {
        "kernel_size": _pair(kernel_size),
        "strides": _pair(strides),
        "padding": padding,
    }

    def call(x: _Answer) -> _Answer:
        shapes = (*_pair(kernel_size), filters, x.channels), (filters,)
        return _Answer("Conv2DTranspose", filters, options, (x,), shapes)

    return call


def _normalisation(*, epsilon: float = 1e-3, **_: Any) -> _Call:
    def call(x: _Answer) -> _Answer:
        shapes = ((x.channels,),) * 4
        return _Answer(
            "BatchNormalization", x.channels, {"epsilon": epsilon}, (x,), shapes
        )

    return call


def _pooling(
    pool_size: int, *, strides: int | None = None, padding: str = "valid", **_: Any
) -> _Call:
    options = {
        "pool_size": _pair(pool_size),
        "strides": _pair(pool_size if strides is None else strides),
        "padding": padding,
    }
    return _same_channels("MaxPooling2D", options)


def _same_channels(kind: str, options: Mapping[str, Any]) -> _Call:
    return lambda x: _Answer(kind, x.channels, options, (x,))


def _rectified(
    *,
    max_value: float | None = None,
    negative_slope: float = 0.0,
    threshold: float = 0.0,
    **_: Any,
) -> _Call:
    options = {
        "max_value": max_value,
        "negative_slope": negative_slope,
        "threshold": threshold,
    }
    return _same_channels("ReLU", options)


def _leaky(*, negative_slope: float = 0.3, **_: Any) -> _Call:
    return _same_channels("LeakyReLU", {"negative_slope": negative_slope})


def _elu(*, alpha: float = 1.0, **_: Any) -> _Call:
    return _same_channels("ELU", {"alpha": alpha})


def _folded(tile: int) -> _Call:
    return _same_channels("FoldTiles", {"tile": tile})


def _unfolded(tile: int) -> _Call:
    def call(both: Any) -> _Answer:
        answers, image = both
        options = {"tile": tile}
        return _Answer("UnfoldTiles", answers.channels, options, (answers, image))

    return call


def _log_averaged() -> _Call:
    return _same_channels("LogAverage", {})


def _softmax(*, axis: int = -1, **_: Any) -> _Call:
    return _same_channels("Softmax", {"axis": axis})


def _repeated(size: int, *, interpolation: str = "nearest", **_: Any) -> _Call:
    options = {"size": _pair(size), "interpolation": interpolation}
    return _same_channels("UpSampling2D", options)


def _cropped(cropping: tuple[tuple[int, int], tuple[int, int]], **_: Any) -> _Call:
    return _same_channels("Cropping2D", {"cropping": cropping})


def _dropped(_rate: float, **_: Any) -> _Call:
    return _same_channels("SpatialDropout2D", {})


def _activation(activation: str, **_: Any) -> _Call:
    return _same_channels("Activation", {"activation": activation})


def _concatenated(*, axis: int = -1, **_: Any) -> _Call:
    def call(parts: Sequence[_Answer]) -> _Answer:
        channels = sum(each.channels for each in parts)
        return _Answer("Concatenate", channels, {"axis": axis}, tuple(parts))

    return call


def _added(**_: Any) -> _Call:
    return lambda parts: _Answer("Add", parts[0].channels, {}, tuple(parts))


LIBRARY: Final = SimpleNamespace(
    Input=_input,
    Model=_model,
    DTypePolicy=str,
    initializers=SimpleNamespace(RandomNormal=lambda **_: None),
    layers=SimpleNamespace(
        Conv2D=_convolution,
        Conv2DTranspose=_transposed,
        Cropping2D=_cropped,
        BatchNormalization=_normalisation,
        ReLU=_rectified,
        LeakyReLU=_leaky,
        ELU=_elu,
        FoldTiles=_folded,
        UnfoldTiles=_unfolded,
        LogAverage=_log_averaged,
        Softmax=_softmax,
        MaxPooling2D=_pooling,
        UpSampling2D=_repeated,
        Concatenate=_concatenated,
        Add=_added,
        SpatialDropout2D=_dropped,
        Activation=_activation,
    ),
)
"""What `build` of a family is given in Keras' place to draw a plan. Names of layers,
number formats and starting values do not decide about an answer, and are left out."""


def split_arrays(plan: Plan, arrays: Sequence[Any]) -> list[list[Any]]:
    """Return the arrays of each layer; all together they are those of the plan."""
    remaining = iter(arrays)
    return [[next(remaining) for _ in layer.shapes] for layer in plan.layers]
