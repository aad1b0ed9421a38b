"""The log of a training: one row per step in, a CSV file and a plot out.

Rows are appended as they come, so the file can be watched. Nothing here knows what is
trained.
"""

from __future__ import annotations

import io
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from deepspot_scale.io.tables import Folder

NAME = "log.csv"


class Row(NamedTuple):
    """The numbers of one step."""

    step: int
    """1 for the first."""
    loss: float
    """Loss of the step's batch, before the step."""
    validation: float | None
    """Loss of the averaged weights on the validation patches; None: not measured."""
    rate: float
    """Learning rate of the step."""
    seconds: float
    """Training time so far, interruptions not counted."""

    def line(self) -> str:
        """Return the row as a line of the CSV file."""
        tried = "" if self.validation is None else f"{self.validation:.8g}"
        return (
            f"{self.step},{self.loss:.8g},{tried},{self.rate:.6g},{self.seconds:.2f}\n"
        )


def begin_log(folder: Folder, step: int) -> None:
    """Keep the rows up to `step`, and drop those of steps that will be repeated."""
    old = folder.read(NAME).decode() if folder.exists(NAME) else ""
    lines = old.splitlines(keepends=True)
    header = ",".join(Row._fields) + "\n"
    folder.write(NAME, "".join([header, *lines[1 : 1 + step]]).encode())


def append_row(folder: Folder, row: Row) -> None:
    """Add one row."""
    with (folder.local_path / NAME).open("a", encoding="utf-8") as file:
        file.write(row.line())


def read_log(folder: Folder) -> list[Row]:
    """Return the rows, without an incomplete last line; none if there is no log."""
    text = folder.read(NAME).decode() if folder.exists(NAME) else ""
    whole, _, _ = text.rpartition("\n")
    if not whole:
        return []
    return [
        Row(int(s), float(a), float(v) if v else None, float(r), float(t))
        for s, a, v, r, t in (line.split(",") for line in whole.splitlines()[1:])
    ]


def draw_log(rows: list[Row]) -> Figure:
    """Draw loss, validation loss and learning rate against the step."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot(xlabel="step", ylabel="loss", yscale="log")
    steps = [row.step for row in rows]
    losses = pd.Series([row.loss for row in rows], dtype=float)
    window = max(1, len(rows) // 50)
    axes.plot(steps, losses, color="0.8", lw=0.5)
    smooth = losses.rolling(window, min_periods=1).mean()
    axes.plot(steps, smooth, color="C0", label=f"batches, mean of {window}")
    tried = [(row.step, row.validation) for row in rows if row.validation is not None]
    if tried:
        axes.plot(*zip(*tried, strict=True), "o-", ms=3, color="C1", label="validation")
    rates = axes.twinx()
    rates.plot(steps, [row.rate for row in rows], ":", color="0.5", lw=1)
    rates.set_ylabel("learning rate (dotted)")
    axes.legend(loc="upper right")
    return figure


def figure_png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    stored = io.BytesIO()
    figure.savefig(stored, format="png", dpi=120)
    return stored.getvalue()
