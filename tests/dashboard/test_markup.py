"""Texts and numbers as HTML: what is shown, and that every text is escaped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

from deepspot_scale.dashboard import markup
from deepspot_scale.dashboard.events import begin_message, device_message, rows_message
from deepspot_scale.dashboard.state import Runs
from deepspot_scale.vocabulary import FieldAddress

EVIL = "<script>alert(1)</script>"
Rows = Callable[..., pd.DataFrame]


@pytest.fixture
def numbers(rows: Rows, failed: Rows) -> dict[str, Any]:
    """A run in which every text is hostile."""
    runs = Runs()
    paths = [f"B/03/{i}" for i in range(12)]
    left = [FieldAddress.from_path(path) for path in paths]
    runs.take(begin_message(f"s3://bucket/{EVIL}", left), 0.0)
    runs.take(device_message("a:1", EVIL), 0.0)
    name = f"s3://bucket/{EVIL}"
    runs.take(
        rows_message(name, rows(*paths[:8], n_spots=4321, seconds_enhance=2)), 4.0
    )
    bad = failed("B/03/8", reason=EVIL).assign(worker=EVIL, field=EVIL)
    runs.take(rows_message(name, bad), 4.0)
    found = runs.snapshot(4.0)
    assert found is not None
    return found


def test_nothing_that_a_run_says_is_taken_as_html(numbers: dict[str, Any]) -> None:
    page = markup.plain_page(numbers, EVIL)
    assert "<script" not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 4


def test_the_head_shows_the_main_numbers(numbers: dict[str, Any]) -> None:
    head = markup.head(numbers)
    for name, shown in {
        "settled": "9 / 12",
        "failed": "1",
        "spots": "34,568",
        "images_per_second": "2",
        "spots_per_cell": "2,160",
    }.items():
        assert f'data-number="{name}">{shown}<' in head


def test_every_stage_is_named_with_its_seconds_an_image(
    numbers: dict[str, Any],
) -> None:
    assert "enhance 2" in markup.stages(numbers)
    nothing = numbers | {"stages": dict.fromkeys(numbers["stages"], 0.0)}
    assert "nothing measured yet" in markup.stages(nothing)


def test_stages_of_any_name_and_number_are_shown(numbers: dict[str, Any]) -> None:
    names = [EVIL, *(f"stage {number}" for number in range(20))]
    shown = markup.stages(numbers | {"stages": dict.fromkeys(names, 1.0)})
    assert shown.count("background:") == len(names)
    assert "<script" not in shown
    assert all(name in shown for name in names[1:])


def test_a_run_without_a_fault_says_so(numbers: dict[str, Any]) -> None:
    assert "none since this start" in markup.failures(numbers | {"failures": []})


def test_a_long_list_of_workers_is_cut_and_says_so(numbers: dict[str, Any]) -> None:
    one = numbers["workers"][0]
    lines = [one | {"worker": f"w{i}", "images_per_second": i} for i in range(100)]
    table = markup.workers(numbers | {"workers": lines})
    assert "100 workers, the 32 fastest" in table
    assert table.count("<tr>") == 33
    assert table.index("w99") < table.index("w98")
    assert "w67" not in table


def test_a_plain_page_without_a_run_says_so() -> None:
    assert "No run has begun" in markup.plain_page(None, "Bokeh is missing")
