"""How long until the first block of a large lazy image is at work? One row per size.

    python benchmarks/graph_building.py --out benchmarks/results/graphs.jsonl

`detect` is given a lazy image of n x n blocks. The row has the seconds to build the
graph and, with one thread, from there to the first task; and the tasks of one block,
which must not grow with n.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import dask.array as da
import xarray as xr
from dask.callbacks import Callback

import deepspot_scale as ds
from deepspot_scale.settings import assemble, make_settings

BLOCK = 96


class _BegunError(Exception):
    """The first task is about to run."""


class _StopAtFirst(Callback):
    def _pretask(self, *_: Any) -> None:
        raise _BegunError


def measure(n: int) -> dict[str, Any]:
    """Time the graph of n x n blocks."""
    settings = make_settings(channels=["0"], enhance=False, quality=False, block=BLOCK)
    halo = max(assemble(settings).halo.values())
    edge = n * (BLOCK - 2 * halo) + 2 * halo
    pixels = da.zeros((edge, edge), dtype="uint16", chunks=BLOCK)
    began = time.perf_counter()
    spots = ds.detect(xr.DataArray(pixels, dims=("y", "x")), method="raw", block=BLOCK)
    built = time.perf_counter()
    (part,) = spots.to_delayed()
    n_tasks = len(part.dask)
    asked = time.perf_counter()
    try:
        with _StopAtFirst():
            spots.compute(scheduler="synchronous")
    except _BegunError:
        pass
    return {
        "blocks": n**2,
        "build_seconds": round(built - began, 3),
        "first_task_seconds": round(time.perf_counter() - asked, 3),
        "tasks_per_block": round(n_tasks / n**2, 1),
    }


def main() -> None:
    """Print the rows, and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edges", type=int, nargs="+", default=[8, 16, 31, 64])
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    for n in options.edges:
        row = json.dumps(measure(n))
        print(row, flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(row + "\n")


if __name__ == "__main__":
    main()
