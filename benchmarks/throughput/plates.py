"""Writes simulated plates of any number and size of fields, with masks.

Numbers come in, OME-Zarr plates go out. A few fields are drawn and written repeatedly,
so that large plates are written quickly. Nothing here measures.
"""

from __future__ import annotations

import os
import shutil
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepspot_scale.io.ome_zarr.writing import (
    ImageLayout,
    create_image,
    create_plate,
    write_image,
    write_labels,
    write_window,
)
from deepspot_scale.simulation import render_spots, smooth_noise
from deepspot_scale.vocabulary import FieldAddress

CELL_PX = 256
"""Edge in pixels of the square around each cell."""
SPOTS_PER_PIXEL = 1e-3
ROWS = "ABCDEFGHIJKLMNOP"
COLUMNS = 24
DRAWN = 4
"""Different fields of a plate; the others are copies."""


@lru_cache(maxsize=8)
def draw_field(size: int, seed: int = 0) -> tuple[NDArray[Any], ...]:
    """Return counts, cells and nuclei of one field of size x size pixels."""
    rng = np.random.default_rng(seed)
    n = int(size * size * SPOTS_PER_PIXEL)
    background = 200 + 300 * smooth_noise(rng, (size, size), min(90, size // 4))
    points = rng.uniform(0, size - 1, (n, 2))
    heights = np.exp(rng.uniform(np.log(80), np.log(800), n))
    widths = rng.uniform(1.0, 2.0, n)
    light = background + render_spots((size, size), points, heights, widths)
    counts = rng.normal(light, np.sqrt(light)).clip(0, 65535).astype(np.uint16)
    return counts, *draw_cells(size)


def draw_cells(size: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return round cells on a grid, with slightly off-centre nuclei."""
    edge = min(CELL_PX, size)
    y, x = np.indices((size, size), np.int32)
    number = y // edge * -(-size // edge) + x // edge + 1
    off_y, off_x = y % edge - edge / 2, x % edge - edge / 2
    cells = np.where(off_y**2 + off_x**2 < (0.47 * edge) ** 2, number, 0)
    nuclei = np.where(off_y**2 + (off_x - edge / 16) ** 2 < (edge / 5) ** 2, number, 0)
    return cells.astype(np.uint32), nuclei.astype(np.uint32)


def addresses(n: int) -> list[FieldAddress]:
    """Return n addresses in up to 384 wells."""
    wells = [(row, f"{column + 1:02d}") for row in ROWS for column in range(COLUMNS)]
    wells = wells[: min(n, len(wells))]
    return [
        FieldAddress(*wells[i % len(wells)], str(i // len(wells))) for i in range(n)
    ]


def write_fields(target: Path, n: int, size: int, *, labels: bool = True) -> str:
    """Write a plate of n fields of size x size pixels in chunks of up to 512."""
    places = addresses(n)
    create_plate(target, places)
    layout = ImageLayout(
        "cyx", (1, size, size), np.uint16, ("FISH",), (0.1, 0.1), min(512, size)
    )
    for number, address in enumerate(places):
        path = target / address.path
        if number >= DRAWN:
            source = target / places[number % DRAWN].path
            shutil.copytree(source, path, copy_function=os.link)
            continue
        counts, cells, nuclei = draw_field(size, number)
        write_image(target, address, counts[None], layout)
        if labels:
            write_labels(target, address, "cells", cells)
            write_labels(target, address, "nuclei", nuclei)
    return str(target)


def write_mosaic(target: Path, size: int, *, tile: int = 2048) -> str:
    """Write a plate of one field of size x size pixels, tile after tile, no labels."""
    (address,) = addresses(1)
    create_plate(target, [address])
    layout = ImageLayout("cyx", (1, size, size), np.uint16, ("FISH",), (0.1, 0.1))
    create_image(target, address, layout)
    for number, y in enumerate(range(0, size, tile)):
        for x in range(0, size, tile):
            counts = draw_field(tile, (number + x // tile) % DRAWN)[0]
            piece = counts[: size - y, : size - x]
            window = slice(y, min(y + tile, size)), slice(x, min(x + tile, size))
            write_window(target, address, piece, index={"c": 0}, window=window)
    return str(target)
