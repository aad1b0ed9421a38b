"""Lost schedulers and lost workers end a run; waiting jobs do not."""

from __future__ import annotations

from concurrent.futures import CancelledError
from types import SimpleNamespace

import dask
import pytest
from distributed import LocalCluster, Nanny, Status
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from deepspot_scale.cluster.liveness import (
    NO_WORKER_TIMEOUT,
    cluster_errors,
    watch_workers,
)
from deepspot_scale.cluster.local import LOST_AFTER, local_client
from deepspot_scale.errors import ClusterError


class _Nanny(Nanny):
    """One of Dask's that starts nothing: only its status is read."""

    def __init__(self, status: Status) -> None:
        self._status = status

    def __del__(self) -> None:
        """Nothing was opened."""


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def _client(*statuses: Status, n_workers: int = 0) -> SimpleNamespace:
    """Return what `watch_workers` reads of a client."""
    scheduler = SimpleNamespace(workers=dict.fromkeys(range(n_workers)))
    nannies = {number: _Nanny(status) for number, status in enumerate(statuses)}
    return SimpleNamespace(
        cluster=SimpleNamespace(workers=nannies, scheduler=scheduler)
    )


@pytest.mark.parametrize("error", [CommClosedError, ClosedClientError, CancelledError])
def test_errors_of_a_lost_scheduler_say_what_to_do(error: type[Exception]) -> None:
    with (
        pytest.raises(ClusterError, match=r"scheduler is gone.*same command") as caught,
        cluster_errors(),
    ):
        raise error
    assert isinstance(caught.value.__cause__, error)


def test_other_errors_pass_unchanged() -> None:
    with pytest.raises(ValueError, match=r"^a task failed$"), cluster_errors():
        raise ValueError("a task failed")


def test_local_workers_get_more_time_to_restart_only_while_they_are_used() -> None:
    key = "distributed.deploy.lost-worker-timeout"
    before = dask.config.get(key)
    none = {"n_workers": 0, "processes": False, "dashboard_address": None}
    with local_client(LocalCluster, **none):
        assert dask.config.get(key) == LOST_AFTER
    assert dask.config.get(key) == before


@pytest.mark.parametrize("status", [Status.closed, Status.failed])
def test_workers_that_are_all_gone_end_the_run_at_once(status: Status) -> None:
    check = watch_workers(_client(status, Status.closed), clock=_Clock())
    with pytest.raises(ClusterError, match=r"all workers are gone.*fewer"):
        check()


def test_a_single_worker_that_restarts_keeps_the_run() -> None:
    watch_workers(_client(Status.closed, Status.running), clock=_Clock())()


def test_the_timeout_counts_from_the_last_worker_seen() -> None:
    clock, client = _Clock(), _client(Status.running, n_workers=1)
    check = watch_workers(client, clock=clock)
    clock.now = 10 * NO_WORKER_TIMEOUT
    check()
    client.cluster.scheduler.workers.clear()
    clock.now += NO_WORKER_TIMEOUT
    check()
    clock.now += 1
    with pytest.raises(ClusterError, match="all workers are gone"):
        check()


def test_jobs_in_a_queue_may_wait_for_any_time() -> None:
    clock = _Clock()
    check = watch_workers(_client(), clock=clock)
    clock.now = 1e6
    check()
