"""A large field as many blocks on many workers, each reading its own window.

Each block reads the halo of all layers that are made, so no enhanced pixel is
exchanged; only sums and the few pixels that may be spots travel. Nothing here knows a
run folder.
"""

from __future__ import annotations

from typing import Any

from deepspot_scale.blockwise.graphs import defer_rounds, join_pieces
from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.execution.planes import (
    FieldReader,
    FieldTask,
    InputChoice,
    check_inputs,
    iter_field_planes,
    labels_in_use,
    plane_box,
    plane_result,
)
from deepspot_scale.io.plate import open_field


def defer_field(task: FieldTask, choice: InputChoice, pipeline: Pipeline) -> list[Any]:
    """Return one delayed `PlaneResult` for each plane; nothing is computed.

    Parameters and errors are those of `execution.field.run_field`, and so is the
    answer, to the last bit.
    """
    from dask.delayed import delayed

    source = open_field(task.entry)
    blocks = pipeline.blocks(plane_box(source, pipeline.axes).shape)
    finish = delayed(plane_result, pure=False)
    labels = labels_in_use(choice)
    state = check_inputs(source, choice, task.allow_absent)
    planes = []
    for plane in iter_field_planes(source, choice, pipeline.axes):
        reader = FieldReader(task.entry, plane, labels, state.digest)
        answers, pieces = defer_rounds(
            pipeline,
            blocks,
            lambda _, reader=reader: reader,  # type: ignore[misc]  # bound per plane
            task.given(plane, source, labels, makes_volumes=pipeline.makes_volumes),
        )
        whole = join_pieces(pipeline, answers, pieces)
        planes.append(finish(whole, source, plane, pipeline, state))
    return planes
