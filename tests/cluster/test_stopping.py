"""Stopped and killed runs: finished fields are kept, the others follow later."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from deepspot_scale.cluster.client import open_client
from deepspot_scale.io.tables import Folder
from deepspot_scale.runs import dispatch
from deepspot_scale.runs.execute import execute_run
from deepspot_scale.runs.lease import read_holder
from deepspot_scale.runs.manifest import read_fields
from deepspot_scale.runs.prepare import prepare_run
from deepspot_scale.settings import make_settings

PATHS = tuple(f"B/{column:02d}/{n}" for column in range(2, 12) for n in range(3))
SLOW = """
import os, time
from pathlib import Path
import numpy as np
import deepspot_scale as ds

def find(image):
    with Path(__file__).with_name("begun").open("a") as file:
        file.write(f"{os.getpid()} {image.sum()!r}\\n")
    time.sleep(0.5)
    with Path(__file__).with_name("ended").open("a") as file:
        file.write(f"{os.getpid()} {image.sum()!r}\\n")
    return np.argwhere(image > image.mean() + 4 * image.std())

detector = ds.PointDetector(find, halo=16, on="raw")
"""
LATE = """
from functools import partial

def dask_setup(worker):
    worker.batched_send = partial(worker.loop.call_later, 0.4, worker.batched_send)
"""
pytestmark = pytest.mark.cluster


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder with a detector that takes half a second and logs it."""
    (tmp_path / "slow.py").write_text(SLOW)
    paths = (str(tmp_path), os.environ.get("PYTHONPATH", ""))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def plate(
    tmp_path: Path, draw_scene: Callable[..., Any], write_plate: Callable[..., str]
) -> str:
    """Thirty small fields."""
    scenes = {path: draw_scene(n, (64, 64), n=6) for n, path in enumerate(PATHS)}
    return write_plate(tmp_path / "plate.zarr", scenes, masks=())


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes, which are all ended at the end."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def _wait(condition: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def _start(processes: list[subprocess.Popen[str]], *words: object) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    processes.append(process)
    return process


@dataclass(frozen=True)
class Command:
    """One ``run`` on slow fields, for repeated starts."""

    words: tuple[object, ...]
    folder: Path
    processes: list[subprocess.Popen[str]]

    def begin(self) -> subprocess.Popen[str]:
        """Start it and wait until it has some fields in hand."""
        n_begun = len(_lines(self.folder / "begun"))
        process = _start(self.processes, *self.words)
        _wait(lambda: len(_lines(self.folder / "begun")) >= n_begun + 4)
        return process


@pytest.fixture
def command(plate: str, slow: Path, started: Any) -> Command:
    return Command(
        (
            "deepspot_scale.cli", "run", plate, "-c", "FISH", "--no-enhance",
            "--detector", "slow:detector", "--workers", "2", "--out", slow / "run",
        ),
        slow,
        started,
    )  # fmt: skip


def test_a_warned_run_ends_its_fields_and_the_same_command_goes_on(
    command: Command, slow: Path
) -> None:
    folder = Folder(str(slow / "run"))
    # The queue warns the whole job: client and workers, all at once.
    process = command.begin()
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 75, errors
    assert "left; the same command continues" in errors
    assert "Traceback" not in errors
    assert sorted(_lines(slow / "begun")) == sorted(_lines(slow / "ended"))
    first = read_fields(folder)
    assert 4 <= len(first) == len(set(_fields(slow / "ended"))) < len(PATHS)
    assert read_holder(folder).released
    # Killed: the workers go too, and the lease holds nobody up.
    process = command.begin()
    workers = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    assert psutil.wait_procs(workers, timeout=10)[1] == []
    process = command.begin()
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    fields = read_fields(folder)
    assert len(fields) == len(PATHS)
    kept = fields.merge(first, on=["row", "column", "field", "seconds", "part"])
    assert len(kept) == len(first)


def test_ctrl_c_ends_a_run_cleanly_and_twice_at_once(command: Command) -> None:
    # A terminal gives Ctrl-C to client and workers alike.
    process = command.begin()
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "finishing the fields in hand" in errors
    assert "Traceback" not in errors
    process = command.begin()
    workers = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(timeout=5) == 130
    gone, alive = psutil.wait_procs(workers, timeout=10)
    assert (len(alive), len(gone) >= 2) == (0, True)


def test_a_workers_job_that_is_warned_ends_its_field_and_loses_none(
    plate: str,
    slow: Path,
    tmp_path: Path,
    started: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatch, "MAX_BATCH", 2)
    file = tmp_path / "scheduler.json"
    place = ("--host", "127.0.0.1")
    # A loaded machine tells the scheduler late what has ended.
    late = tmp_path / "late.py"
    late.write_text(LATE)
    _start(
        started, "distributed.cli.dask_scheduler", *place, "--port", 0,
        "--no-dashboard", "--scheduler-file", file,
    )  # fmt: skip
    _wait(file.is_file)
    jobs = [
        _start(
            started, "distributed.cli.dask_worker", "--scheduler-file", file, *place,
            "--nthreads", 2, "--no-dashboard", "--preload", late,
        )
        for _ in range(2)
    ]  # fmt: skip
    warned: list[int] = []

    def warn() -> bool:
        """Warn one job when the run is well on its way; never stop the run."""
        if not warned and len(_lines(slow / "begun")) > 5:
            warned.append(signal.SIGTERM)
            os.killpg(jobs[0].pid, signal.SIGTERM)
        return False

    with open_client(f"file:{file}") as client:
        client.wait_for_workers(2, timeout=120)
        settings = make_settings(
            channels=("FISH",), enhance=False, detector="slow:detector"
        )
        prepared = prepare_run(plate, str(tmp_path / "run"), settings)
        end = execute_run(prepared, client, stop=warn)
    assert (end.done, end.failed, len(warned)) == (len(PATHS), 0, 1)
    assert jobs[0].wait(timeout=60) is not None
    begun = _fields(slow / "begun")
    assert (len(begun), len(set(begun))) == (len(PATHS), len(PATHS))


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def _fields(path: Path) -> list[str]:
    return [line.split()[1] for line in _lines(path)]
