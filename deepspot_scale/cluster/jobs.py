"""Submits the jobs of a queue, and reports those that have not started a worker.

A cluster of dask-jobqueue comes in; what the queue refuses is an error. To Dask, a job
that was cancelled, or that died before its worker started, looks like a waiting one;
the queue is asked where its answer is understood. Nothing here knows what is computed.
"""

from __future__ import annotations

import logging
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import install_line

if TYPE_CHECKING:
    from distributed import Client

FIRST_MESSAGE, NEXT_MESSAGE = 30.0, 300.0
"""Seconds without a worker until the first message, and between later ones."""
_QUERIES = {
    "SLURMJob": (("squeue", "--noheader", "--jobs"), r"\A\s*\Z|Invalid job id"),
    "SGEJob": (("qstat", "-j"), r"do not exist"),
}
"""By dask-jobqueue's class: the command about a job, and what it answers when there is
none any more. An answer that does not say so, such as that of a busy queue, counts as a
waiting job; of the other queues no answer was tried."""


def import_jobqueue() -> ModuleType:
    """Import dask-jobqueue and restore the Ctrl-C handler, which its import replaces.

    Raises SettingsError if it is not installed.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise SettingsError(
            f"workers on a queue need: {install_line('queue')}"
        ) from error
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, before)
    module: ModuleType = dask_jobqueue
    return module


def submit(cluster: Any, n: int, queue: str) -> None:
    """Submit the first jobs and check that the queue accepts them.

    Later jobs are submitted in the background, where a refusal is not reported. Raises
    SettingsError if the queue refused a job; the message has its answer.
    """
    from distributed.core import Status

    with _no_tracebacks():
        cluster.scale(n)
        while len(cluster.workers) < n:  # until the queue has answered for each job
            time.sleep(0.05)
    refused = [job for job in cluster.workers.values() if job.job_id is None]
    answer = _reason_of_refusal(cluster, refused[0]) if refused else ""
    if answer:
        for job in refused:
            job.status = Status.failed  # otherwise closing the cluster raises
        raise SettingsError(f"{queue} refused a job: {answer}")


def _reason_of_refusal(cluster: Any, job: Any) -> str:
    """Submit a job once more and return the queue's answer; empty: it was accepted."""
    try:
        cluster.sync(job.start)
    except (RuntimeError, ValueError, OSError) as error:
        return _answer(error)
    return ""


def _answer(error: Exception) -> str:
    """Return the queue's own words out of dask-jobqueue's message."""
    before, _, errors = str(error).partition("stderr:")
    _, _, printed = before.partition("stdout:")
    return " ".join((errors.strip() or printed.strip() or str(error)).split())


@contextmanager
def _no_tracebacks() -> Iterator[None]:
    """Suppress tornado's traceback of a refusal, which we report in one line."""
    log = logging.getLogger("tornado.application")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


@contextmanager
def report_waiting(
    client: Client, folder: Path, say: Callable[[str], None]
) -> Iterator[None]:
    """Report regularly while no worker has started, with the last line of a job's log.

    Jobs that left the queue without a worker are named, also beside working ones.
    """
    done = threading.Event()
    started = time.time()

    def watch() -> None:
        cluster: Any = client.cluster
        seen, told = set[str](), set[str]()
        pause = FIRST_MESSAGE
        while not done.wait(pause):
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            seen |= {str(worker["name"]) for worker in workers}
            if not seen:
                minutes = (time.time() - started) / 60
                line = last_log_line(folder, started)
                say(f"no worker after {minutes:.1f} min: {line}")
            jobs = list(cluster.workers.items())
            gone = set(find_gone(job for name, job in jobs if str(name) not in seen))
            gone -= told
            del jobs  # held here, they would keep the cluster from closing
            for number in sorted(gone):
                say(f"job {number} left the queue without a worker: cancelled or dead")
            told |= gone
            pause = NEXT_MESSAGE

    thread = threading.Thread(target=watch, name="deepspot-waiting", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def find_gone(jobs: Iterable[Any]) -> list[str]:
    """Return the numbers of those submitted jobs that their queue has no more."""
    return [str(job.job_id) for job in jobs if _is_gone(job)]


def _is_gone(job: Any) -> bool:
    query = _QUERIES.get(type(job).__name__)
    if query is None or job.job_id is None:
        return False
    command, no_job = query
    try:
        asked = subprocess.run(
            [*command, str(job.job_id)],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):  # asked again later
        return False
    return bool(re.search(no_job, asked.stdout + asked.stderr))


def last_log_line(folder: Path, since: float) -> str:
    """Return a sentence with the last line of the newest job log, or without a log."""
    logs = [path for path in folder.iterdir() if path.is_file()]
    fresh = [p for p in logs if p.stat().st_mtime >= since and p.stat().st_size]
    if not fresh:
        return f"the jobs wait in the queue; their logs will be in {folder}"
    newest = max(fresh, key=lambda path: path.stat().st_mtime)
    text = newest.read_text(errors="replace").strip()
    return f"{newest} ends with: {text.splitlines()[-1] if text else ''}"
