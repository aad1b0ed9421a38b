"""The results of a run in words: tables in, sentences as HTML out.

Every word that a user gave is escaped. Nothing here computes statistics.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

import pandas as pd

from deepspot_scale.report.html import (
    number,
    occasions,
    probability,
    several_occasions,
    without_lone,
)
from deepspot_scale.report.label_sources import label_sentences
from deepspot_scale.report.ratings import left_out_sentences, read_ratings
from deepspot_scale.report.sections import MOST_SHOWN
from deepspot_scale.runs.results import RunResults
from deepspot_scale.statistics.groups import WELL
from deepspot_scale.statistics.left_out import why_empty
from deepspot_scale.statistics.roses import KEYS
from deepspot_scale.words import plural

_ALPHA: Final = 0.05
_MOST_SAID: Final = 12
"""Most conditions that are named; the others are only in the table."""
_MOST_PAIRS: Final = 3
"""If there are more pairs, only those that differ are named."""
_OCCASIONS: Final = {"acquisition": "acquisition", "t": "time point", "z": "plane"}


def headline(run: RunResults) -> list[tuple[str, str]]:
    """Return the most important numbers of a run, each with its word."""
    n_spots = int(run.wells["n_spots"].sum())
    numbers = [(f"{len(run.done):,} of {len(run.fields):,}", "fields done")]
    if run.settings.finds_spots:
        numbers.append((f"{n_spots:,}", "spots"))
    n_cells = max(count_cells(run.wells).groupby("channel").sum(), default=0)
    if n_cells:
        inside = (run.wells["spots_per_cell"] * run.wells["n_cells"]).sum()
        each = inside / run.wells["n_cells"].sum()
        numbers += [(f"{n_cells:,}", "cells"), (f"{each:.3g}", "spots per cell")]
    n_wells, n_counted = len(run.fields[WELL].drop_duplicates()), count_wells(run.wells)
    if n_wells > 1:
        counted = f"{n_counted:,} of {n_wells:,}", "wells with images that count"
        all_count = n_counted == n_wells
        numbers.append((f"{n_wells:,}", "wells") if all_count else counted)
    return numbers


def count_wells(wells: pd.DataFrame) -> int:
    """Return how many wells have an image that counts, of any channel and occasion."""
    return len(wells.loc[why_empty(wells) == "", WELL].drop_duplicates())


def count_cells(wells: pd.DataFrame) -> pd.Series:
    """Return the cells of each channel and well, when it has the most.

    Cells that are measured again are not more cells.
    """
    return wells.groupby(["channel", "row", "column"], sort=False)["n_cells"].max()


def sentences(run: RunResults, flags: pd.DataFrame) -> Iterator[str]:
    """Yield the results of the tables in words."""
    if len(run.failed):
        yield f"{plural(len(run.failed), 'field')} failed; the reasons are below."
    well = ["channel", "row", "column", "acquisition"]
    ended = run.wells.assign(n=run.wells["n_fields"] + run.wells["n_left_out"])
    fields = ended.groupby(well)["n"].max()
    counted = max(fields.groupby("channel").sum(), default=0)
    if len(run.done) > counted:
        late = plural(len(run.done) - counted, "field")
        yield f"{late} came in later and are in no number below: finish the run first."
    if run.fields.empty:
        yield "No field was processed."
    yield from label_sentences(run)
    if run.settings.finds_spots:
        yield from _channel_sentences(run.wells)
        yield from _occasion_sentences(run.wells)
        yield from _polarity_sentences(run)
    yield from comparison_sentences(run.summaries["comparisons"])
    if len(run.summaries["left_out"]):
        yield from left_out_sentences(run, read_ratings(run))
    other = flags[flags["flag"] != "failed"]
    n_flagged = len(other[["row", "column", "field"]].drop_duplicates())
    if n_flagged:
        kinds = escape(", ".join(dict.fromkeys(other["flag"])))
        yield (
            f"{plural(n_flagged, 'field')} {'has' if n_flagged == 1 else 'have'} a "
            f"<a href='#quality'>quality flag</a>: {kinds}."
        )


def _channel_sentences(wells: pd.DataFrame) -> Iterator[str]:
    for channel, group in wells.groupby("channel", sort=False):
        n_spots, measured = int(group["n_spots"].sum()), int(group["n_cells"].sum())
        inside = round(float((group["spots_per_cell"] * group["n_cells"]).sum()))
        text = f"{escape(str(channel))}: {plural(n_spots, 'spot')}"
        if measured:
            cells = plural(int(count_cells(group).sum()), "cell")
            text += f", {inside:,} of them in cells"
            outside = max(n_spots - inside, 0)
            text += f" and {outside:,} outside, which are in no cell's number" * (
                outside > 0
            )
            text += f"; {cells} with {inside / measured:.3g} each"
        yield f"{text}."


def _occasion_sentences(wells: pd.DataFrame) -> Iterator[str]:
    several = several_occasions(wells)
    if not several:
        return
    counts = (plural(wells[name].nunique(), _OCCASIONS[name]) for name in several)
    yield (
        f"There are {' and '.join(counts)}, at which the same cells may have been "
        "measured again: each has its own lines in the tables, and no interval or p "
        f"value takes two of them together. Wells are drawn for the first {MOST_SHOWN}."
    )


def _polarity_sentences(run: RunResults) -> Iterator[str]:
    if not run.wells["n_cells"].any():
        yield "No cells were measured, so there are no spots per cell and no polarity."
        return
    if run.summaries["polarity"].empty:
        yield "No reference was given, so there is no polarity."
        return
    lines = by_group(run.summaries["polarity"])
    known = lines["index"].notna()
    for line in lines[known].head(_MOST_SAID).to_dict("records"):
        yield _polarity_sentence(line)
    left = int(known.sum()) - _MOST_SAID
    if left > 0:
        yield f"{plural(left, 'more condition')}: see the table of polarity."
    unknown = lines[~known].to_dict("records")
    if unknown:
        names = "; ".join(group_name(line) for line in unknown[:_MOST_SAID])
        more = f" and {len(unknown) - _MOST_SAID} more" * (len(unknown) > _MOST_SAID)
        yield (
            f"{names}{more}: polarity is not known, because fewer than two cells "
            f"have {plural(run.index.min_spots, 'spot')} in their cytoplasm and a "
            "reference."
        )


def by_group(polarity: pd.DataFrame) -> pd.DataFrame:
    """Return one line for each group, with the numbers that the page shows.

    Columns: `KEYS`, occasion (in words), n_cells, n_wells, index, low, high, low_wells,
    high_wells, null, corrected, p_value, q_value, least_p, p_rotation.
    """
    measures = dict(iter(polarity.groupby("measure")))
    kept = ["value", "low", "high", "low_wells", "high_wells", "n_cells", "n_wells"]
    table = measures["index"][[*KEYS, *kept]].rename(columns={"value": "index"})
    table = table.assign(occasion=occasions(table))
    parts = {
        "uniform_null": {"value": "null"},
        "index_corrected": {
            "value": "corrected",
            "p_value": "p_value",
            "p_adjusted": "q_value",
            "least_p": "least_p",
        },
        "rotation_null": {"p_value": "p_rotation"},
    }
    for name, columns in parts.items():
        own = measures[name][[*KEYS, *columns]].rename(columns=columns)
        table = table.merge(own, how="left", on=KEYS)
    return table


def readable(polarity: pd.DataFrame) -> pd.DataFrame:
    """Return one line for each group, for people: an interval is one text."""
    table = by_group(polarity)
    lines = table.to_dict("records")
    shown = without_lone(table[KEYS]).assign(
        n_cells=table["n_cells"],
        n_wells=table["n_wells"],
        index=table["index"],
        over_cells=[_range(line) for line in lines],
        over_wells=[_range(line, "_wells") for line in lines],
    )
    rest = ["null", "corrected", "p_value", "q_value", "p_rotation"]
    shown[rest] = table[rest]
    return shown if shown["channel"].nunique() > 1 else shown.drop(columns="channel")


def group_name(line: Mapping[Any, Any]) -> str:
    """Return a group's name, escaped."""
    words = [line["condition"], line["gene"], line["channel"], line["occasion"]]
    return escape(" · ".join(filter(None, words)))


