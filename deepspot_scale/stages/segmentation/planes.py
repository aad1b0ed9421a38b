"""A channel's whole plane, put together of blocks and reduced for a network.

Blocks hand over their cores; the field agrees on the plane, its scale and its objects'
typical size. What is cut out of it later does not depend on how the field was cut into
blocks. Of a stack it is the brightest pixel along z: labels are then flat, and go with
all planes; for labels with a depth see `stacks`. Nothing here finds objects.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import PIXEL_UM, channel_layer
from deepspot_scale.blockwise.contract import Answers, BlockContext, Key, Pixels, Step
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.errors import FieldError
from deepspot_scale.kernels.object_size import (
    bin_plane,
    enlarge_plane,
    scale_plane,
    typical_diameter,
)

_MOST_TIMES = 3
"""That a plane is enlarged: of still smaller nuclei too little is seen."""


class Plane(NamedTuple):
    """A channel's plane as objects are looked for in it."""

    image: NDArray[np.float32]
    """(y, x), reduced, in counts or scaled."""
    binning: int
    """Pixels of the field for one of `image`, along each axis."""
    shape: tuple[int, int]
    """Pixels of the field."""
    diameter: float | None
    """Typical diameter of a nucleus in pixels of the field; None: not known."""
    enlarging: int = 1
    """Pixels that the network sees for one of `image`, along each axis."""

    @property
    def step(self) -> Fraction:
        """Pixels of the field for one that the network sees."""
        return Fraction(self.binning, self.enlarging)

    @property
    def seen_shape(self) -> tuple[int, int]:
        """Pixels that the network sees."""
        height, width = self.image.shape
        return height * self.enlarging, width * self.enlarging

    def cut(self, window: Box) -> NDArray[np.float32]:
        """Return a part of `image`."""
        return self.image[window.slices]

    def seen(
        self, start: tuple[int, int] = (0, 0), stop: tuple[int, int] | None = None
    ) -> NDArray[np.float32]:
        """Return a part of what the network sees."""
        return enlarge_plane(
            self.image, self.enlarging, start, self.seen_shape if stop is None else stop
        )


def _flat_core(here: BlockContext, _: Answers, *, layer: str) -> list[Pixels]:
    box, values = here.pixels(layer)
    planes = values.reshape(-1, *values.shape[-2:])
    flat = planes[0] if len(planes) == 1 else planes.max(axis=0)
    return [Pixels(Box(box.spans[-2:]), flat)]


def put_flat(pieces: list[Pixels]) -> NDArray[Any]:
    """Return the plane of some pieces; where several lie, the brightest."""
    if len(pieces) == 1:
        check_finite(pieces[0].values)
        return pieces[0].values
    ends = [[span.stop for span in piece.box.spans] for piece in pieces]
    dtype = pieces[0].values.dtype
    least = np.finfo(dtype).min if dtype.kind == "f" else np.iinfo(dtype).min
    plane = np.full(np.max(ends, axis=0), least, dtype)
    for box, values in pieces:
        np.maximum(plane[box.slices], values, out=plane[box.slices])
    check_finite(plane)
    return plane


def check_finite(counts: NDArray[Any]) -> None:
    """Raise FieldError for pixels that are not finite."""
    if counts.dtype.kind == "f" and not np.isfinite(counts).all():
        raise FieldError(
            "the channel in which cells are looked for has pixels that are NaN or "
            "infinite; replace them before the run"
        )


def in_pixels(length_um: float, agreed: Answers, what: str) -> float:
    """Return a length of the sample in pixels of the field.

    Raises FieldError if the size of a pixel is not known; `what` is the option.
    """
    size = agreed[PIXEL_UM]
    if size is None:
        raise FieldError(
            "the size of a pixel is not known, so micrometres say nothing; leave "
            f"{what} out, or write the size into the plate"
        )
    return length_um / float(np.sqrt(size[0] * size[1]))


@dataclass(frozen=True)
class NucleiPlane:
    """Reduces or enlarges, and scales, the plane of nuclei."""

    ideal: float
    """Diameter in pixels that a nucleus should have after it."""
    diameter_um: float | None = None
    """Typical diameter of a nucleus; None: measured."""

    def __call__(self, pieces: list[Pixels], agreed: Answers) -> Plane:
        """Return the plane."""
        whole = put_flat(pieces)
        diameter = self._diameter(whole, agreed)
        binning, enlarging = 1, 1
        if diameter is not None:
            binning = max(1, round(diameter / self.ideal))
            enlarging = min(_MOST_TIMES, max(1, round(self.ideal / diameter)))
        small = bin_plane(whole, binning)
        shape = (whole.shape[0], whole.shape[1])
        scaled = scale_plane(small)(small)
        return Plane(scaled, binning, shape, diameter, enlarging)

    def _diameter(self, whole: NDArray[Any], agreed: Answers) -> float | None:
        if self.diameter_um is None:
            return typical_diameter(whole)
        return in_pixels(self.diameter_um, agreed, "--nucleus-um")


def plane_step(
    channel: str,
    key: Key[list[Pixels]],
    settles: Key[Plane],
    finalize: Callable[[list[Pixels], Answers], Plane],
    agreed: tuple[Key[Any], ...] = (PIXEL_UM,),
) -> Step:
    """Return the step that puts the plane of a channel together."""
    layer = channel_layer(channel)
    chunk = partial(_flat_core, layer=layer)
    return Step(
        key, chunk, {layer: 0}, agreed=agreed, settles=settles, finalize=finalize
    )
