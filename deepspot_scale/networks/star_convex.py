r"""The network that finds star-convex objects, as Keras 3 layers.

One normalised channel ``(n, y, x, 1)`` goes in; ``(n, y / 2, x / 2, 37)`` comes out
(`kernels.star_convex`): how central a pixel is in its object, the distance of the
object's border along 32 rays in pixels, and which of the 2 x 2 pixels are of any
object. It never works at full size. There is no batch normalisation, so an answer does
not depend on a training's statistics. Nothing here knows weights files, plates or Dask.

    image -- fold -- conv x 2 -------------------------- conv x 2 -- heads
      1       1/2       \ halve                        / unfold      1/2
                         conv x 2 -------------- conv x 2
                           \ halve      1/4      / unfold
                            ...    1/8, 1/16  ...

Sources: Schmidt et al. 2018, https://doi.org/10.1007/978-3-030-00934-2_30 (the answer);
Ronneberger et al. 2015, https://doi.org/10.1007/978-3-319-24574-4_28 (U-Net).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from deepspot_scale.kernels.star_convex import CHANNELS, RAYS
from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

ANSWER_CHANNELS: Final = CHANNELS
"""Of an answer."""
LEVELS: Final = 4
GRID: Final = 2**LEVELS
"""Stride of the network in pixels: four halvings."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    maps: tuple[int, ...] = (24, 48, 96, 128)
    """Maps at a half, a quarter, an eighth and a sixteenth of the size."""
    head: int = 64
    """Maps before the answer, at half the size."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        if len(self.maps) != LEVELS or min(*self.maps, self.head) < 1:
            raise ValueError(
                f"expected {LEVELS} numbers of maps and a head, 1 or more; got {self}"
            )

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

    It maps ``(n, y, x, 1)`` to ``(n, y / 2, x / 2, 37)``, float32; y and x are any
    multiples of `GRID`. `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)

    def conv(x: Any, filters: int) -> Any:
        x = layers.Conv2D(
            filters, 3, padding="same", kernel_initializer="he_normal", dtype=policy
        )(x)
        return layers.ReLU(dtype=policy)(x)

    def halve(x: Any, filters: int) -> Any:
        # Stride and kernel are equal: 2x2 pixels are folded into channels.
        return layers.Conv2D(filters, 2, strides=2, dtype=policy)(x)

    def unfold(x: Any, filters: int) -> Any:
        return layers.Conv2DTranspose(filters, 2, strides=2, dtype=policy)(x)

    def answer(x: Any, channels: int, kind: str, name: str) -> Any:
        x = layers.Conv2D(channels, 1, dtype="float32")(x)
        return layers.Activation(kind, dtype="float32", name=name)(x)

    image = x = keras.Input((None, None, 1), name="image")
    skips = []
    for filters in architecture.maps:
        x = conv(conv(halve(x, filters), filters), filters)
        skips.append(x)
    for skip, filters in zip(skips[-2::-1], architecture.maps[-2::-1], strict=True):
        x = layers.Concatenate(dtype=policy)([unfold(x, filters), skip])
        x = conv(conv(x, filters), filters)
    x = conv(x, architecture.head)
    central = answer(x, 1, "sigmoid", "central")
    distances = answer(x, RAYS, "relu", "distances")
    above = answer(x, CHANNELS - 1 - RAYS, "sigmoid", "foreground")
    parts = [central, distances, above]
    stars = layers.Concatenate(dtype="float32", name="stars")(parts)
    return keras.Model(image, stars, name="star_convex")


def reach(_: Architecture) -> int:
    """Return how far an input pixel can change the answer, in pixels to either side.

    It is counted from the layers for the farthest path, through the lowest level, and
    rounded up to the grid.
    """
    farthest = 0
    for place in range(0, GRID, 2):
        lo = hi = place // 2
        lo, hi = lo - 1, hi + 1  # head
        for _level in range(LEVELS - 1):
            lo, hi = (lo - 2) // 2, (hi + 2) // 2
        lo, hi = lo - 2, hi + 2
        for _level in range(LEVELS - 1):
            lo, hi = 2 * lo - 2, 2 * hi + 1 + 2
        lo, hi = 2 * lo, 2 * hi + 1
        farthest = max(farthest, place - lo, hi - place)
    return farthest
