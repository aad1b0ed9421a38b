import math
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest

from deepspot_scale.config import checked
from deepspot_scale.errors import RunError, SettingsError
from deepspot_scale.io.tables import Folder
from deepspot_scale.training.log import read_log
from deepspot_scale.training.recipe import make_recipe, read_recipe
from deepspot_scale.training.search import (
    Search,
    SearchRange,
    TuneConfig,
    read_tune,
    trial_recipe,
    tuned_recipe,
)
from deepspot_scale.training.study import (
    counts,
    open_study,
    search_space,
    state_of,
    take_up,
)
from deepspot_scale.training.tuning import run_trial, tune


class Killed(BaseException):
    """Stands for a signal that ends the process."""


@pytest.fixture
def make_config(make_quick, tmp_path):
    """Make a tuning of trials of two steps and two validations."""

    def make(**values):
        defaults = {
            "recipe": make_quick(),
            "search": {"learning_rate": {"low": 1e-3, "high": 1e-1, "log": True}},
            "out": str(tmp_path / "tune"),
            "trials": 2,
            "patches": 4,
            "validations": 2,
            "reduction": 2,
            "cuts": 1,
        }
        return checked(TuneConfig, {**defaults, **values})

    return make


# -- what is searched ------------------------------------------------------------------


def test_a_tuning_is_read_with_a_recipe_from_another_file(tmp_path):
    (tmp_path / "train.toml").write_text(
        '[[mixture]]\nsource = "real"\npatches = 24\n'
        '[[mixture]]\nsource = "var"\npatches = 8\n'
    )
    (tmp_path / "tune.toml").write_text(
        'recipe = "train.toml"\nout = "found"\n'
        "[search]\nlearning_rate = { low = 1e-4, high = 1e-2, log = true }\n"
        "batch = [16, 32]\nfilters = [64, 128]\n"
    )
    config = read_tune(tmp_path / "tune.toml")
    assert config.recipe.mixture[0].source == str(tmp_path / "real")
    assert config.out == str(tmp_path / "found")
    assert config.search.learning_rate == SearchRange(low=1e-4, high=1e-2, log=True)
    assert config.search.dropout is None


def test_a_tuning_is_read_with_its_recipe_in_the_same_file(tmp_path):
    (tmp_path / "tune.toml").write_text(
        '[recipe]\nsteps = 5\n[[recipe.mixture]]\nsource = "real"\npatches = 4\n'
        "[search]\ndropout = { low = 0.0, high = 0.3 }\n"
    )
    config = read_tune(tmp_path / "tune.toml")
    assert config.recipe.mixture[0].source == str(tmp_path / "real")
    assert config.recipe.steps == 5


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"search": {"filtres": [1, 2]}}, ("search.filtres", "Did you mean 'filters'")),
        ({"trails": 3}, ("trails", "Did you mean 'trials'")),
        ({"recipe": {"stepps": 3}}, ("recipe.stepps", "Did you mean 'steps'")),
        ({"search": {}}, ("search is empty", "learning_rate")),
        ({"search": {"dropout": {"low": 0.2, "high": 0.1}}}, ("search.dropout", "low")),
        ({"search": {"dropout": {"low": 0, "high": 1}}}, ("below 1",)),
        ({"search": {"filters": [0, 8]}}, ("1 or more",)),
        ({"search": {"learning_rate": {"low": 0, "high": 1}}}, ("learning_rate",)),
        ({"search": {"batch": [3, 16]}}, ("batch of 3", "6 : 10")),
        ({"validations": 8}, ("at least 9 validations",)),
        ({"recipe": {"validation": {"every": 0}}}, ("compared by validation",)),
    ],
)
def test_a_tuning_that_does_not_fit_says_where_and_why(values, words):
    with pytest.raises(SettingsError) as caught:
        checked(TuneConfig, {"recipe": {}, "search": {"batch": [8, 16]}, **values})
    for word in words:
        assert word in str(caught.value)


