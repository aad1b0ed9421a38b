"""A whole field as one task on one worker: read, enhance, detect, assign, measure.

No image leaves the worker. The blocks are the same as if they were spread, so the
answer is the same too. Nothing here knows a scheduler or a run folder.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deepspot_scale.blockwise.reduction import (
    FieldAnswers,
    Here,
    Pipeline,
    Round,
    Step,
    reduce_rounds,
)
from deepspot_scale.execution.planes import (
    FieldTask,
    LoadedReader,
    PlaneAnswer,
    iter_field_planes,
    plane_reader,
    plane_tables,
)
from deepspot_scale.io.plate import open_field
from deepspot_scale.settings import Settings


def run_field(
    task: FieldTask, settings: Settings, pipeline: Pipeline
) -> list[PlaneAnswer]:
    """Run all rounds on every plane of a field, here and now.

    Parameters
    ----------
    task
        The field.
    settings
        Which channels, planes and labels.
    pipeline
        The rounds and the blocks they need.

    Returns
    -------
    list of PlaneAnswer
        In the order of `iter_field_planes`.

    Raises
    ------
    FieldError
        The field can not be processed.
    """
    source = open_field(task.entry)
    blocks = pipeline.blocks(source.shape_yx)
    answers = []
    for plane in iter_field_planes(source, settings):
        reader = plane_reader(task.entry, plane, settings)
        loaded = LoadedReader(reader, source.shape_yx)
        given = {"reference": task.reference}
        spent: Counter[str] = Counter()
        field = reduce_rounds(_timed(pipeline.rounds, spent), blocks, loaded, given)
        answers.append(plane_tables(field, source, plane)._replace(seconds=spent))
    return answers


def _timed(rounds: Sequence[Round], spent: Counter[str]) -> list[list[Step]]:
    """Return the same rounds, which add the time of each step to `spent`."""

    def timed(step: Step) -> Step:
        def chunk(here: Here, field: FieldAnswers) -> Any:
            began = time.perf_counter()
            try:
                return step.chunk(here, field)
            finally:
                spent[step.name] += time.perf_counter() - began  # type: ignore[assignment]  # a Counter of seconds

        return replace(step, chunk=chunk)

    return [[timed(step) for step in steps] for steps in rounds]
