"""A large field as many blocks on many workers, each reading its own window.

Each block reads the halo of the network and of the detector, so no enhanced pixel is
exchanged; only sums and the few pixels that may be spots travel. Nothing here knows a
run folder.
"""

from __future__ import annotations

from typing import Any

from deepspot_scale.blockwise.rounds import Pipeline, defer_rounds
from deepspot_scale.execution.planes import (
    FieldTask,
    iter_field_planes,
    plane_reader,
    plane_tables,
)
from deepspot_scale.io.plate import open_field
from deepspot_scale.settings import Settings


def defer_field(task: FieldTask, settings: Settings, pipeline: Pipeline) -> list[Any]:
    """Return one delayed `PlaneAnswer` for each plane; nothing is computed.

    Parameters and errors are those of `execution.field.run_field`, and so is the
    answer, to the last bit.
    """
    from dask.delayed import delayed

    source = open_field(task.entry)
    blocks = pipeline.blocks(source.shape_yx)
    tables = delayed(plane_tables, pure=False)
    planes = []
    for plane in iter_field_planes(source, settings):
        reader = plane_reader(task.entry, plane, settings)
        field = defer_rounds(
            pipeline.rounds,
            blocks,
            lambda _, reader=reader: reader,  # type: ignore[misc]  # bound per plane
            {"reference": task.reference},
        )
        planes.append(tables(field, source, plane))
    return planes