def test_chosen_values_change_the_recipe_and_nothing_else():
    recipe = make_recipe(steps=5)
    chosen = {"learning_rate": 0.5, "dropout": 0.25, "filters": 32, "batch": 32}
    got = tuned_recipe(recipe, chosen)
    assert got.learning_rate == 0.5
    assert (got.architecture.dropout, got.architecture.filters) == (0.25, 32)
    assert [part.patches for part in got.mixture] == [12, 20]
    same = {name: getattr(recipe, name) for name in ("learning_rate", "architecture")}
    assert got.model_copy(update={**same, "mixture": recipe.mixture}) == recipe


@pytest.mark.parametrize("batch", [8, 16, 32])
def test_every_trial_learns_from_as_many_patches_and_is_tried_as_often(batch):
    config = checked(
        TuneConfig,
        {"recipe": {}, "search": {"batch": [8, 16, 32]}, "patches": 32 * 360},
    )
    recipe = trial_recipe(config, {"batch": batch})
    assert recipe.steps * recipe.batch == config.patches
    assert recipe.steps == recipe.validation.every * config.validations
    assert recipe.validation.patience is None


def test_the_search_space_is_that_of_the_file():
    search = checked(Search, {"filters": [8, 16], "dropout": {"low": 0, "high": 0.5}})
    space = search_space(search)
    assert list(space) == ["dropout", "filters"]
    assert space["filters"].choices == (8, 16)
    assert (space["dropout"].low, space["dropout"].high) == (0, 0.5)
    assert not space["dropout"].log


# -- tunings ---------------------------------------------------------------------------


def test_a_tuning_leaves_a_table_a_figure_and_a_recipe_to_train(eager, make_config):
    config = make_config()
    ended = []
    table = tune(config, on_trial=lambda so_far: ended.append(len(so_far)))
    assert ended == [1, 2]
    out = Folder(config.out).local_path
    stored = pd.read_csv(out / "trials.csv")
    assert list(stored["trial"]) == list(table["trial"]) == [0, 1]
    complete = table[table["state"] == "complete"]
    assert len(complete) >= 1
    assert set(table["state"]) <= {"complete", "pruned"}
    for trial, value in zip(complete["trial"], complete["value"], strict=True):
        course = read_log(Folder(str(out / "trials" / f"{trial:04d}")))
        assert value == pytest.approx(course[-1].validation, rel=1e-6)
    best = read_recipe(out / "best.toml")
    winner = complete.loc[complete["value"].idxmin()]
    assert best == tuned_recipe(
        config.recipe, {"learning_rate": winner["learning_rate"]}
    )
    assert (out / "trials.png").read_bytes().startswith(b"\x89PNG")
    # Called again, there is nothing left to do; asked for more, only that is done.
    assert len(tune(config, on_trial=lambda so_far: ended.append(0))) == 2
    assert ended == [1, 2]


def test_a_killed_tuning_goes_on_with_the_trial_that_was_under_way(eager, make_config):
    config = make_config(trials=1)
    study = open_study(config)
    trial = study.ask(search_space(config.search))
    recipe = trial_recipe(config, trial.params)
    out = Folder(config.out).local_path / "trials" / "0000"
    from deepspot_scale.training.trainer import train

    def kill(row):
        raise Killed

    with pytest.raises(Killed):
        train(recipe, out, on_step=kill)  # after one step, which is in its checkpoint
    table = tune(config)
    assert list(table["state"]) == ["interrupted", "complete"]
    assert table["learning_rate"].nunique() == 1
    moved = out.with_name("0001")
    assert not out.exists()
    assert [row.step for row in read_log(Folder(str(moved)))] == [1, 2]


def test_trials_run_on_the_workers_of_a_dask_client(eager, make_config):
    from distributed import Client

    config = make_config(trials=2, resources={"GPU": 1})
    with Client(
        processes=False,
        n_workers=1,
        threads_per_worker=2,
        dashboard_address=":0",
        resources={"GPU": 1},
        set_as_default=False,
    ) as client:
        table = tune(config, client)
    assert set(table["state"]) <= {"complete", "pruned"}
    assert len(table) == 2
    # A study made in one process was written to by the workers' tasks.
    study = open_study(config)
    assert all(trial.intermediate_values for trial in study.trials)


