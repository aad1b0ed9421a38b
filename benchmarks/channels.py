"""Bars of channels compared, on beads that two channels show.

python benchmarks/channels.py DATA/beads_two_channels [--out ROWS.jsonl]

The shift is measured on the beads themselves; they are found in raw images and in
enhanced ones, both at the default settings.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tifffile
import xarray as xr

import deepspot_scale as ds

LEAST_SHARE, MOST_RESIDUAL = 0.97, 0.25


def find(path: Path, *, enhanced: bool) -> pd.DataFrame:
    """Return the spots of one channel."""
    image = xr.DataArray(tifffile.imread(path), dims=("y", "x"))
    if enhanced:
        return ds.detect(ds.enhance(image), raw=image)
    return ds.detect(image, method="raw")


def measure(folder: Path, *, enhanced: bool) -> dict[str, Any]:
    """Return one row."""
    one, other = (
        find(path, enhanced=enhanced) for path in sorted(folder.glob("*.tif"))
    )
    shift = ds.measure_chromatic_shift(one, other)
    found = ds.colocalise(one, other, shift=shift)
    distances = found.pairs["distance"].to_numpy()
    share = len(distances) / min(len(one), len(other))
    residual = float(np.sqrt((distances**2).mean()))
    return {
        "detected on": "enhanced" if enhanced else "raw",
        "beads": [len(one), len(other)],
        "shift, px": [round(shift.dy, 2), round(shift.dx, 2)],
        "pairs": len(distances),
        "share of the channel with fewer": round(share, 4),
        "share met": share >= LEAST_SHARE,
        "residual, root mean square, px": round(residual, 3),
        "residual, median, px": round(float(np.median(distances)), 3),
        "residual met": residual <= MOST_RESIDUAL,
    }


def main() -> None:
    """Print two rows, and append them to a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    for enhanced in (False, True):
        row = measure(options.data, enhanced=enhanced)
        print(json.dumps(row), flush=True)
        if options.out:
            with options.out.open("a") as file:
                file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
