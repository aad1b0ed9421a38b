"""Workers on this machine's processors.

Checked options come in, a client goes out. Scheduler, workers and dashboard listen on
loopback only. Other users of this machine reach loopback too, so that every connection
needs a certificate that exists in memory only. What the workers put on disk is in a
folder that only this user can enter. Nothing here knows what is computed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from deepspot_scale.cluster.options import TASKS_AT_A_TIME, Options
from deepspot_scale.cluster.security import memory_certificates, private_scratch
from deepspot_scale.cluster.shutdown import without_signals
from deepspot_scale.cluster.worker import ENVIRONMENT

if TYPE_CHECKING:
    from distributed import Client

LOOPBACK = "127.0.0.1"
LOST_AFTER = "10 minutes"
"""How long a local worker that died may take to restart. Dask's default of 15 s is
too short for a busy machine."""


class Local(Options):
    """Worker processes on this machine."""

    cluster: Literal["local"] = "local"
    workers: int = Field(1, ge=1)
    """Worker processes."""

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use."""
        return threads_per_worker(self.workers)


@contextmanager
def open_local(options: Local) -> Iterator[Client]:
    """Start worker processes and yield their client; stop them at the end."""
    from distributed import LocalCluster

    with local_client(
        LocalCluster,
        n_workers=options.workers,
        threads_per_worker=TASKS_AT_A_TIME,
        processes=True,
        security=memory_certificates(),
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
        env=ENVIRONMENT,
    ) as client:
        yield client


@contextmanager
def local_client(cluster: Callable[..., Any], **options: Any) -> Iterator[Any]:
    """Start a cluster on this machine that ignores signals, and yield its client."""
    import dask
    from distributed import Client

    with (
        private_scratch() as scratch,
        dask.config.set(
            {"distributed.deploy.lost-worker-timeout": LOST_AFTER, **scratch}
        ),
    ):
        with without_signals():
            started = cluster(**options)
        with started, Client(started, set_as_default=False) as client:
            yield client


def threads_per_worker(workers: int) -> int:
    """Return the processor threads that each local worker's network may use."""
    return max(1, (os.cpu_count() or 1) // max(1, workers))