def _polarity_sentence(line: Mapping[Any, Any]) -> str:
    # q is adjusted for the number of conditions: readers look at the smallest of many.
    sure = line["q_value"] <= _ALPHA
    side = "towards" if line["corrected"] > 0 else "away from"
    verdict = (
        f"spots lie {side} the reference"
        if sure
        else "spots lie no more towards or away from the reference than chance allows"
    )
    over_wells = f", over {plural(line['n_wells'], 'well')} {_range(line, '_wells')}"
    wells = "" if math.isnan(line["low_wells"]) else over_wells
    return (
        f"<b>{group_name(line)}</b>: {verdict}. Index {number(line['index'])} (95 % "
        f"interval over {plural(line['n_cells'], 'cell')} {_range(line)}{wells}); "
        f"minus its uniform null of {number(line['null'])}: "
        f"<b>{number(line['corrected'])}</b>, p&nbsp;"
        f"{probability(line['p_value'], line['least_p'])}, q "
        f"{probability(line['q_value'])}."
    )


def _range(line: Mapping[Any, Any], ending: str = "") -> str:
    low, high = line[f"low{ending}"], line[f"high{ending}"]
    return "-" if math.isnan(low) else f"{number(low)} to {number(high)}"


def comparison_sentences(comparisons: pd.DataFrame) -> Iterator[str]:
    """Yield whether each pair differs; of many pairs, name only those that do."""
    shown = comparisons.assign(occasion=occasions(comparisons))
    if len(comparisons) > _MOST_PAIRS:
        shown = shown[shown["p_adjusted"] <= _ALPHA]
        yield (
            f"Of {len(comparisons)} pairs of conditions {len(shown)} differ in "
            f"polarity (q ≤ {_ALPHA}, wells permuted)."
        )
    for line in shown.head(_MOST_SAID).to_dict("records"):
        words = [line.get("gene", ""), line["channel"], line["occasion"]]
        about = " · ".join(filter(None, words))
        pair = f"{escape(line['condition'])} against {escape(line['versus'])}"
        start = f"<b>{pair}</b> ({escape(about)})"
        if math.isnan(line["p_value"]):
            yield f"{start}: too few wells to compare; two of each are needed."
            continue
        sure = line["p_adjusted"] <= _ALPHA
        verdict = "differ" if sure else "do not differ significantly"
        text = (
            f"{start}: {verdict} in polarity; difference {number(line['difference'])}, "
            f"p = {number(line['p_value'])}, q = {number(line['p_adjusted'])} by "
            f"permuting {line['n_wells']} and {line['n_wells_versus']} wells"
        )
        if line["least_p"] > _ALPHA:
            text += f"; so few wells cannot give p below {number(line['least_p'])}"
        yield f"{text}."
