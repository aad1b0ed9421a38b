"""A run as a few lines of HTML, as a notebook shows it.

What is known of a run comes in as plain values and tables; a fragment of HTML goes out,
with no style or script of its own, so that it looks like the notebook around it. Any
text may come from a user, so it is escaped here. Nothing here reads files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any, Final

import pandas as pd

MAX_LINES: Final = 12
"""Most conditions that are shown; the table itself has all of them."""
_SHOWN: Final = {
    "channel": "channel",
    "condition": "condition",
    "gene": "gene",
    "n_wells": "wells",
    "n_cells": "cells",
    "spots_per_cell": "spots per cell",
    "polarity_corrected": "polarity minus null",
    "p_value": "p",
}
"""Columns of `vocabulary.CONDITIONS`, and what they are called here."""


def summarise_html(facts: Mapping[str, object], conditions: pd.DataFrame | None) -> str:
    """Return a table of facts, and below it one of the conditions.

    Parameters
    ----------
    facts
        What is told of the run, by its name; empty values are left out.
    conditions
        `vocabulary.CONDITIONS`; None: the run has not written them.
    """
    rows = "".join(
        f"<tr><th style='text-align:left'>{escape(name)}</th>"
        f"<td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if str(value)
    )
    shown = "" if conditions is None else _table_of(conditions)
    return f"<table>{rows}</table>{shown}"


def _table_of(conditions: pd.DataFrame) -> str:
    names = [name for name in _SHOWN if _is_told(conditions[name])]
    head = "".join(f"<th>{_SHOWN[name]}</th>" for name in names)
    lines = conditions[names].head(MAX_LINES).to_dict("records")
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in line.values())}</tr>"
        for line in lines
    )
    left = len(conditions) - len(lines)
    more = f"<p>and {left} more: <code>.summaries['conditions']</code></p>"
    return f"<table><tr>{head}</tr>{body}</table>{more if left else ''}"


def _is_told(column: pd.Series) -> bool:
    """Return whether a column says anything: words, or numbers that are known."""
    return bool((column.notna() & (column.astype(str) != "")).any())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "unknown" if math.isnan(value) else f"{value:.3g}"
    return escape(str(value))
