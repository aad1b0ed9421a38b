"""Progress for people: a line in place, or lines in a log file."""

from __future__ import annotations

import io
import sys
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspot_scale.blockwise.contract import RunContext
from deepspot_scale.cli.progress import (
    describe_progress,
    describe_step,
    show_counts,
    show_progress,
    show_work,
)
from deepspot_scale.runs.progress import Progress, describe_counts
from deepspot_scale.stages.detection.detect import DetectOptions, plan_detect
from deepspot_scale.training.log import Row

FAILED = pd.DataFrame(
    {
        "row": ["B", "B"],
        "column": ["03", "03"],
        "field": ["0", "1"],
        "status": ["done", "failed"],
        "reason": ["", "no labels 'cells'"],
        "n_spots": [7, 0],
        "n_planes": [2, 0],
        "n_absent": [0, 0],
    }
)


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_line_says_how_many_how_fast_and_how_long() -> None:
    state = Progress(30, 0, done=9, failed=1, n_spots=42, seconds=5.0, n_images=18)
    line = describe_progress(state)
    assert line == "10/30 fields, 1 failed, 3.60 images/s, 0:10 left, 42 spots"


def test_long_times_are_told_in_hours() -> None:
    state = Progress(total=101, skipped=0, done=1, seconds=40.0)
    assert "1:06:40 left" in describe_progress(state)


@given(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9), st.floats(0, 1e7))
def test_every_state_has_a_line(
    done: int, failed: int, left: int, seconds: float
) -> None:
    state = Progress(done + failed + left, 0, done, failed, 5, seconds)
    assert describe_progress(state).startswith(
        f"{done + failed}/{done + failed + left}"
    )


def _show(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> list[str]:
    monkeypatch.setattr(sys, "stderr", stream)
    with show_progress() as on_progress:
        state = Progress(total=4, skipped=2)
        on_progress(state)
        for seconds in (1.0, 2.0):
            state = state.after(FAILED, seconds)
            on_progress(state)
    return stream.getvalue().splitlines()


def test_a_log_file_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = _show(monkeypatch, io.StringIO())
    assert lines[0] == "2 fields were tried before and are skipped"
    assert not any("\x1b" in line or "\r" in line for line in lines)
    assert lines.count("failed: B03/1: no labels 'cells'") == 2
    assert "4/4 fields, 2 failed, 2.00 images/s, 0:00 left, 14 spots" in lines
    # In between only now and then, or a night's log would be all progress.
    assert not any(line.startswith("2/4") for line in lines)


def test_a_terminal_gets_one_line_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(_show(monkeypatch, Terminal()))
    assert "\r\x1b[2K2/4 fields" in text.replace("\n\x1b", "\r\x1b")
    assert "failed: B03/1" in text


def test_counts_end_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    stream: Any = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with show_counts("fields") as on_count:
        for done in range(4):
            on_count(done, 3)
    assert stream.getvalue().splitlines()[-1] == "3/3 fields"


def test_what_was_left_out_is_said_where_there_is_any() -> None:
    counts = plan_detect(DetectOptions(detector="raw"), RunContext()).gives[1:]
    sums = {count.name: 0 for count in counts}
    assert describe_counts(counts, sums) == []
    rows = FAILED.assign(n_dropped=[0, 0], n_faint=[3, 4], n_crowded=[0, 0])
    state = Progress(2, 0, counts=sums).after(rows, 1.0).after(rows, 2.0)
    (line,) = describe_counts(counts, state.counts)
    assert line.startswith("14 spots left out: ")
    assert line.endswith("(n_faint)")


def test_counts_say_how_long_the_rest_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with show_counts("fields") as show:
        clock[0] = 130.0
        show(1, 4)
        clock[0] = 220.0
        show(4, 4)
    assert stream.getvalue().splitlines() == ["1/4 fields, 1:30 left", "4/4 fields"]


def test_work_of_several_kinds_is_timed_kind_by_kind_and_short_work_leaves_no_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    with show_work() as show:
        for clock[0], told in (
            (400.0, ("statistics", 0, 2)),
            (402.0, ("statistics", 1, 2)),
            (404.0, ("statistics", 2, 2)),
            (500.0, ("pictures", 0, 4)),
            (530.0, ("pictures", 1, 4)),
            (532.0, ("pictures", 2, 4)),
            (560.0, ("pictures", 4, 4)),
        ):
            show(*told)
    assert stream.getvalue().splitlines() == ["1/4 pictures, 1:30 left", "4/4 pictures"]


def test_on_a_terminal_the_lines_of_work_overwrite_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    with show_work() as show:
        for done in range(3):
            show("pictures", done, 2)
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().endswith("\r\x1b[2K2/2 pictures\n")


def test_a_step_of_a_training_says_how_long_the_rest_takes() -> None:
    line = describe_step(Row(50, 0.1, None, 1e-3, 10.0), 200)
    assert line == "step 50/200: loss 0.10000, 0:30 left"
    line = describe_step(Row(200, 0.1, 0.25, 1e-3, 40.0), 200)
    assert line == "step 200/200: loss 0.10000, validation 0.25000"
