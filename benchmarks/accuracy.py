"""F1 on images with known spots, with the one default setting; one row a data set.

    python benchmarks/accuracy.py DATA --out benchmarks/results/accuracy.jsonl

DATA is a folder of data sets: each a folder with images (or sub-folders of images,
their originals in ``original``) and a ``spots.csv`` of y, x and, where there are
several images, image (and dataset, the sub-folder).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from deepspot_scale.evaluation import Score, match_nearest, match_one_to_one
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.runs.images import detect_images
from deepspot_scale.settings import Settings, make_settings


def iter_images(folder: Path) -> Iterator[tuple[Path, pd.DataFrame]]:
    """Yield each image of a data set and its true spots."""
    truth = pd.read_csv(folder / "spots.csv")
    if "image" not in truth:
        yield folder / "image.png", truth
        return
    keys = [name for name in ("dataset", "image") if name in truth]
    for key, spots in truth.groupby(keys):
        below = folder / key[0] / "original" if len(key) == 2 else folder
        yield below / key[-1], spots


def score_set(folder: Path, settings: Settings) -> dict[str, object]:
    """Return the row of one data set."""
    nearest: list[Score] = []
    single: list[Score] = []
    for path, truth in iter_images(folder):
        found = detect_images([path], settings)
        if found.failed:
            raise SystemExit(f"{path}: {found.failed}")
        points = found.table[["y", "x"]].to_numpy()
        nearest.append(match_nearest(points, truth[["y", "x"]].to_numpy()))
        single.append(match_one_to_one(points, truth[["y", "x"]].to_numpy()))
    return {
        "data": folder.name,
        "n_images": len(single),
        "f1_nearest": _mean(nearest, "f1"),
        "ambiguous_per_image": _mean(nearest, "n_ambiguous"),
        "f1_one_to_one": _mean(single, "f1"),
        "precision": _mean(single, "precision"),
        "recall": _mean(single, "recall"),
    }


def _mean(scores: list[Score], name: str) -> float:
    return round(float(np.mean([getattr(score, name) for score in scores])), 4)


def main() -> None:
    """Score every data set of a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="deepspot")
    parser.add_argument("--detector", default=None)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    settings = make_settings(
        channels=("0",),
        model=options.model,
        detector=options.detector,
        precision=options.precision,
    )
    facts = {
        "weights": find_weights(options.model).sha256[:12],
        "detector": settings.detector_name,
        "number_format": options.precision,
    }
    for table in sorted(options.data.glob("*/spots.csv")):
        row = json.dumps({**score_set(table.parent, settings), **facts})
        print(row, flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(row + "\n")


if __name__ == "__main__":
    main()
