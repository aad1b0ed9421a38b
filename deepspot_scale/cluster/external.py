"""A client of a scheduler that is already running, and keeps running afterwards.

An address or scheduler file comes in, a client goes out. Nothing here knows workers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from deepspot_scale.cluster.options import Options
from deepspot_scale.cluster.security import Certificates
from deepspot_scale.errors import SettingsError

if TYPE_CHECKING:
    from distributed import Client

PREFIXES = ("tcp://", "tls://", "file:")
TIMEOUT = "15s"


class External(Options):
    """The address of a scheduler, or the file that it wrote."""

    cluster: str
    """``tcp://host:port``, ``tls://host:port``, or ``file:`` and a path."""
    tls: Certificates | None = None
    """For ``tls://``; None: those in Dask's configuration."""
    workers: None = Field(None)
    """Never set: the scheduler has its own workers."""

    @field_validator("cluster")
    @classmethod
    def _has_prefix(cls, cluster: str) -> str:
        if not cluster.startswith(PREFIXES):
            raise ValueError(f"expected one of {', '.join(PREFIXES)}, got {cluster!r}")
        return cluster


@contextmanager
def open_external(options: External) -> Iterator[Client]:
    """Connect and yield the client; leave scheduler and workers running.

    Raises SettingsError if no scheduler answers, or there is no such file.
    """
    from distributed import Client

    address = options.cluster
    if address.startswith("file:"):
        path = Path(address.removeprefix("file:").removeprefix("//")).expanduser()
        if not path.is_file():
            raise SettingsError(
                f"there is no file {path}; a scheduler started with "
                "--scheduler-file writes it"
            )
        where: dict[str, Any] = {"scheduler_file": str(path)}
    else:
        where = {"address": address}
    if options.tls is not None:
        where["security"] = options.tls.security()
    try:
        client = Client(**where, timeout=TIMEOUT, set_as_default=False)
    except (OSError, ValueError, RuntimeError, TypeError) as error:
        raise SettingsError(f"no scheduler answers at {address}: {error}") from error
    with client:
        yield client
