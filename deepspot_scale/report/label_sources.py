"""What made the cells and nuclei of a run, in words: a run in, sentences as HTML out.

Every word that a user gave is escaped. Nothing here reads labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Final

from deepspot_scale.runs.results import RunResults
from deepspot_scale.stages.segmentation.segment import Segment, SegmentOptions
from deepspot_scale.statistics.groups import FIELD
from deepspot_scale.words import plural

MOST_NAMED: Final = 20
"""Most fields that a sentence names; the table of fields has the others."""


def label_sentences(run: RunResults) -> Iterator[str]:
    """Yield where labels come from, and what is not sure of those that were made."""
    stored = {"Cells": run.settings.cells, "nuclei": run.settings.nuclei}
    named = [f"{use} ({escape(name)})" for use, name in stored.items() if name]
    if named:
        yield f"{' and '.join(named)} are labels that were stored with the images."
    for kind, segment in run.settings.of(SegmentOptions).made.items():
        yield _made_sentence(run, kind, segment)
        yield from _doubt_sentences(run, kind, segment)


def _made_sentence(run: RunResults, kind: str, segment: Segment) -> str:
    n = _total(run, f"n_segmented_{kind}")
    number = "" if n is None else f"{n:,} "
    channel = escape(segment.channel or run.settings.channels[0])
    how = "out from the nuclei"
    if segment.plugin is not None:
        how = f"by the plug-in {escape(segment.plugin)}"
    elif kind == "nuclei":
        how = f"by the network {escape(_name(run, 'nuclei'))}"
    text = f"{number}{kind} were segmented in this run, in {channel}, {how}."
    return text[0].upper() + text[1:]


def _name(run: RunResults, role: str) -> str:
    file = run.provenance.get(role, {})
    name, digest = str(file.get("name", role)), str(file.get("sha256", ""))
    return f"{name} ({digest[:8]})" if digest else name


def _doubt_sentences(run: RunResults, kind: str, segment: Segment) -> Iterator[str]:
    channel = escape(segment.channel or run.settings.channels[0])
    if kind == "cells" and (n := _total(run, "n_cells_grown")):
        yield (
            f"{plural(n, 'cell')} of them {'is a nucleus' if n == 1 else 'are nuclei'} "
            f"grown by a distance alone, because {channel} shows no cytoplasm "
            f"there (fields {_fields_with(run, 'n_cells_grown')}): read numbers per "
            "cell with care."
        )
    if n := _total(run, f"n_cut_{kind}"):
        yield (
            f"{n:,} {kind} may be cut, because they are larger than the plug-in "
            "declares."
        )
    if kind == "nuclei" and (n := _total(run, "n_unsized")):
        yield (
            f"In {plural(n, 'image')} of {channel} the size of nuclei could not be "
            "measured, so it was taken as the network's own."
        )
    if kind == "nuclei" and (n := _total(run, "n_unlike")):
        yield (
            f"{plural(n, 'image')} of {channel} {'is' if n == 1 else 'are'} unlike "
            "those that the network of nuclei was trained on (column n_unlike of the "
            "fields): look at their outlines before their numbers are trusted."
        )


def _fields_with(run: RunResults, column: str) -> str:
    """Return the addresses of the fields in which a count is above 0, as HTML."""
    some = run.done[run.done[column] > 0].drop_duplicates(FIELD)
    names = [escape("/".join(map(str, each))) for each in some[FIELD].to_numpy()]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _total(run: RunResults, column: str) -> int | None:
    """Return the sum of a count over all fields; None: the run has no such count.

    Each channel of a run counts the same labels again.
    """
    if column not in run.done:
        return None
    return int(run.done[column].sum()) // max(1, len(run.settings.channels))
