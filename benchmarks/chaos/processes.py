"""The processes of a run, which are restarted when they have ended.

Nothing here knows who kills them, or the tables of a run.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EXIT_AGAIN = 75
PACES = {"PACED_READ": "0.1", "PACED_INFER": "0.4", "PACED_WRITE": "0.2"}
HERE = Path(__file__).parent


@dataclass
class RunProcesses:
    """Scheduler, workers and client, restarted when they have ended."""

    root: Path
    out: str
    log: Path
    """File that `paced` writes."""
    workers: int = field(default=4)
    port: int = 0
    by_name: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    starts: Counter[str] = field(default_factory=Counter)
    code: int | None = None
    """Exit code of the client if it need not be restarted."""

    def __post_init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]

    def restart(self) -> None:
        """Start ended processes; a client only if the scheduler answers."""
        names = ["scheduler", *(f"nanny{n}" for n in range(self.workers))]
        for name in names:
            if not self.is_alive(name):
                self._start(name, *self._words(name))
        if self.is_alive("client") or not self._answers():
            return
        ended = self.by_name.get("client")
        code = ended.returncode if ended else EXIT_AGAIN
        # 2: the scheduler was killed between our check and the client's start.
        if code in {EXIT_AGAIN, -signal.SIGKILL} or (
            code == 2 and self._lost_scheduler()
        ):
            self._start("client", *self._words("client"))
        else:
            self.code = code

    def is_alive(self, name: str) -> bool:
        """Return whether a process runs."""
        process = self.by_name.get(name)
        return process is not None and process.poll() is None

    def pids_of_workers(self) -> list[int]:
        """Return the worker processes, which are children of the nannies."""
        return [pid for n in range(self.workers) for pid in self.children(f"nanny{n}")]

    def children(self, name: str) -> list[int]:
        """Return the worker process of a nanny."""
        if not self.is_alive(name):
            return []
        with suppress(psutil.Error):
            children = psutil.Process(self.by_name[name].pid).children()
            return [c.pid for c in children if "spawn_main" in " ".join(c.cmdline())]
        return []

    def close(self) -> None:
        """End all processes."""
        for process in self.by_name.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _words(self, name: str) -> Sequence[str]:
        address = f"tcp://127.0.0.1:{self.port}"
        if name == "scheduler":
            return (
                "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port",
                str(self.port), "--no-dashboard",
            )  # fmt: skip
        if name == "client":
            return (
                "deepspot_scale.cli", "run", f"paced://{self.root}/plate.zarr",
                "-c", "FISH", "--cells", "cells", "--no-enhance",
                "--detector", "paced:detector", "--cluster", address, "--out", self.out,
            )  # fmt: skip
        return (
            "distributed.cli.dask_worker", address, "--host", "127.0.0.1",
            "--nthreads", "2", "--no-dashboard", "--memory-limit", "0",
        )  # fmt: skip

    def _start(self, name: str, *words: str) -> None:
        self.starts[name.rstrip("0123456789")] += 1
        with (self.root / f"{name}.log").open("ab") as log:
            self.by_name[name] = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def _lost_scheduler(self) -> bool:
        last = (self.root / "client.log").read_text().splitlines()[-1]
        return "no scheduler answers" in last


@contextmanager
def paced_environment(root: Path, log: str) -> Iterator[None]:
    """Make the paced file system and detector importable here and in children."""
    info = root / "paced-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: paced\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fsspec.specs]\npaced = paced:PacedFileSystem\n"
    )
    places = [str(root), str(HERE), str(HERE.parents[1])]
    before = dict(os.environ)
    paths = filter(None, [*places, before.get("PYTHONPATH", "")])
    os.environ.update(PACES, PYTHONPATH=os.pathsep.join(paths), PACED_LOG=log)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
