"""How much memory does a client take at a run's end? Prints and keeps one row.

    python benchmarks/client_memory.py --out benchmarks/results/client_memory.jsonl

A run folder of synthetic cells is written part by part, as workers write it; then a
process of its own writes the summary tables, and another one the report.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepspot_scale.io.tables import Folder
from deepspot_scale.runs.contents import OLD, write_contents
from deepspot_scale.runs.manifest import commit_part
from deepspot_scale.settings import make_settings, write_settings
from deepspot_scale.vocabulary import CELLS, DONE, SPOTS, Column

WELLS = [
    (row, f"{column:02d}") for row in "ABCDEFGHIJKLMNOP" for column in range(1, 25)
]
SETTINGS = make_settings(channels=("FISH",), cells="cells", nuclei="nuclei")


def fill(columns: tuple[Column, ...], n: int, **values: Any) -> pd.DataFrame:
    """Return n rows with a 0 or an empty text where nothing is said."""
    blank = {c.name: "" if c.dtype == "string" else 0 for c in columns}
    return pd.DataFrame(blank | values, index=range(n))


def draw_bins(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return spots and area per degree of n cells, spots denser at the reference."""
    angle = np.radians(np.arange(360) - rng.uniform(0, 360, (n, 1)))
    areas = np.round(60 * (1.2 + rng.uniform(0, 1, (n, 1)) * np.cos(angle)))
    chance = areas * np.where(np.abs(np.arange(360) - 180) > 120, 1.3, 1.0)
    n_spots = rng.integers(5, 120, n)
    spots = rng.multinomial(n_spots, chance / chance.sum(axis=1, keepdims=True))
    return spots.astype(np.int32), areas.astype(np.int32)


def make_run(folder: Folder, n_cells: int) -> None:
    """Write the parts of a run: four fields a well, one part each."""
    write_contents(folder, OLD)
    folder.write("settings.toml", write_settings(SETTINGS).encode())
    facts = {"input": {"source": "gone.zarr", "name": "synthetic", "n_fields": 1536}}
    folder.write("provenance.json", json.dumps(facts).encode())
    rng, each = np.random.default_rng(0), n_cells // (4 * len(WELLS))
    for row, column in WELLS:
        for field in "0123":
            name, place = f"{row}-{column}-{field}", (row, column, field)
            address = dict(zip(("row", "column", "field"), place, strict=True))
            spots, areas = draw_bins(rng, each)
            cells = fill(CELLS, each, **address, channel="FISH", z=-1)
            cells["cell"] = np.arange(1, each + 1)
            cells["n_spots"] = cells["n_spots_cytoplasm"] = spots.sum(axis=1)
            cells["spot_bins"], cells["area_bins"] = list(spots), list(areas)
            told = {"status": DONE, "n_planes": 1, "n_cells": each, "part": name}
            fields = fill(OLD.fields, 1, **address, **told)
            tables = {"spots": fill(SPOTS, 0), "cells": cells}
            commit_part(folder, name, tables, fields, OLD)


def end_run(folder: Folder, step: str) -> None:
    """Do one step of a run's end here, and print how high memory went."""
    map_ = pd.DataFrame(WELLS, columns=["row", "column"])
    map_["condition"] = ["treated" if row < "I" else "control" for row in map_["row"]]
    if step == "summary":
        from deepspot_scale.runs.summarise import summarise_run
    else:
        from deepspot_scale.report.page import write_report
    began, before = time.monotonic(), _peak_mb()
    if step == "summary":
        summarise_run(folder, SETTINGS, map_, SETTINGS.channels)
    else:
        write_report(folder.local_path)
    row = {"seconds": round(time.monotonic() - began, 1), "before_mb": before}
    print(json.dumps(row | {"peak_mb": _peak_mb()}))


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    """Measure, print a row, append it where asked."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--cells", type=int, default=350_000)
    words.add_argument("--folder", type=Path, help="keep the run here")
    words.add_argument("--step", choices=["summary", "report"], help="of --folder only")
    words.add_argument("--out", type=Path)
    given = words.parse_args()
    if given.step:
        end_run(Folder(str(given.folder)), given.step)
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = given.folder or Path(temporary) / "RUN"
        make_run(Folder(str(place)), given.cells)
        row: dict[str, Any] = {"cells": given.cells, "wells": len(WELLS)}
        for step in ("summary", "report"):
            command = [sys.executable, __file__, "--folder", str(place), "--step", step]
            told = subprocess.run(
                command, check=True, stdout=subprocess.PIPE, text=True
            )
            row[step] = json.loads(told.stdout.splitlines()[-1])
    print(json.dumps(row))
    if given.out:
        with given.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
