"""A run over a screen: handing out fields, taking rows in, summing up.

Fields go to workers in a bounded window and come back as rows, so neither the client
nor the scheduler ever holds the whole plate. Nothing here knows how a field is
processed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import pandas as pd

from deepspot_scale.cluster.worker import EngineLoader
from deepspot_scale.errors import PlateError, RunError, SettingsError
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask
from deepspot_scale.io.plate import Plate, open_field
from deepspot_scale.io.tables import Folder, write_table
from deepspot_scale.networks.engines import Device
from deepspot_scale.report.polarity import SectorIndex
from deepspot_scale.report.statistics import summarise_conditions, summarise_wells
from deepspot_scale.runs import manifest
from deepspot_scale.runs.batches import FATAL, Job, finish_batch, run_batch
from deepspot_scale.runs.preparation import Prepared, Selection, prepare_run
from deepspot_scale.settings import Settings
from deepspot_scale.vocabulary import CONDITIONS, DONE, FIELDS, WELLS

BATCH_PIXELS = 1 << 22
"""Small fields are handed out together until they have this many pixels."""
MAX_BATCH = 64
BLOCKS_PER_TASK = 16
"""A plane of more blocks than this is spread over the workers."""


@dataclass(frozen=True)
class Progress:
    """Where a run stands."""

    total: int
    """Fields of this run, without those skipped."""
    skipped: int
    """Fields that were settled before."""
    done: int = 0
    failed: int = 0
    n_spots: int = 0
    seconds: float = 0.0
    """Since the first field was handed out."""
    last: pd.DataFrame | None = None
    """Rows of the fields that came in last."""

    def after(self, rows: pd.DataFrame, seconds: float) -> Progress:
        """Return the progress once these rows have come in."""
        good = int((rows["status"] == DONE).sum())
        return Progress(
            self.total,
            self.skipped,
            self.done + good,
            self.failed + len(rows) - good,
            self.n_spots + int(rows["n_spots"].sum()),
            seconds,
            rows,
        )


def _batches(tasks: list[FieldTask], plate: Plate) -> Iterator[list[FieldTask]]:
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


def _submit(client: Any, batch: list[FieldTask], job: Job) -> Any:
    """Hand one batch to the cluster: one task, or the blocks of one large field."""
    if len(batch) == 1 and not job.settings.keep_enhanced:
        planes = _spread(batch[0], job)
        if planes is not None:
            from dask.delayed import delayed

            finish = delayed(_finish_large, pure=False)
            return client.compute(finish(batch[0], planes, time.time(), job))
    return client.submit(run_batch, batch, job, pure=False)


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


def fail_batch(batch: list[FieldTask], error: Exception, job: Job) -> pd.DataFrame:
    """Write down that a batch failed as a whole, and why; return its rows."""
    return finish_batch(batch, [error] * len(batch), [0.0] * len(batch), job)


def execute_run(
    prepared: Prepared,
    client: Any = None,
    *,
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Do what is left of a run, then write its summary tables.

    Parameters
    ----------
    prepared
        From `prepare_run`.
    client
        `distributed.Client`; None runs here, one field after the other.
    on_progress
        Called at the start and each time fields have come in.

    Returns
    -------
    Progress
        Where the run stands at its end.

    Raises
    ------
    DeviceError, WeightsError
        What every field would meet alike.
    """
    job = prepared.job
    total = len(prepared.tasks) + len(prepared.missing)
    progress = Progress(total, prepared.skipped)
    began = time.monotonic()
    on_progress(progress)
    for rows in _iter_rows(prepared, client):
        progress = progress.after(rows, time.monotonic() - began)
        on_progress(progress)
    manifest.sweep(job.out)
    summarise_run(job.out, job.settings, prepared.plate_map, prepared.channels)
    return progress


def _iter_rows(prepared: Prepared, client: Any) -> Iterator[pd.DataFrame]:
    job = prepared.job
    for task in prepared.missing:
        error = PlateError("the plate lists this well, but it is not there")
        yield fail_batch([task], error, job)
    batches = _batches(prepared.tasks, prepared.plate)
    if client is None:
        for batch in batches:
            yield run_batch(batch, job)
    else:
        client.register_plugin(EngineLoader(prepared.engine))
        yield from _distribute(batches, client, job)


def _distribute(
    batches: Iterator[list[FieldTask]], client: Any, job: Job
) -> Iterator[pd.DataFrame]:
    """Keep a window of batches in flight, each answered by its rows as it ends."""
    from distributed import as_completed

    running: dict[Any, list[FieldTask]] = {}
    window = max(4, 3 * sum(client.nthreads().values()))
    stream = as_completed(loop=client.loop)

    def submit(n: int) -> None:
        for batch in islice(batches, n):
            future = _submit(client, batch, job)
            running[future] = batch
            stream.add(future)

    try:
        submit(window)
        for future in stream:
            yield _rows_of(future, running.pop(future), job)
            submit(1)
    finally:
        # A client that stops early leaves no queue of work behind.
        client.cancel(list(running))


def summarise_run(
    out: Folder,
    settings: Settings,
    plate_map: pd.DataFrame,
    channels: Sequence[str],
) -> None:
    """Write ``fields``, ``wells`` and ``conditions`` from the parts that count.

    Each of `channels` has its rows, also where nothing was found.
    """
    fields = manifest.read_fields(out)
    write_table(out, "fields.parquet", fields, FIELDS)
    cells = manifest.read_part_table(out, "cells")
    spots = manifest.count_spots(out)
    found = (*spots["channel"].unique(), *cells["channel"].unique())
    channels = list(dict.fromkeys((*channels, *found)))
    index = SectorIndex(
        settings.sectors,
        settings.min_spots,
        settings.rotation,
        settings.exclude_border,
    )
    tables = (fields, cells, plate_map)
    wells = summarise_wells(*tables, channels=channels, spots=spots, index=index)
    write_table(out, "wells.parquet", wells, WELLS)
    groups = summarise_conditions(*tables, channels=channels, spots=spots, index=index)
    write_table(out, "conditions.parquet", groups, CONDITIONS)


def run(  # noqa: PLR0913 - see `prepare_run`
    source: Any,
    out: str,
    settings: Settings,
    *,
    client: Any = None,
    selection: Selection = Selection(),
    device: Device = "auto",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Progress:
    """Find every spot of a plate and measure every cell; write a run folder.

    Parameters, errors and result are those of `prepare_run` and `execute_run`.
    """
    prepared = prepare_run(source, out, settings, selection=selection, device=device)
    return execute_run(prepared, client, on_progress=on_progress)
