"""The scheduler that runs already: a client to use, and to leave it running.

Nothing here knows where its workers are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator

from deepspot_scale.cluster.options import Options
from deepspot_scale.cluster.security import Certificates
from deepspot_scale.errors import SettingsError

PREFIXES = ("tcp://", "tls://", "file:")
TIMEOUT = "15s"


class External(Options):
    """A scheduler by its address, or by the file that it wrote."""

    cluster: str
    """``tcp://host:port``, ``tls://host:port``, or ``file:`` and a path."""
    tls: Certificates | None = None
    """For ``tls://``; None: those of Dask's own configuration."""
    workers: None = Field(None)
    """Its workers are its own."""

    @field_validator("cluster")
    @classmethod
    def _is_place(cls, cluster: str) -> str:
        if not cluster.startswith(PREFIXES):
            raise ValueError(f"expected one of {', '.join(PREFIXES)}, got {cluster!r}")
        return cluster


@contextmanager
def open_existing(options: External) -> Iterator[Any]:
    """Connect and yield the client; leave scheduler and workers running.

    Raises
    ------
    SettingsError
        Nobody answers, or there is no such file.
    """
    from distributed import Client

    place = options.cluster
    if place.startswith("file:"):
        path = Path(place.removeprefix("file:").removeprefix("//")).expanduser()
        if not path.is_file():
            raise SettingsError(
                f"there is no file {path}; a scheduler started with "
                "--scheduler-file writes it"
            )
        where: dict[str, Any] = {"scheduler_file": str(path)}
    else:
        where = {"address": place}
    if options.tls is not None:
        where["security"] = options.tls.security()
    try:
        client = Client(**where, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise SettingsError(f"no scheduler answers at {place}: {error}") from error
    with client:
        yield client
