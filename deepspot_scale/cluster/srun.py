"""Workers as the tasks of one Slurm allocation: ``srun`` starts a command many times.

Task 0 runs the scheduler, the client and a worker. Every other task is a worker until
the run ends, so no processor and no GPU of the allocation is idle. The tasks exchange
the scheduler's address and certificates through a folder that all nodes share. A worker
sees one GPU, by its number on the node. Nothing here knows what is computed.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from deepspot_scale.cluster.gpu import VISIBLE, find_gpus
from deepspot_scale.cluster.local import LOOPBACK, local_client
from deepspot_scale.cluster.options import GPU, TASKS_AT_A_TIME, Options
from deepspot_scale.cluster.security import (
    Certificates,
    certificates_in,
    private_scratch,
    where_to_listen,
    write_certificates,
)
from deepspot_scale.cluster.shutdown import without_signals
from deepspot_scale.cluster.worker import ENVIRONMENT
from deepspot_scale.errors import DeviceError, RunError, SettingsError

if TYPE_CHECKING:
    from distributed import Client, Security

TIMEOUT = 600.0
"""Seconds that a worker waits for task 0, which first opens the plate."""
SCHEDULER, KEYS, OVER = "scheduler.json", "tls", "over"
"""Files and folder in the shared folder of the tasks."""


class Allocation(Options):
    """All tasks that one ``srun`` started."""

    cluster: Literal["srun"] = "srun"
    workers: None = None
    """Never set: ``srun`` decides how many tasks there are."""
    threads: int = Field(TASKS_AT_A_TIME, ge=1)
    """Fields that a worker has in hand at a time."""
    interface: str | None = None
    """Network interface of all tasks, such as ``ib0``."""
    tls: bool | Certificates = True
    """Certificates to use; true: create some for this run; false: none, then anyone on
    the network may run code as you."""
    scratch: str | None = None
    """Folder on the node's local disk for data that does not fit in memory."""
    folder: Path = Path("deepspot-jobs")
    """For addresses and certificates of the tasks; on a disk that all nodes share."""

    @property
    def network_threads(self) -> int:
        """Processor threads that each worker's network may use."""
        return int(os.environ.get("SLURM_CPUS_PER_TASK", "0"))

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return bool(os.environ.get(VISIBLE))


@dataclass(frozen=True)
class Task:
    """The Slurm task that this process is."""

    job: str
    """Id of the job, the ``srun`` in it, and the restart."""
    rank: int
    n_tasks: int
    local_rank: int
    """Number among the tasks on the same node."""
    n_local: int


def find_task(environment: Mapping[str, str]) -> Task:
    """Return the Slurm task that this process is, from its environment.

    Raises SettingsError if ``srun`` did not start it.
    """
    try:
        on_nodes = environment["SLURM_STEP_TASKS_PER_NODE"]
        # A requeued job keeps its number, and its files remain.
        restart = environment.get("SLURM_RESTART_COUNT", "0")
        return Task(
            f"{environment['SLURM_JOB_ID']}.{environment['SLURM_STEP_ID']}-{restart}",
            int(environment["SLURM_PROCID"]),
            int(environment["SLURM_STEP_NUM_TASKS"]),
            int(environment["SLURM_LOCALID"]),
            tasks_of_node(on_nodes, int(environment["SLURM_NODEID"])),
        )
    except KeyError as error:
        raise SettingsError(
            "--cluster srun works only under srun, as in srun -n 4 deepspot-scale "
            f"run ... --cluster srun; {error.args[0]} is not set here"
        ) from error


def tasks_of_node(text: str, node: int) -> int:
    """Return the number of tasks on a node from Slurm's list such as ``4(x2),3``.

    Examples
    --------
    >>> [tasks_of_node("4(x2),3", node) for node in range(3)]
    [4, 4, 3]
    """
    counts: list[int] = []
    for part in text.split(","):
        count, _, times = part.partition("(x")
        counts += [int(count)] * int(times.rstrip(")") or 1)
    return counts[node]


