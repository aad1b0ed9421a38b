"""The progress of a run: one updated line on a terminal, or lines of a log file.

Counts come in, lines go to standard error. Nothing here computes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from deepspot_scale.runs.progress import Progress, Tell
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from deepspot_scale.training.log import Row

LOG_SECONDS = 10.0
"""Least seconds between two lines of a log file."""


def describe_progress(state: Progress) -> str:
    """Return one line: done of total, images per second, time left."""
    finished = state.done + state.failed
    failed = f", {state.failed} failed" if state.failed else ""
    line = f"{finished}/{plural(state.total, 'field')}{failed}"
    if finished and state.seconds > 0:
        rate = state.n_images / state.seconds
        left = describe_left(finished, state.total, state.seconds)
        line += f", {rate:.2f} images/s{left}"
    # A run may look for none.
    return line + (f", {plural(state.n_spots, 'spot')}" if state.n_spots else "")


def describe_left(done: int, total: int, seconds: float) -> str:
    """Return how long the rest takes if it goes on as the first `seconds` did."""
    return f", {_clock((total - done) * seconds / done)} left" if done else ""


def describe_step(row: Row, steps: int) -> str:
    """Return one line: step of all steps of a training, losses, time left."""
    tried = "" if row.validation is None else f", validation {row.validation:.5f}"
    left = describe_left(row.step, steps, row.seconds) if row.step < steps else ""
    return f"step {row.step}/{steps}: loss {row.loss:.5f}{tried}{left}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


@contextmanager
def show_progress() -> Iterator[Callable[[Progress], None]]:
    """Yield a function that shows each `Progress`; the last one is always shown."""
    with _line_writer() as write:

        def on_progress(state: Progress) -> None:
            if state.last is None and state.skipped:
                n = state.skipped
                verbs = ("was", "is") if n == 1 else ("were", "are")
                tried = f"{plural(n, 'field')} {verbs[0]} tried before"
                write(f"{tried} and {verbs[1]} skipped", True)
            finished = state.done + state.failed
            write(describe_progress(state), finished == state.total)
            if state.last is not None:
                bad = state.last[state.last["status"] == "failed"]
                for row in bad.to_dict("records"):
                    place = f"{row['row']}{row['column']}/{row['field']}"
                    write(f"failed: {place}: {row['reason']}", True)

        yield on_progress


@contextmanager
def show_counts(noun: str) -> Iterator[Callable[[int, int], None]]:
    """Yield a function that shows the numbers of finished and all items.

    Also how long the rest will take, by the time since now.
    """
    began = time.monotonic()
    with _line_writer() as write:

        def show(done: int, total: int) -> None:
            seconds = time.monotonic() - began
            write(_describe_count(noun, done, total, seconds), done == total)

        yield show


@contextmanager
def show_work() -> Iterator[Tell]:
    """Yield a function that shows how far work of several kinds is, one after another.

    How long the rest of a kind takes goes by the time since none of it was done. Work
    of less than `LOG_SECONDS` leaves no line.
    """
    began = time.monotonic()
    live = sys.stderr.isatty()
    with _line_writer() as write:

        def show(noun: str, done: int, total: int) -> None:
            nonlocal began
            if not done:
                began = time.monotonic()
            seconds = time.monotonic() - began
            is_long = seconds > LOG_SECONDS
            if live or is_long:
                line = _describe_count(noun, done, total, seconds)
                write(line, is_long and done == total)

        yield show


def _describe_count(noun: str, done: int, total: int, seconds: float) -> str:
    left = describe_left(done, total, seconds) if done < total else ""
    return f"{done}/{total} {noun}{left}"


@contextmanager
def _line_writer() -> Iterator[Callable[[str, bool], None]]:
    """Yield a function that shows a line.

    A terminal overwrites the line; a log file gets one every `LOG_SECONDS`. If the
    second argument is true, the line is always shown and kept.
    """
    live = sys.stderr.isatty()
    shown = 0.0

    def write(line: str, keep: bool) -> None:
        nonlocal shown
        now = time.monotonic()
        if live:
            end = "\n" if keep else ""
            print(f"\r\x1b[2K{line}", end=end, file=sys.stderr, flush=True)
        elif keep or now - shown > LOG_SECONDS:
            print(line, file=sys.stderr, flush=True)
            shown = now

    yield write
    if live:
        print(file=sys.stderr)
