"""What is found in a whole plane or stack, and labels drawn of it for any part.

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
from deepspot_scale.blockwise.geometry import Block, Blocks, Box, Span, plan_blocks
from deepspot_scale.kernels.cell_growth import cells_at
from deepspot_scale.kernels.objects import Objects, draw_labels

_AS_IT_IS = Fraction(1)


class Found(NamedTuple):
    """Objects of a plane or a stack."""

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
    shape: tuple[int, ...], edge: int, halo: int, grid: int = 1
) -> tuple[Block, ...]:
    """Return the tiles of a plane: always the same, whatever the blocks are.

    Those of a stack (z, y, x) have all its planes.
    """
    tiles: Blocks = plan_blocks(shape[-2:], block=edge, halo=halo, grid=grid)
    if len(shape) == 2:
        return tiles.blocks
    planes = Span(0, shape[0])
    return tuple(
        tile._replace(
            core=_deepen(tile.core, planes), window=_deepen(tile.window, planes)
        )
        for tile in tiles.blocks
    )


def _deepen(box: Box, planes: Span) -> Box:
    return Box((planes, *box.spans), f"z{box.axes}")


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


def _ends(box: Box, d: int) -> tuple[list[int], list[int]]:
    """Return where a box starts and stops along its last `d` axes."""
    spans = box.spans[-d:]
    return [span.start for span in spans], [span.stop for span in spans]


def _on_all_planes(labels: NDArray[np.int32], box: Box) -> Pixels:
    return Pixels(box, np.broadcast_to(labels, box.shape))


@dataclass(frozen=True)
class DrawObjects:
    """Draws a block's labels; those of flat objects on each of its planes."""

    key: Key[Found]

    def __call__(self, here: BlockContext, agreed: Answers) -> Pixels:
        """Return the wanted labels."""
        objects = agreed[self.key].objects
        d = objects.anchors.shape[1]
        labels = draw_labels(objects, *_ends(here.wanted, d))
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
        start, stop = _ends(here.wanted, 2)
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
