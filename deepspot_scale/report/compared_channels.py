"""The section "Channels compared": a run's tables in, words and figures out.

Each pair of channels has the shift between them in words, a figure of shares against
chance, and one of the distances of its pairs. Nothing here pairs, moves or alters a
value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepspot_scale.report.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    group_names,
    new_figure,
)
from deepspot_scale.report.html import Plot, without_lone
from deepspot_scale.runs.compared_channels import describe_compared
from deepspot_scale.runs.results import RunResults

_BINS: Final = 20
_MOST_NAMED: Final = 40
"""If there are more groups, their names are left out: they could not be read."""


def compared_words(run: RunResults) -> str:
    """Return what was compared, as HTML; empty if no channels were."""
    summaries = run.summaries
    lines = describe_compared(
        summaries["colocalisation"], summaries["chromatic_shifts"], run.settings
    )
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    if not items:
        return ""
    return (
        f"<ul>{items}</ul><p class='soft'>A spot of the first channel has a partner if "
        "a spot of the second lies within the distance once the shift is undone; pairs "
        "are one to one, as many as there can be, the closest such ones. By chance: "
        "the same count once each spot of the second channel is moved to a random "
        "pixel of its own cell, in the nucleus if it was there, outside if not.</p>"
    )


def compared_figures(run: RunResults) -> Iterator[Plot]:
    """Yield for each pair of channels its shares, and the distances of its pairs."""
    table = run.summaries["colocalisation"]
    for (one, other), lines in table.groupby(["channel", "other"], sort=False):
        words, end = f"{one} and {other}", _file_word(f"{one}_{other}")
        known = lines[lines["share"].notna()]
        if len(known):
            yield Plot(
                f"shares_{end}",
                draw_shares(known),
                known,
                f"Share of the spots of {one} that have a partner in {other}",
                f"Of all spots of {escape(str(one))} in cells, the share that has a "
                f"partner in {escape(str(other))}. {_key(BLUE, '●')} a condition's "
                "cells; thick: 95 % interval over cells, thin: over wells. "
                f"{_key(ORANGE, '●')} each well. {_key(GREY, '◇')} and grey: by "
                "chance, 95 % of draws.",
            )
        counts = count_distances(run, str(one), str(other))
        if counts["n_pairs"].any():
            yield Plot(
                f"distances_{end}",
                draw_distances(counts),
                counts,
                f"Distances between partners of {words}",
                f"Pairs of {escape(words)} by their distance in the plane, once the "
                "shift is undone. Pairs by chance alone grow in number with the "
                "distance; true partners gather near 0.",
            )


def compared_table(run: RunResults) -> pd.DataFrame:
    """Return the lines of `vocabulary.COLOCALISATION` as they are shown."""
    return without_lone(run.summaries["colocalisation"])


def count_distances(run: RunResults, one: str, other: str) -> pd.DataFrame:
    """Return how many pairs have which distance: from_px, to_px, n_pairs."""
    edges = np.linspace(0.0, run.settings.pair_distance, _BINS + 1)
    counts = np.zeros(_BINS, np.int64)
    for _, part in run.iter_parts("pairs", ["channel", "other", "distance"]):
        own = part[(part["channel"] == one) & (part["other"] == other)]
        # A distance that is the limit up to its last digit belongs to the last bin.
        inside = own["distance"].to_numpy().clip(max=edges[-1])
        counts += np.histogram(inside, edges)[0]
    return pd.DataFrame({"from_px": edges[:-1], "to_px": edges[1:], "n_pairs": counts})


def _file_word(word: str) -> str:
    return re.sub("[^A-Za-z0-9]+", "_", word)


def _key(colour: str, mark: str) -> str:
    return f"<b style='color:{colour}'>{mark}</b>"


def draw_shares(lines: pd.DataFrame) -> Figure:
    """Draw the shares of conditions and wells of one pair of channels."""
    conditions = lines[lines["row"] == ""][::-1].reset_index(drop=True)
    keys = [n for n in ("acquisition", "t", "z", "condition", "gene") if n in lines]
    places = np.arange(len(conditions))
    figure = new_figure(7.2, 1.15 + max(1.0, min(0.55 * len(conditions), 14.0)))
    axes: Any = figure.subplots()
    low, high = conditions["chance_low"], conditions["chance_high"]
    axes.barh(places, high - low, height=0.62, left=low, color="#e5e7eb", zorder=1)
    axes.plot(conditions["chance"], places, "D", color=GREY, mfc="white", ms=5)
    for ending, colour, width in (("_wells", INK, 1), ("", BLUE, 4)):
        low, high = conditions[f"low{ending}"], conditions[f"high{ending}"]
        known = low.notna() & high.notna()  # matplotlib warns about NaN
        axes.hlines(places[known], low[known], high[known], color=colour, lw=width)
    axes.plot(conditions["share"], places, "o", color=BLUE, ms=8, mec="white", zorder=4)
    order = conditions[keys].assign(place=places)
    wells = lines[lines["row"] != ""].merge(order, on=keys)
    axes.plot(wells["share"], wells["place"] - 0.3, "o", color=ORANGE, ms=4.5)
    named = len(conditions) <= _MOST_NAMED
    names = group_names(conditions) if named else []
    axes.set_yticks(places if named else [], names)
    axes.set_ylim(-0.75, len(conditions) - 0.35)
    axes.set_xlim(left=0)
    axes.set_xlabel("share of spots with a partner", color=INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return figure


def draw_distances(counts: pd.DataFrame) -> Figure:
    """Draw a histogram of the distances of pairs."""
    figure = new_figure(5.2, 2.4)
    axes: Any = figure.subplots()
    edges = [*counts["from_px"], counts["to_px"].iloc[-1]]
    axes.stairs(counts["n_pairs"], edges, fill=True, color=BLUE)
    axes.set_xlabel("distance in pixels", color=INK)
    axes.set_ylabel("pairs", color=INK)
    axes.set_xlim(0, edges[-1])
    axes.spines[["top", "right"]].set_visible(False)
    return figure
