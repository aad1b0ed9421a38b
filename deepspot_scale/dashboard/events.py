"""Messages of a run to the scheduler, as plain texts and numbers.

Rows of fields come in, messages for the scheduler's public event log go out. Nothing
here knows a scheduler, or how the numbers are used.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterable, Sequence
from math import isnan, nan
from typing import Any, Literal, NamedTuple

import pandas as pd

from deepspot_scale.vocabulary import DONE, FieldAddress

TOPIC = "deepspot"
"""Topic of our messages in the scheduler's event log."""
_SECONDS = "seconds_"
"""Prefix of the columns of seconds, before the stage's name."""
STEPS = 1 << 16
"""Steps from 0 to 1 of a score."""
_NOT_RATED = {"score": nan, "n_left_out": 0}
"""Columns that only runs have whose images are rated, and what stands for them."""
Message = dict[str, Any]
How = Literal["finished", "stopped"]


class FieldRow(NamedTuple):
    """The part of a field's row that is sent: columns of `vocabulary.FIELDS`."""

    row: str
    column: str
    field: str
    status: str
    reason: str
    n_planes: int
    n_spots: int
    n_cells: int
    seconds: float
    worker: str
    score: float
    """Mean score of its images; NaN: images are not rated."""
    n_left_out: int
    """Images that score too low to count."""
    stages: dict[str, float]
    """Seconds of each stage."""

    @property
    def address(self) -> FieldAddress:
        """Address of the field."""
        return FieldAddress(self.row, self.column, self.field)

    @property
    def is_rated(self) -> bool:
        """Whether it has a score."""
        return not isnan(self.score)

    @property
    def steps(self) -> int:
        """Its score in steps, whose sums do not depend on their order."""
        return round(self.score * STEPS) if self.is_rated else 0


class WellRow(NamedTuple):
    """The status of one well when a run begins."""

    row: str
    column: str
    n_left: int
    """Fields to do."""
    n_done: int
    """Fields done by an earlier start of the same run."""
    n_failed: int
    """Fields that failed in an earlier start, and are not tried again."""
    n_spots: int
    n_cells: int
    n_rated: int
    """Fields done that have a score."""
    steps: int
    """Sum of their scores, in steps of `STEPS`."""
    n_low: int
    """Fields done of which images score too low to count."""


def begin_message(
    run: str, left: Iterable[FieldAddress], before: pd.DataFrame | None = None
) -> Message:
    """Return the message that a run begins, with these fields left to do.

    The run folder identifies the run in all its messages. `before` has the rows of the
    fields already done or failed, columns `vocabulary.FIELDS`.
    """
    waiting = Counter((address.row, address.column) for address in left)
    settled: dict[tuple[str, str], list[int]] = {}
    for field in [] if before is None else field_rows(before):
        numbers = settled.setdefault((field.row, field.column), [0] * 7)
        numbers[0 if field.status == DONE else 1] += 1
        numbers[2] += field.n_spots
        numbers[3] += field.n_cells
        numbers[4] += field.is_rated
        numbers[5] += field.steps
        numbers[6] += field.n_left_out > 0
    wells = [
        [*well, waiting[well], *settled.get(well, [0] * 7)]
        for well in dict.fromkeys((*waiting, *settled))
    ]
    return {"kind": "begin", "run": run, "wells": wells}


def rows_message(run: str, rows: pd.DataFrame) -> Message:
    """Return the message that these fields are finished.

    The rows are one JSON text, because the event log keeps its messages, and lists
    would take five times as much of the scheduler's memory.
    """
    stages = _stages_of(rows)
    # The names of stages stand once in a message, not in each row.
    lines = [(*row[:-1], *row.stages.values()) for row in field_rows(rows)]
    return {"kind": "rows", "run": run, "stages": stages, "rows": json.dumps(lines)}


def read_rows(message: Message) -> list[FieldRow]:
    """Return the rows of a message of `rows_message`."""
    return [_field_row(line, message["stages"]) for line in json.loads(message["rows"])]


def _field_row(line: Sequence[Any], stages: Sequence[str]) -> FieldRow:
    n = len(FieldRow._fields) - 1
    return FieldRow._make((*line[:n], dict(zip(stages, line[n:], strict=True))))


def _stages_of(rows: pd.DataFrame) -> list[str]:
    names = (str(name) for name in rows.columns)
    return [name.removeprefix(_SECONDS) for name in names if name.startswith(_SECONDS)]


def end_message(run: str, how: How) -> Message:
    """Return the message that a run has ended."""
    return {"kind": "end", "run": run, "how": how}


def device_message(worker: str, device: str) -> Message:
    """Return the message with the device, an engine's name, of a worker's network.

    The worker is named as in column ``worker`` of the table of fields.
    """
    # Not under the key "worker": the scheduler puts the worker's address there.
    return {"kind": "device", "name": worker, "device": device}


def this_worker() -> str:
    """Return the name of this process in column ``worker`` of the table of fields."""
    return f"{socket.gethostname()}:{os.getpid()}"


def field_rows(rows: pd.DataFrame) -> Iterable[FieldRow]:
    """Return the `FieldRow` of each row of a table."""
    stages = _stages_of(rows)
    names = (*FieldRow._fields[:-1], *(_SECONDS + stage for stage in stages))
    columns = [
        rows[name].tolist() if name in rows else [_NOT_RATED[name]] * len(rows)
        for name in names
    ]
    return (_field_row(line, stages) for line in zip(*columns, strict=True))
