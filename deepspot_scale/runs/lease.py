"""Who works on a run folder: one client at a time, and a dead one is replaced.

    RUN/lease/00000007.json      its holder, a beat that changes, the run's progress

The highest number is valid. A client takes a run by creating the next number, which
only one of several can do; while it works, it changes the file every few seconds. A
lease is stale when its process is known to be gone, or when its content has not changed
for a minute of the watcher's own monotonic clock. The times in it are for people only:
clocks of machines need not agree, and may be set while a run goes.

On local disks, memory, and stores with conditional writes (S3, Google, Azure through
their fsspec file systems) exactly one of two clients that race for a stale lease gets
it. On other stores both may get it for a moment; the one with the lower number sees
this at its next beat, and stops. Tables are right even then, since what is written
twice counts once. Workers know nothing of leases.
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


@dataclass(frozen=True)
class Holder:
    """The content of a lease."""

    number: int
    content: bytes

    @property
    def facts(self) -> dict[str, Any]:
        """Host, process and the rest; empty if the file cannot be read."""
        try:
            facts = json.loads(self.content)
        except ValueError:
            return {}
        return facts if isinstance(facts, dict) else {}

    @property
    def released(self) -> bool:
        """Whether its client ended properly."""
        return bool(self.facts.get("released"))

    def __str__(self) -> str:
        facts = self.facts
        host, pid = facts.get("host", "an unknown host"), facts.get("pid", "?")
        return f"{host}, process {pid}, since {facts.get('since', '?')}"


@dataclass
class Lease:
    """A lease of this client; see `hold_run`."""

    folder: Folder
    number: int
    facts: dict[str, Any]
    beat: int = 0
    lost: bool = False
    """Whether another client has taken the run over."""
    progress: dict[str, Any] = field(default_factory=dict)
    """The progress that `status` shows, written with the next beat."""
    ended: threading.Event = field(default_factory=threading.Event)

    def write(self, *, released: bool = False) -> None:
        """Write the lease with the next beat."""
        self.beat += 1
        self.folder.write(_name(self.number), self.content(released=released))

    def content(self, *, released: bool = False) -> bytes:
        """Return the content of the lease's file."""
        changing = {"beat": self.beat, "at": _now(), "released": released}
        content = self.facts | changing | {"progress": self.progress}
        return json.dumps(content).encode()

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
            except OSError:  # beats may fail, but not for a whole minute
                missed += BEAT_SECONDS
                self.lost = missed > STALE_SECONDS


@contextmanager
def hold_run(
    folder: Folder, *, say: Callable[[str], None] = lambda _: None
) -> Iterator[Lease]:
    """Hold a run folder, which need not exist, so that no other client works on it.

    `say` is called with a message if another client's sign of life must be awaited.

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
    # No run was made: leave the folder as it was.
    lease.folder.remove(_name(lease.number))
    if lease.folder.is_local:
        place = lease.folder.local_path
        with suppress(OSError):
            (place / LEASES).rmdir()
            place.rmdir()


def read_holder(folder: Folder) -> Holder | None:
    """Return the latest lease of a run folder; None if it never had one."""
    for name in reversed(folder.names(LEASES)):
        try:
            return Holder(int(Path(name).stem), folder.read(f"{LEASES}/{name}"))
        except (ValueError, FileNotFoundError):  # another file, or just replaced
            continue
    return None


def _take(folder: Folder, say: Callable[[str], None]) -> Lease:
    seen: Holder | None = None
    since = 0.0
    while True:
        holder = read_holder(folder)
        free = holder is None or holder.released or is_gone(holder)
        if seen is not None and holder != seen and not free:
            raise RunError(
                f"another client works on {folder.url}: {holder}. Wait for it, or stop "
                "it there with Ctrl-C or kill; deepspot-scale status tells how far it "
                "is. Another run needs another folder, --out"
            )
        if free or (seen is not None and time.monotonic() - since > STALE_SECONDS):
            lease = _claim(folder, holder.number + 1 if holder else 1)
            if lease is not None:
                return lease
            continue
        if seen is None:
            seen, since = holder, time.monotonic()
            say(f"{folder.url} is held by {holder}; waiting for its sign of life")
        time.sleep(POLL_SECONDS)


def _claim(folder: Folder, number: int) -> Lease | None:
    """Try to create the lease of this number; None if another client was faster."""
    lease = Lease(folder, number, _own_facts())
    if not folder.create(_name(number), lease.content()):
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


def _own_facts() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "since": _now(),
        "machine": _machine(),
        "start_ticks": _start_ticks(os.getpid()),
    }


def _start_ticks(pid: int) -> str:
    """Return when a process started, in clock ticks since boot; empty: not known.

    psutil's create_time adds the time of boot, which moves when the clock is set.
    """
    with suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        return status.rpartition(")")[2].split()[19]
    return ""


def _machine() -> str:
    """Return a text that is unique to this machine and its process numbers."""
    marks = [socket.gethostname()]
    with suppress(OSError):
        marks.append(Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip())
        marks.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(marks)


def is_gone(holder: Holder) -> bool:
    """Return whether a lease's process was on this machine and has ended."""
    import psutil

    facts = holder.facts
    if facts.get("machine") != _machine():
        return False
    try:
        pid, started = int(facts["pid"]), facts.get("start_ticks")
        if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, KeyError, TypeError, ValueError):
        return False
    # Another process may have got the number since.
    return bool(started) and started != _start_ticks(pid)
