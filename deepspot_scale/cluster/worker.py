"""What every worker is given and does before its first task.

Its environment, its imports, and the network: loaded once in each process, also on
workers that join late or restart. Nothing here knows fields.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from importlib import import_module
from typing import Any

from distributed import WorkerPlugin

from deepspot_scale.cluster.options import GPU
from deepspot_scale.dashboard.events import TOPIC, tell_device, this_worker
from deepspot_scale.errors import DeepspotError
from deepspot_scale.networks.engine_types import Device, EngineChoice
from deepspot_scale.networks.engines import get_engine

ENVIRONMENT = {
    # TensorFlow's start-up lines of every worker would bury the progress.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Neither TensorFlow nor JAX takes the whole GPU: others may share it.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # Dask looks at every thread's stack so often; 10 ms cost 5 % of a worker.
    "DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL": "50ms",
}
"""Set before a worker imports anything: later is too late."""

KEPT_BLOCK_BYTES = 1 << 25
"""Largest array whose memory is used again, beyond 2048 x 2048 float32; that of others
goes back to the system. glibc takes no more."""
KEPT_BYTES = 1 << 26
"""Free memory at the end of the heap that a worker keeps."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's parameters, see mallopt(3)."""

SHARE = 2.0**-10
"""Part of its worker's GPU that a field asks for.

It must be there, and no more: how many fields a worker has in hand at a time, one
reading while the other's network runs, is for its threads to say.
"""


class EngineLoader(WorkerPlugin):
    """Makes a worker ready for its fields.

    Parameters
    ----------
    choice
        What to load; None: nothing.
    demand
        From `field_resources`; a worker without it takes no field and loads nothing.
    """

    name = "deepspot-engine"

    def __init__(
        self, choice: EngineChoice | None, demand: dict[str, float] | None = None
    ) -> None:
        self.choice = choice
        self.demand = demand or {}

    async def setup(self, worker: Any) -> None:
        """Import in this one thread, then load the network beside the event loop.

        Two task threads that import compiled libraries at the same moment have been
        seen to block a worker for good. What cannot be loaded is not said here, where
        a queue would replace the worker for ever: the first field says it again, and
        ends the run.
        """
        _keep_memory()
        import_module("deepspot_scale.runs.process")
        has = worker.state.total_resources
        device = "no network"
        if self.choice is not None and all(name in has for name in self.demand):
            try:
                device = (await asyncio.to_thread(get_engine, self.choice)).name
            except DeepspotError:
                return
        worker.log_event(TOPIC, tell_device(this_worker(), device))


def _keep_memory() -> None:
    """Use the memory of one field's arrays for the next.

    Dask has glibc give all of it back at once, to be fetched again page by page: that
    took a third of a worker's time for fields of 2048 px without a network.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # not in musl
        library.mallopt(_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def field_resources(client: Any, device: Device) -> dict[str, float]:
    """Return what a field that runs the network must ask of its worker.

    Parameters
    ----------
    client
        Of the workers, which may all be yet to come.
    device
        What the run asks for. cpu: no GPU. gpu: one, unless all there are are workers
        that do not say whether they have one. auto: one where any worker has one.
    """
    if device == "cpu":
        return {}
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    declared = any(GPU in worker["resources"] for worker in workers)
    return {GPU: SHARE} if declared or (device == "gpu" and not workers) else {}
