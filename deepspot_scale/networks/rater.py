"""A network that says how good an image is, tile by tile, as Keras 3 layers.

Tiles ``(n, y, x, 2)`` go in, side by side where y and x are several tiles: the image
scaled by its noise, and the enhanced one, which shows what the detector will find; one
pixel for each tile comes out, whose channels are `Architecture.outputs`, each in
[0, 1]. Inside, every tile is an image of its own, so nothing leaks from tile to tile,
blocks give exactly what one block gives, and the scores of tiles add up. `scores` makes
one number of the channels. Nothing here knows weights files, plates or Dask.

    tile -- conv 3x3, halve, ELU (six times) -- log averages -- dense, ELU -- dense
    128          32, 16 ... 2 (not the last)     of each           outputs

All convolutions but the first are batch-normalised. Halving stands before ELU: ELU
rises, so the answer is that of halving behind it, for a quarter of the work. The maps
of every convolution but the first are averaged, not of the last alone: there the
brightest spot of 64 px hides the others. ELU + 1 is positive, so that such an average
is a density, as of clear spots or of doubtful ones, and its logarithm is taken: a
share, as recall is, is the sigmoid of a difference of logarithms, however few or many
there are.

Source of the idea: Robitaille et al. 2018, https://arxiv.org/abs/1803.10806; the
average in place of its first dense layer makes the answer independent of places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

CHANNELS: Final = 2
"""The scaled image and the enhanced one."""
BINNING: Final = 2
"""Pixels of an image along each axis that the network sees as one: for a quarter of the
work it rates as well."""
TILE: Final = 128
"""Edge of a tile in binned pixels, also the stride of the network."""
CONVOLUTIONS: Final = 6
PRECISION: Final = "float32"
"""Number format to run it in: bfloat16 moves a score by .002, more than a small change
for the worse does where nearly all spots are found."""
LEAST: Final = 1e-5
"""Added to averages, so that each has a logarithm."""
RECALL_PRECISION: Final = ("recall", "precision")
"""What a judge of detection answers: shares of true spots found, of found ones true."""
SCORE: Final = ("score",)
"""What a judge of an expert's taste answers."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    maps: tuple[int, ...] = (24, 32, 64, 96, 96, 96)
    """Maps of each convolution."""
    stride: int = 2
    """Stride of the first convolution: 2 for a quarter of its work."""
    dense: int = 128
    """Numbers between the averages and the answer."""
    outputs: tuple[str, ...] = RECALL_PRECISION
    """What the channels of an answer are: `RECALL_PRECISION` or `SCORE`."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        check_maps(self.maps, self.dense)
        check_outputs(self.outputs)
        if self.stride not in (1, 2):
            raise ValueError(f"the stride is 1 or 2; got {self.stride}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, **tuples(values)})


def tuples(values: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Return the lists of an architecture's plain values as tuples."""
    return {name: tuple(values[name]) for name in ("maps", "outputs")}


def check_maps(maps: Sequence[int], dense: int) -> None:
    """Raise ValueError if these are no maps of six convolutions and a dense layer."""
    if len(maps) != CONVOLUTIONS or min(*maps, dense) < 1:
        raise ValueError(
            f"expected {CONVOLUTIONS} numbers of maps and a dense layer, 1 or more; "
            f"got {tuple(maps)} and {dense}"
        )


def check_outputs(outputs: Sequence[str]) -> None:
    """Raise ValueError if a score cannot be made of these."""
    if tuple(outputs) not in (RECALL_PRECISION, SCORE):
        raise ValueError(
            f"the outputs are {RECALL_PRECISION} or {SCORE}; got {tuple(outputs)}"
        )


def scores(answer: NDArray[np.floating], outputs: Sequence[str]) -> NDArray[np.float64]:
    """Return one score, 0 to 1, for each pixel of an answer (..., channels).

    It is the one channel itself, or F1, the harmonic mean of recall and precision; 0 if
    both are.

    Examples
    --------
    >>> float(scores(np.array([0.5, 1.0]), RECALL_PRECISION).round(3))
    0.667
    """
    values = np.asarray(answer, np.float64)
    if tuple(outputs) == SCORE:
        return values[..., 0]
    both = values.sum(axis=-1)
    return np.asarray(2 * values.prod(axis=-1) / np.where(both > 0, both, 1.0))


