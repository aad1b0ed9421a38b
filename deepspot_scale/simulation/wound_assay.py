"""Simulates one field of a wound assay with known truth: scene, spots and image.

A seeded generator comes in; label images, planted spots, the true cells and a
two-channel camera image go out. The drawing differs from that of the network's training
images: a monolayer of cells with outlines and nuclei beside a wound, one microscope,
one camera. Nothing here knows files or plates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from deepspot_scale.kernels.sectors import angle_bins, angle_deg, nearest_on_line
from deepspot_scale.simulation import drawing
from deepspot_scale.simulation.drawing import Image, Points, smooth_noise
from deepspot_scale.vocabulary import N_BINS, PROJECTED

Labels = NDArray[np.int32]
Numbers = NDArray[Any]

CHANNELS: Final = ("DAPI", "FISH")
SPOT_CHANNEL: Final = "FISH"
PIXEL_SIZE_UM: Final = (0.108, 0.108)

SIZE: Final = 1024
_GAIN, _OFFSET, READ_NOISE = 2.1, 104.0, 1.7
"""Of an sCMOS camera: counts per photoelectron, counts in the dark, electrons."""
_SIGMA, _SNR = (1.2, 1.9), (5.0, 25.0)
"""Range of a spot's standard deviation in pixels, and of its SNR."""
_WHOLE_CELL: Final = 25_000
"""Pixels of cytoplasm; smaller cells, mostly cut by the border, get fewer spots."""


@dataclass(frozen=True)
class AssayScene:
    """One field before it is imaged."""

    cells: Labels
    nuclei: Labels
    depth: Image
    """Distance of a pixel inside a cell from the cell's outline, in pixels."""
    wound: Points
    """(m, 2), corners (y, x) of the wound's edge."""
    centres: Points
    """(n, 2), nucleus centroids (y, x) of the cells 1 to n."""
    reference_deg: NDArray[np.float64]
    """(n,), direction from each centroid to the nearest point of the wound."""


def draw_scene(rng: np.random.Generator) -> AssayScene:
    """Draw one field: cells beside a wound at one of the four sides."""
    wound = _wound_at_left(rng)
    depth = _monolayer(rng, wound)
    turns = int(rng.integers(4))
    depth = np.ascontiguousarray(np.rot90(depth, turns))
    for _ in range(turns):
        wound = np.stack([SIZE - 1 - wound[:, 1], wound[:, 0]], axis=1)
    cells, nuclei = _add_nuclei(rng, depth)
    centres = _centroids(nuclei)
    to_wound = nearest_on_line(centres, wound) - centres
    return AssayScene(
        cells=cells,
        nuclei=nuclei,
        depth=np.where(cells > 0, depth, 0).astype(np.float32),
        wound=wound,
        centres=centres,
        reference_deg=angle_deg(to_wound[:, 0], to_wound[:, 1]),
    )


def _wound_at_left(rng: np.random.Generator) -> Points:
    """Return corners of a slightly wavy line from top to bottom, near the left side."""
    y = np.linspace(0, SIZE - 1, 9)
    swing = rng.uniform(8, 28) * np.sin(y / rng.uniform(110, 220) + rng.uniform(0, 6))
    tilt = rng.uniform(-0.06, 0.06) * (y - SIZE / 2)
    return np.stack([y, rng.uniform(0.13, 0.24) * SIZE + swing + tilt], axis=1)


