"""Times each stage of one field alone, on pixels in memory.

Nothing here knows workers.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.throughput.machine import peak_bytes
from benchmarks.throughput.plates import write_fields
from benchmarks.throughput.rows import Row
from benchmarks.throughput.runs import AFTER_NETWORK, WITH_CELLS, prepare
from deepspot_scale.execution.field import run_field

REPEATS = 3


def time_stages(size: int, **values: Any) -> Iterator[Row]:
    """Yield a row for each stage of a field with cells, and one for the whole."""
    with tempfile.TemporaryDirectory() as folder:
        plate = write_fields(Path(folder) / "plate", 1, size)
        workers = {"workers": 1}
        prepared = prepare(
            plate, Path(folder) / "run", **WITH_CELLS, **workers, **values
        )
        job, task = prepared.job, prepared.tasks[0]
        runs = []
        for _ in range(REPEATS + 1):
            before = os.times()
            (answer,) = run_field(task, job.settings, job.pipeline)
            after = os.times()
            cpu = after.user + after.system - before.user - before.system
            runs.append((answer.seconds or {}, cpu))
    best = {name: min(run[0][name] for run in runs[1:]) for name in runs[0][0]}
    total = sum(best.values())
    engine = values.get("engine", "auto")
    for name, seconds in best.items():
        more = {"share": round(seconds / total, 4), "engine": engine}
        yield Row("stages", name, 1, size * size, seconds, more=more)
    cpu = min(run[1] for run in runs[1:])
    after_network = sum(best[name] for name in AFTER_NETWORK)
    yield Row(
        "stages",
        "all",
        1,
        size * size,
        total,
        cpu,
        peak_bytes(),
        {"share_detect_and_cells": round(after_network / total, 4), "engine": engine},
    )
