"""The quality sheets of models as one HTML page: scores in, a folder out.

    OUT/sheet.html            scores with intervals, worst images, training, domain
    OUT/scores.csv            one row for each model and measure
    OUT/scores.json           the same with provenance, for programs
    OUT/report/*.svg *.csv    figures of the page and their numbers

Nothing here scores, or reads images.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

import pandas as pd

from deepspot_scale.errors import RunError
from deepspot_scale.evaluation.domain_check import DomainCheck
from deepspot_scale.evaluation.quality_figures import draw_domain, draw_training
from deepspot_scale.evaluation.training_curves import RULE, TrainingCurves
from deepspot_scale.io.tables import Folder
from deepspot_scale.report import html
from deepspot_scale.report.html import Plot
from deepspot_scale.report.page_folder import PageFiles
from deepspot_scale.tables import guard_words
from deepspot_scale.words import plural

PAGE: Final = "sheet.html"
REPORT: Final = "report.md"
"""Beside the page of models that enhance spots."""
_SIGNS: Final = {
    "over-fitting": "a sign of over-fitting",
    "none": "no sign of over-fitting",
    "unknown": "over-fitting not judged",
}


@dataclass(frozen=True)
class Sheet:
    """All that is known of how good one model is."""

    model: str
    """Its name."""
    title: str
    """What is scored."""
    summary: pd.DataFrame
    """`quality_kinds.SUMMARY`."""
    headlines: tuple[str, ...]
    """Measures at the top of the page."""
    images: pd.DataFrame
    """One row for each image, the worst first."""
    failed: pd.DataFrame
    """`quality_kinds.FAILURES`."""
    worst: tuple[Plot, ...]
    """Pictures of the worst images."""
    ranked_by: str
    """The column by which images are worst."""
    domain: DomainCheck
    curves: TrainingCurves | None
    """None: there is no log beside the weights."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def headline(self) -> str:
        """The most important numbers in one line."""
        rows = self.summary.set_index("measure")
        known = [name for name in self.headlines if name in rows.index]
        values: Any = rows["value"]
        numbers = [f"{name} {html.number(float(values[name]))}" for name in known]
        outside = len(self.domain.outside)
        if outside:
            numbers.append(f"{outside} of {len(self.domain.table)} images outside")
        if self.curves is not None and self.curves.sign == "over-fitting":
            numbers.append("a sign of over-fitting")
        return f"{self.model}: {', '.join(numbers)}"


def check_no_sheet(out: Path, *, overwrite: bool, with_report: bool) -> None:
    """Raise RunError, before any work, unless a sheet may be written into a folder.

    A sheet that is there is replaced only on request, files of others never: images
    and their truth, or weights, have files of the same names. `with_report` means that
    a Markdown report is written too, with tables that no other kind of sheet has.
    """
    if not out.is_dir() or all(file.name.startswith(".") for file in out.iterdir()):
        return
    if not (out / PAGE).is_file():
        raise RunError(
            f"{out} holds files and no {PAGE}, so no evaluation wrote it; nothing in "
            "it is replaced. Choose another folder"
        )
    if not overwrite:
        raise RunError(
            f"{out} holds a quality sheet already; replace it by --overwrite "
            "(overwrite=True), or choose another folder"
        )
    if (out / REPORT).is_file() != with_report:
        raise RunError(
            f"{out} holds the sheet of models of another kind, which has other files; "
            "choose another folder"
        )


def write_sheets(sheets: Sequence[Sheet], out: Path) -> Path:
    """Write the page, scores and JSON of some models; return the path of the page."""
    out.mkdir(parents=True, exist_ok=True)
    parts = [sheet.summary.assign(model=sheet.model) for sheet in sheets]
    scores = pd.concat(parts, ignore_index=True)
    scores.insert(0, "model", scores.pop("model"))
    guard_words(scores).to_csv(out / "scores.csv", index=False, float_format="%.6g")
    numbers = json.dumps([_plain(each) for each in sheets], indent=2)
    (out / "scores.json").write_text(numbers + "\n", "utf-8")
    return Path(_write_page(sheets, Folder(str(out))))


def _plain(sheet: Sheet) -> dict[str, Any]:
    """Return a sheet's numbers as JSON can hold them: None for what is not known."""
    scores = {
        str(line["measure"]): {
            name: None if not math.isfinite(line[name]) else float(line[name])
            for name in ("value", "low", "high")
        }
        | {"n_images": int(line["n_images"])}
        for line in sheet.summary.to_dict("records")
    }
    domain, curves = sheet.domain, sheet.curves
    return {
        "model": sheet.model,
        "scores": scores,
        "n_images": len(sheet.images),
        "failed": sheet.failed["image"].tolist(),
        "outside_domain": None if domain.table.empty else sorted(domain.outside),
        "over_fitting": None if curves is None else curves.sign,
        "provenance": dict(sheet.provenance),
    }


def _write_page(sheets: Sequence[Sheet], folder: Folder) -> str:
    """Write the page of some models and the files beside it; return its path."""
    files = PageFiles()
    names = ", ".join(sheet.model for sheet in sheets)
    body = f"<h1>Quality of {escape(names)}</h1>"
    for number, sheet in enumerate(sheets, start=1):
        body += _sheet(sheet, files, f"{number}-{_stem(sheet.model)}")
    files.write(folder, PAGE, html.page(f"Quality of {names}", body))
    return f"{folder.url.rstrip('/')}/{PAGE}"


