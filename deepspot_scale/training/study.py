"""The study of a tuning: Optuna's record in, tables and figures out.

Optuna keeps the study in one file, a journal. Many machines may write to it on a
network disk, which SQLite does not allow. Nothing here trains, or knows where trials
run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from deepspot_scale.errors import SettingsError
from deepspot_scale.plugins import install_line
from deepspot_scale.training.search import Search, SearchRange, TuneConfig

if TYPE_CHECKING:
    import optuna
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

JOURNAL = "study.journal"
GOES_ON = "goes_on"
"""Attribute of a trial: the number of the interrupted one that it continues."""
ERROR = "error"
"""Attribute of a trial: why it diverged or failed."""


def open_study(config: TuneConfig) -> optuna.Study:
    """Open the study in the folder of a tuning, or create it.

    Raises
    ------
    SettingsError
        Optuna is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise SettingsError(
            f"tuning needs Optuna, on the workers too: {install_line('tune')}"
        ) from error
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    path = Path(config.out).absolute() / JOURNAL
    path.parent.mkdir(parents=True, exist_ok=True)
    journal = JournalFileBackend(str(path), JournalFileOpenLock(str(path)))
    with _quiet():
        study = optuna.create_study(
            study_name="tune",
            storage=JournalStorage(journal),
            pruner=optuna.pruners.SuccessiveHalvingPruner(
                min_resource=max(1, config.patches // config.reduction**config.cuts),
                reduction_factor=config.reduction,
            ),
            load_if_exists=True,
        )
    # The sampler's state is not kept: with the same seed it would repeat its choices.
    seed = config.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
    return study


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing a new study on the terminal."""
    from optuna import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        yield
    finally:
        logging.set_verbosity(before)


def take_up(study: optuna.Study) -> None:
    """Put trials that were running when a tuning was killed back in the queue.

    A worker that still trains one of them finds its trial ended and its folder moved.
    """
    from optuna.trial import TrialState

    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        study.enqueue_trial(trial.params, user_attrs={GOES_ON: trial.number})
        study.tell(trial.number, state=TrialState.FAIL)


def counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Return whether a trial counts as one of `config.trials` and is not repeated."""
    return state_of(trial) not in {"interrupted", "running", "waiting"}


def state_of(trial: optuna.trial.FrozenTrial) -> str:
    """Return Optuna's word for a state, or a more exact one of ours."""
    name = trial.state.name.lower()
    if name == "fail":
        return "failed" if ERROR in trial.user_attrs else "interrupted"
    return "diverged" if name == "pruned" and ERROR in trial.user_attrs else name


def search_space(search: Search) -> dict[str, Any]:
    """Return the search as Optuna's distributions."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    space: dict[str, Any] = {}
    for name in Search.model_fields:
        given = getattr(search, name)
        if isinstance(given, tuple):
            space[name] = CategoricalDistribution(given)
        elif given is not None:
            space[name] = FloatDistribution(given.low, given.high, log=given.log)
    return space


def study_table(study: optuna.Study, config: TuneConfig) -> pd.DataFrame:
    """Return one row for each trial; `tuning.tune` explains the columns."""
    names, rows = list(search_space(config.search)), []
    for trial in study.get_trials(deepcopy=False):
        row = {"trial": trial.number, "state": state_of(trial), "value": trial.value}
        row |= {name: trial.params.get(name) for name in names}
        spent = None if trial.duration is None else trial.duration.total_seconds()
        row |= {"patches": trial.last_step or 0, "seconds": spent}
        rows.append(row | {"error": trial.user_attrs.get(ERROR, "")})
    return pd.DataFrame(rows)


def draw_study(study: optuna.Study, config: TuneConfig) -> Figure:
    """Draw the losses of each trial, and its last loss against each value."""
    from matplotlib.figure import Figure

    searched = search_space(config.search)
    figure = Figure(figsize=(4 + 2.5 * len(searched), 3.6), layout="constrained")
    axes = figure.subplots(1, 1 + len(searched), sharey=True, squeeze=False)[0]
    axes[0].set(xlabel="patches learnt from", ylabel="validation loss", yscale="log")
    panels = dict(zip(searched, axes[1:], strict=True))
    for name, axis in panels.items():
        _prepare(axis, name, getattr(config.search, name))
    for trial in study.get_trials(deepcopy=False):
        losses = sorted(trial.intermediate_values.items())
        colour = "C0" if trial.state.name == "COMPLETE" else "0.7"
        if not losses:
            continue
        axes[0].plot(*zip(*losses, strict=True), ".-", color=colour, lw=1)
        for name, axis in panels.items():
            given, value = getattr(config.search, name), trial.params[name]
            place = given.index(value) if isinstance(given, tuple) else value
            axis.plot(place, losses[-1][1], "o", ms=4, color=colour)
    figure.suptitle("blue: trained to the end; grey: stopped early or running", size=9)
    return figure


def _prepare(axis: Axes, name: str, given: SearchRange | tuple[int, ...]) -> None:
    """Make an axis show all values that could have been chosen."""
    from matplotlib.ticker import NullFormatter

    axis.set_xlabel(name)
    if isinstance(given, SearchRange):
        axis.set_xscale("log" if given.log else "linear")
        axis.set_xlim(given.low, given.high)
        axis.xaxis.set_minor_formatter(NullFormatter())
    else:
        axis.set_xticks(range(len(given)), [str(value) for value in given])
        axis.set_xlim(-0.5, len(given) - 0.5)
