"""One worker for each GPU of this machine; each worker sees only its own GPU.

The GPUs are found through the environment, the driver's tool or the device files; a
client goes out. Everything listens on loopback, with certificates as in `local`.
Nothing here imports a network: which GPUs a process sees must be set before it imports
one.
"""

from __future__ import annotations

import glob
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import takewhile
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from deepspot_scale.cluster.local import LOOPBACK, local_client
from deepspot_scale.cluster.options import GPU, TASKS_AT_A_TIME, Options
from deepspot_scale.cluster.security import memory_certificates
from deepspot_scale.cluster.worker import ENVIRONMENT
from deepspot_scale.errors import DeviceError

if TYPE_CHECKING:
    from distributed import Client

VISIBLE = "CUDA_VISIBLE_DEVICES"
MEMORY_SHARE = 0.9
"""Part of the machine's memory that all workers together may fill."""


class Gpus(Options):
    """GPUs of this machine, with one worker process for each."""

    cluster: Literal["gpu"] = "gpu"
    workers: int | None = Field(None, ge=1)
    """How many of the GPUs to use; None: all."""
    threads: int = Field(TASKS_AT_A_TIME, ge=1)
    """Fields that a worker has in hand at a time: one computes, the others load."""

    @property
    def on_gpus(self) -> bool:
        """Whether every worker has a GPU of its own."""
        return True


def find_gpus(environment: Mapping[str, str] | None = None) -> list[str]:
    """Return the ids of this machine's NVIDIA GPUs.

    ``CUDA_VISIBLE_DEVICES`` decides where it is set, as for every CUDA program; then
    ``nvidia-smi``; then the devices ``/dev/nvidia0``, ``/dev/nvidia1`` and so on.

    Raises DeviceError if there is none; the message says where we looked.
    """
    environment = os.environ if environment is None else environment
    visible = environment.get(VISIBLE)
    if visible is not None:
        # As CUDA reads it: everything after an empty id or -1 is ignored.
        ids = (each.strip() for each in visible.split(","))
        gpus = list(takewhile(lambda each: each not in {"", "-1"}, ids))
        looked = f"{VISIBLE}={visible!r} hides all"
    else:
        gpus = _ask_driver() or _find_devices()
        looked = (
            f"{VISIBLE} is not set, nvidia-smi "
            f"{'lists none' if shutil.which('nvidia-smi') else 'is not on the PATH'}, "
            "and there is no /dev/nvidia0"
        )
    if not gpus:
        raise DeviceError(
            f"a cluster of GPUs was asked for, but this machine has none: {looked}; "
            "install the driver, use a machine with a GPU, or omit --cluster"
        )
    return gpus


def _ask_driver() -> list[str]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=index", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = answer.stdout.split() if answer.returncode == 0 else []
    return [line for line in lines if line.isdigit()]


def _find_devices() -> list[str]:
    found = (path.removeprefix("/dev/nvidia") for path in glob.glob("/dev/nvidia*"))
    return sorted((each for each in found if each.isdigit()), key=int)


@contextmanager
def open_gpus(options: Gpus) -> Iterator[Client]:
    """Start one worker for each GPU and yield their client; stop them at the end.

    Raises DeviceError if there is no GPU, or there are fewer than `options.workers`.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = find_gpus()
    if options.workers is not None and options.workers > len(gpus):
        raise DeviceError(
            f"{options.workers} workers, each with one GPU, were asked for; there are "
            f"{len(gpus)} GPUs: {', '.join(gpus)}"
        )
    gpus = gpus[: options.workers]
    security = memory_certificates()
    guarded = {"host": LOOPBACK, "protocol": "tls://", "security": security}
    scheduler = {**guarded, "dashboard_address": f"{LOOPBACK}:0"}
    shared = {
        **guarded,
        "nthreads": options.threads,
        "memory_limit": MEMORY_SHARE / len(gpus),
        "resources": {GPU: 1},
        "silence_logs": logging.WARNING,
    }
    envs = {f"gpu-{gpu}": {**ENVIRONMENT, VISIBLE: gpu} for gpu in gpus}
    with local_client(
        SpecCluster,
        workers={
            name: {"cls": Nanny, "options": {**shared, "env": env}}
            for name, env in envs.items()
        },
        scheduler={"cls": Scheduler, "options": scheduler},
        security=security,
        name="gpus",
        silence_logs=logging.WARNING,
    ) as client:
        yield client
