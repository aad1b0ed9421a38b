"""The work on a batch of fields: process, write, report.

Each field ends as one row, done or failed with its reason; tables are written before
the rows that make them count. Nothing here knows clusters or progress.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import pandas as pd

from deepspot_scale.blockwise.planning import Pipeline
from deepspot_scale.cluster.shutdown import is_wanted
from deepspot_scale.dashboard.events import this_worker
from deepspot_scale.errors import (
    AbsentError,
    DeviceError,
    SettingsError,
    StoreError,
    WeightsError,
)
from deepspot_scale.execution.field import run_fields
from deepspot_scale.execution.planes import FieldTask, PlaneResult
from deepspot_scale.runs.child_process import run_each
from deepspot_scale.runs.job import Job
from deepspot_scale.runs.manifest import commit_part, part_name
from deepspot_scale.tables import empty_table, join_tables, make_table
from deepspot_scale.vocabulary import DONE, FAILED, UNKNOWN

BATCH_SECONDS = 5.0
"""After this time a batch is written, and its other fields are sent out again."""
FATAL = (
    DeviceError,
    WeightsError,
    SettingsError,
    StoreError,
    KeyboardInterrupt,
    SystemExit,
)
"""Errors that every field would meet: they end the run."""
GROUPS = 4
"""Groups of a full batch; the fields of a group are run together, in the memory of one
large field, and their windows may share a call."""


def run_batch(
    tasks: list[FieldTask], job: Job, *, wanted: Callable[[], bool] | None = None
) -> pd.DataFrame:
    """Process some fields, a few side by side, and write them as one part.

    `wanted` is called before each group and says whether to begin it; None asks the
    worker. There is one row for each field that was begun, columns `Contents.fields`.
    Fields after `BATCH_SECONDS`, or no longer wanted, are left to be sent out again, so
    that little is lost if a worker dies.
    """
    wanted = wanted or partial(is_wanted, job.token)
    began = time.monotonic()
    outcomes: list[list[PlaneResult] | Exception] = []
    seconds: list[float] = []
    most = max(1, len(tasks) // GROUPS)
    side_by_side = 1  # it grows, unless the first fields show that they take long
    while group := tasks[len(outcomes) :][:side_by_side]:
        if not wanted() or (outcomes and time.monotonic() - began > BATCH_SECONDS):
            break
        side_by_side = min(2 * side_by_side, most)
        for end in run_fields(group, job.settings, job.pipeline):
            if isinstance(end.answer, FATAL):
                raise end.answer
            outcomes.append(end.answer)
            seconds.append(end.seconds)
    if not outcomes:
        return empty_table(job.contents.fields)
    return finish_batch(tasks[: len(outcomes)], outcomes, seconds, job)


def run_isolated(
    tasks: list[FieldTask], job: Job, *, wanted: Callable[[], bool] | None = None
) -> pd.DataFrame:
    """Process fields like `run_batch`, each in a child process.

    A field that kills its process fails; parameters and rows are those of `run_batch`.
    """
    rows = run_each(
        tasks,
        lambda task: run_batch([task], job, wanted=lambda: True),
        lambda task, error: fail_batch([task], error, job),
        wanted=wanted or partial(is_wanted, job.token),
    )
    return join_tables(rows, job.contents.fields)


def finish_batch(
    tasks: list[FieldTask], outcomes: list[Any], seconds: list[float], job: Job
) -> pd.DataFrame:
    """Write the tables of a batch, then its rows; return the rows.

    Each field has its outcome, which is the answers of its planes or the error that
    stopped it, and its seconds.
    """
    name = part_name([task.entry.address for task in tasks])
    contents = job.contents
    outcomes = [_write_layers(*pair, job) for pair in zip(tasks, outcomes, strict=True)]
    rows = [
        describe_field(task, outcome, time_taken, job.pipeline) | {"part": name}
        for task, outcome, time_taken in zip(tasks, outcomes, seconds, strict=True)
    ]
    good = [planes for planes in outcomes if not isinstance(planes, Exception)]
    tables = {
        kind: join_tables((p.tables[kind] for each in good for p in each), columns)
        for kind, columns in contents.tables.items()
    }
    fields = make_table(rows, contents.fields)
    commit_part(job.out, name, tables, fields, contents)
    return fields


def fail_batch(batch: list[FieldTask], error: Exception, job: Job) -> pd.DataFrame:
    """Write that a batch failed as a whole, and why; return its rows."""
    try:
        return finish_batch(batch, [error] * len(batch), [0.0] * len(batch), job)
    except StoreError:
        raise
    except OSError as refused:  # nothing else could be written either
        raise StoreError(f"{job.out.url} cannot be written to: {refused}") from error


def describe_field(
    task: FieldTask, outcome: Any, seconds: float, pipeline: Pipeline
) -> dict[str, Any]:
    """Return the row of one field, done or failed."""
    failed = isinstance(outcome, Exception)
    planes: list[PlaneResult] = [] if failed else outcome
    address = task.entry.address
    return {
        "row": address.row,
        "column": address.column,
        "field": address.field,
        "acquisition": task.entry.acquisition,
        "status": FAILED if failed else DONE,
        "reason": explain(outcome) if failed else "",
        "n_planes": len(planes),
        "n_t": len({plane.t for plane in planes}),
        "n_z": len({plane.z for plane in planes}),
        "n_spots": sum(len(plane.tables.get("spots", ())) for plane in planes),
        "n_cells": _count_cells(planes),
        **{
            count.name: sum(plane.counts[count.name] for plane in planes)
            for count in pipeline.counts
        },
        **{
            mean.name: _mean([plane.means[mean.name] for plane in planes])
            for mean in pipeline.means
        },
        "seconds": seconds,
        **stage_seconds(planes, pipeline.stages),
        "worker": this_worker(),
        "source_digest": planes[0].state.digest if planes else "",
        "n_absent": planes[0].state.n_absent if planes else _n_absent(outcome),
    }


def _mean(values: list[float]) -> float:
    """Return the mean of what is known; NaN: nothing is."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _n_absent(outcome: Any) -> int:
    """Return the absent chunks of a field that failed, for this or another reason."""
    return outcome.n_absent if isinstance(outcome, AbsentError) else UNKNOWN


