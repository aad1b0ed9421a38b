"""The table of a recipe for networks of objects."""

from __future__ import annotations

import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.training.nuclei_recipe import NUCLEI, NucleiRanges
from deepspot_scale.training.recipe import make_recipe, read_recipe, recipe_text


def test_every_fifth_image_is_left_out_unless_the_recipe_says_other():
    assert NucleiRanges().left_out == 5
    recipe = make_recipe(family="star_convex", nuclei={"left_out": 3})
    assert recipe.nuclei.left_out == 3


@pytest.mark.parametrize(
    "wrong", [{"left_out": -1}, {"diameter": [1, 2, 3]}, {"colour": 2}]
)
def test_a_wrong_number_is_named(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        make_recipe(family="star_convex", nuclei=wrong)


def test_the_simulated_source_is_no_folder_beside_the_recipe(tmp_path):
    path = tmp_path / "r.toml"
    path.write_text(
        'family = "star_convex"\npatch = 32\n'
        'mixture = [{ source = "nuclei", patches = 2 }, '
        '{ source = "mine", patches = 1 }]\n'
    )
    simulated, folder = read_recipe(path).mixture
    assert simulated.source == NUCLEI
    assert folder.source == str(tmp_path / "mine")


def test_a_written_recipe_is_read_as_it_was(tmp_path):
    recipe = make_recipe(family="star_convex", nuclei={"diameter": [12.0, 20.0]})
    path = tmp_path / "r.toml"
    path.write_text(recipe_text(recipe))
    assert read_recipe(path).nuclei == recipe.nuclei
