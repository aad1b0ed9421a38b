"""Kills at random times, of processes that have a field in hand.

What a process is doing is read from the lines that `paced` writes. Nothing here knows
what a run's tables hold.
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

from benchmarks.chaos.processes import Troupe

SHARES = {"worker": 0.5, "nanny": 0.25, "client": 0.15, "scheduler": 0.1}
"""Of the kills."""
LEAST_GAP = 0.3
"""Seconds between two kills at least: less would hit what has not even begun."""


@dataclass(frozen=True)
class Kill:
    """One kill, and whom it hit."""

    at: float
    kind: str
    pids: tuple[int, ...]
    """Worker processes whose work it ended: one, or all."""


def draw_kinds(n: int, rng: random.Random) -> list[str]:
    """Return what to kill, in random order."""
    kinds = [k for k, share in SHARES.items() for _ in range(max(1, int(n * share)))]
    kinds = [*["worker"] * n, *kinds][-n:]
    rng.shuffle(kinds)
    return kinds


def strike(
    kind: str, troupe: Troupe, busy: Callable[[int], bool], rng: random.Random
) -> Kill | None:
    """Kill one process of a kind in the midst of work; None when there is none now."""
    if kind in {"client", "scheduler"}:
        pids = troupe.pids_of_workers()
        if not troupe.is_alive(kind) or not any(map(busy, pids)):
            return None
        os.kill(troupe.processes[kind].pid, signal.SIGKILL)
        return Kill(time.monotonic(), kind, tuple(pids))
    names = [f"nanny{n}" for n in range(troupe.workers)]
    at_work = [name for name in names if any(map(busy, troupe.children(name)))]
    if not at_work:
        return None
    name = rng.choice(at_work)
    pids = troupe.children(name)
    target = troupe.processes[name].pid if kind == "nanny" else pids[0]
    with suppress(ProcessLookupError):
        os.kill(target, signal.SIGKILL)
        return Kill(time.monotonic(), kind, tuple(pids[:1]))
    return None


def run(
    troupe: Troupe, n_fields: int, kinds: list[str], seed: int, mean: float
) -> list[Kill]:
    """Run to the end, and kill meanwhile."""
    rng = random.Random(seed)
    kills: list[Kill] = []
    left = list(kinds)
    due = None
    while troupe.code is None:
        troupe.mend()
        time.sleep(0.05)
        if due is None and read_events(troupe.log):  # the first field is in hand
            due = time.monotonic() + rng.expovariate(1 / mean)
        if not left or due is None or time.monotonic() < due:
            continue
        events = read_events(troupe.log)
        kill = strike(left[0], troupe, lambda pid: in_hand(events, pid), rng)  # noqa: B023 - used at once
        if kill is None:
            continue
        kills.append(kill)
        left.pop(0)
        # Behind with the run: let it breathe. Ahead: hurry, or the kills come too late.
        done = sum(e.get("committed", 0) for e in read_events(troupe.log))
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
    """Return what the processes that a kill hit were doing."""
    running: Counter[str] = Counter()
    for event in events:
        if event["pid"] in kill.pids and event["at"] <= kill.at and "phase" in event:
            running[event["phase"]] += 1 if event["edge"] == "begin" else -1
    return {name for name, n in running.items() if n > 0}


def in_flight(events: list[dict[str, Any]], kill: Kill) -> int:
    """Return how many fields were begun and not yet written where a kill hit."""
    here = [e for e in events if e["pid"] in kill.pids and e["at"] <= kill.at]
    begun = sum(e.get("phase") == "read" and e["edge"] == "begin" for e in here)
    return max(0, begun - sum(e.get("committed", 0) for e in here))
