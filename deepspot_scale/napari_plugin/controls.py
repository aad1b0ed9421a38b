"""The panel's controls: choices, sliders and buttons, without what they do.

Nothing comes in; magicgui's widgets go out, by name. Nothing here knows runs or pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from deepspot_scale.exports.libraries import load_library

SECTORS = (2, 3, 4, 5, 6, 9, 10, 12, 15, 18, 20, 30, 36)
"""Numbers of sectors to choose from: divisors of 180."""
_WIDTH = 380
"""Largest width of the panel in pixels of the screen."""
WIDEST = 14.0
"""Widest spots in pixels, see `kernels.binning`."""


@dataclass(frozen=True)
class Controls:
    """The widgets of the panel."""

    source: Any
    field: Any
    channel: Any
    enhance: Any
    floor: Any
    faint: Any
    sigma: Any
    sectors: Any
    angle: Any
    reset: Any
    result: Any
    table: Any
    file: Any
    save: Any

    @property
    def numbers(self) -> dict[str, Any]:
        """What is tuned, by the names of options; the angle makes the reference."""
        return {
            "floor": self.floor,
            "min_relative_intensity": self.faint,
            "spot_sigma": self.sigma,
            "sectors": self.sectors,
            "reference": self.angle,
        }

    @property
    def container(self) -> Any:
        """All of them, from top to bottom."""
        widgets = load_library("magicgui.widgets", "napari")
        container = widgets.Container(widgets=list(vars(self).values()))
        container.native.setMaximumWidth(_WIDTH)
        return container


def offer(box: Any, choices: Sequence[Any], value: Any) -> None:
    """Give a box other choices and one of them as its value."""
    # napari asks for the choices again at each new layer; a list would be forgotten.
    box.choices = lambda _: tuple(choices)
    box.value = value


def fill(table: Any, rows: pd.DataFrame) -> None:
    """Show rows in the table; numbers that are not known are left empty."""
    # The table writes whatever looks like a number with four decimals.
    written = {"toward": "{:.0%}"}
    table.value = {
        str(name): [
            "" if pd.isna(value) else written.get(str(name), "{:.0f}").format(value)
            for value in values
        ]
        for name, values in rows.items()
    }


def make_controls() -> Controls:
    """Return new widgets; SettingsError if napari is not installed."""
    widgets = load_library("magicgui.widgets", "napari")

    def slider(label: str, most: float, step: float, tooltip: str) -> Any:
        return widgets.FloatSlider(
            label=label, min=0, max=most, step=step, value=0, tooltip=tooltip
        )

    result = widgets.Label(label="", value="Open a run or a plate.")
    result.native.setWordWrap(True)
    table = widgets.Table()
    table.read_only = True
    table.native.setMinimumHeight(140)
    table.native.horizontalHeader().setDefaultSectionSize(_WIDTH // 6)
    return Controls(
        source=widgets.FileEdit(label="run or plate", mode="d", nullable=True),
        field=widgets.ComboBox(label="field", choices=()),
        channel=widgets.ComboBox(label="channel", choices=()),
        enhance=widgets.PushButton(
            text="Enhance", tooltip="Run the network on this field and channel, once."
        ),
        floor=slider(
            "floor", 1, 0.01, "Least probability of a spot (--floor): lower finds more."
        ),
        faint=slider(
            "faint",
            0.99,
            0.01,
            "Spots below this share of the field's typical intensity are left out "
            "(--min-relative-intensity).",
        ),
        sigma=slider(
            "spot sigma",
            WIDEST,
            0.1,
            "Standard deviation of wide spots, above 3.5 px (--spot-sigma); 0: not "
            "wide. Another binning needs Enhance.",
        ),
        sectors=widgets.ComboBox(
            label="sectors", choices=SECTORS, value=3, tooltip="--sectors"
        ),
        angle=slider(
            "angle",
            359,
            1,
            "Reference: degrees counter-clockwise from the right (--reference angle:).",
        ),
        reset=widgets.PushButton(text="Back to the settings"),
        result=result,
        table=table,
        file=widgets.FileEdit(label="settings", mode="w", filter="*.toml"),
        save=widgets.PushButton(text="Save settings"),
    )
