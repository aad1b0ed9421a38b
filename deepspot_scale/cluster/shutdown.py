"""Leaving in good order: a worker ends the field in hand, hands back the rest, goes.

A task asks `is_wanted` before each further field. The answer turns to no when its run
was told to stop, when nobody waits for it any more, or when the queue has warned the
worker's job (SIGTERM or SIGUSR1); then the worker takes no more tasks, waits for those
in hand and leaves. Nothing here knows what a field is.
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
from typing import Any

from distributed import NannyPlugin, Status, WorkerPlugin, get_worker

NAME = "deepspot-leaving"
PATIENCE = 600.0
"""Seconds that a leaving worker waits at most for the fields in hand."""
POLL = 0.05
_WARNINGS = [
    getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)
]


@contextmanager
def without_signals() -> Iterator[None]:
    """Start processes that get none of the terminal's or queue's signals.

    Local workers share the client's terminal and job. The client alone answers to
    Ctrl-C and to the queue; the workers go when it tells them to, or when it is gone.
    What the queue cannot hold back, SIGKILL, still reaches them.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    # Threads and processes inherit the mask, so those that restart workers have it too.
    numbers = [signal.SIGINT, *_WARNINGS]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    # Python's own helper gets none either; its start lifts part of the mask again.
    resource_tracker.ensure_running()
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Shutdown(WorkerPlugin):
    """Lets a worker know what it need not begin any more."""

    name = NAME

    def __init__(self) -> None:
        self.stopped: set[str] = set()
        """Runs that were told to stop."""
        self.client = os.getpid()

    async def setup(self, worker: Any) -> None:
        """Answer to the queue's warnings, unless the client's own process started us.

        Local workers do not get these signals at all, see `without_signals`.
        """
        self.worker = worker
        self.led = False
        self.going: asyncio.Task[None] | None = None
        worker.handlers["deepspot_leave"] = self.leave
        if _in_main_thread() and os.getppid() != self.client:
            loop = asyncio.get_running_loop()
            for number in _WARNINGS:
                loop.add_signal_handler(number, self._begin_leaving)

    def _begin_leaving(self) -> None:
        if self.going is None:
            self.going = asyncio.create_task(self._leave())

    async def leave(self) -> None:
        """Make ready for the nanny to close us; returns when that is so."""
        self.led = True
        self._begin_leaving()
        if self.going is not None:
            # Unshielded, the end of this call would cancel what it waits for, and a
            # worker that closes on its own account ends its calls first: for ever.
            await asyncio.shield(self.going)

    async def _leave(self) -> None:
        worker = self.worker
        if worker.status not in {Status.running, Status.paused}:
            return
        worker.status = Status.closing_gracefully  # from now on it gets no tasks
        deadline = time.monotonic() + PATIENCE
        while worker.active_threads and time.monotonic() < deadline:
            await asyncio.sleep(POLL)
        # Rows that nobody has fetched yet go to another worker.
        await worker.scheduler.retire_workers(
            workers=[worker.address],
            close_workers=False,
            remove=True,
            stimulus_id=f"{NAME}-{time.time()}",
        )
        if not self.led:
            await worker.close(nanny=True, reason=NAME)


class ShutdownNanny(NannyPlugin):
    """Makes the parent of a queue's worker wait for it when the job is warned."""

    name = NAME

    def setup(self, nanny: Any) -> None:
        """Take note of warnings, then let them do what they did before."""
        self.warned = False
        self.nanny = nanny
        if not _in_main_thread():  # a local cluster: the client answers
            return
        before = signal.getsignal(signal.SIGTERM)

        def note(number: int, frame: Any) -> None:
            self.warned = True
            if callable(before):
                before(signal.SIGTERM, frame)

        for number in _WARNINGS:
            signal.signal(number, note)

    async def teardown(self, nanny: Any) -> None:
        """Wait until the worker has left in good order."""
        if not self.warned or not nanny.worker_address:
            return
        try:
            async with nanny.rpc(nanny.worker_address) as worker:
                await asyncio.wait_for(worker.deepspot_leave(), PATIENCE)
        except (OSError, TimeoutError):  # it has gone already
            return


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def is_wanted(run: str) -> bool:
    """Return whether a task should begin another field of a run.

    Outside a worker the answer is always yes.
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


def stop_run(client: Any, run: str) -> None:
    """Tell all workers to begin no more fields of a run."""

    async def note(dask_worker: Any) -> None:
        plugin: Any = dask_worker.plugins.get(NAME)
        if plugin is not None:
            plugin.stopped.add(run)

    client.run(note, wait=False, on_error="ignore")
