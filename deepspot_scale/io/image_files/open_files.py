"""Image files that stay open between reads, so that a movie is not listed per frame.

A path comes in, and how to open it; an open file goes out for one read. Opening a TIFF
without a table of its pages walks through all of them: 10,000 frames that are read one
by one would walk 10,000 times. So a file goes back to a few idle ones of this process.
Each is lent to one reader at a time, hence threads need no lock; and only while the
file on disk is the same, by size, time and inode. Nothing here knows formats.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final, NamedTuple, TypeVar

MAX_IDLE: Final = 4
"""Most idle files of a process; each may hold a table of all its pages."""

Opened = TypeVar("Opened")


class _Key(NamedTuple):
    """What must be the same for a file to be lent again."""

    process: int
    """A forked process shares the place in the file with its parent."""
    path: str
    way: str
    size: int
    time_ns: int
    inode: int


class _Idle(NamedTuple):
    key: _Key
    opened: Any
    files: ExitStack


_idle: list[_Idle] = []
"""In order of use, the last one is the latest. State of the process, since a task has
no other place that outlives it."""
_lock = threading.Lock()


@contextmanager
def lend(
    path: str, way: str, opener: Callable[[], AbstractContextManager[Opened]]
) -> Iterator[Opened]:
    """Lend an open file, an idle one if there is one; an error closes it.

    `way` says how `opener` opens it; files that were opened in another way do not
    serve. Raises what `opener` raises.
    """
    key = _key(path, way)
    held = _take(key)
    if held is None:
        files = ExitStack()
        held = _Idle(key, files.enter_context(opener()), files)
    try:
        yield held.opened
    except BaseException:
        held.files.close()
        raise
    _give_back(held)


def close_idle() -> None:
    """Close all idle files."""
    with _lock:
        closing = [*_idle]
        _idle.clear()
    for held in closing:
        held.files.close()


atexit.register(close_idle)


def _key(path: str, way: str) -> _Key:
    try:
        found = os.stat(path)
    except OSError:  # `opener` says what is wrong
        return _Key(os.getpid(), path, way, -1, -1, -1)
    size, time_ns, inode = found.st_size, found.st_mtime_ns, found.st_ino
    return _Key(os.getpid(), path, way, size, time_ns, inode)


def _take(key: _Key) -> _Idle | None:
    with _lock:
        for place in range(len(_idle) - 1, -1, -1):
            if _idle[place].key == key:
                return _idle.pop(place)
    return None


def _give_back(held: _Idle) -> None:
    with _lock:
        _idle.append(held)
        closing = _idle[:-MAX_IDLE]
        del _idle[:-MAX_IDLE]
    for old in closing:
        old.files.close()
