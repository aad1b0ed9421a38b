"""The section "Dense sites": clusters of a run in, words, a table and a figure out.

Molecules of a site are counted twice, by fit and by brightness; both are shown beside
each other, since where they differ neither is sure. Nothing here finds clusters or
alters a value.
"""

from __future__ import annotations

from html import escape
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from deepspot_scale.report.figures import BLUE, GREY, INK, ORANGE, new_figure
from deepspot_scale.report.html import Plot, number, without_lone
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.groups import by_occasion, with_plate_map
from deepspot_scale.statistics.left_out import without_left_out
from deepspot_scale.vocabulary import OCCASION
from deepspot_scale.words import plural

_COLUMNS: Final = (
    *("acquisition", "t", "plane", "channel", "n_spots", "molecules"),
    *("cell", "transcription_site"),
)
_KEYS: Final = ["channel", *OCCASION, "condition", "gene"]
_MOST_DRAWN: Final = 4000
"""Points of the figure; of more sites every so many is drawn."""


def read_sites(run: RunResults) -> pd.DataFrame:
    """Return the clusters of a run with condition and gene; empty if there are none."""
    if "clusters" not in run.contents.tables:
        return pd.DataFrame()
    sites = run.read("clusters", _COLUMNS)
    sites = without_left_out(sites, run.summaries["left_out"])
    return with_plate_map(by_occasion(sites), run.plate_map) if len(sites) else sites


def site_words(run: RunResults, sites: pd.DataFrame) -> str:
    """Return what was found, as HTML; empty if there is nothing to say."""
    items = []
    for channel, own in sites.groupby("channel", sort=False) if len(sites) else ():
        inside = own[own["transcription_site"]]
        text = f"{escape(str(channel))}: {plural(len(own), 'cluster')} of spots"
        if len(inside):
            text += f", of which {plural(len(inside), 'transcription site')} in nuclei"
            text += f" with {_molecules(inside)}"
        items.append(f"<li>{text}.</li>")
    left = int(run.done.get("n_unclustered", pd.Series(dtype=int)).sum())
    if left:
        items.append(
            f"<li>{plural(left, 'spot')} were not looked at: the pixel size or the "
            "distance of planes of their fields is not known.</li>"
        )
    if not items:
        return ""
    return (
        f"<ul>{''.join(items)}</ul><p class='soft'>A cluster is a place where spots "
        "lie densely (DBSCAN); a transcription site is one most of whose spots lie in "
        "a nucleus. In volumes dense regions are taken apart into molecules first.</p>"
    )


def _molecules(sites: pd.DataFrame) -> str:
    fit, light = sites["n_spots"].median(), sites["molecules"].median()
    text = f"{number(fit)} molecules each by fit"
    return text + ("" if np.isnan(light) else f", {number(light)} by brightness")


def site_table(run: RunResults, sites: pd.DataFrame) -> pd.DataFrame:
    """Return a line for each condition: clusters and sites, by cell and by molecules.

    Columns: channel, the occasion, condition, gene, n_cells, clusters,
    transcription_sites, sites_per_cell (NaN: no cells), molecules_by_fit and
    molecules_by_brightness (medians of transcription sites, or of clusters where there
    are none).
    """
    grouped = run.wells.groupby(_KEYS, sort=False)[["n_cells"]].sum()
    wells = grouped.reset_index()
    lines = []
    for record in wells.to_dict("records"):
        line = {str(name): value for name, value in record.items()}
        same = np.all([sites[key] == line[key] for key in _KEYS], axis=0)
        own = sites[same]
        inside = own[own["transcription_site"]]
        shown = inside if len(inside) else own
        cells = line["n_cells"]
        lines.append(
            line
            | {
                "clusters": len(own),
                "transcription_sites": len(inside),
                "sites_per_cell": len(inside) / cells if cells else np.nan,
                "molecules_by_fit": shown["n_spots"].median(),
                "molecules_by_brightness": shown["molecules"].median(),
            }
        )
    return without_lone(pd.DataFrame(lines))


def site_figure(sites: pd.DataFrame) -> Plot | None:
    """Return molecules by brightness against those by fit; None: no brightness."""
    known = sites[sites["molecules"].notna()] if len(sites) else sites
    if known.empty:
        return None
    shown = known.iloc[:: -(-len(known) // _MOST_DRAWN)]
    names = ["channel", "n_spots", "molecules", "transcription_site"]
    return Plot(
        "dense_sites",
        draw_sites(shown),
        shown[names],
        "Molecules of dense sites by brightness and by fit",
        "Molecules of each cluster, by fit and by brightness. "
        f"<b style='color:{ORANGE}'>●</b> transcription sites, "
        f"<b style='color:{BLUE}'>●</b> other clusters; line: both are equal.",
    )


def draw_sites(sites: pd.DataFrame) -> Figure:
    """Draw clusters by their molecules, counted in both ways."""
    figure = new_figure(4.6, 3.6)
    axes: Any = figure.subplots()
    most = float(sites[["n_spots", "molecules"]].to_numpy().max()) * 1.1
    axes.plot([1, most], [1, most], color=GREY, lw=1, zorder=1)
    for inside, colour in ((False, BLUE), (True, ORANGE)):
        own = sites[sites["transcription_site"] == inside]
        axes.plot(
            own["n_spots"],
            own["molecules"].clip(lower=1),
            "o",
            color=colour,
            ms=5,
            alpha=0.6,
            mec="none",
        )
    axes.set(xscale="log", yscale="log")
    axes.set_xlabel("molecules by fit", color=INK)
    axes.set_ylabel("molecules by brightness", color=INK)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
