"""Workers of a queue's job that is warned: all its processes get the signal at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from distributed import Client, LocalCluster

from deepspot_scale.cluster.shutdown import Shutdown, ShutdownNanny

pytestmark = pytest.mark.cluster


def _alive(group: int) -> list[int]:
    """Return the running processes of a group, without zombies."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            ended = process.status() == psutil.STATUS_ZOMBIE
            if not ended and os.getpgid(process.pid) == group:
                found.append(process.pid)
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_job_whose_processes_are_all_warned_at_once_leaves_none_behind(
    number: signal.Signals,
) -> None:
    with (
        LocalCluster(
            n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(Shutdown())
        client.register_plugin(ShutdownNanny())
        command = ["-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        job = subprocess.Popen(
            [sys.executable, *command, "--nthreads", "2", "--no-dashboard"],
            start_new_session=True,
            stderr=subprocess.DEVNULL,
        )
        try:
            client.wait_for_workers(1, timeout=60)
            os.killpg(job.pid, number)
            job.wait(60)
            deadline = time.monotonic() + 20
            while _alive(job.pid) and time.monotonic() < deadline:
                time.sleep(0.1)
            assert _alive(job.pid) == []
        finally:
            with suppress(ProcessLookupError):
                os.killpg(job.pid, signal.SIGKILL)
            job.wait()
