"""Kills processes that have a field in hand, at random times.

The activity of a process is read from the lines that `paced` writes. Nothing here knows
the tables of a run.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.chaos.processes import RunProcesses

SHARES = {"worker": 0.5, "nanny": 0.25, "client": 0.15, "scheduler": 0.1}
"""Share of the kills by kind of process."""
LEAST_GAP = 0.3
"""Least seconds between two kills; with less, processes have not started yet."""


@dataclass(frozen=True)
class Kill:
    """One kill, and the affected processes."""

    at: float
    kind: str
    pids: tuple[int, ...]
    """Worker processes whose work was lost: one, or all."""


def draw_kinds(n: int, rng: random.Random) -> list[str]:
    """Return the kinds of processes to kill, in random order."""
    kinds = [k for k, share in SHARES.items() for _ in range(max(1, int(n * share)))]
    kinds = [*["worker"] * n, *kinds][-n:]
    rng.shuffle(kinds)
    return kinds


def kill_one(
    kind: str, processes: RunProcesses, busy: Callable[[int], bool], rng: random.Random
) -> Kill | None:
    """Kill one working process of a kind; None: there is none at the moment."""
    if kind in {"client", "scheduler"}:
        pids = processes.pids_of_workers()
        if not processes.is_alive(kind) or not any(map(busy, pids)):
            return None
        os.kill(processes.by_name[kind].pid, signal.SIGKILL)
        return Kill(time.monotonic(), kind, tuple(pids))
    names = [f"nanny{n}" for n in range(processes.workers)]
    working = [name for name in names if any(map(busy, processes.children(name)))]
    if not working:
        return None
    name = rng.choice(working)
    pids = processes.children(name)
    target = processes.by_name[name].pid if kind == "nanny" else pids[0]
    with suppress(ProcessLookupError):
        os.kill(target, signal.SIGKILL)
        return Kill(time.monotonic(), kind, tuple(pids[:1]))
    return None


def run(
    processes: RunProcesses, n_fields: int, kinds: list[str], seed: int, mean: float
) -> list[Kill]:
    """Run to the end and kill processes meanwhile."""
    rng = random.Random(seed)
    kills: list[Kill] = []
    left = list(kinds)
    due = None
    while processes.code is None:
        processes.restart()
        time.sleep(0.05)
        if due is None and read_events(processes.log):  # the first field is in hand
            due = time.monotonic() + rng.expovariate(1 / mean)
        if not left or due is None or time.monotonic() < due:
            continue
        events = read_events(processes.log)
        kill = kill_one(left[0], processes, lambda pid: in_hand(events, pid), rng)  # noqa: B023 - used at once
        if kill is None:
            continue
        kills.append(kill)
        left.pop(0)
        # If the run is behind the kills, wait longer; if it is ahead, kill sooner.
        done = sum(e.get("committed", 0) for e in read_events(processes.log))
        ahead = done / n_fields - len(kills) / len(kinds)
        gap = rng.expovariate(1 / mean) * (0.2 if ahead > 0 else 1 - 20 * ahead)
        due = time.monotonic() + max(LEAST_GAP, min(gap, 15 * mean))
    return kills


def read_events(log: Path) -> list[dict[str, Any]]:
    """Return the lines of the log."""
    return (
        [json.loads(line) for line in log.read_text().splitlines()]
        if log.exists()
        else []
    )


def in_hand(events: list[dict[str, Any]], pid: int) -> bool:
    """Return whether a process has a field in hand."""
    now = Kill(time.monotonic(), "", (pid,))
    return bool(phases_at(events, now))


def phases_at(events: list[dict[str, Any]], kill: Kill) -> set[str]:
    """Return the phases in which the killed processes were."""
    running: Counter[str] = Counter()
    for event in events:
        if event["pid"] in kill.pids and event["at"] <= kill.at and "phase" in event:
            running[event["phase"]] += 1 if event["edge"] == "begin" else -1
    return {name for name, n in running.items() if n > 0}


def in_flight(events: list[dict[str, Any]], kill: Kill) -> int:
    """Return how many fields of the killed processes were begun and not yet written."""
    here = [e for e in events if e["pid"] in kill.pids and e["at"] <= kill.at]
    begun = sum(e.get("phase") == "read" and e["edge"] == "begin" for e in here)
    return max(0, begun - sum(e.get("committed", 0) for e in here))
