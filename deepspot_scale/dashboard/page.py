"""The live page as a Bokeh document: numbers, the plate, the rate, and tables.

Runs come in; a document is filled and updated every two seconds. Nothing here knows a
scheduler, or how a run's numbers reach it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from html import escape
from typing import Any, get_args

from bokeh.layouts import column, row
from bokeh.models import Div, RadioButtonGroup, Select

from deepspot_scale.dashboard import markup
from deepspot_scale.dashboard.figures import PlateDrawing, RateDrawing
from deepspot_scale.dashboard.plate_map import Panel
from deepspot_scale.dashboard.state import Runs, Snapshot

INTERVAL_MS = 2000
"""Each update costs the scheduler six to ten milliseconds, with 96 wells."""
LATEST = "the latest run"
TEXTS = {
    "head": markup.head,
    "stages": markup.stages,
    "workers": markup.workers,
    "failures": markup.failures,
}
logger = logging.getLogger(__name__)


class LivePage:
    """The content of one browser tab."""

    def __init__(self, runs: Runs, clock: Callable[[], float] = time.time) -> None:
        self.runs, self.clock = runs, clock
        self.texts = {
            name: Div(stylesheets=[markup.STYLE], sizing_mode="stretch_width")
            for name in TEXTS
        }
        self.texts["head"].text = "<h1>No run has begun yet</h1>"
        self.plate, self.rate = PlateDrawing(), RateDrawing()
        self.plate.figure.visible = False
        self.shown = RadioButtonGroup(labels=list(get_args(Panel))[:3], active=0)
        self.chosen = Select(value=LATEST, options=[LATEST], visible=False)
        self.shown.on_change("active", self._on_choice)
        self.chosen.on_change("value", self._on_choice)

    @property
    def root(self) -> Any:
        """The whole page, as a Bokeh layout."""
        wide = {"sizing_mode": "stretch_width"}
        left = column(self.shown, self.plate.figure, self.texts["workers"], **wide)
        right = column(
            self.rate.figure, self.texts["stages"], self.texts["failures"], **wide
        )
        return column(
            self.chosen,
            self.texts["head"],
            row(left, right, spacing=24, **wide),
            spacing=12,
            margin=(12, 20, 12, 20),
            **wide,
        )

    def update(self) -> None:
        """Show the current numbers of the chosen run."""
        self.chosen.options = [LATEST, *reversed(self.runs.by_name)]
        self.chosen.visible = len(self.runs.by_name) > 1
        name = None if self.chosen.value == LATEST else self.chosen.value
        numbers = self.runs.snapshot(self.clock(), name)
        if numbers is not None:
            self._show(numbers)

    def _on_choice(self, attr: str, old: Any, new: Any) -> None:
        """Update at once after a choice; the parameters are Bokeh's."""
        del attr, old, new
        self.update()

    def _show(self, numbers: Snapshot) -> None:
        for name, write in TEXTS.items():
            text = write(numbers)
            if self.texts[name].text != text:
                self.texts[name].text = text
        is_rated = numbers["score"] is not None
        panels = [p for p in get_args(Panel) if p != "score" or is_rated]
        if self.shown.labels != panels:  # another run may be rated, or not
            self.shown.update(labels=panels, active=min(self.shown.active, 2))
        self.plate.show(numbers, panels[self.shown.active])
        self.shown.visible = self.plate.figure.visible
        self.rate.show(numbers)


def fill_document(document: Any, runs: Runs) -> None:
    """Add the page to a document and keep it up to date."""
    page = LivePage(runs)
    document.title = "DeepSpot"
    document.add_root(page.root)
    page.update()
    timer: Any = document.add_periodic_callback(
        partial(_try_update, page, lambda: document.remove_periodic_callback(timer)),
        INTERVAL_MS,
    )


def _try_update(page: LivePage, stop: Callable[[], None]) -> None:
    """Update; on an error show it, log it once, and stop updating."""
    try:
        page.update()
    except Exception as error:  # the scheduler must continue
        stop()
        logger.warning("the live page has stopped updating", exc_info=True)
        page.texts["head"].text = f"<h1>This page broke: {escape(repr(error))}</h1>"
