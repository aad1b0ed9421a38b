"""A channel's whole stack, put together of blocks, for a plug-in that takes volumes.

Blocks hand over their cores; the field has the stack and its scale, that of all planes
together. Windows of it do not depend on how the field was cut into blocks. Nothing here
finds objects.

Memory: the counts of the whole stack lie in one place, in the image's own dtype, and
once more while their percentiles are sorted; a window is float32. A stack of 60 planes
of 2048 x 2048 pixels and 16 bits takes 0.5 GB, and 1 GB for that moment. Where the
blocks of a field go to several workers, each of them gets the stack.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import channel_layer
from deepspot_scale.blockwise.contract import Answers, BlockContext, Key, Pixels, Step
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.kernels.object_size import PlaneScale, scale_plane
from deepspot_scale.stages.segmentation.planes import check_finite


class Stack(NamedTuple):
    """A channel's stack as objects are looked for in it."""

    counts: NDArray[Any]
    """(z, y, x), of the whole field."""
    scale: PlaneScale | None
    """From counts to what a segmenter sees; None: they are scaled already."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Planes and pixels of the field."""
        return self.counts.shape

    def cut(self, window: Box) -> NDArray[np.float32]:
        """Return a part of what a segmenter sees."""
        part = self.counts[window.slices]
        return part.astype(np.float32) if self.scale is None else self.scale(part)


def _core(here: BlockContext, _: Answers, *, layer: str) -> list[Pixels]:
    return [here.pixels(layer)]


def put_stack(pieces: list[Pixels], _: Answers) -> Stack:
    """Return the stack of some pieces, each pixel of which is in one of them.

    Raises FieldError for pixels that are not finite.
    """
    ends = [[span.stop for span in piece.box.spans] for piece in pieces]
    counts = np.empty(np.max(ends, axis=0), pieces[0].values.dtype)
    for box, values in pieces:
        counts[box.slices] = values
    check_finite(counts)
    return Stack(counts, scale_plane(counts))


def stack_step(channel: str, key: Key[list[Pixels]], settles: Key[Stack]) -> Step:
    """Return the step that puts the stack of a channel together."""
    layer = channel_layer(channel)
    chunk = partial(_core, layer=layer)
    return Step(key, chunk, {layer: 0}, settles=settles, finalize=put_stack)
