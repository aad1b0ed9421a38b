"""A file system, ``paced://``, and a detector that take a fixed time and log it.

They simulate slow stores and networks. Each phase (read, inference, write) writes a
line with its process at its beginning and at its end, to the file in the environment
variable PACED_LOG.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from deepspot_scale import PointDetector

READ, INFER, WRITE = (
    float(os.environ.get(f"PACED_{phase}", "0.1"))
    for phase in ("READ", "INFER", "WRITE")
)
"""Seconds of each phase."""


def log_event(**event: object) -> None:
    """Append a line to the log; atomic with several writers and when killed."""
    line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), **event})
    file = os.open(os.environ["PACED_LOG"], os.O_APPEND | os.O_WRONLY | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


@contextmanager
def phase(name: str, seconds: float, what: str) -> Iterator[None]:
    """Take a fixed time for something, and log it."""
    log_event(phase=name, edge="begin", what=what)
    time.sleep(seconds)
    yield
    log_event(phase=name, edge="end", what=what)


class PacedFileSystem(LocalFileSystem):
    """A local disk that takes a fixed time for pixels and tables."""

    protocol = ("paced",)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(each) for each in path]
        return super()._strip_protocol(str(path).removeprefix("paced://"))

    def unstrip_protocol(self, name: str) -> str:
        """Return a path with our protocol."""
        return f"paced://{self._strip_protocol(name)}"

    def cat_file(self, path: str, *args: Any, **options: Any) -> Any:
        """Read; the pixels of an image take a fixed time."""
        if "/0/c/" in path and "/labels/" not in path:
            with phase("read", READ, path):
                return super().cat_file(path, *args, **options)
        return super().cat_file(path, *args, **options)

    def pipe_file(self, path: str, value: bytes, *args: Any, **options: Any) -> Any:
        """Write; tables take a fixed time."""
        if "/lease/" in path or ".parquet" not in path:
            return super().pipe_file(path, value, *args, **options)
        with phase("write", WRITE, path):
            return super().pipe_file(path, value, *args, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> Any:
        """Rename; an entry of the manifest makes its fields count."""
        n_fields = 0
        if "/manifest/" in path2 and path2.endswith(".parquet"):
            with open(path1, "rb") as file:
                n_fields = pq.read_metadata(io.BytesIO(file.read())).num_rows
        answer = super().mv(path1, path2, **options)
        if n_fields:
            log_event(committed=n_fields, what=path2)
        return answer


def find(image: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return the bright pixels, after a fixed time."""
    with phase("inference", INFER, ""):
        return np.argwhere(image > 0.5 * image.max())


detector = PointDetector(find, halo=8, on="raw")
