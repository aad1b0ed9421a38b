"""The stage *assign*: each spot gets the cell and the nucleus it lies in.

Spots and label images come in, the same spots with labels go out; 0 means none. A
spot lies in the pixel whose centre is nearest. Nothing here knows how spots or labels
were made.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import LABELS
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Reader,
    RunContext,
    Stage,
    StageOptions,
    Step,
    Table,
    Work,
)
from deepspot_scale.blockwise.geometry import Box, Span
from deepspot_scale.blockwise.identity import identify
from deepspot_scale.blockwise.spots import (
    ASSIGNED,
    DETECTED,
    SLACK,
    Spots,
    nearest_pixel,
    order_spots,
)
from deepspot_scale.errors import FieldError
from deepspot_scale.vocabulary import SPOTS, PlaneIdentity


def nearest_pixels(positions: NDArray[np.float64], length: int) -> NDArray[np.int64]:
    """Return the pixel that holds each position, along one axis of `length`."""
    return np.clip(nearest_pixel(positions), 0, length - 1)


def look_up(table: pd.DataFrame, read: Reader, shape: tuple[int, ...]) -> pd.DataFrame:
    """Return `table` with the columns cell and nucleus read from label images.

    Parameters
    ----------
    table
        Spots with y and x in pixels of the field, and z where it is a stack.
    read
        Gives ``cells`` and ``nuclei``, as far as there are any.
    shape
        The field's pixels along y and x, in a stack also z.

    Raises
    ------
    FieldError
        A spot lies further beyond the field than its own pixels reach.
    """
    if table.empty:
        return table
    axes = "zyx"[-len(shape) :]
    places = table[list(axes)].to_numpy()
    near = (places > -0.5 - SLACK) & (places < np.array(shape) - 0.5 + SLACK)
    if not near.all():  # nor is a place that is NaN
        place = ", ".join(f"{along:.1f}" for along in places[~near.all(axis=1)][0])
        raise FieldError(
            f"{np.sum(~near.all(axis=1))} spots lie outside the labels of {shape} "
            f"pixels, one at ({', '.join(axes)}) = ({place}); give labels of the image "
            "that the spots come from, on its grid"
        )
    pixels = [
        nearest_pixels(along, length)
        for along, length in zip(places.T, shape, strict=True)
    ]
    ends = ((int(along.min()), int(along.max()) + 1) for along in pixels)
    box = Box(tuple(Span(*end) for end in ends), axes)
    index = tuple(p - span.start for p, span in zip(pixels, box.spans, strict=True))
    found = {
        # Lazy labels are computed here, in the box alone.
        column: np.asarray(read(name, box))[index].astype(np.int64)
        for column, name in LABELS.items()
        if read.has(name)
    }
    return table.assign(**found)


def _chunk(here: BlockContext, _: Answers) -> Spots:
    spots = here.answers[DETECTED]
    return spots._replace(table=look_up(spots.table, here.read, here.shape))


def _spot_table(agreed: Answers, plane: PlaneIdentity) -> pd.DataFrame:
    return identify(agreed[ASSIGNED].table, plane, SPOTS)


def assignment_work(layers: Iterable[str]) -> Work:
    """Return the work on those label images that are among `layers`."""
    around = dict.fromkeys("zyx", SLACK)
    reads = {name: around for name in LABELS.values() if name in set(layers)}
    step = Step(ASSIGNED, _chunk, reads, uses=(DETECTED,), finalize=order_spots)
    table = Table("spots", SPOTS, (ASSIGNED,), _spot_table)
    return Work((step,), (table,), stacks=True)


class AssignOptions(StageOptions):
    """Whether spots are told their cells."""

    use: Literal[True] = True


def plan_assign(_: AssignOptions, context: RunContext) -> Work | None:
    """Return the stage's work; None where no spots are detected."""
    detected = DETECTED.name in context.answers
    return assignment_work(context.layers) if detected else None


ASSIGN = Stage("assign", AssignOptions, plan_assign)
