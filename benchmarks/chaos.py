"""Does a run survive anything? Kill workers, nannies, scheduler and client, 100 times.

    python benchmarks/chaos.py --out benchmarks/results/chaos.jsonl

A simulated plate of 200 fields is run once undisturbed and once on 4 worker processes
while this program kills processes with SIGKILL at random times (``--seed``) in the
midst of their work: reading, inferring or writing. Scheduler, nannies, workers and
client are processes of their own, and whatever died is started anew, as a queue would,
by the same command. Reading, inference and writing take a fixed time (`paced`), which
keeps two cores free for what is tried here. The time between kills is drawn at random,
and its mean follows how far the run is, so that the kills are spread over all of it.

At the end the tables of both runs must be the same, byte for byte, but for seconds,
worker and the names of parts; every field must be there once; and fields that were done
in vain must be no more than those in flight at the kills.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil

from deepspot_scale.io.tables import Folder, read_table
from deepspot_scale.io.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.vocabulary import CELLS, FIELDS, SPOTS, WELLS, FieldAddress

WORKERS = 4
EDGE = 768
"""Pixels of a field's edge: a task has seven fields."""
SHARES = {"worker": 0.5, "nanny": 0.25, "client": 0.15, "scheduler": 0.1}
"""Of the kills."""
LEAST_GAP = 0.3
"""Seconds between two kills at least: less would hit what has not even begun."""
EXIT_AGAIN = 75
PACES = {"PACED_READ": "0.1", "PACED_INFER": "0.4", "PACED_WRITE": "0.2"}


