"""The command: run undisturbed, run with kills, compare the results."""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.chaos import __doc__ as question
from benchmarks.chaos.kills import (
    draw_kinds,
    in_flight,
    phases_at,
    read_events,
    run,
)
from benchmarks.chaos.outcome import digest
from benchmarks.chaos.processes import RunProcesses, paced_environment
from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_plate,
    write_image,
    write_labels,
)
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.vocabulary import FieldAddress

EDGE = 768
"""Edge of a field in pixels; with this size a task has seven fields."""


def write_plate(target: Path, n_fields: int) -> None:
    """Write fields of a few bright pixels in square cells, four in a well."""
    paths = [
        f"{'ABCDEFGH'[n // 48 % 8]}/{n // 4 % 12 + 1:02d}/{n % 4}"
        for n in range(n_fields)
    ]
    addresses = [FieldAddress.from_path(path) for path in paths]
    create_plate(target, addresses)
    y, x = np.indices((EDGE, EDGE)) // 192
    cells = (y * (EDGE // 192) + x + 1).astype(np.uint16)
    for seed, address in enumerate(addresses):
        rng = np.random.default_rng(seed)
        image = np.full((1, EDGE, EDGE), 100, np.uint16)
        points = rng.integers(8, EDGE - 8, (60, 2))
        image[0, points[:, 0], points[:, 1]] = rng.integers(3000, 4000, 60)
        layout = ImageLayout(
            "cyx", image.shape, image.dtype, ("FISH",), (0.1, 0.1), chunk=EDGE
        )
        write_image(target, address, image, layout)
        write_labels(target, address, "cells", cells)


def run_once(
    root: Path, name: str, n_fields: int, kinds: list[str], workers: int, **how: Any
) -> dict[str, Any]:
    """Run once with these kills and return the numbers of the run."""
    log = root / f"{name}.events"
    with paced_environment(root, str(log)):
        processes = RunProcesses(root, f"paced://{root}/{name}", log, workers)
        began = time.monotonic()
        try:
            kills = run(processes, n_fields, kinds, **how)
        finally:
            processes.close()
        seconds = time.monotonic() - began
    events = read_events(log)
    executed = sum(e.get("phase") == "read" and e["edge"] == "begin" for e in events)
    phases = [phases_at(events, kill) or {"between"} for kill in kills]
    fields = read_fields(Folder(str(root / name)))
    addresses = fields[["row", "column", "field"]].agg("/".join, axis=1)
    return {
        "code": processes.code,
        "seconds": round(seconds, 1),
        "kills": len(kills),
        "killed": dict(Counter(kill.kind for kill in kills)),
        "while": dict(Counter(phase for each in phases for phase in each)),
        "starts": dict(processes.starts),
        "fields": len(fields),
        "failed": int((fields["status"] != "done").sum()),
        "twice": int(addresses.duplicated().sum()),
        "executed": executed,
        "in_vain": executed - n_fields,
        "in_flight_at_kills": sum(in_flight(events, kill) for kill in kills),
        "tables": digest(root / name),
    }


def compare(
    root: Path, n_fields: int, n_kills: int, *, workers: int = 4, **how: Any
) -> dict[str, Any]:
    """Run undisturbed and disturbed; return one row that compares them."""
    write_plate(root / "plate.zarr", n_fields)
    calm = run_once(root, "calm", n_fields, [], workers, **how)
    kinds = draw_kinds(n_kills, random.Random(how["seed"]))
    wild = run_once(root, "wild", n_fields, kinds, workers, **how)
    tables, expected = wild.pop("tables"), calm["tables"]
    return {
        "fields_planned": n_fields,
        "seed": how["seed"],
        **wild,
        "seconds_undisturbed": calm["seconds"],
        "slower": round(wild["seconds"] / calm["seconds"], 2),
        "same_tables": tables == expected,
        "differing": [name for name in tables if tables[name] != expected[name]],
    }


def passed(row: dict[str, Any], n_kills: int) -> bool:
    """Return whether a row meets all conditions."""
    return bool(
        row["code"] == 0
        and row["kills"] == n_kills
        and row["fields"] == row["fields_planned"]
        and row["failed"] == row["twice"] == 0
        and row["in_vain"] <= row["in_flight_at_kills"]
        and row["same_tables"]
    )


def main() -> None:
    """Compare, print the row, and append it to a file."""
    parser = argparse.ArgumentParser(description=str(question).splitlines()[0])
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--mean", type=float, default=1.0, help="Seconds between kills."
    )
    parser.add_argument("--out", type=Path, default=None, help="File to append to.")
    parser.add_argument("--keep", type=Path, default=None, help="Folder to keep.")
    options = parser.parse_args()
    root = Path(tempfile.mkdtemp()) if options.keep is None else options.keep
    root.mkdir(exist_ok=True)
    try:
        row = compare(
            root, options.fields, options.kills, seed=options.seed, mean=options.mean
        )
    finally:
        if options.keep is None:
            shutil.rmtree(root, ignore_errors=True)
    text = json.dumps(row | {"passed": passed(row, options.kills)})
    print(text, flush=True)
    if options.out:
        with options.out.open("a") as file:
            file.write(text + "\n")
    sys.exit(0 if passed(row, options.kills) else 1)


if __name__ == "__main__":
    main()