def _count_cells(planes: list[PlaneResult]) -> int:
    """Return the number of cells; a cell in several channels counts once."""
    keys = ["t", "z", "cell"]
    found = (plane.tables["cells"] for plane in planes if "cells" in plane.tables)
    tables = [cells[keys] for cells in found if len(cells)]
    if len(tables) < 2:
        return sum(map(len, tables))
    return len(pd.concat(tables).drop_duplicates())


def stage_seconds(planes: list[PlaneResult], stages: Iterable[str]) -> dict[str, float]:
    """Return the seconds of each stage, NaN where they are not known."""
    known = [plane.seconds for plane in planes if plane.seconds is not None]
    if not known:
        return {f"seconds_{stage}": float("nan") for stage in stages}
    return {
        f"seconds_{stage}": float(sum(spent.get(stage, 0.0) for spent in known))
        for stage in stages
    }


def explain(error: Exception) -> str:
    """Return why a field failed, in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.encode("utf-8", "backslashreplace").decode()  # odd file names
    own = type(error).__module__.startswith("deepspot_scale")
    return text if own else f"{type(error).__name__}: {text}"


def _write_layers(task: FieldTask, outcome: Any, job: Job) -> Any:
    """Write the layers of a field that are kept; return the outcome."""
    if isinstance(outcome, Exception) or not job.pipeline.layers:
        return outcome
    from deepspot_scale.runs.kept_layers import write_layers

    try:
        write_layers(task, outcome, job.settings.channels, job.pipeline, job.out)
    except Exception as error:  # a full disk must be reported as this field's failure
        return error
    return outcome