def write_plate(target: Path, n_fields: int) -> None:
    """Write fields of a few bright pixels in square cells, four in a well."""
    paths = [
        f"{'ABCDEFGH'[n // 48 % 8]}/{n // 4 % 12 + 1:02d}/{n % 4}"
        for n in range(n_fields)
    ]
    addresses = [FieldAddress.from_path(path) for path in paths]
    create_plate(target, addresses)
    y, x = np.indices((EDGE, EDGE)) // 192
    cells = (y * (EDGE // 192) + x + 1).astype(np.uint16)
    for seed, address in enumerate(addresses):
        rng = np.random.default_rng(seed)
        image = np.full((1, EDGE, EDGE), 100, np.uint16)
        points = rng.integers(8, EDGE - 8, (60, 2))
        image[0, points[:, 0], points[:, 1]] = rng.integers(3000, 4000, 60)
        layout = ImageLayout(
            "cyx", image.shape, image.dtype, ("FISH",), (0.1, 0.1), chunk=EDGE
        )
        write_image(target, address, image, layout)
        write_labels(target, address, "cells", cells)


# -- the processes ---------------------------------------------------------------------


@dataclass
class Troupe:
    """Scheduler, workers and client, each started anew when it is gone."""

    root: Path
    out: str
    log: Path
    """What `paced` writes."""
    workers: int = field(default_factory=lambda: WORKERS)
    port: int = 0
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    code: int | None = None
    """How the client ended when it did not ask to be started again."""

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def mend(self) -> None:
        """Start what is not there; a client only where a scheduler answers."""
        names = ["scheduler", *(f"nanny{n}" for n in range(self.workers))]
        for name in names:
            if not self.is_alive(name):
                self._start(name, *self._words(name))
        if self.is_alive("client") or not self._answers():
            return
        ended = self.processes.get("client")
        code = ended.returncode if ended else EXIT_AGAIN
        # 2: the scheduler was killed between our look and its own.
        if code in {EXIT_AGAIN, -signal.SIGKILL} or (
            code == 2 and self._lost_scheduler()
        ):
            self._start("client", *self._words("client"))
        else:
            self.code = code

    def is_alive(self, name: str) -> bool:
        """Return whether a process runs."""
        process = self.processes.get(name)
        return process is not None and process.poll() is None

    def pids_of_workers(self) -> list[int]:
        """Return the worker processes, the nannies' children."""
        return [pid for n in range(self.workers) for pid in self.children(f"nanny{n}")]

    def children(self, name: str) -> list[int]:
        """Return the worker process of a nanny."""
        if not self.is_alive(name):
            return []
        with suppress(psutil.Error):
            children = psutil.Process(self.processes[name].pid).children()
            return [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
        return []

    def close(self) -> None:
        """End all processes."""
        for process in self.processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _words(self, name: str) -> Sequence[str]:
        address = f"tcp://127.0.0.1:{self.port}"
        if name == "scheduler":
            return (
                "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
                str(self.port), "--no-dashboard",
            )  # fmt: skip
        if name == "client":
            return (
                "deepspot_scale.cli", "run", f"paced://{self.root}/plate.zarr",
                "-c", "FISH", "--cells", "cells", "--no-enhance",
                "--detector", "paced:detector", "--cluster", address, "--out", self.out,
            )  # fmt: skip
        return (
            "distributed.cli.dask_worker", address, "--host", "127.0.0.1",
            "--nthreads", "2", "--no-dashboard", "--memory-limit", "0",
        )  # fmt: skip

    def _start(self, name: str, *words: str) -> None:
        self.starts[name.rstrip("0123456789")] += 1
        with (self.root / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _lost_scheduler(self) -> bool:
        last = (self.root / "client.log").read_text().splitlines()[-1]
        return "no scheduler answers" in last


# -- the kills -------------------------------------------------------------------------


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


# -- what came of it -------------------------------------------------------------------


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


def digest(out: Path) -> dict[str, str]:
    """Return the SHA-256 of each table, sorted, without what may differ."""
    folder = Folder(str(out))
    tables = {
        "fields": read_table(folder, "fields.parquet", FIELDS),
        "wells": read_table(folder, "wells.parquet", WELLS),
        # As a user reads them: every file there is.
        "spots": pd.concat(_files(folder, "spots", SPOTS)),
        "cells": pd.concat(_files(folder, "cells", CELLS)),
    }
    return {name: _digest(table) for name, table in tables.items()}


def _files(folder: Folder, kind: str, columns: Any) -> Iterator[pd.DataFrame]:
    for name in folder.names(kind):
        yield read_table(folder, f"{kind}/{name}", columns)


def _digest(table: pd.DataFrame) -> str:
    differing = [name for name in table if name.startswith("seconds")]
    kept = table.drop(columns=[*differing, "worker", "part"], errors="ignore")
    lines = kept.to_csv(index=False, header=False).splitlines()
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


@contextmanager
def surroundings(root: Path, log: str) -> Iterator[None]:
    """Let this process and its children find the paced file system and detector."""
    info = root / "paced-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fsspec.specs]\npaced = paced:PacedFileSystem\n"
    )
    places = [str(root), str(Path(__file__).parent), str(Path(__file__).parents[1])]
    before = dict(os.environ)
    paths = filter(None, [*places, before.get("PYTHONPATH", "")])
    os.environ.update(PACES, PYTHONPATH=os.pathsep.join(paths), PACED_LOG=log)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def perform(
    root: Path, name: str, n_fields: int, kinds: list[str], **how: Any
) -> dict[str, Any]:
    """Run once with these kills and return what there is to say about it."""
    log = root / f"{name}.events"
    with surroundings(root, str(log)):
        troupe = Troupe(root, f"paced://{root}/{name}", log)
        began = time.monotonic()
        try:
            kills = run(troupe, n_fields, kinds, **how)
        finally:
            troupe.close()
        seconds = time.monotonic() - began
    events = read_events(log)
    executed = sum(e.get("phase") == "read" and e["edge"] == "begin" for e in events)
    told = [phases_at(events, kill) or {"between"} for kill in kills]
    fields = read_fields(Folder(str(root / name)))
    places = fields[["row", "column", "field"]].agg("/".join, axis=1)
    return {
        "code": troupe.code,
        "seconds": round(seconds, 1),
        "kills": len(kills),
        "killed": dict(Counter(kill.kind for kill in kills)),
        "while": dict(Counter(phase for phases in told for phase in phases)),
        "starts": dict(troupe.starts),
        "fields": len(fields),
        "failed": int((fields["status"] != "done").sum()),
        "twice": int(places.duplicated().sum()),
        "executed": executed,
        "in_vain": executed - n_fields,
        "in_flight_at_kills": sum(in_flight(events, kill) for kill in kills),
        "tables": digest(root / name),
    }


def play(
    root: Path, n_fields: int, n_kills: int, *, seed: int, mean: float
) -> dict[str, Any]:
    """Run undisturbed and disturbed; return one row that compares them."""
    write_plate(root / "plate.zarr", n_fields)
    calm = perform(root, "calm", n_fields, [], seed=seed, mean=mean)
    kinds = draw_kinds(n_kills, random.Random(seed))
    wild = perform(root, "wild", n_fields, kinds, seed=seed, mean=mean)
    tables, expected = wild.pop("tables"), calm["tables"]
    return {
        "fields_planned": n_fields,
        "seed": seed,
        **wild,
        "seconds_undisturbed": calm["seconds"],
        "slower": round(wild["seconds"] / calm["seconds"], 2),
        "same_tables": tables == expected,
        "differing": [name for name in tables if tables[name] != expected[name]],
    }


def passed(row: dict[str, Any], n_kills: int) -> bool:
    """Return whether a row is as it must be."""
    return bool(
        row["code"] == 0
        and row["kills"] == n_kills
        and row["fields"] == row["fields_planned"]
        and row["failed"] == row["twice"] == 0
        and row["in_vain"] <= row["in_flight_at_kills"]
        and row["same_tables"]
    )


def main() -> None:
    """Play, print the row, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--mean", type=float, default=1.0, help="Seconds between kills."
    )
    parser.add_argument("--out", type=Path, default=None, help="JSON lines to add to.")
    parser.add_argument(
        "--keep", type=Path, default=None, help="Folder to leave behind."
    )
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp()) if options.keep is None else options.keep
    root.mkdir(exist_ok=True)
    try:
        row = play(
            root, options.fields, options.kills, seed=options.seed, mean=options.mean
        )
    finally:
        if options.keep is None:
            shutil.rmtree(root, ignore_errors=True)
    text = json.dumps(row | {"passed": passed(row, options.kills)})
    print(text, flush=True)
    if options.out:
        with options.out.open("a") as file:
            file.write(text + "\n")
    sys.exit(0 if passed(row, options.kills) else 1)


if __name__ == "__main__":
    main()
