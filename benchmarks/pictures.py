"""Draws the README's picture: a raw and an enhanced image and the spots found.

deepspot-scale demo --out DEMO
python benchmarks/pictures.py DEMO benchmarks/results/demo.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import deepspot_scale as ds

SIDE = 300
"""Edge of the crop in pixels."""


def main() -> None:
    """Draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    tree = ds.open_plate(options.demo / "plate.zarr")["B/02/0"]
    raw = tree["image"].sel(c="FISH").load()
    cells = tree["labels/cells/labels"].load()
    enhanced = ds.enhance(raw)
    spots = ds.detect(enhanced, raw=raw)
    top, left = 420, 640
    cut = np.s_[top : top + SIDE, left : left + SIDE]
    low, high = np.quantile(raw, (0.01, 0.998))
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    panels = figure.subplots(1, 3)
    titles = ("raw", "enhanced: every spot equally bright", "found, with cells")
    images = (raw.values, enhanced.values, raw.values)
    limits = ((low, high), (0, 1), (low, high))
    for axes, title, image, (vmin, vmax) in zip(
        panels, titles, images, limits, strict=True
    ):
        axes.imshow(image[cut], cmap="gray", vmin=vmin, vmax=vmax)
        axes.set_title(title, fontsize=12)
        axes.set_axis_off()
    panels[2].contour(cells.values[cut] > 0, [0.5], colors="#56b4e9", linewidths=1.2)
    panels[2].plot(
        spots["x"] - left,
        spots["y"] - top,
        "o",
        markerfacecolor="none",
        markeredgecolor="#e69f00",
        markersize=7,
    )
    panels[2].set_xlim(-0.5, SIDE - 0.5)
    panels[2].set_ylim(SIDE - 0.5, -0.5)
    figure.savefig(options.picture, dpi=90)


if __name__ == "__main__":
    main()
