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

from deepspot_scale.cluster.jobs import find_gone
from deepspot_scale.errors import ClusterError

if TYPE_CHECKING:
    from distributed import Client

NO_WORKER_TIMEOUT = 120.0
"""Seconds without any local worker until we give up."""
LOOK = 30.0
"""Seconds between two questions to a queue while there is no worker."""


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

    Jobs in a queue may wait for hours: theirs are lost only when there is no worker
    and the queue has none of the jobs any more.
    """
    from distributed import Nanny, Status

    cluster: Any = client.cluster
    workers = getattr(cluster, "workers", {}).values()
    nannies = [each for each in workers if isinstance(each, Nanny)]
    last_seen = last_look = clock()

    def check_jobs() -> None:
        nonlocal last_look
        if not workers or clock() - last_look < LOOK or cluster.scheduler.workers:
            return
        last_look = clock()
        # No name holds a job: a cluster that closes wants them to be gone.
        if len(gone := find_gone(list(workers))) == len(workers):
            # By number: sets of jobs have no order.
            names = sorted(gone, key=lambda job: (len(job), job))
            raise ClusterError(
                f"no job is left in the queue and no worker came: job "
                f"{', '.join(names[:5])} was cancelled, or died at once, see its log; "
                "finished fields are kept. Give the same command again"
            )

    def check() -> None:
        nonlocal last_seen
        if not nannies:
            check_jobs()
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
