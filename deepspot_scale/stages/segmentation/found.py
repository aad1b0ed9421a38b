"""What is found in a whole plane, and labels drawn of it for any part.

Nothing here finds objects.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Key,
    Layer,
    Pixels,
    Step,
)
from deepspot_scale.blockwise.geometry import Block, Blocks, Box, plan_blocks
from deepspot_scale.kernels.cell_growth import cells_at
from deepspot_scale.kernels.objects import Objects, draw_labels

_AS_IT_IS = Fraction(1)


class Found(NamedTuple):
    """Objects of a plane."""

    objects: Objects
    """In the order of their labels."""
    n_claimed: int = 0
    """Pixels that more than one object claimed."""
    n_cut: int = 0
    """Objects that may have been cut, since they are larger than was declared."""
    unsized: bool = False
    """Whether their typical size could not be measured."""
    unlike: bool = False
    """Whether the plane is unlike those that the network was trained on."""


class Grown(NamedTuple):
    """Cells of a plane that were grown from nuclei."""

    labels: NDArray[np.int32]
    """(y, x), of the reduced plane."""
    binning: int
    source: Literal["stain", "grown"]
    n: int
    """Cells."""


def tiles_of(
    shape: tuple[int, int], edge: int, halo: int, grid: int = 1
) -> tuple[Block, ...]:
    """Return the tiles of a plane: always the same, whatever the blocks are."""
    tiles: Blocks = plan_blocks(shape, block=edge, halo=halo, grid=grid)
    return tiles.blocks


def own_tiles(
    tiles: tuple[Block, ...], here: BlockContext, step: Fraction = _AS_IT_IS
) -> list[Block]:
    """Return the tiles whose core begins in the block's core; each has one block.

    `step` is how many pixels of the field a pixel of the tiles spans.
    """
    core = here.block.core
    if any(span.start for span in core.spans[:-2]):
        return []
    y, x = core.y, core.x
    return [
        tile
        for tile in tiles
        if y.start <= tile.core.y.start * step < y.stop
        and x.start <= tile.core.x.start * step < x.stop
    ]


def _flat(box: Box) -> tuple[list[int], list[int]]:
    return [box.y.start, box.x.start], [box.y.stop, box.x.stop]


def _on_all_planes(labels: NDArray[np.int32], box: Box) -> Pixels:
    return Pixels(box, np.broadcast_to(labels, box.shape))


@dataclass(frozen=True)
class DrawObjects:
    """Draws a block's labels."""

    key: Key[Found]

    def __call__(self, here: BlockContext, agreed: Answers) -> Pixels:
        """Return the wanted labels."""
        labels = draw_labels(agreed[self.key].objects, *_flat(here.wanted))
        return _on_all_planes(labels, here.wanted)

    def step(self, layer: Layer) -> Step:
        """Return the step that gives a layer."""
        return Step(layer, self, agreed=(self.key,))


@dataclass(frozen=True)
class DrawCells:
    """Draws a block's cells around its nuclei."""

    nuclei: Key[Found]
    cells: Key[Grown]

    def __call__(self, here: BlockContext, agreed: Answers) -> Pixels:
        """Return the wanted labels."""
        start, stop = _flat(here.wanted)
        nuclei = draw_labels(agreed[self.nuclei].objects, start, stop)
        grown = agreed[self.cells]
        at = (start[0], start[1])
        labels = cells_at(grown.labels, grown.binning, nuclei, at)
        return _on_all_planes(labels, here.wanted)

    def step(self, layer: Layer) -> Step:
        """Return the step that gives a layer."""
        return Step(layer, self, agreed=(self.nuclei, self.cells))


def count_objects(found: Any) -> int:
    """Return the number of objects."""
    return len(found.objects.masks)
