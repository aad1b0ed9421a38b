"""Families of networks: the meaning of the word `family` in a weights file.

A name comes in, a `Family` goes out: how its networks are built, what they take and
what they give. `FAMILIES` are built in; an installed package adds one by an entry point
of the group `deepspot_scale.networks`. Nothing here knows weights files or engines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Literal

from deepspot_scale.errors import SettingsError, WeightsError, did_you_mean
from deepspot_scale.networks import (
    caso_fast,
    caso_resnet,
    deep_storm,
    deepstorm3d,
    denoiser,
    dye_classifier,
    rater,
    rating_cnn,
    star_convex,
    subpixel_cnn,
)
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
    binning: int = 1
    """Pixels of an image along each axis that its networks see as one."""
    answer_range: tuple[float, float] | None = None
    """Smallest and largest value of an answer; None: any number."""
    normalisation: Literal["quantile", "noise", "movie", "percentile", "stored"] = (
        "quantile"
    )
    """How the brightness of an image is scaled: a name of
    `kernels.normalisation.SCALES`; movie, which is `kernels.movie_scale`; percentile,
    which is `kernels.object_size.scale_plane`; or stored, in the text of the weights,
    see `kernels.denoising`."""
    calibration: str | None = None
    """Simulated set whose normalised images calibrate int8; None: there is no int8."""
    answer: Callable[[Any], tuple[Fraction | int, int]] | None = None
    """Gives scale and channels out of one network, where these depend on its
    architecture; those above are then of the default one."""
    has_plan: bool = False
    """Whether `build` also takes ``library=``, as `layer_plan.plan_network` gives it:
    OpenVINO then runs the networks without Keras."""

    def __post_init__(self) -> None:
        """Check that answers of whole windows are whole pixels."""
        if Fraction(self.grid * self.scale).denominator != 1:
            raise SettingsError(
                f"the family {self.name} has the grid {self.grid} and the scale "
                f"{self.scale}; its answer to a grid step is no whole number of pixels"
            )

    def of(self, architecture: Any) -> Family:
        """Return the family with the numbers of one of its networks."""
        if self.answer is None:
            return self
        scale, channels = self.answer(architecture)
        return replace(self, scale=scale, channels_out=channels)

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
    has_plan=True,
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
    has_plan=True,
)
SUBPIXEL_CNN: Final = Family(
    "subpixel_cnn",
    subpixel_cnn.Architecture,
    subpixel_cnn.build,
    subpixel_cnn.reach,
    subpixel_cnn.GRID,
    scale=subpixel_cnn.SCALE,
    normalisation="movie",
    has_plan=True,
)
SUBPIXEL_CNN8: Final = Family(
    "subpixel_cnn8",
    subpixel_cnn.Architecture8,
    subpixel_cnn.build,
    subpixel_cnn.reach,
    subpixel_cnn.GRID,
    scale=subpixel_cnn.SCALE8,
    normalisation="movie",
    has_plan=True,
)
DEEP_STORM: Final = Family(
    "deep_storm",
    deep_storm.Architecture,
    deep_storm.build,
    deep_storm.reach,
    deep_storm.GRID,
    scale=deep_storm.SCALE,
    normalisation="movie",
    has_plan=True,
)
DYE_CLASSIFIER: Final = Family(
    "dye_classifier",
    dye_classifier.Architecture,
    dye_classifier.build,
    dye_classifier.reach,
    dye_classifier.WINDOW,
    scale=Fraction(1, dye_classifier.WINDOW),
    channels_out=dye_classifier.DYES,
    answer_range=(0.0, 1.0),
    has_plan=True,
)
DEEPSTORM3D: Final = Family(
    "deepstorm3d",
    deepstorm3d.Architecture,
    deepstorm3d.build,
    deepstorm3d.reach,
    deepstorm3d.GRID,
    scale=deepstorm3d.Architecture().factor,
    channels_out=deepstorm3d.Architecture().depth,
    answer_range=(0.0, 1.0),
    normalisation="movie",
    answer=deepstorm3d.answer,
    has_plan=True,
)
STAR_CONVEX: Final = Family(
    "star_convex",
    star_convex.Architecture,
    star_convex.build,
    star_convex.reach,
    star_convex.GRID,
    scale=Fraction(1, 2),
    channels_out=star_convex.ANSWER_CHANNELS,
    normalisation="percentile",
    has_plan=True,
)
DENOISER: Final = Family(
    "denoiser",
    denoiser.Architecture,
    denoiser.build,
    denoiser.reach,
    denoiser.GRID,
    normalisation="stored",
    has_plan=True,
)
RATER: Final = Family(
    "rater",
    rater.Architecture,
    rater.build,
    rater.reach,
    rater.TILE,
    scale=Fraction(1, rater.TILE),
    channels_in=rater.CHANNELS,
    binning=rater.BINNING,
    channels_out=rater.channels(rater.Architecture()),
    answer_range=(0.0, 1.0),
    normalisation="noise",
    answer=lambda network: (Fraction(1, rater.TILE), rater.channels(network)),
    has_plan=True,
)
RATING_CNN: Final = Family(
    "rating_cnn",
    rating_cnn.Architecture,
    rating_cnn.build,
    rater.reach,
    rating_cnn.TILE,
    scale=Fraction(1, rating_cnn.TILE),
    channels_out=rater.channels(rating_cnn.Architecture()),
    answer_range=(0.0, 1.0),
    normalisation="noise",
    answer=lambda network: (Fraction(1, rating_cnn.TILE), rater.channels(network)),
    has_plan=True,
)
FAMILIES: Final[dict[str, Family]] = {
    family.name: family
    for family in (
        CASO_RESNET,
        CASO_FAST,
        SUBPIXEL_CNN,
        SUBPIXEL_CNN8,
        DEEP_STORM,
        DYE_CLASSIFIER,
        DEEPSTORM3D,
        STAR_CONVEX,
        DENOISER,
        RATER,
        RATING_CNN,
    )
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
