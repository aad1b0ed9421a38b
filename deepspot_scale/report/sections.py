"""Which figures a report has: tables of a run in, figures with numbers and words out.

Nothing here draws, measures or writes files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from html import escape

import numpy as np
import pandas as pd

from deepspot_scale.report import figures
from deepspot_scale.report.figures import BLUE, GREY, ORANGE
from deepspot_scale.report.html import Plot, occasions
from deepspot_scale.report.roses import MOST_ROSES, draw_roses
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.left_out import (
    WHY_EMPTY,
    why_empty,
    without_empty,
    without_left_out,
)
from deepspot_scale.statistics.roses import KEYS

_WELL = ["row", "column"]
_MOST_BARS = 80
MOST_SHOWN = 6
"""Most acquisitions, time points and planes of which wells are drawn."""


def _each_occasion(run: RunResults) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield the wells on a plate of each channel and occasion, at most `MOST_SHOWN`.

    Before them stands what is said of them in words and in the names of files.
    """
    on_plate = run.wells[run.wells["row"] != ""]
    several = on_plate["channel"].nunique() > 1
    for channel, all_wells in on_plate.groupby("channel", sort=False):
        lone = str(channel) if several else ""
        name = f"_{_file_word(lone)}" if several else ""
        named = all_wells.assign(occasion=occasions(all_wells))
        for when, wells in [*named.groupby("occasion", sort=False)][:MOST_SHOWN]:
            words = ", ".join(filter(None, (lone, str(when))))
            end = re.sub("[^a-z0-9]+", "_", f" {when}") if when else ""
            yield words, name + end, wells


def plate_maps(run: RunResults) -> Iterator[Plot]:
    """Yield the heat maps of a plate; spots and polarity have one for each channel."""
    for words, end, wells in _each_occasion(run):
        yield from _channel_maps(wells, f"{words}, " if words else "", end)
    fields = run.fields[run.fields["row"] != ""]
    failed = (fields["status"] == "failed").groupby([fields[c] for c in _WELL])
    if failed.sum().any():
        share = failed.sum().rename("n_failed").reset_index()
        yield _map(share, "n_failed", "failed fields", "plate_failures")
    spent = fields.groupby(_WELL, as_index=False)[["seconds", "n_planes"]].sum()
    spent["seconds_per_image"] = spent["seconds"] / spent["n_planes"].where(
        spent["n_planes"] > 0
    )
    if spent["seconds"].any():
        yield _map(spent, "seconds_per_image", "seconds per image", "plate_seconds")


def _channel_maps(wells: pd.DataFrame, word: str, end: str) -> Iterator[Plot]:
    if wells["spots_per_cell"].notna().any():
        title = f"{word}spots per cell"
        yield _map(wells, "spots_per_cell", title, f"plate_spots{end}")
    elif wells["n_spots"].any():
        fields = wells["n_fields"].where(wells["n_fields"] > 0)
        each = wells.assign(spots_per_field=wells["n_spots"] / fields)
        title = f"{word}spots per field"
        yield _map(each, "spots_per_field", title, f"plate_spots{end}")
    if wells["polarity_corrected"].notna().any():
        title = f"{word}polarity minus its null"
        name = f"plate_polarity{end}"
        yield _map(wells, "polarity_corrected", title, name, signed=True)


def _map(
    wells: pd.DataFrame, column: str, title: str, name: str, *, signed: bool = False
) -> Plot:
    why = why_empty(wells) if "n_left_out" in wells else pd.Series("", wells.index)
    figure = figures.draw_plate(
        wells, wells[column], title, signed=signed, hatched=(why != "").to_numpy()
    )
    caption = f"{escape(title[:1].upper() + title[1:])} of each well."
    caption += _empty_words(why, "Hatched")
    numbers = wells[[*_WELL, column]]
    return Plot(name, figure, numbers, f"Plate heat map of {title}", caption)


def polarity_figures(run: RunResults) -> Iterator[Plot]:
    """Yield the figure of indices and the one of roses."""
    yield Plot(
        "polarity",
        figures.draw_polarity(run.summaries["polarity"], run.wells),
        run.summaries["polarity"],
        "Polarity index of each condition, raw and minus its null",
        f"{_key(BLUE, '●')} index of a condition's cells; thick: its 95 % interval "
        f"over cells, thin: over wells. {_key(ORANGE, '●')} index of each well. "
        f"{_key(GREY, '◇')} and grey: index of uniform spots in the same cells, "
        "95 % of draws.",
    )
    roses = run.summaries["roses"]
    if roses.empty:
        return
    n = len(roses[KEYS].drop_duplicates())
    left = f" The first {MOST_ROSES} of {n} are drawn." if n > MOST_ROSES else ""
    yield Plot(
        "roses",
        draw_roses(roses, run.index.sectors),
        roses,
        "Roses: where about the nucleus the spots of each condition lie",
        "How dense spots are in each direction about the nucleus, over what uniform "
        f"spots in the same cytoplasm give (circle). {_key(BLUE, '■')} reference "
        f"sector; lines: 95 % intervals over cells.{left}",
    )


