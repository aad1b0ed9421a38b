"""A whole field as one task on one worker: read, enhance, detect, assign, measure.

No image leaves the worker. The blocks are the same as if they were spread, so the
answer is the same too. Nothing here knows a scheduler or a run folder.
"""

from __future__ import annotations

from deepspot_scale.blockwise.reduction import Pipeline, reduce_rounds
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
        field = reduce_rounds(pipeline.rounds, blocks, loaded, given)
        answers.append(plane_tables(field, source, plane))
    return answers
