"""The judge of image quality against what it promises, row by row.

    python -m benchmarks.rating draw
    python -m benchmarks.rating join JUDGE1.safetensors --model JUDGE2.safetensors \
        --work rater.safetensors
    python -m benchmarks.rating fresh [--model NAME] [--fields N]
    python -m benchmarks.rating ladders DATA [--model NAME]
    python -m benchmarks.rating expert [--model NAME] [--work DIR]
    python -m benchmarks.rating speed [--model NAME]

*draw* draws the ladders that `recipes/rater-1.toml` learns from before it does.
*join* writes the mean of the weights of its two parts, which is what is shipped.
*fresh* compares scores with the measured F1 of fields that no training saw. *ladders*
makes images under DATA worse in steps, by code that the training does not share, and
counts the steps in which the score falls. *expert* trains on the scores of a simulated
expert. *speed* adds the rating to the enhancement of a field. `--out` appends a row to
a file of JSON lines.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import load_file, save_file
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from benchmarks.rating_expert import judge_by_expert
from deepspot_scale.blockwise.answers import ENHANCED, IMAGE
from deepspot_scale.blockwise.lifting import read_whole
from deepspot_scale.blockwise.planning import plan_pipeline
from deepspot_scale.blockwise.rounds import reduce_rounds
from deepspot_scale.evaluation.matching import Score
from deepspot_scale.networks.engine_types import DEFAULT_MODEL, EngineChoice
from deepspot_scale.simulation.degradations import KINDS, Degradation, photograph
from deepspot_scale.simulation.fish_scenes import draw_fish_scene
from deepspot_scale.stages.brightness import Normalisation
from deepspot_scale.stages.enhancement import Enhancement
from deepspot_scale.stages.rating import Rater
from deepspot_scale.training.rating_ladders import LadderSet, SpotFinder
from deepspot_scale.training.recipe import read_recipe
from deepspot_scale.verbs.rating import rate

RECIPE = Path(__file__).parent / "recipes" / "rater-1.toml"
FRESH_SEED = 20_261
"""Of fields that no training and no choice ever saw."""
AT_THE_MICROSCOPE = [
    name for name, kind in KINDS.items() if kind.of_scene or name == "saturation"
]
"""Kinds of degradations of fresh fields."""
FIELD = 1024
"""Edge of a fresh field in pixels."""
STEPS = 5
"""Images of a ladder, the original one included."""
ELECTRONS = (100.0, 1000.0)
"""Photons that the brightest thousandth of a real image is taken to have; nobody
knows."""


def rate_array(image: NDArray[Any], model: str) -> float:
    """Return the score of an image (y, x), as a run gives it in float32."""
    import xarray as xr

    engine = EngineChoice(model, precision="float32", threads=1)
    table = rate(xr.DataArray(image, dims=("y", "x")), engine=engine)
    return float(table["score"].iloc[0])


# -- fresh fields ----------------------------------------------------------------------


def draw_fresh(number: int) -> tuple[NDArray[np.uint16], NDArray[np.float64]]:
    """Return a field with up to two degradations, and its true spots (n, 2).

    They are those that happen at a microscope, of any severity; what is done to stored
    counts afterwards is a matter of *ladders*.
    """
    rng = np.random.default_rng((FRESH_SEED, number))
    scene = draw_fish_scene(rng, FIELD)
    degradations = [
        Degradation(str(rng.choice(AT_THE_MICROSCOPE)), float(rng.random()), number)
        for _ in range(rng.choice(3, p=(0.2, 0.5, 0.3)))
    ]
    counts = photograph(scene, degradations, rng)
    return counts.astype(np.uint16), scene.points


def measure_fresh(model: str, fields: int) -> dict[str, Any]:
    """Return RMSE and rank correlation of scores with the measured F1 of fields."""
    finder = SpotFinder.of()
    rows = []
    for number in range(fields):
        image, points = draw_fresh(number)
        marks = finder.look(image).mark(points)
        hits = int(marks.is_found.sum())
        f1 = Score(len(points), len(marks.found), hits).f1
        rows.append((rate_array(image, model), f1))
    score, f1 = np.array(rows).T
    known = np.isfinite(score)  # of an image of one value there is none
    score, f1, unrated = score[known], f1[known], int(np.sum(~known))
    rng = np.random.default_rng(0)
    draws = [rng.integers(0, len(f1), len(f1)) for _ in range(1000)]
    return {
        "fields": fields,
        "unrated": unrated,
        "rmse": _rmse(score, f1),
        "rmse_interval": _interval([_rmse(score[d], f1[d]) for d in draws]),
        "rank_correlation": float(spearmanr(score, f1).statistic),
        "rank_interval": _interval(
            [float(spearmanr(score[d], f1[d]).statistic) for d in draws]
        ),
        "bias": float((score - f1).mean()),
        "rmse_of_the_mean": float(f1.std()),
        "bars": {"rmse": 0.08, "rank_correlation": 0.9},
    }


def _rmse(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean((one - other) ** 2)))


def _interval(values: list[float]) -> list[float]:
    return [round(float(v), 4) for v in np.quantile(values, [0.025, 0.975])]


# -- real images made worse ------------------------------------------------------------


def real_images(data: Path) -> Iterator[tuple[str, str, NDArray[Any]]]:
    """Yield set, name and pixels (y, x) of the real images under a folder."""
    for folder in ("spots_on_tissue", "iss_tissue", "beads", "beads_two_channels"):
        for path in sorted((data / folder).iterdir()):
            if path.suffix.lower() in (".png", ".tif"):
                image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                grey = image if image.ndim == 2 else image[..., 0]
                yield folder, path.name, grey


def blurred(image: NDArray[Any], step: int, _: np.random.Generator) -> Any:
    """Return an image blurred by 0.7 px more each step."""
    return gaussian_filter(image.astype(float), 0.7 * step)


def thinned(image: NDArray[Any], step: int, rng: np.random.Generator) -> Any:
    """Return an image with half of its photons each step, at the same brightness."""
    dark, gain = _camera(image, rng)
    share = 0.5**step
    left = rng.poisson(np.maximum(image - dark, 0) / gain * share)
    return dark + left / share * gain


def brightened(image: NDArray[Any], step: int, rng: np.random.Generator) -> Any:
    """Return an image with more light everywhere, and its shot noise."""
    gain = _camera(image, rng)[1]
    spots = (np.quantile(image, 0.999) - np.median(image)) / gain
    more = rng.poisson(spots * 0.5 * (2**step - 1), image.shape)
    return image + more * gain


def _camera(image: NDArray[Any], rng: np.random.Generator) -> tuple[float, float]:
    """Return a guess at counts in the dark and counts of a photon."""
    dark, bright = np.quantile(image, [0.001, 0.999])
    photons = np.exp(rng.uniform(*np.log(ELECTRONS)))
    return float(dark), float((bright - dark) / photons)


WAYS = {"blur": blurred, "photons": thinned, "background": brightened}


def measure_ladders(model: str, data: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return the share of steps in which the score of a real image falls."""
    rows = []
    for folder, name, image in real_images(data):
        for way, worse in WAYS.items():
            scores = []
            for step in range(STEPS):
                rng = np.random.default_rng(5)  # the same camera at each step
                made = worse(image, step, rng) if step else image
                # Numbers as wide as needed: light that is added must not saturate.
                counts = np.maximum(np.round(made), 0)
                fits = counts.max() <= np.iinfo(np.uint16).max
                kind = np.uint16 if fits else np.uint32
                scores.append(rate_array(counts.astype(kind), model))
            falls = np.diff(scores) < 0
            rows.append(
                (folder, name, way, int(falls.sum()), falls.size, np.round(scores, 4))
            )
    columns = ["set", "image", "way", "falls", "steps", "scores"]
    table = pd.DataFrame(rows, columns=columns)
    share = table["falls"].sum() / table["steps"].sum()
    return {
        "images": int(table["image"].nunique()),
        "steps": int(table["steps"].sum()),
        "falls": round(float(share), 4),
        **{f"falls by {k}": v for k, v in _shares(table, "way").items()},
        **{f"falls in {k}": v for k, v in _shares(table, "set").items()},
        "bars": {"falls": 0.95},
    }, table