def build(
    architecture: Architecture, *, dtype: str = "float32", library: Any = None
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 2)`` to ``(n, y / 128, x / 128, outputs)``, float32; y and x are
    any multiples of `TILE`. `dtype` is a Keras dtype policy, such as
    ``"mixed_bfloat16"``. With `layer_plan.LIBRARY` as `library`, in Keras' place, it
    gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)
    image = keras.Input((None, None, CHANNELS), name="image")
    x = fold_layer(TILE, library)(image)
    last, densities = CONVOLUTIONS - 1, []
    for number, maps in enumerate(architecture.maps):
        stride = 1 if number else architecture.stride
        x = convolution(x, maps, stride, policy, layers, normalised=number > 0)
        if number < last:
            x = layers.MaxPooling2D(2, dtype=policy)(x)
        x = layers.ELU(dtype=policy)(x)
        if number:
            densities.append(log_average_layer(library)(x))
    x = layers.Concatenate(dtype="float32")(densities)
    x = layers.Conv2D(architecture.dense, 1, dtype="float32")(x)
    x = layers.ELU(dtype="float32")(x)
    out = answer(image, x, TILE, architecture.outputs, library)
    return keras.Model(image, out, name="rater")


def convolution(
    x: Any, maps: int, stride: int, policy: Any, layers: Any, *, normalised: bool
) -> Any:
    """Return a 3x3 convolution, batch-normalised or not, without its ELU."""
    x = layers.Conv2D(
        maps,
        3,
        strides=stride,
        padding="same",
        kernel_initializer="he_normal",
        dtype=policy,
    )(x)
    if not normalised:
        return x
    return layers.BatchNormalization(momentum=0.95, epsilon=1e-4, dtype=policy)(x)


def answer(image: Any, x: Any, tile: int, outputs: Sequence[str], library: Any) -> Any:
    """Return the answer to an image of the numbers (tiles, 1, 1, m) of its tiles."""
    layers = (library or import_keras()).layers
    x = layers.Conv2D(len(outputs), 1, dtype="float32")(x)
    x = layers.Activation("sigmoid", dtype="float32")(x)
    return unfold_layer(tile, library)([x, image])


def log_average_layer(library: Any = None) -> Any:
    """Return the layer from maps (n, y, x, m) above -1 to (n, 1, 1, m)."""
    if library is not None:
        return library.layers.LogAverage()
    import keras

    class LogAverage(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """The logarithm of the average of 1 + maps over all places."""

        def __init__(self) -> None:
            super().__init__(dtype="float32")

        def call(self, maps: Any) -> Any:
            maps = keras.ops.cast(maps, "float32")
            mean = keras.ops.mean(maps, axis=(1, 2), keepdims=True)
            return keras.ops.log(mean + (1 + LEAST))

        def compute_output_shape(self, shape: Any) -> Any:
            return (shape[0], 1, 1, shape[-1])

    return LogAverage()


def fold_layer(tile: int, library: Any = None) -> Any:
    """Return the layer that puts the tiles of images into the batch.

    (n, k tile, l tile, channels) becomes (n k l, tile, tile, channels), the tiles of an
    image in the order of rows.
    """
    if library is not None:
        return library.layers.FoldTiles(tile)
    import keras

    class FoldTiles(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """Tiles side by side become images of their own."""

        def __init__(self) -> None:
            super().__init__(dtype="float32")
            self.tile = tile

        def call(self, image: Any) -> Any:
            ops = keras.ops
            n, y, x, channels = ops.shape(image)
            rows, columns = y // tile, x // tile
            cut = ops.reshape(image, (n, rows, tile, columns, tile, channels))
            cut = ops.transpose(cut, (0, 1, 3, 2, 4, 5))
            return ops.reshape(cut, (n * rows * columns, tile, tile, channels))

        def compute_output_shape(self, shape: Any) -> Any:
            return (None, tile, tile, shape[-1])

    return FoldTiles()


def unfold_layer(tile: int, library: Any = None) -> Any:
    """Return the layer that puts the tiles' answers back side by side.

    It takes the answers (n k l, 1, 1, m) and the images, and gives (n, k, l, m).
    """
    if library is not None:
        return library.layers.UnfoldTiles(tile)
    import keras

    class UnfoldTiles(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
        """Answers of tiles become the pixels of an image."""

        def __init__(self) -> None:
            super().__init__(dtype="float32")
            self.tile = tile

        def call(self, both: Any) -> Any:
            ops = keras.ops
            answers, image = both
            n, y, x, _ = ops.shape(image)
            return ops.reshape(answers, (n, y // tile, x // tile, answers.shape[-1]))

        def compute_output_shape(self, shapes: Any) -> Any:
            return (shapes[1][0], None, None, shapes[0][-1])

    return UnfoldTiles()


def reach(_: Architecture) -> int:
    """Return how far beyond its tile a pixel can change the answer: not at all."""
    return 0


def channels(architecture: Any) -> int:
    """Return the channels of an answer."""
    return len(architecture.outputs)
