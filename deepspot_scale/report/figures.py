"""Drawings of a report: tables in, figures out.

Colour-blind readers can tell the colours apart: viridis for amounts, PuOr for values
with a sign, Okabe and Ito's palette for kinds. Figures are plain
`matplotlib.figure.Figure` objects, without pyplot and its global state. Nothing here
reads files, and no value is altered to look better.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.report.html import occasions
from deepspot_scale.statistics.left_out import WHY_EMPTY, why_empty, without_empty
from deepspot_scale.statistics.roses import KEYS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BLUE, ORANGE, SKY, GREY = "#0072B2", "#E69F00", "#56B4E9", "#6b7280"
INK: Final = "#1f2937"
_LINE: Final = "#d1d5db"
_HATCH: Final[dict[str, Any]] = {
    "hatch": "////",
    "facecolor": "#f3f4f6",
    "edgecolor": "#9ca3af",
}
"""How places without a value look."""
_MARKS: Final = dict(zip(WHY_EMPTY, "x+", strict=True))
_MAX_WELLS_WITH_NUMBERS: Final = 60
_MOST_NAMED: Final = 40
"""If there are more groups, their names are left out: they could not be read."""


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure of a size in inches, whose parts do not overlap."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def group_names(groups: pd.DataFrame) -> list[str]:
    """Return a name for each line of `KEYS`, without what all lines have in common.

    Dollar signs are escaped, because they begin formulas in matplotlib.
    """
    several = groups["channel"].nunique() > 1
    names = []
    named = groups[KEYS].assign(occasion=occasions(groups))
    for line in named.itertuples(index=False):
        words = [line.condition or "all wells", line.gene]
        words += [line.channel] if several else []
        words.append(line.occasion)
        names.append(" · ".join(str(w) for w in words if w).replace("$", r"\$"))
    return names


# -- plates ----------------------------------------------------------------------------


def draw_plate(
    wells: pd.DataFrame,
    values: pd.Series,
    title: str,
    *,
    signed: bool = False,
    most: float | None = None,
    hatched: NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw a heat map of a plate, one square per well.

    `wells` has the columns row and column and one line per well; `values` has one value
    per line, and NaN is left white, or grey and hatched if `hatched`. The title stands
    at the colour bar. If `signed`, 0 is the middle of the colours, otherwise it is
    their beginning; `most` is their end, by default the largest value.
    """
    rows = sorted(set(wells["row"]), key=lambda name: (len(name), name))
    columns = sorted(set(wells["column"]), key=lambda name: (name.rjust(8), name))
    grid = np.full((len(rows), len(columns)), np.nan)
    grid[wells["row"].map(rows.index), wells["column"].map(columns.index)] = values
    step = float(np.clip(3.7 / len(columns), 0.15, 0.5))
    figure = new_figure(
        max(3.4, 1.25 + step * len(columns)), max(1.7, 0.75 + step * len(rows))
    )
    axes = figure.subplots()
    # Colours start at 0, so that a plate of equal wells does not look uneven.
    most = _largest(np.abs(grid)) if most is None else most
    colours, least = ("PuOr", -most) if signed else ("viridis", 0.0)
    mesh = axes.pcolormesh(grid, cmap=colours, vmin=least, vmax=most, edgecolor="white")
    if hatched is not None and hatched.any():
        where = np.zeros(grid.shape, bool)
        places = (wells["row"].map(rows.index), wells["column"].map(columns.index))
        where[places] = hatched
        _hatch(axes, where & np.isnan(grid))
    axes.set_aspect("equal")
    axes.invert_yaxis()
    size = 9 if step > 0.3 else 6.5
    axes.set_xticks(np.arange(len(columns)) + 0.5, columns, fontsize=size)
    axes.set_yticks(np.arange(len(rows)) + 0.5, rows, fontsize=size)
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    _write_numbers(axes, grid, most, signed=signed)
    _add_bar(axes, mesh, title, whole=pd.api.types.is_integer_dtype(values))
    return figure


def _add_bar(axes: Any, mesh: Any, title: str, *, whole: bool) -> None:
    from matplotlib.ticker import MaxNLocator

    bar = axes.figure.colorbar(mesh, ax=axes, shrink=0.95, pad=0.02)
    bar.ax.tick_params(labelsize=8)
    if whole:
        bar.locator = MaxNLocator(integer=True)
        bar.update_ticks()
    bar.outline.set_visible(False)
    bar.set_label(title.replace("$", r"\$"), color=INK, fontsize=9)


