"""Families of networks: the meaning of the word `family` in a weights file.

A name comes in, a `Family` goes out: how its networks are built, what they take and
what they give. `FAMILIES` are built in; an installed package adds one by an entry point
of the group `deepspot_scale.networks`. Nothing here knows weights files or engines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal

from deepspot_scale.errors import SettingsError, WeightsError, did_you_mean
from deepspot_scale.networks import caso_fast, caso_resnet
from deepspot_scale.plugins import NETWORKS, load_plugin, plugin_names


@dataclass(frozen=True)
class Family:
    """Networks of one purpose, which differ only in their size."""

    name: str
    """The word in a weights file."""
    architecture: type[Any]
    """Frozen dataclass of the numbers that define one network, each with a default;
    ``to_dict()`` gives plain values, ``from_dict(values)`` takes them back."""
    build: Callable[..., Any]
    """``build(architecture, dtype="float32")`` returns the untrained Keras model from
    (n, *space, channels_in) to (n, *space times scale, channels_out), float32."""
    reach: Callable[[Any], int]
    """Gives how far an input pixel can change the answer, in input pixels."""
    grid: int
    """Stride in input pixels: windows start and end on multiples of it."""
    scale: Fraction | int = 1
    """Pixels of the answer for one pixel of the image, along each axis."""
    channels_in: int = 1
    """Channels of an image."""
    channels_out: int = 1
    """Channels of an answer."""
    answer_range: tuple[float, float] | None = None
    """Smallest and largest value of an answer; None: any number."""
    normalisation: Literal["quantile", "noise"] = "quantile"
    """How the brightness of an image is scaled, a name of
    `kernels.normalisation.SCALES`."""
    calibration: str | None = None
    """Simulated set whose normalised images calibrate int8; None: there is no int8."""

    def __post_init__(self) -> None:
        """Check that answers of whole windows are whole pixels."""
        if Fraction(self.grid * self.scale).denominator != 1:
            raise SettingsError(
                f"the family {self.name} has the grid {self.grid} and the scale "
                f"{self.scale}; its answer to a grid step is no whole number of pixels"
            )

    def halo(self, architecture: Any) -> int:
        """Return `reach` rounded up to the grid: the halo of an exact block."""
        return math.ceil(self.reach(architecture) / self.grid) * self.grid

    def answer_shape(self, space: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape (*space, channels) of the answer to an image."""
        return (*(int(n * self.scale) for n in space), self.channels_out)


CASO_RESNET: Final = Family(
    "caso_resnet",
    caso_resnet.Architecture,
    caso_resnet.build,
    caso_resnet.reach,
    caso_resnet.GRID,
    answer_range=(0.0, 1.0),
    calibration="broad",
)
CASO_FAST: Final = Family(
    "caso_fast",
    caso_fast.Architecture,
    caso_fast.build,
    caso_fast.reach,
    caso_fast.GRID,
    answer_range=(0.0, 1.0),
    normalisation="noise",
    calibration="dynamic",
)
FAMILIES: Final[dict[str, Family]] = {
    family.name: family for family in (CASO_RESNET, CASO_FAST)
}
"""The built-in families by name."""


def find_family(name: str) -> Family:
    """Return the family of this name.

    Raises
    ------
    WeightsError
        The family is neither built in nor installed.
    SettingsError
        The installed package of the family cannot be imported, or gives another one.
    """
    if name in FAMILIES:
        return FAMILIES[name]
    # Only installed names: a weights file must not choose what code is imported.
    installed = plugin_names(NETWORKS)
    if name in installed:
        family = load_plugin(name, NETWORKS)
        if isinstance(family, Family) and family.name == name:
            return family
        raise SettingsError(f"network {name!r} is {family!r}, no `Family` of that name")
    known = sorted({*FAMILIES, *installed})
    raise WeightsError(
        f"no family of networks {name!r}: expected one of {', '.join(known)}."
        f"{did_you_mean(name, known)} Install the package that brings it, or a newer "
        "deepspot_scale"
    )
