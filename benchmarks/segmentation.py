"""Labels made in a run: are blocks seen in them, and what do they cost?

    python -m benchmarks.segmentation mosaic [--size 4096] [--data DATA] [--out ROWS]
    python -m benchmarks.segmentation speed [--fields 4] [--out ROWS]
    python -m benchmarks.segmentation demo [--seed 0] [--out ROWS]

*mosaic*: nuclei that touch each other in one plane, simulated or of DATA's images set
side by side, cut into blocks of 512 and 1024 px and taken whole. Objects and pixels
must be the same. A chain is a found object that holds most of two or more true ones.

*speed*: fields of 2048 px of the simulated wound assay, in runs with stored labels and
in runs that make the same kinds of labels first; one worker, rounds alternate.

*demo*: the demonstration's plate, run with its true labels and with made ones: cells
found at an overlap of .5, and the polarity of both conditions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.nuclei import read_part, score, segment
from benchmarks.throughput.plates import addresses
from benchmarks.throughput.rows import Row
from benchmarks.throughput.runs import time_run
from deepspot_scale.cluster.client import open_client
from deepspot_scale.demo import simulate_plate
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.io.plate import open_field
from deepspot_scale.kernels.label_matching import (
    Overlaps,
    match_objects,
    overlap_labels,
)
from deepspot_scale.runs.execute import run
from deepspot_scale.runs.kept_layers import open_layer
from deepspot_scale.runs.results import RunResults, open_run
from deepspot_scale.settings import make_settings
from deepspot_scale.simulation import wound_assay
from deepspot_scale.simulation.nuclei import draw_nuclei

BLOCKS: Final = (512, 1024)
PIECE: Final = 640
"""Edge of a simulated piece; no multiple of a block, so seams cut through nuclei."""
NUCLEUS: Final = 30.0
"""Diameter of simulated nuclei in pixels. The stage is told it: where nuclei touch in
clumps it is overestimated."""
SHIFT: Final = 100
"""Pixels by which a mosaic of images is moved, for the same reason."""
FIELD: Final = 2048
STORED: Final = {"cells": "cells", "nuclei": "nuclei"}
MADE: Final = {"segment": {"segments": ["nuclei:DAPI", "cells:FISH"]}}
Plane = NDArray[Any]


def simulated(size: int) -> tuple[Plane, Plane]:
    """Return counts and labels of dense nuclei, most of them touching."""
    rng = np.random.default_rng(41)

    def draw() -> tuple[Plane, Plane]:
        made = draw_nuclei(
            rng, (PIECE, PIECE), diameter=NUCLEUS, cover=0.6, touching=0.9
        )
        return rng.poisson(np.maximum(made.counts, 0)).astype(np.uint16), made.labels

    return together(draw, PIECE, size)


def annotated(data: Path, size: int) -> tuple[Plane, Plane]:
    """Return counts and labels of the images left out, again and again."""
    images = [(image, truth) for _, image, truth in read_part(data, "left-out")]
    order = iter(np.random.default_rng(42).integers(len(images), size=size**2))
    counts, labels = together(lambda: images[next(order)], images[0][0].shape[0], size)
    moved = (np.roll(each, (SHIFT, SHIFT), (0, 1)) for each in (counts, labels))
    return next(moved), next(moved)


def together(
    draw: Callable[[], tuple[Plane, Plane]], edge: int, size: int
) -> tuple[Plane, Plane]:
    """Return pieces side by side, with numbers of their own."""
    counts, labels = np.zeros((size, size), np.uint16), np.zeros((size, size), np.int32)
    for y in range(0, size, edge):
        for x in range(0, size, edge):
            box = (slice(y, min(y + edge, size)), slice(x, min(x + edge, size)))
            inner = tuple(slice(side.stop - side.start) for side in box)
            image, truth = draw()
            counts[box] = image[inner]
            labels[box] = np.where(truth > 0, truth + labels.max(), 0)[inner]
    return counts, labels


def count_chains(truth: Plane, found: Plane) -> int:
    """Return how many found objects hold most of two or more true ones."""
    overlaps = overlap_labels(truth, found)
    most = overlaps.shared > overlaps.true_sizes[overlaps.i] / 2
    held = np.bincount(overlaps.j[most])
    return int((held > 1).sum())


def run_mosaic(size: int, data: Path | None, model: str) -> dict[str, Any]:
    """Return a row: what differs between blocks, and how good the labels are."""
    counts, truth = annotated(data, size) if data else simulated(size)
    seconds, made = [], []
    for block in (*BLOCKS, size):
        began = time.perf_counter()
        made.append(segment(counts, model, block, None if data else NUCLEUS))
        seconds.append(round(time.perf_counter() - began, 1))
    whole = made[-1]
    scores = score([(truth, whole)])
    return {
        "what": "mosaic",
        "images": data.name if data else "simulated",
        "size": size,
        "blocks": [*BLOCKS, size],
        "objects": [int(each.max()) for each in made],
        "pixels that differ": [int((each != whole).sum()) for each in made],
        "true": scores["true"],
        "AP .5": scores["AP .5"],
        "chains": count_chains(truth, whole),
        "seconds": seconds,
    }


def write_plate(target: Path, n: int) -> str:
    """Write fields of 2048 px, each of four scenes, with their true labels."""
    places = addresses(n)
    create_plate(target, places)
    layout = ImageLayout(
        "cyx", (2, FIELD, FIELD), np.uint16, wound_assay.CHANNELS, (0.108, 0.108), 512
    )
    for number, address in enumerate(places):
        parts = [_scene(4 * number + quarter) for quarter in range(4)]
        write_image(target, address, _quarters([part[0] for part in parts]), layout)
        for kind, at in (("cells", 1), ("nuclei", 2)):
            labels = [part[at] for part in parts]
            for quarter in range(1, 4):
                before = labels[quarter - 1].max()
                labels[quarter] = np.where(labels[quarter], labels[quarter] + before, 0)
            write_labels(target, address, kind, _quarters(labels).astype(np.uint32))
    return str(target)


def _scene(seed: int) -> tuple[Plane, Plane, Plane]:
    rng = np.random.default_rng([seed, 19])
    scene = wound_assay.draw_scene(rng)
    spots = wound_assay.plant_spots(rng, scene, 1.0)
    return wound_assay.photograph(rng, scene, spots), scene.cells, scene.nuclei


def _quarters(parts: list[Plane]) -> Plane:
    rows = [np.concatenate(parts[n : n + 2], axis=-1) for n in (0, 2)]
    return np.concatenate(rows, axis=-2)


def run_speed(n: int, rounds: int) -> dict[str, Any]:
    """Return a row: seconds of a field with stored and with made labels."""
    seconds: dict[str, list[float]] = {"stored": [], "made": []}
    worked: dict[str, list[float]] = {"stored": [], "made": []}
    segmenting = []
    with tempfile.TemporaryDirectory() as folder, open_client(workers=1) as client:
        plate = write_plate(Path(folder) / "plate", n)
        row = Row("segmentation", "", n, n * FIELD**2, 1.0)
        for _ in range(rounds):
            for name, given in (("stored", STORED), ("made", MADE)):
                values: dict[str, Any] = {"reference": "angle:90", **given}
                timed = time_run(client, plate, row, warm_up=1, **values)
                seconds[name].append(timed.seconds / n)
                worked[name].append((timed.cpu_seconds or 0.0) / n)
                if name == "made":
                    segmenting.append(timed.more["field_seconds_segment"])
    middle = {name: statistics.median(each) for name, each in seconds.items()}
    # Processor time does not depend on what else the machine does.
    cpu = {name: statistics.median(each) for name, each in worked.items()}
    part = statistics.median(segmenting)
    return {
        "what": "speed",
        "fields": n,
        "rounds": rounds,
        **{f"seconds of a field, {name}": round(s, 3) for name, s in middle.items()},
        **{f"processor seconds, {name}": round(s, 3) for name, s in cpu.items()},
        "added": round(middle["made"] / middle["stored"] - 1, 3),
        "added of processor time": round(cpu["made"] / cpu["stored"] - 1, 3),
        "seconds of the stage's blocks": round(part, 3),
    }


def run_demo(seed: int) -> dict[str, Any]:
    """Return a row: cells found, and polarity by made and by true labels."""
    with tempfile.TemporaryDirectory() as folder:
        truth = simulate_plate(Path(folder) / "plate.zarr", seed=seed)
        index = {}
        for name, given in (("made", MADE), ("stored", STORED)):
            settings = make_settings(
                channels=("FISH",),
                reference=str(truth.reference),
                plate_map=str(truth.plate_map),
                **given,
            )
            run(truth.plate, str(Path(folder) / name), settings)
            results = open_run(Path(folder) / name, plate=truth.plate)
            table = results.summaries["conditions"]
            index[name] = table.set_index("condition")["polarity_index"]
            if name == "made":
                overlaps = list(_overlaps_of_cells(results))
    n = sum(len(each.true_sizes) for each in overlaps)
    matched = sum(len(match_objects(each).iou) for each in overlaps)
    return {
        "what": "demo",
        "seed": seed,
        "cells": n,
        "matched": matched,
        "share": round(matched / n, 3),
        **{
            f"polarity of {condition}, {name}": round(float(value), 3)
            for name, of in index.items()
            for condition, value in of.items()
        },
    }


def _overlaps_of_cells(results: RunResults) -> Iterator[Overlaps]:
    """Yield what true and made cells of each field share."""
    for entry in results.plate.entries:
        true = open_field(entry).read_labels("cells")
        made = open_layer(results.folder, "cells", entry.address)
        if made is not None:
            yield overlap_labels(true, made.read())


def main() -> None:
    """Print a row, and append it to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("mosaic", "speed", "demo"))
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--data", type=Path, default=None)
    parser.add_argument("--model", default="nuclei")
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    if options.what == "mosaic":
        row = run_mosaic(options.size, options.data, options.model)
    elif options.what == "demo":
        row = run_demo(options.seed)
    else:
        row = run_speed(options.fields, options.rounds)
    print(json.dumps(row), flush=True)
    if options.out:
        with options.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
