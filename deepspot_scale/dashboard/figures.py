"""The two figures of the live page: the plate's wells, and the rate over time.

Numbers of `RunState.snapshot` come in, Bokeh figures are updated. Nothing here knows
documents, sessions or a scheduler.
"""

from __future__ import annotations

from math import isnan
from typing import Any

from bokeh import models
from bokeh.palettes import Viridis256, interp_palette
from bokeh.plotting import figure

from deepspot_scale.dashboard import plate_map
from deepspot_scale.dashboard.plate_map import Panel, PlateShape
from deepspot_scale.dashboard.state import Snapshot

PROGRESS = interp_palette(("#dcebee", "#0f7b8a"), 64)
NONE, INK, FAULT, LOW = "#d5dbe1", "#52606d", "#d64545", "#e07b00"
HOVER = """
<div style="font: 13px system-ui, sans-serif"><b>@well</b><br>
@done of @total fields done, @failed failed<br>@spots{0,0} spots, @cells{0,0} cells
<br>@quality
</div>
"""


def _figure(title: str, **options: Any) -> Any:
    made = figure(
        title=title, toolbar_location=None, sizing_mode="stretch_width", **options
    )
    made.outline_line_color = None
    made.background_fill_color = made.border_fill_color = None
    made.title.text_color, made.title.text_font_size = INK, "13px"
    made.grid.grid_line_color = "#e4e7eb"
    made.axis.axis_line_color = made.axis.minor_tick_line_color = None
    made.axis.major_tick_line_color = None
    made.axis.major_label_text_color = INK
    return made


def _source(*names: str, called: str | None = None) -> Any:
    return models.ColumnDataSource({name: [] for name in names}, name=called)


class PlateDrawing:
    """The wells at their positions, coloured by progress, spots or score."""

    def __init__(self) -> None:
        self.empty, self.faults = _source("x", "y"), _source("x", "y")
        self.wells = _source("x", "y", "value", "well", called="wells")
        self.low = _source("x", "y", called="low")
        self.colours: Any = models.LinearColorMapper(
            PROGRESS, low=0, high=1, nan_color=NONE
        )
        self.shape: PlateShape | None = None
        self.figure = made = _figure(
            "Plate",
            height=360,
            x_range=models.Range1d(),
            y_range=models.Range1d(),
            x_axis_location="above",
        )
        made.grid.grid_line_color = None
        box = {"width": 0.9, "height": 0.9, "border_radius": 4}
        made.rect("x", "y", source=self.empty, color=NONE, fill_color=None, **box)
        colour = {"field": "value", "transform": self.colours}
        wells = made.rect("x", "y", source=self.wells, color=colour, **box)
        made.scatter("x", "y", source=self.faults, size=9, color=FAULT)
        made.scatter("x", "y", source=self.low, size=9, color=LOW, marker="triangle")
        made.add_tools(models.HoverTool(renderers=[wells], tooltips=HOVER))
        self.bar = models.ColorBar(
            color_mapper=self.colours,
            width=10,
            major_label_text_color=INK,
            background_fill_color=None,
            # Creating one per update costs 10 ms.
            formatter=models.NumeralTickFormatter(),
        )
        made.add_layout(self.bar, "right")

    def show(self, numbers: Snapshot, shown: Panel) -> None:
        """Draw the current numbers of the wells."""
        shape = plate_map.plate_shape(numbers["wells"])
        self.figure.visible = shape is not None
        if shape is None:
            return
        if shape != self.shape:
            self._lay_out(shape)
        columns = plate_map.well_columns(numbers["wells"], shape, shown)
        self._colour(columns["value"], shown)
        if all(self.wells.data.get(name) == columns[name] for name in columns):
            return
        places = zip(columns["x"], columns["y"], columns["failed"], strict=True)
        faults = [(x + 0.3, y - 0.3) for x, y, n in places if n]
        self.faults.data = {"x": [x for x, _ in faults], "y": [y for _, y in faults]}
        places = zip(columns["x"], columns["y"], columns["low"], strict=True)
        low = [(x - 0.3, y - 0.3) for x, y, n in places if n]
        self.low.data = {"x": [x for x, _ in low], "y": [y for _, y in low]}
        self.wells.data = columns

    def _lay_out(self, shape: PlateShape) -> None:
        self.shape = shape
        places = [
            (x, y) for y in range(len(shape.rows)) for x in range(len(shape.columns))
        ]
        self.empty.data = {"x": [x for x, _ in places], "y": [y for _, y in places]}
        named = (
            (self.figure.x_range, self.figure.xaxis[0], shape.columns, False),
            (self.figure.y_range, self.figure.yaxis[0], shape.rows, True),
        )
        for range_, axis, names, reverse in named:
            ends = (-0.5, len(names) - 0.5)
            range_.start, range_.end = ends[::-1] if reverse else ends
            axis.ticker = models.FixedTicker(ticks=list(range(len(names))))
            axis.major_label_overrides = dict(enumerate(names))

    def _colour(self, values: list[float], shown: Panel) -> None:
        self.figure.title.text = f"Plate: {shown}"
        known = [value for value in values if not isnan(value)]
        is_share = shown in {"progress", "score"}
        top = 1.0 if is_share else max([*known, 0.0]) or 1.0
        low = 0.0 if is_share else min([*known, top * 0.99])
        palette = list(PROGRESS if shown == "progress" else Viridis256)
        if list(self.colours.palette) != palette:
            self.colours.palette = palette
        self.colours.update(low=low, high=top)
        formats = {"progress": "0%", "score": "0.0"}
        self.bar.formatter.format = formats.get(shown, "0,0.[0]")


class RateDrawing:
    """Images per second since the run began."""

    def __init__(self) -> None:
        self.source = _source("t", "rate")
        self.figure = made = _figure("Images per second", height=220)
        made.y_range.start = 0
        made.x_range.range_padding = 0
        made.varea(
            "t", y1=0, y2="rate", source=self.source, color="#0f7b8a", alpha=0.15
        )
        made.line("t", "rate", source=self.source, color="#0f7b8a", width=2)
        made.xaxis.formatter = models.NumeralTickFormatter(format="00:00:00")
        made.xaxis.axis_label = "since the start"
        made.xaxis.axis_label_text_color = INK
        made.xaxis.axis_label_text_font_style = "normal"

    def show(self, numbers: Snapshot) -> None:
        """Draw the curve so far."""
        curve = [(0.0, 0.0), *numbers["history"]]
        self.source.data = {"t": [t for t, _ in curve], "rate": [r for _, r in curve]}
