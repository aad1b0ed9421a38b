"""From the answers of blocks to the answer of a field: chunk, combine, finalize.

A `Step` does one thing on one block. Steps that need nothing but their own block
and earlier answers share a *round*; between rounds lies what the whole field must
first agree on, such as a threshold. The same rounds run here in two ways that give
the same answer: `reduce_rounds` at once, block after block, and `defer_rounds` as a
Dask graph that computes nothing until asked. Nothing here knows what the steps do.

    round      block 0 ... block n                field
      1        chunk       chunk    -- combine --> finalize --+
      2        chunk       chunk    <-------------------------+   ...
                 `- carried answers stay with their block -'

Where a step's work is `joint.BatchedWork`, `iter_rounds` waits for its answer, so that
several fields can have it done in one call.
"""

from __future__ import annotations

import operator
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.batching import (
    BatchedWork,
    BatchRequest,
    Running,
    run_alone,
)
from deepspot_scale.blockwise.geometry import Block, Blocks, Box, plan_blocks

PlaneAnswers = Mapping[str, Any]
Seconds = defaultdict[str, float]
FAN_IN = 16
"""Partial answers that one task combines."""


class Reader(Protocol):
    """Gives the pixels of one plane of a field."""

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return the pixels of image or labels `name` in `box`, inside the field."""

    def has(self, name: str) -> bool:
        """Return whether there are such pixels."""

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return their dtype, without reading them."""


class Pixels(NamedTuple):
    """An image that stands somewhere in a field."""

    box: Box
    """Where."""
    values: NDArray[Any]
    """The pixels, of the box's shape."""


@dataclass(frozen=True)
class BlockContext:
    """All that a step may see of its block."""

    block: Block
    """Which block."""
    shape: tuple[int, int]
    """The field's pixels along y and x."""
    read: Reader
    """Pixels of the field, any window."""
    answers: dict[str, Any]
    """Answers of earlier steps on this block, by step name."""


def everything(answer: Any) -> Any:
    """Share the block's answer as it is."""
    return answer


def _total(total: Any, _: PlaneAnswers) -> Any:
    return total


@dataclass(frozen=True)
class Step:
    """One verb on one block, and how its answers make the field's.

    `combine` must not care about grouping, and about order only as far as
    `finalize` mends it. All parts can be pickled.
    """

    name: str
    """Key of the answer."""
    chunk: Callable[[BlockContext, PlaneAnswers], Any]
    """The block's answer; may be `BatchedWork`."""
    share: Callable[[Any], Any] | None = None
    """Takes from the block's answer what the field needs; None: nothing."""
    combine: Callable[[Any, Any], Any] = operator.add
    """Merges two shares."""
    finalize: Callable[[Any, PlaneAnswers], Any] = _total
    """Makes the field's answer of the merged shares."""
    carried: bool = False
    """Whether the block's answer is kept for the next round."""


Round = Sequence[Step]


@dataclass(frozen=True)
class Pipeline:
    """All rounds of one plane, and the blocks they need."""

    rounds: tuple[Round, ...]
    """Steps in their order."""
    halo: int
    """Pixels around a core: of the network and the detector together."""
    grid: int
    """Stride that block origins keep."""
    block: int
    """Largest edge of a block in pixels."""

    def blocks(self, shape: tuple[int, int]) -> Blocks:
        """Return the blocks of a field of this shape (y, x)."""
        return plan_blocks(shape, block=self.block, halo=self.halo, grid=self.grid)


@dataclass(frozen=True)
class BlockAnswer:
    """What one block gives at the end of a round."""

    shares: dict[str, Any] = field(default_factory=dict)
    """By step name, for the field."""
    carried: dict[str, Any] = field(default_factory=dict)
    """By step name, for the next round on the same block."""


def run_block(
    steps: Round, here: BlockContext, field: PlaneAnswers, carried: Mapping[str, Any]
) -> BlockAnswer:
    """Run the steps of one round on one block."""
    running = iter_block(steps, here, field, carried, defaultdict(float))
    answer: BlockAnswer = run_alone(running)
    return answer


