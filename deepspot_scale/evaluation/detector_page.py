"""A comparison of detectors as one HTML page and tables: an `Agreement` in, files out.

    COMPARED/compared.html                 the page; it loads nothing
    COMPARED/summary.csv pairs.csv fields.csv field_pairs.csv
    COMPARED/cells.csv differences.csv unmatched.csv left_out.csv
    COMPARED/compared.json                 the numbers, for programs
    COMPARED/report/*.svg *.csv            figures and their numbers

Nothing here runs a detector.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any, Final

import pandas as pd

from deepspot_scale.evaluation.detector_agreement import Agreement
from deepspot_scale.evaluation.detector_crops import draw_places
from deepspot_scale.evaluation.detector_figures import (
    draw_differences,
    draw_matrix,
    draw_shares,
)
from deepspot_scale.io.plate import Plate
from deepspot_scale.io.tables import Folder
from deepspot_scale.report import html
from deepspot_scale.report.html import Plot
from deepspot_scale.report.page_folder import PageFiles
from deepspot_scale.runs.manifest import ADDRESS
from deepspot_scale.runs.results import RunResults
from deepspot_scale.tables import guard_words
from deepspot_scale.words import plural

PAGE: Final = "compared.html"
_SHOWN_FIELDS: Final = 12
"""Fields of the page's list; the file has all."""
_NO_TRUTH: Final = (
    "No detector is taken for the truth here: where two agree both may be wrong, and a "
    "spot that one alone found may be real. Look at the places below; where truth is "
    "known, deepspot-scale evaluate scores against it."
)


def write_comparison(
    agreement: Agreement, runs: Mapping[str, RunResults], plate: Plate, out: Path
) -> Path:
    """Write tables, numbers and page of a comparison; return the path of the page."""
    out.mkdir(parents=True, exist_ok=True)
    unmatched = agreement.spots[agreement.spots["found_by"] == 1]
    tables = {
        "summary": agreement.summary,
        "pairs": agreement.pairs,
        "fields": agreement.fields,
        "field_pairs": agreement.field_pairs,
        "cells": agreement.cells,
        "differences": agreement.differences,
        "unmatched": unmatched.drop(columns="found_by"),
        "left_out": agreement.left_out,
    }
    for name, table in tables.items():
        text = guard_words(table).to_csv(index=False, float_format="%.6g")
        (out / f"{name}.csv").write_text(text, "utf-8")
    numbers = json.dumps(_numbers(agreement, runs), indent=2, ensure_ascii=False)
    (out / "compared.json").write_text(numbers + "\n", "utf-8")
    files = PageFiles()
    title = f"Detectors compared on {plate.name}"
    body = _body(agreement, runs, plate, files)
    files.write(
        Folder(str(out)), PAGE, html.page(title, f"<h1>{escape(title)}</h1>{body}")
    )
    return out / PAGE


def _numbers(agreement: Agreement, runs: Mapping[str, RunResults]) -> dict[str, Any]:
    def plain(table: pd.DataFrame) -> list[dict[str, Any]]:
        return [
            {str(name): _json(value) for name, value in line.items()}
            for line in table.to_dict("records")
        ]

    return {
        "radius_px": agreement.radius,
        "n_fields": _n_fields(agreement),
        "runs": {name: run.folder.url for name, run in runs.items()},
        "detectors": plain(agreement.summary),
        "pairs": plain(agreement.pairs),
        "differences": plain(agreement.differences),
        "left_out": plain(agreement.left_out),
    }