def _monolayer(rng: np.random.Generator, wound: Points) -> Image:
    """Return each pixel's depth inside a cell; 0 or less between cells.

    Cells are Voronoi regions of jittered seeds under a wavy, stretched metric, limited
    to discs, separated by a gap, and right of the wound. They are drawn at half size,
    which suffices for smooth outlines.
    """
    half = SIZE // 2
    yy, xx = np.mgrid[:half, :half].astype(np.float32) * 2 + 0.5
    for scale, swing in ((64.0, 90), (20.0, 24)):
        yy += swing * (smooth_noise(rng, (half, half), scale) - 0.5)
        xx += swing * (smooth_noise(rng, (half, half), scale) - 0.5)
    spacing = rng.uniform(225, 260)
    seeds = np.mgrid[0 : SIZE + 1 : spacing, 0 : SIZE + 1 : spacing].reshape(2, -1).T
    seeds += rng.uniform(-0.28, 0.28, seeds.shape) * spacing
    nearest = np.full((half, half), np.inf, np.float32)
    second, depth = nearest.copy(), np.full((half, half), -np.inf, np.float32)
    for y, x in seeds:
        if rng.random() < 0.06:  # a hole in the monolayer
            continue
        angle, stretch = rng.normal(0, 0.5), rng.uniform(1.0, 1.35)
        along = (np.cos(angle) * (xx - x) + np.sin(angle) * (yy - y)) / stretch
        across = np.cos(angle) * (yy - y) - np.sin(angle) * (xx - x)
        distance = np.hypot(along, across)
        depth = np.where(distance < nearest, rng.uniform(115, 150) - distance, depth)
        second = np.minimum(second, np.maximum(nearest, distance))
        nearest = np.minimum(nearest, distance)
    depth = np.minimum(depth, (second - nearest) / 2 - rng.uniform(2, 4))
    edge = np.interp(np.arange(half) * 2 + 0.5, wound[:, 0], wound[:, 1])
    front = 4 + 36 * smooth_noise(rng, (half, half), 30.0)
    free = np.arange(half) * 2 + 0.5 - edge[:, None] - front
    depth = np.minimum(depth, free).astype(np.float32)
    return np.asarray(cv2.resize(depth, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR))


def _add_nuclei(rng: np.random.Generator, depth: Image) -> tuple[Labels, Labels]:
    """Draw cell labels, and in each cell an off-centre nucleus.

    Regions too small for a nucleus become background.
    """
    pieces = cv2.connectedComponents((depth > 0).astype(np.uint8), connectivity=4)[1]
    inside = cv2.distanceTransform((depth > 0).astype(np.uint8), cv2.DIST_L2, 3)
    cells, nuclei = np.zeros((2, *depth.shape), np.int32)
    order = np.argsort(pieces, axis=None, kind="stable")
    for pixels in np.split(order, np.cumsum(np.bincount(pieces.ravel()))[:-1])[1:]:
        room = inside.flat[pixels]
        if len(pixels) < 8000 or room.max() < 44:
            continue
        size = float(min(rng.uniform(34, 46), room.max() - 8))
        at = rng.choice(pixels[room >= size + 6])
        number = int(cells.max()) + 1
        cells.flat[pixels] = number
        nucleus = _nucleus(rng, size, divmod(int(at), depth.shape[1]), depth.shape)
        nuclei[nucleus & (cells == number)] = number
    return cells, nuclei


def _nucleus(
    rng: np.random.Generator,
    size: float,
    centre: tuple[int, int],
    shape: tuple[int, ...],
) -> NDArray[np.bool_]:
    """Return the mask of an ellipse with a slightly irregular outline."""
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    wave = rng.uniform(0, 0.06, 2)[:, None] * np.cos(
        np.array([[2], [3]]) * turn + rng.uniform(0, 6, (2, 1))
    )
    radius = size * (0.94 + wave.sum(axis=0))
    tilt, flat = rng.uniform(0, np.pi), rng.uniform(0.72, 0.95)
    u, v = radius * np.cos(turn), radius * flat * np.sin(turn)
    x = centre[1] + u * np.cos(tilt) - v * np.sin(tilt)
    y = centre[0] + u * np.sin(tilt) + v * np.cos(tilt)
    mask = np.zeros(shape, np.uint8)
    cv2.fillPoly(mask, [np.round(np.stack([x, y], axis=1)).astype(np.int32)], 1)
    return mask.astype(bool)


def _centroids(labels: Labels) -> Points:
    """Return (y, x) of the labels 1 to n."""
    y, x = np.nonzero(labels)
    number = labels[y, x]
    n = np.maximum(np.bincount(number), 1)
    sums = [np.bincount(number, weights=values) for values in (y, x)]
    return np.stack(sums, axis=1)[1:] / n[1:, None]


