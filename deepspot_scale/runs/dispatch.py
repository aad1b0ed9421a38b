"""Sending a run's fields to a cluster, and receiving their rows.

Tasks come in, rows go out as they are ready; a bounded window of work is in flight, so
neither the client nor the scheduler ever holds the whole plate. Nothing here knows how
a field is processed or how its rows are summed up.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

import pandas as pd

from deepspot_scale.cluster.liveness import cluster_errors, watch_workers
from deepspot_scale.cluster.shutdown import stop_run
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.execution.blocks import defer_field
from deepspot_scale.execution.planes import FieldTask, plane_box
from deepspot_scale.io.plate import Plate, open_field
from deepspot_scale.runs import process
from deepspot_scale.runs.job import Job
from deepspot_scale.runs.process import FATAL
from deepspot_scale.tables import empty_table

BATCH_PIXELS = 1 << 24
"""Fields are sent together up to this many pixels: four of 2048 px."""
MAX_BATCH = 64
BATCHES_PER_THREAD = 4
"""Fewest batches for each thread, so that threads end at about the same time."""
SMALLEST_WINDOW = 16
"""Batches in flight while there are few workers, or none yet."""
MAX_DEATHS = 8
"""Fields fail after their workers have died so many times."""
POLL = 0.25
"""Seconds between two checks whether to stop."""
GATHER_SECONDS = 30.0
"""Seconds in which a row that is ready must arrive."""
BLOCKS_PER_TASK = 16
"""A plane of more blocks than this is spread over the workers."""


def batch_fields(
    tasks: list[FieldTask], plate: Plate, n_threads: int = 1
) -> Iterator[list[FieldTask]]:
    """Yield batches of fields: large fields alone, small ones together.

    There are batches for all `n_threads` threads, even if that makes them smaller.
    """
    if not tasks:
        return
    fair = -(-len(tasks) // (BATCHES_PER_THREAD * max(1, n_threads)))
    size = min(_batch_size(plate, tasks[0]), fair)
    remaining = iter(tasks)
    while batch := list(islice(remaining, size)):
        yield batch


def _batch_size(plate: Plate, task: FieldTask) -> int:
    try:
        field = plate.open(task.entry.address.path)
        height, width = field.shape_yx
    except ValueError:  # a damaged field, which its own task will report
        return 1
    n_frames = field.n_t if task.entry.segment is not None else 1
    return max(1, min(MAX_BATCH, BATCH_PIXELS // (height * width * n_frames)))


@dataclass(frozen=True)
class _Batch:
    """Fields of one task."""

    tasks: list[FieldTask]
    deaths: int = 0
    """How often Dask gave up on them because all workers that had them died."""


def _submit(client: Any, batch: _Batch, job: Job, demand: dict[str, float]) -> Any:
    """Send fields to the cluster: as one task, or as the blocks of one large field.

    Every task requests what the network needs, because tasks of a graph lose a request
    of their own when they are fused with others.
    """
    tasks, resources = batch.tasks, demand or None
    work = process.run_isolated if batch.deaths else process.run_batch
    if not batch.deaths and len(tasks) == 1 and not job.pipeline.layers:
        planes = _spread(tasks[0], job)
        if planes is not None:
            from dask.delayed import delayed

            finish = delayed(_pack, pure=False)
            whole = finish(_finish_large, tasks[0], planes, time.time(), job)
            return client.compute(whole, resources=resources)
    return client.submit(_pack, work, tasks, job, pure=False, resources=resources)


def _pack(work: Callable[..., pd.DataFrame], *arguments: Any) -> bytes:
    """Return the rows as bytes: Dask would send a table column by column."""
    return pickle.dumps(work(*arguments))


def _spread(task: FieldTask, job: Job) -> list[Any] | None:
    """Return the delayed planes of a field that is too large for one worker."""
    try:
        box = plane_box(open_field(task.entry), job.pipeline.axes)
        if len(job.pipeline.blocks(box.shape).blocks) <= BLOCKS_PER_TASK:
            return None
        return defer_field(task, job.settings, job.pipeline)
    except SettingsError:
        raise
    except ValueError:  # a damaged field, which its own task will report
        return None


def _finish_large(
    task: FieldTask, planes: list[Any], started: float, job: Job
) -> pd.DataFrame:
    return process.finish_batch([task], [planes], [time.time() - started], job)


def _answer(future: Any, batch: _Batch, job: Job) -> tuple[pd.DataFrame, list[_Batch]]:
    """Return the rows of an ended task, and its fields that are left.

    Dask gives up on tasks whose workers died several times, also on those that only ran
    beside the one that killed the worker. Such fields are done again, each in a child
    process: this shows which field kills its process, and only that one fails.
    """
    from distributed import KilledWorker

    with cluster_errors():
        # If a worker dies with the rows in its memory, they are pending again.
        error = future.exception(timeout=GATHER_SECONDS)
        packed = future.result(timeout=GATHER_SECONDS) if error is None else None
    if packed is not None:
        rows = pickle.loads(packed)
        begun = set(zip(rows["row"], rows["column"], rows["field"], strict=True))
        rest = [task for task in batch.tasks if _key(task) not in begun]
        return rows, [replace(batch, tasks=rest)] if rest else []
    if isinstance(error, FATAL):
        raise error
    if isinstance(error, KilledWorker):
        if batch.deaths < MAX_DEATHS:
            again = replace(batch, deaths=batch.deaths + 1)
            return empty_table(job.contents.fields), [again]
        error = RunError(
            "the workers that had it died again and again, although it ran in a child "
            "process; look at the workers' logs"
        )
    return process.fail_batch(batch.tasks, error, job), []


def _key(task: FieldTask) -> tuple[str, str, str]:
    address = task.entry.address
    return address.row, address.column, address.field


def _window(client: Any) -> int:
    """Return how many batches to keep in flight for the present workers.

    There is more than one for each thread, so that no thread waits, and so that an
    adaptive cluster, which grows by the waiting work, has a reason to grow.
    """
    with cluster_errors():
        threads = sum(int(n) for n in client.nthreads().values())
    return max(SMALLEST_WINDOW, 3 * threads)


def distribute(
    batches: Iterator[list[FieldTask]],
    client: Any,
    job: Job,
    demand: dict[str, float],
    stop: Callable[[], bool],
) -> Iterator[pd.DataFrame]:
    """Keep a window of batches in flight, and yield the rows of fields as they end.

    `demand` is what each task requests of its worker, see `field_resources`. `stop` is
    called regularly; once it returns true, workers finish their current fields and get
    no more.

    Raises
    ------
    ClusterError
        The scheduler, or all workers of a local cluster, are permanently gone.
    """
    check = _watcher(client, job, stop)
    returned: deque[_Batch] = deque()

    def next_batch() -> _Batch | None:
        if returned:
            return returned.popleft()
        tasks = next(batches, None)
        return _Batch(tasks) if tasks else None

    with closing(_InFlight(client, job, demand)) as in_flight:
        while True:
            for _ in range(_window(client) - len(in_flight.running)):
                batch = None if stop() else next_batch()
                if batch is None:
                    break
                in_flight.submit(batch)
            if not in_flight.running:
                return
            rows, rest = in_flight.wait(check)
            returned.extend(rest)
            if len(rows):
                yield rows


class _InFlight:
    """The tasks in flight."""

    def __init__(self, client: Any, job: Job, demand: dict[str, float]) -> None:
        self.client, self.job, self.demand = client, job, demand
        self.running: dict[Any, _Batch] = {}
        self.ended: SimpleQueue[Any] = SimpleQueue()

    def submit(self, batch: _Batch) -> None:
        with cluster_errors():
            future = _submit(self.client, batch, self.job, self.demand)
        self._expect(future, batch)

    def _expect(self, future: Any, batch: _Batch) -> None:
        self.running[future] = batch
        future.add_done_callback(self.ended.put)

    def wait(self, check: Callable[[], bool]) -> tuple[pd.DataFrame, list[_Batch]]:
        """Return the answer of the next task that ends, see `_answer`.

        If `check` says not to wait, cancel everything and return nothing.
        """
        while True:
            try:
                future = self.ended.get(timeout=POLL)
            except Empty:
                if check():
                    continue
                self.close()
                self.running.clear()
                return empty_table(self.job.contents.fields), []
            batch = self.running.pop(future)
            try:
                return _answer(future, batch, self.job)
            except TimeoutError:
                self._expect(future, batch)

    def close(self) -> None:
        """Cancel the queued work, for a client that stops early."""
        self.client.cancel(list(self.running))


def _watcher(client: Any, job: Job, stop: Callable[[], bool]) -> Callable[[], bool]:
    """Return a check to call while no task ends; it says whether to wait longer.

    If a run must stop before any worker has come, there is no field to wait for.
    """
    check_workers = watch_workers(client)
    stopped = False

    def check() -> bool:
        nonlocal stopped
        check_workers()
        if stop() and not stopped:
            stopped = True
            stop_run(client, job.token)
        with cluster_errors():
            return not stop() or bool(client.nthreads())

    return check
