"""How often a spot of probability p is one: reliability on fresh simulated fields.

    python benchmarks/calibration.py --model deepspot-fast --out FOLDER
    python benchmarks/calibration.py DATA --model deepspot-fast --out FOLDER

All dots that a judge is asked about count, whether they become spots or not. With DATA,
a folder of data sets as in `accuracy.py`, these are reported too; there a dot is a spot
where somebody clicked. FOLDER gets calibration.jsonl, a row for each model and set, and
calibration.png.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.evaluation.datasets import FRESH_SEED
from deepspot_scale.evaluation.judging import (
    CandidateFinder,
    draw_field,
    know_dots,
)
from deepspot_scale.io.image_files.annotated_images import read_annotated
from deepspot_scale.networks.weights import find_weights, read_judge
from deepspot_scale.simulation import Points

N_BINS = 10
MOST_ERROR = 0.03
"""The bar: largest expected calibration error on fresh simulated fields."""
Known = tuple[NDArray[Any], Points]


def draw_fields(n: int, seed: int) -> Iterator[Known]:
    """Yield simulated fields of the set that judges are fitted to, of another seed."""
    for number in range(n):
        truth = draw_field(seed, number)
        yield truth.image, truth.points


def read_folder(folder: Path) -> Iterator[Known]:
    """Yield annotated images."""
    for image in read_annotated(folder).images:
        yield image.read(), image.points


def measure(model: str, fields: Iterator[Known]) -> dict[str, Any]:
    """Return what a judge says of the dots of some fields, and how often it is so."""
    weights = find_weights(model)
    judge, finder = read_judge(weights), CandidateFinder.of(model)
    if judge is None:
        raise SystemExit(f"{model} has no judge; see deepspot-scale fit-judge")
    given, true, n_missed = [], [], 0
    for image, points in fields:
        known = know_dots(finder, image, points)
        features = known.dots.features(known.dots.counts(), known.n_pixels)
        given.append(judge.probability(features))
        true.append(known.is_spot)
        n_missed += known.n_missed
    probability, is_spot = np.concatenate(given), np.concatenate(true)
    place = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    n = np.bincount(place, minlength=N_BINS)
    sums = (np.bincount(place, each, N_BINS) for each in (probability, is_spot))
    means, shares = (total / np.maximum(n, 1) for total in sums)
    error = float((np.abs(means - shares) * n).sum() / max(1, n.sum()))
    return {
        "model": weights.name,
        "weights": weights.sha256[:12],
        "n_dots": int(n.sum()),
        "n_missed": n_missed,
        "expected_calibration_error": round(error, 4),
        "n": n.tolist(),
        "probability": means.round(4).tolist(),
        "share_of_spots": shares.round(4).tolist(),
    }


def draw(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw the reliability of each row."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 5), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    for row in rows:
        filled = np.array(row["n"]) > 0
        label = (
            f"{row['model']} on {row['data']}, error "
            f"{row['expected_calibration_error']:.3f}"
        )
        given, true = row["probability"], row["share_of_spots"]
        axes.plot(
            np.array(given)[filled],
            np.array(true)[filled],
            marker="o",
            markersize=4,
            label=label,
        )
    axes.set(
        xlabel="probability given",
        ylabel="share of dots that are spots",
        aspect="equal",
    )
    axes.legend(fontsize="small", frameon=False)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def main() -> None:
    """Measure the reliability of some models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, nargs="?", default=None)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--fields", type=int, default=600)
    parser.add_argument("--seed", type=int, default=FRESH_SEED)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    tables = sorted(options.data.glob("*/spots.csv")) if options.data else []
    folders = [table.parent for table in tables]
    rows = []
    for model in options.model:
        sets = {"fresh fields": draw_fields(options.fields, options.seed)}
        sets |= {folder.name: read_folder(folder) for folder in folders}
        for name, fields in sets.items():
            rows.append({"data": name, **measure(model, fields)})
            print(json.dumps(rows[-1]), flush=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (options.out / "calibration.jsonl").write_text(text)
    draw(rows, options.out / "calibration.png")


if __name__ == "__main__":
    main()
