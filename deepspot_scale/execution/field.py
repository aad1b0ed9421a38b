"""Whole fields as one task on one worker: read, and run through all rounds.

No image leaves the worker. The blocks are the same as if they were spread, so the
answer is the same too. Small planes go side by side, whether they are of one field or
of several, so that a network sees them as batches. Nothing here knows a scheduler or a
run folder.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from deepspot_scale.blockwise.batching import Outcome, Running, run_together
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.blockwise.rounds import Seconds, iter_rounds
from deepspot_scale.execution.planes import (
    FieldTask,
    InputChoice,
    LoadedReader,
    OpenReader,
    PlaneResult,
    SourceState,
    check_inputs,
    iter_field_planes,
    labels_in_use,
    plane_box,
    plane_result,
)
from deepspot_scale.io.plate import open_field

PIXELS_TOGETHER = 1 << 22
"""Planes go side by side until they have this many pixels: one of 2048 x 2048 px goes
alone, of 128 x 128 px 256 do."""


def run_field(
    task: FieldTask, choice: InputChoice, pipeline: Pipeline
) -> list[PlaneResult]:
    """Run all rounds on every plane of a field, here and now.

    Parameters
    ----------
    task
        The field.
    choice
        Which channels, planes and labels.
    pipeline
        The rounds and the blocks they need.

    Returns
    -------
    list of PlaneResult
        In the order of `iter_field_planes`.

    Raises
    ------
    FieldError
        The field cannot be processed.
    """
    (outcome,) = run_fields([task], choice, pipeline)
    if isinstance(outcome.answer, Exception):
        raise outcome.answer
    results: list[PlaneResult] = outcome.answer
    return results


@dataclass
class _FieldEnd:
    """What has come of one field so far."""

    results: list[PlaneResult] = field(default_factory=list)
    error: Exception | None = None
    seconds: float = 0.0

    def take(self, outcome: Outcome) -> None:
        self.seconds += outcome.seconds
        if isinstance(outcome.answer, Exception):
            self.error = self.error or outcome.answer
        else:
            self.results.append(outcome.answer)


def run_fields(
    tasks: Sequence[FieldTask], choice: InputChoice, pipeline: Pipeline
) -> list[Outcome]:
    """Run fields whose planes go side by side, as far as they are small.

    Parameters
    ----------
    tasks
        The fields.
    choice, pipeline
        As in `run_field`.

    Returns
    -------
    list of Outcome
        For each field what `run_field` gives, or the exception that it raises.
    """
    ends = [_FieldEnd() for _ in tasks]
    for group in _iter_groups(tasks, choice, pipeline, ends):
        outcomes = run_together([running for _, running in group])
        for (number, _), outcome in zip(group, outcomes, strict=True):
            ends[number].take(outcome)
    return [Outcome(end.error or end.results, end.seconds) for end in ends]


def _iter_groups(
    tasks: Sequence[FieldTask],
    choice: InputChoice,
    pipeline: Pipeline,
    ends: Sequence[_FieldEnd],
) -> Iterator[list[tuple[int, Running]]]:
    """Yield planes that go side by side, each with the number of its field.

    Of a field that has failed no more planes come.
    """
    group: list[tuple[int, Running]] = []
    pixels = 0
    for number, task in enumerate(tasks):
        began = time.perf_counter()
        try:
            source = open_field(task.entry)
            planes = list(iter_field_planes(source, choice, pipeline.axes))
            box = plane_box(source, pipeline.axes)
            state = check_inputs(source, choice, task.allow_absent)
        except Exception as error:  # this field's outcome, for the caller to judge
            ends[number].take(Outcome(error, time.perf_counter() - began))
            continue
        ends[number].seconds += time.perf_counter() - began
        for plane in planes:
            if ends[number].error is not None:
                break
            reader = OpenReader(source, plane, labels_in_use(choice))
            loaded = LoadedReader(reader, box)
            running = _iter_plane(task, state, loaded, pipeline)
            group.append((number, running))
            pixels += math.prod(box.shape)
            if pixels >= PIXELS_TOGETHER:
                yield group
                group, pixels = [], 0
    if group:
        yield group


def _iter_plane(
    task: FieldTask, state: SourceState, loaded: LoadedReader, pipeline: Pipeline
) -> Running:
    spent: Seconds = defaultdict(float)
    blocks = pipeline.blocks(loaded.whole.shape)
    source, plane = loaded.reader.source, loaded.reader.plane
    volumes = pipeline.makes_volumes
    given = task.given(plane, source, loaded.reader.labels, makes_volumes=volumes)
    answers = yield from iter_rounds(pipeline, blocks, loaded, given, spent)
    result = plane_result(answers, source, plane, pipeline, state)
    return result._replace(seconds=spent)
