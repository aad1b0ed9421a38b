"""The rules of any steps: neither the cut into blocks nor their order shows.

Nothing here knows what the steps do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.blockwise.geometry import Blocks, one_block, plan_blocks, whole_box
from deepspot_scale.blockwise.lifting import ArrayReader
from deepspot_scale.blockwise.rounds import (
    BlockContext,
    Round,
    combine_shares,
    finalize_round,
    run_block,
)
from deepspot_scale.errors import ContractError

Image = NDArray[Any]
CORE = 24
"""Edge of the cores that images are cut into: many seams in a small image."""


def check_steps(
    rounds: Sequence[Round],
    images: Mapping[str, Image],
    *,
    halo: int,
    grid: int = 1,
) -> None:
    """Check that rounds of steps give one answer, whatever the blocks and their order.

    Parameters
    ----------
    rounds
        Steps, round after round.
    images
        (y, x) planes of one shape by the names that the steps read; larger than two
        halos by some multiples of `grid`, or there is only one block.
    halo, grid
        As the method declares them.

    Raises
    ------
    ContractError
        A step whose answer depends on the cut, or on the order of blocks.
    """
    send_copy(rounds)
    shape = next(iter(images.values())).shape
    read = ArrayReader(whole_box(shape), images)
    edge = 2 * (-(-halo // grid) * grid) + max(CORE, grid)
    blocks = plan_blocks(shape, block=edge, halo=halo, grid=grid)
    whole = one_block(shape) if grid == 1 else plan_blocks(shape, grid=grid)
    forward = _reduce(rounds, blocks, read, slice(None))
    for name, answer in _reduce(rounds, blocks, read, slice(None, None, -1)).items():
        if not _same(answer, forward[name]):
            raise ContractError(
                f"step {name!r}: the order of blocks changes the answer; combine must "
                "not care about order (sum whole numbers, not fractions), or finalize "
                "must sort"
            )
    for name, answer in _reduce(rounds, whole, read, slice(None)).items():
        if not _same(answer, forward[name]):
            raise ContractError(
                f"step {name!r}: {len(blocks.blocks)} blocks and the whole field give "
                f"other answers; count each core once, and read all that decides "
                f"within halo={halo} px of it"
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
    rounds: Sequence[Round], blocks: Blocks, read: ArrayReader, order: slice
) -> dict[str, Any]:
    """Run all rounds, blocks in any order; the slow twin of `reduce_rounds`."""
    answers: dict[str, Any] = {}
    carried: dict[int, dict[str, Any]] = {}
    for steps in rounds:
        shares = []
        for block in blocks.blocks[order]:
            here = BlockContext(block, blocks.shape, read, {})
            answer = run_block(steps, here, answers, carried.get(block.number, {}))
            carried[block.number] = answer.carried
            shares.append(answer.shares)
        answers = finalize_round(steps, combine_shares(steps, shares), answers)
    return answers


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
