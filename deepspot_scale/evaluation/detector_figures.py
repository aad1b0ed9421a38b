"""Drawings of a comparison of detectors: tables in, figures out.

Figures are plain `matplotlib.figure.Figure` objects; colours are those of
`report.figures`, which colour-blind readers can tell apart. Nothing here reads files.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

import numpy as np
from matplotlib.figure import Figure

from deepspot_scale.evaluation.detector_agreement import Agreement, paired_counts
from deepspot_scale.report.figures import BLUE, GREY, INK, ORANGE, SKY, new_figure

MOST_DOTS: Final = 2000
"""Most dots of one panel; of more, every so many is drawn, in their order."""
_COLUMNS: Final = 3
_SHARES: Final = (
    ("found by all", BLUE, "white"),
    ("by some others", SKY, INK),
    ("by it alone", ORANGE, INK),
)


def draw_matrix(agreement: Agreement) -> Figure:
    """Draw the F1 of each two detectors as a square."""
    names = agreement.detectors
    grid = np.full((len(names), len(names)), np.nan)
    for line in agreement.pairs.to_dict("records"):
        i, j = names.index(str(line["detector"])), names.index(str(line["other"]))
        grid[i, j] = grid[j, i] = float(line["f1"])
    size = 1.1 + 0.5 * len(names)
    figure = new_figure(size + 1.4, size)
    axes = figure.subplots()
    axes.imshow(grid, cmap="viridis", vmin=0, vmax=1)
    for (y, x), value in np.ndenumerate(grid):
        text = "" if np.isnan(value) else f"{value:.2f}"
        colour = "white" if value < 0.6 else "black"
        axes.text(x, y, text, ha="center", va="center", fontsize=9, color=colour)
    words = [_plain(name) for name in names]
    axes.set_xticks(range(len(names)), words, fontsize=9, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), words, fontsize=9)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure


def draw_shares(agreement: Agreement) -> Figure:
    """Draw how many spots of each detector all others, some, or none found."""
    names, spots = agreement.detectors, agreement.spots
    figure = new_figure(9.6, 1.15 + 0.42 * len(names))
    axes = figure.subplots()
    most = max(int((spots["detector"] == name).sum()) for name in names) or 1
    for place, name in enumerate(names):
        found_by = spots.loc[spots["detector"] == name, "found_by"]
        counts = [
            int((found_by == len(names)).sum()),
            int(((found_by > 1) & (found_by < len(names))).sum()),
            int((found_by == 1).sum()),
        ]
        start = 0
        for count, (word, colour, ink) in zip(counts, _SHARES, strict=True):
            label = word if place == 0 else None
            axes.barh(place, count, left=start, height=0.66, color=colour, label=label)
            if count > 0.07 * most:
                middle = start + count / 2
                centred: Any = {"ha": "center", "va": "center", "fontsize": 8.5}
                axes.text(middle, place, f"{count:,}", color=ink, **centred)
            start += count
    axes.set_yticks(range(len(names)), [_plain(name) for name in names], fontsize=9)
    axes.invert_yaxis()
    axes.set_xlabel("spots", color=INK)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(
        fontsize=8.5,
        frameon=False,
        ncols=3,
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0,
    )
    return figure


def draw_differences(agreement: Agreement, unit: str) -> Figure:
    """Draw Bland and Altman's plot of each two detectors.

    `unit` is field or cell: each is a dot, at the mean of both numbers and at the
    other's number minus the first one's; lines are the mean difference and the limits
    between which 95 % lie.
    """
    table = agreement.fields if unit == "field" else agreement.cells
    pairs = list(combinations(agreement.detectors, 2))
    columns = min(_COLUMNS, len(pairs))
    rows = -(-len(pairs) // columns)
    figure = new_figure(3.2 * columns, 2.75 * rows)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(pairs) :]:
        axes.set_visible(False)
    limits = agreement.differences
    limits = limits[limits["unit"] == unit].set_index(["detector", "other"])
    for axes, (one, other) in zip(panels, pairs, strict=False):
        _difference(axes, paired_counts(table, one, other), limits.loc[(one, other)])
        title = f"{_plain(other)} minus\n{_plain(one)}"
        axes.set_title(title, fontsize=8.5, color=INK)
    for axes in panels[max(0, len(pairs) - columns) : len(pairs)]:
        axes.set_xlabel(f"spots in a {unit}, mean of both", fontsize=8.5, color=INK)
    return figure


def _difference(axes: Any, counts: Any, limits: Any) -> None:
    step = -(-len(counts) // MOST_DOTS)
    shown = counts[:: max(step, 1)]
    dots: Any = {"color": BLUE, "ms": 4, "alpha": 0.6, "mec": "none"}
    axes.plot(shown.mean(axis=1), shown[:, 1] - shown[:, 0], "o", **dots)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.axhline(limits["mean_difference"], color=ORANGE, lw=1.6)
    for end in ("low", "high"):
        if np.isfinite(limits[end]):
            axes.axhline(limits[end], color=ORANGE, lw=1.1, ls="--")
    axes.set_xlim(left=0)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _plain(name: str) -> str:
    """Return a name that matplotlib takes for no formula, on lines of fair length."""
    words = name if len(name) <= 26 else name.replace(",", ",\n").replace(":", ":\n", 1)
    return words.replace("$", r"\$")