def iter_block(
    steps: Round,
    here: BlockContext,
    field: PlaneAnswers,
    carried: Mapping[str, Any],
    spent: Seconds,
) -> Running:
    """Run the steps of one round on one block, waiting for joint work.

    The seconds of each step are added to `spent`.
    """
    here.answers.update(carried)
    answer = BlockAnswer()
    for step in steps:
        began, joint = time.perf_counter(), 0.0
        if isinstance(step.chunk, BatchedWork):
            given = step.chunk.prepare(here, field)
            waited = time.perf_counter()
            worked = yield BatchRequest(step.chunk.work, given)
            joint = worked.seconds - (time.perf_counter() - waited)
            value = step.chunk.finish(here, field, worked.answer)
        else:
            value = step.chunk(here, field)
        spent[step.name] += time.perf_counter() - began + joint
        here.answers[step.name] = value
        if step.share is not None:
            answer.shares[step.name] = step.share(value)
        if step.carried:
            answer.carried[step.name] = value
    return answer


def combine_shares(steps: Round, shares: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the shares of some blocks, in block order."""
    return {
        step.name: reduce(step.combine, [share[step.name] for share in shares])
        for step in steps
        if step.share is not None
    }


def finalize_round(
    steps: Round, total: Mapping[str, Any], field: PlaneAnswers
) -> dict[str, Any]:
    """Return the field's answers so far, this round's added."""
    answers = dict(field)
    for step in steps:
        if step.share is not None:
            answers[step.name] = step.finalize(total[step.name], answers)
    return answers


def reduce_rounds(
    rounds: Sequence[Round],
    blocks: Blocks,
    read: Reader,
    given: PlaneAnswers | None = None,
) -> dict[str, Any]:
    """Run all rounds now, one block after the other, and return the field's answers.

    Parameters
    ----------
    rounds
        Steps, round after round.
    blocks
        The field's blocks.
    read
        The field's pixels.
    given
        Answers known beforehand, by name.
    """
    running = iter_rounds(rounds, blocks, read, given, defaultdict(float))
    answers: dict[str, Any] = run_alone(running)
    return answers


def iter_rounds(
    rounds: Sequence[Round],
    blocks: Blocks,
    read: Reader,
    given: PlaneAnswers | None,
    spent: Seconds,
) -> Running:
    """Do what `reduce_rounds` does, waiting for joint work.

    Parameters
    ----------
    rounds, blocks, read, given
        As in `reduce_rounds`.
    spent
        The seconds of each step are added to it.
    """
    answers = dict(given or {})
    carried: list[dict[str, Any]] = [{} for _ in blocks.blocks]
    for steps in rounds:
        total: dict[str, Any] | None = None
        for number, block in enumerate(blocks.blocks):
            here = BlockContext(block, blocks.shape, read, {})
            answer = yield from iter_block(steps, here, answers, carried[number], spent)
            carried[number] = answer.carried
            parts = [answer.shares] if total is None else [total, answer.shares]
            total = combine_shares(steps, parts)
        answers = finalize_round(steps, total or {}, answers)
    return answers


def _run_block(
    steps: Round,
    block: Block,
    shape: tuple[int, int],
    read: Reader,
    field: PlaneAnswers,
    carried: BlockAnswer,
) -> BlockAnswer:
    return run_block(
        steps, BlockContext(block, shape, read, {}), field, carried.carried
    )


def _shares(answer: BlockAnswer) -> dict[str, Any]:
    return answer.shares


def defer_rounds(
    rounds: Sequence[Round],
    blocks: Blocks,
    read_at: Callable[[Block], Any],
    given: PlaneAnswers | None = None,
) -> Any:
    """Return a `dask.delayed` value of what `reduce_rounds` gives; compute nothing.

    Parameters
    ----------
    rounds, blocks, given
        As in `reduce_rounds`.
    read_at
        Gives each block's `Reader`, or a delayed one.
    """
    from dask.delayed import delayed

    answers: Any = dict(given or {})
    carried: list[Any] = [BlockAnswer() for _ in blocks.blocks]
    call = delayed(_run_block, pure=False)
    combine = delayed(combine_shares, pure=False)
    for steps in rounds:
        carried = [
            call(steps, block, blocks.shape, read_at(block), answers, kept)
            for block, kept in zip(blocks.blocks, carried, strict=True)
        ]
        level = [delayed(_shares, pure=False)(answer) for answer in carried]
        while len(level) > 1:
            groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
            level = [combine(steps, group) for group in groups]
        answers = delayed(finalize_round, pure=False)(steps, level[0], answers)
    return answers
