"""What a network of dyes learns from, and that it learns."""

from __future__ import annotations

import numpy as np
import pytest

from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.weights import find_weights
from deepspot_scale.training.dye_recipe import DyeRanges
from deepspot_scale.training.dye_scenes import dye_pairs, open_dyes
from deepspot_scale.training.patches import BatchShare, PatchSettings, draw_batch
from deepspot_scale.training.recipe import make_recipe, read_recipe
from deepspot_scale.training.trainer import train

DYES = [{"source": "dyes", "patches": 32}]


def test_windows_come_with_their_dye_and_depend_on_the_seed_alone() -> None:
    share = BatchShare(dye_pairs(DyeRanges()), 40, PatchSettings(11))
    images, answers = draw_batch([share], seed=1, step=2)
    assert (images.shape, answers.shape) == ((40, 11, 11, 1), (40, 1, 1, 2))
    assert (answers.sum(axis=-1) == 1).all()
    again = draw_batch([share], seed=1, step=2)
    np.testing.assert_array_equal(images, again[0])


def test_sharper_windows_are_of_the_first_dye() -> None:
    source = dye_pairs(DyeRanges(photons=(1e5, 1e5)))
    pairs = list(source.draw_pairs(np.random.default_rng(0), 200))
    second = np.array([answer[0, 0, 1] for _, answer in pairs], bool)
    peaks = np.array([window.max() for window, _ in pairs])
    assert peaks[~second].mean() > 1.2 * peaks[second].mean()


def test_a_recipe_trains_weights_of_its_family(tmp_path) -> None:
    recipe = make_recipe(
        family="dye_classifier",
        architecture={"filters": [4]},
        mixture=DYES,
        patch=11,
        steps=3,
        dtype="float32",
        validation={"every": 3, "patches": 32},
    )
    weights = find_weights(train(recipe, tmp_path / "out"))
    assert weights.family.name == "dye_classifier"
    assert weights.architecture.filters == (4,)


@pytest.mark.parametrize("mixture", [DYES * 2, [{"source": "paper", "patches": 2}]])
def test_other_mixtures_are_refused(mixture) -> None:
    recipe = make_recipe(family="dye_classifier", patch=11, mixture=mixture)
    with pytest.raises(SettingsError, match=r"table \[dyes\] alone"):
        open_dyes(recipe)


def test_the_source_is_no_folder_beside_the_recipe(tmp_path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(
        'family = "dye_classifier"\npatch = 11\n'
        'mixture = [{ source = "dyes", patches = 8 }]\n'
    )
    assert read_recipe(path).mixture[0].source == "dyes"
