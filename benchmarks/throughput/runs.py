"""Times whole runs, as by the command ``run``, on workers of this machine.

A plate and settings come in, a row goes out. Nothing here knows the use of the row.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.throughput.machine import peak_bytes
from benchmarks.throughput.rows import Row
from deepspot_scale.cluster.local import threads_per_worker
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import Prepared, Selection, prepare_run
from deepspot_scale.settings import make_settings

STANDINS = "benchmarks.throughput.standins"
NO_WORK = {
    "engine": f"{STANDINS}:identity",
    "detector": f"{STANDINS}:nothing",
    "quality": False,
}
"""Settings that leave only our overhead."""
WITH_CELLS = {
    "cells": "cells",
    "nuclei": "nuclei",
    "reference": "angle:90",
}
AFTER_NETWORK = ("detect", "assign", "polarity")
"""Stages of the column ``share_detect_and_cells``."""


def prepare(
    plate: str, out: Path, *, workers: int = 1, limit: int | None = None, **values: Any
) -> Prepared:
    """Prepare a run as the command does."""
    device = values.pop("device", "auto")
    return prepare_run(
        plate,
        str(out),
        make_settings(**{"channels": ("FISH",), **values}),
        selection=Selection(limit=limit),
        device=device,
        threads=threads_per_worker(workers),
    )


def _worker_state() -> tuple[float, int, int]:
    times = os.times()
    return times.user + times.system, peak_bytes(), os.getpid()


def _stage_seconds(out: Path) -> dict[str, float]:
    """Return the mean seconds of each stage of a field, and the share of detection."""
    fields = pd.read_parquet(out / "fields.parquet")
    names = [name for name in fields if name.startswith("seconds")]
    mean = {f"field_{name}": float(fields[name].mean()) for name in names}
    # Without cells there are no seconds of the stages that measure them.
    after = sum(mean.get(f"field_seconds_{stage}", 0.0) for stage in AFTER_NETWORK)
    share = after / mean["field_seconds"]
    return {name: round(value, 4) for name, value in mean.items()} | {
        "share_detect_and_cells": round(share, 4)
    }


def time_run(
    client: Any, plate: str, row: Row, *, warm_up: int = 0, **values: Any
) -> Row:
    """Run on a plate and return the row with its numbers filled in.

    Parameters
    ----------
    client
        Of the workers.
    plate
        The plate.
    row
        Names; its images and pixels are those of the plate.
    warm_up
        Fields that are run before, so that networks are loaded and compiled.
    values
        Settings, and `workers`.
    """
    with tempfile.TemporaryDirectory() as folder:
        if warm_up:
            first = prepare(plate, Path(folder) / "first", limit=warm_up, **values)
            execute_run(first, client)
        before = client.run(_worker_state)
        began, worked = time.perf_counter(), time.process_time()
        out = Path(folder) / "run"
        prepared = prepare(plate, out, **values)
        prepared_at = time.perf_counter()
        end = execute_run(prepared, client)
        seconds = time.perf_counter() - began
        after = client.run(_worker_state)
        if end.failed:
            fields = pd.read_parquet(out / "fields.parquet")
            reasons = fields.loc[fields["status"] == "failed", "reason"]
            raise SystemExit(f"{end.failed} fields failed: {reasons.iloc[0]}")
        stages = _stage_seconds(out)
    of_client = time.process_time() - worked
    # Workers that are threads of this process have its processor time.
    own = {before[name][2] for name in before} == {os.getpid()}
    of_workers = sum(after[name][0] - before[name][0] for name in before)
    of_workers = 0.0 if own else of_workers
    return Row(
        row.benchmark,
        row.what,
        row.images,
        row.pixels,
        seconds,
        of_client + of_workers,
        max(state[1] for state in after.values()),
        {
            "client_bytes": peak_bytes(),
            "client_cpu_seconds": round(of_client, 3),
            "prepare_seconds": round(prepared_at - began, 3),
            "n_spots": end.n_spots,
            **stages,
            **row.more,
        },
    )
