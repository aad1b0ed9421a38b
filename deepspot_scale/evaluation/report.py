"""The report of an evaluation: scores in, a folder of Markdown, CSV and PNG out.

    OUT/report.md                        tables, with the pictures linked
    OUT/images.csv spots.csv failed.csv  the columns declared in `tables`
    OUT/sets.csv models.csv              means over images with intervals
    OUT/bins.csv density_sigma.csv       F1 and recall against what makes spots hard
    OUT/provenance.json                  weights, detector, seed, versions
    OUT/*.png

Nothing here knows how spots were found.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.evaluation import tables
from deepspot_scale.evaluation.quality_page import REPORT
from deepspot_scale.evaluation.tables import KEYS, Scores
from deepspot_scale.evaluation.text import write_text
from deepspot_scale.tables import guard_words

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from deepspot_scale.evaluation.figures import Panel

Pixels = Mapping[tuple[str, str, str], NDArray[Any]]
"""Images to show, by data, set and image."""


def write_accuracy(scores: Scores, out: Path, pixels: Pixels | None = None) -> Path:
    """Write everything about an evaluation into a folder.

    At least one image must be measured. `out` is made if needed, and files of the same
    names are replaced. `pixels` are the images (y, x) of `tables.worst_images`, stacks
    as seen from above; the others are listed, not shown. The answer is the path of the
    Markdown report.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = {
        "images": scores.images,
        "spots": scores.spots,
        "failed": scores.failed,
        "sets": tables.summarise(scores),
        "models": tables.summarise(scores, ("model",)),
        "data": tables.summarise(scores, ("model", "data")),
        "bins": tables.bin_scores(scores),
        "density_sigma": tables.cross_scores(scores),
    }
    for name, table in written.items():
        guard_words(table).to_csv(out / f"{name}.csv", index=False, float_format="%.6g")
    facts = json.dumps(scores.provenance, indent=2)
    (out / "provenance.json").write_text(facts + "\n", "utf-8")
    pictures = _draw_all(scores, written, pixels or {}, out)
    report = out / REPORT
    report.write_text(write_text(scores, written, pictures), "utf-8")
    return report


def _draw_all(
    scores: Scores, written: Mapping[str, pd.DataFrame], pixels: Pixels, out: Path
) -> dict[str, list[str]]:
    """Save every picture; return their file names by section."""
    from deepspot_scale.evaluation import figures

    names: dict[str, list[str]] = {"sets": [], "bins": [], "cross": [], "worst": []}

    taken: set[str] = set()

    def save(section: str, figure: Figure, *words: str) -> None:
        plain = stem = re.sub(r"[^\w.-]+", "_", "_".join(words))
        # Model a_b on data c, and a on b_c, have pictures of their own.
        for number in count(2):
            if stem.lower() not in taken:
                break
            stem = f"{plain}_{number}"
        taken.add(stem.lower())
        figure.savefig(out / f"{stem}.png", dpi=110)
        names[section].append(f"{stem}.png")

    sets = written["sets"]
    for value in ("f1_nearest", "f1_one_to_one"):
        title = f"F1 ({value.removeprefix('f1_').replace('_', ' ')}), mean over images"
        save("sets", figures.draw_heat_map(sets, value, title), "heat_map", value)
    for data, bins in written["bins"].groupby("data", sort=False):
        save("bins", figures.draw_curves(bins), "curves", str(data))
    for data, cross in written["density_sigma"].groupby("data", sort=False):
        save("cross", figures.draw_cross(cross), "density_sigma", str(data))
    worst = tables.worst_images(scores.images)
    for key, images in worst.groupby(["model", "data"], sort=False):
        shown = [
            panel_of(scores, line, pixels)
            for line in images.to_dict("records")
            if (line["data"], line["set"], line["image"]) in pixels
        ]
        if shown:
            save("worst", figures.draw_images(shown), "worst", *map(str, key))
    return names


def panel_of(scores: Scores, line: Mapping[Any, Any], pixels: Pixels) -> Panel:
    """Return one image and its spots, as shown; `line` is its row of the images."""
    from deepspot_scale.evaluation.figures import Panel

    at = (line["data"], line["set"], line["image"])
    return Panel(_title(line), pixels[at], _spots_of(scores.spots, line))


def _title(line: Mapping[Any, Any]) -> str:
    n_planes = int(line["planes"])
    above = f", maximum of {n_planes} planes" if n_planes > 1 else ""
    name = f"{line['set']}: {line['image'][-40:]}"
    return f"{name}\nF1 {line['f1_one_to_one']:.3f}{above}"


def _spots_of(spots: pd.DataFrame, line: Mapping[Any, Any]) -> pd.DataFrame:
    return spots[np.logical_and.reduce([spots[key] == line[key] for key in KEYS])]
