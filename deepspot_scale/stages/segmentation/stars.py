"""Nuclei by the star-convex network, in tiles that are fixed to the plane.

The block in which a tile begins answers for it. Candidates and the foreground travel;
which candidates are objects, and whose each pixel is, is decided once for the plane.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.batching import BatchedWork
from deepspot_scale.blockwise.contract import Answers, BlockContext, Key, Step
from deepspot_scale.blockwise.geometry import Block, Box
from deepspot_scale.kernels.objects import in_order, take_objects
from deepspot_scale.kernels.star_convex import (
    Candidates,
    decode,
    draw_stars,
    foreground,
    no_candidates,
    suppress,
)
from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.engines import get_engine, iter_predictions
from deepspot_scale.networks.star_models import StarModel
from deepspot_scale.stages.segmentation.found import Found, own_tiles, tiles_of
from deepspot_scale.stages.segmentation.planes import Plane

TILE = 1024
"""Longest edge of a tile in pixels of the network's image."""
_LEAST = 8
"""Pixels of the network's image that an object has at least."""


class Stars(NamedTuple):
    """Candidates of some tiles, and the foreground of their cores."""

    candidates: Candidates
    above: tuple[tuple[Box, NDArray[np.uint8]], ...]

    def __add__(self, other: object) -> Stars:
        if not isinstance(other, Stars):
            return NotImplemented
        return Stars(self.candidates + other.candidates, self.above + other.above)


STARS: Key[Stars] = Key("nuclei_stars")


@dataclass(frozen=True)
class StarNetwork:
    """Finds star-convex objects in a plane."""

    engine: EngineChoice
    """Which network, and how it is run."""
    model: StarModel
    """How its answer is read."""
    plane: Key[Plane]
    """Where it looks."""
    settles: Key[Found]
    """What it finds."""

    def _tiles(self, here: BlockContext, plane: Plane) -> list[Block]:
        whole = tiles_of(plane.seen_shape, TILE, self.model.halo, self.model.grid)
        return own_tiles(whole, here, plane.step)

    def prepare(self, here: BlockContext, agreed: Answers) -> NDArray[np.float32]:
        """Return the windows (n, y, x) of the block's tiles.

        Where a window reaches beyond the plane, to be on the grid, the plane is
        mirrored.
        """
        plane = agreed[self.plane]
        tiles = self._tiles(here, plane)
        windows = [_window(plane, tile.window) for tile in tiles]
        if not windows:
            return np.zeros((0, self.model.grid, self.model.grid), np.float32)
        return np.stack(windows)

    def predict(self, given: Sequence[NDArray[np.float32]]) -> list[Any]:
        """Return the candidates and the foreground of each window of each block."""
        counts = [len(windows) for windows in given]
        images = [window[..., None] for windows in given for window in windows]
        if not images:
            return [[] for _ in given]
        answers = iter_predictions(get_engine(self.engine), images)
        read = [
            (decode(each, self.model.threshold), foreground(each)) for each in answers
        ]
        ends = np.cumsum(counts)
        return [read[end - n : end] for n, end in zip(counts, ends, strict=True)]

    def finish(self, here: BlockContext, agreed: Answers, read: list[Any]) -> Stars:
        """Return what lies in the cores of the block's tiles."""
        stars = Stars(no_candidates(), ())
        tiles = self._tiles(here, agreed[self.plane])
        for tile, (found, above) in zip(tiles, read, strict=True):
            corner = np.array([span.start for span in tile.window.spans])
            places = found.places + corner
            y, x = places.T
            core = tile.core
            own = (y >= core.y.start) & (y < core.y.stop)
            own &= (x >= core.x.start) & (x < core.x.stop)
            here_ = found._replace(places=places).take(own)
            cut = above[core.within(tile.window)]
            stars += Stars(here_, ((core, np.ascontiguousarray(cut)),))
        return stars

    def settle(self, stars: Stars, agreed: Answers) -> Found:
        """Return the plane's objects."""
        plane = agreed[self.plane]
        above = np.zeros(plane.seen_shape, np.uint8)
        for core, pixels in stars.above:
            above[core.slices] = pixels
        kept = stars.candidates.take(suppress(stars.candidates, self.model.overlap))
        drawn = draw_stars(kept, above, plane.shape, step=plane.step)
        sizes = np.bincount(drawn.labels.ravel())
        large = sizes >= _LEAST * float(plane.step) ** 2
        large[0] = False
        names = np.flatnonzero(large)
        certainty = kept.probability[names - 1].astype(float)
        objects = in_order(take_objects(drawn.labels, names, certainty))
        unsized = plane.diameter is None
        unlike = self.model.is_unlike(plane.seen())
        return Found(objects, drawn.n_claimed, 0, unsized, unlike)

    def step(self) -> Step:
        """Return the step that settles the objects."""
        work = BatchedWork(self.prepare, self.predict, self.finish)
        return Step(
            STARS,
            work,
            agreed=(self.plane,),
            settles=self.settles,
            finalize=self.settle,
        )


def _window(plane: Plane, window: Box) -> NDArray[np.float32]:
    height, width = plane.seen_shape
    ends = (min(window.y.stop, height), min(window.x.stop, width))
    cut = plane.seen((window.y.start, window.x.start), ends)
    missing = [(0, window.y.stop - ends[0]), (0, window.x.stop - ends[1])]
    if not any(more for _, more in missing):
        return cut
    return np.asarray(np.pad(cut, missing, mode="symmetric"), np.float32)
