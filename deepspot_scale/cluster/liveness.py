"""Whether there is still hope: workers that are gone for good, schedulers that are.

A client comes in; an error with what to do comes out, or nothing. Nothing here knows
what the workers do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from deepspot_scale.errors import ClusterError

PATIENCE = 120.0
"""Seconds without a single local worker after which none is expected any more."""


LOST_AFTER = "10 minutes"
"""A local worker that died and is not back after so long is given up; Dask's 15 s are
less than a busy machine may take to start one again."""


@contextmanager
def local_workers_expected() -> Iterator[None]:
    """Start and use local workers so that one that dies is waited for."""
    import dask

    changed = {"distributed.deploy.lost-worker-timeout": LOST_AFTER}
    with dask.config.set(changed):
        yield


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn what a client raises once its scheduler is gone into a ClusterError."""
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, ClosedClientError, CancelledError) as error:
        raise ClusterError(
            "the scheduler is gone; what is done is kept. Start the cluster again and "
            "give the same command"
        ) from error


def watch_workers(
    client: Any, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """Return a function that raises ClusterError once no local worker can be expected.

    Workers of a queue may wait for hours, so nothing is said about them.
    """
    from distributed import Nanny, Status

    cluster = client.cluster
    nannies = [
        each
        for each in getattr(cluster, "workers", {}).values()
        if isinstance(each, Nanny)
    ]
    seen = clock()

    def check() -> None:
        nonlocal seen
        if not nannies:
            return
        gone = all(each.status in {Status.closed, Status.failed} for each in nannies)
        if cluster.scheduler.workers:
            seen = clock()
        if gone or clock() - seen > PATIENCE:
            raise ClusterError(
                "all workers are gone, and none comes back; what is done is kept. "
                "Likely the machine has too little memory for --workers so many: give "
                "the same command with fewer"
            )

    return check