def _hatch(axes: Any, where: NDArray[np.bool_]) -> None:
    from matplotlib.patches import Rectangle

    for y, x in np.argwhere(where):
        axes.add_patch(Rectangle((x, y), 1, 1, linewidth=0, **_HATCH))


def _largest(grid: NDArray[np.float64]) -> float:
    known = grid[np.isfinite(grid)]
    return float(known.max()) or 1.0 if known.size else 1.0


def _write_numbers(
    axes: Any, grid: NDArray[np.float64], most: float, *, signed: bool
) -> None:
    if grid.size > _MAX_WELLS_WITH_NUMBERS:
        return
    for (y, x), value in np.ndenumerate(grid):
        known = bool(np.isfinite(value))
        text = f"{value:.3g}" if known else "-"
        dark = abs(value) > 0.6 * most if signed else value < 0.5 * most
        colour = GREY if not known else "white" if dark else "black"
        axes.text(
            x + 0.5, y + 0.5, text, fontsize=8, color=colour, ha="center", va="center"
        )


# -- polarity --------------------------------------------------------------------------


def draw_polarity(polarity: pd.DataFrame, wells: pd.DataFrame) -> Figure:
    """Draw each group's index, raw beside its null, and minus its null.

    `polarity` comes from `polarity_tests.polarity_statistics`, `wells` are
    `vocabulary.WELLS`. Groups without an index are left out.
    """
    index = _measure(polarity, "index")[::-1].reset_index(drop=True)
    null, corrected = (
        index[KEYS].merge(_measure(polarity, name), how="left", on=KEYS)
        for name in ("uniform_null", "index_corrected")
    )
    places = np.arange(len(index))
    figure = new_figure(9.6, 1.15 + max(1.0, min(0.55 * len(index), 14.0)))
    left, right = figure.subplots(1, 2, sharey=True)
    low, width = null["low"], null["high"] - null["low"]
    left.barh(places, width, height=0.62, left=low, color="#e5e7eb", zorder=1)
    left.plot(null["value"], places, "D", color=GREY, mfc="white", ms=5, zorder=2)
    _draw_intervals(left, index, places)
    _draw_intervals(right, corrected, places)
    for axes, column in ((left, "polarity_index"), (right, "polarity_corrected")):
        _draw_wells(axes, index, wells, column)
        axes.axvline(0, color=_LINE, linewidth=1, zorder=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
    left.set_xlabel("index as measured", color=INK)
    right.set_xlabel("index minus its uniform null", color=INK)
    named = len(index) <= _MOST_NAMED
    left.set_yticks(places if named else [], group_names(index) if named else [])
    left.set_ylim(-0.75, len(index) - 0.35)
    return figure


def _measure(polarity: pd.DataFrame, name: str) -> pd.DataFrame:
    lines = polarity[(polarity["measure"] == name) & polarity["value"].notna()]
    return lines.reset_index(drop=True)


def _draw_intervals(axes: Any, lines: pd.DataFrame, places: NDArray[Any]) -> None:
    """Draw values with their intervals over cells (thick) and wells (thin)."""
    for ending, colour, width in (("_wells", INK, 1), ("", BLUE, 4)):
        low, high = lines[f"low{ending}"], lines[f"high{ending}"]
        known = low.notna() & high.notna()  # matplotlib warns about NaN
        axes.hlines(places[known], low[known], high[known], color=colour, lw=width)
    axes.plot(lines["value"], places, "o", color=BLUE, ms=8, mec="white", zorder=4)


def _draw_wells(
    axes: Any, groups: pd.DataFrame, wells: pd.DataFrame, column: str
) -> None:
    order = groups[KEYS].assign(place=np.arange(len(groups)))
    dots = wells.merge(order, on=KEYS)
    axes.plot(dots[column], dots["place"] - 0.3, "o", color=ORANGE, ms=4.5, mec="none")


# -- wells -----------------------------------------------------------------------------


def draw_wells(wells: pd.DataFrame, values: dict[str, str]) -> Figure:
    """Draw every well as a point, grouped by condition, one panel for each value.

    `wells` are `vocabulary.WELLS`, at least one line; `values` maps columns of them to
    the text below each panel. Wells without an image that counts have no value: they
    stand in a hatched strip beside the panels, and a legend says why.
    """
    groups = wells[KEYS].drop_duplicates()
    groups = groups.sort_values(KEYS, ascending=False, ignore_index=True)
    order = groups.assign(place=np.arange(len(groups)))
    shown = without_empty(wells).assign(why=why_empty(wells)).merge(order, on=KEYS)
    named = len(groups) <= _MOST_NAMED
    figure = new_figure(9.6, 0.95 + float(np.clip(0.5 * len(groups), 0.9, 7.0)))
    panels = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    for axes, (column, word) in zip(panels, values.items(), strict=True):
        place = shown["place"] + _spread(shown, column)
        axes.plot(shown[column], place, "o", color=ORANGE, ms=5, mec="white", mew=0.5)
        middle = shown.groupby("place")[column].median().dropna()
        axes.vlines(middle, middle.index - 0.36, middle.index + 0.36, color=BLUE, lw=2)
        axes.set_xlabel(word, color=INK)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color=_LINE, linewidth=0.5)
        axes.set_axisbelow(True)
        if not (shown[column] < 0).any():
            axes.set_xlim(0, 1.08 * _largest(shown[column].to_numpy(np.float64)))
        _draw_empty(axes, shown)
    if shown["why"].any():
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper right", ncols=2, fontsize=8
        ).set_frame_on(False)
    panels[0].set_yticks(
        order["place"] if named else [], group_names(groups) if named else []
    )
    panels[0].set_ylim(-0.6, len(groups) - 0.4)
    return figure


