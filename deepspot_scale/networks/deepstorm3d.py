"""DeepSTORM3D: from a frame of overlapping molecules to a fine volume, in Keras 3.

One normalised frame ``(n, y, x, 1)`` goes in, heights in [0, 1] of a molecule in every
fine voxel go out, ``(n, factor y, factor x, depth)``; planes of depth are channels. A
trunk of dilated convolutions looks at the whole of a large point spread function; every
layer of it sees the frame again. The authors' networks then work at the fine grid; with
``unfold="subpixel"`` all layers stay at the camera's pixels and the last one unfolds,
ten times cheaper. Nothing here knows optics, weights files or nanometres.

    frame - norm -+- block -+- block - add -+ ... +- block, x2 -- block, x2 - block ...
                  |         |  dilated      |     |  per step of 2 in `factor`
                  +---------+---------------+-----+   (the frame joins each block)

Source: Nehme et al. 2020, https://doi.org/10.1038/s41592-020-0853-5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

GRID = 1
"""Stride of the network in pixels."""
SLOPE = 0.2
"""Of the leaky rectifiers below 0."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network; by default those of the authors."""

    maps: int = 64
    """Features of the trunk."""
    depth: int = 81
    """Planes of the volume."""
    dilations: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Dilation of each block of the trunk after the first."""
    factor: int = 4
    """Fine pixels for one of the camera, along each axis; nearest: a power of 2."""
    unfold: Literal["nearest", "subpixel"] = "nearest"
    """nearest: pixels are repeated and convolved at the fine grid; subpixel: the last
    convolution gives all fine pixels of a pixel at once."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        if min(self.maps, self.depth, self.factor, 1, *self.dilations) < 1:
            raise ValueError(f"maps, depth and factor must be 1 or more; got {self}")
        if self.unfold not in ("nearest", "subpixel"):
            raise ValueError(f"unfold is nearest or subpixel; got {self.unfold!r}")
        if self.unfold == "nearest" and self.factor.bit_count() != 1:
            raise ValueError(
                f"with unfold nearest, factor is a power of 2; got {self.factor}"
            )

    @property
    def doublings(self) -> int:
        """How often pixels are repeated before the last blocks."""
        return self.factor.bit_length() - 1 if self.unfold == "nearest" else 0

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        return cls(**{**values, "dilations": tuple(values["dilations"])})


def build(
    architecture: Architecture, *, dtype: str = "float32", library: Any = None
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, factor y, factor x, depth)`` in [0, 1], float32.
    `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)
    maps, depth = architecture.maps, architecture.depth

    def normalised(x: Any) -> Any:
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=policy)(x)

    def block(x: Any, filters: int, dilation: int = 1) -> Any:
        conv = layers.Conv2D(
            filters, 3, padding="same", dilation_rate=dilation, dtype=policy
        )
        rectifier = layers.LeakyReLU(negative_slope=SLOPE, dtype=policy)
        return normalised(rectifier(conv(x)))

    def joined(x: Any) -> Any:
        return layers.Concatenate(dtype=policy)([x, frame])

    def added(x: Any, y: Any) -> Any:
        return layers.Add(dtype=policy)([x, y])

    def doubled(x: Any) -> Any:
        return layers.UpSampling2D(2, interpolation="nearest", dtype=policy)(x)

    given = keras.Input((None, None, 1), name="image")
    frame = normalised(given)
    x = block(frame, maps)
    for dilation in architecture.dilations:
        x = added(x, block(joined(x), maps, dilation))
    x = joined(x)
    if architecture.unfold == "subpixel":
        # As a 1x1 convolution whose channels are moved into factor x factor pixels.
        edge = architecture.factor
        # It starts near 0, the answer almost everywhere.
        small = keras.initializers.RandomNormal(stddev=0.003)
        x = layers.Conv2DTranspose(
            depth, edge, strides=edge, kernel_initializer=small, dtype=policy
        )(block(x, maps))
    else:
        for _ in range(architecture.doublings):
            x = block(doubled(x), maps)
        x = block(x, depth)
        for _ in range(2):
            x = added(x, block(x, depth))
        x = layers.Conv2D(depth, 1, dtype=policy)(x)
    heights = layers.ReLU(max_value=1.0, dtype="float32", name="heights")(x)
    return keras.Model(given, heights, name="deepstorm3d")


def answer(architecture: Architecture) -> tuple[int, int]:
    """Return fine pixels for one of the camera, and channels, of an answer."""
    return architecture.factor, architecture.depth


def _layers(architecture: Architecture) -> Iterator[tuple[str, int]]:
    """Yield the layers of the farthest path, last layer first."""
    if architecture.unfold == "subpixel":
        yield from (("unfold", architecture.factor), ("conv", 1))
    else:
        yield from [("conv", 1)] * 3
        for _ in range(architecture.doublings):
            yield from (("conv", 1), ("unfold", 2))
    for dilation in (*reversed(architecture.dilations), 1):
        yield "conv", dilation


def reach(architecture: Architecture) -> int:
    """Return how far a camera pixel can change the answer, in pixels to either side.

    It is counted exactly from the layers, for all fine pixels of a camera pixel.
    """
    farthest = 0
    for place in range(architecture.factor):
        lo = hi = place
        for kind, step in _layers(architecture):
            if kind == "conv":
                lo, hi = lo - step, hi + step
            else:
                lo, hi = lo // step, hi // step
        farthest = max(farthest, -lo, hi)
    return farthest
