"""A small network that says which of two dyes a molecule has, as Keras 3 layers.

A window ``(n, 11, 11, 1)`` with one molecule near its middle, scaled by
`kernels.dye_windows.scale_windows`, goes in; the probabilities ``(n, 1, 1, 2)`` of the
dyes come out. To an engine it is a network whose answer has one pixel for each window:
windows may lie side by side in a larger image. Nothing here knows wavelengths, weights
files or movies.

    window -- conv 3x3, ReLU (four times) -- dense -- softmax
     11x11                11x11                2

Source of the idea: Hershko et al. 2019, https://doi.org/10.1364/OE.27.006158.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

WINDOW = 11
"""Edge of a window in pixels, also the stride of the network."""
DYES = 2
"""Dyes that it tells apart."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    filters: tuple[int, ...] = (16, 32, 32, 32)
    """Maps of each 3x3 convolution."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        if not self.filters or min(self.filters) < 1:
            raise ValueError(f"filters must be 1 or more, at least once; got {self}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, "filters": tuple(values["filters"])})


def build(
    architecture: Architecture,
    *,
    dtype: str = "float32",
    library: Any = None,
    window: int = WINDOW,
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, y / window, x / window, 2)``, float32, which sums
    to 1 over the dyes; y and x are multiples of `window`. `dtype` is a Keras dtype
    policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)
    x = image = keras.Input((None, None, 1), name="window")
    for filters in architecture.filters:
        x = layers.Conv2D(filters, 3, padding="same", dtype=policy)(x)
        x = layers.ReLU(dtype=policy)(x)
    # Kernel and stride are the window: a dense layer of each window by itself.
    x = layers.Conv2D(DYES, window, strides=window, dtype="float32")(x)
    chances = layers.Softmax(dtype="float32", name="dyes")(x)
    return keras.Model(image, chances, name="dye_classifier")


def reach(architecture: Architecture) -> int:
    """Return how far beyond its window a pixel can change the answer, in pixels."""
    return len(architecture.filters)
