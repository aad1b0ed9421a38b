"""Whether a run can continue: detects lost schedulers and permanently lost workers.

A client comes in; an error that says what to do goes out, or nothing. Nothing here
knows what the workers do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deepspot_scale.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

NO_WORKER_TIMEOUT = 120.0
"""Seconds without any local worker until we give up."""


@contextmanager
def cluster_errors() -> Iterator[None]:
    """Turn the client's errors about a lost scheduler into ClusterError."""
    from distributed.client import ClosedClientError
    from distributed.comm.core import CommClosedError

    try:
        yield
    except (CommClosedError, ClosedClientError, CancelledError) as error:
        raise ClusterError(
            "the scheduler is gone; finished fields are kept. Start the cluster again "
            "and give the same command"
        ) from error


def watch_workers(
    client: Client, *, clock: Callable[[], float] = time.monotonic
) -> Callable[[], None]:
    """Return a function that raises ClusterError once all local workers are lost.

    Jobs in a queue may wait for hours, so their workers are not checked.
    """
    from distributed import Nanny, Status

    cluster: Any = client.cluster
    workers = getattr(cluster, "workers", {}).values()
    nannies = [each for each in workers if isinstance(each, Nanny)]
    last_seen = clock()

    def check() -> None:
        nonlocal last_seen
        if not nannies:
            return
        gone = all(each.status in {Status.closed, Status.failed} for each in nannies)
        if cluster.scheduler.workers:
            last_seen = clock()
        if gone or clock() - last_seen > NO_WORKER_TIMEOUT:
            raise ClusterError(
                "all workers are gone and do not restart; finished fields are kept. "
                "The machine probably has too little memory for this many --workers: "
                "give the same command with fewer"
            )

    return check