def pin(task: Task, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variable for a worker's GPU; empty without GPUs.

    A GPU that Slurm itself has bound to the task is kept. Raises DeviceError if there
    are more tasks than GPUs on the node.
    """
    if not environment.get(VISIBLE):
        return {}
    gpus = find_gpus(environment)
    if len(gpus) == 1:
        return {VISIBLE: gpus[0]}
    if task.local_rank >= len(gpus):
        raise DeviceError(
            f"there are {task.n_local} tasks on a node of {len(gpus)} GPUs; a worker "
            f"needs its own: srun --ntasks-per-node={len(gpus)}"
        )
    return {VISIBLE: gpus[task.local_rank]}


def _nanny_options(
    options: Allocation, task: Task, security: Security | None
) -> dict[str, Any]:
    pinned = pin(task, os.environ)
    return {
        **where_to_listen(options.interface),
        "name": f"task-{task.rank}",
        "nthreads": options.threads,
        "memory_limit": _memory(task),
        "resources": {GPU: 1} if pinned else {},
        "env": {**ENVIRONMENT, **pinned},
        "security": security,
        "local_directory": options.scratch,
        "dashboard_address": f"{LOOPBACK}:0",
        "silence_logs": logging.WARNING,
    }


def _memory(task: Task) -> float:
    """Return a task's memory in bytes, or as a share of the node if Slurm sets none."""
    node = int(os.environ.get("SLURM_MEM_PER_NODE", "0"))
    processor = int(os.environ.get("SLURM_MEM_PER_CPU", "0"))
    processors = int(os.environ.get("SLURM_CPUS_PER_TASK", "1"))
    megabytes = node / task.n_local or processor * processors
    return megabytes * 2**20 or 1 / task.n_local


def _shared_folder(options: Allocation, task: Task) -> Path:
    return options.folder.absolute() / f"srun-{task.job}"


@contextmanager
def open_allocation(options: Allocation) -> Iterator[Client]:
    """As task 0, start the scheduler and one worker, and yield the client.

    Raises SettingsError if ``srun`` did not start this process.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    task = find_task(os.environ)
    place = _shared_folder(options, task)
    security = _security(options, place, make=True)
    scheduler = {
        **where_to_listen(options.interface),
        "dashboard_address": f"{LOOPBACK}:0",
        "scheduler_file": str(place / SCHEDULER),
        "security": security,
        "protocol": "tls://" if security else "tcp://",
    }
    worker = {"cls": Nanny, "options": _nanny_options(options, task, security)}
    with local_client(
        SpecCluster,
        workers={"task-0": worker},
        scheduler={"cls": Scheduler, "options": scheduler},
        security=security,
        name="srun",
        silence_logs=logging.WARNING,
    ) as client:
        yield client


def _security(options: Allocation, place: Path, *, make: bool) -> Security | None:
    if options.tls is False:
        return None
    if isinstance(options.tls, Certificates):
        return options.tls.security()
    keys = place / KEYS
    return (write_certificates(keys) if make else certificates_in(keys)).security()


def serve_allocation(options: Allocation) -> bool:
    """In every task but 0, be a worker until the run ends; return whether it was one.

    Raises SettingsError if ``srun`` did not start this process, and RunError if task 0
    neither starts a scheduler nor ends within `TIMEOUT`.
    """
    task = find_task(os.environ)
    place = _shared_folder(options, task)
    if task.rank == 0:
        place.mkdir(mode=0o700, parents=True)
        # The other tasks must not wait, however this process ends.
        atexit.register(_end_run, place)
        return False
    address = _wait_for_scheduler(place)
    if address is not None:
        security = _security(options, place, make=False)
        logging.getLogger("distributed").setLevel(logging.WARNING)
        with without_signals():  # Slurm's signal would kill Python's resource tracker
            resource_tracker.ensure_running()
        asyncio.run(_serve(address, _nanny_options(options, task, security)))
    return True


def _end_run(place: Path) -> None:
    """Delete the keys and mark the run as over."""
    shutil.rmtree(place / KEYS, ignore_errors=True)
    (place / SCHEDULER).unlink(missing_ok=True)
    (place / OVER).touch()


def _wait_for_scheduler(place: Path) -> str | None:
    """Return the scheduler's address; None if task 0 ended without one."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            return str(json.loads((place / SCHEDULER).read_text())["address"])
        except (OSError, ValueError):  # not there, or incomplete
            if (place / OVER).exists():
                return None
            time.sleep(0.5)
    raise RunError(
        f"task 0 started no scheduler within {TIMEOUT:.0f} s and did not end; check "
        f"its output, and that all nodes see {place.parent}"
    )


async def _serve(address: str, options: dict[str, Any]) -> None:
    import dask
    from distributed import Nanny

    with private_scratch() as scratch, dask.config.set(scratch):
        async with Nanny(address, **options) as nanny:
            await nanny.finished()
