"""Bars of volumes: ``python benchmarks/volumes.py [--out ROWS.jsonl]``.

Simulated stacks of `simulation.stacks` at the default settings: F1 by number and
brightness of spots, doubles by anisotropy, errors of the place. A match is one to one,
within 2 px in the plane and 2 planes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

import deepspot_scale as ds
from deepspot_scale.evaluation.matching import pair_one_to_one
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

REACH = (2.0, 2.0, 2.0)
VOXEL_NM = (300.0, 103.0, 103.0)
NUMBERS, PEAKS = (100, 500, 1500, 4000), (15.0, 4.0)
F1_BARS = {15.0: (0.98, 0.98, 0.96, 0.90), 4.0: (0.98, 0.98, 0.95, 0.88)}
PLACE_BARS = {15.0: (25.0, 12.0), 4.0: (50.0, 24.0)}
ANISOTROPIES = (1, 2, 3, 5)


def find(kind: StackKind, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return found and true places (n, 3) of one stack."""
    truth = simulate_stack(kind, seed)
    stack = xr.DataArray(truth.image.astype(np.uint16), dims=("z", "y", "x"))
    enhanced = ds.enhance(stack, volume=True)
    spots = ds.detect(enhanced, raw=stack, volume=True)
    return spots[["z", "y", "x"]].to_numpy(), truth.points


def iter_rows(n_stacks: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row a bar."""
    for peak in PEAKS:
        for n, bar in zip(NUMBERS, F1_BARS[peak], strict=True):
            scores, errors = [], []
            for number in range(n_stacks):
                kind = StackKind(spots=n, peak=peak)
                found, true = find(kind, seed + number)
                pairs = pair_one_to_one(found, true, REACH)
                scores.append(2 * len(pairs) / max(len(found) + len(true), 1))
                errors.append(found[pairs[:, 0]] - true[pairs[:, 1]])
            z, y, x = np.sqrt((np.concatenate(errors) ** 2).mean(axis=0)) * VOXEL_NM
            what = f"{n} spots, peak {peak:g} sd"
            f1 = float(np.mean(scores))
            yield {"what": what, "measure": "F1", "bar": bar, "measured": round(f1, 4)}
            if n == 500:
                error = (round(float(z), 1), round(float(np.hypot(y, x) / 2**0.5), 1))
                bars = PLACE_BARS[peak]
                names = ("RMSE z, nm", "RMSE y or x, nm")
                for name, most, value in zip(names, bars, error, strict=True):
                    row = {"what": what, "measure": name, "bar": most}
                    yield row | {"measured": value}
    for anisotropy in ANISOTROPIES:
        sigma = (1.456 * 350 / 150 / anisotropy, 1.456, 1.456)
        found, _ = find(StackKind(spots=300, sigma=sigma), seed)
        near = cKDTree(found / (2.0, 1.0, 1.0)).query_pairs(1.0)
        what = f"anisotropy {anisotropy}, 300 spots"
        yield {
            "what": what,
            "measure": "pairs within 2 planes and 1 px",
            "bar": 0,
            "measured": len(near),
        }


def main() -> None:
    """Print the rows, and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=3, help="of each kind")
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    for row in iter_rows(options.stacks, options.seed):
        line = json.dumps(row | {"stacks": options.stacks, "seed": options.seed})
        print(line, flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(line + "\n")


if __name__ == "__main__":
    main()
