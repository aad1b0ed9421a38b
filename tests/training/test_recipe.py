import json
import tomllib
from dataclasses import asdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspot_scale.config import difference
from deepspot_scale.errors import SettingsError
from deepspot_scale.networks.caso_resnet import Architecture
from deepspot_scale.training.recipe import (
    Recipe,
    make_recipe,
    read_recipe,
    recipe_json,
    recipe_text,
)


def from_text(text):
    return make_recipe(**tomllib.loads(text))


@settings(max_examples=50, deadline=None)
@given(
    steps=st.integers(1, 10**6),
    learning_rate=st.floats(1e-8, 1),
    dtype=st.sampled_from(["float32", "mixed_bfloat16", "mixed_float16"]),
    patience=st.none() | st.integers(1, 9),
    parts=st.lists(st.tuples(st.sampled_from(["var", "a b/ü"]), st.integers(1, 9))),
)
def test_a_recipe_read_back_is_the_one_written(
    steps, learning_rate, dtype, patience, parts
):
    mixture = [{"source": source, "patches": n} for source, n in parts]
    recipe = make_recipe(
        steps=steps,
        learning_rate=learning_rate,
        dtype=dtype,
        validation={"patience": patience},
        **({"mixture": mixture} if mixture else {}),
    )
    assert from_text(recipe_text(recipe)) == recipe
    assert make_recipe(**json.loads(recipe_json(recipe))) == recipe


def test_the_defaults_train_the_papers_network_without_dropout():
    paper = asdict(Architecture())
    assert asdict(Recipe().architecture) == {**paper, "dropout": 0.0}
    assert Recipe().batch == 16


def test_what_an_architecture_leaves_out_is_that_of_the_default():
    recipe = make_recipe(architecture={"filters": 32})
    assert recipe.architecture.filters == 32
    assert recipe.architecture.stems == Architecture().stems
    assert recipe.architecture.dropout == 0


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"learnin_rate": 1}, ("learnin_rate", "Did you mean 'learning_rate'")),
        ({"validation": {"evry": 3}}, ("validation.evry", "Did you mean 'every'")),
        (
            {"mixture": [{"source": "broad", "patchs": 3}]},
            ("mixture.0.patchs", "Did you mean 'patches'"),
        ),
        ({"architecture": {"filter": 3}}, ("'filter'", "Did you mean 'filters'")),
        ({"architecture": {"filters": 0}}, ("architecture", "1 or more")),
        ({"architecture": {"dropout": 1.0}}, ("architecture", "below 1")),
        ({"patch": 100}, ("patch", "multiple of 8")),
        ({"steps": 0}, ("steps", "greater than or equal to 1")),
        ({"dtype": "float16"}, ("dtype", "mixed_float16")),
        ({"mixture": []}, ("mixture", "at least 1")),
        (
            {"mixture": [{"source": "var", "patches": 1, "spots": (9, 3)}]},
            ("spots", "[9, 3]"),
        ),
        (
            {"mixture": [{"source": "var", "patches": 1, "size": 64}]},
            ("64 px", "128 px"),
        ),
        ({"validation": {"every": 0, "patience": 2}}, ("validation.every",)),
        ({"cross_entropy": 0, "maximum": 0}, ("cross_entropy or maximum",)),
    ],
)
def test_a_recipe_that_does_not_fit_says_where_and_why(values, words):
    with pytest.raises(SettingsError) as caught:
        make_recipe(**values)
    for word in words:
        assert word in str(caught.value)


def test_paths_of_a_recipe_are_those_beside_its_file(tmp_path):
    (tmp_path / "train.toml").write_text(
        'start_from = "old/weights.safetensors"\n'
        '[[mixture]]\nsource = "images"\npatches = 24\n'
        '[[mixture]]\nsource = "var"\npatches = 8\n'
    )
    recipe = read_recipe(tmp_path / "train.toml")
    assert recipe.mixture[0].source == str(tmp_path / "images")
    assert recipe.mixture[1].source == "var"
    assert recipe.start_from == str(tmp_path / "old" / "weights.safetensors")
    assert recipe.batch == 32


def test_a_shipped_model_to_start_from_is_no_path(tmp_path):
    (tmp_path / "train.toml").write_text('start_from = "deepspot"\n')
    assert read_recipe(tmp_path / "train.toml").start_from == "deepspot"


@pytest.mark.parametrize("text", ["steps = ", "steps : 3", "\x00"])
def test_a_file_that_is_no_toml_is_named(text, tmp_path):
    path = tmp_path / "train.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"train\.toml is no TOML"):
        read_recipe(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"train\.toml cannot be read"):
        read_recipe(tmp_path / "train.toml")


def test_the_difference_of_recipes_names_what_changed_and_nothing_else():
    old, new = make_recipe(steps=5), make_recipe(steps=6, seed=1)
    assert difference(old, old) == []
    assert difference(old, new) == ["steps: 5 there, now 6", "seed: 0 there, now 1"]
