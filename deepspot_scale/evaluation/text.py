"""The text of an evaluation's report: tables in, Markdown out.

Nothing here reads or writes files, draws, or computes scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from deepspot_scale.evaluation import tables as declared
from deepspot_scale.evaluation.tables import Scores

_SCORE_COLUMNS: Final = {
    "precision": "precision_nearest",
    "recall": "recall_nearest",
    "F1 (nearest)": "f1_nearest",
    "ambiguous": "n_ambiguous",
    "F1 (one to one)": "f1_one_to_one",
    "F1 over radii": "f1_integrated",
}


def write_text(
    scores: Scores,
    tables: Mapping[str, pd.DataFrame],
    pictures: Mapping[str, Sequence[str]],
) -> str:
    """Return the report.

    `tables` holds ``sets``, ``models``, ``data`` and ``bins`` as `tables` makes them;
    `pictures` holds file names by section: ``sets``, ``bins``, ``cross``, ``worst``.
    """
    sets = tables["sets"]
    parts = ["# Accuracy", _conditions(scores.provenance)]
    if len(scores.failed):
        rows = scores.failed[["model", "data", "set", "image", "reason"]]
        parts += ["## Not measured", markdown_table(rows)]
    parts += ["## By model", _score_table(tables["models"], ["model"])]
    parts += ["## By model and data", _worst_set_table(tables["data"], sets)]
    parts += ["## By model and set", _score_table(sets, ["model", "data", "set"])]
    parts += _links(pictures["sets"])
    parts += ["## Enhanced intensity of the spots, of 255", _intensity_table(sets)]
    parts += ["## What makes spots hard to find", _bin_table(tables["bins"])]
    parts += _links([*pictures["bins"], *pictures["cross"]])
    parts += ["## Worst images", _worst_table(scores.images)]
    parts += _links(pictures["worst"])
    return "\n\n".join([*parts, "## Columns", *_columns()]) + "\n"


def _conditions(provenance: Mapping[str, Any]) -> str:
    facts = "\n".join(f"- {name}: {_fact(value)}" for name, value in provenance.items())
    return (
        "One detector setting for all images, none chosen on them. Means over images "
        "with Student's 95 % intervals over images. A stack is one image, and its "
        "spots are found and matched in depth too. "
        "*Nearest*: each true spot takes its nearest detection; spots that share one "
        "are ambiguous matches, counted per image. *One to one*: a detection serves "
        "one spot at most. *F1 over radii*: one-to-one F1, mean over 50 radii from 0 "
        "to that of a match. An image without spots in which none is found scores 1."
        "\n\n" + facts
    )


def _fact(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {of}" for name, of in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def markdown_table(table: pd.DataFrame) -> str:
    """Return a table as Markdown; its values are texts or counts."""
    lines = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    lines += [[str(value) for value in row] for row in table.itertuples(index=False)]
    # A vertical bar in a reason would end the cell.
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
        for line in lines
    )


def _number(value: float, digits: int = 3) -> str:
    return "" if pd.isna(value) else f"{value:.{digits}f}"


def _with_interval(table: pd.DataFrame, name: str, digits: int = 3) -> list[str]:
    """Return ``mean [low, high]`` of each row, or the mean where it has no interval."""
    columns = [name, f"{name}_low", f"{name}_high"]
    return [
        _number(mean, digits)
        + (f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else "")
        for mean, low, high in table[columns].itertuples(index=False)
    ]


def _score_table(table: pd.DataFrame, keys: Sequence[str]) -> str:
    shown = table[[*keys, "n_images", "n_true"]].rename(
        columns={"n_images": "images", "n_true": "spots"}
    )
    for title, name in _SCORE_COLUMNS.items():
        shown[title] = _with_interval(table, name, 2 if name == "n_ambiguous" else 3)
    return markdown_table(shown.assign(**_errors(table)))


def _errors(table: pd.DataFrame) -> dict[str, list[str]]:
    """Return columns of errors; that along z only if any image is a stack."""
    errors = {"error, px": "error_px", "error, planes": "error_planes"}
    return {
        title: [_number(value, 2) for value in table[name]]
        for title, name in errors.items()
        if name == "error_px" or table[name].notna().any()
    }


def _worst_set_table(data: pd.DataFrame, sets: pd.DataFrame) -> str:
    shown = data[["model", "data", "n_images"]].rename(columns={"n_images": "images"})
    for name in ("f1_nearest", "f1_one_to_one"):
        title = "F1 (" + name.removeprefix("f1_").replace("_", " ") + ")"
        shown[title] = _with_interval(data, name)
        lowest = sets.loc[sets.groupby(["model", "data"])[name].idxmin()]
        least = data[["model", "data"]].merge(lowest[["model", "data", "set", name]])
        pairs = zip(least["set"], least[name], strict=True)
        shown[f"worst set, {title}"] = [f"{of} {value:.3f}" for of, value in pairs]
    shown["median F1"] = [_number(value) for value in data["f1_one_to_one_median"]]
    shown["worst image"] = [_number(value) for value in data["f1_one_to_one_least"]]
    shown = shown.assign(**_errors(data))
    shown["false per 512 x 512 px"] = _with_interval(data, "false_density", 2)
    changes = zip(data["f1_change_mean"], data["f1_change_largest"], strict=True)
    shown["change of F1, x 3 + 500"] = [
        "" if pd.isna(mean) else f"{mean:.4f}, at most {most:.4f}"
        for mean, most in changes
    ]
    return markdown_table(shown)


def _intensity_table(sets: pd.DataFrame) -> str:
    text = (
        "The largest of the 3x3 enhanced pixels (3x3x3 in a stack) about each true "
        "spot, found or not; "
        "mean over the spots of an image, then over images; in brackets the interval, "
        "then the median over all spots."
    )
    means = _with_interval(sets, "enhanced", 1)
    pairs = zip(means, sets["enhanced_median"], strict=True)
    cells = [f"{mean}; {_number(median, 0)}" if mean else "" for mean, median in pairs]
    table = _by_model(sets.assign(cell=cells), ["data", "set"], sort=False)
    return text + "\n\n" + markdown_table(table)


def _by_model(
    table: pd.DataFrame, keys: list[str], *, sort: bool = True
) -> pd.DataFrame:
    """Return the column ``cell`` with one column for each model."""
    wide = table.pivot_table("cell", keys, "model", aggfunc="first", sort=sort)
    return wide.fillna("").reset_index()


def _bin_table(bins: pd.DataFrame) -> str:
    if bins.empty:
        return "No image with true spots."
    text = (
        "F1 of images by their median, recall of spots by their own value; one to one. "
        "*spacing*: distance to the nearest true spot, in sigma; *density*: spots per "
        "512 x 512 px. Images without true spots are left out."
    )
    keys = ["data", "by", "measure", "low", "high"]
    n = bins["n_images"].where(bins["measure"] == "f1", bins["n_spots"])
    pairs = zip(_with_interval(bins, "mean"), n, strict=True)
    cells = [f"{mean} (n {number})" for mean, number in pairs]
    table = _by_model(bins.assign(cell=cells), keys).sort_values(keys)
    span = [f"{a:g} to {b:g}" for a, b in zip(table["low"], table["high"], strict=True)]
    table = table.drop(columns=["low", "high"])
    table.insert(3, "from, to", span)
    return text + "\n\n" + markdown_table(table)


def _worst_table(images: pd.DataFrame) -> str:
    worst = declared.worst_images(images)
    if worst.empty:
        return "None: every image scores 1."
    matched = (worst["recall_one_to_one"] * worst["n_true"]).round().astype(int)
    matched = matched.where((worst["n_true"] > 0) & (worst["n_found"] > 0), 0)
    shown = worst[["model", "data", "set", "image"]].assign(
        F1=[_number(value) for value in worst["f1_one_to_one"]],
        true=worst["n_true"],
        found=matched,
        missed=worst["n_true"] - matched,
        false=worst["n_found"] - matched,
        SNR=[_number(value, 1) for value in worst["snr"]],
    )
    shown["spacing, sigma"] = [_number(value, 1) for value in worst["spacing"]]
    return markdown_table(shown)


def _links(names: Sequence[str]) -> list[str]:
    return [f"![{Path(name).stem.replace('_', ' ')}]({name})" for name in names]


def _columns() -> list[str]:
    tables = {
        "images.csv": declared.IMAGE_SCORES,
        "spots.csv": declared.SPOT_SCORES,
        "failed.csv": declared.FAILURES,
    }
    parts = []
    for name, columns in tables.items():
        rows = pd.DataFrame([(c.name, c.meaning) for c in columns])
        rows.columns = pd.Index([f"column of {name}", "meaning"])
        parts.append(markdown_table(rows))
    return parts
