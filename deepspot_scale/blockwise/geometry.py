"""The arithmetic of blocks: integers in, integers out, no arrays and no Dask.

A block has a **core** it answers for and a **window** it reads. Cores tile the
field. Along one axis, with blocks of four cells and a halo of one:

    field    |. . . . . . . . . . .|        length 11, padded on the right to 12
    window 0 |# # # #|                      starts at the field's edge
    window 1     |# # # #|                  every window has the same length
    window 4                 |# # # #|      the last ends at the padded edge
    cores    |0 0 0|1 1|2 2|3 3|4 4 4|

At the field's edges a window ends where the field ends, so that the network's own
padding is the rule there; inside, a core keeps the halo's distance from its
window's ends. Window origins lie on the grid, since the network's answer depends on
the place modulo its stride.

Boxes have any named axes, ``yx`` or ``zyx`` say. A layer may have a finer or a coarser
grid than the image; `Box.scaled` goes from one to the other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from deepspot_scale.errors import SettingsError

DEFAULT_BLOCK = 2560
"""Largest edge of a window in pixels: a usual camera's field is then one block."""
MOST_PLANES = 64
"""Largest edge of a window along axes other than y and x."""
MOST_VOXELS = 1 << 26
"""Largest window of several planes: more of them make its edges along y and x shorter,
as far as three halos, so that a worker's memory does not grow with the planes."""

Margin = int | Mapping[str, int]
"""Pixels around a box: along y and x, or by axis."""


def margin_along(margin: Margin, axis: str) -> int:
    """Return the pixels of a margin along one axis; 0 along those it does not name."""
    if isinstance(margin, int):
        return margin if axis in "yx" else 0
    return margin.get(axis, 0)


class Span(NamedTuple):
    """Pixels `start` to `stop` (exclusive) along one axis."""

    start: int
    stop: int

    def shift(self, by: int) -> Span:
        """Return the span moved by `by` pixels."""
        return Span(self.start + by, self.stop + by)

    def grow(self, by: int, length: int) -> Span:
        """Return the span with `by` pixels more on each side, cut to the field."""
        return Span(max(0, self.start - by), min(length, self.stop + by))

    def overlap(self, other: Span) -> Span:
        """Return the pixels of both; their spans must share some."""
        return Span(max(self.start, other.start), min(self.stop, other.stop))

    def within(self, outer: Span) -> slice:
        """Return the slice that cuts this span out of an array that holds `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)

    def scaled(self, scale: Fraction) -> Span:
        """Return the span on a grid `scale` times as fine, whole pixels of it."""
        return Span(math.floor(self.start * scale), math.ceil(self.stop * scale))


class Box(NamedTuple):
    """A block of pixels: its span along each axis."""

    spans: tuple[Span, ...]
    axes: str = "yx"

    def along(self, axis: str) -> Span:
        """Return the span along one axis."""
        return self.spans[self.axes.index(axis)]

    @property
    def y(self) -> Span:
        """The span along y."""
        return self.spans[-2]

    @property
    def x(self) -> Span:
        """The span along x."""
        return self.spans[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis."""
        return tuple(stop - start for start, stop in self.spans)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index into the whole field."""
        return tuple(slice(*span) for span in self.spans)

    def grow(self, by: Margin, shape: tuple[int, ...]) -> Box:
        """Return the box with `by` pixels more on each side, cut to the field."""
        spans = (
            span.grow(margin_along(by, axis), length)
            for axis, span, length in zip(self.axes, self.spans, shape, strict=True)
        )
        return Box(tuple(spans), self.axes)

    def overlap(self, other: Box) -> Box:
        """Return the pixels of both; the boxes must share some."""
        pairs = zip(self.spans, other.spans, strict=True)
        return Box(tuple(span.overlap(there) for span, there in pairs), self.axes)

    def within(self, outer: Box) -> tuple[slice, ...]:
        """Return the index that cuts this box out of an array that holds `outer`."""
        pairs = zip(self.spans, outer.spans, strict=True)
        return tuple(span.within(other) for span, other in pairs)

    def lies_in(self, outer: Box) -> bool:
        """Return whether no pixel of this box is outside the other."""
        pairs = zip(self.spans, outer.spans, strict=True)
        return all(o.start <= s.start and s.stop <= o.stop for s, o in pairs)

    def scaled(self, scale: Fraction) -> Box:
        """Return the box on a grid `scale` times as fine along y and x."""
        if scale == 1:
            return self
        spans = (
            span.scaled(scale) if axis in "yx" else span
            for axis, span in zip(self.axes, self.spans, strict=True)
        )
        return Box(tuple(spans), self.axes)


def whole_box(shape: tuple[int, ...], axes: str = "yx") -> Box:
    """Return the box of a whole field."""
    return Box(tuple(Span(0, length) for length in shape), axes)


class Block(NamedTuple):
    """One piece of a field."""

    number: int
    """Place in the order of blocks, row by row from 0."""
    core: Box
    """Pixels it answers for; inside the field."""
    window: Box
    """Pixels it reads; on the grid, reaching past the field where that is padded."""


@dataclass(frozen=True)
class Blocks:
    """All blocks of one field."""

    shape: tuple[int, ...]
    """The field's pixels along each axis, y and x last."""
    blocks: tuple[Block, ...]
    """Row by row; one where the field fits into a single block."""

    @property
    def window_shape(self) -> tuple[int, ...]:
        """The one shape that every window has."""
        return self.blocks[0].window.shape


