"""The status of a run: each field once, sums of wells and workers, time left."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.dashboard.events import (
    FieldRow,
    begin_message,
    device_message,
    end_message,
    rows_message,
)
from deepspot_scale.dashboard.state import MAX_FAILURES, MAX_RUNS, Runs
from deepspot_scale.vocabulary import FIELDS, FieldAddress

PATHS = ["B/03/0", "B/03/1", "C/04/0", "C/04/1"]
Rows = Callable[..., pd.DataFrame]


def begin(paths: list[str] = PATHS, before: pd.DataFrame | None = None) -> Runs:
    runs = Runs()
    left = [FieldAddress.from_path(path) for path in paths]
    runs.take(begin_message("RUN", left, before), 0.0)
    return runs


def numbers(runs: Runs, now: float = 10.0) -> dict[str, Any]:
    found = runs.snapshot(now)
    assert found is not None
    return found


def test_what_is_told_of_a_field_are_columns_of_the_table_of_fields() -> None:
    rated = {"score", "n_left_out"}  # of the stage that rates
    known = {*(column.name for column in FIELDS), "stages", *rated}
    assert set(FieldRow._fields) <= known


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(st.sampled_from(PATHS), st.booleans(), st.sampled_from("ab")),
        max_size=30,
    )
)
def test_each_field_counts_once_and_done_wins(
    rows: Rows, failed: Rows, told: list[tuple[str, bool, str]]
) -> None:
    runs = begin()
    for path, good, worker in told:
        row = (rows if good else failed)(path).assign(worker=worker)
        runs.take(rows_message("RUN", row), 1.0)
    done = {path for path, good, _ in told if good}
    bad = {path for path, good, _ in told if not good} - done
    found = numbers(runs)
    assert (found["done"], found["failed"]) == (len(done), len(bad))
    assert found["left"] == len(PATHS) - len(done | bad)
    assert found["images"] == len(done)
    assert (found["spots"], found["cells"]) == (10 * len(done), 2 * len(done))
    for among in ("wells", "workers"):
        assert sum(each["done"] for each in found[among]) == len(done)
        assert sum(each["failed"] for each in found[among]) == len(bad)
    assert {each["field"] for each in found["failures"]} == bad


@settings(deadline=None, max_examples=20)
@given(st.permutations([0, 1, 2, 3, 0, 1]))
def test_the_order_of_messages_changes_no_sum(rows: Rows, order: list[int]) -> None:
    parts = [rows(path, n_spots=7 + i, n_cells=i) for i, path in enumerate(PATHS)]
    runs = begin()
    for number in order:
        runs.take(rows_message("RUN", parts[number]), 1.0)
    found = numbers(runs)
    assert (found["spots"], found["cells"], found["done"]) == (34, 6, 4)


def test_wells_know_their_fields_before_any_came_in() -> None:
    found = numbers(begin([*PATHS, "C/04/2"]))
    wells = {w["row"] + w["column"]: (w["total"], w["done"]) for w in found["wells"]}
    assert wells == {"B03": (2, 0), "C04": (3, 0)}


def test_fields_of_an_earlier_start_count_and_make_no_rate(
    rows: Rows, failed: Rows
) -> None:
    before = pd.concat([rows("B/03/0"), failed("C/04/0")])
    runs = begin(["B/03/1", "C/04/1"], before)
    found = numbers(runs)
    assert (found["total"], found["done"], found["failed"]) == (4, 1, 1)
    assert (found["before"], found["left"]) == (2, 2)
    assert (found["spots"], found["images_per_second"]) == (10, 0.0)
    assert found["workers"] == []
    runs.take(rows_message("RUN", rows("B/03/1", "C/04/1")), 8.0)
    found = numbers(runs)
    assert (found["done"], found["left"], found["before"]) == (3, 0, 2)
    assert (found["images"], found["spots"]) == (2, 30)
    assert found["images_per_second_mean"] == pytest.approx(0.2)


def test_a_field_that_failed_before_and_is_done_now_is_done(rows: Rows) -> None:
    runs = begin(["B/03/0"])
    runs.take(rows_message("RUN", rows("B/03/0", n_planes=3)), 1.0)
    assert numbers(runs)["images"] == 3


def test_seconds_of_stages_add_up_and_unknown_ones_are_left_out(rows: Rows) -> None:
    runs = begin()
    known = {"seconds_enhance": 0.5, "seconds_detect": 0.25}
    runs.take(rows_message("RUN", rows(*PATHS[:2], **known)), 1.0)
    spread = rows(PATHS[2], seconds_enhance=2.0, seconds_detect=float("nan"))
    runs.take(rows_message("RUN", spread), 2.0)
    stages = {"brightness": 0, "enhance": 3.0, "detect": 0.5}
    assert numbers(runs)["stages"] == stages


def test_stages_are_those_whose_seconds_a_table_has(rows: Rows) -> None:
    table = rows(*PATHS[:2])[[column.name for column in FIELDS]]
    runs = begin()
    runs.take(rows_message("RUN", table.assign(seconds_rate=[0.25, 0.5])), 1.0)
    assert numbers(runs)["stages"] == {"rate": 0.75}


def test_a_table_without_seconds_of_stages_counts_all_the_same(rows: Rows) -> None:
    runs = begin()
    table = rows(*PATHS[:3])
    runs.take(rows_message("RUN", table[[c.name for c in FIELDS]]), 1.0)
    assert (numbers(runs)["done"], numbers(runs)["stages"]) == (3, {})


def test_workers_have_their_own_rate_and_device(rows: Rows) -> None:
    runs = begin()
    runs.take(device_message("a:1", "keras float16 GPU:0"), 0.0)
    for second in range(2):
        told = rows(PATHS[second], seconds=1.0)
        runs.take(rows_message("RUN", told), 1.0 + second)
    runs.take(rows_message("RUN", rows(PATHS[2], worker="b:2", seconds=2.0)), 2.0)
    one, two = numbers(runs, 4.0)["workers"]
    assert (one["worker"], one["device"]) == ("a:1", "keras float16 GPU:0")
    assert (one["images"], one["images_per_second"]) == (2, pytest.approx(0.5))
    assert (two["device"], two["images_per_second"]) == ("", pytest.approx(0.25))
    assert (one["quiet_seconds"], two["seconds"]) == (2.0, 2.0)


def test_an_end_stops_the_clock_and_shows_the_mean(rows: Rows) -> None:
    runs = begin()
    runs.take(rows_message("RUN", rows(*PATHS)), 2.0)
    runs.take(end_message("RUN", "finished"), 8.0)
    found = numbers(runs, 1e6)
    assert (found["state"], found["seconds"]) == ("finished", 8.0)
    assert found["images_per_second"] == pytest.approx(0.5)
    assert found["seconds_left"] == 0.0


def test_a_run_that_leaves_fields_undone_is_stopped_not_finished(rows: Rows) -> None:
    runs = begin()
    runs.take(rows_message("RUN", rows(*PATHS[:3])), 2.0)
    runs.take(end_message("RUN", "finished"), 3.0)
    assert numbers(runs)["state"] == "stopped"


def test_the_same_run_started_again_begins_again(rows: Rows) -> None:
    runs = begin()
    runs.take(rows_message("RUN", rows(*PATHS)), 2.0)
    left = [FieldAddress.from_path("C/04/9")]
    runs.take(begin_message("RUN", left, rows(*PATHS)), 5.0)
    found = numbers(runs, 6.0)
    assert (found["state"], found["total"], found["before"]) == ("running", 5, 4)
    assert len(runs.by_name) == 1


def test_the_run_that_began_last_is_shown_and_others_by_name(rows: Rows) -> None:
    runs = begin()
    runs.take(begin_message("OTHER", []), 1.0)
    runs.take(rows_message("RUN", rows(PATHS[0])), 2.0)
    assert numbers(runs)["run"] == "OTHER"
    older = runs.snapshot(3.0, "RUN")
    assert older is not None
    assert older["done"] == 1
    assert runs.snapshot(3.0, "no such run") is None


def test_only_the_last_runs_and_failures_are_remembered(failed: Rows) -> None:
    runs = begin()
    many = failed(*(f"B/03/{i}" for i in range(50)))
    runs.take(rows_message("RUN", many), 1.0)
    found = numbers(runs)
    assert found["failed"] == 50
    assert len(found["failures"]) == MAX_FAILURES
    assert found["failures"][0]["field"] == "B/03/49"
    for number in range(MAX_RUNS):
        runs.take(begin_message(f"RUN {number}", []), 2.0)
    assert runs.find("RUN") is None


def test_rows_of_a_run_that_was_not_announced_are_passed_over(rows: Rows) -> None:
    runs = Runs()
    runs.take(rows_message("RUN", rows(*PATHS)), 1.0)
    runs.take(end_message("RUN", "stopped"), 1.0)
    assert runs.find() is None


def test_a_field_that_was_not_announced_makes_its_well_larger(rows: Rows) -> None:
    runs = begin()
    runs.take(rows_message("RUN", rows("D/05/0")), 1.0)
    found = numbers(runs)
    assert (found["total"], found["done"], found["left"]) == (5, 1, 4)


def test_numbers_and_messages_are_plain(rows: Rows, failed: Rows) -> None:
    told = rows_message("RUN", pd.concat([rows(PATHS[0]), failed(PATHS[1])]))
    assert json.loads(json.dumps(told)) == told
    runs = begin()
    runs.take(told, 3.0)
    json.dumps(numbers(runs), allow_nan=False)


def test_time_left_is_that_of_the_fields_left_at_the_current_rate(rows: Rows) -> None:
    runs = begin()
    runs.take(rows_message("RUN", rows(*PATHS[:1])), 4.0)
    found = numbers(runs, 5.0)
    assert found["images_per_second"] == pytest.approx(1 / 5)
    assert found["seconds_left"] == pytest.approx(3 * 5)
    assert numbers(begin())["seconds_left"] is None


def test_scores_are_means_of_fields_with_one_whatever_their_order(
    rows: Rows, failed: Rows
) -> None:
    values = {"B/03/0": 0.5, "B/03/1": 0.7, "C/04/0": float("nan")}
    parts = [
        rows(path).assign(score=score, n_left_out=int(score < 0.6))
        for path, score in values.items()
    ]
    for order in (parts, parts[::-1]):
        runs = begin()
        assert numbers(runs)["score"] is None
        for part in (failed("B/03/0"), *order, *order):
            runs.take(rows_message("RUN", part), 1.0)
        found = numbers(runs)
        assert found["score"] == pytest.approx(0.6, abs=1e-4)
        assert found["low"] == 1
        wells = {each["row"]: (each["score"], each["low"]) for each in found["wells"]}
        assert wells == {"B": (found["score"], 1), "C": (None, 0)}


def test_scores_of_an_earlier_start_count(rows: Rows) -> None:
    before = rows("B/03/0").assign(score=0.25, n_left_out=1)
    runs = begin(["B/03/1"], before)
    runs.take(rows_message("RUN", rows("B/03/1").assign(score=0.75, n_left_out=0)), 1.0)
    found = numbers(runs)
    assert (found["score"], found["low"]) == (0.5, 1)
