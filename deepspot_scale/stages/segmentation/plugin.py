"""Objects by a plug-in, in tiles that are fixed to the plane or the stack.

Of a tile the objects are taken whose anchor lies in its core, whole. One that touches
the window's side, where it may go on, is looked for again in a larger window. Tiles of
a stack have all its planes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from deepspot_scale.blockwise.contract import Answers, BlockContext, Key, Step
from deepspot_scale.blockwise.geometry import Block
from deepspot_scale.kernels.objects import (
    Objects,
    arrange,
    find_objects,
    no_objects,
    touches_edge,
)
from deepspot_scale.networks.segmenters import Segmenter, run_segmenter
from deepspot_scale.stages.segmentation.found import Found, own_tiles, tiles_of
from deepspot_scale.stages.segmentation.planes import Plane
from deepspot_scale.stages.segmentation.stacks import Stack

_AGAIN = (2, 4)
"""Halos, in those that were declared, with which an object that may be cut is looked
for again."""


class Owned(NamedTuple):
    """Objects of some tiles."""

    objects: Objects
    n_cut: int = 0
    """Of them, those that touch the side of the largest window."""

    def __add__(self, other: object) -> Owned:
        if not isinstance(other, Owned):
            return NotImplemented
        return Owned(self.objects + other.objects, self.n_cut + other.n_cut)


@dataclass(frozen=True)
class PluginObjects:
    """Finds objects in a plane or a stack by a function of another package."""

    name: str
    """The plug-in's, for errors."""
    segmenter: Segmenter
    plane: Key[Any]
    """Where it looks: a `Plane`, or a `Stack` if the segmenter takes volumes."""
    key: Key[Owned]
    """Of the block's answer."""
    settles: Key[Found]
    """What it finds."""

    def chunk(self, here: BlockContext, agreed: Answers) -> Owned:
        """Return the objects of the block's tiles."""
        plane = agreed[self.plane]
        own = self.segmenter
        owned = Owned(no_objects(len(plane.shape)))
        for tile in own_tiles(tiles_of(plane.shape, own.tile, own.halo), here):
            owned += self._owned(plane, tile)
        return owned

    def _owned(self, plane: Plane | Stack, tile: Block) -> Owned:
        found, cut = self._look(plane, tile, 1)
        for times in _AGAIN:
            if not cut.any():
                break
            found, cut = self._look(plane, tile, times)
        return Owned(found, int(cut.sum()))

    def _look(
        self, plane: Plane | Stack, tile: Block, times: int
    ) -> tuple[Objects, np.ndarray]:
        """Return the core's objects, and which touch a side of the window."""
        more = (times - 1) * self.segmenter.halo
        window = tile.window.grow(more, plane.shape)
        labels = run_segmenter(self.segmenter, plane.cut(window), self.name)
        start = [span.start for span in window.spans]
        stop = [span.stop for span in window.spans]
        core = tile.core
        found = find_objects(labels).moved(start)
        own = found.anchored_in(
            [span.start for span in core.spans], [span.stop for span in core.spans]
        )
        return own, touches_edge(own, start, stop, plane.shape)

    def settle(self, owned: Owned, agreed: Answers) -> Found:
        """Return all objects."""
        arranged = arrange(owned.objects, agreed[self.plane].shape)
        return Found(arranged.objects, arranged.n_claimed, owned.n_cut)

    def step(self) -> Step:
        """Return the step that settles the objects."""
        return Step(
            self.key,
            self.chunk,
            agreed=(self.plane,),
            settles=self.settles,
            finalize=self.settle,
        )
