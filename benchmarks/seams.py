"""Do block sizes change a field's spots? Prints one row per comparison.

    python benchmarks/seams.py --size 8192 --out benchmarks/results/seams.jsonl

A simulated mosaic, a plate with chunks of 512 px, is run on two workers with blocks of
512 and of 1024 px; a field of 2048 px is run with blocks of 512 px and as one block;
and the wavelet stage is run alone on the raw mosaic, in blocks and as one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepspot_scale.cluster.client import open_client
from deepspot_scale.cluster.local import threads_per_worker
from deepspot_scale.evaluation.matching import pair_one_to_one
from deepspot_scale.io.ome_zarr.writing import ImageLayout, create_plate, write_image
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.runs.results import open_results
from deepspot_scale.settings import make_settings
from deepspot_scale.simulation import render_spots, smooth_noise
from deepspot_scale.vocabulary import FieldAddress

SAME_PX = 0.5
"""Spots within this distance are the same."""


def write_mosaic(target: Path, size: int, seed: int = 0) -> None:
    """Write a one-field plate: uneven background, one spot in a thousand pixels."""
    rng = np.random.default_rng(seed)
    n = size * size // 1000
    background = 200 + 300 * smooth_noise(rng, (size, size), 90)
    points = rng.uniform(0, size - 1, (n, 2))
    heights = np.exp(rng.uniform(np.log(80), np.log(800), n))
    light = background + render_spots(
        (size, size), points, heights, rng.uniform(1.0, 2.0, n)
    )
    counts = rng.normal(light, np.sqrt(light)).clip(0, 65535).astype(np.uint16)
    address = FieldAddress("A", "01", "0")
    create_plate(target, [address])
    layout = ImageLayout("cyx", (1, size, size), np.uint16, ("FISH",), (0.1, 0.1))
    write_image(target, address, counts[None], layout)


def run_blocks(plate: Path, out: Path, block: int, *, enhance: bool) -> dict[str, Any]:
    """Run on two workers; return spots and seconds."""
    settings = make_settings(channels=("FISH",), block=block, enhance=enhance)
    prepared = prepare_run(plate, str(out), settings, threads=threads_per_worker(2))
    began = time.monotonic()
    with open_client(workers=2) as client:
        end = execute_run(prepared, client)
        memory = client.run(_peak_bytes)
    if end.failed:
        fields = pd.read_parquet(out / "fields.parquet")
        raise SystemExit(f"failed: {fields['reason'].iloc[0]}")
    return {
        "spots": open_results(out).read("spots"),
        "seconds": round(time.monotonic() - began, 1),
        "peak_worker_bytes": max(memory.values()),
    }


def _peak_bytes() -> int:
    """Return this process's peak memory; getrusage may include the parent's."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def compare(name: str, one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return one row with the number of spots that only one of the runs has."""
    a, b = (run["spots"][["y", "x"]].to_numpy() for run in (one, other))
    pairs = pair_one_to_one(a, b, SAME_PX)
    equal = one["spots"].equals(other["spots"])
    return {
        "comparison": name,
        "n_spots": len(a),
        "n_differing": len(a) + len(b) - 2 * len(pairs),
        "identical_tables": bool(equal),
        "seconds": [one["seconds"], other["seconds"]],
        "peak_worker_bytes": max(one["peak_worker_bytes"], other["peak_worker_bytes"]),
    }


def main() -> None:
    """Run all comparisons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_mosaic(root / "mosaic.zarr", options.size)
        write_mosaic(root / "field.zarr", 2048, seed=1)
        plans = [
            ("mosaic, blocks of 512 and 1024 px", "mosaic", 512, 1024, True),
            ("2048 px field, blocks of 512 px and one block", "field", 512, 2048, True),
            ("wavelet alone, 512 px and one block", "mosaic", 512, options.size, False),
        ]
        for name, plate, first, second, enhance in plans:
            runs = [
                run_blocks(
                    root / f"{plate}.zarr",
                    root / f"{plate}-{block}-{enhance}",
                    block,
                    enhance=enhance,
                )
                for block in (first, second)
            ]
            row = json.dumps({"size": options.size, **compare(name, *runs)})
            print(row, flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(row + "\n")


if __name__ == "__main__":
    main()
