"""Tuning: a search comes in, a table of trials and the best recipe go out.

    OUT/study.journal           Optuna's own record of every trial
    OUT/tune.toml               the configuration
    OUT/trials/0007/            the training of each trial
    OUT/trials.csv, trials.png  their results
    OUT/best.toml               the recipe with the best values, for a full training

Optuna chooses the values and stops trials that fall behind (asynchronous successive
halving, Li et al. 2020, https://arxiv.org/abs/1810.05934); Dask runs one trial on each
worker. The last validation loss of the averaged weights is minimised. Workers need
Optuna, and OUT and the images under the same paths. A tuning that was killed continues
when it is called again; its running trials continue at their last checkpoint. Nothing
here knows networks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from deepspot_scale.config import checked, difference, read_toml
from deepspot_scale.errors import DeepspotError, RunError, SettingsError
from deepspot_scale.io.tables import Folder
from deepspot_scale.training import study as studies
from deepspot_scale.training.log import Row, figure_png, read_log
from deepspot_scale.training.recipe import Recipe, recipe_text
from deepspot_scale.training.search import TuneConfig, trial_recipe, tuned_recipe
from deepspot_scale.training.study import ERROR, GOES_ON
from deepspot_scale.training.trainer import train

if TYPE_CHECKING:
    import optuna

CONFIG, BEST = "tune.toml", "best.toml"
TABLE, PLOT = "trials.csv", "trials.png"
_TRAINING = threading.Lock()
"""One training at a time in a process: it owns the seeds and the memory."""


def tune(
    config: TuneConfig,
    client: Any = None,
    *,
    on_trial: Callable[[pd.DataFrame], None] | None = None,
) -> pd.DataFrame:
    """Search for the values with which training reaches the lowest loss.

    Parameters
    ----------
    config
        What to search, and where to write to.
    client
        ``distributed.Client``; None: one trial after the other, in this process.
    on_trial
        Called with the table when a trial has ended.

    Returns
    -------
    DataFrame
        One row for each trial, as in ``trials.csv``: ``trial``, ``state`` (complete,
        pruned, diverged, failed, interrupted, running, waiting), ``value`` (last
        validation loss), the chosen values, ``patches`` learnt from, ``seconds``,
        ``error``.

    Raises
    ------
    SettingsError
        Optuna is missing, no worker has the resources, or a trial's recipe cannot be
        used.
    RunError
        The folder holds another tuning, or no trial was completed.

    Notes
    -----
    Make one call at a time for one folder: a second call would treat the trials of the
    first as interrupted.
    """
    folder = Folder(str(Path(config.out).absolute()))
    _claim(folder, config)
    study = studies.open_study(config)
    studies.take_up(study)
    left = config.trials - sum(map(studies.counts, study.trials))
    running: dict[Future[TrialOutcome], optuna.Trial] = {}
    submit = _submitter(config, client)
    try:
        while left > 0 or running:
            while left > 0 and len(running) < _slots(config, client):
                trial = study.ask(studies.search_space(config.search))
                recipe = trial_recipe(config, trial.params)
                running[submit(run_trial, trial, recipe, _place(folder, trial))] = trial
                left -= 1
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                _record(study, running.pop(future), future)
                table = _publish(folder, config, study)
                if on_trial is not None:
                    on_trial(table)
    finally:
        for future in running:
            future.cancel()
    table = _publish(folder, config, study)
    if not (table["state"] == "complete").any():
        raise RunError(
            f"no trial in {config.out} was completed; the last error was: "
            f"{table['error'].iloc[-1] or 'none'}. See {TABLE} there."
        )
    return table


def _claim(folder: Folder, config: TuneConfig) -> None:
    """Write the configuration, unless the folder holds the results of another one.

    A tuning stays the same with more trials or other resources.
    """
    import tomli_w

    if folder.exists(CONFIG):
        old = checked(TuneConfig, read_toml(folder.local_path / CONFIG))
        free = {n: getattr(old, n) for n in ("trials", "resources", "out")}
        now = config.model_copy(update=free)
        changes = difference(old.recipe, now.recipe)
        changes += difference(old.model_copy(update={"recipe": now.recipe}), now)
        if changes:
            raise RunError(
                f"{folder.url} holds another tuning: {'; '.join(changes)}. Undo that, "
                "or give another folder as out."
            )
    values = config.model_dump(mode="json", exclude_none=True)
    folder.write(CONFIG, tomli_w.dumps(values).encode())


def _place(folder: Folder, trial: optuna.Trial) -> Path:
    """Return the folder of a trial; it takes over that of an interrupted one."""
    trials = folder.local_path / "trials"
    place = trials / f"{trial.number:04d}"
    old = trials / f"{trial.user_attrs.get(GOES_ON, trial.number):04d}"
    if old.exists() and not place.exists():
        os.replace(old, place)
    return place


def _record(
    study: optuna.Study, trial: optuna.Trial, future: Future[TrialOutcome]
) -> None:
    """Write the end of a trial into the study; raise what all trials would meet."""
    from optuna.trial import TrialState

    try:
        outcome = future.result()
    except (DeepspotError, CancelledError):
        raise  # unfit images or weights, or no cluster: all trials would end like this
    except Exception as error:  # out of memory, or a dead worker: only this trial
        trial.set_user_attr(ERROR, f"{type(error).__name__}: {error}")
        study.tell(trial, state=TrialState.FAIL)
        return
    if outcome.error:
        trial.set_user_attr(ERROR, outcome.error)
    if outcome.state == "complete":
        study.tell(trial, outcome.value)
    else:
        study.tell(trial, state=TrialState.PRUNED)


def _publish(folder: Folder, config: TuneConfig, study: optuna.Study) -> pd.DataFrame:
    """Write the current table, figure and best recipe, and return the table."""
    table = studies.study_table(study, config)
    folder.write(TABLE, table.to_csv(index=False).encode())
    folder.write(PLOT, figure_png(studies.draw_study(study, config)))
    if (table["state"] == "complete").any():
        best = tuned_recipe(config.recipe, study.best_params)
        folder.write(BEST, recipe_text(best).encode())
    return table


# -- one trial, on a worker ------------------------------------------------------------


@dataclass(frozen=True)
class TrialOutcome:
    """How a trial ended."""

    state: Literal["complete", "pruned", "diverged"]
    value: float | None = None
    error: str = ""


def run_trial(trial: optuna.Trial, recipe: Recipe, out: Path) -> TrialOutcome:
    """Train one trial, or continue it, and report every validation to its study."""
    import optuna

    frozen = trial.study.get_trials(deepcopy=False)[trial.number]
    known = set(frozen.intermediate_values)

    def report(row: Row) -> None:
        patches = row.step * recipe.batch
        if row.validation is None or patches in known:
            return
        known.add(patches)
        trial.report(row.validation, patches)
        if row.step < recipe.steps and trial.should_prune():
            raise optuna.TrialPruned

    with _TRAINING:
        try:
            # The study may not know the beginning of a trial that is continued.
            for row in read_log(Folder(str(out))):
                report(row)
            train(recipe, out, resume=True, on_step=report)
        except optuna.TrialPruned:
            return TrialOutcome("pruned")
        except RunError as error:
            return TrialOutcome("diverged", error=str(error))
    return TrialOutcome("complete", read_log(Folder(str(out)))[-1].validation)


# -- where trials run ------------------------------------------------------------------

Submit = Callable[..., "Future[TrialOutcome]"]


def _submitter(config: TuneConfig, client: Any) -> Submit:
    if client is None:
        return _run_here
    executor = client.get_executor(pure=False, resources=config.resources or None)
    return executor.submit  # type: ignore[no-any-return]  # distributed has no types


def _run_here(
    function: Callable[..., TrialOutcome], *arguments: Any
) -> Future[TrialOutcome]:
    """Call a function at once, and return its result or error as a future."""
    future: Future[TrialOutcome] = Future()
    try:
        future.set_result(function(*arguments))
    except Exception as error:  # `_record` looks at every kind
        future.set_exception(error)
    return future


def _slots(config: TuneConfig, client: Any) -> int:
    """Return how many trials can run at once: one on each worker with the resources."""
    if client is None:
        return 1
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    fit = [
        all(worker["resources"].get(k, 0) >= n for k, n in config.resources.items())
        for worker in workers
    ]
    if fit and not any(fit):
        raise SettingsError(
            f"none of {len(fit)} workers has the resources {config.resources} of a "
            "trial: start workers with --resources, or leave resources out"
        )
    return max(1, sum(fit))
