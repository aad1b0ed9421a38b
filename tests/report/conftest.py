"""Simulated cells for tests of statistics: drawn masks, and spots thrown on them."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.kernels.sectors import angle_bins
from deepspot_scale.vocabulary import CELLS


def draw_masks(rng, n, towards=0.0):
    """Area bins (n, 360) of elongated cells whose nuclei lie off the middle.

    Each nucleus is off by up to half of its way to the edge, in any direction, plus up
    to `towards` pixels along the reference.
    """
    y, x = np.mgrid[-62:63, -62:63]
    return np.array([_mask(rng, y, x, towards) for _ in range(n)])


def _mask(rng, y, x, towards):
    long = rng.uniform(35, 60)
    short = long * rng.uniform(0.4, 1)
    radius = rng.uniform(10, 0.7 * min(short, 25))
    turn, way = rng.uniform(0, 2 * np.pi, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    along, across = x * cos + y * sin, y * cos - x * sin
    cell = (along / long) ** 2 + (across / short) ** 2 <= 1
    off = rng.uniform(0, 0.5)
    a, b = off * np.cos(way) * (long - radius), off * np.sin(way) * (short - radius)
    centre_x = a * cos - b * sin + towards * rng.uniform()
    centre_y = a * sin + b * cos
    nucleus = cell & (np.hypot(x - centre_x, y - centre_y) <= radius)
    rows, columns = np.nonzero(cell & ~nucleus)
    bins = angle_bins(
        rows - 62 - y[nucleus].mean(), columns - 62 - x[nucleus].mean(), 0
    )
    return np.bincount(bins, minlength=360)


def enriched(masks, factor):
    """Chance of a spot in each bin, higher within 60 degrees of the reference."""
    weight = masks.astype(float)
    weight[:, :60] *= factor
    weight[:, 300:] *= factor
    return weight / weight.sum(axis=1, keepdims=True)


def throw_cells(rng, masks, n, factor=1.0):
    """Spot bins and area bins, (n, 360) each, of cells with 20 to 300 spots."""
    chosen = rng.integers(0, len(masks), n)
    n_spots = np.exp(rng.uniform(np.log(20), np.log(301), n)).astype(int)
    chance = enriched(masks, factor)
    cells = [np.flatnonzero(chosen == m) for m in range(len(masks))]
    owner = np.concatenate([np.repeat(c, n_spots[c]) for c in cells])
    bins = [rng.choice(360, n_spots[c].sum(), p=chance[m]) for m, c in enumerate(cells)]
    flat = owner * 360 + np.concatenate(bins)
    return np.bincount(flat, minlength=n * 360).reshape(n, 360), masks[chosen]


def uneven_areas(rng, n):
    """Cytoplasm of cells whose nuclei are off their middle, anywhere."""
    angle = np.radians(np.arange(360) - rng.uniform(0, 360, (n, 1)))
    return np.round(60 * (1.2 + rng.uniform(0, 1, (n, 1)) * np.cos(angle))).astype(int)


def thrown(rng, areas, enrichment=1.0, n_spots=60):
    """Spots in proportion to area, denser within 60 degrees of the reference."""
    weight = areas.astype(float)
    weight[:, :60] *= enrichment
    weight[:, 300:] *= enrichment
    return rng.multinomial(n_spots, weight / weight.sum(axis=1, keepdims=True))


def gather(rng, spots, areas):
    """Move all spots of each cell into one bin, chosen by area."""
    chance = areas / areas.sum(axis=1, keepdims=True)
    return rng.multinomial(1, chance) * spots.sum(axis=1, keepdims=True)


def turn_cells(rng, spots, areas):
    """Turn each cell by any angle under its reference."""
    turns = rng.integers(0, 360, (len(spots), 1))
    bins = (np.arange(360) + turns) % 360
    return np.take_along_axis(spots, bins, 1), np.take_along_axis(areas, bins, 1)


def cells_table(spot_bins, area_bins, **columns):
    """`vocabulary.CELLS` with these bins, all other columns plain."""
    n = len(spot_bins)
    counts = np.sum(spot_bins, axis=1) if n else 0
    table = {c.name: [0] * n for c in CELLS} | {
        "row": "B",
        "column": "02",
        "field": "0",
        "channel": "FISH",
        "z": -1,
        "cell": np.arange(1, n + 1),
        "n_spots": counts,
        "n_spots_cytoplasm": counts,
        "reference_deg": 0.0,
        "touches_border": False,
        "area_bins": list(area_bins),
        "spot_bins": list(spot_bins),
    }
    return pd.DataFrame(table | columns)


@pytest.fixture(scope="session")
def cell_pool():
    """All of the above, since test files cannot import each other."""
    return SimpleNamespace(
        draw_masks=draw_masks,
        throw_cells=throw_cells,
        uneven_areas=uneven_areas,
        thrown=thrown,
        gather=gather,
        turn_cells=turn_cells,
        cells_table=cells_table,
    )
