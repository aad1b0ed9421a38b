"""A simulated expert: images, scores of a taste of her own, a judge trained on them.

The taste is not the detector's F1: sharp images and bright spots please, dirt does not,
and she scores with a spread of a tenth. Of her images a share is left
out of the training; the error is taken against her own scores of these.
"""

from __future__ import annotations

import csv
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import expit
from scipy.stats import spearmanr

from deepspot_scale.networks.engine_types import EngineChoice
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.simulation.degradations import KINDS, Degradation, photograph
from deepspot_scale.simulation.fish_scenes import draw_fish_scene
from deepspot_scale.training.recipe import Recipe, make_recipe
from deepspot_scale.training.trainer import train
from deepspot_scale.verbs.rating import rate

IMAGES, EDGE, SEED = 300, 384, 77
NOISE = 0.1
"""Standard deviation of the expert's scores around her taste."""
STEPS = 3000
"""Of the training."""


def draw_image(number: int) -> NDArray[np.uint16]:
    """Return an image with up to two degradations."""
    rng = np.random.default_rng((SEED, number))
    scene = draw_fish_scene(rng, EDGE)
    names = list(KINDS)
    what = [
        Degradation(str(rng.choice(names)), float(rng.random()), number)
        for _ in range(rng.integers(0, 3))
    ]
    return photograph(scene, what, rng).astype(np.uint16)


def taste(image: NDArray[np.uint16]) -> float:
    """Return how an image pleases, 0 to 1: by its signal, its sharpness, its dirt.

    Signal: how far the brightest half of a percent stands out of the noise. Sharpness:
    how much stronger structures of one pixel are than those of four. Dirt: the share
    of pixels in broad bright bodies.
    """
    counts = image.astype(np.float64)
    noise = np.median(np.abs(counts[:, 2:] - counts[:, :-2])) / 0.954 + 0.5
    fine, broad = (
        gaussian_filter(counts, s) - gaussian_filter(counts, 2 * s) for s in (1, 4)
    )
    signal = np.log(np.quantile(fine, 0.995) / noise + 0.05)
    sharp = np.log((np.quantile(fine, 0.995) + 1e-3) / (broad.std() + 1e-3))
    smooth = gaussian_filter(counts, 6)
    dirty = float(np.mean(smooth > np.median(smooth) + 20 * noise))
    return float(expit(1.2 * (signal - 0.3) + 0.8 * (sharp - 1.0) - 4 * dirty))


def write_images(folder: Path) -> dict[str, float]:
    """Write images and the expert's scores, 0 to 100; return these, 0 to 1."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    scores = {}
    for number in range(IMAGES):
        image = draw_image(number)
        liked = taste(image)
        name = f"{number:03d}"
        tifffile.imwrite(folder / "images" / f"{name}.tif", image)
        scores[name] = float(np.clip(liked + rng.normal(0, NOISE), 0, 1))
    with (folder / "scores.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["image", "score"])
        table.writerows((name, f"{100 * s:.1f}") for name, s in scores.items())
    return scores


def recipe_of(folder: Path, start: str, seed: int = 0) -> Recipe:
    """Return the recipe of a judge with this expert's taste."""
    network = find_weights(start).architecture.to_dict()
    return make_recipe(
        family=find_weights(start).family.name,
        architecture=network | {"outputs": ["score"]},
        start_from=start,
        take="leading",
        mixture=[{"source": str(folder), "patches": 16}],
        patch=find_weights(start).family.grid,
        steps=STEPS,
        learning_rate=1e-3,
        average=0.998,
        dtype="float32",
        seed=seed,
        rating={"left_out": 0.1},
        # Thirty images say too little to choose the best step by: the last is taken.
        validation={"every": 100, "held_out": 0.1, "patches": 128},
        save_every=200,
    )


def judge_by_expert(work: Path, start: str) -> dict[str, Any]:
    """Train a judge on the expert's scores; return its error on images left out."""
    folder = work / "expert"
    scores = write_images(folder)
    told, seconds = [], 0.0
    for seed in range(3):  # three splits: 30 images alone say little
        out = work / f"judge-{seed}"
        began = time.process_time()
        file = train(recipe_of(folder, start, seed), out, threads=1)
        seconds = max(seconds, time.process_time() - began)
        for row in csv.DictReader((out / "split.csv").open()):
            if row["use"] == "left out":
                name = row["image"]
                score = _rate(folder / "images" / f"{name}.tif", str(file))
                told.append((score, scores[name]))
    one, other = np.array(told).T
    known = np.isfinite(one)  # of an image of one value there is no score
    one, other, unrated = one[known], other[known], int(np.sum(~known))
    return {
        "images": IMAGES,
        "left_out": len(told),
        "unrated": unrated,
        "rmse": round(float(np.sqrt(np.mean(np.square(one - other)))), 4),
        "rmse_of_the_mean": round(float(other.std()), 4),
        "rank_correlation": round(float(spearmanr(one, other).statistic), 4),
        "cpu_seconds": round(seconds, 1),
        "bars": {"rmse": 0.13, "cpu_seconds": 1200},
    }


def _rate(file: Path, model: str) -> float:
    import xarray as xr

    image = xr.DataArray(tifffile.imread(file), dims=("y", "x"))
    engine = EngineChoice(model, precision="float32", threads=1)
    return float(rate(image, engine=engine)["score"].iloc[0])
