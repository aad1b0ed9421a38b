"""What the training patches of shipped models look like, for the check of domain.

    python -m benchmarks.domains write deepspot-fast=deepspot-fast-5
    python -m benchmarks.domains check DATA/nuclei

`write` measures the patches of a recipe in `benchmarks/recipes`, with which a model was
last trained, and stores them in ``domains.json`` beside the shipped weights; folders
that the recipe names must be there. Trainings of today store their domain in the
weights file; this is for weights that were trained before. `check` says how many images
of a folder, every fifth one, lie outside the domain of `nuclei`: as they are, and
changed so that the network has seen nothing like it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage as ndi

from deepspot_scale.evaluation.object_scores import (
    segment_array,
    segmentation_pipeline,
)
from deepspot_scale.io.image_files.paired_files import list_pairs
from deepspot_scale.networks.domains import FILE, Domain, find_domain
from deepspot_scale.networks.weights import SHIPPED, find_weights
from deepspot_scale.training.recipe import read_recipe
from deepspot_scale.training.tasks import open_scenes
from deepspot_scale.training.trainer import batch_shares
from deepspot_scale.training.training_domain import measure_domain

RECIPES = Path(__file__).parent / "recipes"
CHANGES: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "as they are": lambda image: image,
    "inverted": lambda image: image.max() - image,
    "blurred, sigma 6 px": lambda image: ndi.gaussian_filter(image.astype(float), 6),
    "their square": lambda image: np.square(image.astype(float)),
    "stripes of 20 px": lambda image: image + 0.5 * image.max() * _stripes(image),
}


def _stripes(image: NDArray[Any]) -> NDArray[Any]:
    return (np.arange(image.shape[1]) // 20 % 2).astype(float)


def measure(recipe_name: str) -> Domain | None:
    """Return the domain of a recipe's patches."""
    recipe = read_recipe(RECIPES / f"{recipe_name}.toml")
    learn, _ = batch_shares(recipe, open_scenes(recipe))
    return measure_domain(learn, seed=recipe.seed)


def write(words: Sequence[str]) -> None:
    """Measure and store."""
    file = SHIPPED / FILE
    known = json.loads(file.read_text("utf-8"))
    for word in words:
        model, _, recipe = word.partition("=")
        domain = measure(recipe)
        if domain is None:
            print(f"{model}: its patches are too small or no planes")
            continue
        values = json.loads(domain.to_text())
        known[model] = {"sha256": find_weights(model).sha256, **values}
        print(f"{model}: {len(domain.patches)} patches")
    lines = [f"{json.dumps(name)}: {json.dumps(of)}" for name, of in known.items()]
    file.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def check(folder: Path) -> dict[str, tuple[int, int]]:
    """Return for each change how many images are outside, and how many there are."""
    domain = find_domain(find_weights("nuclei"))
    if domain is None:
        raise SystemExit("the domain of nuclei is not known: write it first")
    pipeline = segmentation_pipeline("nuclei")
    images = [pair.read()[0] for pair in list_pairs(folder, "images", "labels")[4::5]]
    outside = {}
    for name, change in CHANGES.items():
        seen = [segment_array(change(image), pipeline)[1] for image in images]
        n = sum(domain.distance(image).is_outside for image in seen)
        outside[name] = (n, len(images))
    return outside


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb == "write":
        write(words)
    else:
        for change, (n, of) in check(Path(words[0])).items():
            print(f"{change}: {n} of {of} outside")
