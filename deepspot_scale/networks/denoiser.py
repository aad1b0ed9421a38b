"""A small U-Net that removes noise: as many Keras 3 layers as two halvings need.

One channel ``(n, y, x, 1)`` goes in, the image without noise of the same shape comes
out, both in standard deviations from the mean of the training images, which the text
of a weights file holds. There is no batch normalisation, so an answer does not depend
on a training's statistics; there is no skip from the image itself, which would bring
its noise. Nothing here knows weights files, plates or Dask.

    image -- conv x 2 -------------------------------- concatenate -- conv x 2 -- 1x1
                |                                           |
               pool -- conv x 2 -- concatenate -- conv x 2 -- unfold
                          |            |
                         pool -- conv x 2 -- unfold

Sources: Krull et al. 2019, https://doi.org/10.1109/CVPR.2019.00223 (Noise2Void);
Weigert et al. 2018, https://doi.org/10.1038/s41592-018-0216-7 (CARE).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

GRID = 4
"""Stride of the network in pixels: two halvings."""
_LAYERS = ("conv", "conv", "unfold") * 2 + ("conv", "conv", "pool") * 2 + ("conv",) * 2
"""The layers of the farthest path, last layer first."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    filters: int = 16
    """Filters at full size, doubled by each halving."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        if self.filters < 1:
            raise ValueError(f"filters must be 1 or more; got {self.filters}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave."""
        return cls(**values)


def build(
    architecture: Architecture, *, dtype: str = "float32", library: Any = None
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, y, x, 1)``, float32; y and x are any multiples of
    `GRID`. `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)

    def convs(x: Any, filters: int) -> Any:
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", dtype=policy)(x)
            x = layers.ReLU(dtype=policy)(x)
        return x

    def join(x: Any, skip: Any, filters: int) -> Any:
        # Stride and kernel are equal: a 1x1 convolution, moved into 2x2 pixels.
        x = layers.Conv2DTranspose(filters, 2, strides=2, dtype=policy)(x)
        return convs(layers.Concatenate(dtype=policy)([x, skip]), filters)

    def pool(x: Any) -> Any:
        return layers.MaxPooling2D(2, dtype=policy)(x)

    n = architecture.filters
    image = keras.Input((None, None, 1), name="image")
    full = convs(image, n)
    half = convs(pool(full), 2 * n)
    quarter = convs(pool(half), 4 * n)
    x = join(join(quarter, half, 2 * n), full, n)
    clean = layers.Conv2D(1, 1, dtype="float32", name="clean")(x)
    return keras.Model(image, clean, name="denoiser")


def reach(_: Architecture) -> int:
    """Return how far an input pixel can change the answer, in pixels to either side.

    It is counted exactly from the layers, for all four places of an output pixel on the
    grid.
    """
    farthest = 0
    for place in range(GRID):
        lo = hi = place
        for layer in _LAYERS:
            if layer == "conv":
                lo, hi = lo - 1, hi + 1
            elif layer == "pool":
                lo, hi = 2 * lo, 2 * hi + 1
            else:
                lo, hi = lo // 2, hi // 2
        farthest = max(farthest, place - lo, hi - place)
    return farthest
