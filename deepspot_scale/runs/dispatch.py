"""Handing out a run's fields to a cluster, and taking their rows in.

Tasks come in, rows go out as they are ready; a bounded window of work is in flight, so
neither the client nor the scheduler ever holds the whole plate. Nothing here knows how
a field is processed or what its rows are summed up to.
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
from deepspot_scale.runs.process import (
    FATAL,
    Job,
    fail_batch,
    finish_batch,
    run_batch,
    run_isolated,
)
from deepspot_scale.tables import empty_table

BATCH_PIXELS = 1 << 24
"""Fields are handed out together until they have this many pixels: four of 2048 px."""
MAX_BATCH = 64
BATCHES_PER_THREAD = 4
"""At least, so that threads end at about the same time."""
SMALLEST_WINDOW = 16
"""Batches in flight while there are few workers, or none yet."""
MAX_DEATHS = 8
"""Fields that lost all their workers so often are given up."""
POLL = 0.25
"""Seconds between two looks at whether to stop."""
GATHER_SECONDS = 30.0
"""Time in which a row that is ready must arrive."""
BLOCKS_PER_TASK = 16
"""A plane of more blocks than this is spread over the workers."""


def batch_fields(
    tasks: list[FieldTask], plate: Plate, n_threads: int = 1
) -> Iterator[list[FieldTask]]:
    """Yield batches of fields; large ones alone, small ones together.

    There are batches for all of `n_threads`, even if that makes them smaller.
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
        height, width = plate.open(task.entry.address.path).shape_yx
    except ValueError:  # a damaged field; its own task will say so
        return 1
    return max(1, min(MAX_BATCH, BATCH_PIXELS // (height * width)))


@dataclass(frozen=True)
class _Batch:
    """Fields that one task is to do."""

    tasks: list[FieldTask]
    deaths: int = 0
    """How often Dask gave up on them, as all workers that had them died."""


def _submit(client: Any, handout: _Batch, job: Job, demand: dict[str, float]) -> Any:
    """Hand fields to the cluster: one task, or the blocks of one large field.

    Every task asks for what the network needs: of a graph's tasks those fused with
    others would forget it.
    """
    tasks, resources = handout.tasks, demand or None
    if handout.deaths:
        return client.submit(
            _pack, run_isolated, tasks, job, pure=False, resources=resources
        )
    if len(tasks) == 1 and not job.pipeline.layers:
        planes = _spread(tasks[0], job)
        if planes is not None:
            from dask.delayed import delayed

            finish = delayed(_pack, pure=False)
            whole = finish(_finish_large, tasks[0], planes, time.time(), job)
            return client.compute(whole, resources=resources)
    return client.submit(_pack, run_batch, tasks, job, pure=False, resources=resources)


def _pack(work: Callable[..., pd.DataFrame], *arguments: Any) -> bytes:
    """Return the rows as bytes: Dask weighs and sends a table column by column."""
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
    except ValueError:  # a damaged field; its own task will say so
        return None


def _finish_large(
    task: FieldTask, planes: list[Any], started: float, job: Job
) -> pd.DataFrame:
    return finish_batch([task], [planes], [time.time() - started], job)


def _answer(
    future: Any, handout: _Batch, job: Job
) -> tuple[pd.DataFrame, list[_Batch]]:
    """Return the rows of an ended task, and what is left of its fields.

    Dask gives up on tasks whose workers died several times, also on those that were
    merely beside the one that killed them. Such fields are done again, in a process
    of their own; there the one that kills shows, and only it fails.
    """
    from distributed import KilledWorker

    with cluster_errors():
        # A worker that died with the rows in its memory makes them pending again.
        error = future.exception(timeout=GATHER_SECONDS)
        packed = future.result(timeout=GATHER_SECONDS) if error is None else None
    if packed is not None:
        rows = pickle.loads(packed)
        begun = set(zip(rows["row"], rows["column"], rows["field"], strict=True))
        rest = [task for task in handout.tasks if _key(task) not in begun]
        return rows, [replace(handout, tasks=rest)] if rest else []
    if isinstance(error, FATAL):
        raise error
    if isinstance(error, KilledWorker):
        if handout.deaths < MAX_DEATHS:
            again = replace(handout, deaths=handout.deaths + 1)
            return empty_table(job.contents.fields), [again]
        error = RunError(
            "the workers that had it died again and again, though it ran in a process "
            "of its own; look at the workers' logs"
        )
    return fail_batch(handout.tasks, error, job), []


def _key(task: FieldTask) -> tuple[str, str, str]:
    address = task.entry.address
    return address.row, address.column, address.field


def _window(client: Any) -> int:
    """Return how many batches to have in flight, for the workers there are now.

    More than one a thread, so that none waits, and so that a cluster that grows by
    what is waiting sees a reason to.
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
    """Keep a window of batches in flight, each answered by its rows as it ends.

    Parameters
    ----------
    batches
        The fields.
    client
        `distributed.Client`.
    job
        What to do with them.
    demand
        What each task asks of its worker, see `field_resources`.
    stop
        Asked now and then; once it says yes, workers end the fields in hand and no
        more are handed out.

    Yields
    ------
    pandas.DataFrame
        Rows of fields that ended.

    Raises
    ------
    ClusterError
        The scheduler is gone, or all workers of a local cluster are, for good.
    """
    check = _watcher(client, job, stop)
    returned: deque[_Batch] = deque()

    def next_handout() -> _Batch | None:
        if returned:
            return returned.popleft()
        tasks = next(batches, None)
        return _Batch(tasks) if tasks else None

    with closing(_InFlight(client, job, demand)) as flight:
        while True:
            for _ in range(_window(client) - len(flight.running)):
                if stop():
                    break
                handout = next_handout()
                if handout is None:
                    break
                flight.submit(handout)
            if not flight.running:
                return
            rows, rest = flight.wait(check)
            returned.extend(rest)
            if len(rows):
                yield rows


class _InFlight:
    """The tasks in flight."""

    def __init__(self, client: Any, job: Job, demand: dict[str, float]) -> None:
        self.client, self.job, self.demand = client, job, demand
        self.running: dict[Any, _Batch] = {}
        self.ended: SimpleQueue[Any] = SimpleQueue()

    def submit(self, handout: _Batch) -> None:
        with cluster_errors():
            future = _submit(self.client, handout, self.job, self.demand)
        self._expect(future, handout)

    def _expect(self, future: Any, handout: _Batch) -> None:
        self.running[future] = handout
        future.add_done_callback(self.ended.put)

    def wait(self, check: Callable[[], bool]) -> tuple[pd.DataFrame, list[_Batch]]:
        """Return what the next task that ends came to, see `_answer`.

        Nothing, and nothing is in flight any more, once `check` sees no use in waiting.
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
            handout = self.running.pop(future)
            try:
                return _answer(future, handout, self.job)
            except TimeoutError:
                self._expect(future, handout)

    def close(self) -> None:
        """Leave no queue of work behind when the client stops early."""
        self.client.cancel(list(self.running))


def _watcher(client: Any, job: Job, stop: Callable[[], bool]) -> Callable[[], bool]:
    """Return what is to be done while nothing ends; it says whether to wait on.

    A run that is to stop while no worker has come has no field in hand to wait for.
    """
    check_workers = watch_workers(client)
    told = False

    def check() -> bool:
        nonlocal told
        check_workers()
        if stop() and not told:
            told = True
            stop_run(client, job.token)
        with cluster_errors():
            return not stop() or bool(client.nthreads())

    return check
