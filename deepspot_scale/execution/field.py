"""A whole field as one task on one worker: read, enhance, detect, assign, measure.

No image leaves the worker. The blocks are the same as if they were spread, so the
answer is the same too. Nothing here knows a scheduler or a run folder.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from deepspot_scale.blockwise.batching import Outcome, Running, run_alone, run_together
from deepspot_scale.blockwise.rounds import Pipeline, Seconds, iter_rounds
from deepspot_scale.execution.planes import (
    FieldTask,
    LoadedReader,
    OpenReader,
    PlaneAnswer,
    iter_field_planes,
    labels_in_use,
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
        The field cannot be processed.
    """
    answers: list[PlaneAnswer] = run_alone(_iter_field(task, settings, pipeline))
    return answers


def run_fields(
    tasks: Sequence[FieldTask], settings: Settings, pipeline: Pipeline
) -> list[Outcome]:
    """Run small fields side by side, so that the network sees them as batches.

    Parameters
    ----------
    tasks
        Fields that together need no more memory than there is.
    settings, pipeline
        As in `run_field`.

    Returns
    -------
    list of Outcome
        For each field what `run_field` gives, or the exception that it raises.
    """
    return run_together([_iter_field(task, settings, pipeline) for task in tasks])


def _iter_field(task: FieldTask, settings: Settings, pipeline: Pipeline) -> Running:
    source = open_field(task.entry)
    blocks = pipeline.blocks(source.shape_yx)
    answers = []
    for plane in iter_field_planes(source, settings):
        reader = OpenReader(source, plane, labels_in_use(settings))
        loaded = LoadedReader(reader, source.shape_yx)
        given = {"reference": task.reference}
        spent: Seconds = defaultdict(float)
        field = yield from iter_rounds(pipeline.rounds, blocks, loaded, given, spent)
        answers.append(plane_tables(field, source, plane)._replace(seconds=spent))
    return answers
