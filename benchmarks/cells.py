"""How well cells are drawn round nuclei: simulated cells against `grow_cells`.

Scenes of the simulated wound assay with seeds of one's own, as they are and made
harder, are binned as the stage bins them. The true nuclei are grown in the spot channel
and the cells compared with the true ones, number by number.

    python -m benchmarks.cells --fields 8 --seed 700 >> results/cells.jsonl
"""

from __future__ import annotations

import argparse
import json
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.kernels.cell_growth import cells_at, grow_cells
from deepspot_scale.simulation import wound_assay

NUCLEUS_PX: Final = 14.0
"""Diameter of a nucleus on the reduced plane, as in the stage."""
FAR: Final = 3.0
"""Largest distance from its nucleus, in diameters, as in the stage."""
DARK: Final = 104.0
"""Counts without light, of the simulated camera."""
GAIN: Final = 2.1
"""Its counts for a photoelectron."""
KINDS: Final = ("plain", "dim", "faint", "uneven", "rim", "blank")

Labels = NDArray[np.int32]


def harder(
    counts: NDArray[Any], scene: wound_assay.AssayScene, kind: str, seed: int
) -> NDArray[Any]:
    """Return the counts of a spot channel in another light.

    dim, faint: the light over the background is a quarter, a twentieth, with the shot
    noise of that light. uneven: the lamp falls to half from one side to the other.
    rim: a stain of membranes, brightest 8 px inside the outline. blank: no light of
    cells at all.
    """
    rng = np.random.default_rng([seed, 18])
    light = counts - DARK
    low = max(float(np.percentile(light, 2)), 1.0)
    if kind == "plain":
        return counts
    if kind == "uneven":
        return DARK + light * np.linspace(1, 0.5, light.shape[1])
    if kind == "rim":
        edge = np.exp(-((scene.depth - 8) ** 2) / 32) * (scene.cells > 0)
        light = low + 2 * low * edge + 0.5 * low * (scene.cells > 0)
    else:
        share = {"dim": 0.25, "faint": 0.05, "blank": 0.0}[kind]
        light = np.maximum(low + share * (light - low), 0)
    return np.asarray(DARK + GAIN * rng.poisson(light / GAIN))


def overlaps(found: Labels, true: Labels) -> NDArray[np.float64]:
    """Return the intersection over union of cell i with true cell i, i from 1."""
    n = int(true.max())
    both = np.bincount(true[found == true], minlength=n + 1)[1:]
    either = (
        sum(
            np.bincount(np.minimum(x, n).ravel(), minlength=n + 1)[1:]
            for x in (found, true)
        )
        - both
    )
    return np.asarray(both / np.maximum(either, 1))


def bin_mean(plane: NDArray[Any], k: int) -> NDArray[Any]:
    """Return a plane of which each pixel is the mean of k x k."""
    rows, columns = (n // k for n in plane.shape)
    pieces = plane[: rows * k, : columns * k].reshape(rows, k, columns, k)
    return np.asarray(pieces.mean(axis=(1, 3)))


def measure(kind: str, seed: int) -> dict[str, Any]:
    """Return one row: a field's score."""
    rng = np.random.default_rng([seed, 17])
    scene = wound_assay.draw_scene(rng)
    spots = wound_assay.plant_spots(rng, scene, 1.0)
    fish = wound_assay.photograph(rng, scene, spots)[1].astype(np.float64)
    area = float(np.median(np.bincount(scene.nuclei.ravel())[1:]))
    diameter = 2 * np.sqrt(area / np.pi)
    k = max(1, round(diameter / NUCLEUS_PX))
    stain = bin_mean(harder(fish, scene, kind, seed), k)
    nuclei = scene.nuclei[k // 2 :: k, k // 2 :: k][: stain.shape[0], : stain.shape[1]]
    cells = grow_cells(nuclei, stain, far=FAR * diameter / k)
    found = cells_at(cells.labels, k, scene.nuclei, (0, 0))
    iou = overlaps(found, scene.cells)
    return {
        "kind": kind,
        "seed": seed,
        "source": cells.source,
        "n_cells": len(iou),
        "n_matched": int((iou >= 0.5).sum()),
        "mean_iou": round(float(np.mean(iou)), 3),
    }


def main(argv: list[str] | None = None) -> None:
    """Write one JSON row per field to standard output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fields", type=int, default=4)
    parser.add_argument("--seed", type=int, default=700)
    given = parser.parse_args(argv)
    for kind in KINDS:
        for n in range(given.fields):
            print(json.dumps(measure(kind, given.seed + n)), flush=True)


if __name__ == "__main__":
    main()
