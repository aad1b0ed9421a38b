"""From the answers of blocks to the answer of a field: chunk, combine, finalize.

A planned pipeline comes in, the field's answers go out. Between rounds lies what the
whole field must first agree on, such as a threshold. `reduce_rounds` runs them at once,
block after block; `graphs` has the same rounds as a Dask graph. Nothing here knows what
the steps do.

    round      block 0 ... block n                field
      1        chunk       chunk    -- combine --> finalize --+
      2        chunk       chunk    <-------------------------+   ...
                 `- carried answers stay with their block -'

Where a step's work is `BatchedWork`, `iter_rounds` waits for its answer, so that
several planes and fields can have it done in one call.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.batching import (
    BatchedWork,
    BatchRequest,
    Running,
    run_alone,
)
from deepspot_scale.blockwise.contract import (
    Answers,
    BlockContext,
    Pixels,
    Reader,
    scaled_shape,
)
from deepspot_scale.blockwise.geometry import Block, Blocks, Box
from deepspot_scale.blockwise.planning import Pipeline, PlannedStep, Round
from deepspot_scale.errors import ContractError

Seconds = defaultdict[str, float]
"""By stage."""


@dataclass(frozen=True)
class BlockAnswer:
    """What one block gives at the end of a round, by the names of keys."""

    shares: dict[str, Any] = field(default_factory=dict)
    """For the field."""
    carried: dict[str, Any] = field(default_factory=dict)
    """For later rounds on the same block."""
    pieces: dict[str, Pixels] = field(default_factory=dict)
    """Cores of layers that leave the field."""


@dataclass(frozen=True)
class _LayerReader:
    """Reads the layers that one step has declared, as far as it has declared."""

    stored: Reader
    made: Answers
    """The block's answers, layers among them."""
    joined: Answers
    """The field's answers, joined layers among them."""
    step: PlannedStep
    own: Box
    """The step's own pixels, on the grid of what it gives."""
    window: Box
    """The block's window inside the field. A step on a grid may read all of it."""
    shape: tuple[int, ...]

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        self._require(name)
        if box != self.window:
            self._refuse_beyond(name, box, self._limit(name))
        if name in self.made.by_name:
            at, values = self.made.by_name[name]
            self._refuse_beyond(name, box, at)
            return values[box.within(at)]  # type: ignore[no-any-return]
        if name in self.joined.by_name:
            return self.joined.by_name[name][box.slices]  # type: ignore[no-any-return]
        return self.stored(name, box)

    def _limit(self, name: str) -> Box:
        """Return as far as the step has declared to read a layer, on its grid."""
        scale = self.step.scales[name]
        there = self.own.scaled(scale / self.step.scale)
        return there.grow(self.step.step.reads[name], scaled_shape(self.shape, scale))

    def has(self, name: str) -> bool:
        return name in self.step.step.reads

    def dtype(self, name: str) -> np.dtype[Any]:
        self._require(name)
        if name in self.made.by_name:
            return self.made.by_name[name].values.dtype  # type: ignore[no-any-return]
        if name in self.joined.by_name:
            return self.joined.by_name[name].dtype  # type: ignore[no-any-return]
        return self.stored.dtype(name)

    def _require(self, name: str) -> None:
        if name not in self.step.step.reads:
            raise ContractError(
                f"a step reads the layer {name!r} without naming it in `reads`"
            )

    def _refuse_beyond(self, name: str, box: Box, limit: Box) -> None:
        if not box.lies_in(limit):
            raise ContractError(
                f"a step reads the layer {name!r} beyond the margin "
                f"{self.step.step.reads[name]} that it names in `reads`"
            )


@dataclass(frozen=True)
class _BlockRun:
    """One block of one plane while its steps run."""

    block: Block
    shape: tuple[int, ...]
    stored: Reader
    agreed: Answers
    """What the field has agreed on so far."""

    def context(self, planned: PlannedStep, own: Answers) -> BlockContext:
        """Return what a step may see."""
        wanted = self.block.core.scaled(planned.scale).grow(
            planned.reach, scaled_shape(self.shape, planned.scale)
        )
        window = self.block.window.grow(0, self.shape)
        read = _LayerReader(
            self.stored, own, self.agreed, planned, wanted, window, self.shape
        )
        uses = own.only(planned.step.uses)
        return BlockContext(self.block, self.shape, read, uses, wanted)


def run_block(
    round_: Round,
    block: Block,
    shape: tuple[int, ...],
    read: Reader,
    agreed: Answers,
    carried: Mapping[str, Any],
) -> BlockAnswer:
    """Run the steps of one round on one block."""
    run = _BlockRun(block, shape, read, agreed)
    answer: BlockAnswer = run_alone(
        _iter_block(round_, run, carried, defaultdict(float))
    )
    return answer


