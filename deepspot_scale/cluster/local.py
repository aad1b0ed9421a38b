"""Workers on this machine, or the scheduler that runs already: a client to use.

Scheduler and dashboard listen on loopback only. Nothing here knows what is computed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepspot_scale.errors import SettingsError

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
"""TensorFlow's start-up lines of every worker would bury the progress."""


@contextmanager
def open_client(cluster: str = "local", *, workers: int = 1) -> Iterator[Any]:
    """Start workers or connect to a scheduler; stop what was started at the end.

    Parameters
    ----------
    cluster
        ``local``, or the address of a scheduler, ``tcp://host:port`` or
        ``tls://host:port``.
    workers
        Worker processes of a local cluster.

    Yields
    ------
    distributed.Client

    Raises
    ------
    SettingsError
        Another word, no scheduler at the address, or no workers.
    """
    if workers < 1:
        raise SettingsError(f"a run needs 1 worker at least, got {workers}")
    if cluster.startswith(("tcp://", "tls://")):
        with _connect(cluster) as client:
            yield client
    elif cluster == "local":
        with _local(workers) as client:
            yield client
    else:
        raise SettingsError(
            f"cluster is local or the address tcp://host:port of a scheduler, got "
            f"{cluster!r}"
        )


def _connect(address: str) -> Any:
    from distributed import Client

    try:
        return Client(address, timeout="15s", set_as_default=False)
    except OSError as error:
        raise SettingsError(f"no scheduler answers at {address}: {error}") from error


@contextmanager
def _local(workers: int) -> Iterator[Any]:
    from distributed import Client, LocalCluster

    # Two threads: one reads and writes while the other's network runs.
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=2,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            env=QUIET,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def threads_per_worker(workers: int) -> int:
    """Return the processor threads that each local worker's network may use."""
    return max(1, (os.cpu_count() or 1) // max(1, workers))