def _sheet(sheet: Sheet, files: PageFiles, stem: str) -> str:
    parts = [f"<h2>{escape(sheet.model)}: {escape(sheet.title)}</h2>"]
    parts += [html.big_numbers(_headlines(sheet))]
    parts += [_warnings(sheet)]
    parts += ["<h3>Scores</h3>", _summary(sheet, files, stem)]
    parts += ["<h3>Worst images</h3>", *_worst(sheet, files, stem)]
    parts += ["<h3>Are these images like those of the training?</h3>"]
    parts += [_domain(sheet, files, stem)]
    parts += ["<h3>Training</h3>", _training(sheet, files, stem)]
    parts += ["<h3>All images</h3>"]
    parts += [files.table(f"{stem}-images", sheet.images, _shown(sheet.images))]
    parts += ["<h3>How it was measured</h3>", html.facts_table(_facts(sheet))]
    return "".join(parts)


def _stem(model: str) -> str:
    return re.sub(r"[^\w-]+", "_", model, flags=re.ASCII).strip("_")[-60:]


def _headlines(sheet: Sheet) -> list[tuple[str, str]]:
    rows = sheet.summary.set_index("measure")
    numbers = []
    for name in sheet.headlines:
        if name in rows.index:
            line: Any = rows.loc[name]
            word = f"{line['meaning']}{_interval(line)}"
            numbers.append((html.number(float(line["value"])), word))
    numbers.append((f"{len(sheet.images):,}", "images"))
    return numbers


def _interval(line: Any) -> str:
    if pd.isna(line["low"]):
        return ""
    ends = (html.number(float(line[end])) for end in ("low", "high"))
    return f" (95 %: {' to '.join(ends)})"


def _warnings(sheet: Sheet) -> str:
    notes = []
    if len(sheet.failed):
        notes.append(f"{plural(len(sheet.failed), 'image')} could not be measured")
    if len(sheet.domain.table) and sheet.domain.outside:
        notes.append(sheet.domain.words)
    if sheet.curves is not None and sheet.curves.sign == "over-fitting":
        notes.append(sheet.curves.words)
    return "".join(f"<p class='note'>{escape(note)}</p>" for note in notes)


def _summary(sheet: Sheet, files: PageFiles, stem: str) -> str:
    shown = sheet.summary[["meaning", "value", "low", "high", "n_images"]]
    text = (
        "<p class='soft'>Low and high: 95 % interval over images (bootstrap, BCa); "
        "none with fewer than three images, or if all are alike.</p>"
    )
    table = files.table(f"{stem}-scores", sheet.summary, shown)
    if not len(sheet.failed):
        return table + text
    failed = files.table(f"{stem}-failed", sheet.failed, sheet.failed)
    return f"{table}{text}<h3>Not measured</h3>{failed}"


def _worst(sheet: Sheet, files: PageFiles, stem: str) -> list[str]:
    if not sheet.worst:
        return ["<p>No image has an error to show.</p>"]
    # Names of files: two models may have the same picture.
    plots = [plot._replace(name=f"{stem}-{plot.name}") for plot in sheet.worst]
    return [files.figure(plot) for plot in plots]


def _domain(sheet: Sheet, files: PageFiles, stem: str) -> str:
    check = sheet.domain
    words = f"<p>{escape(check.words)}</p>"
    if check.table.empty:
        return words
    scores = sheet.images.set_index("image")[sheet.ranked_by]
    score = check.table["image"].map(scores).rename(sheet.ranked_by)
    plot = Plot(
        f"{stem}-domain",
        draw_domain(check.table, score if score.notna().all() else None),
        check.table,
        "distance of each image from the training images",
        "Features: quartiles of brightness, noise, contrast, object size, slope of the "
        "spectrum. The distance is that to the third nearest training patch, in robust "
        "units; 99 % of the training patches lie within the limit of 1.",
    )
    outside = check.table[check.table["outside"].astype(bool)]
    named = outside.rename(columns={"feature": "differs most by", "shift": "spreads"})
    table = html.table(named.drop(columns="outside")) if len(outside) else ""
    return words + table + files.figure(plot)


def _training(sheet: Sheet, files: PageFiles, stem: str) -> str:
    curves = sheet.curves
    if curves is None:
        return (
            "<p>There is no log of the training beside the weights, so over-fitting "
            "was not judged.</p>"
        )
    words = f"<p>Here: {_SIGNS[curves.sign]}. {escape(curves.words)}</p>"
    rule = f"<p class='soft'>{escape(RULE)}</p>"
    if curves.rows.empty:
        return words + rule
    plot = Plot(
        f"{stem}-training",
        draw_training(curves.rows),
        curves.rows,
        "losses of the training",
        "Learning: mean loss of the batches since the validation before, which are "
        "augmented; validation: of the averaged weights.",
    )
    return words + rule + files.figure(plot)


def _shown(images: pd.DataFrame) -> pd.DataFrame:
    hidden = [name for name in images if str(name).startswith("matched_")]
    return images.drop(columns=hidden)


def _facts(sheet: Sheet) -> list[tuple[str, str]]:
    return [(name, str(value)) for name, value in sheet.provenance.items()]
