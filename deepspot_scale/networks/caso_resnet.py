"""CASO-ResNet, the network of DeepSpot, as Keras 3 layers on any backend.

One normalised channel ``(n, y, x, 1)`` goes in, the enhanced image of the same shape
in [0, 1] comes out, in which every spot is equally bright. `Architecture` says what is
built; `reach` follows from the same numbers, so the halo always fits the network.
Nothing here knows weights files, plates or Dask.

    image --+-- max-pool stem --+
            +-- strided stem  --+-- concatenate -- residual x n -- up x 3 -- sigmoid
            +-- atrous stem   --+
      1             1/8                1/8             1/8          1

Source: Bouilhol et al. 2021, DeepSpot: a deep neural network for RNA spot
enhancement in smFISH microscopy images, https://doi.org/10.1101/2021.11.25.469984;
numbers that the paper does not give follow the authors' public code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

GRID = 8
"""Stride of the network in pixels: three halvings. A window that does not start on a
multiple of it gets a wrong answer."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one CASO-ResNet.

    The defaults are the paper's network. The authors' published code has 13 blocks.
    """

    blocks: int = 10
    """Residual blocks in the trunk, including the first, projecting one."""
    stems: tuple[int, int, int] = (32, 64, 128)
    """Filters of the three halvings, the same in all three stems."""
    filters: int = 128
    """Filters of every residual block."""
    up: tuple[tuple[int, int, int], ...] = (
        (256, 128, 128),
        (128, 64, 64),
        (64, 32, 32),
    )
    """Filters of the three transposed convolutions of each up block."""
    dropout: float = 0.2
    """Share of feature maps dropped in training, in [0, 1)."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        widths = (self.filters, *self.stems, *(n for block in self.up for n in block))
        if min(self.blocks, *widths) < 1 or not 0 <= self.dropout < 1:
            raise ValueError(
                "blocks and filters must be 1 or more, and dropout from 0 to below 1; "
                f"got {self.to_dict()}"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers and lists, as stored beside the weights."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Architecture:
        """Build from what `to_dict` gave, lists read back as tuples."""
        given = dict(values)
        given["stems"] = tuple(given["stems"])
        given["up"] = tuple(tuple(block) for block in given["up"])
        return cls(**given)


def build(
    architecture: Architecture, *, dtype: str = "float32", library: Any = None
) -> keras.Model:
    """Build the untrained network.

    It maps ``(n, y, x, 1)`` to ``(n, y, x, 1)`` in [0, 1], float32; y and x are any
    multiples of `GRID`. `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)

    def conv(x: Any, filters: int, kernel: int, **options: Any) -> Any:
        options |= {"padding": "same", "dtype": policy}
        return layers.Conv2D(filters, kernel, **options)(x)

    def transposed(x: Any, filters: int, stride: int) -> Any:
        # Backends align "same" differently for stride 2 (torch is one pixel off), but
        # "valid" with a crop of the last row and column gives the same everywhere.
        if stride == 1:
            return layers.Conv2DTranspose(filters, 3, padding="same", dtype=policy)(x)
        x = layers.Conv2DTranspose(filters, 3, strides=2, dtype=policy)(x)
        return layers.Cropping2D(((0, 1), (0, 1)), dtype=policy)(x)

    def normalise(x: Any) -> Any:
        return layers.BatchNormalization(dtype=policy)(x)

    def activate(x: Any) -> Any:
        return layers.ReLU(dtype=policy)(x)

    def join(shortcut: Any, x: Any) -> Any:
        dropped = layers.SpatialDropout2D(architecture.dropout, dtype=policy)(x)
        return layers.Add(dtype=policy)([shortcut, dropped])

    def pool(x: Any) -> Any:
        return layers.MaxPooling2D(3, strides=2, padding="same", dtype=policy)(x)

    def stem(x: Any, kind: str) -> Any:
        stride = 2 if kind == "strided" else 1
        dilation = 2 if kind == "atrous" else 1
        for filters in architecture.stems:
            x = conv(x, filters, 3, strides=stride, dilation_rate=dilation)
            x = activate(normalise(x))
            x = x if kind == "strided" else pool(x)
        return x

    def residual(x: Any, project: bool) -> Any:
        shortcut = conv(x, architecture.filters, 1) if project else x
        for kernel in (1, 3, 1):
            x = conv(activate(normalise(x)), architecture.filters, kernel)
        return join(shortcut, x)

    def up(x: Any, filters: tuple[int, int, int]) -> Any:
        shortcut = normalise(transposed(x, filters[-1], 2))
        for number, (width, stride) in enumerate(zip(filters, (2, 1, 1), strict=True)):
            x = normalise(transposed(x, width, stride))
            x = activate(x) if number < 2 else x
        return activate(join(shortcut, x))

    image = keras.Input((None, None, 1), name="image")
    x = layers.Concatenate(dtype=policy)(
        [stem(image, kind) for kind in ("max_pool", "strided", "atrous")]
    )
    for number in range(architecture.blocks):
        x = residual(x, project=number == 0)
    for filters in architecture.up:
        x = up(x, filters)
    sigmoid = layers.Activation("sigmoid", dtype="float32", name="enhanced")
    enhanced = sigmoid(conv(x, 1, 1))
    return keras.Model(image, enhanced, name="caso_resnet")


def _needed(layer: tuple[str, int], lo: int, hi: int) -> tuple[int, int]:
    """Return which input pixels the output pixels lo..hi of a layer need, in one axis.

    "same" padding of an even size with stride 2 adds one pixel, on the far side.
    """
    kind, dilation = layer
    if kind == "conv":
        return lo - dilation, hi + dilation
    if kind == "down":
        return 2 * lo, 2 * hi + 2
    return math.ceil((lo - 2) / 2), hi // 2


def _paths(architecture: Architecture) -> Iterator[list[tuple[str, int]]]:
    """Yield the layers of each stem with all later ones, last layer first.

    Shortcuts reach less far than the layers they bridge, so they are left out.
    """
    after = [("conv", 1), ("conv", 1), ("up", 1)] * len(architecture.up)
    after += [("conv", 1)] * architecture.blocks
    yield after + [("down", 1), ("conv", 1)] * 3
    yield after + [("down", 1)] * 3
    yield after + [("down", 1), ("conv", 2)] * 3


def reach(architecture: Architecture) -> int:
    """Return how far an input pixel can change the answer, in pixels to either side.

    It is counted exactly from the layers, for all eight places of an output pixel on
    the grid: 122 for ten residual blocks, 146 for thirteen.
    """
    farthest = 0
    for path in _paths(architecture):
        for place in range(GRID):
            lo = hi = place
            for layer in path:
                lo, hi = _needed(layer, lo, hi)
            farthest = max(farthest, place - lo, hi - place)
    return farthest
