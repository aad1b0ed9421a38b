"""What a run tells the scheduler about itself, as plain words and numbers.

Rows of fields come in, messages go out that the scheduler's public event log can
carry. Nothing here knows a scheduler, or what becomes of the numbers.
"""

from __future__ import annotations

import json
import os
import socket
from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import pandas as pd

from deepspot_scale.vocabulary import DONE, FIELDS, FieldAddress

TOPIC = "deepspot"
"""Name under which the scheduler logs our messages."""
STAGES = tuple(
    name.removeprefix("seconds_")
    for name in (column.name for column in FIELDS)
    if name.startswith("seconds_")
)
"""Those of the columns ``seconds_<stage>`` of the table of fields."""
Message = dict[str, Any]
How = Literal["finished", "stopped"]


class FieldRow(NamedTuple):
    """What is told of one field: columns of `vocabulary.FIELDS`."""

    row: str
    column: str
    field: str
    status: str
    reason: str
    n_planes: int
    n_spots: int
    n_cells: int
    seconds: float
    seconds_scale: float
    seconds_enhance: float
    seconds_detect: float
    seconds_cells: float
    worker: str

    @property
    def address(self) -> FieldAddress:
        """Where the field is."""
        return FieldAddress(self.row, self.column, self.field)


class WellRow(NamedTuple):
    """How one well stands as a run begins."""

    row: str
    column: str
    n_left: int
    """Fields to do."""
    n_done: int
    """Fields done by an earlier start of the same run."""
    n_failed: int
    """Fields that failed then, and are not tried again."""
    n_spots: int
    n_cells: int


def tell_begin(
    run: str, left: Iterable[FieldAddress], before: pd.DataFrame | None = None
) -> Message:
    """Return the message that a run begins.

    Parameters
    ----------
    run
        The run folder: the name that all messages of this run carry.
    left
        The fields to do.
    before
        Rows of the fields that are settled already, columns `vocabulary.FIELDS`.
    """
    waiting = Counter((address.row, address.column) for address in left)
    settled: dict[tuple[str, str], list[int]] = {}
    for field in [] if before is None else field_rows(before):
        numbers = settled.setdefault((field.row, field.column), [0, 0, 0, 0])
        numbers[0 if field.status == DONE else 1] += 1
        numbers[2] += field.n_spots
        numbers[3] += field.n_cells
    wells = [
        [*well, waiting[well], *settled.get(well, (0, 0, 0, 0))]
        for well in dict.fromkeys((*waiting, *settled))
    ]
    return {"kind": "begin", "run": run, "wells": wells}


def tell_rows(run: str, rows: pd.DataFrame) -> Message:
    """Return the message that these fields have come in.

    As text, since the event log keeps its messages: lists would take five times the
    scheduler's memory.
    """
    return {"kind": "rows", "run": run, "rows": json.dumps(list(field_rows(rows)))}


def read_rows(message: Message) -> list[FieldRow]:
    """Return the fields that a message of `tell_rows` tells of."""
    return [FieldRow(*row) for row in json.loads(message["rows"])]


def tell_end(run: str, how: How) -> Message:
    """Return the message that a run has ended."""
    return {"kind": "end", "run": run, "how": how}


def tell_device(worker: str, device: str) -> Message:
    """Return the message that says what a worker's network runs on.

    Parameters
    ----------
    worker
        As in column ``worker`` of the table of fields.
    device
        The engine's name.
    """
    # The scheduler writes the worker's address under the key worker.
    return {"kind": "device", "name": worker, "device": device}


def this_worker() -> str:
    """Return the name of this process in column ``worker`` of the table of fields."""
    return f"{socket.gethostname()}:{os.getpid()}"


def field_rows(rows: pd.DataFrame) -> Iterable[FieldRow]:
    """Return what is told of each field of a table."""
    columns = [rows[name].tolist() for name in FieldRow._fields]
    return map(FieldRow._make, zip(*columns, strict=True))
