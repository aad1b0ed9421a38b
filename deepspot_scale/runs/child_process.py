"""Work in a child process: the item that kills the process is known, and fails alone.

Items and a function come in, one answer for each item goes out. A child process takes
the items one by one; if it dies, its current item has killed it, and a new child takes
the next. The worker that waits for the child, and its other work, are not affected.
Nothing here knows what the items are or why they are suspected.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import IO, Any, NamedTuple, TypeVar

from deepspot_scale.errors import FieldError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
POLL = 0.2
"""Seconds between two checks of the child's memory."""
_ENOUGH = 0.95
"""Share of a worker's memory above which Dask would kill the worker itself."""


def run_each(
    items: Sequence[Item],
    call: Callable[[Item], Answer],
    fail: Callable[[Item, Exception], Answer],
    *,
    wanted: Callable[[], bool],
) -> list[Answer]:
    """Call a function for each item, each where it cannot harm the others.

    `call` gives the answer of an item, in the child process; `fail` gives the answer of
    an item that killed its process, in this one. `wanted` is called before each item
    and says whether to begin it. Items can be pickled; each one that was begun has an
    answer.
    """
    waiting, answers = list(items), list[Answer]()
    while waiting and wanted():
        with _child(call) as child:
            while waiting and wanted():
                item = waiting.pop(0)
                answers.append(_run_in(child, item, fail))
                if child.process.poll() is not None:
                    break
    return answers


class _Child(NamedTuple):
    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: SimpleQueue[Any]


@contextmanager
def _child(call: Callable[[Any], Any]) -> Iterator[_Child]:
    """Start a process that waits for items; kill it at the end."""
    import cloudpickle

    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-c", f"from {__name__} import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    assert process.stdin is not None  # for mypy: it was asked for
    assert process.stdout is not None
    answers: SimpleQueue[Any] = SimpleQueue()
    listener = threading.Thread(target=_listen, args=(process.stdout, answers.put))
    listener.start()
    try:
        _send(process.stdin, cloudpickle.dumps(call))
        yield _Child(process, process.stdin, answers)
    finally:
        # Kill also the processes that it started: they would hold the pipe open.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        listener.join()
        process.stdout.close()
        process.stdin.close()


def _send(stream: IO[bytes], message: bytes) -> None:
    try:
        stream.write(message)
        stream.flush()
    except BrokenPipeError:  # it is dead, which shows when its answer is awaited
        return


def _listen(stream: IO[bytes], take: Callable[[Any], None]) -> None:
    """Pass on what comes through a pipe; None at its end."""
    try:
        while True:
            take(pickle.load(stream))
    except (EOFError, pickle.UnpicklingError):
        take(None)


def _run_in(
    child: _Child, item: Item, fail: Callable[[Item, Exception], Answer]
) -> Answer:
    """Return the answer of an item that the child did, or the failure if it died."""
    import cloudpickle

    _send(child.requests, cloudpickle.dumps(item))
    limit = _memory_limit()
    while True:
        try:
            answer = child.answers.get(timeout=POLL)
        except Empty:
            if limit and _memory(child.process.pid) > limit:
                child.process.kill()
                child.process.wait()
                return fail(item, _too_large(limit))
            # Processes that it started may hold the pipe open, so it has no end.
            if child.process.poll() is None or not child.answers.empty():
                continue
            answer = None
        if isinstance(answer, BaseException):
            raise answer
        if answer is not None:
            found: Answer = answer
            return found
        return fail(item, _explain_end(child.process.wait()))


def _too_large(limit: float) -> FieldError:
    return FieldError(
        f"it needs more than the {limit / 1e9:.1f} GB of memory that a worker has; use "
        "fewer workers on this machine, or a smaller block"
    )


def _explain_end(code: int) -> FieldError:
    if code >= 0:
        return FieldError(
            f"the process that worked on it exited by itself with code {code}; does "
            "the detector do this?"
        )
    name = signal.Signals(-code).name
    likely = (
        "most likely the machine had no memory left; use fewer workers, or a smaller "
        "block"
        if name == "SIGKILL"
        else "a compiled library failed on it; look at the image, or leave it out"
    )
    return FieldError(f"it killed the process that worked on it ({name}): {likely}")


def _memory_limit() -> float | None:
    from distributed import get_worker

    try:
        limit = get_worker().memory_manager.memory_limit
    except ValueError:
        return None
    return limit * _ENOUGH if limit else None


def _memory(pid: int) -> float:
    import psutil

    try:
        return float(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0.0


def serve() -> None:
    """Run as the child: take a function, then items, and answer each of them."""
    answers, items = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # keep the prints of libraries out of the answers
    # A library that forks closes its copy of stdin, which waits while we read from it.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    requests: SimpleQueue[Any] = SimpleQueue()

    def take(message: Any) -> None:
        if message is None:  # the worker is gone, or has no more items
            os._exit(0)
        requests.put(message)

    threading.Thread(target=_listen, args=(items, take), daemon=True).start()
    call = requests.get()
    while True:
        try:
            answer: Any = call(requests.get())
        except BaseException as error:  # also the errors that end a run
            answer = error
        pickle.dump(answer, answers)
        answers.flush()
