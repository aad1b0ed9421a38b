"""Deep-STORM's encoder and decoder on a grid eight times finer, as Keras 3 layers.

One normalised frame ``(n, y, x, 1)`` goes in; a map ``(n, 8 y, 8 x, 1)`` that is high
where molecules lie comes out. Pixels are repeated first, so the whole network works on
the fine grid, with three halvings inside. Nothing here knows weights files, movies or
Dask.

    repeat x8 -- conv - pool - conv - pool - conv - pool - conv - up - conv - up - conv
        8          8            4            2            1         2         4    |
                                            1x1 -- conv -- up ---------------------+
                                             8      8

Source: Nehme et al. 2018, https://doi.org/10.1364/OPTICA.5.000458.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

GRID = 1
"""Stride of the network in camera pixels: its three halvings make one of eight."""
SCALE = 8
"""Fine pixels along a camera pixel's edge."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    maps: tuple[int, int, int, int] = (32, 64, 128, 512)
    """Maps on the fine grid, at a half, at a quarter and at an eighth of it; the
    decoder has the same. The paper's; a half of each trains four times faster."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        if len(self.maps) != 4 or min(self.maps) < 1:
            raise ValueError(f"maps must be four numbers of 1 or more; got {self}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, "maps": tuple(values["maps"])})


def build(
    architecture: Architecture, *, dtype: str = "float32", library: Any = None
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, 8 y, 8 x, 1)``, float32, of any size and range.
    `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)

    def block(x: Any, filters: int) -> Any:
        x = layers.Conv2D(filters, 3, padding="same", dtype=policy)(x)
        x = layers.BatchNormalization(dtype=policy)(x)
        return layers.ReLU(dtype=policy)(x)

    def repeat(x: Any, factor: int) -> Any:
        return layers.UpSampling2D(factor, interpolation="nearest", dtype=policy)(x)

    *outer, deepest = architecture.maps
    image = keras.Input((None, None, 1), name="image")
    x = repeat(image, SCALE)
    for filters in outer:
        x = layers.MaxPooling2D(2, dtype=policy)(block(x, filters))
    x = block(x, deepest)
    for filters in reversed(outer):
        x = block(repeat(x, 2), filters)
    small = keras.initializers.RandomNormal(stddev=0.01)
    x = layers.Conv2D(
        1, 1, kernel_initializer=small, dtype="float32", name="molecules"
    )(x)
    return keras.Model(image, x, name="deep_storm")


_LAYERS = ("conv", "repeat") * 3 + ("conv",) + ("pool", "conv") * 3
"""Layers that look beyond a pixel, last first, down to the fine grid."""


def reach(architecture: Architecture) -> int:
    """Return how far a camera pixel can change the answer, in camera pixels.

    It is counted exactly from the layers, for all places of a fine pixel in its camera
    pixel, and is 3. The number of maps does not matter.
    """
    del architecture
    farthest = 0
    for place in range(SCALE):
        lo = hi = place
        for layer in _LAYERS:
            if layer == "conv":
                lo, hi = lo - 1, hi + 1
            elif layer == "repeat":
                lo, hi = lo // 2, hi // 2
            else:
                lo, hi = 2 * lo, 2 * hi + 1
        farthest = max(farthest, -(lo // SCALE), hi // SCALE)
    return farthest
