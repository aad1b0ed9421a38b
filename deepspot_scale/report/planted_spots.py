"""Planted spots of a run that removed noise: a run in, words and a figure as HTML out.

Nothing here plants or finds spots.
"""

from __future__ import annotations

from html import escape
from typing import Final

import pandas as pd

from deepspot_scale.runs.planted_table import describe_losses, read_planted
from deepspot_scale.runs.results import RunResults

_SHOWN: Final = {
    "snr": "snr",
    "n_planted": "n_planted",
    "recall_raw": "recall_before",
    "recall": "recall_after",
    "precision_raw": "precision_before",
    "precision": "precision_after",
}
"""Columns by their headings."""


def planted_table(run: RunResults) -> pd.DataFrame | None:
    """Return the run's table of planted spots; None: nothing was planted."""
    return read_planted(run.folder)


def planted_words(table: pd.DataFrame) -> str:
    """Return what the table means, and a note for each height that loses spots."""
    first = table.iloc[0]
    text = (
        f"<p>Before this run, spots of {first['sigma']:g} px were planted in "
        f"{int(first['n_windows'])} windows of the plate itself, at several heights "
        "over the noise around them (snr), and the default detector looked for them "
        "in the raw windows and in those without noise. Whatever else it found counts "
        "as false, unless it is in the raw window without planted spots too.</p>"
    )
    notes = "".join(f"<p class='note'>{escape(x)}</p>" for x in describe_losses(table))
    return text + notes


def planted_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return the columns of the table that are shown."""
    return table[list(_SHOWN)].rename(columns=_SHOWN)
