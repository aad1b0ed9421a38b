"""The rules of any pipeline: neither the cut into blocks nor their order shows.

Nothing here knows what the steps do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise import rounds
from deepspot_scale.blockwise.contract import Answers, Pixels
from deepspot_scale.blockwise.geometry import Blocks, margin_along
from deepspot_scale.blockwise.lifting import ArrayReader, read_whole
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.errors import ContractError

Image = NDArray[Any]
CORE = 24
"""Edge of the cores that images are cut into: many seams in a small image."""


def check_steps(
    pipeline: Pipeline, images: Mapping[str, Image], *, given: Answers | None = None
) -> None:
    """Check that a pipeline gives one answer, whatever the blocks and their order.

    Parameters
    ----------
    pipeline
        As `blockwise.planning.plan_pipeline` makes it of a stage's work.
    images
        Stored layers of one shape along the pipeline's axes, by name; larger than two
        halos by some multiples of the grid, or there is only one block.
    given
        Answers known beforehand.

    Raises
    ------
    ContractError
        A step whose answer depends on the cut, or on the order of blocks.
    """
    send_copy(pipeline)
    read = read_whole(images)
    halo, grid = margin_along(pipeline.halo, "y"), pipeline.grid
    edge = 2 * (-(-halo // grid) * grid) + max(CORE, grid)
    shape = next(iter(images.values())).shape
    blocks = replace(pipeline, block=edge).blocks(shape)
    whole = replace(pipeline, block=grid * (max(shape) + 1)).blocks(shape)
    forward = _reduce(pipeline, blocks, read, slice(None), given)
    backward = _reduce(pipeline, blocks, read, slice(None, None, -1), given)
    for name, answer in backward.items():
        if not _same(answer, forward[name]):
            raise ContractError(
                f"answer {name!r}: the order of blocks changes it; combine must not "
                "care about order (sum whole numbers, not fractions), or finalize must "
                "sort"
            )
    for name, answer in _reduce(pipeline, whole, read, slice(None), given).items():
        if not _same(answer, forward[name]):
            raise ContractError(
                f"answer {name!r}: {len(blocks.blocks)} blocks and the whole field "
                "give others; count each core once, and name in `reads` how far around "
                f"it pixels decide (halo={halo} px is read)"
            )


def send_copy(method: Any) -> Any:
    """Return a copy, as a worker would get it."""
    import cloudpickle

    try:
        return cloudpickle.loads(cloudpickle.dumps(method))
    except Exception as error:  # whatever a part of it raises
        raise ContractError(
            f"it cannot be sent to workers: {type(error).__name__}: {error}; hold "
            "plain values and functions, and open models and files inside the call"
        ) from error


def _reduce(
    pipeline: Pipeline,
    blocks: Blocks,
    read: ArrayReader,
    order: slice,
    given: Answers | None,
) -> dict[str, Any]:
    """Run all rounds, blocks in any order; the slow twin of `reduce_rounds`."""
    agreed = given or Answers()
    carried: dict[int, dict[str, Any]] = {}
    pieces: dict[str, list[Pixels]] = {}
    for each in pipeline.rounds:
        shares = []
        for block in blocks.blocks[order]:
            before = carried.get(block.number, {})
            answer = rounds.run_block(each, block, blocks.shape, read, agreed, before)
            carried[block.number] = answer.carried
            shares.append(answer.shares)
            for name, piece in answer.pieces.items():
                pieces.setdefault(name, []).append(piece)
        agreed = rounds.finalize_round(
            each, rounds.combine_shares(each, shares), agreed
        )
    dtypes = {layer.name: layer.dtype for layer in pipeline.layers}
    join = rounds.put_together
    return agreed.by_name | {n: join(of, dtypes[n]) for n, of in pieces.items()}


def _same(one: Any, other: Any) -> bool:
    """Compare answers of any nesting: NaN equals NaN, arrays by their pixels."""
    if isinstance(one, pd.DataFrame):
        return one.equals(other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, np.ndarray | float | int):
        return np.array_equal(one, other, equal_nan=np.asarray(one).dtype.kind == "f")
    return bool(one == other)
