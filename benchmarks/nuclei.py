"""Nuclei by the stage *segment* against labels drawn by people.

    python benchmarks/nuclei.py DATA [--part left-out|others] [--model NAME]
                                     [--out ROWS.jsonl]

DATA has the folders images/ and labels/ with files of the same names. Every fifth image
is left out of trainings by their recipe; on the others thresholds may be chosen. Each
image is a plane of its own: the stage measures the size of nuclei, reduces the plane,
runs the network and draws labels, as in a run.

A match is a true and a found nucleus whose intersection over union (IoU) reaches a
threshold, one to one; AP is TP / (TP + FP + FN) over the objects of all images.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.blockwise.answers import NUCLEI, PIXEL_UM
from deepspot_scale.blockwise.contract import Answers, RunContext
from deepspot_scale.blockwise.geometry import Box
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.io.image_files.paired_files import list_pairs
from deepspot_scale.kernels.label_matching import (
    THRESHOLDS,
    Overlaps,
    average_precision,
    boundary_f,
    match_objects,
    overlap_labels,
)
from deepspot_scale.pipeline import assemble_stages
from deepspot_scale.stages.segmentation.segment import SEGMENT, SegmentOptions

LEFT_OUT = 5
BARS = {"AP .5": 0.90, "AP .5 to .9": 0.70, "count error": 0.05}
CHANNEL = "DAPI"


class Plane(NamedTuple):
    """A channel in memory, as the engine reads layers."""

    counts: NDArray[Any]

    def __call__(self, name: str, box: Box) -> NDArray[Any]:
        """Return a part."""
        return self.counts[box.slices]

    def has(self, name: str) -> bool:
        """Return whether it is this channel."""
        return name == f"channel:{CHANNEL}"

    def dtype(self, name: str) -> np.dtype[Any]:
        """Return its type."""
        return self.counts.dtype


def segment(
    counts: NDArray[Any],
    model: str,
    block: int = 2560,
    nucleus_px: float | None = None,
) -> NDArray[np.integer[Any]]:
    """Return the labels that a run would make of a plane; their size may be given."""
    options = SegmentOptions(
        segments=(f"nuclei:{CHANNEL}",), nuclei_model=model, nucleus_um=nucleus_px
    )
    pipeline = assemble_stages({SEGMENT: options}, RunContext(), block=block)
    given = Answers({PIXEL_UM.name: None if nucleus_px is None else (1.0, 1.0)})
    blocks = pipeline.blocks(counts.shape)
    answers = reduce_rounds(pipeline, blocks, Plane(counts), given)
    return np.asarray(answers.by_name[NUCLEI.name])


def read_part(data: Path, part: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, counts and labels of the images left out, or of the others."""
    for number, pair in enumerate(list_pairs(data, "images", "labels")):
        if (number % LEFT_OUT == LEFT_OUT - 1) == (part == "left-out"):
            yield pair.name, *pair.read()


def score(pairs: list[tuple[NDArray[Any], NDArray[Any]]]) -> dict[str, Any]:
    """Return the scores of (truth, found) labels of some images together."""
    overlaps = [overlap_labels(*pair) for pair in pairs]
    true = np.array([len(each.true_ids) for each in overlaps])
    found = np.array([len(each.found_ids) for each in overlaps])
    pooled = [_precision(overlaps, threshold) for threshold in THRESHOLDS]
    by_image = np.array([average_precision(each) for each in overlaps])
    off = np.abs(found - true)
    return {
        "images": len(pairs),
        "true": int(true.sum()),
        "found": int(found.sum()),
        **{
            f"AP {t:.1g}"[:6].replace("0.", "."): round(v, 4)
            for t, v in zip(THRESHOLDS, pooled, strict=True)
        },
        "AP .5 to .9": round(float(np.mean(pooled)), 4),
        "AP .5, mean of images": round(float(by_image[:, 0].mean()), 4),
        "AP .5 to .9, mean of images": round(float(by_image.mean()), 4),
        "count error": round(float(off.sum() / true.sum()), 4),
        "count error, mean of images": round(
            float((off / np.maximum(true, 1)).mean()), 4
        ),
        "boundary F, 2 px": round(
            float(np.mean([boundary_f(*pair) for pair in pairs])), 4
        ),
    }


def _precision(overlaps: list[Overlaps], threshold: float) -> float:
    matched = sum(len(match_objects(each, threshold).iou) for each in overlaps)
    objects = sum(len(each.true_ids) + len(each.found_ids) for each in overlaps)
    return matched / max(1, objects - matched)


def main() -> None:
    """Print a row, and append it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=("left-out", "others"), default="left-out")
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--each", action="store_true", help="a line for each image too")
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    pairs = []
    began = time.perf_counter()
    for name, counts, truth in read_part(options.data, options.part):
        pairs.append((truth, segment(counts, options.model)))
        if options.each:
            print(json.dumps({"image": name, **score(pairs[-1:])}), flush=True)
    model = Path(options.model).name
    row = {"model": model, "part": options.part, **score(pairs)}
    row["seconds"] = round(time.perf_counter() - began, 1)
    row["bars"] = BARS
    row["met"] = all(
        row[name] <= bar if "error" in name else row[name] >= bar
        for name, bar in BARS.items()
    )
    print(json.dumps(row), flush=True)
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
