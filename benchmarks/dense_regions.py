"""Counts in dense regions, on stacks of a simulator that is not ours.

pip install sim-fish==0.2.0 big-fish-reloaded==0.6.3 mrc
python benchmarks/dense_regions.py [--out ROWS.jsonl]

Stacks of 300 molecules, 60 of them in three clusters of 20 (sim-fish); how many are
found, as they are detected and after dense regions are taken apart, by fit and by
brightness.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import xarray as xr

import deepspot_scale as ds
from deepspot_scale.evaluation.matching import match_one_to_one

TRUE, MOST_OFF = 300, 0.03
KINDS = {
    "sim-fish's defaults": {"amplitude": 5000, "noise_level": 300},
    "dim": {"amplitude": 1000, "noise_level": 300, "random_noise": 0.2},
    "heights +-30 %": {
        "amplitude": 5000,
        "noise_level": 300,
        "random_amplitude": 0.3,
    },
}


def main() -> None:
    """Print a row for each stack, and append it to a file."""
    import simfish  # not needed for anything else here

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stacks", type=int, default=5, help="of each kind")
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--out", type=Path, default=None)
    options = parser.parse_args()
    np.random.seed(options.seed)  # noqa: NPY002 - sim-fish draws from it
    for kind, values in KINDS.items():
        stacks = simfish.simulate_images(
            options.stacks,
            ndim=3,
            n_spots=TRUE,
            n_clusters=3,
            n_spots_cluster=20,
            image_shape=(32, 256, 256),
            voxel_size=(300, 103, 103),
            sigma=(350, 150, 150),
            **values,
        )
        for number, (counts, truth) in enumerate(stacks):
            image = xr.DataArray(counts, dims=("z", "y", "x"))
            enhanced = ds.enhance(image, volume=True)
            whole = ds.detect(enhanced, raw=image, volume=True, decompose=False)
            spots = ds.detect(enhanced, raw=image, volume=True)
            places = spots[["z", "y", "x"]].to_numpy()
            row = {
                "kind": kind,
                "stack": number,
                "true": len(truth),
                "detected": len(whole),
                "taken apart": len(spots),
                "by brightness": round(float(spots["molecules"].sum()), 1),
                "F1": round(match_one_to_one(places, truth[:, :3], (2, 2, 2)).f1, 4),
                "bar": f"within {MOST_OFF:.0%}",
                "met": abs(len(spots) - len(truth)) <= MOST_OFF * len(truth),
            }
            print(json.dumps(row), flush=True)
            if options.out:
                with options.out.open("a") as file:
                    file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
