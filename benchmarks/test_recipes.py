"""The recipes of shipped weights are read, and are of the shipped networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspot_scale.networks.families import find_family
from deepspot_scale.networks.weights import find_weights, shipped_models
from deepspot_scale.training.recipe import read_recipe

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.toml"))
EXAMPLES = {"deep-storm", "localise", "rater-expert", "subpixel8"}
"""Recipes of networks that are not shipped."""


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_of_its_models_network(path: Path) -> None:
    recipe = read_recipe(path)
    if path.stem in EXAMPLES:
        network = find_family(recipe.family).build(recipe.architecture)
        assert network.count_params() > 10_000
        return
    # Of a training in parts, each has its number.
    model = path.stem
    model = model if model in shipped_models() else model.rpartition("-")[0]
    weights = find_weights(model)
    assert recipe.family == weights.family.name
    assert recipe.architecture == weights.architecture
