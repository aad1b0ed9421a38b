"""Bars of volumes, and their picture.

python benchmarks/volumes.py [--out ROWS.jsonl] [--picture volumes.png]

Stacks of `simulation.stacks`, all at the default settings: F1 by number and brightness
of spots, beside that of the maximum projection; errors of the place; doubles by
anisotropy. A match is one to one, within 2 px in the plane and 2 planes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from scipy.spatial import KDTree

import deepspot_scale as ds
from deepspot_scale.evaluation.matching import pair_one_to_one
from deepspot_scale.simulation.stacks import StackKind, simulate_stack

REACH = (2.0, 2.0, 2.0)
VOXEL_NM = np.array([300.0, 103.0, 103.0])
NUMBERS, PEAKS = (100, 500, 1500, 4000), (15.0, 4.0)
F1_BARS = {15.0: (0.98, 0.98, 0.96, 0.90), 4.0: (0.98, 0.98, 0.95, 0.88)}
PLACE_BARS = {15.0: (25.0, 12.0), 4.0: (50.0, 24.0)}
ANISOTROPIES = (1, 2, 3, 5)

Places = np.ndarray[Any, np.dtype[np.float64]]


def draw(kind: StackKind, seed: int) -> tuple[xr.DataArray, Places]:
    """Return a stack and the (n, 3) places of its spots."""
    truth = simulate_stack(kind, seed)
    image = xr.DataArray(truth.image.astype(np.uint16), dims=("z", "y", "x"))
    return image, truth.points


def find(image: xr.DataArray) -> pd.DataFrame:
    """Return the spots of a stack."""
    enhanced = ds.enhance(image, volume=True)
    return ds.detect(enhanced, raw=image, volume=True)


def find_projected(image: xr.DataArray) -> pd.DataFrame:
    """Return the spots of its maximum projection."""
    flat = image.max("z")
    return ds.detect(ds.enhance(flat), raw=flat)


def score(found: Places, true: Places) -> float:
    """Return F1."""
    pairs = pair_one_to_one(found, true, REACH[: found.shape[1]])
    return 2 * len(pairs) / max(len(found) + len(true), 1)


def iter_rows(n_stacks: int, seed: int) -> Iterator[dict[str, Any]]:
    """Yield one row a measure; those with a bar say whether it is met."""
    for peak in PEAKS:
        for n, bar in zip(NUMBERS, F1_BARS[peak], strict=True):
            scores, projected, errors = [], [], []
            for number in range(n_stacks):
                image, true = draw(StackKind(spots=n, peak=peak), seed + number)
                found = find(image)[["z", "y", "x"]].to_numpy()
                scores.append(score(found, true))
                flat = find_projected(image)[["y", "x"]].to_numpy()
                projected.append(score(flat, true[:, 1:]))
                pairs = pair_one_to_one(found, true, REACH)
                errors.append(found[pairs[:, 0]] - true[pairs[:, 1]])
            what = {"spots": n, "peak_sd": peak}
            yield _row(what, "F1", float(np.mean(scores)), bar)
            yield _row(what, "F1 of the projection", float(np.mean(projected)))
            if n == 500:
                squares = (np.concatenate(errors) * VOXEL_NM) ** 2
                z, yx = np.sqrt(squares[:, 0].mean()), np.sqrt(squares[:, 1:].mean())
                for axis, value, most in zip(
                    ("z", "y or x"), (z, yx), PLACE_BARS[peak], strict=True
                ):
                    yield _row(what, f"RMSE {axis}, nm", float(value), most, most=True)
    for anisotropy in ANISOTROPIES:
        sigma = (1.456 * 350 / 150 / anisotropy, 1.456, 1.456)
        doubles = 0
        for number in range(n_stacks):
            image, true = draw(StackKind(spots=300, sigma=sigma), seed + number)
            found = find(image)[["z", "y", "x"]].to_numpy()
            doubles += count_doubles(found, true)
        what = {"spots": 300, "anisotropy": anisotropy}
        yield _row(what, "doubles in 2 planes", float(doubles), 0.0, most=True)


def count_doubles(found: Places, true: Places) -> int:
    """Return how many spots that match none lie beside one that does."""
    matched = pair_one_to_one(found, true, REACH)[:, 0]
    others = np.setdiff1d(np.arange(len(found)), matched)
    if not len(others) or not len(matched):
        return 0
    distance, _ = KDTree(found[matched] / REACH).query(found[others] / REACH)
    return int((distance <= 1).sum())


def _row(
    what: dict[str, Any],
    measure: str,
    value: float,
    bar: float | None = None,
    *,
    most: bool = False,
) -> dict[str, Any]:
    row = {**what, "measure": measure, "measured": round(value, 4)}
    if bar is None:
        return row
    met = value <= bar if most else round(value, 4) >= bar
    return row | {"bar": f"{'<=' if most else '>='} {bar:g}", "met": met}


def draw_picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Draw a stack from above and from the side with its spots, and F1 by number."""
    image, _ = draw(StackKind((32, 128, 128), spots=60, peak=8.0), 2)
    spots = find(image)
    figure = Figure(figsize=(11, 4), layout="constrained")
    above, side, chart = figure.subplots(1, 3, width_ratios=(1, 1, 1.3))
    ring = {"mfc": "none", "mec": "#e69f00", "ms": 9, "mew": 1.2}
    above.imshow(image.max("z"), cmap="gray")
    above.plot(spots["x"], spots["y"], "o", **ring)
    above.set_title("from above (maximum over z)")
    aspect = float(VOXEL_NM[0] / VOXEL_NM[2])
    side.imshow(image.max("y"), cmap="gray", aspect=aspect)
    side.plot(spots["x"], spots["z"], "o", **ring)
    side.set_title("from the side (maximum over y)")
    for axes in (above, side):
        axes.set_axis_off()
    for measure, style, name in (
        ("F1", "o-", "volume"),
        ("F1 of the projection", "s--", "projection"),
    ):
        for peak, colour in zip(PEAKS, ("#0072b2", "#d55e00"), strict=True):
            own = [
                (row["spots"], row["measured"])
                for row in rows
                if row["measure"] == measure and row.get("peak_sd") == peak
            ]
            label = f"{name}, peak {peak:g} sd"
            chart.plot(*zip(*own, strict=True), style, color=colour, label=label)
    chart.set(xscale="log", xlabel="spots in 26 x 26 x 10 um", ylabel="F1")
    chart.set_ylim(0, 1.02)
    chart.legend(frameon=False)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Print the rows, append them to a file and draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=5, help="of each kind")
    parser.add_argument("--seed", type=int, default=900)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--picture", type=Path, default=None)
    options = parser.parse_args()
    rows = []
    for row in iter_rows(options.stacks, options.seed):
        rows.append(row | {"stacks": options.stacks, "seed": options.seed})
        print(json.dumps(rows[-1]), flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(rows[-1]) + "\n")
    if options.picture:
        draw_picture(rows, options.picture)


if __name__ == "__main__":
    main()
