"""Options that describe a cluster, and their check.

A word such as ``slurm``, or a TOML file with that word and its options, comes in; a
frozen value goes out. Each kind of cluster declares its options in the module that
opens it. Nothing here starts anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from deepspot_scale.config import Strict, checked, read_toml
from deepspot_scale.errors import SettingsError

GPU = "GPU"
"""Dask resource of a worker with a GPU; fields that need a GPU request it."""

TASKS_AT_A_TIME = 2
"""Threads of a worker: one reads and writes while the other runs the network."""


class Options(Strict):
    """What all kinds of cluster share."""

    cluster: str
    """The word or address that names it."""

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use; 0: all."""
        return 0

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return False


Kind = TypeVar("Kind", bound=Options)


def check_options(kind: type[Kind], values: dict[str, Any], where: str) -> Kind:
    """Return the checked options of one kind of cluster; messages begin with `where`.

    Raises SettingsError if a value is invalid, or a name is unknown; the message
    suggests the nearest.
    """
    try:
        return checked(kind, values, noun="option")
    except SettingsError as error:
        raise SettingsError(f"{where}: {error}") from error


def read_values(path: Path) -> dict[str, Any]:
    """Read the TOML file that describes a cluster.

    Raises SettingsError if there is no such file, it is not TOML, or it lacks the key
    ``cluster``.
    """
    values = read_toml(path)
    if not isinstance(values.get("cluster"), str):
        raise SettingsError(
            f"{path} does not say which cluster it describes; add a first line such as "
            'cluster = "slurm"'
        )
    return values
