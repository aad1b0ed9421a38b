"""Jobs of a queue once they are described: submitted, watched until one works.

Nothing here knows which queue it is.
"""

from __future__ import annotations

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

    async def submitted() -> None:
        await cluster

    cluster.scale(n)
    try:
        cluster.sync(submitted)
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingsError(f"{queue} refused a job: {_answer(error)}") from error


def _answer(error: Exception) -> str:
    """Return what the queue itself said, of all that dask-jobqueue says."""
    text = str(error).partition("stderr:\n")[2].strip() or str(error)
    return " ".join(text.split())


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
