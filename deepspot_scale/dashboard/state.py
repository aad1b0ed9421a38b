"""The status of runs as numbers: messages in, numbers out.

A field is counted once, however often its row arrives: a field that is done stays
done, and one that failed and is done later counts as done. The caller gives every
time. Nothing here knows a scheduler, a page or a file.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import isnan
from typing import Any

from deepspot_scale.dashboard.events import (
    STEPS,
    FieldRow,
    Message,
    WellRow,
    read_rows,
)
from deepspot_scale.dashboard.rates import RateHistory, RecentRate
from deepspot_scale.vocabulary import DONE

MAX_RUNS = 8
"""Maximum number of runs kept for a scheduler; the oldest is dropped first."""
MAX_FAILURES = 20
Snapshot = dict[str, Any]
"""Numbers and texts that JSON can hold."""


@dataclass
class Counts:
    """Sums over fields of a well, of a worker, or of the run."""

    n_done: int = 0
    n_failed: int = 0
    n_images: int = 0
    """Planes processed."""
    n_spots: int = 0
    n_cells: int = 0
    seconds: float = 0.0
    """Seconds of work, summed over fields."""
    n_rated: int = 0
    """Fields that have a score."""
    steps: int = 0
    """Sum of their scores, in steps."""
    n_low: int = 0
    """Fields of which images score too low to count."""

    def add(self, row: FieldRow, sign: int = 1) -> None:
        """Add a field, or subtract it with sign -1."""
        done = row.status == DONE
        self.n_done += sign * done
        self.n_failed += sign * (not done)
        self.n_images += sign * row.n_planes
        self.n_spots += sign * row.n_spots
        self.n_cells += sign * row.n_cells
        self.seconds += sign * row.seconds
        self.n_rated += sign * row.is_rated
        self.steps += sign * row.steps
        self.n_low += sign * (row.n_left_out > 0)

    @property
    def score(self) -> float | None:
        """Mean score of the fields that have one; None: none has."""
        return self.steps / (STEPS * self.n_rated) if self.n_rated else None


@dataclass
class WorkerCounts:
    """The work of one worker."""

    counts: Counts
    rate: RecentRate
    last: float
    """Time of its last finished field."""


@dataclass
class RunState:
    """The status of one run."""

    run: str
    began: float
    wells: dict[tuple[str, str], tuple[int, Counts]]
    """By row and column: number of fields, and sums over those done or failed."""
    counts: Counts = field(default_factory=Counts)
    """Sums since this start of the run; earlier starts are in `wells` only."""
    done: set[tuple[str, str, str]] = field(default_factory=set)
    """Row, column and field of the fields done: each counts once."""
    failed: dict[tuple[str, str, str], FieldRow] = field(default_factory=dict)
    """Rows of the failed fields; subtracted again if the field is done later."""
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds of work by stage."""
    workers: dict[str, WorkerCounts] = field(default_factory=dict)
    failures: deque[FieldRow] = field(
        default_factory=lambda: deque(maxlen=MAX_FAILURES)
    )
    ended: float | None = None
    how: str = "running"
    """running, finished or stopped."""

    def __post_init__(self) -> None:
        """Start the clocks."""
        self.images = RecentRate(self.began)
        self.settled = RecentRate(self.began)
        self.history = RateHistory(self.began)

    @classmethod
    def begin(cls, run: str, wells: list[WellRow], now: float) -> RunState:
        """Return the state of a new run."""
        known = {}
        for well in wells:
            counts = Counts(
                well.n_done,
                well.n_failed,
                n_spots=well.n_spots,
                n_cells=well.n_cells,
                n_rated=well.n_rated,
                steps=well.steps,
                n_low=well.n_low,
            )
            n_fields = well.n_left + well.n_done + well.n_failed
            known[well.row, well.column] = n_fields, counts
        return cls(run, now, known)

    def add(self, rows: list[FieldRow], now: float) -> None:
        """Count finished fields; a field that is already known is not counted again."""
        n_new = n_images = 0
        for row in rows:
            if self._is_new(row):
                self._count(row, now)
                n_new, n_images = n_new + 1, n_images + row.n_planes
        if n_new:
            self.settled.add(n_new, now)
            self.images.add(n_images, now)
            self.history.add(n_images, now)

    def end(self, how: str, now: float) -> None:
        """Stop the clock; a run with fields left counts as stopped."""
        settled = (well.n_done + well.n_failed for _, well in self.wells.values())
        left = sum(total for total, _ in self.wells.values()) - sum(settled)
        self.ended, self.how = now, "stopped" if left else how

    def _is_new(self, row: FieldRow) -> bool:
        """Return whether a row counts; subtract an earlier failure of its field."""
        key = (row.row, row.column, row.field)
        if key in self.done or (key in self.failed and row.status != DONE):
            return False
        if row.status != DONE:
            self.failed[key] = row
            return True
        self.done.add(key)
        old = self.failed.pop(key, None)
        if old is not None:
            worker = self.workers[old.worker].counts
            for counts in (self.counts, self.wells[key[:2]][1], worker):
                counts.add(old, -1)
            if old in self.failures:
                self.failures.remove(old)
        return True

    def _count(self, row: FieldRow, now: float) -> None:
        self.counts.add(row)
        place = (row.row, row.column)
        # A field that the first message did not list makes its well larger.
        total, well = self.wells.get(place, (0, Counts()))
        well.add(row)
        self.wells[place] = (max(total, well.n_done + well.n_failed), well)
        for stage, seconds in row.stages.items():
            known = 0.0 if isnan(seconds) else seconds
            self.stages[stage] = self.stages.get(stage, 0.0) + known
        worker = self.workers.get(row.worker)
        if worker is None:
            start = max(self.began, now - row.seconds)
            worker = WorkerCounts(Counts(), RecentRate(start), now)
            self.workers[row.worker] = worker
        worker.counts.add(row)
        worker.rate.add(row.n_planes, now)
        worker.last = now
        if row.status != DONE:
            self.failures.append(row)

    def snapshot(self, now: float, devices: dict[str, str] | None = None) -> Snapshot:
        """Return all numbers at a time, or at the end of a run that has ended.

        `devices` has the device of each worker's network.
        """
        now = now if self.ended is None else self.ended
        seconds = max(now - self.began, 0.0)
        total = sum(total for total, _ in self.wells.values())
        done = sum(well.n_done for _, well in self.wells.values())
        failed = sum(well.n_failed for _, well in self.wells.values())
        left = total - done - failed
        rate = self.settled.per_second(now)
        mean = self.counts.n_images / seconds if seconds > 0 else 0.0
        return {
            "run": self.run,
            "state": self.how,
            "seconds": seconds,
            "total": total,
            "done": done,
            "failed": failed,
            "left": left,
            "before": total - left - len(self.done) - len(self.failed),
            "images": self.counts.n_images,
            "images_per_second": (
                self.images.per_second(now) if self.ended is None else mean
            ),
            "images_per_second_mean": mean,
            "seconds_left": left / rate if rate and left else (None if left else 0.0),
            "spots": sum(well.n_spots for _, well in self.wells.values()),
            "cells": sum(well.n_cells for _, well in self.wells.values()),
            "score": self._score(),
            "low": sum(well.n_low for _, well in self.wells.values()),
            "stages": dict(self.stages),
            "wells": self._wells(),
            "workers": self._workers(now, devices or {}),
            "failures": [
                {"field": row.address.path, "reason": row.reason, "worker": row.worker}
                for row in reversed(self.failures)
            ],
            "history": self.history.curve(now),
        }

    def _score(self) -> float | None:
        wells = [well for _, well in self.wells.values()]
        steps, n = (
            sum(getattr(w, name) for w in wells) for name in ("steps", "n_rated")
        )
        return Counts(steps=steps, n_rated=n).score

    def _wells(self) -> list[Snapshot]:
        return [
            {
                "row": row,
                "column": column,
                "total": total,
                "done": counts.n_done,
                "failed": counts.n_failed,
                "spots": counts.n_spots,
                "cells": counts.n_cells,
                "score": counts.score,
                "low": counts.n_low,
            }
            for (row, column), (total, counts) in self.wells.items()
        ]

    def _workers(self, now: float, devices: dict[str, str]) -> list[Snapshot]:
        return [
            {
                "worker": name,
                "device": devices.get(name, ""),
                "done": worker.counts.n_done,
                "failed": worker.counts.n_failed,
                "images": worker.counts.n_images,
                "images_per_second": worker.rate.per_second(now),
                "seconds": worker.counts.seconds,
                "quiet_seconds": max(now - worker.last, 0.0),
            }
            for name, worker in sorted(self.workers.items())
        ]


