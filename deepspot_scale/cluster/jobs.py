"""Jobs of a queue once they are described: submitted, watched until one works.

Nothing here knows which queue it is.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from deepspot_scale.errors import SettingsError

FIRST_WORD, NEXT_WORD = 30.0, 300.0
"""Seconds without a worker before the first message and between the others."""


def import_jobqueue() -> ModuleType:
    """Import dask-jobqueue, and keep what Ctrl-C does, which its import changes.

    Raises
    ------
    SettingsError
        It is not installed.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise SettingsError(
            "workers on a queue need: pip install 'deepspot-scale[queue]'"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)
    module: ModuleType = dask_jobqueue
    return module


def submit(cluster: Any, n: int, queue: str) -> None:
    """Submit the first jobs and see that the queue takes them.

    Later ones are submitted in the background, where nobody would hear a refusal.

    Raises
    ------
    SettingsError
        What the queue answered.
    """
    from distributed.core import Status

    with _no_tracebacks():
        cluster.scale(n)
        while len(cluster.workers) < n:  # until the queue has answered about each
            time.sleep(0.05)
    refused = [job for job in cluster.workers.values() if job.job_id is None]
    answer = _refusal(cluster, refused[0]) if refused else ""
    if answer:
        for job in refused:
            job.status = Status.failed  # or closing the cluster stumbles over them
        raise SettingsError(f"{queue} refused a job: {answer}")


def _refusal(cluster: Any, job: Any) -> str:
    """Submit a job once more, to hear what the queue says."""
    try:
        cluster.sync(job.start)
    except (RuntimeError, ValueError, OSError) as error:
        return _answer(error)
    return ""


def _answer(error: Exception) -> str:
    """Return what the queue itself said, of all that dask-jobqueue says."""
    told, _, errors = str(error).partition("stderr:")
    _, _, printed = told.partition("stdout:")
    return " ".join((errors.strip() or printed.strip() or str(error)).split())


@contextmanager
def _no_tracebacks() -> Iterator[None]:
    """Keep a refusal, which is told in one line, from being logged as a fault too."""
    log = logging.getLogger("tornado.application")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def tell_while_waiting(
    client: Any, folder: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """Say now and then that no worker has come yet, and what the jobs' logs end with.

    A job that dies before its worker starts looks to Dask like one that still waits.
    """
    done = threading.Event()
    began = time.time()

    def watch() -> None:
        pause = FIRST_WORD
        while not done.wait(pause):
            if client.scheduler_info(n_workers=1)["workers"]:
                return
            minutes = (time.time() - began) / 60
            say(f"no worker after {minutes:.1f} min: {last_word(folder, began)}")
            pause = NEXT_WORD

    thread = threading.Thread(target=watch, name="deepspot-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def last_word(folder: Path, since: float) -> str:
    """Return the last line of the newest log of a job, or that there is none."""
    logs = [path for path in folder.iterdir() if path.is_file()]
    fresh = [p for p in logs if p.stat().st_mtime >= since and p.stat().st_size]
    if not fresh:
        return f"the jobs wait in the queue; their logs will be in {folder}"
    newest = max(fresh, key=lambda path: path.stat().st_mtime)
    text = newest.read_text(errors="replace").strip()
    return f"{newest} ends with: {text.splitlines()[-1] if text else ''}"
