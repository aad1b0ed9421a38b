"""The sub-pixel network of localisation microscopy, as Keras 3 layers.

One normalised frame ``(n, y, x, 1)`` goes in; a map on a finer grid, high at
molecules, ``(n, y * scale, x * scale, 1)``, comes out. Convolutions work at the size of
the camera; sub-pixel layers, at the end, turn channels into finer pixels. Nothing here
knows weights files, movies or Dask.

    frame -- (conv 3x3, ReLU) x layers -- sub-pixel -- 1x1
      1                1                    scale     scale

Sources: Yee, Hagen and Ventura (layers, r = 7; three layers of r = 2 as their outlook);
Shi et al. 2016, https://doi.org/10.1109/CVPR.2016.207 (sub-pixel layers).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

GRID = 1
"""Stride of the network in pixels."""
SCALE = 7
"""Fine pixels along a camera pixel's edge with one sub-pixel layer."""
SCALE8 = 8
"""The same with three layers of factor 2."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network whose answer is 7 times finer."""

    layers: int = 11
    """Convolutions 3x3 at the size of the camera; 9 or 11 in the paper."""
    maps: int = 32
    """Maps of each of them."""
    exit_maps: int = 10
    """Maps on a finer grid, after each sub-pixel layer."""
    factors: tuple[int, ...] = (SCALE,)
    """Factor of each sub-pixel layer; their product is the scale."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network of the family's scale."""
        _check(self, SCALE)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, "factors": tuple(values["factors"])})


@dataclass(frozen=True)
class Architecture8:
    """The numbers that define one network whose answer is 8 times finer."""

    layers: int = 11
    """Convolutions 3x3 at the size of the camera."""
    maps: int = 32
    """Maps of each of them."""
    exit_maps: int = 10
    """Maps on a finer grid, after each sub-pixel layer."""
    factors: tuple[int, ...] = (2, 2, 2)
    """Factor of each sub-pixel layer; their product is the scale."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network of the family's scale."""
        _check(self, SCALE8)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture8:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, "factors": tuple(values["factors"])})


def _check(architecture: Architecture | Architecture8, scale: int) -> None:
    numbers = architecture.layers, architecture.maps, architecture.exit_maps
    if min(*numbers, 1, *architecture.factors) < 1:
        raise ValueError(f"layers, maps and factors must be 1 or more; {architecture}")
    if math.prod(architecture.factors) != scale:
        raise ValueError(
            f"the product of factors must be {scale} in this family; {architecture}"
        )


def build(
    architecture: Architecture | Architecture8,
    *,
    dtype: str = "float32",
    library: Any = None,
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, y * scale, x * scale, 1)``, float32, of any size
    and range. `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)
    image = x = keras.Input((None, None, 1), name="image")
    for _ in range(architecture.layers):
        x = layers.Conv2D(
            architecture.maps,
            3,
            padding="same",
            kernel_initializer="he_normal",
            dtype=policy,
        )(x)
        x = layers.ReLU(dtype=policy)(x)
    for factor in architecture.factors:
        # As a 1x1 convolution to factor^2 times the maps, moved into finer pixels.
        x = layers.Conv2DTranspose(
            architecture.exit_maps, factor, strides=factor, dtype=policy
        )(x)
        x = layers.ReLU(dtype=policy)(x)
    # Small at first: almost all of a target is 0.
    small = keras.initializers.RandomNormal(stddev=0.02)
    x = layers.Conv2D(
        1, 1, kernel_initializer=small, dtype="float32", name="distances"
    )(x)
    return keras.Model(image, x, name="subpixel_cnn")


def reach(architecture: Architecture | Architecture8) -> int:
    """Return how far a camera pixel can change the answer, in camera pixels.

    One for each convolution 3x3; sub-pixel layers stay within their pixel.
    """
    return architecture.layers