def well_figures(run: RunResults) -> Iterator[Plot]:
    """Yield every well as a point, by condition, for each channel."""
    values = {
        "spots_per_cell": "spots per cell (mean of a well)",
        "n_cells": "cells of a well",
        "polarity_corrected": "polarity index minus its null",
    }
    for words, end, wells in _each_occasion(run):
        channel = words or str(wells["channel"].iloc[0])
        shown = {c: w for c, w in values.items() if wells[c].notna().any()}
        if not wells["n_cells"].any():
            shown = {"n_spots": "spots of a well"}
        why = why_empty(wells)
        known = without_empty(wells).assign(no_image_counts=why)
        kept = [*_WELL, *KEYS, "replicate", *shown]
        yield Plot(
            f"wells_by_condition{end}",
            figures.draw_wells(wells, shown),
            known[[*kept, *(["no_image_counts"] if why.any() else [])]],
            f"Every well by condition, {channel}",
            f"{escape(channel)}: {_key(ORANGE, '●')} one well, {_key(BLUE, '|')} "
            "the condition's median well. Heights within a condition mean nothing."
            + _empty_words(why, "In the hatched strip"),
        )


def _empty_words(why: pd.Series, where: str) -> str:
    """Return how many wells have no image that counts; empty: all have one."""
    counts = [f"{n} {word}" for word in WHY_EMPTY if (n := int((why == word).sum()))]
    if not counts:
        return ""
    return f" {where}: wells without an image that counts ({', '.join(counts)})."


def depth_figure(run: RunResults) -> Plot | None:
    """Return where along z the spots of a run on volumes lie; None: there are none.

    Bars are one plane wide, centred on it, or some planes so that there are at most
    `_MOST_BARS`.
    """
    parts, steps = [], set[float]()
    columns = ["channel", "z", "z_um", *("acquisition", "t", "plane")]
    for _, whole in run.iter_parts("spots", columns):
        part = without_left_out(whole, run.summaries["left_out"])
        plane = np.floor(part["z"] + 0.5).astype("int64").rename("plane")
        parts.append(part.groupby(["channel", plane], sort=False).size())
        steps.add(_step_of(part))
    if not parts:
        return None
    planes = pd.concat(parts).groupby(level=[0, 1]).sum().rename("n_spots")
    least, most = (int(f(planes.index.get_level_values(1))) for f in (min, max))
    width = -(-(most - least + 1) // _MOST_BARS)
    starts = range(least, most + 1, width)
    rows = [
        (channel, start - 0.5, start + width - 0.5, int(own[inside].sum()))
        for channel, own in planes.groupby(level=0, sort=False)
        for start in starts
        for inside in [own.index.get_level_values(1).isin(range(start, start + width))]
    ]
    names = ["channel", "from_plane", "to_plane", "n_spots"]
    counts = pd.DataFrame(rows, columns=names)
    step = steps.pop() if len(steps) == 1 else None
    return Plot(
        "depth",
        figures.draw_depths(counts, step if step and np.isfinite(step) else None),
        counts,
        "How many spots lie at which depth",
        "How many spots of the run lie at which depth. Many in the first or the last "
        "plane: the stack may have missed a part of the cells.",
    )


def _step_of(spots: pd.DataFrame) -> float:
    """Return the distance of planes in micrometres to six digits; NaN: not known."""
    known = spots.dropna(subset="z_um")
    if known.empty or np.ptp(known["z"]) == 0:
        return np.nan
    return float(f"{np.ptp(known['z_um']) / np.ptp(known['z']):.6g}")


def _key(colour: str, mark: str) -> str:
    return f"<span class='key' style='color:{colour}'>{mark}</span>"


def _file_word(word: str) -> str:
    """Return a user's word as it may stand in a file's name and in an HTML id.

    Two words that differ keep two names: ``Cy3+`` and ``Cy3-`` get a hash each.
    """
    plain = re.sub(r"[^A-Za-z0-9]+", "-", word).strip("-") or "channel"
    digest = hashlib.sha256(word.encode()).hexdigest()[:8]
    return plain if plain == word else f"{plain}-{digest}"
