"""Dose and response of a run: wells in, curves as figures, words and a table out.

Nothing here fits: what was fitted comes from `statistics.dose_response`.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from deepspot_scale.report.cell_spots import COLOURS
from deepspot_scale.report.figures import GREY, INK, group_names, new_figure
from deepspot_scale.report.html import Plot, number, without_lone
from deepspot_scale.report.page_folder import PageFiles
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.dose_response import (
    KEYS,
    STEEPNESS,
    HillFit,
    has_doses,
    measure_dose_response,
)
from deepspot_scale.words import plural

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_DRAWN: Final = 12
"""Most curves that are drawn; all are in the table."""
_WORDS: Final = {
    "spots_per_cell": "spots per cell",
    "polarity_corrected": "polarity index minus its null",
}
_DECADES: Final = 10.0
"""Ratio of the largest dose to the least above 0 from which the axis is logarithmic."""


def dose_section(run: RunResults, files: PageFiles) -> str:
    """Return the dose response of a run as HTML; empty: fewer than two doses."""
    if not has_doses(run.wells):
        return ""
    measured = measure_dose_response(run.wells)
    if not measured:
        return "<p>No well with a dose has cells.</p>"
    unit = dose_unit(run.wells)
    drawn = "".join(map(files.figure, dose_figures(measured, unit)))
    fits = files.table("dose_fits", measured["fits"], fit_table(measured["fits"]))
    means = measured["means"]
    numbers = files.table("dose_means", means, without_lone(means))
    return (
        f"{dose_words(run.wells)}{drawn}{fits}<details><summary>Means of the doses"
        f"</summary>{numbers}</details>"
    )


def dose_words(wells: pd.DataFrame) -> str:
    """Return what the figures show and what has no dose, as HTML."""
    unit = dose_unit(wells)
    bare = wells.loc[wells["dose"].isna(), ["row", "column"]].drop_duplicates()
    text = (
        "A point is a well. Curves are Hill's, by least squares over wells; the EC50 "
        "is the dose of half the response, its 95 % interval draws wells again. Wells "
        "of conditions whose only dose is 0 stand at dose 0 of every curve."
    )
    if unit:
        text += f" Doses are in {escape(unit)}."
    if len(bare):
        text += f" {plural(len(bare), 'well')} without a dose are left out here."
    return f"<p class='soft'>{text}</p>"


def dose_unit(wells: pd.DataFrame) -> str:
    """Return the unit of the doses; empty: not told."""
    units = wells.loc[wells["dose"].notna(), "dose_unit"]
    return str(units.iloc[0]) if len(units) else ""


def fit_table(fits: pd.DataFrame) -> pd.DataFrame:
    """Return the table of curves as it is shown."""
    shown = without_lone(fits).assign(measure=fits["measure"].map(_WORDS))
    if not shown["gene"].any():
        shown = shown.drop(columns="gene")
    return shown.rename(columns={"low": "EC50_low", "high": "EC50_high"})


def dose_figures(measured: dict[str, pd.DataFrame], unit: str) -> Iterator[Plot]:
    """Yield a figure for each measure, with a panel for each curve."""
    for measure, word in _WORDS.items():
        own = {
            name: table[table["measure"] == measure].reset_index(drop=True)
            for name, table in measured.items()
        }
        if own["points"].empty:
            continue
        left = len(own["fits"]) - MOST_DRAWN
        more = f" {left} further curves are in the table." if left > 0 else ""
        yield Plot(
            f"dose_response_{measure}",
            draw_curves(own, word, unit),
            own["points"].dropna(axis="columns", how="all"),
            f"Dose response of {word}",
            f"{word.capitalize()} by dose; bars: mean and 95 % interval over wells; "
            f"dashed: EC50, grey: its interval.{more}",
        )


def draw_curves(own: dict[str, pd.DataFrame], word: str, unit: str) -> Figure:
    """Draw points, means and curves of one measure, a panel for each curve."""
    fits = own["fits"].head(MOST_DRAWN)
    names = group_names(fits)
    across = min(3, len(fits))
    down = -(-len(fits) // across)
    width = 5.2 if across == 1 else 3.2 * across
    figure = new_figure(width, (3.2 if across == 1 else 2.7) * down)
    panels = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    lines = [line for _, line in fits.iterrows()]
    for at, (axes, line, name) in enumerate(zip(panels, lines, names, strict=False)):
        points, means = (
            table[(table[KEYS] == line[KEYS]).all(axis=1)]
            for table in (own["points"], own["means"])
        )
        fit = HillFit(**{field: line[field] for field in HillFit._fields})
        _draw_curve(axes, points, means, fit, COLOURS[at % len(COLOURS)])
        axes.set_title(name if name != "all wells" else "", fontsize=9.5, color=INK)
        axes.set_xlabel(f"dose ({unit})" if unit else "dose", color=INK)
    for axes in panels[len(fits) :]:
        axes.set_visible(False)
    for axes in panels[::across]:
        axes.set_ylabel(word, color=INK)
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low, high + 0.3 * (high - low))  # room for the words
    return figure


def _draw_curve(
    axes: Axes, points: pd.DataFrame, means: pd.DataFrame, fit: HillFit, colour: str
) -> None:
    doses = means["dose"].to_numpy(np.float64)
    zero = _set_doses(axes, doses)
    # The same spread each time, so that equal wells do not hide one another.
    rank = points.groupby("dose").cumcount().to_numpy()
    spread = (rank * 0.618034) % 1.0 - 0.5
    for table, style in ((points, "points"), (means, "means")):
        x = table["dose"].to_numpy(np.float64)
        x = np.where(x > 0, x, zero)
        if style == "points":
            shift = _apart(axes, x, spread)
            axes.plot(shift, points["value"], "o", color=colour, ms=4, alpha=0.6, mew=0)
            continue
        known = means["low"].notna().to_numpy()
        axes.vlines(x[known], means["low"][known], means["high"][known], color=INK)
        axes.plot(x, means["mean"], "_", color=INK, ms=11, mew=1.8)
    if fit.reason:
        axes.text(
            *(0.02, 0.98),
            f"no curve: {_folded(fit.reason)}",
            transform=axes.transAxes,
            va="top",
            fontsize=7.5,
            color=GREY,
        )
        return
    _draw_fit(axes, doses, fit, colour)


def _draw_fit(axes: Axes, doses: Any, fit: HillFit, colour: str) -> None:
    positive = doses[doses > 0]
    ends = positive.min(), positive.max()
    if axes.get_xscale() == "log":
        x = np.geomspace(ends[0] * 0.8, ends[1] * 1.25, 200)
    else:
        x = np.linspace(0 if (doses == 0).any() else ends[0], ends[1], 200)
    axes.plot(x, fit.at(x), color=colour, lw=1.8)
    low, high = axes.get_xlim()
    axes.axvspan(max(fit.low, low), min(fit.high, high), color="#e5e7eb", zorder=0)
    axes.axvline(fit.ec50, color=GREY, lw=1, ls="--", zorder=1)
    axes.set_xlim(low, high)
    interval = f"{_end(fit.low)} to {_end(fit.high)}"
    axes.text(
        *(0.02, 0.98),
        f"EC50 {fit.ec50:.3g} ({interval})\nh {_steepness(fit.hill)}",
        transform=axes.transAxes,
        va="top",
        fontsize=7.5,
        color=INK,
    )


def _steepness(hill: float) -> str:
    """Return Hill's coefficient in words; the ends of what is tried are no values."""
    low, high = STEEPNESS
    if hill >= 0.999 * high:
        return f"{high:g} or more"
    return f"{low:g} or less" if hill <= 1.001 * low else number(round(hill, 2))


