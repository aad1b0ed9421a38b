"""A CASO network that never works at full size, ten times cheaper, as Keras 3 layers.

One normalised channel ``(n, y, x, 1)`` goes in, the enhanced image of the same shape
in [0, 1] comes out. As in CASO-ResNet, a pooled, a strided and an atrous stem stand
side by side before a residual trunk; but pixels are folded into channels at the
entrance, the trunk works at a quarter of the size, and sub-pixel convolutions unfold
the answer. There is no batch normalisation, so an answer does not depend on a
training's statistics. Nothing here knows weights files, plates or Dask.

    image -- fold -- conv --+-- max-pool --+
                            +-- strided  --+-- concatenate -- residual x n -- unfold
                            +-- atrous   --+                                     |
                            +----------------- skip -------------------- concatenate
      1       1/2            1/4                 1/4                            1/2
                                                        sigmoid -- unfold -- conv x 2
                                                                     1          1/2

Sources: Bouilhol et al. 2021, https://doi.org/10.1101/2021.11.25.469984 (stems side by
side); Shi et al. 2016, https://doi.org/10.1109/CVPR.2016.207 (sub-pixel layers).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deepspot_scale.networks.keras_library import import_keras

if TYPE_CHECKING:
    import keras

GRID = 4
"""Stride of the network in pixels: two halvings."""


@dataclass(frozen=True)
class Architecture:
    """The numbers that define one network."""

    entry: int = 24
    """Filters at half size, before the trunk and in each stem."""
    filters: int = 48
    """Filters of the trunk, at a quarter of the size."""
    exit: int = 24
    """Filters at half size, after the trunk."""
    dilations: tuple[int, ...] = (1, 2, 4, 1, 2, 1)
    """Dilation of the first convolution of each residual block."""

    def __post_init__(self) -> None:
        """Check that these numbers make a network."""
        if min(self.entry, self.filters, self.exit, 1, *self.dilations) < 1:
            raise ValueError(f"filters and dilations must be 1 or more; got {self}")

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

    It maps ``(n, y, x, 1)`` to ``(n, y, x, 1)`` in [0, 1], float32; y and x are any
    multiples of `GRID`. `dtype` is a Keras dtype policy, such as ``"mixed_bfloat16"``.
    With `layer_plan.LIBRARY` as `library`, in Keras' place, it gives a plan.
    """
    keras = library or import_keras()
    layers = keras.layers
    policy = keras.DTypePolicy(dtype)

    def conv(x: Any, filters: int, kernel: int = 3, **options: Any) -> Any:
        options = {"padding": "same", "dtype": policy} | options
        return layers.Conv2D(filters, kernel, **options)(x)

    def halve(x: Any, filters: int) -> Any:
        # Stride and kernel are equal: 2x2 pixels are folded into channels.
        return layers.Conv2D(filters, 2, strides=2, dtype=policy)(x)

    def unfold(x: Any, filters: int, name: str | None = None) -> Any:
        # As a 1x1 convolution to four times the filters, moved into 2x2 pixels.
        return layers.Conv2DTranspose(filters, 2, strides=2, dtype=policy, name=name)(x)

    def activate(x: Any) -> Any:
        return layers.ReLU(dtype=policy)(x)

    def pool(x: Any) -> Any:
        return layers.MaxPooling2D(2, dtype=policy)(x)

    def residual(x: Any, dilation: int) -> Any:
        inner = conv(activate(x), architecture.filters, dilation_rate=dilation)
        inner = conv(activate(inner), architecture.filters, kernel_initializer="zeros")
        return layers.Add(dtype=policy)([x, inner])

    image = keras.Input((None, None, 1), name="image")
    half = activate(
        conv(activate(halve(image, architecture.entry)), architecture.entry)
    )
    atrous = activate(conv(half, architecture.entry, dilation_rate=2))
    stems = [pool(half), halve(half, architecture.entry), pool(atrous)]
    x = conv(layers.Concatenate(dtype=policy)(stems), architecture.filters)
    for dilation in architecture.dilations:
        x = residual(x, dilation)
    x = unfold(activate(x), architecture.exit)
    x = activate(layers.Concatenate(dtype=policy)([x, half]))
    x = activate(conv(x, architecture.exit))
    x = unfold(activate(conv(x, architecture.exit)), 1)
    enhanced = layers.Activation("sigmoid", dtype="float32", name="enhanced")(x)
    return keras.Model(image, enhanced, name="caso_fast")


def _layers(architecture: Architecture) -> Iterator[tuple[str, int]]:
    """Yield the layers of the farthest path, last layer first.

    The atrous stem reaches farther than the other two, and the trunk farther than the
    skip beside it.
    """
    yield from (("unfold", 1), ("conv", 1), ("conv", 1), ("unfold", 1))
    for dilation in reversed(architecture.dilations):
        yield from (("conv", 1), ("conv", dilation))
    yield from (("conv", 1), ("halve", 1), ("conv", 2), ("conv", 1), ("halve", 1))


def _needed(layer: tuple[str, int], lo: int, hi: int) -> tuple[int, int]:
    """Return which input pixels the output pixels lo..hi of a layer need."""
    kind, dilation = layer
    if kind == "conv":
        return lo - dilation, hi + dilation
    if kind == "halve":
        return 2 * lo, 2 * hi + 1
    return lo // 2, hi // 2


def reach(architecture: Architecture) -> int:
    """Return how far an input pixel can change the answer, in pixels to either side.

    It is counted exactly from the layers, for all four places of an output pixel on the
    grid.
    """
    farthest = 0
    for place in range(GRID):
        lo = hi = place
        for layer in _layers(architecture):
            lo, hi = _needed(layer, lo, hi)
        farthest = max(farthest, place - lo, hi - place)
    return farthest
