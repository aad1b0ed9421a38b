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
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

from deepspot_scale.errors import SettingsError

DEFAULT_BLOCK = 2560
"""Largest edge of a window in pixels: a usual camera's field is then one block."""


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

    def within(self, outer: Span) -> slice:
        """Return the slice that cuts this span out of an array that holds `outer`."""
        return slice(self.start - outer.start, self.stop - outer.start)


class Box(NamedTuple):
    """A rectangle of pixels: its span along y and along x."""

    y: Span
    x: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.y.stop - self.y.start, self.x.stop - self.x.start

    @property
    def slices(self) -> tuple[slice, slice]:
        """The box as an index into the whole field."""
        return slice(*self.y), slice(*self.x)

    def grow(self, by: int, shape: tuple[int, int]) -> Box:
        """Return the box with `by` pixels more on each side, cut to the field."""
        return Box(self.y.grow(by, shape[0]), self.x.grow(by, shape[1]))

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Return the index that cuts this box out of an array that holds `outer`."""
        return self.y.within(outer.y), self.x.within(outer.x)


def whole_box(shape: tuple[int, int]) -> Box:
    """Return the box of a whole field."""
    return Box(Span(0, shape[0]), Span(0, shape[1]))


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

    shape: tuple[int, int]
    """The field's pixels along y and x."""
    blocks: tuple[Block, ...]
    """Row by row; one where the field fits into a single block."""

    @property
    def window_shape(self) -> tuple[int, int]:
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
    shape: tuple[int, int], *, block: int = DEFAULT_BLOCK, halo: int = 0, grid: int = 1
) -> Blocks:
    """Cut a field into blocks of one static shape.

    Parameters
    ----------
    shape
        The field's pixels along y and x.
    block
        Largest edge of a window in pixels; rounded down to the grid.
    halo
        Pixels needed around a core; rounded up to the grid.
    grid
        Stride that window origins keep.

    Raises
    ------
    SettingsError
        The block leaves no room for a core between two halos.
    """
    edge = block // grid * grid
    rim = math.ceil(halo / grid) * grid
    if edge <= 2 * rim:
        raise SettingsError(
            f"block of {block} px leaves no core inside a halo of {rim} px on each "
            f"side; use at least {2 * rim + grid} px"
        )
    rows, columns = (split_axis(length, edge, rim, grid) for length in shape)
    pairs = product(rows, columns)
    return Blocks(
        shape,
        tuple(
            Block(number, Box(row[0], column[0]), Box(row[1], column[1]))
            for number, (row, column) in enumerate(pairs)
        ),
    )


def one_block(shape: tuple[int, int]) -> Blocks:
    """Return the whole field as a single block without padding."""
    return plan_blocks(shape, block=max(shape))