def _end(value: float) -> str:
    return "not bounded" if value == 0 or np.isinf(value) else f"{value:.3g}"


def _folded(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, 34))


def _set_doses(axes: Axes, doses: Any) -> float:
    """Set the axis of doses; return where dose 0 stands."""
    axes.spines[["top", "right"]].set_visible(False)
    positive = doses[doses > 0]
    if len(positive) == 0 or positive.max() / positive.min() < _DECADES:
        top = max(float(doses.max()), 1e-12)
        axes.set_xlim(-0.05 * top, 1.07 * top)
        return 0.0
    axes.set_xscale("log")
    least, most = float(positive.min()), float(positive.max())
    if not (doses == 0).any():
        axes.set_xlim(least / 1.8, most * 1.8)
        return least
    # 0 has no place on a logarithmic axis: it stands apart, behind a break.
    zero = least / 10**0.8
    axes.set_xlim(zero / 1.8, most * 1.8)
    decades = 10.0 ** np.arange(np.ceil(np.log10(least)), np.log10(most) + 1e-9)
    step = -(-len(decades) // 5)
    ticks = decades[::step] if len(decades) > 1 else np.array([least, most])
    axes.minorticks_off()
    axes.set_xticks([zero, *ticks], ["0", *(f"{tick:g}" for tick in ticks)])
    axes.axvline(least / 10**0.4, color="#d1d5db", lw=1, ls=":")
    return zero


def _apart(axes: Axes, x: Any, spread: Any) -> Any:
    low, high = axes.get_xlim()
    if axes.get_xscale() == "log":
        return x * (high / low) ** (0.035 * spread)
    return x + (high - low) * 0.035 * spread