def _shares(table: pd.DataFrame, by: str) -> dict[str, float]:
    sums = table.groupby(by)[["falls", "steps"]].sum()
    return (sums["falls"] / sums["steps"]).round(4).to_dict()


# -- time ------------------------------------------------------------------------------


def measure_speed(model: str, repeats: int = 15) -> dict[str, Any]:
    """Return the seconds of a 2048 px field on two cores, without and with rating."""
    scene = draw_fish_scene(np.random.default_rng(1), 2048)
    image = scene.photograph(np.random.default_rng(2)).astype(np.uint16)
    engine = EngineChoice(DEFAULT_MODEL, threads=2)
    enhance = Enhancement.of(engine, in_volume=False)  # as a run has it
    rater = Rater.of(EngineChoice(model, precision="float32", threads=2))
    alone = {"brightness": Normalisation().work(), "enhance": enhance.work()}
    works = {
        "alone": plan_pipeline(alone, wanted=(ENHANCED,)),
        "rated": plan_pipeline(alone | {"rate": rater.work()}, wanted=(ENHANCED,)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, pipeline in works.items():
            began, cpu = time.perf_counter(), time.process_time()
            blocks = pipeline.blocks((2048, 2048))
            reduce_rounds(pipeline, blocks, read_whole({IMAGE: image}))
            seconds[name].append(time.perf_counter() - began)
            seconds.setdefault(f"{name} cpu", []).append(time.process_time() - cpu)
    least = {name: round(min(values), 4) for name, values in seconds.items()}
    more = np.subtract(seconds["rated cpu"], seconds["alone cpu"])
    return {
        "seconds": least,
        "added_cpu_median": round(float(np.median(more)), 4),
        "added": round(least["rated cpu"] / least["alone cpu"] - 1, 4),
        "bars": {"added": 0.05},
    }


def draw() -> Iterator[int]:
    """Draw the recipe's ladders that are not there yet."""
    ranges = read_recipe(RECIPE).rating
    ladders = LadderSet(ranges)
    for number in range(ranges.ladders):
        ladders.take(number)
        yield number


def join(one: Path, two: Path, out: Path) -> None:
    """Write the mean of two networks' weights, with the text of the second."""
    with safe_open(two, "numpy") as file:
        text = file.metadata()
    first, second = load_file(one), load_file(two)
    both = {
        name: ((first[name].astype(np.float64) + array) / 2).astype(array.dtype)
        for name, array in second.items()
    }
    save_file(both, out, text)


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Return the numbers of one row."""
    if given.what == "fresh":
        return measure_fresh(given.model, given.fields)
    if given.what == "ladders":
        row, table = measure_ladders(given.model, given.data)
        print(table.to_string())
        return row
    if given.what == "expert":
        work = given.work or Path(tempfile.mkdtemp())
        return judge_by_expert(work, start=given.model)
    return measure_speed(given.model) | {"processors": os.cpu_count()}


def main() -> None:
    """Print one row, and append it to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words = ("draw", "join", "fresh", "ladders", "expert", "speed")
    parser.add_argument("what", choices=words)
    parser.add_argument("data", nargs="?", type=Path)
    parser.add_argument("--model", default="rater")
    parser.add_argument("--fields", type=int, default=200)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.what == "join":
        join(given.data, Path(given.model), given.work)
        return
    if given.what == "draw":
        for number in draw():
            if number % 50 == 0:
                print(number, flush=True)
        return
    row = {"what": given.what, "model": Path(given.model).stem} | measure(given)
    print(json.dumps(row, indent=1))
    if given.out:
        with given.out.open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
