"""How a worker is prepared before its first task: environment, imports, network.

The network is loaded once in each process, also on workers that join late or restart.
Nothing here knows fields.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from distributed import WorkerPlugin

from deepspot_scale.cluster.options import GPU
from deepspot_scale.dashboard.events import TOPIC, device_message, this_worker
from deepspot_scale.errors import DeepspotError
from deepspot_scale.networks.engine_types import Device, EngineChoice
from deepspot_scale.networks.engines import get_engine

if TYPE_CHECKING:
    from distributed import Client

ENVIRONMENT = {
    # Otherwise each worker's start-up messages of TensorFlow hide the progress line.
    "TF_CPP_MIN_LOG_LEVEL": "3",
    # Neither TensorFlow nor JAX may reserve the whole GPU: others may share it.
    "TF_FORCE_GPU_ALLOW_GROWTH": "true",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
    # Interval of Dask's profiler; its default of 10 ms costs 5 % of a worker's time.
    "DASK_DISTRIBUTED__WORKER__PROFILE__INTERVAL": "50ms",
}
"""Variables that must be set before a worker imports anything."""

KEPT_BLOCK_BYTES = 1 << 25
"""Arrays up to this size reuse freed memory; larger ones return theirs to the system.
More than 2048 x 2048 float32, and the maximum that glibc accepts."""
KEPT_BYTES = 1 << 26
"""Free memory at the end of the heap that is not returned to the system."""
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of glibc's parameters, see mallopt(3)."""

SHARE = 2.0**-10
"""Share of a worker's GPU that a field requests.

It only restricts fields to workers with a GPU. It is tiny so that the worker's number
of threads, not this resource, limits how many fields it has in hand at a time.
"""


class EngineLoader(WorkerPlugin):
    """Prepares a worker for its fields.

    Parameters
    ----------
    choices
        The networks to load.
    demand
        From `field_resources`; a worker without these resources gets no field and
        loads nothing.
    imports
        What tasks will call. It comes with the plug-in, so its module is imported
        here, in the event loop's one thread.
    """

    name = "deepspot-engine"

    def __init__(
        self,
        choices: Sequence[EngineChoice],
        demand: dict[str, float] | None = None,
        imports: Callable[..., Any] | None = None,
    ) -> None:
        self.choices = tuple(choices)
        self.demand = demand or {}
        self.imports = imports

    async def setup(self, worker: Any) -> None:
        """Import in this one thread, then load the network outside the event loop.

        Two task threads that import compiled libraries at the same moment can block a
        worker forever. A network that cannot be loaded is no error here, because a
        queue would replace the worker again and again: the first field raises the
        same error and ends the run.
        """
        _keep_memory()
        has = worker.state.total_resources
        devices = []
        for choice in self.choices if all(name in has for name in self.demand) else ():
            try:
                devices.append((await asyncio.to_thread(get_engine, choice)).name)
            except DeepspotError:
                return
        device = ", ".join(dict.fromkeys(devices)) or "no network"
        worker.log_event(TOPIC, device_message(this_worker(), device))


def _keep_memory() -> None:
    """Let the next field reuse the memory of one field's arrays.

    Under Dask's settings glibc returns all of it to the system at once and fetches it
    again page by page: a third of a worker's time for 2048 px fields without network.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):  # not in musl
        library.mallopt(_MMAP_THRESHOLD, KEPT_BLOCK_BYTES)
        library.mallopt(_TRIM_THRESHOLD, KEPT_BYTES)


def field_resources(client: Client, device: Device) -> dict[str, float]:
    """Return the Dask resources that a field needs to run the network.

    cpu: no GPU. gpu: one, unless workers have started and none of them declares a GPU.
    auto: one, if any worker declares one.
    """
    if device == "cpu":
        return {}
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    declared = any(GPU in worker["resources"] for worker in workers)
    return {GPU: SHARE} if declared or (device == "gpu" and not workers) else {}
