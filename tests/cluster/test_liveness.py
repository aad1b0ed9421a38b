"""Lost schedulers and lost workers end a run; waiting jobs do not."""

from __future__ import annotations

import os
from concurrent.futures import CancelledError
from pathlib import Path
from types import SimpleNamespace

import dask
import pytest
from distributed import LocalCluster, Nanny, Status
from distributed.client import ClosedClientError
from distributed.comm.core import CommClosedError

from deepspot_scale.cluster.jobs import find_gone
from deepspot_scale.cluster.liveness import (
    LOOK,
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


class SLURMJob:
    """One of dask-jobqueue's: only its number is read."""

    def __init__(self, number: str | None) -> None:
        self.job_id = number


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A queue's program, which answers with the file of the job's number."""
    program = tmp_path / "squeue"
    program.write_text(
        f'#!/bin/sh\ntest -e "{tmp_path}/$3" || {{ echo busy >&2; exit 1; }}\n'
        f'cat "{tmp_path}/$3"\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def test_a_job_counts_as_gone_only_where_the_queue_says_so(queue: Path) -> None:
    (queue / "1").write_text("1 short deepspot PENDING")
    (queue / "2").write_text("")
    (queue / "3").write_text("slurm_load_jobs error: Invalid job id specified")
    jobs = [SLURMJob(number) for number in ("1", "2", "3", "4", None)]
    assert find_gone([*jobs, SimpleNamespace(job_id="5")]) == ["2", "3"]


def test_a_run_ends_once_the_queue_has_no_job_and_no_worker_is_there(
    queue: Path,
) -> None:
    clock, client = _Clock(), _client()
    client.cluster.workers.update({"a": SLURMJob("1"), "b": SLURMJob("2")})
    check = watch_workers(client, clock=clock)
    (queue / "1").write_text("")
    (queue / "2").write_text("2 short deepspot PENDING")
    clock.now += LOOK
    check()
    (queue / "2").write_text("")
    check()  # not asked again so soon
    clock.now += LOOK
    client.cluster.scheduler.workers["one"] = None
    check()
    client.cluster.scheduler.workers.clear()
    with pytest.raises(ClusterError, match=r"no job is left in the queue.*1, 2"):
        check()


def test_jobs_in_a_queue_may_wait_for_any_time() -> None:
    clock = _Clock()
    check = watch_workers(_client(), clock=clock)
    clock.now = 1e6
    check()