def plant_spots(
    rng: np.random.Generator, scene: AssayScene, enrichment: float
) -> pd.DataFrame:
    """Plant spots: 30 to 150 expected per cytoplasm, few in nuclei and outside.

    `enrichment` is the ratio of the density within 60 degrees of the wound's direction
    to the density elsewhere, in the typical cell; 1: spots are uniform in every cell.
    Columns: y, x (pixels), cell (0: outside), in_cytoplasm.
    """
    n_cells = len(scene.centres)
    cell, y, x = _cytoplasm(scene)
    whole = np.minimum(1.0, np.bincount(cell)[1:] / _WHOLE_CELL)  # cut cells have less
    expression = np.maximum(30.0, drawing.log_uniform(rng, 30, 150, n_cells) * whole)
    bins = _bins(scene, cell, y, x)
    facing = (bins < N_BINS // 6) | (bins >= N_BINS - N_BINS // 6)
    strength = enrichment ** rng.normal(1, 0.7, n_cells)  # cells differ
    weight = np.where(facing, strength[cell - 1], 1.0)
    chance = weight * (expression / np.bincount(cell, weight)[1:])[cell - 1]
    pixels = np.zeros(scene.cells.shape)
    pixels[y, x] = chance
    pixels[scene.nuclei > 0] = 0.05 * expression.sum() / (scene.nuclei > 0).sum()
    pixels[scene.cells == 0] = rng.uniform(2, 8) / (scene.cells == 0).sum()
    hit = np.repeat(np.arange(pixels.size), rng.poisson(pixels).ravel())
    rows, columns = np.unravel_index(hit, scene.cells.shape)
    shift = rng.uniform(-0.5, 0.5, (2, len(hit)))
    owner, outer = scene.cells[rows, columns], scene.nuclei[rows, columns] == 0
    return pd.DataFrame(
        {
            "y": rows + shift[0],
            "x": columns + shift[1],
            "cell": owner.astype(np.int64),
            "in_cytoplasm": (owner > 0) & outer,
        }
    )


def _cytoplasm(
    scene: AssayScene,
) -> tuple[Labels, NDArray[np.int64], NDArray[np.int64]]:
    """Return cell, y and x of every pixel of cytoplasm."""
    y, x = np.nonzero((scene.cells > 0) & (scene.nuclei == 0))
    return scene.cells[y, x], y, x


def _bins(
    scene: AssayScene, cell: Numbers, y: Numbers, x: Numbers
) -> NDArray[np.int64]:
    """Return the one-degree bin of each point around its cell's nucleus."""
    centre = scene.centres[cell - 1]
    return angle_bins(y - centre[:, 0], x - centre[:, 1], scene.reference_deg[cell - 1])


def true_cells(scene: AssayScene, spots: pd.DataFrame) -> pd.DataFrame:
    """Return the true cells of a field, as an error-free run would measure them."""
    n = len(scene.centres)

    def count(cell: Numbers, y: Numbers, x: Numbers) -> list[Numbers]:
        places = (cell.astype(np.int64) - 1) * N_BINS + _bins(scene, cell, y, x)
        return list(np.bincount(places, minlength=n * N_BINS).reshape(n, N_BINS))

    within = spots[spots["cell"] > 0]
    outer = within[within["in_cytoplasm"]]
    spot_bins = count(*(outer[name].to_numpy() for name in ("cell", "y", "x")))
    n_spots = np.bincount(within["cell"], minlength=n + 1)[1:]
    n_cytoplasm = np.bincount(outer["cell"], minlength=n + 1)[1:]
    return pd.DataFrame(
        {
            "acquisition": 0,
            "t": 0,
            "channel": SPOT_CHANNEL,
            "z": PROJECTED,
            "cell": np.arange(1, n + 1),
            "area": np.bincount(scene.cells.ravel(), minlength=n + 1)[1:],
            "n_spots": n_spots,
            "n_spots_nucleus": n_spots - n_cytoplasm,
            "n_spots_cytoplasm": n_cytoplasm,
            "reference_deg": scene.reference_deg,
            "area_bins": count(*_cytoplasm(scene)),
            "spot_bins": spot_bins,
        }
    )


def photograph(
    rng: np.random.Generator, scene: AssayScene, spots: pd.DataFrame
) -> NDArray[np.uint16]:
    """Return the camera image of a field: (channel, y, x), DAPI and FISH."""
    light = lamp(rng, scene.cells.shape)
    fish = light * autofluorescence(rng, scene)
    points = spots[["y", "x"]].to_numpy()
    rows, columns = np.round(points).astype(np.int64).T
    heights, sigmas = draw_brightness(rng, fish[rows, columns])
    fish += drawing.render_spots(fish.shape, points, heights, sigmas)
    return np.stack([expose(rng, light * nuclear_stain(rng, scene)), expose(rng, fish)])


def lamp(rng: np.random.Generator, shape: tuple[int, ...]) -> Image:
    """Return the light on each pixel, 1 in the middle of the field and less outside."""
    yy, xx = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    return np.asarray(1 - rng.uniform(0.08, 0.2) * (yy**2 + xx**2), np.float32)


def draw_brightness(
    rng: np.random.Generator, behind: Image
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw n spots' heights in photons, (n,), and sigmas along y and x, (n, 2).

    `behind` are the photons of the background at each spot, (n,): heights are drawn as
    multiples of its noise.
    """
    noise = np.sqrt(behind + READ_NOISE**2)
    typical = drawing.log_uniform(rng, 9, 15)
    snr = np.clip(typical * np.exp(rng.normal(0, 0.25, len(noise))), *_SNR)
    sigma = rng.normal(rng.uniform(1.4, 1.65), 0.1, (len(noise), 1))
    sigmas = np.clip(sigma + rng.normal(0, 0.04, (len(noise), 2)), *_SIGMA)
    return snr * noise, sigmas


def autofluorescence(rng: np.random.Generator, scene: AssayScene) -> Image:
    """Return photons per pixel of the FISH channel without spots."""
    shape = scene.cells.shape
    brightness = rng.uniform(0.65, 1.3, len(scene.centres) + 1)[scene.cells]
    body = 1 - np.exp(-scene.depth / 22)  # thin at the rim, thick in the middle
    grain = (
        0.35
        + 0.35 * smooth_noise(rng, shape, 7.0)
        + 0.5 * smooth_noise(rng, shape, 18.0)
        + 0.5 * smooth_noise(rng, shape, 60.0)
    )
    cells = brightness * (0.15 + body) * grain * (scene.cells > 0)
    nuclei = cv2.GaussianBlur((scene.nuclei > 0).astype(np.float32), (0, 0), 4)
    cells *= 1 - 0.3 * nuclei
    cells = cv2.GaussianBlur(cells.astype(np.float32), (0, 0), 1.6)
    y, x = np.nonzero((scene.depth > 25) & (scene.nuclei == 0))
    some = rng.integers(0, len(y), min(len(y), 3 * len(scene.centres)))
    vesicles = np.stack([y[some], x[some]], axis=1).astype(np.float64)
    heights = rng.uniform(0.1, 0.5, len(vesicles))
    sigmas = rng.uniform(4.0, 8.0, len(vesicles))
    cells += drawing.render_spots(shape, vesicles, heights, sigmas)
    small = cv2.resize(cells, None, fx=1 / 8, fy=1 / 8, interpolation=cv2.INTER_AREA)
    haze = cv2.resize(cv2.GaussianBlur(small, (0, 0), 8), shape[::-1])
    return np.asarray(rng.uniform(10, 24) + rng.uniform(60, 150) * (cells + 0.3 * haze))


def nuclear_stain(rng: np.random.Generator, scene: AssayScene) -> Image:
    """Return photons per pixel of the DAPI channel: chromatin on faint haze."""
    shape = scene.cells.shape
    brightness = rng.uniform(0.6, 1.3, len(scene.centres) + 1)[scene.nuclei]
    chromatin = 0.5 + smooth_noise(rng, shape, 5.0) * smooth_noise(rng, shape, 13.0)
    stain = (brightness * chromatin * (scene.nuclei > 0)).astype(np.float32)
    glow = cv2.GaussianBlur(stain, (0, 0), 14)
    sharp = cv2.GaussianBlur(stain, (0, 0), 1.8)
    photons = 9 + 5 * (scene.cells > 0) + rng.uniform(250, 450) * (sharp + 0.06 * glow)
    return np.asarray(photons, np.float32)


def expose(rng: np.random.Generator, photons: Image) -> NDArray[np.uint16]:
    """Add shot and read noise, gain and offset."""
    electrons = rng.poisson(np.maximum(photons, 0))
    read = READ_NOISE * rng.standard_normal(photons.shape, dtype=np.float32)
    counts = np.round(_OFFSET + _GAIN * (electrons + read))
    return np.clip(counts, 0, np.iinfo(np.uint16).max).astype(np.uint16)
