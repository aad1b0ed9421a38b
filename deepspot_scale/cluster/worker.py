"""What every worker does before its first task: import, and load the network.

Loaded once in each process, also on workers that join late or restart. Nothing here
knows fields.
"""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from distributed import WorkerPlugin

from deepspot_scale.networks.engines import EngineChoice, get_engine


class EngineLoader(WorkerPlugin):
    """Makes a worker ready; a worker that can not be made ready takes no task."""

    name = "deepspot-engine"

    def __init__(self, choice: EngineChoice | None) -> None:
        self.choice = choice

    async def setup(self, worker: Any) -> None:
        """Import in this one thread, then load the network beside the event loop.

        Two task threads that import compiled libraries at the same moment have been
        seen to block a worker for good.
        """
        del worker
        import_module("deepspot_scale.runs.batches")
        if self.choice is not None:
            await asyncio.to_thread(get_engine, self.choice)
