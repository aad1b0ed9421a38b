"""The words and values that describe a cluster, checked as they come in.

A word such as ``slurm``, or a TOML file of the same word and its options, comes in; a
frozen value goes out. Each kind of cluster declares its own options in the file that
opens it. Nothing here starts anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from deepspot_scale.config import Strict, checked, read_toml
from deepspot_scale.errors import SettingsError

GPU = "GPU"
"""Dask's name for what a worker with a GPU has, and a field that needs one asks for."""

TASKS_AT_A_TIME = 2
"""Threads of a worker: one reads and writes while the other's network runs."""


class Options(Strict):
    """What every kind of cluster has in common."""

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
        return checked(kind, values, noun="option")
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error


def read_values(path: Path) -> dict[str, Any]:
    """Read the TOML file that describes a cluster.

    Raises
    ------
    SettingsError
        No such file, no TOML, or no word that says what cluster it is.
    """
    values = read_toml(path)
    if not isinstance(values.get("cluster"), str):
        raise SettingsError(
            f"{path} does not say what cluster it describes; begin it with a line such "
            'as cluster = "slurm"'
        )
    return values
