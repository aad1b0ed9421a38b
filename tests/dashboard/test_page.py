"""The page's document shows the numbers of the run."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pandas as pd
import pytest
from bokeh.document import Document

from deepspot_scale.dashboard.events import begin_message, rows_message
from deepspot_scale.dashboard.page import LivePage, _try_update, fill_document
from deepspot_scale.dashboard.state import Runs
from deepspot_scale.vocabulary import FieldAddress

PATHS = ["B/03/0", "B/03/1", "C/04/0"]
Rows = Callable[..., pd.DataFrame]


@pytest.fixture
def runs() -> Runs:
    """A run that has begun."""
    runs = Runs()
    left = [FieldAddress.from_path(path) for path in PATHS]
    runs.take(begin_message("RUN", left), 0.0)
    return runs


def test_before_a_run_the_page_says_so() -> None:
    page = LivePage(Runs())
    page.update()
    assert "No run has begun" in page.texts["head"].text
    assert not page.plate.figure.visible


def test_the_drawings_hold_the_numbers_of_the_run(
    runs: Runs, rows: Rows, failed: Rows
) -> None:
    page = LivePage(runs, clock=lambda: 20.0)
    runs.take(rows_message("RUN", pd.concat([rows("B/03/0"), failed("C/04/0")])), 10.0)
    page.update()
    wells = page.plate.wells.data
    assert wells["well"] == ["B03", "C04"]
    assert wells["value"] == [0.5, 1.0]
    assert (wells["x"], wells["y"]) == ([2, 3], [1, 2])
    assert len(page.plate.faults.data["x"]) == 1
    assert len(page.plate.empty.data["x"]) == 12
    assert page.rate.source.data["t"][-1] == 20.0
    assert "2 / 3" in page.texts["head"].text


def test_choosing_spots_per_cell_colours_the_plate_at_once(
    runs: Runs, rows: Rows
) -> None:
    page = LivePage(runs, clock=lambda: 20.0)
    runs.take(rows_message("RUN", rows("B/03/0", "C/04/0")), 10.0)
    page.update()
    page.shown.active = 1
    assert page.plate.wells.data["value"] == [5.0, 5.0]
    assert page.plate.figure.title.text == "Plate: spots per cell"
    assert page.plate.colours.high == 5.0


def test_a_smaller_plate_takes_the_place_of_a_larger_one(runs: Runs) -> None:
    page = LivePage(runs, clock=lambda: 20.0)
    runs.take(begin_message("LARGE", [FieldAddress.from_path("P/24/0")]), 1.0)
    page.update()
    assert len(page.plate.empty.data["x"]) == 384
    assert (page.plate.figure.y_range.start, page.plate.figure.y_range.end) == (
        15.5,
        -0.5,
    )
    assert page.chosen.visible
    page.chosen.value = "RUN"
    assert len(page.plate.empty.data["x"]) == 12
    assert page.plate.figure.xaxis[0].major_label_overrides[3] == "4"


def test_images_outside_a_plate_show_no_plate(rows: Rows) -> None:
    runs = Runs()
    runs.take(begin_message("RUN", [FieldAddress.from_path("image.tif")]), 0.0)
    runs.take(rows_message("RUN", rows("image.tif")), 1.0)
    page = LivePage(runs)
    page.update()
    assert not page.plate.figure.visible
    assert not page.shown.visible
    assert "1 / 1" in page.texts["head"].text


def test_a_document_is_filled_and_asks_again(runs: Runs) -> None:
    document = Document()
    fill_document(document, runs)
    assert len(document.roots) == 1
    assert len(document.session_callbacks) == 1


def test_a_page_that_cannot_be_drawn_says_so_and_stops_updating(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    page, stopped = LivePage(runs), []
    runs.by_name["RUN"].wells["B", "03"] = "no numbers"  # type: ignore[assignment]  # the damage
    with caplog.at_level(logging.WARNING):
        _try_update(page, lambda: stopped.append(1))
    assert stopped == [1]
    assert "has stopped updating" in caplog.text
    assert "This page broke" in page.texts["head"].text


def test_the_plate_can_be_coloured_by_score_once_there_is_one(
    runs: Runs, rows: Rows
) -> None:
    page = LivePage(runs, clock=lambda: 20.0)
    page.update()
    assert "score" not in page.shown.labels
    assert "mean score" not in page.texts["head"].text
    rated = rows("B/03/0", "C/04/0").assign(score=[0.9, 0.4], n_left_out=[0, 1])
    runs.take(rows_message("RUN", rated), 10.0)
    page.update()
    page.shown.active = page.shown.labels.index("score")
    assert page.plate.wells.data["value"] == pytest.approx([0.9, 0.4], abs=1e-4)
    assert (page.plate.colours.low, page.plate.colours.high) == (0, 1)
    assert page.plate.low.data == {"x": [2.7], "y": [1.7]}
    assert 'data-number="low">1<' in page.texts["head"].text
