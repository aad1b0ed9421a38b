"""How far out spots lie, by condition: a run in, a figure and words out.

Shares come from `statistics.radial_profiles`; nothing here measures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import pandas as pd

from deepspot_scale.report.cell_spots import COLOURS
from deepspot_scale.report.figures import GREY, INK, group_names, new_figure
from deepspot_scale.report.html import Plot
from deepspot_scale.report.page_folder import PageFiles
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.left_out import without_left_out
from deepspot_scale.statistics.radial_profiles import (
    KEYS,
    PIXELS,
    SPOTS,
    add_profiles,
    mean_profiles,
    sum_profiles,
)
from deepspot_scale.vocabulary import OCCASION
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DRAWN: Final = len(COLOURS)
"""Most conditions that are drawn, one colour each; all are in the CSV."""


class Profiles(NamedTuple):
    """The profiles of a run, and the cells that are in none."""

    table: pd.DataFrame
    """Of `mean_profiles`."""
    n_few: int
    """Cells with a nucleus and too few spots."""
    n_bare: int
    """Cells without a nucleus, or whose distances are not known."""


def read_profiles(run: RunResults) -> Profiles | None:
    """Return a run's profiles; None: it has none."""
    if "radial" not in run.contents.tables:
        return None
    left_out, parts = run.summaries["left_out"], []
    for _, part in run.iter_parts("radial", ["channel", *OCCASION, *SPOTS, *PIXELS]):
        own = without_left_out(part, left_out)
        if len(own):
            parts.append(sum_profiles(own, run.index.min_spots))
    if not parts:
        return None
    sums = add_profiles(parts)
    table = mean_profiles(sums, run.plate_map)
    n_few, n_used = int(sums["n_few"].sum()), int(sums["n_cells"].sum())
    n_bare = int(run.wells["n_cells"].sum()) - n_few - n_used
    return Profiles(table, n_few, n_bare) if len(table) else None


def profile_section(run: RunResults, files: PageFiles) -> str:
    """Return the profiles of a run as HTML; empty: it has none."""
    profiles = read_profiles(run)
    if profiles is None:
        return ""
    words = profile_words(profiles, run.index.min_spots)
    return words + files.figure(profile_figure(profiles))


def profile_words(profiles: Profiles, min_spots: int) -> str:
    """Return how the figure is to be read, and what is left out, as HTML."""
    text = (
        "Share of a cell's cytoplasmic spots up to a place on the way from the border "
        "of its nucleus (0) to its own edge (1). Cells are averaged in their well, "
        "wells in their condition; bands are 95 % intervals over wells. The null is "
        "the share of the cytoplasm's pixels: spots that are spread evenly. Above it: "
        "nearer to the nucleus. Cells at the field's edge count."
    )
    if profiles.n_few:
        few = plural(profiles.n_few, "cell")
        text += f" Left out: {few} with fewer than {min_spots} such spots."
    if profiles.n_bare > 0:
        bare = plural(profiles.n_bare, "cell")
        text += f" Left out: {bare} without a nucleus or without known distances."
    return f"<p class='soft'>{text}</p>"


def profile_figure(profiles: Profiles) -> Plot:
    """Return the figure of a run's profiles."""
    groups = profiles.table[KEYS].drop_duplicates()
    left = len(groups) - MOST_DRAWN
    more = f" {left} further conditions are in the CSV." if left > 0 else ""
    return Plot(
        "radial_profiles",
        draw_profiles(profiles.table),
        profiles.table,
        "Cumulative radial profiles: how far out the spots of each condition lie",
        "Left: by the way; dotted: the null of each condition. Right: by the share of "
        f"cytoplasm, in which the null is the diagonal.{more}",
    )


def draw_profiles(table: pd.DataFrame) -> Figure:
    """Draw profiles by the way and by the share of cytoplasm."""
    groups = list(table.groupby(KEYS, sort=False))[:MOST_DRAWN]
    names = group_names(pd.DataFrame([key for key, _ in groups], columns=KEYS))
    figure = new_figure(9.6, 3.9)
    left, right = figure.subplots(1, 2, sharey=True)
    for (_, own), name, colour in zip(groups, names, COLOURS, strict=False):
        left.plot(own["way"], own["null"], ":", color=colour, lw=1.2)
        cells, wells = own["n_cells"].iloc[0], own["n_wells"].iloc[0]
        words = f"{name} ({plural(int(cells), 'cell')}, {plural(int(wells), 'well')})"
        _draw_profile(left, own["way"], own, colour, "")
        _draw_profile(right, own["null"], own, colour, words)
    right.plot([0, 1], [0, 1], ":", color=GREY, lw=1.2, label="spread evenly")
    left.set_xlabel("way from nucleus (0) to edge (1)", color=INK)
    right.set_xlabel("share of the cytoplasm, from the nucleus", color=INK)
    left.set_ylabel("share of spots", color=INK)
    for axes in (left, right):
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.spines[["top", "right"]].set_visible(False)
    right.legend(fontsize=8, frameon=False, loc="upper left")
    return figure


def _draw_profile(
    axes: Axes, x: Any, own: pd.DataFrame, colour: str, name: str
) -> None:
    if own["low"].notna().any():
        low, high = (own[n].fillna(own["share"]) for n in ("low", "high"))
        axes.fill_between(np.asarray(x), low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(x, own["share"], color=colour, lw=1.8, label=name or None)
