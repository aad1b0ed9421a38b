"""The README's picture of a movie: the mean of its frames beside its molecules.

deepspot-scale localise --demo --out RUN
python benchmarks/movie_picture.py RUN RUN.tif benchmarks/results/movie.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import tifffile
from PIL import Image

import deepspot_scale as ds
from deepspot_scale.io.plate import open_plate

EDGE = 480
"""Pixels of each half."""


def shade(image: np.ndarray, low: float, high: float) -> Image.Image:
    """Return an image in false colours, `EDGE` pixels high."""
    scaled = np.clip((image - low) / (high - low), 0, 1) ** 0.7
    colours = (mpl.colormaps["inferno"](scaled)[..., :3] * 255).astype(np.uint8)
    picture = Image.fromarray(colours)
    width = round(EDGE * image.shape[1] / image.shape[0])
    return picture.resize((width, EDGE), Image.Resampling.BOX)


def main(run: str, movie: str, out: str) -> None:
    """Draw both halves side by side."""
    mean = tifffile.imread(movie).astype(np.float64).mean(axis=0)
    stored = ds.open_run(run).movie_tables["movies"]["picture"][0]
    plate = open_plate(Path(run) / stored)
    molecules = plate.open(next(iter(plate))).read().astype(np.float64)
    lit = molecules[molecules > 0]
    before = shade(mean, float(np.quantile(mean, 0.01)), float(mean.max()))
    after = shade(molecules, 0.0, float(np.quantile(lit, 0.99)))
    both = Image.new("RGB", (before.width + 8 + after.width, EDGE), "white")
    both.paste(before, (0, 0))
    both.paste(after, (before.width + 8, 0))
    both.save(out, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