def _draw_empty(axes: Any, wells: pd.DataFrame) -> None:
    """Mark wells without an image that counts in a strip to the right of the values."""
    if not wells["why"].any():
        return
    from matplotlib.patches import Rectangle

    beside = axes.get_yaxis_transform()  # x: share of the panel's width
    of_panel: dict[str, Any] = {
        "transform": axes.transAxes,
        "clip_on": False,
        "linewidth": 0,
    }
    axes.add_artist(Rectangle((1.01, 0), 0.04, 1, **of_panel, **_HATCH))
    for why, own in wells[wells["why"] != ""].groupby("why"):
        # The order of the points' heights is the same each time, see `_spread`.
        place = own["place"] + _spread(own.assign(n=1.0), "n")
        axes.plot(
            np.full(len(own), 1.03),
            place,
            _MARKS[str(why)],
            transform=beside,
            clip_on=False,
            color=INK,
            ms=5,
            label=f"{why}: no image counts",
        )


def _spread(wells: pd.DataFrame, column: str) -> pd.Series:
    """Return offsets that keep the points of a group apart, the same each time."""
    rank = wells.groupby("place")[column].rank(method="first").fillna(0)
    # With steps of the golden ratio no two offsets are equal.
    return (rank * 0.618034) % 1.0 * 0.5 - 0.25


# -- depth -----------------------------------------------------------------------------


def draw_depths(counts: pd.DataFrame, step_um: float | None) -> Figure:
    """Draw how many spots lie at which depth, a line of bars for each channel.

    `counts` has the columns channel, from_plane, to_plane and n_spots, at least one
    line; with the distance of planes in micrometres there is a second axis.
    """
    figure = new_figure(9.6, 2.7)
    axes = figure.subplots()
    channels = list(dict.fromkeys(counts["channel"]))
    for number, channel in enumerate(channels):
        own = counts[counts["channel"] == channel]
        edges = [*own["from_plane"], own["to_plane"].iloc[-1]]
        colour = (BLUE, ORANGE, SKY, GREY)[number % 4]
        name = str(channel).replace("$", r"\$")
        axes.stairs(own["n_spots"], edges, fill=number == 0, color=colour, label=name)
    axes.set_xlabel("depth, planes from 0", color=INK)
    axes.set_ylabel("spots", color=INK)
    axes.set_xlim(counts["from_plane"].min(), counts["to_plane"].max())
    axes.spines[["top", "right"]].set_visible(False)
    if step_um is not None:
        ways = (lambda z: z * step_um, lambda um: um / step_um)
        axes.secondary_xaxis("top", functions=ways).set_xlabel("µm", color=INK)
    if len(channels) > 1:
        axes.legend(fontsize=8, frameon=False)
    return figure


# -- images ----------------------------------------------------------------------------


def stretch(image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map the 1st to the 99.8th percentile of the finite pixels to 0 to 255."""
    values = np.asarray(image, np.float32)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return np.zeros(values.shape, np.uint8)
    low, high = np.percentile(finite, [1, 99.8])
    scaled = (np.nan_to_num(values) - low) / (high - low if high > low else 1.0)
    return np.asarray(np.clip(scaled, 0, 1) * 255, np.uint8)