def test_workers_without_the_resources_are_an_error(make_config):
    from distributed import Client

    with (
        Client(
            processes=False, n_workers=1, dashboard_address=":0", set_as_default=False
        ) as client,
        pytest.raises(SettingsError, match="GPU"),
    ):
        tune(make_config(resources={"GPU": 1}), client)


def test_a_trial_that_falls_behind_is_given_up(eager, make_config):
    config = make_config(patches=4)
    study = open_study(config)
    leader = study.ask(search_space(config.search))
    leader.report(-math.inf, 2)  # no trial is better at the first cut
    assert not leader.should_prune()
    trial = study.ask(search_space(config.search))
    out = Folder(config.out).local_path / "behind"
    outcome = run_trial(trial, trial_recipe(config, trial.params), out)
    assert outcome.state == "pruned"
    assert len(read_log(Folder(str(out)))) == 1


def test_a_training_that_diverges_is_no_end_of_the_tuning(
    eager, make_config, make_quick, tmp_path
):
    from deepspot_scale.networks.caso_resnet import build
    from deepspot_scale.networks.weights import write_weights

    architecture = make_quick().architecture
    bad = [np.full_like(array, np.nan) for array in build(architecture).get_weights()]
    write_weights(tmp_path / "bad.safetensors", bad, architecture)
    recipe = make_quick(start_from=str(tmp_path / "bad.safetensors"))
    with pytest.raises(RunError, match=r"no trial .* loss is nan"):
        tune(make_config(recipe=recipe))
    table = pd.read_csv(Folder(str(tmp_path / "tune")).local_path / "trials.csv")
    assert list(table["state"]) == ["diverged", "diverged"]


def test_images_that_no_trial_can_use_end_the_tuning(make_config, make_quick):
    recipe = make_quick(mixture=[{"source": "brod", "patches": 1}])
    with pytest.raises(SettingsError, match="Did you mean 'broad'"):
        tune(make_config(recipe=recipe))


def test_a_folder_with_another_tuning_is_refused_with_what_differs(
    make_config, make_quick, tmp_path
):
    unfit = make_quick(mixture=[{"source": "brod", "patches": 1}])
    with pytest.raises(SettingsError):
        tune(make_config(recipe=unfit))
    for change in ({"seed": 5}, {"recipe": make_quick(seed=5)}):
        with pytest.raises(RunError, match="seed: 0 there, now 5"):
            tune(make_config(**{"recipe": unfit, **change}))
    # More trials are the same tuning: it fails for its images again.
    with pytest.raises(SettingsError, match="broad"):
        tune(make_config(recipe=unfit, trials=9))
    text = (tmp_path / "tune" / "tune.toml").read_text()
    assert tomllib.loads(text)["trials"] == 9


# -- the study -------------------------------------------------------------------------


def test_interrupted_trials_are_queued_once_with_their_values(make_config):
    config = make_config()
    study = open_study(config)
    first = study.ask(search_space(config.search))
    take_up(open_study(config))
    study = open_study(config)
    assert [state_of(trial) for trial in study.trials] == ["interrupted", "waiting"]
    assert not any(counts(trial) for trial in study.trials)
    again = study.ask(search_space(config.search))
    assert again.params == first.params
    assert again.user_attrs == {"goes_on": 0}
    other = study.ask(search_space(config.search))
    assert other.params != first.params


def test_a_study_taken_up_does_not_choose_the_same_again(make_config):
    chosen = []
    for _ in range(4):
        study = open_study(make_config())
        trial = study.ask(search_space(make_config().search))
        study.tell(trial, 1.0)
        chosen.append(trial.params["learning_rate"])
    assert len(set(chosen)) == 4


def test_without_optuna_the_error_says_what_to_install(make_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SettingsError, match=r"pip install 'deepspot-scale\[tune\]'"):
        tune(make_config())