def split_axis(
    length: int, block: int, halo: int, grid: int
) -> list[tuple[Span, Span]]:
    """Return (core, window) of every block along one axis.

    Parameters
    ----------
    length
        Pixels of the field, at least 1.
    block
        Largest length of a window, a multiple of `grid`, more than two halos.
    halo
        Pixels that a core keeps from the ends of its window inside the field.
    grid
        Windows start and end on multiples of this.
    """
    padded = math.ceil(length / grid) * grid
    if padded <= block:
        return [(Span(0, length), Span(0, padded))]
    n = math.ceil((padded - 2 * halo) / (block - 2 * halo))
    # The least window that still needs only n blocks: less of it is computed twice.
    block = math.ceil((padded + (n - 1) * 2 * halo) / n / grid) * grid
    step = block - 2 * halo
    origins = [min(i * step, padded - block) for i in range(n)]
    edges = [0, *(i * step + halo for i in range(1, n)), length]
    return [
        (Span(start, stop), Span(origin, origin + block))
        for origin, start, stop in zip(origins, edges, edges[1:], strict=False)
        if start < stop
    ]


def plan_blocks(
    shape: tuple[int, ...],
    *,
    block: int = DEFAULT_BLOCK,
    halo: Margin = 0,
    grid: int = 1,
    axes: str = "yx",
) -> Blocks:
    """Cut a field into blocks of one static shape.

    Parameters
    ----------
    shape
        The field's pixels along each of `axes`.
    block
        Largest edge of a window along y and x in pixels; rounded down to the grid, and
        smaller in a stack, see `MOST_VOXELS`. Along other axes it is `MOST_PLANES` and
        two halos.
    halo
        Pixels needed around a core; rounded up to the grid.
    grid
        Stride that window origins keep along y and x.
    axes
        Their names, y and x last.

    Raises
    ------
    SettingsError
        The block leaves no room for a core between two halos.
    """
    planes = math.prod(
        min(length, MOST_PLANES + 2 * margin_along(halo, axis))
        for axis, length in zip(axes, shape, strict=True)
        if axis not in "yx"
    )
    widest = max(margin_along(halo, axis) for axis in "yx")
    block = min(block, max(math.isqrt(MOST_VOXELS // planes), 3 * widest + 2 * grid))
    cut = [
        _cut_axis(length, block, margin_along(halo, axis), grid)
        if axis in "yx"
        else split_axis(
            length,
            MOST_PLANES + 2 * margin_along(halo, axis),
            margin_along(halo, axis),
            1,
        )
        for axis, length in zip(axes, shape, strict=True)
    ]
    return Blocks(
        shape,
        tuple(
            Block(
                number,
                Box(tuple(core for core, _ in pairs), axes),
                Box(tuple(window for _, window in pairs), axes),
            )
            for number, pairs in enumerate(product(*cut))
        ),
    )


def _cut_axis(length: int, block: int, halo: int, grid: int) -> list[tuple[Span, Span]]:
    edge = block // grid * grid
    rim = math.ceil(halo / grid) * grid
    if edge <= 2 * rim:
        raise SettingsError(
            f"block of {block} px leaves no core inside a halo of {rim} px on each "
            f"side; use at least {2 * rim + grid} px"
        )
    return split_axis(length, edge, rim, grid)


def one_block(shape: tuple[int, ...], axes: str = "yx") -> Blocks:
    """Return the whole field as a single block without padding."""
    whole = whole_box(shape, axes)
    return Blocks(shape, (Block(0, whole, whole),))
