"""Who works on a run folder: one client at a time, and one that died is replaced.

    RUN/lease/00000007.json      who holds it, a beat that changes, how far the run is

The highest number holds. A client takes a run by making the next number, which only
one of several can do; while it works it changes the file every few seconds. A lease
is stale when its process is seen to be gone, or when its content has not changed for a
minute of the watcher's own clock, so clocks of different machines need not agree.

What the store allows: on local disks, memory, and stores with conditional writes (S3,
Google, Azure through their fsspec file systems) exactly one of two clients that race
for a stale lease gets it. Elsewhere both may for a moment; the next beat of the one
with the lower claim sees it, and it stops. Tables are right even then, since whatever
is written twice counts once. Workers know nothing of leases.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from deepspot_scale.errors import RunError
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.run_folder import LEASES, check_place, place_errors

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
POLL_SECONDS = 0.5
SAME_START = 5.0
"""Seconds by which two readings of one process's start may differ."""


@dataclass(frozen=True)
class Holder:
    """What a lease says."""

    number: int
    content: bytes

    @property
    def facts(self) -> dict[str, Any]:
        """Host, process and the rest; empty when the file cannot be read."""
        try:
            facts = json.loads(self.content)
        except ValueError:
            return {}
        return facts if isinstance(facts, dict) else {}

    @property
    def released(self) -> bool:
        """Whether its client ended in good order."""
        return bool(self.facts.get("released"))

    def __str__(self) -> str:
        told = self.facts
        return (
            f"{told.get('host', 'an unknown host')}, process {told.get('pid', '?')}, "
            f"since {told.get('since', '?')}"
        )


@dataclass
class Lease:
    """A run folder that is ours; see `hold_run`."""

    folder: Folder
    number: int
    facts: dict[str, Any]
    beat: int = 0
    lost: bool = False
    """Whether another client has taken the run over."""
    progress: dict[str, Any] = field(default_factory=dict)
    """What `status` tells about the run, written with the next beat."""
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self, *, released: bool = False) -> None:
        """Write the lease with the next beat."""
        self.beat += 1
        content = self.facts | {
            "beat": self.beat,
            "at": _now(),
            "released": released,
            "progress": self.progress,
        }
        self.folder.write(_name(self.number), json.dumps(content).encode())

    def keep(self) -> None:
        """Beat until the end, or until another client holds the run."""
        missed = 0.0
        while not self.ended.wait(BEAT_SECONDS):
            try:
                latest = read_holder(self.folder)
                if latest is not None and latest.number > self.number:
                    self.lost = True
                    return
                self.write()
                missed = 0.0
            except OSError:  # one beat may be lost, a minute of them may not
                missed += BEAT_SECONDS
                self.lost = missed > STALE_SECONDS


@contextmanager
def hold_run(
    folder: Folder, *, say: Callable[[str], None] = lambda _: None
) -> Iterator[Lease]:
    """Hold a run folder, so that no other client works on it meanwhile.

    Parameters
    ----------
    folder
        The run folder; it need not exist.
    say
        Told when another client's sign of life is waited for.

    Raises
    ------
    RunError
        Another client works on it, or it cannot be used as run folder.
    """
    check_place(folder)
    with place_errors(folder):
        lease = _take(folder, say)
    beating = threading.Thread(target=lease.keep, name="lease", daemon=True)
    beating.start()
    try:
        yield lease
    finally:
        lease.ended.set()
        beating.join(timeout=BEAT_SECONDS)
        with suppress(OSError):  # the run is over; a lease left behind turns stale
            _release(lease)


def _release(lease: Lease) -> None:
    if lease.lost:
        return
    if lease.folder.exists("settings.toml"):
        lease.write(released=True)
        return
    # No run came of it: leave the place as it was.
    lease.folder.remove(_name(lease.number))
    if lease.folder.is_local:
        place = lease.folder.local_path
        with suppress(OSError):
            (place / LEASES).rmdir()
            place.rmdir()


def read_holder(folder: Folder) -> Holder | None:
    """Return the latest lease of a run folder; None when it never had one."""
    for name in reversed(folder.names(LEASES)):
        try:
            return Holder(int(Path(name).stem), folder.read(f"{LEASES}/{name}"))
        except (ValueError, FileNotFoundError):  # not ours, or just replaced
            continue
    return None


def _take(folder: Folder, say: Callable[[str], None]) -> Lease:
    seen: Holder | None = None
    since = 0.0
    while True:
        holder = read_holder(folder)
        free = holder is None or holder.released or is_gone(holder)
        if seen is not None and holder != seen and not free:
            raise _refusal(folder, holder)
        if free or (seen is not None and time.monotonic() - since > STALE_SECONDS):
            lease = _claim(folder, holder.number + 1 if holder else 1)
            if lease is not None:
                return lease
            continue
        if seen is None:
            seen, since = holder, time.monotonic()
            say(f"{folder.url} is held by {holder}; waiting for its sign of life")
        time.sleep(POLL_SECONDS)


def _refusal(folder: Folder, holder: Holder | None) -> RunError:
    return RunError(
        f"another client works on {folder.url}: {holder}. Wait for it, or stop it "
        "there with Ctrl-C or kill; deepspot-scale status tells how far it is. Another "
        "run needs another folder, --out"
    )


def _claim(folder: Folder, number: int) -> Lease | None:
    """Try to make the lease of this number; None when another client was faster."""
    lease = Lease(folder, number, _ourselves())
    first = lease.facts | {"beat": 0, "at": _now(), "released": False, "progress": {}}
    if not folder.create(_name(number), json.dumps(first).encode()):
        return None
    latest = read_holder(folder)
    if latest is not None and latest.number > number:
        folder.remove(_name(number))
        return None
    for name in folder.names(LEASES):
        if Path(name).stem.isdecimal() and int(Path(name).stem) < number:
            folder.remove(f"{LEASES}/{name}")
    return lease


def _name(number: int) -> str:
    return f"{LEASES}/{number:08d}.json"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _ourselves() -> dict[str, Any]:
    import psutil

    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": _now(),
        "machine": _machine(),
        "started": psutil.Process().create_time(),
    }


def _machine() -> str:
    """Return what tells this machine, and its process numbers, from any other."""
    marks = [socket.gethostname()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(marks)


def is_gone(holder: Holder) -> bool:
    """Return whether a lease's process ran on this machine and runs no more."""
    import psutil

    told = holder.facts
    if told.get("machine") != _machine():
        return False
    try:
        process = psutil.Process(int(told["pid"]))
        if process.status() == psutil.STATUS_ZOMBIE:
            return True
        return bool(abs(process.create_time() - told["started"]) > SAME_START)
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
