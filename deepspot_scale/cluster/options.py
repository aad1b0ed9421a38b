"""The words and values that describe a cluster, checked as they come in.

A word such as ``slurm``, or a TOML file of the same word and its options, comes in; a
frozen value goes out. Each kind of cluster declares its own options in the file that
opens it. Nothing here starts anything.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from deepspot_scale.errors import SettingsError, did_you_mean

GPU = "GPU"
"""Dask's name for what a worker with a GPU has, and a field that needs one asks for."""

TASKS_AT_A_TIME = 2
"""Threads of a worker: one reads and writes while the other's network runs."""


class Options(BaseModel):
    """What every kind of cluster has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str
    """The word."""

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use; 0: all there are."""
        return 0

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return False


Kind = TypeVar("Kind", bound=Options)


def check_options(kind: type[Kind], values: dict[str, Any], where: str) -> Kind:
    """Return the checked options of one kind of cluster.

    Parameters
    ----------
    kind
        What they are for.
    values
        By name.
    where
        Where they come from, for the message.

    Raises
    ------
    SettingsError
        Which value is unfit and why; an unknown name with the nearest known one.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        lines = [_explain(dict(each), kind) for each in error.errors()]
        raise SettingsError(f"{where}: {'; '.join(lines)}") from error


def _explain(problem: dict[str, Any], kind: type[Options]) -> str:
    name = ".".join(map(str, problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"there is no option {name!r}." + did_you_mean(name, kind.model_fields)
    return f"{name}: {str(problem['msg']).removeprefix('Value error, ')}"


def read_values(path: Path) -> dict[str, Any]:
    """Read the TOML file that describes a cluster.

    Raises
    ------
    SettingsError
        No such file, no TOML, or no word that says what cluster it is.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"--cluster: {path} can not be read: {error.strerror}"
        ) from error
    except ValueError as error:
        raise SettingsError(f"--cluster: {path} is no TOML: {error}") from error
    if not isinstance(values.get("cluster"), str):
        raise SettingsError(
            f"{path} does not say what cluster it describes; begin it with a line such "
            'as cluster = "slurm"'
        )
    return values
