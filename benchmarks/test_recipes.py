"""The recipes of shipped weights are read, and are of the shipped networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepspot_scale.networks.weights import find_weights
from deepspot_scale.training.recipe import read_recipe

RECIPES = sorted((Path(__file__).parent / "recipes").glob("*.toml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_of_its_models_network(path: Path) -> None:
    weights = find_weights(path.stem.rpartition("-")[0])
    recipe = read_recipe(path)
    assert recipe.family == weights.family.name
    assert recipe.architecture == weights.architecture
