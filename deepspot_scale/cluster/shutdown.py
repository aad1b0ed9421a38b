"""Graceful shutdown: a worker finishes the field in hand and returns the rest.

A task calls `is_wanted` before each further field. It returns False when the run was
told to stop, when the task was cancelled, or when the queue has warned the worker's
job (SIGTERM or SIGUSR1). A warned worker accepts no more tasks, waits for its running
ones and closes. Nothing here knows what a field is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TYPE_CHECKING, Any

from distributed import NannyPlugin, Status, WorkerPlugin, get_worker

if TYPE_CHECKING:
    from distributed import Client

NAME = "deepspot-shutdown"
TIMEOUT = 600.0
"""Maximum seconds that a closing worker waits for the fields in hand."""
POLL = 0.05
_BEGUN = {"executing", "long-running", "memory", "error", "rescheduled"}
"""States of a worker's tasks that it has begun."""
_WARNINGS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
]


@contextmanager
def without_signals() -> Iterator[None]:
    """Start processes that ignore the signals of terminal and queue.

    Local workers share the client's terminal and job. Only the client handles Ctrl-C
    and the queue's signals; the workers end when the client tells them to, or is gone.
    SIGKILL cannot be blocked and still reaches them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Threads and processes inherit the mask, also those that restart workers.
    numbers = [signal.SIGINT, *_WARNINGS]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    # Python's resource tracker must inherit it too; starting it unblocks some signals.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Shutdown(WorkerPlugin):
    """Tells a worker which runs have stopped, and closes it on a queue's warning."""

    name = NAME

    def __init__(self) -> None:
        self.stopped: set[str] = set()
        """Runs that were told to stop."""
        self.client = os.getpid()

    async def setup(self, worker: Any) -> None:
        """Handle the queue's warnings, unless the client's own process started us.

        Local workers do not get these signals at all, see `without_signals`.
        """
        self.worker = worker
        self.nanny_closes = False
        self.shutdown: asyncio.Task[None] | None = None
        worker.handlers["deepspot_shutdown"] = self.prepare_to_close
        if _in_main_thread() and os.getppid() != self.client:
            loop = asyncio.get_running_loop()
            for number in _WARNINGS:
                loop.add_signal_handler(number, self._begin_shutdown)

    def _begin_shutdown(self) -> None:
        if self.shutdown is None:
            self.shutdown = asyncio.create_task(self._shut_down())

    async def prepare_to_close(self) -> None:
        """Finish the running tasks, so that the nanny can close this worker."""
        self.nanny_closes = True
        self._begin_shutdown()
        if self.shutdown is not None:
            # A worker that closes itself cancels its open calls first. Without the
            # shield that would cancel the shutdown, and it would never finish.
            await asyncio.shield(self.shutdown)

    async def _shut_down(self) -> None:
        worker = self.worker
        if worker.status not in {Status.running, Status.paused}:
            return
        worker.status = Status.closing_gracefully  # it gets no more tasks
        deadline = time.monotonic() + TIMEOUT
        while await _is_busy(worker) and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
        # Results that nobody has fetched yet move to another worker.
        await worker.scheduler.retire_workers(
            workers=[worker.address],
            close_workers=False,
            remove=True,
            stimulus_id=f"{NAME}-{time.time()}",
        )
        if not self.nanny_closes:
            await worker.close(nanny=True, reason=NAME)


async def _is_busy(worker: Any) -> bool:
    """Return whether a task runs, or has ended without the scheduler knowing it.

    The scheduler would give a task of the second kind to another worker: it hears that
    a worker retires on another connection than that its tasks ended.
    """
    if worker.active_threads:
        return True
    processing = await worker.scheduler.processing(workers=[worker.address])
    tasks = [worker.state.tasks.get(key) for key in processing[worker.address]]
    return any(task is not None and task.state in _BEGUN for task in tasks)


class ShutdownNanny(NannyPlugin):
    """Makes a nanny wait for its worker's shutdown when the queue warns the job."""

    name = NAME

    def setup(self, nanny: Any) -> None:
        """Record warnings, then call the handler that was there before."""
        self.warned = False
        self.nanny = nanny
        if not _in_main_thread():  # a local cluster: the client handles signals
            return
        before = signal.getsignal(signal.SIGTERM)

        def note(number: int, frame: Any) -> None:
            self.warned = True
            if callable(before):
                before(signal.SIGTERM, frame)

        for number in _WARNINGS:
            signal.signal(number, note)

    async def teardown(self, nanny: Any) -> None:
        """Wait until the worker is ready to close."""
        if not self.warned or not nanny.worker_address:
            return
        try:
            async with nanny.rpc(nanny.worker_address) as worker:
                await asyncio.wait_for(worker.deepspot_shutdown(), TIMEOUT)
        except (OSError, TimeoutError):  # the worker has already ended
            return


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def is_wanted(run: str) -> bool:
    """Return whether a task should begin another field of a run.

    Always True outside a worker.
    """
    try:
        worker = get_worker()
    except ValueError:
        return True
    plugin: Any = worker.plugins.get(NAME)
    if plugin is not None and run in plugin.stopped:
        return False
    if worker.status not in {Status.running, Status.paused, Status.init}:
        return False
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state not in {"cancelled", "resumed"}


def stop_run(client: Client, run: str) -> None:
    """Tell all workers to begin no more fields of a run."""

    async def note(dask_worker: Any) -> None:
        plugin: Any = dask_worker.plugins.get(NAME)
        if plugin is not None:
            plugin.stopped.add(run)

    client.run(note, wait=False, on_error="ignore")