@dataclass
class Runs:
    """All runs on a scheduler, and the devices of its workers."""

    by_name: dict[str, RunState] = field(default_factory=dict)
    """In the order in which they began."""
    devices: dict[str, str] = field(default_factory=dict)
    """By worker, named as in the table of fields."""

    def take(self, message: Message, now: float) -> None:
        """Update the numbers from a message."""
        kind, run = message["kind"], message.get("run", "")
        if kind == "device":
            self.devices[message["name"]] = message["device"]
        elif kind == "begin":
            self.by_name.pop(run, None)
            wells = [WellRow(*well) for well in message["wells"]]
            self.by_name[run] = RunState.begin(run, wells, now)
            while len(self.by_name) > MAX_RUNS:
                del self.by_name[next(iter(self.by_name))]
        elif run in self.by_name:
            if kind == "rows":
                self.by_name[run].add(read_rows(message), now)
            elif kind == "end":
                self.by_name[run].end(message["how"], now)

    def find(self, run: str | None = None) -> RunState | None:
        """Return the run of this name, by default the latest; None: there is none."""
        latest = next(reversed(self.by_name.values()), None)
        return latest if run is None else self.by_name.get(run)

    def snapshot(self, now: float, run: str | None = None) -> Snapshot | None:
        """Return the numbers of one run; see `RunState.snapshot` and `find`."""
        state = self.find(run)
        return None if state is None else state.snapshot(now, self.devices)
