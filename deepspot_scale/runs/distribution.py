"""Handing out a run's fields to a cluster, and taking their rows in.

Tasks come in, rows go out as they are ready; a bounded window of work is in flight, so
neither the client nor the scheduler ever holds the whole plate. Nothing here knows how
a field is processed or what its rows are summed up to.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any

import pandas as pd

from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.plate import Plate, open_field
from deepspot_scale.runs.batches import FATAL, Job, fail_batch, finish_batch, run_batch

BATCH_PIXELS = 1 << 22
"""Small fields are handed out together until they have this many pixels."""
MAX_BATCH = 64
SMALLEST_WINDOW = 16
"""Batches in flight while there are few workers, or none yet."""
BLOCKS_PER_TASK = 16
"""A plane of more blocks than this is spread over the workers."""


def batch_fields(tasks: list[FieldTask], plate: Plate) -> Iterator[list[FieldTask]]:
    """Yield batches of fields; large ones alone, small ones together."""
    if not tasks:
        return
    size = _batch_size(plate, tasks[0])
    remaining = iter(tasks)
    while batch := list(islice(remaining, size)):
        yield batch


def _batch_size(plate: Plate, task: FieldTask) -> int:
    try:
        height, width = plate.open(task.entry.address.path).shape_yx
    except ValueError:  # a damaged field; its own task will say so
        return 1
    return max(1, min(MAX_BATCH, BATCH_PIXELS // (height * width)))


def _submit(
    client: Any, batch: list[FieldTask], job: Job, demand: dict[str, float]
) -> Any:
    """Hand one batch to the cluster: one task, or the blocks of one large field.

    Every task asks for what the network needs: of a graph's tasks those fused with
    others would forget it.
    """
    if len(batch) == 1 and not job.settings.keep_enhanced:
        planes = _spread(batch[0], job)
        if planes is not None:
            from dask.delayed import delayed

            finish = delayed(_finish_large, pure=False)
            whole = finish(batch[0], planes, time.time(), job)
            return client.compute(whole, resources=demand or None)
    return client.submit(run_batch, batch, job, pure=False, resources=demand or None)


def _spread(task: FieldTask, job: Job) -> list[Any] | None:
    """Return the delayed planes of a field that is too large for one worker."""
    try:
        shape = open_field(task.entry).shape_yx
        if len(job.pipeline.blocks(shape).blocks) <= BLOCKS_PER_TASK:
            return None
        return defer_field(task, job.settings, job.pipeline)
    except SettingsError:
        raise
    except ValueError:  # a damaged field; its own task will say so
        return None


def _finish_large(
    task: FieldTask, planes: list[Any], started: float, job: Job
) -> pd.DataFrame:
    return finish_batch([task], [planes], [time.time() - started], job)


def _rows_of(future: Any, batch: list[FieldTask], job: Job) -> pd.DataFrame:
    """Return the rows of a finished batch; a batch whose worker died failed."""
    from distributed import KilledWorker

    error = future.exception()
    if error is None:
        rows: pd.DataFrame = future.result()
        return rows
    if isinstance(error, FATAL):
        raise error
    if isinstance(error, KilledWorker):
        error = RunError(
            "its worker process died several times, likely for lack of memory; try "
            "fewer workers or a smaller block"
        )
    return fail_batch(batch, error, job)


def _window(client: Any) -> int:
    """Return how many batches to have in flight, for the workers there are now.

    More than one a thread, so that none waits, and so that a cluster that grows by
    what is waiting sees a reason to.
    """
    threads = sum(int(n) for n in client.nthreads().values())
    return max(SMALLEST_WINDOW, 3 * threads)


def distribute(
    batches: Iterator[list[FieldTask]],
    client: Any,
    job: Job,
    demand: dict[str, float],
) -> Iterator[pd.DataFrame]:
    """Keep a window of batches in flight, each answered by its rows as it ends.

    `demand` is what each asks of its worker, see `field_resources`.
    """
    from distributed import as_completed

    running: dict[Any, list[FieldTask]] = {}
    stream = as_completed(loop=client.loop)

    def submit(n: int) -> None:
        for batch in islice(batches, n):
            future = _submit(client, batch, job, demand)
            running[future] = batch
            stream.add(future)

    try:
        submit(_window(client))
        for future in stream:
            yield _rows_of(future, running.pop(future), job)
            submit(max(0, _window(client) - len(running)))
    finally:
        # A client that stops early leaves no queue of work behind.
        client.cancel(list(running))
