"""A small study for the tests of this room, and its server."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from deepspot_scale.expert_study.server import Place, Running, start
from deepspot_scale.expert_study.session import Session
from deepspot_scale.io.study_folder import Origin, Study, write_crop, write_study


def _write(folder: Path, n: int = 6, edge: int = 24, **study) -> Study:
    rng = np.random.default_rng(0)
    images = {}
    for k in range(n):
        name = f"secret{k:03d}"
        pixels = rng.poisson(50 + 10 * k, (edge, edge)).astype(np.uint16)
        write_crop(folder, name, pixels, (0.1, 0.1))
        images[name] = Origin("B03", "B/03/0", "FISH")
    made = Study(images, "PLATE.zarr", "FISH", edge, **study)
    write_study(folder, made)
    return made


@pytest.fixture(scope="session")
def write_small_study() -> Callable[..., Study]:
    """Write a study of small noisy images into a folder."""
    return _write


@contextmanager
def _serving(session: Session, place: Place) -> Iterator[Running]:
    ready, running = threading.Event(), []

    async def run() -> None:
        stop = asyncio.Event()
        server = start(session, place)
        running.extend([server, stop, asyncio.get_running_loop()])
        ready.set()
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert ready.wait(20)
    server, stop, loop = running
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)


@pytest.fixture(scope="session")
def serving() -> Callable[..., object]:
    """Serve a session from a thread as long as a block lasts."""
    return _serving
