"""The rating network of the paper: tiles of 224 px and two dense layers.

As `networks.rater`, but the tile is that of the paper and its first dense layer reads
every place of the last maps, so where in a tile something is may count. Nothing here
knows weights files, plates or Dask.

    tile -- conv 3x3, halve, ELU (six times) -- dense, ELU -- dense, sigmoid
    224          112, 56 ... 3                                outputs

Source: Robitaille et al. 2018, https://arxiv.org/abs/1803.10806. The text prints a
stride of 1 for the pooling, with which 224 px would stay 224; 2 is taken.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from deepspot_scale.networks import rater
from deepspot_scale.networks.keras_library import import_keras
from deepspot_scale.networks.rater import CONVOLUTIONS, SCORE

if TYPE_CHECKING:
    import keras

TILE: Final = 224
"""Edge of a tile in pixels, also the stride of the network."""
_LEFT: Final = TILE >> CONVOLUTIONS
"""Pixels of the last maps along each axis."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    maps: tuple[int, ...] = (32, 48, 48, 64, 64, 64)
    """Maps of each convolution."""
    dense: int = 64
    """Numbers of the first dense layer."""
    outputs: tuple[str, ...] = SCORE
    """What the channels of an answer are, as of `networks.rater`."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        rater.check_maps(self.maps, self.dense)
        rater.check_outputs(self.outputs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, **rater.tuples(values)})


def build(
    architecture: Architecture, *, dtype: str = "float32", library: Any = None
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, y / 224, x / 224, outputs)``, float32; y and x are
    any multiples of `TILE`. `dtype` is a Keras dtype policy, such as
    ``"mixed_bfloat16"``. With `layer_plan.LIBRARY` as `library`, in Keras' place, it
    gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)
    image = keras.Input((None, None, 1), name="image")
    x = rater.fold_layer(TILE, library)(image)
    for number, maps in enumerate(architecture.maps):
        x = rater.convolution(x, maps, 1, policy, layers, normalised=number > 0)
        x = layers.MaxPooling2D(2, dtype=policy)(x)
        x = layers.ELU(dtype=policy)(x)
    # The kernel is all that is left: a dense layer.
    x = layers.Conv2D(architecture.dense, _LEFT, dtype="float32")(x)
    x = layers.ELU(dtype="float32")(x)
    answer = rater.answer(image, x, TILE, architecture.outputs, library)
    return keras.Model(image, answer, name="rating_cnn")