def _iter_block(
    round_: Round, run: _BlockRun, carried: Mapping[str, Any], spent: Seconds
) -> Running:
    """Run the steps of one round on one block, waiting for batched work.

    The seconds of each stage are added to `spent`.
    """
    own, answer = Answers(carried), BlockAnswer()
    for planned in round_.steps:
        step, name = planned.step, planned.step.gives.name
        began, batched = time.perf_counter(), 0.0
        here, agreed = run.context(planned, own), run.agreed.only(step.agreed)
        if isinstance(step.chunk, BatchedWork):
            given = step.chunk.prepare(here, agreed)
            waited = time.perf_counter()
            result = yield BatchRequest(step.chunk.work, given)
            batched = result.seconds - (time.perf_counter() - waited)
            value = step.chunk.finish(here, agreed, result.answer)
        else:
            value = step.chunk(here, agreed)
        spent[planned.stage] += time.perf_counter() - began + batched
        own.by_name[name] = value
        if planned.shared:
            answer.shares[name] = step.share(value)
        if planned.kept:
            answer.pieces[name] = _core_of(value, step.gives, run.block)
    answer.carried.update((n, own.by_name[n]) for n in round_.carries)
    return answer


def _core_of(pixels: Pixels, layer: Any, block: Block) -> Pixels:
    core = block.core.scaled(Fraction(layer.scale))
    return Pixels(core, pixels.values[core.within(pixels.box)])


def combine_shares(
    round_: Round, shares: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Merge the shares of some blocks, in block order."""
    return {
        (name := planned.step.gives.name): reduce(
            planned.step.combine, [share[name] for share in shares]
        )
        for planned in round_.steps
        if planned.shared
    }


def finalize_round(round_: Round, total: Mapping[str, Any], agreed: Answers) -> Answers:
    """Return the field's answers so far, this round's added."""
    answers = Answers(agreed.by_name)
    for planned in round_.steps:
        if planned.shared:
            step, merged = planned.step, total[planned.step.gives.name]
            answers[step.field_key] = step.finalize(merged, answers.only(step.agreed))
    return answers


def put_together(pieces: Sequence[Pixels], dtype: str) -> NDArray[Any]:
    """Return the plane that cores make up."""
    ends = [[span.stop for span in piece.box.spans] for piece in pieces]
    plane = np.zeros(np.max(ends, axis=0), dtype)
    for piece in pieces:
        plane[piece.box.slices] = piece.values
    return plane


def reduce_rounds(
    pipeline: Pipeline, blocks: Blocks, read: Reader, given: Answers | None = None
) -> Answers:
    """Run all rounds now, one block after the other, and return the field's answers.

    Parameters
    ----------
    pipeline
        The rounds.
    blocks
        The field's blocks.
    read
        The field's stored layers.
    given
        Answers known beforehand.

    Returns
    -------
    Answers
        Of all keys that are shared, and the whole planes of layers that are kept.
    """
    answers: Answers = run_alone(
        iter_rounds(pipeline, blocks, read, given, defaultdict(float))
    )
    return answers


def iter_rounds(
    pipeline: Pipeline,
    blocks: Blocks,
    read: Reader,
    given: Answers | None,
    spent: Seconds,
) -> Running:
    """Do what `reduce_rounds` does, waiting for batched work.

    Parameters
    ----------
    pipeline, blocks, read, given
        As in `reduce_rounds`.
    spent
        The seconds of each stage are added to it.
    """
    agreed = given or Answers()
    carried: list[dict[str, Any]] = [{} for _ in blocks.blocks]
    pieces: dict[str, list[Pixels]] = defaultdict(list)
    for round_ in pipeline.rounds:
        total: dict[str, Any] | None = None
        for number, block in enumerate(blocks.blocks):
            run = _BlockRun(block, blocks.shape, read, agreed)
            answer = yield from _iter_block(round_, run, carried[number], spent)
            carried[number] = answer.carried
            for name, piece in answer.pieces.items():
                pieces[name].append(piece)
            parts = [answer.shares] if total is None else [total, answer.shares]
            total = combine_shares(round_, parts)
        agreed = finalize_round(round_, total or {}, agreed)
    return with_planes(agreed, pipeline, pieces)


def with_planes(
    agreed: Answers, pipeline: Pipeline, pieces: Mapping[str, Sequence[Pixels]]
) -> Answers:
    """Return the field's answers and the planes that pieces of layers make up."""
    planes = {
        layer.name: put_together(pieces[layer.name], layer.dtype)
        for layer in pipeline.layers
        if not layer.joined
    }
    return Answers(agreed.by_name | planes)