def _json(value: Any) -> Any:
    """Return a value as JSON can hold it: None for what is not known."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _n_fields(agreement: Agreement) -> int:
    return len(agreement.fields[[*ADDRESS]].drop_duplicates())


def _body(
    agreement: Agreement, runs: Mapping[str, RunResults], plate: Plate, files: PageFiles
) -> str:
    settings = next(iter(runs.values())).settings
    parts = [
        f"<p class='soft'>Channel {escape(', '.join(settings.channels))}; spots of two "
        f"detectors are a pair within {agreement.radius:g} px, one to one.</p>",
        html.big_numbers(_headlines(agreement)),
        f"<p>{_NO_TRUTH}</p>",
        _warnings(agreement),
        "<h2>What each one finds</h2>",
        files.figure(_shares(agreement)),
        html.table(_shown_summary(agreement.summary), file="summary.csv"),
        "<p class='soft'>SNR: median of the spots that all found, and of those that "
        "this one alone found. Seconds: of a field on its worker.</p>",
        "<h2>Which agree</h2>",
        files.figure(_matrix(agreement)),
        html.table(agreement.pairs, file="pairs.csv"),
        "<h2>Where they differ most</h2>",
        "<p class='soft'>A ring is blue where all found the spot, dashed where some "
        "did, thick and orange where this one alone did.</p>",
        draw_places(agreement, plate, settings),
        "<h2>Numbers of spots</h2>",
        *_differences(agreement, files),
        f"<h3>Fields</h3>{_field_table(agreement)}",
        "<h2>How it was done</h2>",
        html.facts_table(_facts(agreement, runs)),
    ]
    return "".join(parts)


def _headlines(agreement: Agreement) -> list[tuple[str, str]]:
    numbers = [(f"{_n_fields(agreement):,}", "fields")]
    order = agreement.pairs.sort_values("f1", kind="stable").to_dict("records")
    worst, best = order[0], order[-1]
    if len(order) > 1:
        numbers.append((f"{best['f1']:.2f}", f"F1 of {_two(best)}: the most alike"))
    numbers.append((f"{worst['f1']:.2f}", f"F1 of {_two(worst)}: the least alike"))
    return numbers


def _two(line: Mapping[Any, Any]) -> str:
    return f"{line['detector']} and {line['other']}"


def _warnings(agreement: Agreement) -> str:
    left_out = agreement.left_out
    if left_out.empty:
        return ""
    n = len(left_out[[*ADDRESS]].drop_duplicates())
    words = (
        f"{plural(n, 'field')} left out, which not every detector has done: "
        + "; ".join(
            f"{name} ({plural(len(own), 'field')})"
            for name, own in left_out.groupby("detector", sort=False)
        )
    )
    return f"<p class='note'>{escape(words)}. <a href='left_out.csv'>Reasons</a></p>"


def _shares(agreement: Agreement) -> Plot:
    title = "spots of each detector by how many others found them"
    numbers = (
        agreement.spots.groupby(["detector", "found_by"], sort=False)
        .size()
        .rename("n_spots")
        .reset_index()
    )
    return Plot("shares", draw_shares(agreement), numbers, title)


def _shown_summary(summary: pd.DataFrame) -> pd.DataFrame:
    shown = summary.copy()
    for column in ("found_by_all", "found_by_it_alone"):
        shown[column] = [_percent(share) for share in shown[column]]
    return shown


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"


def _matrix(agreement: Agreement) -> Plot:
    return Plot(
        "agreement",
        draw_matrix(agreement),
        agreement.pairs,
        "F1 of each detector against each",
        "F1: twice the pairs over the spots of both.",
    )


def _differences(agreement: Agreement, files: PageFiles) -> list[str]:
    parts = []
    limits = agreement.differences
    for unit in ("field", "cell"):
        own = limits[limits["unit"] == unit]
        if own.empty:
            continue
        plot = Plot(
            f"differences_{unit}",
            draw_differences(agreement, unit),
            own,
            f"differences of the numbers of spots, by {unit}",
            "Bland and Altman: the thick line is the mean difference, the dashed ones "
            "hold 95 % of them.",
        )
        parts += [f"<h3>By {unit}</h3>", files.figure(plot)]
    return [*parts, html.table(limits, file="differences.csv")]


def _field_table(agreement: Agreement) -> str:
    """Return the fields in which the numbers differ most, a column each detector."""
    keys = [*ADDRESS, "channel"]
    wide = agreement.fields.pivot_table(
        index=keys, columns="detector", values="n_spots", sort=False
    )[list(agreement.detectors)]
    spread = (wide.max(axis=1) - wide.min(axis=1)).sort_values(
        ascending=False, kind="stable"
    )
    shown = wide.loc[spread.index].head(_SHOWN_FIELDS).astype(int).reset_index()
    shown.columns.name = None
    left = len(wide) - len(shown)
    more = f" {left:,} more in the file." if left > 0 else ""
    return (
        "<p class='soft'>Spots by each detector, where numbers differ most first."
        f"{more}</p>{html.table(shown, file='fields.csv')}"
    )


def _facts(
    agreement: Agreement, runs: Mapping[str, RunResults]
) -> list[tuple[str, str]]:
    first = next(iter(runs.values()))
    versions = first.provenance.get("versions", {})
    facts = [
        ("plate", first.source),
        ("radius of a pair", f"{agreement.radius:g} px"),
        ("projection of stacks", first.settings.projection),
        *((f"run of {name}", run.folder.url) for name, run in runs.items()),
        *((name, str(version)) for name, version in versions.items()),
    ]
    for name, run in runs.items():
        files = [
            f"{file['name']} {str(file['sha256'])[:12]}"
            for file in run.provenance.values()
            if isinstance(file, dict) and {"name", "sha256"} <= set(file)
        ]
        if files:
            facts.append((f"files of {name}", ", ".join(files)))
    return facts
